// Profiling. Spans are totals by name, always on: a span costs two timestamps; with the flops and bytes that each
// kernel line declares, every span has a rate and a share of the roof. A timeline is the same one by one, with what
// each thread did when; it is off until switched on, and then has room for a fixed number of events.
#ifndef BW_CORE_PROF_H
#define BW_CORE_PROF_H

#include <stddef.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BW_PROF_MAX_SPANS 96

typedef struct bw_span {
  const char* name;   // static string; spans are keyed by its address
  const char* group;  // "collect", "update", ...: the phase in which it ran; static string
  uint64_t calls;
  uint64_t ns;
  double flops;
  double bytes;
} bw_span;

// One piece of work on one thread.
typedef struct bw_event {
  const char* name;   // static string
  const char* group;  // the phase in which it ran; NULL for an event that is a phase
  uint64_t start_ns, end_ns;
  double flops, bytes;  // of the threads below, together
  int threads;          // 1: this thread's own work; all of them: an op that was timed as a whole
} bw_event;

// The events of one thread, in the order in which they ended. A multiple of a cache line: each thread writes its own.
typedef struct bw_thread_events {
  bw_event* events;  // [capacity]
  int64_t count;
  int64_t dropped;  // events that found no room
  int64_t unused[5];
} bw_thread_events;

typedef struct bw_timeline {
  int threads;
  int64_t capacity;         // events a thread
  bw_thread_events* lanes;  // [threads]
} bw_timeline;

typedef struct bw_prof {
  bw_span spans[BW_PROF_MAX_SPANS];
  int count;
  const char* group;      // phase of the spans that follow
  bw_timeline* timeline;  // NULL: off
} bw_prof;

uint64_t bw_now_ns(void);  // monotonic clock

void bw_prof_reset(bw_prof* prof);  // the spans; leaves the phase and the timeline

// Spans are added by the thread that owns prof, and each that has a beginning and an end is an event of thread 0, too,
// with the work of all threads.
// A full table drops spans with a new name and goes on counting those that it has.
// Adds one call of `name` that began at start_ns and ends now.
void bw_prof_add(bw_prof* prof, const char* name, uint64_t start_ns, double flops, double bytes);
// Adds `calls` calls of `name` that together took the time from start_ns to end_ns.
void bw_prof_add_span(bw_prof* prof, const char* name, uint64_t start_ns, uint64_t end_ns, uint64_t calls, double flops,
                      double bytes);
// Adds `calls` calls of `name` that took ns in all, in pieces that were timed one by one. No event: those are the
// pieces.
void bw_prof_add_amount(bw_prof* prof, const char* name, uint64_t ns, uint64_t calls, double flops, double bytes);

// Takes all memory that the timeline will ever use and switches it on; one that is on already starts afresh.
// Fails with BW_OPTION (threads and capacity are at least 1) or BW_MEMORY. While it is on, prof must not move.
bw_status bw_prof_timeline_start(bw_prof* prof, int threads, int64_t capacity, bw_error* error);
void bw_prof_timeline_clear(bw_prof* prof);  // forgets the events and the drops
void bw_prof_timeline_stop(bw_prof* prof);   // switches it off and frees it

// An event of worker `thread` of a pool, with the work of that worker alone, written by it: lanes are not shared, so
// there are no locks. Whoever reads or clears the timeline does it between two jobs of the pool. Nothing while the
// timeline is off.
void bw_prof_event(bw_prof* prof, int thread, const char* name, uint64_t start_ns, uint64_t end_ns, double flops,
                   double bytes);
// An event of thread 0 that is a phase: those of its ops lie inside it.
void bw_prof_phase(bw_prof* prof, const char* name, uint64_t start_ns, uint64_t end_ns);

#ifdef __cplusplus
}
#endif
#endif
