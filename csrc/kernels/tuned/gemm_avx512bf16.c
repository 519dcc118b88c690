// Matrix products with AVX512-BF16: factors rounded to bf16, everything in memory and all sums fp32.
//
// Tiles of 8 rows x 32 columns, as in gemm_avx512.c; a step takes two values of the contracted index, so that one
// instruction (VDPBF16PS) does two multiply-adds in each of 16 lanes. A pair is one 32-bit word, the even value in its
// lower half. Weights are packed as [pairs][PANEL] words; the factors that come as fp32 (rows of A, both matrices of
// the outer product) are converted a block at a time into a small buffer on the stack, outside the loops over panels.
#include "avx512.h"

// Words of converted rows of A at a time: at least one row of 16,384 pairs, eight of 2,048.
enum { BLOCK_ROWS = 64, BLOCK_WORDS = 1 << 14 };

// 16 pairs (low[i], high[i]).
static inline __m512i pair_rows(__m512 low, __m512 high) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

// The pairs of 32 neighbours (x[0], x[1]), (x[2], x[3]), ...; 0 from x[count] on.
static inline __m512i pair_neighbours(const float* x, int count) {
  const __m512 low = _mm512_maskz_loadu_ps(bw_lanes(count), x);
  const __m512 high = _mm512_maskz_loadu_ps(bw_lanes(count - 16), x + 16);
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

// ---- packing ----

// out[k * PANEL + n] = the pair of in[n * stride + 2k] and its neighbour, for 2k < depth (at most 32) and n < width; 0
// for width <= n < 16.
static void transpose_block(const float* in, int64_t stride, int width, int depth, float* out) {
  __m512 r[16];
  BW_UNROLL(16)
  for (int n = 0; n < 16; ++n) {
    r[n] = n < width ? _mm512_castsi512_ps(pair_neighbours(in + n * stride, depth)) : _mm512_setzero_ps();
  }
  bw_transpose_16x16(r);
  BW_UNROLL(16)
  for (int k = 0; k < 16; ++k) {
    if (2 * k < depth) _mm512_store_ps(out + k * PANEL, r[k]);
  }
}

static void pack(const float* b, int64_t stride_c, int64_t stride_n, int contract, int columns, int first_panel,
                 int last_panel, int first_contract, int last_contract, float* packed) {
  const int64_t pairs = (contract + 1) / 2;
  for (int p = first_panel; p < last_panel; ++p) {
    const int base = p * PANEL;
    const int width = columns - base < PANEL ? columns - base : PANEL;
    const __mmask16 mask[2] = {bw_lanes(width), bw_lanes(width - 16)};
    float* out = packed + p * PANEL * pairs;
    const float* in = b + base * stride_n;
    if (stride_c == 1) {
      for (int c = first_contract; c < last_contract; c += 32) {
        const int depth = last_contract - c < 32 ? last_contract - c : 32;
        transpose_block(in + c, stride_n, width, depth, out + c / 2 * PANEL);
        transpose_block(in + 16 * stride_n + c, stride_n, width - 16, depth, out + c / 2 * PANEL + 16);
      }
    } else {
      for (int c = first_contract; c < last_contract; c += 2) {
        for (int v = 0; v < 2; ++v) {
          __m512 row[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
          for (int i = 0; i < 2 && c + i < last_contract; ++i) {
            const float* from = in + (c + i) * stride_c + 16 * v * stride_n;
            if (stride_n == 1) {
              row[i] = _mm512_maskz_loadu_ps(mask[v], from);
            } else {
              float values[16] = {0};
              for (int n = 0; n < 16 && 16 * v + n < width; ++n) values[n] = from[n * stride_n];
              row[i] = _mm512_loadu_ps(values);
            }
          }
          _mm512_store_si512(out + c / 2 * PANEL + 16 * v, pair_rows(row[0], row[1]));
        }
      }
    }
  }
}

// ---- C = act(A B + bias) ----

static inline __attribute__((always_inline)) __m512 multiply_add(__m512 sum, __m512i x, __m512i y) {
  return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)y);
}

