// Matrix products with AVX2 and fused multiply-adds: tiles of 6 rows x 16 columns, 12 sums of 8 floats.
//
// A step over the contracted index loads two vectors of the packed panel (or of q) and broadcasts six values: 12 fused
// multiply-adds for 8 loads, in 15 of the 16 registers. Fewer rows use the same code with fewer sums; every element
// remains one chain of fused multiply-adds, so its bits don't depend on the tile.
//
// Tried (M x 256 x 256, one thread of a Zen 4 that others used too, % of a probe of 110 GFLOP/s run beside each sample,
// medians of interleaved runs; rows of G in one call, or 32 a call):
//   multiply, M =                                                   8     16     32     64    256
//     compilers' vectors, 4 rows x 2 vectors                        82    69     68     82    82
//     this file, bias and ReLU behind branches                      87    92     92     95    95
//     a neutral bias, a floor of -infinity: none                    88    92     93     95    96   this one
//     the loop over the contracted index 4 steps at a time          86    80     80     68    65   gcc spills
//   outer, M =                                                            16     32     64    256
//     compilers' vectors, strips copied first                             28     38     55    62
//     copies made by the first tile that reads, masks for edges           76     84     88, 86    89, 86
//     whole tiles only, edges in a block beside the matrix                77     86     90, 89    92, 90
//     copies of p close together, tiles of 6 and 5 rows, not a small one  82     89     92, 90    93, 91   this one
//     p in blocks of 32 or 16 KiB instead of 64                           81     89     92, 90    90, 88
//     prefetching the tile of g                                           no different
//   pack 256 x 256: forward 22 us by strided copies, 5 by 8 x 8 transposes; backward 5
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "../../core/compiler.h"
#include "gemm.h"

enum { PANEL = 16, ROWS = 6, ROW_BLOCK = 192 };

