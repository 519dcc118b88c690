// Mutations that know what a safetensors file looks like, for fuzzers.
#ifndef BW_FUZZ_MUTATE_H
#define BW_FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>

// Changes a file of `size` bytes in place into one of at most `max` and returns its size: changes tokens and members of
// its header, its data or any of its bytes; of nothing (8 bytes or less) it makes a new file, valid more often than
// not. The length in front mostly says what is true. The same arguments give the same file, apart from what libFuzzer
// adds.
size_t mutate_file(uint8_t* bytes, size_t size, size_t max, unsigned seed);

// libFuzzer's own mutation of a range of bytes.
size_t LLVMFuzzerMutate(uint8_t* bytes, size_t size, size_t max);

#endif
