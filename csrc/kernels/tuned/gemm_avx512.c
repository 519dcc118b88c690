// Matrix products with AVX-512: tiles of 8 rows x 32 columns, 16 sums of 16 floats.
//
// A step over the contracted index loads two vectors of the packed panel (or of q) and broadcasts eight values: 16
// fused multiply-adds for 10 loads, so the two FMA pipes are the limit. Fewer rows use the same code with fewer sums, a
// panel of at most 16 columns with one vector; every element remains one chain of fused multiply-adds, so its bits
// don't depend on the tile.
//
// Tried (64 x 256 x 256, one thread of a Zen 5 at 4.3 GHz; the FMA probe in registers: 275 GFLOP/s):
//   multiply      8 rows x 2 vectors                                       270 (98%)
//                 9 rows as 8 + 1                                          206        a single row waits for latency
//                 9 rows as 5 + 4                                          239        this one
//                 9 columns in 2 vectors, in 1                             75, 128
//   outer         reading p and q where they are                           95 (34%)
//                 copying strips of both to contiguous memory first        249 (90%)
//   pack forward  strided copies, 16 rows at a time                        16 us
//                 16 x 16 transposes in registers                          2.9 us     this one; multiply takes 31 us
// The weight gradient again (M x 256 x 256, one thread of a Zen 4, % of a probe of 118; rows of G in one call, or 32 a
// call; medians of interleaved runs):                          M = 64    M = 256   M = 2048
//                 copying strips first                         91, 86    91, 87    83, 76
//                 copies made by the first tile that reads     95, 94    95, 94    82, 73
//                 and rows 32 ahead prefetched meanwhile       95, 94    95, 94    94, 93   this one
//                 the same 8, 16, 64 rows ahead                no better
//                 the next strip prefetched by all its tiles   94, 92    93, 90    92, 82
//                 chunks of 192 or 256 rows; prefetching G     no different
//   multiply      2,048 rows, a panel over all of them                 90% forward, 93% backward
//                 a panel over 128 rows at a time                      95%          this one
//                 and the next panel prefetched into L2 meanwhile      in training, where packed weights come from L3:
//                                                                      103 -> 109 GFLOP/s with a busy machine beside it
//                 and during the last panel the next rows of A         2,048 rows, 32 a call, four runs in turn:
//                                                                      78, 89, 78, 87 -> 94, 93, 92, 88   this one
#include "avx512.h"

enum { ROW_BLOCK = 128 };

// ---- packing ----

// out[c * PANEL + n] = in[n * stride + c] for c < depth (at most 16) and n < width; 0 for width <= n < 16.
static void transpose_block(const float* in, int64_t stride, int width, int depth, float* out) {
  const __mmask16 mask = bw_lanes(depth);
  __m512 r[16];
  BW_UNROLL(16)
  for (int n = 0; n < 16; ++n) r[n] = n < width ? _mm512_maskz_loadu_ps(mask, in + n * stride) : _mm512_setzero_ps();
  bw_transpose_16x16(r);
  BW_UNROLL(16)
  for (int c = 0; c < 16; ++c) {
    if (c < depth) _mm512_store_ps(out + c * PANEL, r[c]);
  }
}

static void pack(const float* b, int64_t stride_c, int64_t stride_n, int contract, int columns, int first_panel,
                 int last_panel, int first_contract, int last_contract, float* packed) {
  for (int p = first_panel; p < last_panel; ++p) {
    const int base = p * PANEL;
    const int width = columns - base < PANEL ? columns - base : PANEL;
    const __mmask16 mask0 = bw_lanes(width), mask1 = bw_lanes(width - 16);
    float* out = packed + (int64_t)p * PANEL * contract;
    const float* in = b + base * stride_n;
    if (stride_n == 1) {
      for (int c = first_contract; c < last_contract; ++c) {
        _mm512_store_ps(out + c * PANEL, _mm512_maskz_loadu_ps(mask0, in + c * stride_c));
        _mm512_store_ps(out + c * PANEL + 16, _mm512_maskz_loadu_ps(mask1, in + c * stride_c + 16));
      }
    } else if (stride_c == 1) {
      for (int c = first_contract; c < last_contract; c += 16) {
        const int depth = last_contract - c < 16 ? last_contract - c : 16;
        transpose_block(in + c, stride_n, width, depth, out + c * PANEL);
        transpose_block(in + 16 * stride_n + c, stride_n, width - 16, depth, out + c * PANEL + 16);
      }
    } else {
      for (int c = first_contract; c < last_contract; ++c) {
        for (int n = 0; n < PANEL; ++n) out[c * PANEL + n] = n < width ? in[c * stride_c + n * stride_n] : 0;
      }
    }
  }
}

// ---- C = act(A B + bias) ----

