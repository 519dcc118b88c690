// A net that only plays: its weights on a device and room for one batch. Nets of different kinds and sizes may live on
// the same device, so that they can meet.
#ifndef BW_TRAIN_POLICY_H
#define BW_TRAIN_POLICY_H

#include "../core/safetensors.h"
#include "../device/device.h"
#include "../nets/net.h"
#include "config.h"

typedef struct bw_policy bw_policy;

// The net that config describes (game and net options), with the weights of a safetensors file: a checkpoint or a
// policy file, and room for `rows` rows of a forward pass. BW_CHECKPOINT where the file does not hold them, BW_MEMORY.
// The device is borrowed.
bw_status bw_policy_create(bw_device* device, const bw_config* config, const bw_safetensors* file, int64_t rows,
                           bw_policy** policy, bw_error* error);
void bw_policy_destroy(bw_policy* policy);  // NULL is allowed

// head[count][actions + 1] (logits, value) of `count` states, state_bytes apart. A row does not depend on the others.
bw_status bw_policy_infer(bw_policy* policy, const void* states, int64_t count, float* head, bw_error* error);

// For those who launch its ops among others.
const bw_net* bw_policy_net(const bw_policy* policy);
const bw_activations* bw_policy_activations(const bw_policy* policy);

#endif
