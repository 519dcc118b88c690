// Matches: players are made from what a request says of them, and the games are played on the CPU.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../backends/backends.h"
#include "../device/dialect_cpu.h"
#include "../games/game.h"
#include "../judge/players/players.h"
#include "../kernels/policy.h"
#include "../train/policy.h"
#include "bw.h"

// Turns of a policy at a time, slots of its table of positions, rows of a forward pass.
enum { CHUNK = 4096, SLOTS = 2 * CHUNK, ROWS = 1024 };

// ---- a policy as a player ----

typedef struct policy_player {
  bw_policy* policy;
  bool argmax;
  float inverse_temperature;
  // Many games are in the same position, above all at their beginning: each different one is evaluated once.
  unsigned char* states;  // [CHUNK][state_bytes]: the different ones
  float* heads;           // [CHUNK][actions + 1]
  int32_t* rows;          // [CHUNK]: of each turn, in states and heads
  int32_t* table;         // [SLOTS]: open addressing by key; 1 + row, 0 where free
  uint64_t* keys;         // [CHUNK]: of states
} policy_player;

static int64_t unique_rows(policy_player* p, const bw_turns* turns, int64_t first, int64_t count) {
  const bw_game* game = turns->game;
  int64_t unique = 0;
  memset(p->table, 0, SLOTS * sizeof *p->table);
  for (int64_t i = 0; i < count; ++i) {
    const unsigned char* state = (const unsigned char*)turns->states + (size_t)(first + i) * game->state_bytes;
    const uint64_t key = game->key(state);
    uint64_t slot = (key * 0x9E3779B97F4A7C15u) >> 32;  // Fibonacci hashing
    for (;; ++slot) {
      const int32_t row = p->table[slot % SLOTS] - 1;
      if (row < 0) {
        p->table[slot % SLOTS] = (int32_t)unique + 1;
        p->keys[unique] = key;
        memcpy(p->states + (size_t)unique * game->state_bytes, state, game->state_bytes);
        p->rows[i] = (int32_t)unique++;
        break;
      }
      if (p->keys[row] == key) {
        p->rows[i] = row;
        break;
      }
    }
  }
  return unique;
}

static bw_status choose(void* self, const bw_turns* turns, bw_error* error) {
  policy_player* p = self;
  const bw_game* game = turns->game;
  for (int64_t first = 0; first < turns->count; first += CHUNK) {
    const int64_t left = turns->count - first;
    const int64_t count = left < CHUNK ? left : CHUNK;
    BW_TRY(bw_policy_infer(p->policy, p->states, unique_rows(p, turns, first, count), p->heads, error));
    for (int64_t i = 0; i < count; ++i) {
      const int64_t turn = first + i;
      const uint32_t legal = game->legal((const unsigned char*)turns->states + (size_t)turn * game->state_bytes);
      const float* logits = p->heads + (size_t)p->rows[i] * (size_t)(game->actions + 1);
      float probabilities[BW_GAME_MAX_ACTIONS], max;
      bw_masked_softmax(logits, legal, game->actions, p->inverse_temperature, probabilities, &max);
      turns->actions[turn] = p->argmax
                                 ? bw_most_probable(probabilities, legal, game->actions)
                                 : bw_sample(probabilities, legal, game->actions, bw_uniform(turns->random[turn].v[0]));
    }
  }
  return BW_OK;
}

static void policy_player_free(policy_player* p) {
  bw_policy_destroy(p->policy);
  free(p->states);
  free(p->heads);
  free(p->rows);
  free(p->table);
  free(p->keys);
}

static bw_status policy_player_make(policy_player* p, bw_device* device, const bw_game* game,
                                    const bw_player_spec* spec, bw_error* error) {
  if (bw_game_at(spec->config.game_name) != game) {
    char received[96];
    snprintf(received, sizeof received, "a policy for %s", bw_game_at(spec->config.game_name)->name);
    return bw_fail_option(error, "match", "players", received, "a policy for the game that is played");
  }
  if (!(spec->temperature >= 0.01 && spec->temperature <= 100)) {
    char received[32];
    snprintf(received, sizeof received, "%g", spec->temperature);
    return bw_fail_option(error, "match", "temperature", received, "a number from 0.01 to 100");
  }
  bw_safetensors file;
  BW_TRY(bw_safetensors_parse(spec->file, spec->file_bytes, &file, error));
  const bw_status status = bw_policy_create(device, &spec->config, &file, ROWS, &p->policy, error);
  bw_safetensors_free(&file);
  if (status != BW_OK) return status;
  p->argmax = spec->argmax;
  p->inverse_temperature = spec->argmax ? 1 : (float)(1 / spec->temperature);
  const size_t each = game->state_bytes + ((size_t)game->actions + 1) * sizeof(float) + sizeof(int32_t) +
                      sizeof(uint64_t) + SLOTS / CHUNK * sizeof(int32_t);
  p->states = malloc(CHUNK * game->state_bytes);
  p->heads = malloc(CHUNK * ((size_t)game->actions + 1) * sizeof *p->heads);
  p->rows = malloc(CHUNK * sizeof *p->rows);
  p->table = malloc(SLOTS * sizeof *p->table);
  p->keys = malloc(CHUNK * sizeof *p->keys);
  if (p->states && p->heads && p->rows && p->table && p->keys) return BW_OK;
  return bw_fail_memory(error, "match", "the positions of a policy", CHUNK * each, 0);
}

