// The options of a run as one table: options.def expanded into rows of type, place, default and range. Setting,
// reading, checking and suggesting are loops over that table, so an option needs its line and nothing else.
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/decimal.h"

// "tictactoe|connect4": every name is written with a bar before it, and the first bar is skipped.
static const char game_names[] =
#define GAME(name, title) "|" #name
#include "../games/list.def"
#undef GAME
    ;
#define BW_GAME_NAMES (game_names + 1)

typedef enum option_type { OPTION_INT, OPTION_REAL, OPTION_BOOL, OPTION_ENUM, OPTION_TEXT } option_type;

typedef struct option {
  const char* path;
  option_type type;
  size_t offset;      // of the field in bw_config
  double initial;     // exact for integers too: they stay within 2^53
  double min, max;    // allowed values, both included
  const char* names;  // "a|b|c" of an enum
} option;

static const option options[] = {
#define INT(field, path, initial, min, max, doc) {path, OPTION_INT, offsetof(bw_config, field), initial, min, max, ""},
#define REAL(field, path, initial, min, max, doc) \
  {path, OPTION_REAL, offsetof(bw_config, field), initial, min, max, ""},
#define BOOL(field, path, initial, doc) {path, OPTION_BOOL, offsetof(bw_config, field), initial, 0, 1, ""},
#define ENUM(field, path, initial, names, doc) {path, OPTION_ENUM, offsetof(bw_config, field), initial, 0, 0, names},
#define TEXT(field, path, doc) {path, OPTION_TEXT, offsetof(bw_config, field), 0, 0, 0, ""},
#include "options.def"
#undef INT
#undef REAL
#undef BOOL
#undef ENUM
#undef TEXT
};
enum { OPTION_COUNT = sizeof options / sizeof options[0] };

typedef struct recipe {
  const char* game;
  const char* path;
  const char* value;
} recipe;

static const recipe recipes[] = {
#define RECIPE(game, path, value) {#game, path, value},
#include "recipes.def"
#undef RECIPE
};
enum { RECIPE_COUNT = sizeof recipes / sizeof recipes[0] };

static const char set_op[] = "config.set";
static const char check_op[] = "config.check";

// ---- fields ----

static double get_number(const bw_config* config, const option* o) {
  const char* field = (const char*)config + o->offset;
  switch (o->type) {
    case OPTION_INT: {
      int64_t value;
      memcpy(&value, field, sizeof value);
      return (double)value;
    }
    case OPTION_REAL: {
      double value;
      memcpy(&value, field, sizeof value);
      return value;
    }
    case OPTION_BOOL: {
      bool value;
      memcpy(&value, field, sizeof value);
      return value ? 1 : 0;
    }
    case OPTION_ENUM: {
      int value;
      memcpy(&value, field, sizeof value);
      return value;
    }
    case OPTION_TEXT:
      break;
  }
  return 0;
}

// value must be in the option's range.
static void put_number(bw_config* config, const option* o, double number) {
  char* field = (char*)config + o->offset;
  switch (o->type) {
    case OPTION_INT: {
      int64_t value = (int64_t)number;
      memcpy(field, &value, sizeof value);
      break;
    }
    case OPTION_REAL:
      memcpy(field, &number, sizeof number);
      break;
    case OPTION_BOOL: {
      bool value = number != 0;
      memcpy(field, &value, sizeof value);
      break;
    }
    case OPTION_ENUM: {
      int value = (int)number;
      memcpy(field, &value, sizeof value);
      break;
    }
    case OPTION_TEXT:
      break;
  }
}

// ---- the names of an enum ----

static int enum_count(const option* o) {
  int count = 1;
  for (const char* c = o->names; *c; ++c) count += *c == '|';
  return count;
}

static void enum_name(const option* o, int index, char* text, size_t size) {
  const char* start = o->names;
  while (index-- > 0) start = strchr(start, '|') + 1;
  snprintf(text, size, "%.*s", (int)strcspn(start, "|"), start);
}

// -1 if there is none.
static int enum_find(const option* o, const char* name) {
  char known[64];
  for (int i = 0; i < enum_count(o); ++i) {
    enum_name(o, i, known, sizeof known);
    if (strcmp(name, known) == 0) return i;
  }
  return -1;
}

// ---- numbers as text ----

