// Matches and the players without a network, against slow rules written for this test.
#include <limits.h>
#include <stdatomic.h>

#include "../../csrc/api/bw.h"
#include "../../csrc/games/game.h"
#include "../../csrc/judge/players/players.h"
#include "train_helpers.h"

enum { MAX_GAMES = 4000, MOVES = 42 };

static const uint64_t kSeed = 20240607;

typedef struct played {
  uint8_t results[MAX_GAMES], plies[MAX_GAMES];
  char moves[MAX_GAMES * MOVES];
} played;

static played kept[2];

static const bw_game* game_named(const char* name) {
  int index = 0;
  REQUIRE(bw_game_find(name, &index, NULL) == BW_OK);
  return bw_game_at(index);
}

static bw_player_spec spec(const char* kind, int64_t strength) {
  return (bw_player_spec){.kind = kind, .strength = strength};
}

static bw_match_request request_of(const char* game, bw_player_spec a, bw_player_spec b, int64_t games) {
  return (bw_match_request){.game = game, .players = {a, b}, .games = games, .seed = kSeed, .threads = 1};
}

static void run(const bw_match_request* request, played* out) {
  bw_error error;
  memset(out, 0, sizeof *out);
  const bw_status status = bw_match_run(request, out->results, out->plies, out->moves, &error);
  if (status != BW_OK) fprintf(stderr, "%s\n", error.message);
  REQUIRE(status == BW_OK);
}

// ---- positions for the players ----

// A random position after `plies` moves that is not the end; false where the game ended before.
static bool random_position(const bw_game* game, uint64_t number, int plies, bw_any_state* state) {
  game->init(state->bytes);
  for (int ply = 0; ply < plies; ++ply) {
    const uint32_t legal = game->legal(state->bytes);
    game->play(state->bytes, bw_pick(legal, bw_philox(kSeed, 99, number, (uint32_t)ply).v[0]));
    if (game->result(state->bytes) != BW_ONGOING) return false;
  }
  return true;
}

// Connect Four on an array: 0 empty, 1 the side to move, 2 the other one.
typedef struct board {
  int cell[6][7];
} board;

static board board_of(const bw_game* game, const void* state) {
  board b;
  const int me = 1 + (game->ply(state) & 1);
  for (int r = 0; r < 6; ++r) {
    for (int c = 0; c < 7; ++c) {
      const int who = game->cell(state, r, c);
      b.cell[r][c] = who == 0 ? 0 : who == me ? 1 : 2;
    }
  }
  return b;
}

static int top(const board* b, int col) {
  int row = 0;
  while (row < 6 && b->cell[row][col]) ++row;
  return row;
}

static bool four_through(const board* b, int row, int col, int who) {
  static const int steps[4][2] = {{0, 1}, {1, 0}, {1, 1}, {1, -1}};
  for (int s = 0; s < 4; ++s) {
    int length = 1;
    for (int way = -1; way <= 1; way += 2) {
      for (int k = 1; k < 4; ++k) {
        const int r = row + way * k * steps[s][0], c = col + way * k * steps[s][1];
        if (r < 0 || r > 5 || c < 0 || c > 6 || b->cell[r][c] != who) break;
        ++length;
      }
    }
    if (length >= 4) return true;
  }
  return false;
}

static bool would_win(const board* b, int col, int who) {
  const int row = top(b, col);
  return row < 6 && four_through(b, row, col, who);
}

static int choose(const char* kind, int64_t strength, const bw_game* game, const void* state, bw_random4 random) {
  const bw_player_kind* found = NULL;
  REQUIRE(bw_player_kind_find(kind, &found, NULL) == BW_OK);
  bw_chooser chooser = {.game = game, .strength = strength};
  if (found->how->open) REQUIRE(found->how->open(&chooser, NULL) == BW_OK);
  const int action = found->how->choose(&chooser, state, random);
  if (found->how->close) found->how->close(chooser.memory);
  CHECK_MSG(action >= 0 && game->legal(state) >> action & 1, "%s: illegal action %d", kind, action);
  return action;
}

// ---- heuristic ----

static int heuristic_rule(const board* b) {
  static const int order[7] = {3, 2, 4, 1, 5, 0, 6};
  for (int who = 1; who <= 2; ++who) {
    for (int col = 0; col < 7; ++col) {
      if (would_win(b, col, who)) return col;
    }
  }
  for (int i = 0; i < 7; ++i) {
    if (top(b, order[i]) < 6) return order[i];
  }
  return -1;
}

