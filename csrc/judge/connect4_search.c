// Negamax with null windows. A node asks one question, "is the score at least `bound`?", and answers with a bound of
// the score that settles it. What keeps the tree small, in the order of what it saves:
//
//   moves     Lost ones are never searched: what the opponent threatens must be stopped, and no stone may go below a
//             cell that he threatens. A move that leaves no such reply wins, and costs no node.
//   tables    Bounds of positions that were met before (below), of the children too, before any of them is searched.
//   order     The move that leaves most cells where we threaten to complete four goes first, then the centre.
//   lines     Whoever has no line of four left that the opponent has not touched cannot win any more.
//   follow-up When the first player is to move and every column has an even number of empty cells, the second player
//             can answer in the same column to the end: he then gets every second row, and the first player only the
//             others. If those hold no four for the first player, he cannot win; if the second player's do, he loses.
//
// Two tables. Positions with few stones go into the large one, where those of older searches and then those nearest to
// the end give way. Of the others there are too many to keep, and they come back soon or never: a table that stays in
// the core's second-level cache, where the oldest give way, serves them twice as fast as main memory would.
#include "connect4_search.h"

#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "../core/compiler.h"
#include "connect4_board.h"

enum {
  WAYS = 4,            // entries a bucket: half a cache line
  RECENT_BITS = 14,    // of the small table's buckets: 512 KiB
  RECENT_STONES = 27,  // positions with so many stones or more go there
  PROBE_STONES = 34,   // with fewer, the children's bounds are looked up first
  STORE_STONES = 36,   // with more, searching is faster than looking up
  MIRROR_STONES = 12,  // with fewer, a position and its mirror image share an entry
  CANCEL_NODES = 4096,
};

// An entry: a tag from bit 24 on, then 6 bits each: number of the search, stones, lower and upper bound. Hash and
// bucket number make up the whole key: nothing is ever taken for another position. 0 says nothing about any position.
enum { TAG_SHIFT = 24, SEARCH_SHIFT = 18, STONES_SHIFT = 12, LOWER_SHIFT = 6, FIELD = 63, ZERO = 20 };

typedef struct table {
  uint64_t* buckets;  // [1 << bits][WAYS]
  int shift;          // of a hash, to get the bucket's number
} table;

struct bw_connect4_search {
  table large, recent;
  void *large_memory, *recent_memory;
  uint64_t nodes;
  uint64_t number;                   // of this search, modulo 64
  bool (*cancelled)(void* context);  // or NULL
  void* context;
  bool stopped;
};

// ---- tables ----

static const uint64_t* bucket_of(const bw_connect4_search* s, uint64_t hash, int stones) {
  const table* t = stones >= RECENT_STONES ? &s->recent : &s->large;
  return t->buckets + (hash >> t->shift) * WAYS;
}

static uint64_t tag_of(const bw_connect4_search* s, uint64_t hash, int stones) {
  const table* t = stones >= RECENT_STONES ? &s->recent : &s->large;
  return hash & (((uint64_t)1 << t->shift) - 1);
}

static int lower_of(uint64_t entry) { return (int)(entry >> LOWER_SHIFT & FIELD) - ZERO; }
static int upper_of(uint64_t entry) { return ZERO - (int)(entry & FIELD); }

// The place of the entry of a tag, or -1.
static int find(const uint64_t* bucket, uint64_t tag) {
  for (int i = 0; i < WAYS; ++i)
    if (bucket[i] >> TAG_SHIFT == tag) return i;
  return -1;
}

// The place that a new entry takes.
static int make_room(const bw_connect4_search* s, uint64_t* bucket, int stones) {
  if (stones >= RECENT_STONES) {
    for (int i = WAYS - 1; i > 0; --i) bucket[i] = bucket[i - 1];
    return 0;
  }
  int place = 0, most = -1;
  for (int i = 0; i < WAYS; ++i) {
    const bool old = (bucket[i] >> SEARCH_SHIFT & FIELD) != s->number;
    const int cheap = (int)(bucket[i] >> STONES_SHIFT & FIELD) + (old ? FIELD + 1 : 0);
    if (cheap > most) most = cheap, place = i;
  }
  return place;
}

static uint64_t hash_of(uint64_t own, uint64_t occupied, int stones) {
  uint64_t key = own + occupied;
  if (stones < MIRROR_STONES) {
    const uint64_t mirrored = connect4_mirror_board(own) + connect4_mirror_board(occupied);
    if (mirrored < key) key = mirrored;
  }
  return bw_connect4_mix(key);
}

