// The judge on tic-tac-toe: perfect play, planted blunders, known shares against random play, and a brute-force
// recursion over the whole tree that shares nothing with the judge's induction.
#include "../../csrc/core/rng.h"
#include "../../csrc/games/tictactoe.h"
#include "../../csrc/judge/best_response.h"
#include "check.h"

enum { ACTIONS = tictactoe_ACTIONS, KEYS = 1 << 18, STATES = 5478, TERMINAL = 958, MAX_LINE = 64 };

typedef tictactoe_state state;

// A policy as a table.
typedef float table[KEYS][ACTIONS];

static const bw_game* game;

// What a state is worth to the player to move under best play: -1, 0, 1; 2 = not reached. Filled by solve.
static signed char worth[KEYS];
static state all_states[STATES];
static int state_count;

static state after(const state* s, int action) {
  state next = *s;
  tictactoe_play(&next, action);
  return next;
}

static bool legal(const state* s, int action) { return tictactoe_legal(s) >> action & 1; }

static int solve(const state* s) {
  signed char* known = &worth[tictactoe_key(s)];
  if (*known != 2) return *known;
  all_states[state_count++] = *s;
  int best = tictactoe_result(s) == BW_WON ? -1 : tictactoe_result(s) == BW_DRAWN ? 0 : -2;
  for (int action = 0; action < ACTIONS; ++action) {
    if (!legal(s, action)) continue;
    const state next = after(s, action);
    const int value = -solve(&next);
    if (value > best) best = value;
  }
  *known = (signed char)best;
  return best;
}

static int action_worth(const state* s, int action) {
  const state next = after(s, action);
  return -worth[tictactoe_key(&next)];
}

// ---- policies ----

// How the judge asks: sizes of the calls and how many states in all.
typedef struct asker {
  const float (*rows)[ACTIONS];
  int calls, states, bad;
} asker;

static bw_status table_policy(void* context, const void* states, int count, float* probabilities, bw_error* error) {
  (void)error;
  asker* a = (asker*)context;
  a->calls += 1;
  a->states += count;
  for (int i = 0; i < count; ++i) {
    const state* s = (const state*)states + i;
    a->bad += tictactoe_result(s) != BW_ONGOING;
    memcpy(probabilities + i * ACTIONS, a->rows[tictactoe_key(s)], sizeof a->rows[0]);
  }
  return BW_OK;
}

static bw_certificate certify(const table rows) {
  bw_certificate certificate;
  bw_error error;
  asker a = {.rows = rows};
  memset(&certificate, 0x33, sizeof certificate);
  error.message[0] = 0;
  const bw_status status = bw_judge_policy(game, table_policy, &a, &certificate, &error);
  CHECK_MSG(status == BW_OK, "%s", error.message);
  CHECK_EQ_INT(certificate.states, STATES);
  CHECK_EQ_INT(a.states, STATES - TERMINAL);
  CHECK_EQ_INT(a.bad, 0);
  return certificate;
}

static void set_move(table rows, const state* s, int action) {
  float* row = rows[tictactoe_key(s)];
  for (int a = 0; a < ACTIONS; ++a) row[a] = a == action ? 1.0f : 0.0f;
}

static int move_of(const table rows, const state* s) {
  const float* row = rows[tictactoe_key(s)];
  int best = 0;
  for (int action = 1; action < ACTIONS; ++action)
    if (row[action] > row[best]) best = action;
  return best;
}

static void fill_perfect(table rows) {
  for (int i = 0; i < state_count; ++i) {
    const state* s = &all_states[i];
    for (int action = 0; action < ACTIONS; ++action)
      if (legal(s, action) && action_worth(s, action) == worth[tictactoe_key(s)]) {
        set_move(rows, s, action);
        break;
      }
  }
}

static void fill_uniform(table rows) {
  for (int i = 0; i < state_count; ++i) {
    const state* s = &all_states[i];
    int count = 0;
    for (int action = 0; action < ACTIONS; ++action) count += legal(s, action);
    for (int action = 0; action < ACTIONS; ++action)
      rows[tictactoe_key(s)][action] = legal(s, action) ? 1.0f / (float)count : 0;
  }
}

