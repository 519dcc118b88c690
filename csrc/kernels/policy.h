// Masked softmax over rows of logits: the one piece of arithmetic that collection (which samples) and update (which
// recomputes the log-probability) share, so that before the first step every ratio is exactly 1.
//
// A masked action is left out of every sum and gets probability exactly 0; its logit is never looked at, so that a huge
// or infinite one does no harm.
//
// Rows are short, 7 or 9 actions, and what is done with one is a chain of a maximum, sums, an exponential and a
// logarithm, each of which waits for the one before. So a lane of a vector is a row, not an action: no branch, no
// horizontal sum, and each row's sums go from action 0 up, whatever the width of the vectors.
//
// Versions, one Zen 4 core with busy neighbours, AVX-512 (gcc 12): the PPO loss of 256 rows of 7 actions in us, and
// million moves a second of games without a net (`bellows_bench --only rollout`), tic-tac-toe and Connect Four. Medians
// of three runs, in turn with the first version, whose medians then are in brackets:
//   a row at a time                                      first
//   a row at a time, lanes are its actions               26.4 (22.7)    11.5 (10.1)     6.4 (6.9)
//   lanes are rows, inlined into the callers             10.4 (28.3)    16.5 (8.6)     10.0 (6.0)
//   lanes are rows, functions of their own                8.1 (21.4)    21.2 (13.0)    13.6 (7.6)   this one: less code
#ifndef BW_KERNELS_POLICY_H
#define BW_KERNELS_POLICY_H

enum { BW_MAX_ACTIONS = 32, BW_GATHER_AHEAD = 8, BW_WDL = 3, BW_WDL_MASK = 7, BW_POLICY_ROWS = RUN_LENGTH(16) };

// [action][row]. Lanes without a row of their own repeat one, so that every lane holds numbers.
typedef struct bw_policy_rows {
  uint32_t masks[BW_POLICY_ROWS];  // of legal actions, none empty
  real logits[BW_MAX_ACTIONS][BW_POLICY_ROWS];
  real probabilities[BW_MAX_ACTIONS][BW_POLICY_ROWS];
  real max[BW_POLICY_ROWS];
  real log_sum[BW_POLICY_ROWS];
} bw_policy_rows;

#define FOR_LANES(r) for (int r = 0; r < BW_POLICY_ROWS; ++r)

// probabilities = softmax of logits * inverse_temperature over the actions in masks; max and log_sum, the logarithm of
// the normaliser, such that log p(a) = logits[a] * inverse_temperature - max - log_sum.
BW_OUTLINE void bw_masked_softmax_rows(bw_policy_rows* rows, int actions, real inverse_temperature) {
  real sums[BW_POLICY_ROWS];
  uint32_t found[BW_POLICY_ROWS];
  FOR_LANES(r) {
    rows->max[r] = 0;
    found[r] = 0;
    sums[r] = 0;
  }
  for (int a = 0; a < actions; ++a) {
    FOR_LANES(r) {
      const real z = rows->logits[a][r] * inverse_temperature;
      const uint32_t legal = rows->masks[r] >> a & 1;
      rows->max[r] = legal && (!found[r] || z > rows->max[r]) ? z : rows->max[r];
      found[r] |= legal;
    }
  }
  for (int a = 0; a < actions; ++a) {
    FOR_LANES(r) {
      const real e = EXP(rows->logits[a][r] * inverse_temperature - rows->max[r]);
      rows->probabilities[a][r] = rows->masks[r] >> a & 1 ? e : 0;
      sums[r] += rows->probabilities[a][r];
    }
  }
  for (int a = 0; a < actions; ++a) {
    FOR_LANES(r) rows->probabilities[a][r] /= sums[r];
  }
  FOR_LANES(r) rows->log_sum[r] = LOG(sums[r]);
}

// The log-probability of a legal action under temperature 1. Collection and update must both come through here.
BW_INLINE real bw_log_prob(real logit, real max, real log_sum) { return logit - max - log_sum; }

// actions_taken[row] = an action by inversion with u in [0, 1); never one outside the mask, whatever the rounding.
BW_OUTLINE void bw_sample_rows(const bw_policy_rows* rows, int actions, const float* u, int* actions_taken) {
  real cumulative[BW_POLICY_ROWS];
  int chosen[BW_POLICY_ROWS];
  FOR_LANES(r) {
    cumulative[r] = 0;
    chosen[r] = actions_taken[r] = -1;
  }
  for (int a = 0; a < actions; ++a) {
    FOR_LANES(r) {
      const real p = rows->probabilities[a][r];
      const int legal = (int)(rows->masks[r] >> a & 1);
      cumulative[r] += p;
      // The last one that can be drawn, for when all the sums stay below u.
      actions_taken[r] = legal && (p > 0 || actions_taken[r] < 0) ? a : actions_taken[r];
      chosen[r] = legal && chosen[r] < 0 && (real)u[r] < cumulative[r] ? a : chosen[r];
    }
  }
  FOR_LANES(r) actions_taken[r] = chosen[r] < 0 ? actions_taken[r] : chosen[r];
}

// actions_taken[row] = its most probable action, the lowest among equals.
BW_OUTLINE void bw_most_probable_rows(const bw_policy_rows* rows, int actions, int* actions_taken) {
  real best[BW_POLICY_ROWS];
  FOR_LANES(r) {
    best[r] = 0;
    actions_taken[r] = -1;
  }
  for (int a = 0; a < actions; ++a) {
    FOR_LANES(r) {
      const real p = rows->probabilities[a][r];
      const int better = (rows->masks[r] >> a & 1) && (actions_taken[r] < 0 || p > best[r]);
      best[r] = better ? p : best[r];
      actions_taken[r] = better ? a : actions_taken[r];
    }
  }
}

// The index-th set bit of mask, index < number of set bits.
BW_INLINE int bw_nth_action(uint32_t mask, uint32_t index) {
  for (; index > 0; --index) mask &= mask - 1;
  int action = 0;
  while (!(mask >> action & 1)) ++action;
  return action;
}

BW_INLINE uint32_t bw_count_actions(uint32_t mask) {
  uint32_t count = 0;
  for (; mask; mask &= mask - 1) ++count;
  return count;
}

#endif
