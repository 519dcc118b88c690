// Matrix products of layers with 256 inputs and outputs, through the device contract. A product is of one layer, the
// same again and again, as their peers do it. A layer's share of an optimiser step is of three at once, as training has
// them, each with a weight of its own; its figures are for one.
#include <stdlib.h>

#include "case.h"

enum { WIDTH = 256, MOST_LAYERS = 3 };

typedef struct work {
  bw_device* device;
  int product, layers;
  int64_t rows;
  bw_weight weights[MOST_LAYERS];
  bw_ref bias[MOST_LAYERS], bias_gradient[MOST_LAYERS];
  bw_ref first[MOST_LAYERS], second[MOST_LAYERS];  // moments
  bw_ref norm;                                     // gradient norm and clipping factor
  bw_ref x[MOST_LAYERS + 1],
      dx[MOST_LAYERS + 1];  // [rows][WIDTH]; layer l makes x[l + 1] of x[l], and dx[l] of dx[l + 1]
} work;

static bw_status make_layer(work* w, int layer, bw_error* error) {
  bw_device* device = w->device;
  bw_weight* weight = &w->weights[layer];
  const int64_t size = WIDTH * WIDTH;
  weight->out = weight->in = WIDTH;
  BW_TRY(bw_bench_reals(device, size, -0.1f, 0.1f, &weight->master, error));
  BW_TRY(bw_bench_reals(device, size, -1, 1, &weight->gradient, error));
  BW_TRY(bw_bench_bytes(device, bw_packed_bytes(device, WIDTH, WIDTH, 0), &weight->packed_forward, error));
  BW_TRY(bw_bench_bytes(device, bw_packed_bytes(device, WIDTH, WIDTH, 1), &weight->packed_backward, error));
  if (w->product == BW_BENCH_UPDATE) {
    BW_TRY(bw_bench_reals(device, size, -1, 1, &w->first[layer], error));
    return bw_bench_reals(device, size, 0, 1, &w->second[layer], error);
  }
  BW_TRY(bw_bench_reals(device, WIDTH, -0.1f, 0.1f, &w->bias[layer], error));
  return bw_bench_bytes(device, WIDTH * sizeof(float), &w->bias_gradient[layer], error);
}

static bw_status make(work* w, const bw_bench_request* request, bw_error* error) {
  BW_TRY(bw_bench_device(request, &w->device, error));
  for (int layer = 0; layer < w->layers; ++layer) BW_TRY(make_layer(w, layer, error));
  for (int layer = 0; layer < w->layers; ++layer) bw_weight_pack(w->device, &w->weights[layer], 1);
  if (w->product == BW_BENCH_UPDATE) return bw_bench_reals(w->device, 2, 1, 1, &w->norm, error);
  // BW_MAX_BUFFERS is the limit: one buffer for all activations, another for their gradients.
  const uint64_t bytes = (uint64_t)w->rows * WIDTH * sizeof(float);
  bw_ref x, dx;
  BW_TRY(bw_bench_reals(w->device, w->rows * WIDTH * (w->layers + 1), -1, 1, &x, error));
  BW_TRY(bw_bench_reals(w->device, w->rows * WIDTH * (w->layers + 1), -1, 1, &dx, error));
  for (int layer = 0; layer <= w->layers; ++layer) {
    w->x[layer] = bw_ref_at(x, (uint64_t)layer * bytes);
    w->dx[layer] = bw_ref_at(dx, (uint64_t)layer * bytes);
  }
  return bw_device_sync(w->device, error);
}

static bw_status open_product(const bw_bench_entry* entry, const bw_bench_request* request, void** out,
                              double* footprint, bw_error* error) {
  work* w = calloc(1, sizeof *w);
  *out = w;
  if (!w) return bw_fail_memory(error, "bench", "the case", sizeof *w, 0);
  w->product = entry->product;
  w->layers = w->product == BW_BENCH_LAYER || w->product == BW_BENCH_UPDATE ? MOST_LAYERS : 1;
  w->rows = entry->size;
  // Of products the operations are the roof. An update goes over weight, gradient, moments and two packed copies.
  *footprint = w->product == BW_BENCH_UPDATE ? (double)(6 * sizeof(float) * MOST_LAYERS * WIDTH * WIDTH) : 0;
  return make(w, request, error);
}

static void pack(work* w, int backward) {
  for (int layer = 0; layer < w->layers; ++layer) bw_weight_pack(w->device, &w->weights[layer], backward);
}