static void fill_noisy(table rows, uint64_t seed) {
  for (int i = 0; i < state_count; ++i) {
    const state* s = &all_states[i];
    double weights[ACTIONS], sum = 0;
    for (int action = 0; action < ACTIONS; ++action) {
      const uint32_t word = bw_philox(seed, BW_STREAM_INIT, tictactoe_key(s), (uint32_t)action).v[0];
      const double u = (double)bw_uniform(word);
      weights[action] = legal(s, action) ? u * u * u + (u > 0.9 ? 5 : 0) : 0;
      sum += weights[action];
    }
    for (int action = 0; action < ACTIONS; ++action)
      rows[tictactoe_key(s)][action] = sum > 0 ? (float)(weights[action] / sum) : 0;
  }
}

// ---- oracles ----

// The result for the policy, which has `seat`, of a finished game.
static int outcome(const state* s, int seat) {
  if (tictactoe_result(s) == BW_DRAWN) return 0;
  return (tictactoe_ply(s) - 1) % 2 == seat ? 1 : -1;
}

// Weights of a row that sum to 1 in double; for argmax all on one action.
static void row_weights(const table rows, const state* s, bool argmax, double weights[ACTIONS]) {
  const float* row = rows[tictactoe_key(s)];
  double sum = 0;
  for (int action = 0; action < ACTIONS; ++action) sum += (double)row[action];
  for (int action = 0; action < ACTIONS; ++action) weights[action] = (double)row[action] / sum;
  if (argmax)
    for (int action = 0, best = move_of(rows, s); action < ACTIONS; ++action) weights[action] = action == best;
}

static double brute_best_response(const table rows, const state* s, int seat, bool argmax) {
  if (tictactoe_result(s) != BW_ONGOING) return -outcome(s, seat);
  double weights[ACTIONS], sum = 0, best = -2;
  row_weights(rows, s, argmax, weights);
  for (int action = 0; action < ACTIONS; ++action) {
    if (!legal(s, action)) continue;
    const state next = after(s, action);
    const double value = brute_best_response(rows, &next, seat, argmax);
    sum += weights[action] * value;
    if (value > best) best = value;
  }
  return tictactoe_ply(s) % 2 == seat ? sum : best;
}

// Adds the probability of every game's end to shares.
static void brute_shares(const table rows, const state* s, int seat, bool argmax, double probability,
                         bw_shares* shares) {
  if (tictactoe_result(s) != BW_ONGOING) {
    const int result = outcome(s, seat);
    *(result > 0 ? &shares->win : result < 0 ? &shares->loss : &shares->draw) += probability;
    return;
  }
  double weights[ACTIONS];
  int count = 0;
  row_weights(rows, s, argmax, weights);
  for (int action = 0; action < ACTIONS; ++action) count += legal(s, action);
  for (int action = 0; action < ACTIONS; ++action) {
    if (!legal(s, action)) continue;
    const state next = after(s, action);
    const double p = tictactoe_ply(s) % 2 == seat ? weights[action] : 1.0 / count;
    brute_shares(rows, &next, seat, argmax, probability * p, shares);
  }
}

static void check_shares(const bw_shares* got, const bw_shares* wanted) {
  CHECK_NEAR(got->win, wanted->win, 1e-12);
  CHECK_NEAR(got->draw, wanted->draw, 1e-12);
  CHECK_NEAR(got->loss, wanted->loss, 1e-12);
  CHECK_NEAR(got->win + got->draw + got->loss, 1, 1e-12);
}

