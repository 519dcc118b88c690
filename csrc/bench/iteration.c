// One iteration of training by the recipe of self-play-ppo (see bench/README.md), through the public interface.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../api/bw.h"
#include "case.h"

typedef struct setting {
  const char* path;
  bw_value_kind kind;
  const char* text;
} setting;

// One opponent an iteration from a pool of past policies, only the agent's moves trained, GAE over its own moves.
static const setting shared_recipe[] = {
    {"net.width", BW_VALUE_NUMBER, "256"},
    {"rollout.openings.share", BW_VALUE_NUMBER, "0"},
    {"rollout.mirror", BW_VALUE_BOOL, "false"},
    {"rollout.opponents.selfShare", BW_VALUE_NUMBER, "0"},
    {"rollout.opponents.every", BW_VALUE_NUMBER, "25"},
    {"rollout.opponents.sampling", BW_VALUE_STRING, "uniform"},
    {"rollout.opponents.per", BW_VALUE_STRING, "iteration"},
    {"rollout.opponents.learn", BW_VALUE_STRING, "agent"},
    {"ppo.epochs", BW_VALUE_NUMBER, "4"},
    {"ppo.gamma", BW_VALUE_NUMBER, "0.99"},
    {"ppo.lambda", BW_VALUE_NUMBER, "0.95"},
    {"ppo.chain", BW_VALUE_STRING, "player"},
    {"ppo.valueCoef", BW_VALUE_NUMBER, "0.5"},
    {"ppo.entropySchedule", BW_VALUE_STRING, "constant"},
    {"ppo.lrSchedule", BW_VALUE_STRING, "constant"},
    {"ppo.maxGradNorm", BW_VALUE_NUMBER, "0.5"},
    {"ppo.targetKl", BW_VALUE_NUMBER, "0"},
    {"ppo.normalizeAdvantages", BW_VALUE_BOOL, "true"},
    {"ppo.shareStates", BW_VALUE_BOOL, "true"},
    {"ppo.optimizer", BW_VALUE_STRING, "adamw"},
    {"ppo.beta1", BW_VALUE_NUMBER, "0.9"},
    {"ppo.beta2", BW_VALUE_NUMBER, "0.999"},
    {"ppo.epsilon", BW_VALUE_NUMBER, "1e-8"},
    {"ppo.weightDecay", BW_VALUE_NUMBER, "0"},
    {"run.device", BW_VALUE_STRING, "cpu"},
    {"run.seed", BW_VALUE_NUMBER, "0"},
    {NULL, BW_VALUE_OTHER, NULL},
};

static const setting tictactoe_recipe[] = {
    {"net.kind", BW_VALUE_STRING, "mlp"},
    {"net.depth", BW_VALUE_NUMBER, "4"},
    {"rollout.games", BW_VALUE_NUMBER, "512"},
    {"rollout.drawReward", BW_VALUE_NUMBER, "0.5"},
    {"rollout.opponents.pool", BW_VALUE_NUMBER, "20"},
    {"rollout.opponents.eviction", BW_VALUE_STRING, "keepFirst"},
    {"rollout.opponents.temperature", BW_VALUE_NUMBER, "1"},
    {"ppo.minibatch", BW_VALUE_NUMBER, "64"},
    {"ppo.clip", BW_VALUE_NUMBER, "0.1"},
    {"ppo.entropy", BW_VALUE_NUMBER, "0.05"},
    {"ppo.lr", BW_VALUE_NUMBER, "0.003"},
    {NULL, BW_VALUE_OTHER, NULL},
};

static const setting connect4_recipe[] = {
    {"net.kind", BW_VALUE_STRING, "resmlp"},
    {"net.depth", BW_VALUE_NUMBER, "6"},
    {"rollout.games", BW_VALUE_NUMBER, "2048"},
    {"rollout.drawReward", BW_VALUE_NUMBER, "0"},
    {"rollout.opponents.pool", BW_VALUE_NUMBER, "50"},
    {"rollout.opponents.eviction", BW_VALUE_STRING, "reservoir"},
    {"rollout.opponents.temperature", BW_VALUE_NUMBER, "1.5"},
    {"ppo.minibatch", BW_VALUE_NUMBER, "256"},
    {"ppo.clip", BW_VALUE_NUMBER, "0.2"},
    {"ppo.entropy", BW_VALUE_NUMBER, "0.001"},
    {"ppo.lr", BW_VALUE_NUMBER, "0.0003"},
    {NULL, BW_VALUE_OTHER, NULL},
};

