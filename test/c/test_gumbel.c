// Gumbel search against the paper's rules written down slowly, and against what it must and must not do.
#include "../../csrc/api/bw.h"
#include "../../csrc/games/game.h"
#include "../../csrc/judge/gumbel_search.h"
#include "train_helpers.h"

static const uint64_t kSeed = 20220425;

static const bw_game* game_named(const char* name) {
  int index = 0;
  REQUIRE(bw_game_find(name, &index, NULL) == BW_OK);
  return bw_game_at(index);
}

// A random position after `plies` moves that is not the end; false where the game ended before.
static bool random_position(const bw_game* game, uint64_t number, int plies, bw_any_state* state) {
  memset(state, 0, sizeof *state);
  game->init(state->bytes);
  for (int ply = 0; ply < plies; ++ply) {
    const uint32_t legal = game->legal(state->bytes);
    game->play(state->bytes, bw_pick(legal, bw_philox(kSeed, 99, number, (uint32_t)ply).v[0]));
    if (game->result(state->bytes) != BW_ONGOING) return false;
  }
  return true;
}

// A "net" that knows nothing: any logits, any values, also such that no result can have.
static void net_says(const bw_game* game, const void* state, float* head) {
  for (int i = 0; i <= game->actions; ++i) {
    const bw_random4 words = bw_philox(kSeed, 77, game->key(state), (uint32_t)i);
    head[i] = (bw_uniform(words.v[0]) - 0.5f) * (i == game->actions ? 2.4f : 6.0f);
  }
}

typedef struct asked {
  const bw_game* game;
  int64_t positions, largest;
} asked;

static bw_status evaluate(void* self, const void* states, int64_t count, float* heads, bw_error* error) {
  asked* a = self;
  (void)error;
  for (int64_t i = 0; i < count; ++i) {
    const unsigned char* state = (const unsigned char*)states + (size_t)i * a->game->state_bytes;
    CHECK(a->game->result(state) == BW_ONGOING);
    net_says(a->game, state, heads + i * (a->game->actions + 1));
  }
  a->positions += count;
  if (count > a->largest) a->largest = count;
  return BW_OK;
}

static bw_gumbel_search* make_search(asked* a, int64_t simulations, int64_t most, bw_pool* pool) {
  const bw_gumbel_plan plan = {.game = a->game,
                               .evaluator = {.self = a, .evaluate = evaluate},
                               .simulations = simulations,
                               .most = most,
                               .pool = pool};
  bw_gumbel_search* search = NULL;
  REQUIRE(bw_gumbel_search_create(&plan, &search, NULL) == BW_OK);
  return search;
}

static bw_tree_report search_one(const bw_game* game, const void* state, int64_t simulations, const bw_random4* random,
                                 double inverse_temperature, int64_t* positions) {
  asked a = {.game = game};
  bw_gumbel_search* search = make_search(&a, simulations, 1, NULL);
  bw_tree_report report;
  int32_t action = -1;
  REQUIRE(bw_gumbel_search_run(search, state, random, 1, inverse_temperature, &action, &report, NULL) == BW_OK);
  bw_gumbel_search_destroy(search);
  CHECK_EQ_INT(action, report.action);
  CHECK(game->legal(state) >> action & 1);
  if (positions) *positions = a.positions;
  return report;
}

// ---- the reference: nothing is kept but what each simulation did; all else is counted anew each time ----

enum { MAX_RECORDS = 80, MAX_LENGTH = 48 };

typedef struct record {
  int length;
  int path[MAX_LENGTH];
  double value[MAX_LENGTH];  // that it brought to each move of the path, for the side that moves
} record;

typedef struct reference {
  const bw_game* game;
  bw_any_state root;
  record records[MAX_RECORDS];
  int count, simulations;
  double noise[BW_GAME_MAX_ACTIONS], inverse_temperature;
} reference;

