// The perfect player of Connect Four against a minimax that knows the rules of the game and nothing else, and against
// what is known of the game: mirror images, the scores of the first moves.
#include "../../csrc/api/bw.h"
#include "../../csrc/core/rng.h"
#include "../../csrc/games/connect4.h"
#include "../../csrc/judge/connect4_board.h"
#include "../../csrc/judge/connect4_book.h"
#include "check.h"

enum { COLS = connect4_ACTIONS, MOVES = 48 };

#ifdef BW_SANITIZED
enum { LATE = 300, MIDDLE = 24, SAMPLE = 4 };
#else
enum { LATE = 4000, MIDDLE = 200, SAMPLE = 6 };
#endif

static const uint64_t seed = 20260727;

static bw_connect4_solver* make(int threads, uint64_t bytes, bool book) {
  bw_connect4_solver* solver = NULL;
  bw_error error = {0};
  const bw_status status = bw_connect4_solver_create(threads, bytes, book, &solver, &error);
  CHECK_MSG(status == BW_OK, "%s", error.message);
  REQUIRE(solver != NULL);
  return solver;
}

static bw_connect4_solution solve(bw_connect4_solver* solver, const char* moves, bool with_scores) {
  bw_connect4_solution solution;
  bw_error error = {0};
  const bw_status status = bw_connect4_solver_solve(solver, &moves, 1, with_scores, NULL, NULL, &solution, &error);
  CHECK_MSG(status == BW_OK, "%s: %s", moves, error.message);
  return solution;
}

// Random moves, as many as `stones`, of a game that goes on.
static void random_moves(uint64_t number, int stones, char moves[MOVES]) {
  for (uint32_t attempt = 0;; ++attempt) {
    connect4_state state;
    connect4_init(&state);
    int length = 0;
    while (length < stones && connect4_result(&state) == BW_ONGOING) {
      const bw_random4 r = bw_philox(seed, 1, number, attempt << 8 | (uint32_t)length);
      const int col = (int)(r.v[0] % COLS);
      const int first = (int)(r.v[1] % COLS);
      int chosen = col;
      for (int i = 0; i < COLS && !(connect4_legal(&state) >> chosen & 1); ++i) chosen = (first + i) % COLS;
      connect4_play(&state, chosen);
      moves[length++] = (char)('1' + chosen);
    }
    moves[length] = 0;
    if (length == stones && connect4_result(&state) == BW_ONGOING) return;
  }
}

static connect4_state state_of(const char* moves) {
  connect4_state state;
  connect4_init(&state);
  for (; *moves; ++moves) connect4_play(&state, *moves - '1');
  return state;
}

static void mirror_moves(const char* moves, char mirrored[MOVES]) {
  int i = 0;
  for (; moves[i]; ++i) mirrored[i] = (char)('8' - moves[i] + '0');
  mirrored[i] = 0;
}

// ---- against minimax ----

static int minimax(const connect4_state* state) {
  if (connect4_result(state) == BW_WON) return (connect4_ply(state) + 1) / 2 - 22;
  const uint32_t legal = connect4_legal(state);
  int best = -100;
  for (int col = 0; col < COLS; ++col) {
    if (!(legal >> col & 1)) continue;
    connect4_state next = *state;
    connect4_play(&next, col);
    const int score = -minimax(&next);
    if (score > best) best = score;
  }
  return legal ? best : 0;
}

static void test_late_positions(void) {
  bw_connect4_solver* solver = make(1, 0, true);
  int wins = 0, draws = 0, losses = 0;
  for (int i = 0; i < LATE; ++i) {
    char moves[MOVES];
    random_moves((uint64_t)i, 31 + i % 11, moves);
    const connect4_state state = state_of(moves);
    const int wanted = minimax(&state);
    const bw_connect4_solution got = solve(solver, moves, false);
    CHECK_MSG(got.score == wanted, "seed %llu, %s: %d, minimax %d", (unsigned long long)seed, moves, got.score, wanted);
    CHECK(!got.over && got.scores[0] == BW_CONNECT4_NO_SCORE);
    wins += wanted > 0, draws += wanted == 0, losses += wanted < 0;
    const bw_connect4_solution all = solve(solver, moves, true);
    CHECK_EQ_INT(all.score, wanted);
    const uint32_t legal = connect4_legal(&state);
    for (int col = 0; col < COLS; ++col) {
      int score = BW_CONNECT4_NO_SCORE;
      if (legal >> col & 1) {
        connect4_state next = state;
        connect4_play(&next, col);
        score = -minimax(&next);
      }
      CHECK_MSG(all.scores[col] == score, "seed %llu, %s, column %d: %d, minimax %d", (unsigned long long)seed, moves,
                col + 1, all.scores[col], score);
    }
  }
  CHECK_MSG(wins > LATE / 10 && draws > LATE / 100 && losses > LATE / 10, "%d %d %d", wins, draws, losses);
  bw_connect4_solver_destroy(solver);
}

