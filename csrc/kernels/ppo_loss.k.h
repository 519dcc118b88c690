// The PPO loss of a minibatch and its gradient with respect to logits and value, in one pass. A row is a state, which
// went through the net once, and what follows is done for each of its samples; the gradients of a row's samples are
// added up.
//
// With r = exp(log p - log p_old): policy loss = -min(r A, clip(r) A). Its derivative by log p is -r A unless the
// clipped branch is the smaller one, then 0. d log p(a) / d z_j = [j = a] - p_j, and for the entropy
// H = -sum p log p over legal actions, dH / d z_j = -p_j (log p_j + H).
//
// Under a KL penalty (Schulman et al., eq. 8, there with KL[old, new]) sum old_j (log old_j - log p_j) over legal
// actions is added, whose derivative by z_j is p_j - old_j.
//
// The value loss is (value - return)^2, or, where the head predicts win, draw and loss, the cross-entropy to a
// distribution q of outcomes: -sum q_k log p_k, with derivative p_k - q_k by logit k.

enum { BW_LOSS_ROWS = RUN_LENGTH(128) };  // whose samples fill the lanes of bw_policy_rows one after the other

KERNEL(ppo_loss) {
  IN(int32_t, row_ends);
  IN(real, head);
  IN(uint32_t, masks);
  IN(int32_t, actions_taken);
  IN(real, log_probs);
  IN(real, advantages);
  IN(real, returns);
  IN(real, wdl);
  IN(real, policies);
  OUT(real, dhead);
  OUT(real, statistics);
  const int actions = (int)args->actions, outputs = actions + (args->with_wdl ? BW_WDL : 1);
  const real low = (real)(1 - args->clip), high = (real)(1 + args->clip);
  const real value_coef = (real)args->value_coef, entropy_coef = (real)args->entropy_coef;
  const real kl_coef = (real)args->kl_coef;
  const real scale = 1 / (real)args->samples;  // the loss is a mean over the minibatch
  FOR_RUNS(first_row, row_count, args->rows, BW_LOSS_ROWS) {
    const int64_t end = row_ends[first_row + row_count - 1];
    int64_t next_row = first_row;  // that of the sample after the last one
    for (int64_t first = first_row ? row_ends[first_row - 1] : 0; first < end; first += BW_POLICY_ROWS) {
      const int64_t length = end - first < BW_POLICY_ROWS ? end - first : BW_POLICY_ROWS;
      int64_t row_of[BW_POLICY_ROWS];
      FOR_LANES(r) {
        row_of[r] = r < length ? next_row : row_of[0];
        if (r < length && first + r + 1 == row_ends[next_row]) ++next_row;
      }
      bw_policy_rows rows, outcome;
      int taken[BW_POLICY_ROWS];
      real log_p_taken[BW_POLICY_ROWS], log_ratio[BW_POLICY_ROWS], ratio[BW_POLICY_ROWS], surrogate[BW_POLICY_ROWS];
      real dlog_prob[BW_POLICY_ROWS], entropy[BW_POLICY_ROWS], kl[BW_POLICY_ROWS], value_loss[BW_POLICY_ROWS];
      real log_p[BW_MAX_ACTIONS][BW_POLICY_ROWS], d[BW_MAX_ACTIONS + BW_WDL][BW_POLICY_ROWS];
      FOR_LANES(r) {
        const int64_t i = first + (r < length ? r : 0);
        rows.masks[r] = masks[row_of[r]];
        taken[r] = actions_taken[i];
        for (int a = 0; a < actions; ++a) rows.logits[a][r] = head[row_of[r] * outputs + a];
      }
      bw_masked_softmax_rows(&rows, actions, 1);

      FOR_LANES(r) log_p_taken[r] = entropy[r] = 0;
      for (int a = 0; a < actions; ++a) {
        FOR_LANES(r) {
          const real legal = rows.masks[r] >> a & 1 ? rows.logits[a][r] : rows.max[r];
          log_p[a][r] = bw_log_prob(legal, rows.max[r], rows.log_sum[r]);
          log_p_taken[r] = taken[r] == a ? log_p[a][r] : log_p_taken[r];
          entropy[r] -= rows.probabilities[a][r] * log_p[a][r];
        }
      }
      FOR_LANES(r) {
        const int64_t i = first + (r < length ? r : 0);
        const real advantage = advantages[i];
        log_ratio[r] = log_p_taken[r] - log_probs[i];
        ratio[r] = EXP(log_ratio[r]);
        const real clipped = ratio[r] < low ? low : ratio[r] > high ? high : ratio[r];
        const int use_clipped = clipped * advantage < ratio[r] * advantage;
        surrogate[r] = use_clipped ? -clipped * advantage : -ratio[r] * advantage;
        dlog_prob[r] = use_clipped ? 0 : -ratio[r] * advantage;
        kl[r] = (ratio[r] - 1) - log_ratio[r];
      }
      for (int a = 0; a < actions; ++a) {
        FOR_LANES(r) {
          const real p = rows.probabilities[a][r];
          const real g = dlog_prob[r] * ((a == taken[r] ? 1 : 0) - p) + entropy_coef * p * (log_p[a][r] + entropy[r]);
          d[a][r] = (rows.masks[r] >> a & 1 ? g : 0) * scale;
        }
      }
      if (args->kl_coef > 0) {
        FOR_LANES(r) kl[r] = 0;
        for (int a = 0; a < actions; ++a) {
          FOR_LANES(r) {
            const real old = policies[(first + (r < length ? r : 0)) * actions + a];
            const real before = rows.masks[r] >> a & 1 ? EXP(old) : 0;
            kl[r] += before * (old - log_p[a][r]);
            d[a][r] += kl_coef * (rows.probabilities[a][r] - before) * scale;
          }
        }
      }

      if (args->with_wdl) {
        FOR_LANES(r) {
          outcome.masks[r] = BW_WDL_MASK;
          for (int k = 0; k < BW_WDL; ++k) outcome.logits[k][r] = head[row_of[r] * outputs + actions + k];
        }
        bw_masked_softmax_rows(&outcome, BW_WDL, 1);
        for (int r = 0; r < length; ++r) {
          const int64_t i = first + r;
          value_loss[r] = 0;
          for (int k = 0; k < BW_WDL; ++k) {
            const real target = wdl[i * BW_WDL + k];
            value_loss[r] -= target * bw_log_prob(outcome.logits[k][r], outcome.max[r], outcome.log_sum[r]);
            d[actions + k][r] = value_coef * (outcome.probabilities[k][r] - target) * scale;
          }
        }
      } else {
        for (int r = 0; r < length; ++r) {
          const int64_t i = first + r;
          const real error = head[row_of[r] * outputs + actions] - returns[i];
          d[actions][r] = 2 * value_coef * error * scale;
          value_loss[r] = error * error;
        }
      }

      for (int r = 0; r < length; ++r) {
        real* gradient = dhead + row_of[r] * outputs;
        const int begins = first + r == (row_of[r] ? row_ends[row_of[r] - 1] : 0);
        for (int k = 0; k < outputs; ++k) gradient[k] = begins ? d[k][r] : gradient[k] + d[k][r];
      }

      for (int r = 0; r < length; ++r) {
        real* statistic = statistics + (first + r) * BW_STATISTICS;
        statistic[BW_STATISTIC_POLICY_LOSS] = surrogate[r];
        statistic[BW_STATISTIC_VALUE_LOSS] = value_loss[r];
        statistic[BW_STATISTIC_ENTROPY] = entropy[r];
        statistic[BW_STATISTIC_KL] = kl[r];
        statistic[BW_STATISTIC_CLIPPED] = ratio[r] < low || ratio[r] > high ? 1 : 0;
        statistic[BW_STATISTIC_RATIO_ERROR] = ratio[r] < 1 ? 1 - ratio[r] : ratio[r] - 1;
      }
    }
  }
}

KERNEL(ppo_statistics) {
  IN(real, statistics);
  OUT(real, totals);
  FOR_TILES(tile, 1) {
    FOR_BLOCK(k, BW_STATISTICS) {
      real total = totals[k];
      for (int64_t i = 0; i < args->samples; ++i) {
        const real v = statistics[i * BW_STATISTICS + k];
        total = k == BW_STATISTIC_RATIO_ERROR ? (v > total ? v : total) : total + v;
      }
      totals[k] = total;
    }
  }
}