static bool begins(const record* r, const int* path, int length) {
  for (int i = 0; i < length; ++i) {
    if (i >= r->length || r->path[i] != path[i]) return false;
  }
  return true;
}

static bw_any_state state_at(const reference* ref, const int* path, int length) {
  bw_any_state state = ref->root;
  for (int i = 0; i < length; ++i) ref->game->play(state.bytes, path[i]);
  return state;
}

// For the side to move: -1, 0, 1, or 2 where it is open. What stands in path beyond length is lost.
static int proven(const reference* ref, int* path, int length) {
  const bw_any_state state = state_at(ref, path, length);
  const int result = ref->game->result(state.bytes);
  if (result != BW_ONGOING) return result == BW_WON ? -1 : 0;
  bool node = length == 0;
  for (int i = 0; i < ref->count; ++i)
    node = node || (ref->records[i].length == length && begins(&ref->records[i], path, length));
  if (!node) return 2;
  int best = -1;
  bool open = false;
  for (int action = 0; action < ref->game->actions; ++action) {
    if (!(ref->game->legal(state.bytes) >> action & 1)) continue;
    path[length] = action;
    const int child = proven(ref, path, length + 1);
    if (child == -1) return 1;
    if (child == 2) open = true;
    if (child != 2 && -child > best) best = -child;
  }
  return open ? 2 : best;
}

static int visits(const reference* ref, const int* path, int length) {
  int count = 0;
  for (int i = 0; i < ref->count; ++i) count += begins(&ref->records[i], path, length);
  return count;
}

typedef struct looked {
  uint32_t legal;
  int visits[BW_GAME_MAX_ACTIONS], total, most, known[BW_GAME_MAX_ACTIONS];  // known: for the side to move
  double logits[BW_GAME_MAX_ACTIONS], priors[BW_GAME_MAX_ACTIONS], q[BW_GAME_MAX_ACTIONS], mix;
} looked;

// The root is never asked for where it is won at once.
static looked look(const reference* ref, const int* path, int length) {
  looked l = {0};
  const bw_any_state state = state_at(ref, path, length);
  int longer[MAX_LENGTH + 1];
  memcpy(longer, path, (size_t)length * sizeof *path);
  float head[BW_GAME_MAX_ACTIONS + 1];
  net_says(ref->game, state.bytes, head);
  l.legal = ref->game->legal(state.bytes);
  double sum = 0, top = -1e30, weight = 0, weighted = 0;
  for (int a = 0; a < ref->game->actions; ++a) {
    if (l.legal >> a & 1 && (double)head[a] > top) top = (double)head[a];
  }
  for (int a = 0; a < ref->game->actions; ++a) {
    if (!(l.legal >> a & 1)) continue;
    l.logits[a] = (double)head[a];
    sum += l.priors[a] = exp((double)head[a] - top);
  }
  for (int a = 0; a < ref->game->actions; ++a) {
    if (!(l.legal >> a & 1)) continue;
    l.priors[a] /= sum;
    longer[length] = a;
    const int child = proven(ref, longer, length + 1);
    l.known[a] = child == 2 ? 2 : -child;
    l.visits[a] = visits(ref, longer, length + 1);
    l.total += l.visits[a];
    if (l.visits[a] > l.most) l.most = l.visits[a];
    if (l.visits[a] == 0) continue;
    for (int i = 0; i < ref->count; ++i) {
      if (begins(&ref->records[i], longer, length + 1)) l.q[a] += ref->records[i].value[length];
    }
    l.q[a] = l.known[a] != 2 ? l.known[a] : l.q[a] / l.visits[a];
    weight += l.priors[a];
    weighted += l.priors[a] * l.q[a];
  }
  const double value = fmin(1, fmax(-1, (double)head[ref->game->actions]));
  l.mix = l.total ? (value + l.total * weighted / weight) / (1 + l.total) : value;
  for (int a = 0; a < ref->game->actions; ++a) {
    if (l.legal >> a & 1 && l.visits[a] == 0) l.q[a] = l.known[a] != 2 ? l.known[a] : l.mix;
  }
  return l;
}

