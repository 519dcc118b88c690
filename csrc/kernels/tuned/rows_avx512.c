// LayerNorm, GELU and the first layer's weight gradient with AVX-512, beside the compiler's version of the kernel text
// (gcc 12, 512-bit vectors).
//
// Tried (256 columns, one thread of a Zen 4 at 3.7 GHz, data in L1):
//   layernorm_forward    kernel text, one sum of 16 lanes             94 ns a row
//                        kernel text, two                             70
//                        four sums, one register each                 42
//                        the same for two rows at once                the versions in turn: 16.4, 16.6, 17.1 us for 256
//                                                                     rows, then 13.0, 13.1, 13.5         this one
//                        for four rows, whose sums end together    11.9, 10.2, 10.7, 12.1 us,
//                        not 12.4, 11.9, 13.4, 13.0;
//                                                                 in training no difference
//   layernorm_backward   the sums of gain and shift in a pass over all rows of the minibatch: another read of x and dy
//                        the same for the 8 rows of a group, while they are in L1
//                        and both sums over a row in one pass      18.8, 19.2, 19.6 us for 256 rows, then 16.6, 16.7,
//                                                                 16.9                                this one
//                        for two rows at once                      no difference
//   gelu_forward         kernel text: 36 operations a vector       2.4 cycles an element
//                        2^x by scalef, its polynomial in base 2   1.3                                 this one
//   features_gradient    kernel text: a row's dy added to the sums of each of its inputs, in memory
//                        the same, 32 columns at a time            slower: 66 us for 256 rows, not 42
//                        rows sorted by input, sums in registers   61, 57, 85 us -> 39, 33, 31         this one
//   adamw                what it reads prefetched 2 KiB ahead      no faster than the kernel text: 18 us for 65,536
//                                                                 weights, of which division and root take 16
#include "rows_avx512.h"

#include <immintrin.h>
#include <string.h>

#include "../../core/compiler.h"

#define BW_RESTRICT restrict

static inline __mmask16 tail_of(int64_t columns) { return (__mmask16)((1u << (columns & 15)) - 1u); }

// The lanes by halves, quarters, ...: an order of our own, since compilers differ in that of _mm512_reduce_add_ps.
static inline float sum_of(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512 s = _mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d));
  const __m256 t = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
  __m128 u = _mm_add_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1));
  u = _mm_add_ps(u, _mm_movehl_ps(u, u));
  return _mm_cvtss_f32(_mm_add_ss(u, _mm_movehdup_ps(u)));
}

// Two sums over a row at once, each in four parts, a vector to each part in turn: BODY(j, mask) gives the first one's
// vector at column j, THEN(that vector, j, mask) the second one's.
#define SUM_ROW_TWICE(first, second, columns, BODY, THEN)                             \
  do {                                                                                \
    __m512 s[4], t[4];                                                                \
    BW_UNROLL(4)                                                                      \
    for (int n_ = 0; n_ < 4; ++n_) s[n_] = t[n_] = _mm512_setzero_ps();               \
    int64_t j_ = 0;                                                                   \
    for (; j_ + 64 <= (columns); j_ += 64) {                                          \
      BW_UNROLL(4)                                                                    \
      for (int n_ = 0; n_ < 4; ++n_) ADD_TWICE(n_, j_ + 16 * n_, 0xFFFF, BODY, THEN); \
    }                                                                                 \
    for (; j_ + 16 <= (columns); j_ += 16) ADD_TWICE(0, j_, 0xFFFF, BODY, THEN);      \
    if (j_ < (columns)) ADD_TWICE(1, j_, tail_of(columns), BODY, THEN);               \
    (first) = sum_of(s[0], s[1], s[2], s[3]);                                         \
    (second) = sum_of(t[0], t[1], t[2], t[3]);                                        \
  } while (0)
#define ADD_TWICE(n, j, mask, BODY, THEN)          \
  do {                                             \
    const __m512 v_ = BODY(j, mask);               \
    s[n] = _mm512_add_ps(s[n], v_);                \
    t[n] = _mm512_add_ps(t[n], THEN(v_, j, mask)); \
  } while (0)

// BODY(j, mask) for all columns of a row.
#define EACH_VECTOR(columns, BODY)                  \
  do {                                              \
    int64_t j_ = 0;                                 \
    for (; j_ + 16 <= (columns); j_ += 16) {        \
      BODY(j_, 0xFFFF);                             \
    }                                               \
    if (j_ < (columns)) BODY(j_, tail_of(columns)); \
  } while (0)

static inline __m512 load(__mmask16 mask, const float* at) { return _mm512_maskz_loadu_ps(mask, at); }

