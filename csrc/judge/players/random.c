// Uniformly random legal moves: the player whose rating is 1000.
#include "players.h"

size_t bw_random_scratch(const bw_game* game, int64_t strength);
int bw_random_choose(const bw_chooser* chooser, const void* state, bw_random4 random);

size_t bw_random_scratch(const bw_game* game, int64_t strength) {
  (void)game;
  (void)strength;
  return 0;
}

int bw_random_choose(const bw_chooser* chooser, const void* state, bw_random4 random) {
  return bw_pick(chooser->game->legal(state), random.v[0]);
}
