// Matrix products with NEON and fused multiply-adds: tiles of 8 rows x 8 columns, 16 sums of 4 floats.
//
// Arm multiplies by one lane of a register, so four steps over the contracted index load four floats of each row of A
// at once, and two vectors of the packed panel a step; a step over the rows of p and q loads two vectors of both. Every
// element is one chain of fused multiply-adds, so its bits don't depend on the tile, and are those of AVX2.
//
// Tested under emulation only: no speed of it is known. Counted in what clang 19 makes of the innermost loops:
//   multiply, 8 rows      64 multiply-adds in 89 instructions, 12 of them loads (of two vectors if it can); 27
//   registers multiply, 4 rows      32 in 47 outer                 16 in 21, 2 of them loads of two vectors; 20
//   registers portable, for both    16 products and 16 sums in 41 instructions
// 16 sums are just what four pipes of latency 4 need, and twice what two need; 8 x 12 would be 24 sums.
#include <arm_neon.h>
#include <string.h>

#include "../../core/compiler.h"
#include "gemm.h"

enum { PANEL = 8, ROWS = 8, ROW_BLOCK = 128 };

// Tiles are whole; those of a last panel with fewer columns work on a block beside the matrix.
static void copy_block(const float* from, int64_t ld_from, float* to, int64_t ld_to, int rows, int width) {
  for (int r = 0; r < rows; ++r) memcpy(to + r * ld_to, from + r * ld_from, (size_t)width * sizeof *to);
}

// ---- packing ----

// out[c * PANEL + n] = in[n * stride + c] for c, n < 4.
static inline void transpose_block(const float* in, int64_t stride, float* out) {
  const float32x4_t r0 = vld1q_f32(in), r1 = vld1q_f32(in + stride);
  const float32x4_t r2 = vld1q_f32(in + 2 * stride), r3 = vld1q_f32(in + 3 * stride);
  const float64x2_t t0 = vreinterpretq_f64_f32(vtrn1q_f32(r0, r1)), t1 = vreinterpretq_f64_f32(vtrn2q_f32(r0, r1));
  const float64x2_t t2 = vreinterpretq_f64_f32(vtrn1q_f32(r2, r3)), t3 = vreinterpretq_f64_f32(vtrn2q_f32(r2, r3));
  vst1q_f32(out, vreinterpretq_f32_f64(vtrn1q_f64(t0, t2)));
  vst1q_f32(out + PANEL, vreinterpretq_f32_f64(vtrn1q_f64(t1, t3)));
  vst1q_f32(out + 2 * PANEL, vreinterpretq_f32_f64(vtrn2q_f64(t0, t2)));
  vst1q_f32(out + 3 * PANEL, vreinterpretq_f32_f64(vtrn2q_f64(t1, t3)));
}

static void pack(const float* b, int64_t stride_c, int64_t stride_n, int contract, int columns, int first_panel,
                 int last_panel, int first_contract, int last_contract, float* packed) {
  for (int p = first_panel; p < last_panel; ++p) {
    const int base = p * PANEL;
    const int width = columns - base < PANEL ? columns - base : PANEL;
    float* out = packed + (int64_t)p * PANEL * contract;
    const float* in = b + base * stride_n;
    int c = first_contract;
    if (width == PANEL && stride_n == 1) {
      for (; c < last_contract; ++c) {
        vst1q_f32(out + c * PANEL, vld1q_f32(in + c * stride_c));
        vst1q_f32(out + c * PANEL + 4, vld1q_f32(in + c * stride_c + 4));
      }
    } else if (width == PANEL && stride_c == 1) {
      for (; c + 4 <= last_contract; c += 4) {
        transpose_block(in + c, stride_n, out + c * PANEL);
        transpose_block(in + 4 * stride_n + c, stride_n, out + c * PANEL + 4);
      }
    }
    for (; c < last_contract; ++c) {
      for (int n = 0; n < PANEL; ++n) out[c * PANEL + n] = n < width ? in[c * stride_c + n * stride_n] : 0;
    }
  }
}

// ---- C = act(A B + bias) ----