static void test_heuristic(void) {
  const bw_game* game = game_named("connect4");
  int wins = 0, blocks = 0, others = 0;
  for (uint64_t number = 0; number < 4000; ++number) {
    bw_any_state state;
    if (!random_position(game, number, (int)(number % 41), &state)) continue;
    const board b = board_of(game, state.bytes);
    const int wanted = heuristic_rule(&b);
    const int got = choose("heuristic", 0, game, state.bytes, bw_philox(1, 2, number, 3));
    CHECK_MSG(got == wanted, "position %llu: column %d, by the rule %d", (unsigned long long)number, got, wanted);
    if (would_win(&b, wanted, 1)) {
      ++wins;
    } else if (would_win(&b, wanted, 2)) {
      ++blocks;
    } else {
      ++others;
    }
  }
  CHECK_MSG(wins > 100 && blocks > 100 && others > 100, "%d wins, %d blocks, %d others", wins, blocks, others);
}

// ---- one-ply ----

static void test_one_ply(void) {
  const bw_game* game = game_named("connect4");
  int wins = 0, saved = 0, lost = 0;
  for (uint64_t number = 0; number < 4000; ++number) {
    bw_any_state state;
    if (!random_position(game, number, (int)(number % 41), &state)) continue;
    board b = board_of(game, state.bytes);
    bool can_win = false, can_save = false, can_block = false, safe[7];
    for (int col = 0; col < 7; ++col) {
      const int row = top(&b, col);
      safe[col] = row < 6;
      if (row == 6) continue;
      can_win = can_win || would_win(&b, col, 1);
      can_block = can_block || would_win(&b, col, 2);
      b.cell[row][col] = 1;
      for (int reply = 0; reply < 7; ++reply) safe[col] = safe[col] && !would_win(&b, reply, 2);
      b.cell[row][col] = 0;
      can_save = can_save || safe[col];
    }
    const int got = choose("one-ply", 0, game, state.bytes, bw_philox(1, 2, number, 3));
    if (can_win) {
      CHECK_MSG(would_win(&b, got, 1), "position %llu: it could win", (unsigned long long)number);
      ++wins;
    } else if (can_save) {
      CHECK_MSG(safe[got], "position %llu: gives a win away", (unsigned long long)number);
      ++saved;
    } else {
      CHECK_MSG(!can_block || would_win(&b, got, 2), "position %llu: blocks nothing", (unsigned long long)number);
      ++lost;
    }
  }
  CHECK_MSG(wins > 100 && saved > 100 && lost > 20, "%d wins, %d saved, %d lost", wins, saved, lost);
}

// ---- alpha-beta ----

static int evaluation(const board* b) {
  static const int column[7] = {0, 1, 2, 3, 2, 1, 0};
  int value = 0;
  for (int r = 0; r < 6; ++r) {
    for (int c = 0; c < 7; ++c) {
      const int who = b->cell[r][c];
      if (who) {
        value += who == 1 ? column[c] : -column[c];
      } else {
        value += 16 * (four_through(b, r, c, 1) - four_through(b, r, c, 2));
      }
    }
  }
  return value;
}

static int minimax(const bw_game* game, const void* state, int depth) {
  const int result = game->result(state);
  if (result == BW_WON) return -((1 << 20) - game->ply(state));
  if (result == BW_DRAWN) return 0;
  if (depth == 0) {
    const board b = board_of(game, state);
    return evaluation(&b);
  }
  int best = -(1 << 20);
  for (int action = 0; action < game->actions; ++action) {
    if (!(game->legal(state) >> action & 1)) continue;
    const bw_any_state next = bw_after(game, state, action);
    const int value = -minimax(game, next.bytes, depth - 1);
    if (value > best) best = value;
  }
  return best;
}

static void test_alpha_beta(void) {
  const bw_game* game = game_named("connect4");
  int several = 0;
  for (uint64_t number = 0; number < 400; ++number) {
    bw_any_state state;
    if (!random_position(game, number, (int)(number % 38), &state)) continue;
    const int depth = 1 + (int)(number % 4);
    const int best = minimax(game, state.bytes, depth);
    uint32_t wanted = 0, got = 0;
    for (int action = 0; action < 7; ++action) {
      if (!(game->legal(state.bytes) >> action & 1)) continue;
      const bw_any_state next = bw_after(game, state.bytes, action);
      if (-minimax(game, next.bytes, depth - 1) == best) wanted |= 1u << action;
    }
    // Any of the best ones, by chance: 60 draws miss one of two with a chance of 2^-59.
    for (uint32_t i = 0; i < 60; ++i) {
      got |= 1u << choose("alpha-beta", depth, game, state.bytes, bw_philox(7, 8, number, i));
    }
    CHECK_MSG(got == wanted, "position %llu, depth %d: moves %x, by minimax %x", (unsigned long long)number, depth, got,
              wanted);
    several += (wanted & (wanted - 1)) != 0;
  }
  CHECK_MSG(several > 20, "%d positions with equal moves", several);
  // The whole of tic-tac-toe: never loses.
  bw_match_request request = request_of("tictactoe", spec("alpha-beta", 9), spec("random", 0), 200);
  run(&request, &kept[0]);
  int won = 0;
  for (int g = 0; g < 200; ++g) {
    CHECK(kept[0].results[g] != BW_MATCH_LOSS);
    won += kept[0].results[g] == BW_MATCH_WIN;
  }
  CHECK_MSG(won > 120, "%d of 200", won);
}

