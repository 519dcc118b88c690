// Equal states among many: a hash table with linear probing over their keys, each of which says all of its state.
#ifndef BW_KERNELS_STATE_TABLE_H
#define BW_KERNELS_STATE_TABLE_H

// The number of the state with this key: that of its first appearance, or `found`, the number of states so far, where
// this is it; its key is then kept. table[last_slot + 1], a power of two, begins as all -1.
BW_INLINE int32_t bw_state_number(int32_t* table, uint64_t* keys, uint64_t last_slot, uint64_t key, int32_t found) {
  uint64_t slot = key * 0x9E3779B97F4A7C15u >> 32 & last_slot;  // Fibonacci hashing
  while (table[slot] >= 0 && keys[table[slot]] != key) slot = (slot + 1) & last_slot;
  if (table[slot] < 0) {
    table[slot] = found;
    keys[found] = key;
  }
  return table[slot];
}

#endif
