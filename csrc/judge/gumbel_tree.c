#include "gumbel_tree.h"

#include <math.h>
#include <string.h>

#include "../games/game.h"

// Moves that the root considers at most and sigma's offset are the paper's; so is sigma's scale, 1.
enum { CONSIDERED = 16, VISIT_OFFSET = 50 };
static const double kExploration = 1.25;

static double value_of(uint8_t sure) { return (double)sure - (double)BW_TREE_DRAWN; }

static uint8_t for_the_other(uint8_t sure) {
  return sure == BW_TREE_OPEN ? BW_TREE_OPEN : (uint8_t)(BW_TREE_LOST + BW_TREE_WON - sure);
}

size_t bw_tree_node_bytes(int64_t simulations) { return (size_t)(1 + simulations) * sizeof(bw_tree_node); }

size_t bw_tree_edge_bytes(const bw_game* game, int64_t simulations) {
  return (size_t)(1 + simulations) * (size_t)game->actions * sizeof(bw_tree_edge);
}

// ---- what is known of a node ----

// What the moves of a node prove of it.
static uint8_t sure_of(const bw_tree* tree, const bw_tree_node* node) {
  bool open = false, drawn = false;
  for (int i = 0; i < node->count; ++i) {
    const uint8_t sure = tree->edges[node->first + i].sure;
    if (sure == BW_TREE_WON) return BW_TREE_WON;
    open = open || sure == BW_TREE_OPEN;
    drawn = drawn || sure == BW_TREE_DRAWN;
  }
  return open ? BW_TREE_OPEN : drawn ? BW_TREE_DRAWN : BW_TREE_LOST;
}

static bool can_draw(const bw_tree* tree, const bw_tree_node* node) {
  for (int i = 0; i < node->count; ++i) {
    if (tree->edges[node->first + i].sure == BW_TREE_DRAWN) return true;
  }
  return false;
}

// A new node with all moves of a state; the rules say which of them end the game.
static int32_t expand(bw_tree* tree, const void* state) {
  const bw_game* game = tree->game;
  const int32_t index = tree->used++;
  bw_tree_node* node = &tree->nodes[index];
  *node = (bw_tree_node){.first = tree->used_edges};
  const uint32_t legal = game->legal(state);
  for (int action = 0; action < game->actions; ++action) {
    if (!(legal >> action & 1)) continue;
    const bw_any_state next = bw_after(game, state, action);
    const int result = game->result(next.bytes);
    const uint8_t sure = result == BW_WON ? BW_TREE_WON : result == BW_DRAWN ? BW_TREE_DRAWN : BW_TREE_OPEN;
    tree->edges[tree->used_edges++] = (bw_tree_edge){.action = (uint8_t)action, .sure = sure};
    ++node->count;
  }
  node->sure = sure_of(tree, node);
  return index;
}

typedef struct judged {
  double q[BW_GAME_MAX_ACTIONS];  // of each move of a node, completed
  double mix;                     // of moves without visits
  double bonus;                   // sigma(q) = bonus (1 + q) / 2
  int64_t visits;                 // of all
} judged;

static judged judge(const bw_tree* tree, const bw_tree_node* node) {
  judged j = {0};
  double priors = 0, weighted = 0;
  int32_t most = 0;
  for (int i = 0; i < node->count; ++i) {
    const bw_tree_edge* edge = &tree->edges[node->first + i];
    if (edge->visits == 0) continue;
    j.q[i] = edge->sure ? value_of(edge->sure) : edge->sum / edge->visits;
    priors += edge->prior;
    weighted += edge->prior * j.q[i];
    j.visits += edge->visits;
    if (edge->visits > most) most = edge->visits;
  }
  j.mix = (double)node->value;
  // Priors may all be 0 where the net is very sure of another move.
  if (priors > 0) j.mix = (j.mix + (double)j.visits * weighted / priors) / (double)(1 + j.visits);
  for (int i = 0; i < node->count; ++i) {
    const bw_tree_edge* edge = &tree->edges[node->first + i];
    if (edge->visits == 0) j.q[i] = edge->sure ? value_of(edge->sure) : j.mix;
  }
  j.bonus = VISIT_OFFSET + most;
  return j;
}

