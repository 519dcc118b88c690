// The lab's estimates against published examples, R 4.2.2, scipy 1.10.1 and simulation.

import { describe, expect, test } from "vitest";
import {
  aggregates,
  autocorrelation,
  comparePrefix,
  conditionalEstimate,
  decide,
  equivalentWithin,
  expectedMaximum,
  expectedMaximumOf,
  iqm,
  jamesStein,
  lastMean,
  noiseOfPairs,
  noiseOfRuns,
  normalLimit,
  normalQuantile,
  pairsNeeded,
  peakAudit,
  probabilityOfImprovement,
  randomOf,
  repeatedInterval,
  type SequentialDesign,
  type Series,
  seriesMean,
  shrinkTogether,
  smallestGain,
  stratifiedBootstrap,
  tost,
  trendTest,
} from "../../lib/lab/stats/index.js";
import { long, temperature15, temperature20 } from "./elo-series.js";

const D = [0.31, -0.12, 0.05, 0.22, -0.08, 0.17, 0.02, -0.03];

/** An autoregression of first order around 0. */
function walk(seed: number, n: number, r: number): number[] {
  const random = randomOf(seed, n);
  let x = random.normal() / Math.sqrt(1 - r * r);
  return Array.from({ length: n }, () => {
    x = r * x + random.normal();
    return x;
  });
}

/** That a share of `trials` is what it should be, to within four standard errors and `slack`. */
function expectShare(hits: number, trials: number, share: number, slack: number, what: string): void {
  const error = Math.sqrt((share * (1 - share)) / trials);
  expect(Math.abs(hits / trials - share), `${what}: ${hits} of ${trials}`).toBeLessThan(4 * error + slack);
}

describe("the published Elo series", () => {
  const from = long.iterations.indexOf(2000);
  const audit = peakAudit(long.values, { from });

  test("is 1,848 (s.e. 10) from iteration 2,000 on, with no trend", () => {
    expect(audit.n).toBe(30);
    expect(Math.round(audit.mean)).toBe(1848);
    expect(Math.round(audit.standardError)).toBe(10);
    expect(audit.sd).toBeCloseTo(52.5142673552823, 9); // sd(x)
    expect(audit.lag1).toBeCloseTo(-0.0258608034791002, 12); // acf(x)
    expect(autocorrelation(long.values.slice(from), 2)).toBeCloseTo(0.1707162390105872, 12);
    expect(audit.trend.p).toBeGreaterThan(0.2);
    // cor.test(1:30, x, method = "kendall", exact = F, continuity = T); nothing to correct for here
    expect(audit.trend.p).toBeCloseTo(0.344135103376927, 10);
    expect(audit.trend.slope).toBe(1);
    // The whole series does rise.
    expect(trendTest(long.values).p).toBeLessThan(0.05);
    expect(lastMean(long.values, 10)).toBeCloseTo(1863.3, 9);
  });

  test("has the peak that noise alone gives", () => {
    expect(audit.peak).toBe(1943);
    expect(Math.round(audit.expectedPeak)).toBe(1955);
    expect(expectedMaximum(30)).toBeCloseTo(2.04276084417151, 11); // integrate(z * 30 * dnorm(z) * pnorm(z)^29)
    expect(expectedMaximumOf(long.values.slice(from), 30)).toBeGreaterThan(1930);
    expect(audit.verdict).toBe("within noise");
    expect(audit.pOfPeak).toBeGreaterThan(0.3);
    const outlier = [...long.values.slice(0, -1), 2100];
    expect(peakAudit(outlier, { from })).toMatchObject({ peak: 2100, verdict: "above noise" });
  });

  test("cannot tell temperature 1.5 from 2.0 over what both have", () => {
    const seen = comparePrefix({ baseline: [temperature15], proposal: [temperature20] }, { goal: "maximize" });
    expect(seen).toMatchObject({ verdict: "undecided", iterations: [500, 1000, 1500, 2000, 2500], p: null });
    expect(seen).toMatchObject({ interval: "iterations", baseline: 1727, proposal: 1717 });
    expect(seen.gain).toBeCloseTo(-10, 9);
    expect(seen.low).toBeLessThan(0);
    expect(seen.high).toBeGreaterThan(0);
    expect(seen.reason).toMatch(/one run a side.*seeds/);
  });

  test("cannot tell two runs of 1.2838 and 1.2878 apart", () => {
    const at = (value: number): Series => ({ iterations: [1], values: [value] });
    const seen = comparePrefix({ baseline: [at(1.2878)], proposal: [at(1.2838)] }, { goal: "minimize" });
    expect(seen).toMatchObject({ verdict: "undecided", p: null, interval: null, low: Number.NEGATIVE_INFINITY });
    expect(seen.gain).toBeCloseTo(0.004, 9);
  });
});

