// What one iteration of training reports.
#ifndef BW_TRAIN_METRICS_H
#define BW_TRAIN_METRICS_H

#include <stdbool.h>
#include <stdint.h>

enum { BW_ROLES = 3 };  // of a league: main agent, main exploiter, league exploiter

typedef struct bw_role_metrics {
  double win_rate;     // share of points: of the main exploiter against the main agent, else against all frozen players
  int64_t iterations;  // since it was frozen last (main agent: since the run began)
  int64_t samples;     // trained moves of this iteration
  double sample_share;     // of all trained moves since the run began
  int64_t frozen, resets;  // copies that joined the league, times it began anew
} bw_role_metrics;

typedef struct bw_iteration {
  int64_t index;                           // 1-based number of the iteration just done
  int64_t games, samples, plies, updates;  // of this iteration: games, trained moves, all moves, optimiser steps
  int64_t total_games, total_samples;
  double win, draw, loss;                    // of the agent against other policies; NaN where there was no such game
  double first_win, first_draw, first_loss;  // of the first player over all games
  double policy_loss, value_loss, entropy;   // means over the update
  double approx_kl;                          // mean of (ratio - 1) - log ratio over the last epoch; with
                                             // ppo.klCoef of the exact divergence
  double clip_fraction, grad_norm;           // means over the update; grad_norm before clipping
  double explained_variance;                 // 1 - var(returns - values) / var(returns), before the update
  double max_ratio_error;                    // max |ratio - 1| over the first minibatch, before the first step
  double lr, entropy_coef;
  int64_t pool_size;
  int64_t epochs;  // passes done (fewer than ppo.epochs after a KL stop)
  double collect_seconds, update_seconds;
  double flops;     // of all kernels in this iteration
  double roofline;  // flops / seconds / peak, at most 1; 0 until the roof was measured
  bool league;      // games, moves, seconds and operations are then those of all roles, the rest the main agent's
  bw_role_metrics roles[BW_ROLES];
  bool roof_raised;  // the peak is the best rate that an iteration reached: all probes read less
} bw_iteration;

#endif
