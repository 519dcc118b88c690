import { checkNumber, refuse } from "./check.js";
import { normalCdf, normalQuantile } from "./distributions.js";

/** How a test spends its error probability over its looks. */
export type Spending = "obrien-fleming" | "pocock" | { readonly power: number };

/**
 * The share of a one-sided error probability that may be spent when the share `t` of all pairs is there.
 *
 * - `obrien-fleming`: 2 - 2 Phi(z(1 - alpha / 2) / sqrt(t)), almost nothing early (Lan and DeMets, "Discrete sequential
 *   boundaries for clinical trials", Biometrika 70, 1983)
 * - `pocock`: alpha ln(1 + (e - 1) t), nearly even (the same paper)
 * - `{ power: r }`: alpha t^r (Kim and DeMets, "Design and analysis of group sequential tests based on the type I error
 *   spending rate function", Biometrika 74, 1987); r = 1 spends evenly, r = 3 is near O'Brien and Fleming
 *
 * @param alpha - one-sided error probability of the whole test, between 0 and 1
 * @param t - pairs there are / pairs at most, 0 to 1
 * @returns error probability spent by then, 0 at 0 and `alpha` at 1
 */
export function spent(spending: Spending, alpha: number, t: number): number {
  checkNumber("spent", "alpha", alpha, { above: 0, below: 1 });
  checkNumber("spent", "t", t, { min: 0, max: 1 });
  checkSpending("spent", spending);
  if (t === 0 || t === 1) return t * alpha;
  if (spending === "pocock") return alpha * Math.log1p((Math.E - 1) * t);
  if (spending === "obrien-fleming") return 2 * normalCdf(normalQuantile(alpha / 2) / Math.sqrt(t));
  return alpha * t ** spending.power;
}

/** Refuses what is no spending function. */
export function checkSpending(op: string, spending: Spending): void {
  if (spending === "obrien-fleming" || spending === "pocock") return;
  if (typeof spending !== "object" || spending === null) {
    refuse(op, "spending", spending, '"obrien-fleming", "pocock" or { power: number }');
  }
  checkNumber(op, "spending.power", spending.power, { above: 0, max: 100 });
}