// True when text is a decimal number: -?digits(.digits)?([eE][+-]?digits)?. No spaces, hex, "inf" or "nan".
static bool is_number(const char* text) {
  const char* c = text;
  if (*c == '-') ++c;
  if (!isdigit((unsigned char)*c)) return false;
  while (isdigit((unsigned char)*c)) ++c;
  if (*c == '.') {
    if (!isdigit((unsigned char)*++c)) return false;
    while (isdigit((unsigned char)*c)) ++c;
  }
  if (*c == 'e' || *c == 'E') {
    ++c;
    if (*c == '+' || *c == '-') ++c;
    if (!isdigit((unsigned char)*c)) return false;
    while (isdigit((unsigned char)*c)) ++c;
  }
  return *c == 0;
}

// The shortest text that reads back to the same double; whole numbers of up to 15 digits without an exponent.
static void print_number(double value, char* text, size_t size) {
  if (value == floor(value) && fabs(value) < 1e15) {
    snprintf(text, size, "%.0f", value == 0 ? 0.0 : value);  // no "-0"
    return;
  }
  for (int digits = 1; digits <= 17; ++digits) {
    bw_decimal_print(value, digits, text, size);
    if (bw_decimal_read(text) == value) return;
  }
}

static void print_value(const bw_config* config, const option* o, char* text, size_t size) {
  double value = get_number(config, o);
  switch (o->type) {
    case OPTION_INT:
      snprintf(text, size, "%.0f", value);
      break;
    case OPTION_REAL:
      print_number(value, text, size);
      break;
    case OPTION_BOOL:
      snprintf(text, size, "%s", value != 0 ? "true" : "false");
      break;
    case OPTION_ENUM:
      enum_name(o, (int)value, text, size);
      break;
    case OPTION_TEXT:
      snprintf(text, size, "%s", (const char*)config + o->offset);
      break;
  }
}

// ---- suggestions ----

// Lower case without '_' and '-', so that max_grad_norm and maxGradNorm are the same word. At most 95 characters.
static void simplify(const char* text, char simple[96]) {
  size_t n = 0;
  for (; *text && n < 95; ++text) {
    if (*text != '_' && *text != '-') simple[n++] = (char)tolower((unsigned char)*text);
  }
  simple[n] = 0;
}

// Edits (insert, delete, replace, swap neighbours) that turn one word into the other.
static int edit_distance(const char* left, const char* right) {
  char a[96], b[96];
  simplify(left, a);
  simplify(right, b);
  int m = (int)strlen(a), n = (int)strlen(b);
  int rows[3][96];  // the last three rows of the table of prefixes
  for (int i = 0; i <= m; ++i) {
    int* now = rows[i % 3];
    const int* above = rows[(i + 2) % 3];
    const int* above2 = rows[(i + 1) % 3];
    for (int j = 0; j <= n; ++j) {
      if (i == 0 || j == 0) {
        now[j] = i + j;
        continue;
      }
      int best = above[j - 1] + (a[i - 1] != b[j - 1]);
      if (above[j] + 1 < best) best = above[j] + 1;
      if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && above2[j - 2] + 1 < best) {
        best = above2[j - 2] + 1;
      }
      now[j] = best;
    }
  }
  return rows[m % 3][n];
}

static const char* last_word(const char* path) {
  const char* dot = strrchr(path, '.');
  return dot ? dot + 1 : path;
}

// Distances above this are no typing errors.
static int tolerance(const char* text) {
  int third = (int)strlen(text) / 3;
  return third > 4 ? 4 : third > 2 ? third : 2;
}

// The option that path most likely means, or NULL. The last word may stand in a wrong group, or in none.
static const option* nearest_option(const char* path) {
  const char* word = last_word(path);
  int word_limit = (int)strlen(word) / 3;
  const option* best = NULL;
  int best_distance = tolerance(path) + 1;
  for (int i = 0; i < OPTION_COUNT; ++i) {
    int whole = edit_distance(path, options[i].path);
    int part = edit_distance(word, last_word(options[i].path));
    int distance = part <= word_limit && part + 1 < whole ? part + 1 : whole;
    if (distance < best_distance) {
      best_distance = distance;
      best = &options[i];
    }
  }
  return best;
}

static bool in_group(const option* o, const char* group, size_t length) {
  return length > 0 && strncmp(o->path, group, length) == 0 && o->path[length] == '.';
}

