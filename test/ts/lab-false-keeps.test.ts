// False keeps over studies of proposals that change nothing: within alpha for the lab's rule, and visibly not for rules
// that forget to split alpha or to correct for looking often.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import * as simulate from "../../bench/false-keeps/simulate.mjs";
import * as stats from "../../lib/lab/stats/index.js";

const seed = 77;
const proposals = 50;
const family = 0.05;
const alpha = stats.alphaOf(family, { planned: proposals }, 1);
const design: stats.SequentialDesign = { alpha, side: "greater", maxPairs: 16 };
const measured = JSON.parse(readFileSync(new URL("../../bench/results/lab-noise.json", import.meta.url), "utf8")) as {
  values: number[];
};

/** Studies with a false keep, and whether so many of them say that the true rate is above alpha (99.9%). */
function judged(rule: unknown, noise: unknown, studies: number, size = proposals): { any: number; above: boolean } {
  const { any } = simulate.falseKeeps(stats, { rule, noise, studies, proposals: size, seed });
  return { any, above: stats.clopperPearson(any, studies, 0.998).low > family };
}

test.each([simulate.gaussian, simulate.resampled(measured.values)])(
  "the lab's rule holds its level: $name",
  (noise) => {
    expect(measured.values.length).toBeGreaterThanOrEqual(64);
    const lab = judged(simulate.sequential(stats, design), noise, 300);
    expect(lab, `seed ${seed}`).toMatchObject({ above: false });
    expect(lab.any, "no rule that never keeps").toBeGreaterThan(0);
  },
);

test("rules that do not are seen", () => {
  const { gaussian } = simulate;
  // Alpha not split over the proposals.
  expect(judged(simulate.sequential(stats, { ...design, alpha: family }), gaussian, 20).above).toBe(true);
  // Each look as if it were the only one; without futility, so that all of them count, and one proposal a study.
  const one: stats.SequentialDesign = { ...design, alpha: family, futility: null };
  expect(judged(simulate.uncorrected(stats, family, 5, 16), gaussian, 500, 1).above).toBe(true);
  expect(judged(simulate.sequential(stats, one), gaussian, 500, 1).above).toBe(false);
  expect(judged(simulate.naive(1), gaussian, 20)).toEqual({ any: 20, above: true });
});

test("real gains are found with fewer pairs than a fixed test takes", () => {
  const noise = simulate.gaussian;
  const rule = simulate.sequential(stats, { ...design, maxPairs: 20 });
  const large = simulate.power(stats, { rule, noise, gain: 3, trials: 200, seed });
  expect(large.power).toBeGreaterThan(0.97);
  expect(large.meanPairs).toBeLessThan(14);
  const none = simulate.power(stats, { rule, noise, gain: 0, trials: 500, seed });
  expect(none.meanPairs).toBeLessThan(7);
});
