// The PPO loss of a minibatch and its gradient with respect to logits and value, in one pass. A row is a sample.
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

KERNEL(ppo_loss) {
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
  const real scale = 1 / (real)args->rows;  // the loss is a mean over the minibatch
  FOR_GRID(i, args->rows) {
    const real* logits = head + i * outputs;
    real* dlogits = dhead + i * outputs;
    real* statistic = statistics + i * BW_STATISTICS;
    const uint32_t mask = masks[i];
    const int action = actions_taken[i];
    const real advantage = advantages[i];

    real p[BW_MAX_ACTIONS];
    real max;
    const real log_sum = bw_masked_softmax(logits, mask, actions, 1, p, &max);
    const real log_ratio = bw_log_prob(logits, action, max, log_sum) - log_probs[i];
    const real ratio = EXP(log_ratio);
    const real clipped = ratio < low ? low : ratio > high ? high : ratio;
    const int use_clipped = clipped * advantage < ratio * advantage;
    const real dlog_prob = use_clipped ? 0 : -ratio * advantage;

    real entropy = 0;
    for (int j = 0; j < actions; ++j) {
      if (mask >> j & 1) entropy -= p[j] * (logits[j] - max - log_sum);
    }
    for (int j = 0; j < actions; ++j) {
      real d = 0;
      if (mask >> j & 1) {
        const real log_p = logits[j] - max - log_sum;
        d = dlog_prob * ((j == action ? 1 : 0) - p[j]) + entropy_coef * p[j] * (log_p + entropy);
      }
      dlogits[j] = d * scale;
    }
    real kl = (ratio - 1) - log_ratio;
    if (args->kl_coef > 0) {
      const real* old = policies + i * actions;
      kl = 0;
      for (int j = 0; j < actions; ++j) {
        if (!(mask >> j & 1)) continue;
        const real before = EXP(old[j]);
        kl += before * (old[j] - (logits[j] - max - log_sum));
        dlogits[j] += kl_coef * (p[j] - before) * scale;
      }
    }
    real value_loss = 0;
    if (args->with_wdl) {
      const real* target = wdl + i * BW_WDL;
      real outcome[BW_WDL], top;
      const real outcome_log_sum = bw_wdl_softmax(logits + actions, outcome, &top);
      for (int k = 0; k < BW_WDL; ++k) {
        value_loss -= target[k] * (logits[actions + k] - top - outcome_log_sum);
        dlogits[actions + k] = value_coef * (outcome[k] - target[k]) * scale;
      }
    } else {
      const real error = logits[actions] - returns[i];
      dlogits[actions] = 2 * value_coef * error * scale;
      value_loss = error * error;
    }

    statistic[BW_STATISTIC_POLICY_LOSS] = use_clipped ? -clipped * advantage : -ratio * advantage;
    statistic[BW_STATISTIC_VALUE_LOSS] = value_loss;
    statistic[BW_STATISTIC_ENTROPY] = entropy;
    statistic[BW_STATISTIC_KL] = kl;
    statistic[BW_STATISTIC_CLIPPED] = ratio < low || ratio > high ? 1 : 0;
    statistic[BW_STATISTIC_RATIO_ERROR] = ratio < 1 ? 1 - ratio : ratio - 1;
  }
}

KERNEL(ppo_statistics) {
  IN(real, statistics);
  OUT(real, totals);
  FOR_TILES(tile, 1) {
    FOR_BLOCK(k, BW_STATISTICS) {
      real total = totals[k];
      for (int64_t i = 0; i < args->rows; ++i) {
        const real v = statistics[i * BW_STATISTICS + k];
        total = k == BW_STATISTIC_RATIO_ERROR ? (v > total ? v : total) : total + v;
      }
      totals[k] = total;
    }
  }
}