static void forward(work* w) {
  bw_group_begin(w->device, BW_GROUP_ROWS, w->rows);
  for (int layer = 0; layer < w->layers; ++layer) {
    bw_linear_forward(w->device, &(bw_linear_forward_args){.weight = &w->weights[layer],
                                                           .bias = w->bias[layer],
                                                           .x = w->x[layer],
                                                           .y = w->x[layer + 1],
                                                           .rows = w->rows,
                                                           .activation = BW_ACTIVATION_RELU});
  }
  bw_group_end(w->device);
}

static void backward(work* w) {
  bw_group_begin(w->device, BW_GROUP_ROWS, w->rows);
  for (int layer = w->layers - 1; layer >= 0; --layer) {
    bw_linear_backward(w->device,
                       &(bw_linear_backward_args){
                           .weight = &w->weights[layer], .dy = w->dx[layer + 1], .dx = w->dx[layer], .rows = w->rows});
  }
  bw_group_end(w->device);
}

static void gradient(work* w) {
  bw_group_begin(w->device, BW_GROUP_INDEPENDENT, 0);
  for (int layer = 0; layer < w->layers; ++layer) {
    bw_linear_gradient(w->device, &(bw_linear_gradient_args){.weight = &w->weights[layer],
                                                             .bias_gradient = w->bias_gradient[layer],
                                                             .x = w->x[layer],
                                                             .dy = w->dx[layer + 1],
                                                             .rows = w->rows});
  }
  bw_group_end(w->device);
}

// A step too small to lead the weights anywhere, however often it is taken.
static bw_linear_update_args update_args(const work* w, int layer) {
  const bw_weight* weight = &w->weights[layer];
  return (bw_linear_update_args){.weight = weight,
                                 .adamw = {.weights = weight->master,
                                           .gradients = weight->gradient,
                                           .first = w->first[layer],
                                           .second = w->second[layer],
                                           .norm = w->norm,
                                           .n = WIDTH * WIDTH,
                                           .lr = 1e-12,
                                           .step_size = 1e-12,
                                           .beta1 = 0.9,
                                           .beta2 = 0.999,
                                           .second_scale = 1,
                                           .epsilon = 1e-8}};
}

static void update(work* w) {
  bw_group_begin(w->device, BW_GROUP_INDEPENDENT, 0);
  for (int layer = 0; layer < w->layers; ++layer) {
    const bw_linear_update_args args = update_args(w, layer);
    bw_linear_update(w->device, &args);
  }
  bw_group_end(w->device);
}

static void call(work* w) {
  switch (w->product) {
    case BW_BENCH_FORWARD:
      forward(w);
      break;
    case BW_BENCH_BACKWARD:
      backward(w);
      break;
    case BW_BENCH_GRADIENT:
      gradient(w);
      break;
    case BW_BENCH_PACK_FORWARD:
      pack(w, 0);
      forward(w);
      break;
    case BW_BENCH_LAYER:
      pack(w, 1);
      forward(w);
      backward(w);
      gradient(w);
      break;
    default:
      update(w);
  }
}

static bw_bench_work work_of(const work* w) {
  if (w->product == BW_BENCH_UPDATE) {
    const bw_linear_update_args args = update_args(w, 0);
    const bw_cost cost = bw_op_cost(BW_OP_adamw, &args.adamw, w->device->backend->real_bytes);
    return (bw_bench_work){.flops = cost.flops, .bytes = cost.bytes + (double)(8 * WIDTH * WIDTH)};
  }
  const int64_t flops = 2 * w->rows * WIDTH * WIDTH * (w->product == BW_BENCH_LAYER ? 3 : 1);
  return (bw_bench_work){.flops = (double)flops};
}

static bw_status sample_product(void* context, int64_t calls, bw_bench_sample* sample, bw_error* error) {
  work* w = context;
  const uint64_t start = bw_now_ns();
  for (int64_t i = 0; i < calls; ++i) call(w);
  BW_TRY(bw_device_sync(w->device, error));
  sample->seconds = (double)(bw_now_ns() - start) * 1e-9 / (double)(calls * w->layers);
  sample->value = sample->seconds * 1e6;
  sample->work = work_of(w);
  return BW_OK;
}

static void close_product(void* context) {
  work* w = context;
  if (w) bw_device_destroy(w->device);
  free(w);
}

const bw_bench_family bw_bench_products = {.open = open_product, .sample = sample_product, .close = close_product};
