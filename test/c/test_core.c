// Errors, profiling spans, what the CPU can do, and the measured roof.
#include <stdlib.h>

#include "../../csrc/core/cache.h"
#include "../../csrc/core/cpu.h"
#include "../../csrc/core/prof.h"
#include "../../csrc/core/roof.h"
#include "../../csrc/core/status.h"
#include "check.h"

static void test_errors(void) {
  bw_error error;
  memset(&error, 0x5A, sizeof error);
  CHECK(bw_fail(&error, BW_STATE, "net.create", "layer %d of %s", 3, "mlp") == BW_STATE);
  CHECK(error.status == BW_STATE);
  CHECK_EQ_STR(error.op, "net.create");
  CHECK_EQ_STR(error.message, "layer 3 of mlp");
  CHECK(error.path[0] == 0 && error.received[0] == 0 && error.expected[0] == 0 && error.device[0] == 0);
  CHECK(error.needed == 0 && error.available == 0 && error.step == 0);
  CHECK(bw_fail(NULL, BW_DEVICE, "x", "%d", 1) == BW_DEVICE);

  CHECK(bw_fail_option(&error, "selfplay.create", "ppo.clip", "2", "a number from 0 to 1") == BW_OPTION);
  CHECK(error.status == BW_OPTION);
  CHECK_EQ_STR(error.path, "ppo.clip");
  CHECK_EQ_STR(error.received, "2");
  CHECK_EQ_STR(error.expected, "a number from 0 to 1");
  CHECK(strstr(error.message, "ppo.clip") && strstr(error.message, "2") &&
        strstr(error.message, "a number from 0 to 1"));
  CHECK(bw_fail_option(NULL, "", "", "", "") == BW_OPTION);

  // Longer than every field: cut, ended, and the fields beside it untouched.
  char longest[1000];
  memset(longest, 'x', sizeof longest);
  longest[sizeof longest - 1] = 0;
  CHECK(bw_fail_option(&error, longest, longest, longest, longest) == BW_OPTION);
  CHECK_EQ_INT(strlen(error.op), sizeof error.op - 1);
  CHECK_EQ_INT(strlen(error.path), sizeof error.path - 1);
  CHECK_EQ_INT(strlen(error.received), sizeof error.received - 1);
  CHECK_EQ_INT(strlen(error.expected), sizeof error.expected - 1);
  CHECK(strlen(error.message) < sizeof error.message);
  CHECK(error.device[0] == 0 && error.needed == 0);
  CHECK(bw_fail(&error, BW_NUMERIC, "op", "%s", longest) == BW_NUMERIC);
  CHECK_EQ_INT(strlen(error.message), sizeof error.message - 1);

  CHECK(bw_fail_memory(&error, "plan", "the rollout", 3u << 20, 1u << 20) == BW_MEMORY);
  CHECK(error.needed == 3u << 20 && error.available == 1u << 20);
  CHECK(strstr(error.message, "the rollout") && strstr(error.message, "3.0 MiB") && strstr(error.message, "1.0 MiB"));
  CHECK(bw_fail_memory(&error, "plan", "the rollout", 3u << 20, 0) == BW_MEMORY);
  CHECK(strstr(error.message, "available") == NULL);
  CHECK(bw_fail_memory(NULL, "", "", 0, 0) == BW_MEMORY);

  static const char* const names[] = {"OK",         "OPTION",    "MEMORY", "NUMERIC",
                                      "CHECKPOINT", "CANCELLED", "DEVICE", "STATE"};
  for (int i = 0; i < 8; ++i) CHECK_EQ_STR(bw_status_name((bw_status)i), names[i]);
  CHECK_EQ_STR(bw_status_name((bw_status)99), "UNKNOWN");
}

