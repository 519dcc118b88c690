// The kernels of one backend or variant, as instantiate.h makes them.
#ifndef BW_BACKENDS_KERNEL_TABLE_H
#define BW_BACKENDS_KERNEL_TABLE_H

#include "../device/device.h"
#include "../device/dialect.h"

typedef struct bw_kernel_table {
  const bw_kernel* plain;        // [BW_OP_COUNT], NULL for ops of a game
  const bw_kernel* const* game;  // [games][BW_OP_COUNT]
  const bw_kernel* tuned;        // [BW_OP_COUNT], NULL for ops without a tuned kernel; or NULL
} bw_kernel_table;

// The kernel of op, whose args begin with `int game` when it is an op of a game.
static inline bw_kernel bw_find_kernel(const bw_kernel_table* table, bw_op op, const void* args) {
  if (table->tuned && table->tuned[op]) return table->tuned[op];
  const bw_kernel kernel = table->plain[op];
  return kernel ? kernel : table->game[*(const int*)args][op];
}

#endif
