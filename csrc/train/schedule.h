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

#endif
