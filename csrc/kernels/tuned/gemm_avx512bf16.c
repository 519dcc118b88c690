// Matrix products with AVX512-BF16: factors rounded to bf16, everything in memory and all sums fp32.
//
// Tiles of 8 rows x 32 columns, as in gemm_avx512.c; a step takes two values of the contracted index, so that one
// instruction (VDPBF16PS) does two multiply-adds in each of 16 lanes. A pair is one 32-bit word, the even value in its
// lower half. Weights are packed as [pairs][PANEL] words; the factors that come as fp32 (rows of A, both matrices of
// the outer product) are converted a block at a time into a small buffer on the stack, once for all panels.
//
// Tried (M x 256 x 256, one thread of a Zen 4, % of the probe of the same process, 235 GFLOP/s; medians of interleaved
// runs. The machine was shared, which moves M = 2048 most, since it lives in L3; within a group all ran together):
//                                                               M = 64    M = 256   M = 2048
//   multiply      rows of A converted by blocks of 64             95        95        92     forward
//                 blocks of 32 or 128 rows                        95        95        92
//                 prefetching the tile's own C                    93        93        91
//                 prefetching C of the next block                 95        95        91     80, not 72, beside others
//                   and the next block's A                        95        94        91
//                 a line a step: the next panel of W, then A      95        95        92     this one; beside others
//                                                                 four runs in turn: 71, 74, 87, 91 -> 92, 92, 92, 80
//   outer         strips converted before they are used           87, 79    89, 81    83, 72   G in a call, 32 rows
//   each
//                 q by the first tile that reads it,
//                   a masked-off row after an odd end             87, 82    89, 83    83, 76
//                     and p by its first strip                    84, 79    84, 81    80, 71   waits for its stores
//                   zeros read after an odd end                   90, 89    91, 91    84, 78
//                     and chunks of 256 rows, not 128             90, 90    92, 93    85, 79
//                     of 512                                      90, 90    93, 93    85, 79
//                     of 256, rows 32 ahead prefetched            89, 88    92, 92    88, 81
//                     of 256, a line of the next chunk a step     91, 89    92, 93    89, 83
//                       of the last chunk, what is converted next: no difference here; in training (Connect Four, ms
//                                                                 an iteration, four runs in turn) 143, 142, 151, 135
//                                                                 -> 141, 136, 134, 122                this one
//   pack          forward, 16 x 16 transpositions of words        13,100 cycles, 10% of a product of 64 rows
//                 backward, panel by panel                        27,000 cycles
//                   two rows at a time                            15,700
//                   8 rows                                        13,000         this one
//                   4, 16, 32 rows                                13,900, 13,000, 13,200
//                   two rows, prefetching what is written         16,000
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

// The pairs of one panel's columns, neighbours, of two rows; 0 beyond `columns`.
static inline void pack_rows(const float* rows, int64_t stride, int columns, float* out) {
  BW_UNROLL(2)
  for (int v = 0; v < 2; ++v) {
    const __mmask16 mask = bw_lanes(columns - 16 * v);
    const __m512 low = _mm512_maskz_loadu_ps(mask, rows + 16 * v);
    _mm512_store_si512(out + 16 * v, pair_rows(low, _mm512_maskz_loadu_ps(mask, rows + stride + 16 * v)));
  }
}

