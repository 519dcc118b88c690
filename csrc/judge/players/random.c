// Uniformly random legal moves: the player whose rating is 1000.
#include "players.h"

static int choose(const bw_chooser* chooser, const void* state, bw_random4 random) {
  return bw_pick(chooser->game->legal(state), random.v[0]);
}

const bw_player_how bw_player_random = {.choose = choose};
