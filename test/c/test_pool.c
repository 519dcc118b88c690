// The thread pool: every task runs once, on the worker whose range holds it; thousands of tiny jobs, sleeping and
// waking, creating and destroying. ThreadSanitizer watches the same program.
#include "../../csrc/core/pool.h"

#include <time.h>

#include "../../csrc/core/posix.h"
#include "check.h"

enum { MAX_TASKS = 300, MAX_THREADS = 9 };

static _Thread_local char self;  // its address tells threads apart

typedef struct cover {
  int64_t tasks;
  int threads;
  int seen[MAX_TASKS];         // not atomic: two workers on one task are a data race, which TSan reports
  int64_t first[MAX_THREADS];  // the range of each worker, -1 if it was not called
  int64_t last[MAX_THREADS];
  const void* thread[MAX_THREADS];  // whose self it was
} cover;

static void mark(void* context, int64_t first, int64_t last, int worker) {
  cover* c = context;
  CHECK(worker >= 0 && worker < c->threads);
  CHECK(c->first[worker] == -1);  // one range a worker
  CHECK(first < last);
  c->first[worker] = first;
  c->last[worker] = last;
  c->thread[worker] = &self;
  for (int64_t t = first; t < last; ++t) ++c->seen[t];
}

static void test_ranges(void) {
  for (int threads = 1; threads <= MAX_THREADS; ++threads) {
    bw_pool* pool;
    REQUIRE(bw_pool_create(threads, &pool, NULL) == BW_OK);
    CHECK_EQ_INT(bw_pool_threads(pool), threads);
    static const int64_t counts[] = {-1, 0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 16, 17, 31, 64, 100, 255, 299, 300};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; ++i) {
      cover c = {.tasks = counts[i], .threads = threads};
      for (int w = 0; w < MAX_THREADS; ++w) c.first[w] = -1;
      bw_pool_run(pool, counts[i], mark, &c);
      bool once = true;
      for (int64_t t = 0; t < MAX_TASKS; ++t) once = once && c.seen[t] == (t < counts[i] ? 1 : 0);
      CHECK_MSG(once, "%d threads, %lld tasks: a task did not run exactly once", threads, (long long)counts[i]);
      if (counts[i] <= 1) {  // on the caller
        CHECK(counts[i] < 1 ? c.first[0] == -1 : c.first[0] == 0 && c.last[0] == 1);
        for (int w = 1; w < threads; ++w) CHECK(c.first[w] == -1);
        continue;
      }
      for (int w = 0; w < threads; ++w) {
        const int64_t first = counts[i] * w / threads, last = counts[i] * (w + 1) / threads;
        if (first == last) {
          CHECK(c.first[w] == -1);
          continue;
        }
        CHECK_EQ_INT(c.first[w], first);
        CHECK_EQ_INT(c.last[w], last);
        CHECK((c.thread[w] == &self) == (w == 0));  // the caller is worker 0
      }
    }
    bw_pool_destroy(pool);
  }
}

typedef struct sums {
  int64_t part[MAX_THREADS];
  int64_t base;
} sums;

static void add(void* context, int64_t first, int64_t last, int worker) {
  sums* s = context;
  for (int64_t t = first; t < last; ++t) s->part[worker] += s->base + t;
}

// Jobs that take nanoseconds, back to back; what the caller writes before a job the workers see in it, and back.
static void tiny_runs(int threads, int runs) {
  bw_pool* pool;
  REQUIRE(bw_pool_create(threads, &pool, NULL) == BW_OK);
  int64_t wrong = 0;
  for (int run = 0; run < runs; ++run) {
    const int64_t tasks = 2 + run % 13;
    sums s = {.base = run};
    bw_pool_run(pool, tasks, add, &s);
    int64_t sum = 0;
    for (int w = 0; w < threads; ++w) sum += s.part[w];
    wrong += sum != tasks * run + tasks * (tasks - 1) / 2;
  }
  CHECK_EQ_INT(wrong, 0);
  bw_pool_destroy(pool);
}

static void pause_for(long microseconds) {
#ifdef _WIN32
  Sleep((DWORD)(microseconds / 1000));
#else
  const struct timespec time = {.tv_nsec = microseconds * 1000};
  nanosleep(&time, NULL);
#endif
}

typedef struct slow_job {
  sums sums;
  int slow_worker;
} slow_job;

static void add_slowly(void* context, int64_t first, int64_t last, int worker) {
  slow_job* job = context;
  if (worker == job->slow_worker) pause_for(900);
  add(&job->sums, first, last, worker);
}

