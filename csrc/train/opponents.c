// The pool of past policies.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "run.h"

static bw_ref pool_row(const bw_run* run, int row) {
  return bw_ref_at(run->pool_weights,
                   (uint64_t)row * (uint64_t)run->layout.parameters * (uint64_t)run->device->backend->real_bytes);
}

static size_t parameter_bytes(const bw_run* run) {
  return (size_t)run->layout.parameters * (size_t)run->device->backend->real_bytes;
}

// Removes member `index`, keeping the others in age order; returns its row.
static int evict(bw_run* run, int index) {
  const int row = run->members[index].row;
  for (int i = index; i + 1 < run->member_count; ++i) run->members[i] = run->members[i + 1];
  --run->member_count;
  return row;
}

// Who leaves a full league: the one that the main agent takes most points from (the oldest of equals), and so meets
// least, whose absence changes the games least. Not the initial policy: the main exploiter always finds a copy of the
// main agent.
static int least_met(const bw_run* run) {
  int least = 1;
  for (int i = 2; i < run->member_count; ++i) {
    const double share = bw_score_share(run->members[i].scores[BW_ROLE_MAIN]);
    if (share > bw_score_share(run->members[least].scores[BW_ROLE_MAIN])) least = i;
  }
  return least;
}

void bw_opponents_add(bw_run* run, bw_ref weights, int role) {
  const int capacity = (int)bw_pool_capacity(&run->config);
  const int64_t number = ++run->snapshots;
  if (capacity == 0) return;
  int row = run->member_count;
  if (run->member_count == capacity) {
    if (run->config.league_enabled) {
      row = evict(run, least_met(run));
    } else if (run->config.opponents_eviction == BW_EVICTION_KEEP_FIRST) {
      if (capacity == 1) return;
      row = evict(run, 1);
    } else {
      // Algorithm R (Vitter 1985): every snapshot so far is kept with the same probability.
      const uint32_t word = bw_philox((uint64_t)run->config.run_seed, BW_STREAM_POOL, (uint64_t)number, 0).v[0];
      const uint32_t victim = bw_below(word, (uint32_t)number);
      if (victim >= (uint32_t)capacity) return;
      row = evict(run, (int)victim);
    }
  }
  run->device->backend->copy(run->device, pool_row(run, row), weights, parameter_bytes(run));
  run->members[run->member_count++] = (bw_member){.number = number, .row = row, .role = role};
}

void bw_opponents_snapshot(bw_run* run) { bw_opponents_add(run, run->agent.parameters, BW_ROLE_MAIN); }

// Prioritised fictitious self-play (Vinyals et al., "Grandmaster level in StarCraft II using multi-agent reinforcement
// learning", 2019, methods): f(w) = (1 - w)^p, w the share of points that the learner takes from a member. The paper
// leaves the estimate of w open. Here games fade, since the learner changes, and one drawn game is added.
static double pfsp_weight(const bw_run* run, const bw_member* member) {
  const double w = bw_score_share(member->scores[run->role]);
  if (run->role != BW_ROLE_MAIN_EXPLOITER) return pow(1 - w, run->config.opponents_pfsp_power);
  return member->role == BW_ROLE_MAIN ? w * (1 - w) : 0;
}

void bw_opponents_weigh(bw_run* run) {
  if (!bw_scores_kept(&run->config)) return;
  double sum = 0;
  for (int i = 0; i < run->member_count; ++i) {
    sum += pfsp_weight(run, &run->members[i]);
    run->member_weights[i] = sum;
  }
}

static void fade(bw_score* score, double factor) {
  score->points = (float)((double)score->points * factor);
  score->games = (float)((double)score->games * factor);
}

