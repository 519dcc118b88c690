// The objective "selfplay": trains an agent and reports each iteration. The configuration is that of a self-play run
// without its seed and length, which are the task's.
//
// An attempt that was ended goes on from where it left a checkpoint, to the same result bit for bit (for a budget in
// seconds: as far as a clock allows that):
//
//   state.safetensors   the run
//   state.json          what the run does not know: see Notes. It is written first, so it knows of the checkpoint
//                       before it and of the one to come

import { readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { writeAtomic } from "../../checkpoint.js";
import {
  type Evaluation,
  type Iteration,
  OptionError,
  type ResolvedOptions,
  resolveOptions,
  SelfPlay,
  type SelfPlayOptions,
} from "../../index.js";
import type { Entry } from "../meter.js";
import type { BuiltInContext, BuiltInResult } from "../objective.js";
import type { Budget, Config } from "../task.js";

/** Between checkpoints: a hundred times what the last one took, in these bounds. */
const CHECKPOINT_SECONDS = { least: 2, most: 30 };

/** What the run had reached at a checkpoint, beside its own state. */
interface Note {
  readonly iteration: number;
  /** Floating-point operations of training. */
  readonly flops: number;
  /** The first evaluation that found no way to beat the argmax policy. */
  readonly certified: { readonly iteration: number; readonly seconds: number } | null;
  /** The values that the metric is made of. */
  readonly entries: readonly Entry[];
}

function refuse(path: string, value: unknown, expected: string): never {
  const received = JSON.stringify(value) ?? "nothing";
  throw new OptionError(`config.${path} is ${received}; it must be ${expected}`, {
    op: "selfplay",
    path: `config.${path}`,
    received,
    expected,
  });
}

/**
 * The options of a run that a task asks for, checked.
 *
 * @throws {@link OptionError} also for a configuration that sets a seed or a length
 */
export function selfPlayOptions(config: Config, seed: number, budget: Budget): ResolvedOptions {
  const given = config as SelfPlayOptions;
  const { run } = given;
  if (typeof run === "object" && run !== null) {
    if (run.seed !== undefined) refuse("run.seed", run.seed, "left out: the seed of a run is never a setting");
    for (const name of ["iterations", "minutes"] as const) {
      if (run[name] !== undefined) refuse(`run.${name}`, run[name], "left out: the budget says how long a run is");
    }
  } else if (run !== undefined) return resolveOptions(given); // says what is wrong with it
  const { iterations } = budget;
  // One thread: several runs at a time make better use of the cores than one run with several threads.
  return resolveOptions({
    ...given,
    run: { threads: 1, ...run, seed, ...(iterations !== undefined && { iterations }) },
  });
}

/** The numbers in an object, by dotted names. */
export function flatten(value: object, prefix = "", into: Record<string, number> = {}): Record<string, number> {
  for (const [key, item] of Object.entries(value)) {
    const name = prefix + key;
    if (typeof item === "number") into[name] = item;
    else if (typeof item === "object" && item !== null) flatten(item, `${name}.`, into);
  }
  return into;
}

/** The options without those that never change results. */
function meaning({ run, ...rest }: ResolvedOptions): unknown {
  const { threads, device, ...others } = run;
  return { ...rest, run: others };
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

class Training {
  readonly #options: ResolvedOptions;
  readonly #context: BuiltInContext;
  readonly #checkpoint: string;
  readonly #notes: string;
  #run!: SelfPlay;
  #note: Note = { iteration: 0, flops: 0, certified: null, entries: [] };
  /** That of the checkpoint that is there. */
  #kept: Note | null = null;
  #saved = performance.now();
  #pause = CHECKPOINT_SECONDS.least;

  constructor(options: ResolvedOptions, context: BuiltInContext) {
    this.#options = options;
    this.#context = context;
    this.#checkpoint = join(context.directory, "state.safetensors");
    this.#notes = join(context.directory, "state.json");
  }

  async train(): Promise<BuiltInResult> {
    this.#run = (await this.#resume()) ?? (await SelfPlay.create(this.#options));
    try {
      await this.#iterate();
    } catch (error) {
      await this.#leave();
      throw error;
    } finally {
      await this.#run.close();
    }
    const { certified } = this.#note;
    return {
      values: certified
        ? { iterationsToCertificate: certified.iteration, secondsToCertificate: certified.seconds }
        : {},
      done: () => this.#remove(),
    };
  }

  /** The share of the budget that is used up. */
  #used(run = this.#run, note = this.#note): number {
    const { iterations, seconds, flops } = this.#context.budget;
    if (iterations !== undefined) return note.iteration / iterations;
    return seconds !== undefined ? run.seconds / seconds : note.flops / flops!;
  }

  /**
   * How long the next call of `train` is told that training will be, which is what schedules follow: iterations from here
   * on, or minutes. Under a budget in operations the number of iterations is estimated from those so far.
   */
  #length(): { iterations: number } | { minutes: number } {
    const { iterations, seconds } = this.#context.budget;
    const { iteration } = this.#note;
    if (iterations !== undefined) return { iterations: iterations - iteration };
    // Never so little that the time is over before the iteration begins.
    if (seconds !== undefined) return { minutes: Math.max(0.01, seconds - this.#run.seconds) / 60 };
    const total = iteration === 0 ? 2 : iteration / this.#used();
    return { iterations: Math.max(1, Math.round(total) - iteration) };
  }

  async #iterate(): Promise<void> {
    const { signal } = this.#context;
    const { evaluateEvery, stopAtCertificate } = this.#options.run;
    let over = false;
    while (!over) {
      // Evaluations lie between calls of `train`, so that its clock and the budget in seconds leave them out.
      const training = this.#run.train({ ...this.#length(), evaluateEvery: 0, roofline: false, signal });
      const { value: iteration } = await training.next();
      await training.return();
      if (!iteration) continue;
      const busy = iteration.speed.collectSeconds + iteration.speed.updateSeconds;
      // The engine counts operations in whole numbers.
      const flops = Math.round(iteration.roofline.gflops * busy * 1e9);
      this.#note = { ...this.#note, iteration: iteration.index, flops: this.#note.flops + flops };
      over = this.#used() >= 1;
      const due = over || (evaluateEvery > 0 && iteration.index % evaluateEvery === 0);
      const evaluation = due ? await this.#evaluate(iteration) : null;
      if (stopAtCertificate && evaluation?.certificate?.argmax.exploitability === 0) over = true;
      this.#report({ ...iteration, evaluation }, flops);
      if (!over && performance.now() - this.#saved > 1000 * this.#pause) await this.#save();
    }
  }

  async #evaluate({ index, seconds }: Iteration): Promise<Evaluation> {
    const evaluation = await this.#run.evaluate();
    if (evaluation.certificate?.argmax.exploitability === 0 && !this.#note.certified) {
      this.#note = { ...this.#note, certified: { iteration: index, seconds } };
    }
    return evaluation;
  }

  #report(iteration: Iteration, flops: number): void {
    const { index, ...values } = iteration;
    this.#context.report(flatten(values), index, flops);
    this.#note = { ...this.#note, entries: this.#context.entries().slice() };
  }

  async #save(): Promise<void> {
    const begun = performance.now();
    const notes = this.#kept ? [this.#kept, this.#note] : [this.#note];
    await writeAtomic(this.#notes, JSON.stringify(notes), true);
    await this.#run.save(this.#checkpoint);
    this.#kept = this.#note;
    this.#saved = performance.now();
    const { least, most } = CHECKPOINT_SECONDS;
    this.#pause = Math.min(most, Math.max(least, (100 * (this.#saved - begun)) / 1000));
  }

  /** Keeps what was done when the run is interrupted, or as much of it as was kept before. */
  async #leave(): Promise<void> {
    const { iteration } = this.#note;
    if (!this.#context.signal.aborted || iteration === (this.#kept?.iteration ?? 0) || this.#used() >= 1) return;
    await this.#save().catch((error: unknown) => console.error("warning: no checkpoint:", error));
  }

  async #remove(): Promise<void> {
    await rm(this.#checkpoint, { force: true });
    await rm(this.#notes, { force: true });
  }

  /** The run of an earlier attempt; null where there is none that can be gone on from. */
  async #resume(): Promise<SelfPlay | null> {
    if (!(await exists(this.#checkpoint))) return null;
    let run: SelfPlay | null = null;
    try {
      const { threads, device } = this.#options.run;
      run = await SelfPlay.load(this.#checkpoint, { threads, device });
      if (!isDeepStrictEqual(meaning(run.options), meaning(this.#options))) throw new Error("it is of another run");
      const { iteration } = await run.counters();
      const notes = JSON.parse(await readFile(this.#notes, "utf8")) as readonly Note[];
      const note = notes.find((candidate) => candidate.iteration === iteration);
      if (!note) throw new Error(`state.json has no iteration ${iteration}`);
      if (this.#used(run, note) >= 1) throw new Error("it is as long as the budget, or longer");
      this.#context.restore(note.entries);
      this.#note = note;
      this.#kept = note;
      console.log(`going on after iteration ${iteration}`);
      return run;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      console.error(`warning: training starts anew; the checkpoint cannot be used: ${why}`);
      await run?.close();
      return null;
    }
  }
}

/** Trains as a task asks. */
export async function trainBySelfPlay(config: Config, context: BuiltInContext): Promise<BuiltInResult> {
  return new Training(selfPlayOptions(config, context.seed, context.budget), context).train();
}
