// Schedules of a scalar over a run.
#ifndef BW_TRAIN_SCHEDULE_H
#define BW_TRAIN_SCHEDULE_H

#include <math.h>

#include "config.h"

// kind: BW_SCHEDULE_*; goes from `initial` at progress 0 to initial * final_share at progress 1.
static inline double bw_schedule(int kind, double initial, double final_share, double progress) {
  if (progress < 0) progress = 0;
  if (progress > 1) progress = 1;
  double share = 1;
  if (kind == BW_SCHEDULE_LINEAR) share = 1 + (final_share - 1) * progress;
  if (kind == BW_SCHEDULE_COSINE)
    share = final_share + (1 - final_share) * 0.5 * (1 + cos(3.14159265358979323846 * progress));
  return initial * share;
}

// A share that rises linearly from a tenth to 1 in the first `share` of a run.
static inline double bw_warmup(double share, double progress) {
  if (progress >= share) return 1;
  return progress > 0 ? 0.1 + 0.9 * progress / share : 0.1;
}

// Square root scaling of an adaptive optimiser's learning rate with the minibatch (Malladi et al., "On the SDEs and
// scaling rules for adaptive gradient algorithms", 2022).
static inline double bw_minibatch_scale(const bw_config* config) {
  if (config->ppo_lr_minibatch == 0) return 1;
  return sqrt((double)config->ppo_minibatch / (double)config->ppo_lr_minibatch);
}

#endif
