// Looks at its own move and the opponent's answer: wins at once where it can; else plays at random among the moves
// after which the opponent cannot win at once; where there is none it blocks one of the threats, or plays at random.
#include "players.h"

static int choose(const bw_chooser* chooser, const void* state, bw_random4 random) {
  const bw_game* game = chooser->game;
  const uint32_t wins = bw_wins(game, state);
  if (wins) return bw_pick(wins, random.v[0]);
  const uint32_t legal = game->legal(state);
  uint32_t safe = 0;
  for (int action = 0; action < game->actions; ++action) {
    if (!(legal >> action & 1)) continue;
    const bw_any_state next = bw_after(game, state, action);
    if (!bw_wins(game, next.bytes)) safe |= (uint32_t)1 << action;
  }
  if (safe) return bw_pick(safe, random.v[0]);
  const uint32_t threats = bw_threats(game, state);
  return bw_pick(threats ? threats : legal, random.v[0]);
}

const bw_player_how bw_player_one_ply = {.choose = choose};
