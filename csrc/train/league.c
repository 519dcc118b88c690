// A league (Vinyals et al., "Grandmaster level in StarCraft II using multi-agent reinforcement learning", 2019,
// methods): beside the main agent two exploiters learn. The main exploiter plays the main agent as it is now, or its
// frozen copies while that is too strong; the league exploiter plays whoever it scores little against. An exploiter
// that has found a weakness is frozen into the league, where the main agent goes on meeting it, and begins anew.
//
// There is one engine: a learner trains while its weights, moments and counters are in place of the main agent's.
#include <math.h>
#include <string.h>

#include "run.h"

enum { EXPLOITERS = BW_ROLES - 1, PARTS = 3 };  // weights, first moment, second moment

// ---- memory ----

void bw_league_plan(bw_run* run) {
  if (!run->config.league_enabled) return;
  bw_plan* plan = &run->plan;
  const int64_t n = run->layout.parameters;
  BW_PLAN(plan, BW_LIFE_STATE, "league", "exploiters", BW_ELEMENT_REAL, &run->exploiters, EXPLOITERS, PARTS, n);
  BW_PLAN(plan, BW_LIFE_WORK, "league", "trained exploiters", BW_ELEMENT_REAL, &run->trained_exploiters, EXPLOITERS,
          PARTS, n);
  BW_PLAN(plan, BW_LIFE_WORK, "league", "fresh exploiters", BW_ELEMENT_REAL, &run->fresh_exploiters, EXPLOITERS, n);
}

static bw_ref vector(const bw_run* run, bw_ref base, int index) {
  const int64_t elements = index * run->layout.parameters;
  return bw_ref_at(base, (uint64_t)elements * (uint64_t)run->device->backend->real_bytes);
}

static bw_ref part_of(const bw_run* run, bw_ref exploiters, int role, int part) {
  return vector(run, exploiters, (role - 1) * PARTS + part);
}

bw_ref bw_league_part(const bw_run* run, int role, int part) { return part_of(run, run->exploiters, role, part); }

static size_t vector_bytes(const bw_run* run) {
  return (size_t)run->layout.parameters * (size_t)run->device->backend->real_bytes;
}

static void copy(bw_run* run, bw_ref to, bw_ref from) {
  run->device->backend->copy(run->device, to, from, vector_bytes(run));
}

// ---- the exploiters' state ----

// As in the beginning, and as if it had played nobody.
static void reset(bw_run* run, int role) {
  copy(run, bw_league_part(run, role, 0), vector(run, run->fresh_exploiters, role - 1));
  for (int part = 1; part < PARTS; ++part) {
    run->device->backend->zero(run->device, bw_league_part(run, role, part), vector_bytes(run));
  }
  for (int i = 0; i < run->member_count; ++i) run->members[i].scores[role] = (bw_score){0, 0};
  bw_learner* learner = &run->league.learners[role];
  learner->iterations = learner->updates = learner->kl_doublings = 0;
  learner->versus_main = (bw_score){0, 0};
}

bw_status bw_league_start(bw_run* run, bw_error* error) {
  if (!run->config.league_enabled) return BW_OK;
  for (int role = 1; role < BW_ROLES; ++role) {
    bw_net_initialize(&run->layout, bw_role_seed(run, role), run->host_weights);
    BW_TRY(bw_run_upload_parameters(run, vector(run, run->fresh_exploiters, role - 1), run->host_weights, error));
    reset(run, role);
  }
  return BW_OK;
}

// ---- who plays whom ----

// Numbers of setups: the game's own policy, the members, the fixed opponents, the learners.
static int first_learner(const bw_run* run) { return 1 + run->member_count + run->pinned_count; }

int bw_league_opponent(const bw_run* run, int role) { return first_learner(run) + role; }

int bw_league_role(const bw_run* run, int opponent) {
  return opponent < first_learner(run) ? -1 : opponent - first_learner(run);
}

bw_ref bw_league_weights(const bw_run* run, int role) {
  return role == BW_ROLE_MAIN ? run->saved_parameters : part_of(run, run->trained_exploiters, role, 0);
}

int bw_league_draw(const bw_run* run, uint32_t kind, uint32_t which) {
  const bw_config* c = &run->config;
  const double u = (double)bw_uniform(kind) - c->league_self_share;
  switch (run->role) {
    case BW_ROLE_MAIN:
      if (u < 0) return 0;
      if (u < c->league_exploiter_share) {
        const bool first = u < c->league_exploiter_share / (double)EXPLOITERS;
        return bw_league_opponent(run, first ? BW_ROLE_MAIN_EXPLOITER : BW_ROLE_LEAGUE_EXPLOITER);
      }
      break;
    case BW_ROLE_MAIN_EXPLOITER:
      if (bw_league_share(run, run->role) > c->league_main_above) return bw_league_opponent(run, BW_ROLE_MAIN);
      break;
    default:
      break;
  }
  return 1 + bw_opponents_draw(run, which);
}

