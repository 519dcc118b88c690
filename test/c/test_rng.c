// Philox4x32-10 against the published known answers, and what the engine builds on it.
#include "../../csrc/core/rng.h"

#include "check.h"

// Random123's vectors (kat_vectors, philox4x32 10): counter, key, output. Our order: counter = (a low, a high, b,
// stream), key = (seed low, seed high).
static void known_answer(const uint32_t counter[4], const uint32_t key[2], const uint32_t wanted[4]) {
  const uint64_t a = counter[0] | (uint64_t)counter[1] << 32, seed = key[0] | (uint64_t)key[1] << 32;
  const bw_random4 r = bw_philox(seed, counter[3], a, counter[2]);
  for (int i = 0; i < 4; ++i) CHECK_MSG(r.v[i] == wanted[i], "word %d: %08x, not %08x", i, r.v[i], wanted[i]);
}

static void test_known_answers(void) {
  known_answer((const uint32_t[4]){0, 0, 0, 0}, (const uint32_t[2]){0, 0},
               (const uint32_t[4]){0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  known_answer((const uint32_t[4]){0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
               (const uint32_t[2]){0xffffffff, 0xffffffff},
               (const uint32_t[4]){0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  // The digits of pi.
  known_answer((const uint32_t[4]){0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
               (const uint32_t[2]){0xa4093822, 0x299f31d0},
               (const uint32_t[4]){0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

// Every argument matters, each of its 32 or 64 bits.
static void test_arguments(void) {
  const bw_random4 base = bw_philox(1, 2, 3, 4), same = bw_philox(1, 2, 3, 4);
  CHECK_BYTES(&base, &same, sizeof base);
  for (int bit = 0; bit < 64; ++bit) {
    const bw_random4 others[4] = {bw_philox(1 ^ (uint64_t)1 << bit, 2, 3, 4),
                                  bw_philox(1, 2, 3 ^ (uint64_t)1 << bit, 4), bw_philox(1, 2 ^ 1u << bit % 32, 3, 4),
                                  bw_philox(1, 2, 3, 4 ^ 1u << bit % 32)};
    for (int i = 0; i < 4; ++i) {
      int changed = 0;  // of 128 bits about half change
      for (int w = 0; w < 4; ++w) {
        for (uint32_t x = base.v[w] ^ others[i].v[w]; x; x &= x - 1) ++changed;
      }
      CHECK(changed > 30 && changed < 98);
    }
  }
  // The streams are part of every stored result.
  CHECK_EQ_INT(BW_STREAM_INIT, 1);
  CHECK_EQ_INT(BW_STREAM_GAME, 2);
  CHECK_EQ_INT(BW_STREAM_OPENING, 3);
  CHECK_EQ_INT(BW_STREAM_ACTION, 4);
  CHECK_EQ_INT(BW_STREAM_SHUFFLE, 5);
  CHECK_EQ_INT(BW_STREAM_POOL, 6);
  CHECK_EQ_INT(BW_STREAM_OPPONENT, 7);
}

static void test_uniform(void) {
  CHECK(bw_uniform(0) == 0.0f);
  CHECK(bw_uniform(0xFF) == 0.0f);
  CHECK(bw_uniform(0x100) == 1.0f / 16777216.0f);
  CHECK(bw_uniform(0x80000000u) == 0.5f);
  CHECK(bw_uniform(UINT32_MAX) == 1.0f - 1.0f / 16777216.0f);
  // Mean and variance of 400,000 draws: within 5 standard errors of 1/2 and 1/12.
  enum { BLOCKS = 100000 };
  double sum = 0, squares = 0;
  for (uint32_t i = 0; i < BLOCKS; ++i) {
    const bw_random4 r = bw_philox(11, BW_STREAM_ACTION, i, 0);
    for (int w = 0; w < 4; ++w) {
      const double u = (double)bw_uniform(r.v[w]);
      sum += u;
      squares += (u - 0.5) * (u - 0.5);
    }
  }
  const double n = (double)(4 * BLOCKS);
  CHECK_NEAR(sum / n, 0.5, 5 * sqrt(1.0 / 12 / n));
  CHECK_NEAR(squares / n, 1.0 / 12, 5 * sqrt(1.0 / 180 / n));
}

static void test_below(void) {
  static const uint32_t bounds[] = {1, 2, 3, 7, 9, 10, 64, 1000, 0x80000000u, UINT32_MAX};
  for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; ++i) {
    CHECK_EQ_INT(bw_below(0, bounds[i]), 0);
    CHECK_EQ_INT(bw_below(UINT32_MAX, bounds[i]), bounds[i] - 1);
  }
  // Chi-square of 70,000 draws below 7: six degrees of freedom, 0.999 quantile 22.5.
  enum { BOUND = 7, DRAWS = 70000 };
  int seen[BOUND] = {0};
  for (uint32_t i = 0; i < DRAWS; ++i) ++seen[bw_below(bw_philox(5, BW_STREAM_GAME, i, 1).v[i % 4], BOUND)];
  double chi = 0;
  for (int k = 0; k < BOUND; ++k)
    chi += (seen[k] - DRAWS / BOUND) * (double)(seen[k] - DRAWS / BOUND) / (DRAWS / BOUND);
  CHECK_MSG(chi < 22.5, "chi-square %.1f", chi);
}

int main(void) {
  test_known_answers();
  test_arguments();
  test_uniform();
  test_below();
  return check_summary("rng");
}
