// Players that look at one position at a time and need no network (players.def).
#ifndef BW_JUDGE_PLAYERS_PLAYERS_H
#define BW_JUDGE_PLAYERS_PLAYERS_H

#include "../../core/pool.h"
#include "../match.h"

#ifdef __cplusplus
extern "C" {
#endif

// What one thread chooses with.
typedef struct bw_chooser {
  const bw_game* game;
  int64_t strength;  // as players.def says
  void* memory;      // what the player's open made; NULL where it needs nothing
  // Whether the match is to end; what a player chooses then does not matter. Players whose choices take long ask.
  bool (*cancelled)(void* context);  // NULL: never
  void* context;
} bw_chooser;

// How a player chooses; one a file.
typedef struct bw_player_how {
  // Fills chooser->memory for one thread. BW_MEMORY, or BW_OPTION with path "kind" for a game that it does not play.
  // NULL where nothing is needed.
  bw_status (*open)(bw_chooser* chooser, bw_error* error);
  void (*close)(void* memory);  // of open; NULL is allowed
  // The action that it chooses in a state that is not the end of a game.
  int (*choose)(const bw_chooser* chooser, const void* state, bw_random4 random);
} bw_player_how;

#define PLAYER(function, name, strength, initial, least, most, doc) extern const bw_player_how bw_player_##function;
#include "players.def"
#undef PLAYER

typedef struct bw_player_kind {
  const char* name;
  const char* strength;  // what it counts: "depth", ...; "" where there is none
  int64_t initial, least, most;
  const bw_player_how* how;
} bw_player_kind;

int bw_player_kind_count(void);
const bw_player_kind* bw_player_kind_at(int index);
// BW_OPTION, path "kind", for a name that players.def lacks.
bw_status bw_player_kind_find(const char* name, const bw_player_kind** kind, bw_error* error);

// A player of this kind that spreads its choices over the threads of a pool. strength 0: the default. BW_OPTION with
// the strength's name as path where it is out of range, BW_MEMORY.
typedef struct bw_search_player bw_search_player;
bw_status bw_search_player_create(const bw_player_kind* kind, const bw_game* game, int64_t strength, bw_pool* pool,
                                  bool (*cancelled)(void* context), void* context, bw_search_player** player,
                                  bw_error* error);
void bw_search_player_destroy(bw_search_player* player);  // NULL is allowed
bw_player bw_search_player_seat(bw_search_player* player);

// ---- what players share ----

// A state of any game, aligned for all of them.
typedef struct bw_any_state {
  _Alignas(16) unsigned char bytes[BW_GAME_MAX_STATE_BYTES];
} bw_any_state;

// The actions of a game from the centre of the board outwards.
const uint8_t* bw_centre_first(const bw_game* game);

// The state after a move.
bw_any_state bw_after(const bw_game* game, const void* state, int action);

// The moves that win at once, as bits.
uint32_t bw_wins(const bw_game* game, const void* state);

// Where the opponent would win at once if it were to move, as bits. To be asked where bw_wins gives none.
uint32_t bw_threats(const bw_game* game, const void* state);

// One of the actions in mask (not empty), each as probable.
int bw_pick(uint32_t mask, uint32_t word);

#ifdef __cplusplus
}
#endif
#endif
