// Conformance of every game of games/list.def: what a registered header promises in games/game.h, checked over random
// playouts and over whole levels of the game tree; then the run-time table, move text and boards.
//
// A new game needs a row in `facts`: published counts, and for games of the "k in a row" family its rules, which a
// plain array-board implementation plays alongside as the oracle.
#include "../../csrc/core/rng.h"
#include "../../csrc/games/games.gen.h"
#include "../../csrc/games/registry.h"
#include "check.h"

#ifdef BW_SANITIZED
enum { PLAYOUTS = 1500 };
#else
enum { PLAYOUTS = 6000 };
#endif
enum { MAX_CELLS = 64, MAX_DEPTHS = 12 };

typedef struct facts {
  const char* name;
  int in_a_row;                    // 0: not of that family, no oracle
  bool drops;                      // an action is a column and the stone falls; else an action is a cell
  uint64_t perft[MAX_DEPTHS];      // leaf nodes by depth, ends with 0
  uint64_t positions[MAX_DEPTHS];  // different positions by ply, ends with 0
  uint64_t complete_games;         // 0: too many to count here
} facts;

static const facts known[] = {
    {.name = "tictactoe",
     .in_a_row = 3,
     .perft = {1, 9, 72, 504, 3024, 15120, 54720, 148176, 200448, 127872},
     .positions = {1, 9, 72, 252, 756, 1260, 1520, 1140, 390, 78},  // 5,478
     .complete_games = 255168},
    {.name = "connect4",
     .in_a_row = 4,
     .drops = true,
     .perft = {1, 7, 49, 343, 2401, 16807, 117649, 823536, 5673234},
     .positions = {1, 7, 49, 238, 1120, 4263, 16422, 54859}},  // OEIS A212693
};

static const facts* facts_of(const char* name) {
  for (size_t i = 0; i < sizeof known / sizeof known[0]; ++i)
    if (strcmp(known[i].name, name) == 0) return &known[i];
  return NULL;
}

typedef union state {
  uint64_t align[BW_GAME_MAX_STATE_BYTES / 8];
  unsigned char bytes[BW_GAME_MAX_STATE_BYTES];
} state;

// ---- the oracle: an array of cells and the rules as people say them ----

typedef struct naive {
  const bw_game* game;
  const facts* rules;
  int board[MAX_CELLS];  // 0 empty, 1 first player, 2 second; row 0 is the bottom where stones drop
  int ply, result;
} naive;

// The cell at (row, col), or -1 beside the board.
static int naive_at(const naive* n, int row, int col) {
  const bool inside = row >= 0 && row < n->game->rows && col >= 0 && col < n->game->cols;
  return inside ? n->board[row * n->game->cols + col] : -1;
}

static bool naive_has_line(const naive* n, int player) {
  static const int directions[4][2] = {{0, 1}, {1, 0}, {1, 1}, {1, -1}};
  for (int row = 0; row < n->game->rows; ++row)
    for (int col = 0; col < n->game->cols; ++col)
      for (int d = 0; d < 4; ++d) {
        int length = 0;
        while (length < n->rules->in_a_row &&
               naive_at(n, row + length * directions[d][0], col + length * directions[d][1]) == player)
          ++length;
        if (length == n->rules->in_a_row) return true;
      }
  return false;
}

// The cell where the stone comes to rest, or -1.
static int naive_target(const naive* n, int action) {
  if (!n->rules->drops) return n->board[action] == 0 ? action : -1;
  for (int row = 0; row < n->game->rows; ++row)
    if (naive_at(n, row, action) == 0) return row * n->game->cols + action;
  return -1;
}

static uint32_t naive_legal(const naive* n) {
  uint32_t mask = 0;
  for (int action = 0; action < n->game->actions; ++action)
    if (n->result == BW_ONGOING && naive_target(n, action) >= 0) mask |= 1u << action;
  return mask;
}

static void naive_play(naive* n, int action) {
  const int player = 1 + (n->ply & 1);
  n->board[naive_target(n, action)] = player;
  n->ply += 1;
  if (naive_has_line(n, player))
    n->result = BW_WON;
  else if (n->ply == n->game->rows * n->game->cols)
    n->result = BW_DRAWN;
}

