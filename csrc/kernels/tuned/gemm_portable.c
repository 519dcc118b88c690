// Matrix products through the compilers' vector extension, for any CPU with 128-bit vectors (SSE2, NEON). Multiply and
// add are rounded apart (the build forbids contraction), so the bits are the same on every CPU that runs it.
//
// On x86 they are two instructions and a broadcast costs a third, so what wins is few broadcasts: a tile of 2 rows x 4
// vectors, its 8 sums, 4 vectors of B and one broadcast in 16 registers. NEON multiplies by a lane and has 32
// registers: 4 rows there. The tile changes speed only.
//
// Tried (64 x 256 x 256, one thread of a Zen 5 at 4.3 GHz; the probe of multiply and add in registers: 69 GFLOP/s):
//   plain loops, 4 rows x 8 columns, left to the vectoriser     12
//   vectors, 8 rows x  4 columns                                40
//   vectors, 4 rows x  8 columns                                38
//   vectors, 4 rows x 12 columns                                33
//   vectors, 6 rows x  8 columns                                34
//   vectors, 2 rows x 16 columns                                52   this one
// Weight gradient (256 x 256 from 256 rows):
//   reading p and q where they are                              42
//   copying blocks of both to contiguous memory first           45   this one; no code for edges either
#include <string.h>

#include "../../core/compiler.h"
#include "gemm.h"

#if defined(__aarch64__)
enum { ROWS = 4 };
#else
enum { ROWS = 2 };
#endif
enum { LANES = 4, VECTORS = 4, PANEL = LANES * VECTORS };

typedef float vec __attribute__((vector_size(4 * LANES)));

static inline vec load(const float* p) {
  vec v;
  memcpy(&v, p, sizeof v);
  return v;
}

static inline void store(float* p, vec v) { memcpy(p, &v, sizeof v); }

static void pack(const float* b, int64_t stride_c, int64_t stride_n, int contract, int columns, int first_panel,
                 int last_panel, int first_contract, int last_contract, float* packed) {
  for (int p = first_panel; p < last_panel; ++p) {
    const int base = p * PANEL;
    const int width = columns - base < PANEL ? columns - base : PANEL;
    float* out = packed + (int64_t)p * PANEL * contract;
    const float* in = b + base * stride_n;
    for (int c = first_contract; c < last_contract; ++c) {
      for (int n = 0; n < width; ++n) out[c * PANEL + n] = in[c * stride_c + n * stride_n];
      for (int n = width; n < PANEL; ++n) out[c * PANEL + n] = 0;
    }
  }
}

// out[r][n] = init[r][n] + sum over k of a[r * a_row + k * a_step] * b[k * PANEL + n] for R rows (a constant where it
// is inlined) and PANEL columns; init may be NULL for 0, and may be out.
static inline __attribute__((always_inline)) void chain(int R, const float* a, int64_t a_row, int64_t a_step,
                                                        const float* b, int64_t count, const float (*init)[PANEL],
                                                        float (*out)[PANEL]) {
  vec s[ROWS][VECTORS];
  BW_UNROLL(4)
  for (int r = 0; r < R; ++r) {
    BW_UNROLL(4)
    for (int v = 0; v < VECTORS; ++v) s[r][v] = init ? load(init[r] + LANES * v) : (vec){0};
  }
  for (int64_t k = 0; k < count; ++k) {
    vec y[VECTORS];
    BW_UNROLL(4)
    for (int v = 0; v < VECTORS; ++v) y[v] = load(b + k * PANEL + LANES * v);
    BW_UNROLL(4)
    for (int r = 0; r < R; ++r) {
      const float f = a[r * a_row + k * a_step];
      const vec x = {f, f, f, f};
      BW_UNROLL(4)
      for (int v = 0; v < VECTORS; ++v) s[r][v] += x * y[v];
    }
  }
  BW_UNROLL(4)
  for (int r = 0; r < R; ++r) {
    BW_UNROLL(4)
    for (int v = 0; v < VECTORS; ++v) store(out[r] + LANES * v, s[r][v]);
  }
}

// chain() for any number of rows up to ROWS: fewer rows are their own code, since a single row waits for latency.
static inline __attribute__((always_inline)) void chain_rows(int rows, const float* a, int64_t a_row, int64_t a_step,
                                                             const float* b, int64_t count, const float (*init)[PANEL],
                                                             float (*out)[PANEL]) {
  switch (rows) {
    case 1:
      chain(1, a, a_row, a_step, b, count, init, out);
      break;
#if defined(__aarch64__)
    case 2:
      chain(2, a, a_row, a_step, b, count, init, out);
      break;
    case 3:
      chain(3, a, a_row, a_step, b, count, init, out);
      break;
#endif
    default:
      chain(ROWS, a, a_row, a_step, b, count, init, out);
  }
}

