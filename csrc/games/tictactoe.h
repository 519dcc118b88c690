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
  tictactoe_MAX_PLIES = 9,
  tictactoe_PLANES = 3,
  tictactoe_FEATURES = 9,
  tictactoe_THREAT_PLANES = 5,
  tictactoe_THREAT_FEATURES = 18  // a stone or two threats a cell
};

typedef struct tictactoe_state {
  uint32_t own;       // bitboard of the side to move
  uint32_t occupied;  // of both sides
  uint32_t ply;
  uint32_t won;  // 1 when the last stone won
} tictactoe_state;

BW_INLINE void tictactoe_init(tictactoe_state* s) { s->own = s->occupied = s->ply = s->won = 0; }

BW_INLINE int tictactoe_result(const tictactoe_state* s) {
  if (s->won) return BW_WON;
  return s->ply == tictactoe_MAX_PLIES ? BW_DRAWN : BW_ONGOING;
}

BW_INLINE int tictactoe_ply(const tictactoe_state* s) { return (int)s->ply; }

BW_INLINE uint32_t tictactoe_legal(const tictactoe_state* s) {  // won - 1: all ones while nobody has won
  return ~s->occupied & 0x1FF & (s->won - 1);
}

// A line is the three bits of `cells` that are one step apart, starting at each cell of the mask.
BW_INLINE uint32_t tictactoe_lines(uint32_t cells, int step, uint32_t starts) {
  return cells & cells >> step & cells >> 2 * step & starts;
}

BW_INLINE uint32_t tictactoe_all_lines(uint32_t cells) {  // rows, columns, diagonals
  return tictactoe_lines(cells, 1, 0x49) | tictactoe_lines(cells, 3, 0x07) | tictactoe_lines(cells, 4, 0x01) |
         tictactoe_lines(cells, 2, 0x04);
}

// The side to move puts a stone there; moved 0, with no stone, changes nothing.
BW_INLINE void tictactoe_place(tictactoe_state* s, uint32_t stone, uint32_t moved) {
  const uint32_t lines = tictactoe_all_lines(s->own | stone);
  s->own ^= s->occupied & (0 - moved);
  s->occupied |= stone;
  s->ply += moved;
  s->won |= lines != 0;
}

BW_INLINE void tictactoe_play(tictactoe_state* s, int action) { tictactoe_place(s, (uint32_t)1 << action, 1); }

BW_INLINE void tictactoe_attempt(tictactoe_state* s, int action) {
  const uint32_t stone = (uint32_t)1 << action & tictactoe_legal(s);
  tictactoe_place(s, stone, stone != 0);
}

BW_INLINE int tictactoe_cell(const tictactoe_state* s, int row, int col) {
  const int cell = row * tictactoe_COLS + col;
  const int own = (int)(s->own >> cell & 1), taken = (int)(s->occupied >> cell & 1);
  return s->ply & 1 ? taken + own : 2 * taken - own;  // the first player is to move at even plies
}

BW_INLINE int tictactoe_features(const tictactoe_state* s, uint16_t* list) {
  const uint32_t opponent = s->own ^ s->occupied;
  int count = 0;
  for (int cell = 0; cell < tictactoe_ROWS * tictactoe_COLS; ++cell) {
    // Written in any case, counted where there is a stone: no branch to guess.
    list[count] = (uint16_t)(tictactoe_PLANES * cell + (int)(opponent >> cell & 1));
    count += (int)(s->occupied >> cell & 1);
  }
  return count;
}

// Planes: own stone, opponent's stone, empty cells where a stone would make three: own, the opponent's; 1.
BW_INLINE int tictactoe_threats(const tictactoe_state* s, uint16_t* list) {
  const uint32_t opponent = s->own ^ s->occupied;
  int count = 0;
  for (int cell = 0; cell < tictactoe_ROWS * tictactoe_COLS; ++cell) {
    const uint32_t stone = (uint32_t)1 << cell;
    const int first = tictactoe_THREAT_PLANES * cell;
    if (s->occupied & stone) {
      list[count++] = (uint16_t)(first + ((opponent & stone) != 0));
      continue;
    }
    if (tictactoe_all_lines(s->own | stone)) list[count++] = (uint16_t)(first + 2);
    if (tictactoe_all_lines(opponent | stone)) list[count++] = (uint16_t)(first + 3);
  }
  return count;
}

BW_INLINE uint32_t tictactoe_mirror_board(uint32_t cells) {  // swaps the columns 0, 3, 6 and 2, 5, 8
  return (cells & 0x49) << 2 | (cells & 0x92) | (cells >> 2 & 0x49);
}

BW_INLINE void tictactoe_mirror(tictactoe_state* s) {
  s->own = tictactoe_mirror_board(s->own);
  s->occupied = tictactoe_mirror_board(s->occupied);
}

BW_INLINE int tictactoe_mirror_action(int action) { return action + 2 - 2 * (action % tictactoe_COLS); }

BW_INLINE uint64_t tictactoe_key(const tictactoe_state* s) { return s->own | s->occupied << 9; }

BW_INLINE int tictactoe_symbol(int action) { return '1' + action; }

#endif
