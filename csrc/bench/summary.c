// Samples to the figures of a row.
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static int compare(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

// Between the sorted values, linearly.
static double quantile(const double* sorted, int count, double q) {
  const double position = q * (count - 1);
  const int low = (int)position;
  const int high = low + 1 < count ? low + 1 : low;
  return sorted[low] + (sorted[high] - sorted[low]) * (position - low);
}

// Seconds that `work` takes at the roof that binds first.
static double at_roof(bw_bench_work work, double gflops, double gbytes) {
  const double compute = gflops > 0 ? work.flops / (gflops * 1e9) : 0;
  const double memory = gbytes > 0 ? work.bytes / (gbytes * 1e9) : 0;
  return compute > memory ? compute : memory;
}

double bw_bench_floor(const bw_bench_sample* sample, double roof_gflops, double roof_gbytes) {
  return at_roof(sample->work, roof_gflops, roof_gbytes) + at_roof(sample->optimizer, roof_gflops, roof_gbytes);
}

// The q-quantile of an expression over all samples `s`.
#define QUANTILE(q, expression)                            \
  do {                                                     \
    for (int i = 0; i < count; ++i) {                      \
      const bw_bench_sample* s = &samples[i];              \
      values[i] = (expression);                            \
    }                                                      \
    qsort(values, (size_t)count, sizeof *values, compare); \
    found = quantile(values, count, q);                    \
  } while (0)

// True where it is raised.
static bool raise(double* roof, double reached) {
  if (*roof <= 0 || reached <= *roof) return false;  // 0: there is no such probe
  *roof = reached;
  return true;
}

#define MEDIAN(field, expression) \
  do {                            \
    QUANTILE(0.5, expression);    \
    row->field = found;           \
  } while (0)

bw_status bw_bench_summarise(const bw_bench_sample* samples, int count, bw_bench_row* row, bw_error* error) {
  memset(row, 0, sizeof *row);
  if (count < 1) return bw_fail_option(error, "bench", "samples", "none", "at least one");
  double* values = malloc((size_t)count * sizeof *values);
  if (!values) return bw_fail_memory(error, "bench", "samples", (uint64_t)count * sizeof *values, 0);
  double found = 0;
  MEDIAN(median, s->value);
  QUANTILE(0.1, s->value);
  row->p10 = found;
  QUANTILE(0.9, s->value);
  row->p90 = found;
  MEDIAN(seconds, s->seconds);
  MEDIAN(gflops, s->work.flops / s->seconds * 1e-9);
  MEDIAN(gbytes, s->work.bytes / s->seconds * 1e-9);
  MEDIAN(roof_gflops, s->roof_gflops);
  MEDIAN(roof_gbytes, s->roof_gbytes);
  MEDIAN(samples, s->samples);
  MEDIAN(moves, s->moves);
  MEDIAN(steps, s->steps);
  MEDIAN(collect_seconds, s->collect_seconds);
  MEDIAN(update_seconds, s->update_seconds);
  const bool compute = raise(&row->roof_gflops, row->gflops), memory = raise(&row->roof_gbytes, row->gbytes);
  row->roof_raised = compute || memory;
  MEDIAN(roof_fraction, at_roof(s->work, row->roof_gflops, row->roof_gbytes) / s->seconds);
  // The median of what binds each sample may be a little above that of either.
  if (row->roof_fraction > 1) {
    row->roof_fraction = 1;
    row->roof_raised = true;
  }
  MEDIAN(floor_seconds, bw_bench_floor(s, row->roof_gflops, row->roof_gbytes));
  if (row->floor_seconds > 0) {
    MEDIAN(floor_ratio, s->seconds / bw_bench_floor(s, row->roof_gflops, row->roof_gbytes));
  }
  free(values);
  return BW_OK;
}
