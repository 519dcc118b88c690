// Training: exact ratios, equal bits for any thread count, guards, the pool, checkpoints, and that it learns.
#include <math.h>

#include "../../csrc/backends/cpu_device.h"
#include "../../csrc/train/schedule.h"
#include "reference.h"
#include "train_helpers.h"

// Before the first step collection and update agree to the last bit, whatever the batch.
static void test_ratio_is_one(const char* game, const char* kind, const char* minibatch) {
  const test_option options[] = {{"net.kind", kind},           {"net.width", "50"},     {"net.depth", "3"},
                                 {"ppo.minibatch", minibatch}, {"rollout.batch", "33"}, {NULL, NULL}};
  const bw_config config = test_config(game, options);
  for (int i = 0; i < 2 * BW_ISA_COUNT; ++i) {
    const bw_isa isa = (bw_isa)(i / 2);
    const bw_precision precision = (bw_precision)(i % 2);
    if (!test_has_precision(isa, precision)) continue;
    bw_device* device = test_cpu_of(isa, precision, 2);
    bw_run* run = test_run(&config, device);
    for (int k = 0; k < 3; ++k) {
      const bw_iteration it = test_iterate(run, 0);
      CHECK(it.max_ratio_error == 0);
      CHECK(it.approx_kl > 0);  // and then it moves
    }
    bw_run_destroy(run);
    bw_device_destroy(device);
  }
}

static uint64_t hash_after(const test_option* options, const char* game, bw_precision precision, int threads,
                           int iterations) {
  const bw_config config = test_config(game, options);
  bw_device* device = test_cpu_of(test_isa(), precision, threads);
  bw_run* run = test_run(&config, device);
  for (int i = 0; i < iterations; ++i) test_iterate(run, i / (double)iterations);
  const uint64_t hash = test_hash(run);
  bw_run_destroy(run);
  bw_device_destroy(device);
  return hash;
}

static void test_threads_are_bit_equal(bw_precision precision) {
  const test_option plain[] = {{"net.width", "72"},
                               {"rollout.games", "300"},
                               {"ppo.minibatch", "100"},
                               {"ppo.shareStates", "true"},
                               {NULL, NULL}};
  const test_option deep[] = {{"net.kind", "resmlp"},
                              {"net.width", "64"},
                              {"net.depth", "4"},
                              {"rollout.opponents.pool", "5"},
                              {"rollout.opponents.every", "1"},
                              {"rollout.opponents.selfShare", "0.5"},
                              {"ppo.weightDecay", "0.1"},
                              {"ppo.optimizer", "muon"},
                              {NULL, NULL}};
  const uint64_t one = hash_after(plain, "tictactoe", precision, 1, 4);
  const uint64_t deep_one = hash_after(deep, "connect4", precision, 1, 3);
  for (int threads = 2; threads <= 5; ++threads) {
    CHECK(hash_after(plain, "tictactoe", precision, threads, 4) == one);
    CHECK(hash_after(deep, "connect4", precision, threads, 3) == deep_one);
  }
  if (precision != BW_PRECISION_FP32) {
    CHECK(hash_after(plain, "tictactoe", BW_PRECISION_FP32, 1, 4) != one);
    CHECK(hash_after(deep, "connect4", BW_PRECISION_FP32, 1, 3) != deep_one);
  }
  const test_option other_seed[] = {{"net.width", "72"},         {"rollout.games", "300"}, {"ppo.minibatch", "100"},
                                    {"ppo.shareStates", "true"}, {"run.seed", "12"},       {NULL, NULL}};
  CHECK(hash_after(other_seed, "tictactoe", precision, 1, 4) != one);
}

// Equal states that share a row give the same loss, entropy and gradient: with a learning rate of 0, since a step apart
// runs go apart. Minibatches of all sizes; the last one of an epoch is a short one.
static void test_shared_states(const char* game, const char* kind, const char* value, const char* minibatch) {
  bw_iteration iterations[2];
  double flops[2];
  bw_device* device = test_cpu(2);
  for (int shares = 0; shares < 2; ++shares) {
    const test_option options[] = {{"net.kind", kind},
                                   {"net.value", value},
                                   {"net.width", "16"},
                                   {"ppo.minibatch", minibatch},
                                   {"ppo.lr", "0"},
                                   {"ppo.klCoef", strcmp(value, "wdl") == 0 ? "0.1" : "0"},
                                   {"ppo.shareStates", shares ? "true" : "false"},
                                   {NULL, NULL}};
    const bw_config config = test_config(game, options);
    bw_run* run = test_run(&config, device);
    device->flops = 0;
    iterations[shares] = test_iterate(run, 0);
    flops[shares] = device->flops;
    CHECK(iterations[shares].max_ratio_error == 0);
    bw_run_destroy(run);
  }
  const bw_iteration *apart = &iterations[0], *shared = &iterations[1];
  CHECK(shared->samples == apart->samples && shared->updates == apart->updates);
  CHECK_NEAR(shared->policy_loss, apart->policy_loss, 1e-6);
  CHECK_NEAR(shared->value_loss, apart->value_loss, 1e-6);
  CHECK_NEAR(shared->entropy, apart->entropy, 1e-5);
  CHECK_NEAR(shared->grad_norm, apart->grad_norm, 1e-5 * apart->grad_norm);
  if (strcmp(minibatch, "1") != 0) CHECK(flops[1] < flops[0]);
  bw_device_destroy(device);
}

