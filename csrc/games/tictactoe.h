// Tic-tac-toe: three in a row on a 3 x 3 board. Cell = row * 3 + column with row 0 on top; an action is its cell,
// and cell c is bit c of a player's bitboard.
//
//   0 1 2
//   3 4 5
//   6 7 8
#ifndef BW_GAMES_TICTACTOE_H
#define BW_GAMES_TICTACTOE_H

#include "game.h"

enum {
  tictactoe_ACTIONS = 9,
  tictactoe_ROWS = 3,
  tictactoe_COLS = 3,
  tictactoe_PLANES = 3,
  tictactoe_MAX_PLIES = 9,
  tictactoe_FEATURES = 9
};

typedef struct tictactoe_state {
  uint32_t stones[2];  // bitboards of the first and the second player
  int32_t ply;
  int32_t result;  // bw_result, kept up to date by play
} tictactoe_state;

BW_INLINE void tictactoe_init(tictactoe_state* s) {
  s->stones[0] = s->stones[1] = 0;
  s->ply = 0;
  s->result = BW_ONGOING;
}

BW_INLINE int tictactoe_result(const tictactoe_state* s) { return s->result; }

BW_INLINE int tictactoe_ply(const tictactoe_state* s) { return s->ply; }

BW_INLINE uint32_t tictactoe_legal(const tictactoe_state* s) {
  return s->result == BW_ONGOING ? ~(s->stones[0] | s->stones[1]) & 0x1FF : 0;
}

// A line is the three bits of `cells` that are one step apart, starting at each cell of the mask.
BW_INLINE uint32_t tictactoe_lines(uint32_t cells, int step, uint32_t starts) {
  return cells & cells >> step & cells >> 2 * step & starts;
}

BW_INLINE void tictactoe_play(tictactoe_state* s, int action) {
  const uint32_t mine = s->stones[s->ply & 1] |= 1u << action;
  s->ply += 1;
  if (tictactoe_lines(mine, 1, 0x49) | tictactoe_lines(mine, 3, 0x07) |  // rows from 0, 3, 6; columns from 0, 1, 2
      tictactoe_lines(mine, 4, 0x01) | tictactoe_lines(mine, 2, 0x04))   // diagonals from 0 and from 2
    s->result = BW_WON;
  else if (s->ply == tictactoe_MAX_PLIES)
    s->result = BW_DRAWN;
}

BW_INLINE int tictactoe_cell(const tictactoe_state* s, int row, int col) {
  const int cell = row * tictactoe_COLS + col;
  return (int)((s->stones[0] >> cell & 1) + 2 * (s->stones[1] >> cell & 1));
}

BW_INLINE int tictactoe_features(const tictactoe_state* s, uint16_t* list) {
  const uint32_t own = s->stones[s->ply & 1], opponent = s->stones[~s->ply & 1];
  int count = 0;
  for (int cell = 0; cell < tictactoe_ROWS * tictactoe_COLS; ++cell) {
    // Written in any case, counted where there is a stone: no branch to guess.
    list[count] = (uint16_t)(tictactoe_PLANES * cell + (int)(opponent >> cell & 1));
    count += (int)((own | opponent) >> cell & 1);
  }
  return count;
}

BW_INLINE void tictactoe_mirror(tictactoe_state* s) {  // swaps the columns 0, 3, 6 and 2, 5, 8
  for (int player = 0; player < 2; ++player) {
    const uint32_t b = s->stones[player];
    s->stones[player] = (b & 0x49) << 2 | (b & 0x92) | (b >> 2 & 0x49);
  }
}

BW_INLINE int tictactoe_mirror_action(int action) { return action + 2 - 2 * (action % tictactoe_COLS); }

BW_INLINE uint64_t tictactoe_key(const tictactoe_state* s) { return s->stones[0] | s->stones[1] << 9; }

BW_INLINE int tictactoe_symbol(int action) { return '1' + action; }

#endif
