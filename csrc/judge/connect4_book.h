// The opening book of Connect Four: the exact score of every position with at most BW_CONNECT4_BOOK_PLIES stones.
//
// Only scores are stored, a byte each (connect4_book.gen.h, made by scripts/connect4-book.mjs): they stand in the order
// of stones, then of keys, where a position and its mirror image count once, with the smaller of their keys. The keys
// are listed anew, in about a millisecond, when a book is made.
#ifndef BW_JUDGE_CONNECT4_BOOK_H
#define BW_JUDGE_CONNECT4_BOOK_H

#include <stdbool.h>

#include "../core/status.h"
#include "../games/connect4.h"

typedef struct bw_connect4_book bw_connect4_book;

// BW_MEMORY.
bw_status bw_connect4_book_create(bw_connect4_book** book, bw_error* error);
void bw_connect4_book_destroy(bw_connect4_book* book);  // NULL is allowed

// The score for the side to move; false where the position has too many stones. Any thread.
bool bw_connect4_book_find(const bw_connect4_book* book, const connect4_state* state, int* score);

// Positions in the book, and the highest number of stones.
int bw_connect4_book_count(const bw_connect4_book* book);
int bw_connect4_book_plies(void);

#endif
