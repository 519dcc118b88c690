#include "roof_meter.h"

#include <stdlib.h>

#include "pool.h"
#include "posix.h"
#include "prof.h"
#include "roof_probe.h"

enum {
  LINE = 16,                   // floats of workers stand this far apart: on cache lines of their own
  LEAST_FLOATS = 4096,         // of an array
  PASS_BYTES = 4 * (1 << 20),  // traffic of a worker in one run: about 50 us, many times what a start costs
};
static const int64_t kRounds = 50000;  // some 200 us

struct bw_roof_meter {
  bw_pool* pool;
  bw_roof_probe probe;
  bw_roof_update update;
  float* sinks;    // [threads * LINE]
  double* counts;  // [threads * LINE]
  float *x, *y;    // [floats]
  int64_t floats;
  int64_t passes;  // over the arrays in one run
};

static void run_probe(void* context, int64_t first, int64_t last, int worker) {
  const bw_roof_meter* meter = context;
  for (int64_t t = first; t < last; ++t) {
    meter->counts[worker * LINE] = meter->probe(kRounds, &meter->sinks[worker * LINE]);
  }
}

static void fill(void* context, int64_t first, int64_t last, int worker) {
  (void)worker;
  const bw_roof_meter* meter = context;
  for (int64_t i = first; i < last; ++i) meter->x[i] = meter->y[i] = 1;
}

static void run_update(void* context, int64_t first, int64_t last, int worker) {
  (void)worker;
  const bw_roof_meter* meter = context;
  for (int64_t pass = 0; pass < meter->passes; ++pass) {
    meter->update(meter->x + first, meter->y + first, last - first, 1e-6f);
  }
}

static void choose(bw_roof_meter* meter, bw_isa isa, bw_precision precision) {
  meter->probe = bw_roof_probe_portable;
  meter->update = bw_roof_update_portable;
#ifdef BW_HAVE_AVX2
  if (isa == BW_ISA_AVX2) {
    meter->probe = bw_roof_probe_avx2;
    meter->update = bw_roof_update_avx2;
  }
#endif
#ifdef BW_HAVE_AVX512
  if (isa == BW_ISA_AVX512) {
    meter->probe = bw_roof_probe_avx512;
    meter->update = bw_roof_update_avx512;
  }
#endif
#ifdef BW_HAVE_AVX512BF16
  if (precision == BW_PRECISION_BF16) meter->probe = bw_roof_probe_avx512bf16;
#endif
  (void)isa;  // there may be one only
  (void)precision;
}

bw_status bw_roof_meter_create(bw_isa isa, bw_precision precision, int threads, size_t footprint, bw_roof_meter** out,
                               bw_error* error) {
  *out = NULL;
  bw_roof_meter* meter = calloc(1, sizeof *meter);
  if (!meter) return bw_fail_memory(error, "roof", "the probe", sizeof *meter, 0);
  choose(meter, isa, precision);
  bw_status status = bw_pool_create(threads, &meter->pool, error);
  if (status == BW_OK) {
    meter->sinks = calloc((size_t)threads * LINE, sizeof *meter->sinks);
    meter->counts = calloc((size_t)threads * LINE, sizeof *meter->counts);
    bool whole = meter->sinks && meter->counts;
    if (footprint > 0) {
      const int64_t floats = (int64_t)(footprint / (2 * sizeof(float)));
      meter->floats = floats < LEAST_FLOATS ? LEAST_FLOATS : floats;
      meter->passes = 1 + (int64_t)PASS_BYTES * threads / (meter->floats * 3 * (int64_t)sizeof(float));
      meter->x = bw_aligned_alloc(64, ((size_t)meter->floats * sizeof(float) + 63) / 64 * 64);
      meter->y = bw_aligned_alloc(64, ((size_t)meter->floats * sizeof(float) + 63) / 64 * 64);
      whole = whole && meter->x && meter->y;
    }
    if (!whole) status = bw_fail_memory(error, "roof", "the bandwidth probe", footprint, 0);
  }
  if (status != BW_OK) {
    bw_roof_meter_destroy(meter);
    return status;
  }
  if (meter->floats > 0) bw_pool_run(meter->pool, meter->floats, fill, meter);  // each worker touches its own pages
  *out = meter;
  return BW_OK;
}

void bw_roof_meter_destroy(bw_roof_meter* meter) {
  if (!meter) return;
  bw_pool_destroy(meter->pool);
  free(meter->sinks);
  free(meter->counts);
  bw_aligned_free(meter->x);
  bw_aligned_free(meter->y);
  free(meter);
}

double bw_roof_meter_flops(bw_roof_meter* meter, double seconds) {
  const int threads = bw_pool_threads(meter->pool);
  const uint64_t begin = bw_now_ns(), limit = (uint64_t)(seconds * 1e9);
  double best = 0;
  for (uint64_t now = begin; best == 0 || now - begin < limit;) {
    const uint64_t start = now;
    bw_pool_run(meter->pool, threads, run_probe, meter);
    now = bw_now_ns();
    double flops = 0;
    for (int i = 0; i < threads; ++i) flops += meter->counts[i * LINE];
    const double rate = flops / (double)(now - start + 1);
    if (rate > best) best = rate;
  }
  return best;
}

double bw_roof_meter_bytes(bw_roof_meter* meter, double seconds) {
  if (meter->floats == 0) return 0;
  const uint64_t begin = bw_now_ns(), limit = (uint64_t)(seconds * 1e9);
  const double bytes = 3.0 * sizeof(float) * (double)meter->floats * (double)meter->passes;
  double best = 0;
  for (uint64_t now = begin; best == 0 || now - begin < limit;) {
    const uint64_t start = now;
    bw_pool_run(meter->pool, meter->floats, run_update, meter);
    now = bw_now_ns();
    const double rate = bytes / (double)(now - start + 1);
    if (rate > best) best = rate;
  }
  return best;
}
