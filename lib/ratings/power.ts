// How many games it takes to tell two players apart.

import { checkNumber } from "../lab/stats/check.js";
import { normalQuantile } from "../lab/stats/distributions.js";
import { expectedScore } from "./scale.js";

export interface PowerArguments {
  /** Points between the two players. */
  readonly difference: number;
  /** Share of drawn games; default 0. Draws make results less noisy. */
  readonly draws?: number | undefined;
  /** Probability of finding the difference; default 0.8. */
  readonly power?: number | undefined;
  /** Probability of finding one where there is none, on both sides; default 0.05. */
  readonly alpha?: number | undefined;
}

/**
 * Games between two players until a two-sided test of their score against one half finds the difference, by the normal
 * approximation; an even number, for colours. Independent games: two deterministic players need as many openings.
 */
export function gamesToSeparate(args: PowerArguments): number {
  const { difference, draws = 0, power = 0.8, alpha = 0.05 } = args;
  checkNumber("ratings", "ratings.difference", difference);
  checkNumber("ratings", "ratings.draws", draws, { min: 0, below: 1 });
  checkNumber("ratings", "ratings.power", power, { above: 0, below: 1 });
  checkNumber("ratings", "ratings.alpha", alpha, { above: 0, below: 1 });
  const score = expectedScore(Math.abs(difference));
  if (score === 0.5) return Number.POSITIVE_INFINITY;
  // A win, a draw and a loss have 1, 1/2 and 0 points: their variance is p (1 - p) - draws / 4. There are no more draws
  // than the weaker one's points allow.
  const share = Math.min(draws, 2 * (1 - score));
  const spread = (p: number) => Math.sqrt(p * (1 - p) - share / 4);
  const needed = normalQuantile(1 - alpha / 2) * spread(0.5) + normalQuantile(power) * spread(score);
  return 2 * Math.ceil((needed / (score - 0.5)) ** 2 / 2);
}
