// Generated from games/list.def by `npm run gen`; do not edit.
// The kernels of every game.

#define BW_GAME tictactoe
#include "playouts.k.h"
#include "rollout.k.h"
#undef BW_GAME

#define BW_GAME connect4
#include "playouts.k.h"
#include "rollout.k.h"
#undef BW_GAME
