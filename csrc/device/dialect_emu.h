// Dialect of the emulated accelerator: a block is a team of real threads with barriers, so that on a machine without
// a GPU the same kernel text is checked for missing SYNCs (under ThreadSanitizer too) and for dependence on the block
// size. Not fast and not meant to be.
#ifndef BW_DEVICE_DIALECT_EMU_H
#define BW_DEVICE_DIALECT_EMU_H

#include <math.h>
#include <string.h>

#include "dialect.h"

#define BW_INLINE static inline
#define BW_OUTLINE static inline
typedef float real;
#define EXP(x) expf(x)
#define LOG(x) logf(x)
#define SQRT(x) sqrtf(x)
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))

enum { BW_EMU_MAX_THREADS = 64 };

void bw_emu_barrier(void* team);
float* bw_emu_scratch(void* team);  // BW_EMU_MAX_THREADS floats shared by the block

#define KERNEL(name) BW_KERNEL_SIGNATURE(name)
#define FOR_GRID(i, n)                                                           \
  for (int64_t i = context->block * context->threads + context->thread; i < (n); \
       i += context->blocks * context->threads)
#define RUN_LENGTH(most) 1
#define FOR_RUNS(i, length, n, most)                                                         \
  for (int64_t i = context->block * context->threads + context->thread, length = 1; i < (n); \
       i += context->blocks * context->threads)
#define FOR_TILES(t, n) for (int64_t t = context->block; t < (n); t += context->blocks)
#define FOR_BLOCK(j, n) for (int64_t j = context->thread; j < (n); j += context->threads)
#define INDEPENDENT
#define PREFETCH(address) ((void)(address))
#define SYNC bw_emu_barrier(context->team)
#define BW_RESTRICT

// Each thread sums its stride, then thread order; every thread gets the result.
#define SUM_OVER(s, j, n, ...)                                                 \
  real s = 0;                                                                  \
  do {                                                                         \
    FOR_BLOCK(j, n) s += (__VA_ARGS__);                                        \
    float* bw_scratch = bw_emu_scratch(context->team);                         \
    bw_scratch[context->thread] = s;                                           \
    SYNC;                                                                      \
    s = 0;                                                                     \
    for (int bw_t = 0; bw_t < context->threads; ++bw_t) s += bw_scratch[bw_t]; \
    SYNC;                                                                      \
  } while (0)

#endif