// ---- MCTS ----

static void test_mcts(void) {
  const bw_game* game = game_named("connect4");
  bw_any_state state;
  // Wins at once, and blocks where it would lose at once.
  const struct {
    const char* moves;
    int action;
  } forced[] = {{"112233", 3}, {"11213", 3}, {"71727", 6}};
  for (int i = 0; i < 3; ++i) {
    REQUIRE(bw_game_parse(game, forced[i].moves, state.bytes, NULL) == BW_OK);
    CHECK_EQ_INT(choose("mcts", 400, game, state.bytes, bw_philox(3, 4, 5, 6)), forced[i].action);
  }
  // The choice is a function of the random numbers.
  REQUIRE(bw_game_parse(game, "44", state.bytes, NULL) == BW_OK);
  uint32_t seen = 0;
  for (uint32_t i = 0; i < 40; ++i) {
    const bw_random4 random = bw_philox(kSeed, 5, i, 0);
    const int action = choose("mcts", 30, game, state.bytes, random);
    CHECK_EQ_INT(choose("mcts", 30, game, state.bytes, random), action);
    seen |= 1u << action;
  }
  CHECK((seen & (seen - 1)) != 0);
  // More simulations are stronger, and both are stronger than chance.
  const int64_t simulations[2] = {20, 200};
  const char* opponents[2] = {"random", "mcts"};
  for (int i = 0; i < 2; ++i) {
    bw_match_request request =
        request_of("connect4", spec("mcts", simulations[i]), spec(opponents[i], i ? 20 : 0), 100);
    run(&request, &kept[0]);
    int points = 0;
    for (int g = 0; g < 100; ++g) points += 2 - kept[0].results[g];
    CHECK_MSG(points >= 150, "mcts %d against %s: %d points of 200", (int)simulations[i], opponents[i], points);
  }
}

// ---- the perfect player ----

static void test_perfect(void) {
  const bw_game* game = game_named("connect4");
  bw_connect4_solver* solver = NULL;
  REQUIRE(bw_connect4_solver_create(1, 0, true, &solver, NULL) == BW_OK);
  const bw_player_kind* kind = NULL;
  REQUIRE(bw_player_kind_find("perfect", &kind, NULL) == BW_OK);
  bw_chooser chooser = {.game = game};
  REQUIRE(kind->how->open(&chooser, NULL) == BW_OK);
  int several = 0;
  for (uint64_t number = 0; number < 400; ++number) {
    // Up to the book's end, and from where searches are short.
    const int plies = number < 60 ? (int)number % bw_connect4_solver_book_plies() : 22 + (int)(number % 19);
    char moves[64] = "";
    bw_any_state state;
    game->init(state.bytes);
    for (int ply = 0; ply < plies && game->result(state.bytes) == BW_ONGOING; ++ply) {
      const int action = bw_pick(game->legal(state.bytes), bw_philox(kSeed, 98, number, (uint32_t)ply).v[0]);
      moves[ply] = (char)game->symbol(action);
      game->play(state.bytes, action);
    }
    if (game->result(state.bytes) != BW_ONGOING) continue;
    const char* text = moves;
    bw_connect4_solution solution;
    REQUIRE(bw_connect4_solver_solve(solver, &text, 1, true, NULL, NULL, &solution, NULL) == BW_OK);
    uint32_t wanted = 0, got = 0;
    for (int action = 0; action < 7; ++action) {
      if (solution.scores[action] == solution.score) wanted |= 1u << action;
    }
    for (uint32_t i = 0; i < 60; ++i) {
      got |= 1u << kind->how->choose(&chooser, state.bytes, bw_philox(7, 8, number, i));
    }
    CHECK_MSG(got == wanted, "after %s: moves %x, the solver's %x", moves, got, wanted);
    several += (wanted & (wanted - 1)) != 0;
  }
  CHECK_MSG(several > 3, "%d positions with equal moves", several);
  kind->how->close(chooser.memory);
  bw_connect4_solver_destroy(solver);
}