static double sigma(const looked* l, int a) { return (50 + l->most) * (1 + l->q[a]) / 2; }

static int follow(const reference* ref, const int* path, int length) {
  const looked l = look(ref, path, length);
  double best = -1e30;
  int found = -1;
  for (int a = 0; a < ref->game->actions; ++a) {
    if (!(l.legal >> a & 1) || l.known[a] != 2) continue;
    const double score = l.q[a] + 1.25 * l.priors[a] * sqrt(1.0 + l.total) / (1 + l.visits[a]);
    if (score > best) {
      best = score;
      found = a;
    }
  }
  return found;
}

// Whether a move of this node is known to draw.
static bool has_draw(const reference* ref, const int* path, int length) {
  const looked l = look(ref, path, length);
  for (int a = 0; a < ref->game->actions; ++a) {
    if (l.legal >> a & 1 && l.known[a] == 0) return true;
  }
  return false;
}

static void simulate(reference* ref, int action) {
  record r = {.length = 1, .path = {action}};
  for (;;) {
    const bool known = proven(ref, r.path, r.length) != 2;
    bool node = false;
    for (int i = 0; i < ref->count; ++i) node = node || begins(&ref->records[i], r.path, r.length);
    if (known || !node) break;
    const int next = follow(ref, r.path, r.length);
    r.path[r.length++] = next;
  }
  const bw_any_state leaf = state_at(ref, r.path, r.length);
  float head[BW_GAME_MAX_ACTIONS + 1];
  net_says(ref->game, leaf.bytes, head);
  double value = -fmin(1, fmax(-1, (double)head[ref->game->actions]));
  ref->records[ref->count++] = r;
  for (int i = r.length; i > 0; --i) {
    int path[MAX_LENGTH + 1];
    memcpy(path, r.path, sizeof r.path);
    const int known = proven(ref, path, i);
    if (known != 2) value = -known;
    ref->records[ref->count - 1].value[i - 1] = value;
    memcpy(path, r.path, sizeof r.path);
    const int above = proven(ref, path, i - 1);
    if (above == 2 && value < 0 && has_draw(ref, r.path, i - 1)) value = 0;
    value = -value;
  }
}

static double root_score(const reference* ref, const looked* l, int a) {
  return ref->noise[a] + l->logits[a] * ref->inverse_temperature + sigma(l, a);
}

// Of the moves in mask, the n best by score, as a mask; the best first in order.
static uint32_t best_moves(const reference* ref, uint32_t mask, int n, int* order) {
  const looked l = look(ref, NULL, 0);
  uint32_t chosen = 0;
  for (int i = 0; i < n; ++i) {
    int best = -1;
    for (int a = 0; a < ref->game->actions; ++a) {
      if (!(mask >> a & 1) || chosen >> a & 1) continue;
      if (best < 0 || root_score(ref, &l, a) > root_score(ref, &l, best)) best = a;
    }
    if (best < 0) break;
    chosen |= 1u << best;
    order[i] = best;
  }
  return chosen;
}

static uint32_t not_lost(const reference* ref, uint32_t mask) {
  const looked l = look(ref, NULL, 0);
  uint32_t hopeful = 0;
  for (int a = 0; a < ref->game->actions; ++a) {
    if (l.legal & mask & 1u << a && l.known[a] != -1) hopeful |= 1u << a;
  }
  return hopeful;
}

static int count_of(uint32_t mask) { return (int)__builtin_popcount(mask); }

static bool over(const reference* ref) {
  int path[MAX_LENGTH + 1];
  return ref->count >= ref->simulations || proven(ref, path, 0) != 2 || count_of(not_lost(ref, ~0u)) <= 1;
}

