import { checkNumber, checkNumbers, checkWord, type Numbers, refuse } from "./check.js";
import { checkFutility, conditionalPower, type Futility } from "./futility.js";
import { leastShare, type SignVectors, signVectors } from "./sign-vectors.js";
import { checkSpending, type Spending, spent } from "./spending.js";

/** `greater` asks only whether the gain is above 0; `two` also whether it is below. */
export type Side = "two" | "greater";

/** A sequential test as it is planned before the first pair. */
export interface SequentialDesign {
  /** Probability of any false crossing over all looks, above 0 and below 0.5. `two` gives half of it to each side. */
  readonly alpha: number;
  readonly side: Side;
  /** Pairs at most, 1 to 1000: all of `alpha` is spent there. */
  readonly maxPairs: number;
  /** Numbers of pairs at which the test looks, increasing, at most `maxPairs`. Default: every pair. */
  readonly looks?: readonly number[] | undefined;
  /** Default: {@link DEFAULT_SPENDING}. */
  readonly spending?: Spending | undefined;
  /** Null: never futile. Default: {@link DEFAULT_FUTILITY}. */
  readonly futility?: Futility | null | undefined;
  /** Of the sampled sign vectors, where there are too many to list: whole number from 0. Default: 0. */
  readonly seed?: number | undefined;
}

/**
 * alpha t^2: between Pocock's, which spends early, and O'Brien and Fleming's, which spends late. With 8 to 30 pairs and
 * small error probabilities a boundary needs 2^-n to be spent by look n, so that late spending can hardly stop before
 * the end whatever the gain, and even spending wastes what no early look can use. bench/false-keeps.mjs measures power
 * and mean pairs.
 */
export const DEFAULT_SPENDING: Spending = { power: 2 };

/**
 * Futile below one chance in ten even if the true gain is at its 90% upper limit. bench/false-keeps.mjs measures what
 * that saves and what power it costs.
 */
export const DEFAULT_FUTILITY: Futility = { power: 0.1, level: 0.9 };

/** What the test saw at one look. */
export interface Look {
  /** Pairs that it used: the first ones. */
  readonly pairs: number;
  /** Error probability spent by then, of one side. */
  readonly spent: number;
  /** The least mean difference that crosses here, in the metric's unit; infinite where none can. */
  readonly boundary: number;
  /** The mean difference. */
  readonly estimate: number;
  readonly crossed: "greater" | "less" | null;
  /** Null if the design has no futility rule or there are fewer than 2 pairs; see {@link conditionalPower}. */
  readonly conditionalPower: number | null;
  /** Whether going on is futile by the design's rule. Advice: looks after it are as valid as without it. */
  readonly futile: boolean;
}

/** Where a test stands. The same differences give the same decision, whenever and in whatever order they arrived. */
export interface Decision {
  /** The looks so far, up to the first that crossed. */
  readonly looks: readonly Look[];
  /** The first boundary that was crossed. It stays crossed whatever comes later. */
  readonly crossed: "greater" | "less" | null;
  /** Whether nothing more can come of it: crossed, or the last look is past. */
  readonly finished: boolean;
  /** Whether the last look found it futile to go on. */
  readonly futile: boolean;
  /** Pairs of the last look; 0 before the first. */
  readonly pairs: number;
  /** Mean difference at the last look; NaN before the first. */
  readonly estimate: number;
  /** Pairs of the next look, null if finished. */
  readonly nextLook: number | null;
}

/** A running test. */
export interface SequentialTest {
  /** All differences so far, in the order of their pairs. Those of earlier calls must be as they were. */
  look(differences: Numbers): Decision;
}

