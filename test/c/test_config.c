// Every option of options.def: default, limits, just beyond them, wrong kinds, text round trip; then names, recipes
// and the rules that span options.
#include "../../csrc/train/config.h"

#include "check.h"

typedef struct row {
  const char* path;
  char type;  // i, r, b, e, t
  double initial, min, max;
  const char* names;
} row;

static const row rows[] = {
#define BW_GAME_NAMES "tictactoe|connect4"
#define INT(field, path, initial, min, max, doc) {path, 'i', initial, min, max, ""},
#define REAL(field, path, initial, min, max, doc) {path, 'r', initial, min, max, ""},
#define BOOL(field, path, initial, doc) {path, 'b', initial, 0, 1, ""},
#define ENUM(field, path, initial, names, doc) {path, 'e', initial, 0, 0, names},
#define TEXT(field, path, doc) {path, 't', 0, 0, 0, ""},
#include "../../csrc/train/options.def"
#undef INT
#undef REAL
#undef BOOL
#undef ENUM
#undef TEXT
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static bw_config connect4(void) {
  bw_config config;
  bw_error error;
  CHECK(bw_config_init(&config, "connect4", &error) == BW_OK);
  return config;
}

static int row_of(const char* path) {
  for (int i = 0; i < ROWS; ++i) {
    if (strcmp(rows[i].path, path) == 0) return i;
  }
  return -1;
}

// The text of an option's present value.
static const char* text_of(const bw_config* config, const char* wanted) {
  static char text[BW_TEXT_SIZE];
  const char* path;
  bw_value_kind kind;
  bw_config_get(config, row_of(wanted), &path, &kind, text, sizeof text);
  CHECK(strcmp(path, wanted) == 0);
  return text;
}

static bool same(const bw_config* a, const bw_config* b) {
  char x[BW_TEXT_SIZE], y[BW_TEXT_SIZE];
  for (int i = 0; i < ROWS; ++i) {
    const char* path;
    bw_value_kind kind;
    bw_config_get(a, i, &path, &kind, x, sizeof x);
    bw_config_get(b, i, &path, &kind, y, sizeof y);
    if (strcmp(x, y) != 0) return false;
  }
  return true;
}

static void accept(const char* path, bw_value_kind kind, const char* text) {
  bw_config config = connect4();
  bw_error error;
  bw_status status = bw_config_set(&config, path, kind, text, &error);
  CHECK_MSG(status == BW_OK, "%s = %s: %s", path, text, error.message);
}

// The value is refused, the error says where, what and what else, and the config is as it was.
static void refuse(const char* path, bw_value_kind kind, const char* text, const char* expected) {
  bw_config config = connect4();
  const bw_config before = config;
  bw_error error;
  memset(&error, 0, sizeof error);
  bw_status status = bw_config_set(&config, path, kind, text, &error);
  CHECK_MSG(status == BW_OPTION, "%s = %s was not refused", path, text ? text : "null");
  CHECK(error.status == BW_OPTION);
  CHECK(strcmp(error.path, path) == 0);
  CHECK(strstr(error.received, text ? text : "null") != NULL);
  CHECK(strstr(error.expected, expected) != NULL);
  CHECK(error.message[0] != 0);
  CHECK(same(&config, &before));
  CHECK(bw_config_set(&config, path, kind, text, NULL) == BW_OPTION);  // without an error record too
}

static void test_count_and_kinds(void) {
  CHECK(bw_config_count() == ROWS);
  bw_config config = connect4();
  for (int i = 0; i < ROWS; ++i) {
    const char* path;
    bw_value_kind kind;
    char text[64];
    bw_config_get(&config, i, &path, &kind, text, sizeof text);
    CHECK(strcmp(path, rows[i].path) == 0);
    CHECK(kind == (rows[i].type == 'e' || rows[i].type == 't' ? BW_VALUE_STRING
                   : rows[i].type == 'b'                      ? BW_VALUE_BOOL
                                                              : BW_VALUE_NUMBER));
  }
}

static void test_numbers(void) {
  for (int i = 0; i < ROWS; ++i) {
    const row* r = &rows[i];
    if (r->type != 'i' && r->type != 'r') continue;
    CHECK(r->initial >= r->min && r->initial <= r->max);
    char text[64];
    const char* expected = r->type == 'i' ? "an integer from " : "a number from ";
    const double inside[] = {r->initial, r->min, r->max};
    for (int k = 0; k < 3; ++k) {
      snprintf(text, sizeof text, "%.17g", inside[k]);
      accept(r->path, BW_VALUE_NUMBER, text);
    }
    const double below = r->type == 'i' ? r->min - 1 : nextafter(r->min, -INFINITY);
    const double above = r->type == 'i' ? r->max + 1 : nextafter(r->max, INFINITY);
    snprintf(text, sizeof text, "%.17g", below);
    refuse(r->path, BW_VALUE_NUMBER, text, expected);
    snprintf(text, sizeof text, "%.17g", above);
    refuse(r->path, BW_VALUE_NUMBER, text, expected);
    const char* const bad[] = {"nan", "NaN", "inf", "Infinity", "-Infinity", "1e999", "",    " 1", "1 ",
                               "+1",  "0x1", "1,5", "1.",       ".5",        "1e",    "--1", "one"};
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; ++k) refuse(r->path, BW_VALUE_NUMBER, bad[k], expected);
    snprintf(text, sizeof text, "%.17g", r->initial);
    refuse(r->path, BW_VALUE_STRING, text, expected);
    refuse(r->path, BW_VALUE_BOOL, "true", expected);
    refuse(r->path, BW_VALUE_OTHER, "[1]", expected);
    refuse(r->path, BW_VALUE_OTHER, NULL, expected);
    if (r->type == 'i') refuse(r->path, BW_VALUE_NUMBER, "1.5", expected);
  }
  accept("rollout.games", BW_VALUE_NUMBER, "1e3");
  bw_config config = connect4();
  CHECK(bw_config_set(&config, "run.seed", BW_VALUE_NUMBER, "9007199254740991", NULL) == BW_OK);
  CHECK(config.run_seed == 9007199254740991);
  CHECK(bw_config_set(&config, "rollout.drawReward", BW_VALUE_NUMBER, "-0", NULL) == BW_OK);
  CHECK(!signbit(config.rollout_draw_reward));
}

