// The paired sequential test: exact by full enumeration, right in its limits, and the same however often it is replayed.

import { describe, expect, test } from "vitest";
import {
  alphaOf,
  decide,
  firstAbleLook,
  leastPairs,
  normalQuantile,
  pairedSequentialTest,
  type Random,
  randomOf,
  repeatedInterval,
  rulesOut,
  type SequentialDesign,
  type Spending,
  sequentialP,
  smallestGain,
  spent,
} from "../../lib/lab/stats/index.js";
import { signVectors } from "../../lib/lab/stats/sign-vectors.js";

const SPENDINGS: readonly Spending[] = ["obrien-fleming", "pocock", { power: 1 }, { power: 3 }];

/** Sizes with ties and zeros among them, as metrics that count give. */
const coarse = (random: Random, n: number) => Array.from({ length: n }, () => random.below(4));
const fine = (random: Random, n: number) => Array.from({ length: n }, () => Math.abs(random.normal()));

/** The sizes with the signs of the bits of `mask`. */
const signed = (sizes: readonly number[], mask: number) => sizes.map((size, i) => ((mask >> i) & 1 ? -size : size));

/**
 * What the test is by definition, from all 2^n vectors and with none of its data structures: the share of sign vectors
 * that has crossed upwards by each look.
 */
function crossedByDefinition(sizes: readonly number[], looks: readonly number[], levels: readonly number[]): number[] {
  const all = 2 ** sizes.length;
  const gone = new Uint8Array(all);
  let taken = 0;
  return looks.map((pairs, k) => {
    const sums = new Map<number, number[]>();
    for (let mask = 0; mask < all; ++mask) {
      if (gone[mask]) continue;
      const sum = signed(sizes.slice(0, pairs), mask).reduce((a, b) => a + b, 0);
      const key = Math.round(sum * 1e9);
      sums.set(key, [...(sums.get(key) ?? []), mask]);
    }
    for (const key of [...sums.keys()].sort((a, b) => b - a)) {
      const group = sums.get(key)!;
      if (taken + group.length > levels[k]! * all) break;
      taken += group.length;
      for (const mask of group) gone[mask] = 1;
    }
    return taken / all;
  });
}