// ---- the same whatever the circumstances ----

static void test_invariance(void) {
  static char moves[2 * MIDDLE][MOVES];
  static const char* list[2 * MIDDLE];
  static bw_connect4_solution wanted[2 * MIDDLE], got[2 * MIDDLE];
  for (int i = 0; i < MIDDLE; ++i) {
    random_moves(1u << 20 | (uint64_t)i, 14 + i % 18, moves[i]);
    mirror_moves(moves[i], moves[2 * MIDDLE - 1 - i]);
  }
  for (int i = 0; i < 2 * MIDDLE; ++i) list[i] = moves[i];
  bw_connect4_solver* small = make(1, 1, true);  // a table as small as there is
  CHECK_EQ_INT(bw_connect4_solver_threads(small), 1);
  REQUIRE(bw_connect4_solver_solve(small, list, 2 * MIDDLE, true, NULL, NULL, wanted, NULL) == BW_OK);
  bw_connect4_solver* large = make(3, (uint64_t)192 << 20, false);
  CHECK_EQ_INT(bw_connect4_solver_threads(large), 3);
  CHECK(bw_connect4_solver_bytes(large) >= (uint64_t)192 << 20 && bw_connect4_solver_bytes(small) < 2u << 20);
  REQUIRE(bw_connect4_solver_solve(large, list, 2 * MIDDLE, true, NULL, NULL, got, NULL) == BW_OK);
  for (int i = 0; i < 2 * MIDDLE; ++i) {
    const bw_connect4_solution *a = &wanted[i], *mirrored = &wanted[2 * MIDDLE - 1 - i], *b = &got[i];
    CHECK_MSG(a->score == b->score, "%s: %d, then %d", moves[i], a->score, b->score);
    CHECK_MSG(a->score == mirrored->score, "%s: %d, mirrored %d", moves[i], a->score, mirrored->score);
    int best = -100;
    for (int col = 0; col < COLS; ++col) {
      CHECK_EQ_INT(a->scores[col], b->scores[col]);
      CHECK_EQ_INT(a->scores[col], mirrored->scores[COLS - 1 - col]);
      if (a->scores[col] != BW_CONNECT4_NO_SCORE && a->scores[col] > best) best = a->scores[col];
    }
    CHECK_EQ_INT(a->score, best);
    CHECK_EQ_INT(solve(large, moves[i], false).score, best);
  }
  bw_connect4_solver_destroy(small);
  bw_connect4_solver_destroy(large);
}

// ---- what is known ----

static void test_rules(void) {
  bw_connect4_solver* solver = make(1, 1, true);
  // A win with the fourth stone; the loss of it; a win that cannot be stopped; the same a stone later.
  CHECK_EQ_INT(solve(solver, "112233", false).score, 18);
  CHECK_EQ_INT(solve(solver, "1122334", false).score, -18);
  CHECK(solve(solver, "1122334", false).over);
  CHECK_EQ_INT(solve(solver, "1122334", true).score, -18);
  CHECK_EQ_INT(solve(solver, "4455", false).score, solve(solver, "4433", false).score);
  CHECK_EQ_INT(solve(solver, "44553", false).score, -18);  // 3 4 5: both ends are open
  CHECK_EQ_INT(solve(solver, "71212121", false).over, 1);
  CHECK_EQ_INT(solve(solver, "71212121", false).score, -18);  // the second player's fourth stone
  // A full board without four, and one move before it.
  const char* full = "121212212121343434434343565656656565777777";
  const connect4_state end = state_of(full);
  REQUIRE(connect4_result(&end) == BW_DRAWN);
  const bw_connect4_solution drawn = solve(solver, full, true);
  CHECK(drawn.over && drawn.score == 0 && drawn.nodes == 0);
  for (int col = 0; col < COLS; ++col) CHECK_EQ_INT(drawn.scores[col], BW_CONNECT4_NO_SCORE);
  const bw_connect4_solution last = solve(solver, "12121221212134343443434356565665656577777", true);
  CHECK(!last.over && last.score == 0 && last.scores[6] == 0 && last.scores[0] == BW_CONNECT4_NO_SCORE);
  // The first moves, from the book.
  const bw_connect4_solution start = solve(solver, "", true);
  const int first[COLS] = {-2, -1, 0, 1, 0, -1, -2};
  for (int col = 0; col < COLS; ++col) CHECK_EQ_INT(start.scores[col], first[col]);
  CHECK_EQ_INT(start.score, 1);
  CHECK_EQ_INT(start.nodes, 0);
  bw_connect4_solver_destroy(solver);
}

