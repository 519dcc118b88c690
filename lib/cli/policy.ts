import type { Command } from "commander";
import { newestCheckpoint } from "../checkpoint.js";
import type { PositionPolicy } from "../events.js";
import { native } from "../native.js";
import { SelfPlay } from "../selfplay.js";
import type { Context } from "./context.js";
import { type LoadFlags, loadArguments } from "./load.js";
import { usage } from "./output.js";
import { namingLine, namingMoves, positionBatches } from "./positions.js";
import { count } from "./report.js";

interface PolicyFlags extends LoadFlags {
  readonly file?: string;
}

export function registerPolicy(program: Command, context: Context): void {
  program
    .command("policy")
    .summary("logits, probabilities and value at positions")
    .description(
      "Prints the policy at positions. A position is the moves that lead to it, as digits: columns 1-7 of Connect Four, " +
        "cells 1-9 of tic-tac-toe row by row; the empty line is the start position.",
    )
    .argument("<checkpoint>", "a checkpoint or policy file, or a run directory (its newest checkpoint)")
    .argument("[moves]", "the moves of one position; the start position where left out")
    .option("--file <file>", "a file with a position a line, of which the first word counts; - is standard input")
    .option("--threads <n>", "threads; never changes results")
    .option("--precision <name>", "fp32 or bf16, instead of the one it was trained with")
    .option("--json", "one JSON object a line on stdout")
    .addHelpText(
      "after",
      "\nAn empty line of a file is the start position, and so is `-`; what stands behind # is a remark.\n" +
        "\nExamples:\n  $ bellows policy runs/my-run 51\n  $ printf '\\n5\\n51\\n' | bellows policy runs/my-run --file - --json\n",
    )
    .action((path: string, moves: string | undefined, flags: PolicyFlags) => policy(path, moves, flags, context));
}

async function policy(path: string, moves: string | undefined, flags: PolicyFlags, context: Context): Promise<void> {
  const { output } = context;
  if (moves !== undefined && flags.file !== undefined) {
    throw usage("MOVES and --file exclude each other", "--file", flags.file, "either MOVES or --file");
  }
  const file = await newestCheckpoint(path, (error) => output.warn(error.message));
  const run = await SelfPlay.load(file.path, { ...loadArguments(flags), opponents: false });
  try {
    let positions = 0;
    const batches = flags.file === undefined ? [[{ moves: moves ?? "", line: 1 }]] : positionBatches(flags.file);
    for await (const batch of batches) {
      let results: PositionPolicy[];
      try {
        results = await run.policy(batch.map((each) => each.moves));
      } catch (error) {
        throw flags.file === undefined ? namingMoves(error) : namingLine(error, flags.file, batch);
      }
      for (const result of results) await print(result, run.options.game.name, context);
      positions += results.length;
    }
    await output.emit({ type: "result", positions, game: run.options.game.name, checkpoint: file.path });
    if (flags.file !== undefined) output.note(`${count(positions)} positions\n`);
  } finally {
    await run.close();
  }
}

async function print(result: PositionPolicy, game: string, { output }: Context): Promise<void> {
  const { moves, value, terminal } = result;
  const logits = [...result.logits];
  const probabilities = [...result.probabilities];
  if (output.json) {
    await output.emit({ type: "position", moves, logits, probabilities, value, terminal });
    return;
  }
  const outcome = native().position(game, moves);
  const legal = outcome.ok ? outcome.position.legal : [];
  const moveTexts = legal.map(({ action, symbol }) => `${symbol}: ${((probabilities[action] ?? 0) * 100).toFixed(2)}%`);
  const end = terminal ? "the game is over" : moveTexts.join("  ");
  output.text(`${moves === "" ? "(start)" : moves}   value ${value.toFixed(4)}   ${end}\n`);
}
