// One tree of Gumbel search (Danihelka, Guez, Schrittwieser and Silver, "Policy improvement by planning with Gumbel",
// ICLR 2022), the search for few simulations with a policy-value net:
//
//   root     sequential halving: every move that the policy considers is simulated equally often, then the worse half
//            goes, and so on until the simulations are used up. Moves are ranked by
//              g + log-probability + sigma(q),   sigma(q) = (50 + most visits of a move) (1 + q) / 2
//            where g is Gumbel noise, so that the choice is a sample of an improved policy, or 0: its most probable
//            move. Without any simulation both are the policy's own.
//   below    the move with the largest  q + 1.25 p(a) sqrt(1 + visits of all) / (1 + visits(a)), PUCT as AlphaZero has
//            it (the paper's Gumbel AlphaZero; its other rule, which follows the improved policy alone, did not see
//            through tic-tac-toe with a net that knows nothing)
//   q        the mean of what simulations brought back; for moves without visits the mix of the net's value and the
//            visited moves' q (the paper's equation 33)
//
// What the rules prove is exact (MCTS-Solver: Winands, Bjornsson and Saito, "Monte-Carlo tree search solver", 2008): a
// new node looks at the results of all its moves, a node with a winning move is won, one whose moves are all proven has
// the best of their values, and both go up the tree. Proven moves are not searched any further; a side that has a
// proven draw never brings back less.
//
// Values lie in [-1, 1], for the side to move; they change sign from ply to ply.
#ifndef BW_JUDGE_GUMBEL_TREE_H
#define BW_JUDGE_GUMBEL_TREE_H

#include <stdbool.h>

#include "../core/rng.h"
#include "players/players.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { BW_TREE_MAX_SIMULATIONS = 100000, BW_TREE_MAX_DEPTH = 256 };

// What is known for sure, for the side to move.
enum { BW_TREE_OPEN = 0, BW_TREE_LOST = 1, BW_TREE_DRAWN = 2, BW_TREE_WON = 3 };

// A move from a node.
typedef struct bw_tree_edge {
  double sum;    // of what its visits brought back, for the side that makes the move
  double prior;  // of the net: softmax of the logits
  float logit;
  int32_t child;         // node; 0: none yet
  int32_t visits;        //
  uint8_t action, sure;  // BW_TREE_*, for the side that makes the move
} bw_tree_edge;

typedef struct bw_tree_node {
  int32_t first;  // edge
  float value;    // of the net, for the side to move
  uint8_t count, sure;
} bw_tree_node;

typedef struct bw_tree {
  const bw_game* game;
  int32_t simulations;                // at most
  bw_tree_node* nodes;                // [1 + simulations]
  bw_tree_edge* edges;                // [(1 + simulations) * actions]
  int32_t used, used_edges;           //
  int32_t done;                       // simulations
  bw_any_state root, leaf;            // leaf: the position that the net is asked for
  int32_t asked;                      // its node
  double noise[BW_GAME_MAX_ACTIONS];  // of each action at the root
  double inverse_temperature;         // of the root's logits
  // Sequential halving: the moves that are left (edges of the root, best first), how often they are to be visited in
  // this phase, and which visit is next.
  int32_t candidates[BW_GAME_MAX_ACTIONS];
  int32_t candidate_count, rounds, cursor, phases;
  // The simulation in progress: edges, and the nodes that they leave.
  int32_t path[BW_TREE_MAX_DEPTH], path_nodes[BW_TREE_MAX_DEPTH];
  int32_t depth;
} bw_tree;

// What a search says of its root, an entry an action; 0 where a move is illegal.
typedef struct bw_tree_report {
  int32_t action;       // the choice
  int32_t simulations;  // that were made
  int32_t visits[BW_GAME_MAX_ACTIONS];
  double values[BW_GAME_MAX_ACTIONS];         // of each move, completed, for the side to move
  double probabilities[BW_GAME_MAX_ACTIONS];  // the improved policy, noise left out
  double value;                               // of the position
  uint8_t sure;                               // BW_TREE_*
} bw_tree_report;

// Bytes of nodes and of edges for so many simulations.
size_t bw_tree_node_bytes(int64_t simulations);
size_t bw_tree_edge_bytes(const bw_game* game, int64_t simulations);

// Begins a search of a position that is not the end of a game; game, simulations (at least 1), nodes and edges are set.
// random: of the noise, NULL for none.
void bw_tree_begin(bw_tree* tree, const void* state, const bw_random4* random, double inverse_temperature);
// Searches until the net is needed for tree->leaf (true) or the search is over.
bool bw_tree_descend(bw_tree* tree);
// What the net says of the leaf: head[actions + 1], logits and value.
void bw_tree_answer(bw_tree* tree, const float* head);
// The move that the search chooses, and all that it says.
int bw_tree_choice(const bw_tree* tree);
void bw_tree_tell(const bw_tree* tree, bw_tree_report* report);

#ifdef __cplusplus
}
#endif
#endif
