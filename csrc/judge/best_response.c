#include "best_response.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../games/game.h"

enum { MAX_BATCH = 4096, FIRST_CAPACITY = 8192 };

static const char op[] = "judge.policy";

// Every reachable state once, breadth first: each move adds a ply, so children come after their parents.
typedef struct tree {
  const bw_game* game;
  unsigned char* states;  // [count][state_bytes]
  uint64_t* keys;         // [count]
  int32_t* children;      // [count][actions]: index of the state that the action leads to, -1 if it is illegal
  int64_t count, capacity;
  int32_t* slots;  // hash table with linear probing, [1 << slot_bits]: index of a state, -1 if free
  int slot_bits;
} tree;

// A state outside of the tree's arrays, aligned for any game.
typedef union one_state {
  uint64_t align[BW_GAME_MAX_STATE_BYTES / 8];
  unsigned char bytes[BW_GAME_MAX_STATE_BYTES];
} one_state;

static const void* state_at(const tree* t, int64_t index) { return t->states + (size_t)index * t->game->state_bytes; }

static const int32_t* children_at(const tree* t, int64_t index) { return t->children + index * t->game->actions; }

// ---- enumeration ----

static void tree_free(tree* t) {
  free(t->states);
  free(t->keys);
  free(t->children);
  free(t->slots);
}

// Reallocates pointer, or returns BW_MEMORY from the calling function and leaves it as it was.
#define RESIZE(pointer, bytes, what)                                \
  do {                                                              \
    void* resized = realloc(pointer, bytes);                        \
    if (!resized) return bw_fail_memory(error, op, what, bytes, 0); \
    pointer = resized;                                              \
  } while (0)

// The slot that holds key, or the free one where it belongs.
static int64_t find_slot(const tree* t, uint64_t key) {
  const int64_t last = ((int64_t)1 << t->slot_bits) - 1;
  int64_t slot = (int64_t)(key * 0x9E3779B97F4A7C15u >> (64 - t->slot_bits));
  while (t->slots[slot] >= 0 && t->keys[t->slots[slot]] != key) slot = (slot + 1) & last;
  return slot;
}

static bw_status grow(tree* t, bw_error* error) {
  if (t->count == BW_JUDGE_MAX_STATES)
    return bw_fail(error, BW_STATE, op, "%s has more than %d reachable states: too many for an exact judgement",
                   t->game->name, BW_JUDGE_MAX_STATES);
  int64_t capacity = t->capacity ? 2 * t->capacity : FIRST_CAPACITY;
  if (capacity > BW_JUDGE_MAX_STATES) capacity = BW_JUDGE_MAX_STATES;
  const size_t n = (size_t)capacity;
  RESIZE(t->states, n * t->game->state_bytes, "the states of the game");
  RESIZE(t->keys, n * sizeof *t->keys, "the keys of the states");
  RESIZE(t->children, n * (size_t)t->game->actions * sizeof *t->children, "the moves between states");
  while ((int64_t)1 << t->slot_bits < 2 * capacity) ++t->slot_bits;
  const size_t slot_bytes = ((size_t)1 << t->slot_bits) * sizeof *t->slots;
  RESIZE(t->slots, slot_bytes, "the hash table of the states");
  memset(t->slots, 0xFF, slot_bytes);
  for (int64_t i = 0; i < t->count; ++i) t->slots[find_slot(t, t->keys[i])] = (int32_t)i;
  t->capacity = capacity;
  return BW_OK;
}

// Sets *index to the index of state, which is added if it is new.
static bw_status intern(tree* t, const void* state, int32_t* index, bw_error* error) {
  const uint64_t key = t->game->key(state);
  int64_t slot = find_slot(t, key);
  if (t->slots[slot] < 0) {
    if (t->count == t->capacity) {
      BW_TRY(grow(t, error));
      slot = find_slot(t, key);
    }
    memcpy(t->states + (size_t)t->count * t->game->state_bytes, state, t->game->state_bytes);
    t->keys[t->count] = key;
    t->slots[slot] = (int32_t)t->count;
    ++t->count;
  }
  *index = t->slots[slot];
  return BW_OK;
}

static bw_status enumerate(tree* t, bw_error* error) {
  const bw_game* game = t->game;
  one_state state, next;
  int32_t index;
  BW_TRY(grow(t, error));
  game->init(state.bytes);
  BW_TRY(intern(t, state.bytes, &index, error));
  for (int64_t i = 0; i < t->count; ++i) {
    memcpy(state.bytes, state_at(t, i), game->state_bytes);
    const uint32_t legal = game->legal(state.bytes);
    for (int action = 0; action < game->actions; ++action) {
      index = -1;
      if (legal >> action & 1) {
        memcpy(next.bytes, state.bytes, game->state_bytes);
        game->play(next.bytes, action);
        BW_TRY(intern(t, next.bytes, &index, error));
      }
      t->children[i * game->actions + action] = index;
    }
  }
  return BW_OK;
}

