// The networks as lists of device ops.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "net.h"

// ---- memory ----

static int64_t rows_of(const bw_net_layout* layout, int layer) {
  return layer == layout->shape.depth ? bw_net_outputs(&layout->shape) : layout->shape.width;
}

void bw_net_plan(bw_net* net, const bw_net_layout* layout, bw_device* device, bw_plan* plan, const char* group,
                 const char* name, bool trainable) {
  const int64_t width = layout->shape.width;
  memset(net, 0, sizeof *net);
  net->layout = layout;
  net->trainable = trainable;
  char label[48];
  BW_PLAN(plan, BW_LIFE_STATE, group, name, BW_ELEMENT_REAL, &net->parameters, layout->parameters);
  if (trainable) {
    snprintf(label, sizeof label, "%s gradients", name);
    BW_PLAN(plan, BW_LIFE_WORK, group, label, BW_ELEMENT_REAL, &net->gradients, layout->parameters);
  }
  snprintf(label, sizeof label, "%s base", name);
  BW_PLAN(plan, BW_LIFE_WORK, group, label, BW_ELEMENT_REAL, &net->base, width);
  for (int layer = 1; layer <= layout->shape.depth; ++layer) {
    const int64_t rows = rows_of(layout, layer);
    const size_t forward = bw_packed_bytes(device, rows, width, 0);
    const size_t backward = trainable ? bw_packed_bytes(device, rows, width, 1) : 0;
    snprintf(label, sizeof label, "%s packed %d", name, layer);
    if (forward)
      BW_PLAN(plan, BW_LIFE_WORK, group, label, BW_ELEMENT_U8, &net->packed_forward[layer], (int64_t)forward);
    snprintf(label, sizeof label, "%s packed transposed %d", name, layer);
    if (backward)
      BW_PLAN(plan, BW_LIFE_WORK, group, label, BW_ELEMENT_U8, &net->packed_backward[layer], (int64_t)backward);
  }
}

static bw_ref parameter(const bw_net* net, int64_t offset, const bw_device* device) {
  return bw_ref_at(net->parameters, (uint64_t)(offset * device->backend->real_bytes));
}

static bw_ref gradient(const bw_net* net, int64_t offset, const bw_device* device) {
  return bw_ref_at(net->gradients, (uint64_t)(offset * device->backend->real_bytes));
}

void bw_net_bind(bw_net* net, bw_device* device) {
  for (int layer = 1; layer <= net->layout->shape.depth; ++layer) {
    bw_weight* weight = &net->weights[layer];
    weight->out = rows_of(net->layout, layer);
    weight->in = net->layout->shape.width;
    weight->master = parameter(net, net->layout->weight[layer], device);
    if (net->trainable) weight->gradient = gradient(net, net->layout->weight[layer], device);
    weight->packed_forward = net->packed_forward[layer];
    weight->packed_backward = net->packed_backward[layer];
  }
}

void bw_net_pack_first(bw_net* net, bw_device* device) {
  const bw_net_shape* shape = &net->layout->shape;
  BW_LAUNCH(device, features_base, .weight = parameter(net, net->layout->weight[0], device),
            .bias = parameter(net, net->layout->bias[0], device), .base = net->base, .inputs = shape->inputs,
            .planes = shape->planes, .columns = shape->width);
}

void bw_net_pack(bw_net* net, bw_device* device) {
  bw_net_pack_first(net, device);
  for (int layer = 1; layer <= net->layout->shape.depth; ++layer) {
    bw_weight_pack(device, &net->weights[layer], net->trainable);
  }
}

// Which of act's buffers a layer writes. Without a backward pass: two in turn for what the next layer adds to or reads,
// one for what is used up at once (of layer 0's norm and layer 1's matrix, since every net has those).
static int hidden_of(const bw_activations* act, int layer) { return act->trainable ? layer : layer & 1; }
static int normed_of(const bw_activations* act, int layer) { return act->trainable ? layer : 0; }
static int linear_of(const bw_activations* act, int layer) { return act->trainable ? layer : 1; }
static bw_ref hidden(const bw_activations* act, int layer) { return act->hidden[hidden_of(act, layer)]; }

