// Single ops by hand for AVX-512, where the kernel text leaves too much to the compiler. Same arguments, same tests.
#ifndef BW_KERNELS_ROWS_AVX512_H
#define BW_KERNELS_ROWS_AVX512_H

#include "../../device/device.h"
#include "../../device/dialect.h"

extern const bw_kernel bw_tuned_avx512[BW_OP_COUNT];  // NULL where there is none

#endif
