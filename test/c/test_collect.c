// Collection: what is recorded, by whom, and that nothing depends on batches or threads.
#include "../../csrc/games/games.gen.h"
#include "policy_reference.h"
#include "train_helpers.h"

typedef struct records {
  int64_t slots;
  int32_t *counts, *outcomes, *actions, *players;
  float *log_probs, *values, *advantages, *returns;
  char* states;
} records;

static void* fetch(bw_run* run, bw_ref ref, size_t bytes) {
  void* memory = malloc(bytes + 1);
  REQUIRE(memory != NULL);
  run->device->backend->download(run->device, memory, ref, bytes);
  return memory;
}

static records fetch_records(bw_run* run) {
  const size_t games = (size_t)run->config.rollout_games, slots = games * (size_t)run->game->max_plies;
  const bw_rollout_buffers* r = &run->rollout;
  return (records){.slots = (int64_t)slots,
                   .counts = fetch(run, r->counts, games * 4),
                   .outcomes = fetch(run, r->outcomes, games * 4),
                   .actions = fetch(run, r->record_actions, slots * 4),
                   .players = fetch(run, r->record_players, slots * 4),
                   .log_probs = fetch(run, r->record_log_probs, slots * 4),
                   .values = fetch(run, r->record_values, slots * 4),
                   .advantages = fetch(run, r->record_advantages, slots * 4),
                   .returns = fetch(run, r->record_returns, slots * 4),
                   .states = fetch(run, r->record_states, slots * run->game->state_bytes)};
}

static void free_records(records* r) {
  free(r->counts);
  free(r->outcomes);
  free(r->actions);
  free(r->players);
  free(r->log_probs);
  free(r->values);
  free(r->advantages);
  free(r->returns);
  free(r->states);
}

static void play(bw_run* run) {
  bw_error error;
  bw_collect_setups(run);
  const bw_play how = {.games = run->config.rollout_games, .opponents = run->member_count, .record = true};
  REQUIRE(bw_collect_play(run, &how, &error) == BW_OK);
}

// The same games, whatever the batch and the number of threads.
static void test_batching(const char* game, const char* kind) {
  static const char* const batches[] = {"1", "7", "64", "4096"};
  records first = {0};
  for (int b = 0; b < 4; ++b) {
    for (int threads = 1; threads <= 3; ++threads) {
      const test_option options[] = {{"rollout.batch", batches[b]},
                                     {"net.kind", kind},
                                     {"net.width", "40"},
                                     {"rollout.opponents.pool", "3"},
                                     {"rollout.opponents.selfShare", "0.5"},
                                     {"rollout.opponents.every", "1"},
                                     {"rollout.mirror", "true"},
                                     {"rollout.deviations.share", "0.3"},
                                     {NULL, NULL}};
      const bw_config config = test_config(game, options);
      bw_device* device = test_cpu(threads);
      bw_run* run = test_run(&config, device);
      test_iterate(run, 0);
      test_iterate(run, 0);
      play(run);
      records r = fetch_records(run);
      if (!first.counts) {
        first = r;
      } else {
        const size_t games = (size_t)config.rollout_games;
        CHECK(memcmp(first.counts, r.counts, games * 4) == 0);
        CHECK(memcmp(first.outcomes, r.outcomes, games * 4) == 0);
        int64_t different = 0;
        for (size_t g = 0; g < games; ++g) {
          for (int k = 0; k < r.counts[g]; ++k) {
            const size_t slot = g * (size_t)run->game->max_plies + (size_t)k, bytes = run->game->state_bytes;
            different += first.actions[slot] != r.actions[slot] || first.players[slot] != r.players[slot] ||
                         memcmp(&first.log_probs[slot], &r.log_probs[slot], 4) != 0 ||
                         memcmp(&first.values[slot], &r.values[slot], 4) != 0 ||
                         memcmp(first.states + slot * bytes, r.states + slot * bytes, bytes) != 0;
          }
        }
        CHECK_EQ_INT(different, 0);
        free_records(&r);
      }
      bw_run_destroy(run);
      bw_device_destroy(device);
    }
  }
  free_records(&first);
}