// ---- matches ----

// Plays the moves again: they are legal, end the game there, and the result is the one that was told.
static void check_games(const char* name, const played* p, int64_t games, int64_t first, const char* const* openings,
                        int64_t opening_count) {
  const bw_game* game = game_named(name);
  for (int64_t g = 0; g < games; ++g) {
    const int64_t number = first + g;
    char moves[128];
    const char* opening = opening_count ? openings[number / 2 % opening_count] : "";
    const int before = (int)strlen(opening);
    snprintf(moves, sizeof moves, "%s%.*s", opening, p->plies[g], p->moves + g * game->max_plies);
    bw_any_state state;
    bw_error error;
    REQUIRE(bw_game_parse(game, moves, state.bytes, &error) == BW_OK);
    const int result = game->result(state.bytes);
    CHECK(result != BW_ONGOING && game->ply(state.bytes) == before + p->plies[g]);
    const bool by_even = (game->ply(state.bytes) - 1) % 2 == 0;  // the last move was the first mover's
    const bool a_is_even = number % 2 == 0;
    const int wanted = result == BW_DRAWN ? BW_MATCH_DRAW : by_even == a_is_even ? BW_MATCH_WIN : BW_MATCH_LOSS;
    CHECK_EQ_INT(p->results[g], wanted);
  }
}

static void test_games(void) {
  const char* openings[] = {"", "4", "44", "1234567", "3311"};
  bw_match_request request = request_of("connect4", spec("one-ply", 0), spec("random", 0), 500);
  request.openings = openings;
  request.opening_count = 5;
  run(&request, &kept[0]);
  check_games("connect4", &kept[0], 500, 0, openings, 5);
  // The one that looks wins nearly always, in either seat.
  int points[2] = {0, 0};
  for (int g = 0; g < 500; ++g) points[g % 2] += 2 - kept[0].results[g];
  CHECK_MSG(points[0] > 450 && points[1] > 420, "%d and %d points of 500", points[0], points[1]);
  // The same on any number of threads, and in parts.
  request.threads = 3;
  run(&request, &kept[1]);
  CHECK_BYTES(&kept[0], &kept[1], sizeof kept[0]);
  request.first = 123;
  request.games = 200;
  run(&request, &kept[1]);
  CHECK_BYTES(kept[0].moves + 123 * MOVES, kept[1].moves, 200 * MOVES);
  CHECK_BYTES(kept[0].results + 123, kept[1].results, 200);
  check_games("connect4", &kept[1], 200, 123, openings, 5);
  // Another seed is another match.
  request.seed = kSeed + 1;
  run(&request, &kept[0]);
  CHECK(memcmp(kept[0].moves, kept[1].moves, 200 * MOVES) != 0);
}

static void test_seats(void) {
  // Two of a kind in all seats: shares of the first mover are those of random playouts.
  bw_playouts totals;
  REQUIRE(bw_game_playouts("connect4", "", 40000, 5, 0, &totals, NULL) == BW_OK);
  bw_match_request request = request_of("connect4", spec("random", 0), spec("random", 0), MAX_GAMES);
  run(&request, &kept[0]);
  int first = 0, a = 0;
  for (int g = 0; g < MAX_GAMES; ++g) {
    a += kept[0].results[g] == BW_MATCH_WIN;
    first += kept[0].results[g] == (g % 2 == 0 ? BW_MATCH_WIN : BW_MATCH_LOSS);
  }
  const double share = (double)totals.first / (double)totals.games;
  CHECK_NEAR((double)first / MAX_GAMES, share, 4 * sqrt(share * (1 - share) / MAX_GAMES));
  CHECK_NEAR((double)a / MAX_GAMES, 0.5, 4 * 0.5 / sqrt(MAX_GAMES));
}

// ---- policies ----

typedef struct net {
  bw_selfplay* run;
  bw_player_spec spec;
  uint8_t* file;
} net;

