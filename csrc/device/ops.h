// The arguments of every op in ops.def: one plain struct each, scalars and buffer handles. Shapes are row-major;
// `real` is the device's floating-point type.
#ifndef BW_DEVICE_OPS_H
#define BW_DEVICE_OPS_H

#include <stdint.h>

// A range of device memory: a buffer of the device and an offset into it, in bytes.
typedef struct bw_ref {
  uint32_t buffer;
  uint64_t offset;
} bw_ref;

enum { BW_ACTIVATION_NONE = 0, BW_ACTIVATION_RELU = 1 };

// ---- elementwise ----

// dy[n] = y[n] > 0 ? dy[n] : 0, in place
typedef struct bw_relu_backward_args {
  bw_ref y, dy;
  int64_t n;
} bw_relu_backward_args;

// y[n] = residual[n] + gelu(x[n]), tanh form (Hendrycks & Gimpel 2016, "Gaussian error linear units", eq. 2).
// x[n] becomes gelu'(x[n]), which costs little beside gelu(x) and much by itself.
typedef struct bw_gelu_forward_args {
  bw_ref x, residual, y;
  int64_t n;
} bw_gelu_forward_args;

// dx[n] = dy[n] * dx[n], in place: dx holds the derivative that gelu_forward left
typedef struct bw_gelu_backward_args {
  bw_ref dy, dx;
  int64_t n;
} bw_gelu_backward_args;

// y[rows][columns] = activation(y + bias[columns]), in place
typedef struct bw_bias_activation_args {
  bw_ref bias, y;
  int64_t rows, columns;
  int activation;
} bw_bias_activation_args;

// sum[columns] = sum over rows of x[rows][columns], rows ascending
typedef struct bw_column_sum_args {
  bw_ref x, sum;
  int64_t rows, columns;
} bw_column_sum_args;

// y[n] = alpha * x[n] + beta * y[n]
typedef struct bw_scale_add_args {
  bw_ref x, y;
  double alpha, beta;
  int64_t n;
} bw_scale_add_args;

// ---- norm: LayerNorm over columns (Ba, Kiros, Hinton 2016), eps 1e-5 ----

// y = (x - mean) * rstd * gain + shift; x, y [rows][columns]; mean, rstd [rows]
typedef struct bw_layernorm_forward_args {
  bw_ref x, gain, shift, y, mean, rstd;
  int64_t rows, columns;
} bw_layernorm_forward_args;

// Rows whose sums over rows are made together; what depends on the order of a sum then depends on the shape alone.
enum { BW_ROW_GROUP = 8 };

// dx (+)= gradient of x; accumulate != 0 adds to dx. partials[ceil(rows / BW_ROW_GROUP)][2][columns]: each group's sums
// of the gradients of gain and of shift.
typedef struct bw_layernorm_backward_args {
  bw_ref x, gain, mean, rstd, dy, dx, partials;
  int64_t rows, columns;
  int accumulate;
} bw_layernorm_backward_args;

// dgain, dshift [columns] from the partials of `rows` rows, groups ascending
typedef struct bw_layernorm_gradient_args {
  bw_ref partials, dgain, dshift;
  int64_t rows, columns;
} bw_layernorm_gradient_args;

// ---- matmul ----

// c[rows][columns] = sum_k A(i,k) B(k,j); A(i,k) = a[i*a_row + k*a_contract], B(k,j) = b[k*b_contract + j*b_column]
typedef struct bw_matmul_args {
  bw_ref a, b, c;
  int64_t rows, columns, contract;
  int64_t a_row, a_contract, b_contract, b_column;
} bw_matmul_args;

// ---- features: a linear layer whose inputs are lists of features that are 1 (games/game.h) ----
//
// features: u16 [rows][1 + max_features], the number of listed features, then their indices. The last of `planes`
// planes is 1 in every row and not listed. weight is [inputs][columns], the transpose of other layers' weights: a
// feature's weights lie together.

// base[columns] = bias + sum of the weights of the features that are always 1, index ascending
typedef struct bw_features_base_args {
  bw_ref weight, bias, base;
  int64_t inputs, planes, columns;
} bw_features_base_args;

