// The parts of POSIX that the engine uses: threads, mutexes, conditions, aligned memory. Elsewhere they come from the
// system; on Windows the same names stand here for what it calls them.
#ifndef BW_CORE_POSIX_H
#define BW_CORE_POSIX_H

#include <errno.h>
#include <stdlib.h>

#ifndef _WIN32

#include <pthread.h>
#include <unistd.h>

static inline void* bw_aligned_alloc(size_t alignment, size_t bytes) { return aligned_alloc(alignment, bytes); }
static inline void bw_aligned_free(void* memory) { free(memory); }

#else

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <malloc.h>
#include <windows.h>
// Empty words left over from 16-bit compilers; the kernels' dialects and everybody else want them.
#undef IN
#undef OUT
#undef near
#undef far

// The C library's aligned memory may not be given to free().
static inline void* bw_aligned_alloc(size_t alignment, size_t bytes) { return _aligned_malloc(bytes, alignment); }
static inline void bw_aligned_free(void* memory) { _aligned_free(memory); }

typedef SRWLOCK pthread_mutex_t;
typedef CONDITION_VARIABLE pthread_cond_t;
typedef INIT_ONCE pthread_once_t;
typedef struct pthread_attr_t {
  size_t stack;  // bytes; 0: what the program's header says
} pthread_attr_t;

#define PTHREAD_MUTEX_INITIALIZER SRWLOCK_INIT
#define PTHREAD_ONCE_INIT INIT_ONCE_STATIC_INIT

static inline int pthread_mutex_init(pthread_mutex_t* mutex, const void* attributes) {
  (void)attributes;
  InitializeSRWLock(mutex);
  return 0;
}
static inline int pthread_mutex_lock(pthread_mutex_t* mutex) {
  AcquireSRWLockExclusive(mutex);
  return 0;
}
static inline int pthread_mutex_trylock(pthread_mutex_t* mutex) {
  return TryAcquireSRWLockExclusive(mutex) ? 0 : EBUSY;
}
static inline int pthread_mutex_unlock(pthread_mutex_t* mutex) {
  ReleaseSRWLockExclusive(mutex);
  return 0;
}
static inline int pthread_mutex_destroy(pthread_mutex_t* mutex) {
  (void)mutex;
  return 0;
}

static inline int pthread_cond_init(pthread_cond_t* condition, const void* attributes) {
  (void)attributes;
  InitializeConditionVariable(condition);
  return 0;
}
static inline int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
  SleepConditionVariableSRW(condition, mutex, INFINITE, 0);
  return 0;
}
static inline int pthread_cond_signal(pthread_cond_t* condition) {
  WakeConditionVariable(condition);
  return 0;
}
static inline int pthread_cond_broadcast(pthread_cond_t* condition) {
  WakeAllConditionVariable(condition);
  return 0;
}
static inline int pthread_cond_destroy(pthread_cond_t* condition) {
  (void)condition;
  return 0;
}

static inline BOOL CALLBACK bw_once_call(INIT_ONCE* once, void* fn, void** context) {
  (void)once;
  (void)context;
  (*(void (**)(void))fn)();
  return TRUE;
}
static inline int pthread_once(pthread_once_t* once, void (*fn)(void)) {
  InitOnceExecuteOnce(once, bw_once_call, (void*)&fn, NULL);
  return 0;
}

static inline int pthread_attr_init(pthread_attr_t* attributes) {
  attributes->stack = 0;
  return 0;
}
static inline int pthread_attr_setstacksize(pthread_attr_t* attributes, size_t bytes) {
  attributes->stack = bytes;
  return 0;
}
static inline int pthread_attr_getstacksize(const pthread_attr_t* attributes, size_t* bytes) {
  *bytes = attributes->stack;
  return 0;
}
static inline int pthread_attr_destroy(pthread_attr_t* attributes) {
  (void)attributes;
  return 0;
}

typedef HANDLE pthread_t;
typedef struct bw_thread_start {
  void* (*fn)(void*);
  void* argument;
} bw_thread_start;

static inline DWORD WINAPI bw_thread_main(void* memory) {
  const bw_thread_start start = *(bw_thread_start*)memory;
  free(memory);
  start.fn(start.argument);
  return 0;
}
static inline int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*fn)(void*),
                                 void* argument) {
  bw_thread_start* start = (bw_thread_start*)malloc(sizeof *start);
  if (!start) return ENOMEM;
  start->fn = fn;
  start->argument = argument;
  const DWORD flags = STACK_SIZE_PARAM_IS_A_RESERVATION;
  *thread = CreateThread(NULL, attributes ? attributes->stack : 0, bw_thread_main, start, flags, NULL);
  if (*thread) return 0;
  free(start);
  return EAGAIN;
}
static inline int pthread_join(pthread_t thread, void** result) {
  (void)result;
  WaitForSingleObject(thread, INFINITE);
  CloseHandle(thread);
  return 0;
}

#endif
#endif
