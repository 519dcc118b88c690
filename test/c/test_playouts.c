// Uniformly random games: their outcomes and lengths against exact ones from the whole tree of a position, for every
// game; the same numbers from any number of threads, any instruction set and any cut into parts. That the kernel makes
// exactly the moves that its numbers say is test_parity.c's.
#include "../../csrc/api/bw.h"
#include "../../csrc/backends/backends.h"
#include "../../csrc/core/rng.h"
#include "../../csrc/games/game.h"
#include "check.h"

#ifdef BW_SANITIZED
enum { GAMES = 20000 };
#else
enum { GAMES = 400000 };
#endif
enum { POSITIONS = 12, EMPTY = 7 };  // positions a game, and the most moves that their games still take

typedef union state {
  uint64_t align[BW_GAME_MAX_STATE_BYTES / 8];
  unsigned char bytes[BW_GAME_MAX_STATE_BYTES];
} state;

static bw_device* create(bw_isa isa, int threads) {
  bw_device* device = NULL;
  REQUIRE(bw_cpu_device_create(isa, BW_PRECISION_FP32, threads, &device, NULL) == BW_OK);
  return device;
}

static bw_playouts play(bw_device* device, int index, const state* start, uint64_t seed, uint64_t number,
                        int64_t games) {
  bw_playouts totals;
  REQUIRE(bw_random_playouts(device, index, start, seed, number, games, &totals, NULL) == BW_OK);
  CHECK_EQ_INT(totals.games, games);
  CHECK_EQ_INT(totals.first + totals.second + totals.draws, games);
  return totals;
}

// What the whole tree says of uniformly random play: shares of the outcomes, mean number of moves and of its square.
typedef struct shares {
  double first, second, draw, moves, moves_squared;
} shares;

static shares exact(const bw_game* game, const state* s) {
  const int result = game->result(s);
  shares sum = {.draw = result == BW_DRAWN,
                .first = result == BW_WON && game->ply(s) % 2 == 1,
                .second = result == BW_WON && game->ply(s) % 2 == 0};
  if (result != BW_ONGOING) return sum;
  const uint32_t legal = game->legal(s);
  int count = 0;
  for (int action = 0; action < game->actions; ++action) {
    if (!(legal >> action & 1)) continue;
    state next = *s;
    game->play(&next, action);
    const shares of = exact(game, &next);
    sum.first += of.first;
    sum.second += of.second;
    sum.draw += of.draw;
    sum.moves += of.moves + 1;
    sum.moves_squared += of.moves_squared + 2 * of.moves + 1;
    ++count;
  }
  sum.first /= count;
  sum.second /= count;
  sum.draw /= count;
  sum.moves /= count;
  sum.moves_squared /= count;
  return sum;
}

static double term(int64_t found, double share, int64_t games) {
  const double expected = share * (double)games;
  if (share < 1e-12) return found == 0 ? 0 : INFINITY;
  return ((double)found - expected) * ((double)found - expected) / expected;
}

// Outcomes by chi-square (at most 2 degrees of freedom: above 28 once in 10^6 positions), moves by the mean's
// deviation.
static void check_shares(const bw_game* game, const state* start, const bw_playouts* found, uint64_t seed) {
  const shares wanted = exact(game, start);
  const double chi_square = term(found->first, wanted.first, found->games) +
                            term(found->second, wanted.second, found->games) +
                            term(found->draws, wanted.draw, found->games);
  CHECK_MSG(chi_square < 28, "%s, seed %llu, %d plies: chi-square %.1f; %lld %lld %lld of %lld, wanted %.4f %.4f %.4f",
            game->name, (unsigned long long)seed, game->ply(start), chi_square, (long long)found->first,
            (long long)found->second, (long long)found->draws, (long long)found->games, wanted.first, wanted.second,
            wanted.draw);
  const double deviation = sqrt((wanted.moves_squared - wanted.moves * wanted.moves) / (double)found->games);
  CHECK_NEAR((double)found->moves / (double)found->games, wanted.moves, 5.5 * deviation + 1e-9);
}

// A position after `plies` moves of which none ended the game.
static state position_at(const bw_game* game, int plies, uint64_t seed) {
  for (uint64_t attempt = seed * 1000;; ++attempt) {
    state s;
    game->init(&s);
    for (int ply = 0; ply < plies && game->result(&s) == BW_ONGOING; ++ply) {
      uint32_t legal = game->legal(&s);
      const uint32_t word = bw_philox(17, BW_STREAM_ACTION, attempt, (uint32_t)ply).v[0];
      for (uint32_t skip = bw_below(word, (uint32_t)__builtin_popcount(legal)); skip > 0; --skip) legal &= legal - 1;
      game->play(&s, __builtin_ctz(legal));
    }
    if (game->result(&s) == BW_ONGOING && game->ply(&s) == plies) return s;
  }
}

