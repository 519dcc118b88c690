// Memory and life of a run, the iteration, inference.
#include "run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "schedule.h"

bw_net_shape bw_config_net_shape(const bw_config* config) {
  const bw_game* game = bw_game_at(config->game_name);
  const bw_observer* observer = &game->observers[config->net_observation];
  return (bw_net_shape){.kind = config->net_kind == BW_NET_MLP ? BW_NET_KIND_MLP : BW_NET_KIND_RESMLP,
                        .inputs = observer->inputs,
                        .actions = game->actions,
                        .width = config->net_width,
                        .depth = config->net_depth,
                        .observation = (int)config->net_observation,
                        .planes = observer->planes,
                        .max_features = observer->max_features,
                        .wdl = config->net_value == BW_VALUE_WDL,
                        .draw_value = config->rollout_draw_reward};
}

// ---- memory ----

static void plan_rollout(bw_run* run) {
  bw_plan* plan = &run->plan;
  bw_rollout_buffers* r = &run->rollout;
  const int64_t games = run->config.rollout_games;
  const int64_t batch = run->config.rollout_batch < games ? run->config.rollout_batch : games;
  const int64_t plies = run->game->max_plies;
  const int64_t state = (int64_t)run->game->state_bytes;
#define ROLLOUT(name, element, ref, ...) BW_PLAN(plan, BW_LIFE_WORK, "rollout", name, element, ref, __VA_ARGS__)
  ROLLOUT("setups", BW_ELEMENT_U8, &r->setups, games, (int64_t)sizeof(bw_game_setup));
  ROLLOUT("states", BW_ELEMENT_U8, &r->states, games, state);
  ROLLOUT("outcomes", BW_ELEMENT_I32, &r->outcomes, games);
  ROLLOUT("plies", BW_ELEMENT_I32, &r->plies, games);
  ROLLOUT("record counts", BW_ELEMENT_I32, &r->counts, games);
  ROLLOUT("record states", BW_ELEMENT_U8, &r->record_states, games, plies, state);
  ROLLOUT("record actions", BW_ELEMENT_I32, &r->record_actions, games, plies);
  ROLLOUT("record players", BW_ELEMENT_I32, &r->record_players, games, plies);
  ROLLOUT("record log probs", BW_ELEMENT_REAL, &r->record_log_probs, games, plies);
  ROLLOUT("record values", BW_ELEMENT_REAL, &r->record_values, games, plies);
  ROLLOUT("record advantages", BW_ELEMENT_REAL, &r->record_advantages, games, plies);
  ROLLOUT("record returns", BW_ELEMENT_REAL, &r->record_returns, games, plies);
  if (run->config.ppo_kl_coef > 0) {
    ROLLOUT("record policies", BW_ELEMENT_REAL, &r->record_policies, games, plies, run->game->actions);
  }
  if (run->layout.shape.wdl) ROLLOUT("record outcomes", BW_ELEMENT_REAL, &r->record_wdl, games, plies, 3);
  if (bw_starts_used(&run->config)) ROLLOUT("starts", BW_ELEMENT_U8, &run->start_states, games, state);
  if (bw_starts_kept(&run->config)) ROLLOUT("moves", BW_ELEMENT_U8, &r->moves, games, plies);
  ROLLOUT("game list", BW_ELEMENT_I32, &run->list, batch);
  ROLLOUT("rows", BW_ELEMENT_I32, &run->rows, batch);
  ROLLOUT("row count", BW_ELEMENT_I32, &run->row_count, 1);
  ROLLOUT("unique games", BW_ELEMENT_I32, &run->unique_games, batch);
  ROLLOUT("row heads", BW_ELEMENT_I32, &run->row_heads, batch);
  for (run->state_slots = 2; run->state_slots < 2 * batch;) run->state_slots *= 2;
  ROLLOUT("state table", BW_ELEMENT_I32, &run->state_table, run->state_slots);
  ROLLOUT("state keys", BW_ELEMENT_U8, &run->state_keys, batch, (int64_t)sizeof(uint64_t));
  ROLLOUT("sample slots", BW_ELEMENT_I32, &run->slots, games, plies);
  ROLLOUT("sample order", BW_ELEMENT_I32, &run->order, games, plies);
  ROLLOUT("row ends", BW_ELEMENT_I32, &run->row_ends, games, plies);
  if (run->config.ppo_share_states) {
    int64_t table_slots = 2;
    while (table_slots < 2 * games * plies) table_slots *= 2;
    ROLLOUT("sample numbers", BW_ELEMENT_I32, &run->sample_numbers, games, plies);
    ROLLOUT("sample table", BW_ELEMENT_I32, &run->sample_table, table_slots);
    ROLLOUT("sample keys", BW_ELEMENT_U8, &run->sample_keys, games, plies, (int64_t)sizeof(uint64_t));
  }
  ROLLOUT("sample count", BW_ELEMENT_I32, &run->sample_count, 1);
  ROLLOUT("moments", BW_ELEMENT_REAL, &run->moments, 5);
#undef ROLLOUT
}