describe("series", () => {
  test("keep their levels where values hang together", () => {
    const trials = 800;
    for (const [n, r, slack] of [
      [30, 0, 0.02],
      [30, 0.3, 0.03],
      [100, 0.6, 0.02],
    ] as const) {
      let covered = 0;
      let naive = 0;
      let trends = 0;
      for (let seed = 0; seed < trials; ++seed) {
        const values = walk(seed, n, r);
        const { low, high, mean, standardError, effective } = seriesMean(values);
        if (low <= 0 && high >= 0) ++covered;
        if (Math.abs(mean) <= 1.96 * standardError * Math.sqrt(effective / n)) ++naive;
        if (n === 30 && trendTest(values).p <= 0.05) ++trends;
      }
      expectShare(covered, trials, 0.95, slack, `interval, n ${n}, r ${r}`);
      if (r > 0) expect(naive / trials).toBeLessThan(0.87);
      if (n === 30) expectShare(trends, trials, 0.05, 0.02, `trend, r ${r}`);
    }
  });

  test("peaks above noise are called so at the level asked for", () => {
    let above = 0;
    for (let seed = 0; seed < 1000; ++seed) if (peakAudit(walk(seed, 20, 0)).verdict === "above noise") ++above;
    expectShare(above, 1000, 0.05, 0.01, "peaks");
  });

  test("constant and short ones give plain answers", () => {
    expect(peakAudit([5, 5, 5, 5])).toMatchObject({ mean: 5, sd: 0, lag1: 0, pOfPeak: 1, verdict: "within noise" });
    expect(trendTest([1, 2, 3, 4, 5, 6, 7, 8, 9])).toMatchObject({ slope: 1, s: 36 });
    expect(trendTest([1, 2, 3, 4, 5, 6, 7, 8, 9]).p).toBeLessThan(0.01);
    expect(expectedMaximum(1, 3, 2)).toBeCloseTo(3, 12);
    expect(expectedMaximum(2)).toBeCloseTo(1 / Math.sqrt(Math.PI), 12);
    expect(expectedMaximumOf([1, 2], 2)).toBeCloseTo(1.75, 12);
    expect(() => lastMean([1, 2], 3)).toThrow(expect.objectContaining({ path: "k", received: "3" }));
    expect(() => peakAudit([1, 2, 3, 4, 5], { from: 2 })).toThrow(expect.objectContaining({ path: "from" }));
  });
});