static void layernorm_forward(const void* any, const bw_kernel_context* context) {
  const bw_layernorm_forward_args* args = any;
  IN(float, x);
  IN(float, gain);
  IN(float, shift);
  OUT(float, y);
  OUT(float, mean);
  OUT(float, rstd);
  const int64_t columns = args->columns;
  // Two rows at a time, so that one's sums are made while the other's wait for their ends; the last one may go twice.
  for (int64_t row = context->first; row < context->last; row += 2) {
    const int64_t other = row + 1 < context->last ? row + 1 : row;
    const float *x0 = x + row * columns, *x1 = x + other * columns;
    float *y0 = y + row * columns, *y1 = y + other * columns;
    float sum0, sum1, squares0, squares1;
#define VALUE(j, mask) load(mask, x0 + (j))
#define OTHER_VALUE(v, j, mask) load(mask, x1 + (j))
    SUM_ROW_TWICE(sum0, sum1, columns, VALUE, OTHER_VALUE);
#undef OTHER_VALUE
#undef VALUE
    const float m0 = sum0 / (float)columns, m1 = sum1 / (float)columns;
    const __m512 vm0 = _mm512_set1_ps(m0), vm1 = _mm512_set1_ps(m1);
#define square_of(v) _mm512_mul_ps(v, v)
#define SQUARE(j, mask) square_of(_mm512_maskz_sub_ps(mask, load(mask, x0 + (j)), vm0))
#define OTHER_SQUARE(v, j, mask) square_of(_mm512_maskz_sub_ps(mask, load(mask, x1 + (j)), vm1))
    SUM_ROW_TWICE(squares0, squares1, columns, SQUARE, OTHER_SQUARE);
#undef OTHER_SQUARE
#undef SQUARE
#undef square_of
    const float r0 = 1 / __builtin_sqrtf(squares0 / (float)columns + 1e-5f);
    const float r1 = 1 / __builtin_sqrtf(squares1 / (float)columns + 1e-5f);
    const __m512 vr0 = _mm512_set1_ps(r0), vr1 = _mm512_set1_ps(r1);
#define NORMALIZE(j, mask)                                                          \
  do {                                                                              \
    const __m512 g = load(mask, gain + (j)), s = load(mask, shift + (j));           \
    const __m512 z0 = _mm512_mul_ps(_mm512_sub_ps(load(mask, x0 + (j)), vm0), vr0); \
    const __m512 z1 = _mm512_mul_ps(_mm512_sub_ps(load(mask, x1 + (j)), vm1), vr1); \
    _mm512_mask_storeu_ps(y0 + (j), mask, _mm512_fmadd_ps(z0, g, s));               \
    _mm512_mask_storeu_ps(y1 + (j), mask, _mm512_fmadd_ps(z1, g, s));               \
  } while (0)
    EACH_VECTOR(columns, NORMALIZE);
#undef NORMALIZE
    mean[row] = m0;
    mean[other] = m1;
    rstd[row] = r0;
    rstd[other] = r1;
  }
}

// An item is a group of rows: see kernels/norm.k.h.
static void layernorm_backward(const void* any, const bw_kernel_context* context) {
  const bw_layernorm_backward_args* args = any;
  IN(float, x);
  IN(float, gain);
  IN(float, mean);
  IN(float, rstd);
  IN(float, dy);
  OUT(float, dx);
  OUT(float, partials);
  const int64_t columns = args->columns;
  const int accumulate = args->accumulate;
  for (int64_t group = context->first; group < context->last; ++group) {
    const int64_t first = group * BW_ROW_GROUP;
    const int64_t last = args->rows - first < BW_ROW_GROUP ? args->rows : first + BW_ROW_GROUP;
    for (int64_t row = first; row < last; ++row) {
      const float* x_row = x + row * columns;
      const float* dy_row = dy + row * columns;
      float* dx_row = dx + row * columns;
      const __m512 vm = _mm512_set1_ps(mean[row]), vr = _mm512_set1_ps(rstd[row]);
      float g_sum, gz_sum;
#define G(j, mask) _mm512_mul_ps(load(mask, dy_row + (j)), load(mask, gain + (j)))
#define Z(j, mask) _mm512_mul_ps(_mm512_sub_ps(load(mask, x_row + (j)), vm), vr)
#define TIMES_Z(g, j, mask) _mm512_mul_ps(g, Z(j, mask))
      SUM_ROW_TWICE(g_sum, gz_sum, columns, G, TIMES_Z);
      const __m512 g_mean = _mm512_set1_ps(g_sum / (float)columns), gz_mean = _mm512_set1_ps(gz_sum / (float)columns);
#define GRADIENT(j, mask)                                                                                  \
  do {                                                                                                     \
    __m512 d = _mm512_mul_ps(vr, _mm512_sub_ps(G(j, mask), _mm512_fmadd_ps(Z(j, mask), gz_mean, g_mean))); \
    if (accumulate) d = _mm512_add_ps(load(mask, dx_row + (j)), d);                                        \
    _mm512_mask_storeu_ps(dx_row + (j), mask, d);                                                          \
  } while (0)
      EACH_VECTOR(columns, GRADIENT);
#undef GRADIENT
#undef TIMES_Z
#undef G
#undef Z
    }
    // The group's rows are in L1 still: their sums, a vector of columns at a time.
    float* dgain = partials + group * 2 * columns;
    float* dshift = dgain + columns;
#define PARTIAL(j, mask)                                                                                            \
  do {                                                                                                              \
    __m512 gains = _mm512_setzero_ps(), shifts = gains;                                                             \
    for (int64_t row = first; row < last; ++row) {                                                                  \
      const __m512 d = load(mask, dy + row * columns + (j));                                                        \
      const __m512 z = _mm512_mul_ps(_mm512_sub_ps(load(mask, x + row * columns + (j)), _mm512_set1_ps(mean[row])), \
                                     _mm512_set1_ps(rstd[row]));                                                    \
      gains = _mm512_fmadd_ps(d, z, gains);                                                                         \
      shifts = _mm512_add_ps(shifts, d);                                                                            \
    }                                                                                                               \
    _mm512_mask_storeu_ps(dgain + (j), mask, gains);                                                                \
    _mm512_mask_storeu_ps(dshift + (j), mask, shifts);                                                              \
  } while (0)
    EACH_VECTOR(columns, PARTIAL);
#undef PARTIAL
  }
}

