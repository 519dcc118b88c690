// Words that compilers spell differently.
#ifndef BW_CORE_COMPILER_H
#define BW_CORE_COMPILER_H

// Before a loop of at most `count` steps, a constant once inlined: unrolls it, so that an array indexed by it can live
// in registers.
#define BW_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define BW_UNROLL(count) BW_PRAGMA(clang loop unroll(full))
#elif defined(__GNUC__)
#define BW_UNROLL(count) BW_PRAGMA(GCC unroll count)
#else
#define BW_UNROLL(count)
#endif

// Asks for the cache line of an address that is read soon.
#if defined(__GNUC__)
#define BW_PREFETCH(address) __builtin_prefetch(address)
#else
#define BW_PREFETCH(address) ((void)(address))
#endif

#endif
