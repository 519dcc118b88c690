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

/** Points of which some are halves of draws. */
export interface DrawnScore extends Score {
  readonly draws: number;
}

/**
 * The standings under Davidson's model, in which draws have a probability of their own: there a draw concedes nothing if
 * the parameter of draws can grow with the ratings, so that losses become impossible while wins and draws keep their
 * odds. It can where no two players have both won against each other, and where ratings exist such that whoever won is
 * `2` above (exactly 2, where they drew as well) and who only drew is at most 2 apart: then those that must lie above
 * the anchors, or below them, have no finite rating.
 */
export function davidsonStandings(
  count: number,
  scores: readonly DrawnScore[],
  anchors: readonly number[],
): Standing[] {
  const usual = standings(count, scores, anchors);
  const known = (i: number) => usual[i] === "fixed" || usual[i] === "estimated";
  const inside = scores.filter(({ a, b }) => known(a) && known(b));
  const results = inside.map(({ a, b, points, games, draws }) => {
    const [wins, losses] = [points - draws / 2, games - points - draws / 2];
    return { a, b, wins: wins > 1e-9, losses: losses > 1e-9, draws: draws > 0 };
  });
  if (!results.some(({ draws }) => draws) || results.some(({ wins, losses }) => wins && losses)) return usual;
  // most[i][j]: how far j is above i at most; shortest paths by Floyd and Warshall.
  const most = Array.from({ length: count }, (_, i) =>
    Float64Array.from({ length: count }, (_, j) => (i === j ? 0 : Infinity)),
  );
  const limit = (i: number, j: number, above: number) => {
    most[i]![j] = Math.min(most[i]![j]!, above);
  };
  for (const { a, b, wins, losses, draws } of results) {
    if (wins) limit(a, b, -2);
    if (losses) limit(b, a, -2);
    if (draws) {
      limit(a, b, 2);
      limit(b, a, 2);
    }
  }
  for (const i of anchors) for (const j of anchors) limit(i, j, 0);
  for (let k = 0; k < count; ++k) {
    for (let i = 0; i < count; ++i) {
      for (let j = 0; j < count; ++j) limit(i, j, most[i]![k]! + most[k]![j]!);
    }
  }
  if (most.some((row, i) => row[i]! < 0)) return usual; // no such ratings
  const anchor = anchors[0]!;
  const found = usual.map((standing, i): Standing => {
    const [low, high] = [-most[i]![anchor]!, most[anchor]![i]!];
    if (standing !== "estimated" || (low === 0 && high === 0) || (low < 0 && high > 0)) return standing;
    return low >= 0 ? "atLeast" : "atMost";
  });
  // Whoever is left has only drawn with others that are left, or lies between some that are not.
  for (const { a, b, wins, losses } of results) {
    if (!(wins || losses) || [found[a], found[b]].some((standing) => standing === "atLeast" || standing === "atMost")) {
      continue;
    }
    for (const i of [a, b]) if (found[i] === "estimated") found[i] = "undetermined";
  }
  // And whoever was connected to an anchor by those alone that are not.
  const left = (i: number) => found[i] === "fixed" || found[i] === "estimated";
  const met: number[][] = Array.from({ length: count }, () => []);
  for (const { a, b } of results) {
    if (!left(a) || !left(b)) continue;
    met[a]!.push(b);
    met[b]!.push(a);
  }
  const connected = reach(anchors, met, count);
  return found.map((standing, i) => (standing === "estimated" && !connected[i] ? "undetermined" : standing));
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
