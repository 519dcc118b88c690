// The games as run-time tables for host code (judge, perft, text input and output). Kernels do not use it: they
// are instantiated per game from games/list.def.
#ifndef BW_GAMES_REGISTRY_H
#define BW_GAMES_REGISTRY_H

#include <stddef.h>

#include "../core/status.h"
#include "game.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BW_GAME_MAX_STATE_BYTES 64
#define BW_GAME_MAX_ACTIONS 32
#define BW_GAME_MAX_FEATURES 512

// What a net is shown of a state (game.h).
typedef struct bw_observer {
  int planes, inputs, max_features;
  int (*features)(const void* state, uint16_t* list);  // list[max_features]
} bw_observer;

// One game; the functions are those of game.h on opaque state.
typedef struct bw_game {
  const char* name;
  const char* title;
  int actions, rows, cols, max_plies;
  bw_observer observers[BW_OBSERVATIONS];
  size_t state_bytes;  // at most BW_GAME_MAX_STATE_BYTES
  void (*init)(void* state);
  uint32_t (*legal)(const void* state);
  void (*play)(void* state, int action);
  void (*attempt)(void* state, int action);
  int (*result)(const void* state);  // enum bw_result
  int (*ply)(const void* state);
  void (*mirror)(void* state);
  int (*mirror_action)(int action);
  uint64_t (*key)(const void* state);
  int (*symbol)(int action);
  int (*cell)(const void* state, int row, int col);
} bw_game;

int bw_game_count(void);
const bw_game* bw_game_at(int index);
// Fails with BW_OPTION, path "game.name", expected = the names ("did you mean" included in the message).
bw_status bw_game_find(const char* name, int* index, bw_error* error);

// The observation of a state as numbers: x[inputs], each 0 or 1 (game.h).
void bw_observer_encode(const bw_observer* observer, const void* state, float* x);

// Plays `moves` (one symbol a move, e.g. "4455"; blanks, tabs and CR are ignored) from the start position into
// state. An unknown symbol, an illegal move or a move after the end is BW_OPTION with path "moves"; the message
// names the 1-based move number.
bw_status bw_game_parse(const bw_game* game, const char* moves, void* state, bw_error* error);

// Leaf nodes of the game tree at `depth` (perft). A game that ended earlier contributes no leaf.
uint64_t bw_game_perft(const bw_game* game, const void* state, int depth);

// A board for people, rows separated by '\n', at most size bytes with the final 0. Empty cells of games whose
// symbols name cells show that symbol. Returns the length.
size_t bw_game_print(const bw_game* game, const void* state, char* text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
