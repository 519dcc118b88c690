// Allocation failure at every index: each function of bw.h that allocates is called until it passes, and its first
// allocation fails in the first call, its second in the second, and so on; starting a thread counts as one. Each time
// the status is BW_MEMORY with a message and a size, nothing leaks, the run is as it was, and what is done next gives
// the bits of a run on which nothing ever failed. So on the CPU and the emulated device, with 1 and 2 threads.
//
// The linker turns every call of the engine to malloc and the like into one of the __wrap_ functions below (see
// CMakeLists.txt); __real_ names the original.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

// This copy is linked instead of the library's, so that a run can be put on the emulated device.
#include "../../csrc/api/bw.c"

#include "train_helpers.h"

// ---- the fault ----

static atomic_long live;  // allocations and threads that were not given back
static atomic_long seen;  // allocations since the last arm()
static atomic_long due;   // the one that fails, from 1; 0: none
static atomic_bool no_files;

static void arm(long index) {
  atomic_store(&seen, 0);
  atomic_store(&due, index);
}

static bool fails(void) { return atomic_fetch_add(&seen, 1) + 1 == atomic_load(&due); }

static void* count(void* memory) {
  if (memory) atomic_fetch_add(&live, 1);
  return memory;
}

void* __real_malloc(size_t size);
void* __real_calloc(size_t number, size_t size);
void* __real_realloc(void* memory, size_t size);
void* __real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void* memory);
int __real_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument);
int __real_pthread_join(pthread_t thread, void** result);

void* __wrap_malloc(size_t size);
void* __wrap_malloc(size_t size) { return fails() ? NULL : count(__real_malloc(size)); }

void* __wrap_calloc(size_t number, size_t size);
void* __wrap_calloc(size_t number, size_t size) { return fails() ? NULL : count(__real_calloc(number, size)); }

void* __wrap_realloc(void* memory, size_t size);
void* __wrap_realloc(void* memory, size_t size) {
  if (fails()) return NULL;
  void* resized = __real_realloc(memory, size);
  return memory ? resized : count(resized);
}

void* __wrap_aligned_alloc(size_t alignment, size_t size);
void* __wrap_aligned_alloc(size_t alignment, size_t size) {
  return fails() ? NULL : count(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void* memory);
void __wrap_free(void* memory) {
  if (memory) atomic_fetch_sub(&live, 1);
  __real_free(memory);
}

int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument);
int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument) {
  if (fails()) return EAGAIN;
  const int failed = __real_pthread_create(thread, attributes, start, argument);
  if (!failed) atomic_fetch_add(&live, 1);
  return failed;
}

int __wrap_pthread_join(pthread_t thread, void** result);
int __wrap_pthread_join(pthread_t thread, void** result) {
  atomic_fetch_sub(&live, 1);
  return __real_pthread_join(thread, result);
}

FILE* __real_fopen(const char* path, const char* mode);
FILE* __wrap_fopen(const char* path, const char* mode);
FILE* __wrap_fopen(const char* path, const char* mode) {
  return atomic_load(&no_files) ? NULL : __real_fopen(path, mode);
}

// ---- what is called ----

typedef struct setting {
  const char* name;
  bool emu;
  int threads;
} setting;

typedef struct bench {
  setting on;
  bw_config config;
  bw_selfplay* run;  // NULL while it is being made
  uint8_t* file;     // a checkpoint of `run`, opponents inside
  size_t file_bytes;
  float* member;  // weights to put into the pool
} bench;

static bw_status create(bench* b, bw_error* error) {
  if (!b->on.emu) return bw_selfplay_create(&b->config, &b->run, error);
  bw_selfplay* run = calloc(1, sizeof *run);
  if (!run) return bw_fail_memory(error, "create", "the run", sizeof *run, 0);
  bw_status status = bw_emu_device_create(2, b->on.threads, &run->device, error);
  if (status == BW_OK) status = bw_run_create(&b->config, run->device, 0, &run->run, error);
  if (status == BW_OK) {
    b->run = run;
  } else {
    bw_selfplay_destroy(run);
  }
  return status;
}

static bw_status create_and_destroy(bench* b, bw_error* error) {
  bench other = *b;
  other.run = NULL;
  const bw_status status = create(&other, error);
  CHECK((status == BW_OK) == (other.run != NULL));
  bw_selfplay_destroy(other.run);
  return status;
}

