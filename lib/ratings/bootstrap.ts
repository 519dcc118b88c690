// Intervals of ratings without a model of their noise: encounters are drawn anew from what was played.

import { OptionError } from "../errors.js";
import { type Random, randomOf } from "../lab/stats/random.js";
import { type BradleyTerryArguments, fitTotals, type Total } from "./bradley-terry.js";
import { checkEncounters, type Encounter, playersOf, totalOf } from "./encounter.js";

export interface BootstrapArguments extends BradleyTerryArguments {
  readonly seed: number;
  /** Default 1000. */
  readonly samples?: number | undefined;
  /**
   * What is drawn anew: the colour-swapped pairs of each encounter, or the opponents as well. The second says how the
   * rating may come out on another pool of the same kind; it needs exactly one player that is not anchored.
   */
  readonly over?: "pairs" | "pairs and opponents" | undefined;
}

/** Percentiles of a player's rating. Ends may be infinite, where it swept its opponents in so many of the samples. */
export type RatingInterval = readonly [low: number, high: number];

/**
 * Percentile intervals of {@link bradleyTerry} ratings, by player. Two games of one opening with colours swapped stay
 * together. NaN for players that are undetermined, and for those that played a single pair with each opponent: drawn
 * anew it is always the same.
 */
export function bootstrapRatings(
  encounters: readonly Encounter[],
  args: BootstrapArguments,
): ReadonlyMap<string, RatingInterval> {
  const { seed, samples = 1000, over = "pairs", confidence = 0.95, anchors } = args;
  checkEncounters(encounters, "ratings");
  if (!(Number.isInteger(samples) && samples >= 100 && samples <= 1e6)) {
    refuse("ratings.samples", String(samples), "an integer from 100 to 1000000");
  }
  const players = playersOf(encounters);
  const rated = players.filter((player) => !Object.hasOwn(anchors, player));
  if (over === "pairs and opponents" && rated.length !== 1) {
    refuse("ratings.over", `${over}, with ${rated.length} players that are not anchored`, "one such player");
  }
  const whole = encounters.map(({ a, b, pairs }) => ({ a, b, ...totalOf(pairs) }));
  const start = new Map(fitTotals(players, whole, args).ratings.map(({ player, rating }) => [player, rating]));
  const drawn = new Map(rated.map((player) => [player, new Float64Array(samples)]));
  const random = randomOf(seed);
  for (let sample = 0; sample < samples; ++sample) {
    const among = over === "pairs" ? encounters : encounters.map(() => encounters[random.below(encounters.length)]!);
    const totals = among.map((encounter) => resample(encounter, random));
    for (const { player, rating } of fitTotals(players, totals, args, start).ratings) {
      const into = drawn.get(player);
      if (into) into[sample] = rating;
    }
  }
  const tail = (1 - confidence) / 2;
  return new Map(
    [...drawn].map(([player, ratings]) => {
      const sorted = ratings.sort();
      const met = encounters.filter(({ a, b }) => a === player || b === player);
      const missing = sorted.some(Number.isNaN) || (over === "pairs" && met.every(({ pairs }) => pairs.length === 1));
      const at = (share: number) => sorted[Math.min(samples - 1, Math.floor(share * samples))]!;
      return [player, missing ? [Number.NaN, Number.NaN] : [at(tail), at(1 - tail)]];
    }),
  );
}

function resample({ a, b, pairs }: Encounter, random: Random): Total {
  let [wins, draws, losses] = [0, 0, 0];
  for (let i = 0; i < pairs.length; ++i) {
    const pair = pairs[random.below(pairs.length)]!;
    wins += pair.wins;
    draws += pair.draws;
    losses += pair.losses;
  }
  return { a, b, wins, draws, losses };
}

function refuse(path: string, received: string, expected: string): never {
  throw new OptionError(`${path} is ${received}; it must be ${expected}`, { op: "ratings", path, received, expected });
}
