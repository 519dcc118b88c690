// A network as a player of matches: its most probable moves or its samples, straight from the policy or after a search.
#ifndef BW_API_POLICY_PLAYER_H
#define BW_API_POLICY_PLAYER_H

#include "../device/device.h"
#include "bw.h"

typedef struct bw_policy_player bw_policy_player;

// cancelled and context: of the match, for searches. The device is borrowed. BW_OPTION names "players", "temperature"
// or "simulations"; BW_CHECKPOINT, BW_MEMORY.
bw_status bw_policy_player_create(bw_device* device, const bw_game* game, const bw_player_spec* spec,
                                  bool (*cancelled)(void* context), void* context, bw_policy_player** player,
                                  bw_error* error);
void bw_policy_player_destroy(bw_policy_player* player);  // NULL is allowed
bw_player bw_policy_player_seat(bw_policy_player* player);

#endif
