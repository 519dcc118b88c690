// The perfect player beside a game: scores of moves within a time limit, and which moves were mistakes.

import { Connect4Solver } from "../solver.js";
import { verdict } from "./verdict.js";

/** How long people wait for a position, in ms. */
export const LIMIT = 2000;

/** A move that gave away a win or a draw. */
export interface Mistake {
  readonly by: "human" | "policy";
  readonly move: string;
  /** Which move of the game it was, from 1. */
  readonly number: number;
  /** Scores for the player who made it: of the best move, and of this one. */
  readonly best: number;
  readonly score: number;
}

export class PlaySolver {
  #solver: Connect4Solver | null = null;
  readonly #known = new Map<string, readonly (number | null)[]>();

  /** The score of each column's move, null where it is full; null for all where `ms` do not suffice. */
  async scores(moves: string, ms = LIMIT): Promise<readonly (number | null)[] | null> {
    const known = this.#known.get(moves);
    if (known) return known;
    this.#solver ??= await Connect4Solver.create({ threads: 1 });
    const signal = AbortSignal.timeout(Math.max(1, Math.ceil(ms)));
    try {
      const scores = await this.#solver.scores(moves, { signal });
      this.#known.set(moves, scores);
      return scores;
    } catch (error) {
      if (signal.aborted && error === signal.reason) return null;
      throw error;
    }
  }

  /** Whether the last of the moves was a mistake; undefined where that is not known in time. */
  async mistake(moves: string, humanSeat: number, ms = LIMIT): Promise<Mistake | null | undefined> {
    const scores = await this.scores(moves.slice(0, -1), ms);
    if (!scores) return undefined;
    const move = moves.at(-1)!;
    const best = Math.max(...scores.filter((score) => score !== null));
    const score = scores[Number(move) - 1]!;
    if (Math.sign(score) >= Math.sign(best)) return null;
    const by = (moves.length - 1) % 2 === humanSeat ? "human" : "policy";
    return { by, move, number: moves.length, best, score };
  }

  /** All mistakes of a game, its end first; `judged` moves were looked at before the time was over. */
  async review(moves: string, humanSeat: number): Promise<{ mistakes: Mistake[]; judged: number }> {
    const end = performance.now() + LIMIT;
    const mistakes: Mistake[] = [];
    let judged = 0;
    for (let length = moves.length; length > 0; --length) {
      const found = await this.mistake(moves.slice(0, length), humanSeat, Math.max(1, end - performance.now()));
      if (found === undefined) continue;
      ++judged;
      if (found) mistakes.unshift(found);
    }
    return { mistakes, judged };
  }

  async close(): Promise<void> {
    await this.#solver?.close();
  }
}

/** "3 was a mistake: from a win in 7 to a draw". */
export function mistakeText({ move, number, best, score }: Mistake): string {
  return `${move} was a mistake: from a ${verdict(best, number - 1)} to a ${verdict(score, number - 1)}`;
}

/** One line on both sides' mistakes. */
export function reviewText(mistakes: readonly Mistake[], judged: number, moves: number): string {
  const of = (who: Mistake["by"]) => {
    const theirs = mistakes.filter(({ by }) => by === who).map(({ number }) => number);
    return theirs.length === 0 ? "none" : `${theirs.length} (move ${theirs.join(", ")})`;
  };
  const rest = judged === moves ? "" : `; ${moves - judged} of ${moves} moves were not judged in time`;
  return `Judged by the perfect player, mistakes of yours: ${of("human")}, of the policy: ${of("policy")}${rest}.`;
}