static int reference_search(reference* ref) {
  int order[BW_GAME_MAX_ACTIONS], path[MAX_LENGTH + 1];
  uint32_t field = 0;  // the moves that are left
  int phases = 0, last = 0;
  while (!over(ref)) {
    const bool first = phases == 0;
    field = not_lost(ref, first ? ~0u : field);
    const bool again = !field;
    if (again) field = not_lost(ref, ~0u);
    int n = first || again ? (ref->simulations < 16 ? ref->simulations : 16) : last / 2;
    if (!first && n < 2) n = 2;
    field = best_moves(ref, field, n, order);
    last = count_of(field);
    if (first) phases = (int)ceil(log2(last));
    if (phases == 0) phases = 1;
    const int rounds = (int)fmax(1, floor((double)ref->simulations / (phases * last)));
    bool any = false;
    for (int round = 0; round < rounds; ++round) {
      for (int i = 0; i < last && !over(ref); ++i) {
        path[0] = order[i];
        if (proven(ref, path, 1) != 2) continue;
        simulate(ref, order[i]);
        any = true;
      }
    }
    if (!any) break;
  }
  // The choice.
  if (proven(ref, path, 0) == 1) {
    const looked l = look(ref, NULL, 0);
    for (int a = 0; a < ref->game->actions; ++a) {
      if (l.legal >> a & 1 && l.known[a] == 1) return a;
    }
  }
  uint32_t from = not_lost(ref, field);
  if (!from) from = not_lost(ref, ~0u);
  if (!from) from = ref->game->legal(ref->root.bytes);
  best_moves(ref, from, 1, order);
  return order[0];
}

static void test_reference(void) {
  static const int simulations[] = {1, 2, 3, 5, 8, 16, 33, 64};
  int64_t compared = 0, forced = 0, sure = 0, deep = 0, partial = 0;
  for (uint64_t number = 0; number < 1600; ++number) {
    const bw_game* game = game_named(number % 2 ? "connect4" : "tictactoe");
    static reference ref;
    ref = (reference){.game = game, .inverse_temperature = number % 3 ? 1 : 2.5};
    ref.simulations = simulations[number / 2 % 8];
    const int plies = (int)(number / 16 % (uint64_t)(game->max_plies - 1));
    if (!random_position(game, number, plies, &ref.root)) continue;
    if (bw_wins(game, ref.root.bytes)) continue;  // nothing is asked, so that nothing can be compared
    const bw_random4 random = bw_philox(kSeed, 5, number, 6);
    const bool noisy = number % 5 > 1;
    for (int a = 0; noisy && a < game->actions; ++a) {
      const uint64_t key = (uint64_t)random.v[0] << 32 | random.v[1];
      const uint32_t word = bw_philox(key, BW_STREAM_SEARCH, 0, (uint32_t)a / 4).v[a % 4];
      ref.noise[a] = -log(-log(((double)word + 0.5) / 4294967296.0));
    }
    const int wanted = reference_search(&ref);
    int64_t positions = 0;
    const bw_tree_report got =
        search_one(game, ref.root.bytes, ref.simulations, noisy ? &random : NULL, ref.inverse_temperature, &positions);
    const looked l = look(&ref, NULL, 0);
    int path[MAX_LENGTH + 1];
    const int known = proven(&ref, path, 0);
    const bool same =
        CHECK_MSG(got.action == wanted && got.simulations == ref.count,
                  "seed %llu, position %llu, %d simulations: move %d after %d, the reference's %d after %d",
                  (unsigned long long)kSeed, (unsigned long long)number, ref.simulations, got.action, got.simulations,
                  wanted, ref.count);
    CHECK(positions <= 1 + got.simulations);
    CHECK_EQ_INT(got.sure, known == 2 ? BW_TREE_OPEN : known + 2);
    for (int a = 0; same && a < game->actions; ++a) {
      CHECK_EQ_INT(got.visits[a], l.visits[a]);
      CHECK_NEAR(got.values[a], l.legal >> a & 1 ? l.q[a] : 0, 1e-9);
    }
    CHECK_NEAR(got.value, known == 2 ? l.mix : known, 1e-9);
    double sum = 0;
    for (int a = 0; a < game->actions; ++a) sum += got.probabilities[a];
    CHECK_NEAR(sum, 1, 1e-9);
    ++compared;
    forced += got.simulations < ref.simulations;
    sure += known != 2;
    for (int i = 0; i < ref.count; ++i) deep += ref.records[i].length > 4;
    partial += known == 2 && count_of(not_lost(&ref, ~0u)) < count_of(l.legal);
  }
  CHECK_MSG(compared > 700 && forced > 100 && sure > 20 && deep > 1000 && partial > 100,
            "%d compared, %d ended early, %d proven, %d deep paths, %d with lost moves", (int)compared, (int)forced,
            (int)sure, (int)deep, (int)partial);
}

