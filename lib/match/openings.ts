// Start positions for matches.

import { OptionError } from "../errors.js";
import { randomOf } from "../lab/stats/random.js";
import type { GameName } from "../names.gen.js";
import { native, take } from "../native.js";
import { checkArguments, checkNumber } from "../options.js";

/** Openings to draw. */
export interface OpeningArguments {
  readonly game: GameName;
  /** How many different ones; a position and its left-right reflection count as one. */
  readonly count: number;
  /** Moves of each. */
  readonly plies: number;
  readonly seed: number;
}

/** Draws in a row that give nothing new before the generator takes it that there is nothing. */
const PATIENCE = 2000;

/**
 * Random openings: each move uniform over the legal ones. Left out are positions in which the side to move wins at once,
 * or loses at once whatever it plays, and those that were drawn before, reflected or by other moves.
 *
 * @throws {@link OptionError} where there are fewer than `count`
 */
export function randomOpenings(args: OpeningArguments): string[] {
  checkArguments(args, "openings", ["game", "count", "plies", "seed"]);
  const { game, count, plies, seed } = args;
  checkNumber(count, "openings.count", 1, 1e6, true);
  checkNumber(plies, "openings.plies", 0, 64, true);
  checkNumber(seed, "openings.seed", 0, Number.MAX_SAFE_INTEGER, true);
  const random = randomOf(seed);
  const seen = new Set<string>();
  const openings: string[] = [];
  for (let idle = 0; openings.length < count; ++idle) {
    if (idle > PATIENCE) {
      throw new OptionError(
        `openings.count is ${count}; only ${openings.length} openings of ${plies} plies were found`,
        {
          op: "openings",
          path: "openings.count",
          received: String(count),
          expected: `at most ${openings.length} for ${plies} plies, or more plies`,
        },
      );
    }
    const drawn = draw(game, plies, (n) => random.below(n));
    if (drawn === null || seen.has(drawn.canonical)) continue;
    seen.add(drawn.canonical);
    openings.push(drawn.moves);
    idle = 0;
  }
  return openings;
}

function position(game: string, moves: string) {
  return take(native().position(game, moves), "position");
}

function draw(game: string, plies: number, below: (n: number) => number): { moves: string; canonical: string } | null {
  let moves = "";
  let at = position(game, moves);
  for (let ply = 0; ply < plies; ++ply) {
    const move = at.legal[below(at.legal.length)];
    if (!move) return null; // the game is over
    moves += move.symbol;
    at = position(game, moves);
  }
  const open = at.result === 0 && !winsAtOnce(game, moves) && !losesAtOnce(game, moves);
  return open ? { moves, canonical: at.canonical } : null;
}

function winsAtOnce(game: string, moves: string): boolean {
  return position(game, moves).legal.some(({ symbol }) => position(game, moves + symbol).result === 1);
}

function losesAtOnce(game: string, moves: string): boolean {
  return position(game, moves).legal.every(({ symbol }) => winsAtOnce(game, moves + symbol));
}