static double sigma(const judged* j, int move) { return j->bonus * (1 + j->q[move]) / 2; }

// probabilities[count] = softmax of scores.
static void softmax(const double* scores, int count, double* probabilities) {
  double top = scores[0], sum = 0;
  for (int i = 1; i < count; ++i) top = scores[i] > top ? scores[i] : top;
  for (int i = 0; i < count; ++i) sum += probabilities[i] = exp(scores[i] - top);
  for (int i = 0; i < count; ++i) probabilities[i] /= sum;
}

// The edge of a node below the root that a simulation follows: of the open ones, since visits say nothing new of the
// others. The node is open, so that there is one.
static int32_t select_below(const bw_tree* tree, const bw_tree_node* node) {
  const judged j = judge(tree, node);
  const double explore = kExploration * sqrt((double)(1 + j.visits));
  double best = 0;
  int32_t found = -1;
  for (int i = 0; i < node->count; ++i) {
    const bw_tree_edge* edge = &tree->edges[node->first + i];
    if (edge->sure) continue;
    const double score = j.q[i] + explore * edge->prior / (1 + edge->visits);
    if (found < 0 || score > best) {
      best = score;
      found = node->first + i;
    }
  }
  return found;
}

// ---- the root ----

static double root_logit(const bw_tree* tree, int move) {
  const bw_tree_edge* edge = &tree->edges[tree->nodes[0].first + move];
  return (double)edge->logit * tree->inverse_temperature;
}

static void root_scores(const bw_tree* tree, double* scores) {
  const bw_tree_node* root = &tree->nodes[0];
  const judged j = judge(tree, root);
  for (int i = 0; i < root->count; ++i) {
    const double noise = tree->noise[tree->edges[root->first + i].action];
    scores[i] = noise + root_logit(tree, i) + sigma(&j, i);
  }
}

// Edges of the root that are not lost, into candidates: all, or those that are candidates already.
static void keep_hopeful(bw_tree* tree, bool all) {
  const bw_tree_node* root = &tree->nodes[0];
  const int32_t before = all ? root->count : tree->candidate_count;
  tree->candidate_count = 0;
  for (int32_t i = 0; i < before; ++i) {
    const int32_t edge = all ? root->first + i : tree->candidates[i];
    if (tree->edges[edge].sure != BW_TREE_LOST) tree->candidates[tree->candidate_count++] = edge;
  }
}

// Best first; equals in the order of their actions.
static void rank(bw_tree* tree) {
  double scores[BW_GAME_MAX_ACTIONS];
  const int32_t first = tree->nodes[0].first;
  root_scores(tree, scores);
  for (int32_t i = 1; i < tree->candidate_count; ++i) {
    const int32_t edge = tree->candidates[i];
    int32_t at = i;
    for (; at > 0; --at) {
      const int32_t before = tree->candidates[at - 1];
      const double lead = scores[edge - first] - scores[before - first];
      if (!(lead > 0 || (lead == 0 && edge < before))) break;
      tree->candidates[at] = before;
    }
    tree->candidates[at] = edge;
  }
}

