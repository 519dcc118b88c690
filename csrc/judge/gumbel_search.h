// Gumbel searches (gumbel_tree.h) of many positions side by side: in each step every one of them follows one simulation
// to a position that it wants to know of, and the net is asked for all of these at once. A search does one simulation
// at a time, so that what it finds depends on its position and its random numbers only.
#ifndef BW_JUDGE_GUMBEL_SEARCH_H
#define BW_JUDGE_GUMBEL_SEARCH_H

#include "../core/pool.h"
#include "gumbel_tree.h"

#ifdef __cplusplus
extern "C" {
#endif

// What a net says of positions: heads[count][actions + 1], logits and value for the side to move, of `count` states,
// state_bytes apart. A row must depend on its state only.
typedef struct bw_evaluator {
  void* self;
  bw_status (*evaluate)(void* self, const void* states, int64_t count, float* heads, bw_error* error);
} bw_evaluator;

typedef struct bw_gumbel_plan {
  const bw_game* game;
  bw_evaluator evaluator;
  int64_t simulations;               // 1 to BW_TREE_MAX_SIMULATIONS
  int64_t most;                      // positions side by side at most; fewer where their trees are large
  bw_pool* pool;                     // borrowed; NULL: the caller's thread does everything
  bool (*cancelled)(void* context);  // asked in each step; NULL: never
  void* context;
} bw_gumbel_plan;

typedef struct bw_gumbel_search bw_gumbel_search;

// BW_OPTION with path "simulations"; BW_MEMORY.
bw_status bw_gumbel_search_create(const bw_gumbel_plan* plan, bw_gumbel_search** search, bw_error* error);
void bw_gumbel_search_destroy(bw_gumbel_search* search);  // NULL is allowed

// Searches `count` positions, state_bytes apart, none of them the end of a game. random[count]: of the Gumbel noise,
// NULL for none: the most probable move of the improved policy. Fills actions[count], and reports[count] where it is
// not NULL. BW_CANCELLED, or what the evaluator returns.
bw_status bw_gumbel_search_run(bw_gumbel_search* search, const void* states, const bw_random4* random, int64_t count,
                               double inverse_temperature, int32_t* actions, bw_tree_report* reports, bw_error* error);

#ifdef __cplusplus
}
#endif
#endif
