// Matrix products with AVX-512: tiles of 8 rows x 32 columns, 16 accumulators of 16 floats.
//
// A step over the contracted index loads two vectors of the packed panel (or of q) and broadcasts eight values: 16
// fused multiply-adds for 10 loads, so the two FMA pipes are the limit. Fewer rows use the same code with fewer
// accumulators; every element remains one chain of fused multiply-adds, so its bits don't depend on the tile.
#include <immintrin.h>
#include <string.h>

#include "gemm.h"

enum { PANEL = 32, ROWS = 8 };

// ---- packing ----

static void pack(const float* b, int64_t stride_c, int64_t stride_n, int contract, int columns, int first_panel,
                 int last_panel, float* packed) {
  for (int p = first_panel; p < last_panel; ++p) {
    const int base = p * PANEL;
    const int width = columns - base < PANEL ? columns - base : PANEL;
    float* out = packed + (int64_t)p * PANEL * contract;
    const float* in = b + base * stride_n;
    if (width < PANEL) memset(out, 0, (size_t)PANEL * (size_t)contract * sizeof(float));
    if (stride_n == 1) {
      for (int c = 0; c < contract; ++c) memcpy(out + c * PANEL, in + c * stride_c, (size_t)width * sizeof(float));
    } else {
      // Transposing: 16 contracted indices at a time keep the reads within a few cache lines.
      for (int c0 = 0; c0 < contract; c0 += 16) {
        const int c1 = c0 + 16 < contract ? c0 + 16 : contract;
        for (int n = 0; n < width; ++n) {
          const float* column = in + n * stride_n;
          for (int c = c0; c < c1; ++c) out[c * PANEL + n] = column[c * stride_c];
        }
      }
    }
  }
}

// ---- C = act(A B + bias) ----

typedef struct epilogue {
  __m512 bias0, bias1;
  __mmask16 mask0, mask1;
  int add_bias, relu, accumulate;
} epilogue;

static inline void finish_row(__m512 s0, __m512 s1, float* c, const epilogue* e) {
  if (e->accumulate) {
    s0 = _mm512_add_ps(_mm512_maskz_loadu_ps(e->mask0, c), s0);
    s1 = _mm512_add_ps(_mm512_maskz_loadu_ps(e->mask1, c + 16), s1);
  }
  if (e->add_bias) {
    s0 = _mm512_add_ps(s0, e->bias0);
    s1 = _mm512_add_ps(s1, e->bias1);
  }
  if (e->relu) {
    // max(0, x) with x second keeps a NaN: it must not be hidden.
    s0 = _mm512_max_ps(_mm512_setzero_ps(), s0);
    s1 = _mm512_max_ps(_mm512_setzero_ps(), s1);
  }
  _mm512_mask_storeu_ps(c, e->mask0, s0);
  _mm512_mask_storeu_ps(c + 16, e->mask1, s1);
}

#define TILE(R)                                                                                              \
  static void tile_##R(const float* a, int64_t lda, const float* b, int contract, float* c, int64_t ldc,     \
                       const epilogue* e) {                                                                  \
    __m512 s[R][2];                                                                                          \
    for (int r = 0; r < R; ++r) s[r][0] = s[r][1] = _mm512_setzero_ps();                                     \
    for (int k = 0; k < contract; ++k) {                                                                     \
      const __m512 b0 = _mm512_load_ps(b + (int64_t)k * PANEL), b1 = _mm512_load_ps(b + (int64_t)k * PANEL + 16); \
      _Pragma("GCC unroll 8") for (int r = 0; r < R; ++r) {                                                  \
        const __m512 x = _mm512_set1_ps(a[r * lda + k]);                                                     \
        s[r][0] = _mm512_fmadd_ps(x, b0, s[r][0]);                                                           \
        s[r][1] = _mm512_fmadd_ps(x, b1, s[r][1]);                                                           \
      }                                                                                                      \
    }                                                                                                        \
    for (int r = 0; r < R; ++r) finish_row(s[r][0], s[r][1], c + r * ldc, e);                                \
  }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
TILE(7)
TILE(8)
#undef TILE

typedef void (*tile_fn)(const float*, int64_t, const float*, int, float*, int64_t, const epilogue*);
static const tile_fn kTiles[ROWS + 1] = {0, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6, tile_7, tile_8};

// The first n of 16 lanes; n may be negative or above 16.
static inline __mmask16 lanes(int n) {
  return n >= 16 ? 0xFFFF : n <= 0 ? 0 : (__mmask16)((1u << n) - 1);
}

static void multiply(const float* a, int64_t lda, const float* packed, int rows, int contract, int columns,
                     int first_panel, int last_panel, const float* bias, bw_activation activation, int accumulate,
                     float* c, int64_t ldc) {
  // A panel stays in L1 while all row tiles pass over it.
  for (int p = first_panel; p < last_panel; ++p) {
    const int base = p * PANEL;
    const float* b = packed + (int64_t)p * PANEL * contract;
    epilogue e = {.mask0 = lanes(columns - base), .mask1 = lanes(columns - base - 16), .add_bias = bias != NULL,
                  .relu = activation == BW_ACT_RELU, .accumulate = accumulate};
    if (bias) {
      e.bias0 = _mm512_maskz_loadu_ps(e.mask0, bias + base);
      e.bias1 = _mm512_maskz_loadu_ps(e.mask1, bias + base + 16);
    }
    for (int i = 0; i < rows; i += ROWS) {
      const int count = rows - i < ROWS ? rows - i : ROWS;
      kTiles[count](a + i * lda, lda, b, contract, c + i * ldc + base, ldc, &e);
    }
  }
}