// ---- search ----

// The second player has an answer in the same column to every move, and there are lines left in question.
static bool follows_up(uint64_t own, uint64_t occupied, int* bound) {
  const uint64_t landing = connect4_landings(occupied);
  if (landing & BW_CONNECT4_EVEN_ROWS) return false;
  const uint64_t empty = connect4_BOARD ^ occupied;
  if (bw_connect4_has_four(own | (empty & BW_CONNECT4_ODD_ROWS))) return false;
  *bound = bw_connect4_has_four((own ^ occupied) | (empty & BW_CONNECT4_EVEN_ROWS)) ? -1 : 0;
  return true;
}

// A bound of the score: at least `bound` and a lower bound, or less and an upper bound. moves: those that do not lose
// at once, at least one; the side to move cannot complete four with its next stone. After a cancel: anything.
static int search(bw_connect4_search* s, uint64_t own, uint64_t occupied, uint64_t moves, uint64_t hash, int stones,
                  int bound) {
  if ((++s->nodes & (CANCEL_NODES - 1)) == 0 && s->cancelled && s->cancelled(s->context)) s->stopped = true;
  if (stones >= connect4_MAX_PLIES - 2) return 0;  // neither stone that is left completes four
  int best = -(40 - stones) / 2, most = (41 - stones) / 2;
  if (best >= bound) return best;
  if (most < bound) return most;

  const uint64_t other = own ^ occupied, empty = connect4_BOARD ^ occupied;
  if (bound > 0) {
    if (!bw_connect4_has_four(own | empty)) return 0;
  } else if (!bw_connect4_has_four(other | empty)) {
    return 0;
  }
  int limit;
  if (!(stones & 1) && bound <= 1 && follows_up(own, occupied, &limit) && limit < bound) return limit;

  uint64_t* bucket = NULL;
  uint64_t tag = 0;
  int place = -1, lower = -ZERO, upper = ZERO;
  if (stones < STORE_STONES) {
    bucket = (uint64_t*)bucket_of(s, hash, stones);
    tag = tag_of(s, hash, stones);
    place = find(bucket, tag);
    if (place >= 0) {
      lower = lower_of(bucket[place]);
      upper = upper_of(bucket[place]);
      if (lower >= bound) return lower;
      if (upper < bound) return upper;
      if (lower > best) best = lower;
      if (upper < most) most = upper;
    }
  }

  struct {
    uint64_t stone, replies, hash;
    int threats;
  } list[connect4_ACTIONS];
  int count = 0;
  static const int order[connect4_ACTIONS] = {3, 2, 4, 1, 5, 0, 6};
  for (int i = 0; i < connect4_ACTIONS; ++i) {
    const uint64_t stone = moves & BW_CONNECT4_COLUMN(order[i]);
    if (!stone) continue;
    const uint64_t after = occupied | stone;
    const uint64_t threats = connect4_completing(own | stone) & ~after;
    const uint64_t replies = bw_connect4_safe(after, threats);
    if (!replies) {
      best = most = (41 - stones) / 2;
      goto store;
    }
    const int value = bw_connect4_count(threats);
    int j = count++;
    for (; j > 0 && list[j - 1].threats < value; --j) list[j] = list[j - 1];
    list[j].stone = stone;
    list[j].replies = replies;
    list[j].threats = value;
  }

  const bool stores = stones + 1 < STORE_STONES, probes = stones < PROBE_STONES;
  for (int i = 0; i < count; ++i) {
    list[i].hash = hash_of(other, occupied | list[i].stone, stones + 1);
    if (stores && (probes || i == 0)) BW_PREFETCH(bucket_of(s, list[i].hash, stones + 1));
  }
  if (probes) {
    for (int i = 0; i < count; ++i) {
      const uint64_t* children = bucket_of(s, list[i].hash, stones + 1);
      const int found = find(children, tag_of(s, list[i].hash, stones + 1));
      if (found >= 0 && -upper_of(children[found]) >= bound) {
        best = -upper_of(children[found]);
        goto store;
      }
    }
  }
  for (int i = 0; i < count; ++i) {
    if (stores && !probes && i + 1 < count) BW_PREFETCH(bucket_of(s, list[i + 1].hash, stones + 1));
    const int score = -search(s, other, occupied | list[i].stone, list[i].replies, list[i].hash, stones + 1, 1 - bound);
    if (s->stopped) return 0;
    if (score > best) {
      best = score;
      if (best >= bound) break;
    }
  }

store:
  if (bucket) {
    if (best >= bound) {
      if (best > lower) lower = best;
    } else if (best < upper) {
      upper = best;
    }
    if (most < upper) upper = most;
    // A child may have moved the entries of this bucket. Two entries for a position do no harm.
    if (place < 0 || bucket[place] >> TAG_SHIFT != tag) place = make_room(s, bucket, stones);
    bucket[place] = tag << TAG_SHIFT | s->number << SEARCH_SHIFT | (uint64_t)stones << STONES_SHIFT |
                    (uint64_t)(lower + ZERO) << LOWER_SHIFT | (uint64_t)(ZERO - upper);
  }
  return best;
}

