// The blunder atlas: positions in which an agent's most probable move loses value, from its own games, in clusters. As
// text it is a file of start positions (`rollout.starts.file`); the positions by which agents are judged are left out,
// so that an agent that was trained from it can be judged by them.

import { playMatch } from "../match/match.js";
import { randomOpenings } from "../match/openings.js";
import { Player, parseReferencePlayer } from "../match/player.js";
import { matchSeed } from "../match/round-robin.js";
import { native, take } from "../native.js";
import { checkArguments, checkNumber } from "../options.js";
import type { SelfPlay } from "../selfplay.js";
import { Connect4Solver } from "../solver.js";
import { BLUNDER_KINDS, type Blunder, type BlunderKind, findBlunders } from "./blunders.js";
import { connect4Positions, PLY_BANDS, type PlyBand } from "./positions.js";

export interface AtlasArguments {
  /** Games of the sampled policy with itself; and of the argmax policy against each of the opponents; default 100. */
  readonly games?: number | undefined;
  /** Positions of games with fewer stones are left out: solving them takes long; default 12. */
  readonly stones?: number | undefined;
  readonly seed?: number | undefined;
  readonly threads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told of the positions that are solved. */
  readonly onProgress?: ((done: number, positions: number) => void) | undefined;
}

/** Blunders that are alike. */
export interface BlunderCluster {
  readonly band: PlyBand;
  readonly side: "first" | "second";
  readonly value: "win" | "draw";
  readonly after: "draw" | "loss";
  readonly kind: BlunderKind;
  /** Those that lose most first. */
  readonly blunders: readonly Blunder[];
}

export interface Atlas {
  /** Different positions that were looked at: those of its games, whoever was to move. */
  readonly positions: number;
  /** The largest first. */
  readonly clusters: readonly BlunderCluster[];
}

/** Whom the argmax policy meets; each from openings of so many random moves. */
const OPPONENTS = ["one-ply", "alpha-beta:2", "alpha-beta:4", "alpha-beta:6", "mcts:100"];
export const ATLAS_PLIES = 4;

/** Blunders by stones, side, what they lose and kind. */
export function clusterBlunders(blunders: readonly Blunder[]): BlunderCluster[] {
  const clusters: BlunderCluster[] = [];
  for (const band of PLY_BANDS) {
    for (const side of ["first", "second"] as const) {
      for (const [value, after] of [
        ["win", "loss"],
        ["win", "draw"],
        ["draw", "loss"],
      ] as const) {
        for (const kind of BLUNDER_KINDS) {
          const alike = { band, side, value, after, kind };
          const of = blunders.filter((blunder) =>
            Object.entries(alike).every(([name, wanted]) => blunder[name as keyof typeof alike] === wanted),
          );
          if (of.length > 0) clusters.push({ ...alike, blunders: of });
        }
      }
    }
  }
  return clusters.sort((a, b) => b.blunders.length - a.blunders.length);
}

const canonicalOf = (moves: string) => take(native().position("connect4", moves), "position").canonical;

/** The positions of games, each once, from a number of stones on, without some others and their mirror images. */
function positionsOf(games: readonly string[], stones: number, others: readonly string[]): string[] {
  const left = new Set(others.map(canonicalOf));
  const seen = new Set<string>();
  const found: string[] = [];
  for (const game of games) {
    for (let length = stones; length < game.length; ++length) {
      const moves = game.slice(0, length);
      if (seen.has(moves)) continue;
      seen.add(moves);
      const canonical = canonicalOf(moves);
      if (left.has(canonical)) continue;
      left.add(canonical);
      found.push(moves);
    }
  }
  return found;
}

async function ownGames(run: SelfPlay, count: number, seed: number, { threads, signal }: AtlasArguments) {
  const openings = randomOpenings({ game: "connect4", count: Math.ceil(count / 2), plies: ATLAS_PLIES, seed });
  const args = { openings, games: count, threads, signal };
  const self = await Player.load({ kind: "policy", run, play: "sampled", name: "itself" });
  const agent = await Player.load({ kind: "policy", run, play: "argmax", name: "the agent" });
  const games: string[] = [];
  for (const [i, opponent] of [self, ...OPPONENTS].entries()) {
    const match = await (opponent instanceof Player
      ? playMatch(self, opponent, { ...args, seed: matchSeed(seed, i) })
      : playMatch(agent, parseReferencePlayer(opponent)!, { ...args, seed: matchSeed(seed, i) }));
    games.push(...match.games.map(({ opening, moves }) => opening + moves));
  }
  return games;
}

/**
 * Collects the blunders of an agent of Connect Four in its games with itself and with players of the ladder, from random
 * openings of four moves. None is one of {@link connect4Positions}, by which agents are judged. It takes a minute or so,
 * most of it for solving.
 */
export async function blunderAtlas(run: SelfPlay, args: AtlasArguments = {}): Promise<Atlas> {
  checkArguments(args, "atlas", ["games", "stones", "seed", "threads", "signal", "onProgress"]);
  const { games = 100, stones = 12, seed = 0, threads, signal, onProgress } = args;
  checkNumber(games, "atlas.games", 2, 1e6, true);
  checkNumber(stones, "atlas.stones", 0, 41, true);
  checkNumber(seed, "atlas.seed", 0, Number.MAX_SAFE_INTEGER, true);
  checkNumber(threads, "atlas.threads", 0, 256, true);

  const judged = (await connect4Positions()).map(({ moves }) => moves);
  const asked = positionsOf(await ownGames(run, games, seed, args), stones, judged);
  const answers = await run.policy(asked);
  const solver = await Connect4Solver.create({ threads });
  try {
    // The value before and after the move first: two searches instead of one a move where there is no mistake.
    const chosen = answers.map(({ logits, moves }) => {
      const { legal } = take(native().position("connect4", moves), "position");
      const best = legal.reduce((a, b) => (logits[b.action]! > logits[a.action]! ? b : a));
      return best.symbol;
    });
    const pairs = asked.flatMap((moves, i) => [moves, moves + chosen[i]]);
    const solutions = await solver.solveMany(pairs, {
      signal,
      onSolution: (_, index) => index % 2 === 1 && onProgress?.((index + 1) / 2, asked.length),
    });
    const wrong = [...asked.keys()].filter(
      (i) => Math.sign(solutions[2 * i]!.score) !== -Math.sign(solutions[2 * i + 1]!.score),
    );
    const scored = await solver.solveMany(
      wrong.map((i) => asked[i]!),
      { scores: true, signal },
    );
    const blunders = findBlunders(
      scored.map(({ moves, scores }) => ({ moves, scores: scores! })),
      wrong.map((i) => answers[i]!),
    );
    return { positions: asked.length, clusters: clusterBlunders(blunders) };
  } finally {
    await solver.close();
  }
}

/** An atlas as a file of start positions: moves, and behind # what was played and what was best. */
export function atlasText({ clusters }: Pick<Atlas, "clusters">): string {
  return clusters
    .map(({ band, side, value, after, kind, blunders }) => {
      const lines = blunders.map(
        ({ moves, played, best, scorePlayed, scoreBest }) =>
          `${moves} # played ${played} (${scorePlayed}), best ${best.join(" ")} (${scoreBest})\n`,
      );
      return `# ${band} stones, ${side} player, ${value} to ${after}, ${kind}: ${lines.length}\n${lines.join("")}`;
    })
    .join("#\n"); // an empty line would be the empty board, to `bellows solve` and `policy`
}