static int64_t max_samples(const bw_config* config, const bw_game* game) {
  return config->rollout_games * game->max_plies;
}

static int64_t minibatch_rows(const bw_run* run) {
  const int64_t samples = max_samples(&run->config, run->game);
  return run->config.ppo_minibatch < samples ? run->config.ppo_minibatch : samples;
}

static int64_t minibatches(const bw_run* run) {
  return (max_samples(&run->config, run->game) + minibatch_rows(run) - 1) / minibatch_rows(run);
}

static int64_t batch_rows(const bw_run* run) {
  const bw_config* c = &run->config;
  return c->rollout_batch < c->rollout_games ? c->rollout_batch : c->rollout_games;
}

static void plan_update(bw_run* run) {
  const int64_t rows = minibatch_rows(run);
#define UPDATE(name, element, ref, ...) BW_PLAN(&run->plan, BW_LIFE_WORK, "ppo", name, element, ref, __VA_ARGS__)
  UPDATE("legal actions", BW_ELEMENT_I32, &run->masks, rows);
  UPDATE("actions", BW_ELEMENT_I32, &run->actions, rows);
  UPDATE("old log probs", BW_ELEMENT_REAL, &run->log_probs, rows);
  UPDATE("advantages", BW_ELEMENT_REAL, &run->advantages, rows);
  UPDATE("returns", BW_ELEMENT_REAL, &run->returns, rows);
  if (run->config.ppo_kl_coef > 0) UPDATE("policies", BW_ELEMENT_REAL, &run->policies, rows, run->game->actions);
  if (run->layout.shape.wdl) UPDATE("outcomes", BW_ELEMENT_REAL, &run->wdl, rows, 3);
  UPDATE("statistics", BW_ELEMENT_REAL, &run->statistics, rows, BW_STATISTICS);
  UPDATE("statistic totals", BW_ELEMENT_REAL, &run->totals, BW_STATISTICS);
#undef UPDATE
}

// Mirrors allocate_host, so that a plan tells all of the memory.
static void plan_host(bw_run* run) {
  const int64_t games = run->config.rollout_games, plies = run->game->max_plies;
#define HOST(group, name, element, ...) BW_PLAN(&run->plan, BW_LIFE_HOST, group, name, element, NULL, __VA_ARGS__)
  HOST("rollout", "host setups", BW_ELEMENT_U8, games, (int64_t)sizeof(bw_game_setup));
  HOST("rollout", "host game list, outcomes, plies", BW_ELEMENT_I32, 3, games);
  HOST("rollout", "host sample slots, order, row ends", BW_ELEMENT_I32, 3, games, plies);
  HOST("ppo", "host rows", BW_ELEMENT_I32, minibatches(run));
  if (run->config.ppo_share_states) {
    HOST("rollout", "host sample numbers, rows", BW_ELEMENT_I32, 2, games, plies);
    HOST("ppo", "host row numbers, unsorted", BW_ELEMENT_I32, 2, minibatch_rows(run));
  }
  if (bw_starts_used(&run->config)) {
    HOST("rollout", "host starts", BW_ELEMENT_U8, games, (int64_t)(run->game->state_bytes + sizeof(uint8_t*)));
  }
  if (bw_starts_kept(&run->config)) {
    HOST("rollout", "positions of lost games", BW_ELEMENT_U8, run->config.starts_capacity,
         plies + (int64_t)run->game->state_bytes);
    HOST("rollout", "host record counts", BW_ELEMENT_I32, games);
    HOST("rollout", "host players, values", BW_ELEMENT_I32, 2, games, plies);
    HOST("rollout", "host moves", BW_ELEMENT_U8, games, plies);
  }
  if (run->config.league_enabled) {
    HOST("league", "host players, twice", BW_ELEMENT_U8, 2, bw_pool_capacity(&run->config), (int64_t)sizeof(bw_member));
  }
  HOST("net", "host weights", BW_ELEMENT_I32, 2, run->layout.parameters);
  HOST("rollout", "host features", BW_ELEMENT_U8, run->inference.max_rows, 1 + run->layout.shape.max_features,
       (int64_t)sizeof(uint16_t));
#undef HOST
}

