// The league: scores that fade and are reset, who is drawn, when exploiters are frozen, what a failure and a checkpoint
// leave, equal bits for any thread count, and that the main agent learns.
#include "policy_reference.h"
#include "train_helpers.h"

static bw_config league_config(const char* game, const test_option* options) {
  test_option all[24] = {{"league.enabled", "true"},    {"league.every", "2"},    {"league.size", "6"},
                         {"league.minIterations", "1"}, {"rollout.games", "100"}, {NULL, NULL}};
  int count = 5;
  for (const test_option* o = options; o && o->path; ++o) all[count++] = *o;
  all[count] = (test_option){NULL, NULL};
  return test_config(game, all);
}

static uint8_t* saved(bw_run* run, bool bundled, size_t* size) {
  uint8_t* bytes = NULL;
  bw_error error;
  REQUIRE(bw_run_save(run, bundled, NULL, 0, &bytes, size, &error) == BW_OK);
  return bytes;
}

// A file has weights, moments, scores and counters of all learners, so equal files are equal runs.
static bool same_state(bw_run* a, bw_run* b) {
  size_t sizes[2];
  uint8_t* files[2] = {saved(a, true, &sizes[0]), saved(b, true, &sizes[1])};
  const bool same = sizes[0] == sizes[1] && memcmp(files[0], files[1], sizes[0]) == 0;
  free(files[0]);
  free(files[1]);
  return same;
}

static float* vector_of(bw_run* run, bw_ref ref) {
  float* values = malloc((size_t)run->layout.parameters * sizeof *values);
  REQUIRE(values != NULL);
  REQUIRE(bw_run_download_parameters(run, values, ref, NULL) == BW_OK);
  return values;
}

static bool same_vector(bw_run* run, bw_ref a, bw_ref b) {
  float* first = vector_of(run, a);
  float* second = vector_of(run, b);
  const bool same = memcmp(first, second, (size_t)run->layout.parameters * sizeof *first) == 0;
  free(first);
  free(second);
  return same;
}

static bool is_zero(bw_run* run, bw_ref ref) {
  float* values = vector_of(run, ref);
  bool zero = true;
  for (int64_t i = 0; i < run->layout.parameters; ++i) zero = zero && values[i] == 0;
  free(values);
  return zero;
}

