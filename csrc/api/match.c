// Matches: players are made from what a request says of them, and the games are played on the CPU.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../backends/backends.h"
#include "../games/game.h"
#include "../judge/players/players.h"
#include "bw.h"
#include "policy_player.h"

// ---- the players of a match ----

typedef struct match_players {
  bw_policy_player* policy[2];
  bw_search_player* search[2];
  bw_player seats[2];
} match_players;

static bw_status make_player(match_players* players, int index, bw_device* device, const bw_game* game,
                             const bw_match_request* request, bw_error* error) {
  const bw_player_spec* spec = &request->players[index];
  if (strcmp(spec->kind, "policy") == 0) {
    BW_TRY(bw_policy_player_create(device, game, spec, request->cancelled, request->context, &players->policy[index],
                                   error));
    players->seats[index] = bw_policy_player_seat(players->policy[index]);
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
                              .limit = request->limit,
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
    bw_policy_player_destroy(players->policy[i]);
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
  if (request->limit < 0) return fail_number(error, "limit", request->limit);
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
