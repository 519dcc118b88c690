// The device contract: everything that nets and training ask of a backend, and the guide for porting one.
//
// A backend provides memory, single ops (ops.def) and, where it can do better than their default lists of single
// ops, composite ops. Calls are asynchronous and ordered; a failure sticks to the device and is reported by
// bw_device_sync and bw_device_download. There are no globals: any number of devices may live in one process.
//
// To port: write backends/NAME.* with a bw_backend table and a factory, a dialect (dialect.h), instantiate all
// kernels with backends/instantiate.h, add one line to backends/backends.h. test/c/test_parity.c then compares every
// op with the float64 reference, and test_train.c trains with it.
#ifndef BW_DEVICE_DEVICE_H
#define BW_DEVICE_DEVICE_H

#include <stddef.h>

#include "../core/prof.h"
#include "../core/status.h"
#include "ops.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { BW_MAX_BUFFERS = 32, BW_MAX_STEPS = 64 };

typedef enum bw_op {
#define OP(name, items, flops, bytes) BW_OP_##name,
#define GAME_OP(name, items, flops, bytes) BW_OP_##name,
#include "ops.def"
#undef OP
#undef GAME_OP
  BW_OP_COUNT
} bw_op;

// What an op's launch costs, from its line in ops.def.
typedef struct bw_cost {
  int64_t items;
  double flops, bytes;
} bw_cost;

typedef struct bw_device bw_device;

// A weight matrix [out][in], row-major, as fp32 master and gradient, with packed copies that the backend owns the
// meaning of: they are made stale by whoever changes the master and renewed by bw_weight_pack.
typedef struct bw_weight {
  bw_ref master, gradient;
  bw_ref packed_forward, packed_backward;  // unused where bw_packed_bytes is 0
  int64_t out, in;
} bw_weight;

// y[rows][out] = activation(x[rows][in] W^T + bias[out])
typedef struct bw_linear_forward_args {
  const bw_weight* weight;
  bw_ref bias, x, y;
  int64_t rows;
  int activation;
} bw_linear_forward_args;

// dx[rows][in] = dy[rows][out] W; where x[rows][in], the layer's input, was made by ReLU, the gradient of what ReLU was
// given: 0 where x is not above 0
typedef struct bw_linear_backward_args {
  const bw_weight* weight;
  bw_ref dy, dx, x;  // x: read if activation is not BW_ACTIVATION_NONE
  int64_t rows;
  int activation;  // that made x
} bw_linear_backward_args;

// weight->gradient = dy^T x; bias_gradient[out] = column sums of dy
typedef struct bw_linear_gradient_args {
  const bw_weight* weight;
  bw_ref bias_gradient, x, dy;
  int64_t rows;
} bw_linear_gradient_args;

// AdamW on a weight and the renewal of its packed copies. adamw: the op's arguments over all out * in elements.
typedef struct bw_linear_update_args {
  const bw_weight* weight;
  bw_adamw_args adamw;
} bw_linear_update_args;

// ---- groups ----

// Launches between bw_group_begin and bw_group_end may be put off and run together. Their results are those of
// launching them one by one, bit for bit.
typedef enum bw_group {
  BW_GROUP_NONE,
  // Every launch works on the same rows, and a row reads of what the group writes nothing but its own row. So a block
  // of rows can go through all launches on its own: no barrier between them, and it stays in cache.
  BW_GROUP_ROWS,
  // No launch reads or writes what another one writes: no barrier between them either.
  BW_GROUP_INDEPENDENT,
} bw_group;

// A launch that was put off: a single op, or a composite op (numbered on from BW_OP_COUNT).
enum { BW_LINEAR_FORWARD = BW_OP_COUNT, BW_LINEAR_BACKWARD, BW_LINEAR_GRADIENT, BW_LINEAR_UPDATE };

typedef struct bw_step {
  int op;
  const char* name;
  bw_cost cost;  // items of composite ops are the backend's choice
  uint64_t ns;   // run_group adds the time that the calling thread spent on it
  union {
#define OP(name, items, flops, bytes) bw_##name##_args name;
#define GAME_OP OP
#include "ops.def"
#undef OP
#undef GAME_OP
    bw_linear_forward_args linear_forward;
    bw_linear_backward_args linear_backward;
    bw_linear_gradient_args linear_gradient;
    bw_linear_update_args linear_update;
  } args;
} bw_step;

