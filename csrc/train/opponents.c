// The pool of past policies.
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
    default:
      return (int)bw_below(word, count);
  }
}

bw_ref bw_opponents_weights(const bw_run* run, int member) { return pool_row(run, run->members[member].row); }

void bw_opponents_load(bw_run* run, int member) {
  run->device->backend->copy(run->device, run->opponent.parameters, bw_opponents_weights(run, member),
                             parameter_bytes(run));
  bw_net_pack(&run->opponent, run->device);
}