// The next phase of sequential halving; false where nothing is left to decide.
static bool begin_phase(bw_tree* tree) {
  const bool first = tree->phases == 0;
  const int32_t before = tree->candidate_count;
  keep_hopeful(tree, first);
  const bool again = tree->candidate_count == 0;  // all that were kept are lost: those that went come back
  if (again) keep_hopeful(tree, true);
  rank(tree);
  int32_t most = first || again ? (tree->simulations < CONSIDERED ? tree->simulations : CONSIDERED) : before / 2;
  if (!first && most < 2) most = 2;
  if (tree->candidate_count > most) tree->candidate_count = most;
  if (first) {
    for (int32_t rest = tree->candidate_count - 1; rest > 0; rest >>= 1) ++tree->phases;  // log2, rounded up
    if (tree->phases == 0) tree->phases = 1;
  }
  tree->cursor = 0;
  tree->rounds = tree->simulations / (tree->phases * (tree->candidate_count > 0 ? tree->candidate_count : 1));
  if (tree->rounds < 1) tree->rounds = 1;
  for (int32_t i = 0; i < tree->candidate_count; ++i) {
    if (tree->edges[tree->candidates[i]].sure == BW_TREE_OPEN) return true;
  }
  return false;
}

// Whether at most one move of the root is not lost: then more simulations change nothing.
static bool is_forced(const bw_tree* tree) {
  int hopeful = 0;
  const bw_tree_node* root = &tree->nodes[0];
  for (int i = 0; i < root->count; ++i) hopeful += tree->edges[root->first + i].sure != BW_TREE_LOST;
  return hopeful <= 1;
}

// The edge of the root that the next simulation begins with; -1 where the search is over.
static int32_t select_root(bw_tree* tree) {
  if (tree->done >= tree->simulations || tree->nodes[0].sure || is_forced(tree)) return -1;
  for (;;) {
    while (tree->cursor < tree->rounds * tree->candidate_count) {
      const int32_t edge = tree->candidates[tree->cursor++ % tree->candidate_count];
      if (tree->edges[edge].sure == BW_TREE_OPEN) return edge;
    }
    if (!begin_phase(tree)) return -1;
  }
}

// ---- a simulation ----

// value: of the last edge of the path, for the side that made that move.
static void back_up(bw_tree* tree, double value) {
  for (int32_t i = tree->depth - 1; i >= 0; --i) {
    bw_tree_edge* edge = &tree->edges[tree->path[i]];
    if (edge->sure) value = value_of(edge->sure);
    edge->sum += value;
    edge->visits += 1;
    bw_tree_node* node = &tree->nodes[tree->path_nodes[i]];
    if (!node->sure) node->sure = sure_of(tree, node);
    if (node->sure) {
      value = value_of(node->sure);
    } else if (value < 0 && can_draw(tree, node)) {
      value = 0;
    }
    if (i > 0) tree->edges[tree->path[i - 1]].sure = for_the_other(node->sure);
    value = -value;
  }
  ++tree->done;
}

void bw_tree_begin(bw_tree* tree, const void* state, const bw_random4* random, double inverse_temperature) {
  const bw_game* game = tree->game;
  memcpy(tree->root.bytes, state, game->state_bytes);
  tree->used = tree->used_edges = tree->done = tree->depth = tree->asked = 0;
  tree->candidate_count = tree->rounds = tree->cursor = tree->phases = 0;
  tree->inverse_temperature = inverse_temperature;
  memset(tree->noise, 0, sizeof tree->noise);
  if (!random) return;
  const uint64_t key = (uint64_t)random->v[0] << 32 | random->v[1];
  for (int i = 0; i < game->actions; ++i) {
    const bw_random4 words = bw_philox(key, BW_STREAM_SEARCH, 0, (uint32_t)i / 4);
    const double uniform = ((double)words.v[i % 4] + 0.5) / 4294967296.0;
    tree->noise[i] = -log(-log(uniform));
  }
}