describe("runs over the common prefix", () => {
  const runs = (means: readonly number[], length = 4): Series[] =>
    means.map((mean, k) => ({
      iterations: Array.from({ length: length + k }, (_, i) => i + 1),
      // Later than the prefix everything is different, and must not matter.
      values: Array.from({ length: length + k }, (_, i) => (i < length ? mean + (i - (length - 1) / 2) : 1e6)),
    }));
  const a = [3.1, 2.9, 3.6, 3.3];
  const b = [4.0, 3.8, 3.5, 4.4, 3.9];

  test("several a side: permutation test and Welch's interval as R's", () => {
    const seen = comparePrefix({ baseline: runs(a), proposal: runs(b) }, { goal: "maximize" });
    expect(seen.iterations).toEqual([1, 2, 3, 4]);
    expect(seen.p).toBeCloseTo(3 / 126, 10); // combn(9, 4), absolute difference of means
    expect([seen.low, seen.high]).toEqual([
      expect.closeTo(0.197993637005098, 9), // t.test(b, a)
      expect.closeTo(1.192006362994902, 9),
    ]);
    expect(seen).toMatchObject({ verdict: "better", interval: "runs" });
    const less = comparePrefix({ baseline: runs(a), proposal: runs(b) }, { goal: "minimize" });
    expect(less).toMatchObject({ verdict: "worse", p: seen.p, gain: -seen.gain, low: -seen.high, high: -seen.low });
    expect(comparePrefix({ baseline: runs(a), proposal: runs(b) }, { goal: "maximize", alpha: 0.01 })).toMatchObject({
      verdict: "undecided",
    });
  });

  test("many a side: sampled, near the exact p", () => {
    const random = randomOf(4);
    const draw = (n: number, mean: number) => runs(Array.from({ length: n }, () => mean + random.normal()));
    const sides = { baseline: draw(12, 0), proposal: draw(14, 0.9) };
    const seen = comparePrefix(sides, { goal: "maximize" });
    const again = comparePrefix(sides, { goal: "maximize", seed: 1 });
    expect(comparePrefix(sides, { goal: "maximize" })).toEqual(seen);
    expect(Math.abs(seen.p! - again.p!)).toBeLessThan(0.01);
  });

  test("too few runs, no common iteration, one run of one side: undecided, and why", () => {
    expect(comparePrefix({ baseline: runs([1, 1.1]), proposal: runs([9, 9.1]) }, { goal: "maximize" })).toMatchObject({
      verdict: "undecided",
      reason: expect.stringContaining("cannot reach"),
    });
    expect(
      comparePrefix(
        { baseline: [{ iterations: [1], values: [1] }], proposal: [{ iterations: [2], values: [1] }] },
        { goal: "maximize" },
      ),
    ).toMatchObject({ verdict: "undecided", gain: Number.NaN, reason: expect.stringContaining("no iteration") });
    expect(comparePrefix({ baseline: runs([1]), proposal: runs([9, 9.1]) }, { goal: "maximize" })).toMatchObject({
      verdict: "undecided",
      reason: expect.stringContaining("one run of the baseline"),
    });
    expect(() =>
      comparePrefix({ baseline: [{ iterations: [2, 1], values: [1, 1] }], proposal: runs([1]) }, { goal: "minimize" }),
    ).toThrow(expect.objectContaining({ path: "baseline[0].iterations[1]" }));
  });
});

describe("noise", () => {
  test("has the chi-square interval", () => {
    // sd(v); sqrt(5 * var(v) / qchisq(c(.975, .025), 5))
    expect(noiseOfRuns([12.1, 11.7, 12.9, 12.4, 11.2, 12.0])).toEqual({
      sd: expect.closeTo(0.582237065120386, 12),
      low: expect.closeTo(0.363437035259929, 12),
      high: expect.closeTo(1.428002770565564, 12),
      degreesOfFreedom: 5,
    });
    // sqrt(sum(d^2) / 8); sqrt(sum(d^2) / qchisq(c(.975, .025), 8))
    expect(noiseOfPairs(D, { aa: true })).toEqual({
      sd: expect.closeTo(0.157321327225523, 12),
      low: expect.closeTo(0.106263797135813, 12),
      high: expect.closeTo(0.301391617964567, 12),
      degreesOfFreedom: 8,
    });
    expect(() => noiseOfRuns([1])).toThrow(expect.objectContaining({ path: "values.length", received: "1" }));
  });

  test("the limit of many pairs has the published boundaries", () => {
    const times = [0.2, 0.4, 0.6, 0.8, 1];
    const published = {
      "obrien-fleming": [4.877, 3.357, 2.68, 2.29, 2.031],
      pocock: [2.438, 2.427, 2.41, 2.397, 2.386],
    } as const;
    for (const spending of ["obrien-fleming", "pocock"] as const) {
      const limit = normalLimit({ alpha: 0.025, times, spending });
      limit.boundaries.forEach((boundary, k) => {
        expect(Math.abs(boundary - published[spending][k]!), `${spending} ${k}`).toBeLessThan(6e-4);
      });
      expect(limit.power(0)).toBeCloseTo(0.025, 6);
      expect(limit.power(limit.driftFor(0.9))).toBeCloseTo(0.9, 7);
      expect(limit.meanTime(0)).toBeGreaterThan(0.98);
      expect(limit.meanTime(limit.driftFor(0.9))).toBeLessThan(0.8);
    }
    const fixed = normalLimit({ alpha: 0.025, times: [1], spending: "pocock" });
    expect(fixed.driftFor(0.9)).toBeCloseTo(normalQuantile(0.975) + normalQuantile(0.9), 6);
  });

  test("the smallest gain is found as often as it says", () => {
    for (const [alpha, side, maxPairs] of [
      [0.001, "greater", 20],
      [0.05, "two", 12],
    ] as const) {
      const gain = smallestGain({ alpha, side, sd: 2, power: 0.8, maxPairs });
      let found = 0;
      const trials = 400;
      for (let seed = 0; seed < trials; ++seed) {
        const random = randomOf(seed, maxPairs);
        const differences = Array.from({ length: maxPairs }, () => gain + 2 * random.normal());
        if (decide(differences, { alpha, side, maxPairs, futility: null }).crossed === "greater") ++found;
      }
      expectShare(found, trials, 0.8, 0.04, `alpha ${alpha}`);
    }
  });

  test("the pairs that a gain needs", () => {
    const question = { alpha: 0.001, side: "greater", sd: 1 } as const;
    const pairs = pairsNeeded(1, question)!;
    expect(smallestGain({ ...question, maxPairs: pairs })).toBeLessThanOrEqual(1);
    expect(smallestGain({ ...question, maxPairs: pairs - 1 })).toBeGreaterThan(1);
    expect(pairsNeeded(100, question)).toBeGreaterThanOrEqual(10);
    expect(smallestGain({ ...question, maxPairs: 9 })).toBe(Number.POSITIVE_INFINITY);
    expect(pairsNeeded(1e-3, question)).toBe(null);
  });
});