// scale: of the weights. Larger ones make a net that is sure of itself: other positions get other moves.
static net make_scaled_net(const char* game, const char* kind, const char* width, const char* depth, const char* seed,
                           float scale) {
  const test_option options[] = {{"net.kind", kind},
                                 {"net.width", width},
                                 {"net.depth", depth},
                                 {"run.seed", seed},
                                 {"ppo.lr", "0.01"},
                                 {"net.value", strcmp(kind, "mlp") ? "wdl" : "scalar"},
                                 {"net.observation", strcmp(kind, "mlp") ? "threats" : "stones"},
                                 {NULL, NULL}};
  net n = {.spec = {.kind = "policy", .config = test_config(game, options), .temperature = 1}};
  REQUIRE(bw_selfplay_create(&n.spec.config, &n.run, NULL) == BW_OK);
  uint8_t* bytes = NULL;
  size_t size = 0;
  bw_safetensors file;
  REQUIRE(bw_selfplay_save(n.run, false, NULL, 0, &bytes, &size, NULL) == BW_OK);
  REQUIRE(bw_safetensors_parse(bytes, size, &file, NULL) == BW_OK);
  for (int i = 0; i < file.tensor_count; ++i) {
    const bw_tensor tensor = bw_safetensors_tensor(&file, i);
    if (!strstr(tensor.name, ".weight")) continue;
    for (size_t k = 0; k < tensor.bytes / sizeof(float); ++k) {
      uint8_t* at = bytes + ((const uint8_t*)tensor.data - bytes) + k * sizeof(float);
      float weight;
      memcpy(&weight, at, sizeof weight);
      weight *= scale;
      memcpy(at, &weight, sizeof weight);
    }
  }
  bw_safetensors_free(&file);
  REQUIRE(bw_selfplay_load(n.run, bytes, size, NULL) == BW_OK);
  free(bytes);
  const bool whole = seed[0] == '1';  // a checkpoint or a policy file: both hold the weights
  const bw_status status = whole ? bw_selfplay_save(n.run, false, NULL, 0, &n.file, &n.spec.file_bytes, NULL)
                                 : bw_selfplay_save_policy(n.run, NULL, 0, &n.file, &n.spec.file_bytes, NULL);
  REQUIRE(status == BW_OK);
  n.spec.file = n.file;
  return n;
}

static net make_net(const char* game, const char* kind, const char* width, const char* depth, const char* seed) {
  return make_scaled_net(game, kind, width, depth, seed, 16);
}

static void free_net(net* n) {
  bw_selfplay_destroy(n->run);
  free(n->file);
}