static void check_against_naive(const bw_game* game, const state* s, const naive* n) {
  int wrong = 0;
  for (int row = 0; row < game->rows; ++row)
    for (int col = 0; col < game->cols; ++col) wrong += game->cell(s, row, col) != naive_at(n, row, col);
  CHECK_EQ_INT(wrong, 0);
  CHECK_EQ_INT(game->ply(s), n->ply);
  CHECK_EQ_INT(game->result(s), n->result);
  CHECK_EQ_INT(game->legal(s), naive_legal(n));
}

// ---- properties of one state ----

static void check_list(const bw_observer* observer, const state* s) {
  uint16_t list[BW_GAME_MAX_FEATURES + 1];
  memset(list, 0xAB, sizeof list);
  const int count = observer->features(s, list);
  REQUIRE(count >= 0 && count <= observer->max_features);
  CHECK(list[observer->max_features] == 0xABAB);  // nothing is written beyond the longest list
  for (int i = 0; i < count; ++i) {
    CHECK(list[i] < observer->inputs &&
          list[i] % observer->planes != observer->planes - 1);  // the last is never listed
    CHECK(i == 0 || list[i] > list[i - 1]);
  }
}

// Whether a stone of `player` in this empty cell makes a line, wherever stones may fall.
static bool completes(const bw_game* game, const state* s, int row, int col, int player) {
  naive n = {.game = game, .rules = facts_of(game->name)};
  for (int r = 0; r < game->rows; ++r)
    for (int c = 0; c < game->cols; ++c) n.board[r * game->cols + c] = game->cell(s, r, c);
  if (naive_has_line(&n, player)) return true;  // there is one already
  n.board[row * game->cols + col] = player;
  return naive_has_line(&n, player);
}

// What connect4.h and tictactoe.h say of the planes between the stones' and the last.
static float threat(const bw_game* game, const state* s, int row, int col, int player, int wait) {
  const bool gravity = game->actions == game->cols;
  const int waits = gravity && row > 0 && game->cell(s, row - 1, col) == 0;
  return game->cell(s, row, col) == 0 && waits == wait && completes(game, s, row, col, player);
}

static void check_encode(const bw_game* game, const state* s) {
  const int own = 1 + (game->ply(s) & 1);  // the player to move
  for (int o = 0; o < BW_OBSERVATIONS; ++o) {
    const bw_observer* observer = &game->observers[o];
    float x[8 * MAX_CELLS];
    const int planes = observer->planes, inputs = observer->inputs;
    REQUIRE(inputs == game->rows * game->cols * planes && inputs < 8 * MAX_CELLS);
    for (int i = 0; i <= inputs; ++i) x[i] = -7;  // one more than the observation: it must stay
    bw_observer_encode(observer, s, x);
    CHECK(x[inputs] == -7);
    check_list(observer, s);
    int wrong = 0;
    const int ways = (planes - 3) / 2;  // planes of a side's threats
    for (int row = 0; row < game->rows; ++row)
      for (int col = 0; col < game->cols; ++col) {
        const float* cell = x + planes * (row * game->cols + col);
        const int stone = game->cell(s, row, col);
        wrong += cell[0] != (float)(stone == own) || cell[1] != (float)(stone == 3 - own) || cell[planes - 1] != 1;
        // Of a game that is over nothing but the stones is ever shown.
        for (int k = 0; k < 2 * ways && game->result(s) == BW_ONGOING; ++k) {
          wrong += cell[2 + k] != threat(game, s, row, col, k < ways ? own : 3 - own, k % ways);
        }
      }
    CHECK_EQ_INT(wrong, 0);
  }
}

static state mirrored(const bw_game* game, const state* s) {
  state m = *s;
  game->mirror(&m);
  return m;
}