// R rows x V vectors; R and V are constants where it is inlined. a: words, rows lda apart.
static inline __attribute__((always_inline)) void tile(int R, int V, const uint32_t* a, int64_t lda, const float* b,
                                                       int64_t pairs, float* c, int64_t ldc, const bw_epilogue* e) {
  __m512 s[ROWS][2];
  BW_UNROLL(8)
  for (int r = 0; r < R; ++r) {
    BW_UNROLL(2)
    for (int v = 0; v < V; ++v) s[r][v] = _mm512_setzero_ps();
  }
  for (int64_t k = 0; k < pairs; ++k) {
    __m512i x[2];
    BW_UNROLL(2)
    for (int v = 0; v < V; ++v) x[v] = _mm512_load_si512(b + k * PANEL + 16 * v);
    BW_UNROLL(8)
    for (int r = 0; r < R; ++r) {
      const __m512i y = _mm512_set1_epi32((int)a[r * lda + k]);
      BW_UNROLL(2)
      for (int v = 0; v < V; ++v) s[r][v] = multiply_add(s[r][v], y, x[v]);
    }
  }
  BW_UNROLL(8)
  for (int r = 0; r < R; ++r) {
    BW_UNROLL(2)
    for (int v = 0; v < V; ++v) bw_finish(s[r][v], v, c + r * ldc + 16 * v, e);
  }
}

typedef void (*tile_fn)(const uint32_t*, int64_t, const float*, int64_t, float*, int64_t, const bw_epilogue*);

// clang-format off
#define TILE(R, V)                                                                                               \
  static void tile_##R##_##V(const uint32_t* a, int64_t lda, const float* b, int64_t pairs, float* c, int64_t ldc, \
                             const bw_epilogue* e) {                                                             \
    tile(R, V, a, lda, b, pairs, c, ldc, e);                                                                     \
  }
TILE(1, 1) TILE(2, 1) TILE(3, 1) TILE(4, 1) TILE(5, 1) TILE(6, 1) TILE(7, 1) TILE(8, 1)
TILE(1, 2) TILE(2, 2) TILE(3, 2) TILE(4, 2) TILE(5, 2) TILE(6, 2) TILE(7, 2) TILE(8, 2)
#undef TILE
    // clang-format on

    static const tile_fn kTiles[2][ROWS + 1] = {
        {NULL, tile_1_1, tile_2_1, tile_3_1, tile_4_1, tile_5_1, tile_6_1, tile_7_1, tile_8_1},
        {NULL, tile_1_2, tile_2_2, tile_3_2, tile_4_2, tile_5_2, tile_6_2, tile_7_2, tile_8_2},
};

static void multiply(const float* a, int64_t lda, const float* packed, int rows, int contract, int columns,
                     int first_panel, int last_panel, const float* bias, bw_activation activation, int accumulate,
                     float* c, int64_t ldc) {
  _Alignas(64) uint32_t block[BLOCK_WORDS];
  const int64_t pairs = (contract + 1) / 2, ld = (pairs + 15) / 16 * 16;
  const int fit = ld > 0 && BLOCK_WORDS / ld < BLOCK_ROWS ? (int)(BLOCK_WORDS / ld) : BLOCK_ROWS;
  const int step = fit >= ROWS ? fit / ROWS * ROWS : fit;
  for (int first = 0; first < rows; first += step) {
    const int height = rows - first < step ? rows - first : step;
    for (int i = 0; i < height; ++i) {
      for (int k = 0; k < contract; k += 32) {
        _mm512_store_si512(block + i * ld + k / 2, pair_neighbours(a + (first + i) * lda + k, contract - k));
      }
    }
    // A panel stays in L1 while all row tiles pass over it.
    for (int p = first_panel; p < last_panel; ++p) {
      const int base = p * PANEL;
      const bw_epilogue e = bw_epilogue_of(bias, base, columns, activation, accumulate);
      const tile_fn* tiles = kTiles[columns - base > 16];
      for (int i = 0, count; i < height; i += count) {
        const int left = height - i;
        count = left >= 2 * ROWS || left == ROWS ? ROWS : left > ROWS ? (left + 1) / 2 : left;  // 9 rows are 5 and 4
        tiles[count](block + i * ld, ld, packed + p * PANEL * pairs, pairs, c + (first + i) * ldc + base, ldc, &e);
      }
    }
  }
}

// ---- G = P^T Q ----

// A chunk of rows of p and q is converted into small contiguous blocks; a tile goes through it with its sums in
// registers and leaves them in g between chunks, so the chain over m stays one chain. CHUNK is even.
enum { CHUNK = 128, BLOCK_TILES = 16 };