// R rows x V vectors; R and V are constants where it is inlined.
// ahead: what is prefetched meanwhile, 8 floats a step; four tiles of rows fetch a panel, or 32 rows of A.
static inline __attribute__((always_inline)) void tile(int R, int V, const float* a, int64_t lda, const float* b,
                                                       int contract, float* c, int64_t ldc, const bw_epilogue* e,
                                                       const float* ahead) {
  __m512 s[ROWS][2];
  BW_UNROLL(8)
  for (int r = 0; r < R; ++r) {
    BW_UNROLL(2)
    for (int v = 0; v < V; ++v) s[r][v] = _mm512_setzero_ps();
  }
  for (int64_t k = 0; k < contract; ++k) {
    __m512 x[2];
    BW_UNROLL(2)
    for (int v = 0; v < V; ++v) x[v] = _mm512_load_ps(b + k * PANEL + 16 * v);
    _mm_prefetch((const char*)(ahead + k * 8), _MM_HINT_T1);
    BW_UNROLL(8)
    for (int r = 0; r < R; ++r) {
      const __m512 y = _mm512_set1_ps(a[r * lda + k]);
      BW_UNROLL(2)
      for (int v = 0; v < V; ++v) s[r][v] = _mm512_fmadd_ps(y, x[v], s[r][v]);
    }
  }
  BW_UNROLL(8)
  for (int r = 0; r < R; ++r) {
    BW_UNROLL(2)
    for (int v = 0; v < V; ++v) bw_finish(s[r][v], v, c, r * ldc + 16 * v, e);
  }
}

typedef void (*tile_fn)(const float*, int64_t, const float*, int, float*, int64_t, const bw_epilogue*, const float*);

// clang-format off
#define TILE(R, V)                                                                                             \
  static void tile_##R##_##V(const float* a, int64_t lda, const float* b, int contract, float* c, int64_t ldc, \
                             const bw_epilogue* e, const float* ahead) {                                       \
    tile(R, V, a, lda, b, contract, c, ldc, e, ahead);                                                         \
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
  // A panel stays in L1 while a block of rows passes over it, the block in L2 while the panels do.
  for (int first = 0, end; first < rows; first = end) {
    end = rows - first < ROW_BLOCK + ROWS ? rows : first + ROW_BLOCK;  // no small rest
    for (int p = first_panel; p < last_panel; ++p) {
      const int base = p * PANEL;
      const float* b = packed + (int64_t)p * PANEL * contract;
      bw_epilogue e = bw_epilogue_of(bias, base, columns, activation);
      const tile_fn* tiles = kTiles[columns - base > 16];
      for (int i = first, count; i < end; i += count) {
        const int left = end - i;
        count = left >= 2 * ROWS || left == ROWS ? ROWS : left > ROWS ? (left + 1) / 2 : left;  // 9 rows are 5 and 4
        if (gate) e.gate = gate + i * ldc + base;
        const float* next = p + 1 < last_panel ? b + contract * PANEL : a + end * lda;  // a panel, or rows
        tiles[count](a + i * lda, lda, b, contract, c + i * ldc + base, ldc, &e, next + (i - first) * contract);
      }
    }
  }
}

// ---- G = P^T Q ----

// Rows of p and q lie a power of two apart, which maps them onto a few cache sets, so a chunk of both is copied into
// small contiguous blocks: q by the first tile that reads it, p by its first strip of columns, both while they
// multiply, so that the copies and what they wait for hide behind the multiply-adds. A tile goes through a chunk of m
// with its sums in registers and leaves them in g between chunks: storing and reloading a float changes nothing, so the
// chain over m stays one chain.
enum { CHUNK = 128, BLOCK_TILES = 16, AHEAD = 32 };  // AHEAD: rows between a prefetch and its use

typedef struct chunk {
  const float* p;  // [rows] at distance ldp, from the tile's first column; or the copy [rows][ROWS]
  const float* q;  // [rows] at distance ldq, from the strip's first column; or the copy [rows][PANEL]
  int64_t ldp, ldq;
  float* copy_p;
  float* copy_q;
  int rows, fresh;
  __mmask8 mask_p;
  __mmask16 mask_q[2];
} chunk;