static void check_mirror(const bw_game* game, const state* s) {
  const state m = mirrored(game, s), back = mirrored(game, &m);
  CHECK_BYTES(&back, s, game->state_bytes);
  CHECK_EQ_INT(game->result(&m), game->result(s));
  CHECK_EQ_INT(game->ply(&m), game->ply(s));
  int wrong = 0;
  for (int row = 0; row < game->rows; ++row)
    for (int col = 0; col < game->cols; ++col)
      wrong += game->cell(&m, row, col) != game->cell(s, row, game->cols - 1 - col);
  CHECK_EQ_INT(wrong, 0);

  const uint32_t legal = game->legal(s);
  uint32_t mirrored_legal = 0;
  for (int action = 0; action < game->actions; ++action) {
    const int image = game->mirror_action(action);
    REQUIRE(image >= 0 && image < game->actions);
    CHECK_EQ_INT(game->mirror_action(image), action);
    if (!(legal >> action & 1)) continue;
    mirrored_legal |= 1u << image;
    state next = *s, next_of_mirror = m;
    game->play(&next, action);
    game->play(&next_of_mirror, image);
    const state mirror_of_next = mirrored(game, &next);
    CHECK_BYTES(&mirror_of_next, &next_of_mirror, game->state_bytes);
  }
  CHECK_EQ_INT(game->legal(&m), mirrored_legal);
}

// Every value of an action's bits: played where it is legal, else nothing changes.
static void check_attempts(const bw_game* game, const state* s) {
  const uint32_t legal = game->legal(s);
  for (int action = 0; action < 1 << BW_ACTION_BITS(game->actions); ++action) {
    state attempted = *s, wanted = *s;
    game->attempt(&attempted, action);
    if (legal >> action & 1) game->play(&wanted, action);
    CHECK_BYTES(&attempted, &wanted, game->state_bytes);
  }
}

// ---- random playouts ----

static int nth_action(uint32_t mask, uint32_t n) {
  int action = 0;
  for (;; ++action)
    if (mask >> action & 1 && n-- == 0) return action;
}

static int count_actions(uint32_t mask) {
  int count = 0;
  for (; mask; mask &= mask - 1) ++count;
  return count;
}

static void test_playouts(const bw_game* game, const facts* f) {
  int won[2] = {0}, drawn = 0;
  for (uint64_t playout = 0; playout < PLAYOUTS; ++playout) {
    char moves[MAX_CELLS * 2] = "";
    state s, parsed;
    // Other bytes before init each time: equal positions have equal bytes.
    memset(&s, (int)playout, sizeof s);
    memset(&parsed, 0x5A, sizeof parsed);
    naive n = {.game = game, .rules = f};
    game->init(&s);
    int ply = 0;
    while (game->result(&s) == BW_ONGOING) {
      const uint32_t legal = game->legal(&s);
      REQUIRE(legal != 0 && (game->actions == 32 || legal >> game->actions == 0));
      if (f->in_a_row) check_against_naive(game, &s, &n);
      check_encode(game, &s);
      check_attempts(game, &s);
      if (playout % 8 == 0) check_mirror(game, &s);
      const uint32_t word = bw_philox(11, BW_STREAM_ACTION, playout, (uint32_t)ply).v[0];
      const int action = nth_action(legal, bw_below(word, (uint32_t)count_actions(legal)));
      moves[ply] = (char)game->symbol(action);
      game->play(&s, action);
      if (f->in_a_row) naive_play(&n, action);
      ++ply;
      REQUIRE(ply <= game->max_plies);
      CHECK_EQ_INT(game->ply(&s), ply);
    }
    moves[ply] = 0;
    CHECK_EQ_INT(game->legal(&s), 0);
    check_attempts(game, &s);
    if (f->in_a_row) check_against_naive(game, &s, &n);
    check_mirror(game, &s);
    if (game->result(&s) == BW_WON)
      ++won[(ply - 1) & 1];
    else
      ++drawn;
    CHECK(bw_game_parse(game, moves, &parsed, NULL) == BW_OK);
    CHECK_BYTES(&parsed, &s, game->state_bytes);
  }
  CHECK(won[0] > 0 && won[1] > 0 && drawn > 0);  // every kind of end has been seen
}

// ---- whole levels of the tree ----

typedef struct position {
  char board[MAX_CELLS];
  state s;
  uint64_t key;
} position;

static position position_of(const bw_game* game, const state* s) {
  position p;
  memset(&p, 0, sizeof p);
  for (int row = 0; row < game->rows; ++row)
    for (int col = 0; col < game->cols; ++col) p.board[row * game->cols + col] = (char)game->cell(s, row, col);
  memcpy(&p.s, s, game->state_bytes);
  p.key = game->key(s);
  return p;
}

static int by_board(const void* a, const void* b) {
  return memcmp(((const position*)a)->board, ((const position*)b)->board, MAX_CELLS);
}

