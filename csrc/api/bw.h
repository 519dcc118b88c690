// bellows: the public C interface. The binding and C users see this header only.
//
// Objects are opaque, functions return a bw_status and fill a bw_error (core/status.h). A bw_selfplay is used by
// one thread at a time; bw_selfplay_cancel may be called from any thread. Nothing here prints, exits or touches
// files. Strings are UTF-8.
#ifndef BW_API_BW_H
#define BW_API_BW_H

#include <stdbool.h>
#include <stddef.h>

#include "../core/prof.h"
#include "../core/roof.h"
#include "../core/safetensors.h"
#include "../core/status.h"
#include "../games/registry.h"
#include "../judge/best_response.h"
#include "../judge/connect4_solver.h"
#include "../judge/match.h"
#include "../train/config.h"
#include "../train/metrics.h"
#include "../train/playouts.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- the library ----

const char* bw_version(void);  // "0.1.0"

typedef struct bw_device_info {
  const char* name;  // "cpu", "cuda", "metal"
  bool available;
  const char* reason;  // why not; "" when available
} bw_device_info;

typedef struct bw_info {
  const char* isa;            // chosen instruction set
  char isas_available[64];    // comma-separated, best first
  const char* cpu;            // model name
  int cpu_family, cpu_model;  // of cpuid, 0 where there is none
  int hardware_threads;
  uint64_t memory_bytes;  // usable by this process, 0 if unknown
  bw_device_info devices[3];
  double peak_gflops;       // fp32, measured now (about 250 ms) on all hardware threads
  double peak_gflops_bf16;  // 0 where run.precision bf16 is not available
  double peak_gbytes;
} bw_info;

// measure_peaks false leaves the peaks 0 and takes no time. BW_OPTION for a bad BELLOWS_ISA.
bw_status bw_library_info(bool measure_peaks, bw_info* info, bw_error* error);

// ---- games ----

// Plays `games` games by uniformly random legal moves from the position after `moves` (as bw_game_parse takes them),
// on `threads` threads (0: all). The same numbers for any number of threads. BW_OPTION names a bad argument.
bw_status bw_game_playouts(const char* game, const char* moves, int64_t games, uint64_t seed, int threads,
                           bw_playouts* totals, bw_error* error);

// ---- matches ----

// Who plays: a network, or a player of judge/players/players.def.
typedef struct bw_player_spec {
  const char* kind;     // "policy", or a name of players.def
  int64_t strength;     // of the others: depth, simulations; 0 is the default
  bw_config config;     // of a policy: its game and net (checked)
  const uint8_t* file;  // of a policy: a checkpoint or policy file, borrowed
  size_t file_bytes;    //
  bool argmax;          // of a policy: its most probable move (the lowest among equals), or one that it samples
  double temperature;   // of sampling, from 0.01 to 100
  int64_t simulations;  // of a policy: how many a move's search makes (judge/gumbel_search.h); 0: no search
} bw_player_spec;

typedef struct bw_match_request {
  const char* game;
  bw_player_spec players[2];
  const char* const* openings;  // [opening_count], as bw_game_parse takes them; none of them may end the game
  int64_t opening_count;        // 0: the start position
  int64_t first, games;         // games first .. first + games - 1, see judge/match.h
  int limit;                    // plies after the opening at most, a draw if the game goes on then; 0: none
  uint64_t seed;
  int threads;  // 0: all
  bool (*cancelled)(void* context);
  void (*progress)(void* context, int64_t done);
  void* context;
} bw_match_request;

// Plays. Policies are evaluated in fp32. The arrays are as in judge/match.h; moves[games][max_plies] are symbols
// instead of actions. The same games for any number of threads. BW_OPTION names "game.name", "openings" (error->step is
// its index), "players" (error->step is 0 or 1) with what is wrong there, "games", "threads".
bw_status bw_match_run(const bw_match_request* request, uint8_t* results, uint8_t* plies, char* moves, bw_error* error);

// ---- planning ----

typedef struct bw_plan_row {
  char group[24];  // "net", "rollout", "ppo", ...: the option group that makes it big
  char name[48];
  char dtype[8];  // "f32", "u8", ...
  int rank;
  int64_t shape[4];
  uint64_t bytes;
} bw_plan_row;

// What a run of this (checked) config will allocate; allocates none of it. *rows is malloc'ed, the caller frees it.
bw_status bw_selfplay_plan(const bw_config* config, bw_plan_row** rows, int* count, bw_error* error);

// ---- a run ----

typedef struct bw_selfplay bw_selfplay;

// Allocates everything (BW_MEMORY names the group that is too big, before allocating where the plan exceeds the
// memory) and initialises weights from run.seed. config must be checked; it is copied.
bw_status bw_selfplay_create(const bw_config* config, bw_selfplay** run, bw_error* error);
void bw_selfplay_destroy(bw_selfplay* run);  // NULL is allowed

// One iteration: collect games, update. progress in [0, 1] places it on the schedules.
// BW_CANCELLED leaves the state as it was before the call (weights, optimiser and counters restored).
// BW_NUMERIC names the tensor; the state is then restored as well.
bw_status bw_selfplay_iterate(bw_selfplay* run, double progress, bw_iteration* out, bw_error* error);

// Makes the iterate in progress, if any, return BW_CANCELLED at the next minibatch or ply. Any thread.
void bw_selfplay_cancel(bw_selfplay* run);
// Clears a cancel request that hit no iteration. The owner calls it before it starts one.
void bw_selfplay_clear_cancel(bw_selfplay* run);

const bw_config* bw_selfplay_config(const bw_selfplay* run);
const bw_game* bw_selfplay_game(const bw_selfplay* run);