static void test_bools(void) {
  for (int i = 0; i < ROWS; ++i) {
    if (rows[i].type != 'b') continue;
    const char* path = rows[i].path;
    bw_config config = connect4();
    CHECK(bw_config_set(&config, path, BW_VALUE_BOOL, "true", NULL) == BW_OK);
    CHECK(strcmp(text_of(&config, path), "true") == 0);
    CHECK(bw_config_set(&config, path, BW_VALUE_BOOL, "false", NULL) == BW_OK);
    CHECK(strcmp(text_of(&config, path), "false") == 0);
    refuse(path, BW_VALUE_BOOL, "yes", "true or false");
    refuse(path, BW_VALUE_NUMBER, "1", "true or false");
    refuse(path, BW_VALUE_STRING, "true", "true or false");
    refuse(path, BW_VALUE_OTHER, NULL, "true or false");
  }
}

static void test_enums(void) {
  for (int i = 0; i < ROWS; ++i) {
    if (rows[i].type != 'e' || strcmp(rows[i].path, "game.name") == 0) continue;
    char names[128];
    snprintf(names, sizeof names, "%s", rows[i].names);
    int index = 0;
    for (char* name = strtok(names, "|"); name; name = strtok(NULL, "|"), ++index) {
      bw_config config = connect4();
      CHECK(bw_config_set(&config, rows[i].path, BW_VALUE_STRING, name, NULL) == BW_OK);
      CHECK(strcmp(text_of(&config, rows[i].path), name) == 0);
      refuse(rows[i].path, BW_VALUE_NUMBER, "0", name);
      refuse(rows[i].path, BW_VALUE_OTHER, NULL, name);
      refuse(rows[i].path, BW_VALUE_STRING, "nothing-like-it", name);
    }
    refuse(rows[i].path, BW_VALUE_STRING, "", "one of ");
    refuse(rows[i].path, BW_VALUE_STRING, rows[i].names, "one of ");
  }
  bw_config config = connect4();
  bw_error error;
  CHECK(bw_config_set(&config, "ppo.lrSchedule", BW_VALUE_STRING, "cosin", &error) == BW_OPTION);
  CHECK(strstr(error.message, "did you mean \"cosine\"") != NULL);
  CHECK(bw_config_set(&config, "run.device", BW_VALUE_STRING, "CPU", &error) == BW_OPTION);
  CHECK(strstr(error.message, "did you mean \"cpu\"") != NULL);
  CHECK(bw_config_set(&config, "net.kind", BW_VALUE_STRING, "transformer", &error) == BW_OPTION);
  CHECK(strstr(error.message, "did you mean") == NULL);
  CHECK(strcmp(error.expected, "one of mlp, resmlp") == 0);
}

