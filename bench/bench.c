// The benches without Node, and the program that `bellows bench --compare` builds at each of two commits. See
// bench/README.md.
//
//   bellows_bench [--only NAME] [--threads T] [--precision fp32|bf16] [--seconds S] [--json] [--list]
//
// --only takes a case's name or the part of it before a slash. With --json one object a line: the row of `bellows
// bench` without peers, and with the samples and, for iterations, the time of every op.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/bw.h"
#include "bench/bench.h"

typedef struct arguments {
  const char* only;  // NULL: all
  const char* precision;
  int threads;     // 0: every core
  double seconds;  // below 0: the case's own
  bool json, list;
} arguments;

static int usage(const char* problem, const char* text) {
  fprintf(stderr, "bellows_bench: %s: %s\n", problem, text);
  fprintf(stderr,
          "usage: bellows_bench [--only NAME] [--threads T] [--precision fp32|bf16] [--seconds S] [--json] [--list]\n");
  return 2;
}

static int parse(int argc, char** argv, arguments* args) {
  *args = (arguments){.precision = "fp32", .seconds = -1};
  for (int i = 1; i < argc; ++i) {
    const char* name = argv[i];
    if (!strcmp(name, "--json") || !strcmp(name, "--list")) {
      *(name[2] == 'j' ? &args->json : &args->list) = true;
      continue;
    }
    if (i + 1 == argc) return usage("unknown option or missing value", name);
    const char* value = argv[++i];
    char* end = "";
    if (!strcmp(name, "--only")) {
      args->only = value;
    } else if (!strcmp(name, "--precision")) {
      args->precision = value;
    } else if (!strcmp(name, "--threads")) {
      args->threads = (int)strtol(value, &end, 10);
      if (!*value || *end) return usage("--threads expects a number from 0", value);
    } else if (!strcmp(name, "--seconds")) {
      args->seconds = strtod(value, &end);
      if (!*value || *end || !(args->seconds >= 0)) return usage("--seconds expects a number from 0", value);
    } else {
      return usage("unknown option", name);
    }
  }
  return 0;
}

static int failure(const bw_error* error) {
  fprintf(stderr, "bellows_bench: %s: %s\n", bw_status_name(error->status), error->message);
  return error->status == BW_OPTION ? 2 : 1;
}

// --only NAME: the whole name, or what stands before a slash.
static bool chosen(const char* only, const char* name) {
  const size_t length = only ? strlen(only) : 0;
  return !only || !strcmp(only, name) || (!strncmp(only, name, length) && name[length] == '/');
}

static void print_number(const char* key, double value) {
  if (isfinite(value)) {
    printf(",\"%s\":%.6g", key, value);
  } else {
    printf(",\"%s\":null", key);
  }
}

static void print_json(const bw_bench_case* of, const arguments* args, const bw_bench_result* result,
                       const bw_bench_row* row) {
  printf("{\"type\":\"bench\",\"name\":\"%s\",\"shape\":\"%s\",\"threads\":%d,\"precision\":\"%s\"", of->name,
         of->shape, args->threads, args->precision);
  print_number("median", row->median);
  print_number("p10", row->p10);
  print_number("p90", row->p90);
  printf(",\"unit\":\"%s\"", of->unit);
  print_number("gflops", row->gflops);
  print_number("roofFraction", row->roof_fraction);
  printf(",\"roofRaised\":%s", row->roof_raised ? "true" : "false");
  print_number("floorRatio", row->floor_ratio);
  print_number("seconds", row->seconds);
  print_number("roofGflops", row->roof_gflops);
  print_number("roofGbytes", row->roof_gbytes);
  print_number("steps", row->steps);
  printf(",\"samples\":[");
  for (int i = 0; i < result->count; ++i) printf("%s%.6g", i ? "," : "", result->samples[i].value);
  printf("],\"profile\":[");
  for (int i = 0; i < result->profile.count; ++i) {
    const bw_span* span = &result->profile.spans[i];
    printf("%s{\"op\":\"%s\",\"group\":\"%s\",\"calls\":%.6g,\"ms\":%.6g,\"gflop\":%.6g,\"gbyte\":%.6g}", i ? "," : "",
           span->name, span->group ? span->group : "", (double)span->calls / result->count,
           (double)span->ns * 1e-6 / result->count, span->flops * 1e-9 / result->count,
           span->bytes * 1e-9 / result->count);
  }
  printf("]}\n");
}

static void print_text(const bw_bench_case* of, const bw_bench_row* row) {
  printf("%-20s %-45s %10.4g %-8s %9.4g to %-9.4g", of->name, of->shape, row->median, of->unit, row->p10, row->p90);
  if (row->floor_ratio > 0) {
    printf(" %7.1f GFLOP/s %5.1f%% of the %s, %.2f x the floor", row->gflops, 100 * row->roof_fraction,
           row->roof_raised ? "best rate seen" : "roof", row->floor_ratio);
  }
  printf("\n");
}

static int run(const arguments* args, int index) {
  const bw_bench_case* of = bw_bench_at(index);
  const bw_bench_request request = {.threads = args->threads,
                                    .precision = args->precision,
                                    .seconds = args->seconds >= 0 ? args->seconds : of->seconds,
                                    .warm_up = true};
  bw_bench_result result;
  bw_error error;
  const bw_status status = bw_bench_run(index, &request, &result, &error);
  if (status != BW_OK) return failure(&error);
  bw_bench_row row;
  const bool ok = bw_bench_summarise(result.samples, result.count, &row, &error) == BW_OK;
  if (ok && args->json) print_json(of, args, &result, &row);
  if (ok && !args->json) print_text(of, &row);
  fflush(stdout);
  bw_bench_free(&result);
  return ok ? 0 : failure(&error);
}

int main(int argc, char** argv) {
  arguments args;
  int code = parse(argc, argv, &args);
  if (code != 0) return code;
  bw_info info;
  bw_error error;
  if (bw_library_info(false, &info, &error) != BW_OK) return failure(&error);
  if (args.threads == 0) args.threads = info.hardware_threads;
  int done = 0;
  for (int i = 0; i < bw_bench_count() && code == 0; ++i) {
    const bw_bench_case* of = bw_bench_at(i);
    if (!chosen(args.only, of->name)) continue;
    ++done;
    if (args.list) {
      printf("%-20s %-45s %s\n", of->name, of->shape, of->what);
    } else {
      code = run(&args, i);
    }
  }
  return done == 0 ? usage("no such case (--list shows them)", args.only) : code;
}