describe("bootstrap", () => {
  const x = [3.1, 0.2, 5.5, 2.2, 9.7, 4.1, 1.0, 7.3, 2.9, 3.3, 6.0];

  test("IQM as scipy's trim_mean(x, 0.25), aggregates as rliable's", () => {
    expect(iqm(x)).toBeCloseTo(3.871428571428571, 12);
    expect(iqm([1])).toBe(1);
    const scores = [
      [1, 2, 3, 4],
      [10, 20, 30, 40],
    ];
    expect(aggregates.iqm(scores)).toBe((3 + 4 + 10 + 20) / 4);
    expect(aggregates.mean(scores)).toBe(13.75);
    expect(aggregates.median([...scores, [0, 0]])).toBe(2.5);
  });

  test("intervals as scipy's bootstrap gives them", () => {
    // scipy.stats.bootstrap((x,), np.mean, n_resamples=200000): 2.6091 5.7636, and with method="bca" 2.7182 5.9091
    const options = { resamples: 50_000, seed: 3 };
    const percentile = stratifiedBootstrap([x], aggregates.mean, options);
    expect(percentile.low).toBeCloseTo(2.609, 1);
    expect(percentile.high).toBeCloseTo(5.764, 1);
    const bca = stratifiedBootstrap([x], aggregates.mean, { ...options, method: "bca" });
    expect(bca.low).toBeCloseTo(2.72, 1);
    expect(bca.high).toBeCloseTo(5.91, 1);
    expect(stratifiedBootstrap([x], aggregates.mean, options)).toEqual(percentile);
    expect(stratifiedBootstrap([x], aggregates.mean, { ...options, seed: 4 })).not.toEqual(percentile);
  });

  test("draws within tasks only", () => {
    // Runs of a task are equal here, so nothing can vary unless tasks are mixed.
    const { low, high } = stratifiedBootstrap([
      [1, 1, 1],
      [5, 5, 5],
    ]);
    expect([low, high]).toEqual([3, 3]);
    expect(() => stratifiedBootstrap([[1]])).toThrow(expect.objectContaining({ path: "scores[0].length" }));
    expect(() => stratifiedBootstrap([x], aggregates.mean, { resamples: 10 })).toThrow(
      expect.objectContaining({ path: "resamples", received: "10" }),
    );
  });

  test("probability of improvement", () => {
    const proposal = [4.0, 3.8, 3.5, 4.4, 3.9];
    const baseline = [3.1, 2.9, 3.6, 3.3];
    const one = probabilityOfImprovement([{ proposal, baseline }]);
    expect(one.estimate).toBeCloseTo(0.95, 12); // wilcox.test(b, a)$statistic / 20
    // Newcombe's equation holds at the ends.
    for (const p of [one.low, one.high]) {
      const variance = (p * (1 - p) * (1 + 3.5 * ((1 - p) / (2 - p) + p / (1 + p)))) / 20;
      expect(Math.abs(0.95 - p) / Math.sqrt(variance)).toBeCloseTo(1.959964, 4);
    }
    expect(one.low).toBeLessThan(0.95);
    const all = probabilityOfImprovement([{ proposal: [5, 6, 7], baseline: [1, 2, 3] }]);
    expect(all).toMatchObject({ estimate: 1, high: 1 });
    expect(all.low).toBeLessThan(0.75); // three wins of three are no certainty
    expect(probabilityOfImprovement([{ proposal: [1, 1], baseline: [1, 1] }]).estimate).toBe(0.5);
    const two = probabilityOfImprovement([
      { proposal, baseline },
      { proposal: baseline, baseline: proposal },
    ]);
    expect(two.estimate).toBeCloseTo(0.5, 12);
    expect(two.low).toBeLessThan(0.5);
    expect(two.high).toBeGreaterThan(0.5);
  });
});

