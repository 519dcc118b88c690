// Monte Carlo tree search: UCT (Kocsis and Szepesvari, "Bandit based Monte-Carlo planning", ECML 2006) with uniformly
// random playouts and no knowledge of the game but its rules. A win counts 1, a draw 1/2, a loss 0; a child's value is
//
//   mean + sqrt(2) sqrt(ln(visits of the parent) / visits)
//
// which is the constant of UCB1. A node gets its children at its second visit; unvisited children go first, in random
// order. The move with the most visits is played, equals at random.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../games/game.h"
#include "players.h"

static const double kExploration = 1.4142135623730951;

typedef struct node {
  int32_t first;  // child; 0: none yet (the root is no child)
  int32_t visits;
  int32_t points;  // for the player who moved here: 2 a win, 1 a draw
  uint8_t count, action;
} node;

static bw_status open_tree(bw_chooser* chooser, bw_error* error) {
  // The root and what each simulation expands: one node at most.
  const size_t bytes = (size_t)(1 + (1 + chooser->strength) * chooser->game->actions) * sizeof(node);
  chooser->memory = malloc(bytes);
  return chooser->memory ? BW_OK : bw_fail_memory(error, "match", "the tree of mcts", bytes, 0);
}

// Random words for one simulation.
typedef struct dice {
  uint64_t key;
  uint64_t simulation;
  uint32_t used;
  bw_random4 block;
} dice;

static uint32_t roll(dice* d) {
  if (d->used % 4 == 0) d->block = bw_philox(d->key, BW_STREAM_SEARCH, d->simulation, d->used / 4);
  return d->block.v[d->used++ % 4];
}

static int best_child(const node* nodes, const node* parent, dice* d) {
  int unvisited = 0;
  for (int i = 0; i < parent->count; ++i) unvisited += nodes[parent->first + i].visits == 0;
  if (unvisited > 0) {
    int skip = (int)bw_below(roll(d), (uint32_t)unvisited);
    for (int i = 0;; ++i) {
      if (nodes[parent->first + i].visits == 0 && skip-- == 0) return parent->first + i;
    }
  }
  const double parent_term = kExploration * sqrt(log((double)parent->visits));
  double best = -1;
  int found = parent->first;
  for (int i = 0; i < parent->count; ++i) {
    const node* child = &nodes[parent->first + i];
    const double visits = (double)child->visits;
    const double value = (double)child->points / (2 * visits) + parent_term / sqrt(visits);
    if (value > best) {
      best = value;
      found = parent->first + i;
    }
  }
  return found;
}

static void expand(const bw_game* game, node* nodes, int32_t* used, node* of, const void* state) {
  const uint32_t legal = game->legal(state);
  of->first = *used;
  for (int action = 0; action < game->actions; ++action) {
    if (!(legal >> action & 1)) continue;
    nodes[(*used)++] = (node){.action = (uint8_t)action};
    ++of->count;
  }
}

// Plays a state to its end. Points for the player who made the last move before it.
static int playout(const bw_game* game, bw_any_state* state, dice* d) {
  int turns = 0;  // odd: the last move was the opponent's
  int result = game->result(state->bytes);
  for (; result == BW_ONGOING; ++turns) {
    game->play(state->bytes, bw_pick(game->legal(state->bytes), roll(d)));
    result = game->result(state->bytes);
  }
  if (result == BW_DRAWN) return 1;
  return turns % 2 == 0 ? 2 : 0;
}

static int choose(const bw_chooser* chooser, const void* state, bw_random4 random) {
  const bw_game* game = chooser->game;
  node* nodes = chooser->memory;
  int32_t used = 1;
  nodes[0] = (node){0};
  expand(game, nodes, &used, &nodes[0], state);
  const uint64_t key = (uint64_t)random.v[0] << 32 | random.v[1];
  for (int64_t simulation = 0; simulation < chooser->strength; ++simulation) {
    dice d = {.key = key, .simulation = (uint64_t)simulation};
    bw_any_state at;
    memcpy(at.bytes, state, game->state_bytes);
    int32_t path[256];
    int length = 0, current = 0;
    for (;;) {
      path[length++] = current;
      node* n = &nodes[current];
      if (n->first == 0 && n->visits > 0 && game->result(at.bytes) == BW_ONGOING) {
        expand(game, nodes, &used, n, at.bytes);
      }
      if (n->first == 0) break;
      current = best_child(nodes, n, &d);
      game->play(at.bytes, nodes[current].action);
    }
    int points = playout(game, &at, &d);
    for (int i = length - 1; i >= 0; --i) {
      nodes[path[i]].visits += 1;
      nodes[path[i]].points += points;
      points = 2 - points;
    }
  }
  int32_t most = 0;
  uint32_t equals = 0;
  for (int i = 0; i < nodes[0].count; ++i) {
    const node* child = &nodes[nodes[0].first + i];
    if (child->visits > most) equals = 0;
    if (child->visits >= most) {
      most = child->visits;
      equals |= (uint32_t)1 << child->action;
    }
  }
  return bw_pick(equals, random.v[2]);
}

const bw_player_how bw_player_mcts = {.open = open_tree, .close = free, .choose = choose};
