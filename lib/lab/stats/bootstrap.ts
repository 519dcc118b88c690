import { checkNumber, checkNumbers, checkWord, type Numbers, refuse } from "./check.js";
import { normalCdf, normalQuantile } from "./distributions.js";
import { meanOf, medianOf, quantileOf } from "./moments.js";
import { randomOf } from "./random.js";

/** Scores by task and run: `scores[task][run]`, any number of runs in each task. */
export type Scores = readonly Numbers[];

/**
 * The interquartile mean: the mean of the middle half, less open to outliers than the mean and less noisy than the
 * median. A quarter of the values, rounded down, is left out at either end, as rliable and scipy's `trim_mean(x, 0.25)`
 * do (Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021).
 */
export function iqm(values: Numbers): number {
  checkNumbers("iqm", "values", values);
  const sorted = Float64Array.from(values).sort();
  const cut = Math.floor(sorted.length / 4);
  return meanOf(sorted.subarray(cut, sorted.length - cut));
}

/** Aggregates of scores as rliable defines them: IQM over all runs of all tasks; mean and median of the tasks' means. */
export const aggregates = {
  iqm: (scores: Scores): number => iqm(Float64Array.from(scores.flatMap((task) => [...task]))),
  mean: (scores: Scores): number => meanOf(scores.map(meanOf)),
  median: (scores: Scores): number => medianOf(scores.map(meanOf)),
} as const;

export interface BootstrapOptions {
  /** Samples that are drawn, 100 to 1,000,000; default 2000. */
  readonly resamples?: number;
  /** Between 0 and 1; default 0.95. */
  readonly confidence?: number;
  /** `bca` corrects for bias and skewness. Default `percentile`, as rliable has it. */
  readonly method?: "percentile" | "bca";
  /** Whole number from 0; default 0. The same seed gives the same interval. */
  readonly seed?: number;
}

export interface Estimate {
  readonly estimate: number;
  readonly low: number;
  readonly high: number;
}

/**
 * A stratified bootstrap interval: runs are drawn with replacement within each task (Agarwal et al., 2021).
 *
 * BCa after Efron, "Better bootstrap confidence intervals", JASA 82 (1987), the acceleration from leaving one run out at
 * a time. With a handful of runs every bootstrap interval is too short, since it knows no value beyond those seen; the
 * verdicts of the lab rest on {@link pairedSequentialTest} instead.
 *
 * @param scores - `scores[task][run]`, at least one task and 2 runs in each
 * @param statistic - of such scores; one of {@link aggregates}, or any other
 */
export function stratifiedBootstrap(
  scores: Scores,
  statistic: (scores: Scores) => number = aggregates.iqm,
  { resamples = 2000, confidence = 0.95, method = "percentile", seed = 0 }: BootstrapOptions = {},
): Estimate {
  const op = "stratifiedBootstrap";
  if (!Array.isArray(scores) || scores.length === 0) refuse(op, "scores", scores, "a list of at least one task");
  scores.forEach((task, i) => {
    checkNumbers(op, `scores[${i}]`, task, 2);
  });
  checkNumber(op, "resamples", resamples, { integer: true, min: 100, max: 1e6 });
  checkNumber(op, "confidence", confidence, { above: 0, below: 1 });
  checkWord(op, "method", method, ["percentile", "bca"]);
  const random = randomOf(seed);
  const estimate = statistic(scores);
  const drawn = scores.map((task) => new Float64Array(task.length));
  const values = Float64Array.from({ length: resamples }, () => {
    drawn.forEach((draw, t) => {
      const task = scores[t]!;
      for (let i = 0; i < draw.length; ++i) draw[i] = task[random.below(task.length)]!;
    });
    return statistic(drawn);
  }).sort();
  const tail = (1 - confidence) / 2;
  const ends = method === "bca" ? bcaEnds(values, estimate, leftOut(scores, statistic), tail) : [tail, 1 - tail];
  return { estimate, low: quantileOf(values, ends[0]!), high: quantileOf(values, ends[1]!) };
}

/** The statistic without each run in turn. */
function leftOut(scores: Scores, statistic: (scores: Scores) => number): number[] {
  return scores.flatMap((task, t) =>
    Array.from(task, (_, run) => statistic(scores.with(t, [...task].toSpliced(run, 1)))),
  );
}

/** The probabilities at which BCa reads the distribution of the resampled statistic. */
function bcaEnds(sorted: Float64Array, estimate: number, jackknife: readonly number[], tail: number): number[] {
  let below = 0;
  let equal = 0;
  for (const value of sorted) {
    if (value < estimate) ++below;
    else if (value === estimate) ++equal;
  }
  const share = (below + equal / 2) / sorted.length;
  // All on one side: the correction is infinite, and the plain percentiles are what is left.
  if (share === 0 || share === 1) return [tail, 1 - tail];
  const bias = normalQuantile(share);
  const mean = meanOf(jackknife);
  const squares = jackknife.reduce((sum, value) => sum + (mean - value) ** 2, 0);
  const cubes = jackknife.reduce((sum, value) => sum + (mean - value) ** 3, 0);
  const acceleration = squares === 0 ? 0 : cubes / (6 * squares ** 1.5);
  return [normalQuantile(tail), normalQuantile(1 - tail)].map((z) =>
    normalCdf(bias + (bias + z) / (1 - acceleration * (bias + z))),
  );
}
