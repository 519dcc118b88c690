#include "roof.h"

#include <pthread.h>
#include <stdlib.h>

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
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; ++i) s[i] = s[i] * x + y;
  }
  for (int i = 1; i < CHAINS; ++i) s[0] += s[i];
  *sink = s[0][0] + s[0][1] + s[0][2] + s[0][3];
  return (double)rounds * CHAINS * LANES * 2;
}

enum { MAX_CACHED = 16, REPEATS = 8, TRIAD_FLOATS = 1 << 24 };  // three arrays of 64 MiB: beyond any cache
static const int64_t kRounds = 200000;

typedef struct probe_task {
  bw_roof_probe probe;
  double* flops;  // by worker, one cache line apart
  float* sinks;
} probe_task;

enum { LINE = 16 };

static void run_probe(void* context, int64_t first, int64_t last, int worker) {
  probe_task* task = context;
  for (int64_t t = first; t < last; ++t) {
    task->flops[worker * LINE] = task->probe(kRounds, &task->sinks[worker * LINE]);
  }
}

static void run_triad(void* context, int64_t first, int64_t last, int worker) {
  (void)worker;
  float* const* arrays = context;
  float* a = arrays[0];
  const float *b = arrays[1], *c = arrays[2];
  for (int64_t i = first; i < last; ++i) a[i] = b[i] + 0.5f * c[i];
}

static bw_status measure(bw_isa isa, bw_pool* pool, bw_roof* roof, bw_error* error) {
  const int threads = bw_pool_threads(pool);
  const size_t triad_bytes = (size_t)TRIAD_FLOATS * sizeof(float);
  float* arrays[3] = {malloc(triad_bytes), malloc(triad_bytes), malloc(triad_bytes)};
  double* flops = calloc((size_t)threads * LINE, sizeof *flops);
  float* sinks = calloc((size_t)threads * LINE, sizeof *sinks);
  bw_status status = BW_OK;
  if (!arrays[0] || !arrays[1] || !arrays[2] || !flops || !sinks) {
    status = bw_fail_memory(error, "roof", "the bandwidth probe", 3 * triad_bytes, 0);
  } else {
    probe_task task = {.probe = bw_roof_probe_portable, .flops = flops, .sinks = sinks};
#ifdef BW_HAVE_AVX512
    if (isa == BW_ISA_AVX512) task.probe = bw_roof_probe_avx512;
#else
    (void)isa;
#endif
    *roof = (bw_roof){.threads = threads};
    for (int repeat = 0; repeat < REPEATS; ++repeat) {
      const uint64_t start = bw_now_ns();
      bw_pool_run(pool, threads, run_probe, &task);
      const double ns = (double)(bw_now_ns() - start);
      double total = 0;
      for (int i = 0; i < threads; ++i) total += flops[i * LINE];
      if (total / ns > roof->gflops) roof->gflops = total / ns;
    }
    for (int i = 0; i < 3; ++i) {
      for (int64_t k = 0; k < TRIAD_FLOATS; ++k) arrays[i][k] = 1;  // touches the pages
    }
    for (int repeat = 0; repeat < 3; ++repeat) {
      const uint64_t start = bw_now_ns();
      bw_pool_run(pool, TRIAD_FLOATS, run_triad, arrays);
      const double rate = 3.0 * (double)triad_bytes / (double)(bw_now_ns() - start);
      if (rate > roof->gbytes) roof->gbytes = rate;
    }
  }
  for (int i = 0; i < 3; ++i) free(arrays[i]);
  free(flops);
  free(sinks);
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
    status = measure(isa, pool, roof, error);
    if (status == BW_OK && cached < MAX_CACHED) {
      cache[cached].isa = isa;
      cache[cached++].roof = *roof;
    }
  }
  pthread_mutex_unlock(&cache_mutex);
  return status;
}
