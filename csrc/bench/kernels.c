// Single ops at the shapes that training gives them, launched one by one.
#include <stdlib.h>

#include "../games/registry.h"
#include "case.h"

typedef struct work {
  bw_device* device;
  bw_op op;
  double footprint;  // bytes
  bw_cost cost;
  union {
#define OP(name, items, flops, bytes) bw_##name##_args name;
#define GAME_OP OP
#include "../device/ops.def"
#undef OP
#undef GAME_OP
  } args;
} work;

static bw_status open_kernel(const bw_bench_entry* entry, const bw_bench_request* request, void** out,
                             double* footprint, bw_error* error) {
  work* w = calloc(1, sizeof *w);
  *out = w;
  if (!w) return bw_fail_memory(error, "bench", "the case", sizeof *w, 0);
  BW_TRY(bw_bench_device(request, &w->device, error));
  BW_TRY(entry->make(w, error));
  w->cost = bw_op_cost(w->op, &w->args, w->device->backend->real_bytes);
  *footprint = w->footprint;
  return bw_device_sync(w->device, error);
}

static bw_status sample_kernel(void* context, int64_t calls, bw_bench_sample* sample, bw_error* error) {
  work* w = context;
  const uint64_t start = bw_now_ns();
  for (int64_t i = 0; i < calls; ++i) bw_device_launch(w->device, w->op, &w->args);
  BW_TRY(bw_device_sync(w->device, error));
  sample->seconds = (double)(bw_now_ns() - start) * 1e-9 / (double)calls;
  sample->value = sample->seconds * 1e6;
  sample->work = (bw_bench_work){.flops = w->cost.flops, .bytes = w->cost.bytes};
  return BW_OK;
}

static void close_kernel(void* context) {
  work* w = context;
  if (w) bw_device_destroy(w->device);
  free(w);
}

const bw_bench_family bw_bench_kernels = {.open = open_kernel, .sample = sample_kernel, .close = close_kernel};

// ---- the ops ----

static bw_status reals(work* w, int64_t n, float low, float high, bw_ref* ref, bw_error* error) {
  w->footprint += (double)n * sizeof(float);
  return bw_bench_reals(w->device, n, low, high, ref, error);
}

static bw_status ints(work* w, int64_t n, int32_t first, int32_t step, bw_ref* ref, bw_error* error) {
  w->footprint += (double)n * sizeof(int32_t);
  return bw_bench_ints(w->device, n, first, step, ref, error);
}

static bw_status bytes(work* w, int64_t n, bw_ref* ref, bw_error* error) {
  w->footprint += (double)n;
  return bw_bench_bytes(w->device, (size_t)n, ref, error);
}

enum { ROWS = 256, WIDTH = 256, PARAMETERS = 366600, SMALL_ROWS = 64, ACTIONS = 7, GAMES = 2048 };

bw_status bw_bench_make_relu_backward(void* context, bw_error* error) {
  work* w = context;
  w->op = BW_OP_relu_backward;
  bw_relu_backward_args* a = &w->args.relu_backward;
  a->n = SMALL_ROWS * WIDTH;
  BW_TRY(reals(w, a->n, -1, 1, &a->y, error));
  return reals(w, a->n, -1, 1, &a->dy, error);
}

bw_status bw_bench_make_gelu_forward(void* context, bw_error* error) {
  work* w = context;
  w->op = BW_OP_gelu_forward;
  bw_gelu_forward_args* a = &w->args.gelu_forward;
  a->n = ROWS * WIDTH;
  BW_TRY(reals(w, a->n, -3, 3, &a->x, error));
  BW_TRY(reals(w, a->n, -1, 1, &a->residual, error));
  return reals(w, a->n, 0, 0, &a->y, error);
}

bw_status bw_bench_make_gelu_backward(void* context, bw_error* error) {
  work* w = context;
  w->op = BW_OP_gelu_backward;
  bw_gelu_backward_args* a = &w->args.gelu_backward;
  a->n = ROWS * WIDTH;
  BW_TRY(reals(w, a->n, 1, 1, &a->dy, error));  // in place, again and again: dx must not decay
  return reals(w, a->n, 0, 1, &a->dx, error);
}

bw_status bw_bench_make_layernorm_forward(void* context, bw_error* error) {
  work* w = context;
  w->op = BW_OP_layernorm_forward;
  bw_layernorm_forward_args* a = &w->args.layernorm_forward;
  a->rows = ROWS;
  a->columns = WIDTH;
  BW_TRY(reals(w, ROWS * WIDTH, -1, 1, &a->x, error));
  BW_TRY(reals(w, WIDTH, 0.5f, 1.5f, &a->gain, error));
  BW_TRY(reals(w, WIDTH, -1, 1, &a->shift, error));
  BW_TRY(reals(w, ROWS * WIDTH, 0, 0, &a->y, error));
  BW_TRY(reals(w, ROWS, 0, 0, &a->mean, error));
  return reals(w, ROWS, 0, 0, &a->rstd, error);
}

