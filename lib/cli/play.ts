import { createInterface } from "node:readline";
import type { Command } from "commander";
import { newestCheckpoint } from "../checkpoint.js";
import type { PositionPolicy } from "../events.js";
import { chooseMove } from "../match/match.js";
import { MAX_SIMULATIONS, Player } from "../match/player.js";
import { GAME_TITLES } from "../names.gen.js";
import { type NativePosition, native, take } from "../native.js";
import { SelfPlay } from "../selfplay.js";
import type { Context } from "./context.js";
import { integer, type LoadFlags, loadArguments } from "./load.js";
import { usage } from "./output.js";
import { giveHint } from "./play-hint.js";
import { mistakeText, PlaySolver, reviewText } from "./play-solver.js";

interface PlayFlags extends LoadFlags {
  readonly first?: boolean;
  readonly second?: boolean;
  readonly hints?: boolean;
  readonly sample?: boolean;
  readonly simulations?: string;
}

export function registerPlay(program: Command, context: Context): void {
  program
    .command("play")
    .summary("play against a checkpoint in the terminal")
    .description("Plays a game against a checkpoint. Type a move, `undo`, `hint`, or `quit`.")
    .argument("<checkpoint>", "a checkpoint or policy file, or a run directory (its newest checkpoint)")
    .option("--first", "you move first (the default)")
    .option("--second", "the policy moves first")
    .option(
      "--hints",
      "before each of your moves, show what the policy thinks; in Connect Four also the exact score of each move, and mistakes",
    )
    .option("--sample", "the policy samples its moves instead of playing the most probable one")
    .option("--simulations <n>", "the policy searches so many simulations before each of its moves")
    .option("--threads <n>", "threads; never changes results")
    .option("--precision <name>", "fp32 or bf16, instead of the one it was trained with")
    .option("--json", "one JSON object a line on stdout")
    .addHelpText("after", "\nExample:\n  $ bellows play runs/my-run --second --hints\n")
    .action((path: string, flags: PlayFlags) => play(path, flags, context));
}

type Winner = "human" | "policy" | "draw" | null;

async function play(path: string, flags: PlayFlags, context: Context): Promise<void> {
  const { output } = context;
  if (flags.first && flags.second) {
    throw usage("--first and --second exclude each other", "--second", "both", "one of --first and --second");
  }
  const humanSeat = flags.second ? 1 : 0;
  const simulations =
    flags.simulations === undefined ? 0 : integer("--simulations", flags.simulations, 0, MAX_SIMULATIONS);
  const file = await newestCheckpoint(path, (error) => output.warn(error.message));
  const load = loadArguments(flags);
  const run = await SelfPlay.load(file.path, { ...load, opponents: false });
  const { name } = run.options.game;
  const how = flags.sample ? "sampled" : "argmax";
  const searcher = simulations === 0 ? null : await Player.load({ kind: "policy", run, play: how, simulations });
  const solver = name === "connect4" ? new PlaySolver() : null;
  const terminal = process.stdin.isTTY === true && !output.json;
  const reader = createInterface({ input: process.stdin, ...(terminal ? { output: process.stdout } : {}) });
  reader.on("SIGINT", () => context.interrupt("SIGINT"));
  const lines = reader[Symbol.asyncIterator]();
  try {
    output.text(`${GAME_TITLES[name]}: you play ${humanSeat === 0 ? "first (X)" : "second (O)"}.\n`);
    let moves = "";
    let winner: Winner = null;
    for (;;) {
      const position = take(native().position(name, moves), "position");
      const human = position.ply % 2 === humanSeat;
      const board = position.board.endsWith("\n") ? position.board : `${position.board}\n`;
      output.text(`\n${board}\n`);
      await output.emit({ type: "position", moves, board: position.board, toMove: human ? "human" : "policy" });
      if (position.result !== 0) {
        winner = position.result === 2 ? "draw" : human ? "policy" : "human";
        break;
      }
      if (human) {
        const hint = async () => giveHint(await run.policy(moves), position, solver, output);
        if (flags.hints) await hint();
        const next = await ask(lines, moves, position, hint, context);
        if (next === null) break;
        moves = next;
      } else {
        const symbol = searcher
          ? await chooseMove(searcher, {
              game: name,
              moves,
              ply: position.ply,
              seed: Math.floor(Math.random() * 2 ** 32),
              threads: load.threads,
              signal: context.signal,
            })
          : choose(await run.policy(moves), position, flags.sample ?? false);
        output.text(`The policy plays ${symbol}.\n`);
        await output.emit({ type: "move", by: "policy", move: symbol });
        moves += symbol;
      }
      const mistake = flags.hints && solver && moves.length > position.ply && (await solver.mistake(moves, humanSeat));
      if (mistake) {
        output.text(`${mistakeText(mistake)}.\n`);
        await output.emit({ type: "mistake", ...mistake });
      }
    }
    const words = { human: "You win.", policy: "The policy wins.", draw: "A draw." };
    output.text(winner === null ? "\nStopped before the end.\n" : `${words[winner]}  Moves: ${moves}\n`);
    const review = winner !== null && solver ? await solver.review(moves, humanSeat) : null;
    if (review) output.text(`${reviewText(review.mistakes, review.judged, moves.length)}\n`);
    await output.emit({
      type: "result",
      game: name,
      checkpoint: file.path,
      human: humanSeat === 0 ? "first" : "second",
      moves,
      winner,
      stopped: winner === null,
      simulations,
      ...(review ?? {}),
    });
  } finally {
    reader.close();
    process.stdin.unref?.();
    await solver?.close();
    await run.close();
  }
}

/** The moves after the human's answer; null at the end of input or on `quit`. */
async function ask(
  lines: AsyncIterator<string>,
  moves: string,
  position: NativePosition,
  hint: () => Promise<void>,
  { output }: Context,
): Promise<string | null> {
  const symbols = position.legal.map(({ symbol }) => symbol);
  for (;;) {
    output.text(`Your move (${symbols.join(" ")}): `);
    const { value, done } = await lines.next();
    if (done) return null;
    const answer = String(value).trim().toLowerCase();
    if (answer === "") continue;
    if (answer === "q" || answer === "quit" || answer === "exit") return null;
    if (answer === "hint" || answer === "h") {
      await hint();
      continue;
    }
    if (answer === "undo" || answer === "u") {
      if (moves.length >= 2) {
        await output.emit({ type: "undo", moves: moves.slice(0, -2) });
        return moves.slice(0, -2);
      }
      output.text("There is nothing to undo.\n");
      await output.emit({ type: "refused", received: answer, expected: symbols });
      continue;
    }
    if (symbols.includes(answer)) {
      await output.emit({ type: "move", by: "human", move: answer });
      return moves + answer;
    }
    output.text(`${JSON.stringify(answer)} is not a move here; these are: ${symbols.join(" ")}.\n`);
    await output.emit({ type: "refused", received: answer, expected: symbols });
  }
}

function choose({ probabilities, logits }: PositionPolicy, position: NativePosition, sample: boolean): string {
  let best = position.legal[0]!;
  if (sample) {
    let rest = Math.random();
    for (const move of position.legal) {
      best = move;
      rest -= probabilities[move.action]!;
      if (rest < 0) break;
    }
  } else {
    // Logits, as matches and judges do: probabilities may round to equal ones.
    for (const move of position.legal) if (logits[move.action]! > logits[best.action]!) best = move;
  }
  return best.symbol;
}
