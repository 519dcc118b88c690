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

void bw_opponents_snapshot(bw_run* run) {
  const int capacity = (int)run->config.opponents_pool;
  const int64_t number = ++run->snapshots;
  if (capacity == 0) return;
  int row = run->member_count;
  if (run->member_count == capacity) {
    if (run->config.opponents_eviction == BW_EVICTION_KEEP_FIRST) {
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
  run->device->backend->copy(run->device, pool_row(run, row), run->agent.parameters, parameter_bytes(run));
  run->members[run->member_count++] = (bw_member){.number = number, .row = row};
}

// Prioritised fictitious self-play (Vinyals et al., "Grandmaster level in StarCraft II using multi-agent reinforcement
// learning", 2019, methods): f(w) = (1 - w)^p, w the share of points that the agent takes from a member. The paper
// leaves the estimate of w open. Here games fade, since the agent changes, and one drawn game is added, so that a
// member who was not met (w = 1/2) or not met lately is tried again and none is given up.
void bw_opponents_weigh(bw_run* run) {
  if (run->config.opponents_sampling != BW_SAMPLING_PFSP) return;
  double sum = 0;
  for (int i = 0; i < run->member_count; ++i) {
    const bw_member* member = &run->members[i];
    const double score = ((double)member->points + 0.5) / ((double)member->games + 1);
    sum += pow(1 - score, run->config.opponents_pfsp_power);
    run->member_weights[i] = sum;
  }
}

void bw_opponents_score(bw_run* run) {
  if (run->config.opponents_sampling != BW_SAMPLING_PFSP) return;
  const double fade = exp2(-1 / run->config.opponents_pfsp_half_life);
  for (int i = 0; i < run->member_count; ++i) {
    run->members[i].points = (float)((double)run->members[i].points * fade);
    run->members[i].games = (float)((double)run->members[i].games * fade);
  }
  for (int64_t g = 0; g < run->config.rollout_games; ++g) {
    const bw_game_setup* setup = &run->setups[g];
    if (setup->opponent == 0 || setup->opponent > run->member_count) continue;
    bw_member* member = &run->members[setup->opponent - 1];
    const int outcome = run->host_outcomes[g];
    const int won = setup->seat == 0 ? BW_OUTCOME_FIRST : BW_OUTCOME_SECOND;
    member->points += outcome == won ? 1.0f : outcome == BW_OUTCOME_DRAW ? 0.5f : 0.0f;
    member->games += 1;
  }
}

int bw_opponents_draw(const bw_run* run, uint32_t word) {
  const uint32_t count = (uint32_t)run->member_count;
  switch (run->config.opponents_sampling) {
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
  if (u >= share || run->pinned_count == 0) return 0;
  const int index = (int)(u / share * run->pinned_count);
  return run->member_count + 1 + (index < run->pinned_count ? index : run->pinned_count - 1);
}

// ---- the pool's weights ----

bw_ref bw_opponents_weights(const bw_run* run, int member) { return pool_row(run, run->members[member].row); }

void bw_opponents_load(bw_run* run, int member) {
  run->device->backend->copy(run->device, run->opponent.parameters, bw_opponents_weights(run, member),
                             parameter_bytes(run));
  bw_net_pack(&run->opponent, run->device);
}