bool bw_connect4_search_score(bw_connect4_search* s, const connect4_state* state, int* score) {
  const uint64_t own = state->own, occupied = state->occupied;
  const int stones = connect4_ply(state);
  const uint64_t empty = connect4_BOARD ^ occupied;
  if (connect4_completing(own) & connect4_landings(occupied)) {
    *score = (43 - stones) / 2;
    return true;
  }
  const uint64_t moves = bw_connect4_safe(occupied, connect4_completing(own ^ occupied) & empty);
  int lower = -(42 - stones) / 2, upper = (41 - stones) / 2;
  if (!moves) upper = lower;
  s->number = (s->number + 1) & FIELD;
  s->stopped = false;
  const uint64_t hash = hash_of(own, occupied, stones);
  // "Can the first player win?", then away from there in steps that double.
  int question = stones & 1 ? 0 : 1, step = 1;
  while (lower < upper) {
    if (question <= lower) question = lower + 1;
    if (question > upper) question = upper;
    const int found = search(s, own, occupied, moves, hash, stones, question);
    if (s->stopped) return false;
    if (found >= question) {
      lower = found;
      question = lower + step;
    } else {
      upper = found;
      question = upper - step + 1;
    }
    step *= 2;
  }
  *score = lower;
  return true;
}

int64_t bw_connect4_search_nodes(const bw_connect4_search* s) { return (int64_t)s->nodes; }

uint64_t bw_connect4_search_bytes(const bw_connect4_search* s) {
  const int large = BW_CONNECT4_KEY_BITS - s->large.shift;
  return (WAYS * sizeof(uint64_t)) * (((uint64_t)1 << large) + ((uint64_t)1 << RECENT_BITS));
}

// ---- create, destroy ----

static const char op[] = "solver.create";

// Zeros, in large pages where the system lends them: entries are met at random, each on another page.
static bw_status create_table(int bits, table* t, void** memory, bw_error* error) {
  const size_t page = (size_t)2 << 20, bytes = (WAYS * sizeof(uint64_t)) << bits;
  *memory = calloc(1, bytes + page);
  if (!*memory) return bw_fail_memory(error, op, "the transposition table", bytes + page, 0);
  t->buckets = (uint64_t*)(((uintptr_t)*memory + page - 1) & ~(uintptr_t)(page - 1));
#ifdef __linux__
  madvise(t->buckets, bytes, MADV_HUGEPAGE);
#endif
  t->shift = BW_CONNECT4_KEY_BITS - bits;
  return BW_OK;
}

bw_status bw_connect4_search_create(uint64_t bytes, bool (*cancelled)(void* context), void* context,
                                    bw_connect4_search** search, bw_error* error) {
  *search = NULL;
  bw_connect4_search* s = calloc(1, sizeof *s);
  if (!s) return bw_fail_memory(error, op, "a search", sizeof *s, 0);
  s->cancelled = cancelled;
  s->context = context;
  int bits = RECENT_BITS;  // tags have room from 9 bits on
  while (bits < 32 && ((uint64_t)WAYS * sizeof(uint64_t)) << (bits + 1) <= bytes) ++bits;
  bw_status status = create_table(bits, &s->large, &s->large_memory, error);
  if (status == BW_OK) status = create_table(RECENT_BITS, &s->recent, &s->recent_memory, error);
  if (status == BW_OK) {
    *search = s;
  } else {
    bw_connect4_search_destroy(s);
  }
  return status;
}

void bw_connect4_search_destroy(bw_connect4_search* s) {
  if (!s) return;
  free(s->large_memory);
  free(s->recent_memory);
  free(s);
}
