// Every player against every other one.

import { randomOf } from "../lab/stats/random.js";
import { checkArguments, checkNumber } from "../options.js";
import { type MatchArguments, type MatchResult, playMatch } from "./match.js";
import { Player, type PlayerSpec } from "./player.js";

export interface RoundRobinArguments extends MatchArguments {
  /** Told after each match, of all that there are. */
  readonly onMatch?: ((match: MatchResult, done: number, matches: number) => void | Promise<void>) | undefined;
}

/** A seed of its own for match number `index`, so that no two matches of a tournament share random numbers. */
export function matchSeed(seed: number, index: number): number {
  return randomOf(seed, index).below(2 ** 53);
}

/**
 * Plays a match of `games` between any two of the players, in the order (1, 2), (1, 3), ..., (2, 3), ...
 *
 * @throws {@link OptionError} {@link CheckpointError} {@link OutOfMemoryError}
 */
export async function playRoundRobin(
  specs: readonly (PlayerSpec | Player)[],
  args: RoundRobinArguments = {},
): Promise<MatchResult[]> {
  const { onMatch, ...rest } = args;
  const keys = ["game", "openings", "games", "seed", "threads", "signal", "onProgress", "onMatch"];
  checkArguments(args, "match", keys);
  checkNumber(args.seed, "match.seed", 0, Number.MAX_SAFE_INTEGER, true);
  const players: Player[] = [];
  for (const spec of specs) players.push(await Player.load(spec));
  const matches: MatchResult[] = [];
  const count = (players.length * (players.length - 1)) / 2;
  for (const [i, a] of players.entries()) {
    for (const b of players.slice(i + 1)) {
      const match = await playMatch(a, b, { ...rest, seed: matchSeed(args.seed ?? 0, matches.length) });
      matches.push(match);
      await onMatch?.(match, matches.length, count);
    }
  }
  return matches;
}
