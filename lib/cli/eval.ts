import type { Command } from "commander";
import { newestCheckpoint } from "../checkpoint.js";
import { SelfPlay } from "../selfplay.js";
import type { Context } from "./context.js";
import { type LoadFlags, loadArguments } from "./load.js";
import { evaluationText } from "./report.js";

export function registerEval(program: Command, context: Context): void {
  program
    .command("eval")
    .summary("judge a checkpoint exactly")
    .description(
      "Judges a checkpoint: the exact best response from both seats (tic-tac-toe), and the result against random play.",
    )
    .argument("<checkpoint>", "a .safetensors file, or a run directory (its newest checkpoint)")
    .option("--threads <n>", "threads; never changes results")
    .option("--precision <name>", "fp32 or bf16, instead of the one it was trained with")
    .option("--json", "one JSON object a line on stdout")
    .addHelpText("after", "\nExample:\n  $ bellows eval runs/my-run\n")
    .action((path: string, flags: LoadFlags) => evaluate(path, flags, context));
}

async function evaluate(path: string, flags: LoadFlags, context: Context): Promise<void> {
  const { output } = context;
  const file = await newestCheckpoint(path, (error) => output.warn(error.message));
  const run = await SelfPlay.load(file.path, { ...loadArguments(flags), opponents: false });
  try {
    const evaluation = await run.evaluate();
    const { iteration, games } = await run.counters();
    output.text(`${file.path}: ${run.options.game.name}, iteration ${iteration}\n\n${evaluationText(evaluation)}`);
    await output.emit({
      type: "result",
      game: run.options.game.name,
      seed: run.options.run.seed,
      iterations: iteration,
      games,
      weightsHash: await run.weightsHash(),
      checkpoint: file.path,
      ...evaluation,
    });
  } finally {
    await run.close();
  }
}
