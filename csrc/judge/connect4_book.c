#include "connect4_book.h"

#include <stdlib.h>

#include "connect4_book.gen.h"

enum { PLIES = BW_CONNECT4_BOOK_PLIES, POSITIONS = sizeof bw_connect4_book_scores };

struct bw_connect4_book {
  int first[PLIES + 2];  // of the positions with so many stones
  uint64_t keys[POSITIONS];
};

static const char op[] = "solver.create";

typedef struct position {
  uint64_t key;
  connect4_state state;
} position;

// The position or its mirror image, whichever has the smaller key.
static position canonical(const connect4_state* state) {
  position p = {connect4_key(state), *state};
  connect4_state mirrored = *state;
  connect4_mirror(&mirrored);
  if (connect4_key(&mirrored) < p.key) p = (position){connect4_key(&mirrored), mirrored};
  return p;
}

static int compare_keys(const void* a, const void* b) {
  const uint64_t x = ((const position*)a)->key, y = ((const position*)b)->key;
  return (x > y) - (x < y);
}

// Positions one move after those of `from`, sorted and each once; `to` has room for seven times as many.
static int expand(const position* from, int count, position* to) {
  int all = 0, kept = 0;
  for (int i = 0; i < count; ++i) {
    const uint32_t legal = connect4_legal(&from[i].state);
    for (int col = 0; col < connect4_ACTIONS; ++col) {
      if (!(legal >> col & 1)) continue;
      connect4_state next = from[i].state;
      connect4_play(&next, col);
      to[all++] = canonical(&next);
    }
  }
  qsort(to, (size_t)all, sizeof *to, compare_keys);
  for (int i = 0; i < all; ++i)
    if (kept == 0 || to[kept - 1].key != to[i].key) to[kept++] = to[i];
  return kept;
}

// Positions with fewer than seven stones are never over, so all of them are listed.
_Static_assert(PLIES < 7, "a game may end with the seventh stone");

static bw_status list_keys(bw_connect4_book* book, bw_error* error) {
  const size_t room = (size_t)connect4_ACTIONS * POSITIONS;
  position* now = malloc(room * sizeof *now);
  position* next = malloc(room * sizeof *next);
  if (now && next) {
    connect4_state start;
    connect4_init(&start);
    now[0] = canonical(&start);
    int count = 1, total = 0;
    for (int ply = 0; ply <= PLIES; ++ply) {
      book->first[ply] = total;
      for (int i = 0; i < count; ++i) book->keys[total++] = now[i].key;
      if (ply == PLIES) break;
      count = expand(now, count, next);
      position* swap = now;
      now = next;
      next = swap;
    }
    book->first[PLIES + 1] = total;
  }
  const bw_status status =
      now && next ? BW_OK : bw_fail_memory(error, op, "the keys of the opening book", 2 * room * sizeof *now, 0);
  free(now);
  free(next);
  return status;
}

bw_status bw_connect4_book_create(bw_connect4_book** book, bw_error* error) {
  *book = malloc(sizeof **book);
  if (!*book) return bw_fail_memory(error, op, "the opening book", sizeof **book, 0);
  const bw_status status = list_keys(*book, error);
  if (status == BW_OK) return BW_OK;
  bw_connect4_book_destroy(*book);
  *book = NULL;
  return status;
}

void bw_connect4_book_destroy(bw_connect4_book* book) { free(book); }

bool bw_connect4_book_find(const bw_connect4_book* book, const connect4_state* state, int* score) {
  const int ply = connect4_ply(state);
  if (ply > PLIES) return false;
  const uint64_t key = canonical(state).key;
  int low = book->first[ply], high = book->first[ply + 1];  // the key is in this range
  while (high - low > 1) {
    const int middle = low + (high - low) / 2;
    if (book->keys[middle] <= key) {
      low = middle;
    } else {
      high = middle;
    }
  }
  *score = bw_connect4_book_scores[low];
  return book->keys[low] == key;
}

int bw_connect4_book_count(const bw_connect4_book* book) { return book->first[PLIES + 1]; }

int bw_connect4_book_plies(void) { return PLIES; }
