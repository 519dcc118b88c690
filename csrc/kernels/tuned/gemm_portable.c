// Matrix products in plain C: tiles of 4 rows x 8 columns that any compiler vectorises for its baseline (SSE2, NEON).
//
// Built without fused multiply-adds, so that the bits are the same on every machine of one architecture.
#include <string.h>

#include "gemm.h"

enum { PANEL = 8, ROWS = 4 };

static void pack(const float* b, int64_t stride_c, int64_t stride_n, int contract, int columns, int first_panel,
                 int last_panel, float* packed) {
  for (int p = first_panel; p < last_panel; ++p) {
    const int base = p * PANEL;
    const int width = columns - base < PANEL ? columns - base : PANEL;
    float* out = packed + (int64_t)p * PANEL * contract;
    for (int c = 0; c < contract; ++c) {
      for (int n = 0; n < PANEL; ++n) {
        out[c * PANEL + n] = n < width ? b[c * stride_c + (base + n) * stride_n] : 0;
      }
    }
  }
}

static inline void finish(const float sums[PANEL], const float* bias, bw_activation activation, int accumulate,
                          int width, float* c) {
  for (int n = 0; n < width; ++n) {
    float v = accumulate ? c[n] + sums[n] : sums[n];
    if (bias) v += bias[n];
    if (activation == BW_ACT_RELU && v < 0) v = 0;  // a NaN stays
    c[n] = v;
  }
}

// s[r][n] += x[r * stride] * b[n] for all k; `step` and `stride` say how x moves with k and r.
static inline void accumulate_tile(float s[ROWS][PANEL], const float* x, int64_t step, int64_t stride, const float* b,
                                   int64_t ldb, int count) {
  for (int k = 0; k < count; ++k) {
    for (int r = 0; r < ROWS; ++r) {
      const float v = x[k * step + r * stride];
      for (int n = 0; n < PANEL; ++n) s[r][n] += v * b[k * ldb + n];
    }
  }
}

static void accumulate_row(float s[PANEL], const float* x, int64_t step, const float* b, int64_t ldb, int width,
                           int count) {
  for (int k = 0; k < count; ++k) {
    const float v = x[k * step];
    for (int n = 0; n < width; ++n) s[n] += v * b[k * ldb + n];
  }
}

static void multiply(const float* a, int64_t lda, const float* packed, int rows, int contract, int columns,
                     int first_panel, int last_panel, const float* bias, bw_activation activation, int accumulate,
                     float* c, int64_t ldc) {
  for (int p = first_panel; p < last_panel; ++p) {
    const int base = p * PANEL;
    const int width = columns - base < PANEL ? columns - base : PANEL;
    const float* b = packed + (int64_t)p * PANEL * contract;
    int i = 0;
    for (; i + ROWS <= rows; i += ROWS) {
      float s[ROWS][PANEL] = {{0}};
      accumulate_tile(s, a + i * lda, 1, lda, b, PANEL, contract);
      for (int r = 0; r < ROWS; ++r) {
        finish(s[r], bias ? bias + base : NULL, activation, accumulate, width, c + (i + r) * ldc + base);
      }
    }
    for (; i < rows; ++i) {
      float s[PANEL] = {0};
      accumulate_row(s, a + i * lda, 1, b, PANEL, PANEL, contract);
      finish(s, bias ? bias + base : NULL, activation, accumulate, width, c + i * ldc + base);
    }
  }
}

static void outer(const float* p, int64_t ldp, const float* q, int64_t ldq, int rows, int first_row, int last_row,
                  int columns, int accumulate, float* g, int64_t ldg) {
  for (int base = 0; base < columns; base += PANEL) {
    const int width = columns - base < PANEL ? columns - base : PANEL;
    int i = first_row;
    for (; width == PANEL && i + ROWS <= last_row; i += ROWS) {
      float s[ROWS][PANEL] = {{0}};
      accumulate_tile(s, p + i, ldp, 1, q + base, ldq, rows);
      for (int r = 0; r < ROWS; ++r) finish(s[r], NULL, BW_ACT_NONE, accumulate, PANEL, g + (i + r) * ldg + base);
    }
    for (; i < last_row; ++i) {
      float s[PANEL] = {0};
      accumulate_row(s, p + i, ldp, q + base, ldq, width, rows);
      finish(s, NULL, BW_ACT_NONE, accumulate, width, g + i * ldg + base);
    }
  }
}

const bw_gemm bw_gemm_portable = {
    .name = "portable", .panel = PANEL, .row_tile = ROWS, .pack = pack, .multiply = multiply, .outer = outer};
