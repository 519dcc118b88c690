// libFuzzer target: any bytes given to a run as its checkpoint are refused, with the run as it was, or become its
// state, which then saves and loads as itself and can train.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/api/bw.h"
#include "mutate.h"

#define DEMAND(condition)                                                            \
  do {                                                                               \
    if (!(condition)) {                                                              \
      fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                       \
    }                                                                                \
  } while (0)

typedef struct file {
  uint8_t* bytes;
  size_t size;
} file;

static bw_selfplay* run;
static file original;  // what the run holds before every input

static file save(void) {
  file saved;
  DEMAND(bw_selfplay_save(run, true, NULL, 0, &saved.bytes, &saved.size, NULL) == BW_OK);
  return saved;
}

// Whether the run's whole state is what the file says.
static bool holds(const file* state) {
  const file now = save();
  const bool equal = now.size == state->size && memcmp(now.bytes, state->bytes, now.size) == 0;
  free(now.bytes);
  return equal;
}

static void check_error(bw_status status, const bw_error* error) {
  DEMAND(error->status == status && error->message[0] != 0 && error->op[0] != 0);
}

int LLVMFuzzerInitialize(int* argc, char*** argv);
int LLVMFuzzerInitialize(int* argc, char*** argv) {
  (void)argc;
  (void)argv;
  static const char* const options[][2] = {{"net.width", "4"},
                                           {"net.depth", "1"},
                                           {"rollout.games", "4"},
                                           {"ppo.minibatch", "32"},
                                           {"ppo.epochs", "1"},
                                           {"rollout.opponents.pool", "3"},
                                           {"rollout.opponents.every", "1"},
                                           {"rollout.opponents.selfShare", "0.5"},
                                           {"run.threads", "1"}};
  bw_config config;
  DEMAND(bw_config_init(&config, "tictactoe", NULL) == BW_OK);
  for (size_t i = 0; i < sizeof options / sizeof options[0]; ++i) {
    DEMAND(bw_config_set(&config, options[i][0], BW_VALUE_NUMBER, options[i][1], NULL) == BW_OK);
  }
  DEMAND(bw_config_check(&config, NULL) == BW_OK);
  DEMAND(bw_selfplay_create(&config, &run, NULL) == BW_OK);
  bw_iteration iteration;
  for (int i = 0; i < 3; ++i) DEMAND(bw_selfplay_iterate(run, 0, &iteration, NULL) == BW_OK);
  original = save();
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t* bytes, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t* bytes, size_t size, size_t max, unsigned seed) {
  // Often from the start: a file that has changed much is refused for its first change.
  if ((size <= 8 || seed % 2 == 0) && original.size <= max) {
    memcpy(bytes, original.bytes, original.size);
    size = original.size;
  }
  return mutate_file(bytes, size, max, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  bw_error error = {0};
  bw_status status = bw_selfplay_load(run, bytes, size, &error);
  if (status != BW_OK) {
    DEMAND(status == BW_CHECKPOINT && error.path[0] != 0);
    check_error(status, &error);
    DEMAND(holds(&original));
    return 0;
  }
  const file state = save();
  DEMAND(bw_selfplay_load(run, state.bytes, state.size, NULL) == BW_OK);
  DEMAND(holds(&state));
  bw_iteration iteration;
  status = bw_selfplay_iterate(run, 0.5, &iteration, &error);
  if (status != BW_OK) {
    // Numbers so large that they become infinite.
    DEMAND(status == BW_NUMERIC);
    check_error(status, &error);
    DEMAND(holds(&state));
  }
  free(state.bytes);
  DEMAND(bw_selfplay_load(run, original.bytes, original.size, NULL) == BW_OK);
  DEMAND(holds(&original));
  return 0;
}
