#include "pool.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif
#ifdef __linux__
#include <sched.h>
#endif

#include "cgroup.h"
#include "posix.h"

// Pauses before an idle worker (or a waiting caller) goes to sleep. A pause is 5 to 40 ns, so this is 50 to 400 us,
// which outlasts the gap between two kernels and mostly the imbalance of one.
//
// Tried (Connect Four in bf16, two threads of a virtual Zen 4; us from the start of a job until the worker begins, and
// from the last one's end until the caller goes on; means over jobs of 1,150 us, two runs each in turn):
//    2,000 pauses (35 us)   4.3, 3.2 and 10, 28: now and then somebody sleeps, and is woken slowly
//   10,000 pauses           0.5, 0.6 and 1.2, 0.5   this one
enum { SPINS = 10000, CACHE_LINE = 64 };

typedef struct pool_worker {
  bw_pool* pool;
  pthread_t handle;
  int index;
} pool_worker;

struct bw_pool {
  int threads;
  int spins;
  pool_worker* workers;  // [threads]; index 0, the caller, is unused
  // The job: written before `generation` is raised, read after the raise is seen.
  int64_t tasks;
  bw_pool_fn fn;
  void* context;
  atomic_uint generation;  // raised once a job; spun on by the workers
  atomic_int sleepers;     // workers asleep or about to be
  atomic_bool quit;
  // Written by every worker at the end of a job, spun on by the caller: on a line of its own.
  _Alignas(CACHE_LINE) atomic_int pending;  // workers that have not finished the job
  atomic_bool caller_sleeps;
  // Meetings inside a job: how many threads have come to this one, and apart from it, since threads spin on it, how
  // many meetings there were.
  _Alignas(CACHE_LINE) atomic_int arrived;
  atomic_int meeting_sleepers;
  _Alignas(CACHE_LINE) atomic_uint meetings;
  _Alignas(CACHE_LINE) pthread_mutex_t mutex;
  pthread_cond_t wake;  // workers wait for a job
  pthread_cond_t done;  // the caller waits for the last worker
  pthread_cond_t met;   // threads wait for the others
};

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void run_share(const bw_pool* pool, int worker) {
  const int64_t first = pool->tasks * worker / pool->threads;
  const int64_t last = pool->tasks * (worker + 1) / pool->threads;
  if (first < last) pool->fn(pool->context, first, last, worker);
}

// No wake-up is lost, by the same argument both ways (all atomics here are sequentially consistent). The one who
// waits first says so (sleepers, caller_sleeps), then looks for what it waits for (generation, pending); the other
// changes that first, then looks whether somebody sleeps. One of the two sees the other. Who saw a sleeper signals
// under the mutex, which the sleeper holds from its announcement until it is inside pthread_cond_wait. Meetings are the
// same, with meeting_sleepers and meetings.

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
  const pool_worker* worker = argument;
  bw_pool* pool = worker->pool;
  // Every job waits for every worker, so no worker ever misses a generation.
  for (unsigned seen = 0;; ++seen) {
    wait_for_job(pool, seen);
    if (atomic_load(&pool->quit)) return NULL;
    run_share(pool, worker->index);
    if (atomic_fetch_sub(&pool->pending, 1) == 1 && atomic_load(&pool->caller_sleeps)) {
      pthread_mutex_lock(&pool->mutex);
      pthread_cond_signal(&pool->done);
      pthread_mutex_unlock(&pool->mutex);
    }
  }
}

static void publish(bw_pool* pool) {
  atomic_fetch_add(&pool->generation, 1);
  if (atomic_load(&pool->sleepers) > 0) {
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
  }
}

static void wait_for_workers(bw_pool* pool) {
  for (int i = 0; i < pool->spins; ++i) {
    if (atomic_load(&pool->pending) == 0) return;
    relax();
  }
  pthread_mutex_lock(&pool->mutex);
  // An exchange, not a store: where QEMU runs ARM code on x86, a load can pass the store before it, and then the last
  // worker's signal is lost.
  atomic_exchange(&pool->caller_sleeps, true);
  while (atomic_load(&pool->pending) > 0) pthread_cond_wait(&pool->done, &pool->mutex);
  atomic_store(&pool->caller_sleeps, false);
  pthread_mutex_unlock(&pool->mutex);
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
  wait_for_workers(pool);
}

