// The single-source kernels for the CPU. The build compiles this file once a variant (BW_CPU_VARIANT = portable,
// neon, avx2, avx512), each with its own instruction set; backends/cpu.c picks one at run time.
#include "../device/dialect_cpu.h"

#ifdef __AVX512F__
#include "../kernels/tuned/rows_avx512.h"
#define BW_TUNED bw_tuned_avx512
#endif
#include "instantiate.h"

#define BW_TABLE_NAME_(variant) bw_cpu_kernels_##variant
#define BW_TABLE_NAME(variant) BW_TABLE_NAME_(variant)

extern const bw_kernel_table BW_TABLE_NAME(BW_CPU_VARIANT);
const bw_kernel_table BW_TABLE_NAME(BW_CPU_VARIANT) = BW_KERNEL_TABLE;
