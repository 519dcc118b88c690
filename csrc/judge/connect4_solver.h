// The perfect player of Connect Four: exact scores of positions, in Pascal Pons's convention.
//
// A score is for the side to move under best play of both. A win scores 22 minus the number of stones that the winner
// will have played (so a win with his fourth stone is 18), a loss what the opponent's win scores, negated; 0 is a draw.
// A game that is over scores the same way: the side that would be to move has lost, or it is a draw.
#ifndef BW_JUDGE_CONNECT4_SOLVER_H
#define BW_JUDGE_CONNECT4_SOLVER_H

#include <stdbool.h>

#include "../core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { BW_CONNECT4_COLUMNS = 7, BW_CONNECT4_NO_SCORE = 127, BW_CONNECT4_MAX_THREADS = 256 };

typedef struct bw_connect4_solver bw_connect4_solver;

typedef struct bw_connect4_solution {
  int score;
  int scores[BW_CONNECT4_COLUMNS];  // of each move; BW_CONNECT4_NO_SCORE where it is not legal, or was not asked for
  bool over;                        // somebody has won, or the board is full
  int64_t nodes;                    // calls of the search; 0 where the book or the rules answer. Not the same again:
  double seconds;                   // searches before leave what they found out
} bw_connect4_solution;

// threads: 0 is all of this machine's; each has a transposition table of bytes / threads (0: 64 MiB each), rounded down
// to a power of two, at least 1 MiB. book: whether positions with few stones are looked up instead of searched.
// BW_OPTION for threads; BW_MEMORY.
bw_status bw_connect4_solver_create(int threads, uint64_t bytes, bool book, bw_connect4_solver** solver,
                                    bw_error* error);
void bw_connect4_solver_destroy(bw_connect4_solver* solver);  // NULL is allowed
int bw_connect4_solver_threads(const bw_connect4_solver* solver);
uint64_t bw_connect4_solver_bytes(const bw_connect4_solver* solver);  // of all tables

// Called when solutions[index] is filled, on the thread that did it; several may call at once.
typedef void (*bw_connect4_solved_fn)(void* context, int64_t index);

// Solves `count` positions, given as moves from the start ("4453"), on all threads; with_scores: every move of each as
// well. solved may be NULL. Scores depend on nothing but the position. BW_OPTION names a bad move, with the position's
// index as error->step, before anything is solved; BW_CANCELLED. One call at a time.
bw_status bw_connect4_solver_solve(bw_connect4_solver* solver, const char* const* moves, int64_t count,
                                   bool with_scores, bw_connect4_solved_fn solved, void* context,
                                   bw_connect4_solution* solutions, bw_error* error);

// Makes the solve in progress, if any, return BW_CANCELLED soon, and those after it, until clear_cancel. Any thread.
void bw_connect4_solver_cancel(bw_connect4_solver* solver);
void bw_connect4_solver_clear_cancel(bw_connect4_solver* solver);

// Positions up to which number of stones the opening book holds.
int bw_connect4_solver_book_plies(void);

#ifdef __cplusplus
}
#endif
#endif