static void pack(const float* b, int64_t stride_c, int64_t stride_n, int contract, int columns, int first_panel,
                 int last_panel, int first_contract, int last_contract, float* packed) {
  const int64_t pairs = (contract + 1) / 2;
  const int last_pair = last_contract / 2 * 2;
  if (stride_n == 1) {
    // Eight rows at a time: four lines of a panel in turn, and the rows still in L1 for the next panel.
    for (int first = first_contract; first < last_pair; first += 8) {
      const int last = last_pair - first < 8 ? last_pair : first + 8;
      for (int p = first_panel; p < last_panel; ++p) {
        float* out = packed + p * PANEL * pairs;
        for (int c = first; c < last; c += 2)
          pack_rows(b + c * stride_c + p * PANEL, stride_c, columns - p * PANEL, out + c / 2 * PANEL);
      }
    }
  }
  for (int p = first_panel; p < last_panel; ++p) {
    const int base = p * PANEL;
    const int width = columns - base < PANEL ? columns - base : PANEL;
    float* out = packed + p * PANEL * pairs;
    const float* in = b + base * stride_n;
    if (stride_c == 1) {
      for (int c = first_contract; c < last_contract; c += 32) {
        const int depth = last_contract - c < 32 ? last_contract - c : 32;
        transpose_block(in + c, stride_n, width, depth, out + c / 2 * PANEL);
        transpose_block(in + 16 * stride_n + c, stride_n, width - 16, depth, out + c / 2 * PANEL + 16);
      }
    } else {
      // Any strides, and the odd end of neighbouring columns: through rows of one panel.
      for (int c = stride_n == 1 ? last_pair : first_contract; c < last_contract; c += 2) {
        float rows[2][PANEL] = {{0}};
        for (int i = 0; i < 2 && c + i < last_contract; ++i) {
          for (int n = 0; n < width; ++n) rows[i][n] = in[(c + i) * stride_c + n * stride_n];
        }
        pack_rows(rows[0], PANEL, width, out + c / 2 * PANEL);
      }
    }
  }
}

// ---- C = act(A B + bias) ----

static inline __attribute__((always_inline)) __m512 multiply_add(__m512 sum, __m512i x, __m512i y) {
  return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)y);
}

// R rows x V vectors; R and V are constants where it is inlined. a: words, rows lda apart.
// ahead: what is prefetched meanwhile, a line a step: two tiles of rows fetch a panel, four fetch 32 rows of A.
static inline __attribute__((always_inline)) void tile(int R, int V, const uint32_t* a, int64_t lda, const float* b,
                                                       int64_t pairs, float* c, int64_t ldc, const bw_epilogue* e,
                                                       const float* ahead) {
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
    _mm_prefetch((const char*)(ahead + k * 16), _MM_HINT_T1);
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
    for (int v = 0; v < V; ++v) bw_finish(s[r][v], v, c, r * ldc + 16 * v, e);
  }
}

typedef void (*tile_fn)(const uint32_t*, int64_t, const float*, int64_t, float*, int64_t, const bw_epilogue*,
                        const float*);

// clang-format off
#define TILE(R, V)                                                                                               \
  static void tile_##R##_##V(const uint32_t* a, int64_t lda, const float* b, int64_t pairs, float* c, int64_t ldc, \
                             const bw_epilogue* e, const float* ahead) {                                         \
    tile(R, V, a, lda, b, pairs, c, ldc, e, ahead);                                                              \
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
                     int first_panel, int last_panel, const float* bias, bw_activation activation, const float* gate,
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
    // A panel stays in L1 while a block of rows passes over it.
    for (int p = first_panel; p < last_panel; ++p) {
      const int base = p * PANEL;
      bw_epilogue e = bw_epilogue_of(bias, base, columns, activation);
      const tile_fn* tiles = kTiles[columns - base > 16];
      for (int i = 0, count; i < height; i += count) {
        const int left = height - i;
        count = left >= 2 * ROWS || left == ROWS ? ROWS : left > ROWS ? (left + 1) / 2 : left;  // 9 rows are 5 and 4
        if (gate) e.gate = gate + (first + i) * ldc + base;
        const float* b = packed + p * PANEL * pairs;
        const float* next = p + 1 < last_panel ? b + pairs * PANEL : a + (first + height) * lda;  // a panel, or rows
        tiles[count](block + i * ld, ld, b, pairs, c + (first + i) * ldc + base, ldc, &e, next + 2 * i * pairs);
      }
    }
  }
}

// ---- G = P^T Q ----

// A chunk of rows of p and q is converted into small contiguous blocks: p two tiles at a time, before its first strip
// of columns; q by the first tile that reads the strip, while it multiplies, so that conversion and what it waits for
// hide behind the multiply-adds. A tile goes through a chunk of m with its sums in registers and leaves them in g
// between chunks: storing and reloading a float changes nothing, so the chain over m stays one chain. CHUNK is even.
enum { CHUNK = 256, BLOCK_TILES = 16 };

