import { stat } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import type { Command } from "commander";
import { generationName } from "../checkpoint.js";
import type { Evaluation, Iteration } from "../events.js";
import { GAME_NAMES } from "../names.gen.js";
import { type NativeEntry, native, settled } from "../native.js";
import { differences, type ResolvedOptions, resolveEntries, toEntries } from "../options.js";
import { FREE_ON_RESUME, RunDirectory, type StoredResult } from "../rundir.js";
import { internals, SelfPlay } from "../selfplay.js";
import { type Context, launcher, shellWord } from "./context.js";
import { collect, type OptionFlags, optionEntries, optionTable, typedEntry, withGame } from "./flags.js";
import { Ladder, type LadderRatings, ladderText } from "./ladder.js";
import { type ErrorLine, usage } from "./output.js";
import { Progress } from "./progress.js";
import { PROFILED, type Profile, type ProfileFlags, profileOf, Recording } from "./recording.js";
import { count, duration, evaluationText, profileText } from "./report.js";

interface TrainFlags extends OptionFlags, ProfileFlags {
  readonly iterations?: string;
  readonly minutes?: string;
  readonly seed?: string;
  readonly threads?: string;
  readonly device?: string;
  readonly precision?: string;
  readonly league?: boolean;
  readonly out?: string;
  readonly resume?: string;
}

/**
 * A run of at least this many games whose argmax policy wins less than this share has learned nothing; a shorter one
 * had no chance to.
 */
const LEARNED = { games: 50_000, winRate: 0.6 };

export function registerTrain(program: Command, context: Context): void {
  program
    .command("train")
    .summary("train an agent by self-play, and judge it")
    .description(
      "Trains an agent by self-play PPO. Ends with an evaluation: for tic-tac-toe the exact certificate of a best " +
        "response from both seats; for Connect Four mistakes by the perfect player's scores, and a rating; for every game " +
        "the result against random play.",
    )
    .argument("[game]", `${GAME_NAMES.join(" or ")}; may be left out with --resume`)
    .option("--iterations <n>", "length of the run (run.iterations)")
    .option("--minutes <m>", "length of the run in minutes instead (run.minutes)")
    .option("--seed <s>", "seed of everything random (run.seed)")
    .option("--threads <t>", "threads; 0 uses every core; never changes results (run.threads)")
    .option("--device <name>", "auto, cpu, cuda or metal (run.device)")
    .option("--precision <name>", "fp32 or bf16 (run.precision)")
    .option("--league", "train a league: a main agent and two exploiters (league.enabled)")
    .option("--set <path=value>", "an option from the table below; repeatable", collect)
    .option(
      "--config <file>",
      "a JSON file of options, such as a run's config.json; what it leaves out is as the game's recipe has it",
    )
    .option("--out <dir>", "directory of the run: new or empty; default runs/GAME-sSEED-TIME")
    .option("--resume <dir>", "go on with the run in this directory, exactly as if it had never stopped")
    .option("--profile <file>", "write what each thread did when, for ui.perfetto.dev; compressed if it ends in .gz")
    .option("--profile-iterations <n>", `iterations that --profile records, from the first; default ${PROFILED}`)
    .option(
      "--json",
      "one JSON object a line on stdout: start, iteration, evaluation, ladder, checkpoint, result or error",
    )
    .addHelpText(
      "after",
      () =>
        `\n${optionTable()}\n\n` +
        "Later ones win: defaults and the game's recipe, --config, --set, the flags above.\n\n" +
        "Examples:\n" +
        "  $ bellows train tictactoe --seed 7\n" +
        "  $ bellows train connect4 --minutes 10 --set rollout.opponents.pool=20 --set rollout.opponents.selfShare=0.5\n" +
        "  $ bellows train tictactoe --iterations 50 --out runs/try --json > log.jsonl\n" +
        "  $ bellows train connect4 --iterations 5 --profile trace.json\n" +
        "  $ bellows train --resume runs/try\n",
    )
    .action((game: string | undefined, flags: TrainFlags) => train(game, flags, context));
}