void bw_pool_meet(bw_pool* pool) {
  const unsigned seen = atomic_load(&pool->meetings);  // stays while this thread has not come
  if (atomic_fetch_add(&pool->arrived, 1) == pool->threads - 1) {
    atomic_store(&pool->arrived, 0);  // before anybody can come to the next one
    atomic_fetch_add(&pool->meetings, 1);
    if (atomic_load(&pool->meeting_sleepers) > 0) {
      pthread_mutex_lock(&pool->mutex);
      pthread_cond_broadcast(&pool->met);
      pthread_mutex_unlock(&pool->mutex);
    }
    return;
  }
  for (int i = 0; i < pool->spins; ++i) {
    if (atomic_load(&pool->meetings) != seen) return;
    relax();
  }
  pthread_mutex_lock(&pool->mutex);
  atomic_fetch_add(&pool->meeting_sleepers, 1);
  while (atomic_load(&pool->meetings) == seen) pthread_cond_wait(&pool->met, &pool->mutex);
  atomic_fetch_sub(&pool->meeting_sleepers, 1);
  pthread_mutex_unlock(&pool->mutex);
}

bw_status bw_fail_thread(bw_error* error, const char* op, int thread, int threads) {
  size_t stack = 0;
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) == 0) {
    pthread_attr_getstacksize(&attributes, &stack);
    pthread_attr_destroy(&attributes);
  }
  bw_fail(error, BW_MEMORY, op, "the system refused thread %d of %d: its memory or a limit on threads is used up",
          thread, threads);
  if (error) {
    error->needed = stack;
    snprintf(error->received, sizeof error->received, "thread %d of %d", thread, threads);
    snprintf(error->expected, sizeof error->expected, "no more threads than the system allows");
  }
  return BW_MEMORY;
}

bw_status bw_pool_create(int threads, bw_pool** out, bw_error* error) {
  *out = NULL;
  if (threads < 1) return bw_fail(error, BW_OPTION, "pool.create", "a pool needs at least one thread, not %d", threads);
  bw_pool* pool = bw_aligned_alloc(CACHE_LINE, sizeof *pool);  // the size is a multiple of the alignment
  pool_worker* workers = calloc((size_t)threads, sizeof *workers);
  if (!pool || !workers) {
    bw_aligned_free(pool);
    free(workers);
    return bw_fail_memory(error, "pool.create", "the thread pool", sizeof *pool + (uint64_t)threads * sizeof *workers,
                          0);
  }
  *pool = (bw_pool){.threads = 1, .workers = workers};
  // With more threads than cores a spinning thread only keeps a working one from its core.
  pool->spins = threads <= bw_hardware_threads() ? SPINS : 1;
  atomic_init(&pool->generation, 0);
  atomic_init(&pool->sleepers, 0);
  atomic_init(&pool->quit, false);
  atomic_init(&pool->pending, 0);
  atomic_init(&pool->caller_sleeps, false);
  atomic_init(&pool->arrived, 0);
  atomic_init(&pool->meetings, 0);
  atomic_init(&pool->meeting_sleepers, 0);
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pthread_cond_init(&pool->done, NULL);
  pthread_cond_init(&pool->met, NULL);
  for (int i = 1; i < threads; ++i) {
    workers[i] = (pool_worker){.pool = pool, .index = i};
    if (pthread_create(&workers[i].handle, NULL, worker_main, &workers[i]) != 0) {
      bw_pool_destroy(pool);
      return bw_fail_thread(error, "pool.create", i + 1, threads);
    }
    ++pool->threads;  // first read by a worker in a job, after all are started
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
  pthread_cond_destroy(&pool->met);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->mutex);
  free(pool->workers);
  bw_aligned_free(pool);
}

int bw_pool_threads(const bw_pool* pool) { return pool->threads; }

unsigned bw_pool_meetings(bw_pool* pool) { return atomic_load(&pool->meetings); }

int bw_hardware_threads(void) {
#ifdef _WIN32
  const long online = (long)GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
#else
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
#endif
  int cores = online > 0 ? (int)online : 1;
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) cores = CPU_COUNT(&set);
#endif
  bw_cgroup_limit_cores(&cores);
  return cores;
}