// 2^x for x in [-126, 127], relative error under 2e-7: 2^n by scalef, 2^f on [-1/2, 1/2] by its Taylor series.
static inline __m512 exp2_of(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(1.5403530e-4f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.3333558e-3f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.6181291e-3f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.5504109e-2f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.4022651e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9314718e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

// The formulas are those of kernels/elementwise.k.h, with log2(e) in the constants.
static void gelu_forward(const void* any, const bw_kernel_context* context) {
  const bw_gelu_forward_args* args = any;
  OUT(float, x);
  IN(float, residual);
  OUT(float, y);
  const __m512 one = _mm512_set1_ps(1.0f), limit = _mm512_set1_ps(126.0f);
  const __m512 scale = _mm512_set1_ps(1.5957691216057308f), cubic = _mm512_set1_ps(3 * 0.07135481627159785f);
  const __m512 scale2 = _mm512_set1_ps((float)(-1.5957691216057308 * 1.4426950408889634));
  const __m512 cubic2 = _mm512_set1_ps((float)(-0.07135481627159785 * 1.4426950408889634));
#define GELU(j, mask)                                                                                      \
  do {                                                                                                     \
    const __m512 v = load(mask, x + (j));                                                                  \
    const __m512 square = _mm512_mul_ps(v, v);                                                             \
    __m512 t = _mm512_mul_ps(v, _mm512_fmadd_ps(cubic2, square, scale2));                                  \
    /* second operands, so that a NaN stays */                                                             \
    t = _mm512_max_ps(_mm512_set1_ps(-126.0f), _mm512_min_ps(limit, t));                                   \
    const __m512 s = _mm512_div_ps(one, _mm512_add_ps(one, exp2_of(t)));                                   \
    const __m512 g = _mm512_mul_ps(v, s);                                                                  \
    const __m512 rise = _mm512_mul_ps(g, _mm512_sub_ps(one, s));                                           \
    _mm512_mask_storeu_ps(y + (j), mask, _mm512_add_ps(load(mask, residual + (j)), g));                    \
    _mm512_mask_storeu_ps(x + (j), mask, _mm512_fmadd_ps(rise, _mm512_fmadd_ps(cubic, square, scale), s)); \
  } while (0)
  int64_t i = context->first;
  for (; i + 16 <= context->last; i += 16) GELU(i, 0xFFFF);
  if (i < context->last) GELU(i, tail_of(context->last - i));
#undef GELU
}

// ---- the first layer's weight gradient ----

// A chunk of rows at a time is sorted by input, so that an input's sums stay in registers while the rows that have it
// are added, in ascending order as in kernels/features.k.h.
enum { SORT_ROWS = 256, SORT_PAIRS = 1 << 14, SORT_INPUTS = 512 };

// rows[starts[i] .. starts[i + 1]) have input low + i; those after the last input are all rows, for the bias.
typedef struct rows_by_input {
  uint16_t starts[SORT_INPUTS + 2];
  uint16_t rows[SORT_PAIRS + SORT_ROWS];
} rows_by_input;

// lists: [rows][distance], the number of inputs and then the inputs of each row; those below low + count are sorted.
static void sort_by_input(const uint16_t* lists, int64_t distance, int rows, int low, int count,
                          rows_by_input* sorted) {
  uint16_t at[SORT_INPUTS + 1] = {0};  // how many rows have the input before; then where its next row goes
  for (int i = 0; i < rows; ++i) {
    const uint16_t* list = lists + i * distance;
    for (int k = 1; k <= list[0]; ++k) {
      const unsigned input = (unsigned)(list[k] - low);
      if (input < (unsigned)count) ++at[input + 1];
    }
  }
  for (int input = 0; input < count; ++input) at[input + 1] = (uint16_t)(at[input + 1] + at[input]);
  memcpy(sorted->starts, at, (size_t)(count + 1) * sizeof *at);
  sorted->starts[count + 1] = (uint16_t)(at[count] + rows);
  for (int i = 0; i < rows; ++i) {
    const uint16_t* list = lists + i * distance;
    for (int k = 1; k <= list[0]; ++k) {
      const unsigned input = (unsigned)(list[k] - low);
      if (input < (unsigned)count) sorted->rows[at[input]++] = (uint16_t)i;
    }
    sorted->rows[sorted->starts[count] + i] = (uint16_t)i;
  }
}

// sums[V vectors, the last one under the mask] (+)= the listed rows of dy. V is a constant where it is inlined.
static inline __attribute__((always_inline)) void sum_rows(int V, const uint16_t* rows, int count, const float* dy,
                                                           int64_t columns, int fresh, __mmask16 last, float* sums) {
  __m512 s[8];
  BW_UNROLL(8)
  for (int v = 0; v < V; ++v) {
    s[v] = fresh ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(v == V - 1 ? last : 0xFFFF, sums + 16 * v);
  }
  for (int i = 0; i < count; ++i) {
    const float* from = dy + rows[i] * columns;
    BW_UNROLL(8)
    for (int v = 0; v < V; ++v) s[v] = _mm512_add_ps(s[v], load(v == V - 1 ? last : 0xFFFF, from + 16 * v));
  }
  BW_UNROLL(8)
  for (int v = 0; v < V; ++v) _mm512_mask_storeu_ps(sums + 16 * v, v == V - 1 ? last : 0xFFFF, s[v]);
}

static void features_gradient(const void* any, const bw_kernel_context* context) {
  const bw_features_gradient_args* args = any;
  IN(uint16_t, features);
  IN(float, dy);
  OUT(float, weight_gradient);
  OUT(float, bias_gradient);
  const int64_t columns = args->columns, distance = 1 + args->max_features;
  const int64_t most = args->max_features < SORT_INPUTS ? args->max_features : SORT_INPUTS;  // of a row, at a time
  const int64_t step = most * SORT_ROWS > SORT_PAIRS ? SORT_PAIRS / most : SORT_ROWS;
  rows_by_input sorted;
  for (int64_t low = 0; low < args->inputs; low += SORT_INPUTS) {
    const int count = (int)(args->inputs - low < SORT_INPUTS ? args->inputs - low : SORT_INPUTS);
    int64_t first = 0;
    do {  // at least once: an empty sum is 0
      const int64_t rows = args->rows - first < step ? args->rows - first : step;
      sort_by_input(features + first * distance, distance, (int)rows, (int)low, count, &sorted);
      for (int input = 0; input <= count; ++input) {
        const uint16_t* list = sorted.rows + sorted.starts[input];
        const int length = sorted.starts[input + 1] - sorted.starts[input];
        if (length == 0 && first > 0) continue;
        float* sums = input < count ? weight_gradient + (low + input) * columns : bias_gradient;
        const float* from = dy + first * columns;
        int64_t j = context->first;
        for (; j + 128 <= context->last; j += 128)
          sum_rows(8, list, length, from + j, columns, first == 0, 0xFFFF, sums + j);
        for (; j + 64 <= context->last; j += 64)
          sum_rows(4, list, length, from + j, columns, first == 0, 0xFFFF, sums + j);
        for (; j < context->last; j += 16) {
          const __mmask16 last = context->last - j < 16 ? tail_of(context->last - j) : 0xFFFF;
          sum_rows(1, list, length, from + j, columns, first == 0, last, sums + j);
        }
      }
      first += rows;
    } while (first < args->rows);
  }
  for (int64_t input = args->planes - 1; input < args->inputs; input += args->planes) {
    memcpy(weight_gradient + input * columns + context->first, bias_gradient + context->first,
           (size_t)(context->last - context->first) * sizeof(float));
  }
}

const bw_kernel bw_tuned_avx512[BW_OP_COUNT] = {
    [BW_OP_layernorm_forward] = layernorm_forward,
    [BW_OP_layernorm_backward] = layernorm_backward,
    [BW_OP_gelu_forward] = gelu_forward,
    [BW_OP_features_gradient] = features_gradient,
};