/**
 * A paired sequential test: a group-sequential sign-flip randomisation test with alpha spending.
 *
 * If both arms have the same distribution, every difference (proposal - baseline of one seed, say) is symmetric about
 * 0: given the sizes, all sign vectors are equally likely. At each look the vectors with the largest sums that have not
 * crossed before are let cross, as long as the share of all that have crossed at any look is at most what the spending
 * function allows by then. So the probability of a false crossing is at most `alpha` for any distribution and any
 * number of pairs, exactly, with no assumption of normality. Vectors with equal sums cross together or not at all, and
 * a difference of 0 counts with both signs, which can only lower that probability.
 *
 * The statistic is the sum of differences: what is kept is chosen for its mean gain, and for normal differences no
 * statistic has more power in large samples. Its price is that an outlier lowers the power (never the validity).
 *
 * Lan and DeMets (1983) for spending; Fisher (1935) and Pitman (1937) for the test; Zhang, Rosenberger and Smythe,
 * "Sequential monitoring of randomization tests: stratified randomization", Biometrics 63 (2007), for both together.
 * All tails are listed exactly while alpha 2^maxPairs is below 2^18 for a side, and sampled above with a guarantee that
 * is exact over the draw of the sample.
 */
export function pairedSequentialTest(design: SequentialDesign): SequentialTest {
  const plan = planOf("sequential", design);
  const seen: number[] = [];
  const looks: Look[] = [];
  const boundaries = boundariesOf(plan);
  let crossed: "greater" | "less" | null = null;
  let sum = 0;
  return {
    look(differences) {
      checkNumbers("sequential", "differences", differences, 0);
      seen.forEach((value, i) => {
        if (differences[i] !== value) {
          refuse("sequential", `differences[${i}]`, differences[i], `${value}, as before`);
        }
      });
      while (crossed === null && looks.length < plan.looks.length && plan.looks[looks.length]! <= differences.length) {
        const pairs = plan.looks[looks.length]!;
        while (seen.length < pairs) {
          const value = differences[seen.length]!;
          boundaries.push(value);
          sum += value;
          seen.push(value);
        }
        const spentHere = spent(plan.spending, plan.level, pairs / plan.maxPairs);
        const at = boundaries.look(spentHere);
        crossed = at.greater ? "greater" : at.less && plan.side === "two" ? "less" : null;
        const power = plan.futility && pairs >= 2 ? powerOf(seen, plan, plan.futility) : null;
        const last = looks.length === plan.looks.length - 1;
        looks.push({
          pairs,
          spent: spentHere,
          boundary: at.sum / pairs,
          estimate: sum / pairs,
          crossed,
          conditionalPower: power,
          futile: crossed === null && !last && power !== null && power < plan.futility!.power,
        });
      }
      const here = looks.at(-1);
      const finished = crossed !== null || looks.length === plan.looks.length;
      return {
        looks: [...looks],
        crossed,
        finished,
        futile: here?.futile ?? false,
        pairs: here?.pairs ?? 0,
        estimate: here?.estimate ?? Number.NaN,
        nextLook: finished ? null : plan.looks[looks.length]!,
      };
    },
  };
}

/** {@link pairedSequentialTest} replayed from the start: what the data say, look by look, up to the first crossing. */
export function decide(differences: Numbers, design: SequentialDesign): Decision {
  return pairedSequentialTest(design).look(differences);
}

/**
 * The first number of pairs at which a design can cross at all: that of pairs which all agree in sign. Null where it
 * never can, whatever the gain: too few pairs for its alpha, or, with an alpha below a hundred-thousandth, so many that
 * their sign vectors are sampled.
 */
export function firstAbleLook(design: SequentialDesign): number | null {
  const { level, looks, maxPairs, spending } = planOf("firstAbleLook", design);
  const able = (pairs: number) => spent(spending, level, pairs / maxPairs) >= leastShare(pairs, maxPairs, level);
  return looks.find(able) ?? null;
}

/**
 * The smallest `alpha` at which the same design would have crossed by now: a p-value that holds over all looks. It is
 * at most the design's alpha exactly if the test has crossed (Jennison and Turnbull, "Group Sequential Methods", 2000,
 * section 9.5, repeated p-values).
 *
 * @returns above 0, at most 1, to a relative precision of 1e-3
 */
