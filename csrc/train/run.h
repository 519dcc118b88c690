// A self-play PPO run on one device: state, memory, and one iteration = collect games, update the net.
//
//   run.c        memory and life, the iteration, inference
//   collect.c    playing games
//   ppo.c        advantages and the update
//   optimizer.c  AdamW and Muon
//   opponents.c  the pool of past policies
//   league.c     exploiters, and who plays whom in a league
//   starts.c     games that start from other positions than the empty board
//   checkpoint.c state to and from safetensors bytes
#ifndef BW_TRAIN_RUN_H
#define BW_TRAIN_RUN_H

#include <stdatomic.h>
#include <stddef.h>

#include "../core/rng.h"
#include "../core/safetensors.h"
#include "../device/device.h"
#include "../device/plan.h"
#include "../games/registry.h"
#include "../nets/net.h"
#include "config.h"
#include "metrics.h"
#include "policy.h"

// Who trains. Without a league it is the main agent alone.
enum { BW_ROLE_MAIN, BW_ROLE_MAIN_EXPLOITER, BW_ROLE_LEAGUE_EXPLOITER };

// Points (a win 1, a draw 1/2) and games, older ones counting less. Float, as checkpoints keep it.
typedef struct bw_score {
  float points, games;
} bw_score;

// The share of points. One drawn game is added, so that nobody is given up: who was not met lately is at 1/2.
static inline double bw_score_share(bw_score score) { return ((double)score.points + 0.5) / ((double)score.games + 1); }

// A pool member: snapshot `number` (1 = the initial policy) in row `row` of the pool's memory.
typedef struct bw_member {
  int64_t number;
  int row;
  int role;                   // whose copy it is
  bw_score scores[BW_ROLES];  // of each learner against it: with pfsp or a league
} bw_member;

// What a learner of a league has beside weights and moments.
typedef struct bw_learner {
  int64_t iterations;               // of an exploiter: since it was frozen last
  int64_t updates, kl_doublings;    // bw_run's, while another learner is in place
  int64_t samples, frozen, resets;  // since the run began
  bw_score versus_main;             // of an exploiter against the main agent as it is now
} bw_learner;

typedef struct bw_league {
  bw_learner learners[BW_ROLES];
  bw_iteration iterations[BW_ROLES];  // the last ones
} bw_league;

// Positions, by the moves that led to them and as states.
typedef struct bw_positions {
  int64_t count;
  uint8_t* moves;   // [count][max_plies]: action + 1, then zeros
  uint8_t* states;  // [count][state_bytes]
} bw_positions;

// All on the host.
typedef struct bw_starts {
  bw_positions list;        // given by the caller
  bw_positions lost;        // from games that the agent lost though it had expected not to: a reservoir
  int64_t seen;             // positions that were offered to it
  uint8_t* game_states;     // [games][state_bytes]: where this iteration's games start, for those that do
  const uint8_t** sources;  // [games]: their moves
  int32_t *host_counts, *host_players;
  float* host_values;
  uint8_t* host_moves;
} bw_starts;

enum { BW_KL_DOUBLINGS = 20 };  // and halvings of ppo.klCoef at most: it neither overflows nor vanishes for good

typedef struct bw_run {
  bw_config config;
  int game_index;
  const bw_game* game;
  bw_device* device;  // not owned
  bw_plan plan;

  // nets
  bw_net_layout layout;
  bw_net agent, opponent;
  bw_activations activations;  // of a minibatch
  bw_activations inference;    // of games that are played, and of questions

  // optimiser: moments [parameters], Muon scratch [width][width]
  bw_ref first_moment, second_moment;
  bw_ref muon_update, muon_gram, muon_square, muon_zero_bias;
  bw_weight muon_weight, muon_gram_weight;
  bw_ref square_partials, norm;

  // state before the iteration, to go back to when it fails or is cancelled
  bw_ref saved_parameters, saved_first_moment, saved_second_moment;

  // the learner in place, whose nets and counters are those of this struct: between iterations the main agent
  int role;

  // the league; exploiters' weights, first and second moments [exploiters][3][parameters]
  bw_league league, saved_league;
  bw_ref exploiters;          // as of the last iteration
  bw_ref trained_exploiters;  // as of this one
  bw_ref fresh_exploiters;    // [exploiters][parameters]: what they begin with
  bw_member* saved_members;

  // the pool, oldest first
  bw_ref pool_weights;  // [pool][parameters]
  bw_member* members;
  double* member_weights;  // pfsp: running sums of the members' weights in this iteration
  int member_count;
  int64_t snapshots;  // taken so far, the initial policy included

  // fixed opponents, with nets of their own; not in the plan, since their files are read later
  bw_policy** pinned;
  int pinned_count;

  // rollout
  bw_rollout_buffers rollout;
  bw_ref list, rows, row_count;    // i32 [batch], [batch], [1]
  bw_ref unique_games, row_heads;  // i32 [batch]: rows that share a forward pass
  bw_ref state_table, state_keys;  // i32 [state_slots], u64 [batch]: scratch
  int64_t state_slots;             // a power of two
  bw_game_setup* setups;           // host copies, [games]
  int32_t *host_list, *host_outcomes, *host_plies;

  bw_starts starts;
  bw_ref start_states;  // game state [games]

  // samples
  bw_ref slots, order, row_ends, sample_count, moments;  // row_ends: where the samples of a row of a minibatch end
  bw_ref sample_numbers, sample_table, sample_keys;      // bw_sample_states_args, where states are shared
  bw_ref masks, actions, log_probs, advantages, returns, wdl, policies, statistics, totals;
  int32_t *host_slots, *host_order, *host_row_ends;
  int32_t* host_rows;                         // [minibatches]
  int32_t *host_numbers, *host_row_of;        // [games * max_plies], where states are shared; see ppo.c
  int32_t *host_row_numbers, *host_unsorted;  // [minibatch], likewise

  float* host_weights;      // [parameters], in file order
  float* host_parameters;   // [parameters], in the device's order: staging
  uint16_t* host_features;  // [max rows][1 + max_features], inference

  int64_t iteration, games, samples, updates;  // done so far
  int64_t kl_doublings;                        // of ppo.klCoef by ppo.klTarget; negative: halvings
  atomic_int cancelled;
} bw_run;

