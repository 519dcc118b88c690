// Playing games: instantiated once for every game (BW_GAME, see games.gen.h). A row is one game in which the policy
// is to move now; rows are independent, and a game's randomness is keyed by its number and ply alone, so that its
// course does not depend on which other games share the batch.

GAME_KERNEL(rollout_start) {
  IN_AT(bw_game_setup, setups, args->rollout.setups);
  OUT_AT(GAME(state), states, args->rollout.states);
  OUT_AT(int32_t, outcomes, args->rollout.outcomes);
  OUT_AT(int32_t, plies, args->rollout.plies);
  OUT_AT(int32_t, counts, args->rollout.counts);
  OUT_AT(uint8_t, moves, args->rollout.moves);
  IN(GAME(state), starts);
  FOR_GRID(g, args->games) {
    GAME(state) state;
    if (setups[g].start) {
      state = starts[g];
    } else {
      GAME(init)(&state);
    }
    const int opening = setups[g].start ? 0 : setups[g].opening;
    for (int ply = 0; ply < opening; ++ply) {
      const uint32_t mask = GAME(legal)(&state);
      const uint32_t word = bw_philox(args->seed, BW_STREAM_OPENING, setups[g].number, (uint32_t)ply).v[0];
      GAME(state) next = state;
      const int action = bw_nth_action(mask, bw_below(word, bw_count_actions(mask)));
      GAME(play)(&next, action);
      if (GAME(result)(&next) != BW_ONGOING) break;  // the opening stops before a move that would end the game
      if (args->keep_moves) moves[g * args->max_plies + ply] = (uint8_t)(action + 1);
      state = next;
    }
    states[g] = state;
    outcomes[g] = BW_OUTCOME_ONGOING;
    plies[g] = 0;
    counts[g] = 0;
  }
}

GAME_KERNEL(rollout_select) {
  IN_AT(bw_game_setup, setups, args->rollout.setups);
  IN_AT(GAME(state), states, args->rollout.states);
  IN_AT(int32_t, outcomes, args->rollout.outcomes);
  IN(int32_t, list);
  OUT(int32_t, rows);
  OUT(int32_t, count);
  FOR_GRID(one, 1) {
    int32_t found = 0;
    for (int64_t i = 0; i < args->games; ++i) {
      const int32_t g = list[i];
      const bw_game_setup* setup = &setups[g];
      const int agent_moves = setup->opponent == 0 || (GAME(ply)(&states[g]) & 1) == setup->seat;
      rows[found] = g;
      found += outcomes[g] == BW_OUTCOME_ONGOING && agent_moves != args->policy;
    }
    count[0] = found;
  }
}

// What the policy sees: a mirrored game is reflected before it is shown, for its whole length.
BW_INLINE GAME(state) GAME(seen)(const GAME(state) * state, int mirrored) {
  GAME(state) seen = *state;
  if (mirrored) GAME(mirror)(&seen);
  return seen;
}

BW_INLINE int GAME(observe)(const GAME(state) * state, int observation, uint16_t* list) {
  return observation == BW_OBSERVE_THREATS ? GAME(threats)(state, list) : GAME(features)(state, list);
}

GAME_KERNEL(rollout_unique) {
  IN_AT(bw_game_setup, setups, args->rollout.setups);
  IN_AT(GAME(state), states, args->rollout.states);
  IN(int32_t, row_games);
  OUT(int32_t, unique_games);
  OUT(int32_t, row_heads);
  OUT(int32_t, count);
  OUT(int32_t, table);
  OUT(uint64_t, keys);
  const uint64_t last_slot = (uint64_t)args->slots - 1;
  FOR_GRID(one, 1) {
    int32_t found = 0;
    for (int64_t s = 0; s < args->slots; ++s) table[s] = -1;
    for (int64_t i = 0; i < args->rows; ++i) {
      const int32_t g = row_games[i];
      const GAME(state) seen = GAME(seen)(&states[g], setups[g].mirrored);
      const int32_t head = bw_state_number(table, keys, last_slot, GAME(key)(&seen), found);
      if (head == found) unique_games[found++] = g;
      row_heads[i] = head;
    }
    count[0] = found;
  }
}

GAME_KERNEL(rollout_encode) {
  IN_AT(bw_game_setup, setups, args->rollout.setups);
  IN_AT(GAME(state), states, args->rollout.states);
  IN(int32_t, row_games);
  OUT(uint16_t, features);
  FOR_GRID(i, args->rows) {
    const int32_t g = row_games[i];
    const GAME(state) seen = GAME(seen)(&states[g], setups[g].mirrored);
    uint16_t* list = features + i * (1 + args->max_features);
    list[0] = (uint16_t)GAME(observe)(&seen, args->observation, list + 1);
  }
}

