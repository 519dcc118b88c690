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
  connect4_MAX_PLIES = 42,
  connect4_PLANES = 3,
  connect4_FEATURES = 42,
  connect4_THREAT_PLANES = 7,
  connect4_THREAT_FEATURES = 84  // a stone or two threats a cell
};

typedef struct connect4_state {
  uint64_t own;       // bitboard of the side to move
  uint64_t occupied;  // of both sides
  uint64_t status;    // stones on the board; bit 32 is set when the last one won
} connect4_state;

#define connect4_BOTTOM ((uint64_t)0x40810204081)  // row 0: bits 0, 7, ..., 42
#define connect4_BOARD (connect4_BOTTOM * 0x3F)

BW_INLINE int connect4_bit(int row, int col) { return col * (connect4_ROWS + 1) + row; }

BW_INLINE void connect4_init(connect4_state* s) { s->own = s->occupied = s->status = 0; }

BW_INLINE int connect4_ply(const connect4_state* s) { return (int)(uint32_t)s->status; }

// All ones while nobody has won, else 0. (After a draw no column has room anyway.)
BW_INLINE uint64_t connect4_going(const connect4_state* s) { return (s->status >> 32) - 1; }

BW_INLINE int connect4_result(const connect4_state* s) {
  if (!connect4_going(s)) return BW_WON;
  return connect4_ply(s) == connect4_MAX_PLIES ? BW_DRAWN : BW_ONGOING;
}

BW_INLINE uint32_t connect4_legal(const connect4_state* s) {  // the columns whose top cell is empty
  const uint64_t open = ~s->occupied >> (connect4_ROWS - 1) & connect4_BOTTOM & connect4_going(s);
  // Gathers bits 7c at 42 + c. The product's terms are bits 7c + 42 - 6d: no two are the same, so nothing carries.
  return (uint32_t)(open * 0x41041041040 >> 42) & 0x7F;
}

BW_INLINE uint64_t connect4_fours(uint64_t cells, int step) {
  const uint64_t pairs = cells & cells >> step;
  return pairs & pairs >> 2 * step;
}

// Cells that lie in a line of four whose other three are in `cells`, in one direction.
BW_INLINE uint64_t connect4_completing_line(uint64_t cells, int step) {
  const uint64_t below = cells << step & cells << 2 * step;  // the two before this cell
  const uint64_t above = cells >> step & cells >> 2 * step;  // the two after it
  return (below & (cells << 3 * step | cells >> step)) | (above & (cells >> 3 * step | cells << step));
}

// Cells where one more stone completes four, cells of any state, within the board.
BW_INLINE uint64_t connect4_completing(uint64_t cells) {
  const uint64_t column = cells << 1 & cells << 2 & cells << 3;
  return (column | connect4_completing_line(cells, 6) | connect4_completing_line(cells, 7) |
          connect4_completing_line(cells, 8)) &
         connect4_BOARD;
}

// Where a stone comes to rest, of all columns with room.
BW_INLINE uint64_t connect4_landings(uint64_t occupied) { return (occupied + connect4_BOTTOM) & connect4_BOARD; }

// Where a stone in this column comes to rest; 0 if there is no room.
BW_INLINE uint64_t connect4_landing(const connect4_state* s, int col) {
  // Adding a column's bottom bit carries into its lowest empty cell.
  const uint64_t cells = (s->occupied + connect4_BOTTOM) & ~s->occupied;
  return (cells >> connect4_bit(0, col) & 0x3F) << connect4_bit(0, col);
}

// The side to move puts a stone there; moved 0, with no stone, changes nothing.
BW_INLINE void connect4_place(connect4_state* s, uint64_t stone, uint64_t moved) {
  const uint64_t mine = s->own | stone;
  const uint64_t fours =
      connect4_fours(mine, 1) | connect4_fours(mine, 7) | connect4_fours(mine, 8) | connect4_fours(mine, 6);
  const uint64_t won = fours != 0;
  s->own ^= s->occupied & (0 - moved);
  s->occupied |= stone;
  s->status += moved + (won << 32);
}

