// Advantages and returns of the recorded moves, and the list of samples that they make.

// A game's records are scanned backwards. Every player's chain ends with the game's result from its own point of
// view; there is no link between games.
KERNEL(gae) {
  IN_AT(int32_t, outcomes, args->rollout.outcomes);
  IN_AT(int32_t, counts, args->rollout.counts);
  IN_AT(int32_t, record_players, args->rollout.record_players);
  IN_AT(real, record_values, args->rollout.record_values);
  OUT_AT(real, record_advantages, args->rollout.record_advantages);
  OUT_AT(real, record_returns, args->rollout.record_returns);
  const real gamma = (real)args->gamma, lambda = (real)args->lambda;
  FOR_GRID(g, args->games) {
    const int64_t base = g * args->max_plies;
    const int outcome = outcomes[g];
    // By chain: the value and advantage of the chain's next record. Chain 0 is the only one when the players share it.
    real next_value[2] = {0, 0}, next_advantage[2] = {0, 0};
    int next_player[2] = {-1, -1};
    for (int k = counts[g] - 1; k >= 0; --k) {
      const int player = record_players[base + k];
      const int chain = args->by_player ? player : 0;
      const real value = record_values[base + k];
      real delta, carried;
      if (next_player[chain] < 0) {
        const int won = outcome == (player == 0 ? BW_OUTCOME_FIRST : BW_OUTCOME_SECOND);
        const real reward = outcome == BW_OUTCOME_DRAW ? (real)args->draw_reward : won ? 1 : -1;
        delta = reward - value;
        carried = 0;
      } else {
        const real sign = next_player[chain] == player ? 1 : -1;
        delta = gamma * sign * next_value[chain] - value;
        carried = gamma * lambda * sign * next_advantage[chain];
      }
      const real advantage = delta + carried;
      record_advantages[base + k] = advantage;
      record_returns[base + k] = advantage + value;
      next_value[chain] = value;
      next_advantage[chain] = advantage;
      next_player[chain] = player;
    }
  }
}

// The same recursion for distributions of outcomes: a record's target is what its chain's next record expects, mixed
// with that record's own target by lambda and seen by this record's player (win and loss change places between
// players). The chain's last record has the outcome itself. What a discount takes away goes to the draw: a game that is
// broken off is worth nothing to either, so that the value of a target is the return that gae computes.
KERNEL(wdl_targets) {
  IN_AT(int32_t, outcomes, args->rollout.outcomes);
  IN_AT(int32_t, counts, args->rollout.counts);
  IN_AT(int32_t, record_players, args->rollout.record_players);
  OUT_AT(real, record_wdl, args->rollout.record_wdl);
  const real gamma = (real)args->gamma, lambda = (real)args->lambda;
  FOR_GRID(g, args->games) {
    const int64_t base = g * args->max_plies;
    const int outcome = outcomes[g];
    // By chain: lambda's mixture of the next record's prediction and target.
    real mixed[2][BW_WDL] = {{0, 0, 0}, {0, 0, 0}};
    int next_player[2] = {-1, -1};
    for (int k = counts[g] - 1; k >= 0; --k) {
      const int player = record_players[base + k];
      const int chain = args->by_player ? player : 0;
      real* wdl = record_wdl + (base + k) * BW_WDL;
      real target[BW_WDL] = {0, 0, 0};
      if (next_player[chain] < 0) {
        const int won = outcome == (player == 0 ? BW_OUTCOME_FIRST : BW_OUTCOME_SECOND);
        target[outcome == BW_OUTCOME_DRAW ? 1 : won ? 0 : 2] = 1;
      } else {
        const int same = next_player[chain] == player;
        target[0] = gamma * mixed[chain][same ? 0 : 2];
        target[1] = gamma * mixed[chain][1] + (1 - gamma);
        target[2] = gamma * mixed[chain][same ? 2 : 0];
      }
      for (int j = 0; j < BW_WDL; ++j) {
        mixed[chain][j] = (1 - lambda) * wdl[j] + lambda * target[j];
        wdl[j] = target[j];
      }
      next_player[chain] = player;
    }
  }
}

KERNEL(sample_list) {
  IN_AT(int32_t, counts, args->rollout.counts);
  OUT(int32_t, slots);
  OUT(int32_t, count);
  FOR_GRID(one, 1) {
    int32_t found = 0;
    for (int64_t g = 0; g < args->games; ++g) {
      for (int k = 0; k < counts[g]; ++k) slots[found++] = (int32_t)(g * args->max_plies + k);
    }
    count[0] = found;
  }
}

KERNEL(sample_moments) {
  IN_AT(real, record_values, args->rollout.record_values);
  IN_AT(real, record_advantages, args->rollout.record_advantages);
  IN_AT(real, record_returns, args->rollout.record_returns);
  IN(int32_t, slots);
  OUT(real, moments);
  const int64_t n = args->samples;
  FOR_TILES(tile, 1) {
    SUM_OVER(advantage_sum, i, n, record_advantages[slots[i]]);
    SUM_OVER(return_sum, i, n, record_returns[slots[i]]);
    SUM_OVER(error_sum, i, n, record_returns[slots[i]] - record_values[slots[i]]);
    const real advantage_mean = advantage_sum / (real)n, return_mean = return_sum / (real)n;
    const real error_mean = error_sum / (real)n;
#define BW_SQUARE(x) ((x) * (x))
    SUM_OVER(advantage_squares, i, n, BW_SQUARE(record_advantages[slots[i]] - advantage_mean));
    SUM_OVER(return_squares, i, n, BW_SQUARE(record_returns[slots[i]] - return_mean));
    SUM_OVER(error_squares, i, n, BW_SQUARE(record_returns[slots[i]] - record_values[slots[i]] - error_mean));
#undef BW_SQUARE
    FOR_BLOCK(one, 1) {
      moments[0] = advantage_mean;
      moments[1] = advantage_squares / (real)n;
      moments[2] = return_squares / (real)n;
      moments[3] = error_squares / (real)n;
      moments[4] = return_mean;
    }
  }
}

KERNEL(advantage_normalize) {
  OUT_AT(real, record_advantages, args->rollout.record_advantages);
  IN(int32_t, slots);
  IN(real, moments);
  const real mean = moments[0], scale = 1 / (SQRT(moments[1]) + (real)1e-8);
  FOR_GRID(i, args->samples) record_advantages[slots[i]] = (record_advantages[slots[i]] - mean) * scale;
}
