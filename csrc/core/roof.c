#include "roof.h"

#include <stdlib.h>

#include "cache.h"
#include "compiler.h"
#include "posix.h"
#include "prof.h"
#include "roof_probe.h"

// Twelve chains of four lanes: the baseline's vectors (SSE2, NEON), multiply and add.
double bw_roof_probe_portable(int64_t rounds, float* sink) {
  enum { CHAINS = 12, LANES = 4 };
  typedef float lanes __attribute__((vector_size(16)));
  lanes s[CHAINS];
  for (int i = 0; i < CHAINS; ++i) s[i] = (lanes){1.0f + (float)i, 1, 1, 1};
  lanes x = {0.999999f, 0.999999f, 0.999999f, 0.999999f}, y = {1e-6f, 1e-6f, 1e-6f, 1e-6f};
  for (int64_t round = 0; round < rounds; ++round) {
#if defined(__x86_64__)
    __asm__ volatile("" : "+x"(x), "+x"(y));
#elif defined(__aarch64__)
    __asm__ volatile("" : "+w"(x), "+w"(y));
#endif
    BW_UNROLL(12)
    for (int i = 0; i < CHAINS; ++i) s[i] = s[i] * x + y;
  }
  for (int i = 1; i < CHAINS; ++i) s[0] += s[i];
  *sink = s[0][0] + s[0][1] + s[0][2] + s[0][3];
  return (double)(rounds * CHAINS * LANES * 2);
}

void bw_roof_update_portable(const float* restrict x, float* restrict y, int64_t n, float s) {
  for (int64_t i = 0; i < n; ++i) y[i] += s * x[i];
}

enum {
  MAX_KNOWN = 16,
  LINE = 16,  // floats in a cache line
#ifdef BW_SANITIZED
  TRIAD_FLOATS = 1 << 18,  // the figure means nothing there
#else
  TRIAD_FLOATS = 1 << 24,  // three arrays of 64 MiB: beyond the caches that a core reaches
#endif
};
static const int64_t kRounds = 200000;  // below a millisecond

// How long to look; the best of short runs counts.
typedef struct effort {
  uint64_t flops, cache;  // ns for each probe of arithmetic and of a cache
  int triads;
} effort;
static const effort kFirst = {.flops = 60000000u, .cache = 20000000u, .triads = 4};  // the clock settles meanwhile
static const effort kAgain = {.flops = 15000000u, .cache = 5000000u, .triads = 2};
static const uint64_t kGlance = 4000000u;  // ns

// Traffic of a thread in one run over a cache: many times what a start costs.
static const uint64_t kPassBytes = 8u << 20;
static const uint64_t kMostBytes = 8u << 20;  // of a thread's arrays

typedef struct probe_task {
  bw_roof_probe probe;
  double flops;  // of one worker, all do the same
} probe_task;

static void run_probe(void* context, int64_t first, int64_t last, int worker) {
  (void)worker;
  probe_task* task = context;
  for (int64_t t = first; t < last; ++t) {
    float sum;
    const double flops = task->probe(kRounds, &sum);
    volatile float used = sum;
    (void)used;
    if (t == 0) task->flops = flops;
  }
}

// GFLOP/s of all threads together, each running the probe.
static double measure_flops(bw_pool* pool, bw_roof_probe probe, uint64_t time) {
  const int threads = bw_pool_threads(pool);
  probe_task task = {.probe = probe};
  double best = 0;
  const uint64_t begin = bw_now_ns();
  for (uint64_t now = begin; now - begin < time;) {
    const uint64_t start = now;
    bw_pool_run(pool, threads, run_probe, &task);
    now = bw_now_ns();
    const double rate = threads * task.flops / (double)(now - start + 1);
    if (rate > best) best = rate;
  }
  return best;
}

static void fill_triad(void* context, int64_t first, int64_t last, int worker) {
  (void)worker;
  float* const* arrays = context;
  for (int k = 0; k < 3; ++k) {
    for (int64_t i = first; i < last; ++i) arrays[k][i] = 1;
  }
}

static void run_triad(void* context, int64_t first, int64_t last, int worker) {
  (void)worker;
  float* const* arrays = context;
  float* restrict a = arrays[0];
  const float* restrict b = arrays[1];
  const float* restrict c = arrays[2];
  for (int64_t i = first; i < last; ++i) a[i] = b[i] + 0.5f * c[i];
}

