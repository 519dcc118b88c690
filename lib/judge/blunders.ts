// The mistakes themselves: which moves lost what, and of which kind they are.

import { native, take } from "../native.js";
import { type Answer, chosenMove } from "./judgement.js";
import { choiceOf, type PlyBand, type ScoredPosition } from "./positions.js";

export const BLUNDER_KINDS = ["missed win", "missed block", "win on top", "deeper"] as const;

/**
 * `missed win`: a move would have won at once. `missed block`: the opponent had three in a row already and completes
 * four at once. `win on top`: he completes four on top of the stone just played. `deeper`: all others.
 */
export type BlunderKind = (typeof BLUNDER_KINDS)[number];

/** A move of the argmax policy that loses value. */
export interface Blunder {
  /** The moves that lead to the position. */
  readonly moves: string;
  readonly band: PlyBand;
  readonly side: "first" | "second";
  /** The columns that are concerned, counted from 1. */
  readonly played: number;
  readonly best: readonly number[];
  /** What the position is worth to the side to move, and what is left of it. */
  readonly value: "win" | "draw";
  readonly after: "draw" | "loss";
  readonly scoreBest: number;
  readonly scorePlayed: number;
  /** The policy's probability of the move, and its value of the position. */
  readonly probability: number;
  readonly agentValue: number;
  readonly kind: BlunderKind;
}

function wonBy(moves: string): boolean {
  return take(native().position("connect4", moves), "position").result === 1;
}

/** Where the opponent completes four at once, he had it before the move, or it is on top of it. */
function kindOf(moves: string, played: number, columns: readonly number[], scores: { best: number; win: number }) {
  if (scores.best === scores.win) return "missed win";
  const after = `${moves}${played}`;
  const replies = columns.filter((column) => wonBy(`${after}${column}`));
  if (replies.length === 0) return "deeper";
  return replies.some((column) => column !== played) ? "missed block" : "win on top";
}

/** The blunders among answers, one a position: those that lose most value first, then those that lose most score. */
export function findBlunders(positions: readonly ScoredPosition[], answers: readonly Answer[]): Blunder[] {
  const blunders = positions.flatMap((position, i): Blunder[] => {
    const answer = answers[i]!;
    const choice = choiceOf(position);
    const { legal, best, win, band, side } = choice;
    const chosen = chosenMove(choice, answer);
    const scorePlayed = position.scores[chosen]!;
    if (Math.sign(scorePlayed) === Math.sign(best)) return [];
    const played = chosen + 1;
    // A column that the move has filled is legal no more: nobody wins there.
    const height = [...position.moves].filter((move) => Number(move) === played).length;
    const replies = legal.map((column) => column + 1).filter((column) => column !== played || height < 5);
    return [
      {
        moves: position.moves,
        band,
        side,
        played,
        best: legal.filter((column) => position.scores[column] === best).map((column) => column + 1),
        value: best > 0 ? "win" : "draw",
        after: scorePlayed < 0 ? "loss" : "draw",
        scoreBest: best,
        scorePlayed,
        probability: answer.probabilities[chosen]!,
        agentValue: answer.value,
        kind: kindOf(position.moves, played, replies, { best, win }),
      },
    ];
  });
  const lost = ({ value, after }: Blunder) => Number(value === "win" && after === "loss");
  const score = ({ scoreBest, scorePlayed }: Blunder) => scoreBest - scorePlayed;
  return blunders.sort((a, b) => lost(b) - lost(a) || score(b) - score(a) || (a.moves < b.moves ? -1 : 1));
}
