// Every case of the benches runs with the least budget and gives finite figures; what samples come to; the probes.
#include "../../csrc/bench/bench.h"
#include "../../csrc/core/roof_meter.h"
#include "check.h"

static bw_bench_request request(int threads) {
  return (bw_bench_request){.threads = threads, .precision = "fp32", .seconds = 0, .warm_up = false};
}

static bool has_bf16(void) {
  bw_isa isa;
  REQUIRE(bw_isa_choose(&isa, NULL) == BW_OK);
  return bw_bf16_available(isa);
}

static bool is_iteration(int index) { return strncmp(bw_bench_at(index)->name, "iteration/", 10) == 0; }

static bool is_rate(const bw_bench_case* of) { return !strcmp(of->unit, "Mmoves/s") || !strcmp(of->unit, "Mnodes/s"); }

static void test_list(void) {
  CHECK(bw_bench_count() > 30);
  for (int i = 0; i < bw_bench_count(); ++i) {
    const bw_bench_case* of = bw_bench_at(i);
    CHECK_MSG(strchr(of->name, '/') && of->shape[0] && of->what[0], "case %d: %s", i, of->name);
    CHECK_MSG(!strcmp(of->unit, "ms") || !strcmp(of->unit, "us") || is_rate(of), "%s", of->unit);
    CHECK(of->seconds > 0);
    for (int j = 0; j < i; ++j) {
      CHECK_MSG(strcmp(of->name, bw_bench_at(j)->name) || strcmp(of->shape, bw_bench_at(j)->shape), "%s twice",
                of->name);
    }
  }
}

static void check_row(const bw_bench_case* of, const bw_bench_row* row) {
  CHECK_MSG(isfinite(row->median) && row->median > 0, "%s %s: median %g", of->name, of->shape, row->median);
  CHECK_MSG(row->p10 <= row->median && row->median <= row->p90, "%s %s: quantiles", of->name, of->shape);
  CHECK_MSG(row->seconds > 0 && row->roof_gflops > 0, "%s %s: seconds %g, roof %g", of->name, of->shape, row->seconds,
            row->roof_gflops);
  if (is_rate(of)) {
    CHECK_MSG(row->moves > 0, "%s: moves", of->name);
    return;
  }
  CHECK_MSG(isfinite(row->gflops) && row->gflops > 0, "%s %s: GFLOP/s %g", of->name, of->shape, row->gflops);
  CHECK_MSG(isfinite(row->floor_ratio) && row->floor_ratio > 0, "%s %s: floor %g", of->name, of->shape,
            row->floor_ratio);
  CHECK_MSG(isfinite(row->roof_fraction) && row->roof_fraction > 0, "%s %s: roof %g", of->name, of->shape,
            row->roof_fraction);
}

static void test_cases(const char* precision) {
  for (int i = 0; i < bw_bench_count(); ++i) {
    const bw_bench_case* of = bw_bench_at(i);
#ifdef BW_SANITIZED
    if (!strcmp(of->name, "iteration/connect4")) continue;  // a minute there, and the code of tic-tac-toe's
#endif
    for (int threads = 1; threads <= (is_iteration(i) ? 1 : 2); ++threads) {
      bw_bench_request how = request(threads);
      how.precision = precision;
      bw_bench_result result;
      bw_bench_row row;
      bw_error error = {0};
      const bool ok = bw_bench_run(i, &how, &result, &error) == BW_OK;
      if (!CHECK_MSG(ok, "%s %s: %s", of->name, of->shape, error.message)) continue;
      CHECK(result.count == 1);
      REQUIRE(bw_bench_summarise(result.samples, result.count, &row, &error) == BW_OK);
      check_row(of, &row);
      CHECK_MSG((result.profile.count > 0) == is_iteration(i), "%s: profile", of->name);
      bw_bench_free(&result);
    }
  }
}