void bw_activations_plan(bw_activations* act, const bw_net_layout* layout, bw_plan* plan, const char* group,
                         const char* name, int64_t max_rows, bool trainable) {
  const bw_net_shape* shape = &layout->shape;
  const bool residual = shape->kind == BW_NET_KIND_RESMLP;
  const int64_t width = shape->width, outputs = bw_net_outputs(shape);
  memset(act, 0, sizeof *act);
  act->max_rows = max_rows;
  act->trainable = trainable;
  char label[48];
#define ACTIVATION(what, element, ref, ...)                               \
  do {                                                                    \
    snprintf(label, sizeof label, "%s %s", name, what);                   \
    BW_PLAN(plan, BW_LIFE_WORK, group, label, element, ref, __VA_ARGS__); \
  } while (0)
#define LAYER(what, ref, rows, columns)                                             \
  do {                                                                              \
    snprintf(label, sizeof label, "%s %s %d", name, what, layer);                   \
    BW_PLAN(plan, BW_LIFE_WORK, group, label, BW_ELEMENT_REAL, ref, rows, columns); \
  } while (0)
  ACTIVATION("features", BW_ELEMENT_U8, &act->features, max_rows, 1 + shape->max_features, (int64_t)sizeof(uint16_t));
  for (int layer = 0; layer < shape->depth; ++layer) {
    if (hidden_of(act, layer) == layer) LAYER("hidden", &act->hidden[layer], max_rows, width);
    if (!residual) {
      if (trainable) LAYER("linear gradient", &act->dlinear[layer], max_rows, width);
      continue;
    }
    if (normed_of(act, layer) == layer) {
      LAYER("normed", &act->normed[layer], max_rows, width);
      LAYER("mean", &act->mean[layer], max_rows, 1);
      LAYER("rstd", &act->rstd[layer], max_rows, 1);
    }
    if (trainable) {
      LAYER("norm partials", &act->partials[layer], (max_rows + BW_ROW_GROUP - 1) / BW_ROW_GROUP, 2 * width);
    }
    if (layer > 0 && linear_of(act, layer) == layer) LAYER("linear", &act->linear[layer], max_rows, width);
  }
  ACTIVATION("head", BW_ELEMENT_REAL, &act->head, max_rows, outputs);
  if (trainable) {
    ACTIVATION("head gradient", BW_ELEMENT_REAL, &act->dhead, max_rows, outputs);
    if (residual) ACTIVATION("hidden gradient", BW_ELEMENT_REAL, &act->dhidden, max_rows, width);
    if (residual) ACTIVATION("normed gradient", BW_ELEMENT_REAL, &act->dnormed, max_rows, width);
  }
#undef LAYER
#undef ACTIVATION
}

// ---- ops with this net's parameters ----

static void features_forward(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows,
                             int activation) {
  const bw_net_shape* shape = &net->layout->shape;
  BW_LAUNCH(device, features_forward, .features = act->features,
            .weight = parameter(net, net->layout->weight[0], device), .base = net->base, .y = act->hidden[0],
            .rows = rows, .columns = shape->width, .max_features = shape->max_features, .activation = activation);
}

static void features_gradient(bw_device* device, const bw_net* net, const bw_activations* act, bw_ref dy,
                              int64_t rows) {
  const bw_net_shape* shape = &net->layout->shape;
  BW_LAUNCH(device, features_gradient, .features = act->features, .dy = dy,
            .weight_gradient = gradient(net, net->layout->weight[0], device),
            .bias_gradient = gradient(net, net->layout->bias[0], device), .rows = rows, .inputs = shape->inputs,
            .planes = shape->planes, .columns = shape->width, .max_features = shape->max_features);
}

static void linear(bw_device* device, const bw_net* net, int layer, bw_ref x, bw_ref y, int64_t rows, int activation) {
  bw_linear_forward(device, &(bw_linear_forward_args){.weight = &net->weights[layer],
                                                      .bias = parameter(net, net->layout->bias[layer], device),
                                                      .x = x,
                                                      .y = y,
                                                      .rows = rows,
                                                      .activation = activation});
}