// Workers fall asleep between jobs, and the caller while it waits for each of the workers in turn.
static void test_sleepers(void) {
  for (int threads = 2; threads <= 4; ++threads) {
    bw_pool* pool;
    REQUIRE(bw_pool_create(threads, &pool, NULL) == BW_OK);
    for (int run = 0; run < 120; ++run) {
      slow_job job = {.sums = {.base = run}, .slow_worker = run % (threads + 1)};
      bw_pool_run(pool, 8, add_slowly, &job);
      int64_t sum = 0;
      for (int w = 0; w < threads; ++w) sum += job.sums.part[w];
      CHECK_EQ_INT(sum, 8 * run + 28);
      pause_for(run % 7 * 100);  // around the moment at which workers go to sleep
    }
    bw_pool_destroy(pool);
  }
}

typedef struct rounds {
  bw_pool* pool;
  int threads, rounds;
  int64_t values[2][MAX_THREADS];  // of this round and of the last; not atomic, so TSan sees a meeting that is none
  int slow_worker;
} rounds;

// Everybody adds up what all have written in the round before.
static void add_in_rounds(void* context, int64_t first, int64_t last, int worker) {
  rounds* r = context;
  CHECK(first == worker && last == worker + 1);
  for (int round = 1; round <= r->rounds; ++round) {
    if (worker == r->slow_worker && round % 5 == 0) pause_for(900);
    int64_t sum = 1;
    for (int w = 0; w < r->threads; ++w) sum += r->values[(round - 1) % 2][w];
    r->values[round % 2][worker] = sum % 1000003;
    bw_pool_meet(r->pool);
  }
}

// Meetings back to back, and with a thread that the others have to sleep for.
static void test_meetings(int threads, int count, int slow_worker) {
  rounds r = {.threads = threads, .rounds = count, .slow_worker = slow_worker};
  REQUIRE(bw_pool_create(threads, &r.pool, NULL) == BW_OK);
  int64_t wanted = 0;
  for (int run = 0; run < 3; ++run) {
    bw_pool_run(r.pool, threads, add_in_rounds, &r);
    for (int round = 0; round < count; ++round) wanted = (1 + threads * wanted) % 1000003;
    for (int w = 0; w < threads; ++w) CHECK_EQ_INT(r.values[count % 2][w], wanted);
    for (int w = 0; w < threads; ++w) r.values[0][w] = wanted;  // where the next run begins
  }
  bw_pool_destroy(r.pool);
}

static void test_create_and_destroy(void) {
  for (int i = 0; i < 200; ++i) {
    bw_pool* pool;
    const int threads = 1 + i % 5;
    REQUIRE(bw_pool_create(threads, &pool, NULL) == BW_OK);
    if (i % 3 == 0) {
      sums s = {.base = i};
      bw_pool_run(pool, 5, add, &s);
      CHECK_EQ_INT(s.part[0] + s.part[1] + s.part[2] + s.part[3] + s.part[4], 5 * i + 10);
    } else if (i % 3 == 1) {
      pause_for(900);  // asleep
    }
    bw_pool_destroy(pool);
  }
  bw_pool_destroy(NULL);
}

static void* drive(void* argument) {
  const int threads = *(const int*)argument;
  tiny_runs(threads, 500);
  return NULL;
}

// Pools know nothing of each other.
static void test_two_pools(void) {
  int threads[2] = {2, 3};
  pthread_t handles[2];
  for (int i = 0; i < 2; ++i) REQUIRE(pthread_create(&handles[i], NULL, drive, &threads[i]) == 0);
  for (int i = 0; i < 2; ++i) pthread_join(handles[i], NULL);
}

static void test_refusals(void) {
  bw_error error;
  bw_pool* pool;
  CHECK(bw_pool_create(0, &pool, &error) == BW_OPTION);
  CHECK(error.message[0] != 0);
  CHECK(bw_pool_create(-3, &pool, NULL) == BW_OPTION);
  const int cores = bw_hardware_threads();
  CHECK(cores >= 1 && cores < 100000);
}

int main(void) {
  test_ranges();
  for (int threads = 1; threads <= 4; ++threads) tiny_runs(threads, threads <= 2 ? 20000 : 3000);
  test_sleepers();
  for (int threads = 2; threads <= 5; ++threads) {
    test_meetings(threads, threads == 2 ? 5000 : 500, -1);
    test_meetings(threads, 50, threads - 1);
  }
  test_create_and_destroy();
  test_two_pools();
  test_refusals();
  return check_summary("pool");
}
