// Optimiser steps: the global norm, AdamW (Loshchilov & Hutter, "Decoupled weight decay regularization", 2019) and
// Muon (Jordan et al., "Muon: an optimizer for hidden layers", 2024) on the square hidden matrices.
#include <math.h>
#include <string.h>

#include "run.h"

// Rows of a matrix whose squares are added up together, and elements of any other tensor. The rows are those that the
// CPU steps together (cpu_linear.c), so that a thread reads the gradients that it has written.
enum { SQUARE_ROWS = 32, SQUARE_CHUNK = 4096 };

static int64_t square_chunk(const bw_net_tensor* tensor) {
  return tensor->rank == 2 && !tensor->transposed ? SQUARE_ROWS * tensor->shape[1] : SQUARE_CHUNK;
}

static int64_t square_chunks(const bw_net_tensor* tensor) {
  const int64_t chunk = square_chunk(tensor);
  return (tensor->shape[0] * tensor->shape[1] + chunk - 1) / chunk;
}

static int64_t all_square_chunks(const bw_net_layout* layout) {
  int64_t chunks = 0;
  for (int i = 0; i < layout->tensor_count; ++i) chunks += square_chunks(&layout->tensors[i]);
  return chunks;
}

static bool uses_muon(const bw_run* run) { return run->config.ppo_optimizer == BW_OPTIMIZER_MUON; }

// Muon takes the square matrices between the first layer and the head.
static bool takes_muon(const bw_run* run, int layer) {
  return uses_muon(run) && layer > 0 && layer < run->layout.shape.depth;
}

void bw_optimizer_plan(bw_run* run) {
  bw_plan* plan = &run->plan;
  const int64_t n = run->layout.parameters, width = run->layout.shape.width;
  BW_PLAN(plan, BW_LIFE_STATE, "ppo", "first moment", BW_ELEMENT_REAL, &run->first_moment, n);
  BW_PLAN(plan, BW_LIFE_STATE, "ppo", "second moment", BW_ELEMENT_REAL, &run->second_moment, n);
  BW_PLAN(plan, BW_LIFE_WORK, "ppo", "saved parameters", BW_ELEMENT_REAL, &run->saved_parameters, n);
  BW_PLAN(plan, BW_LIFE_WORK, "ppo", "saved first moment", BW_ELEMENT_REAL, &run->saved_first_moment, n);
  BW_PLAN(plan, BW_LIFE_WORK, "ppo", "saved second moment", BW_ELEMENT_REAL, &run->saved_second_moment, n);
  BW_PLAN(plan, BW_LIFE_WORK, "ppo", "square sums", BW_ELEMENT_REAL, &run->square_partials,
          all_square_chunks(&run->layout));
  BW_PLAN(plan, BW_LIFE_WORK, "ppo", "gradient norm", BW_ELEMENT_REAL, &run->norm, 2);
  if (!uses_muon(run)) return;
  BW_PLAN(plan, BW_LIFE_WORK, "ppo", "muon update", BW_ELEMENT_REAL, &run->muon_update, width, width);
  BW_PLAN(plan, BW_LIFE_WORK, "ppo", "muon gram", BW_ELEMENT_REAL, &run->muon_gram, width, width);
  BW_PLAN(plan, BW_LIFE_WORK, "ppo", "muon square", BW_ELEMENT_REAL, &run->muon_square, width, width);
  BW_PLAN(plan, BW_LIFE_WORK, "ppo", "muon zero bias", BW_ELEMENT_REAL, &run->muon_zero_bias, width);
  bw_weight* update = &run->muon_weight;
  bw_weight* gram = &run->muon_gram_weight;
  const int64_t forward = (int64_t)bw_packed_bytes(run->device, width, width, 0);
  const int64_t backward = (int64_t)bw_packed_bytes(run->device, width, width, 1);
  if (forward) BW_PLAN(plan, BW_LIFE_WORK, "ppo", "muon packed", BW_ELEMENT_U8, &update->packed_forward, forward);
  if (backward)
    BW_PLAN(plan, BW_LIFE_WORK, "ppo", "muon packed transposed", BW_ELEMENT_U8, &update->packed_backward, backward);
  if (forward) BW_PLAN(plan, BW_LIFE_WORK, "ppo", "muon gram packed", BW_ELEMENT_U8, &gram->packed_forward, forward);
}