// A game counts half after the half life; a game of the main agent against an exploiter is one of both.
static void test_scores_fade(void) {
  const test_option options[] = {{"rollout.opponents.pfspHalfLife", "2"}, {NULL, NULL}};
  const bw_config config = league_config("tictactoe", options);
  bw_device* device = test_cpu(1);
  bw_run* run = test_run(&config, device);
  bw_opponents_add(run, bw_league_part(run, BW_ROLE_LEAGUE_EXPLOITER, 0), BW_ROLE_LEAGUE_EXPLOITER);
  CHECK_EQ_INT(run->member_count, 2);
  memset(run->setups, 0, (size_t)config.rollout_games * sizeof *run->setups);
  // Game 0: first, won; game 1: second, won; game 2: drawn; game 3: first, lost; the others against itself.
  static const int32_t kOutcomes[] = {BW_OUTCOME_FIRST, BW_OUTCOME_SECOND, BW_OUTCOME_DRAW, BW_OUTCOME_SECOND};
  for (int g = 0; g < config.rollout_games; ++g) {
    run->host_outcomes[g] = g < 4 ? kOutcomes[g] : BW_OUTCOME_FIRST;
    run->setups[g].seat = g == 1;
  }
  const bw_score* member = run->members[1].scores;
  const bw_learner* learners = run->league.learners;

  run->role = BW_ROLE_LEAGUE_EXPLOITER;
  for (int g = 0; g < 4; ++g) run->setups[g].opponent = 2;
  bw_opponents_score(run);
  CHECK_NEAR(member[run->role].points, 2.5, 1e-6);
  CHECK_NEAR(member[run->role].games, 4, 1e-6);
  for (int g = 0; g < 4; ++g) run->setups[g].opponent = 0;
  bw_opponents_score(run);
  bw_opponents_score(run);  // a half life later
  CHECK_NEAR(member[run->role].points, 1.25, 1e-6);
  CHECK_NEAR(member[run->role].games, 2, 1e-6);
  for (int role = 0; role < 2; ++role) CHECK(member[role].games == 0 && member[role].points == 0);
  for (int role = 0; role < BW_ROLES; ++role) CHECK(run->members[0].scores[role].games == 0);

  run->role = BW_ROLE_MAIN_EXPLOITER;
  for (int g = 0; g < 4; ++g) run->setups[g].opponent = bw_league_opponent(run, BW_ROLE_MAIN);
  bw_opponents_score(run);
  CHECK_NEAR(learners[BW_ROLE_MAIN_EXPLOITER].versus_main.points, 2.5, 1e-6);
  CHECK_NEAR(bw_league_share(run, BW_ROLE_MAIN_EXPLOITER), 3.0 / 5, 1e-6);
  run->role = BW_ROLE_MAIN;
  for (int g = 0; g < 4; ++g) run->setups[g].opponent = bw_league_opponent(run, BW_ROLE_MAIN_EXPLOITER);
  bw_opponents_score(run);  // the other way round, and of the same iteration: it fades nothing
  CHECK_NEAR(learners[BW_ROLE_MAIN_EXPLOITER].versus_main.points, 2.5 + 1.5, 1e-6);
  CHECK_NEAR(learners[BW_ROLE_MAIN_EXPLOITER].versus_main.games, 8, 1e-6);
  CHECK(learners[BW_ROLE_LEAGUE_EXPLOITER].versus_main.games == 0);
  for (int g = 0; g < 4; ++g) run->setups[g].opponent = 0;
  run->role = BW_ROLE_MAIN_EXPLOITER;
  for (int i = 0; i < 2; ++i) bw_opponents_score(run);
  CHECK_NEAR(learners[BW_ROLE_MAIN_EXPLOITER].versus_main.points, 2, 1e-6);
  CHECK_NEAR(learners[BW_ROLE_MAIN_EXPLOITER].versus_main.games, 4, 1e-6);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

// Every game of an iteration is counted where it belongs, and everybody's compute is in the sums.
static void test_games_are_counted(void) {
  const bw_config config = league_config("connect4", NULL);
  bw_device* device = test_cpu(1);
  bw_run* run = test_run(&config, device);
  const bw_iteration it = test_iterate(run, 0);
  const bw_learner* learners = run->league.learners;
  double self = 0, live[BW_ROLES] = {0};
  for (int64_t g = 0; g < config.rollout_games; ++g) {
    const int role = run->setups[g].opponent > 1 ? run->setups[g].opponent - 2 : -1;  // one member, nobody pinned
    self += run->setups[g].opponent == 0;
    if (role >= 0) ++live[role];
  }
  const bw_score* initial = run->members[0].scores;
  CHECK(self > 20 && self < 50 && live[0] == 0 && live[1] > 2 && live[2] > 2);
  CHECK_NEAR(initial[BW_ROLE_MAIN].games, 100 - self - live[1] - live[2], 1e-6);
  CHECK_NEAR(initial[BW_ROLE_MAIN_EXPLOITER].games, 0, 1e-6);
  CHECK_NEAR(learners[BW_ROLE_MAIN_EXPLOITER].versus_main.games, 100 + live[1], 1e-4);
  CHECK_NEAR(initial[BW_ROLE_LEAGUE_EXPLOITER].games, 100, 1e-6);
  CHECK_NEAR(learners[BW_ROLE_LEAGUE_EXPLOITER].versus_main.games, live[2], 1e-4);
  CHECK(it.league);
  CHECK_EQ_INT(it.games, 300);
  CHECK_EQ_INT(it.total_games, 300);
  CHECK_EQ_INT(it.samples, it.roles[0].samples + it.roles[1].samples + it.roles[2].samples);
  CHECK_EQ_INT(it.total_samples, it.samples);
  CHECK_NEAR(it.roles[0].sample_share + it.roles[1].sample_share + it.roles[2].sample_share, 1, 1e-12);
  CHECK_NEAR(it.roles[1].sample_share, (double)it.roles[1].samples / (double)it.samples, 1e-12);
  CHECK(it.roles[1].samples > 0 && it.roles[2].samples > 0);
  CHECK(it.flops > run->league.iterations[0].flops + run->league.iterations[1].flops);
  CHECK_EQ_INT(run->role, BW_ROLE_MAIN);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

// One iteration's end with these scores of an exploiter, as if it had so many iterations. True when it was frozen.
static bool is_frozen(bw_run* run, int role, float points, float games, int64_t iterations) {
  bw_learner* learner = &run->league.learners[role];
  const int64_t before = learner->frozen;
  learner->iterations = iterations - 1;
  for (int other = 1; other < BW_ROLES; ++other) {
    if (other != role) run->league.learners[other].iterations = 0;
  }
  learner->versus_main = (bw_score){points, games};
  for (int i = 0; i < run->member_count; ++i) run->members[i].scores[role] = (bw_score){points, games};
  bw_iteration it = {0};
  run->iteration = 1;  // no turn of the main agent's to be frozen
  bw_league_finish(run, &it);
  CHECK_EQ_INT(it.roles[role].frozen, learner->frozen);
  CHECK_EQ_INT(it.roles[role].iterations, iterations);
  return learner->frozen > before;
}

// Frozen exactly at the thresholds; then reset: weights, moments, counters and the row of its scores.
static void test_thresholds(int role, const char* reset) {
  const test_option options[] = {{"league.minIterations", "5"},
                                 {"league.maxIterations", "9"},
                                 {"league.reset", reset},
                                 {"ppo.klCoef", "0.1"},
                                 {"ppo.klTarget", "0.00001"},
                                 {"ppo.lr", "0.004"},
                                 {NULL, NULL}};
  const bw_config config = league_config("tictactoe", options);
  const bool anew = role == BW_ROLE_MAIN_EXPLOITER || strcmp(reset, "1") == 0;
  bw_device* device = test_cpu(1);
  bw_run* run = test_run(&config, device);
  test_iterate(run, 0);
  bw_learner* learner = &run->league.learners[role];
  CHECK(learner->updates > 0 && learner->kl_doublings != 0);
  CHECK(!is_frozen(run, role, 6.5f, 9, 8));  // 7 of 10 is not above 0.7
  CHECK(!is_frozen(run, role, 6.6f, 9, 4));  // too early
  CHECK(!is_frozen(run, role, 0, 9, 8));
  const bw_ref fresh = run->fresh_exploiters;
  const bw_ref own = role == 1 ? fresh : bw_ref_at(fresh, (uint64_t)run->layout.parameters * 4);
  CHECK(!same_vector(run, bw_league_part(run, role, 0), own));
  float* trained = vector_of(run, bw_league_part(run, role, 0));

  for (int i = 0; i < run->member_count; ++i) run->members[i].scores[BW_ROLE_MAIN] = (bw_score){1, 3};
  const int count = run->member_count;
  CHECK(is_frozen(run, role, 6.6f, 9, 5));
  CHECK_EQ_INT(run->member_count, count + 1);
  const bw_member* copy = &run->members[count];
  CHECK_EQ_INT(copy->role, role);
  CHECK_EQ_INT(copy->number, run->snapshots);
  for (int other = 0; other < BW_ROLES; ++other) CHECK(copy->scores[other].games == 0);
  float* weights = vector_of(run, bw_opponents_weights(run, count));
  CHECK(memcmp(weights, trained, (size_t)run->layout.parameters * sizeof *weights) == 0);

  CHECK_EQ_INT(learner->iterations, 0);
  CHECK_EQ_INT(learner->resets, anew);
  CHECK(same_vector(run, bw_league_part(run, role, 0), own) == anew);
  CHECK(is_zero(run, bw_league_part(run, role, 1)) == anew);
  CHECK(is_zero(run, bw_league_part(run, role, 2)) == anew);
  CHECK((learner->updates == 0) == anew && (learner->kl_doublings == 0) == anew);
  CHECK((learner->versus_main.games == 0) == anew);
  for (int i = 0; i < count; ++i) {
    CHECK((run->members[i].scores[role].games == 0) == anew);
    CHECK(run->members[i].scores[BW_ROLE_MAIN].games > 0);  // others' rows stay
  }
  CHECK(is_frozen(run, role, 0, 9, 9));  // however it plays
  free(trained);
  free(weights);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

// How often the league exploiter begins anew is a matter of chance.
static void test_reset_chance(void) {
  const test_option options[] = {
      {"league.maxIterations", "1"}, {"rollout.games", "1"}, {"net.width", "4"}, {NULL, NULL}};
  const bw_config config = league_config("tictactoe", options);
  bw_device* device = test_cpu(1);
  bw_run* run = test_run(&config, device);
  enum { TIMES = 200 };
  for (int i = 0; i < TIMES; ++i) test_iterate(run, 0);
  CHECK_EQ_INT(run->league.learners[1].frozen, TIMES);
  CHECK_EQ_INT(run->league.learners[1].resets, TIMES);
  CHECK_EQ_INT(run->league.learners[2].frozen, TIMES);
  const int64_t resets = run->league.learners[2].resets;
  CHECK_MSG(resets > 30 && resets < 72, "%lld of 200", (long long)resets);
  CHECK_EQ_INT(run->league.learners[0].frozen, TIMES / 2);
  CHECK_EQ_INT(run->league.learners[0].resets, 0);
  CHECK_EQ_INT(run->member_count, config.league_size);
  CHECK_EQ_INT(run->members[0].number, 1);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

// Draws follow the weights of each role.
static void test_draws(void) {
  const bw_config config = league_config("tictactoe", NULL);
  bw_device* device = test_cpu(1);
  bw_run* run = test_run(&config, device);
  for (int i = 0; i < 2; ++i) bw_opponents_add(run, bw_league_part(run, 1 + i, 0), 1 + i);
  bw_opponents_snapshot(run);
  static const float kScores[4][2] = {{9, 10}, {0, 3}, {0, 0}, {5, 20}};
  double w[4];
  for (int i = 0; i < 4; ++i) {
    w[i] = ((double)kScores[i][0] + 0.5) / ((double)kScores[i][1] + 1);
    for (int role = 0; role < BW_ROLES; ++role) run->members[i].scores[role] = (bw_score){kScores[i][0], kScores[i][1]};
  }
  enum { DRAWS = 100000 };
  const uint32_t step = UINT32_MAX / DRAWS;
  const uint32_t late = UINT32_MAX;  // beyond the shares of itself and the exploiters
  for (int role = 0; role < BW_ROLES; ++role) {
    run->role = role;
    run->league.learners[BW_ROLE_MAIN_EXPLOITER].versus_main = (bw_score){1.5f, 9};  // 0.2: no more than mainAbove
    bw_opponents_weigh(run);
    double weights[4], sum = 0;
    for (int i = 0; i < 4; ++i) {
      weights[i] = role != BW_ROLE_MAIN_EXPLOITER ? (1 - w[i]) * (1 - w[i]) : i == 0 || i == 3 ? w[i] * (1 - w[i]) : 0;
      sum += weights[i];
    }
    int drawn[5] = {0};
    for (uint32_t i = 0; i < DRAWS; ++i) {
      const int opponent = bw_league_draw(run, late, i * step);
      REQUIRE(opponent >= 1 && opponent <= 4);
      ++drawn[opponent];
    }
    for (int i = 0; i < 4; ++i) CHECK_NEAR(drawn[1 + i], DRAWS * weights[i] / sum, 4);
  }
  // While the main exploiter has a chance against the main agent it plays nobody else.
  run->role = BW_ROLE_MAIN_EXPLOITER;
  run->league.learners[BW_ROLE_MAIN_EXPLOITER].versus_main = (bw_score){1.6f, 9};
  for (uint32_t i = 0; i < 1000; ++i) {
    CHECK_EQ_INT(bw_league_role(run, bw_league_draw(run, i * (UINT32_MAX / 1000), i)), BW_ROLE_MAIN);
  }
  // The main agent's shares.
  run->role = BW_ROLE_MAIN;
  int met[BW_ROLES] = {0}, self = 0, frozen = 0;
  for (uint32_t i = 0; i < DRAWS; ++i) {
    const int opponent = bw_league_draw(run, i * step, i * step);
    const int role = bw_league_role(run, opponent);
    self += opponent == 0;
    frozen += opponent > 0 && role < 0;
    if (role >= 0) ++met[role];
  }
  CHECK_NEAR(self, 0.35 * DRAWS, 4);
  CHECK_NEAR(met[1], 0.075 * DRAWS, 4);
  CHECK_NEAR(met[2], 0.075 * DRAWS, 4);
  CHECK_NEAR(frozen, 0.5 * DRAWS, 8);
  CHECK_EQ_INT(met[0], 0);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

// A full league loses whom the main agent meets least, but never the initial policy.
static void test_eviction(void) {
  const bw_config config = league_config("tictactoe", NULL);
  bw_device* device = test_cpu(1);
  bw_run* run = test_run(&config, device);
  while (run->member_count < config.league_size) bw_opponents_add(run, bw_league_part(run, 1, 0), 1);
  static const float kPoints[] = {10, 3, 9, 1, 9, 2};
  for (int i = 0; i < run->member_count; ++i) run->members[i].scores[0] = (bw_score){kPoints[i], 10};
  bw_opponents_snapshot(run);
  static const int64_t kLeft[] = {1, 2, 4, 5, 6, 7};  // the older of 3 and 5 is gone
  CHECK_EQ_INT(run->member_count, 6);
  for (int i = 0; i < 6; ++i) CHECK_EQ_INT(run->members[i].number, kLeft[i]);
  CHECK(same_vector(run, bw_opponents_weights(run, 5), run->agent.parameters));
  CHECK(same_vector(run, bw_opponents_weights(run, 4), bw_league_part(run, 1, 0)));
  bw_run_destroy(run);
  bw_device_destroy(device);
}

// In games against a learner it moves as its weights say: the exploiters' of this iteration, the main agent's of the
// last one. role: who trains.
static void test_live_opponents(int role) {
  const test_option options[] = {{"rollout.opponents.temperature", "1.5"},  // not in a league
                                 {"league.exploiterShare", "0.5"},
                                 {"league.mainAbove", "0"},
                                 {"ppo.lr", "0.01"},
                                 {NULL, NULL}};
  const bw_config config = league_config("tictactoe", options);
  bw_device* device = test_cpu(1);
  bw_run* run = test_run(&config, device);
  for (int i = 0; i < 3; ++i) test_iterate(run, 0);
  CHECK(!same_vector(run, run->saved_parameters, run->agent.parameters));
  run->role = role;
  bw_collect_setups(run);
  const int last = bw_league_opponent(run, BW_ROLE_LEAGUE_EXPLOITER);
  const bw_play how = {.games = config.rollout_games, .opponents = last, .record = true};
  REQUIRE(bw_collect_play(run, &how, NULL) == BW_OK);
  const bw_game* rules = run->game;
  const size_t slots = (size_t)(config.rollout_games * rules->max_plies);
  int32_t* counts = malloc(slots * sizeof *counts);
  int32_t* actions = malloc(slots * sizeof *actions);
  unsigned char* states = malloc(slots * rules->state_bytes);
  REQUIRE(counts && actions && states);
  device->backend->download(device, counts, run->rollout.counts, (size_t)config.rollout_games * sizeof *counts);
  device->backend->download(device, actions, run->rollout.record_actions, slots * sizeof *actions);
  device->backend->download(device, states, run->rollout.record_states, slots * rules->state_bytes);
  int64_t games[BW_ROLES] = {0}, moves = 0;
  for (int64_t g = 0; g < config.rollout_games; ++g) {
    const bw_game_setup* setup = &run->setups[g];
    const int other = bw_league_role(run, setup->opponent);
    if (other < 0) continue;
    ++games[other];
    const uint64_t exploiter = (uint64_t)(other - 1) * 3 * (uint64_t)run->layout.parameters * sizeof(float);
    float* weights =
        vector_of(run, other == BW_ROLE_MAIN ? run->saved_parameters : bw_ref_at(run->trained_exploiters, exploiter));
    REQUIRE(bw_run_set_weights(run, weights, NULL) == BW_OK);
    free(weights);
    for (int k = 0; k + 1 < counts[g]; ++k) {
      const size_t slot = (size_t)(g * rules->max_plies + k);
      unsigned char state[64], wanted[64];
      memcpy(state, states + slot * rules->state_bytes, rules->state_bytes);
      memcpy(wanted, states + (slot + 1) * rules->state_bytes, rules->state_bytes);
      rules->play(state, actions[slot]);
      float head[10], p[16], max;
      REQUIRE(bw_run_infer(run, state, 1, head, NULL) == BW_OK);
      const uint32_t mask = rules->legal(state);
      const uint32_t word =
          bw_philox(bw_role_seed(run, role), BW_STREAM_ACTION, setup->number, (uint32_t)rules->ply(state)).v[0];
      bw_masked_softmax(head, mask, 9, 1, p, &max);
      rules->play(state, bw_sample(p, mask, 9, bw_uniform(word)));
      CHECK(memcmp(state, wanted, rules->state_bytes) == 0);
      ++moves;
    }
  }
  CHECK(moves > 30);
  if (role == BW_ROLE_MAIN) CHECK(games[0] == 0 && games[1] > 10 && games[2] > 10);
  if (role == BW_ROLE_MAIN_EXPLOITER) CHECK_EQ_INT(games[0], config.rollout_games);
  free(counts);
  free(actions);
  free(states);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

// ---- an iteration as a whole ----

static bw_run* cancel_run;
static int64_t launches_left;
static const bw_backend* real_backend;

static void counting_launch(bw_device* device, bw_op op, const void* args, bw_cost cost) {
  if (--launches_left == 0) atomic_store(&cancel_run->cancelled, 1);
  real_backend->launch(device, op, args, cost);
}

// Cancelled at any moment, in whoever's part, an iteration leaves no trace.
static void test_cancel(void) {
  const test_option options[] = {{"league.every", "1"},
                                 {"ppo.klCoef", "0.1"},
                                 {"ppo.klTarget", "0.00001"},
                                 {"league.maxIterations", "3"},
                                 {NULL, NULL}};
  const bw_config config = league_config("tictactoe", options);
  bw_device* device = test_cpu(1);
  real_backend = device->backend;
  bw_backend counting = *real_backend;
  counting.launch = counting_launch;
  counting.run_group = NULL;
  counting.linear_update = NULL;
  device->backend = &counting;
  bw_run* run = test_run(&config, device);
  bw_run* twin = test_run(&config, device);
  cancel_run = run;
  for (int i = 0; i < 2; ++i) {
    test_iterate(run, 0);
    test_iterate(twin, 0);
  }
  launches_left = (int64_t)1 << 40;
  test_iterate(run, 0);
  const int64_t launches = ((int64_t)1 << 40) - launches_left;
  test_iterate(twin, 0);
  int cancelled = 0;
  for (int tenth = 0; tenth < 10; ++tenth) {
    launches_left = 1 + tenth * launches / 10;
    bw_iteration it;
    bw_error error;
    const bw_status status = bw_run_iterate(run, 0, &it, &error);
    atomic_store(&run->cancelled, 0);
    CHECK_EQ_INT(status, BW_CANCELLED);
    cancelled += status == BW_CANCELLED;
    CHECK_MSG(same_state(run, twin), "cancelled after %d tenths of the iteration, the run has changed", tenth);
  }
  CHECK_EQ_INT(cancelled, 10);
  launches_left = (int64_t)1 << 40;
  for (int i = 0; i < 2; ++i) {
    test_iterate(run, 0);
    test_iterate(twin, 0);
  }
  CHECK(same_state(run, twin));
  device->backend = real_backend;
  bw_run_destroy(run);
  bw_run_destroy(twin);
  bw_device_destroy(device);
}

static void test_threads_are_bit_equal(void) {
  const test_option options[] = {{"net.kind", "resmlp"},
                                 {"net.width", "40"},
                                 {"rollout.batch", "70"},
                                 {"league.maxIterations", "2"},
                                 {NULL, NULL}};
  const bw_config config = league_config("connect4", options);
  bw_device* one = test_cpu(1);
  bw_run* first = test_run(&config, one);
  for (int i = 0; i < 3; ++i) test_iterate(first, i / 3.0);
  for (int threads = 2; threads <= 3; ++threads) {
    bw_device* device = test_cpu(threads);
    bw_run* run = test_run(&config, device);
    for (int i = 0; i < 3; ++i) test_iterate(run, i / 3.0);
    CHECK_MSG(same_state(first, run), "on %d threads", threads);
    bw_run_destroy(run);
    bw_device_destroy(device);
  }
  bw_run_destroy(first);
  bw_device_destroy(one);
}

// Replaces text of the same length in a file's header.
static void damage(uint8_t* bytes, size_t size, const char* from, const char* to) {
  const size_t length = strlen(from);
  REQUIRE(length == strlen(to));
  for (size_t i = 0; i + length <= size; ++i) {
    if (memcmp(bytes + i, from, length) != 0) continue;
    memcpy(bytes + i, to, length);
    return;
  }
  REQUIRE(false);
}

static void test_checkpoint(bool bundled) {
  const test_option options[] = {{"league.maxIterations", "3"},
                                 {"ppo.klCoef", "0.1"},
                                 {"ppo.klTarget", "0.00001"},
                                 {"ppo.lrSchedule", "linear"},
                                 {"rollout.starts.share", "0.25"},
                                 {"rollout.starts.threshold", "-1"},
                                 {NULL, NULL}};
  const bw_config config = league_config("tictactoe", options);
  bw_device* device = test_cpu(1);
  bw_run* whole = test_run(&config, device);
  for (int i = 0; i < 7; ++i) test_iterate(whole, i / 20.0);
  CHECK(whole->league.learners[1].resets > 0 && whole->league.learners[1].updates > 0);
  size_t size = 0;
  uint8_t* bytes = saved(whole, bundled, &size);
  bw_error error;

  bw_run* resumed = test_run(&config, device);
  REQUIRE(bw_run_load(resumed, bytes, size, &error) == BW_OK);
  for (int i = 0; !bundled && i < whole->member_count; ++i) {
    float* weights = vector_of(whole, bw_opponents_weights(whole, i));
    REQUIRE(bw_run_upload_parameters(resumed, bw_opponents_weights(resumed, i), weights, NULL) == BW_OK);
    free(weights);
  }
  CHECK(same_state(whole, resumed));
  for (int i = 7; i < 14; ++i) {  // long enough for all to be frozen again
    const bw_iteration a = test_iterate(whole, i / 20.0), b = test_iterate(resumed, i / 20.0);
    CHECK(a.policy_loss == b.policy_loss && a.roles[2].win_rate == b.roles[2].win_rate);
    CHECK_EQ_INT(a.total_samples, b.total_samples);
  }
  CHECK(same_state(whole, resumed));
  CHECK_EQ_INT(resumed->league.learners[2].frozen, whole->league.learners[2].frozen);

  // Damage is refused and changes nothing.
  const uint64_t hash = test_hash(resumed);
  for (size_t cut = 0; cut < size; cut += 1 + size / 53) {
    CHECK_EQ_INT(bw_run_load(resumed, bytes, cut, &error), BW_CHECKPOINT);
  }
  static const char* const kDamage[][3] = {
      {"\"opponentRoles\":\"0", "\"opponentRoles\":\"1", "opponentRoles"},  // the initial policy is the main agent's
      {"\"opponentRoles\":", "\"opponentRooms\":", "opponentRoles"},
      {"\"learners\":\"7,", "\"learners\":\"x,", "learners"},
      {"\"learners\":", "\"leaders!\":", "learners"},
      {"\"opponents\":\"1,", "\"opponents\":\"0,", "opponents"},
      {"\"league.scores\"", "\"league.sc0res\"", "league.scores"},
      {"\"league.exploiters\"", "\"league.expl0iters\"", "league.exploiters"},
  };
  for (size_t i = 0; i < sizeof kDamage / sizeof *kDamage; ++i) {
    uint8_t* copy = malloc(size + 1);
    REQUIRE(copy != NULL);
    memcpy(copy, bytes, size);
    damage(copy, size, kDamage[i][0], kDamage[i][1]);
    CHECK_EQ_INT(bw_run_load(resumed, copy, size, &error), BW_CHECKPOINT);
    CHECK_EQ_STR(error.path, kDamage[i][2]);
    free(copy);
  }
  CHECK(test_hash(resumed) == hash);
  CHECK(same_state(whole, resumed));
  free(bytes);
  bw_run_destroy(whole);
  bw_run_destroy(resumed);
  bw_device_destroy(device);
}

// The main agent of a league learns to beat random play, and so do the exploiters.
static void test_learns(const char* game) {
  const test_option options[] = {{"net.width", "32"},      {"ppo.lr", "0.003"},   {"ppo.epochs", "4"},
                                 {"rollout.games", "128"}, {"league.every", "5"}, {NULL, NULL}};
  const bw_config config = league_config(game, options);
  bw_device* device = test_cpu(1);
  bw_run* run = test_run(&config, device);
  int64_t before[2][3], after[2][3];
  REQUIRE(bw_run_versus_random(run, 1000, false, before, NULL) == BW_OK);
  for (int i = 0; i < 30; ++i) test_iterate(run, 0);
  REQUIRE(bw_run_versus_random(run, 1000, false, after, NULL) == BW_OK);
  const int64_t wins_before = before[0][0] + before[1][0], wins_after = after[0][0] + after[1][0];
  CHECK_MSG(wins_after > 650 && wins_after > wins_before + 100, "%s: %lld of 1000 wins, %lld before", game,
            (long long)wins_after, (long long)wins_before);
  const double main_agent = bw_score_share(run->members[0].scores[BW_ROLE_MAIN]);
  CHECK_MSG(main_agent > 0.55, "%s: the main agent takes %g of the points from the initial policy", game, main_agent);
  const double exploiter = bw_score_share(run->members[0].scores[BW_ROLE_LEAGUE_EXPLOITER]);
  CHECK_MSG(exploiter > 0.55, "%s: the league exploiter takes %g of the points from the initial policy", game,
            exploiter);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

int main(void) {
  test_scores_fade();
  test_games_are_counted();
  for (int role = 1; role < BW_ROLES; ++role) {
    test_thresholds(role, "0");
    test_thresholds(role, "1");
  }
  test_reset_chance();
  test_draws();
  test_eviction();
  test_live_opponents(BW_ROLE_MAIN);
  test_live_opponents(BW_ROLE_MAIN_EXPLOITER);
  test_cancel();
  test_threads_are_bit_equal();
  test_checkpoint(true);
  test_checkpoint(false);
  test_learns("tictactoe");
  test_learns("connect4");
  return check_summary("league");
}