describe("false crossings", () => {
  test.each(SPENDINGS)("over all sign vectors are what is spent, and no more: %o", (spending) => {
    const random = randomOf(31);
    for (const [name, sizes] of [
      ["fine", fine(random, 10)],
      ["coarse", coarse(random, 10)],
      ["equal", new Array<number>(10).fill(1)],
      ["zero", new Array<number>(10).fill(0)],
      ["one outlier", [...fine(random, 9), 50]],
    ] as const) {
      for (const looks of [[4, 5, 6, 7, 8, 9, 10], [6, 10], [10]]) {
        for (const side of ["greater", "two"] as const) {
          const alpha = 0.1;
          const level = side === "two" ? alpha / 2 : alpha;
          const design: SequentialDesign = { alpha, side, looks, maxPairs: 10, spending };
          const upwards = looks.map(() => 0);
          const either = looks.map(() => 0);
          for (let mask = 0; mask < 1024; ++mask) {
            const decision = decide(signed(sizes, mask), design);
            const at = decision.looks.length - 1;
            if (decision.crossed) either[at]! += 1 / 1024;
            if (decision.crossed === "greater") upwards[at]! += 1 / 1024;
          }
          const levels = looks.map((look) => spent(spending, level, look / 10));
          let soFar = 0;
          let soFarEither = 0;
          const expected = crossedByDefinition(sizes, looks, levels);
          looks.forEach((_, k) => {
            soFar += upwards[k]!;
            soFarEither += either[k]!;
            const which = `${name}, look ${looks[k]}, ${side}, seed 31`;
            expect(soFarEither, which).toBeLessThanOrEqual(levels[k]! * (side === "two" ? 2 : 1));
            // A vector that crossed below first is not counted above: the test has ended.
            if (side === "greater") expect(soFar, which).toBeCloseTo(expected[k]!, 12);
            else expect(soFarEither, which).toBeLessThanOrEqual(2 * expected[k]! + 1e-12);
          });
        }
      }
    }
  });

  test("one look has the p-value of Fisher's permutation of Darwin's maize: 863 and 1726 of 32768", () => {
    const maize = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]; // The Design of Experiments, 1935
    const design = { maxPairs: 15, looks: [15] };
    const one = sequentialP(maize, { ...design, alpha: 0.05, side: "greater" });
    expect(one / (863 / 32768)).toBeCloseTo(1, 2);
    expect(one).toBeGreaterThanOrEqual(863 / 32768);
    expect(sequentialP(maize, { ...design, alpha: 0.05, side: "two" }) / (1726 / 32768)).toBeCloseTo(1, 2);
    expect(decide(maize, { ...design, alpha: 863 / 32768, side: "greater" }).crossed).toBe("greater");
    expect(decide(maize, { ...design, alpha: 862.9 / 32768, side: "greater" }).crossed).toBe(null);
    expect(decide(maize, { ...design, alpha: 0.05, side: "two" }).crossed).toBe(null);
  });

  test("a run of equal signs crosses as soon as 2^-n is spent", () => {
    const alpha = 0.001;
    const design: SequentialDesign = { alpha, side: "greater", maxPairs: 20, spending: { power: 1 } };
    const ones = fine(randomOf(5), 20);
    const decision = decide(ones, design);
    const first = Array.from({ length: 20 }, (_, i) => i + 1).find((n) => 2 ** -n <= (alpha * n) / 20);
    expect(decision).toMatchObject({ crossed: "greater", finished: true, pairs: first, nextLook: null });
    expect(decision.looks.slice(0, -1).every(({ boundary }) => boundary === Number.POSITIVE_INFINITY)).toBe(true);
    expect(decision.looks.at(-1)!.boundary).toBeCloseTo(decision.estimate, 12);
    expect(
      decide(
        ones.map((value) => -value),
        design,
      ).crossed,
    ).toBe(null);
  });

  test("knows from which look on it can cross, and whether ever", () => {
    const designs: [alpha: number, side: "two" | "greater", min: number, maxPairs: number, first: number | null][] = [
      [0.025, "two", 3, 8, 7],
      [0.025, "two", 3, 16, 9],
      [0.001, "two", 3, 16, 12],
      [0.025, "two", 3, 6, null],
      [0.025, "two", 12, 16, 12],
      [0.05 / 200, "two", 3, 8, null],
      [0.05 / 200, "greater", 3, 100, 25],
      // Below what a sample of sign vectors can tell, though they are more than needed.
      [0.05 / 2000, "two", 3, 34, 19],
      [0.05 / 2000, "two", 3, 40, null],
    ];
    for (const [alpha, side, min, maxPairs, first] of designs) {
      const looks = Array.from({ length: maxPairs - min + 1 }, (_, i) => min + i);
      const design: SequentialDesign = { alpha, side, maxPairs, looks, futility: null };
      const { crossed, pairs } = decide(new Array(maxPairs).fill(1), design);
      expect([alpha, maxPairs, firstAbleLook(design)]).toEqual([alpha, maxPairs, first]);
      expect([alpha, maxPairs, crossed && pairs]).toEqual([alpha, maxPairs, first]);
      expect(smallestGain({ alpha, side, sd: 1, maxPairs, looks }) < Number.POSITIVE_INFINITY).toBe(first !== null);
    }
  });
});

