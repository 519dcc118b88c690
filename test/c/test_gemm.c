// Every matrix product micro-kernel, bit for bit against one scalar chain an element, and within rounding of float64;
// odd shapes, guarded buffers, and results that don't depend on how the work is split.
#include "../../csrc/kernels/tuned/gemm.h"

#include "../../csrc/core/cpu.h"
#include "../../csrc/core/posix.h"
#include "../../csrc/core/rng.h"
#include "check.h"

#ifdef BW_SANITIZED
enum { RANDOM_SHAPES = 12 };
#else
enum { RANDOM_SHAPES = 60 };
#endif
enum { GUARD = 64 };  // floats before and after every buffer

typedef struct kernel {
  const bw_gemm* gemm;
  bool fused;  // one rounding a multiply-add
} kernel;

static uint32_t draws;
static uint32_t draw(void) { return bw_philox(20, 0, draws++, 0).v[0]; }
static int between(int low, int high) { return low + (int)bw_below(draw(), (uint32_t)(high - low + 1)); }

// A buffer of `count` floats between guards, all NaN; 64-byte aligned.
typedef struct buffer {
  float* base;
  float* at;
  size_t count;
} buffer;

static const uint32_t kPoison = 0x7FC0BEEF;  // a NaN

static void poison(float* at, size_t count) {
  for (size_t i = 0; i < count; ++i) memcpy(at + i, &kPoison, sizeof kPoison);
}

static bool poisoned(const float* at, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (memcmp(at + i, &kPoison, sizeof kPoison) != 0) return false;
  }
  return true;
}

static buffer take(size_t count) {
  const size_t size = (count + 2 * GUARD) * sizeof(float);
  buffer b = {.base = bw_aligned_alloc(64, (size + 63) / 64 * 64), .count = count};
  REQUIRE(b.base != NULL);
  b.at = b.base + GUARD;
  poison(b.base, count + 2 * GUARD);
  return b;
}

static bool guarded(const buffer* b) { return poisoned(b->base, GUARD) && poisoned(b->at + b->count, GUARD); }

// A matrix with rows ld apart; what lies between columns and ld stays NaN, so a read of it shows.
static buffer matrix(int rows, int columns, int ld) {
  buffer b = take((size_t)rows * (size_t)ld);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) b.at[(size_t)i * (size_t)ld + (size_t)j] = 2 * bw_uniform(draw()) - 1;
  }
  return b;
}

static float step(const kernel* k, float sum, float x, float y) {
  if (k->fused) return fmaf(x, y, sum);
  const volatile float product = x * y;  // rounded, whatever the compiler would rather do
  return sum + product;
}

// The nearest bf16, ties to even; x is normal or 0.
static float to_bf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x7FFFu + (bits >> 16 & 1u)) & 0xFFFF0000u;
  memcpy(&x, &bits, sizeof bits);
  return x;
}

// A sum of products as the contract has it, and what float64 says.
typedef struct chain {
  float sum;
  double wide;       // of the factors as the kernel uses them
  double given;      // of the factors as they are given
  double magnitude;  // sum of absolute values
  int terms;
} chain;

static chain chain_from(float start) {
  return (chain){.sum = start, .wide = (double)start, .given = (double)start, .magnitude = fabs((double)start)};
}

static void chain_add(chain* s, float x) {
  s->sum += x;
  s->wide += (double)x;
  s->given += (double)x;
  s->magnitude += fabs((double)x);
}

// Adds sum_i x[i dx] y[i dy].
static void chain_products(const kernel* k, chain* s, const float* x, int64_t dx, const float* y, int64_t dy, int n) {
  s->terms += n;
  for (int i = 0; i < n; ++i) {
    // Pairs of bf16 add their second product first.
    const int at = !k->gemm->bf16 ? i : i % 2 == 1 ? i - 1 : i + 1 < n ? i + 1 : i;
    float a = x[at * dx], b = y[at * dy];
    s->given += (double)a * (double)b;
    if (k->gemm->bf16) a = to_bf16(a), b = to_bf16(b);
    s->sum = step(k, s->sum, a, b);
    s->wide += (double)a * (double)b;
    s->magnitude += fabs((double)a * (double)b);
  }
}