typedef struct bw_backend {
  const char* name;
  int real_bytes;  // 4, or 8 for the float64 reference of the tests

  bw_status (*alloc)(bw_device* device, size_t bytes, uint32_t* buffer, bw_error* error);  // zeroed, 64-byte aligned
  void (*release)(bw_device* device, uint32_t buffer);
  void (*upload)(bw_device* device, bw_ref to, const void* from, size_t bytes);
  void (*download)(bw_device* device, void* to, bw_ref from, size_t bytes);  // waits
  void (*copy)(bw_device* device, bw_ref to, bw_ref from, size_t bytes);
  void (*zero)(bw_device* device, bw_ref to, size_t bytes);
  bw_status (*sync)(bw_device* device, bw_error* error);
  void (*launch)(bw_device* device, bw_op op, const void* args, bw_cost cost);
  void (*destroy)(bw_device* device);

  // Composite ops; NULL takes the default.
  size_t (*packed_bytes)(bw_device* device, int64_t out, int64_t in, int backward);
  void (*pack)(bw_device* device, const bw_weight* weight, int backward);
  void (*linear_forward)(bw_device* device, const bw_linear_forward_args* args);
  void (*linear_backward)(bw_device* device, const bw_linear_backward_args* args);
  void (*linear_gradient)(bw_device* device, const bw_linear_gradient_args* args);
  void (*linear_update)(bw_device* device, const bw_linear_update_args* args);

  // Runs a group's steps, in order where they depend on each other; rows: of BW_GROUP_ROWS. NULL: nothing is put off.
  void (*run_group)(bw_device* device, bw_group group, int64_t rows, bw_step* steps, int count);
} bw_backend;

// Backends embed this as their first member.
struct bw_device {
  const bw_backend* backend;
  bw_prof prof;
  double flops;  // of all launches since creation
  int threads;
  // The group that is open.
  bw_group group;
  int64_t group_rows;
  int step_count;
  bw_step steps[BW_MAX_STEPS];
};

// Launches one op: BW_LAUNCH(device, relu_backward, .y = ..., .dy = ..., .n = ...).
#define BW_LAUNCH(device, op, ...) bw_device_launch(device, BW_OP_##op, &(bw_##op##_args){__VA_ARGS__})
void bw_device_launch(bw_device* device, bw_op op, const void* args);
bw_cost bw_op_cost(bw_op op, const void* args, int real_bytes);
const char* bw_op_name(bw_op op);

// Groups do not nest. Inside one, nothing but launches and composite ops is called.
void bw_group_begin(bw_device* device, bw_group group, int64_t rows);  // rows: of BW_GROUP_ROWS, else 0
void bw_group_end(bw_device* device);

bw_status bw_device_sync(bw_device* device, bw_error* error);
void bw_device_destroy(bw_device* device);  // NULL is allowed

// Composite ops.
size_t bw_packed_bytes(bw_device* device, int64_t out, int64_t in, int backward);
void bw_weight_pack(bw_device* device, const bw_weight* weight, int backward);  // both forms if backward
void bw_linear_forward(bw_device* device, const bw_linear_forward_args* args);
void bw_linear_backward(bw_device* device, const bw_linear_backward_args* args);
void bw_linear_gradient(bw_device* device, const bw_linear_gradient_args* args);
void bw_linear_update(bw_device* device, const bw_linear_update_args* args);

// Floats to the device's real type and back; count elements.
bw_status bw_upload_real(bw_device* device, bw_ref to, const float* from, int64_t count, bw_error* error);
bw_status bw_download_real(bw_device* device, float* to, bw_ref from, int64_t count, bw_error* error);

static inline bw_ref bw_ref_at(bw_ref base, uint64_t bytes) {
  base.offset += bytes;
  return base;
}

#ifdef __cplusplus
}
#endif
#endif