typedef struct work {
  bw_selfplay* run;
  double scaled_steps;                      // 0: not scaled
  double forward_flops, first_layer_flops;  // of one sample; of it the first layer
  double parameters;
} work;

static bw_status set_all(bw_config* config, const setting* settings, bw_error* error) {
  for (; settings->path; ++settings) {
    BW_TRY(bw_config_set(config, settings->path, settings->kind, settings->text, error));
  }
  return BW_OK;
}

static bw_status create(const bw_bench_entry* entry, const bw_bench_request* request, work* w, bw_error* error) {
  bw_config config;
  char threads[16];
  snprintf(threads, sizeof threads, "%d", request->threads);
  w->scaled_steps = entry->of.steps;
  BW_TRY(bw_config_defaults(&config, entry->game, error));  // a peer's recipe: ours must not show
  BW_TRY(set_all(&config, shared_recipe, error));
  BW_TRY(set_all(&config, strcmp(entry->game, "connect4") == 0 ? connect4_recipe : tictactoe_recipe, error));
  BW_TRY(bw_config_set(&config, "run.threads", BW_VALUE_NUMBER, threads, error));
  BW_TRY(bw_config_set(&config, "run.precision", BW_VALUE_STRING, request->precision, error));
  BW_TRY(bw_config_check(&config, error));
  return bw_selfplay_create(&config, &w->run, error);
}

static bw_status open_iteration(const bw_bench_entry* entry, const bw_bench_request* request, void** out,
                                double* footprint, bw_error* error) {
  work* w = calloc(1, sizeof *w);
  *out = w;
  if (!w) return bw_fail_memory(error, "bench", "the case", sizeof *w, 0);
  BW_TRY(create(entry, request, w, error));
  for (int i = 0; i < bw_selfplay_tensor_count(w->run); ++i) {
    const bw_tensor_info tensor = bw_selfplay_tensor(w->run, i);
    if (tensor.rank != 2) continue;
    const double flops = 2.0 * (double)tensor.shape[0] * (double)tensor.shape[1];
    w->forward_flops += flops;
    if (strcmp(tensor.name, "trunk.0.weight") == 0) w->first_layer_flops = flops;
  }
  w->parameters = (double)bw_selfplay_parameter_count(w->run);
  *footprint = 4 * sizeof(float) * w->parameters;  // weights, gradients, both moments
  return BW_OK;
}

static bw_status sample_iteration(void* context, int64_t calls, bw_bench_sample* sample, bw_error* error) {
  (void)calls;  // always one
  work* w = context;
  bw_iteration it;
  const uint64_t start = bw_now_ns();
  BW_TRY(bw_selfplay_iterate(w->run, 0, &it, error));
  sample->seconds = (double)(bw_now_ns() - start) * 1e-9;
  sample->samples = (double)it.samples;
  sample->moves = (double)it.plies;
  sample->steps = (double)it.updates;
  sample->collect_seconds = it.collect_seconds;
  sample->update_seconds = it.update_seconds;
  // Dense operations of the recipe, whatever shortcuts are taken: a forward pass for every move, and for every sample
  // of every epoch the forward pass, the gradient of all inputs but the observation, and that of all weights.
  sample->work.flops = sample->moves * w->forward_flops +
                       (double)it.epochs * sample->samples * (3 * w->forward_flops - w->first_layer_flops);
  // Adam reads four numbers a parameter and writes three; operations as in device/ops.def.
  sample->optimizer.bytes = sample->steps * 7 * sizeof(float) * w->parameters;
  sample->optimizer.flops = sample->steps * 14 * w->parameters;
  sample->value = sample->seconds * 1e3 * (w->scaled_steps > 0 ? w->scaled_steps / sample->steps : 1);
  return BW_OK;
}

static void close_iteration(void* context) {
  work* w = context;
  if (w) bw_selfplay_destroy(w->run);
  free(w);
}

static const bw_prof* profile(void* context) { return bw_selfplay_profile(((work*)context)->run); }
static void profile_reset(void* context) { bw_selfplay_profile_reset(((work*)context)->run); }

const bw_bench_family bw_bench_iterations = {
    .open = open_iteration,
    .sample = sample_iteration,
    .close = close_iteration,
    .warm_up = 2,
    .profile = profile,
    .profile_reset = profile_reset,
};
