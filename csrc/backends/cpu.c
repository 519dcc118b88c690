// The CPU backend: kernels over ranges of items, split over a thread pool; matrix products by the tuned
// micro-kernels of kernels/tuned with weights packed once an update.
#include <stdlib.h>
#include <string.h>

#include "../kernels/tuned/gemm.h"
#include "backends.h"
#include "host_memory.h"
#include "kernel_table.h"

extern const bw_kernel_table bw_cpu_kernels_portable;
#ifdef BW_HAVE_AVX2
extern const bw_kernel_table bw_cpu_kernels_avx2;
#endif
#ifdef BW_HAVE_AVX512
extern const bw_kernel_table bw_cpu_kernels_avx512;
#endif

// Work below this many flops + bytes is not worth waking another thread for (about 5 us).
static const double kSplitCost = 65536;

typedef struct cpu_device {
  bw_host_device host;
  bw_pool* pool;
  const bw_kernel_table* kernels;
  const bw_gemm* gemm;
} cpu_device;

static float* floats(bw_device* device, bw_ref ref) { return (float*)(void*)bw_host_address(device, ref); }

// ---- single ops ----

typedef struct launch_task {
  cpu_device* cpu;
  bw_kernel kernel;
  const void* args;
} launch_task;

static void run_items(void* context, int64_t first, int64_t last, int worker) {
  (void)worker;
  const launch_task* task = context;
  const bw_kernel_context kernel = {.buffers = task->cpu->host.buffers, .first = first, .last = last};
  task->kernel(task->args, &kernel);
}

static void cpu_launch(bw_device* device, bw_op op, const void* args, bw_cost cost) {
  cpu_device* cpu = (cpu_device*)device;
  launch_task task = {.cpu = cpu, .kernel = bw_find_kernel(cpu->kernels, op, args), .args = args};
  if (cost.flops + cost.bytes < kSplitCost) {
    run_items(&task, 0, cost.items, 0);
  } else {
    bw_pool_run(cpu->pool, cost.items, run_items, &task);
  }
}

// ---- linear layers ----

static int64_t panels_of(const bw_gemm* gemm, int64_t columns) { return (columns + gemm->panel - 1) / gemm->panel; }

// forward: B[in][out] = W^T, contracting in. backward: B[out][in] = W, contracting out.
static size_t cpu_packed_bytes(bw_device* device, int64_t out, int64_t in, int backward) {
  const bw_gemm* gemm = ((cpu_device*)device)->gemm;
  const int64_t contract = backward ? out : in, columns = backward ? in : out;
  return (size_t)bw_gemm_packed_floats(gemm, contract, columns) * sizeof(float);
}

typedef struct pack_task {
  const bw_gemm* gemm;
  const float* master;
  float* packed;
  int64_t out, in;
  int backward;
} pack_task;

static void pack_panels(void* context, int64_t first, int64_t last, int worker) {
  (void)worker;
  const pack_task* t = context;
  if (t->backward) {
    t->gemm->pack(t->master, t->in, 1, (int)t->out, (int)t->in, (int)first, (int)last, 0, (int)t->out, t->packed);
  } else {
    t->gemm->pack(t->master, 1, t->in, (int)t->in, (int)t->out, (int)first, (int)last, 0, (int)t->in, t->packed);
  }
}

static void pack_one(bw_device* device, const bw_weight* w, int backward) {
  cpu_device* cpu = (cpu_device*)device;
  pack_task task = {.gemm = cpu->gemm,
                    .master = floats(device, w->master),
                    .packed = floats(device, backward ? w->packed_backward : w->packed_forward),
                    .out = w->out,
                    .in = w->in,
                    .backward = backward};
  const int64_t panels = panels_of(cpu->gemm, backward ? w->in : w->out);
  if ((double)(w->out * w->in) * 8 < kSplitCost) {
    pack_panels(&task, 0, panels, 0);
  } else {
    bw_pool_run(cpu->pool, panels, pack_panels, &task);
  }
}

static void cpu_pack(bw_device* device, const bw_weight* w, int backward) {
  pack_one(device, w, 0);
  if (backward) pack_one(device, w, 1);
}

// C[rows][columns] = activation(A B + bias), split into row blocks x panels.
typedef struct multiply_task {
  const bw_gemm* gemm;
  const float* a;
  const float* packed;
  const float* bias;
  float* c;
  int64_t rows, contract, columns;
  int64_t row_block, panels;
  bw_activation activation;
} multiply_task;

// Tasks are numbered row block by row block; a worker's range is cut into whole runs of panels.
static void multiply_range(void* context, int64_t first, int64_t last, int worker) {
  (void)worker;
  const multiply_task* t = context;
  while (first < last) {
    const int64_t block = first / t->panels, panel = first % t->panels;
    const int64_t end = panel + (last - first) < t->panels ? panel + (last - first) : t->panels;
    const int64_t row = block * t->row_block;
    const int64_t rows = t->rows - row < t->row_block ? t->rows - row : t->row_block;
    t->gemm->multiply(t->a + row * t->contract, t->contract, t->packed, (int)rows, (int)t->contract, (int)t->columns,
                      (int)panel, (int)end, t->bias, t->activation, 0, t->c + row * t->columns, t->columns);
    first += end - panel;
  }
}

