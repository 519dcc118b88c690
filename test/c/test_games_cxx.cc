// The rules of every game are text that C++14 takes too (device compilers are C++ compilers), with observations in
// another floating-point type: one game of each is played in C++.
#define BW_FEATURE double
#include "../../csrc/games/games.gen.h"

#include <cstdio>
#include <initializer_list>

namespace {

int failures = 0;

void Check(bool ok, const char* what) {
  if (ok) return;
  ++failures;
  std::fprintf(stderr, "test_games_cxx.cc: failed: %s\n", what);
}

#define CHECK(condition) Check(condition, #condition)

}  // namespace

int main() {
  static_assert(sizeof(bw_feature) == sizeof(double), "the observation's type is the one that was asked for");

  tictactoe_state t;
  tictactoe_init(&t);
  for (int action : {0, 4, 1, 3}) tictactoe_play(&t, action);
  CHECK(tictactoe_result(&t) == BW_ONGOING);
  CHECK(tictactoe_legal(&t) == 0x1E4);
  double x[tictactoe_ROWS * tictactoe_COLS * tictactoe_PLANES];
  tictactoe_encode(&t, x);
  CHECK(x[0] == 1 && x[1] == 0 && x[2] == 1);               // own stone
  CHECK(x[3 * 4] == 0 && x[3 * 4 + 1] == 1);                // the opponent's
  CHECK(x[3 * 8] == 0 && x[3 * 8 + 1] == 0 && x[26] == 1);  // none
  tictactoe_mirror(&t);
  tictactoe_play(&t, tictactoe_mirror_action(2));
  CHECK(tictactoe_result(&t) == BW_WON);
  CHECK(tictactoe_legal(&t) == 0 && tictactoe_ply(&t) == 5);
  CHECK(tictactoe_cell(&t, 0, 0) == 1 && tictactoe_cell(&t, 1, 2) == 2);

  connect4_state c;
  connect4_init(&c);
  for (int action : {0, 6, 1, 6, 2, 6}) connect4_play(&c, action);
  double y[connect4_ROWS * connect4_COLS * connect4_PLANES];
  connect4_encode(&c, y);
  CHECK(y[0] == 1 && y[1] == 0 && y[2] == 1);
  CHECK(y[3 * (2 * 7 + 6)] == 0 && y[3 * (2 * 7 + 6) + 1] == 1);
  CHECK(connect4_result(&c) == BW_ONGOING && connect4_legal(&c) == 0x7F);
  connect4_mirror(&c);
  connect4_play(&c, connect4_mirror_action(3));
  CHECK(connect4_result(&c) == BW_WON && connect4_legal(&c) == 0);
  CHECK(connect4_key(&c) == c.stones[0] + (c.stones[0] | c.stones[1]) && connect4_symbol(6) == '7');

  std::printf("games in C++: %d failed\n", failures);
  return failures == 0 ? 0 : 1;
}