// The count of the recipe: 10.6 GFLOP for 1,848 samples, 3,696 moves and 4 epochs of tic-tac-toe.
static void test_iteration_flops(void) {
  const bw_bench_request how = request(1);
  bw_bench_result result;
  bw_error error;
  REQUIRE(strcmp(bw_bench_at(0)->name, "iteration/tictactoe") == 0);
  REQUIRE(bw_bench_run(0, &how, &result, &error) == BW_OK);
  const bw_bench_sample* s = &result.samples[0];
  const double forward = 2.0 * (27 * 256 + 3 * 256 * 256 + 256 * 10), first = 2.0 * 27 * 256;
  CHECK_NEAR(s->work.flops, s->moves * forward + 4 * s->samples * (3 * forward - first), 1);
  CHECK_NEAR(3696 * forward + 4 * 1848 * (3 * forward - first), 10.6e9, 0.05e9);
  CHECK(s->samples > 1500 && s->samples < 2300 && s->moves > s->samples);
  CHECK_NEAR(s->steps, 4 * ceil(s->samples / 64), 0);
  CHECK_NEAR(s->optimizer.bytes, s->steps * 28 * 207114, 1);
  bw_bench_free(&result);
}

static void test_floor(void) {
  const bw_bench_sample sample = {.work = {.flops = 3e9, .bytes = 1e9}, .optimizer = {.flops = 1e6, .bytes = 2e9}};
  CHECK_NEAR(bw_bench_floor(&sample, 100, 50), 0.03 + 0.04, 1e-12);
  CHECK_NEAR(bw_bench_floor(&sample, 1000, 50), 0.02 + 0.04, 1e-12);
  CHECK_NEAR(bw_bench_floor(&sample, 100, 0), 0.03 + 1e-5, 1e-12);  // no probe of bandwidth
}

static void test_summary(void) {
  bw_bench_sample samples[5] = {{0}};
  const double seconds[5] = {3, 1, 2, 50, 4}, roofs[5] = {10, 11, 0.1, 12, 13};  // one sample and one probe disturbed
  for (int i = 0; i < 5; ++i) {
    samples[i] = (bw_bench_sample){
        .value = seconds[i] * 1e3, .seconds = seconds[i], .work.flops = 11e9, .roof_gflops = roofs[i], .steps = i};
  }
  bw_bench_row row;
  bw_error error;
  REQUIRE(bw_bench_summarise(samples, 5, &row, &error) == BW_OK);
  CHECK_NEAR(row.median, 3000, 1e-9);
  CHECK_NEAR(row.p10, 1400, 1e-9);
  CHECK_NEAR(row.p90, 4000 + 0.6 * 46000, 1e-9);
  CHECK_NEAR(row.roof_gflops, 11, 1e-12);
  CHECK_NEAR(row.floor_seconds, 1, 1e-12);
  CHECK_NEAR(row.floor_ratio, 3, 1e-12);
  CHECK_NEAR(row.roof_fraction, 1.0 / 3, 1e-12);
  CHECK_NEAR(row.gflops, 11.0 / 3, 1e-12);
  CHECK_NEAR(row.steps, 2, 0);
  CHECK(!row.roof_raised);
  CHECK(bw_bench_summarise(samples, 0, &row, &error) == BW_OPTION);
}