static void linear_gradient(bw_device* device, const bw_net* net, int layer, bw_ref x, bw_ref dy, int64_t rows) {
  bw_linear_gradient(device,
                     &(bw_linear_gradient_args){.weight = &net->weights[layer],
                                                .bias_gradient = gradient(net, net->layout->bias[layer], device),
                                                .x = x,
                                                .dy = dy,
                                                .rows = rows});
}

// x: the layer's input, which that activation made.
static void linear_backward(bw_device* device, const bw_net* net, int layer, bw_ref dy, bw_ref dx, bw_ref x,
                            int activation, int64_t rows) {
  bw_linear_backward(
      device, &(bw_linear_backward_args){
                  .weight = &net->weights[layer], .dy = dy, .dx = dx, .x = x, .rows = rows, .activation = activation});
}

static void norm(bw_device* device, const bw_net* net, const bw_activations* act, int layer, bw_ref x, int64_t rows) {
  const int to = normed_of(act, layer);
  BW_LAUNCH(device, layernorm_forward, .x = x, .gain = parameter(net, net->layout->gain[layer], device),
            .shift = parameter(net, net->layout->shift[layer], device), .y = act->normed[to], .mean = act->mean[to],
            .rstd = act->rstd[to], .rows = rows, .columns = net->layout->shape.width);
}

static void norm_backward(bw_device* device, const bw_net* net, const bw_activations* act, int layer, bw_ref x,
                          int64_t rows, int accumulate) {
  BW_LAUNCH(device, layernorm_backward, .x = x, .gain = parameter(net, net->layout->gain[layer], device),
            .mean = act->mean[layer], .rstd = act->rstd[layer], .dy = act->dnormed, .dx = act->dhidden,
            .partials = act->partials[layer], .rows = rows, .columns = net->layout->shape.width,
            .accumulate = accumulate);
}

static void norm_gradient(bw_device* device, const bw_net* net, const bw_activations* act, int layer, int64_t rows) {
  BW_LAUNCH(device, layernorm_gradient, .partials = act->partials[layer],
            .dgain = gradient(net, net->layout->gain[layer], device),
            .dshift = gradient(net, net->layout->shift[layer], device), .rows = rows,
            .columns = net->layout->shape.width);
}

// ---- mlp ----

static void mlp_forward(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows) {
  const int depth = (int)net->layout->shape.depth;
  features_forward(device, net, act, rows, BW_ACTIVATION_RELU);
  for (int layer = 1; layer < depth; ++layer) {
    linear(device, net, layer, hidden(act, layer - 1), hidden(act, layer), rows, BW_ACTIVATION_RELU);
  }
  linear(device, net, depth, hidden(act, depth - 1), act->head, rows, BW_ACTIVATION_NONE);
}

static void mlp_backward(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows) {
  const int depth = (int)net->layout->shape.depth;
  for (int layer = depth; layer >= 1; --layer) {
    linear_backward(device, net, layer, layer == depth ? act->dhead : act->dlinear[layer], act->dlinear[layer - 1],
                    act->hidden[layer - 1], BW_ACTIVATION_RELU, rows);
  }
}

static void mlp_gradients(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows) {
  const int depth = (int)net->layout->shape.depth;
  for (int layer = depth; layer >= 1; --layer) {
    linear_gradient(device, net, layer, act->hidden[layer - 1], layer == depth ? act->dhead : act->dlinear[layer],
                    rows);
  }
  features_gradient(device, net, act, act->dlinear[0], rows);
}

// ---- resmlp ----

