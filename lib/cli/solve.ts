import type { Command } from "commander";
import { native, take } from "../native.js";
import type { PositionLine } from "../position-lines.js";
import { Connect4Solver, type Solution } from "../solver.js";
import type { Context } from "./context.js";
import { integer } from "./load.js";
import { type Output, usage } from "./output.js";
import { namingLine, namingMoves, positionBatches } from "./positions.js";
import { Counter } from "./progress.js";
import { count, duration } from "./report.js";
import { movesToEnd } from "./verdict.js";

interface SolveFlags {
  readonly file?: string;
  readonly scores?: boolean;
  readonly threads?: string;
  readonly memory?: string;
}

export function registerSolve(program: Command, context: Context): void {
  program
    .command("solve")
    .summary("the exact value of Connect Four positions")
    .description(
      "Solves positions under best play of both sides. A position is the moves that lead to it, as columns 1-7. Its " +
        "score is for the side to move: a win scores 22 minus the number of stones that the winner will have played " +
        "(18 with the fourth stone), a loss the opponent's score negated, a draw 0. Where the game is over, the side " +
        "that would be to move has lost, or it is a draw.",
    )
    .argument("<game>", "connect4")
    .argument("[moves]", "the moves of one position; the empty board where left out")
    .option("--file <file>", "a file with a position a line, of which the first word counts; - is standard input")
    .option("--scores", "score every move, too")
    .option("--threads <n>", "threads for a file's positions; default: all")
    .option("--memory <MiB>", "size of the transposition tables of all threads; default: 64 a thread")
    .option("--json", "one JSON object a line on stdout")
    .addHelpText(
      "after",
      "\nAn empty line of a file is the empty board, and so is `-`; what stands behind # is a remark.\n" +
        "Threads and memory never change a score.\n" +
        "\nExamples:\n  $ bellows solve connect4 4453 --scores\n  $ bellows solve connect4 --file positions.txt --json\n",
    )
    .action((game: string, moves: string | undefined, flags: SolveFlags) => solve(game, moves, flags, context));
}

async function solve(game: string, moves: string | undefined, flags: SolveFlags, context: Context): Promise<void> {
  if (game !== "connect4") {
    throw usage(`there is no solver for ${game}; there is one for connect4`, "game", game, "connect4");
  }
  if (moves !== undefined && flags.file !== undefined) {
    throw usage("MOVES and --file exclude each other", "--file", flags.file, "either MOVES or --file");
  }
  const threads = flags.threads === undefined ? undefined : integer("--threads", flags.threads, 0, 256);
  const memory = flags.memory === undefined ? undefined : integer("--memory", flags.memory, 1, 1 << 20);
  const list = flags.file === undefined ? [{ moves: moves ?? "", line: 1 }] : await readPositions(flags.file);
  const solver = await Connect4Solver.create({ threads: flags.file === undefined ? 1 : threads, memory });
  try {
    await context.gracefully(() => solveAll(solver, list, flags, context));
  } finally {
    await solver.close();
  }
}

async function readPositions(file: string): Promise<PositionLine[]> {
  const list: PositionLine[] = [];
  for await (const batch of positionBatches(file)) list.push(...batch);
  return list;
}

async function solveAll(
  solver: Connect4Solver,
  list: readonly PositionLine[],
  flags: SolveFlags,
  { output, signal }: Context,
): Promise<void> {
  const { file, scores = false } = flags;
  const start = performance.now();
  const progress = file === undefined ? null : new Counter(output, list.length, "positions");
  let nodes = 0;
  let printed: Promise<void> = Promise.resolve();
  try {
    await solver.solveMany(
      list.map(({ moves }) => moves),
      {
        scores,
        signal,
        onSolution: (solution, index) => {
          nodes += solution.nodes;
          printed = printed.then(() => print(solution, file === undefined, output));
          progress?.update(index + 1);
        },
      },
    );
  } catch (error) {
    throw file === undefined ? namingMoves(error) : namingLine(error, file, list);
  } finally {
    await printed;
    progress?.stop();
  }
  const seconds = (performance.now() - start) / 1e3;
  await output.emit({ type: "result", positions: list.length, seconds });
  if (file !== undefined) {
    const speed = `${count(nodes)} nodes, ${count(nodes / seconds)} a second`;
    output.note(`${count(list.length)} positions in ${duration(seconds)} (${speed})\n`);
  }
}

async function print(solution: Solution, alone: boolean, output: Output): Promise<void> {
  const { moves, score, value, scores, nodes, ms } = solution;
  if (output.json) {
    await output.emit({ type: "position", moves, score, value, nodes, ms, ...(scores ? { scores } : {}) });
    return;
  }
  if (alone) {
    output.text(picture(solution));
  } else {
    const moveScores = scores ? `   ${scores.map((each) => each ?? "-").join(" ")}` : "";
    output.text(`${moves === "" ? "(start)" : moves}   ${score} ${value}${moveScores}\n`);
  }
}

/** The board, the scores under their columns, and what they mean. */
function picture({ moves, score, scores, over, nodes, ms }: Solution): string {
  const { board, ply } = take(native().position("connect4", moves), "position");
  const scoreLine = scores ? `${scores.map((each) => String(each ?? "-").padStart(4)).join("")}   score\n` : "";
  // The board's cells as wide as scores are.
  const wide = board.replace(/^ */gm, "   ").replace(/(\S) (?=\S)/g, "$1   ");
  const mover = ply % 2 === 0 ? "X" : "O";
  return `${wide.trimEnd()}\n${scoreLine}\n  ${meaning(score, ply, over, mover)}  (${count(nodes)} nodes, ${ms.toFixed(1)} ms)\n`;
}

function meaning(score: number, ply: number, over: boolean, mover: string): string {
  const other = mover === "X" ? "O" : "X";
  if (over) return score === 0 ? "The game is drawn." : `${other} has won. Score ${score}.`;
  if (score === 0) return `${mover} to move: a draw. Score 0.`;
  const winner = score > 0 ? mover : other;
  const moves = movesToEnd(score, ply);
  return `${mover} to move: ${winner} wins with move ${ply + moves}, in ${moves}. Score ${score}.`;
}