static void test_policies(void) {
  net a = make_net("connect4", "mlp", "16", "2", "1"), b = make_net("connect4", "resmlp", "24", "3", "2");
  const bw_game* game = game_named("connect4");
  // Two different nets, each at its most probable move: every move is what the runs themselves say.
  const char* openings[] = {"", "4", "1122", "37"};
  a.spec.argmax = b.spec.argmax = true;
  bw_match_request request = request_of("connect4", a.spec, b.spec, 16);
  request.openings = openings;
  request.opening_count = 4;
  run(&request, &kept[0]);
  check_games("connect4", &kept[0], 16, 0, openings, 4);
  CHECK_BYTES(kept[0].moves, kept[0].moves + 8 * MOVES, 8 * MOVES);  // the same openings again
  for (int g = 0; g < 8; ++g) {
    char moves[64];
    snprintf(moves, sizeof moves, "%s", openings[g / 2]);
    for (int i = 0; i < kept[0].plies[g]; ++i) {
      const int length = (int)strlen(moves);
      float logits[7], probabilities[7], value;
      int terminal, best = -1;
      bw_selfplay* mover = (g + length) % 2 == 0 ? a.run : b.run;
      REQUIRE(bw_selfplay_policy(mover, moves, logits, probabilities, &value, &terminal, NULL) == BW_OK);
      for (int action = 0; action < 7; ++action) {
        if (best < 0 || probabilities[action] > probabilities[best]) best = action;
      }
      CHECK_MSG(kept[0].moves[g * MOVES + i] == game->symbol(best), "game %d after %s: %c, the run says %c", g, moves,
                kept[0].moves[g * MOVES + i], game->symbol(best));
      snprintf(moves + length, sizeof moves - (size_t)length, "%c", kept[0].moves[g * MOVES + i]);
    }
  }
  // Two thousand positions at once: none gets what was computed for another one.
  static char texts[MAX_GAMES / 2][5];
  static const char* many[MAX_GAMES / 2];
  for (int i = 0; i < MAX_GAMES / 2; ++i) {
    for (int k = 0, rest = i; k < 4; ++k, rest /= 7) texts[i][k] = (char)('1' + rest % 7);
    many[i] = texts[i];
  }
  request = request_of("connect4", a.spec, spec("random", 0), MAX_GAMES);
  request.openings = many;
  request.opening_count = MAX_GAMES / 2;
  run(&request, &kept[0]);
  int chosen[7] = {0};
  for (int g = 0; g < MAX_GAMES; g += 2) {
    float logits[7], probabilities[7], value;
    int terminal, best = 0;
    REQUIRE(bw_selfplay_policy(a.run, many[g / 2], logits, probabilities, &value, &terminal, NULL) == BW_OK);
    for (int action = 1; action < 7; ++action) {
      if (probabilities[action] > probabilities[best]) best = action;
    }
    CHECK_EQ_INT(kept[0].moves[g * MOVES], game->symbol(best));
    ++chosen[best];
  }
  for (int action = 0; action < 7; ++action) {  // else the check says little
    CHECK_MSG(chosen[action] < MAX_GAMES / 2 - 50, "column %d in %d positions", action, chosen[action]);
  }
  // Samples have the policy's shares, sharper ones at a lower temperature.
  for (int i = 0; i < 2; ++i) {
    const double temperature = i ? 0.5 : 1;
    a.spec.argmax = false;
    a.spec.temperature = temperature;
    request = request_of("connect4", a.spec, spec("random", 0), MAX_GAMES);
    run(&request, &kept[0]);
    float logits[7], probabilities[7], value;
    int terminal;
    REQUIRE(bw_selfplay_policy(a.run, "", logits, probabilities, &value, &terminal, NULL) == BW_OK);
    double sum = 0;
    for (int action = 0; action < 7; ++action) sum += exp((double)logits[action] / temperature);
    for (int action = 0; action < 7; ++action) {
      int found = 0;
      for (int g = 0; g < MAX_GAMES; g += 2) found += kept[0].moves[g * MOVES] == game->symbol(action);
      const double wanted = exp((double)logits[action] / temperature) / sum, games = MAX_GAMES / 2;
      CHECK_NEAR(found / games, wanted, 4.5 * sqrt(wanted * (1 - wanted) / games));
    }
  }
  // The same whatever the threads, and whatever is played beside it.
  b.spec.argmax = false;
  request = request_of("connect4", a.spec, b.spec, 300);
  run(&request, &kept[0]);
  request.threads = 2;
  run(&request, &kept[1]);
  CHECK_BYTES(&kept[0], &kept[1], sizeof kept[0]);
  request.first = 40;
  request.games = 7;
  run(&request, &kept[1]);
  CHECK_BYTES(kept[0].moves + 40 * MOVES, kept[1].moves, 7 * MOVES);

  // What does not fit is refused.
  bw_error error;
  bw_match_request bad = request_of("tictactoe", spec("random", 0), a.spec, 2);
  CHECK(bw_match_run(&bad, kept[1].results, kept[1].plies, kept[1].moves, &error) == BW_OPTION);
  CHECK_EQ_STR(error.path, "players");
  CHECK_EQ_INT(error.step, 1);
  bad = request_of("connect4", a.spec, b.spec, 2);
  bad.players[0].file = b.spec.file;
  bad.players[0].file_bytes = b.spec.file_bytes;
  CHECK(bw_match_run(&bad, kept[1].results, kept[1].plies, kept[1].moves, &error) == BW_CHECKPOINT);
  CHECK_EQ_INT(error.step, 0);
  bad.players[0] = a.spec;
  bad.players[0].config.net_width = 4096;  // refused before memory is taken for it
  bad.players[0].config.net_depth = 64;
  CHECK(bw_match_run(&bad, kept[1].results, kept[1].plies, kept[1].moves, &error) == BW_CHECKPOINT);
  bad.players[0] = a.spec;
  bad.players[0].temperature = 0;
  CHECK(bw_match_run(&bad, kept[1].results, kept[1].plies, kept[1].moves, &error) == BW_OPTION);
  CHECK_EQ_STR(error.path, "temperature");
  free_net(&a);
  free_net(&b);
}

// A policy file gives a run its weights and nothing else; one of another net changes nothing.
static void test_load_policy(void) {
  net trained = make_net("connect4", "mlp", "24", "2", "2"), fresh = make_net("connect4", "mlp", "24", "2", "4");
  net other = make_net("connect4", "mlp", "16", "2", "6");
  const float* weights = NULL;
  int64_t count = 0;
  REQUIRE(bw_selfplay_weights(trained.run, &weights, &count, NULL) == BW_OK);
  float* wanted = malloc((size_t)count * sizeof *wanted);
  REQUIRE(wanted);
  memcpy(wanted, weights, (size_t)count * sizeof *wanted);
  REQUIRE(bw_selfplay_load(fresh.run, trained.file, trained.spec.file_bytes, NULL) == BW_OK);
  bw_error error;
  CHECK(bw_selfplay_load(fresh.run, other.file, other.spec.file_bytes, &error) == BW_CHECKPOINT);
  REQUIRE(bw_selfplay_weights(fresh.run, &weights, &count, NULL) == BW_OK);
  CHECK(memcmp(weights, wanted, (size_t)count * sizeof *wanted) == 0);
  free(wanted);
  free_net(&trained);
  free_net(&fresh);
  free_net(&other);
}

