// Names, shapes and initial values of a net's tensors in its flat parameter buffer.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../core/rng.h"
#include "net.h"

// Returns the tensor's offset.
static int64_t add(bw_net_layout* layout, const char* name, int rank, int64_t rows, int64_t columns, int64_t fan_in,
                   double initial) {
  bw_net_tensor* tensor = &layout->tensors[layout->tensor_count++];
  *tensor = (bw_net_tensor){.rank = rank, .offset = layout->parameters, .fan_in = fan_in, .initial = initial};
  snprintf(tensor->name, sizeof tensor->name, "%s", name);
  tensor->shape[0] = rows;
  tensor->shape[1] = rank == 2 ? columns : 1;
  layout->parameters += rows * (rank == 2 ? columns : 1);
  return tensor->offset;
}

static void add_norm(bw_net_layout* layout, int layer, const char* which, int64_t width) {
  char name[48];
  snprintf(name, sizeof name, "norm.%.32s.gain", which);
  layout->gain[layer] = add(layout, name, 1, width, 1, 0, 1);
  snprintf(name, sizeof name, "norm.%.32s.shift", which);
  layout->shift[layer] = add(layout, name, 1, width, 1, 0, 0);
}

int64_t bw_net_outputs(const bw_net_shape* shape) { return shape->actions + (shape->wdl ? 3 : 1); }

void bw_net_layout_make(bw_net_layout* layout, bw_net_shape shape) {
  memset(layout, 0, sizeof *layout);
  layout->shape = shape;
  char name[48];
  for (int64_t layer = 0; layer < shape.depth; ++layer) {
    if (shape.kind == BW_NET_KIND_RESMLP && layer > 0) {
      snprintf(name, sizeof name, "%d", (int)layer);
      add_norm(layout, (int)layer, name, shape.width);
    }
    const int64_t in = layer == 0 ? shape.inputs : shape.width;
    snprintf(name, sizeof name, "trunk.%d.weight", (int)layer);
    layout->weight[layer] = add(layout, name, 2, shape.width, in, in, 0);
    layout->tensors[layout->tensor_count - 1].transposed = layer == 0;
    snprintf(name, sizeof name, "trunk.%d.bias", (int)layer);
    layout->bias[layer] = add(layout, name, 1, shape.width, 1, in, 0);
  }
  if (shape.kind == BW_NET_KIND_RESMLP) add_norm(layout, 0, "final", shape.width);
  // Policy and value rows lie together, so that the head is one matrix product.
  const int64_t values = bw_net_outputs(&shape) - shape.actions;
  layout->weight[shape.depth] = add(layout, "policy.weight", 2, shape.actions, shape.width, shape.width, 0);
  add(layout, "value.weight", 2, values, shape.width, shape.width, 0);
  layout->bias[shape.depth] = add(layout, "policy.bias", 1, shape.actions, 1, shape.width, 0);
  add(layout, "value.bias", 1, values, 1, shape.width, 0);
}

// to[columns][rows] = transpose of from[rows][columns]
static void transpose(const float* from, int64_t rows, int64_t columns, float* to) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) to[j * rows + i] = from[i * columns + j];
  }
}

void bw_net_to_file_order(const bw_net_layout* layout, const float* from, float* to) {
  memcpy(to, from, (size_t)layout->parameters * sizeof *to);
  for (int i = 0; i < layout->tensor_count; ++i) {
    const bw_net_tensor* t = &layout->tensors[i];
    if (t->transposed) transpose(from + t->offset, t->shape[1], t->shape[0], to + t->offset);
  }
}

void bw_net_from_file_order(const bw_net_layout* layout, const float* from, float* to) {
  memcpy(to, from, (size_t)layout->parameters * sizeof *to);
  for (int i = 0; i < layout->tensor_count; ++i) {
    const bw_net_tensor* t = &layout->tensors[i];
    if (t->transposed) transpose(from + t->offset, t->shape[0], t->shape[1], to + t->offset);
  }
}

void bw_net_initialize(const bw_net_layout* layout, uint64_t seed, float* weights) {
  for (int t = 0; t < layout->tensor_count; ++t) {
    const bw_net_tensor* tensor = &layout->tensors[t];
    const int64_t count = tensor->shape[0] * tensor->shape[1];
    float* values = weights + tensor->offset;
    if (tensor->fan_in == 0) {
      for (int64_t i = 0; i < count; ++i) values[i] = (float)tensor->initial;
      continue;
    }
    const float bound = (float)(1.0 / sqrt((double)tensor->fan_in));
    for (int64_t i = 0; i < count; i += 4) {
      const bw_random4 r = bw_philox(seed, BW_STREAM_INIT, (uint64_t)t, (uint32_t)(i / 4));
      for (int64_t k = 0; k < 4 && i + k < count; ++k) values[i + k] = bound * (2 * bw_uniform(r.v[k]) - 1);
    }
  }
}
