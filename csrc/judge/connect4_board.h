// Sets of cells of a Connect Four board, as bits (games/connect4.h).
#ifndef BW_JUDGE_CONNECT4_BOARD_H
#define BW_JUDGE_CONNECT4_BOARD_H

#include <stdbool.h>

#include "../games/connect4.h"

#define BW_CONNECT4_KEY_BITS 49  // of connect4_key
#define BW_CONNECT4_BOARD (connect4_BOTTOM * 0x3F)
#define BW_CONNECT4_COLUMN(col) ((uint64_t)0x3F << connect4_bit(0, col))
// Rows counted from 1 at the bottom, as players do.
#define BW_CONNECT4_ODD_ROWS (connect4_BOTTOM * 0x15)
#define BW_CONNECT4_EVEN_ROWS (connect4_BOTTOM * 0x2A)

// Where a stone comes to rest, of all columns with room.
static inline uint64_t bw_connect4_landings(uint64_t occupied) {
  return (occupied + connect4_BOTTOM) & BW_CONNECT4_BOARD;
}

static inline bool bw_connect4_has_four(uint64_t cells) {
  return (connect4_fours(cells, 1) | connect4_fours(cells, 7) | connect4_fours(cells, 8) | connect4_fours(cells, 6)) !=
         0;
}

// Cells that lie in a line of four whose other three are in `cells`, in one direction.
static inline uint64_t bw_connect4_completing_line(uint64_t cells, int step) {
  const uint64_t below = cells << step & cells << 2 * step;  // the two before this cell
  const uint64_t above = cells >> step & cells >> 2 * step;  // the two after it
  return (below & (cells << 3 * step | cells >> step)) | (above & (cells >> 3 * step | cells << step));
}

// Cells where one more stone completes four, cells of any state, within the board.
static inline uint64_t bw_connect4_completing(uint64_t cells) {
  const uint64_t column = cells << 1 & cells << 2 & cells << 3;
  return (column | bw_connect4_completing_line(cells, 6) | bw_connect4_completing_line(cells, 7) |
          bw_connect4_completing_line(cells, 8)) &
         BW_CONNECT4_BOARD;
}

// Moves after which the opponent, who threatens these cells, cannot complete four with his next stone.
static inline uint64_t bw_connect4_safe(uint64_t occupied, uint64_t threats) {
  uint64_t moves = bw_connect4_landings(occupied);
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