static void resmlp_forward(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows) {
  const int depth = (int)net->layout->shape.depth;
  const int64_t n = rows * net->layout->shape.width;
  features_forward(device, net, act, rows, BW_ACTIVATION_NONE);
  for (int layer = 1; layer < depth; ++layer) {
    const bw_ref normed = act->normed[normed_of(act, layer)], x = act->linear[linear_of(act, layer)];
    norm(device, net, act, layer, hidden(act, layer - 1), rows);
    linear(device, net, layer, normed, x, rows, BW_ACTIVATION_NONE);
    BW_LAUNCH(device, gelu_forward, .x = x, .residual = hidden(act, layer - 1), .y = hidden(act, layer), .n = n);
  }
  norm(device, net, act, 0, hidden(act, depth - 1), rows);
  linear(device, net, depth, act->normed[0], act->head, rows, BW_ACTIVATION_NONE);
}

// dhidden carries the gradient of the residual stream; a block adds to it what comes back through its branch.
static void resmlp_backward(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows) {
  const int depth = (int)net->layout->shape.depth;
  const int64_t n = rows * net->layout->shape.width;
  linear_backward(device, net, depth, act->dhead, act->dnormed, act->normed[0], BW_ACTIVATION_NONE, rows);
  norm_backward(device, net, act, 0, act->hidden[depth - 1], rows, 0);
  for (int layer = depth - 1; layer >= 1; --layer) {
    BW_LAUNCH(device, gelu_backward, .dy = act->dhidden, .dx = act->linear[layer], .n = n);
    linear_backward(device, net, layer, act->linear[layer], act->dnormed, act->normed[layer], BW_ACTIVATION_NONE, rows);
    norm_backward(device, net, act, layer, act->hidden[layer - 1], rows, 1);
  }
}

static void resmlp_gradients(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows) {
  const int depth = (int)net->layout->shape.depth;
  linear_gradient(device, net, depth, act->normed[0], act->dhead, rows);
  norm_gradient(device, net, act, 0, rows);
  for (int layer = depth - 1; layer >= 1; --layer) {
    linear_gradient(device, net, layer, act->normed[layer], act->linear[layer], rows);
    norm_gradient(device, net, act, layer, rows);
  }
  features_gradient(device, net, act, act->dhidden, rows);
}

// ---- the head ----

bw_status bw_net_download_head(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows, float* to,
                               bw_error* error) {
  const bw_net_shape* shape = &net->layout->shape;
  const int64_t actions = shape->actions, outputs = bw_net_outputs(shape);
  if (!shape->wdl) return bw_download_real(device, to, act->head, rows * outputs, error);
  enum { CHUNK = 4096 };
  float head[CHUNK];
  for (int64_t first = 0; first < rows; first += CHUNK / outputs) {
    const int64_t left = rows - first, count = left < CHUNK / outputs ? left : CHUNK / outputs;
    const bw_ref from = bw_ref_at(act->head, (uint64_t)(first * outputs * device->backend->real_bytes));
    BW_TRY(bw_download_real(device, head, from, count * outputs, error));
    for (int64_t i = 0; i < count; ++i) {
      const float* row = head + i * outputs;
      float* out = to + (first + i) * (actions + 1);
      memcpy(out, row, (size_t)actions * sizeof *out);
      double p[3], sum = 0;
      const double top = fmax(fmax((double)row[actions], (double)row[actions + 1]), (double)row[actions + 2]);
      for (int k = 0; k < 3; ++k) sum += p[k] = exp((double)row[actions + k] - top);
      out[actions] = (float)((p[0] - p[2] + shape->draw_value * p[1]) / sum);
    }
  }
  return BW_OK;
}

// ---- by kind ----

typedef void (*net_fn)(bw_device*, const bw_net*, const bw_activations*, int64_t);

typedef struct net_ops {
  net_fn forward, backward, gradients;
} net_ops;

static const net_ops kNets[] = {
    [BW_NET_KIND_MLP] = {mlp_forward, mlp_backward, mlp_gradients},
    [BW_NET_KIND_RESMLP] = {resmlp_forward, resmlp_backward, resmlp_gradients},
};

void bw_net_forward(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows) {
  kNets[net->layout->shape.kind].forward(device, net, act, rows);
}

void bw_net_backward(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows) {
  kNets[net->layout->shape.kind].backward(device, net, act, rows);
}

void bw_net_gradients(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows) {
  kNets[net->layout->shape.kind].gradients(device, net, act, rows);
}