// x with x * odd = 1 modulo 2^64, by Newton's iteration: each step doubles the bits that are right.
static uint64_t inverse(uint64_t odd) {
  uint64_t x = odd;
  for (int i = 0; i < 6; ++i) x *= 2 - odd * x;
  return x;
}

// The hash loses nothing: a table's entry tells its key, since every step can be undone.
static void test_mix(void) {
  const uint64_t all = ((uint64_t)1 << BW_CONNECT4_KEY_BITS) - 1;
  int far = 0;
  for (int i = 0; i < 100000; ++i) {
    const bw_random4 r = bw_philox(seed, 2, (uint64_t)i, 0);
    const uint64_t key = ((uint64_t)r.v[0] << 32 | r.v[1]) & all, hash = bw_connect4_mix(key);
    CHECK(hash <= all);
    far += hash >> (BW_CONNECT4_KEY_BITS - 1) & 1;
    uint64_t back = hash * inverse(0xD6E8FEB86659FD93) & all;
    back ^= back >> 27;
    back = back * inverse(0x9E3779B97F4A7C15) & all;
    back ^= back >> 25;
    CHECK_MSG(back == key, "key %llu comes back as %llu", (unsigned long long)key, (unsigned long long)back);
  }
  CHECK(abs(far - 50000) < 1000);
}

// ---- the book ----

static void test_book(void) {
  bw_connect4_book* book = NULL;
  REQUIRE(bw_connect4_book_create(&book, NULL) == BW_OK);
  // Positions up to symmetry with 0, 1, ... stones.
  static const int positions[] = {1, 4, 25, 121, 568, 2144, 8231};
  const int plies = bw_connect4_solver_book_plies();
  REQUIRE(plies >= 1 && plies <= 6);
  int count = 0;
  for (int ply = 0; ply <= plies; ++ply) count += positions[ply];
  CHECK_EQ_INT(bw_connect4_book_count(book), count);
  connect4_state beyond = state_of("4444445");
  int score;
  CHECK(!bw_connect4_book_find(book, &beyond, &score));

  // Every position that random games meet is the best of its moves, and what its mirror image is.
  for (int i = 0; i < 3000; ++i) {
    char moves[MOVES];
    random_moves(1u << 21 | (uint64_t)i, i % (plies + 1), moves);
    connect4_state state = state_of(moves);
    if (!CHECK_MSG(bw_connect4_book_find(book, &state, &score), "%s is not in the book", moves)) continue;
    connect4_state mirrored = state;
    connect4_mirror(&mirrored);
    int other, best = -100;
    CHECK(bw_connect4_book_find(book, &mirrored, &other) && other == score);
    if (i % (plies + 1) == plies) continue;
    for (int col = 0; col < COLS; ++col) {
      connect4_state next = state;
      connect4_play(&next, col);
      REQUIRE(bw_connect4_book_find(book, &next, &other));
      if (-other > best) best = -other;
    }
    CHECK_MSG(best == score, "%s: %d, best move %d", moves, score, best);
  }
  bw_connect4_book_destroy(book);
}

