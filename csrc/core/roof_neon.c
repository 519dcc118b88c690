#include <arm_neon.h>

#include "compiler.h"
#include "roof_probe.h"

// 24 chains of 4 lanes: more than latency (4) x pipes (4) needs, and all in registers.
double bw_roof_probe_neon(int64_t rounds, float* sink) {
  float32x4_t s[24];
  BW_UNROLL(24)
  for (int i = 0; i < 24; ++i) s[i] = vdupq_n_f32(1.0f + (float)i);
  float32x4_t x = vdupq_n_f32(0.999999f), y = vdupq_n_f32(1e-6f);
  for (int64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+w"(x), "+w"(y));  // keeps the loop from being folded
    BW_UNROLL(24)
    for (int i = 0; i < 24; ++i) s[i] = vfmaq_f32(y, s[i], x);
  }
  BW_UNROLL(24)
  for (int i = 1; i < 24; ++i) s[0] = vaddq_f32(s[0], s[i]);
  *sink = vaddvq_f32(s[0]);
  return (double)rounds * 24 * 4 * 2;
}
