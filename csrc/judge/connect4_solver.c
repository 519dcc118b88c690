#include "connect4_solver.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "../core/pool.h"
#include "../core/prof.h"
#include "../games/registry.h"
#include "connect4_book.h"
#include "connect4_search.h"

_Static_assert((int)BW_CONNECT4_COLUMNS == (int)connect4_ACTIONS, "a score for every move");

static const uint64_t default_bytes = (uint64_t)64 << 20;  // of a thread

struct bw_connect4_solver {
  const bw_game* game;
  bw_pool* pool;
  bw_connect4_book* book;  // NULL: not used
  int threads;
  uint64_t bytes;
  atomic_bool cancel;
  bw_connect4_search* searches[];  // [threads]
};

static bool is_cancelled(void* context) {
  const bw_connect4_solver* s = context;
  return atomic_load_explicit(&s->cancel, memory_order_relaxed);
}

bw_status bw_connect4_solver_create(int threads, uint64_t bytes, bool book, bw_connect4_solver** solver,
                                    bw_error* error) {
  static const char op[] = "solver.create";
  *solver = NULL;
  if (threads < 0 || threads > BW_CONNECT4_MAX_THREADS) {
    char received[32];
    snprintf(received, sizeof received, "%d", threads);
    return bw_fail_option(error, op, "threads", received, "an integer from 0 to 256");
  }
  if (threads == 0) threads = bw_hardware_threads();
  if (threads > BW_CONNECT4_MAX_THREADS) threads = BW_CONNECT4_MAX_THREADS;
  const size_t size = sizeof **solver + (size_t)threads * sizeof(bw_connect4_search*);
  bw_connect4_solver* s = calloc(1, size);
  if (!s) return bw_fail_memory(error, op, "the solver", size, 0);
  s->threads = threads;
  atomic_init(&s->cancel, false);
  int game = 0;
  bw_status status = bw_game_find("connect4", &game, error);
  if (status == BW_OK) {
    s->game = bw_game_at(game);
    status = bw_pool_create(threads, &s->pool, error);
  }
  if (status == BW_OK && book) status = bw_connect4_book_create(&s->book, error);
  for (int i = 0; i < threads && status == BW_OK; ++i) {
    status = bw_connect4_search_create(bytes ? bytes / (uint64_t)threads : default_bytes, is_cancelled, s,
                                       &s->searches[i], error);
    if (status == BW_OK) s->bytes += bw_connect4_search_bytes(s->searches[i]);
  }
  if (status == BW_OK) {
    *solver = s;
  } else {
    bw_connect4_solver_destroy(s);
  }
  return status;
}

void bw_connect4_solver_destroy(bw_connect4_solver* s) {
  if (!s) return;
  for (int i = 0; i < s->threads; ++i) bw_connect4_search_destroy(s->searches[i]);
  bw_connect4_book_destroy(s->book);
  bw_pool_destroy(s->pool);
  free(s);
}

int bw_connect4_solver_threads(const bw_connect4_solver* s) { return s->threads; }

uint64_t bw_connect4_solver_bytes(const bw_connect4_solver* s) { return s->bytes; }

void bw_connect4_solver_cancel(bw_connect4_solver* s) { atomic_store(&s->cancel, true); }

void bw_connect4_solver_clear_cancel(bw_connect4_solver* s) { atomic_store(&s->cancel, false); }

int bw_connect4_solver_book_plies(void) { return bw_connect4_book_plies(); }

// ---- one position ----

// The score of any state for the side that is, or would be, to move; false when it was cancelled.
static bool score_of(const bw_connect4_solver* s, bw_connect4_search* search, const connect4_state* state, int* score) {
  const int result = connect4_result(state);
  if (result == BW_DRAWN) {
    *score = 0;
  } else if (result == BW_WON) {
    *score = (connect4_ply(state) + 1) / 2 - 22;
  } else if (!s->book || !bw_connect4_book_find(s->book, state, score)) {
    return bw_connect4_search_score(search, state, score);
  }
  return true;
}

static bool solve_one(const bw_connect4_solver* s, bw_connect4_search* search, const char* moves, bool with_scores,
                      bw_connect4_solution* out) {
  const uint64_t start = bw_now_ns();
  const int64_t nodes = bw_connect4_search_nodes(search);
  connect4_state state;
  bw_game_parse(s->game, moves, &state, NULL);  // which went well before
  const uint32_t legal = connect4_legal(&state);
  out->over = connect4_result(&state) != BW_ONGOING;
  out->score = -BW_CONNECT4_NO_SCORE;
  for (int col = 0; col < connect4_ACTIONS; ++col) {
    out->scores[col] = BW_CONNECT4_NO_SCORE;
    if (!with_scores || !(legal >> col & 1)) continue;
    connect4_state next = state;
    connect4_play(&next, col);
    int score;
    if (!score_of(s, search, &next, &score)) return false;
    out->scores[col] = -score;
    if (-score > out->score) out->score = -score;
  }
  if ((!with_scores || out->over) && !score_of(s, search, &state, &out->score)) return false;
  out->nodes = bw_connect4_search_nodes(search) - nodes;
  out->seconds = (double)(bw_now_ns() - start) * 1e-9;
  return true;
}

// ---- many ----

typedef struct work {
  bw_connect4_solver* solver;
  const char* const* moves;
  int64_t count;
  bool with_scores;
  bw_connect4_solved_fn solved;
  void* context;
  bw_connect4_solution* solutions;
  atomic_llong next;
  atomic_bool stopped;
} work;

// Positions take from microseconds to seconds: each thread takes the next one when it is done.
static void solve_some(void* context, int64_t first, int64_t last, int worker) {
  (void)first, (void)last;
  work* w = context;
  for (;;) {
    const int64_t i = atomic_fetch_add(&w->next, 1);
    if (i >= w->count) return;
    if (atomic_load_explicit(&w->solver->cancel, memory_order_relaxed) ||
        !solve_one(w->solver, w->solver->searches[worker], w->moves[i], w->with_scores, &w->solutions[i])) {
      atomic_store(&w->stopped, true);
      return;
    }
    if (w->solved) w->solved(w->context, i);
  }
}

bw_status bw_connect4_solver_solve(bw_connect4_solver* s, const char* const* moves, int64_t count, bool with_scores,
                                   bw_connect4_solved_fn solved, void* context, bw_connect4_solution* solutions,
                                   bw_error* error) {
  for (int64_t i = 0; i < count; ++i) {
    connect4_state state;
    const bw_status status = bw_game_parse(s->game, moves[i], &state, error);
    if (status == BW_OK) continue;
    if (error) error->step = i;
    return status;
  }
  work w = {.solver = s,
            .moves = moves,
            .count = count,
            .with_scores = with_scores,
            .solved = solved,
            .context = context,
            .solutions = solutions};
  atomic_init(&w.next, 0);
  atomic_init(&w.stopped, false);
  bw_pool_run(s->pool, s->threads < count ? s->threads : count, solve_some, &w);
  return atomic_load(&w.stopped) ? bw_fail(error, BW_CANCELLED, "solver.solve", "cancelled") : BW_OK;
}
