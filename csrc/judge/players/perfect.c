// The perfect player of Connect Four: any of the moves of the best exact score, so that it wins as fast and loses as
// late as can be. Few stones beyond the opening book, a move takes seconds to minutes; what is chosen after the match
// was cancelled does not matter.
#include <stdlib.h>
#include <string.h>

#include "../connect4_book.h"
#include "../connect4_search.h"
#include "players.h"

typedef struct perfect {
  bw_connect4_book* book;
  bw_connect4_search* search;
} perfect;

static const uint64_t kTableBytes = (uint64_t)64 << 20;  // a thread

static void close_solver(void* memory) {
  perfect* p = memory;
  if (!p) return;
  bw_connect4_book_destroy(p->book);
  bw_connect4_search_destroy(p->search);
  free(p);
}

static bw_status open_solver(bw_chooser* chooser, bw_error* error) {
  if (strcmp(chooser->game->name, "connect4") != 0) {
    return bw_fail_option(error, "match", "kind", "\"perfect\"", "another player: this one plays connect4 only");
  }
  perfect* p = calloc(1, sizeof *p);
  if (!p) return bw_fail_memory(error, "match", "the solver", sizeof *p, 0);
  chooser->memory = p;  // closed whatever happens next
  BW_TRY(bw_connect4_book_create(&p->book, error));
  return bw_connect4_search_create(kTableBytes, chooser->cancelled, chooser->context, &p->search, error);
}

// For the side to move; a win counts the more the earlier it is.
static int score_of(const perfect* p, const connect4_state* state) {
  const int result = connect4_result(state);
  if (result == BW_DRAWN) return 0;
  if (result == BW_WON) return (connect4_ply(state) + 1) / 2 - 22;  // for the one who has lost
  int score = 0;
  if (!bw_connect4_book_find(p->book, state, &score)) bw_connect4_search_score(p->search, state, &score);
  return score;
}

static int choose(const bw_chooser* chooser, const void* state, bw_random4 random) {
  const perfect* p = chooser->memory;
  const uint32_t legal = chooser->game->legal(state);
  int best = -100;
  uint32_t equals = 0;
  for (int action = 0; action < connect4_ACTIONS; ++action) {
    if (!(legal >> action & 1)) continue;
    connect4_state next;
    memcpy(&next, state, sizeof next);
    connect4_play(&next, action);
    const int score = -score_of(p, &next);
    if (score > best) equals = 0;
    if (score >= best) {
      best = score;
      equals |= (uint32_t)1 << action;
    }
  }
  return bw_pick(equals, random.v[0]);
}

const bw_player_how bw_player_perfect = {.open = open_solver, .close = close_solver, .choose = choose};