describe("boundaries", () => {
  test("of many pairs are those that Lan and DeMets publish", () => {
    // Two-sided 0.05, five even looks, O'Brien-Fleming type: 4.877 3.357 2.680 2.290 2.031 (also in R's ldbounds).
    const random = randomOf(11);
    const differences = Array.from({ length: 500 }, () => random.normal());
    const looks = [100, 200, 300, 400, 500];
    const design: SequentialDesign = { alpha: 0.05, side: "two", looks, maxPairs: 500, spending: "obrien-fleming" };
    const z = decide(differences, design).looks.map(({ pairs, boundary }) => {
      const squares = differences.slice(0, pairs).reduce((sum, value) => sum + value * value, 0);
      return (boundary * pairs) / Math.sqrt(squares);
    });
    expect(z).toHaveLength(5);
    expect(z[0]).toBe(Number.POSITIVE_INFINITY); // 5e-7 is less than one vector of the sample
    [3.357, 2.68, 2.29, 2.031].forEach((published, k) => {
      // Standard error of a sampled quantile, from the number of sampled vectors beyond it; five of them.
      const beyond = spent("obrien-fleming", 0.025, (k + 2) / 5) * 2 ** 16;
      expect(Math.abs(z[k + 1]! - published), `look ${k + 2}, seed 11`).toBeLessThan(
        5 / Math.sqrt(beyond) / published + 0.02,
      );
    });
  });

  test("spending functions have the published values", () => {
    // Pr(crossing first at look 1) of 4.877 and of Pocock's 2.438, two-sided 0.05, t = 0.2.
    expect(normalQuantile(1 - spent("obrien-fleming", 0.025, 0.2))).toBeCloseTo(4.877, 3);
    expect(normalQuantile(1 - spent("pocock", 0.025, 0.2))).toBeCloseTo(2.438, 3);
    expect(spent({ power: 3 }, 0.025, 0.5)).toBeCloseTo(0.025 / 8, 12);
    for (const spending of SPENDINGS) {
      expect([spent(spending, 0.01, 0), spent(spending, 0.01, 1)]).toEqual([0, 0.01]);
      for (let t = 0.05; t <= 1; t += 0.05) {
        expect(spent(spending, 0.01, t)).toBeGreaterThanOrEqual(spent(spending, 0.01, t - 0.05));
      }
    }
  });

  test("sampled and listed vectors agree, sample counting the observed one", () => {
    const random = randomOf(3);
    const sizes = fine(random, 20);
    const listed = signVectors(20, 0.05, 0);
    const sampled = signVectors(1000, 0.05, 0);
    sizes.forEach((size, i) => {
      listed.push(size, false);
      sampled.push(size, false);
      if (i === 11) expect(sampled.take(0.01) / listed.take(0.01)).toBeCloseTo(1, 1);
    });
    expect(sampled.take(0.05) / listed.take(0.05)).toBeCloseTo(1, 1);
    expect(sampled.take(0.05)).toBe(-1); // all of it is taken
  });

  test("of a sample that is the whole of few pairs let no more cross than is spent", () => {
    // Every vector of 7 pairs is in the sample about 512 times; whether a vector crosses may depend on the draw.
    const sizes = fine(randomOf(8), 7);
    let crossed = 0;
    const seeds = 2;
    for (let seed = 0; seed < seeds; ++seed) {
      const design: SequentialDesign = { alpha: 0.05, side: "greater", looks: [5, 7], maxPairs: 40, seed };
      for (let mask = 0; mask < 128; ++mask) {
        if (decide(signed(sizes, mask), { ...design, spending: { power: 0.1 } }).crossed) ++crossed;
      }
    }
    expect(crossed / (128 * seeds)).toBeLessThanOrEqual(spent({ power: 0.1 }, 0.05, 7 / 40));
    expect(crossed).toBeGreaterThan(0);
  });
});