static int panels_of(const kernel* k, int columns) { return (columns + k->gemm->panel - 1) / k->gemm->panel; }

static size_t packed_floats(const kernel* k, int contract, int columns) {
  return (size_t)bw_gemm_packed_floats(k->gemm, contract, columns);
}

// A place where the contracted index may be cut.
static int cut(const kernel* k, int at) { return k->gemm->bf16 ? at / 2 * 2 : at; }

// Within the bound for a sum of rounded products; of bf16 factors also near to the sum of what was given.
static bool close_to(const kernel* k, float got, const chain* s, bool relu) {
  const double wide = relu && s->wide < 0 ? 0 : s->wide, given = relu && s->given < 0 ? 0 : s->given;
  const double bound = (s->terms + 3) * 0x1p-24 * s->magnitude + 1e-37;
  const double rounded = k->gemm->bf16 ? 1.02 * 0x1p-7 * s->magnitude : 0;
  return fabs((double)got - wide) <= bound && fabs((double)got - given) <= bound + rounded;
}

typedef struct product {
  int rows, contract, columns, lda, ldc;
  int bias, relu, gated;
} product;

// Bit equality that takes any NaN for any NaN.
static bool same_bits(const float* x, const float* y, size_t count) { return memcmp(x, y, count * sizeof *x) == 0; }

