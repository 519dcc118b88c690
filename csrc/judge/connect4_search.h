// Exact scores of Connect Four positions by search. One object per thread.
#ifndef BW_JUDGE_CONNECT4_SEARCH_H
#define BW_JUDGE_CONNECT4_SEARCH_H

#include <stdbool.h>

#include "../core/status.h"
#include "../games/connect4.h"

typedef struct bw_connect4_search bw_connect4_search;

// bytes: of the large transposition table; as much as a power of two allows is used, 512 KiB at least. cancelled is
// asked now and then, and while it says true no search gets far; NULL: never.
bw_status bw_connect4_search_create(uint64_t bytes, bool (*cancelled)(void* context), void* context,
                                    bw_connect4_search** search, bw_error* error);
void bw_connect4_search_destroy(bw_connect4_search* search);  // NULL is allowed

// The score for the side to move of a game that goes on; false when it was cancelled. What was found out is kept for
// the next position: it makes searches faster and never changes a score.
bool bw_connect4_search_score(bw_connect4_search* search, const connect4_state* state, int* score);

uint64_t bw_connect4_search_bytes(const bw_connect4_search* search);  // of the tables

// Calls of the recursive search since create.
int64_t bw_connect4_search_nodes(const bw_connect4_search* search);

#endif