bw_status bw_bench_make_layernorm_backward(void* context, bw_error* error) {
  work* w = context;
  w->op = BW_OP_layernorm_backward;
  bw_layernorm_backward_args* a = &w->args.layernorm_backward;
  a->rows = ROWS;
  a->columns = WIDTH;
  BW_TRY(reals(w, ROWS * WIDTH, -1, 1, &a->x, error));
  BW_TRY(reals(w, WIDTH, 0.5f, 1.5f, &a->gain, error));
  BW_TRY(reals(w, ROWS, -0.1f, 0.1f, &a->mean, error));
  BW_TRY(reals(w, ROWS, 1.5f, 2, &a->rstd, error));
  BW_TRY(reals(w, ROWS * WIDTH, -1, 1, &a->dy, error));
  BW_TRY(reals(w, ROWS / BW_ROW_GROUP * 2 * WIDTH, 0, 0, &a->partials, error));
  return reals(w, ROWS * WIDTH, 0, 0, &a->dx, error);
}

bw_status bw_bench_make_layernorm_gradient(void* context, bw_error* error) {
  work* w = context;
  w->op = BW_OP_layernorm_gradient;
  bw_layernorm_gradient_args* a = &w->args.layernorm_gradient;
  a->rows = ROWS;
  a->columns = WIDTH;
  BW_TRY(reals(w, ROWS / BW_ROW_GROUP * 2 * WIDTH, -1, 1, &a->partials, error));
  BW_TRY(reals(w, WIDTH, 0, 0, &a->dgain, error));
  return reals(w, WIDTH, 0, 0, &a->dshift, error);
}

static bw_status find_game(const char* name, int* index, const bw_game** game, bw_error* error) {
  BW_TRY(bw_game_find(name, index, error));
  *game = bw_game_at(*index);
  return BW_OK;
}

// n states that random play goes through.
static bw_status states(work* w, const bw_game* game, int64_t n, bw_ref* ref, bw_error* error) {
  BW_TRY(bytes(w, n * (int64_t)game->state_bytes, ref, error));
  char* host = malloc((size_t)n * game->state_bytes);
  if (!host) return bw_fail_memory(error, "bench", "states", (uint64_t)n * game->state_bytes, 0);
  _Alignas(16) unsigned char state[BW_GAME_MAX_STATE_BYTES];
  game->init(state);
  uint32_t word = 1;
  for (int64_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < game->state_bytes; ++k) host[(size_t)i * game->state_bytes + k] = (char)state[k];
    const uint32_t legal = game->legal(state);
    int action;
    do {
      word = word * 1664525u + 1013904223u;
      action = (int)(word >> 16) % game->actions;
    } while (!(legal >> action & 1u));
    game->play(state, action);
    if (game->result(state) != 0) game->init(state);
  }
  w->device->backend->upload(w->device, *ref, host, (size_t)n * game->state_bytes);
  free(host);
  return BW_OK;
}

// Lists of features of n states that random play goes through, as rollout_encode makes them.
static bw_status features(work* w, const bw_game* game, int index, int64_t n, bw_ref* ref, bw_error* error) {
  bw_rollout_encode_args a = {
      .game = index, .rows = n, .max_features = game->observers[BW_OBSERVE_STONES].max_features};
  BW_TRY(bytes(w, n * (1 + game->observers[BW_OBSERVE_STONES].max_features) * (int64_t)sizeof(uint16_t), ref, error));
  a.features = *ref;
  BW_TRY(bw_bench_bytes(w->device, (size_t)n * sizeof(bw_game_setup), &a.rollout.setups, error));
  BW_TRY(states(w, game, n, &a.rollout.states, error));
  BW_TRY(bw_bench_ints(w->device, n, 0, 1, &a.row_games, error));
  bw_device_launch(w->device, BW_OP_rollout_encode, &a);
  return BW_OK;
}

bw_status bw_bench_make_features_forward(void* context, bw_error* error) {
  work* w = context;
  const bw_game* game = NULL;
  int index = 0;
  BW_TRY(find_game("connect4", &index, &game, error));
  w->op = BW_OP_features_forward;
  bw_features_forward_args* a = &w->args.features_forward;
  a->rows = ROWS;
  a->columns = WIDTH;
  a->max_features = game->observers[BW_OBSERVE_STONES].max_features;
  BW_TRY(features(w, game, index, ROWS, &a->features, error));
  BW_TRY(reals(w, game->observers[BW_OBSERVE_STONES].inputs * WIDTH, -1, 1, &a->weight, error));
  BW_TRY(reals(w, WIDTH, -1, 1, &a->base, error));
  return reals(w, ROWS * WIDTH, 0, 0, &a->y, error);
}