static void test_spans(void) {
  static bw_prof prof;
  static const char forward[] = "forward", backward[] = "backward", collect[] = "collect", update[] = "update";
  prof.group = collect;
  const uint64_t start = bw_now_ns();
  bw_prof_add(&prof, forward, start, 100, 10);
  bw_prof_add(&prof, forward, start, 20, 3);
  bw_prof_add(&prof, backward, start, 7, 1);
  prof.group = update;
  bw_prof_add(&prof, forward, start, 1, 1);  // another phase, another span
  CHECK_EQ_INT(prof.count, 3);
  CHECK(prof.spans[0].name == forward && prof.spans[0].group == collect);
  CHECK_EQ_INT(prof.spans[0].calls, 2);
  CHECK(prof.spans[0].flops == 120 && prof.spans[0].bytes == 13);
  CHECK(prof.spans[1].name == backward && prof.spans[1].calls == 1 && prof.spans[1].flops == 7);
  CHECK(prof.spans[2].name == forward && prof.spans[2].group == update && prof.spans[2].calls == 1);
  CHECK(bw_now_ns() >= start);
  CHECK(prof.spans[0].ns <= 2 * (bw_now_ns() - start));
  bw_prof_add_span(&prof, backward, 1000, 1250, 3, 5, 2);
  bw_prof_add_amount(&prof, backward, 750, 2, 4, 1);
  CHECK(prof.spans[3].name == backward && prof.spans[3].group == update);
  CHECK(prof.spans[3].calls == 5 && prof.spans[3].ns == 1000 && prof.spans[3].flops == 9 && prof.spans[3].bytes == 3);
  bw_prof_reset(&prof);
  CHECK_EQ_INT(prof.count, 0);
  CHECK(prof.group == update);  // the phase goes on

  // A full table drops what is new and goes on counting what it has.
  static const char names[BW_PROF_MAX_SPANS + 1];
  for (int i = 0; i <= BW_PROF_MAX_SPANS; ++i) bw_prof_add(&prof, &names[i], start, 1, 1);
  CHECK_EQ_INT(prof.count, BW_PROF_MAX_SPANS);
  bw_prof_add(&prof, &names[BW_PROF_MAX_SPANS - 1], start, 1, 1);
  CHECK_EQ_INT(prof.spans[BW_PROF_MAX_SPANS - 1].calls, 2);
}

static void test_cpu(void) {
  CHECK_EQ_STR(bw_isa_name(BW_ISA_PORTABLE), "portable");
  CHECK_EQ_STR(bw_isa_name(BW_ISA_NEON), "neon");
  CHECK_EQ_STR(bw_isa_name(BW_ISA_AVX2), "avx2");
  CHECK_EQ_STR(bw_isa_name(BW_ISA_AVX512), "avx512");
  CHECK_EQ_STR(bw_isa_name(BW_ISA_COUNT), "unknown");
  CHECK(bw_isa_available(BW_ISA_PORTABLE));
  CHECK(!bw_isa_available(BW_ISA_COUNT));
#ifdef __aarch64__
  CHECK(bw_isa_available(BW_ISA_NEON));
#else
  CHECK(!bw_isa_available(BW_ISA_NEON));
#endif
#ifndef BW_HAVE_AVX512
  CHECK(!bw_isa_available(BW_ISA_AVX512));
#endif
  CHECK(!bw_bf16_available(BW_ISA_PORTABLE));
  CHECK(!bw_bf16_available(BW_ISA_AVX2));
  CHECK(!bw_bf16_available(BW_ISA_AVX512) || bw_isa_available(BW_ISA_AVX512));
#ifndef BW_HAVE_AVX512BF16
  CHECK(!bw_bf16_available(BW_ISA_AVX512));
#endif
  bw_isa isa;
  bw_error error;
  unsetenv("BELLOWS_ISA");
  CHECK(bw_isa_choose(&isa, &error) == BW_OK);
  CHECK(bw_isa_available(isa));
  for (int better = isa + 1; better < BW_ISA_COUNT; ++better) CHECK(!bw_isa_available((bw_isa)better));
  setenv("BELLOWS_ISA", "", 1);
  CHECK(bw_isa_choose(&isa, &error) == BW_OK);
  for (int i = 0; i < BW_ISA_COUNT; ++i) {
    setenv("BELLOWS_ISA", bw_isa_name((bw_isa)i), 1);
    const bw_status status = bw_isa_choose(&isa, &error);
    if (bw_isa_available((bw_isa)i)) {
      CHECK(status == BW_OK && isa == (bw_isa)i);
    } else {
      CHECK(status == BW_OPTION);
    }
  }
  static const char* const wrong[] = {"sse9", "Portable", "portable ", "avx51", "unknown"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    setenv("BELLOWS_ISA", wrong[i], 1);
    CHECK(bw_isa_choose(&isa, &error) == BW_OPTION);
    CHECK_EQ_STR(error.path, "BELLOWS_ISA");
    CHECK(strstr(error.received, wrong[i]) != NULL);
    CHECK(strstr(error.expected, "portable") != NULL);
  }
  unsetenv("BELLOWS_ISA");
  CHECK(bw_cpu_name()[0] != 0);
  CHECK(bw_cpu_name() == bw_cpu_name());
  CHECK(bw_memory_available() > 1u << 20);
}