// g rows x 2 vectors of columns (+)= p^T q over one chunk; R and what is copied are constants where it is inlined.
static inline __attribute__((always_inline)) void outer_tile(int R, int copies_p, int copies_q, const chunk* k,
                                                             float* g, int64_t ldg) {
  const __mmask16 mask0 = k->mask_q[0], mask1 = k->mask_q[1];
  const int64_t ldp = copies_p ? k->ldp : ROWS, ldq = copies_q ? k->ldq : PANEL;
  __m512 s[ROWS][2];
  BW_UNROLL(8)
  for (int r = 0; r < R; ++r) {
    s[r][0] = k->fresh ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask0, g + r * ldg);
    s[r][1] = k->fresh ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask1, g + r * ldg + 16);
  }
  const float* p = k->p;
  const float* q = k->q;
  for (int m = 0; m < k->rows; ++m, p += ldp, q += ldq) {
    const __m512 q0 = copies_q ? _mm512_maskz_loadu_ps(mask0, q) : _mm512_load_ps(q);
    const __m512 q1 = copies_q ? _mm512_maskz_loadu_ps(mask1, q + 16) : _mm512_load_ps(q + 16);
    if (copies_q) {
      _mm_prefetch((const char*)(q + AHEAD * ldq), _MM_HINT_T0);
      _mm_prefetch((const char*)(q + AHEAD * ldq + 16), _MM_HINT_T0);
      _mm512_store_ps(k->copy_q + m * PANEL, q0);
      _mm512_store_ps(k->copy_q + m * PANEL + 16, q1);
    }
    if (copies_p) _mm_prefetch((const char*)(p + AHEAD * ldp), _MM_HINT_T0);
    if (copies_p) _mm256_store_ps(k->copy_p + m * ROWS, _mm256_maskz_loadu_ps(k->mask_p, p));
    BW_UNROLL(8)
    for (int r = 0; r < R; ++r) {
      const __m512 v = _mm512_set1_ps(p[r]);
      s[r][0] = _mm512_fmadd_ps(v, q0, s[r][0]);
      s[r][1] = _mm512_fmadd_ps(v, q1, s[r][1]);
    }
  }
  BW_UNROLL(8)
  for (int r = 0; r < R; ++r) {
    _mm512_mask_storeu_ps(g + r * ldg, mask0, s[r][0]);
    _mm512_mask_storeu_ps(g + r * ldg + 16, mask1, s[r][1]);
  }
}

typedef void (*outer_fn)(const chunk*, float*, int64_t);

// clang-format off
#define OUTER(R)                                                                                          \
  static void outer_##R(const chunk* k, float* g, int64_t ldg) { outer_tile(R, 0, 0, k, g, ldg); }        \
  static void outer_##R##_p(const chunk* k, float* g, int64_t ldg) { outer_tile(R, 1, 0, k, g, ldg); }    \
  static void outer_##R##_q(const chunk* k, float* g, int64_t ldg) { outer_tile(R, 0, 1, k, g, ldg); }    \
  static void outer_##R##_pq(const chunk* k, float* g, int64_t ldg) { outer_tile(R, 1, 1, k, g, ldg); }
#define OUTERS(R) {outer_##R, outer_##R##_p, outer_##R##_q, outer_##R##_pq}
OUTER(1) OUTER(2) OUTER(3) OUTER(4) OUTER(5) OUTER(6) OUTER(7) OUTER(8)
    // clang-format on

    // By rows, then by what is copied: 1 p, 2 q.
    static const outer_fn kOuters[ROWS + 1][4] = {{NULL},    OUTERS(1), OUTERS(2), OUTERS(3), OUTERS(4),
                                                  OUTERS(5), OUTERS(6), OUTERS(7), OUTERS(8)};
#undef OUTER
#undef OUTERS

// Rows [0, rows) of p and q into rows of g from `first_row`, at most BLOCK_TILES tiles.
static void outer_block(const float* p, int64_t ldp, const float* q, int64_t ldq, int rows, int first_row, int last_row,
                        int columns, int fresh, float* g, int64_t ldg) {
  _Alignas(64) float p_block[BLOCK_TILES][CHUNK * ROWS];
  _Alignas(64) float q_strip[CHUNK * PANEL];
  chunk k = {.ldp = ldp, .ldq = ldq, .copy_q = q_strip, .rows = rows, .fresh = fresh};
  for (int base = 0; base < columns; base += PANEL) {
    k.mask_q[0] = bw_lanes(columns - base);
    k.mask_q[1] = bw_lanes(columns - base - 16);
    for (int i = first_row, tile = 0; i < last_row; i += ROWS, ++tile) {
      const int count = last_row - i < ROWS ? last_row - i : ROWS;
      k.mask_p = (__mmask8)bw_lanes(count);
      k.p = base == 0 ? p + i : p_block[tile];
      k.q = tile == 0 ? q + base : q_strip;
      k.copy_p = p_block[tile];
      kOuters[count][(base == 0) + 2 * (tile == 0)](&k, g + i * ldg + base, ldg);
    }
  }
}

static void outer(const float* p, int64_t ldp, const float* q, int64_t ldq, int rows, int first_row, int last_row,
                  int columns, int accumulate, float* g, int64_t ldg) {
  int m = 0;
  do {  // at least once: an empty sum is 0
    const int chunk_rows = rows - m < CHUNK ? rows - m : CHUNK;
    for (int i = first_row; i < last_row; i += BLOCK_TILES * ROWS) {
      const int end = last_row - i < BLOCK_TILES * ROWS ? last_row : i + BLOCK_TILES * ROWS;
      outer_block(p + m * ldp, ldp, q + m * ldq, ldq, chunk_rows, i, end, columns, m == 0 && !accumulate, g, ldg);
    }
    m += chunk_rows;
  } while (m < rows);
}

const bw_gemm bw_gemm_avx512 = {
    .name = "avx512", .panel = PANEL, .row_tile = ROWS, .pack = pack, .multiply = multiply, .outer = outer};