// ---- the policy ----

// One way to reach a state, as symbols; for messages.
static void moves_to(const tree* t, int64_t index, char text[64]) {
  const bw_game* game = t->game;
  int ply = game->ply(state_at(t, index));
  if (ply > 63) ply = 0;
  text[ply] = 0;
  while (ply > 0) {
    int64_t edge = 0;
    while (t->children[edge] != index) ++edge;
    text[--ply] = (char)game->symbol((int)(edge % game->actions));
    index = edge / game->actions;
  }
}

// Checks one row of probabilities and writes it, normalised in double, to weights.
static bw_status accept_row(const tree* t, int64_t index, const float* row, double* weights, bw_error* error) {
  const int actions = t->game->actions;
  const int32_t* children = children_at(t, index);
  char moves[64];
  double sum = 0;
  for (int action = 0; action < actions; ++action) {
    const double p = (double)row[action];
    if (!isfinite(p) || p < 0 || (p > 0 && children[action] < 0)) {
      moves_to(t, index, moves);
      return bw_fail(error, BW_NUMERIC, op, "the policy gives the %s action '%c' the probability %g after moves \"%s\"",
                     children[action] < 0 ? "illegal" : "legal", t->game->symbol(action), p, moves);
    }
    sum += p;
  }
  if (!(fabs(sum - 1) <= 1e-4)) {
    moves_to(t, index, moves);
    return bw_fail(error, BW_NUMERIC, op, "the policy's probabilities sum to %g, not 1, after moves \"%s\"", sum,
                   moves);
  }
  for (int action = 0; action < actions; ++action) weights[action] = (double)row[action] / sum;
  return BW_OK;
}

typedef struct batch {
  unsigned char* states;  // [MAX_BATCH][state_bytes]
  float* probabilities;   // [MAX_BATCH][actions]
  int32_t indices[MAX_BATCH];
  int count;
} batch;

static bw_status ask_batch(const tree* t, batch* b, bw_policy_fn policy, void* context, double* weights,
                           bw_error* error) {
  const int actions = t->game->actions;
  if (b->count == 0) return BW_OK;
  // What the policy leaves unwritten is then no probability by accident.
  memset(b->probabilities, 0xFF, (size_t)b->count * (size_t)actions * sizeof *b->probabilities);
  BW_TRY(policy(context, b->states, b->count, b->probabilities, error));
  for (int i = 0; i < b->count; ++i)
    BW_TRY(accept_row(t, b->indices[i], b->probabilities + (int64_t)i * actions,
                      weights + (int64_t)b->indices[i] * actions, error));
  b->count = 0;
  return BW_OK;
}

// Asks the policy about every state that is not terminal. weights: [count][actions].
static bw_status ask_policy(const tree* t, batch* b, bw_policy_fn policy, void* context, double* weights,
                            bw_error* error) {
  const size_t bytes = t->game->state_bytes;
  for (int64_t i = 0; i < t->count; ++i) {
    if (t->game->result(state_at(t, i)) != BW_ONGOING) continue;
    memcpy(b->states + (size_t)b->count * bytes, state_at(t, i), bytes);
    b->indices[b->count++] = (int32_t)i;
    if (b->count == MAX_BATCH) BW_TRY(ask_batch(t, b, policy, context, weights, error));
  }
  return ask_batch(t, b, policy, context, weights, error);
}

// The most probable action; the lowest one among equals.
static int most_probable(const double* weights, int actions) {
  int best = 0;
  for (int action = 1; action < actions; ++action)
    if (weights[action] > weights[best]) best = action;
  return best;
}

// Turns the policy that samples into the one that plays its most probable action.
static void take_argmax(const tree* t, double* weights) {
  const int actions = t->game->actions;
  for (int64_t i = 0; i < t->count; ++i, weights += actions) {
    if (t->game->result(state_at(t, i)) != BW_ONGOING) continue;
    const int best = most_probable(weights, actions);
    for (int action = 0; action < actions; ++action) weights[action] = action == best;
  }
}

// ---- backward induction ----

typedef enum opponent { BEST_RESPONSE, RANDOM } opponent;

// What a finished game counts, by its result for the policy.
typedef struct payoff {
  double win, draw, loss;
} payoff;

typedef struct solution {
  double* values;   // [count] expected payoff
  int32_t* choice;  // [count] the best response's action where it moves
} solution;

// Expected value over children. The differences from the first child are what is weighted, so that children of
// equal value give exactly that value although the weights sum to 1 only up to rounding.
static double mean(const int32_t* children, const double* weights, int actions, const double* values) {
  int first = 0;
  while (first < actions - 1 && !(weights[first] > 0)) ++first;
  const double base = values[children[first]];
  double sum = 0;
  for (int action = first + 1; action < actions; ++action)
    if (weights[action] > 0) sum += weights[action] * (values[children[action]] - base);
  return base + sum;
}