// The indices that config.h names are those of the lists.
static void test_enum_constants(void) {
  bw_config config = connect4();
#define EXPECT(path, name, field, value)                                     \
  CHECK(bw_config_set(&config, path, BW_VALUE_STRING, name, NULL) == BW_OK); \
  CHECK(config.field == value)
  EXPECT("net.kind", "resmlp", net_kind, BW_NET_RESMLP);
  EXPECT("rollout.opponents.sampling", "uniform", opponents_sampling, BW_SAMPLING_UNIFORM);
  EXPECT("rollout.opponents.sampling", "latest", opponents_sampling, BW_SAMPLING_LATEST);
  EXPECT("rollout.opponents.sampling", "recency", opponents_sampling, BW_SAMPLING_RECENCY);
  EXPECT("rollout.opponents.eviction", "keepFirst", opponents_eviction, BW_EVICTION_KEEP_FIRST);
  EXPECT("rollout.opponents.per", "iteration", opponents_per, BW_PER_ITERATION);
  EXPECT("rollout.opponents.learn", "agent", opponents_learn, BW_LEARN_AGENT);
  EXPECT("ppo.chain", "player", ppo_chain, BW_CHAIN_PLAYER);
  EXPECT("ppo.chain", "ply", ppo_chain, BW_CHAIN_PLY);
  EXPECT("ppo.lrSchedule", "linear", ppo_lr_schedule, BW_SCHEDULE_LINEAR);
  EXPECT("ppo.entropySchedule", "cosine", ppo_entropy_schedule, BW_SCHEDULE_COSINE);
  EXPECT("ppo.optimizer", "muon", ppo_optimizer, BW_OPTIMIZER_MUON);
  EXPECT("run.device", "cpu", run_device, BW_DEVICE_CPU);
  EXPECT("run.device", "metal", run_device, BW_DEVICE_METAL);
#undef EXPECT
}