static bw_status plan(bench* b, bw_error* error) {
  bw_plan_row* rows = NULL;
  int rows_count = 0;
  const bw_status status = bw_selfplay_plan(&b->config, &rows, &rows_count, error);
  CHECK((status == BW_OK) == (rows != NULL));
  free(rows);
  return status;
}

static bw_status info(bench* b, bw_error* error) {
  (void)b;
  bw_info library;
  return bw_library_info(true, &library, error);
}

static bw_status measure_roof(bench* b, bw_error* error) { return bw_selfplay_measure_roof(b->run, false, error); }

static bw_status record(bench* b, bw_error* error) {
  const bw_status status = bw_selfplay_timeline_start(b->run, 1000, error);
  CHECK((status == BW_OK) == (bw_selfplay_timeline(b->run) != NULL));
  bw_selfplay_timeline_stop(b->run);
  return status;
}

static bw_status iterate(bench* b, bw_error* error) {
  bw_iteration iteration;
  return bw_selfplay_iterate(b->run, 0.25, &iteration, error);
}

static bw_status weights(bench* b, bw_error* error) {
  const float* values;
  int64_t values_count;
  return bw_selfplay_weights(b->run, &values, &values_count, error);
}

static bw_status policy(bench* b, bw_error* error) {
  float logits[BW_GAME_MAX_ACTIONS], probabilities[BW_GAME_MAX_ACTIONS], value;
  int terminal;
  return bw_selfplay_policy(b->run, "5", logits, probabilities, &value, &terminal, error);
}

static bw_status certify(bench* b, bw_error* error) {
  bw_certificate certificate, untouched;
  memset(&untouched, 0x33, sizeof untouched);
  certificate = untouched;
  const bw_status status = bw_selfplay_certify(b->run, &certificate, error);
  if (status == BW_OK) {
    CHECK_EQ_INT(certificate.states, 5478);
  } else {
    CHECK_BYTES(&certificate, &untouched, sizeof certificate);
  }
  return status;
}

static bw_status versus_random(bench* b, bw_error* error) {
  bw_shares first, second;
  return bw_selfplay_versus_random(b->run, 10, true, &first, &second, error);
}

static bw_status save_as(bench* b, bool bundle, bw_error* error) {
  const bw_metadata extra[] = {{"one", "1"}, {"two", "2"}};
  uint8_t* bytes = NULL;
  size_t size = 0;
  const bw_status status = bw_selfplay_save(b->run, bundle, extra, 2, &bytes, &size, error);
  CHECK((status == BW_OK) == (bytes != NULL && size > 0));
  free(bytes);
  return status;
}

static bw_status save(bench* b, bw_error* error) { return save_as(b, false, error); }
static bw_status save_bundled(bench* b, bw_error* error) { return save_as(b, true, error); }
static bw_status load(bench* b, bw_error* error) { return bw_selfplay_load(b->run, b->file, b->file_bytes, error); }

static bw_status pool_get(bench* b, bw_error* error) {
  int64_t snapshot;
  const float* values;
  return bw_selfplay_pool_get(b->run, 1, &snapshot, &values, error);
}

static bw_status pool_put(bench* b, bw_error* error) {
  return bw_selfplay_pool_put(b->run, 1, b->member, bw_selfplay_parameter_count(b->run), error);
}

static bw_status playouts(bench* b, bw_error* error) {
  bw_playouts totals;
  return bw_game_playouts("connect4", "44", 100, 1, b->on.threads, &totals, error);
}

static bw_status match(bench* b, bw_error* error) {
  static const char* const openings[] = {"5", "12"};
  uint8_t results[4], plies[4];
  char moves[4 * 9];
  bw_match_request request = {
      .game = "tictactoe",
      .players = {{.kind = "policy", .config = b->config, .temperature = 1}, {.kind = "mcts", .strength = 10}},
      .openings = openings,
      .opening_count = 2,
      .games = 4,
      .threads = b->on.threads};
  request.players[0].file = b->file;
  request.players[0].file_bytes = b->file_bytes;
  return bw_match_run(&request, results, plies, moves, error);
}

static bw_status searching_match(bench* b, bw_error* error) {
  uint8_t results[4], plies[4];
  char moves[4 * 9];
  bw_match_request request = {.game = "tictactoe", .games = 4, .threads = b->on.threads};
  for (int i = 0; i < 2; ++i) {
    request.players[i] = (bw_player_spec){.kind = "policy",
                                          .config = b->config,
                                          .file = b->file,
                                          .file_bytes = b->file_bytes,
                                          .argmax = i == 0,
                                          .temperature = 1,
                                          .simulations = 5};
  }
  return bw_match_run(&request, results, plies, moves, error);
}