// What follows the sums of one panel, without branches: an absent bias is -0, which changes no number, and without ReLU
// no lane is cleared.
typedef struct epilogue {
  float32x4_t bias[2];
  uint32x4_t relu;    // all bits or none
  const float* gate;  // of the tile, as far apart as its rows; or NULL
} epilogue;

// One step over the contracted index, by one lane (a constant) of each row's vector.
#define STEP(lane)                                              \
  do {                                                          \
    const float32x4_t x0 = vld1q_f32(b), x1 = vld1q_f32(b + 4); \
    BW_UNROLL(8) for (int r = 0; r < R; ++r) {                  \
      s[r][0] = vfmaq_laneq_f32(s[r][0], x0, y[r], lane);       \
      s[r][1] = vfmaq_laneq_f32(s[r][1], x1, y[r], lane);       \
    }                                                           \
    b += PANEL;                                                 \
  } while (0)

// c[R][8] at distance ldc; R is a constant where it is inlined.
static inline __attribute__((always_inline)) void tile(int R, const float* a, int64_t lda, const float* b, int contract,
                                                       float* c, int64_t ldc, const epilogue* e) {
  float32x4_t s[ROWS][2], y[ROWS];
  BW_UNROLL(8)
  for (int r = 0; r < R; ++r) s[r][0] = s[r][1] = vdupq_n_f32(0);
  int64_t k = 0;
  for (; k + 4 <= contract; k += 4) {
    BW_UNROLL(8)
    for (int r = 0; r < R; ++r) y[r] = vld1q_f32(a + r * lda + k);
    STEP(0);
    STEP(1);
    STEP(2);
    STEP(3);
  }
  for (; k < contract; ++k) {
    BW_UNROLL(8)
    for (int r = 0; r < R; ++r) y[r] = vld1q_dup_f32(a + r * lda + k);
    STEP(0);
  }
  if (e->gate) {
    BW_UNROLL(8)
    for (int r = 0; r < R; ++r) {
      BW_UNROLL(2)
      for (int v = 0; v < 2; ++v) {
        const uint32x4_t open = vcgtzq_f32(vld1q_f32(e->gate + r * ldc + 4 * v));
        s[r][v] = vreinterpretq_f32_u32(vandq_u32(open, vreinterpretq_u32_f32(s[r][v])));
      }
    }
  }
  BW_UNROLL(8)
  for (int r = 0; r < R; ++r) {
    BW_UNROLL(2)
    for (int v = 0; v < 2; ++v) {
      // Clears what is below 0; a NaN stays, since it must not be hidden.
      const uint32x4_t sum = vreinterpretq_u32_f32(vaddq_f32(s[r][v], e->bias[v]));
      const uint32x4_t below = vandq_u32(vcltzq_f32(vreinterpretq_f32_u32(sum)), e->relu);
      vst1q_f32(c + r * ldc + 4 * v, vreinterpretq_f32_u32(vbicq_u32(sum, below)));
    }
  }
}

typedef void (*tile_fn)(const float*, int64_t, const float*, int, float*, int64_t, const epilogue*);

// clang-format off
#define TILE(R)                                                                                          \
  static void tile_##R(const float* a, int64_t lda, const float* b, int contract, float* c, int64_t ldc, \
                       const epilogue* e) {                                                              \
    tile(R, a, lda, b, contract, c, ldc, e);                                                             \
  }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8)
#undef TILE
    // clang-format on

    static const tile_fn kTiles[ROWS + 1] = {NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6, tile_7, tile_8};