// A mask of the first n of 8 lanes; n may be negative or above 8.
static inline __m256i lanes(int n) {
  static const int32_t kMasks[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_loadu_si256((const __m256i*)(const void*)(kMasks + 8 - (n < 0 ? 0 : n > 8 ? 8 : n)));
}

// Rows cut into tiles as equal as they can be, since a small one waits for latency: the first `larger` tiles have
// `rows`
// + 1 rows, the others `rows`.
typedef struct tiling {
  int tiles, rows, larger;
} tiling;

static inline tiling tile_rows(int rows) {
  const int tiles = (rows + ROWS - 1) / ROWS;
  return (tiling){.tiles = tiles, .rows = tiles ? rows / tiles : 0, .larger = tiles ? rows % tiles : 0};
}

// ---- packing ----

// out[c * PANEL + n] = in[n * stride + c] for c < depth (at most 8) and n < width; 0 for width <= n < 8. Three rounds
// that exchange 1, 2 and 4 columns between rows.
static void transpose_block(const float* in, int64_t stride, int width, int depth, float* out) {
  const __m256i mask = lanes(depth);
  __m256 r[8], t[8];
  BW_UNROLL(8)
  for (int n = 0; n < 8; ++n) r[n] = n < width ? _mm256_maskload_ps(in + n * stride, mask) : _mm256_setzero_ps();
  BW_UNROLL(4)
  for (int n = 0; n < 8; n += 2) {
    t[n] = _mm256_unpacklo_ps(r[n], r[n + 1]);
    t[n + 1] = _mm256_unpackhi_ps(r[n], r[n + 1]);
  }
  BW_UNROLL(2)
  for (int n = 0; n < 8; n += 4) {
    r[n] = _mm256_shuffle_ps(t[n], t[n + 2], 0x44);
    r[n + 1] = _mm256_shuffle_ps(t[n], t[n + 2], 0xEE);
    r[n + 2] = _mm256_shuffle_ps(t[n + 1], t[n + 3], 0x44);
    r[n + 3] = _mm256_shuffle_ps(t[n + 1], t[n + 3], 0xEE);
  }
  // r[4 g + k] half h holds column 4 h + k of rows 4 g .. 4 g + 3.
  BW_UNROLL(4)
  for (int k = 0; k < 4; ++k) {
    t[k] = _mm256_permute2f128_ps(r[k], r[4 + k], 0x20);
    t[4 + k] = _mm256_permute2f128_ps(r[k], r[4 + k], 0x31);
  }
  BW_UNROLL(8)
  for (int c = 0; c < 8; ++c) {
    if (c < depth) _mm256_store_ps(out + c * PANEL, t[c]);
  }
}

static void pack(const float* b, int64_t stride_c, int64_t stride_n, int contract, int columns, int first_panel,
                 int last_panel, int first_contract, int last_contract, float* packed) {
  for (int p = first_panel; p < last_panel; ++p) {
    const int base = p * PANEL;
    const int width = columns - base < PANEL ? columns - base : PANEL;
    const __m256i mask0 = lanes(width), mask1 = lanes(width - 8);
    float* out = packed + (int64_t)p * PANEL * contract;
    const float* in = b + base * stride_n;
    if (stride_n == 1) {
      for (int c = first_contract; c < last_contract; ++c) {
        _mm256_store_ps(out + c * PANEL, _mm256_maskload_ps(in + c * stride_c, mask0));
        _mm256_store_ps(out + c * PANEL + 8, _mm256_maskload_ps(in + c * stride_c + 8, mask1));
      }
    } else if (stride_c == 1) {
      for (int c = first_contract; c < last_contract; c += 8) {
        const int depth = last_contract - c < 8 ? last_contract - c : 8;
        transpose_block(in + c, stride_n, width, depth, out + c * PANEL);
        transpose_block(in + 8 * stride_n + c, stride_n, width - 8, depth, out + c * PANEL + 8);
      }
    } else {
      for (int c = first_contract; c < last_contract; ++c) {
        for (int n = 0; n < PANEL; ++n) out[c * PANEL + n] = n < width ? in[c * stride_c + n * stride_n] : 0;
      }
    }
  }
}

// ---- C = act(A B + bias) ----

// What follows the sums of one panel, for its two vectors of 8 columns, without branches: an absent bias is -0, which
// changes no number, and without ReLU the floor is -infinity.
typedef struct epilogue {
  __m256 bias[2], floor;
  const float* gate;  // of the tile, as far apart as its rows; or NULL
} epilogue;

// c[R][16] at distance ldc; R is a constant where it is inlined.
static inline __attribute__((always_inline)) void tile(int R, const float* a, int64_t lda, const float* b, int contract,
                                                       float* c, int64_t ldc, const epilogue* e) {
  __m256 s[ROWS][2];
  BW_UNROLL(6)
  for (int r = 0; r < R; ++r) s[r][0] = s[r][1] = _mm256_setzero_ps();
  for (int64_t k = 0; k < contract; ++k) {
    const __m256 x0 = _mm256_load_ps(b + k * PANEL), x1 = _mm256_load_ps(b + k * PANEL + 8);
    BW_UNROLL(6)
    for (int r = 0; r < R; ++r) {
      const __m256 y = _mm256_set1_ps(a[r * lda + k]);
      s[r][0] = _mm256_fmadd_ps(y, x0, s[r][0]);
      s[r][1] = _mm256_fmadd_ps(y, x1, s[r][1]);
    }
  }
  if (e->gate) {
    BW_UNROLL(6)
    for (int r = 0; r < R; ++r) {
      const float* gate = e->gate + r * ldc;
      s[r][0] = _mm256_and_ps(_mm256_cmp_ps(_mm256_loadu_ps(gate), _mm256_setzero_ps(), _CMP_GT_OQ), s[r][0]);
      s[r][1] = _mm256_and_ps(_mm256_cmp_ps(_mm256_loadu_ps(gate + 8), _mm256_setzero_ps(), _CMP_GT_OQ), s[r][1]);
    }
  }
  BW_UNROLL(6)
  for (int r = 0; r < R; ++r) {  // max(floor, x) with x second keeps a NaN: it must not be hidden
    _mm256_storeu_ps(c + r * ldc, _mm256_max_ps(e->floor, _mm256_add_ps(s[r][0], e->bias[0])));
    _mm256_storeu_ps(c + r * ldc + 8, _mm256_max_ps(e->floor, _mm256_add_ps(s[r][1], e->bias[1])));
  }
}

typedef void (*tile_fn)(const float*, int64_t, const float*, int, float*, int64_t, const epilogue*);

// clang-format off
#define TILE(R)                                                                                           \
  static void tile_##R(const float* a, int64_t lda, const float* b, int contract, float* c, int64_t ldc, \
                       const epilogue* e) {                                                               \
    tile(R, a, lda, b, contract, c, ldc, e);                                                              \
  }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#undef TILE
    // clang-format on

    static const tile_fn kTiles[ROWS + 1] = {NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};