describe("equivalence", () => {
  test("TOST as two t tests of R", () => {
    // t.test(d, mu = -.3, alternative = "greater"), t.test(d, mu = .3, alternative = "less"), conf.level = .9
    const seen = tost(D, 0.3);
    expect(seen.p).toBeCloseTo(0.001721533688989767, 12);
    expect([seen.low, seen.high]).toEqual([
      expect.closeTo(-0.034258827984814104, 12),
      expect.closeTo(0.16925882798481415, 12),
    ]);
    expect(seen.equivalent).toBe(true);
    expect(tost(D, 0.15).equivalent).toBe(false);
    expect(tost([0, 0, 0], 0.1)).toMatchObject({ p: 0, equivalent: true });
    expect(() => tost(D, 0)).toThrow(expect.objectContaining({ path: "delta", received: "0" }));
  });

  test("is the repeated interval inside the margin, near TOST at one look", () => {
    let said = 0;
    for (let seed = 0; seed < 40; ++seed) {
      const random = randomOf(seed, 5);
      const values = Array.from({ length: 14 }, () => 0.1 * random.normal() + 0.02 * (seed % 4));
      const design: SequentialDesign = { alpha: 0.1, side: "two", maxPairs: 14, looks: [8, 14] };
      const { low, high } = repeatedInterval(values, design);
      for (const delta of [0.06, 0.1, 0.15]) {
        const inside = low > -delta && high < delta;
        expect(equivalentWithin(values, design, delta), `seed ${seed}, ${delta}`).toBe(inside);
        if (inside) ++said;
      }
      const once: SequentialDesign = { ...design, looks: [14] };
      const classic = tost(values, 0.1);
      const interval = repeatedInterval(values, once);
      expect(Math.abs(interval.high - classic.high)).toBeLessThan(0.03);
    }
    expect(said).toBeGreaterThan(20);
    expect(said).toBeLessThan(110);
  });

  test("is rarely said of a gain at the margin", () => {
    let wrong = 0;
    const trials = 400;
    for (let seed = 0; seed < trials; ++seed) {
      const random = randomOf(seed, 6);
      const values = Array.from({ length: 12 }, () => 0.5 + 0.3 * random.normal());
      const design: SequentialDesign = { alpha: 0.2, side: "two", maxPairs: 12 };
      const looks = [6, 7, 8, 9, 10, 11, 12];
      if (looks.some((n) => equivalentWithin(values.slice(0, n), design, 0.5))) ++wrong;
    }
    expect(wrong / trials).toBeLessThan(0.1 + 4 * Math.sqrt((0.1 * 0.9) / trials));
    expect(wrong).toBeGreaterThan(0);
  });
});