static bw_status perfect_match(bench* b, bw_error* error) {
  static const char* const openings[] = {"111411564472614437776275346676252322"};  // six moves before the end
  uint8_t results[2], plies[2];
  char moves[2 * 42];
  const bw_match_request request = {.game = "connect4",
                                    .players = {{.kind = "perfect"}, {.kind = "random"}},
                                    .openings = openings,
                                    .opening_count = 1,
                                    .games = 2,
                                    .threads = b->on.threads};
  return bw_match_run(&request, results, plies, moves, error);
}

static bw_status save_policy(bench* b, bw_error* error) {
  const bw_metadata extra[] = {{"one", "1"}};
  uint8_t* bytes = NULL;
  size_t size = 0;
  const bw_status status = bw_selfplay_save_policy(b->run, extra, 1, &bytes, &size, error);
  CHECK((status == BW_OK) == (bytes != NULL && size > 0));
  free(bytes);
  return status;
}

static bw_status solver(bench* b, bw_error* error) {
  bw_connect4_solver* made = NULL;
  BW_TRY(bw_connect4_solver_create(b->on.threads, 1, true, &made, error));
  const char* moves[] = {"4444443333335555", "112233"};
  bw_connect4_solution solutions[2];
  const bw_status status = bw_connect4_solver_solve(made, moves, 2, true, NULL, NULL, solutions, error);
  bw_connect4_solver_destroy(made);
  return status;
}

// In this order. `same`: also when it passes, it leaves the run as it was.
static const struct call {
  const char* name;
  bw_status (*function)(bench*, bw_error*);
  bool same, only_cpu;
  int allocations;  // -1: some; else as many, not counting threads
} kCalls[] = {
    {"info", info, true, true, -1},
    {"plan", plan, true, true, -1},
    {"create", create_and_destroy, true, false, -1},
    {"iterate", iterate, false, false, 0},  // after create the engine allocates nothing while it trains
    {"weights", weights, true, false, 0},
    {"policy", policy, true, false, 0},
    {"versus random", versus_random, true, false, 0},
    {"certify", certify, true, false, -1},
    {"save", save, true, false, -1},
    {"save with opponents", save_bundled, true, false, -1},
    {"load", load, false, false, -1},  // the checkpoint is older than the run
    {"pool get", pool_get, true, false, 0},
    {"pool put", pool_put, false, false, 0},
    {"iterate again", iterate, false, false, 0},
    {"measure roof", measure_roof, true, true, -1},
    {"record", record, true, false, -1},
    {"playouts", playouts, true, true, -1},
    {"save a policy", save_policy, true, false, -1},
    {"match", match, true, true, -1},
    {"match with searches", searching_match, true, true, -1},
    {"match of the perfect player", perfect_match, true, true, -1},
    {"solver", solver, true, true, -1},
};
enum { CALLS = sizeof kCalls / sizeof *kCalls };

// ---- the test ----

// FNV-1a over everything that a checkpoint holds.
static uint64_t fingerprint(bw_selfplay* run) {
  uint8_t* bytes = NULL;
  size_t size = 0;
  arm(0);
  REQUIRE(bw_selfplay_save(run, true, NULL, 0, &bytes, &size, NULL) == BW_OK);
  uint64_t hash = 1469598103934665603u;
  for (size_t i = 0; i < size; ++i) hash = (hash ^ bytes[i]) * 1099511628211u;
  free(bytes);
  return hash;
}

static void prepare(bench* b, setting on) {
  char threads[8];
  snprintf(threads, sizeof threads, "%d", on.threads);
  const test_option options[] = {{"rollout.opponents.pool", "3"},
                                 {"rollout.opponents.every", "1"},
                                 {"rollout.opponents.selfShare", "0.5"},
                                 {"run.threads", threads},
                                 {NULL, NULL}};
  *b = (bench){.on = on, .config = test_config("tictactoe", options)};
  arm(0);
  REQUIRE(create(b, NULL) == BW_OK);
  REQUIRE(iterate(b, NULL) == BW_OK);
  REQUIRE(bw_selfplay_save(b->run, true, NULL, 0, &b->file, &b->file_bytes, NULL) == BW_OK);
  REQUIRE(iterate(b, NULL) == BW_OK);
  const size_t parameters = (size_t)bw_selfplay_parameter_count(b->run);
  b->member = calloc(parameters, sizeof *b->member);
  REQUIRE(b->member);
  for (size_t i = 0; i < parameters; ++i) b->member[i] = (float)(i % 7) * 0.125f;
}

