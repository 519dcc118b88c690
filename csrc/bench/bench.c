// The table of cases, and how one is run: probes of the roof and samples in turn, until the time is used.
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../backends/backends.h"
#include "../core/rng.h"
#include "../core/roof_meter.h"
#include "case.h"

static const bw_bench_entry kEntries[] = {
#define ITERATION(game_, seconds_, steps_, shape_, what_) \
  {.of = {.name = "iteration/" #game_,                    \
          .shape = shape_,                                \
          .unit = "ms",                                   \
          .seconds = seconds_,                            \
          .what = what_,                                  \
          .steps = steps_},                               \
   .family = &bw_bench_iterations,                        \
   .game = #game_},
#define PRODUCT(product_, name_, rows_, shape_, what_)                                  \
  {.of = {.name = name_, .shape = shape_, .unit = "us", .seconds = 0.1, .what = what_}, \
   .family = &bw_bench_products,                                                        \
   .size = rows_,                                                                       \
   .product = BW_BENCH_##product_},
#define KERNEL(op_, shape_, what_)                                                                \
  {.of = {.name = "kernel/" #op_, .shape = shape_, .unit = "us", .seconds = 0.06, .what = what_}, \
   .family = &bw_bench_kernels,                                                                   \
   .make = bw_bench_make_##op_},
#define ROLLOUT(game_, games_, what_)                                                                               \
  {.of = {.name = "rollout/" #game_, .shape = #games_ " games", .unit = "Mmoves/s", .seconds = 0.2, .what = what_}, \
   .family = &bw_bench_rollouts,                                                                                    \
   .game = #game_,                                                                                                  \
   .size = games_},
#define RULES(game_, games_, what_)                                                                               \
  {.of = {.name = "rules/" #game_, .shape = #games_ " games", .unit = "Mmoves/s", .seconds = 0.2, .what = what_}, \
   .family = &bw_bench_rules,                                                                                     \
   .game = #game_,                                                                                                \
   .size = games_},
#define SOLVER(stones_, positions_, shape_, what_)                                                        \
  {.of = {.name = "solver/connect4", .shape = shape_, .unit = "Mnodes/s", .seconds = 0.4, .what = what_}, \
   .family = &bw_bench_solvers,                                                                           \
   .size = positions_,                                                                                    \
   .product = stones_},
#include "cases.def"
#undef ITERATION
#undef PRODUCT
#undef KERNEL
#undef ROLLOUT
#undef RULES
#undef SOLVER
};

enum { ENTRIES = (int)(sizeof kEntries / sizeof *kEntries) };

int bw_bench_count(void) { return ENTRIES; }

const bw_bench_case* bw_bench_at(int index) { return &kEntries[index].of; }

// ---- what families share ----

bw_precision bw_bench_precision(const bw_bench_request* request) {
  return strcmp(request->precision, "bf16") == 0 ? BW_PRECISION_BF16 : BW_PRECISION_FP32;
}

bw_status bw_bench_device(const bw_bench_request* request, bw_device** device, bw_error* error) {
  bw_isa isa = BW_ISA_PORTABLE;
  BW_TRY(bw_isa_choose(&isa, error));
  return bw_cpu_device_create(isa, bw_bench_precision(request), request->threads, device, error);
}

bw_status bw_bench_bytes(bw_device* device, size_t bytes, bw_ref* ref, bw_error* error) {
  *ref = (bw_ref){0};
  return device->backend->alloc(device, bytes, &ref->buffer, error);
}

bw_status bw_bench_reals(bw_device* device, int64_t n, float low, float high, bw_ref* ref, bw_error* error) {
  BW_TRY(bw_bench_bytes(device, (size_t)n * sizeof(float), ref, error));
  float* values = malloc((size_t)n * sizeof *values);
  if (!values) return bw_fail_memory(error, "bench", "random values", (uint64_t)n * sizeof *values, 0);
  for (int64_t i = 0; i < n; ++i) {
    values[i] = low + (high - low) * bw_uniform(bw_philox(1, BW_STREAM_GAME, (uint64_t)i / 4, 0).v[i % 4]);
  }
  const bw_status status = bw_upload_real(device, *ref, values, n, error);
  free(values);
  return status;
}

bw_status bw_bench_ints(bw_device* device, int64_t n, int32_t first, int32_t step, bw_ref* ref, bw_error* error) {
  BW_TRY(bw_bench_bytes(device, (size_t)n * sizeof(int32_t), ref, error));
  int32_t* values = malloc((size_t)n * sizeof *values);
  if (!values) return bw_fail_memory(error, "bench", "a list of numbers", (uint64_t)n * sizeof *values, 0);
  for (int64_t i = 0; i < n; ++i) values[i] = first + (int32_t)i * step;
  device->backend->upload(device, *ref, values, (size_t)n * sizeof *values);
  free(values);
  return BW_OK;
}

// ---- running ----

enum { MAX_SAMPLES = 4096 };
static const double kSampleSeconds = 0.0005;  // of a sample of many calls: many times what reading the clock costs
static const double kBurstSeconds = 0.01;     // of samples between two probes
static const double kProbeSeconds = 0.004;    // of each of the two probes

typedef struct runner {
  const bw_bench_entry* entry;
  const bw_bench_request* request;
  void* work;
  bw_roof_meter* meter;
  bw_bench_result* result;
} runner;

static bw_status check(const runner* r, bw_error* error) {
  if (r->request->cancelled && r->request->cancelled(r->request->context)) {
    return bw_fail(error, BW_CANCELLED, "bench", "cancelled");
  }
  return BW_OK;
}

static bw_status take(runner* r, int64_t calls, bw_bench_sample* sample, bw_error* error) {
  BW_TRY(check(r, error));
  memset(sample, 0, sizeof *sample);
  return r->entry->family->sample(r->work, calls, sample, error);
}

// Calls that last kSampleSeconds, found by doubling, which also warms caches and clock.
static bw_status find_calls(runner* r, int64_t* calls, bw_error* error) {
  bw_bench_sample sample;
  for (*calls = 1;; *calls *= 2) {
    BW_TRY(take(r, *calls, &sample, error));
    if (sample.seconds * (double)*calls >= kSampleSeconds || *calls >= (1 << 20)) return BW_OK;
  }
}

static bw_status warm_up(runner* r, int64_t* calls, bw_error* error) {
  *calls = 1;
  bw_bench_sample sample;
  if (r->entry->family->warm_up == 0) return r->request->warm_up ? find_calls(r, calls, error) : BW_OK;
  for (int i = 0; i < r->entry->family->warm_up && r->request->warm_up; ++i) BW_TRY(take(r, 1, &sample, error));
  return BW_OK;
}

static bw_status measure(runner* r, bw_error* error) {
  const bw_bench_family* family = r->entry->family;
  int64_t calls = 1;
  BW_TRY(warm_up(r, &calls, error));
  if (family->profile_reset) family->profile_reset(r->work);
  const uint64_t begin = bw_now_ns();
  double used = 0;
  while (r->result->count == 0 || (used < r->request->seconds && r->result->count < MAX_SAMPLES)) {
    const double gflops = bw_roof_meter_flops(r->meter, kProbeSeconds);
    const double gbytes = bw_roof_meter_bytes(r->meter, kProbeSeconds);
    bw_bench_sample sample;
    // The probe of bandwidth has taken the caches.
    if (family->warm_up == 0 && r->request->warm_up) BW_TRY(take(r, calls, &sample, error));
    const uint64_t burst = bw_now_ns();
    do {
      BW_TRY(take(r, calls, &sample, error));
      sample.roof_gflops = gflops;
      sample.roof_gbytes = gbytes;
      r->result->samples[r->result->count++] = sample;
    } while (r->request->seconds > 0 && (double)(bw_now_ns() - burst) * 1e-9 < kBurstSeconds &&
             r->result->count < MAX_SAMPLES);
    used = (double)(bw_now_ns() - begin) * 1e-9;
  }
  if (family->profile) r->result->profile = *family->profile(r->work);
  return BW_OK;
}

static bw_status check_request(const bw_bench_request* request, bw_error* error) {
  char received[32];
  if (request->threads < 1 || request->threads > 256) {
    snprintf(received, sizeof received, "%d", request->threads);
    return bw_fail_option(error, "bench", "threads", received, "a number from 1 to 256");
  }
  if (strcmp(request->precision, "fp32") == 0) return BW_OK;
  if (strcmp(request->precision, "bf16") != 0) {
    return bw_fail_option(error, "bench", "precision", request->precision, "fp32 or bf16");
  }
  bw_isa isa = BW_ISA_PORTABLE;
  BW_TRY(bw_isa_choose(&isa, error));
  if (bw_bf16_available(isa)) return BW_OK;
  return bw_fail_option(error, "bench", "precision", request->precision, "fp32 (bf16 needs AVX512-BF16)");
}

bw_status bw_bench_run(int index, const bw_bench_request* request, bw_bench_result* result, bw_error* error) {
  memset(result, 0, sizeof *result);
  BW_TRY(check_request(request, error));
  runner r = {.entry = &kEntries[index], .request = request, .result = result};
  result->samples = calloc(MAX_SAMPLES, sizeof *result->samples);
  if (!result->samples) return bw_fail_memory(error, "bench", "samples", MAX_SAMPLES * sizeof *result->samples, 0);
  double footprint = 0;
  bw_isa isa = BW_ISA_PORTABLE;
  bw_status status = bw_isa_choose(&isa, error);
  if (status == BW_OK) status = r.entry->family->open(r.entry, request, &r.work, &footprint, error);
  if (status == BW_OK)
    status =
        bw_roof_meter_create(isa, bw_bench_precision(request), request->threads, (size_t)footprint, &r.meter, error);
  if (status == BW_OK) status = measure(&r, error);
  r.entry->family->close(r.work);
  bw_roof_meter_destroy(r.meter);
  if (status != BW_OK) bw_bench_free(result);
  return status;
}

void bw_bench_free(bw_bench_result* result) {
  free(result->samples);
  memset(result, 0, sizeof *result);
}
