// The machine's roof at this moment: short probes that a bench takes between its samples, so that both see the same
// clock and the same neighbours. roof.h measures once and keeps the figure.
#ifndef BW_CORE_ROOF_METER_H
#define BW_CORE_ROOF_METER_H

#include <stddef.h>

#include "cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bw_roof_meter bw_roof_meter;

// footprint: bytes that the probe of bandwidth goes over, all threads together, so that it reads the rate of the cache
// that work of this size would use; 0: no such probe. Starts threads - 1 threads of its own.
bw_status bw_roof_meter_create(bw_isa isa, bw_precision precision, int threads, size_t footprint, bw_roof_meter** meter,
                               bw_error* error);
void bw_roof_meter_destroy(bw_roof_meter* meter);  // NULL is allowed

// Multiply-adds of the precision on all threads for about `seconds`, GFLOP/s: the best of short runs.
double bw_roof_meter_flops(bw_roof_meter* meter, double seconds);
// y[i] += s * x[i], counted as three transfers (nothing is fetched that is not counted), GB/s: the best of short runs.
// 0 without a footprint.
double bw_roof_meter_bytes(bw_roof_meter* meter, double seconds);

#ifdef __cplusplus
}
#endif
#endif