// y[rows][columns] = activation(base + sum of the listed features' weights)
typedef struct bw_features_forward_args {
  bw_ref features, weight, base, y;
  int64_t rows, columns, max_features;
  int activation;
} bw_features_forward_args;

// weight_gradient [inputs][columns], bias_gradient [columns]; rows ascending
typedef struct bw_features_gradient_args {
  bw_ref features, dy, weight_gradient, bias_gradient;
  int64_t rows, inputs, planes, columns, max_features;
} bw_features_gradient_args;

// ---- rollout ----

// How one game of an iteration is played; drawn on the host, a game never changes it.
typedef struct bw_game_setup {
  uint64_t number;      // over the whole run: the key of all of the game's random numbers
  int32_t opponent;     // 0 the current policy itself, k > 0 opponent k of the iteration
  uint8_t seat;         // the agent's seat: 0 moves first (on the empty board), 1 second
  uint8_t record_both;  // both seats' moves are trained
  uint8_t mirrored;     // the game is played reflected
  uint8_t opening;      // random plies before the first decision
  uint8_t start;        // the game starts from a position of its own, without an opening
  uint8_t deviation;    // plies on the board before which one side's moves may be random, and no move is trained
  uint8_t deviator;     // whose: 0 the first player's, 1 the second's
} bw_game_setup;

enum { BW_OUTCOME_ONGOING = 0, BW_OUTCOME_FIRST = 1, BW_OUTCOME_SECOND = 2, BW_OUTCOME_DRAW = 3 };

// What a rollout writes. Slots of a game's records are game * max_plies + k, k = 0 .. counts[game] - 1 in the order
// played.
typedef struct bw_rollout_buffers {
  bw_ref setups;    // bw_game_setup [games]
  bw_ref states;    // game state [games]
  bw_ref outcomes;  // i32 [games], BW_OUTCOME_*
  bw_ref plies;     // i32 [games], moves made by policies (openings and deviations not counted)
  bw_ref counts;    // i32 [games], records
  // records, [games * max_plies]
  bw_ref record_states;      // game state as the policy saw it
  bw_ref record_actions;     // i32
  bw_ref record_players;     // i32, 0 first, 1 second
  bw_ref record_log_probs;   // real
  bw_ref record_values;      // real
  bw_ref record_advantages;  // real
  bw_ref record_returns;     // real
  bw_ref record_wdl;         // real [games * max_plies][3], only with a head of win, draw and loss: what it predicted
                             // for the side to move, then the targets of wdl_targets
  bw_ref record_policies;    // real [games * max_plies][actions], only under a KL penalty: log-probabilities of the
                             // legal actions, 0 for others
  bw_ref moves;  // u8 [games][max_plies], only where starts are kept: action + 1 of each ply that was played
                 // here, 0 before the start position and after the end
} bw_rollout_buffers;

// Puts games into their start positions: starts[game] where setup.start says so, else setup.opening random plies, none
// of which ends the game. keep_moves != 0 writes rollout.moves, which must be zeros.
typedef struct bw_rollout_start_args {
  int game;
  bw_rollout_buffers rollout;
  bw_ref starts;  // game state [games]
  uint64_t seed;
  int64_t games, max_plies;
  int keep_moves;
} bw_rollout_start_args;

// Of the `games` game numbers in list, the ones still going in which policy (0 agent, 1 opponent) is to move:
// rows i32 [games], count i32 [1].
typedef struct bw_rollout_select_args {
  int game;
  bw_rollout_buffers rollout;
  bw_ref list, rows, count;
  int64_t games;
  int policy;
} bw_rollout_select_args;

// Rows whose policy sees the same state share one forward pass: unique_games i32 [count] holds one game of each
// different state, in order of first appearance, row_heads i32 [rows] says which of them a row's is; count i32 [1].
// Scratch: table i32 [slots], slots a power of two >= 2 rows; keys u64 [rows].
typedef struct bw_rollout_unique_args {
  int game;
  bw_rollout_buffers rollout;
  bw_ref row_games, unique_games, row_heads, count, table, keys;
  int64_t rows, slots;
} bw_rollout_unique_args;

