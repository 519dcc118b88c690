// Uniformly random games, many at once: instantiated once for every game (BW_GAME, see games.gen.h).
//
// Moves by rejection: a try draws one of the 2^BW_ACTION_BITS values, each equally likely, and plays it; what is not
// legal changes nothing, so the move that is made in the end is exactly uniform over the legal ones. That takes no list
// of moves and no branch, and a loop over games vectorises. Philox block b of a game serves its tries 24 b .. 24 b +
// 23, six a word, so that a game's course depends on its start, its number and the seed alone.
//
// Versions, Connect Four on one Zen 4 core at 3.7 GHz, million moves a second with AVX-512 / AVX2 (gcc 12):
//   n-th set bit of the mask of legal moves by prefix sums, one Philox word a move     237 / 164
//   rejection, `if (legal) state = next`, two tries a word                             320 / 209
//   rejection inside of play, own/occupied instead of two players' boards              350 / 272
//   ended games leave by exchange with the last one instead of by compaction           375 / 270
//   six tries a word by bits (three by multiplication: 420 / 330, not quite uniform)   435 / 350
// A loop with one game at a time, a 64-bit xorshift and rejection makes 193 there (bench/peers/connect4_plain.c).

enum { GAME(playout_run) = 512, GAME(playout_bits) = BW_ACTION_BITS(GAME(ACTIONS)) };

GAME_KERNEL(playouts) {
  IN(GAME(state), starts);
  OUT(int32_t, outcomes);
  OUT(int32_t, plies);
  const uint32_t last_action = ((uint32_t)1 << GAME(playout_bits)) - 1;
  FOR_RUNS(first, length, args->games, GAME(playout_run)) {
    // The games that are going on, in any order.
    GAME(state) states[RUN_LENGTH(GAME(playout_run))];
    int32_t games[RUN_LENGTH(GAME(playout_run))];
    int64_t going = length;
    for (int64_t j = 0; j < going; ++j) {
      states[j] = starts[(first + j) * args->stride];
      games[j] = (int32_t)j;
    }
    for (uint32_t block = 0;; ++block) {
      for (int64_t j = 0; j < going;) {
        const int result = GAME(result)(&states[j]);
        if (result == BW_ONGOING) {
          ++j;
          continue;
        }
        const int64_t g = first + games[j];
        const int ply = GAME(ply)(&states[j]);
        outcomes[g] = result == BW_DRAWN ? BW_OUTCOME_DRAW : ply & 1 ? BW_OUTCOME_FIRST : BW_OUTCOME_SECOND;
        plies[g] = ply - GAME(ply)(&starts[g * args->stride]);
        --going;
        states[j] = states[going];
        games[j] = games[going];
      }
      if (going == 0) break;
      for (int64_t j = 0; j < going; ++j) {
        GAME(state) state = states[j];
        const bw_random4 random =
            bw_philox(args->seed, BW_STREAM_PLAYOUT, args->number + (uint64_t)(first + games[j]), block);
        BW_UNROLL(4)
        for (int w = 0; w < 4; ++w) {
          BW_UNROLL(6)
          for (int k = 0; k < 6; ++k) GAME(attempt)(&state, (int)(random.v[w] >> k * GAME(playout_bits) & last_action));
        }
        states[j] = state;
      }
    }
  }
}
