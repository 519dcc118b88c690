#include "registry.h"

#include <stdio.h>
#include <string.h>

#include "games.gen.h"

// ---- the table ----

// The typed functions of a game's header behind opaque pointers.
#define GAME(name, title)                                                                           \
  _Static_assert(sizeof(name##_state) <= BW_GAME_MAX_STATE_BYTES, #name ": state is too large");    \
  _Static_assert((int)name##_ACTIONS <= BW_GAME_MAX_ACTIONS, #name ": too many actions");           \
  _Static_assert((int)name##_FEATURES <= BW_GAME_MAX_FEATURES, #name ": too many features");        \
  _Static_assert((int)name##_THREAT_FEATURES <= BW_GAME_MAX_FEATURES, #name ": too many features"); \
  static void name##_init_any(void* s) { name##_init((name##_state*)s); }                           \
  static uint32_t name##_legal_any(const void* s) { return name##_legal((const name##_state*)s); }  \
  static void name##_play_any(void* s, int action) { name##_play((name##_state*)s, action); }       \
  static void name##_attempt_any(void* s, int action) { name##_attempt((name##_state*)s, action); } \
  static int name##_result_any(const void* s) { return name##_result((const name##_state*)s); }     \
  static int name##_ply_any(const void* s) { return name##_ply((const name##_state*)s); }           \
  static int name##_features_any(const void* s, uint16_t* list) {                                   \
    return name##_features((const name##_state*)s, list);                                           \
  }                                                                                                 \
  static int name##_threats_any(const void* s, uint16_t* list) {                                    \
    return name##_threats((const name##_state*)s, list);                                            \
  }                                                                                                 \
  static void name##_mirror_any(void* s) { name##_mirror((name##_state*)s); }                       \
  static uint64_t name##_key_any(const void* s) { return name##_key((const name##_state*)s); }      \
  static int name##_cell_any(const void* s, int row, int col) { return name##_cell((const name##_state*)s, row, col); }
#include "list.def"
#undef GAME

static const bw_game games[] = {
#define GAME(id, words)                                                      \
  {.name = #id,                                                              \
   .title = words,                                                           \
   .actions = id##_ACTIONS,                                                  \
   .rows = id##_ROWS,                                                        \
   .cols = id##_COLS,                                                        \
   .max_plies = id##_MAX_PLIES,                                              \
   .state_bytes = sizeof(id##_state),                                        \
   .init = id##_init_any,                                                    \
   .legal = id##_legal_any,                                                  \
   .play = id##_play_any,                                                    \
   .attempt = id##_attempt_any,                                              \
   .result = id##_result_any,                                                \
   .ply = id##_ply_any,                                                      \
   .observers = {{.planes = id##_PLANES,                                     \
                  .inputs = (int)id##_ROWS * id##_COLS * id##_PLANES,        \
                  .max_features = id##_FEATURES,                             \
                  .features = id##_features_any},                            \
                 {.planes = id##_THREAT_PLANES,                              \
                  .inputs = (int)id##_ROWS * id##_COLS * id##_THREAT_PLANES, \
                  .max_features = id##_THREAT_FEATURES,                      \
                  .features = id##_threats_any}},                            \
   .mirror = id##_mirror_any,                                                \
   .mirror_action = id##_mirror_action,                                      \
   .key = id##_key_any,                                                      \
   .symbol = id##_symbol,                                                    \
   .cell = id##_cell_any},
#include "list.def"
#undef GAME
};
enum { GAME_COUNT = sizeof games / sizeof games[0] };

int bw_game_count(void) { return GAME_COUNT; }

const bw_game* bw_game_at(int index) { return index >= 0 && index < GAME_COUNT ? &games[index] : NULL; }

void bw_observer_encode(const bw_observer* observer, const void* state, float* x) {
  uint16_t list[BW_GAME_MAX_FEATURES];
  for (int i = 0; i < observer->inputs; ++i) x[i] = i % observer->planes == observer->planes - 1;
  const int count = observer->features(state, list);
  for (int i = 0; i < count; ++i) x[list[i]] = 1;
}

// ---- names ----

enum { LONGEST_NAME = 63 };

// Levenshtein distance: insertions, deletions and replacements that turn one name into the other. Case, and the
// signs that people put between words ("Tic-Tac-Toe"), make no difference.
static int edit_distance(const char* left, const char* right) {
  char words[2][LONGEST_NAME + 1];
  int lengths[2];
  for (int w = 0; w < 2; ++w) {
    int n = 0;
    for (const char* c = w ? right : left; *c && n < LONGEST_NAME; ++c) {
      if (strchr(" -_.", *c)) continue;
      words[w][n++] = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
    }
    lengths[w] = n;
  }
  int row[LONGEST_NAME + 1];  // row[j]: distance of the first i letters of left from the first j of right
  for (int j = 0; j <= lengths[1]; ++j) row[j] = j;
  for (int i = 1; i <= lengths[0]; ++i) {
    int diagonal = row[0];
    row[0] = i;
    for (int j = 1; j <= lengths[1]; ++j) {
      int best = diagonal + (words[0][i - 1] != words[1][j - 1]);
      diagonal = row[j];
      if (row[j] + 1 < best) best = row[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      row[j] = best;
    }
  }
  return row[lengths[1]];
}

bw_status bw_game_find(const char* name, int* index, bw_error* error) {
  if (!name) name = "";
  for (int i = 0; i < GAME_COUNT; ++i) {
    if (strcmp(name, games[i].name) == 0) {
      *index = i;
      return BW_OK;
    }
  }
  char received[64], expected[192];
  snprintf(received, sizeof received, "\"%.60s\"", name);
  size_t length = 0;
  const char* nearest = NULL;
  int nearest_distance = (int)strlen(name) / 3 + 2;  // further away is no typing error
  for (int i = 0; i < GAME_COUNT; ++i) {
    const int distance = edit_distance(name, games[i].name);
    if (distance < nearest_distance) {
      nearest_distance = distance;
      nearest = games[i].name;
    }
    if (length < sizeof expected)
      length += (size_t)snprintf(expected + length, sizeof expected - length, "%s%s", i ? " or " : "", games[i].name);
  }
  const bw_status status = bw_fail_option(error, "game.find", "game.name", received, expected);
  if (error && nearest) {
    const size_t used = strlen(error->message);
    snprintf(error->message + used, sizeof error->message - used, "; did you mean \"%s\"?", nearest);
  }
  return status;
}

// ---- text ----

static int action_of(const bw_game* game, char symbol) {
  for (int action = 0; action < game->actions; ++action)
    if (game->symbol(action) == symbol) return action;
  return -1;
}

// Appends " 'a'" for each action of the mask.
static void list_symbols(const bw_game* game, uint32_t mask, char* text, size_t size) {
  size_t length = strlen(text);
  for (int action = 0; action < game->actions; ++action)
    if (mask >> action & 1 && length + 3 < size) {
      text[length++] = ' ';
      text[length++] = (char)game->symbol(action);
      text[length] = 0;
    }
}

bw_status bw_game_parse(const bw_game* game, const char* moves, void* state, bw_error* error) {
  static const char op[] = "game.parse";
  game->init(state);
  int number = 0;  // of the move, from 1
  for (const char* c = moves; *c; ++c) {
    if (*c == ' ' || *c == '\t' || *c == '\r') continue;
    ++number;
    char received[32], expected[160] = "";
    snprintf(received, sizeof received, *c >= ' ' && *c <= '~' ? "'%c'" : "character %d", (unsigned char)*c);
    const int action = action_of(game, *c);
    const uint32_t legal = game->legal(state);
    const char* problem;
    if (game->result(state) != BW_ONGOING) {
      problem = "comes after the end of the game";
      snprintf(expected, sizeof expected, "no move: the game ended with move %d", number - 1);
    } else if (action < 0) {
      problem = "is no move of this game";
      snprintf(expected, sizeof expected, "one of");
      list_symbols(game, ~(uint32_t)0, expected, sizeof expected);
    } else if (!(legal >> action & 1)) {
      problem = "is not legal here";
      snprintf(expected, sizeof expected, "one of");
      list_symbols(game, legal, expected, sizeof expected);
    } else {
      game->play(state, action);
      continue;
    }
    const bw_status status = bw_fail_option(error, op, "moves", received, expected);
    if (error)
      snprintf(error->message, sizeof error->message, "move %d, %s, %s: expected %s", number, received, problem,
               expected);
    return status;
  }
  return BW_OK;
}

typedef struct writer {
  char* text;
  size_t size, length;
} writer;

static void put(writer* out, int character) {
  if (out->length + 1 < out->size) {
    out->text[out->length++] = (char)character;
    out->text[out->length] = 0;
  }
}

size_t bw_game_print(const bw_game* game, const void* state, char* text, size_t size) {
  writer out = {text, size, 0};
  if (size > 0) text[0] = 0;
  const int names_cells = game->actions == game->rows * game->cols;  // else actions are columns, row 0 the bottom
  for (int line = 0; line < game->rows; ++line) {
    const int row = names_cells ? line : game->rows - 1 - line;
    if (line > 0) put(&out, '\n');
    for (int col = 0; col < game->cols; ++col) {
      if (col > 0) put(&out, ' ');
      const int stone = game->cell(state, row, col);
      const int empty = names_cells ? game->symbol(row * game->cols + col) : '.';
      put(&out, stone == 1 ? 'X' : stone == 2 ? 'O' : empty);
    }
  }
  if (!names_cells && game->actions == game->cols) {
    put(&out, '\n');
    for (int col = 0; col < game->cols; ++col) {
      if (col > 0) put(&out, ' ');
      put(&out, game->symbol(col));
    }
  }
  return out.length;
}

// ---- perft ----

uint64_t bw_game_perft(const bw_game* game, const void* state, int depth) {
  if (depth <= 0) return 1;
  const uint32_t legal = game->legal(state);
  uint64_t nodes = 0;
  for (int action = 0; action < game->actions; ++action) {
    if (!(legal >> action & 1)) continue;
    if (depth == 1) {  // every legal move is a leaf: no need to play it
      ++nodes;
      continue;
    }
    union {
      uint64_t align;
      unsigned char bytes[BW_GAME_MAX_STATE_BYTES];
    } next;
    memcpy(next.bytes, state, game->state_bytes);
    game->play(next.bytes, action);
    nodes += bw_game_perft(game, next.bytes, depth - 1);
  }
  return nodes;
}