// The net that a config describes.
bw_net_shape bw_config_net_shape(const bw_config* config);

// Adds everything that a run of this config needs to run->plan. The run is not usable yet.
bw_status bw_run_plan(bw_run* run, const bw_config* config, bw_device* device, bw_error* error);

// config must be checked. The device is borrowed. available: bytes that the plan may take, 0 if unknown.
bw_status bw_run_create(const bw_config* config, bw_device* device, uint64_t available, bw_run** run, bw_error* error);
void bw_run_destroy(bw_run* run);

// One iteration of every learner; on failure or cancel the state is as before.
bw_status bw_run_iterate(bw_run* run, double progress, bw_iteration* out, bw_error* error);
// Its part for the learner in place: games, then the update. A failure leaves it half done.
bw_status bw_run_train(bw_run* run, double progress, bw_iteration* out, bw_error* error);

// The seed that the learner in place draws from. Seeds end at 2^53: the bits above tell learners apart.
static inline uint64_t bw_role_seed(const bw_run* run, int role) {
  return (uint64_t)run->config.run_seed | (uint64_t)role << 56;
}

// head[count][actions + 1] (logits, value) of `count` states, state_bytes apart.
bw_status bw_run_infer(bw_run* run, const void* states, int64_t count, float* head, bw_error* error);

// [parameters] on the device (weights, moments, a pool member) to and from the order of files (net.h).
bw_status bw_run_download_parameters(bw_run* run, float* to, bw_ref from, bw_error* error);
bw_status bw_run_upload_parameters(bw_run* run, bw_ref to, const float* from, bw_error* error);

// Refreshes and returns the host copy of the weights, in file order.
bw_status bw_run_weights(bw_run* run, const float** weights, bw_error* error);
bw_status bw_run_set_weights(bw_run* run, const float* weights, bw_error* error);

// ---- collect.c ----

// How a batch of games is played.
typedef struct bw_play {
  int64_t games;          // <= config.rollout_games; run->setups[0 .. games) are filled
  int opponents;          // setups' opponents are 0 .. opponents: 0, the pool's members, the fixed ones, the learners
  bool record;            // write training records
  bool argmax;            // the agent plays its most probable move
  bool uniform_opponent;  // opponents move at random instead of by a pool member's net
} bw_play;

void bw_collect_setups(bw_run* run);  // draws the setups of the next iteration
bw_status bw_collect_play(bw_run* run, const bw_play* play, bw_error* error);

// Games against uniformly random moves: wins, draws and losses of the policy in each seat.
bw_status bw_run_versus_random(bw_run* run, int64_t games, bool argmax, int64_t results[2][3], bw_error* error);

// ---- ppo.c ----

bw_status bw_ppo_update(bw_run* run, double lr_share, double entropy_coef, bw_iteration* out, bw_error* error);

// Its parts, apart for tests.
// Advantages and returns of the collected games; run->host_slots lists the samples, *samples is their number.
bw_status bw_ppo_prepare(bw_run* run, int64_t* samples, bw_iteration* out, bw_error* error);
// Arranges the minibatches of run->host_order[samples] by states (ppo.shareStates), for the device and its rows.
void bw_ppo_arrange(bw_run* run, int64_t samples);
// Loss (added to run->totals) and gradient (run->agent.gradients, overwritten) of the minibatch of samples
// run->order[first .. first + samples), which must have been arranged.
void bw_ppo_gradient(bw_run* run, int64_t first, int64_t samples, double entropy_coef);