BW_INLINE void connect4_play(connect4_state* s, int action) { connect4_place(s, connect4_landing(s, action), 1); }

BW_INLINE void connect4_attempt(connect4_state* s, int action) {
  const uint64_t stone = connect4_landing(s, action) & connect4_going(s);
  connect4_place(s, stone, stone != 0);
}

BW_INLINE int connect4_cell(const connect4_state* s, int row, int col) {
  const int bit = connect4_bit(row, col);
  const int own = (int)(s->own >> bit & 1), taken = (int)(s->occupied >> bit & 1);
  // The first player is to move at even plies.
  return connect4_ply(s) & 1 ? taken + own : 2 * taken - own;
}

BW_INLINE int connect4_features(const connect4_state* s, uint16_t* list) {
  const uint64_t opponent = s->own ^ s->occupied;
  int count = 0;
  for (int row = 0; row < connect4_ROWS; ++row) {
    if (!(s->occupied & connect4_BOTTOM << row)) break;  // stones fall: nothing lies above an empty row
    for (int col = 0; col < connect4_COLS; ++col) {
      const int bit = connect4_bit(row, col);
      const int theirs = (int)(opponent >> bit & 1);
      // Written in any case, counted where there is a stone: no branch to guess.
      list[count] = (uint16_t)(connect4_PLANES * (row * connect4_COLS + col) + theirs);
      count += (int)(s->occupied >> bit & 1);
    }
  }
  return count;
}

// Planes: own stone, opponent's stone, then empty cells where a stone would make four: own, and it can fall there now;
// own, later; the opponent's, now; the opponent's, later; 1. (Who gets a threat that is open for later is what most
// games are about, and a cell's column tells it from its height.)
BW_INLINE int connect4_threats(const connect4_state* s, uint16_t* list) {
  const uint64_t opponent = s->own ^ s->occupied;
  const uint64_t mine = connect4_completing(s->own) & ~s->occupied;
  const uint64_t theirs = connect4_completing(opponent) & ~s->occupied;
  const uint64_t later = ~connect4_landings(s->occupied), any = s->occupied | mine | theirs;
  int count = 0;
  for (int row = 0; row < connect4_ROWS; ++row) {
    if (!(any & connect4_BOTTOM << row)) continue;
    for (int col = 0; col < connect4_COLS; ++col) {
      const int bit = connect4_bit(row, col);
      const int first = connect4_THREAT_PLANES * (row * connect4_COLS + col), wait = (int)(later >> bit & 1);
      if (!(any >> bit & 1)) continue;
      if (s->occupied >> bit & 1) {
        list[count++] = (uint16_t)(first + (int)(opponent >> bit & 1));
        continue;
      }
      if (mine >> bit & 1) list[count++] = (uint16_t)(first + 2 + wait);
      if (theirs >> bit & 1) list[count++] = (uint16_t)(first + 4 + wait);
    }
  }
  return count;
}

BW_INLINE uint64_t connect4_mirror_board(uint64_t cells) {
  uint64_t mirrored = 0;
  for (int col = 0; col < connect4_COLS; ++col)
    mirrored |= (cells >> connect4_bit(0, col) & 0x3F) << connect4_bit(0, connect4_COLS - 1 - col);
  return mirrored;
}

BW_INLINE void connect4_mirror(connect4_state* s) {
  s->own = connect4_mirror_board(s->own);
  s->occupied = connect4_mirror_board(s->occupied);
}

BW_INLINE int connect4_mirror_action(int action) { return connect4_COLS - 1 - action; }

// A column of height h has 2^h - 1 in `occupied` and at most as much in `own`: the sum is from 2^h - 1 to
// 2^(h+1) - 2, another range for each height, so that 7 bits hold a column's height and colours (Pons).
BW_INLINE uint64_t connect4_key(const connect4_state* s) { return s->own + s->occupied; }

BW_INLINE int connect4_symbol(int action) { return '1' + action; }

#endif
