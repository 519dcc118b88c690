// Sets of cells of a Connect Four board, as bits (games/connect4.h).
#ifndef BW_JUDGE_CONNECT4_BOARD_H
#define BW_JUDGE_CONNECT4_BOARD_H

#include <stdbool.h>

#include "../games/connect4.h"

#define BW_CONNECT4_KEY_BITS 49  // of connect4_key
#define BW_CONNECT4_COLUMN(col) ((uint64_t)0x3F << connect4_bit(0, col))
// Rows counted from 1 at the bottom, as players do.
#define BW_CONNECT4_ODD_ROWS (connect4_BOTTOM * 0x15)
#define BW_CONNECT4_EVEN_ROWS (connect4_BOTTOM * 0x2A)

static inline bool bw_connect4_has_four(uint64_t cells) {
  return (connect4_fours(cells, 1) | connect4_fours(cells, 7) | connect4_fours(cells, 8) | connect4_fours(cells, 6)) !=
         0;
}

// Moves after which the opponent, who threatens these cells, cannot complete four with his next stone.
static inline uint64_t bw_connect4_safe(uint64_t occupied, uint64_t threats) {
  uint64_t moves = connect4_landings(occupied);
  const uint64_t forced = moves & threats;
  if (forced) moves = forced & (forced - 1) ? 0 : forced;  // two threats cannot be stopped by one stone
  return moves & ~(threats >> 1);
}

// Number of cells. In plain arithmetic: the baseline instruction set of x86-64 has no word for it, and this is as fast.
static inline int bw_connect4_count(uint64_t cells) {
  cells -= cells >> 1 & 0x5555555555555555;
  cells = (cells & 0x3333333333333333) + (cells >> 2 & 0x3333333333333333);
  cells = (cells + (cells >> 4)) & 0x0F0F0F0F0F0F0F0F;
  return (int)(cells * 0x0101010101010101 >> 56);
}

// Spreads a key over its 49 bits; no two keys meet.
static inline uint64_t bw_connect4_mix(uint64_t key) {
  const uint64_t all = ((uint64_t)1 << BW_CONNECT4_KEY_BITS) - 1;
  key ^= key >> 25;
  key = key * 0x9E3779B97F4A7C15 & all;
  key ^= key >> 27;
  return key * 0xD6E8FEB86659FD93 & all;
}

#endif
