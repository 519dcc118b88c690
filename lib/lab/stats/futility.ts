import { checkNumber, type Numbers } from "./check.js";
import { normalCdf, normalQuantile, studentQuantile } from "./distributions.js";

/** When to give up: the conditional power is below `power` even if the true gain is the upper limit of `level`. */
export interface Futility {
  /** Conditional power below which going on is called futile, 0 to 1; 0 never does. */
  readonly power: number;
  /**
   * One-sided confidence of the upper limit of the true gain that the future is judged by, 0.5 to 1. With 0.5 it is the
   * current trend; the higher it is, the more a proposal is given the benefit of the doubt.
   */
  readonly level: number;
}

export function checkFutility(op: string, futility: Futility): void {
  checkNumber(op, "futility.power", futility.power, { min: 0, max: 1 });
  checkNumber(op, "futility.level", futility.level, { min: 0.5, below: 1 });
}

/**
 * The probability that the mean of all pairs will be significantly above 0, given those that are there and a true mean
 * at the upper end of what they allow: their mean plus Student's quantile of `level` standard errors. The pairs to come
 * are taken as normal with the observed standard deviation s; the mean m of all N pairs is significant if it is at
 * least z s / sqrt(N - z^2), which is the large-sample form of the sign-flip test (its sum is compared with
 * z sqrt(sum of squares), and the squares hold the mean too). Earlier looks at which the test might stop are left out.
 *
 * After Lachin, "A review of methods for futility stopping based on conditional power", Statistics in Medicine 24
 * (2005). It advises when to stop and never enters a boundary, so it cannot raise the rate of false positives.
 *
 * @param differences - those there are, at least 2
 * @param pairs - N, the pairs at the end
 * @param alpha - one-sided error probability of the whole test
 * @returns 0 to 1
 */
export function conditionalPower(differences: Numbers, pairs: number, alpha: number, level: number): number {
  const n = differences.length;
  let sum = 0;
  for (const value of differences) sum += value;
  const mean = sum / n;
  let squares = 0;
  for (const value of differences) squares += (value - mean) ** 2;
  const deviation = Math.sqrt(squares / (n - 1));
  const left = pairs - n;
  const z = normalQuantile(1 - alpha);
  if (pairs <= z * z) return 0;
  const needed = (pairs * z * deviation) / Math.sqrt(pairs - z * z);
  const trend = mean + (deviation * student(level, n - 1)) / Math.sqrt(n);
  const expected = sum + left * trend - needed;
  if (deviation === 0 || left === 0) return expected > 0 ? 1 : 0;
  return normalCdf(expected / (deviation * Math.sqrt(left)));
}

const quantiles = new Map<string, number>();

/** Student's quantile; simulations ask for the same few again and again. */
function student(level: number, df: number): number {
  const key = `${level} ${df}`;
  let value = quantiles.get(key);
  if (value === undefined) {
    if (quantiles.size > 10_000) quantiles.clear();
    value = studentQuantile(level, df);
    quantiles.set(key, value);
  }
  return value;
}