// The expected payoff from every state when the policy has `seat` (0 plays first) and the opponent maximises the
// payoff (the lowest action among equals) or plays uniformly at random.
static void solve(const tree* t, const double* weights, int seat, opponent other, payoff pay, solution* s) {
  const int actions = t->game->actions;
  for (int64_t i = t->count - 1; i >= 0; --i) {
    const void* state = state_at(t, i);
    const int32_t* children = children_at(t, i);
    const int to_move = t->game->ply(state) & 1;
    const int result = t->game->result(state);
    if (result == BW_DRAWN) {
      s->values[i] = pay.draw;
    } else if (result == BW_WON) {  // by the player who moved last
      s->values[i] = to_move == seat ? pay.loss : pay.win;
    } else if (to_move == seat) {
      s->values[i] = mean(children, weights + i * actions, actions, s->values);
    } else if (other == RANDOM) {
      double uniform[BW_GAME_MAX_ACTIONS];
      int legal = 0;
      for (int action = 0; action < actions; ++action) legal += children[action] >= 0;
      for (int action = 0; action < actions; ++action) uniform[action] = children[action] >= 0 ? 1.0 / legal : 0;
      s->values[i] = mean(children, uniform, actions, s->values);
    } else {
      int best = -1;
      for (int action = 0; action < actions; ++action)
        if (children[action] >= 0 && (best < 0 || s->values[children[action]] > s->values[children[best]]))
          best = action;
      s->values[i] = s->values[children[best]];
      s->choice[i] = best;
    }
  }
}

// The game in which the best response plays its choices and the policy its most probable actions.
static void write_line(const tree* t, const double* weights, int seat, const solution* s, char line[64]) {
  int64_t i = 0;
  int length = 0;
  while (t->game->result(state_at(t, i)) == BW_ONGOING && length < 63) {
    const int to_move = t->game->ply(state_at(t, i)) & 1;
    const int action = to_move == seat ? most_probable(weights + i * t->game->actions, t->game->actions) : s->choice[i];
    line[length++] = (char)t->game->symbol(action);
    i = children_at(t, i)[action];
  }
  line[length] = 0;
}

static void judge(const tree* t, const double* weights, solution* s, bw_exploit* exploit, bw_shares random[2]) {
  for (int seat = 0; seat < 2; ++seat) {
    solve(t, weights, seat, BEST_RESPONSE, (payoff){-1, 0, 1}, s);
    *(seat == 0 ? &exploit->first : &exploit->second) = s->values[0];
    write_line(t, weights, seat, s, seat == 0 ? exploit->worst_first : exploit->worst_second);
    solve(t, weights, seat, RANDOM, (payoff){1, 0, 0}, s);
    random[seat].win = s->values[0];
    solve(t, weights, seat, RANDOM, (payoff){0, 1, 0}, s);
    random[seat].draw = s->values[0];
    solve(t, weights, seat, RANDOM, (payoff){0, 0, 1}, s);
    random[seat].loss = s->values[0];
  }
  exploit->exploitability = (exploit->first + exploit->second) / 2;
}

// ---- the interface ----

typedef struct workspace {
  tree tree;
  batch batch;
  double* weights;
  solution solution;
} workspace;

static bw_status judge_policy(workspace* w, bw_policy_fn policy, void* context, bw_certificate* certificate,
                              bw_error* error) {
  tree* t = &w->tree;
  BW_TRY(enumerate(t, error));
  const size_t count = (size_t)t->count, actions = (size_t)t->game->actions;
  RESIZE(w->batch.states, MAX_BATCH * t->game->state_bytes, "a batch of states");
  RESIZE(w->batch.probabilities, MAX_BATCH * actions * sizeof(float), "a batch of probabilities");
  RESIZE(w->weights, count * actions * sizeof(double), "the policy's probabilities");
  RESIZE(w->solution.values, count * sizeof(double), "the values of the states");
  RESIZE(w->solution.choice, count * sizeof(int32_t), "the best response");
  BW_TRY(ask_policy(t, &w->batch, policy, context, w->weights, error));

  bw_certificate done;
  memset(&done, 0, sizeof done);
  done.states = t->count;
  judge(t, w->weights, &w->solution, &done.sampled, done.sampled_random);
  take_argmax(t, w->weights);
  judge(t, w->weights, &w->solution, &done.argmax, done.argmax_random);
  *certificate = done;
  return BW_OK;
}

bw_status bw_judge_policy(const bw_game* game, bw_policy_fn policy, void* context, bw_certificate* certificate,
                          bw_error* error) {
  workspace* w = (workspace*)calloc(1, sizeof *w);
  if (!w) return bw_fail_memory(error, op, "the judge's workspace", sizeof *w, 0);
  w->tree.game = game;
  const bw_status status = judge_policy(w, policy, context, certificate, error);
  tree_free(&w->tree);
  free(w->batch.states);
  free(w->batch.probabilities);
  free(w->weights);
  free(w->solution.values);
  free(w->solution.choice);
  free(w);
  return status;
}
