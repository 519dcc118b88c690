// One player rated by games against the members of a pool, whose ratings stay.

import { resolve } from "node:path";
import { OptionError } from "../errors.js";
import { checkArguments, checkNumber } from "../options.js";
import { bootstrapRatings, type RatingInterval } from "../ratings/bootstrap.js";
import { bradleyTerry, type PlayerRating } from "../ratings/bradley-terry.js";
import { type Encounter, encounterOf, totalOf } from "../ratings/encounter.js";
import { fixedPoolRating } from "../ratings/fixed-pool.js";
import { type MatchArguments, type MatchResult, playMatch } from "./match.js";
import { randomOpenings } from "./openings.js";
import { Player, type PlayerSpec } from "./player.js";
import type { Pool, PoolMember } from "./pool.js";
import { matchSeed } from "./round-robin.js";

/** What games against a pool say of a player. */
export interface PoolRating extends PlayerRating {
  /** 95%, over pairs of games with one opening and colours swapped; ends may be infinite. */
  readonly interval: RatingInterval | undefined;
  /** The same, over opponents as well: how the rating may differ on another pool. */
  readonly intervalOverOpponents: RatingInterval | undefined;
  /** By the procedure of self-play-ppo on the pool's sequential ratings; null after nothing but wins or losses. */
  readonly sequential: number | null;
  readonly opponents: readonly { readonly member: PoolMember; readonly match: MatchResult; readonly met: Encounter }[];
}

export interface PoolRatingArguments extends Omit<MatchArguments, "game" | "openings"> {
  /** Against each member, half of them with either colour. */
  readonly games: number;
  /** Random plies at the beginning of each pair of games; default: those of the pool. */
  readonly plies?: number | undefined;
  readonly draws?: "half" | "davidson" | undefined;
  /** Number of the first match, where several players are rated with one seed. */
  readonly firstMatch?: number | undefined;
  /** Told after each match. */
  readonly onMatch?: ((match: MatchResult) => void | Promise<void>) | undefined;
}

/** Two policies are the same by file and how they play, whatever they are called; other players by name. */
function same(a: Player, b: Player): boolean {
  if (a.source === null || b.source === null) return a.name === b.name && a.source === b.source;
  const how = ({ play, temperature, simulations }: Player) => `${play} ${temperature} ${simulations}`;
  return resolve(a.source) === resolve(b.source) && how(a) === how(b);
}

/**
 * Rates a player; if it is a member itself, by the others.
 *
 * @throws {@link OptionError} {@link CheckpointError} {@link OutOfMemoryError}
 */
export async function rateOnPool(
  spec: PlayerSpec | Player,
  pool: Pool,
  args: PoolRatingArguments,
): Promise<PoolRating> {
  const keys = ["games", "plies", "draws", "firstMatch", "onMatch", "seed", "threads", "signal", "onProgress"];
  checkArguments(args, "rating", keys);
  checkNumber(args.games, "rating.games", 2, 1e6, true);
  if (args.games % 2 !== 0) {
    throw new OptionError(`rating.games is ${args.games}; it must be even`, {
      op: "rating",
      path: "rating.games",
      received: String(args.games),
      expected: "an even number: half of the games with either colour",
    });
  }
  checkNumber(args.plies, "rating.plies", 0, 64, true);
  checkNumber(args.seed, "rating.seed", 0, Number.MAX_SAFE_INTEGER, true);
  checkNumber(args.firstMatch, "rating.firstMatch", 0, Number.MAX_SAFE_INTEGER, true);
  const player = await Player.load(spec);
  const { games, plies = pool.plies, draws = "half", firstMatch = 0, onMatch, seed = 0, ...how } = args;
  const { game } = pool;
  const openings = plies === 0 ? [""] : randomOpenings({ game, plies, count: games / 2, seed });
  const opponents: { member: PoolMember; match: MatchResult; met: Encounter }[] = [];
  for (const member of pool.members) {
    if (same(member.player, player)) continue;
    const number = firstMatch + opponents.length;
    const match = await playMatch(player, member.player, {
      ...how,
      game,
      openings,
      games,
      seed: matchSeed(seed, number),
    });
    opponents.push({ member, match, met: encounterOf(match) });
    await onMatch?.(match);
  }
  // Under a name of its own: a member may be an earlier state of the same run, and called the same.
  const taken = new Set(opponents.map(({ member }) => member.player.name));
  let name = player.name;
  while (taken.has(name)) name += "'";
  const encounters = opponents.map(({ met }) => ({ ...met, a: name }));
  const anchors = Object.fromEntries(opponents.map(({ member }) => [member.player.name, member.rating]));
  const fit = { anchors, draws, seed };
  const rating = bradleyTerry(encounters, fit).ratings.find((rated) => rated.player === name)!;
  const tallies = opponents.map(({ member, met }) => ({ ...totalOf(met.pairs), rating: member.sequential }));
  return {
    ...rating,
    player: player.name,
    interval: bootstrapRatings(encounters, fit).get(name),
    intervalOverOpponents: bootstrapRatings(encounters, { ...fit, over: "pairs and opponents" }).get(name),
    // A sweep has no rating by Newton steps either.
    sequential: rating.standing === "estimated" ? fixedPoolRating(tallies) : null,
    opponents,
  };
}