// g rows x 2 vectors of columns (+)= p^T q over the pairs of one chunk; R is a constant where it is inlined.
static inline __attribute__((always_inline)) void outer_tile(int R, const uint32_t* p, const uint32_t* q, int pairs,
                                                             int fresh, float* g, int64_t ldg, __mmask16 mask0,
                                                             __mmask16 mask1) {
  __m512 s[ROWS][2];
  BW_UNROLL(8)
  for (int r = 0; r < R; ++r) {
    s[r][0] = fresh ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask0, g + r * ldg);
    s[r][1] = fresh ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask1, g + r * ldg + 16);
  }
  for (int m = 0; m < pairs; ++m) {
    const __m512i q0 = _mm512_load_si512(q + m * PANEL), q1 = _mm512_load_si512(q + m * PANEL + 16);
    BW_UNROLL(8)
    for (int r = 0; r < R; ++r) {
      const __m512i v = _mm512_set1_epi32((int)p[m * ROWS + r]);
      s[r][0] = multiply_add(s[r][0], v, q0);
      s[r][1] = multiply_add(s[r][1], v, q1);
    }
  }
  BW_UNROLL(8)
  for (int r = 0; r < R; ++r) {
    _mm512_mask_storeu_ps(g + r * ldg, mask0, s[r][0]);
    _mm512_mask_storeu_ps(g + r * ldg + 16, mask1, s[r][1]);
  }
}

typedef void (*outer_fn)(const uint32_t*, const uint32_t*, int, int, float*, int64_t, __mmask16, __mmask16);

// clang-format off
#define OUTER(R)                                                                                             \
  static void outer_##R(const uint32_t* p, const uint32_t* q, int pairs, int fresh, float* g, int64_t ldg, \
                        __mmask16 mask0, __mmask16 mask1) {                                                  \
    outer_tile(R, p, q, pairs, fresh, g, ldg, mask0, mask1);                                                 \
  }
OUTER(1) OUTER(2) OUTER(3) OUTER(4) OUTER(5) OUTER(6) OUTER(7) OUTER(8)
#undef OUTER
    // clang-format on

    static const outer_fn kOuters[ROWS + 1] = {NULL,    outer_1, outer_2, outer_3, outer_4,
                                               outer_5, outer_6, outer_7, outer_8};

// Rows m and m + 1 of x from column `at` on, the first `count` of 16, as pairs. A row beyond the last is 0.
static inline __m512i pairs_at(const float* x, int64_t ld, int m, int rows, int at, int count) {
  const __mmask16 mask = bw_lanes(count);
  const __m512 low = _mm512_maskz_loadu_ps(mask, x + m * ld + at);
  return pair_rows(low, m + 1 < rows ? _mm512_maskz_loadu_ps(mask, x + (m + 1) * ld + at) : _mm512_setzero_ps());
}

// Rows [0, rows) of p and q into rows of g from `first_row`, at most BLOCK_TILES tiles.
static void outer_block(const float* p, int64_t ldp, const float* q, int64_t ldq, int rows, int first_row, int last_row,
                        int columns, int fresh, float* g, int64_t ldg) {
  _Alignas(64) uint32_t p_block[BLOCK_TILES][CHUNK / 2 * ROWS];
  _Alignas(64) uint32_t q_strip[CHUNK / 2 * PANEL];
  for (int i = first_row, tile = 0; i < last_row; i += 2 * ROWS, tile += 2) {
    for (int m = 0; m < rows; m += 2) {
      const __m512i words = pairs_at(p, ldp, m, rows, i, last_row - i);
      _mm256_store_si256((__m256i*)(p_block[tile] + m / 2 * ROWS), _mm512_castsi512_si256(words));
      _mm256_store_si256((__m256i*)(p_block[tile + 1] + m / 2 * ROWS), _mm512_extracti64x4_epi64(words, 1));
    }
  }
  for (int base = 0; base < columns; base += PANEL) {
    const __mmask16 mask0 = bw_lanes(columns - base), mask1 = bw_lanes(columns - base - 16);
    for (int m = 0; m < rows; m += 2) {
      _mm512_store_si512(q_strip + m / 2 * PANEL, pairs_at(q, ldq, m, rows, base, columns - base));
      _mm512_store_si512(q_strip + m / 2 * PANEL + 16, pairs_at(q, ldq, m, rows, base + 16, columns - base - 16));
    }
    for (int i = first_row, tile = 0; i < last_row; i += ROWS, ++tile) {
      const int count = last_row - i < ROWS ? last_row - i : ROWS;
      kOuters[count](p_block[tile], q_strip, (rows + 1) / 2, fresh, g + i * ldg + base, ldg, mask0, mask1);
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

const bw_gemm bw_gemm_avx512bf16 = {.name = "avx512bf16",
                                    .panel = PANEL,
                                    .row_tile = ROWS,
                                    .bf16 = 1,
                                    .pack = pack,
                                    .multiply = multiply,
                                    .outer = outer};