// get -> set gives the same config, for awkward doubles too.
static void test_round_trip(void) {
  bw_config config = connect4();
  CHECK(bw_config_set(&config, "ppo.lr", BW_VALUE_NUMBER, "0.30000000000000004", NULL) == BW_OK);
  CHECK(bw_config_set(&config, "ppo.epsilon", BW_VALUE_NUMBER, "1.0000000000000002e-8", NULL) == BW_OK);
  CHECK(bw_config_set(&config, "ppo.gamma", BW_VALUE_NUMBER, "0.99999999999999989", NULL) == BW_OK);
  CHECK(bw_config_set(&config, "run.seed", BW_VALUE_NUMBER, "9007199254740990", NULL) == BW_OK);
  CHECK(bw_config_set(&config, "rollout.opponents.pool", BW_VALUE_NUMBER, "3", NULL) == BW_OK);
  CHECK(bw_config_set(&config, "ppo.optimizer", BW_VALUE_STRING, "muon", NULL) == BW_OK);
  CHECK(bw_config_check(&config, NULL) == BW_OK);
  bw_config copy = connect4();
  for (int i = 0; i < bw_config_count(); ++i) {
    const char* path;
    bw_value_kind kind;
    char text[64];
    bw_config_get(&config, i, &path, &kind, text, sizeof text);
    CHECK(bw_config_set(&copy, path, kind, text, NULL) == BW_OK);
  }
  CHECK(same(&config, &copy));
  CHECK(copy.ppo_lr == config.ppo_lr && copy.ppo_lr == 0.30000000000000004);
  CHECK(copy.ppo_epsilon == config.ppo_epsilon && copy.ppo_gamma == config.ppo_gamma);
  CHECK(copy.run_seed == 9007199254740990);
  CHECK(strcmp(text_of(&copy, "ppo.clip"), "0.2") == 0);  // shortest
}

static void unknown(const char* path, const char* hint) {
  bw_config config = connect4();
  const bw_config before = config;
  bw_error error;
  memset(&error, 0, sizeof error);
  CHECK(bw_config_set(&config, path, BW_VALUE_NUMBER, "1", &error) == BW_OPTION);
  CHECK(strncmp(error.path, path, sizeof error.path - 1) == 0);
  CHECK(error.received[0] != 0 || path[0] == 0);
  CHECK(error.expected[0] != 0);
  CHECK_MSG(strstr(error.message, hint) != NULL, "%.60s: %s", path, error.message);
  CHECK(same(&config, &before));
}

static void test_unknown_paths(void) {
  unknown("ppo.clop", "did you mean \"ppo.clip\"");
  unknown("ppo.learningrate", "one of ppo.epochs");
  unknown("ppo.max_grad_norm", "did you mean \"ppo.maxGradNorm\"");
  unknown("PPO.Clip", "did you mean \"ppo.clip\"");
  unknown("pp.clip", "did you mean \"ppo.clip\"");
  unknown("clip", "did you mean \"ppo.clip\"");
  unknown("ppo.temperature", "did you mean \"rollout.opponents.temperature\"");
  unknown("rollout.pool", "did you mean \"rollout.opponents.pool\"");
  unknown("rollout.oponents.pool", "did you mean \"rollout.opponents.pool\"");
  unknown("net.widht", "did you mean \"net.width\"");
  unknown("net.zzzzzzzz", "one of net.kind, net.width, net.depth");
  unknown("ppo", "\"ppo\" is a group of options");
  unknown("rollout.opponents", "is a group of options");
  unknown("rollout.opponents", "rollout.opponents.pool");
  unknown("zzzzzzzzzzzz", "game, net, rollout, league, ppo, run");
  unknown("", "unknown option");
  unknown(".", "unknown option");
  unknown("ppo.", "unknown option");
  char longest[2000];
  memset(longest, 'a', sizeof longest);
  longest[sizeof longest - 1] = 0;
  unknown(longest, "unknown option");
}

