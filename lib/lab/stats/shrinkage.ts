import { checkNumber, checkNumbers, checkWord, type Numbers, refuse } from "./check.js";
import { normalCdf } from "./distributions.js";
import { meanOf } from "./moments.js";

/** A gain with the winner's curse taken off, in the metric's unit. */
export interface ConditionalEstimate {
  /** Where the conditional likelihood is largest: shrinks most. */
  readonly mode: number;
  /** The mean of the conditional likelihood as a density: shrinks less. */
  readonly mean: number;
  /** The mean of both, which the paper recommends. */
  readonly compromise: number;
}

/**
 * The gain of a proposal that was kept because its estimate passed a threshold. Among estimates that pass, those that
 * were lucky are over-represented; the likelihood given that the estimate passed takes account of it: Zhong and
 * Prentice, "Bias-reduced estimators and confidence intervals for odds ratios in genome-wide association studies",
 * Biostatistics 9 (2008), equations for the three estimators of the mean of a normal estimate.
 *
 * With side `two` the estimate passes when its size does. With `greater` it passes upwards only, and gains below 0 are
 * left out: near the threshold that likelihood has no finite maximum.
 *
 * @param estimate - that passed, in the metric's unit; its size (or with `greater` itself) is at least `threshold`
 * @param standardError - of the estimate, above 0
 * @param threshold - that it had to pass, above 0: the `boundary` of the look that crossed
 */
export function conditionalEstimate(
  estimate: number,
  standardError: number,
  threshold: number,
  side: "two" | "greater" = "greater",
): ConditionalEstimate {
  const op = "conditionalEstimate";
  checkNumber(op, "standardError", standardError, { above: 0 });
  checkNumber(op, "threshold", threshold, { above: 0 });
  checkWord(op, "side", side, ["two", "greater"]);
  checkNumber(op, "estimate", estimate, side === "greater" ? { min: threshold } : {});
  if (Math.abs(estimate) < threshold) refuse(op, "estimate", estimate, `at least ${threshold} in size`);
  const sign = Math.sign(estimate);
  const z = Math.abs(estimate) / standardError;
  const c = threshold / standardError;
  const logLikelihood = (mu: number) =>
    (-(z - mu) * (z - mu)) / 2 - Math.log(normalCdf(mu - c) + (side === "two" ? normalCdf(-mu - c) : 0));
  // The likelihood is negligible 10 standard errors above the estimate; below 0 it is that far from the threshold.
  const low = side === "two" ? -z - 10 : 0;
  const points = 8000; // even, for Simpson's rule
  const step = (z + 10 - low) / points;
  let best = low;
  let top = Number.NEGATIVE_INFINITY;
  const logs = Float64Array.from({ length: points + 1 }, (_, i) => logLikelihood(low + i * step));
  logs.forEach((value, i) => {
    if (value > top) {
      top = value;
      best = low + i * step;
    }
  });
  let weights = 0;
  let moments = 0;
  logs.forEach((value, i) => {
    const weight = Math.exp(value - top) * (i === 0 || i === points ? 1 : i % 2 === 1 ? 4 : 2);
    weights += weight;
    moments += weight * (low + i * step);
  });
  const mode = sign * maximum(logLikelihood, Math.max(low, best - step), best + step) * standardError;
  const mean = sign * (moments / weights) * standardError;
  return { mode, mean, compromise: (mode + mean) / 2 };
}

/** The argument at which a function with one maximum between `low` and `high` has it: golden section. */
function maximum(f: (x: number) => number, low: number, high: number): number {
  const golden = (Math.sqrt(5) - 1) / 2;
  while (high - low > 1e-10) {
    const a = high - golden * (high - low);
    const b = low + golden * (high - low);
    if (f(a) < f(b)) low = a;
    else high = b;
  }
  return (low + high) / 2;
}

/** Several gains, each drawn towards what they have in common. */
export interface Shrunk {
  /** The mean of the true gains. */
  readonly mean: number;
  readonly standardError: number;
  /** The variance between true gains, from 0. */
  readonly between: number;
  /** Each estimate after shrinkage, in the order given. */
  readonly estimates: readonly number[];
}

/**
 * Normal empirical Bayes over all proposals of a study, kept or not: true gains are taken as normal around a common mean
 * with the variance of DerSimonian and Laird ("Meta-analysis in clinical trials", Controlled Clinical Trials 7, 1986),
 * and each estimate becomes the expected gain given all of them. What luck alone explains shrinks to the mean.
 *
 * @param estimates - at least 2, in the metric's unit
 * @param standardErrors - one each, above 0
 */
export function shrinkTogether(estimates: Numbers, standardErrors: Numbers): Shrunk {
  const op = "shrinkTogether";
  checkNumbers(op, "estimates", estimates, 2);
  checkNumbers(op, "standardErrors", standardErrors, 2);
  if (standardErrors.length !== estimates.length) {
    refuse(op, "standardErrors.length", standardErrors.length, `${estimates.length}, as many as estimates`);
  }
  for (let i = 0; i < standardErrors.length; ++i) {
    checkNumber(op, `standardErrors[${i}]`, standardErrors[i], { above: 0 });
  }
  const variances = Array.from(standardErrors, (error) => error * error);
  const weighted = (weights: readonly number[]) => {
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { total, mean: weights.reduce((sum, weight, i) => sum + weight * estimates[i]!, 0) / total };
  };
  const fixed = variances.map((variance) => 1 / variance);
  const { total, mean: fixedMean } = weighted(fixed);
  const q = fixed.reduce((sum, weight, i) => sum + weight * (estimates[i]! - fixedMean) ** 2, 0);
  const scale = total - fixed.reduce((sum, weight) => sum + weight * weight, 0) / total;
  const between = Math.max(0, (q - (estimates.length - 1)) / scale);
  const all = weighted(variances.map((variance) => 1 / (variance + between)));
  return {
    mean: all.mean,
    standardError: Math.sqrt(1 / all.total),
    between,
    estimates: variances.map((variance, i) => {
      const kept = between / (between + variance);
      return kept * estimates[i]! + (1 - kept) * all.mean;
    }),
  };
}

/**
 * James and Stein's estimator, positive part, towards the mean of all (Efron and Morris, "Data analysis using Stein's
 * estimator and its generalizations", JASA 70, 1975): of at least 4 estimates with one standard error the share
 * (k - 3) standardError^2 / sum of squares around the mean is taken off, and never more than all.
 *
 * @param standardError - of each estimate, above 0
 */
export function jamesStein(estimates: Numbers, standardError: number): number[] {
  checkNumbers("jamesStein", "estimates", estimates, 4);
  checkNumber("jamesStein", "standardError", standardError, { above: 0 });
  const mean = meanOf(estimates);
  const squares = Array.from(estimates).reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const kept = squares === 0 ? 0 : Math.max(0, 1 - ((estimates.length - 3) * standardError ** 2) / squares);
  return Array.from(estimates, (value) => mean + kept * (value - mean));
}