// The last step for a whole panel.
static inline void finish_panel(const float* sums, const float* bias, bw_activation activation, int accumulate,
                                float* c) {
  typedef int32_t mask __attribute__((vector_size(4 * LANES)));
  BW_UNROLL(4)
  for (int v = 0; v < VECTORS; ++v) {
    vec s = load(sums + LANES * v);
    if (accumulate) s = load(c + LANES * v) + s;
    if (bias) s += load(bias + LANES * v);
    if (activation == BW_ACT_RELU) s = (vec)((mask)s & ~(mask)(s < 0));  // a NaN stays: it must not be hidden
    store(c + LANES * v, s);
  }
}

// The same for the columns of the last panel, one loop a step: inside a single one, clang reads an absent bias under a
// mask, and such a read costs a fault each time.
static void finish_edge(float* sums, const float* bias, bw_activation activation, int accumulate, int width, float* c) {
  if (accumulate) {
    for (int n = 0; n < width; ++n) sums[n] = c[n] + sums[n];
  }
  if (bias) {
    for (int n = 0; n < width; ++n) sums[n] += bias[n];
  }
  if (activation == BW_ACT_RELU) {
    for (int n = 0; n < width; ++n) sums[n] = sums[n] < 0 ? 0 : sums[n];
  }
  memcpy(c, sums, (size_t)width * sizeof *c);
}

static void multiply(const float* a, int64_t lda, const float* packed, int rows, int contract, int columns,
                     int first_panel, int last_panel, const float* bias, bw_activation activation, int accumulate,
                     float* c, int64_t ldc) {
  for (int p = first_panel; p < last_panel; ++p) {
    const int base = p * PANEL;
    const int width = columns - base < PANEL ? columns - base : PANEL;
    const float* b = packed + (int64_t)p * PANEL * contract;
    for (int i = 0, count; i < rows; i += count) {
      float sums[ROWS][PANEL];
      count = rows - i >= ROWS ? ROWS : rows - i;
      chain_rows(count, a + i * lda, lda, 1, b, contract, NULL, sums);
      for (int r = 0; r < count; ++r) {
        float* to = c + (i + r) * ldc + base;
        const float* add = bias ? bias + base : NULL;
        if (width == PANEL) {
          finish_panel(sums[r], add, activation, accumulate, to);
        } else {
          finish_edge(sums[r], add, activation, accumulate, width, to);
        }
      }
    }
  }
}

// ---- G = P^T Q ----

// Rows of p and q that lie a power of two apart fall into a few cache sets, so a block of both is copied into
// contiguous memory first. A tile leaves its sums in g between blocks of m: storing and reloading a float changes
// nothing, so the chain over m stays one chain.
enum { DEPTH = 128, STRIP = 16 * ROWS };

static void outer_block(const float* p, int64_t ldp, const float* q, int64_t ldq, int depth, int first_row,
                        int last_row, int columns, int fresh, float* g, int64_t ldg) {
  float p_block[DEPTH * STRIP], q_block[DEPTH * PANEL];
  for (int m = 0; m < depth; ++m) {
    memcpy(p_block + m * STRIP, p + m * ldp + first_row, (size_t)(last_row - first_row) * sizeof(float));
  }
  for (int base = 0; base < columns; base += PANEL) {
    const int width = columns - base < PANEL ? columns - base : PANEL;
    for (int m = 0; m < depth; ++m) {
      const float* from = q + m * ldq + base;
      float* to = q_block + m * PANEL;
      if (width == PANEL) {
        memcpy(to, from, PANEL * sizeof(float));
      } else {
        memcpy(to, from, (size_t)width * sizeof(float));
        memset(to + width, 0, (size_t)(PANEL - width) * sizeof(float));
      }
    }
    for (int i = first_row, count; i < last_row; i += count) {
      float sums[ROWS][PANEL] = {{0}};
      count = last_row - i >= ROWS ? ROWS : last_row - i;
      for (int r = 0; r < count && !fresh; ++r) {
        memcpy(sums[r], g + (i + r) * ldg + base, (size_t)width * sizeof(float));
      }
      chain_rows(count, p_block + (i - first_row), 1, STRIP, q_block, depth, sums, sums);
      for (int r = 0; r < count; ++r) {
        memcpy(g + (i + r) * ldg + base, sums[r], (size_t)width * sizeof(float));
      }
    }
  }
}

static void outer(const float* p, int64_t ldp, const float* q, int64_t ldq, int rows, int first_row, int last_row,
                  int columns, int accumulate, float* g, int64_t ldg) {
  for (int i = first_row; i < last_row; i += STRIP) {
    const int end = last_row - i < STRIP ? last_row : i + STRIP;
    int m = 0;
    do {  // at least once: an empty sum is 0
      const int depth = rows - m < DEPTH ? rows - m : DEPTH;
      outer_block(p + m * ldp, ldp, q + m * ldq, ldq, depth, i, end, columns, m == 0 && !accumulate, g, ldg);
      m += depth;
    } while (m < rows);
  }
}

const bw_gemm bw_gemm_portable = {
    .name = "portable", .panel = PANEL, .row_tile = ROWS, .pack = pack, .multiply = multiply, .outer = outer};
