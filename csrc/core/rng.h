// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). A number is a pure function of (seed, stream, a, b), so results never depend on the order in
// which threads or batches ask for them.
//
// Inline and free of libc, so that kernels on every device can include it (BW_INLINE is the dialect's).
#ifndef BW_CORE_RNG_H
#define BW_CORE_RNG_H

#include <stdint.h>

#include "compiler.h"

#ifndef BW_INLINE
#define BW_INLINE static inline
#endif

// Streams keep the uses of one seed apart. Append only: the numbers are part of every reproducible result.
enum bw_stream {
  BW_STREAM_INIT = 1,  // a = tensor index, b = element / 4
  BW_STREAM_GAME =
      2,  // a = game number over the whole run, b = 0: seat, opponent, mirror; 1: opening, start; 2: deviation
  BW_STREAM_OPENING = 3,   // a = game number, b = ply, of an opening or a deviation
  BW_STREAM_ACTION = 4,    // a = game number, b = ply
  BW_STREAM_SHUFFLE = 5,   // a = iteration << 8 | epoch, b = element / 4
  BW_STREAM_POOL = 6,      // a = snapshot counter, b = 0: reservoir eviction
  BW_STREAM_OPPONENT = 7,  // a = iteration, b = 0: opponent of the iteration
  BW_STREAM_PLAYOUT = 8,   // a = game number, b = tries / 24 (kernels/playouts.k.h)
  BW_STREAM_MATCH = 9,     // a = game number of a match, b = ply: all the chance of a choice (judge/match.h)
  BW_STREAM_SEARCH = 10,   // seed = drawn for a choice, a = simulation, b = block of four words
  BW_STREAM_STARTS = 11,   // a = position of a lost game, b = 0: reservoir eviction
  BW_STREAM_LEAGUE = 12,   // a = iteration, b = 0: whether the league exploiter begins anew
};

typedef struct bw_random4 {
  uint32_t v[4];
} bw_random4;

// 128 random bits. key = seed; counter = (a low, a high, b, stream).
BW_INLINE bw_random4 bw_philox(uint64_t seed, uint32_t stream, uint64_t a, uint32_t b) {
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  uint32_t c0 = (uint32_t)a, c1 = (uint32_t)(a >> 32), c2 = b, c3 = stream;
  BW_UNROLL(10)
  for (int round = 0; round < 10; ++round) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c0;
    uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
    uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
    uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c1 = (uint32_t)p1;
    c3 = (uint32_t)p0;
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  bw_random4 r;
  r.v[0] = c0;
  r.v[1] = c1;
  r.v[2] = c2;
  r.v[3] = c3;
  return r;
}

// A float in [0, 1) with 24 bits, from one word.
BW_INLINE float bw_uniform(uint32_t word) { return (float)(word >> 8) * (1.0f / 16777216.0f); }

// An integer in [0, bound) from one word by multiply-shift (bias below bound / 2^32; bound >= 1).
BW_INLINE uint32_t bw_below(uint32_t word, uint32_t bound) { return (uint32_t)(((uint64_t)word * bound) >> 32); }

#endif
