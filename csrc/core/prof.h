// Profiling spans. A span costs two timestamps; with the flops and bytes that each kernel line declares, every
// span has a rate and a share of the roof.
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

typedef struct bw_prof {
  bw_span spans[BW_PROF_MAX_SPANS];
  int count;
  const char* group;  // phase of the spans that follow
} bw_prof;

uint64_t bw_now_ns(void);  // monotonic clock

void bw_prof_reset(bw_prof* prof);

// A full table drops spans with a new name and goes on counting those that it has.
// Adds one call of `name` that began at start_ns and ends now.
void bw_prof_add(bw_prof* prof, const char* name, uint64_t start_ns, double flops, double bytes);
// Adds `calls` calls of `name` that together took the time from start_ns to end_ns.
void bw_prof_add_span(bw_prof* prof, const char* name, uint64_t start_ns, uint64_t end_ns, uint64_t calls, double flops,
                      double bytes);
// Adds `calls` calls of `name` that took ns in all, in pieces that were timed one by one.
void bw_prof_add_amount(bw_prof* prof, const char* name, uint64_t ns, uint64_t calls, double flops, double bytes);

#ifdef __cplusplus
}
#endif
#endif
