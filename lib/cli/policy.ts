import { createReadStream } from "node:fs";
import type { Command } from "commander";
import { newestCheckpoint } from "../checkpoint.js";
import { ioError, OptionError } from "../errors.js";
import type { PositionPolicy } from "../events.js";
import { native } from "../native.js";
import { SelfPlay } from "../selfplay.js";
import type { Context } from "./context.js";
import { type LoadFlags, loadArguments } from "./load.js";
import { usage } from "./output.js";
import { count } from "./report.js";

interface PolicyFlags extends LoadFlags {
  readonly file?: string;
}

/** Positions read from a file before the engine is asked. */
const BATCH = 1024;

export function registerPolicy(program: Command, context: Context): void {
  program
    .command("policy")
    .summary("logits, probabilities and value at positions")
    .description(
      "Prints the policy at positions. A position is the moves that lead to it, as digits: columns 1-7 of Connect Four, " +
        "cells 1-9 of tic-tac-toe row by row; the empty line is the start position.",
    )
    .argument("<checkpoint>", "a .safetensors file, or a run directory (its newest checkpoint)")
    .argument("[moves]", "the moves of one position; the start position where left out")
    .option("--file <file>", "a file with one position a line; - is standard input")
    .option("--threads <n>", "threads; never changes results")
    .option("--precision <name>", "fp32 or bf16, instead of the one it was trained with")
    .option("--json", "one JSON object a line on stdout")
    .addHelpText(
      "after",
      "\nExamples:\n  $ bellows policy runs/my-run 51\n  $ printf '\\n5\\n51\\n' | bellows policy runs/my-run --file - --json\n",
    )
    .action((path: string, moves: string | undefined, flags: PolicyFlags) => policy(path, moves, flags, context));
}

/** Lines of a file in batches. A newline at the end of the file begins no further line. */
async function* lineBatches(path: string): AsyncGenerator<string[], void, undefined> {
  const stream = path === "-" ? process.stdin.setEncoding("utf8") : createReadStream(path, "utf8");
  let rest = "";
  let batch: string[] = [];
  try {
    for await (const chunk of stream as AsyncIterable<string>) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        batch.push(line.replace(/\r$/, ""));
        if (batch.length < BATCH) continue;
        yield batch;
        batch = [];
      }
    }
  } catch (error) {
    throw ioError(error, path, "cannot read the positions");
  }
  if (rest !== "") batch.push(rest.replace(/\r$/, ""));
  if (batch.length > 0) yield batch;
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
    const batches = flags.file === undefined ? [[moves ?? ""]] : lineBatches(flags.file);
    for await (const batch of batches) {
      let results: PositionPolicy[];
      try {
        results = await run.policy(batch);
      } catch (error) {
        throw flags.file === undefined ? namingMoves(error) : namingLine(error, flags.file, positions);
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

function indexOf(error: unknown): number | null {
  if (!(error instanceof OptionError)) return null;
  const match = /^moves\[(\d+)\]$/.exec(error.path ?? "");
  return match ? Number(match[1]) : null;
}

function namingMoves(error: unknown): unknown {
  return indexOf(error) === null
    ? error
    : new OptionError((error as OptionError).message, { ...(error as OptionError), path: "moves" });
}

/** The line that an illegal position stands in, counted from 1. */
function namingLine(error: unknown, file: string, before: number): unknown {
  const index = indexOf(error);
  if (index === null) return error;
  const line = before + index + 1;
  const { message, received, expected } = error as OptionError;
  return new OptionError(`${file}, line ${line}: ${message}`, {
    op: "policy",
    path: `${file}:${line}`,
    received,
    expected,
    cause: error,
  });
}