async function train(game: string | undefined, flags: TrainFlags, context: Context): Promise<void> {
  if (flags.iterations !== undefined && flags.minutes !== undefined) {
    throw usage("--iterations and --minutes exclude each other", "--minutes", flags.minutes, "one of the two");
  }
  if (flags.out !== undefined && flags.resume !== undefined && resolve(flags.out) !== resolve(flags.resume)) {
    throw usage("--out and --resume name different directories", "--out", flags.out, flags.resume);
  }
  for (const flag of ["out", "resume"] as const) {
    if (flags[flag] === "") throw usage(`--${flag} is empty`, `--${flag}`, "an empty name", "the name of a directory");
  }
  const given = [...(await optionEntries(flags)), ...flagEntries(flags)];
  const profile = await profileOf(flags);
  await context.gracefully(() =>
    flags.resume === undefined
      ? begin(game, given, flags.out, profile, context)
      : resume(game, given, flags.resume, profile, context),
  );
}

function flagEntries(flags: TrainFlags): NativeEntry[] {
  const entries: NativeEntry[] = [];
  const add = (path: string, text: string | undefined) => {
    if (text !== undefined) entries.push(typedEntry(path, text));
  };
  add("run.iterations", flags.iterations);
  // The flag decides over a config's or --set's minutes.
  if (flags.iterations !== undefined) entries.push({ path: "run.minutes", kind: "number", text: "0" });
  add("run.minutes", flags.minutes);
  if (flags.minutes?.trim() && Number(flags.minutes) === 0) {
    throw usage("--minutes is 0; it must be more", "run.minutes", flags.minutes, "a number above 0");
  }
  add("run.seed", flags.seed);
  add("run.threads", flags.threads);
  if (flags.device !== undefined) entries.push({ path: "run.device", kind: "string", text: flags.device });
  if (flags.precision !== undefined) entries.push({ path: "run.precision", kind: "string", text: flags.precision });
  if (flags.league) entries.push({ path: "league.enabled", kind: "boolean", text: "true" });
  return entries;
}

async function begin(
  game: string | undefined,
  given: readonly NativeEntry[],
  out: string | undefined,
  profile: Profile | null,
  context: Context,
): Promise<void> {
  if (game === undefined) {
    throw usage("missing required argument 'game'", "game", "nothing", GAME_NAMES.join(" or "));
  }
  const options = resolveEntries(withGame(game, given));
  const path = out ?? (await defaultOut(options));
  await RunDirectory.check(path);
  const run = await SelfPlay.create(options);
  try {
    context.signal.throwIfAborted();
    const directory = await RunDirectory.create(path, options);
    try {
      await directory.openMetrics(0);
      await drive(run, directory, 0, profile, context);
    } finally {
      await directory.close();
    }
  } finally {
    await run.close();
  }
}

async function resume(
  game: string | undefined,
  given: readonly NativeEntry[],
  path: string,
  profile: Profile | null,
  context: Context,
): Promise<void> {
  const stored = await RunDirectory.config(path);
  const { name } = stored.game;
  if (game !== undefined && game !== name) {
    throw usage(`${path} holds a run of ${name}, not of ${game}`, "game", game, name);
  }
  const options = resolveEntries([...toEntries(stored), ...given]);
  const [change] = differences(options, stored, FREE_ON_RESUME);
  if (change) {
    const kept = toEntries(stored).find((entry) => entry.path === change.path)?.text ?? "";
    throw usage(
      `a resumed run keeps its options: ${change.path} is ${kept} in ${path}, not ${change.text}`,
      change.path,
      change.text,
      kept,
    );
  }
  const ended = await RunDirectory.result(path);
  if (ended) {
    await replay(ended, path, stored, context);
    return;
  }
  const directory = await RunDirectory.open(path);
  try {
    const run = await SelfPlay.create(options);
    try {
      context.signal.throwIfAborted();
      const iteration = await directory.restore(run, (message) => context.output.warn(message));
      const lost = await directory.openMetrics(iteration);
      if (lost > 0)
        context.output.warn(`metrics.jsonl lacks ${lost} of the ${iteration} iterations done; training goes on`);
      await drive(run, directory, iteration, profile, context);
    } finally {
      await run.close();
    }
  } finally {
    await directory.close();
  }
}

/** Prints the end of a run that had ended before. */
async function replay(ended: StoredResult, path: string, options: ResolvedOptions, context: Context): Promise<void> {
  const { output } = context;
  const line = { ...ended.line, type: String(ended.line.type) };
  // The name may have changed since: only the part below the directory was kept.
  if (typeof ended.line.checkpoint === "string") {
    Object.assign(line, { checkpoint: join(path, ended.line.checkpoint) });
  }
  context.exitCode = ended.exitCode;
  if (line.type === "error") {
    output.failWith(line as ErrorLine);
    return;
  }
  output.text(`The run in ${path} has ended already.\n\n`);
  printEnd(line as unknown as ResultLine, options, context);
  await output.emit(line);
}