bool bw_tree_descend(bw_tree* tree) {
  if (tree->used == 0) {
    expand(tree, tree->root.bytes);
    tree->leaf = tree->root;
    return !tree->nodes[0].sure;
  }
  for (;;) {
    int32_t at = 0, edge = select_root(tree);
    if (edge < 0) return false;
    tree->depth = 0;
    tree->leaf = tree->root;
    for (;;) {
      tree->path[tree->depth] = edge;
      tree->path_nodes[tree->depth++] = at;
      bw_tree_edge* followed = &tree->edges[edge];
      tree->game->play(tree->leaf.bytes, followed->action);
      if (followed->child == 0) {
        at = followed->child = expand(tree, tree->leaf.bytes);
        followed->sure = for_the_other(tree->nodes[at].sure);
        if (followed->sure) break;
        tree->asked = at;
        return true;
      }
      at = followed->child;
      edge = select_below(tree, &tree->nodes[at]);
    }
    back_up(tree, 0);  // the last edge is proven
  }
}

void bw_tree_answer(bw_tree* tree, const float* head) {
  bw_tree_node* node = &tree->nodes[tree->asked];
  double logits[BW_GAME_MAX_ACTIONS], priors[BW_GAME_MAX_ACTIONS];
  for (int i = 0; i < node->count; ++i) logits[i] = (double)head[tree->edges[node->first + i].action];
  softmax(logits, node->count, priors);
  for (int i = 0; i < node->count; ++i) {
    tree->edges[node->first + i].logit = (float)logits[i];
    tree->edges[node->first + i].prior = priors[i];
  }
  // A net's value is no probability: it may leave the range of results.
  const float value = head[tree->game->actions];
  node->value = !(value > -1) ? -1 : value > 1 ? 1 : value;
  if (tree->asked) back_up(tree, -(double)node->value);
}

// ---- what came of it ----

// The best by score of the edges from `edges` (NULL: all of the root) that are not lost; -1 where there is none.
static int32_t best_of(const bw_tree* tree, const int32_t* edges, int32_t count, const double* scores, bool lost) {
  const int32_t first = tree->nodes[0].first;
  int32_t best = -1;
  for (int32_t i = 0; i < count; ++i) {
    const int32_t edge = edges ? edges[i] : first + i;
    if (!lost && tree->edges[edge].sure == BW_TREE_LOST) continue;
    if (best < 0 || scores[edge - first] > scores[best - first]) best = edge;
  }
  return best;
}

int bw_tree_choice(const bw_tree* tree) {
  const bw_tree_node* root = &tree->nodes[0];
  for (int i = 0; i < root->count; ++i) {
    const bw_tree_edge* edge = &tree->edges[root->first + i];
    if (edge->sure == BW_TREE_WON) return edge->action;
  }
  double scores[BW_GAME_MAX_ACTIONS];
  root_scores(tree, scores);
  int32_t best = best_of(tree, tree->candidates, tree->candidate_count, scores, false);
  if (best < 0) best = best_of(tree, NULL, root->count, scores, false);
  if (best < 0) best = best_of(tree, NULL, root->count, scores, true);
  return tree->edges[best].action;
}

void bw_tree_tell(const bw_tree* tree, bw_tree_report* report) {
  const bw_tree_node* root = &tree->nodes[0];
  const judged j = judge(tree, root);
  double scores[BW_GAME_MAX_ACTIONS], improved[BW_GAME_MAX_ACTIONS];
  const bool lost = root->sure == BW_TREE_LOST, won = root->sure == BW_TREE_WON;
  *report = (bw_tree_report){.action = bw_tree_choice(tree), .simulations = tree->done, .sure = root->sure};
  report->value = root->sure ? value_of(root->sure) : j.mix;
  for (int i = 0; i < root->count; ++i) {
    const uint8_t sure = tree->edges[root->first + i].sure;
    const bool out = (won && sure != BW_TREE_WON) || (!lost && sure == BW_TREE_LOST);
    scores[i] = out ? -INFINITY : root_logit(tree, i) + sigma(&j, i);
  }
  softmax(scores, root->count, improved);
  for (int i = 0; i < root->count; ++i) {
    const bw_tree_edge* edge = &tree->edges[root->first + i];
    report->visits[edge->action] = edge->visits;
    report->values[edge->action] = j.q[i];
    report->probabilities[edge->action] = improved[i];
  }
}
