// The rating list that self-play-ppo makes of a tournament, to compare with its numbers: Elo updates, encounter by
// encounter, in passes over a fixed order. It is not a likelihood: it depends on the order, and stops where 200 passes
// lead.

import { OptionError } from "../errors.js";
import { type Encounter, playersOf, totalOf } from "./encounter.js";
import { expectedScore } from "./scale.js";

const K = 16;
const PASSES = 200;
const START = 1500;

/** Ratings by player, shifted so that `anchor` has `anchorRating` (1000). Encounters are taken in the given order. */
export function sequentialElo(
  encounters: readonly Encounter[],
  anchor = "random",
  anchorRating = 1000,
): ReadonlyMap<string, number> {
  const ratings = new Map(playersOf(encounters).map((player) => [player, START]));
  if (!ratings.has(anchor)) {
    throw new OptionError(`ratings.anchor is "${anchor}", who did not play`, {
      op: "ratings",
      path: "ratings.anchor",
      received: anchor,
      expected: [...ratings.keys()].join(", "),
    });
  }
  const scores = encounters.map(({ a, b, pairs }) => {
    const { wins, draws, losses } = totalOf(pairs);
    return { a, b, score: (wins + draws / 2) / (wins + draws + losses) };
  });
  for (let pass = 0; pass < PASSES; ++pass) {
    for (const { a, b, score } of scores) {
      if (Number.isNaN(score)) continue; // no games
      const [ra, rb] = [ratings.get(a)!, ratings.get(b)!];
      const change = K * (score - expectedScore(ra - rb));
      ratings.set(a, ra + change);
      ratings.set(b, rb - change);
    }
  }
  const shift = anchorRating - ratings.get(anchor)!;
  return new Map([...ratings].map(([player, rating]) => [player, rating + shift]));
}
