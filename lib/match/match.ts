// Matches between two players.

import { BellowsError, fromNative, OptionError } from "../errors.js";
import { GAME_NAMES, type GameName } from "../names.gen.js";
import { type NativePlayed, native } from "../native.js";
import { checkArguments, checkNumber, describe } from "../options.js";
import { nativePlayer, Player, type PlayerSpec } from "./player.js";

/** How a match is played. */
export interface MatchArguments {
  /** Needed where neither player is a policy, whose game it is otherwise. */
  readonly game?: GameName | undefined;
  /** Moves of the positions that games start from, in turn; each is played twice with colours swapped. Default: the start position. */
  readonly openings?: readonly string[] | undefined;
  /** Default: each opening once from either side. Beyond that the openings come again, with other random numbers. */
  readonly games?: number | undefined;
  /** Seed of everything random; default 0. */
  readonly seed?: number | undefined;
  /** Threads; never changes results; default 0: all. */
  readonly threads?: number | undefined;
  /** Aborting it ends the match; the promise rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
  /** Told now and then of the games that are over. */
  readonly onProgress?: ((done: number, games: number) => void) | undefined;
}

/** One game of a match. */
export interface MatchGame {
  /** The moves that led to where it began. */
  readonly opening: string;
  /** The moves that were played from there on. */
  readonly moves: string;
  /** Who plays first in the game, that is at even plies. */
  readonly first: "a" | "b";
  /** For the first player of the match: 1 it won, 0.5 drawn, 0 it lost. */
  readonly score: 0 | 0.5 | 1;
}

/** What came of a match, for its first player. */
export interface MatchResult {
  readonly a: string;
  readonly b: string;
  readonly game: GameName;
  readonly wins: number;
  readonly draws: number;
  readonly losses: number;
  /** In order; games 2k and 2k + 1 are one opening with colours swapped. */
  readonly games: readonly MatchGame[];
  /** Games that differ in opening, colours or moves. */
  readonly distinct: number;
  /** Whether nothing in it was random, so that games beyond `distinct` say nothing new. */
  readonly deterministic: boolean;
}

/** Time between two reports of progress. */
const PROGRESS_MS = 100;

/**
 * Plays two players against each other on a native thread. The same seed gives the same games, whatever the threads.
 *
 * @example
 * ```ts
 * const { wins, draws, losses } = await playMatch(
 *   { kind: "policy", path: "runs/my-run", play: "argmax" },
 *   { kind: "alpha-beta", depth: 4 },
 *   { openings: randomOpenings({ game: "connect4", count: 50, plies: 4, seed: 1 }) },
 * );
 * ```
 *
 * @throws {@link OptionError} {@link CheckpointError} {@link OutOfMemoryError}
 */
export async function playMatch(
  a: PlayerSpec | Player,
  b: PlayerSpec | Player,
  args: MatchArguments = {},
): Promise<MatchResult> {
  checkArguments(args, "match", ["game", "openings", "games", "seed", "threads", "signal", "onProgress"]);
  const { signal, onProgress, openings = [""] } = args;
  if (!Array.isArray(openings) || openings.length === 0 || openings.some((moves) => typeof moves !== "string")) {
    refuse("match.openings", openings, "a list of strings of moves, at least one");
  }
  checkNumber(args.games, "match.games", 1, 1e7, true);
  checkNumber(args.seed, "match.seed", 0, Number.MAX_SAFE_INTEGER, true);
  checkNumber(args.threads, "match.threads", 0, 256, true);
  if (signal !== undefined && !(signal instanceof AbortSignal)) refuse("match.signal", signal, "an AbortSignal");
  if (onProgress !== undefined && typeof onProgress !== "function")
    refuse("match.onProgress", onProgress, "a function");
  const players = [await Player.load(a), await Player.load(b)] as const;
  const game = args.game ?? players[0].game ?? players[1].game;
  if (game === null) refuse("match.game", undefined, `${GAME_NAMES.join(" or ")}, where no player is a policy`);
  const games = args.games ?? 2 * openings.length;
  if (signal?.aborted) throw signal.reason;
  const match = native().match({
    game,
    players: [nativePlayer(players[0]), nativePlayer(players[1])],
    openings,
    first: 0,
    games,
    limit: 0,
    seed: args.seed ?? 0,
    threads: args.threads ?? 0,
  });
  const cancel = () => match.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  let failed: { readonly reason: unknown } | null = null;
  const tell = () => {
    try {
      if (!failed) onProgress?.(match.done(), games);
    } catch (reason) {
      failed = { reason }; // thrown by the caller's function
      cancel();
    }
  };
  const timer = onProgress && setInterval(tell, PROGRESS_MS);
  let played: NativePlayed;
  try {
    played = await match.result;
    if (failed) throw (failed as { reason: unknown }).reason;
  } catch (error) {
    if (failed) throw (failed as { reason: unknown }).reason;
    const typed = fromNative(error);
    if (signal?.aborted && typed instanceof BellowsError && typed.code === "CANCELLED") throw signal.reason;
    throw typed;
  } finally {
    clearInterval(timer);
    signal?.removeEventListener("abort", cancel);
  }
  onProgress?.(games, games);
  const list = toGames(played, openings, games);
  const count = (score: number) => list.filter((each) => each.score === score).length;
  return {
    a: players[0].name,
    b: players[1].name,
    game,
    wins: count(1),
    draws: count(0.5),
    losses: count(0),
    games: list,
    distinct: new Set(list.map(gameKey)).size,
    deterministic: players[0].deterministic && players[1].deterministic,
  };
}

/** The symbol of one move: what a player plays after these moves, none of which ends the game. */
export async function chooseMove(
  player: Player,
  args: {
    readonly game: GameName;
    readonly moves: string;
    /** How many moves that is. */
    readonly ply: number;
    readonly seed: number;
    readonly threads?: number | undefined;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<string> {
  const { game, moves, ply, seed, threads = 0, signal } = args;
  if (signal?.aborted) throw signal.reason;
  const other = await Player.load({ kind: "random" });
  // A game of one ply, in the seat whose turn it is.
  const match = native().match({
    game,
    players: [nativePlayer(player), nativePlayer(other)],
    openings: [moves],
    first: ply % 2,
    games: 1,
    limit: 1,
    seed,
    threads,
  });
  const cancel = () => match.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    return Buffer.from((await match.result).moves).toString("latin1", 0, 1);
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw fromNative(error);
  } finally {
    signal?.removeEventListener("abort", cancel);
  }
}

/** The same for games that differ in nothing. */
export function gameKey({ first, opening, moves }: MatchGame): string {
  return `${first} ${opening} ${moves}`;
}

function toGames(played: NativePlayed, openings: readonly string[], games: number): MatchGame[] {
  const results = new Uint8Array(played.results);
  const plies = new Uint8Array(played.plies);
  const moves = Buffer.from(played.moves);
  const stride = moves.length / games;
  return Array.from({ length: games }, (_, g) => ({
    opening: openings[Math.floor(g / 2) % openings.length]!,
    moves: moves.toString("latin1", g * stride, g * stride + plies[g]!),
    first: g % 2 === 0 ? ("a" as const) : ("b" as const),
    score: ([1, 0.5, 0] as const)[results[g]!]!,
  }));
}

function refuse(path: string, value: unknown, expected: string): never {
  throw new OptionError(`${path} is ${describe(value)}; it must be ${expected}`, {
    op: "match",
    path,
    received: describe(value),
    expected,
  });
}
