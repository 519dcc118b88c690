// The machine's measured roof: what the roofline compares with.
#ifndef BW_CORE_ROOF_H
#define BW_CORE_ROOF_H

#include "cpu.h"
#include "pool.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { BW_ROOF_CACHES = 3 };

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
  bw_roof_cache caches[BW_ROOF_CACHES];  // L1, L2, L3
} bw_roof;

// Measures all in about 300 ms (best of several short runs). The first call for a (isa, threads) pair measures,
// later calls in this process return the cached figure. Fails with BW_MEMORY. Thread-safe.
bw_status bw_roof_measure(bw_isa isa, bw_pool* pool, bw_roof* roof, bw_error* error);

#ifdef __cplusplus
}
#endif
#endif