static void multiply(cpu_device* cpu, multiply_task* task) {
  task->gemm = cpu->gemm;
  task->panels = panels_of(cpu->gemm, task->columns);
  // Row blocks that keep a block of A in L1 / L2 beside a panel of B; results do not depend on the choice.
  task->row_block = cpu->gemm->whole ? task->rows : 64;
  const int64_t blocks = (task->rows + task->row_block - 1) / task->row_block;
  if (cpu->gemm->whole || 2.0 * (double)(task->rows * task->contract * task->columns) < 4 * kSplitCost) {
    multiply_range(task, 0, blocks * task->panels, 0);
  } else {
    bw_pool_run(cpu->pool, blocks * task->panels, multiply_range, task);
  }
}

static void cpu_linear_forward(bw_device* device, const bw_linear_forward_args* args) {
  const bw_weight* w = args->weight;
  multiply_task task = {.a = floats(device, args->x),
                        .packed = floats(device, w->packed_forward),
                        .bias = floats(device, args->bias),
                        .c = floats(device, args->y),
                        .rows = args->rows,
                        .contract = w->in,
                        .columns = w->out,
                        .activation = args->activation == BW_ACTIVATION_RELU ? BW_ACT_RELU : BW_ACT_NONE};
  multiply((cpu_device*)device, &task);
}

static void cpu_linear_backward(bw_device* device, const bw_linear_backward_args* args) {
  const bw_weight* w = args->weight;
  multiply_task task = {.a = floats(device, args->dy),
                        .packed = floats(device, w->packed_backward),
                        .c = floats(device, args->dx),
                        .rows = args->rows,
                        .contract = w->out,
                        .columns = w->in,
                        .activation = BW_ACT_NONE};
  multiply((cpu_device*)device, &task);
}

typedef struct gradient_task {
  const bw_gemm* gemm;
  const float* dy;
  const float* x;
  float* gradient;
  float* bias_gradient;
  int64_t rows, out, in;
} gradient_task;

// sum[width] = column sums of x[rows][width], row stride ldx; rows ascend.
static void sum_columns(const float* restrict x, int64_t ldx, int64_t rows, int64_t width, float* restrict sum) {
  enum { STRIP = 16 };
  for (int64_t base = 0; base < width; base += STRIP) {
    float sums[STRIP] = {0};
    const int64_t strip = width - base < STRIP ? width - base : STRIP;
    if (strip == STRIP) {
      for (int64_t i = 0; i < rows; ++i) {
        for (int j = 0; j < STRIP; ++j) sums[j] += x[i * ldx + base + j];
      }
    } else {
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < strip; ++j) sums[j] += x[i * ldx + base + j];
      }
    }
    memcpy(sum + base, sums, (size_t)strip * sizeof(float));
  }
}

static void gradient_range(void* context, int64_t first, int64_t last, int worker) {
  (void)worker;
  const gradient_task* t = context;
  const int64_t begin = first * t->gemm->row_tile;
  const int64_t end = last * t->gemm->row_tile < t->out ? last * t->gemm->row_tile : t->out;
  if (begin >= end) return;
  t->gemm->outer(t->dy, t->out, t->x, t->in, (int)t->rows, (int)begin, (int)end, (int)t->in, 0, t->gradient, t->in);
  sum_columns(t->dy + begin, t->out, t->rows, end - begin, t->bias_gradient + begin);
}

static void cpu_linear_gradient(bw_device* device, const bw_linear_gradient_args* args) {
  cpu_device* cpu = (cpu_device*)device;
  const bw_weight* w = args->weight;
  gradient_task task = {.gemm = cpu->gemm,
                        .dy = floats(device, args->dy),
                        .x = floats(device, args->x),
                        .gradient = floats(device, w->gradient),
                        .bias_gradient = floats(device, args->bias_gradient),
                        .rows = args->rows,
                        .out = w->out,
                        .in = w->in};
  const int64_t tiles = (w->out + cpu->gemm->row_tile - 1) / cpu->gemm->row_tile;
  if (cpu->gemm->whole || 2.0 * (double)(args->rows * w->out * w->in) < 4 * kSplitCost) {
    gradient_range(&task, 0, tiles, 0);
  } else {
    bw_pool_run(cpu->pool, tiles, gradient_range, &task);
  }
}

// ---- life ----

static void cpu_destroy(bw_device* device) {
  cpu_device* cpu = (cpu_device*)device;
  bw_pool_destroy(cpu->pool);
  bw_host_free_all(device);
  free(cpu);
}

static const bw_backend kCpuBackend = {
    .name = "cpu",
    .real_bytes = 4,
    BW_HOST_MEMORY,
    .launch = cpu_launch,
    .destroy = cpu_destroy,
    .packed_bytes = cpu_packed_bytes,
    .pack = cpu_pack,
    .linear_forward = cpu_linear_forward,
    .linear_backward = cpu_linear_backward,
    .linear_gradient = cpu_linear_gradient,
};

bw_status bw_cpu_device_create(bw_isa isa, bw_precision precision, int threads, bw_device** device, bw_error* error) {
  cpu_device* cpu = calloc(1, sizeof *cpu);
  if (!cpu) return bw_fail_memory(error, "device.create", "the CPU device", sizeof *cpu, 0);
  cpu->host.base.backend = &kCpuBackend;
  cpu->host.base.threads = threads;
  cpu->kernels = &bw_cpu_kernels_portable;
  cpu->gemm = bw_gemm_accelerate();
  if (!cpu->gemm) cpu->gemm = &bw_gemm_portable;
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
  const bw_status status = bw_pool_create(threads, &cpu->pool, error);
  if (status != BW_OK) {
    free(cpu);
    return status;
  }
  *device = &cpu->host.base;
  return BW_OK;
}

bw_pool* bw_cpu_device_pool(bw_device* device) { return ((cpu_device*)device)->pool; }