static void test_caches(void) {
  uint64_t nearer = 0;
  for (int level = 1; level <= 3; ++level) {
    const bw_cache cache = bw_cache_find(level);
    CHECK(cache.sharers >= 1);
    CHECK(cache.bytes == 0 || (cache.bytes > nearer && cache.bytes < (uint64_t)1 << 40));
    if (cache.bytes > 0) nearer = cache.bytes;
  }
  CHECK(bw_cache_find(9).bytes == 0);
}

static void test_roof(void) {
  for (int threads = 1; threads <= 2; ++threads) {
    bw_pool* pool;
    REQUIRE(bw_pool_create(threads, &pool, NULL) == BW_OK);
    for (int i = 0; i < BW_ISA_COUNT; ++i) {
      if (!bw_isa_available((bw_isa)i)) continue;
      bw_roof roof = {0}, again = {0};
      bw_error error;
      CHECK(bw_roof_measure((bw_isa)i, pool, false, &roof, &error) == BW_OK);
      CHECK_EQ_INT(roof.threads, threads);
      CHECK(isfinite(roof.gflops) && roof.gflops > 0);
      CHECK(isfinite(roof.gbytes) && roof.gbytes > 0);
      CHECK(isfinite(roof.gflops_bf16) && (roof.gflops_bf16 > 0) == bw_bf16_available((bw_isa)i));
      CHECK(bw_roof_measure((bw_isa)i, pool, false, &again, NULL) == BW_OK);  // known: the same figures
      CHECK(again.gflops == roof.gflops && again.gbytes == roof.gbytes && again.threads == threads);
      CHECK(again.gflops_bf16 == roof.gflops_bf16);
      for (int level = 1; level <= BW_ROOF_CACHES; ++level) {
        const bw_roof_cache* cache = &roof.caches[level - 1];
        const uint64_t one = bw_cache_find(level).bytes;
        CHECK((cache->bytes > 0) == (cache->gbytes > 0));
        CHECK(cache->bytes == 0 || (one > 0 && cache->bytes % one == 0 && cache->bytes <= one * (uint64_t)threads));
        CHECK(again.caches[level - 1].gbytes == cache->gbytes);
      }
      CHECK((roof.caches[0].bytes > 0) == (bw_cache_find(1).bytes > 0));
      printf("  %s, %d threads: %.1f GFLOP/s, %.1f bf16, L1 %.1f, L2 %.1f, L3 %.1f, DRAM %.1f GB/s\n",
             bw_isa_name((bw_isa)i), threads, roof.gflops, roof.gflops_bf16, roof.caches[0].gbytes,
             roof.caches[1].gbytes, roof.caches[2].gbytes, roof.gbytes);
      CHECK(bw_roof_measure((bw_isa)i, pool, true, &again, NULL) == BW_OK);  // looked at again: never less
      CHECK(again.gflops >= roof.gflops && again.gflops_bf16 >= roof.gflops_bf16 && again.gbytes >= roof.gbytes);
      for (int c = 0; c < BW_ROOF_CACHES; ++c) {
        CHECK(again.caches[c].gbytes >= roof.caches[c].gbytes && again.caches[c].bytes == roof.caches[c].bytes);
      }
      // A reading that met other programs: the next look finds what is known.
      bw_roof low = again;
      low.gflops = 1e-3;
      bw_roof_glance((bw_isa)i, pool, BW_PRECISION_FP32, 1e-2, &low);
      CHECK_MSG(low.gflops >= again.gflops, "%g after %g", low.gflops, again.gflops);
      CHECK(!low.raised[BW_PRECISION_FP32] && low.gbytes == again.gbytes && low.gflops_bf16 == again.gflops_bf16);
      // Work that was faster than any probe, also than one that is not disturbed as the others may have been.
      const double fast = 100 * low.gflops + 1;
      bw_roof_glance((bw_isa)i, pool, BW_PRECISION_FP32, fast, &low);
      CHECK(low.gflops == fast && low.raised[BW_PRECISION_FP32] && !low.raised[BW_PRECISION_BF16]);
      CHECK(bw_roof_measure((bw_isa)i, pool, false, &again, NULL) == BW_OK);
      CHECK(again.gflops == fast && again.raised[BW_PRECISION_FP32]);
    }
    bw_pool_destroy(pool);
  }
}