/** A directory under runs/ that does not exist. */
async function defaultOut({ game, run }: ResolvedOptions): Promise<string> {
  const time = new Date().toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  const base = join("runs", `${game.name}-s${run.seed}-${time}`);
  for (let copy = 1; ; ++copy) {
    const path = copy === 1 ? base : `${base}-${copy}`;
    if (!(await stat(path).catch(() => null))) return path;
  }
}

interface ResultLine extends Evaluation {
  readonly type: "result";
  readonly game: string;
  readonly seed: number;
  readonly threads: number;
  readonly iterations: number;
  readonly games: number;
  readonly seconds: number;
  readonly weightsHash: string;
  readonly checkpoint: string;
  readonly stoppedAtCertificate: boolean;
  /** Null where the game has no ladder; missing in results of earlier versions. */
  readonly ladder?: LadderRatings | null;
}

/** Trains from the run's present state to its end, and reports. */
async function drive(
  run: SelfPlay,
  directory: RunDirectory,
  resumed: number,
  profile: Profile | null,
  context: Context,
): Promise<void> {
  const { output, signal } = context;
  const { options } = run;
  const machine = await settled(native().info(false));
  const threads = options.run.threads || machine.threads;
  const timed = options.run.minutes > 0;
  await output.emit({
    type: "start",
    game: options.game.name,
    seed: options.run.seed,
    threads,
    device: options.run.device === "auto" ? "cpu" : options.run.device,
    isa: machine.isa,
    precision: options.run.precision,
    version: native().version,
    parameters: run.parameters,
    bytes: run.bytes,
    iterations: timed ? null : options.run.iterations,
    minutes: timed ? options.run.minutes : null,
    out: directory.path,
    iteration: resumed,
    config: options,
  });
  const length = timed ? `${options.run.minutes} minutes` : `${count(options.run.iterations)} iterations`;
  output.note(
    `${options.game.name}: ${count(run.parameters)} weights, ${count(options.rollout.games)} games an iteration, ` +
      `${length}, seed ${options.run.seed}, ${threads} threads, ${machine.isa}, ${options.run.precision}\n` +
      `${directory.path}${resumed > 0 ? `: going on after iteration ${resumed}` : ""}\n`,
  );

  const recording = profile ? await Recording.begin(run, profile, output) : null;
  const during = <T>(name: string, work: () => Promise<T>) => recording?.trace.during(name, work) ?? work();
  let last: Iteration | null = null;
  let rated: { readonly iteration: number; readonly ratings: LadderRatings | null } | null = null;
  let saved = resumed > 0 ? resumed : -1;
  let checkpoint = join(directory.checkpoints, generationName(resumed));
  const save = async (iteration: number) => {
    if (saved === iteration) return;
    checkpoint = await during("checkpoint", () => directory.saveCheckpoint(run, iteration));
    saved = iteration;
    await output.emit({ type: "checkpoint", iteration, path: checkpoint });
  };
  const sayHowToGoOn = () => {
    output.note(`Saved ${checkpoint}\nGo on with: ${launcher()} train --resume ${shellWord(directory.path)}\n`);
  };
  const ladder = await Ladder.open(options.game.name);
  const rate = async (iteration: number) => {
    if (!ladder) return null;
    const ratings = await during("rate", () => ladder.rate(run, signal));
    await output.emit({ type: "ladder", iteration, ...ratings });
    return ratings;
  };
  const progress = new Progress(output, timed ? options.run.minutes * 60 : options.run.iterations, timed);
  try {
    const left = timed
      ? { minutes: Math.max(0, options.run.minutes - run.seconds / 60) }
      : { iterations: Math.max(0, options.run.iterations - resumed) };
    const ended = internals.stopped(run) !== null;
    for await (const iteration of ended ? [] : run.train({ ...left, signal })) {
      const { evaluation, ...figures } = iteration;
      last = iteration;
      await during("metrics", () => directory.appendMetrics(iteration));
      await output.emit({ type: "iteration", ...figures });
      if (evaluation) {
        await output.emit({ type: "evaluation", iteration: iteration.index, ...evaluation });
        rated = { iteration: iteration.index, ratings: await rate(iteration.index) };
      }
      progress.update(iteration, rated?.iteration === iteration.index ? rated.ratings : null);
      if (iteration.index % options.run.checkpointEvery === 0) await save(iteration.index);
      if (recording?.trace.recording === false) await recording.write();
    }
    signal.throwIfAborted();
  } catch (error) {
    progress.stop();
    if (signal.aborted) await save((await run.counters()).iteration);
    await recording?.write();
    if (signal.aborted) {
      sayHowToGoOn();
      throw signal.reason;
    }
    throw error;
  }
  progress.stop();

  const { iteration, games } = await run.counters();
  await save(iteration);
  const evaluated = last?.index === iteration ? last.evaluation : null;
  const evaluation = evaluated ?? (await run.evaluate());
  if (!evaluated) await output.emit({ type: "evaluation", iteration, ...evaluation });
  let ratings = rated?.iteration === iteration ? rated.ratings : null;
  try {
    ratings ??= await rate(iteration);
  } catch (error) {
    if (signal.aborted) sayHowToGoOn();
    throw error;
  }
  await recording?.write();
  const line: ResultLine = {
    type: "result",
    game: options.game.name,
    seed: options.run.seed,
    threads,
    iterations: iteration,
    games,
    seconds: run.seconds,
    weightsHash: await run.weightsHash(),
    checkpoint,
    ...evaluation,
    stoppedAtCertificate: internals.stopped(run) === "certificate",
    ladder: ratings,
  };
  const kept = relative(directory.path, checkpoint);
  const { win } = evaluation.versusRandom;
  if (games >= LEARNED.games && win < LEARNED.winRate) {
    const failure: ErrorLine = {
      type: "error",
      code: "LEARNED_NOTHING",
      path: checkpoint,
      received: `${(win * 100).toFixed(1)}% wins against random play`,
      expected: `at least ${LEARNED.winRate * 100}% after ${count(LEARNED.games)} games`,
      message:
        `the run learned nothing: after ${count(games)} games the argmax policy wins ${(win * 100).toFixed(1)}% ` +
        `against random play (at least ${LEARNED.winRate * 100}% is expected); its checkpoint is ${checkpoint}`,
    };
    output.note(`\n${evaluationText(evaluation)}\n`);
    await directory.writeResult({ line: { ...failure }, exitCode: 1 });
    context.exitCode = 1;
    output.failWith(failure);
    return;
  }
  await directory.writeResult({ line: { ...line, checkpoint: kept }, exitCode: 0 });
  printEnd(line, options, context);
  if (last) {
    await run.roof(); // looks again: the first look may have met other programs
    output.text(`\n${profileText(run.profile())}`);
  }
  await output.emit({ ...line });
  recording?.report();
}

