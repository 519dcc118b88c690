// Every allocation of the judge fails once: BW_MEMORY each time, nothing leaks (the sanitizer build sees that), and
// nothing is written to the certificate.
#include <stdlib.h>
#include <string.h>

static long allocations, failing;  // failing: the number of the allocation that fails, from 1

static void* test_realloc(void* memory, size_t bytes) {
  return ++allocations == failing ? NULL : realloc(memory, bytes);
}

static void* test_calloc(size_t count, size_t bytes) { return ++allocations == failing ? NULL : calloc(count, bytes); }

#define realloc test_realloc
#define calloc test_calloc
#define malloc no_malloc_in_the_judge
#include "../../csrc/judge/best_response.c"  // this copy is linked instead of the library's
#undef realloc
#undef calloc
#undef malloc

#include "check.h"

static bw_status first_legal(void* context, const void* states, int count, float* probabilities, bw_error* error) {
  (void)error;
  const bw_game* game = (const bw_game*)context;
  for (int i = 0; i < count; ++i) {
    const uint32_t legal = game->legal((const char*)states + (size_t)i * game->state_bytes);
    float* row = probabilities + i * game->actions;
    for (int action = 0; action < game->actions; ++action) row[action] = 0;
    for (int action = 0; action < game->actions; ++action)
      if (legal >> action & 1) {
        row[action] = 1;
        break;
      }
  }
  return BW_OK;
}

int main(void) {
  int index = 0;
  REQUIRE(bw_game_find("tictactoe", &index, NULL) == BW_OK);
  const bw_game* game = bw_game_at(index);
  bw_certificate certificate, untouched;
  bw_error failure;
  memset(&untouched, 0x33, sizeof untouched);
  bw_status status;
  do {
    allocations = 0;
    ++failing;
    certificate = untouched;
    status = bw_judge_policy(game, first_legal, (void*)(uintptr_t)game, &certificate, &failure);
    if (status == BW_OK) break;
    CHECK_EQ_INT(status, BW_MEMORY);
    CHECK(failure.status == BW_MEMORY && failure.needed > 0 && failure.message[0]);
    CHECK_EQ_INT(allocations, failing);  // it stops at the failure
    CHECK_BYTES(&certificate, &untouched, sizeof certificate);
    CHECK(bw_judge_policy(game, first_legal, (void*)(uintptr_t)game, &certificate, NULL) == BW_OK);
  } while (failing < 100);
  CHECK_EQ_INT(failing, 11);  // ten allocations
  CHECK(status == BW_OK && certificate.states == 5478);
  return check_summary("judge memory");
}
