#include <immintrin.h>

#include "compiler.h"
#include "roof_probe.h"

// 12 chains of 8 lanes: more than latency (4) x pipes (2) needs, and all in registers.
double bw_roof_probe_avx2(int64_t rounds, float* sink) {
  __m256 s[12];
  for (int i = 0; i < 12; ++i) s[i] = _mm256_set1_ps(1.0f + (float)i);
  __m256 x = _mm256_set1_ps(0.999999f), y = _mm256_set1_ps(1e-6f);
  for (int64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+x"(x), "+x"(y));  // keeps the loop from being folded
    BW_UNROLL(12)
    for (int i = 0; i < 12; ++i) s[i] = _mm256_fmadd_ps(s[i], x, y);
  }
  for (int i = 1; i < 12; ++i) s[0] = _mm256_add_ps(s[0], s[i]);
  float lanes[8];
  _mm256_storeu_ps(lanes, s[0]);
  *sink = lanes[0] + lanes[7];
  return (double)rounds * 12 * 8 * 2;
}

void bw_roof_update_avx2(const float* restrict x, float* restrict y, int64_t n, float s) {
  for (int64_t i = 0; i < n; ++i) y[i] += s * x[i];
}