static int by_key(const void* a, const void* b) {
  const uint64_t left = ((const position*)a)->key, right = ((const position*)b)->key;
  return (left > right) - (left < right);
}

// All positions of each ply; equal boards have equal bytes and keys, different ones different keys.
static void test_positions(const bw_game* game, const facts* f) {
  state start;
  game->init(&start);
  position* level = (position*)malloc(sizeof *level);
  REQUIRE(level != NULL);
  level[0] = position_of(game, &start);
  int64_t count = 1;
  for (int ply = 0; ply < MAX_DEPTHS && f->positions[ply]; ++ply) {
    CHECK_EQ_INT(count, f->positions[ply]);
    position* next = (position*)malloc((size_t)(count * game->actions) * sizeof *next);
    REQUIRE(next != NULL);
    int64_t reached = 0;
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t legal = game->legal(&level[i].s);
      for (int action = 0; action < game->actions; ++action) {
        if (!(legal >> action & 1)) continue;
        state s = level[i].s;
        game->play(&s, action);
        next[reached++] = position_of(game, &s);
      }
    }
    qsort(next, (size_t)reached, sizeof *next, by_board);
    int64_t different = 0;
    for (int64_t i = 0; i < reached; ++i) {
      if (i > 0 && by_board(&next[i], &next[different - 1]) == 0) {
        CHECK_BYTES(&next[i].s, &next[different - 1].s, game->state_bytes);
        CHECK(next[i].key == next[different - 1].key);
      } else {
        next[different++] = next[i];
      }
    }
    qsort(next, (size_t)different, sizeof *next, by_key);
    for (int64_t i = 1; i < different; ++i) CHECK(next[i].key != next[i - 1].key);
    free(level);
    level = next;
    count = different;
  }
  free(level);
}

// Keys of different plies differ too, and over whole games: a random sample, or everything where that is little.
static void test_keys(const bw_game* game) {
  enum { SAMPLE = 60000 };
  position* sample = (position*)malloc(SAMPLE * sizeof *sample);
  REQUIRE(sample != NULL);
  int count = 0;
  for (uint64_t playout = 0; count < SAMPLE; ++playout) {
    state s;
    game->init(&s);
    for (int ply = 0; count < SAMPLE; ++ply) {
      sample[count++] = position_of(game, &s);
      const uint32_t legal = game->legal(&s);
      if (!legal) break;
      const uint32_t word = bw_philox(12, BW_STREAM_ACTION, playout, (uint32_t)ply).v[0];
      game->play(&s, nth_action(legal, bw_below(word, (uint32_t)count_actions(legal))));
    }
  }
  qsort(sample, SAMPLE, sizeof *sample, by_key);
  int different = 1;
  for (int i = 1; i < SAMPLE; ++i) {
    if (sample[i].key == sample[i - 1].key)
      CHECK(by_board(&sample[i], &sample[i - 1]) == 0);
    else
      ++different;
  }
  CHECK(different > 1000);
  free(sample);
}

static uint64_t complete_games(const bw_game* game, const state* s) {
  uint64_t games = game->result(s) != BW_ONGOING;
  const uint32_t legal = game->legal(s);
  for (int action = 0; action < game->actions; ++action) {
    if (!(legal >> action & 1)) continue;
    state next = *s;
    game->play(&next, action);
    games += complete_games(game, &next);
  }
  return games;
}

static void test_counts(const bw_game* game, const facts* f) {
  state start;
  game->init(&start);
  int depth = 0;
  for (; depth < MAX_DEPTHS && f->perft[depth]; ++depth)
    CHECK_EQ_INT(bw_game_perft(game, &start, depth), f->perft[depth]);
  if (f->complete_games) {
    CHECK_EQ_INT(bw_game_perft(game, &start, depth), 0);  // beyond the longest game
    CHECK_EQ_INT(complete_games(game, &start), f->complete_games);
  }
}

