// The single-source kernels for the emulated accelerator.
#include "../device/dialect_emu.h"

#include "instantiate.h"

extern const bw_kernel_table bw_emu_kernels;
const bw_kernel_table bw_emu_kernels = BW_KERNEL_TABLE;
