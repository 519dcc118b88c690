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
  MAX_CACHED = 16,
  LINE = 16,  // doubles and floats of workers stand this far apart: on cache lines of their own
#ifdef BW_SANITIZED
  TRIAD_FLOATS = 1 << 18,  // the figure means nothing there
#else
  TRIAD_FLOATS = 1 << 24,  // three arrays of 64 MiB: beyond the caches that a core reaches
#endif
  TRIAD_REPEATS = 4,
};
static const int64_t kRounds = 200000;         // below a millisecond
static const uint64_t kProbeTime = 60000000u;  // ns; long enough for the clock to settle, best run counts
static const uint64_t kCacheTime = 20000000u;
// Traffic of a thread in one run over a cache: many times what a start costs.
static const uint64_t kPassBytes = 8u << 20;
static const uint64_t kMostBytes = 8u << 20;  // of a thread's arrays

typedef struct probe_task {
  bw_roof_probe probe;
  double* flops;  // [threads * LINE]
  float* sinks;   // [threads * LINE]
} probe_task;

static void run_probe(void* context, int64_t first, int64_t last, int worker) {
  const probe_task* task = context;
  for (int64_t t = first; t < last; ++t) {
    task->flops[worker * LINE] = task->probe(kRounds, &task->sinks[worker * LINE]);
  }
}

// GFLOP/s of all threads together, each running the probe.
static double measure_flops(bw_pool* pool, probe_task* task) {
  const int threads = bw_pool_threads(pool);
  double best = 0;
  const uint64_t begin = bw_now_ns();
  for (uint64_t now = begin; now - begin < kProbeTime;) {
    const uint64_t start = now;
    bw_pool_run(pool, threads, run_probe, task);
    now = bw_now_ns();
    double flops = 0;
    for (int i = 0; i < threads; ++i) flops += task->flops[i * LINE];
    const double rate = flops / (double)(now - start + 1);
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
static double measure_bytes(bw_pool* pool, float* arrays[3]) {
  bw_pool_run(pool, TRIAD_FLOATS, fill_triad, arrays);  // each worker touches the pages that it will use
  double best = 0;
  for (int repeat = 0; repeat < TRIAD_REPEATS; ++repeat) {
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
static bw_status measure_cache(bw_pool* pool, bw_roof_update update, uint64_t bytes, double* gbytes, bw_error* error) {
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
  for (uint64_t now = begin; now - begin < kCacheTime;) {
    const uint64_t start = now;
    bw_pool_run(pool, threads, run_cache, &task);
    now = bw_now_ns();
    const double rate = (double)((uint64_t)threads * (uint64_t)task.passes * traffic) / (double)(now - start + 1);
    if (rate > *gbytes) *gbytes = rate;
  }
  bw_aligned_free(task.arrays);
  return BW_OK;
}

static bw_status measure_caches(bw_pool* pool, bw_roof_update update, bw_roof* roof, bw_error* error) {
  const uint64_t threads = (uint64_t)bw_pool_threads(pool);
  uint64_t nearer = 0;
  for (int i = 0; i < BW_ROOF_CACHES; ++i) {
    const bw_cache cache = bw_cache_find(i + 1);
    const uint64_t sharers = (uint64_t)cache.sharers;
    uint64_t half = cache.bytes / 2 / (threads < sharers ? threads : sharers);  // of a thread's share
    if (half > kMostBytes) half = kMostBytes;
    if (half > nearer) {
      BW_TRY(measure_cache(pool, update, half, &roof->caches[i].gbytes, error));
      roof->caches[i].bytes = cache.bytes * ((threads + sharers - 1) / sharers);
    }
    if (cache.bytes > 0) nearer = cache.bytes;
  }
  return BW_OK;
}

static bw_status measure(bw_isa isa, bw_pool* pool, bw_roof* roof, bw_error* error) {
  const int threads = bw_pool_threads(pool);
  const size_t triad_bytes = (size_t)TRIAD_FLOATS * sizeof(float);
  float* arrays[3] = {malloc(triad_bytes), malloc(triad_bytes), malloc(triad_bytes)};
  probe_task task = {.probe = bw_roof_probe_portable,
                     .flops = calloc((size_t)threads * LINE, sizeof *task.flops),
                     .sinks = calloc((size_t)threads * LINE, sizeof *task.sinks)};
  bw_roof_update update = bw_roof_update_portable;
#ifdef BW_HAVE_NEON
  if (isa == BW_ISA_NEON) task.probe = bw_roof_probe_neon;
#endif
#ifdef BW_HAVE_AVX2
  if (isa == BW_ISA_AVX2) {
    task.probe = bw_roof_probe_avx2;
    update = bw_roof_update_avx2;
  }
#endif
#ifdef BW_HAVE_AVX512
  if (isa == BW_ISA_AVX512) {
    task.probe = bw_roof_probe_avx512;
    update = bw_roof_update_avx512;
  }
#endif
  (void)isa;  // there may be one only
  bw_status status = BW_OK;
  if (arrays[0] && arrays[1] && arrays[2] && task.flops && task.sinks) {
    roof->threads = threads;
    roof->gflops = measure_flops(pool, &task);
    roof->gflops_bf16 = 0;
#ifdef BW_HAVE_AVX512BF16
    if (bw_bf16_available(isa)) {
      task.probe = bw_roof_probe_avx512bf16;
      roof->gflops_bf16 = measure_flops(pool, &task);
    }
#endif
    roof->gbytes = measure_bytes(pool, arrays);
    status = measure_caches(pool, update, roof, error);
  } else {
    status = bw_fail_memory(error, "roof", "the bandwidth probe", 3 * triad_bytes, 0);
  }
  for (int i = 0; i < 3; ++i) free(arrays[i]);
  free(task.flops);
  free(task.sinks);
  return status;
}

static pthread_mutex_t cache_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
  bw_isa isa;
  bw_roof roof;
} cache[MAX_CACHED];
static int cached;

bw_status bw_roof_measure(bw_isa isa, bw_pool* pool, bw_roof* roof, bw_error* error) {
  bw_status status = BW_OK;
  pthread_mutex_lock(&cache_mutex);
  int i = 0;
  while (i < cached && !(cache[i].isa == isa && cache[i].roof.threads == bw_pool_threads(pool))) ++i;
  if (i < cached) {
    *roof = cache[i].roof;
  } else {
    *roof = (bw_roof){0};
    status = measure(isa, pool, roof, error);
    if (status == BW_OK && cached < MAX_CACHED) {
      cache[cached].isa = isa;
      cache[cached++].roof = *roof;
    }
  }
  pthread_mutex_unlock(&cache_mutex);
  return status;
}
