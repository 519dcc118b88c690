// Composite ops of linear layers on the CPU: matrix products by the tuned micro-kernels of kernels/tuned with weights
// packed once an update.
#include "cpu_device.h"

static int64_t panels_of(const bw_gemm* gemm, int64_t columns) { return (columns + gemm->panel - 1) / gemm->panel; }

// forward: B[in][out] = W^T, contracting in. backward: B[out][in] = W, contracting out.
size_t bw_cpu_packed_bytes(bw_device* device, int64_t out, int64_t in, int backward) {
  const bw_gemm* gemm = ((bw_cpu_device*)device)->gemm;
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
  bw_cpu_device* cpu = (bw_cpu_device*)device;
  pack_task task = {.gemm = cpu->gemm,
                    .master = bw_cpu_floats(cpu, w->master),
                    .packed = bw_cpu_floats(cpu, backward ? w->packed_backward : w->packed_forward),
                    .out = w->out,
                    .in = w->in,
                    .backward = backward};
  const int64_t panels = panels_of(cpu->gemm, backward ? w->in : w->out);
  if ((double)(w->out * w->in) * 8 < BW_CPU_SPLIT_COST) {
    pack_panels(&task, 0, panels, 0);
  } else {
    bw_pool_run(cpu->pool, panels, pack_panels, &task);
  }
}

void bw_cpu_pack(bw_device* device, const bw_weight* w, int backward) {
  pack_one(device, w, 0);
  if (backward) pack_one(device, w, 1);
}

// ---- products with packed weights ----

// C[rows][columns] = activation(A B + bias), 0 where gate[rows][columns] is not above 0
typedef struct product {
  const float* a;
  const float* packed;
  const float* bias;  // or NULL
  const float* gate;  // or NULL
  float* c;
  int64_t rows, contract, columns;
  bw_activation activation;
} product;

static product forward_product(bw_cpu_device* cpu, const bw_linear_forward_args* args) {
  const bw_weight* w = args->weight;
  return (product){.a = bw_cpu_floats(cpu, args->x),
                   .packed = bw_cpu_floats(cpu, w->packed_forward),
                   .bias = bw_cpu_floats(cpu, args->bias),
                   .c = bw_cpu_floats(cpu, args->y),
                   .rows = args->rows,
                   .contract = w->in,
                   .columns = w->out,
                   .activation = args->activation == BW_ACTIVATION_RELU ? BW_ACT_RELU : BW_ACT_NONE};
}

static product backward_product(bw_cpu_device* cpu, const bw_linear_backward_args* args) {
  const bw_weight* w = args->weight;
  return (product){.a = bw_cpu_floats(cpu, args->dy),
                   .packed = bw_cpu_floats(cpu, w->packed_backward),
                   .c = bw_cpu_floats(cpu, args->dx),
                   .rows = args->rows,
                   .contract = w->out,
                   .columns = w->in,
                   .activation = BW_ACT_NONE,
                   .gate = args->activation == BW_ACTIVATION_RELU ? bw_cpu_floats(cpu, args->x) : NULL};
}

static void multiply(const bw_gemm* gemm, const product* p, int64_t first_row, int64_t last_row, int64_t first_panel,
                     int64_t last_panel) {
  gemm->multiply(p->a + first_row * p->contract, p->contract, p->packed, (int)(last_row - first_row), (int)p->contract,
                 (int)p->columns, (int)first_panel, (int)last_panel, p->bias, p->activation,
                 p->gate ? p->gate + first_row * p->columns : NULL, p->c + first_row * p->columns, p->columns);
}

void bw_cpu_forward_rows(bw_cpu_device* cpu, const bw_linear_forward_args* args, int64_t first, int64_t last) {
  const product p = forward_product(cpu, args);
  multiply(cpu->gemm, &p, first, last, 0, panels_of(cpu->gemm, p.columns));
}

void bw_cpu_backward_rows(bw_cpu_device* cpu, const bw_linear_backward_args* args, int64_t first, int64_t last) {
  const product p = backward_product(cpu, args);
  multiply(cpu->gemm, &p, first, last, 0, panels_of(cpu->gemm, p.columns));
}

void bw_cpu_forward_panels(bw_cpu_device* cpu, const bw_linear_forward_args* args, int64_t first, int64_t last) {
  const product p = forward_product(cpu, args);
  multiply(cpu->gemm, &p, 0, p.rows, first, last);
}

void bw_cpu_backward_panels(bw_cpu_device* cpu, const bw_linear_backward_args* args, int64_t first, int64_t last) {
  const product p = backward_product(cpu, args);
  multiply(cpu->gemm, &p, 0, p.rows, first, last);
}

// A product on its own is split into row blocks x panels.
typedef struct product_task {
  const bw_gemm* gemm;
  const product* product;
  int64_t row_block, panels;
} product_task;

// Tasks are numbered row block by row block; a worker's range is cut into whole runs of panels.
static void multiply_range(void* context, int64_t first, int64_t last, int worker) {
  (void)worker;
  const product_task* t = context;
  while (first < last) {
    const int64_t block = first / t->panels, panel = first % t->panels;
    const int64_t end = panel + (last - first) < t->panels ? panel + (last - first) : t->panels;
    const int64_t row = block * t->row_block;
    const int64_t row_end = t->product->rows - row < t->row_block ? t->product->rows : row + t->row_block;
    multiply(t->gemm, t->product, row, row_end, panel, end);
    first += end - panel;
  }
}