// "ppo.epochs, ppo.minibatch, ..." as far as it fits.
static void list_group(const char* group, size_t length, char* text, size_t size) {
  size_t used = strlen(text);
  bool first = true;
  for (int i = 0; i < OPTION_COUNT; ++i) {
    if (!in_group(&options[i], group, length)) continue;
    if (used + strlen(options[i].path) + 8 > size) {
      snprintf(text + used, size - used, ", ...");
      return;
    }
    used += (size_t)snprintf(text + used, size - used, "%s%s", first ? "" : ", ", options[i].path);
    first = false;
  }
}

// "game, net, rollout, league, ppo, run"
static void list_groups(char* text, size_t size) {
  size_t used = strlen(text), previous_length = 0;
  const char* previous = "";
  for (int i = 0; i < OPTION_COUNT; ++i) {
    size_t length = strcspn(options[i].path, ".");
    if (length == previous_length && strncmp(options[i].path, previous, length) == 0) continue;
    if (used + length + 3 > size) return;
    used +=
        (size_t)snprintf(text + used, size - used, "%s%.*s", previous_length ? ", " : "", (int)length, options[i].path);
    previous = options[i].path;
    previous_length = length;
  }
}

static void append_message(bw_error* error, const char* text) {
  if (!error) return;
  size_t used = strlen(error->message);
  snprintf(error->message + used, sizeof error->message - used, "%s", text);
}

static bw_status fail_unknown(bw_error* error, const char* path) {
  char expected[192] = "", message[320];
  size_t length = strlen(path);
  bool is_group = false;
  for (int i = 0; i < OPTION_COUNT; ++i) is_group = is_group || in_group(&options[i], path, length);
  const option* near = is_group ? NULL : nearest_option(path);
  size_t group = strcspn(path, ".");
  bool group_known = false;
  for (int i = 0; i < OPTION_COUNT; ++i) group_known = group_known || in_group(&options[i], path, group);

  if (is_group) {
    snprintf(expected, sizeof expected, "an option of this group: ");
    list_group(path, length, expected, sizeof expected);
    snprintf(message, sizeof message, "\"%.64s\" is a group of options, not an option: set %s", path,
             expected + strlen("an option of this group: "));
  } else if (near) {
    snprintf(expected, sizeof expected, "a known option; did you mean \"%s\"?", near->path);
    snprintf(message, sizeof message, "unknown option \"%.64s\": did you mean \"%s\"?", path, near->path);
  } else if (group_known) {
    snprintf(expected, sizeof expected, "one of ");
    list_group(path, group, expected, sizeof expected);
    snprintf(message, sizeof message, "unknown option \"%.64s\": expected %s", path, expected);
  } else {
    snprintf(expected, sizeof expected, "an option of one of the groups ");
    list_groups(expected, sizeof expected);
    snprintf(message, sizeof message, "unknown option \"%.64s\": expected %s", path, expected);
  }
  bw_fail_option(error, set_op, path, path, expected);
  if (error) error->message[0] = 0;
  append_message(error, message);
  return BW_OPTION;
}

// ---- values ----

static void describe(const option* o, char* text, size_t size) {
  switch (o->type) {
    case OPTION_INT:
      snprintf(text, size, "an integer from %.0f to %.0f", o->min, o->max);
      break;
    case OPTION_REAL: {
      char min[32], max[32];
      print_number(o->min, min, sizeof min);
      print_number(o->max, max, sizeof max);
      snprintf(text, size, "a number from %s to %s", min, max);
      break;
    }
    case OPTION_BOOL:
      snprintf(text, size, "true or false");
      break;
    case OPTION_ENUM: {
      size_t used = (size_t)snprintf(text, size, "one of ");
      for (int i = 0; i < enum_count(o) && used < size; ++i) {
        char name[64];
        enum_name(o, i, name, sizeof name);
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", name);
      }
      break;
    }
    case OPTION_TEXT:
      snprintf(text, size, "text of at most %d bytes", BW_TEXT_SIZE - 1);
      break;
  }
}

static bw_status fail_value(bw_error* error, const char* op, const option* o, const char* received) {
  char expected[192];
  describe(o, expected, sizeof expected);
  return bw_fail_option(error, op, o->path, received, expected);
}

