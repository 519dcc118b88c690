// One player against opponents of known ratings, as self-play-ppo computes it: maximum likelihood with draws as halves
// by at most 50 Newton steps of at most 200 points from 1400. Where the maximum is finite this is it, to rounding; for a
// player that won or lost everything the steps run off, and what comes out says nothing.

import type { Tally } from "./encounter.js";
import { expectedScore } from "./scale.js";

/** What a player made against an opponent of this rating. */
export interface PoolResult extends Tally {
  readonly rating: number;
}

export function fixedPoolRating(results: readonly PoolResult[]): number {
  const unit = Math.LN10 / 400;
  let rating = 1400;
  for (let step = 0; step < 50; ++step) {
    let gradient = 0;
    let curvature = 0;
    for (const { rating: opponent, wins, draws, losses } of results) {
      const games = wins + draws + losses;
      const p = expectedScore(rating - opponent);
      gradient += unit * (wins + draws / 2 - games * p);
      curvature += unit * unit * games * p * (1 - p);
    }
    if (curvature < 1e-12) break;
    rating += Math.max(-200, Math.min(200, gradient / curvature));
    if (Math.abs(gradient) < 1e-6) break;
  }
  return rating;
}