// Entries by search. Those with the most stones are the fastest, and all others follow from them.
static void test_book_sample(void) {
  bw_connect4_solver* with = make(1, 0, true);
  bw_connect4_solver* without = make(0, 0, false);
  const int plies = bw_connect4_solver_book_plies();
  for (int i = 0; i < SAMPLE && plies == 6; ++i) {
    char moves[MOVES];
    random_moves(1u << 22 | (uint64_t)i, plies, moves);
    const bw_connect4_solution book = solve(with, moves, false), search = solve(without, moves, false);
    CHECK_MSG(book.score == search.score, "seed %llu, %s: book %d, search %d", (unsigned long long)seed, moves,
              book.score, search.score);
    CHECK(book.nodes == 0 && search.nodes > 0);
  }
  bw_connect4_solver_destroy(with);
  bw_connect4_solver_destroy(without);
}

// ---- errors ----

static void test_errors(void) {
  bw_connect4_solver* solver = NULL;
  bw_error error;
  CHECK(bw_connect4_solver_create(-1, 0, true, &solver, &error) == BW_OPTION && !solver);
  CHECK_EQ_STR(error.path, "threads");
  CHECK_EQ_STR(error.received, "-1");
  CHECK(bw_connect4_solver_create(257, 0, true, &solver, NULL) == BW_OPTION && !solver);

  solver = make(2, 1, true);
  static const struct {
    const char *moves, *received, *text;
  } bad[] = {
      {"4444444", "'4'", "move 7"},         // a full column
      {"48", "'8'", "move 2"},              //
      {"0", "'0'", "one of 1"},             //
      {"11223344", "'4'", "after the end"}  // a move too many
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    const char* list[] = {"44", "4444", bad[i].moves, "9"};
    bw_connect4_solution untouched[4], solutions[4];
    memset(solutions, 0x33, sizeof solutions);
    memcpy(untouched, solutions, sizeof solutions);
    CHECK(bw_connect4_solver_solve(solver, list, 4, false, NULL, NULL, solutions, &error) == BW_OPTION);
    CHECK_EQ_INT(error.step, 2);
    CHECK_EQ_STR(error.path, "moves");
    CHECK_EQ_STR(error.received, bad[i].received);
    CHECK_MSG(strstr(error.message, bad[i].text) != NULL, "%s", error.message);
    CHECK_BYTES(solutions, untouched, sizeof solutions);
    CHECK(bw_connect4_solver_solve(solver, list, 4, false, NULL, NULL, solutions, NULL) == BW_OPTION);
  }
  CHECK(bw_connect4_solver_solve(solver, NULL, 0, false, NULL, NULL, NULL, &error) == BW_OK);
  bw_connect4_solver_destroy(solver);
  bw_connect4_solver_destroy(NULL);
}

typedef struct watcher {
  bw_connect4_solver* solver;
  atomic_int solved[64];
  atomic_int count;
} watcher;

static void cancel_at_fifth(void* context, int64_t index) {
  watcher* w = context;
  atomic_fetch_add(&w->solved[index], 1);
  if (atomic_fetch_add(&w->count, 1) + 1 == 5) bw_connect4_solver_cancel(w->solver);
}

static void test_cancel(void) {
  // Each of these takes minutes without the book.
  const char* list[64];
  for (int i = 0; i < 64; ++i) list[i] = i < 8 ? "444444333333555555" : "";
  bw_connect4_solution solutions[64];
  for (int threads = 1; threads <= 2; ++threads) {
    watcher w = {.solver = make(threads, 1, false)};
    bw_error error;
    CHECK(bw_connect4_solver_solve(w.solver, list, 64, false, cancel_at_fifth, &w, solutions, &error) == BW_CANCELLED);
    CHECK_EQ_INT(error.status, BW_CANCELLED);
    CHECK(atomic_load(&w.count) >= 5 && atomic_load(&w.count) <= 8);
    // It lasts.
    CHECK(bw_connect4_solver_solve(w.solver, list, 1, false, NULL, NULL, solutions, NULL) == BW_CANCELLED);
    bw_connect4_solver_clear_cancel(w.solver);
    // What a cancelled search left in the tables is right.
    bw_connect4_solver* fresh = make(1, 1, false);
    CHECK_EQ_INT(solve(w.solver, list[0], false).score, solve(fresh, list[0], false).score);
    bw_connect4_solver_destroy(fresh);
    bw_connect4_solver_destroy(w.solver);
  }
}

int main(void) {
  test_mix();
  test_rules();
  test_late_positions();
  test_invariance();
  test_book();
  test_book_sample();
  test_errors();
  test_cancel();
  return check_summary("solver");
}