static void test_shares(bw_device* device, int index) {
  const bw_game* game = bw_game_at(index);
  for (uint64_t seed = 1; seed <= POSITIONS; ++seed) {
    const state start = position_at(game, game->max_plies - EMPTY, seed);
    const bw_playouts found = play(device, index, &start, seed, 0, GAMES / 4);
    check_shares(game, &start, &found, seed);
  }
}

// Tic-tac-toe from the empty board: 737, 363 and 160 of 1,260.
static void test_tictactoe(bw_device* device) {
  int index = 0;
  state start;
  REQUIRE(bw_game_find("tictactoe", &index, NULL) == BW_OK);
  const bw_game* game = bw_game_at(index);
  game->init(&start);
  const shares wanted = exact(game, &start);
  CHECK_NEAR(wanted.first, 737.0 / 1260, 1e-12);
  CHECK_NEAR(wanted.second, 363.0 / 1260, 1e-12);
  CHECK_NEAR(wanted.draw, 160.0 / 1260, 1e-12);
  const bw_playouts found = play(device, index, &start, 5, 0, GAMES);
  check_shares(game, &start, &found, 5);
}

static void test_cuts(int index) {
  const bw_game* game = bw_game_at(index);
  const uint64_t number = ((uint64_t)1 << 32) - 1000;
  const int64_t games = 70001;  // more than one launch
  state start;
  game->init(&start);
  bw_playouts whole = {0};
  for (int isa = 0; isa < BW_ISA_COUNT; ++isa) {
    if (!bw_isa_available((bw_isa)isa)) continue;
    for (int threads = 1; threads <= 3; ++threads) {
      bw_device* device = create((bw_isa)isa, threads);
      const bw_playouts found = play(device, index, &start, 3, number, games);
      if (whole.games == 0) whole = found;
      CHECK_BYTES(&found, &whole, sizeof whole);
      bw_playouts sum = {0};
      for (int64_t done = 0, part = 1; done < games; done += part, part = part * 3 + 1) {
        if (part > games - done) part = games - done;
        const bw_playouts of = play(device, index, &start, 3, number + (uint64_t)done, part);
        sum.games += of.games;
        sum.first += of.first;
        sum.second += of.second;
        sum.draws += of.draws;
        sum.moves += of.moves;
      }
      CHECK_BYTES(&sum, &whole, sizeof whole);
      const bw_playouts other = play(device, index, &start, 4, number, games);
      CHECK(memcmp(&other, &whole, sizeof whole) != 0);
      bw_device_destroy(device);
    }
  }
}

static void test_interface(void) {
  bw_playouts found;
  bw_error error;
  CHECK(bw_game_playouts("tictactoe", "", 1000, 7, 1, &found, &error) == BW_OK);
  bw_playouts again;
  CHECK(bw_game_playouts("tictactoe", "", 1000, 7, 0, &again, &error) == BW_OK);
  CHECK_BYTES(&again, &found, sizeof found);
  CHECK(found.games == 1000 && found.moves >= 5000 && found.moves <= 9000);

  CHECK(bw_game_playouts("connect4", "1212121", 100, 7, 1, &found, &error) == BW_OK);  // the first player has won
  CHECK(found.games == 100 && found.first == 100 && found.second == 0 && found.draws == 0 && found.moves == 0);
  CHECK(bw_game_playouts("connect4", "121212", 4000, 7, 1, &found, &error) == BW_OK);
  CHECK(found.first > 2000 && found.second > 0 && found.moves > 4000);
  CHECK(bw_game_playouts("connect4", "", 0, 7, 1, &found, &error) == BW_OK);
  CHECK(found.games == 0 && found.first == 0 && found.second == 0 && found.draws == 0 && found.moves == 0);

  CHECK(bw_game_playouts("chess", "", 1, 7, 1, &found, &error) == BW_OPTION);
  CHECK_EQ_STR(error.path, "game.name");
  CHECK(bw_game_playouts("connect4", "8", 1, 7, 1, &found, &error) == BW_OPTION);
  CHECK_EQ_STR(error.path, "moves");
  CHECK(bw_game_playouts("connect4", "", -3, 7, 1, &found, &error) == BW_OPTION);
  CHECK_EQ_STR(error.path, "games");
  CHECK_EQ_STR(error.received, "-3");
  CHECK(bw_game_playouts("connect4", "", 1, 7, -1, &found, &error) == BW_OPTION);
  CHECK_EQ_STR(error.path, "threads");
}

int main(void) {
  bw_isa isa = BW_ISA_PORTABLE;
  REQUIRE(bw_isa_choose(&isa, NULL) == BW_OK);
  bw_device* device = create(isa, 2);
  test_tictactoe(device);
  for (int index = 0; index < bw_game_count(); ++index) {
    test_shares(device, index);
    test_cuts(index);
  }
  bw_device_destroy(device);
  test_interface();
  return check_summary("playouts");
}
