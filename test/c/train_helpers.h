// What the tests of training share: a run from a list of options.
#ifndef BW_TEST_TRAIN_HELPERS_H
#define BW_TEST_TRAIN_HELPERS_H

#include "../../csrc/backends/backends.h"
#include "../../csrc/train/run.h"
#include "check.h"

typedef struct test_option {
  const char* path;
  const char* value;
} test_option;

// A checked config: small defaults, then `options` (ended by a NULL path).
static inline bw_config test_config(const char* game, const test_option* options) {
  static const test_option small[] = {
      {"net.width", "16"}, {"net.depth", "2"}, {"rollout.games", "64"},           {"ppo.minibatch", "64"},
      {"ppo.epochs", "2"}, {"run.seed", "11"}, {"rollout.openings.share", "0.5"}, {NULL, NULL}};
  bw_config config;
  bw_error error;
  REQUIRE(bw_config_defaults(&config, game, &error) == BW_OK);  // whatever the recipe
  const test_option* lists[2] = {small, options};
  for (int i = 0; i < 2; ++i) {
    for (const test_option* o = lists[i]; o && o->path; ++o) {
      const bool number = (o->value[0] >= '0' && o->value[0] <= '9') || o->value[0] == '-';
      const bool truth = strcmp(o->value, "true") == 0 || strcmp(o->value, "false") == 0;
      const bw_value_kind kind = number ? BW_VALUE_NUMBER : truth ? BW_VALUE_BOOL : BW_VALUE_STRING;
      if (bw_config_set(&config, o->path, kind, o->value, &error) != BW_OK) {
        fprintf(stderr, "%s\n", error.message);
        REQUIRE(false);
      }
    }
  }
  REQUIRE(bw_config_check(&config, &error) == BW_OK);
  return config;
}

static inline bool test_has_precision(bw_isa isa, bw_precision precision) {
  return bw_isa_available(isa) && (precision == BW_PRECISION_FP32 || bw_bf16_available(isa));
}

static inline bw_device* test_cpu_of(bw_isa isa, bw_precision precision, int threads) {
  bw_device* device = NULL;
  bw_error error;
  REQUIRE(bw_cpu_device_create(isa, precision, threads, &device, &error) == BW_OK);
  return device;
}

static inline bw_isa test_isa(void) {
  bw_isa isa;
  REQUIRE(bw_isa_choose(&isa, NULL) == BW_OK);
  return isa;
}

static inline bw_device* test_cpu(int threads) { return test_cpu_of(test_isa(), BW_PRECISION_FP32, threads); }

static inline bw_run* test_run(const bw_config* config, bw_device* device) {
  bw_run* run = NULL;
  bw_error error;
  const bw_status status = bw_run_create(config, device, 0, &run, &error);
  if (status != BW_OK) fprintf(stderr, "%s\n", error.message);
  REQUIRE(status == BW_OK);
  return run;
}

static inline bw_iteration test_iterate(bw_run* run, double progress) {
  bw_iteration iteration;
  bw_error error;
  const bw_status status = bw_run_iterate(run, progress, &iteration, &error);
  if (status != BW_OK) fprintf(stderr, "%s\n", error.message);
  REQUIRE(status == BW_OK);
  return iteration;
}

// FNV-1a over the weights' bits.
static inline uint64_t test_hash(bw_run* run) {
  const float* weights = NULL;
  REQUIRE(bw_run_weights(run, &weights, NULL) == BW_OK);
  uint64_t hash = 1469598103934665603u;
  for (int64_t i = 0; i < run->layout.parameters; ++i) {
    uint32_t bits;
    memcpy(&bits, &weights[i], 4);
    hash = (hash ^ bits) * 1099511628211u;
  }
  return hash;
}

#endif
