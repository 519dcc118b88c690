#include <immintrin.h>

#include "compiler.h"
#include "roof_probe.h"

// 24 chains of 16 lanes: more than latency (4) x pipes (2) needs, and all in registers.
double bw_roof_probe_avx512(int64_t rounds, float* sink) {
  __m512 s[24];
  for (int i = 0; i < 24; ++i) s[i] = _mm512_set1_ps(1.0f + (float)i);
  __m512 x = _mm512_set1_ps(0.999999f), y = _mm512_set1_ps(1e-6f);
  for (int64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+v"(x), "+v"(y));  // keeps the loop from being folded
    BW_UNROLL(24)
    for (int i = 0; i < 24; ++i) s[i] = _mm512_fmadd_ps(s[i], x, y);
  }
  for (int i = 1; i < 24; ++i) s[0] = _mm512_add_ps(s[0], s[i]);
  *sink = _mm512_reduce_add_ps(s[0]);
  return (double)rounds * 24 * 16 * 2;
}

void bw_roof_update_avx512(const float* restrict x, float* restrict y, int64_t n, float s) {
  for (int64_t i = 0; i < n; ++i) y[i] += s * x[i];
}
