// Masked softmax over one row of logits: the one piece of arithmetic that collection (which samples) and update
// (which recomputes the log-probability) share, so that before the first step every ratio is exactly 1.
//
// A masked action is left out of every sum and gets probability exactly 0; its logit is never read, so that a huge
// or infinite one does no harm.
#ifndef BW_KERNELS_POLICY_H
#define BW_KERNELS_POLICY_H

enum { BW_MAX_ACTIONS = 32, BW_GATHER_AHEAD = 8, BW_WDL = 3 };

// probabilities[actions] = softmax of logits[actions] * inverse_temperature over the actions in mask (not empty).
// Returns log of the normaliser, so that log p(a) = logits[a] * inverse_temperature - max - result; *max is set.
BW_INLINE real bw_masked_softmax(const real* logits, uint32_t mask, int actions, real inverse_temperature,
                                 real* probabilities, real* max) {
  real top = 0;
  int found = 0;
  for (int a = 0; a < actions; ++a) {
    if (!(mask >> a & 1)) continue;
    const real z = logits[a] * inverse_temperature;
    if (!found || z > top) top = z;
    found = 1;
  }
  real sum = 0;
  for (int a = 0; a < actions; ++a) {
    const real e = mask >> a & 1 ? EXP(logits[a] * inverse_temperature - top) : 0;
    probabilities[a] = e;
    sum += e;
  }
  for (int a = 0; a < actions; ++a) probabilities[a] /= sum;
  *max = top;
  return LOG(sum);
}

// The log-probability of a legal action under temperature 1. Collection and update must both come through here.
BW_INLINE real bw_log_prob(const real* logits, int action, real max, real log_sum) {
  return logits[action] - max - log_sum;
}

// Probabilities of win, draw and loss for the side to move from their logits. Returns log of the normaliser, *max is
// set, as above.
BW_INLINE real bw_wdl_softmax(const real* logits, real* probabilities, real* max) {
  return bw_masked_softmax(logits, (1u << BW_WDL) - 1, BW_WDL, 1, probabilities, max);
}

// An action from probabilities by inversion with u in [0, 1); never one outside mask, whatever the rounding.
BW_INLINE int bw_sample(const real* probabilities, uint32_t mask, int actions, float u) {
  real cumulative = 0;
  int last = -1;
  for (int a = 0; a < actions; ++a) {
    if (!(mask >> a & 1)) continue;
    cumulative += probabilities[a];
    if (probabilities[a] > 0 || last < 0) last = a;
    if ((real)u < cumulative) return a;
  }
  return last;
}

BW_INLINE int bw_most_probable(const real* probabilities, uint32_t mask, int actions) {
  int best = -1;
  for (int a = 0; a < actions; ++a) {
    if (mask >> a & 1 && (best < 0 || probabilities[a] > probabilities[best])) best = a;
  }
  return best;
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
