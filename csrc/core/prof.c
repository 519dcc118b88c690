#include "prof.h"

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
  const char* group = prof->group;  // the phase goes on
  memset(prof, 0, sizeof *prof);
  prof->group = group;
}

void bw_prof_add(bw_prof* prof, const char* name, uint64_t start_ns, double flops, double bytes) {
  const uint64_t elapsed = bw_now_ns() - start_ns;
  int i = 0;
  while (i < prof->count && !(prof->spans[i].name == name && prof->spans[i].group == prof->group)) ++i;
  if (i == prof->count) {
    if (i == BW_PROF_MAX_SPANS) return;
    prof->spans[prof->count++] = (bw_span){.name = name, .group = prof->group};
  }
  bw_span* span = &prof->spans[i];
  ++span->calls;
  span->ns += elapsed;
  span->flops += flops;
  span->bytes += bytes;
}