bw_status bw_bench_make_features_gradient(void* context, bw_error* error) {
  work* w = context;
  const bw_game* game = NULL;
  int index = 0;
  BW_TRY(find_game("connect4", &index, &game, error));
  w->op = BW_OP_features_gradient;
  bw_features_gradient_args* a = &w->args.features_gradient;
  a->rows = ROWS;
  a->inputs = game->observers[BW_OBSERVE_STONES].inputs;
  a->planes = game->observers[BW_OBSERVE_STONES].planes;
  a->columns = WIDTH;
  a->max_features = game->observers[BW_OBSERVE_STONES].max_features;
  BW_TRY(features(w, game, index, ROWS, &a->features, error));
  BW_TRY(reals(w, ROWS * WIDTH, -1, 1, &a->dy, error));
  BW_TRY(reals(w, game->observers[BW_OBSERVE_STONES].inputs * WIDTH, 0, 0, &a->weight_gradient, error));
  return reals(w, WIDTH, 0, 0, &a->bias_gradient, error);
}

bw_status bw_bench_make_square_sum(void* context, bw_error* error) {
  work* w = context;
  w->op = BW_OP_square_sum;
  bw_square_sum_args* a = &w->args.square_sum;
  a->n = PARAMETERS;
  BW_TRY(reals(w, a->n, -1, 1, &a->x, error));
  a->chunk = 4096;
  return reals(w, (a->n + a->chunk - 1) / a->chunk, 0, 0, &a->partial, error);
}

bw_status bw_bench_make_adamw(void* context, bw_error* error) {
  work* w = context;
  w->op = BW_OP_adamw;
  bw_adamw_args* a = &w->args.adamw;
  // A step too small to lead the weights anywhere, however often it is taken.
  *a = (bw_adamw_args){.n = PARAMETERS,
                       .lr = 1e-12,
                       .step_size = 1e-12,
                       .beta1 = 0.9,
                       .beta2 = 0.999,
                       .second_scale = 1,
                       .epsilon = 1e-8};
  BW_TRY(reals(w, a->n, -1, 1, &a->weights, error));
  BW_TRY(reals(w, a->n, -1, 1, &a->gradients, error));
  BW_TRY(reals(w, a->n, -1, 1, &a->first, error));
  BW_TRY(reals(w, a->n, 0, 1, &a->second, error));
  return reals(w, 2, 1, 1, &a->norm, error);
}

bw_status bw_bench_make_ppo_loss(void* context, bw_error* error) {
  work* w = context;
  w->op = BW_OP_ppo_loss;
  bw_ppo_loss_args* a = &w->args.ppo_loss;
  *a = (bw_ppo_loss_args){
      .rows = ROWS, .samples = ROWS, .actions = ACTIONS, .clip = 0.2, .value_coef = 0.5, .entropy_coef = 0.001};
  BW_TRY(ints(w, ROWS, 1, 1, &a->row_ends, error));
  BW_TRY(reals(w, ROWS * (ACTIONS + 1), -1, 1, &a->head, error));
  BW_TRY(ints(w, ROWS, (1 << ACTIONS) - 1, 0, &a->masks, error));
  BW_TRY(ints(w, ROWS, 3, 0, &a->actions_taken, error));
  BW_TRY(reals(w, ROWS, -2.5f, -1.5f, &a->log_probs, error));
  BW_TRY(reals(w, ROWS, -1, 1, &a->advantages, error));
  BW_TRY(reals(w, ROWS, -1, 1, &a->returns, error));
  BW_TRY(reals(w, ROWS * (ACTIONS + 1), 0, 0, &a->dhead, error));
  return reals(w, ROWS * BW_STATISTICS, 0, 0, &a->statistics, error);
}

bw_status bw_bench_make_rollout_encode(void* context, bw_error* error) {
  work* w = context;
  const bw_game* game = NULL;
  w->op = BW_OP_rollout_encode;
  bw_rollout_encode_args* a = &w->args.rollout_encode;
  BW_TRY(find_game("connect4", &a->game, &game, error));
  a->rows = GAMES;
  a->max_features = game->observers[BW_OBSERVE_STONES].max_features;
  BW_TRY(bytes(w, GAMES * (int64_t)sizeof(bw_game_setup), &a->rollout.setups, error));
  BW_TRY(states(w, game, GAMES, &a->rollout.states, error));
  BW_TRY(ints(w, GAMES, 0, 1, &a->row_games, error));
  return bytes(w, GAMES * (1 + a->max_features) * (int64_t)sizeof(uint16_t), &a->features, error);
}