static void multiply(const float* a, int64_t lda, const float* packed, int rows, int contract, int columns,
                     int first_panel, int last_panel, const float* bias, bw_activation activation, const float* gate,
                     float* c, int64_t ldc) {
  epilogue e = {.relu = vdupq_n_u32(activation == BW_ACT_RELU ? ~0u : 0u)};
  // A panel stays in L1 while a block of rows passes over it, the block in L2 while the panels do.
  for (int first = 0, end; first < rows; first = end) {
    end = rows - first < ROW_BLOCK + ROWS ? rows : first + ROW_BLOCK;  // no small rest
    for (int p = first_panel; p < last_panel; ++p) {
      const int base = p * PANEL, width = columns - base < PANEL ? columns - base : PANEL;
      const float* b = packed + (int64_t)p * PANEL * contract;
      float add[PANEL] = {-0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f};
      if (bias) memcpy(add, bias + base, (size_t)width * sizeof *add);
      e.bias[0] = vld1q_f32(add);
      e.bias[1] = vld1q_f32(add + 4);
      for (int i = first, count; i < end; i += count) {
        const int left = end - i;
        float* to = c + i * ldc + base;
        count = left >= 2 * ROWS || left == ROWS ? ROWS : left > ROWS ? (left + 1) / 2 : left;  // 9 rows are 5 and 4
        if (gate) e.gate = gate + i * ldc + base;
        if (width == PANEL) {
          kTiles[count](a + i * lda, lda, b, contract, to, ldc, &e);
        } else {
          float block[ROWS * PANEL], gates[ROWS * PANEL] = {0};
          if (gate) copy_block(e.gate, ldc, gates, PANEL, count, width);
          if (gate) e.gate = gates;
          kTiles[count](a + i * lda, lda, b, contract, block, PANEL, &e);
          copy_block(block, PANEL, to, ldc, count, width);
        }
      }
    }
  }
}

// ---- G = P^T Q ----

// As in gemm_avx512.c: a chunk of p and q is copied into small contiguous blocks, q by the first tile that reads it, p
// by its first strip of columns, both while they multiply; a tile leaves its sums in g between chunks. Strips of fewer
// than 8 rows or columns are copied first, with zeros, and their tiles work on a block beside g.
enum { CHUNK = 256, P_FLOATS = 8 * CHUNK * ROWS, AHEAD = 32 };  // AHEAD: rows between a prefetch and its use

typedef struct chunk {
  const float* p;  // [rows] at distance ldp, from the tile's first column; or the copy [rows][ROWS]
  const float* q;  // [rows] at distance ldq, from the strip's first column; or the copy [rows][PANEL]
  int64_t ldp, ldq;
  float* copy_p;
  float* copy_q;
  int rows, fresh;
} chunk;

// g[8][8] at distance ldg (+)= p^T q over one chunk; what is copied are constants where it is inlined.
static inline __attribute__((always_inline)) void outer_tile(int copies_p, int copies_q, const chunk* k, float* g,
                                                             int64_t ldg) {
  const int64_t ldp = copies_p ? k->ldp : ROWS, ldq = copies_q ? k->ldq : PANEL;
  const float* p = k->p;
  const float* q = k->q;
  float* copy_p = k->copy_p;
  float* copy_q = k->copy_q;
  float32x4_t s[ROWS][2];
  if (k->fresh) {
    BW_UNROLL(8)
    for (int r = 0; r < ROWS; ++r) s[r][0] = s[r][1] = vdupq_n_f32(0);
  } else {
    BW_UNROLL(8)
    for (int r = 0; r < ROWS; ++r) {
      s[r][0] = vld1q_f32(g + r * ldg);
      s[r][1] = vld1q_f32(g + r * ldg + 4);
    }
  }
  for (int m = k->rows; m > 0; --m, p += ldp, q += ldq) {
    const float32x4_t q0 = vld1q_f32(q), q1 = vld1q_f32(q + 4), p0 = vld1q_f32(p), p1 = vld1q_f32(p + 4);
    if (copies_q) {
      __builtin_prefetch(q + AHEAD * ldq);
      vst1q_f32(copy_q, q0);
      vst1q_f32(copy_q + 4, q1);
      copy_q += PANEL;
    }
    if (copies_p) {
      __builtin_prefetch(p + AHEAD * ldp);
      vst1q_f32(copy_p, p0);
      vst1q_f32(copy_p + 4, p1);
      copy_p += ROWS;
    }
#define ROW(r, from, lane)                            \
  s[r][0] = vfmaq_laneq_f32(s[r][0], q0, from, lane); \
  s[r][1] = vfmaq_laneq_f32(s[r][1], q1, from, lane)
    ROW(0, p0, 0);
    ROW(1, p0, 1);
    ROW(2, p0, 2);
    ROW(3, p0, 3);
    ROW(4, p1, 0);
    ROW(5, p1, 1);
    ROW(6, p1, 2);
    ROW(7, p1, 3);
#undef ROW
  }
  BW_UNROLL(8)
  for (int r = 0; r < ROWS; ++r) {
    vst1q_f32(g + r * ldg, s[r][0]);
    vst1q_f32(g + r * ldg + 4, s[r][1]);
  }
}