// ---- refusals and cancelling ----

static void refused(bw_match_request request, const char* path, int64_t step) {
  bw_error error = {0};
  CHECK(bw_match_run(&request, kept[0].results, kept[0].plies, kept[0].moves, &error) == BW_OPTION);
  CHECK_EQ_STR(error.path, path);
  CHECK_EQ_INT(error.step, step);
}

static void test_refusals(void) {
  const char* openings[] = {"4", "1212121"};  // the second game is over
  bw_match_request request = request_of("connect4", spec("random", 0), spec("random", 0), 2);
  request.openings = openings;
  request.opening_count = 2;
  refused(request, "openings", 1);
  openings[1] = "48";
  refused(request, "openings", 1);
  refused(request_of("chess", spec("random", 0), spec("random", 0), 2), "game.name", 0);
  refused(request_of("connect4", spec("random", 0), spec("perfection", 0), 2), "kind", 1);
  refused(request_of("connect4", spec("alpha-beta", 13), spec("random", 0), 2), "depth", 0);
  refused(request_of("connect4", spec("mcts", -1), spec("random", 0), 2), "simulations", 0);
  refused(request_of("tictactoe", spec("random", 0), spec("perfect", 0), 2), "kind", 1);
  refused(request_of("connect4", spec("random", 3), spec("random", 0), 2), "strength", 0);
  refused(request_of("connect4", spec("random", 0), spec("random", 0), -2), "games", 0);
  request = request_of("connect4", spec("random", 0), spec("random", 0), 0);
  run(&request, &kept[0]);  // nothing to do
}

// Games of at most so many plies are the beginnings of whole ones, drawn where they go on.
static void test_limit(void) {
  bw_match_request request = request_of("connect4", spec("mcts", 20), spec("one-ply", 0), 100);
  run(&request, &kept[0]);
  request.limit = 9;
  run(&request, &kept[1]);
  int cut = 0;
  for (int g = 0; g < 100; ++g) {
    const int plies = kept[0].plies[g] < 9 ? kept[0].plies[g] : 9;
    CHECK_EQ_INT(kept[1].plies[g], plies);
    CHECK(memcmp(kept[0].moves + g * 42, kept[1].moves + g * 42, (size_t)plies) == 0);
    CHECK_EQ_INT(kept[1].results[g], kept[0].plies[g] <= 9 ? kept[0].results[g] : BW_MATCH_DRAW);
    cut += kept[0].plies[g] > 9;
  }
  CHECK_MSG(cut > 10 && cut < 100, "%d of 100 games cut short", cut);
}

typedef struct stop {
  int after;  // how many questions
  atomic_int asked;
  atomic_llong done;
} stop;

static bool asked_often(void* context) {
  stop* s = context;
  return atomic_fetch_add(&s->asked, 1) > s->after;
}
static void note(void* context, int64_t done) { atomic_store(&((stop*)context)->done, done); }

static void test_cancel(void) {
  const char* kinds[2] = {"random", "mcts"};
  for (int i = 0; i < 2; ++i) {
    stop s = {.after = 200};
    bw_match_request request = request_of("connect4", spec(kinds[i], 0), spec(kinds[i], 0), MAX_GAMES);
    request.cancelled = asked_often;
    request.progress = note;
    request.context = &s;
    request.threads = 2;
    CHECK(bw_match_run(&request, kept[0].results, kept[0].plies, kept[0].moves, NULL) == BW_CANCELLED);
    CHECK(atomic_load(&s.done) < MAX_GAMES);
    request.games = 4;
    request.cancelled = NULL;
    run(&request, &kept[0]);
    CHECK_EQ_INT(atomic_load(&s.done), 4);
  }
  // Inside a search of the perfect player too: he is asked more often than moves are made, and gives up there.
  const char* opening = "726354123651";
  stop s = {.after = INT_MAX};
  bw_match_request request = request_of("connect4", spec("perfect", 0), spec("perfect", 0), 1);
  request.openings = &opening;
  request.opening_count = 1;
  request.cancelled = asked_often;
  request.progress = note;
  request.context = &s;
  request.threads = 1;
  run(&request, &kept[0]);
  const int whole_game = atomic_load(&s.asked);
  CHECK_MSG(whole_game > 3 * 42, "asked %d times", whole_game);
  s = (stop){.after = 20};  // in his first search
  CHECK(bw_match_run(&request, kept[0].results, kept[0].plies, kept[0].moves, NULL) == BW_CANCELLED);
  CHECK(atomic_load(&s.asked) < 42);
  CHECK_EQ_INT(atomic_load(&s.done), 0);
}

