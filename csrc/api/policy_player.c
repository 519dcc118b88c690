#include "policy_player.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../backends/backends.h"
#include "../device/dialect_cpu.h"
#include "../games/game.h"
#include "../judge/gumbel_search.h"
#include "../judge/unique_states.h"
#include "../kernels/policy.h"
#include "../train/policy.h"

// Turns at a time, rows of a forward pass, positions that are searched side by side.
enum { CHUNK = 4096, ROWS = 1024, SEARCHES = 1024 };

struct bw_policy_player {
  const bw_game* game;
  bw_policy* policy;
  bool argmax;
  float inverse_temperature;
  bw_unique_states turns;  // of the positions in which it is to move
  float* heads;            // [CHUNK][actions + 1]: of the different ones
  // With a search: the positions that it asks for, and the choice in each different one of turns.
  bw_gumbel_search* search;  // NULL: none
  bw_unique_states leaves;
  float* leaf_heads;  // [SEARCHES][actions + 1]
  int32_t* choices;   // [CHUNK]
};

static bw_status choose_at_once(bw_policy_player* p, const bw_turns* turns, int64_t first, int64_t count,
                                bw_error* error) {
  const bw_game* game = p->game;
  const unsigned char* states = (const unsigned char*)turns->states + (size_t)first * game->state_bytes;
  const int64_t different = bw_unique_states_find(&p->turns, game, states, count);
  BW_TRY(bw_policy_infer(p->policy, p->turns.states, different, p->heads, error));
  for (int64_t i = 0; i < count; i += BW_POLICY_ROWS) {
    bw_policy_rows rows;
    float u[BW_POLICY_ROWS];
    int chosen[BW_POLICY_ROWS];
    FOR_LANES(r) {
      const int64_t row = i + r < count ? i + r : i;
      const float* logits = p->heads + (size_t)p->turns.rows[row] * (size_t)(game->actions + 1);
      rows.masks[r] = game->legal(states + (size_t)row * game->state_bytes);
      u[r] = bw_uniform(turns->random[first + row].v[0]);
      for (int a = 0; a < game->actions; ++a) rows.logits[a][r] = logits[a];
    }
    bw_masked_softmax_rows(&rows, game->actions, p->inverse_temperature);
    if (p->argmax) {
      bw_most_probable_rows(&rows, game->actions, chosen);
    } else {
      bw_sample_rows(&rows, game->actions, u, chosen);
    }
    for (int r = 0; r < BW_POLICY_ROWS && i + r < count; ++r) turns->actions[first + i + r] = chosen[r];
  }
  return BW_OK;
}

static bw_status choose_by_search(bw_policy_player* p, const bw_turns* turns, int64_t first, int64_t count,
                                  bw_error* error) {
  const unsigned char* states = (const unsigned char*)turns->states + (size_t)first * p->game->state_bytes;
  if (!p->argmax) {
    return bw_gumbel_search_run(p->search, states, turns->random + first, count, (double)p->inverse_temperature,
                                turns->actions + first, NULL, error);
  }
  // Without noise equal positions have equal searches.
  const int64_t different = bw_unique_states_find(&p->turns, p->game, states, count);
  BW_TRY(bw_gumbel_search_run(p->search, p->turns.states, NULL, different, 1, p->choices, NULL, error));
  for (int64_t i = 0; i < count; ++i) turns->actions[first + i] = p->choices[p->turns.rows[i]];
  return BW_OK;
}

static bw_status choose(void* self, const bw_turns* turns, bw_error* error) {
  bw_policy_player* p = self;
  for (int64_t first = 0; first < turns->count; first += CHUNK) {
    const int64_t left = turns->count - first;
    const int64_t count = left < CHUNK ? left : CHUNK;
    BW_TRY(p->search ? choose_by_search(p, turns, first, count, error) : choose_at_once(p, turns, first, count, error));
  }
  return BW_OK;
}

// What the search asks of the net.
static bw_status evaluate(void* self, const void* states, int64_t count, float* heads, bw_error* error) {
  bw_policy_player* p = self;
  const size_t outputs = (size_t)p->game->actions + 1;
  const int64_t different = bw_unique_states_find(&p->leaves, p->game, states, count);
  BW_TRY(bw_policy_infer(p->policy, p->leaves.states, different, p->leaf_heads, error));
  for (int64_t i = 0; i < count; ++i) {
    memcpy(heads + (size_t)i * outputs, p->leaf_heads + (size_t)p->leaves.rows[i] * outputs, outputs * sizeof *heads);
  }
  return BW_OK;
}

static bw_status make_search(bw_policy_player* p, bw_device* device, int64_t simulations,
                             bool (*cancelled)(void* context), void* context, bw_error* error) {
  const bw_gumbel_plan plan = {.game = p->game,
                               .evaluator = {.self = p, .evaluate = evaluate},
                               .simulations = simulations,
                               .most = SEARCHES,
                               .pool = bw_cpu_device_pool(device),
                               .cancelled = cancelled,
                               .context = context};
  BW_TRY(bw_gumbel_search_create(&plan, &p->search, error));
  BW_TRY(bw_unique_states_create(p->game, SEARCHES, &p->leaves, error));
  const size_t head_bytes = SEARCHES * ((size_t)p->game->actions + 1) * sizeof *p->leaf_heads;
  const size_t choice_bytes = CHUNK * sizeof *p->choices;
  p->leaf_heads = malloc(head_bytes);
  p->choices = malloc(choice_bytes);
  if (p->leaf_heads && p->choices) return BW_OK;
  return bw_fail_memory(error, "match", "the positions of a search", head_bytes + choice_bytes, 0);
}

static bw_status make(bw_policy_player* p, bw_device* device, const bw_player_spec* spec,
                      bool (*cancelled)(void* context), void* context, bw_error* error) {
  const bw_game* game = p->game;
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
  BW_TRY(status);
  p->argmax = spec->argmax;
  p->inverse_temperature = spec->argmax ? 1 : (float)(1 / spec->temperature);
  BW_TRY(bw_unique_states_create(game, CHUNK, &p->turns, error));
  const size_t bytes = CHUNK * ((size_t)game->actions + 1) * sizeof *p->heads;
  p->heads = malloc(bytes);
  if (!p->heads) return bw_fail_memory(error, "match", "the positions of a policy", bytes, 0);
  return spec->simulations == 0 ? BW_OK : make_search(p, device, spec->simulations, cancelled, context, error);
}

bw_status bw_policy_player_create(bw_device* device, const bw_game* game, const bw_player_spec* spec,
                                  bool (*cancelled)(void* context), void* context, bw_policy_player** out,
                                  bw_error* error) {
  bw_policy_player* player = calloc(1, sizeof *player);
  if (!player) return bw_fail_memory(error, "match", "a player", sizeof *player, 0);
  player->game = game;
  const bw_status status = make(player, device, spec, cancelled, context, error);
  if (status != BW_OK) {
    bw_policy_player_destroy(player);
    return status;
  }
  *out = player;
  return BW_OK;
}

void bw_policy_player_destroy(bw_policy_player* player) {
  if (!player) return;
  bw_gumbel_search_destroy(player->search);
  bw_unique_states_free(&player->leaves);
  free(player->leaf_heads);
  free(player->choices);
  bw_unique_states_free(&player->turns);
  free(player->heads);
  bw_policy_destroy(player->policy);
  free(player);
}

bw_player bw_policy_player_seat(bw_policy_player* player) { return (bw_player){.self = player, .choose = choose}; }
