import { open } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { Command } from "commander";
import { errnoOf, ioError, OptionError } from "../errors.js";
import type { Problem, StudyEvent } from "../lab/index.js";
import type { Context } from "./context.js";
import { launcher, shellWord } from "./context.js";
import { integer } from "./load.js";
import { usage } from "./output.js";
import { table } from "./report.js";
import {
  armText,
  costText,
  explorationText,
  listText,
  noiseText,
  plural,
  runsText,
  verdictsText,
} from "./study-text.js";

interface LabFlags {
  readonly lab: string;
}

interface RunFlags extends LabFlags {
  readonly workers?: string;
}

const EVENTS =
  "one JSON object a line on stdout: study, started, ended, takeover, noise, verdict, waiting, damage; last result, or error";

const LAB = "the lab's file (SQLite); default lab.sqlite";

export function registerStudy(program: Command, context: Context): void {
  const study = program
    .command("study")
    .summary("compare settings over seeds, with verdicts that hold")
    .description(
      "A study runs a baseline and proposals over seeds, in parallel processes, and ends with a verdict for each: " +
        "better, worse, equivalent within delta, or undecided, by how much, how sure, and at what cost. Everything is " +
        "in one file, the lab, so a study goes on after whatever stopped it.",
    )
    .addHelpText(
      "after",
      "\nExample:\n" +
        "  $ bellows study new study.json         a study to edit: two proposals for tic-tac-toe\n" +
        "  $ bellows study run study.json         run it, or go on with it\n" +
        "  $ bellows study show                   what the lab has\n",
    );
  study
    .command("new")
    .summary("write a study to edit")
    .description("Writes a study of tic-tac-toe with a real change and a control, to run as it is or to edit.")
    .argument("[file]", "the file to write; it must not exist", "study.json")
    .option("--name <name>", "names the study in its lab; default: the file's name")
    .option("--json", "one JSON object on stdout: result")
    .action((file: string, flags: { name?: string }) => create(file, flags.name, context));
  study
    .command("run")
    .summary("run a study, or go on with it")
    .description(
      "Runs a study from its file. The noise comes first: A/A runs of the baseline with different seeds. Then pairs of " +
        "runs, baseline and proposal, until each comparison is decided or its pairs are used up. Runs that the lab has " +
        "are not run again. Several processes, also on several terminals, may run the same study.",
    )
    .argument("<file>", "the study: JSON, see `bellows study new`")
    .option("--lab <file>", LAB, "lab.sqlite")
    .option("--workers <n>", "runs at a time; default one a processor")
    .option("--json", EVENTS)
    .addHelpText(
      "after",
      "\nEach run is a process of its own, with its log beside the lab in LAB.runs/STUDY/ARM-SEED/run.log.\n" +
        "Ctrl-C stops the runs at work; the same command goes on.\n" +
        "\nExamples:\n" +
        "  $ bellows study run study.json\n" +
        "  $ bellows study run study.json --lab results/lab.sqlite --workers 4 --json > log.jsonl\n",
    )
    .action((file: string, flags: RunFlags) => context.gracefully(() => runFile(file, flags, context)));
  study
    .command("resume")
    .summary("go on with a study of the lab")
    .description("Goes on with a study by its name, as it was begun; its file is not needed.")
    .argument("<name>", "the study, as `bellows study show` lists it")
    .option("--lab <file>", LAB, "lab.sqlite")
    .option("--workers <n>", "runs at a time; default one a processor")
    .option("--json", EVENTS)
    .action((name: string, flags: RunFlags) => context.gracefully(() => resume(name, flags, context)));
  study
    .command("show")
    .summary("what the lab has, or what is known of one study")
    .description("Lists the studies of a lab, or shows one: what was expected, its noise, its verdicts, its runs.")
    .argument("[name]", "a study")
    .option("--lab <file>", LAB, "lab.sqlite")
    .option("--runs", "every run with its value")
    .option("--json", "one JSON object a line on stdout: study, arm, noise, verdict, run, result")
    .action((name: string | undefined, flags: LabFlags & { runs?: boolean }) => show(name, flags, context));
  study
    .command("compare")
    .summary("two arms of a study by what they share, stopped runs included")
    .description(
      "Compares any two arms over the iterations that runs of both have reached, so that runs which were stopped are " +
        "compared fairly. It was not registered before the runs, so it is for exploring: no verdict is claimed from it.",
    )
    .argument("<name>", "a study")
    .argument("<a>", "an arm, for example baseline")
    .argument("<b>", "another arm")
    .option("--lab <file>", LAB, "lab.sqlite")
    .option("--metric <name>", "another reported number than the study's")
    .option("--json", "one JSON object on stdout: result")
    .action((name: string, a: string, b: string, flags: LabFlags & { metric?: string }) =>
      compare(name, a, b, flags, context),
    );
  study
    .command("query")
    .summary("ask the lab in SQL")
    .description("Runs a SELECT on the lab's tables, read only: studies, arms, comparisons, runs, reports, events, ...")
    .argument("<sql>", "for example: select arm, avg(value) from results group by arm")
    .option("--lab <file>", LAB, "lab.sqlite")
    .option("--json", "one JSON object a line on stdout: row, result")
    .action((sql: string, flags: LabFlags) => query(sql, flags, context));
  study
    .command("check")
    .summary("look for damage to the lab")
    .description(
      "Looks for damage to the lab's file, all of it. `study run` and `study resume` mend what can be mended.",
    )
    .option("--lab <file>", LAB, "lab.sqlite")
    .option("--json", "one JSON object a line on stdout: damage, result")
    .action((flags: LabFlags) => check(flags, context));
}