/** The end of a run as text: what the policy is worth, what it took, how to repeat it, how to play. */
function printEnd(line: ResultLine, options: ResolvedOptions, { output }: Context): void {
  const early = line.stoppedAtCertificate ? ", stopped at the first certificate (run.stopAtCertificate)" : "";
  output.text(
    `\n${evaluationText(line)}\n` +
      (line.ladder
        ? `On the ladder of players without networks (random play is 1000): ${ladderText(line.ladder)}\n\n`
        : "") +
      `${duration(line.seconds)}, ${count(line.iterations)} iterations, ${count(line.games)} games${early}\n\n` +
      `  checkpoint  ${line.checkpoint}\n` +
      `  reproduce   ${reproduction(options)}\n` +
      `  play        ${launcher()} play ${shellWord(line.checkpoint)}\n`,
  );
}

/** The command that gives the same weights again (threads do not matter). */
function reproduction(options: ResolvedOptions): string {
  const { game, run } = options;
  const defaults = resolveEntries(withGame(game.name, []));
  const skip = ["run.seed", "run.threads", "run.device", "run.iterations", "run.minutes", "run.checkpoints"];
  const words = ["train", game.name, "--seed", String(run.seed)];
  if (run.minutes > 0) words.push("--minutes", String(run.minutes));
  else if (run.iterations !== defaults.run.iterations) words.push("--iterations", String(run.iterations));
  for (const { path, text } of differences(options, defaults, skip)) words.push("--set", `${path}=${text}`);
  return `${launcher()} ${words.map(shellWord).join(" ")}`;
}