static void check_multiply(const kernel* k, product s) {
  const bw_gemm* gemm = k->gemm;
  const int panels = panels_of(k, s.columns);
  const bool transposed = draw() & 1;  // B given by columns, as the forward product has it, or by rows
  const int ldb = (transposed ? s.contract : s.columns) + between(0, 3);
  buffer a = matrix(s.rows, s.contract, s.lda);
  buffer b = transposed ? matrix(s.columns, s.contract, ldb) : matrix(s.contract, s.columns, ldb);
  buffer bias = matrix(1, s.columns, s.columns);
  buffer packed = take(packed_floats(k, s.contract, s.columns));
  buffer c = take((size_t)s.rows * (size_t)s.ldc), gate = matrix(s.rows, s.columns, s.ldc);
  for (size_t i = 0; s.gated && i < gate.count; i += 5) gate.at[i] = i % 2 ? 0 : NAN;  // neither is above 0
  const int64_t stride_c = transposed ? 1 : ldb, stride_n = transposed ? ldb : 1;
  gemm->pack(b.at, stride_c, stride_n, s.contract, s.columns, 0, panels, 0, s.contract, packed.at);
  CHECK(guarded(&packed));
  gemm->multiply(a.at, s.lda, packed.at, s.rows, s.contract, s.columns, 0, panels, s.bias ? bias.at : NULL,
                 s.relu ? BW_ACT_RELU : BW_ACT_NONE, s.gated ? gate.at : NULL, c.at, s.ldc);

  bool exact = true, near = true, gaps = true;
  for (int i = 0; i < s.rows; ++i) {
    const float* row = a.at + (size_t)i * (size_t)s.lda;
    for (int n = 0; n < s.columns; ++n) {
      const size_t at = (size_t)i * (size_t)s.ldc + (size_t)n;
      chain sum = chain_from(0);
      chain_products(k, &sum, row, 1, b.at + n * stride_n, stride_c, s.contract);
      if (s.bias) chain_add(&sum, bias.at[n]);
      if (s.relu && sum.sum < 0) sum.sum = 0;
      if (s.gated && !(gate.at[at] > 0)) sum = chain_from(0);
      exact = exact && same_bits(&sum.sum, &c.at[at], 1);
      near = near && close_to(k, c.at[at], &sum, s.relu);
    }
    gaps = gaps && poisoned(c.at + (size_t)i * (size_t)s.ldc + (size_t)s.columns, (size_t)(s.ldc - s.columns));
  }
#define SHAPE "%s: %d x %d x %d, bias %d, relu %d, gated %d"
#define SHAPE_VALUES gemm->name, s.rows, s.contract, s.columns, s.bias, s.relu, s.gated
  CHECK_MSG(near, SHAPE ": not the product", SHAPE_VALUES);
  CHECK_MSG(exact, SHAPE ": not the chain of the contract", SHAPE_VALUES);
  CHECK_MSG(gaps && guarded(&c), SHAPE ": wrote beside its columns", SHAPE_VALUES);

  // In pieces: packed panel by panel, the product in blocks of rows times ranges of panels.
  buffer packed_again = take(packed.count), again = take(c.count);
  for (int p = panels - 1; p >= 0; --p) {
    gemm->pack(b.at, stride_c, stride_n, s.contract, s.columns, p, p + 1, 0, s.contract, packed_again.at);
    if (p > 0) CHECK(poisoned(packed_again.at, packed.count / (size_t)panels * (size_t)p));
  }
  CHECK(same_bits(packed.at, packed_again.at, packed.count));
  for (int i = 0; i < s.rows;) {
    const int count = between(1, s.rows - i < 20 ? s.rows - i : 20);
    for (int p = 0; p < panels;) {
      const int end = between(p + 1, panels);
      gemm->multiply(a.at + (size_t)i * (size_t)s.lda, s.lda, packed_again.at, count, s.contract, s.columns, p, end,
                     s.bias ? bias.at : NULL, s.relu ? BW_ACT_RELU : BW_ACT_NONE,
                     s.gated ? gate.at + (size_t)i * (size_t)s.ldc : NULL, again.at + (size_t)i * (size_t)s.ldc, s.ldc);
      p = end;
    }
    i += count;
  }
  CHECK_MSG(same_bits(again.at, c.at, c.count) && guarded(&again), SHAPE ": in pieces other bits", SHAPE_VALUES);
#undef SHAPE
#undef SHAPE_VALUES
  buffer* all[] = {&a, &b, &bias, &packed, &c, &gate, &packed_again, &again};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; ++i) {
    CHECK(guarded(all[i]));
    bw_aligned_free(all[i]->base);
  }
}

// A row's bits are equal alone and at any place of any batch.
static void check_row_batches(const kernel* k) {
  enum { MAX_ROWS = 70 };
  const int contract = between(1, 200), columns = between(1, 100), panels = panels_of(k, columns);
  buffer row = matrix(1, contract, contract), b = matrix(contract, columns, columns);
  buffer a = take((size_t)MAX_ROWS * (size_t)contract), c = take((size_t)MAX_ROWS * (size_t)columns);
  buffer packed = take(packed_floats(k, contract, columns)), alone = take((size_t)columns);
  for (int i = 0; i < MAX_ROWS; ++i) memcpy(a.at + i * contract, row.at, (size_t)contract * sizeof(float));
  k->gemm->pack(b.at, columns, 1, contract, columns, 0, panels, 0, contract, packed.at);
  k->gemm->multiply(row.at, contract, packed.at, 1, contract, columns, 0, panels, NULL, BW_ACT_NONE, NULL, alone.at,
                    columns);
  for (int rows = 1; rows <= MAX_ROWS; ++rows) {
    poison(c.at, c.count);
    k->gemm->multiply(a.at, contract, packed.at, rows, contract, columns, 0, panels, NULL, BW_ACT_NONE, NULL, c.at,
                      columns);
    bool same = true;
    for (int i = 0; i < rows; ++i) same = same && same_bits(c.at + i * columns, alone.at, (size_t)columns);
    CHECK_MSG(same, "%s: a row depends on its batch of %d", k->gemm->name, rows);
    CHECK(poisoned(c.at + rows * columns, (size_t)((MAX_ROWS - rows) * columns)));
  }
  buffer* all[] = {&row, &b, &a, &c, &packed, &alone};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; ++i) bw_aligned_free(all[i]->base);
}

