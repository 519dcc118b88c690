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
// Adds one call of `name` that began at start_ns and ends now. A full table drops the span.
void bw_prof_add(bw_prof* prof, const char* name, uint64_t start_ns, double flops, double bytes);

#ifdef __cplusplus
}
#endif
#endif
