#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { packageVersion } from "../binary.js";
import { registerBench } from "./bench.js";
import { Context } from "./context.js";
import { registerEval } from "./eval.js";
import { registerGames } from "./games.js";
import { registerInfo } from "./info.js";
import { Output } from "./output.js";
import { registerPlan } from "./plan.js";
import { registerPlay } from "./play.js";
import { registerPolicy } from "./policy.js";
import { registerRate } from "./rate.js";
import { registerRoofline } from "./roofline.js";
import { registerSolve } from "./solve.js";
import { registerStudy } from "./study.js";
import { registerTrain } from "./train.js";

/** Every command, in the order of the help. A new one is a file and a line here. */
const commands = [
  registerTrain,
  registerEval,
  registerRate,
  registerPlay,
  registerPolicy,
  registerSolve,
  registerPlan,
  registerInfo,
  registerGames,
  registerBench,
  registerRoofline,
  registerStudy,
];

async function main(given: readonly string[]): Promise<number> {
  // `bellows --json train ...` means `bellows train ... --json`.
  const args = given[0] === "--json" && given.length > 1 ? [...given.slice(1), "--json"] : given;
  const end = args.indexOf("--");
  const output = new Output((end < 0 ? args : args.slice(0, end)).includes("--json"));
  const context = new Context(output);
  context.listen();
  const program = new Command("bellows")
    .description("Trains small self-play PPO agents at hardware speed and certifies them exactly.")
    .version(packageVersion() ?? "unknown")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => output.text(text),
      writeErr: (text) => output.note(text),
      outputError: () => {}, // reported below, as every error
    })
    .configureHelp({ helpWidth: Math.min(process.stdout.columns || 100, 120) })
    .addHelpText(
      "after",
      "\nExamples:\n" +
        "  $ bellows train tictactoe                    train with the defaults, end with a certificate\n" +
        "  $ bellows play runs/DIR                      play against the result\n" +
        "  $ bellows train connect4 --minutes 10        train for ten minutes\n" +
        "  $ bellows study new study.json               compare settings over seeds\n" +
        "\nExit codes: 0 ok, 1 failed while running (or no native binary loads), 2 bad input, 130 interrupted.\n",
    );
  for (const register of commands) register(program, context);
  try {
    await program.parseAsync([...args], { from: "user" });
    return context.exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) {
      await output.emit({ type: "result" }); // --help, --version
      return 0;
    }
    return output.fail(error);
  }
}

process.exitCode = await main(process.argv.slice(2));
// A signal from here on finds nothing to stop: the streams are flushed and the process ends.
