// Playing an iteration's games. Games are grouped by opponent, so that one opponent net is in memory at a time and
// no game ever changes its opponent; inside a group, up to rollout.batch games advance together.
#include <string.h>

#include "run.h"

// Numbers of evaluation games, far from those of training.
static const uint64_t kMatchGames = (uint64_t)1 << 62;

void bw_collect_setups(bw_run* run) {
  const bw_config* c = &run->config;
  const uint64_t seed = bw_role_seed(run, run->role);
  const uint32_t iteration_word = bw_philox(seed, BW_STREAM_OPPONENT, (uint64_t)run->iteration, 0).v[0];
  bw_opponents_weigh(run);
  for (int64_t g = 0; g < c->rollout_games; ++g) {
    const uint64_t number = (uint64_t)(run->games + g);
    const bw_random4 how = bw_philox(seed, BW_STREAM_GAME, number, 0);
    const bw_random4 opening = bw_philox(seed, BW_STREAM_GAME, number, 1);
    bw_game_setup* setup = &run->setups[g];
    memset(setup, 0, sizeof *setup);
    setup->number = number;
    const uint32_t which = c->opponents_per == BW_PER_ITERATION ? iteration_word : how.v[1];
    setup->opponent = bw_opponents_draw_pinned(run, how.v[3]);
    if (setup->opponent == 0 && c->league_enabled) {
      setup->opponent = bw_league_draw(run, how.v[0], which);
    } else if (setup->opponent == 0 && run->member_count > 0 &&
               (double)bw_uniform(how.v[0]) >= c->opponents_self_share) {
      setup->opponent = 1 + bw_opponents_draw(run, which);
    }
    setup->seat = (uint8_t)(how.v[2] >> 31);
    setup->mirrored = (uint8_t)(c->rollout_mirror && (how.v[2] >> 30 & 1));
    setup->record_both = (uint8_t)(setup->opponent == 0 && c->opponents_learn == BW_LEARN_BOTH);
    if (bw_starts_used(c)) bw_starts_draw(run, g, opening.v[2], opening.v[3]);
    const bw_random4 deviation = bw_philox(seed, BW_STREAM_GAME, number, 2);
    if (!setup->start && (double)bw_uniform(deviation.v[0]) < c->deviations_share) {
      setup->deviation = (uint8_t)(1 + bw_below(deviation.v[1], (uint32_t)c->deviations_plies));
      setup->deviator = (uint8_t)(deviation.v[2] >> 31);
    } else if (!setup->start && (double)bw_uniform(opening.v[0]) < c->rollout_openings_share) {
      setup->opening = (uint8_t)bw_below(opening.v[1], (uint32_t)c->rollout_openings_plies + 1);
    }
  }
}

// A net with room for its forward pass.
typedef struct mover {
  const bw_net* net;
  const bw_activations* activations;
} mover;

// All moves that `policy` (0 agent, 1 opponent) has to make now in the listed games. *moved: how many there were.
static void move(bw_run* run, const bw_play* play, mover by, int64_t listed, int policy, int32_t* moved) {
  bw_device* device = run->device;
  const bw_config* c = &run->config;
  BW_LAUNCH(device, rollout_select, .game = run->game_index, .rollout = run->rollout, .list = run->list,
            .rows = run->rows, .count = run->row_count, .games = listed, .policy = policy);
  device->backend->download(device, moved, run->row_count, sizeof *moved);
  const int64_t rows = *moved;
  if (rows == 0) return;
  const bool uniform = policy == 1 && play->uniform_opponent;
  if (!uniform) {
    BW_LAUNCH(device, rollout_unique, .game = run->game_index, .rollout = run->rollout, .row_games = run->rows,
              .unique_games = run->unique_games, .row_heads = run->row_heads, .count = run->row_count,
              .table = run->state_table, .keys = run->state_keys, .rows = rows, .slots = run->state_slots);
    int32_t unique = 0;
    device->backend->download(device, &unique, run->row_count, sizeof unique);
    bw_group_begin(device, BW_GROUP_ROWS, unique);
    BW_LAUNCH(device, rollout_encode, .game = run->game_index, .rollout = run->rollout, .row_games = run->unique_games,
              .features = by.activations->features, .rows = unique, .observation = by.net->layout->shape.observation,
              .max_features = by.net->layout->shape.max_features);
    bw_net_forward(device, by.net, by.activations, unique);
    bw_group_end(device);
  }
  BW_LAUNCH(device, rollout_act, .game = run->game_index, .rollout = run->rollout, .row_games = run->rows,
            .row_heads = run->row_heads, .head = by.activations->head, .seed = bw_role_seed(run, run->role),
            .rows = rows, .max_plies = run->game->max_plies,
            .temperature = policy == 0 || c->league_enabled ? 1 : c->opponents_temperature, .uniform = uniform,
            .argmax = policy == 0 && play->argmax, .record = policy == 0 && play->record,
            .wdl = !uniform && by.net->layout->shape.wdl, .draw_value = run->layout.shape.draw_value,
            .record_policy = c->ppo_kl_coef > 0, .keep_moves = play->record && bw_starts_kept(c),
            .deviation_random = c->deviations_random);
}