static void check_against_brute_force(const table rows) {
  const bw_certificate c = certify(rows);
  state start;
  tictactoe_init(&start);
  for (int argmax = 0; argmax < 2; ++argmax) {
    const bw_exploit* exploit = argmax ? &c.argmax : &c.sampled;
    CHECK_NEAR(exploit->first, brute_best_response(rows, &start, 0, argmax), 1e-12);
    CHECK_NEAR(exploit->second, brute_best_response(rows, &start, 1, argmax), 1e-12);
    CHECK_NEAR(exploit->exploitability, (exploit->first + exploit->second) / 2, 0);
    for (int seat = 0; seat < 2; ++seat) {
      bw_shares wanted = {0, 0, 0};
      brute_shares(rows, &start, seat, argmax, 1, &wanted);
      check_shares(argmax ? &c.argmax_random[seat] : &c.sampled_random[seat], &wanted);
    }
  }
}

// ---- lines ----

// Replays a worst line: a complete game in which the policy plays its most probable actions. Returns the result for
// the best response and whether the line passes `through` (may be NULL).
static int replay(const table rows, const char* line, int seat, const state* through, bool* passed) {
  state s, parsed;
  bw_error error;
  CHECK(strlen(line) < MAX_LINE);
  if (!CHECK_MSG(bw_game_parse(game, line, &parsed, &error) == BW_OK, "%s: %s", line, error.message)) return -2;
  CHECK(tictactoe_result(&parsed) != BW_ONGOING);
  tictactoe_init(&s);
  *passed = false;
  for (const char* c = line; *c; ++c) {
    if (through && tictactoe_key(&s) == tictactoe_key(through)) *passed = true;
    if (tictactoe_ply(&s) % 2 == seat) CHECK_EQ_INT(*c - '1', move_of(rows, &s));
    tictactoe_play(&s, *c - '1');
  }
  CHECK_BYTES(&s, &parsed, sizeof s);
  return -outcome(&parsed, seat);
}

// 0.0 and not -0.0, which prints with a sign.
static bool exactly_zero(double x) { return x == 0 && !signbit(x); }

static void check_unbeaten(const table rows, const bw_exploit* exploit) {
  bool passed;
  CHECK(exactly_zero(exploit->first) && exactly_zero(exploit->second) && exactly_zero(exploit->exploitability));
  CHECK_EQ_INT(replay(rows, exploit->worst_first, 0, NULL, &passed), 0);
  CHECK_EQ_INT(replay(rows, exploit->worst_second, 1, NULL, &passed), 0);
}

// ---- tests ----

static table rows, changed;

static void test_perfect(void) {
  fill_perfect(rows);
  const bw_certificate c = certify(rows);
  check_unbeaten(rows, &c.argmax);
  check_unbeaten(rows, &c.sampled);
  CHECK_EQ_STR(c.argmax.worst_first, c.sampled.worst_first);
  for (int seat = 0; seat < 2; ++seat) {
    CHECK(exactly_zero(c.argmax_random[seat].loss));
    check_shares(&c.sampled_random[seat], &c.argmax_random[seat]);
  }
  check_against_brute_force(rows);
  // 95.56%: no policy that never loses wins more against random play.
  CHECK(c.argmax_random[0].win <= 0.99485 && c.argmax_random[1].win <= 0.91645);

  // Any mixture of moves that keep the game's value is unbeaten too, exactly.
  for (int i = 0; i < state_count; ++i) {
    const state* s = &all_states[i];
    float* row = rows[tictactoe_key(s)];
    float sum = 0;
    for (int action = 0; action < ACTIONS; ++action) {
      const bool good = legal(s, action) && action_worth(s, action) == worth[tictactoe_key(s)];
      row[action] = good ? 0.1f + 0.37f * (float)action : 0;
      sum += row[action];
    }
    for (int action = 0; action < ACTIONS && sum > 0; ++action) row[action] /= sum;
  }
  const bw_certificate mixed = certify(rows);
  check_unbeaten(rows, &mixed.sampled);
  check_unbeaten(rows, &mixed.argmax);
  CHECK(exactly_zero(mixed.sampled_random[0].loss) && exactly_zero(mixed.sampled_random[1].loss));
}

// The win probability against random play of the never-losing policy that maximises it; its moves go to rows.
static double never_losing_wins[KEYS];