// ---- G = P^T Q ----

// Rows of p and q lie a power of two apart, which maps them onto a few cache sets, so a chunk of both is first copied
// into small contiguous blocks. A tile goes through a chunk of m with its sums in registers and leaves them in g
// between chunks: storing and reloading a float changes nothing, so the chain over m stays one chain.
enum { CHUNK = 128, BLOCK_TILES = 16 };

#define OUTER(R)                                                                                                   \
  static void outer_##R(const float* p, const float* q, int rows, int first, float* g, int64_t ldg, __mmask16 mask0, \
                        __mmask16 mask1) {                                                                         \
    __m512 s[R][2];                                                                                                \
    for (int r = 0; r < R; ++r) {                                                                                  \
      s[r][0] = first ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask0, g + r * ldg);                           \
      s[r][1] = first ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask1, g + r * ldg + 16);                      \
    }                                                                                                              \
    for (int m = 0; m < rows; ++m) {                                                                               \
      const __m512 q0 = _mm512_load_ps(q + m * PANEL), q1 = _mm512_load_ps(q + m * PANEL + 16);                    \
      _Pragma("GCC unroll 8") for (int r = 0; r < R; ++r) {                                                        \
        const __m512 v = _mm512_set1_ps(p[m * ROWS + r]);                                                          \
        s[r][0] = _mm512_fmadd_ps(v, q0, s[r][0]);                                                                 \
        s[r][1] = _mm512_fmadd_ps(v, q1, s[r][1]);                                                                 \
      }                                                                                                            \
    }                                                                                                              \
    for (int r = 0; r < R; ++r) {                                                                                  \
      _mm512_mask_storeu_ps(g + r * ldg, mask0, s[r][0]);                                                          \
      _mm512_mask_storeu_ps(g + r * ldg + 16, mask1, s[r][1]);                                                     \
    }                                                                                                              \
  }
OUTER(1)
OUTER(2)
OUTER(3)
OUTER(4)
OUTER(5)
OUTER(6)
OUTER(7)
OUTER(8)
#undef OUTER

typedef void (*outer_fn)(const float*, const float*, int, int, float*, int64_t, __mmask16, __mmask16);
static const outer_fn kOuters[ROWS + 1] = {0, outer_1, outer_2, outer_3, outer_4, outer_5, outer_6, outer_7, outer_8};

// Rows [0, rows) of p and q into columns of g from `first_row`, at most BLOCK_TILES tiles.
static void outer_block(const float* p, int64_t ldp, const float* q, int64_t ldq, int rows, int first_row,
                        int last_row, int columns, int first, float* g, int64_t ldg) {
  float p_block[BLOCK_TILES][CHUNK * ROWS];
  _Alignas(64) float q_strip[CHUNK * PANEL];
  for (int i = first_row, tile = 0; i < last_row; i += ROWS, ++tile) {
    const __mmask16 mask = lanes(last_row - i < ROWS ? last_row - i : ROWS);
    for (int m = 0; m < rows; ++m) {
      _mm256_storeu_ps(p_block[tile] + m * ROWS, _mm256_maskz_loadu_ps((__mmask8)mask, p + m * ldp + i));
    }
  }
  for (int base = 0; base < columns; base += PANEL) {
    const __mmask16 mask0 = lanes(columns - base), mask1 = lanes(columns - base - 16);
    for (int m = 0; m < rows; ++m) {
      _mm512_store_ps(q_strip + m * PANEL, _mm512_maskz_loadu_ps(mask0, q + m * ldq + base));
      _mm512_store_ps(q_strip + m * PANEL + 16, _mm512_maskz_loadu_ps(mask1, q + m * ldq + base + 16));
    }
    for (int i = first_row, tile = 0; i < last_row; i += ROWS, ++tile) {
      const int count = last_row - i < ROWS ? last_row - i : ROWS;
      kOuters[count](p_block[tile], q_strip, rows, first, g + i * ldg + base, ldg, mask0, mask1);
    }
  }
}

static void outer(const float* p, int64_t ldp, const float* q, int64_t ldq, int rows, int first_row, int last_row,
                  int columns, int accumulate, float* g, int64_t ldg) {
  for (int i = first_row; i < last_row; i += BLOCK_TILES * ROWS) {
    const int end = last_row - i < BLOCK_TILES * ROWS ? last_row : i + BLOCK_TILES * ROWS;
    int m = 0;
    do {  // at least once: an empty sum is 0
      const int chunk = rows - m < CHUNK ? rows - m : CHUNK;
      outer_block(p + m * ldp, ldp, q + m * ldq, ldq, chunk, i, end, columns, m == 0 && !accumulate, g, ldg);
      m += chunk;
    } while (m < rows);
  }
}

const bw_gemm bw_gemm_avx512 = {
    .name = "avx512", .panel = PANEL, .row_tile = ROWS, .pack = pack, .multiply = multiply, .outer = outer};
