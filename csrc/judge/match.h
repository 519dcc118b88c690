// Games between two players from given start positions, many at a time.
//
// Chance is a function of (seed, number of the game, ply), so a game is the same whatever is played beside it, in
// whatever order and on however many threads, and a match may be played in parts.
#ifndef BW_JUDGE_MATCH_H
#define BW_JUDGE_MATCH_H

#include <stdbool.h>

#include "../core/rng.h"
#include "../games/registry.h"

#ifdef __cplusplus
extern "C" {
#endif

// Positions, none of them the end of a game, in which one player has to move.
typedef struct bw_turns {
  const bw_game* game;
  int64_t count;
  const void* states;        // [count], state_bytes apart
  const bw_random4* random;  // [count]: all the chance that each choice may use
  int32_t* actions;          // [count]: the choices, for the player to fill in
} bw_turns;

// choose must depend on each position and its random numbers only.
typedef struct bw_player {
  void* self;
  bw_status (*choose)(void* self, const bw_turns* turns, bw_error* error);
} bw_player;

// The result of a game for the first of the two players.
enum { BW_MATCH_WIN = 0, BW_MATCH_DRAW = 1, BW_MATCH_LOSS = 2 };

typedef struct bw_match_plan {
  const bw_game* game;
  bw_player players[2];
  // Game g starts from position (g / 2) mod start_count; the first player makes the moves at even plies where g is
  // even, those at odd plies where g is odd: two games in a row are one opening with colours swapped.
  const void* starts;  // [start_count], state_bytes apart
  int64_t start_count;
  int64_t first, games;  // the games first .. first + games - 1
  int limit;             // plies of a game at most, a draw if it goes on then; 0: none
  uint64_t seed;
  bool (*cancelled)(void* context);               // asked between moves; NULL: never
  void (*progress)(void* context, int64_t done);  // games that are over; NULL: nobody asks
  void* context;
} bw_match_plan;

// results[games]: BW_MATCH_*. plies[games]: moves made after the start. actions[games][max_plies]: those moves; the
// rest of a row is left alone. BW_CANCELLED, BW_MEMORY, or what a player returns.
bw_status bw_match_play(const bw_match_plan* plan, uint8_t* results, uint8_t* plies, uint8_t* actions, bw_error* error);

#ifdef __cplusplus
}
#endif
#endif
