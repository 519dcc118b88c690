// What a family of cases gives to the runner in bench.c.
#ifndef BW_BENCH_CASE_H
#define BW_BENCH_CASE_H

#include "../core/cpu.h"
#include "../device/device.h"
#include "bench.h"

typedef struct bw_bench_entry bw_bench_entry;

typedef struct bw_bench_family {
  // Prepares a case. *footprint: bytes of memory that a call goes over.
  bw_status (*open)(const bw_bench_entry* entry, const bw_bench_request* request, void** work, double* footprint,
                    bw_error* error);
  // Calls it `calls` times and fills the sample, for one call, but for the roof.
  bw_status (*sample)(void* work, int64_t calls, bw_bench_sample* sample, bw_error* error);
  void (*close)(void* work);  // NULL is allowed
  // Cases that last milliseconds: untimed calls before the first sample, one call a sample. 0: the runner finds a
  // number of calls that is long enough to time.
  int warm_up;
  // Spans since the last reset; NULL: none.
  const bw_prof* (*profile)(void* work);
  void (*profile_reset)(void* work);
} bw_bench_family;

struct bw_bench_entry {
  bw_bench_case of;
  const bw_bench_family* family;
  const char* game;                                // or NULL
  int64_t size;                                    // rows or games
  int product;                                     // products.c; stones (solver.c)
  bw_status (*make)(void* work, bw_error* error);  // kernels.c
};

extern const bw_bench_family bw_bench_iterations, bw_bench_products, bw_bench_kernels, bw_bench_rollouts,
    bw_bench_rules, bw_bench_solvers;

enum {
  BW_BENCH_FORWARD,
  BW_BENCH_BACKWARD,
  BW_BENCH_GRADIENT,
  BW_BENCH_PACK_FORWARD,
  BW_BENCH_LAYER,
  BW_BENCH_UPDATE,
};

#define ITERATION(...)
#define PRODUCT(...)
#define ROLLOUT(...)
#define RULES(...)
#define SOLVER(...)
#define KERNEL(op, shape, what) bw_status bw_bench_make_##op(void* work, bw_error* error);
#include "cases.def"
#undef ITERATION
#undef PRODUCT
#undef ROLLOUT
#undef RULES
#undef SOLVER
#undef KERNEL

bw_precision bw_bench_precision(const bw_bench_request* request);
// The device that a request asks for.
bw_status bw_bench_device(const bw_bench_request* request, bw_device** device, bw_error* error);
// A buffer of `bytes` zeros that lives as long as the device.
bw_status bw_bench_bytes(bw_device* device, size_t bytes, bw_ref* ref, bw_error* error);
// A buffer of n floats uniform in [low, high).
bw_status bw_bench_reals(bw_device* device, int64_t n, float low, float high, bw_ref* ref, bw_error* error);
// A buffer of n i32: first, first + step, ...
bw_status bw_bench_ints(bw_device* device, int64_t n, int32_t first, int32_t step, bw_ref* ref, bw_error* error);

#endif
