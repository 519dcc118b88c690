// Fixed-depth alpha-beta. All moves of the best value are equally probable; nearer wins and later losses are better.
//
// The evaluation of Connect Four, from the side to move: 16 for each empty cell that would complete a four of its own,
// less those of the opponent (whether or not the cell can be reached yet), and 3, 2, 1 for each stone in the middle
// column and the two next to it on both sides. Other games are 0 wherever they go on.
#include <string.h>

#include "../../games/connect4.h"
#include "players.h"

enum { WIN = 1 << 20, THREAT = 16 };

typedef int (*evaluation)(const void* state);

static int threats(uint64_t cells, uint64_t occupied) {
  return __builtin_popcountll(connect4_completing(cells) & ~occupied);
}

static int central(uint64_t cells) {
  const uint64_t column = 0x3F;
  return 3 * __builtin_popcountll(cells & column << 21) +
         2 * __builtin_popcountll(cells & (column << 14 | column << 28)) +
         __builtin_popcountll(cells & (column << 7 | column << 35));
}

static int evaluate_connect4(const void* state) {
  connect4_state s;
  memcpy(&s, state, sizeof s);
  const uint64_t theirs = s.own ^ s.occupied;
  return THREAT * (threats(s.own, s.occupied) - threats(theirs, s.occupied)) + central(s.own) - central(theirs);
}

static evaluation evaluation_of(const bw_game* game) {
  return strcmp(game->name, "connect4") == 0 ? evaluate_connect4 : NULL;
}

typedef struct position_search {
  const bw_game* game;
  const uint8_t* order;
  evaluation evaluate;
} position_search;

// The value for the side to move, exact between alpha and beta, else a bound on that side.
static int value(const position_search* search, const void* state, int64_t depth, int alpha, int beta) {
  const bw_game* game = search->game;
  const int result = game->result(state);
  if (result == BW_WON) return -(WIN - game->ply(state));
  if (result == BW_DRAWN) return 0;
  if (depth == 0) return search->evaluate ? search->evaluate(state) : 0;
  const uint32_t legal = game->legal(state);
  int best = -WIN;
  for (int i = 0; i < game->actions && best < beta; ++i) {
    const int action = search->order[i];
    if (!(legal >> action & 1)) continue;
    const bw_any_state next = bw_after(game, state, action);
    const int found = -value(search, next.bytes, depth - 1, -beta, -(best > alpha ? best : alpha));
    if (found > best) best = found;
  }
  return best;
}

static int choose(const bw_chooser* chooser, const void* state, bw_random4 random) {
  const bw_game* game = chooser->game;
  const position_search search = {.game = game, .order = bw_centre_first(game), .evaluate = evaluation_of(game)};
  const uint32_t legal = game->legal(state);
  int best = -WIN;
  uint32_t equals = 0;
  for (int i = 0; i < game->actions; ++i) {
    const int action = search.order[i];
    if (!(legal >> action & 1)) continue;
    const bw_any_state next = bw_after(game, state, action);
    // From best - 1 on values are exact, so that equals are found.
    const int found = -value(&search, next.bytes, chooser->strength - 1, -WIN, -(best - 1));
    if (found > best) equals = 0;
    if (found >= best) {
      best = found;
      equals |= (uint32_t)1 << action;
    }
  }
  return bw_pick(equals, random.v[0]);
}

const bw_player_how bw_player_alpha_beta = {.choose = choose};