bw_status bw_run_plan(bw_run* run, const bw_config* config, bw_device* device, bw_error* error) {
  memset(run, 0, sizeof *run);
  run->config = *config;
  run->game_index = config->game_name;
  run->game = bw_game_at(config->game_name);
  run->device = device;
  // Slots are 32-bit.
  if (max_samples(config, run->game) > INT32_MAX) {
    return bw_fail_option(error, "plan", "rollout.games", "too many", "at most 2^31 moves in an iteration");
  }
  bw_net_layout_make(&run->layout, bw_config_net_shape(config));
  bw_plan_init(&run->plan, device->backend->real_bytes);
  bw_net_plan(&run->agent, &run->layout, device, &run->plan, "net", "agent", true);
  if (bw_pool_capacity(config) > 0) {
    bw_net_plan(&run->opponent, &run->layout, device, &run->plan, "net", "opponent", false);
    BW_PLAN(&run->plan, BW_LIFE_STATE, config->league_enabled ? "league" : "rollout", "opponent pool", BW_ELEMENT_REAL,
            &run->pool_weights, bw_pool_capacity(config), run->layout.parameters);
  }
  bw_league_plan(run);
  bw_activations_plan(&run->activations, &run->layout, &run->plan, "net", "minibatch", minibatch_rows(run), true);
  bw_activations_plan(&run->inference, &run->layout, &run->plan, "net", "batch", batch_rows(run), false);
  plan_rollout(run);
  plan_update(run);
  bw_optimizer_plan(run);
  plan_host(run);
  return bw_plan_check(&run->plan, 0, error);
}

// ---- life ----

static bool allocate_host(bw_run* run) {
  const size_t games = (size_t)run->config.rollout_games;
  const size_t samples = (size_t)max_samples(&run->config, run->game);
  run->setups = calloc(games, sizeof *run->setups);
  run->host_list = calloc(games, sizeof *run->host_list);
  run->host_outcomes = calloc(games, sizeof *run->host_outcomes);
  run->host_plies = calloc(games, sizeof *run->host_plies);
  run->host_slots = calloc(samples, sizeof *run->host_slots);
  run->host_order = calloc(samples, sizeof *run->host_order);
  run->host_row_ends = calloc(samples, sizeof *run->host_row_ends);
  run->host_rows = calloc((size_t)minibatches(run), sizeof *run->host_rows);
  bool shares = true;
  if (run->config.ppo_share_states) {
    run->host_numbers = calloc(samples, sizeof *run->host_numbers);
    run->host_row_of = calloc(samples, sizeof *run->host_row_of);
    const size_t minibatch = (size_t)minibatch_rows(run);
    run->host_row_numbers = calloc(minibatch, sizeof *run->host_row_numbers);
    run->host_unsorted = calloc(minibatch, sizeof *run->host_unsorted);
    shares = run->host_numbers && run->host_row_of && run->host_unsorted && run->host_row_numbers;
  }
  run->host_weights = calloc((size_t)run->layout.parameters, sizeof *run->host_weights);
  run->host_parameters = calloc((size_t)run->layout.parameters, sizeof *run->host_parameters);
  run->host_features = calloc((size_t)run->inference.max_rows * (1 + (size_t)run->layout.shape.max_features),
                              sizeof *run->host_features);
  const size_t capacity = (size_t)bw_pool_capacity(&run->config) + 1;
  run->members = calloc(capacity, sizeof *run->members);
  run->saved_members = calloc(capacity, sizeof *run->saved_members);
  run->member_weights = calloc(capacity, sizeof *run->member_weights);
  return run->setups && run->host_list && run->host_outcomes && run->host_plies && run->host_slots && run->host_order &&
         run->host_row_ends && run->host_rows && shares && run->host_weights && run->host_parameters &&
         run->host_features && run->members && run->saved_members && run->member_weights && bw_starts_allocate(run);
}

void bw_run_destroy(bw_run* run) {
  if (!run) return;
  free(run->setups);
  free(run->host_list);
  free(run->host_outcomes);
  free(run->host_plies);
  free(run->host_slots);
  free(run->host_order);
  free(run->host_row_ends);
  free(run->host_rows);
  free(run->host_numbers);
  free(run->host_row_of);
  free(run->host_unsorted);
  free(run->host_row_numbers);
  free(run->host_weights);
  free(run->host_parameters);
  free(run->host_features);
  free(run->members);
  free(run->saved_members);
  free(run->member_weights);
  bw_starts_free(run);
  for (int i = 0; i < run->pinned_count; ++i) bw_policy_destroy(run->pinned[i]);
  free(run->pinned);
  if (run->device) bw_plan_release(&run->plan, run->device);
  bw_plan_free(&run->plan);
  free(run);
}