bw_status bw_bench_make_rollout_unique(void* context, bw_error* error) {
  work* w = context;
  const bw_game* game = NULL;
  w->op = BW_OP_rollout_unique;
  bw_rollout_unique_args* a = &w->args.rollout_unique;
  BW_TRY(find_game("connect4", &a->game, &game, error));
  a->rows = GAMES;
  a->slots = 2 * GAMES;
  BW_TRY(bytes(w, GAMES * (int64_t)sizeof(bw_game_setup), &a->rollout.setups, error));
  BW_TRY(states(w, game, GAMES, &a->rollout.states, error));
  BW_TRY(ints(w, GAMES, 0, 1, &a->row_games, error));
  BW_TRY(ints(w, GAMES, 0, 0, &a->unique_games, error));
  BW_TRY(ints(w, GAMES, 0, 0, &a->row_heads, error));
  BW_TRY(ints(w, 1, 0, 0, &a->count, error));
  BW_TRY(ints(w, a->slots, 0, 0, &a->table, error));
  return bytes(w, GAMES * (int64_t)sizeof(uint64_t), &a->keys, error);
}

bw_status bw_bench_make_sample_states(void* context, bw_error* error) {
  work* w = context;
  const bw_game* game = NULL;
  w->op = BW_OP_sample_states;
  bw_sample_states_args* a = &w->args.sample_states;
  BW_TRY(find_game("connect4", &a->game, &game, error));
  a->samples = GAMES * 10;
  for (a->table_slots = 2; a->table_slots < 2 * a->samples;) a->table_slots *= 2;
  BW_TRY(states(w, game, a->samples, &a->rollout.record_states, error));
  BW_TRY(ints(w, a->samples, 0, 1, &a->slots, error));
  BW_TRY(ints(w, a->samples, 0, 0, &a->numbers, error));
  BW_TRY(ints(w, a->table_slots, 0, 0, &a->table, error));
  return bytes(w, a->samples * (int64_t)sizeof(uint64_t), &a->keys, error);
}

bw_status bw_bench_make_sample_gather(void* context, bw_error* error) {
  work* w = context;
  const bw_game* game = NULL;
  w->op = BW_OP_sample_gather;
  bw_sample_gather_args* a = &w->args.sample_gather;
  BW_TRY(find_game("connect4", &a->game, &game, error));
  a->rows = a->samples = ROWS;
  a->max_features = game->observers[BW_OBSERVE_STONES].max_features;
  const int64_t records = GAMES * 10;
  BW_TRY(states(w, game, records, &a->rollout.record_states, error));
  BW_TRY(ints(w, records, 3, 0, &a->rollout.record_actions, error));
  BW_TRY(reals(w, records, -2, -1, &a->rollout.record_log_probs, error));
  BW_TRY(reals(w, records, -1, 1, &a->rollout.record_advantages, error));
  BW_TRY(reals(w, records, -1, 1, &a->rollout.record_returns, error));
  BW_TRY(ints(w, ROWS, 17, 79, &a->order, error));  // scattered, as a shuffle leaves them
  BW_TRY(ints(w, ROWS, 1, 1, &a->row_ends, error));
  BW_TRY(bytes(w, ROWS * (1 + a->max_features) * (int64_t)sizeof(uint16_t), &a->features, error));
  BW_TRY(ints(w, ROWS, 0, 0, &a->masks, error));
  BW_TRY(ints(w, ROWS, 0, 0, &a->actions, error));
  BW_TRY(reals(w, ROWS, 0, 0, &a->log_probs, error));
  BW_TRY(reals(w, ROWS, 0, 0, &a->advantages, error));
  return reals(w, ROWS, 0, 0, &a->returns, error);
}

bw_status bw_bench_make_gae(void* context, bw_error* error) {
  work* w = context;
  const bw_game* game = NULL;
  int index = 0;
  w->op = BW_OP_gae;
  bw_gae_args* a = &w->args.gae;
  BW_TRY(find_game("connect4", &index, &game, error));
  *a = (bw_gae_args){.gamma = 0.99, .lambda = 0.95, .games = GAMES, .max_plies = game->max_plies, .by_player = 1};
  const int64_t records = GAMES * a->max_plies;
  BW_TRY(ints(w, GAMES, BW_OUTCOME_FIRST, 0, &a->rollout.outcomes, error));
  BW_TRY(ints(w, GAMES, 10, 0, &a->rollout.counts, error));
  BW_TRY(ints(w, records, 0, 0, &a->rollout.record_players, error));
  BW_TRY(reals(w, records, -1, 1, &a->rollout.record_values, error));
  BW_TRY(reals(w, records, 0, 0, &a->rollout.record_advantages, error));
  return reals(w, records, 0, 0, &a->rollout.record_returns, error);
}