// ---- many at once ----

enum { MANY = 150 };

static void test_batches(void) {
  const bw_game* game = game_named("connect4");
  static unsigned char states[MANY * BW_GAME_MAX_STATE_BYTES];
  static bw_random4 random[MANY];
  static bw_tree_report wanted[MANY], got[MANY];
  static int32_t actions[MANY];
  const size_t bytes = game->state_bytes;
  int64_t count = 0;
  for (uint64_t number = 0; count < MANY; ++number) {
    bw_any_state state;
    if (!random_position(game, number, (int)(number % 36), &state)) continue;
    memcpy(states + (size_t)count * bytes, state.bytes, bytes);
    random[count++] = bw_philox(kSeed, 6, number, 7);
  }
  for (int64_t i = 0; i < MANY; ++i) wanted[i] = search_one(game, states + (size_t)i * bytes, 40, &random[i], 1, NULL);
  for (int threads = 1; threads <= 3; threads += 2) {
    for (int64_t most = 7; most <= 1000; most += 993) {
      bw_pool* pool = NULL;
      REQUIRE(bw_pool_create(threads, &pool, NULL) == BW_OK);
      asked a = {.game = game};
      bw_gumbel_search* search = make_search(&a, 40, most, pool);
      memset(got, 0xAA, sizeof got);
      REQUIRE(bw_gumbel_search_run(search, states, random, MANY, 1, actions, got, NULL) == BW_OK);
      CHECK_BYTES(got, wanted, sizeof got);
      // One forward pass for all, not one for each.
      CHECK_MSG(a.largest >= (most < MANY ? most - 3 : MANY - 50), "%d positions at once of %d", (int)a.largest, MANY);
      // Backwards, in the memory of other searches.
      for (int64_t i = MANY; i-- > MANY - 20;) {
        bw_tree_report again;
        REQUIRE(bw_gumbel_search_run(search, states + (size_t)i * bytes, &random[i], 1, 1, actions, &again, NULL) ==
                BW_OK);
        CHECK_BYTES(&again, &wanted[i], sizeof again);
      }
      bw_gumbel_search_destroy(search);
      bw_pool_destroy(pool);
    }
  }
}

// ---- what it must find ----

