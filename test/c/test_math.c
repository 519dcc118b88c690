// EXP and LOG of the CPU dialect against libm in double, over their whole ranges, and the rows of a policy against one
// row alone.
#include "../../csrc/core/rng.h"
#include "check.h"
#include "policy_reference.h"

// Largest relative errors allowed, in units of 2^-24 (half the spacing of floats at 1).
static const double kExpUnits = 1.5, kLogUnits = 1.5;

// Every `kStride`-th float; odd and prime, so that all low mantissa bits occur.
enum { kStride = 1009 };

static float from_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static uint32_t to_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

// Largest relative error of `ours` over the floats from low to high (both positive), and of their negatives when
// `signs` is 2.
static void sweep(const char* name, float (*ours)(float), double (*exact)(double), float low, float high, int signs,
                  double units) {
  double worst = 0;
  float worst_at = low;
  bool finite = true;
  for (uint64_t bits = to_bits(low); bits <= to_bits(high); bits += kStride) {
    for (int s = 0; s < signs; ++s) {
      const float x = from_bits((uint32_t)bits) * (s ? -1.0f : 1.0f);
      const double wanted = exact((double)x), got = (double)ours(x);
      if (!isfinite(got)) finite = false;
      const double error = wanted == got ? 0 : fabs(got - wanted) / fabs(wanted);
      if (error > worst) {
        worst = error;
        worst_at = x;
      }
    }
  }
  CHECK_MSG(finite, "%s is not finite somewhere in [%g, %g]", name, (double)low, (double)high);
  CHECK_MSG(worst <= units * ldexp(1, -24), "%s: relative error %.3g = %.2f units at %.9g, allowed %.2f units", name,
            worst, worst * ldexp(1, 24), (double)worst_at, units);
}

static float exp_of(float x) { return bw_exp(x); }
static float log_of(float x) { return bw_log(x); }

static void test_exp(void) {
  sweep("bw_exp", exp_of, exp, 1e-30f, 87.3f, 2, kExpUnits);
  sweep("bw_exp", exp_of, exp, 87.3f, 88.0f, 1, kExpUnits);
  CHECK(bw_exp(0.0f) == 1.0f);  // the most probable action of a softmax
  // Beyond the range it stays where it was.
  CHECK(bw_exp(1000.0f) == bw_exp(88.0f));
  CHECK(bw_exp(INFINITY) == bw_exp(88.0f));
  CHECK(bw_exp(-1000.0f) == bw_exp(-87.3f));
  CHECK(bw_exp(-INFINITY) == bw_exp(-87.3f));
  CHECK(bw_exp(-INFINITY) > 0 && bw_exp(-INFINITY) < 1.3e-38f);
  // The checks that stop a run on bad numbers need NaN to come through.
  CHECK(isnan(bw_exp(NAN)));
  // It never falls where its argument rises by more than rounding.
  float before = 0;
  bool rises = true;
  for (float x = -87.0f; x < 88.0f; x += 0.001f) {
    const float y = bw_exp(x);
    rises = rises && y > before;
    before = y;
  }
  CHECK(rises);
}

static void test_log(void) {
  sweep("bw_log", log_of, log, 1.17549435e-38f, 3.4e38f, 1, kLogUnits);
  // Normalisers of a softmax lie between 1 and the number of actions: every 16th float.
  double worst = 0;
  for (uint32_t bits = to_bits(1.0f); bits <= to_bits(32.0f); bits += 16) {
    const double x = (double)from_bits(bits), wanted = log(x);
    const double error = fabs((double)bw_log((float)x) - wanted);
    if (wanted > 0 && error / wanted > worst) worst = error / wanted;
  }
  CHECK_MSG(worst <= kLogUnits * ldexp(1, -24), "bw_log on [1, 32]: relative error %.3g", worst);
  CHECK(bw_log(1.0f) == 0.0f);  // so that a certain action has log-probability 0
}

// ---- a policy's rows ----

static uint64_t number;
static uint32_t word(void) { return bw_philox(7, 0, number++, 0).v[0]; }

static float any_logit(int kind) {
  if (kind == 0) return 0;                             // all alike
  if (kind == 1) return (float)(int)(word() % 7) - 3;  // ties
  return 40 * (bw_uniform(word()) - 0.5f);
}

// Lanes are rows of their own: each has the bits of one row done alone, whatever the others hold, and what a masked
// action's logit is does not matter.
static void test_policy_rows(void) {
  const float odd[] = {INFINITY, -INFINITY, NAN, 3e38f, -3e38f};
  for (int turn = 0; turn < 3000; ++turn) {
    const int actions = 1 + (int)(word() % BW_MAX_ACTIONS);
    const float inverse_temperature = turn % 3 ? 1 : 1 / 1.7f;
    bw_policy_rows rows;
    float u[BW_POLICY_ROWS];
    int sampled[BW_POLICY_ROWS], best[BW_POLICY_ROWS];
    memset(&rows, 0xFF, sizeof rows);  // NaN wherever nothing is written
    for (int r = 0; r < BW_POLICY_ROWS; ++r) {
      rows.masks[r] = word() & (uint32_t)((1ull << actions) - 1);
      if (!rows.masks[r]) rows.masks[r] = 1u << word() % (uint32_t)actions;
      const int kind = (int)(word() % 4);
      for (int a = 0; a < actions; ++a) {
        rows.logits[a][r] = rows.masks[r] >> a & 1 ? any_logit(kind) : odd[word() % 5];
      }
      u[r] = turn % 5 ? bw_uniform(word()) : turn % 2 ? 0x1.fffffep-1f : 0;
    }
    bw_masked_softmax_rows(&rows, actions, inverse_temperature);
    bw_sample_rows(&rows, actions, u, sampled);
    bw_most_probable_rows(&rows, actions, best);
    for (int r = 0; r < BW_POLICY_ROWS; ++r) {
      float logits[BW_MAX_ACTIONS], probabilities[BW_MAX_ACTIONS], got[BW_MAX_ACTIONS], max;
      for (int a = 0; a < actions; ++a) {
        logits[a] = rows.logits[a][r];
        got[a] = rows.probabilities[a][r];
      }
      const float log_sum = bw_masked_softmax(logits, rows.masks[r], actions, inverse_temperature, probabilities, &max);
      CHECK(memcmp(got, probabilities, (size_t)actions * sizeof(float)) == 0);
      CHECK(memcmp(&rows.max[r], &max, sizeof max) == 0 && memcmp(&rows.log_sum[r], &log_sum, sizeof max) == 0);
      CHECK_EQ_INT(sampled[r], bw_sample(probabilities, rows.masks[r], actions, u[r]));
      CHECK_EQ_INT(best[r], bw_most_probable(probabilities, rows.masks[r], actions));
      CHECK(rows.masks[r] >> sampled[r] & 1 && rows.masks[r] >> best[r] & 1);
    }
  }
}

int main(void) {
  test_exp();
  test_log();
  test_policy_rows();
  return check_summary("math");
}