describe("shrinkage", () => {
  test("the conditional likelihood as R's optimize and integrate have it", () => {
    // z = 3.5, c = 3: f = dnorm(z - m) / (pnorm(m - c) + pnorm(-m - c)); one-sided on m >= 0 without the second term
    const two = conditionalEstimate(3.5, 1, 3, "two");
    expect(two.mode).toBeCloseTo(1.86900726871, 6);
    expect(two.mean).toBeCloseTo(2.19210024546, 6);
    expect(two.compromise).toBeCloseTo((1.86900726871 + 2.19210024546) / 2, 6);
    const one = conditionalEstimate(35, 10, 30, "greater");
    expect(one.mode).toBeCloseTo(18.6884959201, 5);
    expect(one.mean).toBeCloseTo(21.9615958113, 5);
    const below = conditionalEstimate(-3.5, 1, 3, "two");
    expect(below.mode).toBeCloseTo(-two.mode, 8);
    // Far beyond the threshold nothing is taken off, at it almost all.
    expect(conditionalEstimate(12, 1, 3).compromise).toBeCloseTo(12, 3);
    expect(conditionalEstimate(3.001, 1, 3).mode).toBeLessThan(0.01);
    expect(() => conditionalEstimate(2, 1, 3)).toThrow(expect.objectContaining({ path: "estimate", received: "2" }));
    expect(() => conditionalEstimate(-2, 1, 3, "two")).toThrow(expect.objectContaining({ path: "estimate" }));
  });

  test("takes most of the winner's curse off", () => {
    let curse = 0;
    let left = 0;
    let kept = 0;
    const random = randomOf(12);
    for (let i = 0; i < 20_000; ++i) {
      const estimate = 2.5 + random.normal();
      if (estimate < 3.09) continue;
      ++kept;
      curse += estimate - 2.5;
      left += conditionalEstimateFast(estimate) - 2.5;
    }
    expect(curse / kept).toBeGreaterThan(1);
    expect(Math.abs(left / kept)).toBeLessThan(0.35 * (curse / kept));
  });

  /** Interpolated from a table: thousands of estimates. */
  const table = Array.from({ length: 60 }, (_, i) => conditionalEstimate(3.09 + i * 0.1, 1, 3.09).compromise);
  function conditionalEstimateFast(estimate: number): number {
    const at = Math.min(58.999, (estimate - 3.09) / 0.1);
    const i = Math.floor(at);
    return table[i]! + (at - i) * (table[i + 1]! - table[i]!);
  }

  test("DerSimonian and Laird on the BCG vaccine trials, as metafor's dat.bcg", () => {
    const y = [
      -0.889311, -1.585389, -1.348073, -1.441551, -0.217547, -0.786116, -1.620898, 0.011952, -0.469418, -1.371345,
      -0.339359, 0.445913, -0.017314,
    ];
    const v = [
      0.325585, 0.194581, 0.415368, 0.02001, 0.05121, 0.006906, 0.223017, 0.003962, 0.056434, 0.073025, 0.012412,
      0.532506, 0.071405,
    ];
    const seen = shrinkTogether(y, v.map(Math.sqrt));
    expect(seen.between).toBeCloseTo(0.3088, 4);
    expect(seen.mean).toBeCloseTo(-0.7141, 4);
    expect(seen.standardError).toBeCloseTo(0.1787, 4);
    seen.estimates.forEach((estimate, i) => {
      const kept = seen.between / (seen.between + v[i]!);
      expect((estimate - seen.mean) / (y[i]! - seen.mean)).toBeCloseTo(kept, 10);
    });
    // What noise explains goes to the mean.
    const noise = shrinkTogether([1, 1.1, 0.9], [1, 1, 1]);
    expect(noise).toMatchObject({ between: 0, estimates: [1, 1, 1].map((one) => expect.closeTo(one, 12)) });
    expect(() => shrinkTogether([1, 2], [1])).toThrow(expect.objectContaining({ path: "standardErrors.length" }));
    expect(() => shrinkTogether([1, 2], [1, 0])).toThrow(expect.objectContaining({ path: "standardErrors[1]" }));
  });

  test("James and Stein on Efron and Morris's eighteen batters: 0.294 for Clemente", () => {
    const hits = [18, 17, 16, 15, 14, 14, 13, 12, 11, 11, 10, 10, 10, 10, 10, 9, 8, 7].map((count) => count / 45);
    const mean = hits.reduce((a, b) => a + b) / 18;
    const shrunk = jamesStein(hits, Math.sqrt((mean * (1 - mean)) / 45));
    expect(shrunk[0]).toBeCloseTo(0.294, 3);
    expect(shrunk.at(-1)).toBeCloseTo(0.242, 3);
    expect(jamesStein([1, 2, 3, 4], 100)).toEqual([2.5, 2.5, 2.5, 2.5]);
  });
});
