// The machine's measured roof: what the roofline compares with.
#ifndef BW_CORE_ROOF_H
#define BW_CORE_ROOF_H

#include <stdbool.h>

#include "cpu.h"
#include "pool.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { BW_ROOF_CACHES = 3, BW_ROOF_PRECISIONS = 2 };

// All 0 where there is no such cache, the system does not describe it, or a thread's share of it is no larger than the
// cache before it.
typedef struct bw_roof_cache {
  uint64_t bytes;  // what it holds for all threads of the pool together
  double gbytes;   // y += s x over arrays that fill half of it, all threads together, GB/s
} bw_roof_cache;

typedef struct bw_roof {
  double gflops;       // fp32 multiply-adds at full vector width on all threads of the pool, GFLOP/s
  double gflops_bf16;  // the same of bf16 factors with fp32 sums; 0 where bw_bf16_available says no
  double gbytes;       // triad over arrays larger than the caches on all threads, GB/s
  int threads;
  bool raised[BW_ROOF_PRECISIONS];       // [bw_precision]: no probe read that arithmetic, but work has reached it
  bw_roof_cache caches[BW_ROOF_CACHES];  // L1, L2, L3
} bw_roof;

// A roof is an upper bound, and whatever else the machine does while a probe runs makes it read less. So this process
// keeps the best reading of each (isa, threads) pair. All of these are thread-safe.

// Measures all in about 300 ms (best of several short runs). The first call for a (isa, threads) pair measures; later
// ones give what is known or, where they are to look again, measure once more in about 100 ms and keep the best. Fails
// with BW_MEMORY where nothing is known.
bw_status bw_roof_measure(bw_isa isa, bw_pool* pool, bool again, bw_roof* roof, bw_error* error);

// Probes the arithmetic of one precision again, in about 4 ms and without taking memory, and then takes `gflops`, a
// rate that work has just reached, for the roof if it is still more than all probes read. Updates *roof, which
// bw_roof_measure filled. Does not wait for another thread that measures: it leaves the probe out then.
void bw_roof_glance(bw_isa isa, bw_pool* pool, bw_precision precision, double gflops, bw_roof* roof);

// The two rules, on figures alone: of two readings the larger counts; a rate that was reached is reachable.
void bw_roof_keep_best(bw_roof* roof, const bw_roof* reading);
void bw_roof_reach(bw_roof* roof, bw_precision precision, double gflops);

double bw_roof_gflops(const bw_roof* roof, bw_precision precision);

#ifdef __cplusplus
}
#endif
#endif