static bw_status create(bw_run* run, const bw_config* config, bw_device* device, uint64_t available, bw_error* error) {
  BW_TRY(bw_run_plan(run, config, device, error));
  BW_TRY(bw_plan_check(&run->plan, available, error));
  BW_TRY(bw_plan_take(&run->plan, device, error));
  if (!allocate_host(run)) {
    return bw_fail_memory(error, "create", "the host buffers", run->plan.bytes[BW_LIFE_HOST], available);
  }
  bw_net_bind(&run->agent, device);
  if (bw_pool_capacity(config) > 0) bw_net_bind(&run->opponent, device);
  bw_optimizer_bind(run);
  bw_net_initialize(&run->layout, (uint64_t)config->run_seed, run->host_weights);
  BW_TRY(bw_run_set_weights(run, run->host_weights, error));
  bw_opponents_snapshot(run);
  BW_TRY(bw_league_start(run, error));
  return bw_device_sync(device, error);
}

bw_status bw_run_create(const bw_config* config, bw_device* device, uint64_t available, bw_run** out, bw_error* error) {
  bw_run* run = calloc(1, sizeof *run);
  if (!run) return bw_fail_memory(error, "create", "the run", sizeof *run, 0);
  const bw_status status = create(run, config, device, available, error);
  if (status != BW_OK) {
    bw_run_destroy(run);
    return status;
  }
  *out = run;
  return BW_OK;
}

bw_status bw_run_download_parameters(bw_run* run, float* to, bw_ref from, bw_error* error) {
  BW_TRY(bw_download_real(run->device, run->host_parameters, from, run->layout.parameters, error));
  bw_net_to_file_order(&run->layout, run->host_parameters, to);
  return BW_OK;
}

bw_status bw_run_upload_parameters(bw_run* run, bw_ref to, const float* from, bw_error* error) {
  bw_net_from_file_order(&run->layout, from, run->host_parameters);
  return bw_upload_real(run->device, to, run->host_parameters, run->layout.parameters, error);
}

bw_status bw_run_weights(bw_run* run, const float** weights, bw_error* error) {
  BW_TRY(bw_run_download_parameters(run, run->host_weights, run->agent.parameters, error));
  *weights = run->host_weights;
  return BW_OK;
}

bw_status bw_run_set_weights(bw_run* run, const float* weights, bw_error* error) {
  BW_TRY(bw_run_upload_parameters(run, run->agent.parameters, weights, error));
  bw_net_pack(&run->agent, run->device);
  return BW_OK;
}

// ---- the iteration ----

static void copy_state(bw_run* run, bool restore) {
  const size_t bytes = (size_t)run->layout.parameters * (size_t)run->device->backend->real_bytes;
  const bw_ref live[3] = {run->agent.parameters, run->first_moment, run->second_moment};
  const bw_ref saved[3] = {run->saved_parameters, run->saved_first_moment, run->saved_second_moment};
  for (int i = 0; i < 3; ++i) {
    run->device->backend->copy(run->device, restore ? live[i] : saved[i], restore ? saved[i] : live[i], bytes);
  }
  if (restore) bw_net_pack(&run->agent, run->device);
}

static void count_outcomes(const bw_run* run, bw_iteration* out) {
  int64_t pool[3] = {0, 0, 0}, first[3] = {0, 0, 0};
  for (int64_t g = 0; g < run->config.rollout_games; ++g) {
    const int outcome = run->host_outcomes[g];
    out->plies += run->host_plies[g];
    const int for_first = outcome == BW_OUTCOME_FIRST ? 0 : outcome == BW_OUTCOME_DRAW ? 1 : 2;
    ++first[for_first];
    if (run->setups[g].opponent > 0) ++pool[run->setups[g].seat == 0 ? for_first : 2 - for_first];
  }
  const double games = (double)run->config.rollout_games;
  const double pool_games = (double)(pool[0] + pool[1] + pool[2]);
  out->win = (double)pool[0] / pool_games;  // NaN where there was none
  out->draw = (double)pool[1] / pool_games;
  out->loss = (double)pool[2] / pool_games;
  out->first_win = (double)first[0] / games;
  out->first_draw = (double)first[1] / games;
  out->first_loss = (double)first[2] / games;
}