void bw_optimizer_bind(bw_run* run) {
  if (!uses_muon(run)) return;
  const int64_t width = run->layout.shape.width;
  run->muon_weight.master = run->muon_update;
  run->muon_gram_weight.master = run->muon_gram;
  run->muon_weight.out = run->muon_weight.in = width;
  run->muon_gram_weight.out = run->muon_gram_weight.in = width;
}

static bw_ref at(const bw_run* run, bw_ref base, int64_t element) {
  return bw_ref_at(base, (uint64_t)(element * run->device->backend->real_bytes));
}

// base^exponent by squaring: the same bits whatever the C library's pow.
static double power(double base, int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result *= base;
    base *= base;
  }
  return result;
}

static bw_adamw_args adamw_args(const bw_run* run, int64_t offset, int64_t n, double lr, double weight_decay) {
  const bw_config* c = &run->config;
  const int64_t t = run->updates;  // counts from 1: the caller has added this step
  return (bw_adamw_args){.weights = at(run, run->agent.parameters, offset),
                         .gradients = at(run, run->agent.gradients, offset),
                         .first = at(run, run->first_moment, offset),
                         .second = at(run, run->second_moment, offset),
                         .norm = run->norm,
                         .n = n,
                         .lr = lr,
                         .step_size = lr / (1 - power(c->ppo_beta1, t)),
                         .beta1 = c->ppo_beta1,
                         .beta2 = c->ppo_beta2,
                         .second_scale = 1 / (1 - power(c->ppo_beta2, t)),
                         .epsilon = c->ppo_epsilon,
                         .weight_decay = weight_decay};
}

// Orthogonalises run->muon_update in place by five Newton-Schulz steps X <- a X + (b A + c A^2) X, A = X X^T.
static void orthogonalize(bw_run* run) {
  bw_device* device = run->device;
  const int64_t width = run->layout.shape.width, n = width * width;
  const double a = 3.4445, b = -4.7750, c = 2.0315;
  BW_LAUNCH(device, muon_normalize, .x = run->muon_update, .n = n);
  for (int step = 0; step < 5; ++step) {
    bw_weight_pack(device, &run->muon_weight, 1);
    bw_linear_forward(device, &(bw_linear_forward_args){.weight = &run->muon_weight,
                                                        .bias = run->muon_zero_bias,
                                                        .x = run->muon_update,
                                                        .y = run->muon_gram,
                                                        .rows = width});
    bw_weight_pack(device, &run->muon_gram_weight, 0);
    bw_linear_forward(device, &(bw_linear_forward_args){.weight = &run->muon_gram_weight,
                                                        .bias = run->muon_zero_bias,
                                                        .x = run->muon_gram,
                                                        .y = run->muon_square,
                                                        .rows = width});
    BW_LAUNCH(device, scale_add, .x = run->muon_gram, .y = run->muon_square, .alpha = b, .beta = c, .n = n);
    bw_linear_backward(device,
                       &(bw_linear_backward_args){
                           .weight = &run->muon_weight, .dy = run->muon_square, .dx = run->muon_gram, .rows = width});
    BW_LAUNCH(device, scale_add, .x = run->muon_gram, .y = run->muon_update, .alpha = 1, .beta = a, .n = n);
  }
}

static void muon(bw_run* run, int layer, double lr) {
  const bw_config* c = &run->config;
  const int64_t offset = run->layout.weight[layer];
  const int64_t n = run->layout.shape.width * run->layout.shape.width;
  BW_LAUNCH(run->device, muon_momentum, .gradients = at(run, run->agent.gradients, offset),
            .momentum = at(run, run->first_moment, offset), .update = run->muon_update, .norm = run->norm, .n = n,
            .beta = c->ppo_momentum);
  orthogonalize(run);
  BW_LAUNCH(run->device, muon_apply, .weights = at(run, run->agent.parameters, offset), .update = run->muon_update,
            .n = n, .lr = lr, .scale = 1, .weight_decay = c->ppo_weight_decay);
}

