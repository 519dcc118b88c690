import type { Command } from "commander";
import { BUSY_LOAD, load } from "../bench/machine.js";
import { checkWritable, writeAtomic } from "../checkpoint.js";
import { GAME_NAMES } from "../names.gen.js";
import { native, settled } from "../native.js";
import { differences, type ResolvedOptions, resolveEntries } from "../options.js";
import type { ProfileRow, Roof } from "../profile.js";
import { SelfPlay } from "../selfplay.js";
import { type Context, shellWord } from "./context.js";
import { collect, type OptionFlags, optionEntries, optionTable, typedEntry, withGame } from "./flags.js";
import { integer } from "./load.js";
import { usage } from "./output.js";
import { rooflineSvg } from "./roofline-svg.js";
import { rooflineText, terminal } from "./roofline-text.js";

interface RooflineFlags extends OptionFlags {
  readonly iterations?: string;
  readonly threads?: string;
  readonly precision?: string;
  readonly svg?: string;
}

/** What both pictures show. */
export interface Roofline {
  readonly game: string;
  readonly iterations: number;
  readonly roof: Roof;
  /** With the most time first. */
  readonly rows: readonly ProfileRow[];
  /** Time of the iterations. */
  readonly seconds: number;
  readonly gflops: number;
  readonly cpu: string;
  readonly isa: string;
  readonly precision: string;
  readonly version: string;
  /** The command that draws it again. */
  readonly command: string;
}

const ITERATIONS = 5;

export function registerRoofline(program: Command, context: Context): void {
  program
    .command("roofline")
    .summary("where the time of an iteration goes, and how near each op is to what the machine can do")
    .description(
      "Measures this machine's roofs (arithmetic, and the bandwidths of L2, L3 and DRAM), trains a few iterations and " +
        "draws each op where its work per byte and its speed put it: on a slope memory binds it, under the flat roof " +
        "arithmetic does. Nothing is saved.",
    )
    .argument("[game]", GAME_NAMES.join(" or "), GAME_NAMES[0])
    .option("--iterations <n>", `iterations measured, after one that is not; default ${ITERATIONS}`)
    .option("--threads <t>", "threads; 0 uses every core (run.threads)")
    .option("--precision <name>", "fp32, or bf16 on CPUs that have it (run.precision)")
    .option("--set <path=value>", "an option from the table below; repeatable", collect)
    .option("--config <file>", "a JSON file of options")
    .option("--svg <file>", "draw it as SVG too; needs the package vega (npm install vega)")
    .option("--json", "one JSON object a line on stdout: roof, an op for each row, result")
    .addHelpText(
      "after",
      () =>
        `\n${optionTable()}\n\nExamples:\n  $ bellows roofline connect4\n` +
        "  $ bellows roofline tictactoe --threads 1 --svg roofline.svg\n",
    )
    .action((game: string, flags: RooflineFlags) => roofline(game, flags, context));
}

async function roofline(game: string, flags: RooflineFlags, context: Context): Promise<void> {
  const { output } = context;
  const iterations = integer("--iterations", flags.iterations ?? String(ITERATIONS), 1, 1e6);
  const given = [...(await optionEntries(flags))];
  if (flags.threads !== undefined) given.push(typedEntry("run.threads", flags.threads));
  if (flags.precision !== undefined) given.push({ path: "run.precision", kind: "string", text: flags.precision });
  const options = resolveEntries(withGame(game, given));
  if (flags.svg === "") throw usage("--svg is empty", "--svg", "an empty name", "a file to write");
  const draw = flags.svg === undefined ? null : await rooflineSvg();
  if (flags.svg !== undefined) await checkWritable(flags.svg);

  const busy = load();
  if (busy > BUSY_LOAD) output.warn(`the machine is busy (load ${busy}): roofs and rates will be off`);
  const measured = await measure(options, iterations, context.signal);
  output.text(`${rooflineText(measured, terminal(process.stdout))}\n`);
  if (draw && flags.svg !== undefined) {
    await writeAtomic(flags.svg, await draw(measured));
    output.note(`Wrote ${flags.svg}\n`);
  }
  const { roof, rows, ...about } = measured;
  await output.emit({ type: "roof", ...roof });
  for (const row of rows) await output.emit({ type: "op", ...row });
  await output.emit({ type: "result", ...about, svg: flags.svg ?? null });
}

async function measure(options: ResolvedOptions, iterations: number, signal: AbortSignal): Promise<Roofline> {
  const { isa, cpu } = await settled(native().info(false));
  const run = await SelfPlay.create(options);
  try {
    await run.roof();
    let seconds = 0;
    let flops = 0;
    let first = true;
    // The first iteration finds cold caches and touches pages for the first time.
    for await (const iteration of run.train({ iterations: iterations + 1, evaluateEvery: 0, signal })) {
      const { collectSeconds, updateSeconds } = iteration.speed;
      if (first) await run.resetProfile();
      else seconds += collectSeconds + updateSeconds;
      if (!first) flops += iteration.roofline.gflops * (collectSeconds + updateSeconds);
      first = false;
    }
    return {
      game: options.game.name,
      iterations,
      roof: await run.roof(), // looked at before and after: the best of both
      rows: run.profile().sort((a, b) => b.ms - a.ms),
      seconds,
      gflops: flops / seconds,
      cpu,
      isa,
      precision: options.run.precision,
      version: native().version,
      command: commandOf(options, iterations),
    };
  } finally {
    await run.close();
  }
}

function commandOf(options: ResolvedOptions, iterations: number): string {
  const { game, run } = options;
  const words = ["bellows", "roofline", game.name];
  if (iterations !== ITERATIONS) words.push("--iterations", String(iterations));
  if (run.threads > 0) words.push("--threads", String(run.threads));
  if (run.precision !== "fp32") words.push("--precision", run.precision);
  const rest = differences(options, resolveEntries(withGame(game.name, [])), ["run.threads", "run.precision"]);
  for (const { path, text } of rest) words.push("--set", `${path}=${text}`);
  return words.map(shellWord).join(" ");
}