// An opponent never changes within a game: every move between two of the agent's own is the one that the game's
// member samples, with its temperature and the game's random number.
static void test_opponent_is_fixed(const char* per) {
  const test_option options[] = {{"rollout.opponents.pool", "4"},
                                 {"rollout.opponents.selfShare", "0"},
                                 {"rollout.opponents.every", "1"},
                                 {"rollout.opponents.temperature", "1.7"},
                                 {"rollout.opponents.per", per},
                                 {"rollout.games", "200"},
                                 {"ppo.lr", "0.01"},
                                 {NULL, NULL}};
  const bw_config config = test_config("tictactoe", options);
  bw_device* device = test_cpu(2);
  bw_run* run = test_run(&config, device);
  for (int i = 0; i < 3; ++i) test_iterate(run, 0);
  CHECK_EQ_INT(run->member_count, 4);
  play(run);
  records r = fetch_records(run);
  const int64_t n = run->layout.parameters;
  float* current = malloc((size_t)n * 4);
  float* member = malloc((size_t)n * 4);
  REQUIRE(current && member);
  const float* weights = NULL;
  REQUIRE(bw_run_weights(run, &weights, NULL) == BW_OK);
  memcpy(current, weights, (size_t)n * 4);

  int64_t moves = 0, wrong = 0, wrong_if_swapped = 0, met[5] = {0};
  for (int64_t g = 0; g < config.rollout_games; ++g) {
    const bw_game_setup* setup = &run->setups[g];
    CHECK(setup->opponent >= 1 && setup->opponent <= 4);
    ++met[setup->opponent];
    if (strcmp(per, "iteration") == 0) CHECK_EQ_INT(setup->opponent, run->setups[0].opponent);
    const tictactoe_state* states = (const tictactoe_state*)(const void*)(r.states) + g * run->game->max_plies;
    for (int k = 0; k + 1 < r.counts[g]; ++k) {
      CHECK_EQ_INT(r.players[g * run->game->max_plies + k], setup->seat);
      tictactoe_state before = states[k];
      tictactoe_play(&before, r.actions[g * run->game->max_plies + k]);
      const tictactoe_state after = states[k + 1];
      const uint32_t stone = after.occupied & ~before.occupied;
      CHECK_EQ_INT(bw_count_actions(stone), 1);
      for (int candidate = 1; candidate <= 2; ++candidate) {
        const int index = candidate == 1 ? setup->opponent - 1 : setup->opponent % 4;
        float head[10], p[BW_MAX_ACTIONS], max;
        REQUIRE(bw_run_download_parameters(run, member, bw_opponents_weights(run, index), NULL) == BW_OK);
        REQUIRE(bw_run_set_weights(run, member, NULL) == BW_OK);
        REQUIRE(bw_run_infer(run, &before, 1, head, NULL) == BW_OK);
        const uint32_t mask = tictactoe_legal(&before);
        bw_masked_softmax(head, mask, 9, (float)(1 / 1.7), p, &max);
        const uint32_t word =
            bw_philox((uint64_t)config.run_seed, BW_STREAM_ACTION, setup->number, (uint32_t)before.ply).v[0];
        const int expected = bw_sample(p, mask, 9, bw_uniform(word));
        if (candidate == 1) {
          ++moves;
          wrong += stone != 1u << expected;
        } else {
          wrong_if_swapped += stone != 1u << expected;
        }
      }
    }
  }
  CHECK(moves > 200);
  CHECK_EQ_INT(wrong, 0);
  CHECK(wrong_if_swapped > 10);  // the check can tell members apart
  if (strcmp(per, "game") == 0) {
    for (int i = 1; i <= 4; ++i) CHECK(met[i] > 25);
  }
  REQUIRE(bw_run_set_weights(run, current, NULL) == BW_OK);
  free(current);
  free(member);
  free_records(&r);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

// Who is recorded: both players against itself (unless told otherwise), the agent alone against the pool; each record
// holds a state in which its player is to move and a legal action with a probability in (0, 1].
static void test_records(const char* game, const char* learn, const char* self_share) {
  const test_option options[] = {
      {"rollout.opponents.learn", learn}, {"rollout.opponents.pool", "2"}, {"rollout.opponents.selfShare", self_share},
      {"rollout.mirror", "true"},         {"rollout.games", "256"},        {NULL, NULL}};
  const bw_config config = test_config(game, options);
  bw_device* device = test_cpu(2);
  bw_run* run = test_run(&config, device);
  play(run);
  records r = fetch_records(run);
  int64_t mirrored = 0, first_seat = 0, opened = 0, self_games = 0;
  for (int64_t g = 0; g < config.rollout_games; ++g) {
    const bw_game_setup* setup = &run->setups[g];
    mirrored += setup->mirrored;
    first_seat += setup->seat == 0;
    opened += setup->opening > 0;
    self_games += setup->opponent == 0;
    CHECK(r.outcomes[g] != BW_OUTCOME_ONGOING);
    const bool both = setup->opponent == 0 && strcmp(learn, "both") == 0;
    CHECK(r.counts[g] >= (both ? 1 : 0));
    for (int k = 0; k < r.counts[g]; ++k) {
      const int64_t slot = g * run->game->max_plies + k;
      const void* state = r.states + (size_t)slot * run->game->state_bytes;
      CHECK_EQ_INT(run->game->ply(state) & 1, r.players[slot]);
      CHECK(run->game->legal(state) >> r.actions[slot] & 1);
      CHECK(r.log_probs[slot] <= 0 && isfinite(r.log_probs[slot]));
      if (!both) CHECK_EQ_INT(r.players[slot], setup->seat);
      if (both && k > 0) CHECK_EQ_INT(r.players[slot], 1 - r.players[slot - 1]);
    }
  }
  CHECK(mirrored > 90 && mirrored < 166);
  CHECK(first_seat > 90 && first_seat < 166);
  CHECK(opened > 70 && opened < 150);  // half of the games, 6 of 7 lengths
  if (strcmp(self_share, "1") == 0) CHECK_EQ_INT(self_games, 256);
  if (strcmp(self_share, "0") == 0) CHECK_EQ_INT(self_games, 0);
  if (strcmp(self_share, "0.25") == 0) CHECK(self_games > 36 && self_games < 96);
  free_records(&r);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

// True if some legal move ends the game.
static bool may_end(const bw_game* rules, const unsigned char* state) {
  for (int action = 0; action < rules->actions; ++action) {
    if (!(rules->legal(state) >> action & 1)) continue;
    unsigned char next[64];
    memcpy(next, state, sizeof next);
    rules->play(next, action);
    if (rules->result(next) != BW_ONGOING) return true;
  }
  return false;
}

// Deviations: the board's stones up to the first record are there by the policy's own moves, but for those of the side
// that deviates, which are random as often as the option says; nothing is recorded before, everything after.
static void test_deviations(const char* learn, const char* self_share) {
  enum { GAMES = 1000, PLIES = 12 };
  const test_option options[] = {{"rollout.deviations.share", "0.5"},
                                 {"rollout.deviations.plies", "12"},
                                 {"rollout.deviations.random", "0.4"},
                                 {"rollout.starts.share", "0.2"},  // for the moves
                                 {"rollout.openings.share", "0"},
                                 {"rollout.opponents.learn", learn},
                                 {"rollout.opponents.pool", "1"},
                                 {"rollout.opponents.temperature", "1.5"},
                                 {"rollout.opponents.selfShare", self_share},
                                 {"rollout.mirror", "true"},
                                 {"rollout.games", "1000"},
                                 {NULL, NULL}};
  const bw_config config = test_config("connect4", options);
  bw_device* device = test_cpu(2);
  bw_run* run = test_run(&config, device);
  play(run);
  records r = fetch_records(run);
  const bw_game* rules = run->game;
  uint8_t* moves = fetch(run, run->rollout.moves, (size_t)GAMES * 42);
  int32_t* plies = fetch(run, run->rollout.plies, (size_t)GAMES * 4);
  int64_t deviated = 0, shorter = 0, of_deviator = 0, changed = 0, lengths[PLIES + 1] = {0};
  for (int64_t g = 0; g < GAMES; ++g) {
    const bw_game_setup* setup = &run->setups[g];
    CHECK(setup->deviation <= PLIES && setup->deviator <= 1 && !setup->start);
    ++lengths[setup->deviation];
    deviated += setup->deviation > 0;
    int end = 0;
    while (end < 42 && moves[g * 42 + end]) ++end;
    const int before = end - plies[g];  // plies of the deviation
    CHECK(before <= setup->deviation && plies[g] >= 1);
    // The first own move after the deviation is recorded, and every one after it.
    const int first_own = before + (setup->record_both || before % 2 == setup->seat ? 0 : 1);
    const int own = setup->record_both ? end - before : (end - first_own + 1) / 2;
    CHECK_EQ_INT(r.counts[g], own);
    shorter += before < setup->deviation;
    if (r.counts[g] > 0) {
      const void* first = r.states + (size_t)(g * 42) * rules->state_bytes;
      CHECK_EQ_INT(rules->ply(first), first_own);
    }
    unsigned char state[64] = {0};
    rules->init(state);
    for (int ply = 0; ply < before; ++ply) {
      unsigned char seen[64];
      memcpy(seen, state, sizeof seen);
      if (setup->mirrored) rules->mirror(seen);
      float head[8], p[BW_MAX_ACTIONS], max;
      REQUIRE(bw_run_infer(run, seen, 1, head, NULL) == BW_OK);
      const uint32_t mask = rules->legal(seen);
      // Both nets are the initial one; the opponent samples at its temperature.
      const bool opponent = setup->opponent > 0 && ply % 2 != setup->seat;
      bw_masked_softmax(head, mask, 7, opponent ? (float)(1 / 1.5) : 1, p, &max);
      const uint32_t word = bw_philox((uint64_t)config.run_seed, BW_STREAM_ACTION, setup->number, (uint32_t)ply).v[0];
      int policy = bw_sample(p, mask, 7, bw_uniform(word));
      if (setup->mirrored) policy = rules->mirror_action(policy);
      const int played = moves[g * 42 + ply] - 1;
      const bw_random4 chance = bw_philox((uint64_t)config.run_seed, BW_STREAM_OPENING, setup->number, (uint32_t)ply);
      const bool random = ply % 2 == setup->deviator && bw_uniform(chance.v[0]) < 0.4f;
      int wanted = policy;
      if (random) {
        wanted = bw_nth_action(mask, bw_below(chance.v[1], bw_count_actions(mask)));
        if (setup->mirrored) wanted = rules->mirror_action(wanted);
      }
      CHECK_EQ_INT(played, wanted);
      CHECK(!may_end(rules, state));
      of_deviator += ply % 2 == setup->deviator;
      changed += played != policy;
      rules->play(state, played);
    }
    if (before < setup->deviation) CHECK(may_end(rules, state));
  }
  CHECK_MSG(deviated > 440 && deviated < 560, "%lld deviated", (long long)deviated);
  for (int length = 1; length <= PLIES; ++length) CHECK(lengths[length] > 15 && lengths[length] < 75);
  CHECK(shorter > 0 && shorter < 100);
  const double share = (double)changed / (double)of_deviator;  // 0.4, less the random moves that the policy makes too
  CHECK_MSG(share > 0.29 && share < 0.4, "%.3f of the deviator's moves", share);
  free(moves);
  free(plies);
  free_records(&r);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

static float* fetch_wdl(bw_run* run) {
  const size_t slots = (size_t)run->config.rollout_games * (size_t)run->game->max_plies;
  return fetch(run, run->rollout.record_wdl, 3 * slots * sizeof(float));
}

// Advantages against a plain double-precision statement of both chains, game by game.
static void test_gae(const char* chain, const char* learn, const char* self_share, const char* draw,
                     const char* value) {
  const bool wdl = strcmp(value, "wdl") == 0;
  const test_option options[] = {{"net.value", value},
                                 {"rollout.opponents.learn", learn},
                                 {"rollout.opponents.pool", "2"},
                                 {"rollout.opponents.selfShare", self_share},
                                 {"rollout.drawReward", draw},
                                 {"ppo.chain", chain},
                                 {"ppo.gamma", "0.9"},
                                 {"ppo.lambda", "0.8"},
                                 {"rollout.games", "128"},
                                 {NULL, NULL}};
  const bw_config config = test_config("tictactoe", options);
  bw_device* device = test_cpu(1);
  bw_run* run = test_run(&config, device);
  play(run);
  bw_device* const d = run->device;
  BW_LAUNCH(d, gae, .rollout = run->rollout, .gamma = 0.9, .lambda = 0.8, .draw_reward = config.rollout_draw_reward,
            .games = config.rollout_games, .max_plies = run->game->max_plies,
            .by_player = config.ppo_chain == BW_CHAIN_PLAYER);
  float *predicted = NULL, *targets = NULL;
  if (wdl) {
    predicted = fetch_wdl(run);
    BW_LAUNCH(d, wdl_targets, .rollout = run->rollout, .gamma = 0.9, .lambda = 0.8, .games = config.rollout_games,
              .max_plies = run->game->max_plies, .by_player = config.ppo_chain == BW_CHAIN_PLAYER);
    targets = fetch_wdl(run);
  }
  records r = fetch_records(run);
  int64_t draws = 0, checked = 0;
  for (int64_t g = 0; g < config.rollout_games; ++g) {
    const int64_t base = g * run->game->max_plies;
    draws += r.outcomes[g] == BW_OUTCOME_DRAW;
    for (int k = 0; k < r.counts[g]; ++k) {
      // Advantage of record k = sum over the rest of its chain of (gamma lambda)^j * delta, each from k's view.
      double advantage = 0, weight = 1;
      const int me = r.players[base + k];
      for (int at = k;;) {
        int next = at + 1;
        if (strcmp(chain, "player") == 0) {
          while (next < r.counts[g] && r.players[base + next] != me) ++next;
        }
        const double side = r.players[base + at] == me ? 1 : -1;  // at's view in k's terms
        double target;
        if (next < r.counts[g]) {
          const double turned = r.players[base + next] == r.players[base + at] ? 1 : -1;
          target = 0.9 * turned * (double)r.values[base + next];
        } else {
          const int winner = r.outcomes[g] == BW_OUTCOME_FIRST ? 0 : r.outcomes[g] == BW_OUTCOME_SECOND ? 1 : -1;
          target = winner < 0 ? config.rollout_draw_reward : winner == r.players[base + at] ? 1 : -1;
        }
        advantage += weight * side * (target - (double)r.values[base + at]);
        weight *= 0.9 * 0.8;
        if (next >= r.counts[g]) break;
        at = next;
      }
      CHECK_NEAR(r.advantages[base + k], advantage, 1e-5);
      CHECK_NEAR(r.returns[base + k], advantage + (double)r.values[base + k], 1e-5);
      if (wdl) {  // the value of the distribution that is the target is the return
        const float *p = predicted + 3 * (base + k), *q = targets + 3 * (base + k);
        CHECK_NEAR(r.values[base + k], p[0] - p[2], 1e-6);
        CHECK_NEAR(r.returns[base + k], q[0] - q[2], 1e-5);
        CHECK_NEAR(q[0] + q[1] + q[2], 1, 1e-5);
        CHECK(q[0] >= 0 && q[1] >= 0 && q[2] >= 0);
      }
      ++checked;
    }
  }
  CHECK(draws > 0 && checked > 200);
  free(predicted);
  free(targets);
  free_records(&r);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

// ---- start positions ----

static const char* const kStarts[] = {"4", "12", "4435"};

static void state_after(const bw_game* game, const uint8_t* moves, int count, void* state) {
  game->init(state);
  for (int i = 0; i < count; ++i) game->play(state, moves[i] - 1);
}

// Games of the list start at its positions, the others as they always do.
static void test_listed_starts(void) {
  const test_option options[] = {{"rollout.starts.file", "starts"}, {"rollout.starts.listShare", "0.5"},
                                 {"rollout.games", "600"},          {"net.width", "8"},
                                 {"rollout.mirror", "true"},        {NULL, NULL}};
  const bw_config config = test_config("connect4", options);
  bw_device* device = test_cpu(2);
  bw_run* run = test_run(&config, device);
  bw_iteration it;
  bw_error error;
  CHECK_EQ_INT(bw_run_iterate(run, 0, &it, &error), BW_STATE);  // no list yet
  static const char* const kBad[][2] = {{"4", "48"}, {"4", "1111111"}, {"4", "1212121"}};
  for (int i = 0; i < 3; ++i) {
    CHECK_EQ_INT(bw_run_set_starts(run, kBad[i], 2, &error), BW_OPTION);
    CHECK_EQ_INT(error.step, 1);
    CHECK_EQ_INT(run->starts.list.count, 0);
  }
  REQUIRE(bw_run_set_starts(run, kStarts, 3, &error) == BW_OK);
  CHECK_EQ_INT(bw_run_set_starts(run, kBad[0], 2, &error), BW_OPTION);  // keeps what there was
  play(run);
  records r = fetch_records(run);
  int from[3] = {0}, others = 0;
  for (int64_t g = 0; g < config.rollout_games; ++g) {
    if (!run->setups[g].start) {
      ++others;
      continue;
    }
    unsigned char first[64], start[64];
    memcpy(first, r.states + (size_t)(g * run->game->max_plies) * run->game->state_bytes, run->game->state_bytes);
    if (run->setups[g].mirrored) run->game->mirror(first);
    int found = -1;
    for (int i = 0; i < 3; ++i) {
      REQUIRE(bw_game_parse(run->game, kStarts[i], start, NULL) == BW_OK);
      if (memcmp(first, start, run->game->state_bytes) == 0) found = i;
    }
    REQUIRE(found >= 0);
    ++from[found];
  }
  CHECK(others > 250 && others < 350);
  for (int i = 0; i < 3; ++i) CHECK_MSG(from[i] > 65 && from[i] < 135, "%d games from position %d", from[i], i);
  free_records(&r);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

// The reservoir holds exactly the positions that the rule names, in order, worked out from what was recorded, with
// openings, mirrored games, opponents, starts from the reservoir itself and from a list.
static void test_lost_starts(const char* game, const char* learn, const char* self_share) {
  const test_option options[] = {{"rollout.starts.share", "0.4"},   {"rollout.starts.listShare", "0.1"},
                                 {"rollout.starts.file", "starts"}, {"rollout.starts.threshold", "-0.05"},
                                 {"rollout.mirror", "true"},        {"rollout.opponents.learn", learn},
                                 {"rollout.opponents.pool", "2"},   {"rollout.opponents.selfShare", self_share},
                                 {"rollout.games", "100"},          {"rollout.deviations.share", "0.3"},
                                 {"rollout.deviations.plies", "6"}, {NULL, NULL}};
  const bw_config config = test_config(game, options);
  bw_device* device = test_cpu(2);
  bw_run* run = test_run(&config, device);
  REQUIRE(bw_run_set_starts(run, kStarts, 2, NULL) == BW_OK);
  const bw_game* rules = run->game;
  const size_t bytes = rules->state_bytes;
  int64_t expected = 0, started = 0;
  for (int iteration = 0; iteration < 4; ++iteration) {
    test_iterate(run, 0);
    records r = fetch_records(run);
    for (int64_t g = 0; g < config.rollout_games; ++g) {
      const bw_game_setup* setup = &run->setups[g];
      started += setup->start && run->starts.sources[g] >= run->starts.lost.moves &&
                 run->starts.sources[g] < run->starts.lost.moves + config.starts_capacity * rules->max_plies;
      for (int k = 0; k < r.counts[g]; ++k) {
        const int64_t slot = g * rules->max_plies + k;
        const int won = r.players[slot] == 0 ? BW_OUTCOME_FIRST : BW_OUTCOME_SECOND;
        if (r.outcomes[g] == BW_OUTCOME_DRAW || r.outcomes[g] == won || !((double)r.values[slot] > -0.05)) continue;
        unsigned char seen[64], again[64];
        memcpy(seen, r.states + (size_t)slot * bytes, bytes);
        if (setup->mirrored) rules->mirror(seen);
        REQUIRE(expected < run->starts.lost.count);
        CHECK(memcmp(run->starts.lost.states + (size_t)expected * bytes, seen, bytes) == 0);
        state_after(rules, run->starts.lost.moves + expected * rules->max_plies, rules->ply(seen), again);
        CHECK(memcmp(again, seen, bytes) == 0);
        ++expected;
      }
    }
    CHECK_EQ_INT(run->starts.lost.count, expected);
    CHECK_EQ_INT(run->starts.seen, expected);
    free_records(&r);
  }
  CHECK_MSG(expected > 50 && started > 70 && started < 170, "%s: %lld positions, %lld games from them", game,
            (long long)expected, (long long)started);
  bw_run_destroy(run);
  bw_device_destroy(device);
}

// A full reservoir is a uniform sample of all positions so far.
static void test_reservoir(void) {
  enum { CAPACITY = 40, RUNS = 20 };
  const test_option options[] = {{"rollout.starts.share", "0.2"},    {"rollout.starts.capacity", "40"},
                                 {"rollout.starts.threshold", "-1"}, {"rollout.games", "32"},
                                 {"rollout.openings.share", "0"},    {NULL, NULL}};
  bw_device* device = test_cpu(1);
  int64_t late = 0, in_all = 0;
  double share = 0;
  for (int seed = 0; seed < RUNS; ++seed) {
    bw_config config = test_config("tictactoe", options);
    config.run_seed = seed;
    bw_run* run = test_run(&config, device);
    test_iterate(run, 0);
    CHECK_EQ_INT(run->starts.lost.count, CAPACITY);
    uint8_t before[CAPACITY * 9];
    const int64_t seen = run->starts.seen;
    CHECK(seen > CAPACITY);
    memcpy(before, run->starts.lost.moves, sizeof before);
    test_iterate(run, 0);
    CHECK_EQ_INT(run->starts.lost.count, CAPACITY);
    for (int i = 0; i < CAPACITY; ++i) late += memcmp(before + i * 9, run->starts.lost.moves + i * 9, 9) != 0;
    in_all += CAPACITY;
    share += 1 - (double)seen / (double)run->starts.seen;
    bw_run_destroy(run);
  }
  // The share of new ones, but for those replaced by the same position.
  share /= RUNS;
  const double found = (double)late / (double)in_all;
  CHECK_MSG(found > share - 0.12 && found < share + 0.06, "%.3f of the reservoir are new, %.3f were", found, share);
  bw_device_destroy(device);
}

// A policy file of a run: what a fixed opponent is given as.
static bw_config make_policy(const char* kind, const char* width, const char* value, const char* seed,
                             bw_device* device, uint8_t** bytes, size_t* size) {
  const test_option options[] = {{"net.kind", kind}, {"net.width", width},
                                 {"net.depth", "3"}, {"net.value", value},
                                 {"run.seed", seed}, {"net.observation", strcmp(value, "wdl") ? "stones" : "threats"},
                                 {NULL, NULL}};
  const bw_config config = test_config("connect4", options);
  bw_run* run = test_run(&config, device);
  test_iterate(run, 0);
  REQUIRE(bw_run_save_policy(run, NULL, 0, bytes, size, NULL) == BW_OK);
  bw_run_destroy(run);
  return config;
}

// Fixed opponents with other nets take their share of the games, play by their own weights from the first to the last
// move, and only the agent's moves are recorded.
static void test_pinned(void) {
  const test_option options[] = {{"rollout.opponents.pinned", "some"},
                                 {"rollout.opponents.pinnedShare", "0.5"},
                                 {"rollout.opponents.selfShare", "0.5"},
                                 {"rollout.opponents.sampling", "pfsp"},
                                 {"rollout.opponents.pool", "3"},
                                 {"rollout.opponents.every", "1"},
                                 {"rollout.opponents.temperature", "1.5"},
                                 {"rollout.mirror", "true"},
                                 {"rollout.games", "400"},
                                 {"rollout.batch", "150"},
                                 {"net.width", "24"},
                                 {NULL, NULL}};
  const bw_config config = test_config("connect4", options);
  bw_device* device = test_cpu(2);
  uint8_t* files[2];
  size_t sizes[2];
  const bw_config configs[2] = {make_policy("resmlp", "40", "wdl", "5", device, &files[0], &sizes[0]),
                                make_policy("mlp", "12", "scalar", "6", device, &files[1], &sizes[1])};
  bw_run* run = test_run(&config, device);
  bw_iteration it;
  bw_error error;
  CHECK_EQ_INT(bw_run_iterate(run, 0, &it, &error), BW_STATE);  // none yet
  bw_safetensors parsed[2];
  bw_policy* policies[2];
  for (int i = 0; i < 2; ++i) {
    REQUIRE(bw_safetensors_parse(files[i], sizes[i], &parsed[i], NULL) == BW_OK);
    CHECK_EQ_INT(bw_run_pin(run, &configs[1 - i], &parsed[i], &error), BW_CHECKPOINT);  // another net
    CHECK_EQ_INT(run->pinned_count, i);
    REQUIRE(bw_run_pin(run, &configs[i], &parsed[i], &error) == BW_OK);
    REQUIRE(bw_policy_create(device, &configs[i], &parsed[i], 64, &policies[i], &error) == BW_OK);
  }
  const test_option other[] = {{NULL, NULL}};
  const bw_config tictactoe = test_config("tictactoe", other);
  CHECK_EQ_INT(bw_run_pin(run, &tictactoe, &parsed[0], &error), BW_OPTION);
  CHECK_EQ_STR(error.path, "rollout.opponents.pinned");

  test_iterate(run, 0);
  test_iterate(run, 0);
  bw_collect_setups(run);
  const bw_play how = {.games = 400, .opponents = run->member_count + run->pinned_count, .record = true};
  REQUIRE(bw_collect_play(run, &how, NULL) == BW_OK);
  records r = fetch_records(run);
  const bw_game* rules = run->game;
  int64_t games[2] = {0}, pool = 0, self = 0, moves = 0;
  for (int64_t g = 0; g < 400; ++g) {
    const bw_game_setup* setup = &run->setups[g];
    if (setup->opponent <= run->member_count) {
      pool += setup->opponent > 0;
      self += setup->opponent == 0;
      continue;
    }
    const int which = setup->opponent - 1 - run->member_count;
    ++games[which];
    CHECK(!setup->record_both);
    // Between two records of the agent the opponent has made one move: the one that its own net chooses there.
    for (int k = 0; k + 1 < r.counts[g]; ++k) {
      const int64_t slot = g * rules->max_plies + k;
      unsigned char state[64], after[64], wanted[64];
      memcpy(state, r.states + (size_t)slot * rules->state_bytes, rules->state_bytes);
      memcpy(wanted, r.states + (size_t)(slot + 1) * rules->state_bytes, rules->state_bytes);
      rules->play(state, r.actions[slot]);
      float head[8], p[8], max;
      REQUIRE(bw_policy_infer(policies[which], state, 1, head, NULL) == BW_OK);
      const uint32_t mask = rules->legal(state);
      const uint32_t word =
          bw_philox((uint64_t)config.run_seed, BW_STREAM_ACTION, setup->number, (uint32_t)rules->ply(state)).v[0];
      bw_masked_softmax(head, mask, 7, (float)(1 / 1.5), p, &max);
      memcpy(after, state, sizeof after);
      rules->play(after, bw_sample(p, mask, 7, bw_uniform(word)));
      CHECK(memcmp(after, wanted, rules->state_bytes) == 0);
      ++moves;
    }
  }
  CHECK_MSG(games[0] > 75 && games[0] < 125 && games[1] > 75 && games[1] < 125, "%lld and %lld games",
            (long long)games[0], (long long)games[1]);
  CHECK(pool > 70 && pool < 130 && self > 70 && self < 130 && moves > 500);
  for (int i = 0; i < run->member_count; ++i) CHECK(run->members[i].scores[0].games < 300);
  free_records(&r);
  for (int i = 0; i < 2; ++i) {
    bw_policy_destroy(policies[i]);
    bw_safetensors_free(&parsed[i]);
    free(files[i]);
  }
  bw_run_destroy(run);
  bw_device_destroy(device);
}

int main(void) {
  test_pinned();
  test_listed_starts();
  test_lost_starts("connect4", "both", "1");
  test_lost_starts("connect4", "agent", "0.5");
  test_lost_starts("tictactoe", "both", "0.3");
  test_reservoir();
  test_batching("tictactoe", "mlp");
  test_batching("connect4", "resmlp");
  test_opponent_is_fixed("game");
  test_opponent_is_fixed("iteration");
  test_records("tictactoe", "both", "1");
  test_records("tictactoe", "agent", "1");
  test_records("connect4", "both", "0");
  test_records("connect4", "both", "0.25");
  test_deviations("both", "1");
  test_deviations("agent", "1");
  test_deviations("both", "0");
  test_gae("ply", "both", "1", "0", "scalar");
  test_gae("player", "both", "1", "0.5", "scalar");
  test_gae("player", "agent", "0", "0.5", "scalar");
  test_gae("ply", "both", "0.5", "0", "scalar");
  test_gae("ply", "both", "0.5", "0", "wdl");
  test_gae("player", "both", "0.5", "0", "wdl");
  return check_summary("collect");
}
