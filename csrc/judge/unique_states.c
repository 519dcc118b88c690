#include "unique_states.h"

#include <stdlib.h>
#include <string.h>

bw_status bw_unique_states_create(const bw_game* game, int64_t capacity, bw_unique_states* unique, bw_error* error) {
  const size_t count = (size_t)capacity;
  *unique = (bw_unique_states){.capacity = capacity,
                               .slots = 2 * capacity,
                               .states = malloc(count * game->state_bytes),
                               .rows = malloc(count * sizeof *unique->rows),
                               .keys = malloc(count * sizeof *unique->keys),
                               .table = malloc(2 * count * sizeof *unique->table)};
  if (unique->states && unique->rows && unique->keys && unique->table) return BW_OK;
  bw_unique_states_free(unique);
  const size_t each = game->state_bytes + sizeof *unique->rows + sizeof *unique->keys + 2 * sizeof *unique->table;
  return bw_fail_memory(error, "match", "the positions of a policy", count * each, 0);
}

void bw_unique_states_free(bw_unique_states* unique) {
  free(unique->states);
  free(unique->rows);
  free(unique->keys);
  free(unique->table);
  *unique = (bw_unique_states){0};
}

int64_t bw_unique_states_find(bw_unique_states* unique, const bw_game* game, const void* states, int64_t count) {
  int64_t found = 0;
  memset(unique->table, 0, (size_t)unique->slots * sizeof *unique->table);
  for (int64_t i = 0; i < count; ++i) {
    const unsigned char* state = (const unsigned char*)states + (size_t)i * game->state_bytes;
    const uint64_t key = game->key(state);
    uint64_t slot = (key * 0x9E3779B97F4A7C15u) >> 32;  // Fibonacci hashing
    for (;; ++slot) {
      int32_t* at = &unique->table[slot % (uint64_t)unique->slots];
      const int32_t row = *at - 1;
      if (row < 0) {
        *at = (int32_t)found + 1;
        unique->keys[found] = key;
        memcpy(unique->states + (size_t)found * game->state_bytes, state, game->state_bytes);
        unique->rows[i] = (int32_t)found++;
        break;
      }
      if (unique->keys[row] == key) {
        unique->rows[i] = row;
        break;
      }
    }
  }
  return found;
}