// A share is at most 1: a case that was faster than the probes has its own rates for a roof.
static void test_raised(void) {
  bw_bench_sample samples[3] = {{0}};
  for (int i = 0; i < 3; ++i) {
    samples[i] =
        (bw_bench_sample){.value = 1, .seconds = 1, .work = {100e9, 50e9}, .roof_gflops = 80 + i, .roof_gbytes = 200};
  }
  bw_bench_row row;
  REQUIRE(bw_bench_summarise(samples, 3, &row, NULL) == BW_OK);
  CHECK(row.roof_raised && row.roof_gflops == 100 && row.roof_gbytes == 200);
  CHECK(row.roof_fraction == 1 && row.floor_ratio == 1);
  for (int i = 0; i < 3; ++i) samples[i].roof_gflops = 400, samples[i].roof_gbytes = 25;
  REQUIRE(bw_bench_summarise(samples, 3, &row, NULL) == BW_OK);
  CHECK(row.roof_raised && row.roof_gflops == 400 && row.roof_gbytes == 50);
  CHECK(row.roof_fraction == 1);
  for (int i = 0; i < 3; ++i) samples[i].roof_gbytes = 0;  // no such probe: nothing to compare with
  REQUIRE(bw_bench_summarise(samples, 3, &row, NULL) == BW_OK);
  CHECK(!row.roof_raised && row.roof_gbytes == 0);
  CHECK_NEAR(row.roof_fraction, 0.25, 1e-12);
  // What binds goes round: the median of the larger share is above both medians.
  samples[0].work = (bw_bench_work){200e9, 10e9};
  samples[1].work = (bw_bench_work){10e9, 200e9};
  samples[2].work = (bw_bench_work){100e9, 100e9};
  for (int i = 0; i < 3; ++i) samples[i].roof_gflops = samples[i].roof_gbytes = 100;
  REQUIRE(bw_bench_summarise(samples, 3, &row, NULL) == BW_OK);
  CHECK(row.roof_fraction == 1 && row.roof_raised);
}

static bool always(void* context) {
  ++*(int*)context;
  return true;
}

static void test_refusals(void) {
  bw_bench_result result;
  bw_error error;
  bw_bench_request how = request(0);
  CHECK(bw_bench_run(2, &how, &result, &error) == BW_OPTION);
  CHECK_EQ_STR(error.path, "threads");
  how = request(257);
  CHECK(bw_bench_run(2, &how, &result, &error) == BW_OPTION);
  how = request(1);
  how.precision = "fp8";
  CHECK(bw_bench_run(2, &how, &result, &error) == BW_OPTION);
  CHECK_EQ_STR(error.path, "precision");
  CHECK_EQ_STR(error.received, "fp8");
  how.precision = "bf16";
  const bw_status bf16 = bw_bench_run(2, &how, &result, &error);
  CHECK(bf16 == (has_bf16() ? BW_OK : BW_OPTION));
  if (bf16 == BW_OK) bw_bench_free(&result);
  int asked = 0;
  how = request(1);
  how.seconds = 1e9;
  how.cancelled = always;
  how.context = &asked;
  CHECK(bw_bench_run(2, &how, &result, &error) == BW_CANCELLED);
  CHECK(asked == 1 && result.samples == NULL);
}

static void test_meter(void) {
  for (int isa = 0; isa < BW_ISA_COUNT; ++isa) {
    if (!bw_isa_available((bw_isa)isa)) continue;
    bw_roof_meter* meter = NULL;
    bw_error error;
    REQUIRE(bw_roof_meter_create((bw_isa)isa, BW_PRECISION_FP32, 2, 100000, &meter, &error) == BW_OK);
    CHECK(bw_roof_meter_flops(meter, 0) > 0);
    CHECK(bw_roof_meter_bytes(meter, 0) > 0);
    bw_roof_meter_destroy(meter);
    REQUIRE(bw_roof_meter_create((bw_isa)isa, BW_PRECISION_FP32, 1, 0, &meter, &error) == BW_OK);
    CHECK(bw_roof_meter_bytes(meter, 0) == 0);
    bw_roof_meter_destroy(meter);
  }
  bw_roof_meter_destroy(NULL);
  if (!has_bf16()) return;
  bw_roof_meter* meter = NULL;
  REQUIRE(bw_roof_meter_create(BW_ISA_AVX512, BW_PRECISION_BF16, 2, 0, &meter, NULL) == BW_OK);
  CHECK(bw_roof_meter_flops(meter, 0) > 0);
  bw_roof_meter_destroy(meter);
}

int main(void) {
  test_list();
  test_floor();
  test_summary();
  test_raised();
  test_refusals();
  test_meter();
  test_iteration_flops();
  test_cases("fp32");
  if (has_bf16()) test_cases("bf16");
  return check_summary("bench");
}