// Every optimiser, net and game learns to beat random play.
static void test_learns(const char* game, const char* kind, const char* optimizer, const char* chain,
                        const char* value) {
  const test_option options[] = {{"net.kind", kind},
                                 {"net.width", "32"},
                                 {"rollout.games", "256"},
                                 {"ppo.optimizer", optimizer},
                                 {"ppo.lr", "0.003"},
                                 {"ppo.epochs", "4"},
                                 {"ppo.chain", chain},
                                 {"net.value", value},
                                 {"net.observation", strcmp(value, "wdl") ? "stones" : "threats"},
                                 {NULL, NULL}};
  const bw_config config = test_config(game, options);
  bw_device* device = test_cpu(2);
  bw_run* run = test_run(&config, device);
  int64_t before[2][3], after[2][3];
  REQUIRE(bw_run_versus_random(run, 1000, false, before, NULL) == BW_OK);
  for (int i = 0; i < 30; ++i) test_iterate(run, 0);
  REQUIRE(bw_run_versus_random(run, 1000, false, after, NULL) == BW_OK);
  const int64_t wins_before = before[0][0] + before[1][0], wins_after = after[0][0] + after[1][0];
  CHECK_EQ_INT(before[0][0] + before[0][1] + before[0][2], 500);
  CHECK_MSG(wins_after > 650 && wins_after > wins_before + 100, "%s %s %s: %lld of 1000 wins, %lld before", game, kind,
            optimizer, (long long)wins_after, (long long)wins_before);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

// The emulated accelerator, whose memory is its own, trains like the CPU.
static void test_emu_trains(void) {
  const test_option options[] = {{"rollout.games", "48"},
                                 {"ppo.minibatch", "128"},
                                 {"ppo.lr", "0.003"},
                                 {"rollout.opponents.pool", "2"},
                                 {"rollout.opponents.selfShare", "0.5"},
                                 {"net.kind", "resmlp"},
                                 {NULL, NULL}};
  const bw_config config = test_config("tictactoe", options);
  bw_device* cpu = test_cpu(1);
  bw_device* emu = NULL;
  REQUIRE(bw_emu_device_create(2, 2, &emu, NULL) == BW_OK);
  bw_run* on_cpu = test_run(&config, cpu);
  bw_run* on_emu = test_run(&config, emu);
  for (int i = 0; i < 4; ++i) {
    const bw_iteration a = test_iterate(on_cpu, 0), b = test_iterate(on_emu, 0);
    CHECK_EQ_INT(a.samples, b.samples);
    CHECK_NEAR(a.policy_loss, b.policy_loss, 1e-3);
    CHECK_NEAR(a.value_loss, b.value_loss, 1e-3);
    CHECK_NEAR(a.entropy, b.entropy, 1e-3);
    CHECK(b.max_ratio_error < 1e-5);
  }
  bw_run_destroy(on_cpu);
  bw_run_destroy(on_emu);
  bw_device_destroy(cpu);
  bw_device_destroy(emu);
}

// A cancelled or failed iteration leaves no trace.
static void test_guards(void) {
  const test_option options[] = {{NULL, NULL}};
  const bw_config config = test_config("tictactoe", options);
  bw_device* device = test_cpu(2);
  bw_run* run = test_run(&config, device);
  bw_run* twin = test_run(&config, device);
  bw_iteration it;
  bw_error error;
  test_iterate(run, 0);
  test_iterate(twin, 0);
  const uint64_t hash = test_hash(run);

  atomic_store(&run->cancelled, 1);
  CHECK_EQ_INT(bw_run_iterate(run, 0, &it, &error), BW_CANCELLED);
  atomic_store(&run->cancelled, 0);
  CHECK(test_hash(run) == hash);
  CHECK_EQ_INT(run->iteration, 1);

  // A learning rate that blows the weights up.
  run->config.ppo_lr = 1e30;
  run->config.ppo_max_grad_norm = 0;
  CHECK_EQ_INT(bw_run_iterate(run, 0, &it, &error), BW_NUMERIC);
  CHECK(error.path[0] != 0 && error.step > 0);
  CHECK(test_hash(run) == hash);
  CHECK_EQ_INT(run->updates, twin->updates);
  run->config = config;

  test_iterate(run, 0);
  test_iterate(twin, 0);
  CHECK(test_hash(run) == test_hash(twin));

  // NaN that sits in one weight is named.
  float* weights = malloc((size_t)run->layout.parameters * sizeof *weights);
  REQUIRE(weights != NULL);
  const float* current = NULL;
  REQUIRE(bw_run_weights(run, &current, NULL) == BW_OK);
  memcpy(weights, current, (size_t)run->layout.parameters * sizeof *weights);
  weights[run->layout.weight[1] + 5] = NAN;
  REQUIRE(bw_run_set_weights(run, weights, NULL) == BW_OK);
  const char* tensor = NULL;
  CHECK(!bw_run_weights_finite(run, &tensor));
  CHECK_EQ_STR(tensor, "trunk.1.weight");
  CHECK_EQ_INT(bw_run_iterate(run, 0, &it, &error), BW_NUMERIC);
  free(weights);
  bw_run_destroy(run);
  bw_run_destroy(twin);
  bw_device_destroy(device);
}

static int64_t panels_of(bw_device* device, int64_t columns) {
  const int panel = ((bw_cpu_device*)device)->gemm->panel;
  return (columns + panel - 1) / panel;
}

// Launches that are put off and run together give the bits of launches one by one: any net, optimiser and number of
// threads, minibatches that are not a multiple of anything. Wide nets with few rows go by columns (cpu_group.c).
static void test_groups(bw_precision precision) {
  static const char* const kRuns[][4] = {{"mlp", "adamw", "72", "77"},
                                         {"resmlp", "adamw", "72", "77"},
                                         {"resmlp", "muon", "72", "77"},
                                         {"mlp", "adamw", "168", "37"},
                                         {"resmlp", "adamw", "168", "37"}};
  for (size_t k = 0; k < sizeof kRuns / sizeof kRuns[0]; ++k) {
    const test_option options[] = {{"net.kind", kRuns[k][0]},
                                   {"net.width", kRuns[k][2]},
                                   {"net.depth", "4"},
                                   {"ppo.optimizer", kRuns[k][1]},
                                   {"ppo.weightDecay", "0.01"},
                                   {"ppo.minibatch", kRuns[k][3]},
                                   {"ppo.shareStates", k % 2 ? "true" : "false"},
                                   {"rollout.opponents.pool", "2"},
                                   {"rollout.opponents.selfShare", "0.5"},
                                   {NULL, NULL}};
    const bw_config config = test_config("connect4", options);
    uint64_t wanted = 0;
    for (int threads = 0; threads <= 12; threads += threads < 6 ? 1 : 3) {  // 0: one by one
      bw_device* device = test_cpu_of(test_isa(), precision, threads ? threads : 2);
      bw_backend plain = *device->backend;
      plain.run_group = NULL;
      plain.linear_update = NULL;
      if (threads == 0) device->backend = &plain;
      bw_run* run = test_run(&config, device);
      for (int i = 0; i < 3; ++i) test_iterate(run, 0);
      if (threads == 0) wanted = test_hash(run);
      bool grouped = false;  // else this would compare launches one by one with themselves
      for (int s = 0; s < device->prof.count; ++s) grouped = grouped || !strcmp(device->prof.spans[s].name, "barrier");
      CHECK(grouped == (threads > 0));
      const bool by_columns = threads >= 2 && panels_of(device, atoi(kRuns[k][2])) % threads == 0;
      const bool met = bw_pool_meetings(bw_cpu_device_pool(device)) > 0;
      if (k >= 3) CHECK(met == by_columns);  // of the others the last minibatch may, where it is small
      CHECK_MSG(test_hash(run) == wanted, "%s, %s, %s wide: bits on %d threads are not those of launches one by one",
                kRuns[k][0], kRuns[k][1], kRuns[k][2], threads);
      bw_run_destroy(run);
      bw_device_destroy(device);
    }
  }
}

static void test_schedules(void) {
  CHECK_NEAR(bw_schedule(BW_SCHEDULE_CONSTANT, 3, 0.1, 0.7), 3, 1e-12);
  CHECK_NEAR(bw_schedule(BW_SCHEDULE_LINEAR, 2, 0.1, 0), 2, 1e-12);
  CHECK_NEAR(bw_schedule(BW_SCHEDULE_LINEAR, 2, 0.1, 0.5), 1.1, 1e-12);
  CHECK_NEAR(bw_schedule(BW_SCHEDULE_LINEAR, 2, 0.1, 1), 0.2, 1e-12);
  CHECK_NEAR(bw_schedule(BW_SCHEDULE_COSINE, 2, 0, 0.5), 1, 1e-12);
  CHECK_NEAR(bw_schedule(BW_SCHEDULE_COSINE, 2, 0, 1), 0, 1e-12);
  CHECK_NEAR(bw_schedule(BW_SCHEDULE_COSINE, 2, 0, 7), 0, 1e-12);  // beyond the end
  CHECK_NEAR(bw_warmup(0, 0), 1, 1e-12);
  CHECK_NEAR(bw_warmup(0.2, 0), 0.1, 1e-12);
  CHECK_NEAR(bw_warmup(0.2, 0.1), 0.55, 1e-12);
  CHECK_NEAR(bw_warmup(0.2, 0.2), 1, 1e-12);
  CHECK_NEAR(bw_warmup(0.2, 0.9), 1, 1e-12);
  CHECK_NEAR(bw_warmup(1, 1), 1, 1e-12);
  const test_option options[] = {
      {"ppo.lrSchedule", "linear"}, {"ppo.lrFinal", "0.5"}, {"ppo.entropySchedule", "cosine"}, {NULL, NULL}};
  const test_option scaled[] = {{"ppo.warmup", "0.5"},
                                {"ppo.lrSchedule", "constant"},
                                {"ppo.minibatch", "32"},
                                {"ppo.lrMinibatch", "8"},
                                {NULL, NULL}};
  const bw_config config = test_config("tictactoe", options);
  bw_device* device = test_cpu(1);
  bw_run* run = test_run(&config, device);
  CHECK_NEAR(test_iterate(run, 0).lr, config.ppo_lr, 1e-12);
  CHECK_NEAR(test_iterate(run, 1).lr, 0.5 * config.ppo_lr, 1e-12);
  CHECK_NEAR(test_iterate(run, 1).entropy_coef, 0, 1e-12);
  bw_run_destroy(run);
  const bw_config warm = test_config("tictactoe", scaled);
  run = test_run(&warm, device);
  CHECK_NEAR(test_iterate(run, 0).lr, 2 * 0.1 * warm.ppo_lr, 1e-12);
  CHECK_NEAR(test_iterate(run, 0.25).lr, 2 * 0.55 * warm.ppo_lr, 1e-12);
  CHECK_NEAR(test_iterate(run, 0.5).lr, 2 * warm.ppo_lr, 1e-12);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

static void test_kl_stop(void) {
  const test_option options[] = {{"ppo.epochs", "10"}, {"ppo.lr", "0.01"}, {"ppo.targetKl", "0.0001"}, {NULL, NULL}};
  const bw_config config = test_config("tictactoe", options);
  bw_device* device = test_cpu(1);
  bw_run* run = test_run(&config, device);
  const bw_iteration it = test_iterate(run, 0);
  CHECK(it.epochs < 10);
  CHECK(it.approx_kl > 0.0001);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

// The penalty holds the policy back, and its weight goes where the target wants it.
static void test_kl_penalty(void) {
  double kl[2];
  for (int i = 0; i < 2; ++i) {
    const test_option options[] = {
        {"ppo.epochs", "10"}, {"ppo.lr", "0.01"}, {"ppo.klCoef", i == 0 ? "1e-9" : "3"}, {NULL, NULL}};
    const bw_config config = test_config("tictactoe", options);
    bw_device* device = test_cpu(1);
    bw_run* run = test_run(&config, device);
    kl[i] = test_iterate(run, 0).approx_kl;
    CHECK_EQ_INT(run->kl_doublings, 0);
    bw_run_destroy(run);
    bw_device_destroy(device);
  }
  CHECK_MSG(kl[1] > 0 && kl[1] < 0.5 * kl[0], "KL %g with the penalty, %g without", kl[1], kl[0]);

  static const struct {
    const char* target;
    int64_t doublings;
  } kCases[] = {{"1e-9", 3}, {"100", -3}};
  for (int i = 0; i < 2; ++i) {
    const test_option options[] = {{"ppo.klCoef", "1"}, {"ppo.klTarget", kCases[i].target}, {NULL, NULL}};
    const bw_config config = test_config("tictactoe", options);
    bw_device* device = test_cpu(1);
    bw_run* run = test_run(&config, device);
    for (int k = 0; k < 3; ++k) test_iterate(run, 0);
    CHECK_EQ_INT(run->kl_doublings, kCases[i].doublings);
    bw_iteration it;
    atomic_store(&run->cancelled, 1);
    CHECK_EQ_INT(bw_run_iterate(run, 0, &it, NULL), BW_CANCELLED);
    atomic_store(&run->cancelled, 0);
    CHECK_EQ_INT(run->kl_doublings, kCases[i].doublings);
    for (int k = 0; k < 30; ++k) test_iterate(run, 0);
    CHECK_EQ_INT(run->kl_doublings, kCases[i].doublings > 0 ? BW_KL_DOUBLINGS : -BW_KL_DOUBLINGS);
    bw_run_destroy(run);
    bw_device_destroy(device);
  }
}

// Which snapshots stay, over many evictions.
static void test_pool(const char* eviction, const char* sampling) {
  const test_option options[] = {{"rollout.opponents.pool", "8"},
                                 {"rollout.opponents.selfShare", "0"},
                                 {"rollout.opponents.eviction", eviction},
                                 {"rollout.opponents.sampling", sampling},
                                 {NULL, NULL}};
  const bool keep_first = strcmp(eviction, "keepFirst") == 0;
  bw_device* device = test_cpu(1);
  double mean = 0;
  enum { RUNS = 60, SNAPSHOTS = 100 };
  for (int seed = 0; seed < RUNS; ++seed) {
    bw_config config = test_config("tictactoe", options);
    config.run_seed = seed;
    bw_run* run = test_run(&config, device);
    for (int i = 1; i < SNAPSHOTS; ++i) bw_opponents_snapshot(run);
    CHECK_EQ_INT(run->member_count, 8);
    unsigned rows = 0;
    for (int i = 0; i < 8; ++i) {
      rows |= 1u << run->members[i].row;
      if (i > 0) CHECK(run->members[i].number > run->members[i - 1].number);
      mean += (double)run->members[i].number / (double)(8 * RUNS);
    }
    CHECK_EQ_INT(rows, 0xFF);  // every row is in use once
    if (keep_first) {
      CHECK_EQ_INT(run->members[0].number, 1);
      for (int i = 1; i < 8; ++i) CHECK_EQ_INT(run->members[i].number, SNAPSHOTS - 7 + i);
    }
    if (seed == 0) {
      int drawn[8] = {0};
      for (uint32_t i = 0; i < 36000; ++i) ++drawn[bw_opponents_draw(run, i * 119304u)];
      for (int i = 0; i < 8; ++i) {
        const double expected = strcmp(sampling, "latest") == 0    ? (i == 7 ? 36000 : 0)
                                : strcmp(sampling, "recency") == 0 ? 1000.0 * (i + 1)
                                                                   : 4500;
        CHECK_NEAR(drawn[i], expected, 3);
      }
    }
    bw_run_destroy(run);
  }
  // A uniform sample of 1 .. 100 has mean 50.5; 480 draws: standard error about 1.3.
  if (!keep_first) CHECK_NEAR(mean, 50.5, 6);
  bw_device_destroy(device);
}

// The agent's scores against the members: who is met how often, and that games fade.
static void test_pfsp(void) {
  const test_option options[] = {{"rollout.opponents.pool", "4"},
                                 {"rollout.opponents.selfShare", "0.25"},
                                 {"rollout.opponents.every", "1"},
                                 {"rollout.opponents.eviction", "keepFirst"},
                                 {"rollout.opponents.sampling", "pfsp"},
                                 {"rollout.opponents.pfspPower", "1.5"},
                                 {"rollout.opponents.pfspHalfLife", "2"},
                                 {"rollout.games", "100"},
                                 {NULL, NULL}};
  const bw_config config = test_config("tictactoe", options);
  bw_device* device = test_cpu(1);
  bw_run* run = test_run(&config, device);
  double points[16] = {0}, games[16] = {0};  // by snapshot number, in double
  for (int iteration = 0; iteration < 9; ++iteration) {
    int64_t numbers[4] = {0};
    for (int i = 0; i < run->member_count; ++i) {
      numbers[i] = run->members[i].number;
      points[numbers[i]] *= sqrt(0.5);
      games[numbers[i]] *= sqrt(0.5);
    }
    test_iterate(run, 0);
    for (int64_t g = 0; g < config.rollout_games; ++g) {
      const bw_game_setup* setup = &run->setups[g];
      if (setup->opponent == 0) continue;
      const int64_t number = numbers[setup->opponent - 1];
      const int outcome = run->host_outcomes[g];
      games[number] += 1;
      points[number] += outcome == BW_OUTCOME_DRAW ? 0.5 : (outcome == BW_OUTCOME_FIRST) == (setup->seat == 0);
    }
    for (int i = 0; i < run->member_count; ++i) {  // moved with their members when others were evicted
      const bw_member* member = &run->members[i];
      CHECK_NEAR(member->scores[0].points, points[member->number], 1e-4);
      CHECK_NEAR(member->scores[0].games, games[member->number], 1e-4);
    }
  }
  CHECK_EQ_INT(run->member_count, 4);
  CHECK(run->members[0].scores[0].games > 10);

  // Draws in proportion to (1 - w)^1.5; the third was never met, so w is 1/2.
  static const float kScores[4][2] = {{9, 10}, {0, 3}, {0, 0}, {20, 20}};
  double weights[4], sum = 0;
  for (int i = 0; i < 4; ++i) {
    run->members[i].scores[0] = (bw_score){kScores[i][0], kScores[i][1]};
    sum += weights[i] = pow(1 - ((double)kScores[i][0] + 0.5) / ((double)kScores[i][1] + 1), 1.5);
  }
  bw_opponents_weigh(run);
  int drawn[4] = {0};
  enum { DRAWS = 100000 };
  for (uint32_t i = 0; i < DRAWS; ++i) ++drawn[bw_opponents_draw(run, i * (UINT32_MAX / DRAWS))];
  for (int i = 0; i < 4; ++i) CHECK_NEAR(drawn[i], DRAWS * weights[i] / sum, 4);
  CHECK(drawn[3] > 0);
  CHECK_EQ_INT(bw_opponents_draw(run, 0), 0);
  CHECK_EQ_INT(bw_opponents_draw(run, UINT32_MAX), 3);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

// A run that is saved, loaded into a new one and continued equals one that was never interrupted.
static void test_checkpoint(bool bundled, const char* sampling) {
  const test_option options[] = {{"rollout.opponents.pool", "3"},
                                 {"rollout.opponents.every", "1"},
                                 {"rollout.opponents.selfShare", "0.5"},
                                 {"net.value", bundled ? "wdl" : "scalar"},
                                 {"net.observation", bundled ? "threats" : "stones"},
                                 {"ppo.klCoef", bundled ? "0.1" : "0"},
                                 {"ppo.klTarget", bundled ? "0.0001" : "0"},
                                 {"rollout.opponents.sampling", sampling},
                                 {"ppo.lrSchedule", "linear"},
                                 {NULL, NULL}};
  const bw_config config = test_config("tictactoe", options);
  bw_device* device = test_cpu(2);
  bw_run* whole = test_run(&config, device);
  for (int i = 0; i < 5; ++i) test_iterate(whole, i / 8.0);
  const bw_metadata extra[] = {{.key = "config", .value = "{\"a\":\"\\u00e9\"}"}};
  uint8_t* bytes = NULL;
  size_t size = 0;
  bw_error error;
  REQUIRE(bw_run_save(whole, bundled, extra, 1, &bytes, &size, &error) == BW_OK);

  bw_run* resumed = test_run(&config, device);
  REQUIRE(bw_run_load(resumed, bytes, size, &error) == BW_OK);
  CHECK(test_hash(resumed) == test_hash(whole));
  CHECK_EQ_INT(resumed->iteration, 5);
  CHECK_EQ_INT(resumed->kl_doublings, whole->kl_doublings);
  CHECK((resumed->kl_doublings != 0) == bundled);
  CHECK_EQ_INT(resumed->member_count, whole->member_count);
  if (!bundled) {
    float* weights = malloc((size_t)config.rollout_games * 0 + (size_t)whole->layout.parameters * 4);
    REQUIRE(weights != NULL);
    for (int i = 0; i < whole->member_count; ++i) {
      REQUIRE(bw_download_real(device, weights, bw_opponents_weights(whole, i), whole->layout.parameters, NULL) ==
              BW_OK);
      REQUIRE(bw_upload_real(device, bw_opponents_weights(resumed, i), weights, whole->layout.parameters, NULL) ==
              BW_OK);
    }
    free(weights);
  }
  for (int i = 5; i < 8; ++i) {
    const bw_iteration a = test_iterate(whole, i / 8.0), b = test_iterate(resumed, i / 8.0);
    CHECK_EQ_INT(a.total_games, b.total_games);
    CHECK(a.policy_loss == b.policy_loss && a.win == b.win);
  }
  CHECK(test_hash(resumed) == test_hash(whole));

  // Damage is refused and changes nothing: every prefix that could end a write, and another shape of net.
  const uint64_t hash = test_hash(resumed);
  for (size_t cut = 0; cut < size; cut += 1 + size / 97) {
    CHECK_EQ_INT(bw_run_load(resumed, bytes, cut, &error), BW_CHECKPOINT);
  }
  const test_option wider[] = {{"rollout.opponents.pool", "3"}, {"net.width", "20"}, {NULL, NULL}};
  const bw_config other_config = test_config("tictactoe", wider);
  bw_run* other = test_run(&other_config, device);
  CHECK_EQ_INT(bw_run_load(other, bytes, size, &error), BW_CHECKPOINT);
  CHECK_EQ_STR(error.path, "trunk.0.weight");
  // The last number of the last tensor.
  const bool scores = strcmp(sampling, "pfsp") == 0;
  static const float numbers[] = {NAN, INFINITY, -INFINITY, -1};
  for (int i = 0; i < (bundled && !scores ? 3 : 4); ++i) {
    memcpy(bytes + size - 4, &numbers[i], 4);
    CHECK_EQ_INT(bw_run_load(resumed, bytes, size, &error), BW_CHECKPOINT);
    CHECK_EQ_STR(error.path, scores ? "opponents.scores" : bundled ? "opponents.weights" : "optimizer.second_moment");
  }
  CHECK(test_hash(resumed) == hash);
  free(bytes);
  bw_run_destroy(other);
  bw_run_destroy(whole);
  bw_run_destroy(resumed);
  bw_device_destroy(device);
}

// Outcomes predicted by a head of win, draw and loss: its value is the one that inference reports, and the prediction
// of games between equals gets better.
static void test_outcomes_are_learned(void) {
  const test_option options[] = {
      {"net.value", "wdl"}, {"rollout.games", "256"}, {"ppo.lr", "0.003"}, {"ppo.gamma", "1"}, {NULL, NULL}};
  const bw_config config = test_config("tictactoe", options);
  bw_device* device = test_cpu(2);
  bw_run* run = test_run(&config, device);
  CHECK_EQ_INT(bw_net_outputs(&run->layout.shape), 12);
  const bw_iteration first = test_iterate(run, 0);
  bw_iteration last = first;
  for (int i = 0; i < 30; ++i) last = test_iterate(run, 0);
  CHECK_MSG(first.value_loss > 0.5 && last.value_loss < first.value_loss - 0.05, "cross-entropy %g, then %g",
            first.value_loss, last.value_loss);
  CHECK_MSG(last.explained_variance > 0.05, "explained variance %g", last.explained_variance);

  // One move from winning, and against two threats at once; rows beyond a chunk of the conversion.
  unsigned char winning[64], losing[64];
  REQUIRE(bw_game_parse(run->game, "1425", winning, NULL) == BW_OK);
  REQUIRE(bw_game_parse(run->game, "12749", losing, NULL) == BW_OK);
  enum { ROWS = 700 };
  const size_t bytes = run->game->state_bytes;
  unsigned char* states = malloc(ROWS * bytes);
  float* heads = malloc(ROWS * 10 * sizeof *heads);
  REQUIRE(states && heads);
  for (size_t i = 0; i < ROWS; ++i) memcpy(states + i * bytes, i % 2 ? losing : winning, bytes);
  REQUIRE(bw_run_infer(run, states, ROWS, heads, NULL) == BW_OK);
  for (size_t i = 0; i < ROWS; ++i) {
    CHECK(heads[i * 10 + 9] >= -1 && heads[i * 10 + 9] <= 1);
    for (int k = 0; k < 10; ++k) CHECK(heads[i * 10 + (size_t)k] == heads[i % 2 * 10 + (size_t)k]);
  }
  CHECK_MSG(heads[9] > heads[19], "a won position is worth %g, a lost one %g", (double)heads[9], (double)heads[19]);
  free(states);
  free(heads);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

// The reservoir of start positions goes on where it was; moves that are none are refused.
static void test_starts_checkpoint(void) {
  const test_option options[] = {{"rollout.starts.share", "0.5"},
                                 {"rollout.starts.capacity", "30"},
                                 {"rollout.starts.threshold", "-0.5"},
                                 {NULL, NULL}};
  const bw_config config = test_config("connect4", options);
  bw_device* device = test_cpu(2);
  bw_run* whole = test_run(&config, device);
  bw_run* resumed = test_run(&config, device);
  uint8_t* bytes = NULL;
  size_t size = 0;
  bw_error error;
  REQUIRE(bw_run_save(whole, true, NULL, 0, &bytes, &size, &error) == BW_OK);  // an empty one
  REQUIRE(bw_run_load(resumed, bytes, size, &error) == BW_OK);
  free(bytes);
  for (int i = 0; i < 3; ++i) test_iterate(whole, 0);
  CHECK_EQ_INT(whole->starts.lost.count, 30);
  REQUIRE(bw_run_save(whole, true, NULL, 0, &bytes, &size, &error) == BW_OK);
  REQUIRE(bw_run_load(resumed, bytes, size, &error) == BW_OK);
  CHECK_EQ_INT(resumed->starts.seen, whole->starts.seen);
  for (int i = 0; i < 3; ++i) {
    test_iterate(whole, 0);
    test_iterate(resumed, 0);
  }
  CHECK(test_hash(resumed) == test_hash(whole));
  CHECK(memcmp(resumed->starts.lost.moves, whole->starts.lost.moves, (size_t)(30 * whole->game->max_plies)) == 0);

  const uint64_t hash = test_hash(resumed);
  uint8_t* moves = bytes + size - (size_t)(30 * whole->game->max_plies);  // the last tensor
  static const uint8_t kBad[] = {8, 255};                                 // no column
  for (int i = 0; i < 2; ++i) {
    const uint8_t good = moves[0];
    moves[0] = kBad[i];
    CHECK_EQ_INT(bw_run_load(resumed, bytes, size, &error), BW_CHECKPOINT);
    CHECK_EQ_STR(error.path, "starts.moves");
    moves[0] = good;
  }
  memset(moves, 3, 7);  // seven stones in a column of six
  CHECK_EQ_INT(bw_run_load(resumed, bytes, size, &error), BW_CHECKPOINT);
  memcpy(moves, (uint8_t[]){1, 2, 1, 2, 1, 2, 1, 0}, 8);  // four in a column: over
  CHECK_EQ_INT(bw_run_load(resumed, bytes, size, &error), BW_CHECKPOINT);
  memset(moves, 0, (size_t)whole->game->max_plies);
  moves[5] = 1;  // a gap
  CHECK_EQ_INT(bw_run_load(resumed, bytes, size, &error), BW_CHECKPOINT);
  CHECK(test_hash(resumed) == hash);
  free(bytes);
  bw_run_destroy(whole);
  bw_run_destroy(resumed);
  bw_device_destroy(device);
}

static void test_parameter_counts(void) {
  bw_net_layout layout;
  bw_net_layout_make(&layout,
                     (bw_net_shape){.kind = BW_NET_KIND_MLP, .inputs = 27, .actions = 9, .width = 256, .depth = 4});
  CHECK_EQ_INT(layout.parameters, 207114);
  bw_net_layout_make(&layout,
                     (bw_net_shape){.kind = BW_NET_KIND_RESMLP, .inputs = 126, .actions = 7, .width = 256, .depth = 6});
  CHECK_EQ_INT(layout.parameters, 366600);
  bw_net_layout_make(&layout,
                     (bw_net_shape){.kind = BW_NET_KIND_RESMLP, .inputs = 126, .actions = 7, .width = 8, .depth = 64});
  CHECK(layout.tensor_count <= BW_NET_MAX_TENSORS);
}

int main(void) {
  test_parameter_counts();
  test_groups(BW_PRECISION_FP32);
  if (test_has_precision(test_isa(), BW_PRECISION_BF16)) test_groups(BW_PRECISION_BF16);
  test_schedules();
  test_ratio_is_one("tictactoe", "mlp", "64");
  test_ratio_is_one("tictactoe", "resmlp", "1");
  test_ratio_is_one("connect4", "mlp", "7");
  test_ratio_is_one("connect4", "resmlp", "512");
  test_threads_are_bit_equal(BW_PRECISION_FP32);
  if (test_has_precision(test_isa(), BW_PRECISION_BF16)) test_threads_are_bit_equal(BW_PRECISION_BF16);
  test_shared_states("tictactoe", "mlp", "scalar", "64");
  test_shared_states("tictactoe", "resmlp", "wdl", "33");
  test_shared_states("tictactoe", "mlp", "scalar", "1");
  test_shared_states("tictactoe", "mlp", "wdl", "100000");
  test_shared_states("connect4", "resmlp", "scalar", "129");
  test_guards();
  test_kl_stop();
  test_kl_penalty();
  test_pool("reservoir", "uniform");
  test_pool("reservoir", "recency");
  test_pool("keepFirst", "latest");
  test_pfsp();
  test_starts_checkpoint();
  test_checkpoint(true, "uniform");
  test_checkpoint(false, "recency");
  test_checkpoint(true, "pfsp");
  test_checkpoint(false, "pfsp");
  test_learns("tictactoe", "mlp", "adamw", "ply", "scalar");
  test_learns("tictactoe", "resmlp", "muon", "player", "scalar");
  test_learns("tictactoe", "mlp", "adamw", "player", "wdl");
  test_learns("connect4", "mlp", "muon", "player", "scalar");
  test_learns("connect4", "resmlp", "adamw", "ply", "scalar");
  test_learns("connect4", "resmlp", "adamw", "ply", "wdl");
  test_outcomes_are_learned();
  test_emu_trains();
  return check_summary("train");
}
