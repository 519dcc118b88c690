#include "gumbel_search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What all trees of a search may take together. Beyond it fewer positions are searched side by side.
static const size_t kTreeBytes = (size_t)64 << 20;

struct bw_gumbel_search {
  bw_gumbel_plan plan;
  int64_t flight;         // trees
  bw_tree* trees;         // [flight]
  bw_tree_node* nodes;    // [flight][1 + simulations]
  unsigned char* edges;   // [flight][bw_tree_edge_bytes]
  bw_tree** active;       // [flight]: whose search goes on; first those that wait for the net
  bool* waiting;          // [flight]: of active, whether it does
  unsigned char* states;  // [flight][state_bytes]: what the net is asked for, in the order of active
  float* heads;           // [flight][actions + 1]
  bool answered;          // whether heads are there
};

bw_status bw_gumbel_search_create(const bw_gumbel_plan* plan, bw_gumbel_search** out, bw_error* error) {
  if (plan->simulations < 1 || plan->simulations > BW_TREE_MAX_SIMULATIONS) {
    char received[32], expected[64];
    snprintf(received, sizeof received, "%lld", (long long)plan->simulations);
    snprintf(expected, sizeof expected, "an integer from 0 to %d", BW_TREE_MAX_SIMULATIONS);
    return bw_fail_option(error, "search", "simulations", received, expected);
  }
  const bw_game* game = plan->game;
  const size_t node_bytes = bw_tree_node_bytes(plan->simulations);
  const size_t edge_bytes = bw_tree_edge_bytes(game, plan->simulations);
  const size_t tree_bytes = sizeof(bw_tree) + node_bytes + edge_bytes;
  size_t flight = kTreeBytes / tree_bytes;
  if (flight < 1) flight = 1;
  if (flight > (size_t)plan->most) flight = (size_t)plan->most;
  const size_t outputs = (size_t)game->actions + 1;
  const size_t bytes =
      flight * (tree_bytes + sizeof(bw_tree*) + sizeof(bool) + game->state_bytes + outputs * sizeof(float));
  bw_gumbel_search* search = calloc(1, sizeof *search);
  if (!search) return bw_fail_memory(error, "search", "the trees", bytes + sizeof *search, 0);
  search->plan = *plan;
  search->flight = (int64_t)flight;
  search->trees = calloc(flight, sizeof *search->trees);
  search->nodes = malloc(flight * node_bytes);
  search->edges = malloc(flight * edge_bytes);
  search->active = malloc(flight * sizeof *search->active);
  search->waiting = malloc(flight * sizeof *search->waiting);
  search->states = malloc(flight * game->state_bytes);
  search->heads = malloc(flight * outputs * sizeof *search->heads);
  if (!search->trees || !search->nodes || !search->edges || !search->active || !search->waiting || !search->states ||
      !search->heads) {
    bw_gumbel_search_destroy(search);
    return bw_fail_memory(error, "search", "the trees", bytes + sizeof *search, 0);
  }
  for (size_t i = 0; i < flight; ++i) {
    search->trees[i] = (bw_tree){.game = game,
                                 .simulations = (int32_t)plan->simulations,
                                 .nodes = search->nodes + i * (size_t)(1 + plan->simulations),
                                 .edges = (bw_tree_edge*)(void*)(search->edges + i * edge_bytes)};
  }
  *out = search;
  return BW_OK;
}

void bw_gumbel_search_destroy(bw_gumbel_search* search) {
  if (!search) return;
  free(search->trees);
  free(search->nodes);
  free(search->edges);
  free(search->active);
  free(search->waiting);
  free(search->states);
  free(search->heads);
  free(search);
}

// The answer of the last step goes into each tree, which then looks for its next question.
static void step(void* context, int64_t first, int64_t last, int worker) {
  (void)worker;
  bw_gumbel_search* search = context;
  const size_t outputs = (size_t)search->plan.game->actions + 1;
  for (int64_t i = first; i < last; ++i) {
    bw_tree* tree = search->active[i];
    if (search->answered) bw_tree_answer(tree, search->heads + (size_t)i * outputs);
    search->waiting[i] = bw_tree_descend(tree);
  }
}

static void for_all(const bw_gumbel_search* search, int64_t count, bw_pool_fn work, void* context) {
  if (search->plan.pool) {
    bw_pool_run(search->plan.pool, count, work, context);
  } else {
    work(context, 0, count, 0);
  }
}

// Searches whose roots are set, all of them to their end.
static bw_status finish(bw_gumbel_search* search, int64_t count, bw_error* error) {
  const bw_gumbel_plan* plan = &search->plan;
  const size_t bytes = plan->game->state_bytes;
  for (int64_t i = 0; i < count; ++i) search->active[i] = &search->trees[i];
  search->answered = false;
  for (;;) {
    if (plan->cancelled && plan->cancelled(plan->context)) return bw_fail(error, BW_CANCELLED, "search", "cancelled");
    for_all(search, count, step, search);
    int64_t left = 0;
    for (int64_t i = 0; i < count; ++i) {
      if (!search->waiting[i]) continue;
      memcpy(search->states + (size_t)left * bytes, search->active[i]->leaf.bytes, bytes);
      search->active[left++] = search->active[i];
    }
    count = left;
    if (count == 0) return BW_OK;
    BW_TRY(plan->evaluator.evaluate(plan->evaluator.self, search->states, count, search->heads, error));
    search->answered = true;
  }
}

bw_status bw_gumbel_search_run(bw_gumbel_search* search, const void* states, const bw_random4* random, int64_t count,
                               double inverse_temperature, int32_t* actions, bw_tree_report* reports, bw_error* error) {
  const size_t bytes = search->plan.game->state_bytes;
  for (int64_t first = 0; first < count; first += search->flight) {
    const int64_t left = count - first;
    const int64_t now = left < search->flight ? left : search->flight;
    for (int64_t i = 0; i < now; ++i) {
      bw_tree_begin(&search->trees[i], (const unsigned char*)states + (size_t)(first + i) * bytes,
                    random ? &random[first + i] : NULL, inverse_temperature);
    }
    BW_TRY(finish(search, now, error));
    for (int64_t i = 0; i < now; ++i) {
      actions[first + i] = bw_tree_choice(&search->trees[i]);
      if (reports) bw_tree_tell(&search->trees[i], &reports[first + i]);
    }
  }
  return BW_OK;
}
