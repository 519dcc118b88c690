// Games that do not start from the empty board: from a list of positions given by the caller, and from positions of
// games that the agent lost although it had thought itself ahead (a reservoir of them).
//
// A position of the reservoir is the moves that led to it, one byte each (action + 1, then zeros): so checkpoints keep
// it, and reading one replays the moves and can trust the state.
#include <stdlib.h>
#include <string.h>

#include "../games/game.h"
#include "run.h"

static uint8_t* moves_of(const bw_run* run, const bw_positions* positions, int64_t index) {
  return positions->moves + (size_t)index * (size_t)run->game->max_plies;
}

static uint8_t* state_of(const bw_run* run, const bw_positions* positions, int64_t index) {
  return positions->states + (size_t)index * run->game->state_bytes;
}

static bool allocate(const bw_run* run, bw_positions* positions, int64_t count) {
  positions->moves = calloc((size_t)count + 1, (size_t)run->game->max_plies);
  positions->states = calloc((size_t)count + 1, run->game->state_bytes);
  return positions->moves && positions->states;
}

static void release(bw_positions* positions) {
  free(positions->moves);
  free(positions->states);
}

bool bw_starts_allocate(bw_run* run) {
  const size_t games = (size_t)run->config.rollout_games, plies = (size_t)run->game->max_plies;
  bw_starts* s = &run->starts;
  if (bw_starts_used(&run->config)) {
    s->game_states = calloc(games, run->game->state_bytes);
    s->sources = calloc(games, sizeof *s->sources);
    if (!s->game_states || !s->sources) return false;
  }
  if (!bw_starts_kept(&run->config)) return true;
  s->host_counts = calloc(games, sizeof *s->host_counts);
  s->host_players = calloc(games * plies, sizeof *s->host_players);
  s->host_values = calloc(games * plies, sizeof *s->host_values);
  s->host_moves = calloc(games, plies);
  return allocate(run, &s->lost, run->config.starts_capacity) && s->host_counts && s->host_players && s->host_values &&
         s->host_moves;
}

void bw_starts_free(bw_run* run) {
  bw_starts* s = &run->starts;
  release(&s->list);
  release(&s->lost);
  free(s->game_states);
  free(s->sources);
  free(s->host_counts);
  free(s->host_players);
  free(s->host_values);
  free(s->host_moves);
}

// ---- drawing ----

void bw_starts_draw(bw_run* run, int64_t g, uint32_t kind, uint32_t which) {
  const bw_config* c = &run->config;
  bw_starts* s = &run->starts;
  const double u = (double)bw_uniform(kind);
  if (u >= c->starts_list_share + c->starts_share) return;
  const bw_positions* positions = u < c->starts_list_share ? &s->list : &s->lost;
  if (positions->count == 0) return;
  const int64_t index = bw_below(which, (uint32_t)positions->count);
  memcpy(s->game_states + (size_t)g * run->game->state_bytes, state_of(run, positions, index), run->game->state_bytes);
  s->sources[g] = moves_of(run, positions, index);
  run->setups[g].start = 1;
}

// ---- the list ----

// text: as bw_game_parse takes it.
static bw_status read_position(const bw_game* game, const char* text, uint8_t* moves, void* state, bw_error* error) {
  BW_TRY(bw_game_parse(game, text, state, error));
  if (game->result(state) != BW_ONGOING) {
    return bw_fail_option(error, "starts", "moves", text, "a position in which the game goes on");
  }
  for (const char* c = text; *c; ++c) {  // what is no symbol was skipped
    for (int a = 0; a < game->actions; ++a) {
      if (game->symbol(a) == *c) *moves++ = (uint8_t)(a + 1);
    }
  }
  return BW_OK;
}

bw_status bw_run_set_starts(bw_run* run, const char* const* moves, int64_t count, bw_error* error) {
  bw_positions list = {.count = count};
  bw_status status = BW_OK;
  if (!allocate(run, &list, count)) {
    const size_t each = run->game->state_bytes + (size_t)run->game->max_plies;
    status = bw_fail_memory(error, "starts", "the start positions", (size_t)count * each, 0);
  }
  for (int64_t i = 0; status == BW_OK && i < count; ++i) {
    status = read_position(run->game, moves[i], moves_of(run, &list, i), state_of(run, &list, i), error);
    if (status != BW_OK && error) error->step = i;
  }
  if (status != BW_OK) {
    release(&list);
    return status;
  }
  release(&run->starts.list);
  run->starts.list = list;
  return BW_OK;
}

