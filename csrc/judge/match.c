#include "match.h"

#include <stdlib.h>
#include <string.h>

#include "../games/game.h"

// Games in progress at a time: enough for large batches of a network, few enough to stay in cache.
enum { FLIGHT = 4096 };

// One game in progress.
typedef struct seat_of {
  int64_t number;  // of the game, over the whole match
  int64_t index;   // in the caller's arrays
  uint8_t plies;   // made since the start
} seat_of;

typedef struct flight {
  const bw_match_plan* plan;
  uint8_t *results, *plies, *actions;
  int64_t count;          // games in progress
  seat_of* games;         // [FLIGHT]
  unsigned char* states;  // [FLIGHT][state_bytes]
  // The turns of one player.
  int64_t* listed;             // [FLIGHT]: indices into games
  unsigned char* turn_states;  // [FLIGHT][state_bytes]
  bw_random4* turn_random;     // [FLIGHT]
  int32_t* turn_actions;       // [FLIGHT]
} flight;

static unsigned char* state_of(const flight* f, int64_t slot) {
  return f->states + (size_t)slot * f->plan->game->state_bytes;
}

// Which of the two players moves at a ply of a game.
static int mover(int64_t number, int ply) { return (int)((number + ply) & 1); }

static void enter(flight* f, int64_t first, int64_t count) {
  const bw_match_plan* plan = f->plan;
  const size_t bytes = plan->game->state_bytes;
  f->count = count;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t number = plan->first + first + i;
    f->games[i] = (seat_of){.number = number, .index = first + i};
    const size_t start = (size_t)(number / 2 % plan->start_count);
    memcpy(state_of(f, i), (const unsigned char*)plan->starts + start * bytes, bytes);
  }
}

// Games that are over leave: the last one takes their place.
static void leave(flight* f) {
  const bw_match_plan* plan = f->plan;
  for (int64_t i = 0; i < f->count;) {
    const unsigned char* state = state_of(f, i);
    const int result = plan->game->result(state);
    const seat_of* game = &f->games[i];
    if (result == BW_ONGOING && (plan->limit == 0 || game->plies < plan->limit)) {
      ++i;
      continue;
    }
    // Only who moved last can have won.
    const int last = mover(game->number, plan->game->ply(state) - 1);
    f->results[game->index] = result != BW_WON ? BW_MATCH_DRAW : last == 0 ? BW_MATCH_WIN : BW_MATCH_LOSS;
    f->plies[game->index] = game->plies;
    --f->count;
    f->games[i] = f->games[f->count];
    memmove(state_of(f, i), state_of(f, f->count), plan->game->state_bytes);
  }
}

static bw_status move(flight* f, int player, bw_error* error) {
  const bw_match_plan* plan = f->plan;
  const bw_game* game = plan->game;
  int64_t count = 0;
  for (int64_t i = 0; i < f->count; ++i) {
    const unsigned char* state = state_of(f, i);
    const int ply = game->ply(state);
    if (mover(f->games[i].number, ply) != player) continue;
    f->listed[count] = i;
    memcpy(f->turn_states + (size_t)count * game->state_bytes, state, game->state_bytes);
    f->turn_random[count] = bw_philox(plan->seed, BW_STREAM_MATCH, (uint64_t)f->games[i].number, (uint32_t)ply);
    ++count;
  }
  if (count == 0) return BW_OK;
  const bw_turns turns = {
      .game = game, .count = count, .states = f->turn_states, .random = f->turn_random, .actions = f->turn_actions};
  BW_TRY(plan->players[player].choose(plan->players[player].self, &turns, error));
  for (int64_t t = 0; t < count; ++t) {
    seat_of* of = &f->games[f->listed[t]];
    unsigned char* state = state_of(f, f->listed[t]);
    f->actions[(size_t)of->index * (size_t)game->max_plies + of->plies++] = (uint8_t)f->turn_actions[t];
    game->play(state, f->turn_actions[t]);
  }
  return BW_OK;
}

static bw_status play(flight* f, bw_error* error) {
  const bw_match_plan* plan = f->plan;
  for (int64_t first = 0; first < plan->games; first += FLIGHT) {
    const int64_t left = plan->games - first;
    enter(f, first, left < FLIGHT ? left : FLIGHT);
    for (leave(f); f->count > 0; leave(f)) {
      if (plan->progress) plan->progress(plan->context, first + (left < FLIGHT ? left : FLIGHT) - f->count);
      // Each game makes one move, or two where the first player is to move and the second answers.
      for (int player = 0; player < 2; ++player) {
        if (plan->cancelled && plan->cancelled(plan->context)) {
          return bw_fail(error, BW_CANCELLED, "match", "cancelled");
        }
        if (player == 1) leave(f);
        BW_TRY(move(f, player, error));
      }
    }
  }
  if (plan->progress) plan->progress(plan->context, plan->games);
  return BW_OK;
}

bw_status bw_match_play(const bw_match_plan* plan, uint8_t* results, uint8_t* plies, uint8_t* actions,
                        bw_error* error) {
  const size_t bytes = plan->game->state_bytes;
  const size_t each = sizeof(seat_of) + 2 * bytes + sizeof(int64_t) + sizeof(bw_random4) + sizeof(int32_t);
  flight f = {.plan = plan,
              .results = results,
              .plies = plies,
              .actions = actions,
              .games = calloc(FLIGHT, sizeof *f.games),
              .states = calloc(FLIGHT, bytes),
              .listed = calloc(FLIGHT, sizeof *f.listed),
              .turn_states = calloc(FLIGHT, bytes),
              .turn_random = calloc(FLIGHT, sizeof *f.turn_random),
              .turn_actions = calloc(FLIGHT, sizeof *f.turn_actions)};
  const bool whole = f.games && f.states && f.listed && f.turn_states && f.turn_random && f.turn_actions;
  const bw_status status = whole ? play(&f, error) : bw_fail_memory(error, "match", "the games", FLIGHT * each, 0);
  free(f.games);
  free(f.states);
  free(f.listed);
  free(f.turn_states);
  free(f.turn_random);
  free(f.turn_actions);
  return status;
}