bw_status bw_collect_play(bw_run* run, const bw_play* play, bw_error* error) {
  bw_device* device = run->device;
  const bw_backend* backend = device->backend;
  backend->upload(device, run->rollout.setups, run->setups, (size_t)play->games * sizeof(bw_game_setup));
  const bool keep_moves = play->record && bw_starts_kept(&run->config);
  if (play->record && bw_starts_used(&run->config)) {
    backend->upload(device, run->start_states, run->starts.game_states, (size_t)play->games * run->game->state_bytes);
  }
  if (keep_moves) backend->zero(device, run->rollout.moves, (size_t)play->games * (size_t)run->game->max_plies);
  BW_LAUNCH(device, rollout_start, .game = run->game_index, .rollout = run->rollout, .starts = run->start_states,
            .seed = bw_role_seed(run, run->role), .games = play->games, .max_plies = run->game->max_plies,
            .keep_moves = keep_moves);
  for (int opponent = 0; opponent <= play->opponents; ++opponent) {
    int64_t group = 0;
    for (int64_t g = 0; g < play->games; ++g) {
      if (run->setups[g].opponent == opponent) run->host_list[group++] = (int32_t)g;
    }
    if (group == 0) continue;
    const mover agent = {&run->agent, &run->inference};
    mover other = {&run->opponent, &run->inference};
    if (opponent > 0 && !play->uniform_opponent) {
      const int learner = bw_league_role(run, opponent);
      if (opponent <= run->member_count) {
        bw_opponents_load(run, bw_opponents_weights(run, opponent - 1));
      } else if (learner >= 0) {
        bw_opponents_load(run, bw_league_weights(run, learner));
      } else {
        const bw_policy* pinned = run->pinned[opponent - 1 - run->member_count];
        other = (mover){bw_policy_net(pinned), bw_policy_activations(pinned)};
      }
    }
    for (int64_t first = 0; first < group; first += run->config.rollout_batch) {
      const int64_t left = group - first;
      const int64_t listed = left < run->config.rollout_batch ? left : run->config.rollout_batch;
      backend->upload(device, run->list, run->host_list + first, (size_t)listed * sizeof(int32_t));
      int32_t moved[2] = {1, 0};
      while (moved[0] + moved[1] > 0) {
        if (play->record && atomic_load(&run->cancelled)) return bw_fail(error, BW_CANCELLED, "collect", "cancelled");
        move(run, play, agent, listed, 0, &moved[0]);
        if (opponent > 0) move(run, play, other, listed, 1, &moved[1]);
      }
    }
  }
  backend->download(device, run->host_outcomes, run->rollout.outcomes, (size_t)play->games * sizeof(int32_t));
  backend->download(device, run->host_plies, run->rollout.plies, (size_t)play->games * sizeof(int32_t));
  return bw_device_sync(device, error);
}

bw_status bw_run_versus_random(bw_run* run, int64_t games, bool argmax, int64_t results[2][3], bw_error* error) {
  memset(results, 0, sizeof(int64_t) * 6);
  run->device->prof.group = "evaluate";
  for (int64_t done = 0; done < games;) {
    const int64_t left = games - done;
    const int64_t count = left < run->config.rollout_games ? left : run->config.rollout_games;
    for (int64_t g = 0; g < count; ++g) {
      run->setups[g] = (bw_game_setup){
          .number = kMatchGames + (uint64_t)(done + g), .opponent = 1, .seat = (uint8_t)((done + g) & 1)};
    }
    const bw_play play = {.games = count, .opponents = 1, .argmax = argmax, .uniform_opponent = true};
    BW_TRY(bw_collect_play(run, &play, error));
    for (int64_t g = 0; g < count; ++g) {
      const int seat = run->setups[g].seat;
      const int outcome = run->host_outcomes[g];
      const int won = seat == 0 ? BW_OUTCOME_FIRST : BW_OUTCOME_SECOND;
      results[seat][outcome == won ? 0 : outcome == BW_OUTCOME_DRAW ? 1 : 2] += 1;
    }
    done += count;
  }
  return BW_OK;
}