describe("a decision", () => {
  const random = randomOf(17);
  const differences = Array.from({ length: 16 }, () => random.normal() + 0.9);
  const design: SequentialDesign = { alpha: 0.01, side: "two", looks: [6, 9, 12, 16], maxPairs: 16 };

  test("is the same pair by pair and at once", () => {
    const whole = decide(differences, design);
    const running = pairedSequentialTest(design);
    for (let n = 0; n <= 16; ++n) {
      const decision = running.look(differences.slice(0, n));
      expect(decision).toEqual(decide(differences.slice(0, n), design));
      expect(decision.looks).toEqual(whole.looks.slice(0, decision.looks.length));
    }
    expect(whole.crossed).toBe("greater");
    // More pairs than the crossing used change nothing.
    expect(decide([...differences, -100, -100], design)).toEqual(whole);
  });

  test("has p at most alpha exactly if it crossed, and 0 outside the interval exactly then", () => {
    let crossings = 0;
    for (let seed = 0; seed < 60; ++seed) {
      const noise = randomOf(seed, 2);
      const values = Array.from({ length: 12 }, () => noise.normal() + (seed % 3));
      for (const side of ["two", "greater"] as const) {
        const plan: SequentialDesign = { alpha: 0.05, side, looks: [5, 8, 12], maxPairs: 12 };
        const { crossed } = decide(values, plan);
        const { low, high } = repeatedInterval(values, plan);
        const mean = values.reduce((a, b) => a + b) / 12;
        expect(sequentialP(values, plan) <= 0.05, `seed ${seed}`).toBe(crossed !== null);
        expect(low >= 0 || high <= 0, `seed ${seed}`).toBe(crossed !== null);
        expect(low <= mean && mean <= high, `seed ${seed}`).toBe(true);
        expect(Number.isFinite(low)).toBe(true);
        expect(Number.isFinite(high)).toBe(side === "two");
        // The limits are where shifts begin to be ruled out, however far one looks.
        for (const step of [1e-4, 0.1, 0.5, 3]) {
          expect(rulesOut(values, plan, low - step, "greater"), `seed ${seed}, ${step}`).toBe(true);
          if (step < (mean - low) / 2) expect(rulesOut(values, plan, low + step, "greater")).toBe(false);
          if (side === "two") expect(rulesOut(values, plan, high + step, "less")).toBe(true);
        }
        if (crossed) ++crossings;
      }
    }
    expect(crossings).toBeGreaterThan(30);
    expect(crossings).toBeLessThan(110);
  });

  test("says nothing before the first look", () => {
    expect(decide([], design)).toMatchObject({ crossed: null, finished: false, pairs: 0, nextLook: 6, looks: [] });
    expect(repeatedInterval([1, 2, 3], design)).toEqual({
      low: Number.NEGATIVE_INFINITY,
      high: Number.POSITIVE_INFINITY,
    });
    expect(sequentialP([1, 2, 3], design)).toBe(1);
  });

  test("one look has the interval of the means of all subsets", () => {
    // A shift is ruled out exactly if no more than alpha 2^n subsets have a mean at or below it (the empty one counts).
    const values = differences.slice(0, 10);
    const means: number[] = [];
    for (let mask = 1; mask < 1024; ++mask) {
      const subset = values.filter((_, i) => (mask >> i) & 1);
      means.push(subset.reduce((a, b) => a + b) / subset.length);
    }
    means.sort((a, b) => a - b);
    const interval = repeatedInterval(values, { alpha: 0.04, side: "two", looks: [10], maxPairs: 10 });
    expect(interval.low).toBeCloseTo(means[Math.floor(0.02 * 1024) - 1]!, 5);
    expect(interval.high).toBeCloseTo(means.at(-Math.floor(0.02 * 1024))!, 5);
  });

  test("intervals hold at all looks at once", () => {
    const trials = 400;
    let missed = 0;
    const plan: SequentialDesign = { alpha: 0.2, side: "two", looks: [4, 6, 8, 10], maxPairs: 10, spending: "pocock" };
    for (let seed = 0; seed < trials; ++seed) {
      const noise = randomOf(seed, 9);
      const values = Array.from({ length: 10 }, () => 3 + noise.normal() ** 3);
      const outside = [4, 6, 8, 10].some((n) => {
        const { low, high } = repeatedInterval(values.slice(0, n), plan);
        return low > 3 || high < 3;
      });
      if (outside) ++missed;
    }
    // Four standard errors either way: the level is used, and not exceeded.
    expect(missed / trials).toBeLessThan(0.2 + 4 * Math.sqrt((0.2 * 0.8) / trials));
    expect(missed / trials).toBeGreaterThan(0.1);
  });

  test("is futile when the trend is against it, and never what futility changes", () => {
    const futility = { power: 0.2, level: 0.8 };
    const plan: SequentialDesign = { alpha: 0.01, side: "greater", maxPairs: 16, looks: [8, 12, 16] };
    const against = differences.map((value) => 1 - value);
    const stopped = decide(against.slice(0, 8), { ...plan, futility });
    expect(stopped).toMatchObject({ futile: true, crossed: null, finished: false, nextLook: 12 });
    expect(decide(differences.slice(0, 8), { ...plan, futility }).futile).toBe(false);
    const strip = (values: readonly number[], rule: typeof futility | null) =>
      decide(values, { ...plan, futility: rule }).looks.map(({ boundary, crossed }) => [boundary, crossed]);
    expect(strip(differences, futility)).toEqual(strip(differences, null));
    expect(decide(new Array<number>(8).fill(0), { ...plan, futility }).futile).toBe(true);
    // Where every look is futile, the one that crosses is not.
    const { crossed, looks } = decide(differences, {
      ...plan,
      maxPairs: 17,
      looks: [8, 12, 16, 17],
      futility: { power: 1, level: 0.5 },
    });
    expect(crossed).toBe("greater");
    expect(looks.map((look) => look.futile)).toEqual([...looks.slice(1).map(() => true), false]);
  });

  test("refuses what it cannot use, by name", () => {
    const expectRefused = (change: object, path: string, received: string) =>
      expect(() => decide(differences, { ...design, ...change })).toThrow(
        expect.objectContaining({ code: "OPTION", path, received, expected: expect.any(String) }),
      );
    expectRefused({ alpha: 0.5 }, "alpha", "0.5");
    expectRefused({ side: "less" }, "side", '"less"');
    expectRefused({ looks: [4, 4] }, "looks[1]", "4");
    expectRefused({ looks: [4, 17] }, "looks[1]", "17");
    expectRefused({ looks: [] }, "looks.length", "0");
    expectRefused({ maxPairs: 0 }, "maxPairs", "0");
    expectRefused({ spending: "even" }, "spending", '"even"');
    expectRefused({ spending: { power: 0 } }, "spending.power", "0");
    expectRefused({ futility: { power: 2, level: 0.8 } }, "futility.power", "2");
    expectRefused({ seed: -1 }, "seed", "-1");
    expect(() => decide([1, Number.NaN], design)).toThrow(expect.objectContaining({ path: "differences[1]" }));
    const running = pairedSequentialTest(design);
    running.look(differences.slice(0, 6));
    expect(() => running.look([0, ...differences.slice(1)])).toThrow(/differences\[0\] is 0; it must be .* as before/);
  });
});

describe("the alpha of a study", () => {
  test("adds up to no more than the whole", () => {
    const sum = (n: number, family: Parameters<typeof alphaOf>[1]) =>
      Array.from({ length: n }, (_, i) => alphaOf(0.05, family, i + 1)).reduce((a, b) => a + b, 0);
    expect(sum(50, { planned: 50 })).toBeCloseTo(0.05, 12);
    // The rest of the series from 10^5 on is at most 10^5^-0.6 / 0.6 / zeta(1.6) of it.
    const open = sum(100_000, { open: true });
    expect(open).toBeLessThan(0.05);
    expect(open).toBeGreaterThan(0.05 * (1 - 0.001 / 0.6 / 2));
    expect(alphaOf(1 - 1e-9, { open: true, exponent: 2 }, 1)).toBeCloseTo(6 / Math.PI ** 2, 8);
    expect(() => alphaOf(0.05, { planned: 50 }, 51)).toThrow(
      expect.objectContaining({ path: "index", received: "51" }),
    );
  });

  test("needs at least so many pairs", () => {
    expect([leastPairs(0.001, "greater"), leastPairs(0.001, "two"), leastPairs(1 / 32, "greater")]).toEqual([
      10, 11, 5,
    ]);
  });
});
