#include "prof.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "posix.h"

uint64_t bw_now_ns(void) {
#ifdef _WIN32
  LARGE_INTEGER now, rate;  // ticks, and ticks a second
  QueryPerformanceCounter(&now);
  QueryPerformanceFrequency(&rate);
  const uint64_t ticks = (uint64_t)now.QuadPart, second = (uint64_t)rate.QuadPart;
  return ticks / second * 1000000000u + ticks % second * 1000000000u / second;
#else
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
#endif
}

void bw_prof_reset(bw_prof* prof) {
  memset(prof->spans, 0, sizeof prof->spans);
  prof->count = 0;
}

void bw_prof_add_amount(bw_prof* prof, const char* name, uint64_t ns, uint64_t calls, double flops, double bytes) {
  int i = 0;
  while (i < prof->count && !(prof->spans[i].name == name && prof->spans[i].group == prof->group)) ++i;
  if (i == prof->count) {
    if (i == BW_PROF_MAX_SPANS) return;
    prof->spans[prof->count++] = (bw_span){.name = name, .group = prof->group};
  }
  bw_span* span = &prof->spans[i];
  span->calls += calls;
  span->ns += ns;
  span->flops += flops;
  span->bytes += bytes;
}

static void record(const bw_timeline* timeline, int thread, const bw_event* event) {
  bw_thread_events* lane = &timeline->lanes[thread];
  if (lane->count < timeline->capacity) {
    lane->events[lane->count++] = *event;
  } else {
    ++lane->dropped;
  }
}

void bw_prof_add_span(bw_prof* prof, const char* name, uint64_t start_ns, uint64_t end_ns, uint64_t calls, double flops,
                      double bytes) {
  bw_prof_add_amount(prof, name, end_ns - start_ns, calls, flops, bytes);
  if (!prof->timeline) return;
  const bw_event event = {name, prof->group, start_ns, end_ns, flops, bytes, prof->timeline->threads};
  record(prof->timeline, 0, &event);
}

void bw_prof_add(bw_prof* prof, const char* name, uint64_t start_ns, double flops, double bytes) {
  bw_prof_add_span(prof, name, start_ns, bw_now_ns(), 1, flops, bytes);
}

// ---- the timeline ----

_Static_assert(sizeof(bw_thread_events) == 64, "two threads write to one cache line");

bw_status bw_prof_timeline_start(bw_prof* prof, int threads, int64_t capacity, bw_error* error) {
  static const int64_t kMost = INT64_MAX / (int64_t)sizeof(bw_event);
  if (threads < 1) return bw_fail_option(error, "timeline", "threads", "fewer than 1", "at least 1");
  if (capacity < 1 || capacity > kMost / threads || (uint64_t)capacity > SIZE_MAX / sizeof(bw_event)) {
    return bw_fail_option(error, "timeline", "capacity", capacity < 1 ? "fewer than 1 event" : "too many events",
                          "at least 1, and what fits in memory");
  }
  bw_prof_timeline_stop(prof);
  bw_timeline* timeline = malloc(sizeof *timeline);
  bw_thread_events* lanes = bw_aligned_alloc(sizeof *lanes, (size_t)threads * sizeof *lanes);
  bool complete = timeline && lanes;
  if (lanes) memset(lanes, 0, (size_t)threads * sizeof *lanes);
  for (int i = 0; complete && i < threads; ++i) {
    lanes[i].events = malloc((size_t)capacity * sizeof(bw_event));
    complete = lanes[i].events != NULL;
  }
  if (!complete) {
    for (int i = 0; lanes && i < threads; ++i) free(lanes[i].events);
    bw_aligned_free(lanes);
    free(timeline);
    return bw_fail_memory(error, "timeline", "the timeline",
                          (uint64_t)threads * ((uint64_t)capacity * sizeof(bw_event) + sizeof *lanes), 0);
  }
  *timeline = (bw_timeline){.threads = threads, .capacity = capacity, .lanes = lanes};
  prof->timeline = timeline;
  return BW_OK;
}

void bw_prof_timeline_clear(bw_prof* prof) {
  if (!prof->timeline) return;
  for (int i = 0; i < prof->timeline->threads; ++i) {
    prof->timeline->lanes[i].count = 0;
    prof->timeline->lanes[i].dropped = 0;
  }
}

void bw_prof_timeline_stop(bw_prof* prof) {
  if (!prof->timeline) return;
  for (int i = 0; i < prof->timeline->threads; ++i) free(prof->timeline->lanes[i].events);
  bw_aligned_free(prof->timeline->lanes);
  free(prof->timeline);
  prof->timeline = NULL;
}

void bw_prof_event(bw_prof* prof, int thread, const char* name, uint64_t start_ns, uint64_t end_ns, double flops,
                   double bytes) {
  if (!prof->timeline) return;
  const bw_event event = {name, prof->group, start_ns, end_ns, flops, bytes, 1};
  record(prof->timeline, thread, &event);
}

void bw_prof_phase(bw_prof* prof, const char* name, uint64_t start_ns, uint64_t end_ns) {
  if (!prof->timeline) return;
  const bw_event event = {name, NULL, start_ns, end_ns, 0, 0, 1};
  record(prof->timeline, 0, &event);
}
