// Exact judgement of a policy on a game whose whole tree fits in memory (tic-tac-toe: 5,478 states).
//
// A best response knows the policy and maximises its own expected result against it. Its value from both seats is
// the exact measure of how far the policy can be exploited; for a policy that plays a drawn game perfectly both are
// 0. No sampling, no search limit: backward induction over all reachable states.
#ifndef BW_JUDGE_BEST_RESPONSE_H
#define BW_JUDGE_BEST_RESPONSE_H

#include "../games/registry.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BW_JUDGE_MAX_STATES 2000000

// Fills probabilities[count][actions] (0 on illegal actions, each row sums to 1) for `count` non-terminal states,
// stored state_bytes apart.
typedef bw_status (*bw_policy_fn)(void* context, const void* states, int count, float* probabilities, bw_error* error);

// A policy judged by a best response. Values are the best response's expected result: +1 it wins, 0 draw, -1.
typedef struct bw_exploit {
  double exploitability;  // mean of first and second
  double first;           // the policy plays first (the best response second)
  double second;          // the policy plays second
  char worst_first[64];   // moves (symbols) of the best response's line when the policy plays first; where the
  char worst_second[64];  // policy is random, its most probable action. The worst game, to replay.
} bw_exploit;

typedef struct bw_shares {
  double win, draw, loss;  // of the policy; sum 1
} bw_shares;

typedef struct bw_certificate {
  bw_exploit argmax;   // the policy that plays its most probable action (lowest index among equals)
  bw_exploit sampled;  // the policy that samples
  bw_shares argmax_random[2], sampled_random[2];  // exact shares against uniformly random play; [0] policy first
  int64_t states;                                 // reachable states of the game, terminal ones included
} bw_certificate;

// BW_STATE if the game has more than BW_JUDGE_MAX_STATES reachable states; BW_MEMORY; BW_NUMERIC if a
// probability is not finite, negative, on an illegal action, or a row does not sum to 1 within 1e-4 (rows are
// renormalised in double); or what policy returns.
bw_status bw_judge_policy(const bw_game* game, bw_policy_fn policy, void* context, bw_certificate* certificate,
                          bw_error* error);

#ifdef __cplusplus
}
#endif
#endif
