// The multiply-add probe of the roof, one an instruction set.
#ifndef BW_CORE_ROOF_PROBE_H
#define BW_CORE_ROOF_PROBE_H

#include <stdint.h>

// Runs `rounds` rounds of independent multiply-adds in registers; returns the floating-point operations done.
// *sink receives a value that depends on all of them.
typedef double (*bw_roof_probe)(int64_t rounds, float* sink);

double bw_roof_probe_portable(int64_t rounds, float* sink);
double bw_roof_probe_avx2(int64_t rounds, float* sink);
double bw_roof_probe_avx512(int64_t rounds, float* sink);
double bw_roof_probe_avx512bf16(int64_t rounds, float* sink);

#endif
