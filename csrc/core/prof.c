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

void bw_prof_add_span(bw_prof* prof, const char* name, uint64_t start_ns, uint64_t end_ns, uint64_t calls, double flops,
                      double bytes) {
  bw_prof_add_amount(prof, name, end_ns - start_ns, calls, flops, bytes);
}

void bw_prof_add(bw_prof* prof, const char* name, uint64_t start_ns, double flops, double bytes) {
  bw_prof_add_span(prof, name, start_ns, bw_now_ns(), 1, flops, bytes);
}
