// Connect Four: stones fall to the bottom of one of 7 columns of height 6; four in a row, column or diagonal win.
// An action is a column; row 0 is at the bottom.
//
// A player's bitboard has 7 bits a column, bottom first; the seventh is always 0 and keeps columns apart:
//
//    6 13 20 27 34 41 48   (always 0)
//    5 12 19 26 33 40 47
//    ...
//    0  7 14 21 28 35 42
//
// The steps to a neighbour are thus 1 (up), 7 (right), 8 (right and up) and 6 (right and down).
#ifndef BW_GAMES_CONNECT4_H
#define BW_GAMES_CONNECT4_H

#include "game.h"

enum {
  connect4_ACTIONS = 7,
  connect4_ROWS = 6,
  connect4_COLS = 7,
  connect4_PLANES = 3,
  connect4_MAX_PLIES = 42,
  connect4_FEATURES = 42
};

typedef struct connect4_state {
  uint64_t stones[2];  // bitboards of the first and the second player
  int32_t ply;
  int32_t result;  // bw_result, kept up to date by play
} connect4_state;

BW_INLINE int connect4_bit(int row, int col) { return col * (connect4_ROWS + 1) + row; }

BW_INLINE void connect4_init(connect4_state* s) {
  s->stones[0] = s->stones[1] = 0;
  s->ply = 0;
  s->result = BW_ONGOING;
}

BW_INLINE int connect4_result(const connect4_state* s) { return s->result; }

BW_INLINE int connect4_ply(const connect4_state* s) { return s->ply; }

BW_INLINE uint32_t connect4_legal(const connect4_state* s) {  // the columns whose top cell is empty
  const uint64_t occupied = s->stones[0] | s->stones[1];
  uint32_t mask = 0;
  if (s->result != BW_ONGOING) return 0;
  for (int col = 0; col < connect4_COLS; ++col)
    mask |= (uint32_t)(~occupied >> connect4_bit(connect4_ROWS - 1, col) & 1) << col;
  return mask;
}

BW_INLINE uint64_t connect4_fours(uint64_t cells, int step) {
  const uint64_t pairs = cells & cells >> step;
  return pairs & pairs >> 2 * step;
}

BW_INLINE void connect4_play(connect4_state* s, int action) {
  const uint64_t occupied = s->stones[0] | s->stones[1];
  const uint64_t column = (uint64_t)0x3F << connect4_bit(0, action);
  const uint64_t bottom = (uint64_t)1 << connect4_bit(0, action);
  // Adding the bottom bit to a column's stones carries into its lowest empty cell.
  const uint64_t mine = s->stones[s->ply & 1] |= ((occupied & column) + bottom) & column;
  s->ply += 1;
  if (connect4_fours(mine, 1) | connect4_fours(mine, 7) | connect4_fours(mine, 8) | connect4_fours(mine, 6))
    s->result = BW_WON;
  else if (s->ply == connect4_MAX_PLIES)
    s->result = BW_DRAWN;
}

BW_INLINE int connect4_cell(const connect4_state* s, int row, int col) {
  const int bit = connect4_bit(row, col);
  return (int)((s->stones[0] >> bit & 1) + 2 * (s->stones[1] >> bit & 1));
}

BW_INLINE int connect4_features(const connect4_state* s, uint16_t* list) {
  const uint64_t own = s->stones[s->ply & 1], opponent = s->stones[~s->ply & 1];
  int count = 0;
  for (int row = 0; row < connect4_ROWS; ++row) {
    if (!((own | opponent) & (uint64_t)0x40810204081 << row)) break;  // stones fall: nothing lies above an empty row
    for (int col = 0; col < connect4_COLS; ++col) {
      const int bit = connect4_bit(row, col);
      const int theirs = (int)(opponent >> bit & 1);
      // Written in any case, counted where there is a stone: no branch to guess.
      list[count] = (uint16_t)(connect4_PLANES * (row * connect4_COLS + col) + theirs);
      count += (int)((own | opponent) >> bit & 1);
    }
  }
  return count;
}

BW_INLINE void connect4_mirror(connect4_state* s) {
  for (int player = 0; player < 2; ++player) {
    uint64_t mirrored = 0;
    for (int col = 0; col < connect4_COLS; ++col)
      mirrored |= (s->stones[player] >> connect4_bit(0, col) & 0x3F) << connect4_bit(0, connect4_COLS - 1 - col);
    s->stones[player] = mirrored;
  }
}

BW_INLINE int connect4_mirror_action(int action) { return connect4_COLS - 1 - action; }

// A column of height h has 2^h - 1 in `occupied` and at most as much in `stones`: the sum is from 2^h - 1 to
// 2^(h+1) - 2, another range for each height, so that 7 bits hold a column's height and colours (Pons).
BW_INLINE uint64_t connect4_key(const connect4_state* s) { return s->stones[0] + (s->stones[0] | s->stones[1]); }

BW_INLINE int connect4_symbol(int action) { return '1' + action; }

#endif