static void check_outer(const kernel* k, int rows, int out, int columns, int accumulate) {
  const bw_gemm* gemm = k->gemm;
  const int ldp = out + between(0, 5), ldq = columns + between(0, 5), ldg = columns + between(0, 5);
  const int first = draw() & 1 ? 0 : between(0, out - 1), last = draw() & 1 ? out : between(first, out);
  buffer p = matrix(rows, out, ldp), q = matrix(rows, columns, ldq);
  buffer g = accumulate ? matrix(out, columns, ldg) : take((size_t)out * (size_t)ldg);
  buffer before = take(g.count), again = take(g.count), halves = take(g.count);
  memcpy(before.at, g.at, g.count * sizeof(float));
  memcpy(again.at, g.at, g.count * sizeof(float));
  memcpy(halves.at, g.at, g.count * sizeof(float));
  gemm->outer(p.at, ldp, q.at, ldq, rows, first, last, columns, accumulate, g.at, ldg);
  bool exact = true, near = true, untouched = true;
  for (int i = 0; i < out; ++i) {
    const size_t row = (size_t)i * (size_t)ldg;
    if (i < first || i >= last) {
      untouched = untouched && same_bits(g.at + row, before.at + row, (size_t)ldg);
      continue;
    }
    untouched = untouched && poisoned(g.at + row + (size_t)columns, (size_t)(ldg - columns));
    for (int j = 0; j < columns; ++j) {
      chain sum = chain_from(accumulate ? before.at[row + (size_t)j] : 0);
      chain_products(k, &sum, p.at + i, ldp, q.at + j, ldq, rows);
      exact = exact && same_bits(&sum.sum, &g.at[row + (size_t)j], 1);
      near = near && close_to(k, g.at[row + (size_t)j], &sum, false);
    }
  }
#define SHAPE "%s: gradient of rows %d..%d of %d x %d from %d rows, accumulate %d"
#define SHAPE_VALUES gemm->name, first, last, out, columns, rows, accumulate
  CHECK_MSG(near, SHAPE ": not the product", SHAPE_VALUES);
  CHECK_MSG(exact, SHAPE ": not the chain of the contract", SHAPE_VALUES);
  CHECK_MSG(untouched && guarded(&g), SHAPE ": wrote beside its range", SHAPE_VALUES);

  // In ranges of output rows, and in two parts of the contracted rows, the second accumulating.
  for (int i = first; i < last;) {
    const int end = between(i + 1, last);
    gemm->outer(p.at, ldp, q.at, ldq, rows, i, end, columns, accumulate, again.at, ldg);
    i = end;
  }
  CHECK_MSG(same_bits(again.at, g.at, g.count) && guarded(&again), SHAPE ": in ranges other bits", SHAPE_VALUES);
  const int half = cut(k, between(0, rows));
  gemm->outer(p.at, ldp, q.at, ldq, half, first, last, columns, accumulate, halves.at, ldg);
  gemm->outer(p.at + half * ldp, ldp, q.at + half * ldq, ldq, rows - half, first, last, columns, 1, halves.at, ldg);
  CHECK_MSG(same_bits(halves.at, g.at, g.count), SHAPE ": in two parts other bits", SHAPE_VALUES);
#undef SHAPE
#undef SHAPE_VALUES
  buffer* all[] = {&p, &q, &g, &before, &again, &halves};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; ++i) {
    CHECK(guarded(all[i]));
    bw_aligned_free(all[i]->base);
  }
}

