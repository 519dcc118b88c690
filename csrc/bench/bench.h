// The benches: a table of cases and one function that runs one of them beside probes of the machine's roof. The
// command `bellows bench` and the C program bench/bench.c are two front ends of it.
#ifndef BW_BENCH_BENCH_H
#define BW_BENCH_BENCH_H

#include <stdbool.h>

#include "../core/prof.h"
#include "../core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bw_bench_case {
  const char* name;   // "gemm/forward"; several cases may share one and differ in shape
  const char* shape;  // "M=64 N=256 K=256"
  const char* unit;   // of the values: "ms", "us" (less is better), "Mmoves/s", "Mnodes/s" (more is better)
  double seconds;     // that a run should take by default
  const char* what;   // one line for people
  double steps;       // iterations: the value is scaled to so many optimiser steps; 0: it is not
} bw_bench_case;

int bw_bench_count(void);
const bw_bench_case* bw_bench_at(int index);

typedef struct bw_bench_request {
  int threads;            // >= 1
  const char* precision;  // of matrix products: "fp32", or "bf16" where bw_bf16_available says yes
  double seconds;         // time for samples; at least one is taken
  bool warm_up;           // untimed calls first; false is for tests, which have no use for good figures
  // Asked between samples; true ends the run with BW_CANCELLED. NULL: never.
  bool (*cancelled)(void* context);
  void* context;
} bw_bench_request;

// Floating-point operations and bytes of memory traffic.
typedef struct bw_bench_work {
  double flops, bytes;
} bw_bench_work;

// One call of the case, or the mean of a few where one is too short to time.
typedef struct bw_bench_sample {
  double value;             // in the case's unit
  double seconds;           // of one call
  bw_bench_work work;       // of one call, optimiser apart
  bw_bench_work optimizer;  // iterations only
  // Probes that ran just before: multiply-adds in the precision asked for, and a stream of updates over as much
  // memory as the case touches (iterations: as its optimiser's state).
  double roof_gflops, roof_gbytes;
  // Iterations only, else 0.
  double samples, moves, steps;
  double collect_seconds, update_seconds;
} bw_bench_sample;

typedef struct bw_bench_result {
  bw_bench_sample* samples;  // owned
  int count;
  bw_prof profile;  // iterations only: spans of all samples together
} bw_bench_result;

// What samples of one case come to: medians, but for p10 and p90. 0 where a case has no such figure.
typedef struct bw_bench_row {
  double median, p10, p90;            // of the values
  double seconds;                     // of one call
  double gflops, gbytes;              // GFLOP/s and GB/s
  double roof_gflops, roof_gbytes;    // of the probes; where the case was faster, its own rates
  double roof_fraction;               // share of the roof that binds first, the optimiser left out; at most 1
  double floor_seconds, floor_ratio;  // see bw_bench_floor; seconds / floor
  double samples, moves, steps, collect_seconds, update_seconds;
  bool roof_raised;  // a probe read less than the case reached
} bw_bench_row;

// The least time that the sample's work takes at these rates: products and kernels at the roof that binds first, then
// the optimiser likewise.
double bw_bench_floor(const bw_bench_sample* sample, double roof_gflops, double roof_gbytes);
// Ratios are taken to the medians of the probes, so that one that was disturbed says nothing; where the case was
// faster, to its own rates, since a rate that was reached is reachable. BW_MEMORY.
bw_status bw_bench_summarise(const bw_bench_sample* samples, int count, bw_bench_row* row, bw_error* error);

// Runs case `index`. BW_OPTION names a bad threads or precision.
bw_status bw_bench_run(int index, const bw_bench_request* request, bw_bench_result* result, bw_error* error);
void bw_bench_free(bw_bench_result* result);

#ifdef __cplusplus
}
#endif
#endif