// ---- the players of a match ----

typedef struct match_players {
  policy_player policy[2];
  bw_search_player* search[2];
  bw_player seats[2];
} match_players;

static bw_status make_player(match_players* players, int index, bw_device* device, const bw_game* game,
                             const bw_match_request* request, bw_error* error) {
  const bw_player_spec* spec = &request->players[index];
  if (strcmp(spec->kind, "policy") == 0) {
    BW_TRY(policy_player_make(&players->policy[index], device, game, spec, error));
    players->seats[index] = (bw_player){.self = &players->policy[index], .choose = choose};
    return BW_OK;
  }
  const bw_player_kind* kind = NULL;
  BW_TRY(bw_player_kind_find(spec->kind, &kind, error));
  BW_TRY(bw_search_player_create(kind, game, spec->strength, bw_cpu_device_pool(device), request->cancelled,
                                 request->context, &players->search[index], error));
  players->seats[index] = bw_search_player_seat(players->search[index]);
  return BW_OK;
}

static bw_status play(const bw_match_request* request, const bw_game* game, bw_device* device, const void* starts,
                      match_players* players, uint8_t* results, uint8_t* plies, char* moves, bw_error* error) {
  for (int i = 0; i < 2; ++i) {
    const bw_status status = make_player(players, i, device, game, request, error);
    if (status == BW_OK) continue;
    if (error) error->step = i;
    return status;
  }
  const bw_match_plan plan = {.game = game,
                              .players = {players->seats[0], players->seats[1]},
                              .starts = starts,
                              .start_count = request->opening_count > 0 ? request->opening_count : 1,
                              .first = request->first,
                              .games = request->games,
                              .seed = request->seed,
                              .cancelled = request->cancelled,
                              .progress = request->progress,
                              .context = request->context};
  uint8_t* actions = (uint8_t*)moves;  // symbols in the end
  BW_TRY(bw_match_play(&plan, results, plies, actions, error));
  for (int64_t g = 0; g < request->games; ++g) {
    char* row = moves + (size_t)g * (size_t)game->max_plies;
    for (int i = 0; i < plies[g]; ++i) row[i] = (char)game->symbol((uint8_t)row[i]);
  }
  return BW_OK;
}

// ---- the request ----

static bw_status fail_number(bw_error* error, const char* path, int64_t number) {
  char received[32];
  snprintf(received, sizeof received, "%lld", (long long)number);
  return bw_fail_option(error, "match", path, received, "an integer from 0");
}

static bw_status parse_openings(const bw_match_request* request, const bw_game* game, unsigned char* starts,
                                bw_error* error) {
  if (request->opening_count == 0) game->init(starts);
  for (int64_t i = 0; i < request->opening_count; ++i) {
    bw_any_state state;
    bw_status status = bw_game_parse(game, request->openings[i], state.bytes, error);
    if (status == BW_OK && game->result(state.bytes) != BW_ONGOING) {
      status = bw_fail_option(error, "match", "openings", request->openings[i], "a position in which the game goes on");
    }
    if (status != BW_OK) {
      if (error) {
        snprintf(error->path, sizeof error->path, "openings");
        error->step = i;
      }
      return status;
    }
    memcpy(starts + (size_t)i * game->state_bytes, state.bytes, game->state_bytes);
  }
  return BW_OK;
}

static bw_status run(const bw_match_request* request, const bw_game* game, unsigned char* starts,
                     match_players* players, uint8_t* results, uint8_t* plies, char* moves, bw_error* error) {
  bw_isa isa = BW_ISA_PORTABLE;
  bw_device* device = NULL;
  BW_TRY(parse_openings(request, game, starts, error));
  BW_TRY(bw_isa_choose(&isa, error));
  const int threads = request->threads > 0 ? request->threads : bw_hardware_threads();
  BW_TRY(bw_cpu_device_create(isa, BW_PRECISION_FP32, threads, &device, error));
  const bw_status status = play(request, game, device, starts, players, results, plies, moves, error);
  for (int i = 0; i < 2; ++i) {
    policy_player_free(&players->policy[i]);
    bw_search_player_destroy(players->search[i]);
  }
  bw_device_destroy(device);
  return status;
}

bw_status bw_match_run(const bw_match_request* request, uint8_t* results, uint8_t* plies, char* moves,
                       bw_error* error) {
  int index = 0;
  BW_TRY(bw_game_find(request->game, &index, error));
  const bw_game* game = bw_game_at(index);
  if (request->games < 0) return fail_number(error, "games", request->games);
  if (request->first < 0) return fail_number(error, "first", request->first);
  if (request->threads < 0) return fail_number(error, "threads", request->threads);
  const size_t bytes = (size_t)(request->opening_count + 1) * game->state_bytes;
  unsigned char* starts = calloc(1, bytes);
  match_players* players = calloc(1, sizeof *players);
  const bw_status status = starts && players
                               ? run(request, game, starts, players, results, plies, moves, error)
                               : bw_fail_memory(error, "match", "the openings", bytes + sizeof *players, 0);
  free(starts);
  free(players);
  return status;
}
