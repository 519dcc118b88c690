// The probes of the roof, one an instruction set.
#ifndef BW_CORE_ROOF_PROBE_H
#define BW_CORE_ROOF_PROBE_H

#include <stdint.h>

// Runs `rounds` rounds of independent multiply-adds in registers; returns the floating-point operations done.
// *sink receives a value that depends on all of them.
typedef double (*bw_roof_probe)(int64_t rounds, float* sink);

double bw_roof_probe_portable(int64_t rounds, float* sink);
double bw_roof_probe_neon(int64_t rounds, float* sink);
double bw_roof_probe_avx2(int64_t rounds, float* sink);
double bw_roof_probe_avx512(int64_t rounds, float* sink);
double bw_roof_probe_avx512bf16(int64_t rounds, float* sink);

// y[n] += s * x[n]: a stream of updates, which fetches nothing that it does not use.
typedef void (*bw_roof_update)(const float* restrict x, float* restrict y, int64_t n, float s);

void bw_roof_update_portable(const float* restrict x, float* restrict y, int64_t n, float s);
void bw_roof_update_avx2(const float* restrict x, float* restrict y, int64_t n, float s);
void bw_roof_update_avx512(const float* restrict x, float* restrict y, int64_t n, float s);

#endif
