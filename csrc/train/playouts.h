// Uniformly random games: what chance alone makes of a position.
#ifndef BW_TRAIN_PLAYOUTS_H
#define BW_TRAIN_PLAYOUTS_H

#include "../device/device.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bw_playouts {
  int64_t games, first, second, draws;  // games = won by the first player + won by the second + drawn
  int64_t moves;                        // random ones, of all games
} bw_playouts;

// Plays `games` games from start (a state of game number `game` in the registry) to their ends by uniformly random
// legal moves. Game g draws from (seed, number + g): parts played apart add up to the whole.
bw_status bw_random_playouts(bw_device* device, int game, const void* start, uint64_t seed, uint64_t number,
                             int64_t games, bw_playouts* totals, bw_error* error);

#ifdef __cplusplus
}
#endif
#endif
