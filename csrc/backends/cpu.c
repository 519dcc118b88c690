// The CPU backend: kernels over ranges of items, split over a thread pool; matrix products by the tuned
// micro-kernels of kernels/tuned with weights packed once an update.
#include <stdbool.h>
#include <stdlib.h>

#include "../core/posix.h"
#include "backends.h"
#include "cpu_device.h"

extern const bw_kernel_table bw_cpu_kernels_portable;
#ifdef BW_HAVE_NEON
extern const bw_kernel_table bw_cpu_kernels_neon;
#endif
#ifdef BW_HAVE_AVX2
extern const bw_kernel_table bw_cpu_kernels_avx2;
#endif
#ifdef BW_HAVE_AVX512
extern const bw_kernel_table bw_cpu_kernels_avx512;
#endif

// ---- single ops ----

void bw_cpu_run_items(bw_cpu_device* cpu, bw_op op, const void* args, int64_t first, int64_t last) {
  const bw_kernel_context context = {.buffers = cpu->host.buffers, .first = first, .last = last};
  bw_find_kernel(cpu->kernels, op, args)(args, &context);
}

typedef struct launch_task {
  bw_cpu_device* cpu;
  bw_op op;
  const void* args;
  bw_cost cost;
} launch_task;

static void run_items(void* context, int64_t first, int64_t last, int worker) {
  const launch_task* task = context;
  bw_prof* prof = &task->cpu->host.base.prof;
  const bool recorded = worker > 0 && prof->timeline;  // the caller's event is the whole op
  const uint64_t start = recorded ? bw_now_ns() : 0;
  bw_cpu_run_items(task->cpu, task->op, task->args, first, last);
  if (!recorded) return;
  const double share = (double)(last - first) / (double)task->cost.items;
  bw_prof_event(prof, worker, bw_op_name(task->op), start, bw_now_ns(), share * task->cost.flops,
                share * task->cost.bytes);
}

static void cpu_launch(bw_device* device, bw_op op, const void* args, bw_cost cost) {
  bw_cpu_device* cpu = (bw_cpu_device*)device;
  launch_task task = {.cpu = cpu, .op = op, .args = args, .cost = cost};
  if (cost.flops + cost.bytes < BW_CPU_SPLIT_COST) {
    run_items(&task, 0, cost.items, 0);
  } else {
    bw_pool_run(cpu->pool, cost.items, run_items, &task);
  }
}

// ---- life ----

static void cpu_destroy(bw_device* device) {
  bw_cpu_device* cpu = (bw_cpu_device*)device;
  bw_pool_destroy(cpu->pool);
  bw_aligned_free(cpu->queues);
  bw_host_free_all(device);
  free(cpu);
}

static const bw_backend kCpuBackend = {
    .name = "cpu",
    .real_bytes = 4,
    BW_HOST_MEMORY,
    .launch = cpu_launch,
    .destroy = cpu_destroy,
    .packed_bytes = bw_cpu_packed_bytes,
    .pack = bw_cpu_pack,
    .linear_forward = bw_cpu_linear_forward,
    .linear_backward = bw_cpu_linear_backward,
    .linear_gradient = bw_cpu_linear_gradient,
    .linear_update = bw_cpu_linear_update,
    .run_group = bw_cpu_run_group,
};

bw_status bw_cpu_device_create(bw_isa isa, bw_precision precision, int threads, bw_device** device, bw_error* error) {
  bw_cpu_device* cpu = calloc(1, sizeof *cpu);
  if (!cpu) return bw_fail_memory(error, "device.create", "the CPU device", sizeof *cpu, 0);
  cpu->host.base.backend = &kCpuBackend;
  cpu->host.base.threads = threads;
  cpu->kernels = &bw_cpu_kernels_portable;
  cpu->gemm = &bw_gemm_portable;
#ifdef BW_HAVE_NEON
  if (isa == BW_ISA_NEON) {
    cpu->kernels = &bw_cpu_kernels_neon;
    cpu->gemm = bw_gemm_accelerate();
    if (!cpu->gemm) cpu->gemm = &bw_gemm_neon;
  }
#endif
#ifdef BW_HAVE_AVX2
  if (isa == BW_ISA_AVX2) {
    cpu->kernels = &bw_cpu_kernels_avx2;
    cpu->gemm = &bw_gemm_avx2;
  }
#endif
#ifdef BW_HAVE_AVX512
  if (isa == BW_ISA_AVX512) {
    cpu->kernels = &bw_cpu_kernels_avx512;
    cpu->gemm = &bw_gemm_avx512;
  }
#endif
#ifdef BW_HAVE_AVX512BF16
  if (precision == BW_PRECISION_BF16) cpu->gemm = &bw_gemm_avx512bf16;
#endif
  (void)isa;  // there may be one only
  (void)precision;
  bw_status status = bw_pool_create(threads, &cpu->pool, error);
  if (status == BW_OK) {
    const size_t bytes = (size_t)threads * sizeof *cpu->queues;
    cpu->queues = bw_aligned_alloc(_Alignof(bw_cpu_queue), bytes);
    if (!cpu->queues) status = bw_fail_memory(error, "device.create", "the queues of the threads", bytes, 0);
  }
  if (status != BW_OK) {
    bw_pool_destroy(cpu->pool);
    free(cpu);
    return status;
  }
  for (int i = 0; i < threads; ++i) atomic_init(&cpu->queues[i].next, 0);
  *device = &cpu->host.base;
  return BW_OK;
}

bw_pool* bw_cpu_device_pool(bw_device* device) { return ((bw_cpu_device*)device)->pool; }