// Tiles are whole; those of a last panel with fewer columns work on a block beside the matrix.
static void copy_block(const float* from, int64_t ld_from, float* to, int64_t ld_to, int rows, int width) {
  for (int r = 0; r < rows; ++r) memcpy(to + r * ld_to, from + r * ld_from, (size_t)width * sizeof *to);
}

static void multiply(const float* a, int64_t lda, const float* packed, int rows, int contract, int columns,
                     int first_panel, int last_panel, const float* bias, bw_activation activation, const float* gate,
                     float* c, int64_t ldc) {
  epilogue e = {.floor = _mm256_set1_ps(activation == BW_ACT_RELU ? 0.0f : -INFINITY)};
  // A panel stays in L1 while a block of rows passes over it, the block in L2 while the panels do.
  for (int first = 0, end; first < rows; first = end) {
    end = rows - first < ROW_BLOCK + ROWS ? rows : first + ROW_BLOCK;  // no small rest
    const tiling tiles = tile_rows(end - first);
    for (int p = first_panel; p < last_panel; ++p) {
      const int base = p * PANEL, width = columns - base;
      const float* b = packed + (int64_t)p * PANEL * contract;
      for (int v = 0; v < 2; ++v) {
        e.bias[v] = bias ? _mm256_maskload_ps(bias + base + 8 * v, lanes(width - 8 * v)) : _mm256_set1_ps(-0.0f);
      }
      for (int i = first, t = 0, count; t < tiles.tiles; i += count, ++t) {
        float* to = c + i * ldc + base;
        count = tiles.rows + (t < tiles.larger);
        if (gate) e.gate = gate + i * ldc + base;
        if (width >= PANEL) {
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
// by its first strip of columns, both while they multiply; a tile leaves its sums in g between chunks.
enum { CHUNK = 256, P_FLOATS = 8 * CHUNK * 8, LINE = 8, AHEAD = 32 };  // AHEAD: rows between a prefetch and its use

typedef struct chunk {
  const float* p;  // [rows] at distance ldp, from the tile's first column; or the copy [rows][LINE]
  const float* q;  // [rows] at distance ldq, from the strip's first column; or the copy [rows][PANEL]
  int64_t ldp, ldq;
  float* copy_p;
  float* copy_q;
  int rows, fresh;
  __m256i mask_p;
} chunk;

// g[R][16] at distance ldg (+)= p^T q over one chunk; R and what is copied are constants where it is inlined.
static inline __attribute__((always_inline)) void outer_tile(int R, int copies_p, int copies_q, const chunk* k,
                                                             float* g, int64_t ldg) {
  const int64_t ldp = copies_p ? k->ldp : LINE, ldq = copies_q ? k->ldq : PANEL;
  const float* p = k->p;
  const float* q = k->q;
  float* copy_p = k->copy_p;
  float* copy_q = k->copy_q;
  __m256 s[ROWS][2];
  if (k->fresh) {
    BW_UNROLL(6)
    for (int r = 0; r < R; ++r) s[r][0] = s[r][1] = _mm256_setzero_ps();
  } else {
    BW_UNROLL(6)
    for (int r = 0; r < R; ++r) {
      s[r][0] = _mm256_loadu_ps(g + r * ldg);
      s[r][1] = _mm256_loadu_ps(g + r * ldg + 8);
    }
  }
  for (int m = k->rows; m > 0; --m, p += ldp, q += ldq) {
    const __m256 q0 = _mm256_loadu_ps(q), q1 = _mm256_loadu_ps(q + 8);
    if (copies_q) {
      _mm_prefetch((const char*)(q + AHEAD * ldq), _MM_HINT_T0);
      _mm256_store_ps(copy_q, q0);
      _mm256_store_ps(copy_q + 8, q1);
      copy_q += PANEL;
    }
    if (copies_p) {
      _mm_prefetch((const char*)(p + AHEAD * ldp), _MM_HINT_T0);
      _mm256_store_ps(copy_p, _mm256_maskload_ps(p, k->mask_p));
      copy_p += LINE;
    }
    BW_UNROLL(6)
    for (int r = 0; r < R; ++r) {
      const __m256 v = _mm256_set1_ps(p[r]);
      s[r][0] = _mm256_fmadd_ps(v, q0, s[r][0]);
      s[r][1] = _mm256_fmadd_ps(v, q1, s[r][1]);
    }
  }
  BW_UNROLL(6)
  for (int r = 0; r < R; ++r) {
    _mm256_storeu_ps(g + r * ldg, s[r][0]);
    _mm256_storeu_ps(g + r * ldg + 8, s[r][1]);
  }
}

typedef void (*outer_fn)(const chunk*, float*, int64_t);

// clang-format off
#define OUTER(R)                                                                                       \
  static void outer_##R(const chunk* k, float* g, int64_t ldg) { outer_tile(R, 0, 0, k, g, ldg); }     \
  static void outer_##R##_p(const chunk* k, float* g, int64_t ldg) { outer_tile(R, 1, 0, k, g, ldg); } \
  static void outer_##R##_q(const chunk* k, float* g, int64_t ldg) { outer_tile(R, 0, 1, k, g, ldg); } \
  static void outer_##R##_pq(const chunk* k, float* g, int64_t ldg) { outer_tile(R, 1, 1, k, g, ldg); }
#define OUTERS(R) {outer_##R, outer_##R##_p, outer_##R##_q, outer_##R##_pq}
OUTER(1) OUTER(2) OUTER(3) OUTER(4) OUTER(5) OUTER(6)
    // clang-format on

    // By rows, then by what is copied: 1 p, 2 q.
    static const outer_fn kOuters[ROWS + 1][4] = {{NULL},    OUTERS(1), OUTERS(2), OUTERS(3),
                                                  OUTERS(4), OUTERS(5), OUTERS(6)};
#undef OUTER
#undef OUTERS

// Rows [0, rows) of p and q into rows of g from `first_row`, at most P_FLOATS / LINE / rows tiles.
static void outer_block(const float* p, int64_t ldp, const float* q, int64_t ldq, int rows, int first_row, int last_row,
                        int columns, int fresh, float* g, int64_t ldg) {
  _Alignas(64) float p_block[P_FLOATS];
  _Alignas(64) float q_strip[CHUNK * PANEL];
  const tiling tiles = tile_rows(last_row - first_row);
  chunk k = {.ldp = ldp, .ldq = ldq, .copy_q = q_strip, .rows = rows, .fresh = fresh};
  for (int base = 0; base < columns; base += PANEL) {
    const int width = columns - base, whole = width >= PANEL;
    if (!whole) {
      memset(q_strip, 0, (size_t)rows * PANEL * sizeof *q_strip);
      copy_block(q + base, ldq, q_strip, PANEL, rows, width);
    }
    for (int i = first_row, t = 0, count; t < tiles.tiles; i += count, ++t) {
      float* to = g + i * ldg + base;
      count = tiles.rows + (t < tiles.larger);
      const int copies_q = whole && t == 0;
      const outer_fn run = kOuters[count][(base == 0) + 2 * copies_q];
      k.mask_p = lanes(count);
      k.copy_p = p_block + t * rows * LINE;
      k.p = base == 0 ? p + i : k.copy_p;
      k.q = copies_q ? q + base : q_strip;
      if (whole) {
        run(&k, to, ldg);
      } else {
        float block[ROWS * PANEL] = {0};
        if (!fresh) copy_block(to, ldg, block, PANEL, count, width);
        run(&k, block, PANEL);
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
    const int block = P_FLOATS / LINE / (chunk_rows ? chunk_rows : 1) * ROWS;
    for (int i = first_row; i < last_row; i += block) {
      const int end = last_row - i < block ? last_row : i + block;
      outer_block(p + m * ldp, ldp, q + m * ldq, ldq, chunk_rows, i, end, columns, m == 0 && !accumulate, g, ldg);
    }
    m += chunk_rows;
  } while (m < rows);
}

const bw_gemm bw_gemm_avx2 = {
    .name = "avx2", .panel = PANEL, .row_tile = ROWS, .pack = pack, .multiply = multiply, .outer = outer};
