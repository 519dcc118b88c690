// What the AVX-512 products share: tiles of at most 8 rows x 32 columns, a transposition in registers, and what is done
// to the sums of a tile before they are stored.
#ifndef BW_KERNELS_AVX512_H
#define BW_KERNELS_AVX512_H

#include <immintrin.h>

#include "../../core/compiler.h"
#include "gemm.h"

enum { PANEL = 32, ROWS = 8 };

// The first n of 16 lanes; n may be negative or above 16.
static inline __mmask16 bw_lanes(int n) { return (__mmask16)(n >= 16 ? 0xFFFFu : n <= 0 ? 0u : (1u << n) - 1u); }

// Lane j of r[i] and lane i of r[j] change places. Four rounds that exchange 1, 2, 4 and 8 columns between rows.
static inline __attribute__((always_inline)) void bw_transpose_16x16(__m512 r[16]) {
  __m512 t[16];
  BW_UNROLL(8)
  for (int n = 0; n < 16; n += 2) {
    t[n] = _mm512_unpacklo_ps(r[n], r[n + 1]);
    t[n + 1] = _mm512_unpackhi_ps(r[n], r[n + 1]);
  }
  BW_UNROLL(4)
  for (int n = 0; n < 16; n += 4) {
    r[n] = _mm512_shuffle_ps(t[n], t[n + 2], 0x44);
    r[n + 1] = _mm512_shuffle_ps(t[n], t[n + 2], 0xEE);
    r[n + 2] = _mm512_shuffle_ps(t[n + 1], t[n + 3], 0x44);
    r[n + 3] = _mm512_shuffle_ps(t[n + 1], t[n + 3], 0xEE);
  }
  // r[4 g + k] lane l holds column 4 l + k of rows 4 g .. 4 g + 3.
  BW_UNROLL(4)
  for (int k = 0; k < 4; ++k) {
    t[k] = _mm512_shuffle_f32x4(r[k], r[4 + k], 0x88);
    t[4 + k] = _mm512_shuffle_f32x4(r[k], r[4 + k], 0xDD);
    t[8 + k] = _mm512_shuffle_f32x4(r[8 + k], r[12 + k], 0x88);
    t[12 + k] = _mm512_shuffle_f32x4(r[8 + k], r[12 + k], 0xDD);
  }
  BW_UNROLL(4)
  for (int k = 0; k < 4; ++k) {
    r[k] = _mm512_shuffle_f32x4(t[k], t[8 + k], 0x88);
    r[8 + k] = _mm512_shuffle_f32x4(t[k], t[8 + k], 0xDD);
    r[4 + k] = _mm512_shuffle_f32x4(t[4 + k], t[12 + k], 0x88);
    r[12 + k] = _mm512_shuffle_f32x4(t[4 + k], t[12 + k], 0xDD);
  }
}

// What follows the sums of one panel, for its two vectors of 16 columns.
typedef struct bw_epilogue {
  __m512 bias[2];
  __mmask16 mask[2];
  int add_bias, relu;
  const float* gate;  // of the tile; or NULL
} bw_epilogue;

// For the panel that starts at column `base`.
static inline bw_epilogue bw_epilogue_of(const float* bias, int base, int columns, bw_activation activation) {
  bw_epilogue e = {.mask = {bw_lanes(columns - base), bw_lanes(columns - base - 16)},
                   .add_bias = bias != NULL,
                   .relu = activation == BW_ACT_RELU};
  for (int v = 0; v < 2 && bias; ++v) e.bias[v] = _mm512_maskz_loadu_ps(e.mask[v], bias + base + 16 * v);
  return e;
}

// at: of the vector in the tile.
static inline __attribute__((always_inline)) void bw_finish(__m512 sum, int v, float* c, int64_t at,
                                                            const bw_epilogue* e) {
  if (e->gate) {
    const __m512 gate = _mm512_maskz_loadu_ps(e->mask[v], e->gate + at);
    sum = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(gate, _mm512_setzero_ps(), _CMP_GT_OQ), sum);
  }
  if (e->add_bias) sum = _mm512_add_ps(sum, e->bias[v]);
  // max(0, x) with x second keeps a NaN: it must not be hidden.
  if (e->relu) sum = _mm512_max_ps(_mm512_setzero_ps(), sum);
  _mm512_mask_storeu_ps(c + at, e->mask[v], sum);
}

#endif
