#include "playouts.h"

#include <stdlib.h>
#include <string.h>

#include "../games/registry.h"

enum { BATCH = 1 << 16 };  // games a launch

static void add(bw_playouts* totals, const int32_t* outcomes, const int32_t* plies, int64_t games) {
  for (int64_t g = 0; g < games; ++g) {
    totals->first += outcomes[g] == BW_OUTCOME_FIRST;
    totals->second += outcomes[g] == BW_OUTCOME_SECOND;
    totals->draws += outcomes[g] == BW_OUTCOME_DRAW;
    totals->moves += plies[g];
  }
  totals->games += games;
}

static bw_status play(bw_device* device, bw_playouts_args* args, int64_t games, int32_t* host, bw_playouts* totals,
                      bw_error* error) {
  while (games > 0) {
    args->games = games < BATCH ? games : BATCH;
    bw_device_launch(device, BW_OP_playouts, args);
    device->backend->download(device, host, args->outcomes, (size_t)args->games * sizeof *host);
    device->backend->download(device, host + BATCH, args->plies, (size_t)args->games * sizeof *host);
    BW_TRY(bw_device_sync(device, error));
    add(totals, host, host + BATCH, args->games);
    games -= args->games;
    args->number += (uint64_t)args->games;
  }
  return BW_OK;
}

bw_status bw_random_playouts(bw_device* device, int game, const void* start, uint64_t seed, uint64_t number,
                             int64_t games, bw_playouts* totals, bw_error* error) {
  const bw_backend* backend = device->backend;
  const size_t state_bytes = bw_game_at(game)->state_bytes;
  const uint64_t results = 64;  // one buffer: the start state, outcomes, plies
  _Static_assert(BW_GAME_MAX_STATE_BYTES <= 64, "a state takes the first 64 bytes");
  memset(totals, 0, sizeof *totals);
  bw_ref buffer = {0, 0};
  BW_TRY(backend->alloc(device, results + 2 * BATCH * sizeof(int32_t), &buffer.buffer, error));
  bw_playouts_args args = {.game = game,
                           .starts = buffer,
                           .outcomes = bw_ref_at(buffer, results),
                           .plies = bw_ref_at(buffer, results + BATCH * sizeof(int32_t)),
                           .seed = seed,
                           .number = number};
  backend->upload(device, args.starts, start, state_bytes);
  int32_t* host = malloc(2 * BATCH * sizeof *host);
  bw_status status = host ? play(device, &args, games, host, totals, error)
                          : bw_fail_memory(error, "playouts", "results", 2 * BATCH * sizeof *host, 0);
  free(host);
  backend->release(device, buffer.buffer);
  return status;
}
