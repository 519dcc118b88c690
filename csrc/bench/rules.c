// The rules alone: games of uniformly random moves from the start position, nothing recorded.
#include <stdlib.h>

#include "../games/registry.h"
#include "case.h"

typedef struct work {
  bw_device* device;
  bw_playouts_args args;
  double moves;  // of one call; every call plays the same games
} work;

static bw_status count_moves(work* w, bw_error* error) {
  const size_t bytes = (size_t)w->args.games * sizeof(int32_t);
  int32_t* plies = malloc(bytes);
  if (!plies) return bw_fail_memory(error, "bench", "plies", bytes, 0);
  bw_device_launch(w->device, BW_OP_playouts, &w->args);
  w->device->backend->download(w->device, plies, w->args.plies, bytes);
  for (int64_t g = 0; g < w->args.games; ++g) w->moves += plies[g];
  free(plies);
  return bw_device_sync(w->device, error);
}

static bw_status open_rules(const bw_bench_entry* entry, const bw_bench_request* request, void** out, double* footprint,
                            bw_error* error) {
  work* w = calloc(1, sizeof *w);
  *out = w;
  if (!w) return bw_fail_memory(error, "bench", "the case", sizeof *w, 0);
  *footprint = 0;  // neither operations nor bytes bind
  w->args.games = entry->size;
  w->args.seed = 1;
  _Alignas(16) unsigned char start[BW_GAME_MAX_STATE_BYTES];
  BW_TRY(bw_game_find(entry->game, &w->args.game, error));
  bw_game_at(w->args.game)->init(start);
  BW_TRY(bw_bench_device(request, &w->device, error));
  BW_TRY(bw_bench_bytes(w->device, sizeof start, &w->args.starts, error));
  w->device->backend->upload(w->device, w->args.starts, start, bw_game_at(w->args.game)->state_bytes);
  BW_TRY(bw_bench_bytes(w->device, (size_t)w->args.games * sizeof(int32_t), &w->args.outcomes, error));
  BW_TRY(bw_bench_bytes(w->device, (size_t)w->args.games * sizeof(int32_t), &w->args.plies, error));
  return count_moves(w, error);
}

static bw_status sample_rules(void* context, int64_t calls, bw_bench_sample* sample, bw_error* error) {
  work* w = context;
  const uint64_t start = bw_now_ns();
  for (int64_t i = 0; i < calls; ++i) bw_device_launch(w->device, BW_OP_playouts, &w->args);
  BW_TRY(bw_device_sync(w->device, error));
  sample->seconds = (double)(bw_now_ns() - start) * 1e-9 / (double)calls;
  sample->moves = w->moves;
  sample->value = w->moves / sample->seconds * 1e-6;
  return BW_OK;
}

static void close_rules(void* context) {
  work* w = context;
  if (w) bw_device_destroy(w->device);
  free(w);
}

const bw_bench_family bw_bench_rules = {.open = open_rules, .sample = sample_rules, .close = close_rules};
