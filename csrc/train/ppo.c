// The PPO update (Schulman et al., "Proximal policy optimization algorithms", 2017): advantages of the collected
// games, then epochs of shuffled minibatches.
#include <math.h>
#include <string.h>

#include "run.h"

static bw_status download_reals(bw_run* run, float* to, bw_ref from, int64_t count, bw_error* error) {
  return bw_download_real(run->device, to, from, count, error);
}

bw_status bw_ppo_prepare(bw_run* run, int64_t* samples, bw_iteration* out, bw_error* error) {
  bw_device* device = run->device;
  const bw_config* c = &run->config;
  const int64_t max_plies = run->game->max_plies;
  BW_LAUNCH(device, gae, .rollout = run->rollout, .gamma = c->ppo_gamma, .lambda = c->ppo_lambda,
            .draw_reward = c->rollout_draw_reward, .games = c->rollout_games, .max_plies = max_plies,
            .by_player = c->ppo_chain == BW_CHAIN_PLAYER);
  if (run->layout.shape.wdl) {
    BW_LAUNCH(device, wdl_targets, .rollout = run->rollout, .gamma = c->ppo_gamma, .lambda = c->ppo_lambda,
              .games = c->rollout_games, .max_plies = max_plies, .by_player = c->ppo_chain == BW_CHAIN_PLAYER);
  }
  BW_LAUNCH(device, sample_list, .rollout = run->rollout, .slots = run->slots, .count = run->sample_count,
            .games = c->rollout_games, .max_plies = max_plies);
  int32_t count = 0;
  device->backend->download(device, &count, run->sample_count, sizeof count);
  *samples = count;
  if (count == 0) return BW_OK;
  device->backend->download(device, run->host_slots, run->slots, (size_t)count * sizeof(int32_t));
  if (c->ppo_share_states) {
    int64_t table_slots = 2;
    while (table_slots < 2 * (int64_t)count) table_slots *= 2;
    BW_LAUNCH(device, sample_states, .game = run->game_index, .rollout = run->rollout, .slots = run->slots,
              .numbers = run->sample_numbers, .table = run->sample_table, .keys = run->sample_keys, .samples = count,
              .table_slots = table_slots);
    device->backend->download(device, run->host_numbers, run->sample_numbers,
                              (size_t)(c->rollout_games * max_plies) * sizeof(int32_t));
  }
  BW_LAUNCH(device, sample_moments, .rollout = run->rollout, .slots = run->slots, .moments = run->moments,
            .samples = count);
  float moments[5];
  BW_TRY(download_reals(run, moments, run->moments, 5, error));
  out->explained_variance = moments[2] > 0 ? 1 - (double)moments[3] / (double)moments[2] : 0;
  if (c->ppo_normalize_advantages) {
    BW_LAUNCH(device, advantage_normalize, .rollout = run->rollout, .slots = run->slots, .moments = run->moments,
              .samples = count);
  }
  return BW_OK;
}

// host_order = host_slots shuffled (Fisher-Yates), keyed by iteration and epoch.
static void shuffle(bw_run* run, int64_t samples, int epoch) {
  memcpy(run->host_order, run->host_slots, (size_t)samples * sizeof(int32_t));
  const uint64_t seed = bw_role_seed(run, run->role);
  const uint64_t key = (uint64_t)run->iteration << 8 | (uint64_t)epoch;
  bw_random4 words = {{0, 0, 0, 0}};
  for (int64_t i = samples - 1; i > 0; --i) {
    if (i == samples - 1 || i % 4 == 3) words = bw_philox(seed, BW_STREAM_SHUFFLE, key, (uint32_t)(i / 4));
    const uint32_t j = bw_below(words.v[i % 4], (uint32_t)i + 1);
    const int32_t swap = run->host_order[i];
    run->host_order[i] = run->host_order[j];
    run->host_order[j] = swap;
  }
}