// features u16 [rows][1 + max_features] of each row's state, listed as `observation` (enum bw_observation) says
typedef struct bw_rollout_encode_args {
  int game;
  bw_rollout_buffers rollout;
  bw_ref row_games, features;
  int64_t rows, max_features;
  int observation;
} bw_rollout_encode_args;

// Samples a legal action of each row from softmax(logits / temperature), records it where it is trained, plays it.
// head[*][actions + 1]: logits, then the value (wdl != 0: [actions + 3], logits, then those of win, draw and loss, and
// the value is p(win) - p(loss) + draw_value p(draw)); row i's is number row_heads[i]. uniform != 0 ignores head and
// draws uniformly. argmax != 0 takes the most probable action instead of sampling. What is recorded is the
// log-probability at temperature 1: record only with temperature 1. As long as fewer than setup.deviation stones are on
// the board, each move of setup.deviator is with the chance deviation_random a uniformly random one, and nothing is
// recorded; a position in which some legal move would end the game ends this, whatever the policy does there.
typedef struct bw_rollout_act_args {
  int game;
  bw_rollout_buffers rollout;
  bw_ref row_games, row_heads, head;
  uint64_t seed;
  int64_t rows, max_plies;
  double temperature;
  int uniform, argmax;
  int record;
  int wdl;
  double draw_value;
  int record_policy;
  int keep_moves;
  double deviation_random;
} bw_rollout_act_args;

// Which samples have the same state: numbers i32 [games * max_plies] holds, at the slot of each listed sample, the
// number of its state; different states count from 0 in order of appearance. Scratch: table i32 [table_slots], a power
// of two >= 2 samples; keys u64 [samples].
typedef struct bw_sample_states_args {
  int game;
  bw_rollout_buffers rollout;
  bw_ref slots, numbers, table, keys;
  int64_t samples, table_slots;
} bw_sample_states_args;

// One minibatch. A row is a state; its samples, all of that state, stand together: sample j is the record at slot
// order[j], and those of row i end before row_ends[i], where those of row i + 1 begin. Of each row its features, as in
// rollout_encode, and legal actions; of each sample what the loss needs; with_wdl != 0: also wdl [samples][3];
// policy_actions > 0: also policies [samples][policy_actions].
typedef struct bw_sample_gather_args {
  int game;
  bw_rollout_buffers rollout;
  bw_ref order, row_ends;                                                   // i32 [samples], [rows]
  bw_ref features, masks;                                                   // of rows; u32
  bw_ref actions /* i32 */, log_probs, advantages, returns, wdl, policies;  // of samples
  int64_t rows, samples, max_features, policy_actions;
  int observation, with_wdl;
} bw_sample_gather_args;

// ---- playouts ----

// Plays games to their ends by uniformly random legal moves: game g from starts[g * stride] (stride 0: all from the
// same state), its moves a function of seed and number + g. A start state that is over stays as it is.
typedef struct bw_playouts_args {
  int game;
  bw_ref starts;    // game state [games], or [1] if stride is 0
  bw_ref outcomes;  // i32 [games], BW_OUTCOME_*
  bw_ref plies;     // i32 [games], random moves made
  uint64_t seed, number;
  int64_t games, stride;
} bw_playouts_args;

// ---- gae: generalised advantage estimation (Schulman et al. 2016, eq. 16) ----

// Fills record_advantages and record_returns (= advantage + value) from outcomes. by_player != 0: the next step is the
// same player's next record; 0: the next record of the game, the sign flipped when the player differs.
typedef struct bw_gae_args {
  bw_rollout_buffers rollout;
  double gamma, lambda, draw_reward;
  int64_t games, max_plies;
  int by_player;
} bw_gae_args;

// record_wdl from predictions to targets, by outcomes: see the kernel. by_player as in gae.
typedef struct bw_wdl_targets_args {
  bw_rollout_buffers rollout;
  double gamma, lambda;
  int64_t games, max_plies;
  int by_player;
} bw_wdl_targets_args;

// slots i32 [total]: all record slots in game order; count i32 [1]
typedef struct bw_sample_list_args {
  bw_rollout_buffers rollout;
  bw_ref slots, count;
  int64_t games, max_plies;
} bw_sample_list_args;