// Reads text as a value of o. False when it is none.
static bool parse_value(const option* o, bw_value_kind kind, const char* text, double* value) {
  switch (o->type) {
    case OPTION_INT:
    case OPTION_REAL: {
      if (kind != BW_VALUE_NUMBER || !is_number(text)) return false;
      double number = bw_decimal_read(text) + 0.0;  // -0 becomes 0
      if (!isfinite(number) || number < o->min || number > o->max) return false;
      if (o->type == OPTION_INT && number != floor(number)) return false;
      *value = number;
      return true;
    }
    case OPTION_BOOL:
      if (kind != BW_VALUE_BOOL) return false;
      *value = strcmp(text, "true") == 0;
      return *value != 0 || strcmp(text, "false") == 0;
    case OPTION_ENUM:
      if (kind != BW_VALUE_STRING) return false;
      *value = enum_find(o, text);
      return *value >= 0;
    case OPTION_TEXT:
      *value = 0;
      return kind == BW_VALUE_STRING && strlen(text) < BW_TEXT_SIZE;
  }
  return false;
}

static bw_status set_option(bw_config* config, const option* o, bw_value_kind kind, const char* text, bw_error* error) {
  double value;
  if (parse_value(o, kind, text, &value)) {
    if (o->type == OPTION_TEXT) memcpy((char*)config + o->offset, text, strlen(text) + 1);
    put_number(config, o, value);
    return BW_OK;
  }
  char received[96];
  snprintf(received, sizeof received, kind == BW_VALUE_STRING ? "\"%.90s\"" : "%.90s", text);
  fail_value(error, set_op, o, received);
  if (o->type == OPTION_ENUM && kind == BW_VALUE_STRING) {
    int best = -1, best_distance = tolerance(text) + 1;
    char name[64], hint[96];
    for (int i = 0; i < enum_count(o); ++i) {
      enum_name(o, i, name, sizeof name);
      int distance = edit_distance(text, name);
      if (distance < best_distance && distance < (int)strlen(name)) {
        best_distance = distance;
        best = i;
      }
    }
    if (best >= 0) {
      enum_name(o, best, name, sizeof name);
      snprintf(hint, sizeof hint, "; did you mean \"%s\"?", name);
      append_message(error, hint);
    }
  }
  return BW_OPTION;
}

static bool is_string(const option* o) { return o->type == OPTION_ENUM || o->type == OPTION_TEXT; }

static const option* find_option(const char* path) {
  for (int i = 0; i < OPTION_COUNT; ++i) {
    if (strcmp(path, options[i].path) == 0) return &options[i];
  }
  return NULL;
}

// ---- the interface ----

bw_status bw_config_defaults(bw_config* config, const char* game, bw_error* error) {
  bw_config fresh;
  memset(&fresh, 0, sizeof fresh);
  for (int i = 0; i < OPTION_COUNT; ++i) put_number(&fresh, &options[i], options[i].initial);
  BW_TRY(set_option(&fresh, find_option("game.name"), BW_VALUE_STRING, game ? game : "", error));
  *config = fresh;
  return BW_OK;
}

bw_status bw_config_init(bw_config* config, const char* game, bw_error* error) {
  bw_config fresh;
  BW_TRY(bw_config_defaults(&fresh, game, error));
  for (int i = 0; i < RECIPE_COUNT; ++i) {
    if (strcmp(recipes[i].game, game) != 0) continue;
    const option* o = find_option(recipes[i].path);
    if (!o) return fail_unknown(error, recipes[i].path);
    bw_value_kind kind = is_string(o) ? BW_VALUE_STRING : o->type == OPTION_BOOL ? BW_VALUE_BOOL : BW_VALUE_NUMBER;
    BW_TRY(set_option(&fresh, o, kind, recipes[i].value, error));
  }
  *config = fresh;
  return BW_OK;
}

bw_status bw_config_set(bw_config* config, const char* path, bw_value_kind kind, const char* text, bw_error* error) {
  if (!path) path = "";
  if (!text) text = "null";
  const option* o = find_option(path);
  if (!o) return fail_unknown(error, path);
  if (o->offset != offsetof(bw_config, game_name)) return set_option(config, o, kind, text, error);

  // The game decided the defaults of everything else, so it can't change any more.
  bw_config changed = *config;
  BW_TRY(set_option(&changed, o, kind, text, error));
  if (changed.game_name != config->game_name) {
    char name[64], received[96], expected[192];
    enum_name(o, config->game_name, name, sizeof name);
    snprintf(received, sizeof received, "\"%.90s\"", text);
    snprintf(expected, sizeof expected, "\"%s\", the game of this run", name);
    return bw_fail_option(error, set_op, o->path, received, expected);
  }
  return BW_OK;
}

