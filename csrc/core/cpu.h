// What this CPU and operating system can run.
#ifndef BW_CORE_CPU_H
#define BW_CORE_CPU_H

#include <stdbool.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

// In order of preference; names: "portable", "neon", "avx2", "avx512".
typedef enum bw_isa { BW_ISA_PORTABLE = 0, BW_ISA_NEON, BW_ISA_AVX2, BW_ISA_AVX512, BW_ISA_COUNT } bw_isa;

// Of the factors of matrix products; everything else is fp32. Names: "fp32", "bf16".
typedef enum bw_precision { BW_PRECISION_FP32 = 0, BW_PRECISION_BF16 } bw_precision;

const char* bw_isa_name(bw_isa isa);
// True when this build holds code for isa and cpuid and xgetbv say that CPU and OS can run it (every arm64 CPU has
// NEON).
bool bw_isa_available(bw_isa isa);
// True when products of bf16 factors can run beside the other code of isa: avx512 on a CPU with AVX512-BF16.
bool bw_bf16_available(bw_isa isa);
// The best available one, or the one that the environment variable BELLOWS_ISA names. An unknown or unavailable
// name is BW_OPTION with path "BELLOWS_ISA".
bw_status bw_isa_choose(bw_isa* isa, bw_error* error);
// CPU model name as the system gives it, or "unknown". Static storage.
const char* bw_cpu_name(void);
// The CPU's family and model as cpuid gives them (a Zen 4 is family 25, whatever its name says), 0 where there is none.
void bw_cpu_model(int* family, int* model);
// Physical memory that this process can use, in bytes (cgroup limit included on Linux); 0 if unknown.
uint64_t bw_memory_available(void);

#ifdef __cplusplus
}
#endif
#endif