double bw_league_share(const bw_run* run, int role) {
  if (role == BW_ROLE_MAIN_EXPLOITER) return bw_score_share(run->league.learners[role].versus_main);
  double sum = 0;
  for (int i = 0; i < run->member_count; ++i) sum += bw_score_share(run->members[i].scores[role]);
  return sum / run->member_count;
}

// ---- an iteration ----

static bw_status train(bw_run* run, int role, bw_error* error) {
  bw_learner* learner = &run->league.learners[role];
  bw_iteration* out = &run->league.iterations[role];
  const bw_ref live[PARTS] = {run->agent.parameters, run->first_moment, run->second_moment};
  for (int part = 0; part < PARTS; ++part) copy(run, live[part], bw_league_part(run, role, part));
  bw_net_pack(&run->agent, run->device);
  run->role = role;
  run->updates = learner->updates;
  run->kl_doublings = learner->kl_doublings;
  memset(out, 0, sizeof *out);
  // An exploiter's schedules run from one freezing to the next, however far the main agent is.
  const double progress = (double)learner->iterations / (double)run->config.league_max_iterations;
  const bw_status status = bw_run_train(run, progress, out, error);
  if (status == BW_OK) {
    bw_opponents_score(run);
    for (int part = 0; part < PARTS; ++part) {
      copy(run, part_of(run, run->trained_exploiters, role, part), live[part]);
    }
    learner->updates = run->updates;
    learner->kl_doublings = run->kl_doublings;
  }
  run->role = BW_ROLE_MAIN;
  return status;
}

bw_status bw_league_train(bw_run* run, bw_error* error) {
  run->saved_league = run->league;
  memcpy(run->saved_members, run->members, (size_t)run->member_count * sizeof *run->members);
  for (int role = 1; role < BW_ROLES; ++role) BW_TRY(train(run, role, error));
  return BW_OK;
}

void bw_league_undo(bw_run* run) {
  run->league = run->saved_league;
  memcpy(run->members, run->saved_members, (size_t)run->member_count * sizeof *run->members);
}

static bool is_done(const bw_run* run, int role) {
  const bw_config* c = &run->config;
  const int64_t iterations = run->league.learners[role].iterations;
  if (iterations >= c->league_max_iterations) return true;
  return iterations >= c->league_min_iterations && bw_league_share(run, role) > c->league_freeze_above;
}

static bool begins_anew(const bw_run* run, int role) {
  if (role == BW_ROLE_MAIN_EXPLOITER) return true;
  const bw_random4 words = bw_philox((uint64_t)run->config.run_seed, BW_STREAM_LEAGUE, (uint64_t)run->iteration, 0);
  return (double)bw_uniform(words.v[0]) < run->config.league_reset;
}

static void freeze(bw_run* run, int role) {
  bw_learner* learner = &run->league.learners[role];
  bw_opponents_add(run, role == BW_ROLE_MAIN ? run->agent.parameters : bw_league_part(run, role, 0), role);
  ++learner->frozen;
  if (role == BW_ROLE_MAIN) return;
  learner->iterations = 0;
  if (!begins_anew(run, role)) return;
  ++learner->resets;
  reset(run, role);
}

void bw_league_finish(bw_run* run, bw_iteration* out) {
  bw_league* league = &run->league;
  league->iterations[BW_ROLE_MAIN] = *out;
  bool done[BW_ROLES] = {run->iteration % run->config.league_every == 0};
  int64_t all_samples = 0;
  for (int role = 0; role < BW_ROLES; ++role) {
    bw_learner* learner = &league->learners[role];
    const bw_iteration* it = &league->iterations[role];
    ++learner->iterations;
    learner->samples += it->samples;
    all_samples += learner->samples;
    if (role == BW_ROLE_MAIN) continue;
    for (int part = 0; part < PARTS; ++part) {
      copy(run, bw_league_part(run, role, part), part_of(run, run->trained_exploiters, role, part));
    }
    done[role] = is_done(run, role);
    out->games += it->games;
    out->samples += it->samples;
    out->plies += it->plies;
    out->collect_seconds += it->collect_seconds;
    out->update_seconds += it->update_seconds;
    out->flops += it->flops;
  }
  out->league = true;
  for (int role = 0; role < BW_ROLES; ++role) {
    const bw_learner* learner = &league->learners[role];
    out->roles[role] = (bw_role_metrics){.win_rate = bw_league_share(run, role),
                                         .iterations = learner->iterations,
                                         .samples = league->iterations[role].samples,
                                         .sample_share = (double)learner->samples / (double)all_samples};
  }
  for (int role = 0; role < BW_ROLES; ++role) {
    if (done[role]) freeze(run, role);
    out->roles[role].frozen = league->learners[role].frozen;
    out->roles[role].resets = league->learners[role].resets;
  }
}
