// Inside of the CPU backend: cpu.c (device, single ops), cpu_linear.c (composite ops of linear layers), cpu_group.c
// (launches that were put off).
#ifndef BW_BACKENDS_CPU_DEVICE_H
#define BW_BACKENDS_CPU_DEVICE_H

#include <stdatomic.h>

#include "../core/pool.h"
#include "../kernels/tuned/gemm.h"
#include "host_memory.h"
#include "kernel_table.h"

// Work below this many flops + bytes is not worth waking another thread for (about 5 us).
#define BW_CPU_SPLIT_COST 65536.0  // clang refuses to compare a double with an enumerator

// What is left of a thread's share of a group (cpu_group.c), on a cache line of its own.
typedef struct bw_cpu_queue {
  _Alignas(64) atomic_int next;
} bw_cpu_queue;

typedef struct bw_cpu_device {
  bw_host_device host;
  bw_pool* pool;
  bw_cpu_queue* queues;  // [threads]
  const bw_kernel_table* kernels;
  const bw_gemm* gemm;
} bw_cpu_device;

static inline float* bw_cpu_floats(bw_cpu_device* cpu, bw_ref ref) {
  return (float*)(void*)bw_host_address(&cpu->host.base, ref);
}

// ---- cpu.c ----

// Items [first, last) of a single op, on the calling thread.
void bw_cpu_run_items(bw_cpu_device* cpu, bw_op op, const void* args, int64_t first, int64_t last);

// ---- cpu_linear.c ----

size_t bw_cpu_packed_bytes(bw_device* device, int64_t out, int64_t in, int backward);
void bw_cpu_pack(bw_device* device, const bw_weight* weight, int backward);
void bw_cpu_linear_forward(bw_device* device, const bw_linear_forward_args* args);
void bw_cpu_linear_backward(bw_device* device, const bw_linear_backward_args* args);
void bw_cpu_linear_gradient(bw_device* device, const bw_linear_gradient_args* args);
void bw_cpu_linear_update(bw_device* device, const bw_linear_update_args* args);

// Parts of them, on the calling thread: rows, panels of columns, tiles of rows of the gradient, groups of rows of the
// weight.
void bw_cpu_forward_rows(bw_cpu_device* cpu, const bw_linear_forward_args* args, int64_t first, int64_t last);
void bw_cpu_backward_rows(bw_cpu_device* cpu, const bw_linear_backward_args* args, int64_t first, int64_t last);
void bw_cpu_forward_panels(bw_cpu_device* cpu, const bw_linear_forward_args* args, int64_t first, int64_t last);
void bw_cpu_backward_panels(bw_cpu_device* cpu, const bw_linear_backward_args* args, int64_t first, int64_t last);
int64_t bw_cpu_gradient_tiles(const bw_cpu_device* cpu, const bw_linear_gradient_args* args);
void bw_cpu_run_gradient(bw_cpu_device* cpu, const bw_linear_gradient_args* args, int64_t first, int64_t last);
int64_t bw_cpu_update_groups(const bw_cpu_device* cpu, const bw_linear_update_args* args);
void bw_cpu_run_update(bw_cpu_device* cpu, const bw_linear_update_args* args, int64_t first, int64_t last);

// ---- cpu_group.c ----

void bw_cpu_run_group(bw_device* device, bw_group group, int64_t rows, bw_step* steps, int count);

#endif