// GB/s of a[i] = b[i] + s c[i], counting each array once.
static double measure_bytes(bw_pool* pool, float* arrays[3], int repeats) {
  bw_pool_run(pool, TRIAD_FLOATS, fill_triad, arrays);  // each worker touches the pages that it will use
  double best = 0;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const uint64_t start = bw_now_ns();
    bw_pool_run(pool, TRIAD_FLOATS, run_triad, arrays);
    const double rate = (double)(3 * sizeof(float) * TRIAD_FLOATS) / (double)(bw_now_ns() - start + 1);
    if (rate > best) best = rate;
  }
  return best;
}

typedef struct cache_task {
  bw_roof_update update;
  float* arrays;  // [threads][2][floats]
  int64_t floats;
  int64_t passes;
} cache_task;

static void fill_cache(void* context, int64_t first, int64_t last, int worker) {
  (void)worker;
  const cache_task* task = context;
  for (int64_t i = first * 2 * task->floats; i < last * 2 * task->floats; ++i) task->arrays[i] = 1;
}

static void run_cache(void* context, int64_t first, int64_t last, int worker) {
  (void)worker;
  const cache_task* task = context;
  for (int64_t t = first; t < last; ++t) {
    float* arrays = task->arrays + t * 2 * task->floats;
    for (int64_t pass = 0; pass < task->passes; ++pass) {
      task->update(arrays, arrays + task->floats, task->floats, 1e-6f);
    }
  }
}

// GB/s of y[i] += s x[i] over `bytes` a thread, all threads together.
static bw_status measure_cache(bw_pool* pool, bw_roof_update update, uint64_t bytes, uint64_t time, double* gbytes,
                               bw_error* error) {
  enum { ALIGNMENT = 64 };
  const int threads = bw_pool_threads(pool);
  cache_task task = {.update = update, .floats = (int64_t)(bytes / (2 * sizeof(float))) / LINE * LINE};
  const uint64_t traffic = 3 * sizeof(float) * (uint64_t)task.floats;
  task.passes = (int64_t)(1 + kPassBytes / traffic);
  const size_t size = (size_t)threads * 2 * (size_t)task.floats * sizeof(float);
  task.arrays = bw_aligned_alloc(ALIGNMENT, size);
  if (!task.arrays) return bw_fail_memory(error, "roof", "the cache probe", size, 0);
  bw_pool_run(pool, threads, fill_cache, &task);
  const uint64_t begin = bw_now_ns();
  for (uint64_t now = begin; now - begin < time;) {
    const uint64_t start = now;
    bw_pool_run(pool, threads, run_cache, &task);
    now = bw_now_ns();
    const double rate = (double)((uint64_t)threads * (uint64_t)task.passes * traffic) / (double)(now - start + 1);
    if (rate > *gbytes) *gbytes = rate;
  }
  bw_aligned_free(task.arrays);
  return BW_OK;
}

static bw_status measure_caches(bw_pool* pool, bw_roof_update update, uint64_t time, bw_roof* roof, bw_error* error) {
  const uint64_t threads = (uint64_t)bw_pool_threads(pool);
  uint64_t nearer = 0;
  for (int i = 0; i < BW_ROOF_CACHES; ++i) {
    const bw_cache cache = bw_cache_find(i + 1);
    const uint64_t sharers = (uint64_t)cache.sharers;
    uint64_t half = cache.bytes / 2 / (threads < sharers ? threads : sharers);  // of a thread's share
    if (half > kMostBytes) half = kMostBytes;
    if (half > nearer) {
      BW_TRY(measure_cache(pool, update, half, time, &roof->caches[i].gbytes, error));
      roof->caches[i].bytes = cache.bytes * ((threads + sharers - 1) / sharers);
    }
    if (cache.bytes > 0) nearer = cache.bytes;
  }
  return BW_OK;
}

typedef struct probes {
  bw_roof_probe flops[BW_ROOF_PRECISIONS];  // [bw_precision]; NULL: no such arithmetic
  bw_roof_update update;
} probes;

static probes probes_of(bw_isa isa) {
  probes of = {.flops = {bw_roof_probe_portable}, .update = bw_roof_update_portable};
#ifdef BW_HAVE_NEON
  if (isa == BW_ISA_NEON) of.flops[BW_PRECISION_FP32] = bw_roof_probe_neon;
#endif
#ifdef BW_HAVE_AVX2
  if (isa == BW_ISA_AVX2) {
    of.flops[BW_PRECISION_FP32] = bw_roof_probe_avx2;
    of.update = bw_roof_update_avx2;
  }
#endif
#ifdef BW_HAVE_AVX512
  if (isa == BW_ISA_AVX512) {
    of.flops[BW_PRECISION_FP32] = bw_roof_probe_avx512;
    of.update = bw_roof_update_avx512;
  }
#endif
#ifdef BW_HAVE_AVX512BF16
  if (bw_bf16_available(isa)) of.flops[BW_PRECISION_BF16] = bw_roof_probe_avx512bf16;
#endif
  (void)isa;  // there may be one only
  return of;
}