/** The study that `study new` writes. */
function template(name: string): object {
  return {
    name,
    objective: "selfplay",
    metric: {
      name: "evaluation.certificate.sampled.exploitability",
      goal: "minimize",
      summary: "final",
      delta: 0.1,
    },
    budget: { iterations: 150 },
    baseline: { config: { game: { name: "tictactoe" }, rollout: { games: 512 } } },
    proposals: {
      "slow-lr": {
        change: { ppo: { lr: 0.0004 } },
        hypothesis: "A tenth of the learning rate learns too little in 150 iterations, so it ends more exploitable.",
        category: "optimizer",
      },
      control: {
        change: {},
        seeds: "own",
        hypothesis: "The same settings with other seeds: no difference but noise.",
        category: "control",
      },
    },
    seeds: { first: 1, min: 3, max: 16 },
    noise: { runs: 8 },
    alpha: 0.05,
  };
}

async function create(file: string, given: string | undefined, context: Context): Promise<void> {
  const { output } = context;
  if (file === "") throw usage("the file has no name", "file", "an empty name", "a file to write");
  const { resolveSpec } = await import("../lab/index.js");
  const name = given ?? file.replace(/^.*[\\/]/, "").replace(/\.json$/, "");
  const study = template(name);
  resolveSpec(study); // refuses a bad name
  const text = `${JSON.stringify(study, null, 2)}\n`;
  try {
    // Never over another file: it may be the record of a study.
    const handle = await open(file, "wx");
    try {
      await handle.writeFile(text);
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw ioError(error, file, "cannot write the study");
    throw usage(`${file} exists already`, "file", file, "a file that does not exist");
  }
  output.text(`${file}: edit it, then ${launcher()} study run ${shellWord(file)}\n`);
  await output.emit({ type: "result", file, name });
}

async function readStudy(file: string): Promise<unknown> {
  const { readFile } = await import("node:fs/promises");
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw ioError(error, file, "cannot read the study");
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new OptionError(`${file} is not JSON: ${(error as Error).message}`, {
      op: "study",
      path: file,
      received: "text that is not JSON",
      expected: "a study such as `bellows study new` writes",
      cause: error,
    });
  }
}

async function runFile(file: string, flags: RunFlags, context: Context): Promise<void> {
  const workers = workersOf(flags);
  const { Study } = await import("../lab/index.js");
  const given = (await readStudy(file)) as import("../lab/index.js").StudySpec;
  if ((given as { objective?: unknown } | null)?.objective === "function") {
    throw usage(
      'study.objective is "function", which only programs can give',
      "study.objective",
      "function",
      'selfplay, or an object such as {"module": "./objective.mjs"}',
    );
  }
  const study = await Study.open(given, { lab: labOf(flags), directory: dirname(resolve(file)) });
  await work(study, workers, `run ${shellWord(file)}${labFlag(flags)}`, context);
}

async function resume(name: string, flags: RunFlags, context: Context): Promise<void> {
  const workers = workersOf(flags);
  const { Study } = await import("../lab/index.js");
  await existing(flags);
  const study = await Study.open(name, { lab: labOf(flags) });
  await work(study, workers, `resume ${shellWord(name)}${labFlag(flags)}`, context);
}

function workersOf({ workers }: RunFlags): number | undefined {
  return workers === undefined ? undefined : integer("--workers", workers, 1, 1024);
}

function labFlag({ lab }: LabFlags): string {
  return lab === "lab.sqlite" ? "" : ` --lab ${shellWord(lab)}`;
}

function labOf({ lab }: LabFlags): string {
  if (lab === "") throw usage("--lab is empty", "--lab", "an empty name", "the name of a file");
  return lab;
}

/** Refuses a lab that is not there, rather than make an empty one. */
async function existing(flags: LabFlags): Promise<void> {
  const lab = labOf(flags);
  const { access } = await import("node:fs/promises");
  await access(lab).catch((error: unknown) => {
    throw ioError(error, lab, "cannot open the lab");
  });
}