// moments real [5] over the listed samples: mean and variance of the advantages, variance of the returns, variance
// of returns - values, mean return
typedef struct bw_sample_moments_args {
  bw_rollout_buffers rollout;
  bw_ref slots, moments;
  int64_t samples;
} bw_sample_moments_args;

// advantage = (advantage - mean) / (deviation + 1e-8)
typedef struct bw_advantage_normalize_args {
  bw_rollout_buffers rollout;
  bw_ref slots, moments;
  int64_t samples;
} bw_advantage_normalize_args;

// ---- ppo_loss: clipped surrogate (Schulman et al. 2017, eq. 7 and 9) ----

enum {
  BW_STATISTIC_POLICY_LOSS,
  BW_STATISTIC_VALUE_LOSS,
  BW_STATISTIC_ENTROPY,
  BW_STATISTIC_KL,           // (ratio - 1) - log ratio, non-negative; with a KL penalty the divergence itself
  BW_STATISTIC_CLIPPED,      // 1 where the ratio left [1 - clip, 1 + clip]
  BW_STATISTIC_RATIO_ERROR,  // |ratio - 1|: its maximum, not its sum, is kept
  BW_STATISTICS
};

// Loss of a sample = policy loss + value_coef * value loss - entropy_coef * entropy; mean over samples. The value loss
// is (value - return)^2; with_wdl != 0: the cross-entropy of the predicted outcomes to wdl [samples][3]. kl_coef > 0
// adds kl_coef * the KL divergence of the policy from policies [samples][actions], which is then the statistic as well.
// head, dhead [rows][actions + 1 (with_wdl: 3)]: a row's gradient is the sum over its samples, which row_ends tells as
// in sample_gather, in their order. masks [rows]; statistics [samples][BW_STATISTICS] unscaled.
typedef struct bw_ppo_loss_args {
  bw_ref row_ends, head, masks, actions_taken, log_probs, advantages, returns, wdl, policies;
  bw_ref dhead, statistics;
  int64_t rows, samples, actions;
  int with_wdl;
  double clip, value_coef, entropy_coef, kl_coef;
} bw_ppo_loss_args;

// totals[BW_STATISTICS] += sums over samples of statistics (maximum for the ratio error)
typedef struct bw_ppo_statistics_args {
  bw_ref statistics, totals;
  int64_t samples;
} bw_ppo_statistics_args;

// ---- optim ----

// partial[c] = sum of squares of chunk c of x[n], of `chunk` elements each
typedef struct bw_square_sum_args {
  bw_ref x, partial;
  int64_t n, chunk;
} bw_square_sum_args;

// norm[0] = sqrt(sum of partial), norm[1] = factor that scales a gradient of that norm down to max_norm (<= 1;
// max_norm 0: 1)
typedef struct bw_clip_scale_args {
  bw_ref partial, norm;
  int64_t chunks;
  double max_norm;
} bw_clip_scale_args;

// AdamW (Loshchilov & Hutter 2019) on g * norm[1]; bias corrections are given: step_size = lr / (1 - beta1^t),
// second_scale = 1 / (1 - beta2^t)
typedef struct bw_adamw_args {
  bw_ref weights, gradients, first, second, norm;
  int64_t n;
  double lr, step_size, beta1, beta2, second_scale, epsilon, weight_decay;
} bw_adamw_args;

// Muon (Jordan et al. 2024): momentum = beta * momentum + g * norm[1]; update = g * norm[1] + beta * momentum
typedef struct bw_muon_momentum_args {
  bw_ref gradients, momentum, update, norm;
  int64_t n;
  double beta;
} bw_muon_momentum_args;

// x /= (frobenius norm of x + 1e-7)
typedef struct bw_muon_normalize_args {
  bw_ref x;
  int64_t n;
} bw_muon_normalize_args;

// weights = weights * (1 - lr * weight_decay) - lr * scale * update
typedef struct bw_muon_apply_args {
  bw_ref weights, update;
  int64_t n;
  double lr, scale, weight_decay;
} bw_muon_apply_args;

#endif
