// Matrix products through the compilers' vector extension, for any CPU with 128-bit vectors (SSE2, NEON). Multiply and
// add are rounded apart (the build forbids contraction), so the bits are the same on every CPU that runs it.
//
// On x86 they are two instructions, a third copies or loads what the product overwrites, and a broadcast costs two, so
// what wins is few broadcasts: a tile of 2 rows x 4 vectors, its 8 sums, one product and one broadcast in registers.
// Six instructions a cycle then allow 80% of the probe, which needs two instructions a multiply-add. The tile changes
// speed only.
//
// Tried (64 x 256 x 256, one thread of a Zen 5 at 4.3 GHz; the probe of multiply and add in registers: 69 GFLOP/s):
//   plain loops, 4 rows x 8 columns, left to the vectoriser     12
//   vectors, 8 rows x  4 columns                                40
//   vectors, 4 rows x  8 columns                                38
//   vectors, 4 rows x 12 columns                                33
//   vectors, 6 rows x  8 columns                                34
//   vectors, 2 rows x 16 columns                                52   this one
// Again, one thread of a Zen 4 that others used too, % of the probe run beside each sample, gcc 12 and clang 14:
//   2 rows x 16 columns                                         75, 79   this one
//   1 row  x 32 columns                                         79, 80   pads small outputs to 32
//   3 rows x 16 columns                                         82, 60   clang spills
//   2 rows x 24 columns                                         79, 58   the same
//   4 rows x  8 columns                                         73, 78
// Weight gradient: 256 x 256 from 256 rows on the Zen 5, reading p and q where they are 42, from copies 45; M x 256 x
// 256 on the Zen 4 as above, M = 8, 64, 256:
//   strips of both copied first, sums through a block           26, 60, 56    49, 77, 81
//   sums in g                                                   52, 63, 62    70, 79, 79
//   and copies by tile, copying vectors, not bytes              53, 69, 67    70, 80, 80   this one
#include <string.h>

#include "../../core/compiler.h"
#include "gemm.h"

enum { ROWS = 2, LANES = 4, VECTORS = 4, PANEL = LANES * VECTORS };

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

// s[r] += sum over k of a[r * a_row + k * a_step] * b[k * PANEL ..] for R rows (a constant where it is inlined).
static inline __attribute__((always_inline)) void chain(int R, const float* a, int64_t a_row, int64_t a_step,
                                                        const float* b, int64_t count, vec s[ROWS][VECTORS]) {
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
}

// Tiles are whole; those of a last panel with fewer columns work on a block beside the matrix.
static inline __attribute__((always_inline)) void copy_block(const float* from, int64_t ld_from, float* to,
                                                             int64_t ld_to, int rows, int width) {
  for (int r = 0; r < rows; ++r) memcpy(to + r * ld_to, from + r * ld_from, (size_t)width * sizeof *to);
}

// ---- C = act(A B + bias) ----

typedef int32_t lanes __attribute__((vector_size(4 * LANES)));

// What follows the sums of one panel, without branches: an absent bias is -0, which changes no number, and without ReLU
// no lane is cleared.
typedef struct epilogue {
  vec bias[VECTORS];
  lanes relu;         // all bits or none
  const float* gate;  // of the tile, as far apart as its rows; or NULL
} epilogue;

static inline __attribute__((always_inline)) void tile(int R, const float* a, int64_t lda, const float* b, int contract,
                                                       float* c, int64_t ldc, const epilogue* e) {
  vec s[ROWS][VECTORS] = {{{0}}};
  chain(R, a, lda, 1, b, contract, s);
  BW_UNROLL(4)
  for (int r = 0; r < R; ++r) {
    BW_UNROLL(4)
    for (int v = 0; v < VECTORS; ++v) {
      float* to = c + r * ldc + LANES * v;
      vec sum = s[r][v];
      if (e->gate) sum = (vec)((lanes)sum & (load(e->gate + r * ldc + LANES * v) > 0));
      sum += e->bias[v];
      store(to, (vec)((lanes)sum & ~((lanes)(sum < 0) & e->relu)));  // a NaN stays: it must not be hidden
    }
  }
}

static void run_tile(int rows, const float* a, int64_t lda, const float* b, int contract, float* c, int64_t ldc,
                     const epilogue* e) {
  if (rows == ROWS) {
    tile(ROWS, a, lda, b, contract, c, ldc, e);
  } else {
    tile(1, a, lda, b, contract, c, ldc, e);
  }
}