// Puts equal states of the minibatch host_order[first .. first + samples) together, in order of first appearance, and
// the samples of a state in the order that they had. Returns how many states there are; host_row_ends says where each
// one's samples end. Without sharing every sample is a row of its own.
static int64_t arrange_minibatch(bw_run* run, int64_t first, int64_t samples) {
  int32_t* order = run->host_order + first;
  int32_t* row_ends = run->host_row_ends + first;
  if (!run->config.ppo_share_states) {
    for (int64_t i = 0; i < samples; ++i) row_ends[i] = (int32_t)i + 1;
    return samples;
  }
  // A set of numbers (Briggs and Torczon 1993): row_of[n] is n's row if that row exists and has the number n.
  int32_t* row_of = run->host_row_of;
  int32_t* number_of = run->host_row_numbers;
  int32_t rows = 0;
  for (int64_t i = 0; i < samples; ++i) {
    const int32_t number = run->host_numbers[order[i]];
    int32_t row = row_of[number];
    if (row >= rows || number_of[row] != number) {
      row = row_of[number] = rows++;
      number_of[row] = number;
      row_ends[row] = 0;
    }
    ++row_ends[row];
  }
  for (int32_t row = 0, begin = 0; row < rows; ++row) {
    const int32_t count = row_ends[row];
    row_ends[row] = begin;
    begin += count;
  }
  memcpy(run->host_unsorted, order, (size_t)samples * sizeof *order);
  for (int64_t i = 0; i < samples; ++i) {
    const int32_t slot = run->host_unsorted[i];
    order[row_ends[row_of[run->host_numbers[slot]]]++] = slot;
  }
  return rows;
}

void bw_ppo_arrange(bw_run* run, int64_t samples) {
  const int64_t minibatch = run->config.ppo_minibatch;
  for (int64_t first = 0, i = 0; first < samples; first += minibatch, ++i) {
    run->host_rows[i] =
        (int32_t)arrange_minibatch(run, first, samples - first < minibatch ? samples - first : minibatch);
  }
  const size_t bytes = (size_t)samples * sizeof(int32_t);
  run->device->backend->upload(run->device, run->order, run->host_order, bytes);
  run->device->backend->upload(run->device, run->row_ends, run->host_row_ends, bytes);
}

void bw_ppo_gradient(bw_run* run, int64_t first, int64_t samples, double entropy_coef) {
  bw_device* device = run->device;
  const int64_t rows = run->host_rows[first / run->config.ppo_minibatch];
  const bw_ref row_ends = bw_ref_at(run->row_ends, (uint64_t)first * sizeof(int32_t));
  const bw_config* c = &run->config;
  bw_group_begin(device, BW_GROUP_ROWS, rows);
  BW_LAUNCH(device, sample_gather, .game = run->game_index, .rollout = run->rollout,
            .order = bw_ref_at(run->order, (uint64_t)first * sizeof(int32_t)), .row_ends = row_ends,
            .features = run->activations.features, .masks = run->masks, .actions = run->actions,
            .log_probs = run->log_probs, .advantages = run->advantages, .returns = run->returns, .wdl = run->wdl,
            .policies = run->policies, .rows = rows, .samples = samples, .observation = run->layout.shape.observation,
            .max_features = run->layout.shape.max_features,
            .policy_actions = c->ppo_kl_coef > 0 ? run->game->actions : 0, .with_wdl = run->layout.shape.wdl);
  bw_net_forward(device, &run->agent, &run->activations, rows);
  BW_LAUNCH(device, ppo_loss, .row_ends = row_ends, .head = run->activations.head, .masks = run->masks,
            .actions_taken = run->actions, .log_probs = run->log_probs, .advantages = run->advantages,
            .returns = run->returns, .wdl = run->wdl, .policies = run->policies, .with_wdl = run->layout.shape.wdl,
            .dhead = run->activations.dhead, .statistics = run->statistics, .rows = rows, .samples = samples,
            .actions = run->game->actions, .clip = c->ppo_clip, .value_coef = c->ppo_value_coef,
            .entropy_coef = entropy_coef, .kl_coef = ldexp(c->ppo_kl_coef, (int)run->kl_doublings));
  bw_net_backward(device, &run->agent, &run->activations, rows);
  bw_group_end(device);
  bw_group_begin(device, BW_GROUP_INDEPENDENT, 0);
  bw_net_gradients(device, &run->agent, &run->activations, rows);
  BW_LAUNCH(device, ppo_statistics, .statistics = run->statistics, .totals = run->totals, .samples = samples);
  bw_group_end(device);
}

