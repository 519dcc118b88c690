// Policy-value networks: parameters in one flat buffer, forward and backward as straight lists of device ops.
//
//   mlp      h = relu(Linear(h)), depth times; head
//   resmlp   h = Linear(x); depth - 1 times: h = h + gelu(Linear(LayerNorm(h))); final LayerNorm; head
//
// The head is one matrix [actions + values][width]: its first `actions` rows give the logits of the policy. The others
// say what the state is worth to the side to move: one row its value, or three the logits of win, draw and loss.
#ifndef BW_NETS_NET_H
#define BW_NETS_NET_H

#include <stdbool.h>

#include "../device/device.h"
#include "../device/plan.h"
#include "../games/registry.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { BW_NET_MAX_DEPTH = 64, BW_NET_MAX_TENSORS = 4 * BW_NET_MAX_DEPTH + 8 };

typedef enum bw_net_kind { BW_NET_KIND_MLP, BW_NET_KIND_RESMLP } bw_net_kind;

typedef struct bw_net_shape {
  bw_net_kind kind;
  int64_t inputs, actions, width, depth;
  int observation;               // enum bw_observation
  int64_t planes, max_features;  // of the inputs (games/game.h)
  bool wdl;                      // three rows of values instead of one
  double draw_value;             // wdl: the value of a draw; of a win it is 1, of a loss -1
} bw_net_shape;

// Rows of the head.
int64_t bw_net_outputs(const bw_net_shape* shape);

// A named tensor of a net, as checkpoints store it. "policy.*" and "value.*" are the two parts of the head.
typedef struct bw_net_tensor {
  char name[48];
  int rank;  // 2: [out][in]; 1: [n]
  int64_t shape[2];
  bool transposed;  // the flat parameters hold it as [shape[1]][shape[0]]
  int64_t offset;   // in elements, into the flat parameters
  int64_t fan_in;   // for the initialisation of a linear layer; 0: constant `initial`
  double initial;
} bw_net_tensor;

typedef struct bw_net_layout {
  bw_net_shape shape;
  int tensor_count;
  bw_net_tensor tensors[BW_NET_MAX_TENSORS];
  int64_t parameters;  // elements of the flat buffer
  // Offsets into it by layer (trunk layers, then the head; norms: index 0 is the final one).
  int64_t weight[BW_NET_MAX_DEPTH + 1], bias[BW_NET_MAX_DEPTH + 1];
  int64_t gain[BW_NET_MAX_DEPTH + 1], shift[BW_NET_MAX_DEPTH + 1];
} bw_net_layout;

// Tensor names: "trunk.K.weight", "trunk.K.bias", resmlp also "norm.K.gain", "norm.K.shift" (K = 1 .. depth - 1, and
// "norm.final.*"), "policy.weight", "value.weight", "policy.bias", "value.bias".
void bw_net_layout_make(bw_net_layout* layout, bw_net_shape shape);

// Between the order of the flat parameters and the one that files and users see, in which every tensor is laid out by
// its shape: the first layer's weight lies transposed in memory, since it is read feature by feature.
// to, from: layout->parameters floats, not overlapping.
void bw_net_to_file_order(const bw_net_layout* layout, const float* from, float* to);
void bw_net_from_file_order(const bw_net_layout* layout, const float* from, float* to);

// PyTorch's default for Linear: weights and biases uniform on +-1/sqrt(fan_in); gains 1, shifts 0.
// weights: layout->parameters floats, in file order.
void bw_net_initialize(const bw_net_layout* layout, uint64_t seed, float* weights);

// One set of parameters on a device, with packed copies. Without gradients it can only go forward.
typedef struct bw_net {
  const bw_net_layout* layout;
  bool trainable;
  bw_ref parameters, gradients;                                                        // [parameters]
  bw_ref base;                                                                         // [width]: features_base
  bw_ref packed_forward[BW_NET_MAX_DEPTH + 1], packed_backward[BW_NET_MAX_DEPTH + 1];  // from trunk layer 1, the head
  bw_weight weights[BW_NET_MAX_DEPTH + 1];                                             // last
} bw_net;

void bw_net_plan(bw_net* net, const bw_net_layout* layout, bw_device* device, bw_plan* plan, const char* group,
                 const char* name, bool trainable);
void bw_net_bind(bw_net* net, bw_device* device);  // after bw_plan_take
// After the parameters changed: the packed copies of all layers; what the first layer has in their place alone.
void bw_net_pack(bw_net* net, bw_device* device);
void bw_net_pack_first(bw_net* net, bw_device* device);

// What a forward pass of at most max_rows rows leaves, and the gradients of a backward pass over them. Where no
// backward pass follows, layers write by turns to the same few buffers, so that a block of rows stays in cache all the
// way.
typedef struct bw_activations {
  int64_t max_rows;
  bool trainable;
  bw_ref features;                      // u16 [rows][1 + max_features]
  bw_ref hidden[BW_NET_MAX_DEPTH + 1];  // [rows][width] after each layer (mlp) or block (resmlp)
  bw_ref normed[BW_NET_MAX_DEPTH + 1];  // resmlp: LayerNorm's output; index 0 is the final norm
  bw_ref linear[BW_NET_MAX_DEPTH + 1];  // resmlp: the input of gelu, its derivative there, then the gradient
  bw_ref mean[BW_NET_MAX_DEPTH + 1], rstd[BW_NET_MAX_DEPTH + 1];
  bw_ref head;  // [rows][outputs]
  // Gradients, if trainable.
  bw_ref dhead;
  bw_ref dhidden;                         // resmlp: of the residual stream
  bw_ref dlinear[BW_NET_MAX_DEPTH + 1];   // mlp: of what each layer's matrix gives
  bw_ref dnormed;                         // resmlp: of the norm that the pass is at
  bw_ref partials[BW_NET_MAX_DEPTH + 1];  // resmlp: of gain and shift (bw_layernorm_backward_args)
} bw_activations;

// name: in front of the buffers' names. trainable: a backward pass may follow.
void bw_activations_plan(bw_activations* act, const bw_net_layout* layout, bw_plan* plan, const char* group,
                         const char* name, int64_t max_rows, bool trainable);

// act->features -> act->head. Row by row: to be called inside a BW_GROUP_ROWS of `rows`.
void bw_net_forward(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows);
// What a forward pass left in act->head, as to[rows][actions + 1]: logits, then the value.
bw_status bw_net_download_head(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows, float* to,
                               bw_error* error);
// head[count][actions + 1] (logits, value) of `count` states, state_bytes apart, act->max_rows at a time.
// features: u16 [max_rows][1 + max_features] of host memory, for staging.
bw_status bw_net_infer(bw_device* device, const bw_net* net, const bw_activations* act, const bw_game* game,
                       uint16_t* features, const void* states, int64_t count, float* head, bw_error* error);
// act->dhead -> the gradients of all activations, after a forward pass of the same rows; act is trainable. Row by row
// as well.
void bw_net_backward(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows);
// The gradients of the activations -> net->gradients (overwritten). To be called inside a BW_GROUP_INDEPENDENT.
void bw_net_gradients(bw_device* device, const bw_net* net, const bw_activations* act, int64_t rows);

#ifdef __cplusplus
}
#endif
#endif