static void measure_norm(bw_run* run, bw_ref x, double max_norm) {
  int64_t chunks = 0;
  bw_group_begin(run->device, BW_GROUP_INDEPENDENT, 0);
  for (int i = 0; i < run->layout.tensor_count; ++i) {
    const bw_net_tensor* tensor = &run->layout.tensors[i];
    BW_LAUNCH(run->device, square_sum, .x = at(run, x, tensor->offset),
              .partial = at(run, run->square_partials, chunks), .n = tensor->shape[0] * tensor->shape[1],
              .chunk = square_chunk(tensor));
    chunks += square_chunks(tensor);
  }
  bw_group_end(run->device);
  BW_LAUNCH(run->device, clip_scale, .partial = run->square_partials, .norm = run->norm, .chunks = chunks,
            .max_norm = max_norm);
}

static double download_norm(bw_run* run) {
  float norm = 0;
  double wide = 0;
  if (run->device->backend->real_bytes == (int)sizeof norm) {
    run->device->backend->download(run->device, &norm, run->norm, sizeof norm);
    return norm;
  }
  run->device->backend->download(run->device, &wide, run->norm, sizeof wide);
  return wide;
}

double bw_optimizer_step(bw_run* run, double lr_share) {
  const bw_config* c = &run->config;
  measure_norm(run, run->agent.gradients, c->ppo_max_grad_norm);
  const double norm = download_norm(run);
  if (!isfinite(norm)) return norm;  // the caller reports it; nothing is changed
  ++run->updates;
  const bw_net_layout* layout = &run->layout;
  const double lr = c->ppo_lr * lr_share;
  for (int layer = 1; layer <= layout->shape.depth; ++layer) {
    if (!takes_muon(run, layer)) continue;
    muon(run, layer, c->ppo_muon_lr * lr_share);
    bw_weight_pack(run->device, &run->agent.weights[layer], 1);
  }
  bw_group_begin(run->device, BW_GROUP_INDEPENDENT, 0);
  for (int layer = 1; layer <= layout->shape.depth; ++layer) {
    const bw_weight* weight = &run->agent.weights[layer];
    if (takes_muon(run, layer)) continue;
    bw_linear_update(run->device,
                     &(bw_linear_update_args){.weight = weight,
                                              .adamw = adamw_args(run, layout->weight[layer], weight->out * weight->in,
                                                                  lr, c->ppo_weight_decay)});
  }
  for (int i = 0; i < layout->tensor_count; ++i) {
    const bw_net_tensor* tensor = &layout->tensors[i];
    if (tensor->rank == 2 && tensor->offset != layout->weight[0]) continue;  // done above
    const bw_adamw_args args = adamw_args(run, tensor->offset, tensor->shape[0] * tensor->shape[1], lr,
                                          tensor->rank == 2 ? c->ppo_weight_decay : 0);
    bw_device_launch(run->device, BW_OP_adamw, &args);
  }
  bw_group_end(run->device);
  bw_net_pack_first(&run->agent, run->device);
  return norm;
}

bool bw_run_weights_finite(bw_run* run, const char** tensor) {
  measure_norm(run, run->agent.parameters, 0);
  if (isfinite(download_norm(run))) return true;
  const float* weights = NULL;
  *tensor = "weights";
  if (bw_run_weights(run, &weights, NULL) != BW_OK) return false;
  for (int i = 0; i < run->layout.tensor_count; ++i) {
    const bw_net_tensor* t = &run->layout.tensors[i];
    for (int64_t k = 0; k < t->shape[0] * t->shape[1]; ++k) {
      if (!isfinite(weights[t->offset + k])) {
        *tensor = t->name;
        return false;
      }
    }
  }
  return false;  // finite values whose squares overflow
}
