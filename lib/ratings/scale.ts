// The scale of ratings: 400 points are a factor of ten in the odds.

/** Points of one unit of log-odds. */
export const POINTS = 400 / Math.LN10;

/** Expected score against an opponent that is rated so many points lower. */
export function expectedScore(difference: number): number {
  return 1 / (1 + 10 ** (-difference / 400));
}

/** Points between two players of which one scores this share against the other. */
export function pointsOf(score: number): number {
  return POINTS * Math.log(score / (1 - score));
}