static void test_tactics(void) {
  const bw_game* game = game_named("connect4");
  int wins = 0, saved = 0, doomed = 0, single = 0;
  for (uint64_t number = 0; number < 6000; ++number) {
    bw_any_state state;
    const int plies = number < 3000 ? (int)number % 41 : 39 + (int)number % 3;
    if (!random_position(game, number, plies, &state)) continue;
    const uint32_t legal = game->legal(state.bytes), winning = bw_wins(game, state.bytes);
    int64_t positions = 0;
    if (winning) {
      const bw_tree_report report = search_one(game, state.bytes, 1, NULL, 1, &positions);
      CHECK(winning >> report.action & 1);
      CHECK(report.value == 1 && report.sure == BW_TREE_WON && positions == 0);
      ++wins;
      continue;
    }
    uint32_t safe = 0;
    for (int action = 0; action < game->actions; ++action) {
      if (!(legal >> action & 1)) continue;
      const bw_any_state next = bw_after(game, state.bytes, action);
      if (game->result(next.bytes) == BW_ONGOING && bw_wins(game, next.bytes)) continue;
      safe |= 1u << action;
    }
    // As many simulations as moves look at each of them.
    const bw_random4 random = bw_philox(kSeed, 8, number, 9);
    const bw_tree_report report = search_one(game, state.bytes, 8, number % 2 ? &random : NULL, 1, &positions);
    if (!safe) {
      // It stops at the last move: there is no other.
      int hopeful = 0;
      for (int action = 0; action < game->actions; ++action)
        hopeful += legal >> action & 1 && report.values[action] > -1;
      CHECK_MSG(hopeful <= 1, "position %llu: %d moves that are not seen to lose", (unsigned long long)number, hopeful);
      ++doomed;
    } else {
      CHECK_MSG(safe >> report.action & 1, "position %llu: gives a win away", (unsigned long long)number);
      saved += safe != legal;
    }
    if (!(legal & (legal - 1))) {
      CHECK(report.simulations == 0 && positions <= 1);
      ++single;
    }
  }
  CHECK_MSG(wins > 300 && saved > 200 && doomed > 30 && single > 10, "%d wins, %d saved, %d doomed, %d single", wins,
            saved, doomed, single);
}

static void test_noise(void) {
  // Without an opinion on values, choices are samples of the policy: Gumbel-max. One simulation asks for nothing more.
  const bw_game* game = game_named("connect4");
  bw_any_state state;
  memset(&state, 0, sizeof state);
  game->init(state.bytes);
  float head[BW_GAME_MAX_ACTIONS + 1];
  net_says(game, state.bytes, head);
  enum { DRAWS = 4000 };
  const double temperature = 2;
  double sum = 0;
  int found[7] = {0};
  for (int a = 0; a < 7; ++a) sum += exp((double)head[a] / temperature);
  for (uint32_t i = 0; i < DRAWS; ++i) {
    const bw_random4 random = bw_philox(kSeed, 4, i, 0);
    ++found[search_one(game, state.bytes, 1, &random, 1 / temperature, NULL).action];
  }
  for (int a = 0; a < 7; ++a) {
    const double wanted = exp((double)head[a] / temperature) / sum;
    CHECK_NEAR(found[a] / (double)DRAWS, wanted, 4.5 * sqrt(wanted * (1 - wanted) / DRAWS));
  }
}

static bool never_mind(void* context) { return ++*(int*)context > 5; }

static void test_refusals(void) {
  asked a = {.game = game_named("connect4")};
  int64_t wrong[2] = {0, BW_TREE_MAX_SIMULATIONS + 1};
  for (int i = 0; i < 2; ++i) {
    bw_gumbel_search* search = NULL;
    bw_error error = {0};
    const bw_gumbel_plan plan = {.game = a.game, .simulations = wrong[i], .most = 1};
    CHECK(bw_gumbel_search_create(&plan, &search, &error) == BW_OPTION);
    CHECK_EQ_STR(error.path, "simulations");
  }
  int times = 0;
  const bw_gumbel_plan plan = {.game = a.game,
                               .evaluator = {.self = &a, .evaluate = evaluate},
                               .simulations = 1000,
                               .most = 1,
                               .cancelled = never_mind,
                               .context = &times};
  bw_gumbel_search* search = NULL;
  bw_any_state state;
  int32_t action;
  a.game->init(state.bytes);
  REQUIRE(bw_gumbel_search_create(&plan, &search, NULL) == BW_OK);
  CHECK(bw_gumbel_search_run(search, state.bytes, NULL, 1, 1, &action, NULL, NULL) == BW_CANCELLED);
  CHECK_EQ_INT(a.positions, 5);
  bw_gumbel_search_destroy(search);
}

int main(void) {
  test_reference();
  test_batches();
  test_tactics();
  test_noise();
  test_refusals();
  return check_summary("gumbel");
}