// The value that an option of a game starts with: its recipe's, or else that of options.def.
static void default_text(const char* game, const row* r, char* text, size_t size) {
  if (r->type == 'e') {
    const char* name = r->names;
    for (int skip = (int)r->initial; skip > 0; --skip) name = strchr(name, '|') + 1;
    snprintf(text, size, "%.*s", (int)strcspn(name, "|"), name);
  } else if (r->type == 'b') {
    snprintf(text, size, "%s", r->initial != 0 ? "true" : "false");
  } else if (r->type == 't') {
    text[0] = 0;
  } else {
    snprintf(text, size, "%.17g", r->initial);
  }
  if (strcmp(r->path, "game.name") == 0) snprintf(text, size, "%s", game);
#define RECIPE(name, option, value) \
  if (strcmp(#name, game) == 0 && strcmp(option, r->path) == 0) snprintf(text, size, "%s", value);
#include "../../csrc/train/recipes.def"
#undef RECIPE
}

static void test_games_and_recipes(void) {
  bw_config config;
  bw_error error;
  const char* const games[] = {"tictactoe", "connect4"};
  for (int game = 0; game < 2; ++game) {
    REQUIRE(bw_config_init(&config, games[game], &error) == BW_OK);
    CHECK(config.game_name == game);
    for (int i = 0; i < ROWS; ++i) {
      char wanted[64];
      default_text(games[game], &rows[i], wanted, sizeof wanted);
      const char* got = text_of(&config, rows[i].path);
      const bool number = rows[i].type == 'i' || rows[i].type == 'r';
      CHECK_MSG(number ? strtod(got, NULL) == strtod(wanted, NULL) : strcmp(got, wanted) == 0, "%s of %s: %s, not %s",
                rows[i].path, games[game], got, wanted);
    }
    CHECK(bw_config_check(&config, &error) == BW_OK);
  }

  bw_config other = connect4();
  CHECK(bw_config_set(&other, "game.name", BW_VALUE_STRING, "connect4", &error) == BW_OK);
  refuse("game.name", BW_VALUE_STRING, "tictactoe", "\"connect4\"");
  refuse("game.name", BW_VALUE_STRING, "chess", "tictactoe, connect4");

  memset(&config, 7, sizeof config);
  const bw_config before = config;
  CHECK(bw_config_init(&config, "conect4", &error) == BW_OPTION);
  CHECK(strcmp(error.path, "game.name") == 0);
  CHECK(strstr(error.message, "did you mean \"connect4\"") != NULL);
  CHECK(memcmp(&config, &before, sizeof config) == 0);
  CHECK(bw_config_init(&config, "", NULL) == BW_OPTION);
  CHECK(bw_config_init(&config, NULL, NULL) == BW_OPTION);
}

static void test_rules(void) {
  bw_error error;
  bw_config config = connect4();
  CHECK(config.ppo_chain == BW_CHAIN_AUTO);
  CHECK(bw_config_check(&config, &error) == BW_OK);
  CHECK(config.ppo_chain == BW_CHAIN_PLY);
  CHECK(bw_config_check(&config, &error) == BW_OK);  // checking twice changes nothing

  config = connect4();
  config.rollout_draw_reward = 0.5;
  CHECK(bw_config_check(&config, &error) == BW_OK);
  CHECK(config.ppo_chain == BW_CHAIN_PLAYER);
  config.ppo_chain = BW_CHAIN_PLY;
  CHECK(bw_config_check(&config, &error) == BW_OPTION);
  CHECK(strcmp(error.path, "ppo.chain") == 0 && strcmp(error.received, "\"ply\"") == 0);
  CHECK(strstr(error.expected, "player") != NULL);
  config.rollout_draw_reward = 0;
  CHECK(bw_config_check(&config, &error) == BW_OK);

  // Outcomes are discounted to draws, which must then be worth nothing.
  config.ppo_chain = BW_CHAIN_PLAYER;
  config.rollout_draw_reward = 0.5;
  config.net_value = BW_VALUE_WDL;
  CHECK(bw_config_check(&config, &error) == BW_OPTION);
  CHECK(strcmp(error.path, "ppo.gamma") == 0 && strcmp(error.received, "0.99") == 0);
  config.ppo_gamma = 1;
  CHECK(bw_config_check(&config, &error) == BW_OK);
  config.ppo_gamma = 0.99;
  config.rollout_draw_reward = 0;
  CHECK(bw_config_check(&config, &error) == BW_OK);

  config = connect4();
  config.starts_list_share = 0.5;
  CHECK(bw_config_check(&config, &error) == BW_OPTION && strcmp(error.path, "rollout.starts.file") == 0);
  CHECK(bw_config_set(&config, "rollout.starts.file", BW_VALUE_STRING, "a b.txt", &error) == BW_OK);
  CHECK(bw_config_check(&config, &error) == BW_OK);
  CHECK(strcmp(text_of(&config, "rollout.starts.file"), "a b.txt") == 0);
  refuse("rollout.starts.file", BW_VALUE_NUMBER, "1", "text of at most 1023 bytes");
  char longest[BW_TEXT_SIZE + 1];
  memset(longest, 'x', sizeof longest);
  longest[BW_TEXT_SIZE] = 0;
  CHECK(bw_config_set(&config, "rollout.starts.file", BW_VALUE_STRING, longest, &error) == BW_OPTION);
  longest[BW_TEXT_SIZE - 1] = 0;
  CHECK(bw_config_set(&config, "rollout.starts.file", BW_VALUE_STRING, longest, &error) == BW_OK);
  CHECK(bw_config_check(&config, &error) == BW_OK);
  config.starts_file[BW_TEXT_SIZE - 1] = 'x';
  CHECK(bw_config_check(&config, &error) == BW_OPTION && strcmp(error.path, "rollout.starts.file") == 0);

  config = connect4();
  config.opponents_pinned_share = 0.1;
  CHECK(bw_config_check(&config, &error) == BW_OPTION && strcmp(error.path, "rollout.opponents.pinned") == 0);

  config = connect4();
  config.starts_share = config.starts_list_share = 0.6;
  CHECK(bw_config_set(&config, "rollout.starts.file", BW_VALUE_STRING, "starts.txt", &error) == BW_OK);
  CHECK(bw_config_check(&config, &error) == BW_OPTION && strcmp(error.path, "rollout.starts.share") == 0);

  config = connect4();
  config.ppo_kl_target = 0.01;
  CHECK(bw_config_check(&config, &error) == BW_OPTION && strcmp(error.path, "ppo.klCoef") == 0);
  config.ppo_kl_coef = 0.5;
  CHECK(bw_config_check(&config, &error) == BW_OK);

  config = connect4();
  config.opponents_self_share = 0.5;
  config.opponents_pool = 0;
  CHECK(bw_config_check(&config, &error) == BW_OPTION);
  CHECK(strcmp(error.path, "rollout.opponents.pool") == 0 && strcmp(error.received, "0") == 0);
  config.opponents_pool = 1;
  CHECK(bw_config_check(&config, &error) == BW_OK);
  config.opponents_self_share = 1;
  CHECK(bw_config_check(&config, &error) == BW_OK);

  // A league's options count while there is one, and then those of the pool that it replaces do not.
  config = connect4();
  config.league_self_share = 0.9;
  CHECK(bw_config_check(&config, &error) == BW_OK);
  config.league_enabled = true;
  config.opponents_self_share = 0.5;
  CHECK(bw_config_check(&config, &error) == BW_OPTION && strcmp(error.path, "league.exploiterShare") == 0);
  config.league_exploiter_share = 0.1;
  CHECK(bw_config_check(&config, &error) == BW_OK);
  config.league_min_iterations = 501;
  CHECK(bw_config_check(&config, &error) == BW_OPTION && strcmp(error.path, "league.minIterations") == 0);

  // A struct written by hand is checked like text.
  config = connect4();
  config.ppo_clip = NAN;
  CHECK(bw_config_check(&config, &error) == BW_OPTION);
  CHECK(strcmp(error.path, "ppo.clip") == 0);
  config = connect4();
  config.net_width = 0;
  CHECK(bw_config_check(&config, &error) == BW_OPTION);
  CHECK(strcmp(error.path, "net.width") == 0 && strcmp(error.received, "0") == 0);
  config = connect4();
  config.ppo_optimizer = 9;
  CHECK(bw_config_check(&config, &error) == BW_OPTION);
  CHECK(strcmp(error.path, "ppo.optimizer") == 0);
}

int main(void) {
  test_count_and_kinds();
  test_numbers();
  test_bools();
  test_enums();
  test_enum_constants();
  test_round_trip();
  test_unknown_paths();
  test_games_and_recipes();
  test_rules();
  return check_summary("config");
}
