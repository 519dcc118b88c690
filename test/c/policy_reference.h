// The policy's arithmetic for one row, without vectors: what csrc/kernels/policy.h must equal bit for bit.
#ifndef BW_TEST_POLICY_REFERENCE_H
#define BW_TEST_POLICY_REFERENCE_H

#include "../../csrc/device/dialect_cpu.h"
#include "../../csrc/kernels/policy.h"

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

#endif
