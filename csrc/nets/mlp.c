// The networks as lists of device ops.
#include <stdio.h>
#include <string.h>

#include "net.h"

// ---- memory ----

static void matrix_extents(const bw_net_layout* layout, int layer, int64_t* out, int64_t* in) {
  const bw_net_shape* shape = &layout->shape;
  *out = layer == shape->depth ? shape->actions + 1 : shape->width;
  *in = layer == 0 ? shape->inputs : shape->width;
}

void bw_net_plan(bw_net* net, const bw_net_layout* layout, bw_device* device, bw_plan* plan, const char* group,
                 const char* name, bool trainable) {
  memset(net, 0, sizeof *net);
  net->layout = layout;
  net->trainable = trainable;
  char label[48];
  BW_PLAN(plan, BW_LIFE_STATE, group, name, BW_ELEMENT_REAL, &net->parameters, layout->parameters);
  if (trainable) {
    snprintf(label, sizeof label, "%s gradients", name);
    BW_PLAN(plan, BW_LIFE_WORK, group, label, BW_ELEMENT_REAL, &net->gradients, layout->parameters);
  }
  for (int layer = 0; layer <= layout->shape.depth; ++layer) {
    int64_t out, in;
    matrix_extents(layout, layer, &out, &in);
    const size_t forward = bw_packed_bytes(device, out, in, 0);
    const size_t backward = trainable && layer > 0 ? bw_packed_bytes(device, out, in, 1) : 0;
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
  for (int layer = 0; layer <= net->layout->shape.depth; ++layer) {
    bw_weight* weight = &net->weights[layer];
    matrix_extents(net->layout, layer, &weight->out, &weight->in);
    weight->master = parameter(net, net->layout->weight[layer], device);
    if (net->trainable) weight->gradient = gradient(net, net->layout->weight[layer], device);
    weight->packed_forward = net->packed_forward[layer];
    weight->packed_backward = net->packed_backward[layer];
  }
}

void bw_net_pack(bw_net* net, bw_device* device) {
  for (int layer = 0; layer <= net->layout->shape.depth; ++layer) {
    bw_weight_pack(device, &net->weights[layer], net->trainable && layer > 0);  // nobody needs dx of layer 0
  }
}

void bw_activations_plan(bw_activations* act, const bw_net_layout* layout, bw_plan* plan, const char* group,
                         int64_t max_rows, int64_t backward_rows) {
  const bw_net_shape* shape = &layout->shape;
  memset(act, 0, sizeof *act);
  act->max_rows = max_rows;
  char label[48];
  BW_PLAN(plan, BW_LIFE_WORK, group, "observations", BW_ELEMENT_REAL, &act->x, max_rows, shape->inputs);
  for (int layer = 0; layer < shape->depth; ++layer) {
    snprintf(label, sizeof label, "hidden %d", layer);
    BW_PLAN(plan, BW_LIFE_WORK, group, label, BW_ELEMENT_REAL, &act->hidden[layer], max_rows, shape->width);
    if (shape->kind != BW_NET_KIND_RESMLP) continue;
    snprintf(label, sizeof label, "normed %d", layer);
    BW_PLAN(plan, BW_LIFE_WORK, group, label, BW_ELEMENT_REAL, &act->normed[layer], max_rows, shape->width);
    snprintf(label, sizeof label, "mean %d", layer);
    BW_PLAN(plan, BW_LIFE_WORK, group, label, BW_ELEMENT_REAL, &act->mean[layer], max_rows);
    snprintf(label, sizeof label, "rstd %d", layer);
    BW_PLAN(plan, BW_LIFE_WORK, group, label, BW_ELEMENT_REAL, &act->rstd[layer], max_rows);
    if (layer == 0) continue;
    snprintf(label, sizeof label, "linear %d", layer);
    BW_PLAN(plan, BW_LIFE_WORK, group, label, BW_ELEMENT_REAL, &act->linear[layer], max_rows, shape->width);
  }
  BW_PLAN(plan, BW_LIFE_WORK, group, "head", BW_ELEMENT_REAL, &act->head, max_rows, shape->actions + 1);
  BW_PLAN(plan, BW_LIFE_WORK, group, "head gradient", BW_ELEMENT_REAL, &act->dhead, backward_rows, shape->actions + 1);
  BW_PLAN(plan, BW_LIFE_WORK, group, "hidden gradient", BW_ELEMENT_REAL, &act->dhidden, backward_rows, shape->width);
  BW_PLAN(plan, BW_LIFE_WORK, group, "hidden gradient 2", BW_ELEMENT_REAL, &act->dscratch, backward_rows, shape->width);
  BW_PLAN(plan, BW_LIFE_WORK, group, "hidden gradient 3", BW_ELEMENT_REAL, &act->dlinear, backward_rows, shape->width);
}

// ---- ops with this net's parameters ----

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

static void linear_backward(bw_device* device, const bw_net* net, int layer, bw_ref dy, bw_ref dx, int64_t rows) {
  bw_linear_backward(device,
                     &(bw_linear_backward_args){.weight = &net->weights[layer], .dy = dy, .dx = dx, .rows = rows});
}

static void norm(bw_device* device, const bw_net* net, const bw_activations* act, int layer, bw_ref x, int64_t rows) {
  BW_LAUNCH(device, layernorm_forward, .x = x, .gain = parameter(net, net->layout->gain[layer], device),
            .shift = parameter(net, net->layout->shift[layer], device), .y = act->normed[layer],
            .mean = act->mean[layer], .rstd = act->rstd[layer], .rows = rows, .columns = net->layout->shape.width);
}

static void norm_backward(bw_device* device, const bw_net* net, const bw_activations* act, int layer, bw_ref x,
                          bw_ref dy, bw_ref dx, int64_t rows, int accumulate) {
  const int64_t width = net->layout->shape.width;
  BW_LAUNCH(device, layernorm_gradient, .x = x, .mean = act->mean[layer], .rstd = act->rstd[layer], .dy = dy,
            .dgain = gradient(net, net->layout->gain[layer], device),
            .dshift = gradient(net, net->layout->shift[layer], device), .rows = rows, .columns = width);
  BW_LAUNCH(device, layernorm_backward, .x = x, .gain = parameter(net, net->layout->gain[layer], device),
            .mean = act->mean[layer], .rstd = act->rstd[layer], .dy = dy, .dx = dx, .rows = rows, .columns = width,
            .accumulate = accumulate);
}

// ---- mlp ----

static void mlp_forward(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows) {
  const int depth = (int)net->layout->shape.depth;
  for (int layer = 0; layer < depth; ++layer) {
    linear(device, net, layer, layer == 0 ? act->x : act->hidden[layer - 1], act->hidden[layer], rows,
           BW_ACTIVATION_RELU);
  }
  linear(device, net, depth, act->hidden[depth - 1], act->head, rows, BW_ACTIVATION_NONE);
}

static void mlp_backward(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows) {
  const int depth = (int)net->layout->shape.depth;
  bw_ref dy = act->dhidden, dx = act->dscratch;  // swap roles layer by layer
  linear_gradient(device, net, depth, act->hidden[depth - 1], act->dhead, rows);
  linear_backward(device, net, depth, act->dhead, dy, rows);
  for (int layer = depth - 1; layer >= 0; --layer) {
    BW_LAUNCH(device, relu_backward, .y = act->hidden[layer], .dy = dy, .n = rows * net->layout->shape.width);
    linear_gradient(device, net, layer, layer == 0 ? act->x : act->hidden[layer - 1], dy, rows);
    if (layer == 0) break;
    linear_backward(device, net, layer, dy, dx, rows);
    const bw_ref swap = dy;
    dy = dx;
    dx = swap;
  }
}

// ---- resmlp ----

static void resmlp_forward(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows) {
  const int depth = (int)net->layout->shape.depth;
  const int64_t n = rows * net->layout->shape.width;
  linear(device, net, 0, act->x, act->hidden[0], rows, BW_ACTIVATION_NONE);
  for (int layer = 1; layer < depth; ++layer) {
    norm(device, net, act, layer, act->hidden[layer - 1], rows);
    linear(device, net, layer, act->normed[layer], act->linear[layer], rows, BW_ACTIVATION_NONE);
    BW_LAUNCH(device, gelu_forward, .x = act->linear[layer], .residual = act->hidden[layer - 1],
              .y = act->hidden[layer], .n = n);
  }
  norm(device, net, act, 0, act->hidden[depth - 1], rows);
  linear(device, net, depth, act->normed[0], act->head, rows, BW_ACTIVATION_NONE);
}

// dhidden carries the gradient of the residual stream; a block adds to it what comes back through its branch.
static void resmlp_backward(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows) {
  const int depth = (int)net->layout->shape.depth;
  const int64_t n = rows * net->layout->shape.width;
  linear_gradient(device, net, depth, act->normed[0], act->dhead, rows);
  linear_backward(device, net, depth, act->dhead, act->dscratch, rows);
  norm_backward(device, net, act, 0, act->hidden[depth - 1], act->dscratch, act->dhidden, rows, 0);
  for (int layer = depth - 1; layer >= 1; --layer) {
    BW_LAUNCH(device, gelu_backward, .x = act->linear[layer], .dy = act->dhidden, .dx = act->dlinear, .n = n);
    linear_gradient(device, net, layer, act->normed[layer], act->dlinear, rows);
    linear_backward(device, net, layer, act->dlinear, act->dscratch, rows);
    norm_backward(device, net, act, layer, act->hidden[layer - 1], act->dscratch, act->dhidden, rows, 1);
  }
  linear_gradient(device, net, 0, act->x, act->dhidden, rows);
}

void bw_net_forward(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows) {
  if (net->layout->shape.kind == BW_NET_KIND_RESMLP) {
    resmlp_forward(device, net, act, rows);
  } else {
    mlp_forward(device, net, act, rows);
  }
}

void bw_net_backward(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows) {
  if (net->layout->shape.kind == BW_NET_KIND_RESMLP) {
    resmlp_backward(device, net, act, rows);
  } else {
    mlp_backward(device, net, act, rows);
  }
}
