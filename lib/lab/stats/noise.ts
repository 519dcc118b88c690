import { leastPairs } from "./alpha.js";
import { checkNumber, checkNumbers, type Numbers } from "./check.js";
import { chiSquareQuantile, normalQuantile } from "./distributions.js";
import { normalLimit } from "./group-sequential.js";
import { meanOf, varianceOf } from "./moments.js";
import { DEFAULT_SPENDING, type SequentialDesign } from "./sequential.js";
import { leastShare } from "./sign-vectors.js";
import { spent } from "./spending.js";

/** How far a metric strays by itself. */
export interface Noise {
  /** Standard deviation, in the metric's unit. */
  readonly sd: number;
  /** The interval of the standard deviation. */
  readonly low: number;
  readonly high: number;
  readonly degreesOfFreedom: number;
}

/**
 * The noise of single runs: the standard deviation of runs of one configuration with different seeds (A/A runs), with
 * the chi-square interval for normal noise. Two independent runs differ with a standard deviation sqrt(2) times that.
 *
 * @param values - the metric of each run, at least 2
 * @param confidence - of the interval, between 0 and 1
 */
export function noiseOfRuns(values: Numbers, confidence = 0.95): Noise {
  checkNumbers("noiseOfRuns", "values", values, 2);
  return noise("noiseOfRuns", varianceOf(values), values.length - 1, confidence);
}

/**
 * The noise of paired differences. In A/A pairs the true mean is 0, and `aa` uses that for one more degree of freedom.
 * It is less than sqrt(2) times the noise of runs as far as what a pair shares makes its runs go together.
 *
 * @param differences - of each pair, at least 2
 * @param options - `aa`: both arms are the same configuration (default false); `confidence`: between 0 and 1
 */
export function noiseOfPairs(
  differences: Numbers,
  { aa = false, confidence = 0.95 }: { readonly aa?: boolean; readonly confidence?: number } = {},
): Noise {
  checkNumbers("noiseOfPairs", "differences", differences, 2);
  const n = differences.length;
  if (!aa) return noise("noiseOfPairs", varianceOf(differences), n - 1, confidence);
  return noise("noiseOfPairs", meanOf(Float64Array.from(differences, (value) => value * value)), n, confidence);
}

/** What a sequential design is asked to find. */
export interface PowerQuestion {
  readonly alpha: number;
  readonly side: SequentialDesign["side"];
  readonly spending?: SequentialDesign["spending"];
  /** Standard deviation of paired differences, in the metric's unit, above 0. */
  readonly sd: number;
  /** Probability of finding it, between alpha and 1; default 0.8. */
  readonly power?: number;
}

/**
 * The smallest true gain that a {@link pairedSequentialTest} of up to `maxPairs` pairs, without futility, finds with
 * the given power, in the metric's unit; infinite where it can find none, as with fewer pairs than {@link leastPairs}.
 *
 * An approximation for normal noise: (z / sqrt(n - z^2) + z(power) / sqrt(n)) sd is what a sign-flip test of n pairs
 * needs (its sum is compared with z times the root of the sum of squares, which holds the gain too); it is multiplied by
 * what looking often costs in the limit of many pairs ({@link normalLimit}), where a look counts from the number of
 * pairs on at which equal signs alone could cross. Gains from it are within a tenth of those that simulations find (bench/false-keeps.mjs).
 */
export function smallestGain(question: PowerQuestion & Pick<SequentialDesign, "maxPairs" | "looks">): number {
  const { alpha, side, sd, power = 0.8, spending = DEFAULT_SPENDING, maxPairs: n, looks } = question;
  checkNumber("smallestGain", "alpha", alpha, { above: 0, below: 0.5 });
  checkNumber("smallestGain", "sd", sd, { above: 0 });
  checkNumber("smallestGain", "power", power, { above: alpha, below: 1 });
  checkNumber("smallestGain", "maxPairs", n, { integer: true, min: 1, max: 1000 });
  const level = side === "two" ? alpha / 2 : alpha;
  const z = normalQuantile(1 - level);
  if (n < leastPairs(alpha, side) || n <= z * z) return Number.POSITIVE_INFINITY;
  const able = (looks ?? evenly(n)).filter((pairs) => spent(spending, level, pairs / n) >= leastShare(pairs, n, level));
  if (able.length === 0) return Number.POSITIVE_INFINITY;
  const limit = normalLimit({ alpha: level, times: able.map((pairs) => pairs / n), spending });
  const beta = normalQuantile(power);
  return sd * (z / Math.sqrt(n - z * z) + beta / Math.sqrt(n)) * (limit.driftFor(power) / (z + beta));
}

/**
 * The pairs (seeds of each arm) that a sequential test must be allowed to find a gain with the given power.
 *
 * @param gain - true gain, in the metric's unit, above 0
 * @returns the least `maxPairs` with {@link smallestGain} at most `gain`; null if 1000 are too few
 */
export function pairsNeeded(gain: number, question: PowerQuestion): number | null {
  checkNumber("pairsNeeded", "gain", gain, { above: 0 });
  const enough = (maxPairs: number) => smallestGain({ ...question, maxPairs }) <= gain;
  let low = leastPairs(question.alpha, question.side) - 1;
  let high = low + 1;
  while (!enough(high)) {
    if (high === 1000) return null;
    low = high;
    high = Math.min(1000, 2 * high);
  }
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (enough(middle)) high = middle;
    else low = middle;
  }
  return high;
}

function noise(op: string, variance: number, degreesOfFreedom: number, confidence: number): Noise {
  checkNumber(op, "confidence", confidence, { above: 0, below: 1 });
  const end = (p: number) => Math.sqrt((variance * degreesOfFreedom) / chiSquareQuantile(p, degreesOfFreedom));
  return {
    sd: Math.sqrt(variance),
    low: end((1 + confidence) / 2),
    high: end((1 - confidence) / 2),
    degreesOfFreedom,
  };
}

/** Every pair, or 40 looks: more of them change the power of a long test in the third digit only. */
function evenly(pairs: number): number[] {
  const count = Math.min(40, pairs);
  return Array.from({ length: count }, (_, i) => Math.round(((i + 1) * pairs) / count));
}
