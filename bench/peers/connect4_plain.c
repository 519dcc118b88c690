// Random Connect Four games as people write them in C: one game at a time on two bitboards, a 64-bit xorshift, a
// column drawn again while it is full. Exactly the rules of csrc/games/connect4.h.
//
//   native.sh connect4_plain [--seconds S]
//
// prints one line of JSON: median, p10 and p90 of the million moves a second in samples of 10 ms (median is in the unit
// of the case rules/connect4), plies a game, and the shares of games that the first player won, the second won, and
// that were drawn.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COLUMNS = 7, HEIGHT = 6, CELLS = 42, MAX_SAMPLES = 10000 };

typedef struct totals {
  uint64_t random;  // xorshift's state
  long games, moves, first, second, drawn;
} totals;

static inline uint64_t fours(uint64_t cells, int step) {
  const uint64_t pairs = cells & cells >> step;
  return pairs & pairs >> 2 * step;
}

// Bit 7 * column + row; bit 6 of a column stays 0. `mine` are the stones of the side to move.
static void play(totals* t, int games) {
  uint64_t random = t->random;
  for (int g = 0; g < games; ++g) {
    uint64_t mine = 0, taken = 0;
    for (int ply = 1;; ++ply) {
      uint64_t stone;
      do {
        random ^= random << 13;  // Marsaglia's xorshift64
        random ^= random >> 7;
        random ^= random << 17;
        const uint64_t bottom = (uint64_t)1 << 7 * ((random >> 32) * COLUMNS >> 32);
        stone = (taken + bottom) & ~taken & bottom * ((1 << HEIGHT) - 1);
      } while (stone == 0);
      mine |= stone;
      taken |= stone;
      const int won = (fours(mine, 1) | fours(mine, 7) | fours(mine, 8) | fours(mine, 6)) != 0;
      if (won || ply == CELLS) {
        t->moves += ply;
        t->first += won && ply % 2 == 1;
        t->second += won && ply % 2 == 0;
        t->drawn += !won;
        break;
      }
      mine ^= taken;
    }
  }
  t->games += games;
  t->random = random;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

int main(int argc, char** argv) {
  double seconds = 0.5;
  if (argc == 3 && strcmp(argv[1], "--seconds") == 0) {
    seconds = atof(argv[2]);
  } else if (argc != 1) {
    fprintf(stderr, "usage: connect4_plain [--seconds S]\n");
    return 2;
  }
  static double rates[MAX_SAMPLES];
  totals t = {.random = 88172645463325252u};
  int samples = 0;
  play(&t, 100000);  // warm up
  const double begin = now();
  do {
    const long before = t.moves;
    const double start = now();
    do play(&t, 10000);
    while (now() - start < 0.01);
    rates[samples++] = 1e-6 * (double)(t.moves - before) / (now() - start);
  } while (now() - begin < seconds && samples < MAX_SAMPLES);
  qsort(rates, (size_t)samples, sizeof *rates, ascending);
  const double games = (double)t.games;
  printf(
      "{\"name\":\"rules/connect4\",\"system\":\"c loop\",\"threads\":1,\"unit\":\"Mmoves/s\",\"median\":%.2f,"
      "\"p10\":%.2f,\"p90\":%.2f,\"samples\":%d,\"plies\":%.4f,\"first\":%.4f,\"second\":%.4f,\"drawn\":%.4f}\n",
      rates[samples / 2], rates[samples / 10], rates[samples - 1 - samples / 10], samples, (double)t.moves / games,
      (double)t.first / games, (double)t.second / games, (double)t.drawn / games);
  return 0;
}
