#include "policy.h"

#include <stdlib.h>

#include "run.h"

struct bw_policy {
  bw_device* device;  // not owned
  const bw_game* game;
  bw_plan plan;
  bw_net_layout layout;
  bw_net net;
  bw_activations activations;
  uint16_t* features;  // [rows][1 + max_features]
};

void bw_policy_destroy(bw_policy* policy) {
  if (!policy) return;
  free(policy->features);
  bw_plan_release(&policy->plan, policy->device);
  bw_plan_free(&policy->plan);
  free(policy);
}

static bw_status fill(bw_policy* policy, const bw_safetensors* file, float* weights, float* parameters,
                      bw_error* error) {
  BW_TRY(bw_read_weights(&policy->layout, file, weights, error));
  bw_net_from_file_order(&policy->layout, weights, parameters);
  BW_TRY(bw_upload_real(policy->device, policy->net.parameters, parameters, policy->layout.parameters, error));
  bw_net_pack(&policy->net, policy->device);
  return bw_device_sync(policy->device, error);
}

// Refuses a config that describes a larger net than the file can hold, before memory for it is taken.
static bw_status check_size(const bw_policy* policy, const bw_safetensors* file, bw_error* error) {
  uint64_t held = 0;
  for (int i = 0; i < file->tensor_count; ++i) held += bw_safetensors_tensor(file, i).bytes;
  const uint64_t needed = (uint64_t)policy->layout.parameters * sizeof(float);
  if (needed <= held) return BW_OK;
  return bw_fail(error, BW_CHECKPOINT, "match", "the options describe a net of %llu bytes, and the file has %llu",
                 (unsigned long long)needed, (unsigned long long)held);
}

static bw_status create(bw_policy* policy, const bw_config* config, const bw_safetensors* file, int64_t rows,
                        bw_error* error) {
  bw_net_layout_make(&policy->layout, bw_config_net_shape(config));
  BW_TRY(check_size(policy, file, error));
  bw_plan* plan = &policy->plan;
  bw_plan_init(plan, policy->device->backend->real_bytes);
  bw_net_plan(&policy->net, &policy->layout, policy->device, plan, "net", "policy", false);
  bw_activations_plan(&policy->activations, &policy->layout, plan, "net", "policy", rows, false);
  BW_TRY(bw_plan_check(plan, 0, error));
  BW_TRY(bw_plan_take(plan, policy->device, error));
  bw_net_bind(&policy->net, policy->device);
  const size_t features = (size_t)rows * (1 + (size_t)policy->layout.shape.max_features) * sizeof *policy->features;
  const size_t bytes = (size_t)policy->layout.parameters * sizeof(float);
  policy->features = malloc(features);
  float* weights = malloc(bytes);
  float* parameters = malloc(bytes);
  const bw_status status = policy->features && weights && parameters
                               ? fill(policy, file, weights, parameters, error)
                               : bw_fail_memory(error, "match", "the policy", features + 2 * bytes, 0);
  free(weights);
  free(parameters);
  return status;
}

bw_status bw_policy_create(bw_device* device, const bw_config* config, const bw_safetensors* file, int64_t rows,
                           bw_policy** out, bw_error* error) {
  bw_policy* policy = calloc(1, sizeof *policy);
  if (!policy) return bw_fail_memory(error, "match", "the policy", sizeof *policy, 0);
  policy->device = device;
  policy->game = bw_game_at(config->game_name);
  const bw_status status = create(policy, config, file, rows, error);
  if (status != BW_OK) {
    bw_policy_destroy(policy);
    return status;
  }
  *out = policy;
  return BW_OK;
}

const bw_net* bw_policy_net(const bw_policy* policy) { return &policy->net; }
const bw_activations* bw_policy_activations(const bw_policy* policy) { return &policy->activations; }

bw_status bw_policy_infer(bw_policy* policy, const void* states, int64_t count, float* head, bw_error* error) {
  return bw_net_infer(policy->device, &policy->net, &policy->activations, policy->game, policy->features, states, count,
                      head, error);
}