typedef struct bw_counters {
  int64_t iteration, games, samples, updates;
} bw_counters;
bw_counters bw_selfplay_counters(const bw_selfplay* run);

int64_t bw_selfplay_parameter_count(const bw_selfplay* run);
// The fp32 weights, parameter_count floats in tensor order, as the last finished iteration left them. Host memory
// owned by the run, refreshed by this call and valid until destroy.
bw_status bw_selfplay_weights(bw_selfplay* run, const float** weights, int64_t* count, bw_error* error);

typedef struct bw_tensor_info {
  char name[64];  // "trunk.0.weight", "policy.bias", ...
  int rank;
  int64_t shape[2];
  int64_t offset;  // in floats, into the weights
} bw_tensor_info;
int bw_selfplay_tensor_count(const bw_selfplay* run);
bw_tensor_info bw_selfplay_tensor(const bw_selfplay* run, int index);

// ---- judging ----

// Policy and value at one position given as moves from the start. logits, probabilities: game->actions values;
// raw logits for all actions, probabilities 0 on illegal ones. value: expected result for the side to move. At a
// terminal position all logits and probabilities are 0, value is the exact result for the side to move, *terminal 1.
bw_status bw_selfplay_policy(bw_selfplay* run, const char* moves, float* logits, float* probabilities, float* value,
                             int* terminal, bw_error* error);

// The exact certificate (small games: see judge/best_response.h). BW_STATE for a game that is too large.
bw_status bw_selfplay_certify(bw_selfplay* run, bw_certificate* certificate, bw_error* error);

// Plays `games` games against uniformly random moves, half from each seat; argmax: whether the policy plays its most
// probable action or samples. Deterministic in run.seed.
bw_status bw_selfplay_versus_random(bw_selfplay* run, int64_t games, bool argmax, bw_shares* first, bw_shares* second,
                                    bw_error* error);

// ---- checkpoints (bytes in memory; lib/ reads and writes the files) ----

// The whole state as safetensors: weights by tensor name, "optimizer.*", counters in the metadata beside the given
// extra entries. bundle_pool: opponents inside ("opponents.weights" [P][parameters]); else only their ids in the
// metadata ("opponents" = comma-separated snapshot numbers). *bytes is malloc'ed, the caller frees it.
bw_status bw_selfplay_save(bw_selfplay* run, bool bundle_pool, const bw_metadata* extra, int extra_count,
                           uint8_t** bytes, size_t* size, bw_error* error);

// The weights alone, as a policy file: what a match or an application needs of a trained run. Loading it gives a run
// these weights and their iteration and leaves the rest: enough to evaluate, not to go on.
bw_status bw_selfplay_save_policy(bw_selfplay* run, const bw_metadata* extra, int extra_count, uint8_t** bytes,
                                  size_t* size, bw_error* error);

// Restores a state into a run that was created from the same config. Everything is checked before anything is
// changed. Without bundled opponents, the caller gives each pool member back with bw_selfplay_pool_put afterwards.
bw_status bw_selfplay_load(bw_selfplay* run, const uint8_t* bytes, size_t size, bw_error* error);

int bw_selfplay_pool_count(const bw_selfplay* run);
// Pool member `slot` (0 .. pool_count-1): its snapshot number (never reused within a run) and weights
// (parameter_count floats, owned by the run, valid until the next iterate).
bw_status bw_selfplay_pool_get(const bw_selfplay* run, int slot, int64_t* snapshot, const float** weights,
                               bw_error* error);
// Fills slot after a load without bundled opponents. count must be parameter_count.
bw_status bw_selfplay_pool_put(bw_selfplay* run, int slot, const float* weights, int64_t count, bw_error* error);

// ---- what a run takes from files ----

// The positions of rollout.starts.file, as bw_game_parse takes them; they replace those given before. BW_OPTION for one
// that is none or in which the game is over, with its index in error->step.
bw_status bw_selfplay_set_starts(bw_selfplay* run, const char* const* moves, int64_t count, bw_error* error);
// Adds an opponent of rollout.opponents.pinned: the net that the (checked) config describes, with the weights of a
// checkpoint or policy file. Its memory is not in the plan.
bw_status bw_selfplay_pin(bw_selfplay* run, const bw_config* config, const uint8_t* file, size_t size, bw_error* error);

// ---- profile ----

// Spans since create or the last reset, in order of first use. The pointer is valid until the next call.
const bw_prof* bw_selfplay_profile(const bw_selfplay* run);
void bw_selfplay_profile_reset(bw_selfplay* run);

// The timeline: every op as an event of each thread that works on it, phases around them ("collect", "update",
// "evaluate", "checkpoint"). Room for `capacity` events a thread is taken now, and events beyond it are counted; the
// reader clears it now and then. Costs nothing while it is off. BW_OPTION for a capacity below 1, BW_MEMORY.
bw_status bw_selfplay_timeline_start(bw_selfplay* run, int64_t capacity, bw_error* error);
void bw_selfplay_timeline_stop(bw_selfplay* run);
void bw_selfplay_timeline_clear(bw_selfplay* run);
// NULL while it is off. Valid until the next call; event times are those of bw_now_ns.
const bw_timeline* bw_selfplay_timeline(const bw_selfplay* run);

// Measures the roof (about 300 ms, once a process; `again`: look again if it is known, see bw_roof_measure) so that
// bw_iteration.roofline and profile shares are filled. From then on bw_selfplay_iterate looks again, too, after its
// iteration: for 0.4% of the training time, 4 ms each, and when the iteration was faster than the roof.
bw_status bw_selfplay_measure_roof(bw_selfplay* run, bool again, bw_error* error);
const bw_roof* bw_selfplay_roof(const bw_selfplay* run);  // the best seen so far; all 0 before

#ifdef __cplusplus
}
#endif
#endif
