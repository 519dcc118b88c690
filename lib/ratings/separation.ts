// Which ratings the results can determine at all. A likelihood has a finite maximum for those players only who have,
// directly or through others, both scored against the anchored ones and conceded to them (Ford 1957): whoever only ever
// scored is better by an unknown amount.

/** How a player stands to the anchored ones. */
export type Standing =
  /** Its rating was given. */
  | "fixed"
  /** Its rating has a finite estimate. */
  | "estimated"
  /** It never conceded anything: its rating is at least the bound. */
  | "atLeast"
  /** It never scored: its rating is at most the bound. */
  | "atMost"
  /** Nothing connects it to an anchor, or only players who lost to both or beat both. */
  | "undetermined";

/** Points of one player against another, games counted 1. */
export interface Score {
  readonly a: number;
  readonly b: number;
  /** Of a; b has the rest. */
  readonly points: number;
  readonly games: number;
}

/** The standing of each of `count` players. */
export function standings(count: number, scores: readonly Score[], anchors: readonly number[]): Standing[] {
  // An edge leads from whoever scored to whom it scored against.
  const scored: number[][] = Array.from({ length: count }, () => []);
  const conceded: number[][] = Array.from({ length: count }, () => []);
  for (const { a, b, points, games } of scores) {
    for (const [winner, loser, share] of [
      [a, b, points],
      [b, a, games - points],
    ] as const) {
      if (!(share > 0)) continue;
      scored[winner]!.push(loser);
      conceded[loser]!.push(winner);
    }
  }
  const below = reach(anchors, scored, count); // an anchored player scored against them, or against who did
  const above = reach(anchors, conceded, count);
  return Array.from({ length: count }, (_, i) => {
    if (anchors.includes(i)) return "fixed";
    if (below[i] && above[i]) return "estimated";
    return above[i] ? "atLeast" : below[i] ? "atMost" : "undetermined";
  });
}

function reach(from: readonly number[], edges: readonly (readonly number[])[], count: number): boolean[] {
  const seen = Array.from({ length: count }, () => false);
  const queue = [...from];
  for (const i of from) seen[i] = true;
  for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
    for (const next of edges[at]!) {
      if (seen[next]) continue;
      seen[next] = true;
      queue.push(next);
    }
  }
  return seen;
}