// ---- the reservoir ----

// Replays moves[length]. False where one is illegal, or the last one ends the game.
static bool replay(const bw_game* game, const uint8_t* moves, int length, void* state) {
  game->init(state);
  for (int i = 0; i < length; ++i) {
    if (moves[i] == 0 || moves[i] > game->actions || !(game->legal(state) >> (moves[i] - 1) & 1)) return false;
    game->play(state, moves[i] - 1);
  }
  return game->result(state) == BW_ONGOING;
}

// Algorithm R (Vitter 1985): each position seen so far is kept with the same probability. moves: those that led to it.
static void keep(bw_run* run, const uint8_t* moves, int length) {
  bw_starts* s = &run->starts;
  const int64_t number = s->seen++;
  int64_t slot = s->lost.count;
  if (slot == run->config.starts_capacity) {
    const uint32_t bound = number < UINT32_MAX ? (uint32_t)number + 1 : UINT32_MAX;
    slot = bw_below(bw_philox((uint64_t)run->config.run_seed, BW_STREAM_STARTS, (uint64_t)number, 0).v[0], bound);
    if (slot >= s->lost.count) return;
  } else {
    ++s->lost.count;
  }
  memset(moves_of(run, &s->lost, slot), 0, (size_t)run->game->max_plies);
  memcpy(moves_of(run, &s->lost, slot), moves, (size_t)length);
  replay(run->game, moves, length, state_of(run, &s->lost, slot));
}

bw_status bw_starts_collect(bw_run* run, bw_error* error) {
  const bw_config* c = &run->config;
  bw_starts* s = &run->starts;
  if (!bw_starts_kept(c)) return BW_OK;
  const bw_game* game = run->game;
  const bw_backend* backend = run->device->backend;
  const int64_t plies = game->max_plies, slots = c->rollout_games * plies;
  backend->download(run->device, s->host_counts, run->rollout.counts, (size_t)c->rollout_games * sizeof(int32_t));
  backend->download(run->device, s->host_players, run->rollout.record_players, (size_t)slots * sizeof(int32_t));
  backend->download(run->device, s->host_moves, run->rollout.moves, (size_t)slots);
  BW_TRY(bw_download_real(run->device, s->host_values, run->rollout.record_values, slots, error));
  // All of them before the first position is replaced: starts were drawn from the reservoir as it was.
  for (int64_t g = 0; g < c->rollout_games; ++g) {
    if (!run->setups[g].start) continue;
    for (int64_t i = 0; i < plies && s->sources[g][i]; ++i) s->host_moves[g * plies + i] = s->sources[g][i];
  }
  for (int64_t g = 0; g < c->rollout_games; ++g) {
    const int outcome = run->host_outcomes[g];
    if (outcome == BW_OUTCOME_DRAW) continue;
    const int loser = outcome == BW_OUTCOME_FIRST ? 1 : 0;
    const uint8_t* moves = s->host_moves + g * plies;
    int end = 0;
    while (end < plies && moves[end]) ++end;
    const bool both = run->setups[g].record_both;
    int ply = end - run->host_plies[g];  // of the first move that a policy made, then of each record
    if (!both && (ply & 1) != run->setups[g].seat) ++ply;
    for (int64_t k = 0; k < s->host_counts[g]; ++k, ply += both ? 1 : 2) {
      if (s->host_players[g * plies + k] != loser) continue;
      if ((double)s->host_values[g * plies + k] > c->starts_threshold) keep(run, moves, ply);
    }
  }
  return BW_OK;
}

bool bw_starts_restore(bw_run* run, const uint8_t* moves, int64_t count, uint8_t* states) {
  const size_t plies = (size_t)run->game->max_plies;
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* row = moves + (size_t)i * plies;
    size_t length = 0;
    while (length < plies && row[length]) ++length;
    for (size_t j = length; j < plies; ++j) {
      if (row[j]) return false;
    }
    if (!replay(run->game, row, (int)length, states + (size_t)i * run->game->state_bytes)) return false;
  }
  return true;
}
