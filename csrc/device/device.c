// What all backends share: names and costs of ops, profiling of launches, and the default composite ops.
#include "device.h"

#include <stdlib.h>
#include <string.h>

static const char* const kOpNames[BW_OP_COUNT] = {
#define OP(name, items, flops, bytes) #name,
#define GAME_OP(name, items, flops, bytes) #name,
#include "ops.def"
#undef OP
#undef GAME_OP
};

const char* bw_op_name(bw_op op) { return kOpNames[op]; }

// The formulas of ops.def mix counts and doubles on purpose.
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#endif
bw_cost bw_op_cost(bw_op op, const void* args, int real_bytes) {
  const double R = real_bytes;
  bw_cost cost = {0, 0, 0};
  switch (op) {
#define OP(name, items_, flops_, bytes_) \
  case BW_OP_##name: {                   \
    const bw_##name##_args* a = args;    \
    cost.items = (items_);               \
    cost.flops = (double)(flops_);       \
    cost.bytes = (double)(bytes_);       \
    (void)a;                             \
    break;                               \
  }
#define GAME_OP OP
#include "ops.def"
#undef OP
#undef GAME_OP
    case BW_OP_COUNT:
      break;
  }
  (void)R;
  return cost;
}

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

static void finish_span(bw_device* device, const char* name, uint64_t start, double flops, double bytes) {
  device->flops += flops;
  bw_prof_add(&device->prof, name, start, flops, bytes);
}

// ---- groups ----

static void run_group(bw_device* device) {
  const int count = device->step_count;
  if (count == 0) return;
  const uint64_t start = bw_now_ns();
  device->backend->run_group(device, device->group, device->group_rows, device->steps, count);
  const uint64_t end = bw_now_ns();
  uint64_t busy = 0;
  for (int i = 0; i < count; ++i) {
    const bw_step* step = &device->steps[i];
    device->flops += step->cost.flops;
    bw_prof_add_amount(&device->prof, step->name, step->ns, 1, step->cost.flops, step->cost.bytes);
    busy += step->ns;
  }
  // What the calling thread did not spend on a step: waking the others and waiting for them.
  bw_prof_add_amount(&device->prof, "barrier", end - start > busy ? end - start - busy : 0, 1, 0, 0);
  device->step_count = 0;
}

// A place for the next step of the open group, or NULL where launches are not put off.
static bw_step* put_off(bw_device* device, int op, const char* name, bw_cost cost) {
  if (device->group == BW_GROUP_NONE) return NULL;
  if (device->step_count == BW_MAX_STEPS) run_group(device);
  bw_step* step = &device->steps[device->step_count++];
  step->op = op;
  step->name = name;
  step->cost = cost;
  step->ns = 0;
  return step;
}

void bw_group_begin(bw_device* device, bw_group group, int64_t rows) {
  if (!device->backend->run_group) return;
  device->group = group;
  device->group_rows = rows;
}

void bw_group_end(bw_device* device) {
  if (device->group == BW_GROUP_NONE) return;
  run_group(device);
  device->group = BW_GROUP_NONE;
}

static const size_t kArgsBytes[BW_OP_COUNT] = {
#define OP(name, items, flops, bytes) sizeof(bw_##name##_args),
#define GAME_OP OP
#include "ops.def"
#undef OP
#undef GAME_OP
};

void bw_device_launch(bw_device* device, bw_op op, const void* args) {
  const bw_cost cost = bw_op_cost(op, args, device->backend->real_bytes);
  if (cost.items <= 0) return;
  bw_step* step = put_off(device, (int)op, kOpNames[op], cost);
  if (step) {
    memcpy(&step->args, args, kArgsBytes[op]);
    return;
  }
  const uint64_t start = bw_now_ns();
  device->backend->launch(device, op, args, cost);
  finish_span(device, kOpNames[op], start, cost.flops, cost.bytes);
}

bw_status bw_device_sync(bw_device* device, bw_error* error) { return device->backend->sync(device, error); }

void bw_device_destroy(bw_device* device) {
  if (!device) return;
  bw_prof_timeline_stop(&device->prof);
  device->backend->destroy(device);
}

// ---- composite ops ----

size_t bw_packed_bytes(bw_device* device, int64_t out, int64_t in, int backward) {
  return device->backend->packed_bytes ? device->backend->packed_bytes(device, out, in, backward) : 0;
}

void bw_weight_pack(bw_device* device, const bw_weight* weight, int backward) {
  if (!device->backend->pack) return;
  const uint64_t start = bw_now_ns();
  device->backend->pack(device, weight, backward);
  const double bytes = 8.0 * (double)(weight->out * weight->in) * (backward ? 2 : 1);
  finish_span(device, "weight_pack", start, 0, bytes);
}

static double linear_flops(const bw_weight* w, int64_t rows) {
  return 2.0 * (double)w->out * (double)w->in * (double)rows;
}

static double linear_bytes(const bw_device* device, const bw_weight* w, int64_t rows) {
  return device->backend->real_bytes * ((double)rows * (double)(w->in + w->out) + (double)w->in * (double)w->out);
}