// ---- optimizer.c ----

void bw_optimizer_plan(bw_run* run);
void bw_optimizer_bind(bw_run* run);
// Clips run->agent.gradients, steps, renews the packed weights. Returns the gradient's norm.
double bw_optimizer_step(bw_run* run, double lr_share);
// True when every weight is finite; else the name of the first tensor that is not.
bool bw_run_weights_finite(bw_run* run, const char** tensor);

// ---- opponents.c ----

// Members that the pool or the league holds at most.
static inline int64_t bw_pool_capacity(const bw_config* config) {
  return config->league_enabled ? config->league_size : config->opponents_pool;
}
static inline bool bw_scores_kept(const bw_config* config) {
  return config->league_enabled || config->opponents_sampling == BW_SAMPLING_PFSP;
}
void bw_opponents_snapshot(bw_run* run);                       // the current policy enters the pool
void bw_opponents_add(bw_run* run, bw_ref weights, int role);  // a learner's [parameters] do
void bw_opponents_weigh(bw_run* run);                          // before an iteration's draws
int bw_opponents_draw(const bw_run* run, uint32_t word);       // a member's index for one random word
// The opponent of a game (bw_game_setup.opponent) if it is a fixed one by this random word, else 0.
int bw_opponents_draw_pinned(const bw_run* run, uint32_t word);
void bw_opponents_score(bw_run* run);                        // after an iteration's games, before the snapshot
void bw_opponents_load(bw_run* run, bw_ref weights);         // makes run->opponent play with them
bw_ref bw_opponents_weights(const bw_run* run, int member);  // [parameters]

// Adds a fixed opponent: the net that config describes, with the weights of a checkpoint or policy file.
bw_status bw_run_pin(bw_run* run, const bw_config* config, const bw_safetensors* file, bw_error* error);

// ---- league.c ----

void bw_league_plan(bw_run* run);
bw_status bw_league_start(bw_run* run, bw_error* error);  // exploiters as they begin
// An iteration of both exploiters. The main agent's state must be in run->saved_*; it has to be put in place again.
bw_status bw_league_train(bw_run* run, bw_error* error);
void bw_league_undo(bw_run* run);  // what that did, when the iteration fails then or later
// After the main agent's part: who is frozen. Fills out->roles, and adds to *out what the exploiters took.
void bw_league_finish(bw_run* run, bw_iteration* out);
// The opponent of a game (bw_game_setup.opponent) by two random words.
int bw_league_draw(const bw_run* run, uint32_t kind, uint32_t which);
// Learners as opponents: the number of one in setups, the role of such a number (-1: somebody else), its weights.
int bw_league_opponent(const bw_run* run, int role);
int bw_league_role(const bw_run* run, int opponent);
bw_ref bw_league_weights(const bw_run* run, int role);
// An exploiter between iterations: its weights (part 0), first and second moment.
bw_ref bw_league_part(const bw_run* run, int role, int part);
// The score that decides when an exploiter is frozen; of the main agent its mean over all frozen players.
double bw_league_share(const bw_run* run, int role);

// ---- starts.c ----

static inline bool bw_starts_kept(const bw_config* config) { return config->starts_share > 0; }
static inline bool bw_starts_used(const bw_config* config) {
  return bw_starts_kept(config) || config->starts_list_share > 0;
}
bool bw_starts_allocate(bw_run* run);  // false: no memory; bw_starts_free frees what there is
void bw_starts_free(bw_run* run);
// Replaces the list. moves[count]: as bw_game_parse takes them. BW_OPTION for one that is none or in which the game is
// over, with its index in error->step; the list is then as before.
bw_status bw_run_set_starts(bw_run* run, const char* const* moves, int64_t count, bw_error* error);
void bw_starts_draw(bw_run* run, int64_t g, uint32_t kind, uint32_t which);  // of one game, by two random words
bw_status bw_starts_collect(bw_run* run, bw_error* error);  // after an iteration's games: what goes into the reservoir
// states[count] of moves[count][max_plies]; false where they are not those of games that go on.
bool bw_starts_restore(bw_run* run, const uint8_t* moves, int64_t count, uint8_t* states);

// ---- checkpoint.c ----

bw_status bw_run_save(bw_run* run, bool bundle_pool, const bw_metadata* extra, int extra_count, uint8_t** bytes,
                      size_t* size, bw_error* error);
bw_status bw_run_load(bw_run* run, const uint8_t* bytes, size_t size, bw_error* error);
// The weights alone: enough to play with, not to train on.
bw_status bw_run_save_policy(bw_run* run, const bw_metadata* extra, int extra_count, uint8_t** bytes, size_t* size,
                             bw_error* error);
// The weights of a net in a file of either kind: weights[layout->parameters], in file order, all finite.
bw_status bw_read_weights(const bw_net_layout* layout, const bw_safetensors* file, float* weights, bw_error* error);

#endif