// The games of the main agent against an exploiter are the exploiter's too.
void bw_opponents_score(bw_run* run) {
  if (!bw_scores_kept(&run->config)) return;
  const int role = run->role;
  const double factor = exp2(-1 / run->config.opponents_pfsp_half_life);
  for (int i = 0; i < run->member_count; ++i) fade(&run->members[i].scores[role], factor);
  if (role != BW_ROLE_MAIN) fade(&run->league.learners[role].versus_main, factor);
  for (int64_t g = 0; g < run->config.rollout_games; ++g) {
    const bw_game_setup* setup = &run->setups[g];
    const int other = bw_league_role(run, setup->opponent);
    const int outcome = run->host_outcomes[g];
    const int won = setup->seat == 0 ? BW_OUTCOME_FIRST : BW_OUTCOME_SECOND;
    const float points = outcome == won ? 1.0f : outcome == BW_OUTCOME_DRAW ? 0.5f : 0.0f;
    if (setup->opponent > 0 && setup->opponent <= run->member_count) {
      bw_score* score = &run->members[setup->opponent - 1].scores[role];
      score->points += points;
      score->games += 1;
    } else if (other >= 0) {
      bw_score* score = &run->league.learners[role == BW_ROLE_MAIN ? other : role].versus_main;
      score->points += role == BW_ROLE_MAIN ? 1 - points : points;
      score->games += 1;
    }
  }
}

int bw_opponents_draw(const bw_run* run, uint32_t word) {
  const uint32_t count = (uint32_t)run->member_count;
  switch (run->config.league_enabled ? BW_SAMPLING_PFSP : run->config.opponents_sampling) {
    case BW_SAMPLING_LATEST:
      return (int)count - 1;
    case BW_SAMPLING_RECENCY: {
      // The i-th oldest has weight i of count (count + 1) / 2.
      uint32_t ticket = bw_below(word, count * (count + 1) / 2);
      for (uint32_t i = 0; i < count; ++i) {
        if (ticket < i + 1) return (int)i;
        ticket -= i + 1;
      }
      return (int)count - 1;
    }
    case BW_SAMPLING_PFSP: {
      const double sum = run->member_weights[count - 1];
      if (!(sum > 0)) return (int)bw_below(word, count);  // a power so high that all weights vanish
      const double ticket = (double)word / 4294967296.0 * sum;
      int low = 0, high = (int)count - 1;  // the first member whose running sum is above the ticket
      while (low < high) {
        const int middle = (low + high) / 2;
        if (ticket < run->member_weights[middle]) {
          high = middle;
        } else {
          low = middle + 1;
        }
      }
      return low;
    }
    default:
      return (int)bw_below(word, count);
  }
}

// ---- fixed opponents ----

bw_status bw_run_pin(bw_run* run, const bw_config* config, const bw_safetensors* file, bw_error* error) {
  if (config->game_name != run->config.game_name) {
    char received[96];
    snprintf(received, sizeof received, "a policy for %s", bw_game_at(config->game_name)->name);
    return bw_fail_option(error, "pin", "rollout.opponents.pinned", received, "a policy for the game of the run");
  }
  bw_policy** pinned = realloc(run->pinned, ((size_t)run->pinned_count + 1) * sizeof *pinned);
  if (!pinned) return bw_fail_memory(error, "pin", "the fixed opponents", sizeof *pinned, 0);
  run->pinned = pinned;
  const int64_t games = run->config.rollout_games, batch = run->config.rollout_batch;
  BW_TRY(bw_policy_create(run->device, config, file, batch < games ? batch : games, &pinned[run->pinned_count], error));
  ++run->pinned_count;
  return BW_OK;
}

int bw_opponents_draw_pinned(const bw_run* run, uint32_t word) {
  const double share = run->config.opponents_pinned_share, u = (double)word / 4294967296.0;
  if (u >= share || run->pinned_count == 0 || run->role != BW_ROLE_MAIN) return 0;
  const int index = (int)(u / share * run->pinned_count);
  return run->member_count + 1 + (index < run->pinned_count ? index : run->pinned_count - 1);
}

// ---- the pool's weights ----

bw_ref bw_opponents_weights(const bw_run* run, int member) { return pool_row(run, run->members[member].row); }

void bw_opponents_load(bw_run* run, bw_ref weights) {
  run->device->backend->copy(run->device, run->opponent.parameters, weights, parameter_bytes(run));
  bw_net_pack(&run->opponent, run->device);
}