static double most_wins(const state* s, int seat) {
  if (tictactoe_result(s) != BW_ONGOING) return outcome(s, seat) > 0;
  double* memo = &never_losing_wins[tictactoe_key(s)];
  if (*memo >= 0) return *memo;
  const bool own = tictactoe_ply(s) % 2 == seat;
  double best = -1, sum = 0;
  int count = 0, move = -1;
  for (int action = 0; action < ACTIONS; ++action) {
    if (!legal(s, action)) continue;
    const state next = after(s, action);
    const double wins = most_wins(&next, seat);
    sum += wins;
    ++count;
    if (wins > best && action_worth(s, action) >= (worth[tictactoe_key(s)] < 0 ? -1 : 0)) {
      best = wins;
      move = action;
    }
  }
  if (own) set_move(rows, s, move);
  return *memo = own ? best : sum / count;
}

static void test_ceilings(void) {
  state start;
  tictactoe_init(&start);
  double wins[2];
  for (int seat = 0; seat < 2; ++seat) {
    for (int i = 0; i < KEYS; ++i) never_losing_wins[i] = -1;
    wins[seat] = most_wins(&start, seat);
    for (int i = 0; i < state_count; ++i)  // states that its own moves never reach still need a move
      if (tictactoe_ply(&all_states[i]) % 2 == seat) most_wins(&all_states[i], seat);
  }
  CHECK_NEAR(wins[0], 0.9948, 5e-5);
  CHECK_NEAR(wins[1], 0.9164, 5e-5);
  CHECK_NEAR((wins[0] + wins[1]) / 2, 0.9556, 5e-5);

  const bw_certificate c = certify(rows);
  check_unbeaten(rows, &c.argmax);
  for (int seat = 0; seat < 2; ++seat) {
    CHECK_NEAR(c.argmax_random[seat].win, wins[seat], 1e-12);
    CHECK(exactly_zero(c.argmax_random[seat].loss));
  }
}

static void test_uniform(void) {
  fill_uniform(rows);
  const bw_certificate c = certify(rows);
  CHECK_NEAR(c.sampled_random[0].win, 0.5849, 5e-5);
  CHECK_NEAR(c.sampled_random[0].draw, 0.1270, 5e-5);
  CHECK_NEAR(c.sampled_random[0].loss, 0.2881, 5e-5);
  CHECK_NEAR(c.sampled_random[1].win, 0.2881, 5e-5);
  CHECK_NEAR(c.sampled_random[1].draw, 0.1270, 5e-5);
  CHECK_NEAR(c.sampled_random[1].loss, 0.5849, 5e-5);
  check_against_brute_force(rows);

  // Among equals the most probable action is the lowest: the policy that plays the first legal cell.
  for (int i = 0; i < state_count; ++i)
    for (int action = 0; action < ACTIONS; ++action)
      if (legal(&all_states[i], action)) {
        set_move(changed, &all_states[i], action);
        break;
      }
  const bw_certificate lowest = certify(changed);
  CHECK_BYTES(&c.argmax, &lowest.argmax, sizeof c.argmax);
  CHECK_BYTES(c.argmax_random, lowest.argmax_random, sizeof c.argmax_random);
  CHECK(c.argmax.first == 1 && c.argmax.second == 1 && c.argmax.exploitability == 1);
}

static void test_noisy(void) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    fill_noisy(rows, seed);
    check_against_brute_force(rows);
    const bw_certificate c = certify(rows);
    bool passed;
    CHECK(replay(rows, c.sampled.worst_first, 0, NULL, &passed) >= -1);
    CHECK(replay(rows, c.sampled.worst_second, 1, NULL, &passed) >= -1);
    // Whoever knows that the policy is pure does at least as well as against the same moves mixed with others.
    CHECK_EQ_INT(replay(rows, c.argmax.worst_first, 0, NULL, &passed), c.argmax.first);
    CHECK_EQ_INT(replay(rows, c.argmax.worst_second, 1, NULL, &passed), c.argmax.second);
  }
}

