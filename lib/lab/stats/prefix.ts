import { checkNumber, checkWord, refuse } from "./check.js";
import { studentQuantile } from "./distributions.js";
import { meanOf, varianceOf } from "./moments.js";
import { randomOf } from "./random.js";
import { checkSeries, type Series, seriesMean } from "./series.js";

export interface PrefixOptions {
  readonly goal: "minimize" | "maximize";
  /** Two-sided error probability, between 0 and 1; default 0.05. */
  readonly alpha?: number;
  /** Of the sampled permutations, where there are too many to list; default 0. */
  readonly seed?: number;
}

/** A comparison of runs that were stopped at different iterations. Gains are positive when the proposal is better. */
export interface PrefixComparison {
  /** The iterations that every run has. */
  readonly iterations: readonly number[];
  /** Mean over the common iterations and the runs of each side. */
  readonly baseline: number;
  readonly proposal: number;
  /** In the metric's unit, positive when better; NaN without a common iteration. */
  readonly gain: number;
  /** Of the gain. Over runs where both sides have several; else over the iterations of the one pair of runs. */
  readonly low: number;
  readonly high: number;
  /** What the interval is about: other seeds, or these two runs only; null if there is none. */
  readonly interval: "runs" | "iterations" | null;
  /** Over runs; null where a side has one run only. */
  readonly p: number | null;
  readonly verdict: "better" | "worse" | "undecided";
  readonly reason: string;
}

/**
 * Compares runs over the iterations that all of them have, and nothing after: a run that went on for longer had more
 * chances of a high value.
 *
 * A run is one observation, its mean over the common iterations. With several a side they are compared by the
 * permutation test of the difference in means (Pitman, 1937), exact up to 200,000 splits and sampled above, with Welch's
 * interval beside it. With one run on a side there is no verdict over seeds, however many iterations they have: values
 * of one run share its seed. What is given then is the difference between these very runs, iteration by iteration, with
 * an interval that allows for autocorrelation ({@link seriesMean}).
 *
 * @param runs - `baseline` and `proposal`: at least one run each
 */
export function comparePrefix(
  runs: { readonly baseline: readonly Series[]; readonly proposal: readonly Series[] },
  { goal, alpha = 0.05, seed = 0 }: PrefixOptions,
): PrefixComparison {
  const op = "comparePrefix";
  checkWord(op, "goal", goal, ["minimize", "maximize"]);
  checkNumber(op, "alpha", alpha, { above: 0, below: 1 });
  for (const side of ["baseline", "proposal"] as const) {
    if (!Array.isArray(runs[side]) || runs[side].length === 0)
      refuse(op, side, runs[side], "a list of at least one run");
    runs[side].forEach((series, i) => {
      checkSeries(op, `${side}[${i}]`, series);
    });
  }
  const every = [...runs.baseline, ...runs.proposal].map(
    ({ iterations, values }) => new Map(Array.from(iterations, (iteration, i) => [iteration, values[i]!])),
  );
  const iterations = Array.from(runs.baseline[0]!.iterations).filter((at) => every.every((run) => run.has(at)));
  const none = { iterations, interval: null, p: null, verdict: "undecided" } as const;
  if (iterations.length === 0) {
    const [baseline, proposal, gain, low, high] = new Array<number>(5).fill(Number.NaN) as Five;
    return { ...none, baseline, proposal, gain, low, high, reason: "no iteration that all runs have" };
  }
  const common = every.map((run) => iterations.map((at) => run.get(at)!));
  const means = common.map(meanOf);
  const a = means.slice(0, runs.baseline.length);
  const b = means.slice(runs.baseline.length);
  const sign = goal === "maximize" ? 1 : -1;
  const both = { baseline: meanOf(a), proposal: meanOf(b) };
  const gain = sign * (both.proposal - both.baseline);
  if (a.length === 1 || b.length === 1) {
    const reason = `one run ${a.length > 1 ? "of the proposal" : b.length > 1 ? "of the baseline" : "a side"}: nothing is known of how runs differ by their seeds alone`;
    const unbounded = { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };
    if (a.length > 1 || b.length > 1 || iterations.length < 3) return { ...none, ...both, gain, ...unbounded, reason };
    const { low, high } = seriesMean(
      common[1]!.map((value, i) => sign * (value - common[0]![i]!)),
      1 - alpha,
    );
    return { ...none, ...both, gain, low, high, interval: "iterations", reason };
  }
  const { p, least } = permutationTest(a, b, seed);
  const reach = welchReach(a, b, alpha);
  const verdict = p > alpha ? "undecided" : gain > 0 ? "better" : "worse";
  const reason =
    least > alpha
      ? `${a.length} and ${b.length} runs cannot reach a p of ${alpha}: the least is ${least.toPrecision(2)}`
      : `p ${p.toPrecision(2)} over ${a.length} and ${b.length} runs`;
  return { iterations, ...both, gain, low: gain - reach, high: gain + reach, interval: "runs", p, verdict, reason };
}

type Five = [number, number, number, number, number];

/** Half of Welch's interval of the difference of two means. */
function welchReach(a: readonly number[], b: readonly number[], alpha: number): number {
  const va = varianceOf(a) / a.length;
  const vb = varianceOf(b) / b.length;
  if (va + vb === 0) return 0;
  const df = (va + vb) ** 2 / (va ** 2 / (a.length - 1) + vb ** 2 / (b.length - 1));
  return Math.sqrt(va + vb) * studentQuantile(1 - alpha / 2, df);
}

const LISTED = 200_000;

/** Two-sided: the share of splits whose means differ at least as much. `least`: the smallest p there can be. */
function permutationTest(a: readonly number[], b: readonly number[], seed: number): { p: number; least: number } {
  const all = [...a, ...b];
  const center = meanOf(all);
  const scale = all.reduce((sum, value) => sum + Math.abs(value - center), 0);
  // With the total fixed the difference of means is as far from 0 as one side's sum is from its share.
  const distance = (indices: readonly number[]) =>
    Math.abs(indices.reduce((sum, index) => sum + all[index]! - center, 0));
  const observed = distance(a.map((_, i) => i)) - 1e-12 * scale;
  let splits = 1;
  for (let i = 1; i <= a.length; ++i) splits = (splits * (b.length + i)) / i;
  const least = (a.length === b.length ? 2 : 1) / splits;
  let extreme = 0;
  if (splits <= LISTED) {
    const indices = a.map((_, i) => i);
    for (;;) {
      if (distance(indices) >= observed) ++extreme;
      let place = a.length - 1;
      while (place >= 0 && indices[place] === b.length + place) --place;
      if (place < 0) break;
      indices[place]! += 1;
      for (let i = place + 1; i < a.length; ++i) indices[i] = indices[i - 1]! + 1;
    }
    return { p: extreme / Math.round(splits), least };
  }
  const random = randomOf(seed);
  const order = all.map((_, i) => i);
  const sampled = 20_000;
  for (let i = 0; i < sampled; ++i) {
    if (distance(random.shuffle(order).slice(0, a.length)) >= observed) ++extreme;
  }
  return { p: (extreme + 1) / (sampled + 1), least: Math.max(least, 1 / (sampled + 1)) };
}
