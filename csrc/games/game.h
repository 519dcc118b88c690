// The contract of a game. A game is one header `games/NAME.h` that states rules and nothing else: a POD state and
// inline functions in the common subset of C11 and C++14 that every device compiler takes (no libc, no recursion,
// no function pointers, no dynamic memory). One line in games/list.def registers it; rollout kernels on all
// devices, names, conformance test and bench row follow.
//
// For a game NAME the header defines
//
//   enum { NAME_ACTIONS, NAME_ROWS, NAME_COLS, NAME_MAX_PLIES, NAME_PLANES, NAME_FEATURES, NAME_THREAT_PLANES,
//          NAME_THREAT_FEATURES };
//     ACTIONS <= 32, fixed action space; ROWS x COLS board; MAX_PLIES bounds every game; of the two observations,
//     PLANES features a cell, and FEATURES, how long a list NAME_features (THREAT_*: NAME_threats) writes at most.
//   typedef struct NAME_state NAME_state;          // plain old data, no pointers, no padding with garbage
//   BW_INLINE void     NAME_init(NAME_state* s);                     // the usual start position
//   BW_INLINE uint32_t NAME_legal(const NAME_state* s);              // bit a = action a is legal; 0 when terminal
//   BW_INLINE void     NAME_play(NAME_state* s, int action);         // action must be legal
//   BW_INLINE void     NAME_attempt(NAME_state* s, int action);      // plays a legal action, else changes nothing
//   BW_INLINE int      NAME_result(const NAME_state* s);             // bw_result: over or not, and who won
//   BW_INLINE int      NAME_ply(const NAME_state* s);                // stones on the board; parity = side to move
//   BW_INLINE int      NAME_features(const NAME_state* s, uint16_t* list);  // the observation, see below
//   BW_INLINE int      NAME_threats(const NAME_state* s, uint16_t* list);   // the other one
//   BW_INLINE void     NAME_mirror(NAME_state* s);                   // left-right reflection, an involution
//   BW_INLINE int      NAME_mirror_action(int action);
//   BW_INLINE uint64_t NAME_key(const NAME_state* s);                // injective on reachable states
//   BW_INLINE int      NAME_symbol(int action);                      // the character people type for it ('1'...)
//   BW_INLINE int      NAME_cell(const NAME_state* s, int row, int col);  // 0 empty, 1 first player, 2 second
//
// Terminal behaviour: the player who just moved is the only one who can have won. A terminal state has no legal
// action; playing on it is a caller's error.
//
// NAME_attempt takes every value of BW_ACTION_BITS(ACTIONS) bits, on terminal states too. Written without branches, on
// fields of one width, it lets loops over many games vectorise (kernels/playouts.k.h).
//
// Observation: INPUTS = ROWS*COLS*PLANES features that are 0 or 1, index = PLANES*cell + plane, cell = row*COLS + col.
// The last plane is 1 in every cell. NAME_features lists the indices of the other features that are 1, ascending, and
// returns how many there are: the first layer of a net adds up their weights instead of multiplying by zeros. Row 0 is
// at the bottom (connect4) or top (tictactoe); planes: own stone, opponent's stone, 1; "own" is the side to move. This
// is the layout that checkpoints document. NAME_threats lists, in the same way, the stones and what the rules say of
// the empty cells: which of them would complete a line, and for whom. Its planes stand in the game's header, between
// those of the stones and the last one.
#ifndef BW_GAMES_GAME_H
#define BW_GAMES_GAME_H

#include <stdint.h>

#ifndef BW_INLINE
#define BW_INLINE static inline
#endif

// What a net is shown (options.def, net.observation).
enum bw_observation { BW_OBSERVE_STONES = 0, BW_OBSERVE_THREATS = 1, BW_OBSERVATIONS = 2 };

#define BW_ACTION_BITS(actions) ((actions) <= 2 ? 1 : (actions) <= 4 ? 2 : (actions) <= 8 ? 3 : (actions) <= 16 ? 4 : 5)

// Result of a state, from the point of view of the player who made the last move.
enum bw_result { BW_ONGOING = 0, BW_WON = 1, BW_DRAWN = 2 };

#endif