typedef void (*outer_fn)(const chunk*, float*, int64_t);

static void outer_plain(const chunk* k, float* g, int64_t ldg) { outer_tile(0, 0, k, g, ldg); }
static void outer_p(const chunk* k, float* g, int64_t ldg) { outer_tile(1, 0, k, g, ldg); }
static void outer_q(const chunk* k, float* g, int64_t ldg) { outer_tile(0, 1, k, g, ldg); }
static void outer_pq(const chunk* k, float* g, int64_t ldg) { outer_tile(1, 1, k, g, ldg); }

// By what is copied: 1 p, 2 q.
static const outer_fn kOuters[4] = {outer_plain, outer_p, outer_q, outer_pq};

// The first `width` of 8 columns of from[rows] at distance ld as [rows][8], zeros beyond.
static void copy_strip(const float* from, int64_t ld, int rows, int width, float* to) {
  memset(to, 0, (size_t)rows * PANEL * sizeof *to);
  copy_block(from, ld, to, PANEL, rows, width);
}

// Rows [0, rows) of p and q into rows of g from `first_row`, at most P_FLOATS / ROWS / rows tiles.
static void outer_block(const float* p, int64_t ldp, const float* q, int64_t ldq, int rows, int first_row, int last_row,
                        int columns, int fresh, float* g, int64_t ldg) {
  _Alignas(64) float p_block[P_FLOATS];
  _Alignas(64) float q_strip[CHUNK * PANEL];
  chunk k = {.ldp = ldp, .ldq = ldq, .copy_q = q_strip, .rows = rows, .fresh = fresh};
  for (int base = 0; base < columns; base += PANEL) {
    const int width = columns - base < PANEL ? columns - base : PANEL;
    if (width < PANEL) copy_strip(q + base, ldq, rows, width, q_strip);
    for (int i = first_row; i < last_row; i += ROWS) {
      const int count = last_row - i < ROWS ? last_row - i : ROWS;
      const int copies_p = base == 0 && count == ROWS, copies_q = i == first_row && width == PANEL;
      float* to = g + i * ldg + base;
      k.copy_p = p_block + (int64_t)(i - first_row) * rows;
      k.p = copies_p ? p + i : k.copy_p;
      k.q = copies_q ? q + base : q_strip;
      if (base == 0 && !copies_p) copy_strip(p + i, ldp, rows, count, k.copy_p);
      if (width == PANEL && count == ROWS) {
        kOuters[copies_p + 2 * copies_q](&k, to, ldg);
      } else {
        float block[ROWS * PANEL] = {0};
        if (!fresh) copy_block(to, ldg, block, PANEL, count, width);
        kOuters[copies_p + 2 * copies_q](&k, block, PANEL);
        copy_block(block, PANEL, to, ldg, count, width);
      }
    }
  }
}

static void outer(const float* p, int64_t ldp, const float* q, int64_t ldq, int rows, int first_row, int last_row,
                  int columns, int accumulate, float* g, int64_t ldg) {
  int m = 0;
  do {  // at least once: an empty sum is 0
    const int chunk_rows = rows - m < CHUNK ? rows - m : CHUNK;
    const int block = P_FLOATS / ROWS / (chunk_rows ? chunk_rows : 1) * ROWS;
    for (int i = first_row; i < last_row; i += block) {
      const int end = last_row - i < block ? last_row : i + block;
      outer_block(p + m * ldp, ldp, q + m * ldq, ldq, chunk_rows, i, end, columns, m == 0 && !accumulate, g, ldg);
    }
    m += chunk_rows;
  } while (m < rows);
}

const bw_gemm bw_gemm_neon = {
    .name = "neon", .panel = PANEL, .row_tile = ROWS, .pack = pack, .multiply = multiply, .outer = outer};