// Word `w` of column n of a packed matrix: element (w, n), or the bf16 elements (2w, n) and, upper half, (2w + 1, n).
static float packed_word(const kernel* k, const float* b, int64_t stride_c, int64_t stride_n, int contract, int columns,
                         int w, int n) {
  float value = 0;
  if (!k->gemm->bf16) return n < columns ? b[w * stride_c + n * stride_n] : 0;
  uint32_t word = 0;
  for (int c = 2 * w; c < contract && c < 2 * w + 2 && n < columns; ++c) {
    uint32_t bits;
    value = to_bf16(b[c * stride_c + n * stride_n]);
    memcpy(&bits, &value, sizeof bits);
    word |= c % 2 ? bits : bits >> 16;
  }
  memcpy(&value, &word, sizeof value);
  return value;
}

// Packing by arbitrary strides, as no layer uses it: every element at its place, zero beyond the columns.
static void check_pack(const kernel* k) {
  const int panel = k->gemm->panel;
  static const int layouts[3][2] = {{0, 1}, {1, 0}, {2, 3}};  // strides (c, n): by rows, by columns, both apart
  for (int contract = 1; contract <= 35; ++contract) {
    const int columns = between(1, 3 * panel), panels = panels_of(k, columns);
    for (int layout = 0; layout < 3; ++layout) {
      const int64_t stride_c = layouts[layout][0] == 1 ? 1 : layout == 2 ? 2 * columns + 1 : columns;
      const int64_t stride_n = layouts[layout][1] == 1 ? 1 : layout == 2 ? 2 : contract;
      buffer b = matrix(1, (int)((contract - 1) * stride_c + (columns - 1) * stride_n) + 1,
                        (int)((contract - 1) * stride_c + (columns - 1) * stride_n) + 1);
      buffer packed = take(packed_floats(k, contract, columns));
      const int words = (int)packed.count / (panels * panel);  // of a packed column: floats, or pairs of bf16
      k->gemm->pack(b.at, stride_c, stride_n, contract, columns, 0, panels, 0, contract, packed.at);
      bool right = true;
      for (int p = 0; p < panels; ++p) {
        for (int w = 0; w < words; ++w) {
          for (int n = 0; n < panel; ++n) {
            const float wanted = packed_word(k, b.at, stride_c, stride_n, contract, columns, w, p * panel + n);
            right = right && same_bits(&packed.at[(size_t)(p * words + w) * (size_t)panel + (size_t)n], &wanted, 1);
          }
        }
      }
      CHECK_MSG(right, "%s: packing %d x %d, layout %d", k->gemm->name, contract, columns, layout);
      CHECK(guarded(&packed));

      // Some panels, and of them a range of the contracted index: these elements and no others.
      const int first_panel = between(0, panels - 1), last_panel = between(first_panel, panels);
      const int first = cut(k, between(0, contract - 1)), end = between(first, contract);
      const int last = end == contract ? end : cut(k, end), width = k->gemm->bf16 ? 2 : 1;
      buffer part = take(packed.count);
      k->gemm->pack(b.at, stride_c, stride_n, contract, columns, first_panel, last_panel, first, last, part.at);
      right = true;
      for (int p = 0; p < panels; ++p) {
        for (int w = 0; w < words; ++w) {
          const size_t at = (size_t)(p * words + w) * (size_t)panel;
          const bool wanted = first_panel <= p && p < last_panel && first <= w * width && w * width < last;
          right = right && (wanted ? same_bits(&part.at[at], &packed.at[at], (size_t)panel)
                                   : poisoned(&part.at[at], (size_t)panel));
        }
      }
      CHECK_MSG(right, "%s: packing %d..%d of %d x %d, panels %d..%d, layout %d", k->gemm->name, first, last, contract,
                columns, first_panel, last_panel, layout);
      CHECK(guarded(&part));
      bw_aligned_free(part.base);
      bw_aligned_free(b.base);
      bw_aligned_free(packed.base);
    }
  }
}