// ---- policies that search ----

static int points_of(const played* p, int games) {
  int points = 0;
  for (int g = 0; g < games; ++g) points += 2 - p->results[g];
  return points;
}

static void test_searching(void) {
  net a = make_net("connect4", "mlp", "16", "2", "1"), b = make_net("connect4", "resmlp", "24", "3", "2");
  // Nets that know nothing, and do not believe that they do: search has the last word.
  net open = make_scaled_net("connect4", "mlp", "16", "2", "4", 1);
  net t = make_scaled_net("tictactoe", "mlp", "16", "2", "3", 1);
  const char* openings[] = {"", "4", "1122", "37", "3456", "71"};
  // With search an untrained net beats itself without.
  for (int i = 0; i < 2; ++i) {
    bw_player_spec searching = a.spec;
    searching.argmax = i == 0;
    searching.simulations = 32;
    bw_match_request request = request_of("connect4", searching, a.spec, 200);
    request.openings = openings;
    request.opening_count = 6;
    run(&request, &kept[0]);
    check_games("connect4", &kept[0], 200, 0, openings, 6);
    const int points = points_of(&kept[0], 200);
    CHECK_MSG(points > 340, "argmax %d: %d points of 400", i == 0, points);
  }
  // More simulations are stronger.
  open.spec.simulations = 8;
  bw_player_spec more = open.spec;
  more.simulations = 200;
  bw_match_request request = request_of("connect4", more, open.spec, 100);
  run(&request, &kept[0]);
  CHECK_MSG(points_of(&kept[0], 100) > 130, "%d points of 200", points_of(&kept[0], 100));
  a.spec.simulations = 8;
  // The same whatever the threads, and whatever is played beside it; searches of the most probable move, too.
  b.spec.argmax = true;
  b.spec.simulations = 11;
  request = request_of("connect4", a.spec, b.spec, 300);
  request.openings = openings;
  request.opening_count = 6;
  run(&request, &kept[0]);
  request.threads = 3;
  run(&request, &kept[1]);
  CHECK_BYTES(&kept[0], &kept[1], sizeof kept[0]);
  request.first = 41;
  request.games = 7;
  run(&request, &kept[1]);
  CHECK_BYTES(kept[0].moves + 41 * MOVES, kept[1].moves, 7 * MOVES);
  // Tic-tac-toe is seen through: no game is lost against perfect play, which the net alone loses.
  for (int i = 0; i < 2; ++i) {
    t.spec.simulations = i ? 2000 : 0;
    request = request_of("tictactoe", t.spec, spec("alpha-beta", 9), 100);
    run(&request, &kept[0]);
    int lost = 0;
    for (int g = 0; g < 100; ++g) lost += kept[0].results[g] == BW_MATCH_LOSS;
    CHECK_MSG(i ? lost == 0 : lost > 20, "%d simulations: %d of 100 lost", (int)t.spec.simulations, lost);
  }
  // Refusals, and an end in the middle of a move.
  a.spec.simulations = -1;
  refused(request_of("connect4", spec("random", 0), a.spec, 2), "simulations", 1);
  a.spec.simulations = 100001;
  refused(request_of("connect4", a.spec, spec("random", 0), 2), "simulations", 0);
  stop s = {.after = 200};
  a.spec.simulations = 100000;
  request = request_of("connect4", a.spec, a.spec, 10);
  request.cancelled = asked_often;
  request.progress = note;
  request.context = &s;
  CHECK(bw_match_run(&request, kept[0].results, kept[0].plies, kept[0].moves, NULL) == BW_CANCELLED);
  CHECK_EQ_INT(atomic_load(&s.done), 0);
  free_net(&a);
  free_net(&b);
  free_net(&open);
  free_net(&t);
}

int main(void) {
  test_heuristic();
  test_one_ply();
  test_alpha_beta();
  test_mcts();
  test_perfect();
  test_games();
  test_seats();
  test_policies();
  test_load_policy();
  test_refusals();
  test_limit();
  test_cancel();
  test_searching();
  return check_summary("match");
}
