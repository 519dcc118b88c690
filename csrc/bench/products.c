// Matrix products of a layer with 256 inputs and outputs, through the device contract, as training asks for them.
#include <stdlib.h>

#include "case.h"

enum { WIDTH = 256 };

typedef struct work {
  bw_device* device;
  int product;
  int64_t rows;
  bw_weight weight;
  bw_ref bias, bias_gradient, x, y, dy, dx;
} work;

static bw_status make(work* w, const bw_bench_request* request, bw_error* error) {
  BW_TRY(bw_bench_device(request, &w->device, error));
  bw_device* device = w->device;
  const int64_t n = w->rows * WIDTH;
  w->weight.out = w->weight.in = WIDTH;
  BW_TRY(bw_bench_reals(device, WIDTH * WIDTH, -0.0625f, 0.0625f, &w->weight.master, error));
  BW_TRY(bw_bench_bytes(device, WIDTH * WIDTH * sizeof(float), &w->weight.gradient, error));
  BW_TRY(bw_bench_bytes(device, bw_packed_bytes(device, WIDTH, WIDTH, 0), &w->weight.packed_forward, error));
  BW_TRY(bw_bench_bytes(device, bw_packed_bytes(device, WIDTH, WIDTH, 1), &w->weight.packed_backward, error));
  BW_TRY(bw_bench_reals(device, WIDTH, -0.0625f, 0.0625f, &w->bias, error));
  BW_TRY(bw_bench_bytes(device, WIDTH * sizeof(float), &w->bias_gradient, error));
  BW_TRY(bw_bench_reals(device, n, -1, 1, &w->x, error));
  BW_TRY(bw_bench_bytes(device, (size_t)n * sizeof(float), &w->y, error));
  BW_TRY(bw_bench_reals(device, n, -1, 1, &w->dy, error));
  BW_TRY(bw_bench_bytes(device, (size_t)n * sizeof(float), &w->dx, error));
  bw_weight_pack(device, &w->weight, 1);
  return bw_device_sync(device, error);
}

static bw_status open_product(const bw_bench_entry* entry, const bw_bench_request* request, void** out,
                              double* footprint, bw_error* error) {
  work* w = calloc(1, sizeof *w);
  *out = w;
  if (!w) return bw_fail_memory(error, "bench", "the case", sizeof *w, 0);
  w->product = entry->product;
  w->rows = entry->size;
  *footprint = 0;  // the operations are the roof
  return make(w, request, error);
}

static void forward(work* w) {
  bw_linear_forward(w->device, &(bw_linear_forward_args){.weight = &w->weight,
                                                         .bias = w->bias,
                                                         .x = w->x,
                                                         .y = w->y,
                                                         .rows = w->rows,
                                                         .activation = BW_ACTIVATION_RELU});
}

static void backward(work* w) {
  bw_linear_backward(w->device,
                     &(bw_linear_backward_args){.weight = &w->weight, .dy = w->dy, .dx = w->dx, .rows = w->rows});
}

static void gradient(work* w) {
  bw_linear_gradient(
      w->device, &(bw_linear_gradient_args){
                     .weight = &w->weight, .bias_gradient = w->bias_gradient, .x = w->x, .dy = w->dy, .rows = w->rows});
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
      bw_weight_pack(w->device, &w->weight, 0);
      forward(w);
      break;
    default:
      bw_weight_pack(w->device, &w->weight, 1);
      forward(w);
      backward(w);
      gradient(w);
  }
}

static bw_status sample_product(void* context, int64_t calls, bw_bench_sample* sample, bw_error* error) {
  work* w = context;
  const uint64_t start = bw_now_ns();
  for (int64_t i = 0; i < calls; ++i) call(w);
  BW_TRY(bw_device_sync(w->device, error));
  sample->seconds = (double)(bw_now_ns() - start) * 1e-9 / (double)calls;
  sample->value = sample->seconds * 1e6;
  sample->work.flops = 2.0 * (double)w->rows * WIDTH * WIDTH * (w->product == BW_BENCH_LAYER ? 3 : 1);
  return BW_OK;
}

static void close_product(void* context) {
  work* w = context;
  if (w) bw_device_destroy(w->device);
  free(w);
}

const bw_bench_family bw_bench_products = {.open = open_product, .sample = sample_product, .close = close_product};