// NaN and infinity come out where they went in, and nowhere else; ReLU hides neither.
static void check_special(const kernel* k) {
  enum { ROWS = 11, CONTRACT = 5, COLUMNS = 19 };
  const int panels = panels_of(k, COLUMNS);
  buffer a = matrix(ROWS, CONTRACT, CONTRACT), b = matrix(CONTRACT, COLUMNS, COLUMNS);
  buffer packed = take(packed_floats(k, CONTRACT, COLUMNS)), c = take(ROWS * COLUMNS);
  a.at[3 * CONTRACT + 2] = NAN;
  a.at[9 * CONTRACT] = INFINITY;
  k->gemm->pack(b.at, COLUMNS, 1, CONTRACT, COLUMNS, 0, panels, 0, CONTRACT, packed.at);
  k->gemm->multiply(a.at, CONTRACT, packed.at, ROWS, CONTRACT, COLUMNS, 0, panels, NULL, BW_ACT_RELU, NULL, c.at,
                    COLUMNS);
  for (int i = 0; i < ROWS; ++i) {
    for (int n = 0; n < COLUMNS; ++n) {
      const float v = c.at[i * COLUMNS + n];
      if (i == 3) {
        CHECK(isnan(v));
      } else if (i == 9) {
        CHECK(b.at[n] > 0 ? isinf(v) : v == 0);
      } else {
        CHECK(isfinite(v) && v >= 0);
      }
    }
  }
  bw_aligned_free(a.base);
  bw_aligned_free(b.base);
  bw_aligned_free(packed.base);
  bw_aligned_free(c.base);
}

// Below the normal numbers bf16 products see and give 0, of either sign; fp32 keeps what it can.
static void check_tiny(const kernel* k) {
  enum { COLUMNS = 3 };
  const float tiny[2] = {-0x1p-130f, 0x1p-140f}, ones[2 * COLUMNS] = {1, 1, 1, 1, 1, 1}, small[2] = {0x1p-70f, 0};
  const float* rows[2] = {tiny, small};
  buffer packed = take(packed_floats(k, 2, COLUMNS)), c = take(COLUMNS);
  for (int i = 0; i < 2; ++i) {
    const float b[2 * COLUMNS] = {0x1p-70f, 0x1p-70f, 0x1p-70f, 1, 1, 1};
    k->gemm->pack(i ? b : ones, COLUMNS, 1, 2, COLUMNS, 0, 1, 0, 2, packed.at);
    k->gemm->multiply(rows[i], 2, packed.at, 1, 2, COLUMNS, 0, 1, NULL, BW_ACT_NONE, NULL, c.at, COLUMNS);
    const float wanted = k->gemm->bf16 ? 0 : i ? 0x1p-140f : -0x1p-130f + 0x1p-140f;
    for (int n = 0; n < COLUMNS; ++n) CHECK(c.at[n] == wanted);
  }
  bw_aligned_free(packed.base);
  bw_aligned_free(c.base);
}

static void check_empty(const kernel* k) {
  // Nothing to contract: the bias alone, a gradient of 0.
  float packed[1] = {NAN}, bias[3] = {1, -2, 3}, c[6], g[6];
  poison(c, 6);
  k->gemm->multiply(packed, 0, packed, 2, 0, 3, 0, 1, bias, BW_ACT_RELU, NULL, c, 3);
  for (int i = 0; i < 6; ++i) CHECK(c[i] == (i % 3 == 1 ? 0.0f : bias[i % 3]));
  poison(g, 6);
  k->gemm->outer(packed, 2, packed, 3, 0, 0, 2, 3, 0, g, 3);
  for (int i = 0; i < 6; ++i) CHECK(g[i] == 0);
  // No rows, no panels: nothing happens.
  poison(c, 6);
  k->gemm->multiply(packed, 1, packed, 0, 1, 3, 0, 1, bias, BW_ACT_NONE, NULL, c, 3);
  k->gemm->multiply(packed, 1, packed, 2, 1, 3, 0, 0, bias, BW_ACT_NONE, NULL, c, 3);
  k->gemm->outer(packed, 1, packed, 3, 1, 1, 1, 3, 0, c, 3);
  CHECK(poisoned(c, 6));
}

