// The evidence for the lab's verdicts: how often studies of proposals that change nothing keep one, how often real gains
// are found, and the runs that this takes beside a test of fixed size.
//
//   node bench/false-keeps.mjs [--studies 40000] [--trials 2000] [--no-save]
//
// Writes bench/results/lab-false-keeps.json. Noise is normal, or drawn from bench/results/lab-noise.json (the metric of
// A/A runs). Exits with 1 if the upper 95% limit of the lab's false keeps is above alpha.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import * as stats from "../dist/lab/stats/index.js";
import * as simulate from "./false-keeps/simulate.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values: flags } = parseArgs({
  options: {
    studies: { type: "string", default: "40000" },
    trials: { type: "string", default: "2000" },
    "no-save": { type: "boolean", default: false },
  },
});
const studies = Number(flags.studies);
const trials = Number(flags.trials);
const seed = 20;

const family = 0.05;
const proposals = 50;
const alpha = stats.alphaOf(family, { planned: proposals }, 1);
const maxPairs = 20;
const design = { alpha, side: "greater", maxPairs };
const measured = JSON.parse(readFileSync(`${root}bench/results/lab-noise.json`, "utf8"));
const noises = [simulate.gaussian, simulate.resampled(measured.values)];

/** Rules, and what part of the studies each gets: the last ones are far from alpha, and some are slow. */
const rules = [
  ["sequential, with futility (the lab's)", simulate.sequential(stats, design), 1],
  ["sequential, two-sided, with futility", simulate.sequential(stats, { ...design, side: "two" }), 0.1],
  ["sequential, no futility", simulate.sequential(stats, { ...design, futility: null }), 0.05],
  ["keep if one run is better", simulate.naive(1), 0.01],
  ["keep if the mean of 3 runs is better", simulate.naive(3), 0.01],
  ["sign-flip at 0.05, alpha not split, 20 pairs", simulate.fixed(stats, family, maxPairs), 0.0025],
  ["a look after every pair, not corrected", simulate.uncorrected(stats, alpha, 10, maxPairs), 0.01],
];
const percent = (share) => `${(100 * share).toFixed(2)}%`;
const rows = [];
let failed = false;
for (const noise of noises) {
  for (const [name, rule, part] of rules) {
    const row = simulate.falseKeeps(stats, { rule, noise, studies: Math.ceil(studies * part), proposals, seed });
    rows.push({ rule: name, noise: noise.name, ...row });
    console.log(
      `${noise.name}, ${name}: ${row.any} of ${row.studies} studies keep one falsely, ${percent(row.rate)} ` +
        `(95%: ${percent(row.low)} to ${percent(row.high)}), ${row.meanPairs.toFixed(2)} pairs a proposal`,
    );
    if (part === 1 && row.high > family) failed = true;
  }
}

const gains = Array.from({ length: 13 }, (_, i) => i / 4);
const curve = (rule, noise) => gains.map((gain) => simulate.power(stats, { rule, noise, gain, trials, seed }));
const curves = [];
const designs = [
  ["the lab's default", {}],
  ["no futility", { futility: null }],
  ["futility by the 80% limit", { futility: { power: 0.1, level: 0.8 } }],
  ["alpha t, no futility", { spending: { power: 1 }, futility: null }],
  ["O'Brien-Fleming type, no futility", { spending: "obrien-fleming", futility: null }],
  ["Pocock type, no futility", { spending: "pocock", futility: null }],
];
for (const noise of noises) {
  for (const [name, change] of noise === simulate.gaussian ? designs : designs.slice(0, 2)) {
    const points = curve(simulate.sequential(stats, { ...design, ...change }), noise);
    // The fixed test of the same power, where that is between a half and nearly all.
    const near = points.reduce((a, b) => (Math.abs(b.power - 0.85) < Math.abs(a.power - 0.85) ? b : a));
    let pairs = stats.leastPairs(alpha, "greater");
    const at = (n) =>
      simulate.power(stats, { rule: simulate.fixed(stats, alpha, n), noise, gain: near.gain, trials, seed }).power;
    while (pairs < 2 * maxPairs && at(pairs) < near.power) ++pairs;
    curves.push({
      design: name,
      noise: noise.name,
      fixedPairs: pairs,
      matchedAt: near.gain,
      points: points.map((point) => ({ ...point, saved: 1 - point.meanPairs / pairs })),
    });
    console.log(`\n${noise.name}, ${name}; the same power at a gain of ${near.gain} sd takes ${pairs} fixed pairs`);
    console.table(
      points.map(({ gain, power, meanPairs }) => ({
        "gain (sd of a run)": gain,
        power: power.toFixed(3),
        "mean pairs": meanPairs.toFixed(2),
        saved: percent(1 - meanPairs / pairs),
      })),
    );
  }
}

const sd = Math.SQRT2;
const detectable = [12, 16, 20, 24, 30].map((pairs) => ({
  maxPairs: pairs,
  smallestGain: stats.smallestGain({ alpha, side: "greater", maxPairs: pairs, sd, power: 0.8 }),
}));
console.log("smallest gains found with power 0.8, in sd of a run:");
console.table(detectable);

if (!flags["no-save"]) {
  const result = {
    command: `node bench/false-keeps.mjs --studies ${studies} --trials ${trials}`,
    seed,
    alpha: family,
    proposals,
    maxPairs,
    spending: stats.DEFAULT_SPENDING,
    futility: stats.DEFAULT_FUTILITY,
    realNoise: { metric: measured.metric, runs: measured.values.length },
    falseKeeps: rows,
    power: curves,
    smallestGain: detectable,
  };
  writeFileSync(`${root}bench/results/lab-false-keeps.json`, `${JSON.stringify(result, null, 1)}\n`);
}
process.exitCode = failed ? 1 : 0;
