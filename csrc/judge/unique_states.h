// The different ones among many states: games that are played side by side are often in the same position, above all at
// their beginning, and what costs a forward pass is done once for each.
#ifndef BW_JUDGE_UNIQUE_STATES_H
#define BW_JUDGE_UNIQUE_STATES_H

#include "../games/registry.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bw_unique_states {
  int64_t capacity, slots;
  unsigned char* states;  // [capacity][state_bytes]: the different ones, in order of appearance
  int32_t* rows;          // [capacity]: of each state that was given, its place in states
  uint64_t* keys;         // [capacity]: of states
  int32_t* table;         // [slots]: open addressing by key; 1 + row, 0 where free
} bw_unique_states;

// Room for so many states at a time. BW_MEMORY.
bw_status bw_unique_states_create(const bw_game* game, int64_t capacity, bw_unique_states* unique, bw_error* error);
void bw_unique_states_free(bw_unique_states* unique);  // zeros are allowed

// Fills states and rows for count <= capacity states, state_bytes apart. Returns how many are different.
int64_t bw_unique_states_find(bw_unique_states* unique, const bw_game* game, const void* states, int64_t count);

#ifdef __cplusplus
}
#endif
#endif
