// All kernels and games under the dialect that was included before, and the table that a backend launches from.
// Included by one file a backend and variant.
#ifndef BW_BACKENDS_INSTANTIATE_H
#define BW_BACKENDS_INSTANTIATE_H

#include "../core/rng.h"
#include "../device/device.h"
#include "../games/game.h"
#include "../games/games.gen.h"
#include "../kernels/policy.h"
#include "../kernels/state_table.h"
#include "kernel_table.h"

#include "../kernels/elementwise.k.h"
#include "../kernels/features.k.h"
#include "../kernels/gae.k.h"
#include "../kernels/matmul.k.h"
#include "../kernels/norm.k.h"
#include "../kernels/optim.k.h"
#include "../kernels/ppo_loss.k.h"

#define BW_PASTE_(a, b) a##_##b
#define BW_PASTE(a, b) BW_PASTE_(a, b)
#define GAME(name) BW_PASTE(BW_GAME, name)
#define GAME_KERNEL(op) BW_GAME_KERNEL(BW_GAME, op)
#define BW_GAME_KERNEL(game, op) BW_GAME_KERNEL_(game, op)
#define BW_GAME_KERNEL_(game, op)                                                               \
  static void game##_##op##_body(const bw_##op##_args* args, const bw_kernel_context* context); \
  static void game##_##op##_kernel(const void* args, const bw_kernel_context* context) {        \
    game##_##op##_body((const bw_##op##_args*)args, context);                                   \
  }                                                                                             \
  static void game##_##op##_body(const bw_##op##_args* args, const bw_kernel_context* context)
#include "../kernels/games.gen.h"
#undef GAME
#undef GAME_KERNEL

static const bw_kernel bw_plain_kernels[BW_OP_COUNT] = {
#define OP(name, items, flops, bytes) [BW_OP_##name] = name##_kernel,
#define GAME_OP(name, items, flops, bytes)
#include "../device/ops.def"
#undef OP
#undef GAME_OP
};

static const bw_kernel* const bw_game_kernels[] = {
#define GAME(name, title) name##_kernels,
#include "../games/list.def"
#undef GAME
};

#ifndef BW_TUNED
#define BW_TUNED NULL
#endif

#define BW_KERNEL_TABLE \
  { bw_plain_kernels, bw_game_kernels, BW_TUNED }

#endif