/** @param again - the command that goes on */
async function work(
  study: import("../lab/index.js").Study,
  workers: number | undefined,
  again: string,
  context: Context,
): Promise<void> {
  const { output, signal } = context;
  const started = performance.now();
  try {
    const before = study.state();
    const { undecidable } = before;
    await output.emit({
      type: "study",
      name: study.name,
      lab: study.lab,
      spec: study.spec,
      runs: before.runs.length,
      undecidable,
    });
    output.note(
      `study ${study.name} in ${study.lab}: ${plural(Object.keys(study.spec.proposals).length, "proposal")}\n`,
    );
    if (undecidable !== null && !before.finished) output.warn(`seeds.max: ${undecidable}`);
    for (const problem of study.damage) {
      await output.emit({ type: "damage", ...problem });
      output.warn(`the lab is damaged: ${problemText(problem)}; what the study is built on is whole`);
    }
    // Loading what draws on terminals takes a fifth of the command's start, and only this needs it.
    const { LiveStudy } = await import("./study-live.js");
    const live = new LiveStudy(output, study);
    try {
      for await (const event of study.run({ workers, signal })) {
        live.update(event);
        await emitEvent(event, context);
      }
    } finally {
      live.stop();
    }
    const state = study.state();
    output.text(verdictsText(state));
    output.text(costText(state));
    await output.emit({
      type: "result",
      study: study.name,
      lab: study.lab,
      noise: state.noise,
      verdicts: state.verdicts,
      finished: state.finished,
      seconds: (performance.now() - started) / 1e3,
    });
  } catch (error) {
    if (signal.aborted) output.note(`What is done is in the lab.\nGo on with: ${launcher()} study ${again}\n`);
    throw error;
  } finally {
    study.close();
  }
}

function problemText({ table, event, reason }: Problem): string {
  return `${table}${event === null ? "" : `, event ${event}`}: ${reason}`;
}

async function check(flags: LabFlags, context: Context): Promise<void> {
  const { output } = context;
  await existing(flags);
  const { Lab } = await import("../lab/index.js");
  const lab = Lab.open(labOf(flags));
  try {
    const problems = lab.check();
    for (const problem of problems) {
      output.text(`${problemText(problem)}\n`);
      await output.emit({ type: "damage", ...problem });
    }
    output.text(problems.length === 0 ? "no damage\n" : "");
    await output.emit({ type: "result", problems: problems.length });
    if (problems.length > 0) context.exitCode = 1;
  } finally {
    lab.close();
  }
}

async function emitEvent(event: StudyEvent, { output }: Context): Promise<void> {
  // Reports are in the ledger: thousands of lines would hide the others.
  if (event.type === "report") return;
  await output.emit(event as StudyEvent & { type: string });
}

async function show(name: string | undefined, flags: LabFlags & { runs?: boolean }, context: Context): Promise<void> {
  const { output } = context;
  await existing(flags);
  const { Lab } = await import("../lab/index.js");
  const lab = Lab.open(labOf(flags));
  try {
    if (name === undefined) {
      const studies = lab.studies();
      output.text(listText(studies));
      for (const study of studies) await output.emit({ type: "study", ...study });
      await output.emit({ type: "result", studies: studies.length });
      return;
    }
    const state = lab.study(name);
    output.text(
      armText(state) +
        noiseText(state) +
        verdictsText(state) +
        (flags.runs ? `\n${runsText(state)}` : "") +
        costText(state) +
        (state.finished
          ? ""
          : `Not finished; go on with: ${launcher()} study resume ${shellWord(name)}${labFlag(flags)}\n`),
    );
    await output.emit({ type: "study", name: state.name, spec: state.spec });
    for (const arm of state.arms) await output.emit({ type: "arm", ...arm });
    if (state.noise) await output.emit({ type: "noise", floor: state.noise });
    for (const verdict of state.verdicts) await output.emit({ type: "verdict", verdict });
    if (flags.runs) for (const run of state.runs) await output.emit({ type: "run", ...run });
    await output.emit({ type: "result", study: state.name, finished: state.finished, runs: state.runs.length });
  } finally {
    lab.close();
  }
}

async function query(sql: string, flags: LabFlags, context: Context): Promise<void> {
  const { output } = context;
  await existing(flags);
  const { Lab } = await import("../lab/index.js");
  const lab = Lab.open(labOf(flags));
  try {
    const rows = lab.query(sql);
    const names = Object.keys(rows[0] ?? {});
    if (names.length > 0)
      output.text(table([names, ...rows.map((row) => names.map((name) => String(row[name] ?? "")))], ""));
    for (const row of rows) await output.emit({ type: "row", row });
    await output.emit({ type: "result", rows: rows.length });
  } finally {
    lab.close();
  }
}

async function compare(
  name: string,
  a: string,
  b: string,
  flags: LabFlags & { metric?: string },
  context: Context,
): Promise<void> {
  const { output } = context;
  await existing(flags);
  const { Lab } = await import("../lab/index.js");
  const lab = Lab.open(labOf(flags));
  try {
    const comparison = lab.compare(name, a, b, flags.metric);
    output.text(explorationText(a, b, comparison));
    await output.emit({ type: "result", study: name, a, b, ...comparison });
  } finally {
    lab.close();
  }
}
