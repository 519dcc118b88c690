// A small thread pool for fork-join loops. The calling thread is worker 0. Idle workers spin for a fraction
// of a millisecond, then sleep on a condition variable: an idle pool uses no core.
#ifndef BW_CORE_POOL_H
#define BW_CORE_POOL_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bw_pool bw_pool;

// Handles the tasks first <= t < last. worker: 0 .. threads-1.
typedef void (*bw_pool_fn)(void* context, int64_t first, int64_t last, int worker);

// threads >= 1; 1 makes a pool that starts no thread. Fails with BW_MEMORY.
bw_status bw_pool_create(int threads, bw_pool** pool, bw_error* error);
void bw_pool_destroy(bw_pool* pool);  // joins the workers; NULL is allowed
int bw_pool_threads(const bw_pool* pool);

// Calls fn over 0 <= t < tasks, split into one contiguous range a worker (worker w gets
// [tasks*w/threads, tasks*(w+1)/threads)), and returns when all are done. Not re-entrant.
// With tasks == 1 or one thread, fn runs on the caller without waking anybody.
void bw_pool_run(bw_pool* pool, int64_t tasks, bw_pool_fn fn, void* context);

// Called by every worker inside a job of at least as many tasks as threads: returns when all have called it. What a
// worker wrote before, the others see after.
void bw_pool_meet(bw_pool* pool);
unsigned bw_pool_meetings(bw_pool* pool);  // how many there were, modulo 2^32

// A BW_MEMORY failure: the system gave no thread number `thread` (from 1) of `threads`. needed: its stack.
bw_status bw_fail_thread(bw_error* error, const char* op, int thread, int threads);

int bw_hardware_threads(void);  // cores this process may use (affinity and, on Linux, cgroup quota), at least 1

#ifdef __cplusplus
}
#endif
#endif
