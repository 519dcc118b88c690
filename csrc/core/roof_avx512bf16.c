#include <immintrin.h>

#include "compiler.h"
#include "roof_probe.h"

// 24 chains of 16 lanes of two multiply-adds: more than latency (6) x pipes (2) needs, and all in registers.
double bw_roof_probe_avx512bf16(int64_t rounds, float* sink) {
  __m512 s[24];
  for (int i = 0; i < 24; ++i) s[i] = _mm512_set1_ps(1.0f + (float)i);
  __m512i x = _mm512_set1_epi32(0x3F7F3F7F), y = _mm512_set1_epi32(0x33803380);  // pairs of 0.996 and of 6e-8
  for (int64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+v"(x), "+v"(y));  // keeps the loop from being folded
    BW_UNROLL(24)
    for (int i = 0; i < 24; ++i) s[i] = _mm512_dpbf16_ps(s[i], (__m512bh)x, (__m512bh)y);
  }
  for (int i = 1; i < 24; ++i) s[0] = _mm512_add_ps(s[0], s[i]);
  *sink = _mm512_reduce_add_ps(s[0]);
  return (double)rounds * 24 * 32 * 2;
}