static void multiply(const float* a, int64_t lda, const float* packed, int rows, int contract, int columns,
                     int first_panel, int last_panel, const float* bias, bw_activation activation, const float* gate,
                     float* c, int64_t ldc) {
  for (int p = first_panel; p < last_panel; ++p) {
    const int base = p * PANEL;
    const int width = columns - base < PANEL ? columns - base : PANEL;
    const float* b = packed + (int64_t)p * PANEL * contract;
    epilogue e = {.relu = (lanes){0} - (activation == BW_ACT_RELU)};
    float add[PANEL];
    for (int n = 0; n < PANEL; ++n) add[n] = -0.0f;
    if (bias) memcpy(add, bias + base, (size_t)width * sizeof *add);
    for (int v = 0; v < VECTORS; ++v) e.bias[v] = load(add + LANES * v);
    for (int i = 0, count; i < rows; i += count) {
      float* to = c + i * ldc + base;
      count = rows - i >= ROWS ? ROWS : rows - i;
      if (gate) e.gate = gate + i * ldc + base;
      if (width == PANEL) {
        run_tile(count, a + i * lda, lda, b, contract, to, ldc, &e);
      } else {
        float block[ROWS * PANEL], gates[ROWS * PANEL] = {0};
        if (gate) copy_block(e.gate, ldc, gates, PANEL, count, width);
        if (gate) e.gate = gates;
        run_tile(count, a + i * lda, lda, b, contract, block, PANEL, &e);
        copy_block(block, PANEL, to, ldc, count, width);
      }
    }
  }
}

// ---- G = P^T Q ----

// Rows of p and q that lie a power of two apart fall into a few cache sets, so a block of both is copied into
// contiguous memory first. A tile leaves its sums in g between blocks of m: storing and reloading a float changes
// nothing, so the chain over m stays one chain.
enum { DEPTH = 128, STRIP = 128 };

static inline __attribute__((always_inline)) void outer_tile(int R, const float* p, const float* q, int depth,
                                                             int fresh, float* g, int64_t ldg) {
  vec s[ROWS][VECTORS] = {{{0}}};
  if (!fresh) {
    BW_UNROLL(4)
    for (int r = 0; r < R; ++r) {
      BW_UNROLL(4)
      for (int v = 0; v < VECTORS; ++v) s[r][v] = load(g + r * ldg + LANES * v);
    }
  }
  chain(R, p, 1, ROWS, q, depth, s);
  BW_UNROLL(4)
  for (int r = 0; r < R; ++r) {
    BW_UNROLL(4)
    for (int v = 0; v < VECTORS; ++v) store(g + r * ldg + LANES * v, s[r][v]);
  }
}

static void run_outer(int rows, const float* p, const float* q, int depth, int fresh, float* g, int64_t ldg) {
  if (rows == ROWS) {
    outer_tile(ROWS, p, q, depth, fresh, g, ldg);
  } else {
    outer_tile(1, p, q, depth, fresh, g, ldg);
  }
}

static void outer_block(const float* p, int64_t ldp, const float* q, int64_t ldq, int depth, int first_row,
                        int last_row, int columns, int fresh, float* g, int64_t ldg) {
  float p_block[STRIP / ROWS][DEPTH * ROWS], q_block[DEPTH * PANEL];
  for (int m = 0; m < depth; ++m) {
    const float* from = p + m * ldp + first_row;
    const int count = last_row - first_row;
    for (int i = 0; i < count; ++i) p_block[i / ROWS][m * ROWS + i % ROWS] = from[i];
  }
  for (int base = 0; base < columns; base += PANEL) {
    const int width = columns - base < PANEL ? columns - base : PANEL;
    if (width == PANEL) {
      copy_block(q + base, ldq, q_block, PANEL, depth, PANEL);
    } else {
      memset(q_block, 0, sizeof q_block);
      copy_block(q + base, ldq, q_block, PANEL, depth, width);
    }
    for (int i = first_row, t = 0, count; i < last_row; i += count, ++t) {
      float* to = g + i * ldg + base;
      count = last_row - i >= ROWS ? ROWS : last_row - i;
      if (width == PANEL) {
        run_outer(count, p_block[t], q_block, depth, fresh, to, ldg);
      } else {
        float block[ROWS * PANEL] = {0};
        if (!fresh) copy_block(to, ldg, block, PANEL, count, width);
        run_outer(count, p_block[t], q_block, depth, fresh, block, PANEL);
        copy_block(block, PANEL, to, ldg, count, width);
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