bw_status bw_config_check(bw_config* config, bw_error* error) {
  // Every value by itself again: a C caller may have written the struct.
  for (int i = 0; i < OPTION_COUNT; ++i) {
    const option* o = &options[i];
    if (o->type == OPTION_TEXT) {
      if (memchr((const char*)config + o->offset, 0, BW_TEXT_SIZE)) continue;
      return fail_value(error, check_op, o, "text without an end");
    }
    double value = get_number(config, o);
    double min = o->type == OPTION_ENUM ? 0 : o->min;
    double max = o->type == OPTION_ENUM ? enum_count(o) - 1 : o->max;
    if (!(value >= min && value <= max)) {
      char received[96];
      print_number(value, received, sizeof received);
      return fail_value(error, check_op, o, received);
    }
  }

  if (config->starts_list_share > 0 && !config->starts_file[0]) {
    return bw_fail_option(error, check_op, "rollout.starts.file", "\"\"",
                          "the name of a file when rollout.starts.listShare is above 0");
  }
  if (config->opponents_pinned_share > 0 && !config->opponents_pinned[0]) {
    return bw_fail_option(error, check_op, "rollout.opponents.pinned", "\"\"",
                          "names of files when rollout.opponents.pinnedShare is above 0");
  }

  if (config->league_enabled && config->league_self_share + config->league_exploiter_share > 1) {
    char received[32];
    print_number(config->league_exploiter_share, received, sizeof received);
    return bw_fail_option(error, check_op, "league.exploiterShare", received,
                          "at most 1 together with league.selfShare");
  }
  if (config->league_enabled && config->league_min_iterations > config->league_max_iterations) {
    char received[32];
    print_number((double)config->league_min_iterations, received, sizeof received);
    return bw_fail_option(error, check_op, "league.minIterations", received, "at most league.maxIterations");
  }

  // Games that are not against the policy itself need somebody to meet; a league has its own.
  if (!config->league_enabled && config->opponents_self_share < 1 && config->opponents_pool < 1) {
    return bw_fail_option(error, check_op, "rollout.opponents.pool", "0",
                          "at least 1 when rollout.opponents.selfShare is below 1");
  }

  // Along plies the value of the opponent's turn counts negatively, which is true only of a zero-sum reward. A draw
  // that both players like is not zero-sum; then each player's own moves make the chain.
  bool zero_sum = config->rollout_draw_reward == 0;
  if (config->ppo_chain == BW_CHAIN_PLY && !zero_sum) {
    return bw_fail_option(
        error, check_op, "ppo.chain", "\"ply\"",
        "\"player\" or \"auto\" when rollout.drawReward is not 0 (the sign flip needs a zero-sum reward)");
  }
  // A discounted distribution has the discount's share as draws, which are worth nothing only without a reward.
  if (config->net_value == BW_VALUE_WDL && !zero_sum && config->ppo_gamma != 1) {
    char received[32];
    print_number(config->ppo_gamma, received, sizeof received);
    return bw_fail_option(error, check_op, "ppo.gamma", received,
                          "1 when net.value is \"wdl\" and rollout.drawReward is not 0");
  }
  if (config->starts_share + config->starts_list_share > 1) {
    char received[32];
    print_number(config->starts_share, received, sizeof received);
    return bw_fail_option(error, check_op, "rollout.starts.share", received,
                          "at most 1 together with rollout.starts.listShare");
  }
  if (config->ppo_kl_target > 0 && config->ppo_kl_coef == 0) {
    return bw_fail_option(error, check_op, "ppo.klCoef", "0",
                          "above 0 when ppo.klTarget is: it is where adapting starts");
  }
  if (config->ppo_chain == BW_CHAIN_AUTO) config->ppo_chain = zero_sum ? BW_CHAIN_PLY : BW_CHAIN_PLAYER;
  return BW_OK;
}

int bw_config_count(void) { return OPTION_COUNT; }

void bw_config_get(const bw_config* config, int index, const char** path, bw_value_kind* kind, char* text, int size) {
  const option* o = &options[index];
  *path = o->path;
  *kind = is_string(o) ? BW_VALUE_STRING : o->type == OPTION_BOOL ? BW_VALUE_BOOL : BW_VALUE_NUMBER;
  print_value(config, o, text, (size_t)size);
}