static void default_linear_forward(bw_device* device, const bw_linear_forward_args* a) {
  const bw_weight* w = a->weight;
  BW_LAUNCH(device, matmul, .a = a->x, .b = w->master, .c = a->y, .rows = a->rows, .columns = w->out, .contract = w->in,
            .a_row = w->in, .a_contract = 1, .b_contract = 1, .b_column = w->in);
  BW_LAUNCH(device, bias_activation, .bias = a->bias, .y = a->y, .rows = a->rows, .columns = w->out,
            .activation = a->activation);
}

static void default_linear_backward(bw_device* device, const bw_linear_backward_args* a) {
  const bw_weight* w = a->weight;
  BW_LAUNCH(device, matmul, .a = a->dy, .b = w->master, .c = a->dx, .rows = a->rows, .columns = w->in,
            .contract = w->out, .a_row = w->out, .a_contract = 1, .b_contract = w->in, .b_column = 1);
  if (a->activation == BW_ACTIVATION_RELU) {
    BW_LAUNCH(device, relu_backward, .y = a->x, .dy = a->dx, .n = a->rows * w->in);
  }
}

static void default_linear_gradient(bw_device* device, const bw_linear_gradient_args* a) {
  const bw_weight* w = a->weight;
  BW_LAUNCH(device, matmul, .a = a->dy, .b = a->x, .c = w->gradient, .rows = w->out, .columns = w->in,
            .contract = a->rows, .a_row = 1, .a_contract = w->out, .b_contract = w->in, .b_column = 1);
  BW_LAUNCH(device, column_sum, .x = a->dy, .sum = a->bias_gradient, .rows = a->rows, .columns = w->out);
}

static void default_linear_update(bw_device* device, const bw_linear_update_args* a) {
  bw_device_launch(device, BW_OP_adamw, &a->adamw);
  bw_weight_pack(device, a->weight, 1);
}

// The default lists launch single ops, which make their own spans; only an override is one span.
#define COMPOSITE(device, composite, field, flops_, bytes_)                                                          \
  do {                                                                                                               \
    if (!(device)->backend->field) {                                                                                 \
      default_##field(device, args);                                                                                 \
      break;                                                                                                         \
    }                                                                                                                \
    bw_step* step = put_off(device, composite, #field, (bw_cost){.items = 1, .flops = (flops_), .bytes = (bytes_)}); \
    if (step) {                                                                                                      \
      step->args.field = *args;                                                                                      \
    } else {                                                                                                         \
      const uint64_t start = bw_now_ns();                                                                            \
      (device)->backend->field(device, args);                                                                        \
      finish_span(device, #field, start, flops_, bytes_);                                                            \
    }                                                                                                                \
  } while (0)

void bw_linear_forward(bw_device* device, const bw_linear_forward_args* args) {
  if (args->rows <= 0) return;
  COMPOSITE(device, BW_LINEAR_FORWARD, linear_forward, linear_flops(args->weight, args->rows),
            linear_bytes(device, args->weight, args->rows));
}

void bw_linear_backward(bw_device* device, const bw_linear_backward_args* args) {
  if (args->rows <= 0) return;
  const double gated = args->activation == BW_ACTIVATION_RELU ? (double)args->rows * (double)args->weight->in : 0;
  COMPOSITE(device, BW_LINEAR_BACKWARD, linear_backward, linear_flops(args->weight, args->rows) + gated,
            linear_bytes(device, args->weight, args->rows) + device->backend->real_bytes * gated);
}

void bw_linear_gradient(bw_device* device, const bw_linear_gradient_args* args) {
  if (args->rows <= 0) return;
  COMPOSITE(device, BW_LINEAR_GRADIENT, linear_gradient, linear_flops(args->weight, args->rows),
            linear_bytes(device, args->weight, args->rows));
}

void bw_linear_update(bw_device* device, const bw_linear_update_args* args) {
  const bw_cost cost = bw_op_cost(BW_OP_adamw, &args->adamw, device->backend->real_bytes);
  // Two packed copies are written besides.
  COMPOSITE(device, BW_LINEAR_UPDATE, linear_update, cost.flops, cost.bytes + 8.0 * (double)args->adamw.n);
}

// ---- conversions ----

bw_status bw_upload_real(bw_device* device, bw_ref to, const float* from, int64_t count, bw_error* error) {
  if (device->backend->real_bytes == (int)sizeof(float)) {
    device->backend->upload(device, to, from, (size_t)count * sizeof(float));
    return BW_OK;
  }
  double* wide = malloc((size_t)count * sizeof(double) + 1);
  if (!wide) return bw_fail_memory(error, "device.upload", "a conversion buffer", (uint64_t)count * sizeof(double), 0);
  for (int64_t i = 0; i < count; ++i) wide[i] = from[i];
  device->backend->upload(device, to, wide, (size_t)count * sizeof(double));
  free(wide);
  return BW_OK;
}

bw_status bw_download_real(bw_device* device, float* to, bw_ref from, int64_t count, bw_error* error) {
  if (device->backend->real_bytes == (int)sizeof(float)) {
    device->backend->download(device, to, from, (size_t)count * sizeof(float));
    return BW_OK;
  }
  double* wide = malloc((size_t)count * sizeof(double) + 1);
  if (!wide)
    return bw_fail_memory(error, "device.download", "a conversion buffer", (uint64_t)count * sizeof(double), 0);
  device->backend->download(device, wide, from, (size_t)count * sizeof(double));
  for (int64_t i = 0; i < count; ++i) to[i] = (float)wide[i];
  free(wide);
  return BW_OK;
}
