#include "players.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../games/game.h"

static const bw_player_kind kKinds[] = {
#define PLAYER(function, name, strength, initial, least, most, doc) \
  {name, strength, initial, least, most, &bw_player_##function},
#include "players.def"
#undef PLAYER
};
enum { KINDS = sizeof kKinds / sizeof *kKinds };

int bw_player_kind_count(void) { return KINDS; }
const bw_player_kind* bw_player_kind_at(int index) { return &kKinds[index]; }

bw_status bw_player_kind_find(const char* name, const bw_player_kind** kind, bw_error* error) {
  char names[160] = "";
  for (int i = 0; i < KINDS; ++i) {
    if (strcmp(name, kKinds[i].name) == 0) {
      *kind = &kKinds[i];
      return BW_OK;
    }
    const size_t length = strlen(names);
    snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "policy, ", kKinds[i].name);
  }
  char received[64];
  snprintf(received, sizeof received, "\"%.60s\"", name);
  return bw_fail_option(error, "match", "kind", received, names);
}

// ---- over the threads of a pool ----

struct bw_search_player {
  const bw_player_kind* kind;
  bw_pool* pool;
  int threads;
  bw_chooser choosers[];  // [threads]
};

typedef struct search_task {
  const bw_search_player* player;
  const bw_turns* turns;
  atomic_llong next;  // position that no thread has taken yet: searches take unequal times
  atomic_bool stopped;
} search_task;

static void search(void* context, int64_t first, int64_t last, int worker) {
  (void)first;
  (void)last;
  search_task* task = context;
  const bw_search_player* player = task->player;
  const bw_turns* turns = task->turns;
  const bw_chooser* chooser = &player->choosers[worker];
  while (!atomic_load_explicit(&task->stopped, memory_order_relaxed)) {
    const int64_t i = atomic_fetch_add_explicit(&task->next, 1, memory_order_relaxed);
    if (i >= turns->count) return;
    const void* state = (const unsigned char*)turns->states + (size_t)i * turns->game->state_bytes;
    turns->actions[i] = player->kind->how->choose(chooser, state, turns->random[i]);
    if (chooser->cancelled && chooser->cancelled(chooser->context)) atomic_store(&task->stopped, true);
  }
}

static bw_status choose(void* self, const bw_turns* turns, bw_error* error) {
  bw_search_player* player = self;
  search_task task = {.player = player, .turns = turns};
  bw_pool_run(player->pool, bw_pool_threads(player->pool), search, &task);
  return atomic_load(&task.stopped) ? bw_fail(error, BW_CANCELLED, "match", "cancelled") : BW_OK;
}

bw_status bw_search_player_create(const bw_player_kind* kind, const bw_game* game, int64_t strength, bw_pool* pool,
                                  bool (*cancelled)(void* context), void* context, bw_search_player** out,
                                  bw_error* error) {
  if (strength == 0) strength = kind->initial;
  if (strength < kind->least || strength > kind->most) {
    char received[32], expected[64];
    snprintf(received, sizeof received, "%lld", (long long)strength);
    if (kind->most == 0) {
      snprintf(expected, sizeof expected, "left out: this player has no strength");
    } else {
      snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)kind->least,
               (long long)kind->most);
    }
    return bw_fail_option(error, "match", kind->most == 0 ? "strength" : kind->strength, received, expected);
  }
  const int threads = bw_pool_threads(pool);
  const size_t bytes = sizeof(bw_search_player) + (size_t)threads * sizeof(bw_chooser);
  bw_search_player* player = calloc(1, bytes);
  if (!player) return bw_fail_memory(error, "match", "the search", bytes, 0);
  player->kind = kind;
  player->pool = pool;
  player->threads = threads;
  for (int i = 0; i < threads; ++i) {
    bw_chooser* chooser = &player->choosers[i];
    *chooser = (bw_chooser){.game = game, .strength = strength, .cancelled = cancelled, .context = context};
    const bw_status status = kind->how->open ? kind->how->open(chooser, error) : BW_OK;
    if (status == BW_OK) continue;
    bw_search_player_destroy(player);
    return status;
  }
  *out = player;
  return BW_OK;
}

void bw_search_player_destroy(bw_search_player* player) {
  if (!player) return;
  for (int i = 0; i < player->threads; ++i) {
    if (player->kind->how->close) player->kind->how->close(player->choosers[i].memory);
  }
  free(player);
}

bw_player bw_search_player_seat(bw_search_player* player) { return (bw_player){.self = player, .choose = choose}; }

// ---- what players share ----

const uint8_t* bw_centre_first(const bw_game* game) {
  static const uint8_t connect4[] = {3, 2, 4, 1, 5, 0, 6};
  static const uint8_t tictactoe[] = {4, 0, 2, 6, 8, 1, 3, 5, 7};
  static const uint8_t any[BW_GAME_MAX_ACTIONS] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                                   16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
  if (strcmp(game->name, "connect4") == 0) return connect4;
  if (strcmp(game->name, "tictactoe") == 0) return tictactoe;
  return any;
}

bw_any_state bw_after(const bw_game* game, const void* state, int action) {
  bw_any_state next;
  memcpy(next.bytes, state, game->state_bytes);
  game->play(next.bytes, action);
  return next;
}

uint32_t bw_wins(const bw_game* game, const void* state) {
  const uint32_t legal = game->legal(state);
  uint32_t wins = 0;
  for (int action = 0; action < game->actions; ++action) {
    if (!(legal >> action & 1)) continue;
    const bw_any_state next = bw_after(game, state, action);
    if (game->result(next.bytes) == BW_WON) wins |= (uint32_t)1 << action;
  }
  return wins;
}

uint32_t bw_threats(const bw_game* game, const void* state) {
  const uint32_t legal = game->legal(state);
  uint32_t threats = 0;
  // The games have no passing. After two different moves of this side, each action is still there for the opponent to
  // win by in one of the two cases; a stone of this side elsewhere helps it nowhere.
  int tried = 0;
  for (int action = 0; action < game->actions && tried < 2; ++action) {
    if (!(legal >> action & 1)) continue;
    const bw_any_state next = bw_after(game, state, action);
    // What this move itself made possible (the cell on top of it) is no threat yet.
    threats |= bw_wins(game, next.bytes) & ~((uint32_t)1 << action);
    ++tried;
  }
  return threats;
}

int bw_pick(uint32_t mask, uint32_t word) {
  uint32_t count = 0;
  for (uint32_t rest = mask; rest; rest &= rest - 1) ++count;
  for (uint32_t skip = bw_below(word, count); skip > 0; --skip) mask &= mask - 1;
  int action = 0;
  while (!(mask >> action & 1)) ++action;
  return action;
}