static void finish(bench* b) {
  bw_selfplay_destroy(b->run);
  free(b->file);
  free(b->member);
}

// Calls until it passes; returns how many calls failed.
static int fail_each(const struct call* call, bench* b) {
  const uint64_t before = fingerprint(b->run);
  for (int index = 1;; ++index) {
    bw_error error;
    memset(&error, 0x33, sizeof error);
    const long held = atomic_load(&live);
    arm(index);
    const bw_status status = call->function(b, &error);
    const bool failed = atomic_load(&seen) >= index;
    arm(0);
    CHECK_MSG(atomic_load(&live) == held, "%s, %s: allocation %d: %ld leaked", b->on.name, call->name, index,
              atomic_load(&live) - held);
    if (!failed) {
      CHECK_MSG(status == BW_OK, "%s, %s: without a failure: %s", b->on.name, call->name, error.message);
      return index - 1;
    }
    CHECK_MSG(status == BW_MEMORY && error.status == BW_MEMORY && error.needed > 0 && error.needed < 1u << 30 &&
                  error.op[0] && error.message[0],
              "%s, %s: allocation %d: status %s, needed %llu: %s", b->on.name, call->name, index,
              bw_status_name(status), (unsigned long long)error.needed, error.message);
    CHECK_MSG(fingerprint(b->run) == before, "%s, %s: allocation %d changed the run", b->on.name, call->name, index);
    // A caller that does not ask why.
    arm(index);
    CHECK(call->function(b, NULL) == BW_MEMORY);
    arm(0);
    if (index == 1000) {
      CHECK_MSG(false, "%s, %s: fails for ever", b->on.name, call->name);
      return index;
    }
  }
}

static int test_setting(setting on) {
  bench tried, untroubled;
  prepare(&tried, on);
  prepare(&untroubled, on);
  int failures = 0;
  for (int i = 0; i < CALLS; ++i) {
    const struct call* call = &kCalls[i];
    if (call->only_cpu && on.emu) continue;
    const uint64_t before = fingerprint(tried.run);
    const int indices = fail_each(call, &tried);
    if (call->allocations >= 0) {
      CHECK_MSG(indices == call->allocations, "%s, %s: %d allocations", on.name, call->name, indices);
    }
    REQUIRE(call->function(&untroubled, NULL) == BW_OK);
    const uint64_t after = fingerprint(tried.run);
    CHECK_MSG((after == before) == call->same, "%s, %s: the run", on.name, call->name);
    CHECK_MSG(after == fingerprint(untroubled.run), "%s, %s: other bits after failures", on.name, call->name);
    failures += indices;
  }
  finish(&tried);
  finish(&untroubled);
  return failures;
}

// What the engine reads about the machine it can do without: /proc may be absent, descriptors used up.
static void test_without_files(void) {
  const bw_config config = test_config("tictactoe", NULL);
  bw_info library;
  bw_selfplay* run = NULL;
  atomic_store(&no_files, true);
  CHECK(bw_library_info(false, &library, NULL) == BW_OK && library.hardware_threads >= 1 && library.memory_bytes > 0);
  CHECK(bw_selfplay_create(&config, &run, NULL) == BW_OK);
  atomic_store(&no_files, false);
  bw_selfplay_destroy(run);
}

int main(void) {
  const setting settings[] = {{"cpu, 1 thread", false, 1},
                              {"cpu, 2 threads", false, 2},
                              {"emu, 1 thread", true, 1},
                              {"emu, 2 threads", true, 2}};
  const long held = atomic_load(&live);
  for (int i = 0; i < 4; ++i) {
    const int failures = test_setting(settings[i]);
    printf("%s: %d allocations failed, one at a time\n", settings[i].name, failures);
    CHECK_MSG(failures >= 40, "%s: only %d failures: are the calls wrapped?", settings[i].name, failures);
  }
  test_without_files();
  CHECK_EQ_INT(atomic_load(&live), held);
  return check_summary("memory");
}