static void run_product(bw_cpu_device* cpu, const product* p) {
  // Row blocks that keep a block of A in L1 / L2 beside a panel of B; results do not depend on the choice.
  const product_task task = {.gemm = cpu->gemm,
                             .product = p,
                             .row_block = cpu->gemm->whole ? p->rows : 64,
                             .panels = panels_of(cpu->gemm, p->columns)};
  const int64_t blocks = (p->rows + task.row_block - 1) / task.row_block;
  if (cpu->gemm->whole || 2.0 * (double)(p->rows * p->contract * p->columns) < 4 * BW_CPU_SPLIT_COST) {
    multiply_range((void*)&task, 0, blocks * task.panels, 0);
  } else {
    bw_pool_run(cpu->pool, blocks * task.panels, multiply_range, (void*)&task);
  }
}

void bw_cpu_linear_forward(bw_device* device, const bw_linear_forward_args* args) {
  bw_cpu_device* cpu = (bw_cpu_device*)device;
  const product p = forward_product(cpu, args);
  run_product(cpu, &p);
}

void bw_cpu_linear_backward(bw_device* device, const bw_linear_backward_args* args) {
  bw_cpu_device* cpu = (bw_cpu_device*)device;
  const product p = backward_product(cpu, args);
  run_product(cpu, &p);
}

// ---- gradients ----

int64_t bw_cpu_gradient_tiles(const bw_cpu_device* cpu, const bw_linear_gradient_args* args) {
  return (args->weight->out + cpu->gemm->row_tile - 1) / cpu->gemm->row_tile;
}

void bw_cpu_run_gradient(bw_cpu_device* cpu, const bw_linear_gradient_args* args, int64_t first, int64_t last) {
  const bw_weight* w = args->weight;
  const int64_t begin = first * cpu->gemm->row_tile;
  const int64_t end = last * cpu->gemm->row_tile < w->out ? last * cpu->gemm->row_tile : w->out;
  if (begin >= end) return;
  const float* dy = bw_cpu_floats(cpu, args->dy);
  cpu->gemm->outer(dy, w->out, bw_cpu_floats(cpu, args->x), w->in, (int)args->rows, (int)begin, (int)end, (int)w->in, 0,
                   bw_cpu_floats(cpu, w->gradient), w->in);
  const bw_column_sum_args sum = {.x = args->dy, .sum = args->bias_gradient, .rows = args->rows, .columns = w->out};
  bw_cpu_run_items(cpu, BW_OP_column_sum, &sum, begin, end);
}

typedef struct gradient_task {
  bw_cpu_device* cpu;
  const bw_linear_gradient_args* args;
} gradient_task;

static void gradient_range(void* context, int64_t first, int64_t last, int worker) {
  (void)worker;
  const gradient_task* t = context;
  bw_cpu_run_gradient(t->cpu, t->args, first, last);
}

void bw_cpu_linear_gradient(bw_device* device, const bw_linear_gradient_args* args) {
  bw_cpu_device* cpu = (bw_cpu_device*)device;
  const bw_weight* w = args->weight;
  gradient_task task = {.cpu = cpu, .args = args};
  const int64_t tiles = bw_cpu_gradient_tiles(cpu, args);
  if (cpu->gemm->whole || 2.0 * (double)(args->rows * w->out * w->in) < 4 * BW_CPU_SPLIT_COST) {
    gradient_range(&task, 0, tiles, 0);
  } else {
    bw_pool_run(cpu->pool, tiles, gradient_range, &task);
  }
}

// ---- the optimiser's step and the packed copies that it makes stale ----

// Rows of the weight that are stepped and packed together, while they are in cache. A multiple of every panel's width
// and even, so that they are whole panels of the forward form and whole pairs of the backward form.
//
// On two threads of a Zen 4 (256 x 256, 30 us) packing takes 18 of it, three times its time alone: each core's copies
// were read by the other. Tried against that, without effect: owning the lines ahead (prefetchw) while stepping or
// while the gradients are made; stepping and packing two rows in turn; huge pages.
enum { UPDATE_ROWS = 32 };

int64_t bw_cpu_update_groups(const bw_cpu_device* cpu, const bw_linear_update_args* args) {
  (void)cpu;
  return (args->weight->out + UPDATE_ROWS - 1) / UPDATE_ROWS;
}

void bw_cpu_run_update(bw_cpu_device* cpu, const bw_linear_update_args* args, int64_t first, int64_t last) {
  const bw_weight* w = args->weight;
  const bw_gemm* gemm = cpu->gemm;
  const float* master = bw_cpu_floats(cpu, w->master);
  for (int64_t group = first; group < last; ++group) {
    const int64_t row = group * UPDATE_ROWS;
    const int64_t end = w->out - row < UPDATE_ROWS ? w->out : row + UPDATE_ROWS;
    bw_cpu_run_items(cpu, BW_OP_adamw, &args->adamw, row * w->in, end * w->in);
    gemm->pack(master, 1, w->in, (int)w->in, (int)w->out, (int)(row / gemm->panel), (int)panels_of(gemm, end), 0,
               (int)w->in, bw_cpu_floats(cpu, w->packed_forward));
    gemm->pack(master, w->in, 1, (int)w->out, (int)w->in, 0, (int)panels_of(gemm, w->in), (int)row, (int)end,
               bw_cpu_floats(cpu, w->packed_backward));
  }
}

typedef struct update_task {
  bw_cpu_device* cpu;
  const bw_linear_update_args* args;
} update_task;

static void update_range(void* context, int64_t first, int64_t last, int worker) {
  (void)worker;
  const update_task* t = context;
  bw_cpu_run_update(t->cpu, t->args, first, last);
}

void bw_cpu_linear_update(bw_device* device, const bw_linear_update_args* args) {
  bw_cpu_device* cpu = (bw_cpu_device*)device;
  update_task task = {.cpu = cpu, .args = args};
  bw_pool_run(cpu->pool, bw_cpu_update_groups(cpu, args), update_range, &task);
}
