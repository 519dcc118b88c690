// The deterministic rule that other systems rate themselves against: the lowest action that wins at once; else the
// lowest where the opponent would win at once; else the first legal one from the centre outwards (Connect Four:
// columns 4 3 5 2 6 1 7). It does not see that a stone may lift the opponent to a winning cell.
#include "players.h"

static int lowest(uint32_t mask) {
  int action = 0;
  while (!(mask >> action & 1)) ++action;
  return action;
}

static int choose(const bw_chooser* chooser, const void* state, bw_random4 random) {
  (void)random;
  const bw_game* game = chooser->game;
  const uint32_t wins = bw_wins(game, state);
  if (wins) return lowest(wins);
  const uint32_t threats = bw_threats(game, state);
  if (threats) return lowest(threats);
  const uint32_t legal = game->legal(state);
  const uint8_t* order = bw_centre_first(game);
  int i = 0;
  while (!(legal >> order[i] & 1)) ++i;
  return order[i];
}

const bw_player_how bw_player_heuristic = {.choose = choose};