// A BW_NUMERIC failure that names where the first bad number stands.
static bw_status fail_numeric(bw_run* run, const float* totals, bw_error* error) {
  const char* tensor = "gradients";
  if (!isfinite(totals[BW_STATISTIC_VALUE_LOSS])) tensor = "value loss";
  if (!isfinite(totals[BW_STATISTIC_POLICY_LOSS])) tensor = "policy loss";
  const bw_status status = bw_fail(error, BW_NUMERIC, "ppo.update", "NaN or infinity in the %s at optimiser step %lld",
                                   tensor, (long long)run->updates + 1);
  if (error) {
    strncpy(error->path, tensor, sizeof error->path - 1);
    strncpy(error->device, run->device->backend->name, sizeof error->device - 1);
    error->step = run->updates + 1;
  }
  return status;
}

bw_status bw_ppo_update(bw_run* run, double lr_share, double entropy_coef, bw_iteration* out, bw_error* error) {
  bw_device* device = run->device;
  const bw_config* c = &run->config;
  int64_t samples = 0;
  BW_TRY(bw_ppo_prepare(run, &samples, out, error));
  out->samples = samples;
  if (samples == 0) return BW_OK;  // every game ended before a move that is trained

  double sums[BW_STATISTICS] = {0};
  double norm_sum = 0;
  int64_t steps = 0;
  float totals[BW_STATISTICS];
  for (int epoch = 0; epoch < c->ppo_epochs; ++epoch) {
    shuffle(run, samples, epoch);
    bw_ppo_arrange(run, samples);
    device->backend->zero(device, run->totals, (size_t)BW_STATISTICS * (size_t)device->backend->real_bytes);
    for (int64_t first = 0; first < samples; first += c->ppo_minibatch) {
      if (atomic_load(&run->cancelled)) return bw_fail(error, BW_CANCELLED, "update", "cancelled");
      const int64_t left = samples - first;
      bw_ppo_gradient(run, first, left < c->ppo_minibatch ? left : c->ppo_minibatch, entropy_coef);
      if (epoch == 0 && first == 0) {
        BW_TRY(download_reals(run, totals, run->totals, BW_STATISTICS, error));
        out->max_ratio_error = totals[BW_STATISTIC_RATIO_ERROR];
      }
      const double norm = bw_optimizer_step(run, lr_share);
      if (!isfinite(norm)) {
        BW_TRY(download_reals(run, totals, run->totals, BW_STATISTICS, error));
        return fail_numeric(run, totals, error);
      }
      norm_sum += norm;
      ++steps;
    }
    BW_TRY(download_reals(run, totals, run->totals, BW_STATISTICS, error));
    for (int k = 0; k < BW_STATISTICS; ++k) {
      if (!isfinite(totals[k])) return fail_numeric(run, totals, error);
      sums[k] += (double)totals[k] / (double)samples;
    }
    out->approx_kl = (double)totals[BW_STATISTIC_KL] / (double)samples;
    out->epochs = epoch + 1;
    if (c->ppo_target_kl > 0 && out->approx_kl > c->ppo_target_kl) break;
  }
  const double epochs = (double)out->epochs;
  out->policy_loss = sums[BW_STATISTIC_POLICY_LOSS] / epochs;
  out->value_loss = sums[BW_STATISTIC_VALUE_LOSS] / epochs;
  out->entropy = sums[BW_STATISTIC_ENTROPY] / epochs;
  out->clip_fraction = sums[BW_STATISTIC_CLIPPED] / epochs;
  out->grad_norm = norm_sum / (double)steps;
  out->updates = steps;
  return bw_device_sync(device, error);
}