// True if some legal move ends the game.
BW_INLINE int GAME(may_end)(const GAME(state) * state) {
  const uint32_t mask = GAME(legal)(state);
  for (int action = 0; action < GAME(ACTIONS); ++action) {
    if (!(mask >> action & 1)) continue;
    GAME(state) next = *state;
    GAME(play)(&next, action);
    if (GAME(result)(&next) != BW_ONGOING) return 1;
  }
  return 0;
}

// True while the game's first moves are a deviation (bw_game_setup), to which this one, *action by the policy, belongs;
// *action may then become a random one. Whether it belongs is a function of the position alone: were it one of the
// action, only some of a position's moves would be trained.
BW_INLINE int GAME(deviate)(const GAME(state) * state, const bw_game_setup* setup, uint64_t seed, double chance,
                            int* action) {
  const int ply = GAME(ply)(state);
  if (ply >= setup->deviation || GAME(may_end)(state)) return 0;
  if ((ply & 1) == setup->deviator) {
    const bw_random4 random = bw_philox(seed, BW_STREAM_OPENING, setup->number, (uint32_t)ply);
    const uint32_t mask = GAME(legal)(state);
    if ((double)bw_uniform(random.v[0]) < chance) {
      *action = bw_nth_action(mask, bw_below(random.v[1], bw_count_actions(mask)));
    }
  }
  return 1;
}

GAME_KERNEL(rollout_act) {
  IN_AT(bw_game_setup, setups, args->rollout.setups);
  OUT_AT(GAME(state), states, args->rollout.states);
  OUT_AT(int32_t, outcomes, args->rollout.outcomes);
  OUT_AT(int32_t, plies, args->rollout.plies);
  OUT_AT(int32_t, counts, args->rollout.counts);
  OUT_AT(GAME(state), record_states, args->rollout.record_states);
  OUT_AT(int32_t, record_actions, args->rollout.record_actions);
  OUT_AT(int32_t, record_players, args->rollout.record_players);
  OUT_AT(real, record_log_probs, args->rollout.record_log_probs);
  OUT_AT(real, record_values, args->rollout.record_values);
  OUT_AT(real, record_wdl, args->rollout.record_wdl);
  OUT_AT(real, record_policies, args->rollout.record_policies);
  OUT_AT(uint8_t, moves, args->rollout.moves);
  IN(int32_t, row_games);
  IN(int32_t, row_heads);
  IN(real, head);
  const int actions = GAME(ACTIONS), outputs = actions + (args->wdl ? BW_WDL : 1);
  const real draw_value = (real)args->draw_value;
  FOR_RUNS(first, length, args->rows, BW_POLICY_ROWS) {
    GAME(state) seen[BW_POLICY_ROWS];
    uint64_t numbers[BW_POLICY_ROWS];
    uint32_t plies_seen[BW_POLICY_ROWS], words[BW_POLICY_ROWS];
    float u[BW_POLICY_ROWS];
    int chosen[BW_POLICY_ROWS];
    bw_policy_rows rows, outcome;
    FOR_LANES(r) {
      const int32_t g = row_games[first + (r < length ? r : 0)];
      seen[r] = GAME(seen)(&states[g], setups[g].mirrored);
      rows.masks[r] = GAME(legal)(&seen[r]);
      numbers[r] = setups[g].number;
      plies_seen[r] = (uint32_t)GAME(ply)(&seen[r]);
    }
    FOR_LANES(r) words[r] = bw_philox(args->seed, BW_STREAM_ACTION, numbers[r], plies_seen[r]).v[0];
    if (args->uniform) {
      for (int r = 0; r < length; ++r) {
        chosen[r] = bw_nth_action(rows.masks[r], bw_below(words[r], bw_count_actions(rows.masks[r])));
      }
    } else {
      FOR_LANES(r) u[r] = bw_uniform(words[r]);
      FOR_LANES(r) {
        const real* logits = head + row_heads[first + (r < length ? r : 0)] * outputs;
        for (int a = 0; a < actions; ++a) rows.logits[a][r] = logits[a];
        if (args->wdl) {
          outcome.masks[r] = BW_WDL_MASK;
          for (int k = 0; k < BW_WDL; ++k) outcome.logits[k][r] = logits[actions + k];
        }
      }
      bw_masked_softmax_rows(&rows, actions, (real)(1 / args->temperature));
      if (args->argmax) {
        bw_most_probable_rows(&rows, actions, chosen);
      } else {
        bw_sample_rows(&rows, actions, u, chosen);
      }
      if (args->wdl && args->record) bw_masked_softmax_rows(&outcome, BW_WDL, 1);
    }

    for (int r = 0; r < length; ++r) {
      const int32_t g = row_games[first + r];
      const bw_game_setup setup = setups[g];
      const int ply = GAME(ply)(&seen[r]);
      const int player = ply & 1;
      int action = chosen[r], deviates = 0;
      if (!args->uniform) {
        deviates = plies[g] == 0 && GAME(deviate)(&seen[r], &setup, args->seed, args->deviation_random, &action);
        if (args->record && !deviates && (setup.record_both || player == setup.seat)) {
          const int64_t slot = g * args->max_plies + counts[g]++;
          record_states[slot] = seen[r];
          record_actions[slot] = action;
          record_players[slot] = player;
          record_log_probs[slot] = bw_log_prob(rows.logits[action][r], rows.max[r], rows.log_sum[r]);
          if (args->record_policy) {
            for (int a = 0; a < actions; ++a) {
              record_policies[slot * actions + a] =
                  rows.masks[r] >> a & 1 ? bw_log_prob(rows.logits[a][r], rows.max[r], rows.log_sum[r]) : 0;
            }
          }
          if (args->wdl) {
            for (int k = 0; k < BW_WDL; ++k) record_wdl[slot * BW_WDL + k] = outcome.probabilities[k][r];
            record_values[slot] =
                outcome.probabilities[0][r] - outcome.probabilities[2][r] + draw_value * outcome.probabilities[1][r];
          } else {
            record_values[slot] = head[row_heads[first + r] * outputs + actions];
          }
        }
      }

      const int played = setup.mirrored ? GAME(mirror_action)(action) : action;
      if (args->keep_moves) moves[g * args->max_plies + ply] = (uint8_t)(played + 1);
      GAME(play)(&states[g], played);
      plies[g] += !deviates;
      const int result = GAME(result)(&states[g]);
      if (result == BW_WON) outcomes[g] = player == 0 ? BW_OUTCOME_FIRST : BW_OUTCOME_SECOND;
      if (result == BW_DRAWN) outcomes[g] = BW_OUTCOME_DRAW;
    }
  }
}

