// Generated from games/list.def by `npm run gen`; do not edit.
// The rules of every game.
#ifndef BW_GAMES_GAMES_GEN_H
#define BW_GAMES_GAMES_GEN_H

#include "connect4.h"
#include "tictactoe.h"

#endif