static void test_best_roof(void) {
  bw_roof roof = {.gflops = 118, .gflops_bf16 = 500, .gbytes = 30, .caches = {{64, 300}, {1024, 90}}};
  const bw_roof reading = {
      .gflops = 236, .gflops_bf16 = 250, .gbytes = 20, .caches = {{64, 200}, {1024, 170}, {4096, 9}}};
  bw_roof_keep_best(&roof, &reading);
  CHECK(roof.gflops == 236 && roof.gflops_bf16 == 500 && roof.gbytes == 30);
  CHECK(roof.caches[0].gbytes == 300 && roof.caches[1].gbytes == 170 && roof.caches[2].gbytes == 9);
  CHECK(roof.caches[2].bytes == 4096);
  bw_roof_reach(&roof, BW_PRECISION_FP32, 236);  // as fast: no probe was too low
  CHECK(roof.gflops == 236 && !roof.raised[BW_PRECISION_FP32]);
  bw_roof_reach(&roof, BW_PRECISION_FP32, 240);
  bw_roof_reach(&roof, BW_PRECISION_FP32, 239);
  CHECK(roof.gflops == 240 && roof.raised[BW_PRECISION_FP32] && !roof.raised[BW_PRECISION_BF16]);
  CHECK(roof.gflops_bf16 == 500);
  bw_roof_keep_best(&roof, &reading);  // less: it stays raised
  CHECK(roof.gflops == 240 && roof.raised[BW_PRECISION_FP32]);
  const bw_roof higher = {.gflops = 241};
  bw_roof_keep_best(&roof, &higher);  // a probe reads more at last
  CHECK(roof.gflops == 241 && !roof.raised[BW_PRECISION_FP32]);
  bw_roof_reach(&roof, BW_PRECISION_BF16, 501);
  CHECK(bw_roof_gflops(&roof, BW_PRECISION_BF16) == 501 && roof.raised[BW_PRECISION_BF16]);
  CHECK(bw_roof_gflops(&roof, BW_PRECISION_FP32) == 241);
}

int main(void) {
  test_errors();
  test_spans();
  test_cpu();
  test_caches();
  test_best_roof();
  test_roof();
  return check_summary("core");
}