// Marks every state that can come up when the policy has `seat` and the opponent plays anything.
static void mark_reachable(const state* s, int seat, unsigned char* reached) {
  if (reached[tictactoe_key(s)]) return;
  reached[tictactoe_key(s)] = 1;
  for (int action = 0; action < ACTIONS; ++action) {
    if (!legal(s, action)) continue;
    if (tictactoe_ply(s) % 2 == seat && action != move_of(rows, s)) continue;
    const state next = after(s, action);
    mark_reachable(&next, seat, reached);
  }
}

static void test_blunders(void) {
  static unsigned char reached[2][KEYS];
  state start;
  tictactoe_init(&start);
  fill_perfect(rows);
  for (int seat = 0; seat < 2; ++seat) mark_reachable(&start, seat, reached[seat]);
  memcpy(changed, rows, sizeof rows);
  int planted[2][2] = {{0}};  // [seat][reachable]
  int skipped = 0;
  for (int i = 0; i < state_count; ++i) {
    const state* s = &all_states[i];
    const int seat = tictactoe_ply(s) % 2;
    const bool reachable = reached[seat][tictactoe_key(s)];
    if (worth[tictactoe_key(s)] < 0) continue;
    int blunder = -1;
    for (int action = 0; action < ACTIONS; ++action)
      if (legal(s, action) && action_worth(s, action) < 0) blunder = action;
    if (blunder < 0) continue;
    if (!reachable && ++skipped % 16 != 0) continue;  // most positions are not reachable: some of them will do
    ++planted[seat][reachable];
    set_move(changed, s, blunder);
    const bw_certificate c = certify(changed);
    const double first = seat == 0 && reachable ? 1 : 0, second = seat == 1 && reachable ? 1 : 0;
    for (int argmax = 0; argmax < 2; ++argmax) {
      const bw_exploit* exploit = argmax ? &c.argmax : &c.sampled;
      CHECK(exploit->first == first && exploit->second == second);
      CHECK(exploit->exploitability == (first + second) / 2);
      bool through_first, through_second;
      CHECK_EQ_INT(replay(changed, exploit->worst_first, 0, s, &through_first), first);
      CHECK_EQ_INT(replay(changed, exploit->worst_second, 1, s, &through_second), second);
      if (reachable) CHECK(seat == 0 ? through_first : through_second);
    }
    // A chance of 1/4 of the blunder costs the policy that samples 1/4 where the position is drawn; one that it mostly
    // wins (3/4 - 1/4), the best response avoids. The most probable move is still right.
    if (reachable) {
      float* row = changed[tictactoe_key(s)];
      memcpy(row, rows[tictactoe_key(s)], sizeof rows[0]);
      row[move_of(rows, s)] = 0.75f;
      row[blunder] = 0.25f;
      const bw_certificate slight = certify(changed);
      check_unbeaten(changed, &slight.argmax);
      const double value = seat == 0 ? slight.sampled.first : slight.sampled.second;
      CHECK(value == (worth[tictactoe_key(s)] == 0 ? 0.25 : 0));
      CHECK(exactly_zero(seat == 0 ? slight.sampled.second : slight.sampled.first));
    }
    memcpy(changed[tictactoe_key(s)], rows[tictactoe_key(s)], sizeof rows[0]);
  }
  CHECK_MSG(planted[0][1] >= 20 && planted[1][1] >= 50 && planted[0][0] >= 20 && planted[1][0] >= 20,
            "too few blunders: %d %d %d %d", planted[0][1], planted[1][1], planted[0][0], planted[1][0]);
}

static void check_refused(const char* expected_text) {
  bw_certificate certificate, untouched;
  bw_error error;
  asker a = {.rows = changed};
  memset(&certificate, 0x33, sizeof certificate);
  untouched = certificate;
  CHECK(bw_judge_policy(game, table_policy, &a, &certificate, &error) == BW_NUMERIC);
  CHECK_EQ_INT(error.status, BW_NUMERIC);
  CHECK_EQ_STR(error.op, "judge.policy");
  CHECK_MSG(strstr(error.message, expected_text) != NULL, "\"%s\" lacks \"%s\"", error.message, expected_text);
  CHECK_BYTES(&certificate, &untouched, sizeof certificate);
  CHECK(bw_judge_policy(game, table_policy, &a, &certificate, NULL) == BW_NUMERIC);
}