static bw_status measure(bw_isa isa, bw_pool* pool, effort how, bw_roof* roof, bw_error* error) {
  const size_t triad_bytes = (size_t)TRIAD_FLOATS * sizeof(float);
  float* arrays[3] = {malloc(triad_bytes), malloc(triad_bytes), malloc(triad_bytes)};
  const probes of = probes_of(isa);
  bw_status status = BW_OK;
  *roof = (bw_roof){.threads = bw_pool_threads(pool)};
  if (arrays[0] && arrays[1] && arrays[2]) {
    roof->gflops = measure_flops(pool, of.flops[BW_PRECISION_FP32], how.flops);
    if (of.flops[BW_PRECISION_BF16]) roof->gflops_bf16 = measure_flops(pool, of.flops[BW_PRECISION_BF16], how.flops);
    roof->gbytes = measure_bytes(pool, arrays, how.triads);
    status = measure_caches(pool, of.update, how.cache, roof, error);
  } else {
    status = bw_fail_memory(error, "roof", "the bandwidth probe", 3 * triad_bytes, 0);
  }
  for (int i = 0; i < 3; ++i) free(arrays[i]);
  return status;
}

// ---- the best reading ----

static double* gflops_of(bw_roof* roof, bw_precision precision) {
  return precision == BW_PRECISION_BF16 ? &roof->gflops_bf16 : &roof->gflops;
}

double bw_roof_gflops(const bw_roof* roof, bw_precision precision) {
  return precision == BW_PRECISION_BF16 ? roof->gflops_bf16 : roof->gflops;
}

static void keep_gflops(bw_roof* roof, bw_precision precision, double gflops, bool raised) {
  if (gflops <= bw_roof_gflops(roof, precision)) return;
  *gflops_of(roof, precision) = gflops;
  roof->raised[precision] = raised;
}

void bw_roof_keep_best(bw_roof* roof, const bw_roof* reading) {
  for (int i = 0; i < BW_ROOF_PRECISIONS; ++i) {
    const bw_precision precision = (bw_precision)i;
    keep_gflops(roof, precision, bw_roof_gflops(reading, precision), reading->raised[i]);
  }
  if (reading->gbytes > roof->gbytes) roof->gbytes = reading->gbytes;
  for (int i = 0; i < BW_ROOF_CACHES; ++i) {
    if (reading->caches[i].gbytes > roof->caches[i].gbytes) roof->caches[i] = reading->caches[i];
  }
}

void bw_roof_reach(bw_roof* roof, bw_precision precision, double gflops) { keep_gflops(roof, precision, gflops, true); }

static pthread_mutex_t known_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
  bw_isa isa;
  bw_roof roof;
} known[MAX_KNOWN];
static int known_count;

// NULL where it is not known.
static bw_roof* find_known(bw_isa isa, int threads) {
  for (int i = 0; i < known_count; ++i) {
    if (known[i].isa == isa && known[i].roof.threads == threads) return &known[i].roof;
  }
  return NULL;
}

bw_status bw_roof_measure(bw_isa isa, bw_pool* pool, bool again, bw_roof* roof, bw_error* error) {
  bw_status status = BW_OK;
  pthread_mutex_lock(&known_mutex);
  bw_roof* best = find_known(isa, bw_pool_threads(pool));
  if (best) {
    bw_roof reading;
    if (again && measure(isa, pool, kAgain, &reading, NULL) == BW_OK) bw_roof_keep_best(best, &reading);
    *roof = *best;
  } else {
    status = measure(isa, pool, kFirst, roof, error);
    if (status == BW_OK && known_count < MAX_KNOWN) {
      known[known_count].isa = isa;
      known[known_count++].roof = *roof;
    }
  }
  pthread_mutex_unlock(&known_mutex);
  return status;
}

void bw_roof_glance(bw_isa isa, bw_pool* pool, bw_precision precision, double gflops, bw_roof* roof) {
  if (pthread_mutex_trylock(&known_mutex) == 0) {
    const bw_roof_probe probe = probes_of(isa).flops[precision];
    if (probe) keep_gflops(roof, precision, measure_flops(pool, probe, kGlance), false);
    bw_roof_reach(roof, precision, gflops);
    bw_roof* best = find_known(isa, roof->threads);
    if (best) {
      bw_roof_keep_best(best, roof);
      *roof = *best;
    }
    pthread_mutex_unlock(&known_mutex);
  }
  bw_roof_reach(roof, precision, gflops);
}