// Schulman et al. 2017, section 4.
static void adapt_kl(bw_run* run, const bw_iteration* out) {
  const double target = run->config.ppo_kl_target;
  if (!(run->config.ppo_kl_coef > 0 && target > 0) || out->samples == 0) return;
  if (out->approx_kl > 1.5 * target && run->kl_doublings < BW_KL_DOUBLINGS) ++run->kl_doublings;
  if (out->approx_kl < target / 1.5 && run->kl_doublings > -BW_KL_DOUBLINGS) --run->kl_doublings;
}

bw_status bw_run_train(bw_run* run, double progress, bw_iteration* out, bw_error* error) {
  const bw_config* c = &run->config;
  const double lr_share = bw_schedule(c->ppo_lr_schedule, 1, c->ppo_lr_final, progress) *
                          bw_warmup(c->ppo_warmup, progress) * bw_minibatch_scale(c);
  const double flops = run->device->flops;
  out->lr = c->ppo_lr * lr_share;
  out->entropy_coef = bw_schedule(c->ppo_entropy_schedule, c->ppo_entropy, c->ppo_entropy_final, progress);

  const uint64_t start = bw_now_ns();
  run->device->prof.group = "collect";
  bw_collect_setups(run);
  const int learners = c->league_enabled ? BW_ROLES : 0;
  const bw_play play = {
      .games = c->rollout_games, .opponents = run->member_count + run->pinned_count + learners, .record = true};
  if (c->starts_list_share > 0 && run->starts.list.count == 0) {
    return bw_fail(error, BW_STATE, "iterate", "rollout.starts.listShare is set, but the run was given no positions");
  }
  if (c->opponents_pinned_share > 0 && run->pinned_count == 0) {
    return bw_fail(error, BW_STATE, "iterate",
                   "rollout.opponents.pinnedShare is set, but the run was given no opponents");
  }
  BW_TRY(bw_collect_play(run, &play, error));
  count_outcomes(run, out);

  const uint64_t middle = bw_now_ns();
  bw_prof_phase(&run->device->prof, "collect", start, middle);
  run->device->prof.group = "update";
  BW_TRY(bw_ppo_update(run, lr_share, out->entropy_coef, out, error));
  const char* tensor = NULL;
  if (!bw_run_weights_finite(run, &tensor)) {
    const bw_status status = bw_fail(error, BW_NUMERIC, "iterate", "NaN or infinity in %s after optimiser step %lld",
                                     tensor, (long long)run->updates);
    if (error) {
      strncpy(error->path, tensor, sizeof error->path - 1);
      error->step = run->updates;
    }
    return status;
  }
  const uint64_t end = bw_now_ns();
  bw_prof_phase(&run->device->prof, "update", middle, end);

  out->games = c->rollout_games;
  out->collect_seconds = (double)(middle - start) * 1e-9;
  out->update_seconds = (double)(end - middle) * 1e-9;
  out->flops = run->device->flops - flops;
  adapt_kl(run, out);
  return BW_OK;
}

bw_status bw_run_iterate(bw_run* run, double progress, bw_iteration* out, bw_error* error) {
  memset(out, 0, sizeof *out);
  const int64_t updates = run->updates, kl_doublings = run->kl_doublings;
  const bool league = run->config.league_enabled;
  copy_state(run, false);
  bw_status status = BW_OK;
  if (league) {
    // Exploiters first: the main agent meets them at once as they have become, and is in place when all is done.
    status = bw_league_train(run, error);
    copy_state(run, true);
    run->updates = updates;
    run->kl_doublings = kl_doublings;
  }
  if (status == BW_OK) status = bw_run_train(run, progress, out, error);
  if (status == BW_OK) status = bw_starts_collect(run, error);
  if (status != BW_OK) {
    copy_state(run, true);
    run->updates = updates;
    run->kl_doublings = kl_doublings;
    if (league) bw_league_undo(run);
    return status;
  }
  ++run->iteration;
  bw_opponents_score(run);
  if (league) {
    bw_league_finish(run, out);
  } else if (run->iteration % run->config.opponents_every == 0) {
    bw_opponents_snapshot(run);
  }
  run->games += out->games;
  run->samples += out->samples;
  out->index = run->iteration;
  out->total_games = run->games;
  out->total_samples = run->samples;
  out->pool_size = run->member_count;
  return BW_OK;
}

// ---- inference ----

bw_status bw_run_infer(bw_run* run, const void* states, int64_t count, float* head, bw_error* error) {
  run->device->prof.group = "evaluate";
  return bw_net_infer(run->device, &run->agent, &run->inference, run->game, run->host_features, states, count, head,
                      error);
}
