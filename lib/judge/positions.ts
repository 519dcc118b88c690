// Connect Four positions with the exact score of every move: the set that agents are judged on.

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { ioError, OptionError } from "../errors.js";

/** A position whose moves are all scored, in the convention of {@link Connect4Solver}. */
export interface ScoredPosition {
  /** The moves that lead there. */
  readonly moves: string;
  /** The score of a move into each of the seven columns, null where it is full. */
  readonly scores: readonly (number | null)[];
}

/** Ranges of the number of stones on the board, first and last one included. */
export const PLY_BANDS = ["0-7", "8-15", "16-23", "24-31", "32-41"] as const;

export type PlyBand = (typeof PLY_BANDS)[number];

const COLUMNS = 7;
const BAND = 8;

/** The band of a number of stones. */
export function bandOf(stones: number): PlyBand {
  return PLY_BANDS[Math.min(PLY_BANDS.length - 1, Math.floor(stones / BAND))]!;
}

/** What the moves of a position are worth. */
export interface Choice {
  readonly stones: number;
  readonly band: PlyBand;
  /** Who is to move. */
  readonly side: "first" | "second";
  readonly legal: readonly number[];
  /** Of the best move, which is the position's own. */
  readonly best: number;
  /** Whether a move of another value than the best one's is there, so that a mistake can be made. */
  readonly contested: boolean;
  /** The score of a move that completes four. */
  readonly win: number;
  /** The score of a move after which the opponent can complete four at once. */
  readonly loss: number;
}

/** What follows from the scores alone. */
export function choiceOf({ moves, scores }: ScoredPosition): Choice {
  const stones = moves.length;
  const legal = scores.flatMap((score, column) => (score === null ? [] : [column]));
  const best = Math.max(...legal.map((column) => scores[column]!));
  return {
    stones,
    band: bandOf(stones),
    side: stones % 2 === 0 ? "first" : "second",
    legal,
    best,
    contested: legal.some((column) => Math.sign(scores[column]!) !== Math.sign(best)),
    // The winner will have played one stone more than he has: he himself now, or the opponent after this move.
    win: 21 - Math.floor(stones / 2),
    loss: Math.floor((stones + 1) / 2) - 21,
  };
}

/**
 * Reads positions: lines of moves (`-` is the empty board), a word that tells where the position comes from, and the
 * score of each column's move, `.` where it is full. Lines that begin with # say nothing.
 *
 * @throws {@link OptionError} whose path is `FILE:LINE`
 */
export function parsePositions(text: string, file: string): ScoredPosition[] {
  const positions: ScoredPosition[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line === "" || line.startsWith("#")) continue;
    const [moves = "", , ...words] = line.split(" ");
    const scores = words.map((word) => (word === "." ? null : Number(word)));
    const known = scores.filter((score) => score !== null);
    const sound = known.length > 0 && known.every((score) => Number.isInteger(score) && Math.abs(score) <= 18);
    if (!/^(-|[1-7]{1,41})$/.test(moves) || scores.length !== COLUMNS || !sound) {
      const path = `${file}:${index + 1}`;
      const expected = "moves, a word, and seven scores from -18 to 18 or dots";
      throw new OptionError(`${path} is ${JSON.stringify(line)}; it must be ${expected}`, {
        op: "positions",
        path,
        received: line,
        expected,
      });
    }
    positions.push({ moves: moves === "-" ? "" : moves, scores });
  }
  return positions;
}

let positions: Promise<readonly ScoredPosition[]> | undefined;

async function readPositions(): Promise<readonly ScoredPosition[]> {
  // A bundle of CommonJS has no import.meta.url.
  const name = "pools/connect4-positions.txt";
  const file = import.meta.url ? fileURLToPath(new URL(`../../${name}`, import.meta.url)) : name;
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw ioError(
      error,
      file,
      "cannot read the positions to judge on (where bellows was bundled: mark it as external)",
    );
  }
  return parsePositions(text, file);
}

/**
 * The positions that {@link judgeConnect4} uses: some 2,500, stratified by stones, side to move, value and how many moves
 * keep it.
 */
export function connect4Positions(): Promise<readonly ScoredPosition[]> {
  positions ??= readPositions().catch((error: unknown) => {
    positions = undefined;
    throw error;
  });
  return positions;
}