export function sequentialP(differences: Numbers, design: SequentialDesign): number {
  const plan = planOf("sequentialP", design);
  checkNumbers("sequentialP", "differences", differences, 0);
  const sides = plan.side === "two" ? 2 : 1;
  const crosses = (level: number) => {
    const at = { ...plan, level };
    return (
      firstCrossing(differences, at, 0, 1) !== null ||
      (plan.side === "two" && firstCrossing(differences, at, 0, -1) !== null)
    );
  };
  let low = 0;
  let high = 1 / sides;
  if (crosses(plan.level)) {
    high = plan.level;
    for (low = high / 2; crosses(low); low /= 2) high = low;
  } else {
    // Levels of one half and more let every sum from 0 on cross: they say nothing.
    for (low = plan.level; ; low = high) {
      high = Math.min(2 * low, 0.499);
      if (crosses(high)) break;
      if (high === 0.499) return 1;
    }
  }
  while (high / low > 1.001) {
    const middle = Math.sqrt(low * high);
    if (crosses(middle)) high = middle;
    else low = middle;
  }
  return high * sides;
}

/** What the data still allow as the true gain. Infinite where they say nothing yet. */
export interface GainInterval {
  readonly low: number;
  readonly high: number;
}

/**
 * The repeated confidence interval: the shifts that the test has not ruled out at any look so far. With probability
 * 1 - alpha the true shift is inside at all looks at once, so it may be read whenever one likes and whatever made one
 * stop (Jennison and Turnbull, "Repeated confidence intervals for group sequential clinical trials", Controlled
 * Clinical Trials 5, 1984). It supposes that a difference is symmetric about the true gain. `greater` gives a lower
 * limit only. 0 is outside exactly if the test has crossed; the mean is always inside.
 *
 * Found by bisection over shifts to 1e-7 of the range of the differences. For an interval of another confidence than
 * the test's, give a design with another alpha.
 */
export function repeatedInterval(differences: Numbers, design: SequentialDesign): GainInterval {
  const plan = planOf("repeatedInterval", design);
  checkNumbers("repeatedInterval", "differences", differences, 0);
  const pairs = plan.looks.filter((look) => look <= differences.length).at(-1);
  if (pairs === undefined) return { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };
  const used = Float64Array.from(differences.slice(0, pairs));
  return {
    low: lowerLimit(used, plan, 1),
    high: plan.side === "two" ? -lowerLimit(used, plan, -1) : Number.POSITIVE_INFINITY,
  };
}

/**
 * Whether the data rule out by now that the true gain is `shift` or less (`greater`) or that it is `shift` or more
 * (`less`), with the error probability of one side of the design. `repeatedInterval` has the same answer, in more time.
 */
export function rulesOut(
  differences: Numbers,
  design: SequentialDesign,
  shift: number,
  direction: "greater" | "less",
): boolean {
  const plan = planOf("rulesOut", design);
  checkNumbers("rulesOut", "differences", differences, 0);
  checkNumber("rulesOut", "shift", shift);
  checkWord("rulesOut", "direction", direction, ["greater", "less"]);
  return firstCrossing(differences, plan, shift, direction === "greater" ? 1 : -1) !== null;
}

/** A design with its defaults, and `level`: the error probability of one side. */
interface Plan {
  readonly level: number;
  readonly side: Side;
  readonly maxPairs: number;
  readonly looks: readonly number[];
  readonly spending: Spending;
  readonly futility: Futility | null;
  readonly seed: number;
}

function planOf(op: string, design: SequentialDesign): Plan {
  const { alpha, maxPairs, spending = DEFAULT_SPENDING, futility = DEFAULT_FUTILITY, seed = 0 } = design;
  checkNumber(op, "alpha", alpha, { above: 0, below: 0.5 });
  const side = checkWord(op, "side", design.side, ["two", "greater"]);
  checkNumber(op, "maxPairs", maxPairs, { integer: true, min: 1, max: 1000 });
  checkNumber(op, "seed", seed, { integer: true, min: 0 });
  checkSpending(op, spending);
  if (futility !== null) checkFutility(op, futility);
  const looks = design.looks ?? Array.from({ length: maxPairs }, (_, i) => i + 1);
  checkNumbers(op, "looks", looks);
  looks.forEach((look, i) => {
    checkNumber(op, `looks[${i}]`, look, { integer: true, min: i === 0 ? 1 : looks[i - 1]! + 1, max: maxPairs });
  });
  return { level: side === "two" ? alpha / 2 : alpha, side, maxPairs, looks, spending, futility, seed };
}

