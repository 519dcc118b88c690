#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif
#include <unistd.h>

// Pauses before an idle worker (or a waiting caller) goes to sleep: a few microseconds, the gap between two kernels.
enum { SPINS = 4000 };

typedef struct pool_worker {
  bw_pool* pool;
  pthread_t handle;
  int index;
} pool_worker;

struct bw_pool {
  int threads;
  int spins;
  pool_worker* workers;  // [threads], index 0 unused: the caller
  // The job; written before `generation` is raised, read after it is seen.
  int64_t tasks;
  bw_pool_fn fn;
  void* context;
  atomic_uint generation;  // raised once a job
  atomic_int pending;      // workers that have not finished the job
  atomic_int sleepers;     // workers asleep or about to be
  atomic_bool caller_sleeps;
  atomic_bool quit;
  pthread_mutex_t mutex;
  pthread_cond_t wake;  // workers wait for a job
  pthread_cond_t done;  // the caller waits for the last worker
};

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void run_share(bw_pool* pool, int worker) {
  const int64_t first = pool->tasks * worker / pool->threads, last = pool->tasks * (worker + 1) / pool->threads;
  if (first < last) pool->fn(pool->context, first, last, worker);
}

// Returns when generation differs from `seen` or the pool quits.
static void wait_for_job(bw_pool* pool, unsigned seen) {
  for (int i = 0; i < pool->spins; ++i) {
    if (atomic_load(&pool->generation) != seen) return;
    relax();
  }
  pthread_mutex_lock(&pool->mutex);
  atomic_fetch_add(&pool->sleepers, 1);
  while (atomic_load(&pool->generation) == seen) pthread_cond_wait(&pool->wake, &pool->mutex);
  atomic_fetch_sub(&pool->sleepers, 1);
  pthread_mutex_unlock(&pool->mutex);
}

static void* worker_main(void* argument) {
  pool_worker* worker = argument;
  bw_pool* pool = worker->pool;
  unsigned seen = 0;
  for (;;) {
    wait_for_job(pool, seen);
    ++seen;
    if (atomic_load(&pool->quit)) return NULL;
    run_share(pool, worker->index);
    if (atomic_fetch_sub(&pool->pending, 1) == 1 && atomic_load(&pool->caller_sleeps)) {
      pthread_mutex_lock(&pool->mutex);
      pthread_cond_signal(&pool->done);
      pthread_mutex_unlock(&pool->mutex);
    }
  }
}

// Raises the generation and wakes whoever sleeps. A worker that is about to sleep has either counted itself a sleeper
// before our load, and we broadcast under its mutex, or it sees the new generation before it waits.
static void publish(bw_pool* pool) {
  atomic_fetch_add(&pool->generation, 1);
  if (atomic_load(&pool->sleepers) > 0) {
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
  }
}

void bw_pool_run(bw_pool* pool, int64_t tasks, bw_pool_fn fn, void* context) {
  if (tasks <= 0) return;
  if (tasks == 1 || pool->threads == 1) {
    fn(context, 0, tasks, 0);
    return;
  }
  pool->tasks = tasks;
  pool->fn = fn;
  pool->context = context;
  atomic_store(&pool->pending, pool->threads - 1);
  publish(pool);
  run_share(pool, 0);
  for (int i = 0; i < pool->spins; ++i) {
    if (atomic_load(&pool->pending) == 0) return;
    relax();
  }
  pthread_mutex_lock(&pool->mutex);
  atomic_store(&pool->caller_sleeps, true);
  while (atomic_load(&pool->pending) > 0) pthread_cond_wait(&pool->done, &pool->mutex);
  atomic_store(&pool->caller_sleeps, false);
  pthread_mutex_unlock(&pool->mutex);
}

bw_status bw_pool_create(int threads, bw_pool** out, bw_error* error) {
  bw_pool* pool = calloc(1, sizeof *pool);
  pool_worker* workers = calloc((size_t)(threads < 1 ? 1 : threads), sizeof *workers);
  if (!pool || !workers) {
    free(pool);
    free(workers);
    return bw_fail_memory(error, "pool.create", "the thread pool", sizeof *pool, 0);
  }
  pool->workers = workers;
  // With more threads than cores a spinning thread only keeps a working one from its core.
  pool->spins = threads <= bw_hardware_threads() ? SPINS : 1;
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pthread_cond_init(&pool->done, NULL);
  pool->threads = 1;
  for (int i = 1; i < threads; ++i) {
    workers[i] = (pool_worker){.pool = pool, .index = i};
    if (pthread_create(&workers[i].handle, NULL, worker_main, &workers[i]) != 0) {
      bw_pool_destroy(pool);
      return bw_fail(error, BW_MEMORY, "pool.create", "the system refused thread %d of %d", i + 1, threads);
    }
    ++pool->threads;
  }
  *out = pool;
  return BW_OK;
}

void bw_pool_destroy(bw_pool* pool) {
  if (!pool) return;
  atomic_store(&pool->quit, true);
  publish(pool);
  for (int i = 1; i < pool->threads; ++i) pthread_join(pool->workers[i].handle, NULL);
  pthread_cond_destroy(&pool->done);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->mutex);
  free(pool->workers);
  free(pool);
}

int bw_pool_threads(const bw_pool* pool) { return pool->threads; }

// Cores granted by a cgroup quota, rounded up; 0 if there is none.
static int quota_cores(void) {
#ifdef __linux__
  long long quota = -1, period = -1;
  FILE* file = fopen("/sys/fs/cgroup/cpu.max", "r");
  if (file) {
    if (fscanf(file, "%lld %lld", &quota, &period) != 2) quota = -1;
    fclose(file);
  } else {
    file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r");
    if (file) {
      if (fscanf(file, "%lld", &quota) != 1) quota = -1;
      fclose(file);
    }
    file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r");
    if (file) {
      if (fscanf(file, "%lld", &period) != 1) period = -1;
      fclose(file);
    }
  }
  if (quota > 0 && period > 0) return (int)((quota + period - 1) / period);
#endif
  return 0;
}

int bw_hardware_threads(void) {
  int cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cores = CPU_COUNT(&set);
#endif
  const int quota = quota_cores();
  if (quota > 0 && quota < cores) cores = quota;
  return cores < 1 ? 1 : cores;
}