static void check_kernel(const kernel* k) {
  CHECK(k->gemm->panel >= 1 && k->gemm->row_tile >= 1);
  check_pack(k);
  check_special(k);
  check_tiny(k);
  check_empty(k);
  for (int i = 0; i < 5; ++i) check_row_batches(k);
  static const int edges[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33};
  enum { EDGES = sizeof edges / sizeof edges[0] };
  for (int i = 0; i < EDGES; ++i) {
    for (int j = 0; j < EDGES; ++j) {
      const product s = {.rows = edges[i],
                         .contract = edges[(i + j) % EDGES],
                         .columns = edges[j],
                         .lda = edges[(i + j) % EDGES],
                         .ldc = edges[j],
                         .bias = i & 1,
                         .relu = j & 1};
      check_multiply(k, s);
      check_outer(k, edges[(i + j) % EDGES], edges[i], edges[j], j & 1);
    }
  }
  // Rows too long for what a kernel keeps of them at a time.
  static const int long_rows[] = {600, 4097, 20000};
  for (int i = 0; i < 3; ++i) {
    check_multiply(k, (product){.rows = 20, .contract = long_rows[i], .columns = 40, .lda = long_rows[i], .ldc = 40});
  }
  // Every number of rows that tiles are cut into, with strides beyond the extents.
  for (int rows = 1; rows <= 20; ++rows) {
    for (int i = 0; i < RANDOM_SHAPES / 6; ++i) {
      product s = {.rows = rows, .contract = i % 5 == 4 ? 256 : between(1, 40), .columns = between(1, 70)};
      s.lda = s.contract + between(1, 9);
      s.ldc = s.columns + between(1, 9);
      s.gated = i % 3 == 2;
      s.bias = i % 3 == 1;
      s.relu = s.bias && (draw() & 1);
      check_multiply(k, s);
      check_outer(k, i % 5 == 3 ? between(250, 270) : between(1, 40), rows, between(1, 70), i & 1);
    }
  }
  for (int i = 0; i < RANDOM_SHAPES; ++i) {
    product s = {.rows = i % 6 == 5 ? between(100, 280) : between(1, 70),
                 .contract = between(1, 300),
                 .columns = between(1, 270)};
    s.lda = s.contract + between(0, 9);
    s.ldc = s.columns + between(0, 9);
    s.gated = i % 4 == 3;  // then without the rest, as the contract has it
    s.bias = !s.gated && i % 4 >= 1;
    s.relu = !s.gated && i % 4 == 2;
    check_multiply(k, s);
    check_outer(k, between(1, 300), between(1, 150), between(1, 270), i & 1);
  }
}

int main(void) {
  const kernel portable = {.gemm = &bw_gemm_portable, .fused = false};
  check_kernel(&portable);
#ifdef BW_HAVE_NEON
  const kernel neon = {.gemm = &bw_gemm_neon, .fused = true};
  check_kernel(&neon);
#endif
#ifdef BW_HAVE_AVX2
  const kernel avx2 = {.gemm = &bw_gemm_avx2, .fused = true};
  if (bw_isa_available(BW_ISA_AVX2)) check_kernel(&avx2);
#endif
#ifdef BW_HAVE_AVX512
  const kernel avx512 = {.gemm = &bw_gemm_avx512, .fused = true};
  if (bw_isa_available(BW_ISA_AVX512)) check_kernel(&avx512);
#endif
#ifdef BW_HAVE_AVX512BF16
  const kernel bf16 = {.gemm = &bw_gemm_avx512bf16, .fused = true};
  if (bw_bf16_available(BW_ISA_AVX512)) check_kernel(&bf16);
#endif
  return check_summary("gemm");
}