GAME_KERNEL(sample_states) {
  IN_AT(GAME(state), record_states, args->rollout.record_states);
  IN(int32_t, slots);
  OUT(int32_t, numbers);
  OUT(int32_t, table);
  OUT(uint64_t, keys);
  const uint64_t last_slot = (uint64_t)args->table_slots - 1;
  FOR_GRID(one, 1) {
    int32_t found = 0;
    for (int64_t s = 0; s < args->table_slots; ++s) table[s] = -1;
    for (int64_t i = 0; i < args->samples; ++i) {
      const int32_t slot = slots[i];
      const int32_t number = bw_state_number(table, keys, last_slot, GAME(key)(&record_states[slot]), found);
      found += number == found;
      numbers[slot] = number;
    }
  }
}

GAME_KERNEL(sample_gather) {
  IN_AT(GAME(state), record_states, args->rollout.record_states);
  IN_AT(int32_t, record_actions, args->rollout.record_actions);
  IN_AT(real, record_log_probs, args->rollout.record_log_probs);
  IN_AT(real, record_advantages, args->rollout.record_advantages);
  IN_AT(real, record_returns, args->rollout.record_returns);
  IN_AT(real, record_wdl, args->rollout.record_wdl);
  IN_AT(real, record_policies, args->rollout.record_policies);
  IN(int32_t, order);
  IN(int32_t, row_ends);
  OUT(uint16_t, features);
  OUT(uint32_t, masks);
  OUT(int32_t, actions);
  OUT(real, log_probs);
  OUT(real, advantages);
  OUT(real, returns);
  OUT(real, wdl);
  OUT(real, policies);
  const int64_t actions_kept = args->policy_actions;
  FOR_GRID(row, args->rows) {
    const int32_t begin = row ? row_ends[row - 1] : 0, end = row_ends[row];
    const GAME(state) state = record_states[order[begin]];
    uint16_t* list = features + row * (1 + args->max_features);
    list[0] = (uint16_t)GAME(observe)(&state, args->observation, list + 1);
    masks[row] = GAME(legal)(&state);
    for (int32_t i = begin; i < end; ++i) {
      const int32_t slot = order[i];
      if (i + BW_GATHER_AHEAD < args->samples) {  // records lie anywhere in memory
        const int32_t later = order[i + BW_GATHER_AHEAD];
        PREFETCH(&record_states[later]);
        PREFETCH(&record_actions[later]);
        PREFETCH(&record_log_probs[later]);
        PREFETCH(&record_advantages[later]);
        PREFETCH(&record_returns[later]);
      }
      actions[i] = record_actions[slot];
      log_probs[i] = record_log_probs[slot];
      advantages[i] = record_advantages[slot];
      returns[i] = record_returns[slot];
      for (int64_t a = 0; a < actions_kept; ++a) {
        policies[i * actions_kept + a] = record_policies[slot * actions_kept + a];
      }
      if (args->with_wdl) {
        for (int k = 0; k < BW_WDL; ++k) wdl[i * BW_WDL + k] = record_wdl[slot * BW_WDL + k];
      }
    }
  }
}

// The game's column of the kernel table.
static const bw_kernel GAME(kernels)[BW_OP_COUNT] = {
#define OP(name, items, flops, bytes)
#define GAME_OP(name, items, flops, bytes) [BW_OP_##name] = GAME(name##_kernel),
#include "../device/ops.def"
#undef OP
#undef GAME_OP
};
