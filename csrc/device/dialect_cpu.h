// Dialect of the CPU: blocks of one thread; a call works on a contiguous range of items, so that loops vectorise.
//
// EXP and LOG are our own for float: the same bits on every system, and loops over them vectorise.
#ifndef BW_DEVICE_DIALECT_CPU_H
#define BW_DEVICE_DIALECT_CPU_H

#include <math.h>
#include <string.h>

#include "dialect.h"

#define BW_INLINE static inline
// Not inlined: loops over arrays of the caller, which stand in the code once.
#define BW_OUTLINE static __attribute__((noinline, unused))

#ifdef BW_REAL64  // the float64 reference of the tests
typedef double real;
#define EXP(x) exp(x)
#define LOG(x) log(x)
#define SQRT(x) sqrt(x)
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#else
typedef float real;
#define EXP(x) bw_exp(x)
#define LOG(x) bw_log(x)
#define SQRT(x) sqrtf(x)
#if defined(__FMA__) || defined(BW_CPU_FUSED)  // a variant: the portable one keeps its bits on every CPU
#define MULTIPLY_ADD(a, b, c) __builtin_fmaf(a, b, c)
#else
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#endif
#endif

#define KERNEL(name) BW_KERNEL_SIGNATURE(name)
#define FOR_GRID(i, n) for (int64_t i = context->first; i < context->last; ++i)
#define RUN_LENGTH(most) (most)
#define FOR_RUNS(i, length, n, most)                                                                        \
  for (int64_t i = context->first, length;                                                                  \
       i < context->last && (length = context->last - i < (most) ? context->last - i : (most), length > 0); \
       i += length)
#define FOR_TILES(t, n) for (int64_t t = context->first; t < context->last; ++t)
#define FOR_BLOCK(j, n) for (int64_t j = 0; j < (n); ++j)
#define SYNC ((void)0)
// Spares the checks for overlap, and a loop over many arrays vectorises at all.
#ifdef __clang__
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif
#define PREFETCH(address) __builtin_prefetch(address)
#define BW_RESTRICT restrict

// Thirty-two interleaved partial sums, then a tree: vectorises, does not wait for one sum at a time, and the order
// depends on n alone.
#define SUM_OVER(s, j, n, ...)                                                 \
  real s;                                                                      \
  do {                                                                         \
    real bw_lane[32] = {0};                                                    \
    int64_t bw_base = 0;                                                       \
    for (; bw_base + 32 <= (n); bw_base += 32)                                 \
      for (int bw_l = 0; bw_l < 32; ++bw_l) {                                  \
        const int64_t j = bw_base + bw_l;                                      \
        bw_lane[bw_l] += (__VA_ARGS__);                                        \
      }                                                                        \
    for (int bw_l = 0; bw_base + bw_l < (n); ++bw_l) {                         \
      const int64_t j = bw_base + bw_l;                                        \
      bw_lane[bw_l] += (__VA_ARGS__);                                          \
    }                                                                          \
    for (int bw_l = 0; bw_l < 16; ++bw_l) bw_lane[bw_l] += bw_lane[bw_l + 16]; \
    for (int bw_l = 0; bw_l < 8; ++bw_l) bw_lane[bw_l] += bw_lane[bw_l + 8];   \
    for (int bw_l = 0; bw_l < 4; ++bw_l) bw_lane[bw_l] += bw_lane[bw_l + 4];   \
    s = (bw_lane[0] + bw_lane[2]) + (bw_lane[1] + bw_lane[3]);                 \
  } while (0)

#ifndef BW_REAL64
// e^x: 2^n times a degree-6 polynomial on [-ln2/2, ln2/2]; relative error under 2e-7. Below -87.3 it is e^-87.3
// (1.2e-38, not 0); above 88 it is e^88.
BW_INLINE float bw_exp(float x) {
  x = x < -87.3f ? -87.3f : x;
  x = x > 88.0f ? 88.0f : x;
  float t = MULTIPLY_ADD(x, 1.44269504f, 12582912.0f);  // 1.5 * 2^23: the sum's low bits hold round(x / ln 2)
  float n = t - 12582912.0f;
  float r = MULTIPLY_ADD(n, -0.693359375f, x);  // ln 2 in two parts
  r = MULTIPLY_ADD(n, 2.12194440e-4f, r);
  float p = 1.9875691500e-4f;
  p = MULTIPLY_ADD(p, r, 1.3981999507e-3f);
  p = MULTIPLY_ADD(p, r, 8.3334519073e-3f);
  p = MULTIPLY_ADD(p, r, 4.1665795894e-2f);
  p = MULTIPLY_ADD(p, r, 1.6666665459e-1f);
  p = MULTIPLY_ADD(p, r, 5.0000001201e-1f);
  p = MULTIPLY_ADD(p * r, r, r) + 1.0f;
  uint32_t bits;
  memcpy(&bits, &t, 4);
  bits = (bits - 0x4B400000u + 127u) << 23;
  float scale;
  memcpy(&scale, &bits, 4);
  return p * scale;
}

// Natural logarithm of a positive normal float: exponent plus a degree-8 polynomial (Cephes logf); error 1e-7.
BW_INLINE float bw_log(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  int32_t e = (int32_t)(bits >> 23) - 126;
  bits = (bits & 0x007FFFFFu) | 0x3F000000u;  // mantissa in [0.5, 1)
  float m;
  memcpy(&m, &bits, 4);
  const int small = m < 0.707106781f;
  m += small ? m : 0.0f;
  e -= small;
  m -= 1.0f;
  float z = m * m;
  float p = 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  p = p * m * z;
  float n = (float)e;
  p = p + n * -2.12194440e-4f;
  p = p - 0.5f * z;
  return m + p + n * 0.693359375f;
}
#endif

#endif
