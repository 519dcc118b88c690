// The words that kernels are written in. A kernel is a loop over work items that is right for any number of threads
// in a block, 1 included; each dialect gives the words their meaning.
//
//   KERNEL(name) { ... }         the kernel of op `name`; `args` is its const bw_NAME_args*
//   IN(type, p)  OUT(type, p)    pointer p to args->p; OUT for anything written. Two of them never overlap.
//   IN_AT(type, p, ref)  OUT_AT  pointer p to any other buffer handle
//   FOR_GRID(i, n)               i over 0..n-1, one item a thread
//   FOR_RUNS(i, length, n, most) items i, i + 1, ..., i + length - 1 of 0..n-1 are done together by one thread, at
//                                most `most` of them; a local array for them has RUN_LENGTH(most) elements
//   FOR_TILES(t, n)              t over 0..n-1, one item a block: its threads then share the work with
//   FOR_BLOCK(j, n)                j over 0..n-1 inside a tile, one item a thread
//   INDEPENDENT                  before one of these loops: no item reads what another one writes
//   SUM_OVER(s, j, n, expr)        real s = sum of expr over j in 0..n-1, in an order fixed by n and the dialect
//   SYNC                           all threads of the block have come this far, and see each other's writes
//   PREFETCH(address)            this will be read soon
//   EXP LOG SQRT                 on real
//   MULTIPLY_ADD(a, b, c)        a * b + c on real, with one rounding where that is one instruction
//   real                         float, or double in the reference
//   BW_INLINE  BW_OUTLINE        helper functions; OUTLINE for those with loops that want the registers for themselves
//
// A dialect file (dialect_cpu.h, dialect_emu.h) defines them and is included before any kernel.
#ifndef BW_DEVICE_DIALECT_H
#define BW_DEVICE_DIALECT_H

#include <stdint.h>

#include "ops.h"

// Every kernel has this type once compiled; KERNEL gives the body typed args.
typedef struct bw_kernel_context {
  char* const* buffers;   // base addresses by bw_ref.buffer
  int64_t first, last;    // cpu: the items of this call
  int64_t block, blocks;  // emu: this block and how many there are
  int thread, threads;    // emu: this thread of the block
  void* team;             // emu: the block's barrier and scratch
} bw_kernel_context;

typedef void (*bw_kernel)(const void* args, const bw_kernel_context* context);

#define BW_KERNEL_SIGNATURE(name)                                                          \
  static void name##_body(const bw_##name##_args* args, const bw_kernel_context* context); \
  static void name##_kernel(const void* args, const bw_kernel_context* context) {          \
    name##_body((const bw_##name##_args*)args, context);                                   \
  }                                                                                        \
  static void name##_body(const bw_##name##_args* args, const bw_kernel_context* context)

#define BW_ADDRESS(ref) (context->buffers[(ref).buffer] + (ref).offset)
#define IN_AT(type, p, ref) const type* BW_RESTRICT p = (const type*)(const void*)BW_ADDRESS(ref)
#define OUT_AT(type, p, ref) type* BW_RESTRICT p = (type*)(void*)BW_ADDRESS(ref)
#define IN(type, p) IN_AT(type, p, args->p)
#define OUT(type, p) OUT_AT(type, p, args->p)

#endif
