import { checkNumber, checkNumbers, type Numbers } from "./check.js";
import { studentCdf, studentQuantile } from "./distributions.js";
import { meanOf, varianceOf } from "./moments.js";
import { rulesOut, type SequentialDesign } from "./sequential.js";

/**
 * Whether the differences show by now that the true gain is between -delta and delta: the repeated interval is inside.
 * It may be asked at every look: the probability of saying so of a gain of delta or more, at any look, is at most the
 * error probability of one side of the design.
 *
 * @param delta - what counts as no difference, in the metric's unit, above 0
 */
export function equivalentWithin(differences: Numbers, design: SequentialDesign, delta: number): boolean {
  checkNumber("equivalentWithin", "delta", delta, { above: 0 });
  return rulesOut(differences, design, -delta, "greater") && rulesOut(differences, design, delta, "less");
}

export interface EquivalenceTest {
  /** The larger of both p-values: equivalent within delta if it is at most alpha. */
  readonly p: number;
  readonly equivalent: boolean;
  readonly estimate: number;
  /** The interval of confidence 1 - 2 alpha, which is inside (-delta, delta) exactly if equivalent. */
  readonly low: number;
  readonly high: number;
}

/**
 * Two one-sided paired t tests at one fixed number of pairs (Schuirmann, "A comparison of the two one-sided tests
 * procedure and the power approach", Journal of Pharmacokinetics and Biopharmaceutics 15, 1987). It supposes normal
 * differences and one look: the reference that {@link equivalentWithin} is compared with.
 *
 * @param differences - at least 2
 * @param delta - in the metric's unit, above 0
 * @param alpha - above 0, below 0.5; default 0.05
 */
export function tost(differences: Numbers, delta: number, alpha = 0.05): EquivalenceTest {
  checkNumbers("tost", "differences", differences, 2);
  checkNumber("tost", "delta", delta, { above: 0 });
  checkNumber("tost", "alpha", alpha, { above: 0, below: 0.5 });
  const df = differences.length - 1;
  const estimate = meanOf(differences);
  const error = Math.sqrt(varianceOf(differences) / differences.length);
  const tail = (distance: number) => (error === 0 ? (distance > 0 ? 0 : 1) : studentCdf(-distance / error, df));
  const p = Math.max(tail(estimate + delta), tail(delta - estimate));
  const reach = error * studentQuantile(1 - alpha, df);
  return { p, equivalent: p <= alpha, estimate, low: estimate - reach, high: estimate + reach };
}
