// The perfect player of Connect Four on random positions, which are others in every call: a solver remembers.
#include <stdlib.h>

#include "../api/bw.h"
#include "../core/rng.h"
#include "../games/connect4.h"
#include "case.h"

enum { MOVES = connect4_MAX_PLIES + 1, MAX_POSITIONS = 2048 };

typedef struct work {
  bw_connect4_solver* solver;
  int stones;
  int positions;  // a call
  uint64_t next;  // number of the next position
  char moves[MAX_POSITIONS][MOVES];
  const char* list[MAX_POSITIONS];
  bw_connect4_solution solutions[MAX_POSITIONS];
} work;

// The `number`-th position with so many stones, by uniformly random moves of a game that goes on.
static void random_position(uint64_t number, int stones, char moves[MOVES]) {
  for (uint32_t attempt = 0;; ++attempt) {
    connect4_state state;
    connect4_init(&state);
    for (int ply = 0; ply < stones && connect4_result(&state) == BW_ONGOING; ++ply) {
      const uint32_t legal = connect4_legal(&state);
      int col;
      for (uint32_t i = 0;; ++i) {
        col = (int)(bw_philox(number, BW_STREAM_OPENING, attempt, (uint32_t)ply << 16 | i).v[0] % connect4_ACTIONS);
        if (legal >> col & 1) break;
      }
      connect4_play(&state, col);
      moves[ply] = (char)connect4_symbol(col);
    }
    moves[stones] = 0;
    if (connect4_ply(&state) == stones && connect4_result(&state) == BW_ONGOING) return;
  }
}

static bw_status open_solver(const bw_bench_entry* entry, const bw_bench_request* request, void** out,
                             double* footprint, bw_error* error) {
  work* w = calloc(1, sizeof *w);
  *out = w;
  if (!w) return bw_fail_memory(error, "bench", "the case", sizeof *w, 0);
  *footprint = 0;  // neither operations nor bytes bind
  w->stones = entry->product;
  w->positions = (int)entry->size;
  for (int i = 0; i < w->positions; ++i) w->list[i] = w->moves[i];
  return bw_connect4_solver_create(request->threads, 0, false, &w->solver, error);
}

static bw_status sample_solver(void* context, int64_t calls, bw_bench_sample* sample, bw_error* error) {
  work* w = context;
  (void)calls;  // one
  for (int i = 0; i < w->positions; ++i) random_position(w->next++, w->stones, w->moves[i]);
  const uint64_t start = bw_now_ns();
  BW_TRY(bw_connect4_solver_solve(w->solver, w->list, w->positions, false, NULL, NULL, w->solutions, error));
  sample->seconds = (double)(bw_now_ns() - start) * 1e-9;
  double nodes = 0;
  for (int i = 0; i < w->positions; ++i) nodes += (double)w->solutions[i].nodes;
  sample->moves = nodes;
  sample->value = nodes / sample->seconds * 1e-6;
  return BW_OK;
}

static void close_solver(void* context) {
  work* w = context;
  if (w) bw_connect4_solver_destroy(w->solver);
  free(w);
}

const bw_bench_family bw_bench_solvers = {
    .open = open_solver, .sample = sample_solver, .close = close_solver, .warm_up = 1};
