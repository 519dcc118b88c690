// The rules of every game are text that C++14 takes too (device compilers are C++ compilers), with observations in
// another floating-point type: one game of each is played in C++.
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
  tictactoe_state t;
  tictactoe_init(&t);
  for (int action : {0, 4, 1, 3}) tictactoe_play(&t, action);
  CHECK(tictactoe_result(&t) == BW_ONGOING);
  CHECK(tictactoe_legal(&t) == 0x1E4);
  uint16_t x[tictactoe_FEATURES];
  CHECK(tictactoe_features(&t, x) == 4);
  CHECK(x[0] == 3 * 0 && x[1] == 3 * 1 && x[2] == 3 * 3 + 1 && x[3] == 3 * 4 + 1);  // own stones 0, 1; the opponent's
  uint16_t v[tictactoe_THREAT_FEATURES];
  CHECK(tictactoe_threats(&t, v) == 6 && v[2] == 5 * 2 + 2 && v[5] == 5 * 5 + 3);  // 2 is ours, 5 the opponent's
  tictactoe_mirror(&t);
  tictactoe_play(&t, tictactoe_mirror_action(2));
  CHECK(tictactoe_result(&t) == BW_WON);
  CHECK(tictactoe_legal(&t) == 0 && tictactoe_ply(&t) == 5);
  CHECK(tictactoe_cell(&t, 0, 0) == 1 && tictactoe_cell(&t, 1, 2) == 2);

  connect4_state c;
  connect4_init(&c);
  for (int action : {0, 6, 1, 6, 2, 6}) connect4_play(&c, action);
  uint16_t y[connect4_FEATURES];
  CHECK(connect4_features(&c, y) == 6);
  CHECK(y[0] == 0 && y[2] == 3 * 2);
  CHECK(y[3] == 3 * 6 + 1 && y[5] == 3 * (2 * 7 + 6) + 1);
  uint16_t z[connect4_THREAT_FEATURES];
  CHECK(connect4_threats(&c, z) == 8 && z[3] == 7 * 3 + 2 && z[7] == 7 * (3 * 7 + 6) + 4);  // one each, both at once
  CHECK(connect4_result(&c) == BW_ONGOING && connect4_legal(&c) == 0x7F);
  connect4_mirror(&c);
  connect4_play(&c, connect4_mirror_action(3));
  CHECK(connect4_result(&c) == BW_WON && connect4_legal(&c) == 0);
  CHECK(connect4_key(&c) == c.own + c.occupied && connect4_symbol(6) == '7');

  std::printf("games in C++: %d failed\n", failures);
  return failures == 0 ? 0 : 1;
}