/** Boundaries along the differences, and which of them the observed signs have crossed. */
interface Boundaries {
  push(difference: number): void;
  /** `sum`: the least sum of differences that crosses at this look, infinite where none can. */
  look(level: number): { readonly greater: boolean; readonly less: boolean; readonly sum: number };
}

function boundariesOf(plan: Plan): Boundaries {
  let vectors: SignVectors | null = null;
  const sizes: number[] = [];
  const signs: boolean[] = [];
  let pushed = 0;
  let negative = 0; // sums of sizes, each added in the order of pairs, as in the lists of sign vectors
  let positive = 0;
  return {
    push(difference) {
      const size = Math.abs(difference);
      sizes.push(size);
      signs.push(difference < 0);
      if (difference < 0) negative += size;
      else positive += size;
    },
    look(level) {
      const none = { greater: false, less: false, sum: Number.POSITIVE_INFINITY };
      // Not even the vector of equal signs may cross: nothing to compute.
      if (level * 2 ** sizes.length < 1) return none;
      vectors ??= signVectors(plan.maxPairs, plan.level, plan.seed);
      for (; pushed < sizes.length; ++pushed) vectors.push(sizes[pushed]!, signs[pushed]!);
      const flipped = vectors.take(level);
      if (flipped < 0) return none;
      return { greater: negative <= flipped, less: positive <= flipped, sum: negative + positive - 2 * flipped };
    },
  };
}

/** The look at which the differences less `shift`, times `direction`, cross upwards; null if none of those reached. */
function firstCrossing(differences: Numbers, plan: Plan, shift: number, direction: 1 | -1): number | null {
  const boundaries = boundariesOf(plan);
  let pushed = 0;
  for (const pairs of plan.looks) {
    if (pairs > differences.length) break;
    for (; pushed < pairs; ++pushed) boundaries.push(direction * (differences[pushed]! - shift));
    if (boundaries.look(spent(plan.spending, plan.level, pairs / plan.maxPairs)).greater) return pairs;
  }
  return null;
}

/** The largest shift below which all are ruled out; of the differences times -1 if `direction` is. */
function lowerLimit(differences: Float64Array, plan: Plan, direction: 1 | -1): number {
  const values = differences.map((value) => direction * value);
  const ruledOut = (shift: number) => firstCrossing(values, plan, shift, 1) !== null;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const smallest = values.reduce((a, b) => Math.min(a, b));
  const range = values.reduce((a, b) => Math.max(a, b)) - smallest;
  // Below all differences every sign is positive: if that is not ruled out nothing is.
  let low = smallest - Math.max(range, Math.abs(smallest) * 1e-9, Number.MIN_VALUE * 2 ** 60) * 1e-3;
  let high = Math.max(mean, low);
  if (!ruledOut(low)) return Number.NEGATIVE_INFINITY;
  // So that the limit and the test itself agree about 0.
  if (low < 0 && high > 0) {
    if (ruledOut(0)) low = 0;
    else high = 0;
  }
  while (high - low > 1e-7 * range) {
    const middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) break;
    if (ruledOut(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/** The larger of the conditional powers of the sides that the test has. */
function powerOf(differences: readonly number[], plan: Plan, futility: Futility): number {
  const end = plan.looks.at(-1)!;
  const up = conditionalPower(differences, end, plan.level, futility.level);
  if (plan.side === "greater") return up;
  const opposite = differences.map((value) => -value);
  return Math.max(up, conditionalPower(opposite, end, plan.level, futility.level));
}
