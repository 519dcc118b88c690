// Whole games through the rollout ops, with given logits in place of a net: what collection costs besides the net.
#include <stdlib.h>

#include "../games/registry.h"
#include "case.h"

typedef struct work {
  bw_device* device;
  const bw_game* game;
  int index;
  int64_t games;
  bw_rollout_buffers rollout;
  bw_ref list, rows, count, unique_games, row_heads, table, keys, features, head;
  int64_t slots;
} work;

static bw_status make(work* w, const bw_bench_entry* entry, const bw_bench_request* request, bw_error* error) {
  BW_TRY(bw_bench_device(request, &w->device, error));
  BW_TRY(bw_game_find(entry->game, &w->index, error));
  w->game = bw_game_at(w->index);
  w->games = entry->size;
  bw_device* device = w->device;
  bw_rollout_buffers* r = &w->rollout;
  const size_t games = (size_t)w->games, state = w->game->state_bytes;
  const size_t records = games * (size_t)w->game->max_plies;
  BW_TRY(bw_bench_bytes(device, games * sizeof(bw_game_setup), &r->setups, error));
  bw_game_setup* setups = calloc(games, sizeof *setups);
  if (!setups) return bw_fail_memory(error, "bench", "setups", games * sizeof *setups, 0);
  for (size_t g = 0; g < games; ++g) setups[g] = (bw_game_setup){.number = g, .record_both = 1};
  device->backend->upload(device, r->setups, setups, games * sizeof *setups);
  free(setups);
  BW_TRY(bw_bench_bytes(device, games * state, &r->states, error));
  BW_TRY(bw_bench_bytes(device, games * 4, &r->outcomes, error));
  BW_TRY(bw_bench_bytes(device, games * 4, &r->plies, error));
  BW_TRY(bw_bench_bytes(device, games * 4, &r->counts, error));
  BW_TRY(bw_bench_bytes(device, records * state, &r->record_states, error));
  BW_TRY(bw_bench_bytes(device, records * 4, &r->record_actions, error));
  BW_TRY(bw_bench_bytes(device, records * 4, &r->record_players, error));
  BW_TRY(bw_bench_bytes(device, records * 4, &r->record_log_probs, error));
  BW_TRY(bw_bench_bytes(device, records * 4, &r->record_values, error));
  BW_TRY(bw_bench_ints(device, w->games, 0, 1, &w->list, error));
  BW_TRY(bw_bench_bytes(device, games * 4, &w->rows, error));
  BW_TRY(bw_bench_bytes(device, 4, &w->count, error));
  for (w->slots = 1; w->slots < 2 * w->games;) w->slots *= 2;
  BW_TRY(bw_bench_bytes(device, games * 4, &w->unique_games, error));
  BW_TRY(bw_bench_bytes(device, games * 4, &w->row_heads, error));
  BW_TRY(bw_bench_bytes(device, (size_t)w->slots * 4, &w->table, error));
  BW_TRY(bw_bench_bytes(device, games * 8, &w->keys, error));
  BW_TRY(bw_bench_bytes(device, games * (size_t)(1 + w->game->observers[BW_OBSERVE_STONES].max_features) * 2,
                        &w->features, error));
  return bw_bench_reals(device, w->games * (w->game->actions + 1), -1, 1, &w->head, error);
}

static bw_status open_rollout(const bw_bench_entry* entry, const bw_bench_request* request, void** out,
                              double* footprint, bw_error* error) {
  work* w = calloc(1, sizeof *w);
  *out = w;
  if (!w) return bw_fail_memory(error, "bench", "the case", sizeof *w, 0);
  *footprint = 0;  // neither operations nor bytes bind
  return make(w, entry, request, error);
}

static bw_status play(work* w, double* moves, bw_error* error) {
  bw_device* device = w->device;
  BW_LAUNCH(device, rollout_start, .game = w->index, .rollout = w->rollout, .seed = 1, .games = w->games);
  for (;;) {
    int32_t rows = 0;
    BW_LAUNCH(device, rollout_select, .game = w->index, .rollout = w->rollout, .list = w->list, .rows = w->rows,
              .count = w->count, .games = w->games);
    device->backend->download(device, &rows, w->count, sizeof rows);
    if (rows == 0) return bw_device_sync(device, error);
    int32_t unique = 0;
    BW_LAUNCH(device, rollout_unique, .game = w->index, .rollout = w->rollout, .row_games = w->rows,
              .unique_games = w->unique_games, .row_heads = w->row_heads, .count = w->count, .table = w->table,
              .keys = w->keys, .rows = rows, .slots = w->slots);
    device->backend->download(device, &unique, w->count, sizeof unique);
    BW_LAUNCH(device, rollout_encode, .game = w->index, .rollout = w->rollout, .row_games = w->unique_games,
              .features = w->features, .rows = unique,
              .max_features = w->game->observers[BW_OBSERVE_STONES].max_features);
    BW_LAUNCH(device, rollout_act, .game = w->index, .rollout = w->rollout, .row_games = w->rows,
              .row_heads = w->row_heads, .head = w->head, .seed = 1, .rows = rows, .max_plies = w->game->max_plies,
              .temperature = 1, .record = 1);
    *moves += rows;
  }
}

static bw_status sample_rollout(void* context, int64_t calls, bw_bench_sample* sample, bw_error* error) {
  work* w = context;
  double moves = 0;
  const uint64_t start = bw_now_ns();
  for (int64_t i = 0; i < calls; ++i) BW_TRY(play(w, &moves, error));
  const double seconds = (double)(bw_now_ns() - start) * 1e-9;
  sample->seconds = seconds / (double)calls;
  sample->moves = moves / (double)calls;
  sample->value = moves / seconds * 1e-6;
  return BW_OK;
}

static void close_rollout(void* context) {
  work* w = context;
  if (w) bw_device_destroy(w->device);
  free(w);
}

const bw_bench_family bw_bench_rollouts = {.open = open_rollout, .sample = sample_rollout, .close = close_rollout};