static const float kZeros[PANEL];  // stands in for the row after an odd end

// Addresses to prefetch, one a step.
typedef struct walk {
  const float* at;
  int64_t step;
} walk;

// g rows x 2 vectors of columns (+)= p^T q over `rows` rows. p: [pairs][ROWS]. q: [pairs][PANEL], written first, from
// rows of from_q, if converts. R and converts are constants where it is inlined.
static inline __attribute__((always_inline)) void outer_tile(int R, int converts, const uint32_t* p, uint32_t* q,
                                                             const float* from_q, int64_t ldq, int rows, int fresh,
                                                             float* g, int64_t ldg, __mmask16 mask0, __mmask16 mask1,
                                                             walk ahead) {
  __m512 s[ROWS][2];
  BW_UNROLL(8)
  for (int r = 0; r < R; ++r) {
    s[r][0] = fresh ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask0, g + r * ldg);
    s[r][1] = fresh ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask1, g + r * ldg + 16);
  }
  for (int m = 0; m < rows; m += 2, p += ROWS, q += PANEL, ahead.at += ahead.step) {
    __m512i q0, q1;
    _mm_prefetch((const char*)ahead.at, _MM_HINT_T0);
    if (converts) {
      const float* next = m + 1 < rows ? from_q + ldq : kZeros;
      q0 = pair_rows(_mm512_maskz_loadu_ps(mask0, from_q), _mm512_maskz_loadu_ps(mask0, next));
      q1 = pair_rows(_mm512_maskz_loadu_ps(mask1, from_q + 16), _mm512_maskz_loadu_ps(mask1, next + 16));
      _mm512_store_si512(q, q0);
      _mm512_store_si512(q + 16, q1);
      from_q += 2 * ldq;
    } else {
      q0 = _mm512_load_si512(q);
      q1 = _mm512_load_si512(q + 16);
    }
    BW_UNROLL(8)
    for (int r = 0; r < R; ++r) {
      const __m512i v = _mm512_set1_epi32((int)p[r]);
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

typedef void (*outer_fn)(const uint32_t*, uint32_t*, const float*, int64_t, int, int, float*, int64_t, __mmask16,
                         __mmask16, walk);

// clang-format off
#define OUTER(R, NAME, CONVERTS)                                                                                \
  static void NAME##_##R(const uint32_t* p, uint32_t* q, const float* from_q, int64_t ldq, int rows, int fresh, \
                         float* g, int64_t ldg, __mmask16 mask0, __mmask16 mask1, walk ahead) {                 \
    outer_tile(R, CONVERTS, p, q, from_q, ldq, rows, fresh, g, ldg, mask0, mask1, ahead);                       \
  }
#define OUTERS(R) OUTER(R, outer, 0) OUTER(R, outer_first, 1)
OUTERS(1) OUTERS(2) OUTERS(3) OUTERS(4) OUTERS(5) OUTERS(6) OUTERS(7) OUTERS(8)
#undef OUTERS
#undef OUTER
    // clang-format on

    // The first tile of a strip converts it.
    static const outer_fn kOuters[2][ROWS + 1] = {
        {NULL, outer_1, outer_2, outer_3, outer_4, outer_5, outer_6, outer_7, outer_8},
        {NULL, outer_first_1, outer_first_2, outer_first_3, outer_first_4, outer_first_5, outer_first_6, outer_first_7,
         outer_first_8}};

// Rows of the first `count` (at most 16) columns of p into two tiles.
static void convert_p(const float* p, int64_t ldp, int rows, int count, uint32_t* tile0, uint32_t* tile1) {
  const __mmask16 mask = bw_lanes(count);
  for (int m = 0; m < rows; m += 2, p += 2 * ldp, tile0 += ROWS, tile1 += ROWS) {
    const float* next = m + 1 < rows ? p + ldp : kZeros;
    const __m512i words = pair_rows(_mm512_maskz_loadu_ps(mask, p), _mm512_maskz_loadu_ps(mask, next));
    _mm256_store_si256((__m256i*)tile0, _mm512_castsi512_si256(words));
    _mm256_store_si256((__m256i*)tile1, _mm512_extracti64x4_epi64(words, 1));
  }
}

// What tile number `turn` of a chunk fetches of the next one, a line of 16 columns a row: of its q, upper half of the
// rows, then lower half, line by line; then of its p.
static inline walk next_chunk(const float* p, int64_t ldp, const float* q, int64_t ldq, int width, int columns,
                              int turn) {
  const int lines = (columns + 15) / 16, of_p = turn >= 2 * lines, line = (of_p ? turn - 2 * lines : turn) / 2;
  const int row = CHUNK + turn % 2 * (CHUNK / 2);
  if (!of_p) return (walk){q + row * ldq + 16 * line, ldq};
  return 16 * line < width ? (walk){p + row * ldp + 16 * line, ldp} : (walk){kZeros, 0};
}

// What it fetches of the last chunk: while p is converted, of its next two tiles; later, of the next strip of q.
static inline walk next_strip(const float* p, int64_t ldp, const float* q, int64_t ldq, int rows, int width,
                              int columns, int base, int tile) {
  const int half = rows / 2;
  if (base == 0 && (tile / 2 + 1) * 2 * ROWS < width)
    return (walk){p + (tile / 2 + 1) * 2 * ROWS + (tile % 2 ? half * ldp : 0), ldp};
  const int turn = base == 0 ? tile % 4 : tile, column = base + PANEL + turn % 2 * 16;
  if (turn >= 4 || column >= columns) return (walk){kZeros, 0};
  return (walk){q + column + (turn / 2 ? half * ldq : 0), ldq};
}

// Rows [0, rows) of p and q into rows of g from `first_row`, at most BLOCK_TILES tiles. last: no chunk follows.
static void outer_block(const float* p, int64_t ldp, const float* q, int64_t ldq, int rows, int first_row, int last_row,
                        int columns, int fresh, int last, float* g, int64_t ldg) {
  _Alignas(64) uint32_t p_block[BLOCK_TILES][CHUNK / 2 * ROWS];
  _Alignas(64) uint32_t q_strip[CHUNK / 2 * PANEL];
  for (int base = 0, turn = 0; base < columns; base += PANEL) {
    const __mmask16 mask0 = bw_lanes(columns - base), mask1 = bw_lanes(columns - base - 16);
    for (int i = first_row, tile = 0; i < last_row; i += ROWS, ++tile, ++turn) {
      const int left = last_row - i, count = left < ROWS ? left : ROWS;
      walk ahead = {kZeros, 0};
      if (last) ahead = next_strip(p + first_row, ldp, q, ldq, rows, last_row - first_row, columns, base, tile);
      if (!last) ahead = next_chunk(p + first_row, ldp, q, ldq, last_row - first_row, columns, turn);
      if (base == 0 && tile % 2 == 0) convert_p(p + i, ldp, rows, left, p_block[tile], p_block[tile + 1]);
      kOuters[tile == 0][count](p_block[tile], q_strip, q + base, ldq, rows, fresh, g + i * ldg + base, ldg, mask0,
                                mask1, ahead);
    }
  }
}

static void outer(const float* p, int64_t ldp, const float* q, int64_t ldq, int rows, int first_row, int last_row,
                  int columns, int accumulate, float* g, int64_t ldg) {
  int m = 0;
  do {  // at least once: an empty sum is 0
    const int chunk = rows - m < CHUNK ? rows - m : CHUNK, fresh = m == 0 && !accumulate;
    for (int i = first_row; i < last_row; i += BLOCK_TILES * ROWS) {
      const int end = last_row - i < BLOCK_TILES * ROWS ? last_row : i + BLOCK_TILES * ROWS;
      outer_block(p + m * ldp, ldp, q + m * ldq, ldq, chunk, i, end, columns, fresh, m + chunk >= rows, g, ldg);
    }
    m += chunk;
  } while (m < rows);
}

const bw_gemm bw_gemm_avx512bf16 = {.name = "avx512bf16",
                                    .panel = PANEL,
                                    .row_tile = ROWS,
                                    .bf16 = 1,
                                    .pack = pack,
                                    .multiply = multiply,
                                    .outer = outer};
