// Factories of the backends: the one place that names them.
#ifndef BW_BACKENDS_BACKENDS_H
#define BW_BACKENDS_BACKENDS_H

#include "../core/cpu.h"
#include "../core/pool.h"
#include "../device/device.h"

#ifdef __cplusplus
extern "C" {
#endif

// The CPU: threads >= 1 workers, kernels of the given instruction set (which must be available), matrix products of the
// given precision (bw_bf16_available must say yes to bf16).
bw_status bw_cpu_device_create(bw_isa isa, bw_precision precision, int threads, bw_device** device, bw_error* error);
bw_pool* bw_cpu_device_pool(bw_device* device);  // its workers, for measuring the roof

// The emulated accelerator: memory of its own that the host can't reach but by upload and download, `blocks` x
// `threads` (1..64) real threads a launch. For tests.
bw_status bw_emu_device_create(int blocks, int threads, bw_device** device, bw_error* error);

#ifdef __cplusplus
}
#endif
#endif