static void test_bad_policies(void) {
  state s;
  REQUIRE(bw_game_parse(game, "5132", &s, NULL) == BW_OK);
  fill_uniform(rows);
  memcpy(changed, rows, sizeof rows);
  float* row = changed[tictactoe_key(&s)];
  static const struct {
    int action;
    float p;
    const char* text;
  } bad[] = {
      {3, NAN, "the legal action '4' the probability"},
      {3, INFINITY, "the legal action '4' the probability inf"},
      {3, -0.125f, "the legal action '4' the probability -0.125"},
      {4, 0.125f, "the illegal action '5' the probability 0.125"},
      {4, NAN, "the illegal action '5' the probability"},
      {3, 0.21f, "sum to 1.01"},
      {3, 0.1997f, "sum to 0.9997"},
      {3, 0.0f, "sum to 0.8"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    memcpy(row, rows[tictactoe_key(&s)], sizeof rows[0]);
    row[bad[i].action] = bad[i].p;
    check_refused(bad[i].text);
    bw_error error;
    asker a = {.rows = changed};
    bw_certificate certificate;
    bw_judge_policy(game, table_policy, &a, &certificate, &error);
    char* quote = strchr(error.message, '"');  // the moves in the message lead to the position
    state named;
    if (!CHECK(quote != NULL && strchr(quote + 1, '"') != NULL)) continue;
    *strchr(quote + 1, '"') = 0;
    CHECK(bw_game_parse(game, quote + 1, &named, NULL) == BW_OK);
    CHECK(tictactoe_key(&named) == tictactoe_key(&s));
  }
  memset(row, 0, sizeof rows[0]);
  check_refused("sum to 0");
  memcpy(row, rows[tictactoe_key(&s)], sizeof rows[0]);
  row[3] += 5e-5f;  // rounding is no fault
  certify(changed);
}

static bw_status silent_policy(void* context, const void* states, int count, float* probabilities, bw_error* error) {
  (void)context, (void)states, (void)count, (void)probabilities, (void)error;
  return BW_OK;
}

static bw_status failing_policy(void* context, const void* states, int count, float* probabilities, bw_error* error) {
  (void)states, (void)count, (void)probabilities;
  ++*(int*)context;
  return bw_fail(error, BW_DEVICE, "test.policy", "the device is gone");
}

static void test_failures(void) {
  bw_certificate certificate;
  bw_error error;
  int calls = 0;
  CHECK(bw_judge_policy(game, silent_policy, NULL, &certificate, &error) == BW_NUMERIC);
  CHECK(bw_judge_policy(game, failing_policy, &calls, &certificate, &error) == BW_DEVICE);
  CHECK_EQ_INT(calls, 1);
  CHECK_EQ_STR(error.message, "the device is gone");
  CHECK_EQ_STR(error.op, "test.policy");

  int connect4 = 0;
  REQUIRE(bw_game_find("connect4", &connect4, NULL) == BW_OK);
  CHECK(bw_judge_policy(bw_game_at(connect4), failing_policy, &calls, &certificate, &error) == BW_STATE);
  CHECK_EQ_INT(calls, 1);  // not asked about a game that is too large
  CHECK(strstr(error.message, "connect4") && strstr(error.message, "2000000"));
}

int main(void) {
  int index = 0;
  REQUIRE(bw_game_find("tictactoe", &index, NULL) == BW_OK);
  game = bw_game_at(index);
  memset(worth, 2, sizeof worth);
  state start;
  tictactoe_init(&start);
  CHECK_EQ_INT(solve(&start), 0);
  REQUIRE(state_count == STATES);
  test_perfect();
  test_ceilings();
  test_uniform();
  test_noisy();
  test_blunders();
  test_bad_policies();
  test_failures();
  return check_summary("judge");
}