// The run-time table says what the header says.
static void test_headers(void) {
  int index = 0;
#define GAME(id, words)                                                                                \
  {                                                                                                    \
    const bw_game* game = bw_game_at(index);                                                           \
    int found = -1;                                                                                    \
    REQUIRE(game != NULL);                                                                             \
    CHECK_EQ_STR(game->name, #id);                                                                     \
    CHECK_EQ_STR(game->title, words);                                                                  \
    CHECK(bw_game_find(#id, &found, NULL) == BW_OK);                                                   \
    CHECK_EQ_INT(found, index);                                                                        \
    CHECK_EQ_INT(game->actions, id##_ACTIONS);                                                         \
    CHECK_EQ_INT(game->max_plies, id##_MAX_PLIES);                                                     \
    CHECK_EQ_INT(game->observers[BW_OBSERVE_STONES].inputs, id##_ROWS* id##_COLS* id##_PLANES);        \
    CHECK_EQ_INT(game->observers[BW_OBSERVE_THREATS].planes, id##_THREAT_PLANES);                      \
    CHECK_EQ_INT(game->state_bytes, sizeof(id##_state));                                               \
    id##_state typed;                                                                                  \
    state opaque;                                                                                      \
    id##_init(&typed);                                                                                 \
    game->init(&opaque);                                                                               \
    CHECK_BYTES(&typed, &opaque, sizeof typed);                                                        \
    for (int action = 0; action < game->actions; ++action)                                             \
      for (int other = 0; other < action; ++other) CHECK(game->symbol(action) != game->symbol(other)); \
    ++index;                                                                                           \
  }
#include "../../csrc/games/list.def"
#undef GAME
  CHECK_EQ_INT(bw_game_count(), index);
  CHECK(bw_game_at(-1) == NULL);
  CHECK(bw_game_at(index) == NULL);
}

// ---- names, moves and boards as text ----

static void test_names(void) {
  bw_error error;
  int index = -5;
  CHECK(bw_game_find("tictactoo", &index, &error) == BW_OPTION);
  CHECK_EQ_INT(error.status, BW_OPTION);
  CHECK_EQ_STR(error.path, "game.name");
  CHECK_EQ_STR(error.received, "\"tictactoo\"");
  CHECK(strstr(error.expected, "tictactoe") && strstr(error.expected, "connect4"));
  CHECK(strstr(error.message, "did you mean \"tictactoe\"?") != NULL);
  static const char* const near[][2] = {
      {"Tic-Tac-Toe", "tictactoe"}, {"tic tac toe", "tictactoe"}, {"conect4", "connect4"},
      {"Connect 4", "connect4"},    {"connect-four", "connect4"},
  };
  for (size_t i = 0; i < sizeof near / sizeof near[0]; ++i) {
    CHECK(bw_game_find(near[i][0], &index, &error) == BW_OPTION);
    CHECK_MSG(strstr(error.message, "did you mean") && strstr(strstr(error.message, "did you mean"), near[i][1]),
              "%s: %s", near[i][0], error.message);
  }
  static const char* const far[] = {"chess", "go", "", "x"};
  for (size_t i = 0; i < sizeof far / sizeof far[0]; ++i) {
    CHECK(bw_game_find(far[i], &index, &error) == BW_OPTION);
    CHECK_MSG(!strstr(error.message, "did you mean"), "%s: %s", far[i], error.message);
  }
  char endless[4000];
  memset(endless, 'c', sizeof endless - 1);
  endless[sizeof endless - 1] = 0;
  CHECK(bw_game_find(endless, &index, &error) == BW_OPTION);
  CHECK(bw_game_find(NULL, &index, NULL) == BW_OPTION);
  CHECK_EQ_INT(index, -5);
}

static const bw_game* game_named(const char* name) {
  int index = 0;
  REQUIRE(bw_game_find(name, &index, NULL) == BW_OK);
  return bw_game_at(index);
}

static void test_moves(void) {
  static const struct {
    const char *game, *moves, *received, *expected, *message;
  } bad[] = {
      {"connect4", "48", "'8'", "one of 1 2 3 4 5 6 7", "move 2"},
      {"connect4", "4444444", "'4'", "one of 1 2 3 5 6 7", "move 7"},
      {"connect4", "1 2\t1 2\r1 2 1 2", "'2'", "no move: the game ended with move 7", "move 8"},
      {"connect4", "4a", "'a'", "one of 1 2 3 4 5 6 7", "move 2"},
      {"tictactoe", "55", "'5'", "one of 1 2 3 4 6 7 8 9", "move 2"},
      {"tictactoe", "0", "'0'", "one of 1 2 3 4 5 6 7 8 9", "move 1"},
      {"tictactoe", "1\n", "character 10", "one of 1 2 3 4 5 6 7 8 9", "move 2"},
      {"tictactoe", "1\xC3\xA9", "character 195", "one of 1 2 3 4 5 6 7 8 9", "move 2"},
      {"tictactoe", "142531", "'1'", "no move: the game ended with move 5", "move 6"},
  };
  state s;
  bw_error error;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    CHECK(bw_game_parse(game_named(bad[i].game), bad[i].moves, &s, &error) == BW_OPTION);
    CHECK_EQ_STR(error.path, "moves");
    CHECK_EQ_STR(error.received, bad[i].received);
    CHECK_EQ_STR(error.expected, bad[i].expected);
    CHECK_MSG(strncmp(error.message, bad[i].message, strlen(bad[i].message)) == 0, "%s", error.message);
    CHECK(bw_game_parse(game_named(bad[i].game), bad[i].moves, &s, NULL) == BW_OPTION);
  }
  const bw_game* tictactoe = game_named("tictactoe");
  CHECK(bw_game_parse(tictactoe, " \t", &s, &error) == BW_OK);
  CHECK_EQ_INT(tictactoe->ply(&s), 0);
}

static void check_board(const char* name, const char* moves, const char* board) {
  const bw_game* game = game_named(name);
  state s;
  char text[256], small[8];
  REQUIRE(bw_game_parse(game, moves, &s, NULL) == BW_OK);
  CHECK_EQ_INT(bw_game_print(game, &s, text, sizeof text), strlen(board));
  CHECK_EQ_STR(text, board);
  memset(small, 'z', sizeof small);
  CHECK_EQ_INT(bw_game_print(game, &s, small, 6), 5);
  CHECK(strncmp(small, board, 5) == 0 && small[5] == 0 && small[6] == 'z');
  CHECK_EQ_INT(bw_game_print(game, &s, small, 0), 0);
}

static void test_boards(void) {
  check_board("tictactoe", "", "1 2 3\n4 5 6\n7 8 9");
  check_board("tictactoe", "13", "X 2 O\n4 5 6\n7 8 9");
  check_board("connect4", "4453",
              ". . . . . . .\n"
              ". . . . . . .\n"
              ". . . . . . .\n"
              ". . . . . . .\n"
              ". . . O . . .\n"
              ". . O X X . .\n"
              "1 2 3 4 5 6 7");
}

// Lines that a bitboard could see where the board has none: over a side, over a column's top.
static void test_no_wraparound(void) {
  static const struct {
    const char *game, *moves;
    int result;
  } games[] = {
      {"tictactoe", "38415", BW_ONGOING},       // 3, 4, 5: no row over the side
      {"tictactoe", "14253", BW_WON},           // the first row
      {"connect4", "1212121", BW_WON},          // a column
      {"connect4", "4433221", BW_WON},          // a row
      {"connect4", "12233434464", BW_WON},      // a rising diagonal
      {"connect4", "76655454424", BW_WON},      // a falling one
      {"connect4", "11111717262", BW_ONGOING},  // the top two of a column and the bottom two of the next
  };
  for (size_t i = 0; i < sizeof games / sizeof games[0]; ++i) {
    const bw_game* game = game_named(games[i].game);
    state s;
    naive n = {.game = game, .rules = facts_of(games[i].game)};
    game->init(&s);
    for (const char* c = games[i].moves; *c; ++c) {
      REQUIRE(naive_legal(&n) >> (*c - '1') & 1);
      naive_play(&n, *c - '1');
      game->play(&s, *c - '1');
      check_against_naive(game, &s, &n);
    }
    CHECK_MSG(game->result(&s) == games[i].result, "%s %s: result %d", games[i].game, games[i].moves, game->result(&s));
  }
}

int main(void) {
  test_headers();
  for (int i = 0; i < bw_game_count(); ++i) {
    const bw_game* game = bw_game_at(i);
    const facts* f = facts_of(game->name);
    if (!CHECK_MSG(f != NULL, "%s has no row in the facts of this test", game->name)) continue;
    test_counts(game, f);
    test_positions(game, f);
    test_keys(game);
    test_playouts(game, f);
  }
  test_names();
  test_moves();
  test_boards();
  test_no_wraparound();
  return check_summary("games");
}
