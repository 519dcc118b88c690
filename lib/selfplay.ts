/// <reference lib="esnext.disposable" preserve="true" />
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import {
  type CheckpointFile,
  corrupt,
  encodeMetadata,
  inspect,
  namingFile,
  newestCheckpoint,
  readBytes,
  seal,
  writeAtomic,
} from "./checkpoint.js";
import {
  BellowsError,
  ClosedError,
  fromNative,
  isNativeError,
  OptionError,
  OutOfMemoryError,
  type PlanRow,
} from "./errors.js";
import {
  type Evaluation,
  type Iteration,
  type PositionPolicy,
  seatShares,
  toCertificate,
  toIteration,
  wilson,
} from "./events.js";
import { checkInputs, giveInputs, type InputHashes } from "./inputs.js";
import { judgeConnect4 } from "./judge/connect4.js";
import {
  type NativeEngine,
  type NativeEntry,
  type NativeIteration,
  type NativeStarted,
  native,
  settled,
  take,
} from "./native.js";
import {
  checkArguments,
  checkNumber,
  describe,
  fromEntries,
  gameOf,
  type ResolvedOptions,
  type SelfPlayOptions,
  storedEntries,
  toEntries,
} from "./options.js";
import { type ProfileRow, type Roof, toProfile, toRoof } from "./profile.js";
import { Trace, type TraceArguments } from "./trace.js";

/** What a run will allocate. */
export interface Plan {
  readonly rows: readonly PlanRow[];
  readonly total: number;
  /** Memory that this process can use; 0 if unknown. */
  readonly available: number;
}

/** How long and how to train. Without `iterations` and `minutes`, `run.minutes` or `run.iterations` of the options. */
export interface TrainArguments {
  /** Iterations from here on. Schedules end with the last one. */
  readonly iterations?: number | undefined;
  /** Minutes from here on, instead; schedules follow the clock. */
  readonly minutes?: number | undefined;
  /** Aborting it ends the iteration in progress, which leaves no trace; `next()` rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
  /** Iterations between evaluations, which {@link Iteration.evaluation} then has; default `run.evaluateEvery`. */
  readonly evaluateEvery?: number | undefined;
  /**
   * Whether to measure the machine's peaks: first (about 300 ms, once a process), and between iterations for less than
   * 0.5% of the time, in case other programs kept the machine busy at first; default true.
   */
  readonly roofline?: boolean | undefined;
}

/** What may differ from the run that wrote a checkpoint: where it computes, not what. */
export interface LoadArguments {
  readonly threads?: number | undefined;
  readonly device?: ResolvedOptions["run"]["device"] | undefined;
  /** Checkpoints are fp32 whatever wrote them. Another precision rounds otherwise, so later bits differ. */
  readonly precision?: ResolvedOptions["run"]["precision"] | undefined;
  /** False leaves the pool of opponents out: enough to judge a policy, not to train on; default true. */
  readonly opponents?: boolean | undefined;
}

/** One tensor of the weights. */
export interface TensorInfo {
  readonly name: string;
  readonly shape: readonly number[];
  /** Where it begins in {@link SelfPlay.weights}, in numbers. */
  readonly offset: number;
}

/** What run directories need of a run, beside what everybody may use. */
export interface SelfPlayInternals {
  /** Restores a checkpoint into a run with the same options. */
  restore(run: SelfPlay, file: CheckpointFile): Promise<void>;
  /** The state without the opponents' weights, which lie in files of their own. */
  encode(run: SelfPlay, opponents: Readonly<Record<string, string>>): Promise<Uint8Array>;
  /** The weights as a policy file. */
  encodePolicy(run: SelfPlay): Promise<Uint8Array>;
  engine(run: SelfPlay): NativeEngine;
  stopped(run: SelfPlay): "certificate" | null;
}

export let internals: SelfPlayInternals;

/** Positions that one request of the engine takes: other requests need not wait long. */
const POLICY_BATCH = 1024;

/** Games against random play where they cannot be computed exactly. */
const RANDOM_GAMES = 2000;

/**
 * A self-play PPO run: weights, optimiser, opponents and counters, on a native thread of its own.
 *
 * Close it when done; an open run keeps its memory.
 *
 * @example
 * ```ts
 * const run = await SelfPlay.create({ game: { name: "tictactoe" }, run: { seed: 7 } });
 * for await (const it of run.train({ iterations: 20 })) console.log(it.index, it.loss.policy);
 * console.log((await run.evaluate()).certificate?.argmax.exploitability);
 * await run.save("agent.safetensors");
 * await run.close();
 * ```
 */
export class SelfPlay implements AsyncDisposable {
  /** The options with everything filled in. */
  readonly options: ResolvedOptions;
  /** Number of weights. */
  readonly parameters: number;
  /** The tensors, in the order in which {@link weights} has them. */
  readonly tensors: readonly TensorInfo[];
  /** Bytes that the engine has allocated. */
  readonly bytes: number;

  readonly #engine: NativeEngine;
  #training = false;
  #closing: Promise<void> | undefined;
  #roof: Promise<unknown> | undefined;
  #seconds = 0;
  #clock: number | null = null;
  #stopped: "certificate" | null = null;
  #source: string | null = null;
  /** What a run that was loaded without it lacks for training. */
  #lacks: "opponents" | "optimiser's state" | null = null;
  #inputs: InputHashes = {};
  #trace: Trace | null = null;

  private constructor(engine: NativeEngine, started: NativeStarted) {
    this.#engine = engine;
    this.options = fromEntries(started.entries);
    this.parameters = started.parameters;
    this.tensors = started.tensors;
    this.bytes = started.bytes;
  }

  /**
   * Makes a run: checks the options, allocates everything, initialises the weights from `run.seed`.
   *
   * @throws {@link OptionError} {@link OutOfMemoryError} {@link DeviceError} {@link NoBinaryError}
   */
  static async create(options: SelfPlayOptions): Promise<SelfPlay> {
    return SelfPlay.#start(toEntries(options), true);
  }

  /** @param inputs - whether to read the files that training needs */
  static async #start(entries: readonly NativeEntry[], inputs: boolean): Promise<SelfPlay> {
    const game = gameOf(entries);
    let engine: NativeEngine | undefined;
    try {
      engine = new (native().Engine)();
      const run = new SelfPlay(engine, await engine.start(game, entries));
      if (inputs) run.#inputs = await giveInputs(engine, run.options);
      return run;
    } catch (error) {
      await engine?.close();
      const typed = fromNative(error);
      if (!(typed instanceof OutOfMemoryError)) throw typed;
      const outcome = native().plan(game, entries);
      throw new OutOfMemoryError(typed.message, {
        ...typed,
        needed: typed.needed,
        free: typed.free,
        plan: outcome.ok ? outcome.rows : null,
      });
    }
  }

  /** What a run with these options will allocate; allocates none of it. */
  static async plan(options: SelfPlayOptions): Promise<Plan> {
    const entries = toEntries(options);
    const rows = take(native().plan(gameOf(entries), entries), "rows");
    const { memory } = await settled(native().info(false));
    return { rows, total: rows.reduce((sum, row) => sum + row.bytes, 0), available: memory };
  }

  /**
   * Makes a run from a checkpoint: a file that {@link save} wrote, one of a run directory, or a run directory (its
   * newest valid one). It goes on exactly as the run that wrote it. A file of {@link savePolicy} gives a run that can
   * be evaluated and asked, not trained or saved.
   *
   * @throws {@link CheckpointError}
   */
  static async load(path: string, args: LoadArguments = {}): Promise<SelfPlay> {
    checkArguments(args, "load", ["threads", "device", "precision", "opponents"]);
    if (args.opponents !== undefined && typeof args.opponents !== "boolean") {
      refuse("load.opponents", args.opponents, "true or false");
    }
    if (typeof path !== "string" || path === "" || path.includes("\0"))
      refuse("load.path", path, "the name of a file or run directory");
    return SelfPlay.#fromFile(await newestCheckpoint(path), args);
  }

  static async #fromFile(file: CheckpointFile, args: LoadArguments): Promise<SelfPlay> {
    let run: SelfPlay;
    let valid = false;
    const opponents = (args.opponents ?? true) && !file.policy;
    try {
      const entries = storedEntries(file.config, file.path);
      const { threads, device, precision } = args;
      const all = [...entries, ...toEntries({ run: { threads, device, precision } })];
      // Options of the file first: what is wrong there is the file's fault, and later the caller's or this machine's.
      take(native().resolve(gameOf(entries), entries), "entries");
      valid = true;
      checkNetSize(file, take(native().plan(gameOf(entries), all), "rows"));
      run = await SelfPlay.#start(all, opponents);
    } catch (error) {
      const { path } = error as { path?: string };
      if (!(error instanceof OptionError) || (valid && /^run\.(threads|device|precision)$/.test(path ?? "")))
        throw error;
      throw corrupt(file.path, `its options are not valid here: ${error.message}`, error.path, error);
    }
    try {
      await run.#restore(file, opponents);
    } catch (error) {
      await run.close();
      throw error;
    }
    return run;
  }

  async #restore(file: CheckpointFile, opponents: boolean): Promise<void> {
    try {
      if (opponents) checkInputs(file, this.#inputs);
      await settled(this.#engine.load(file.bytes));
      this.#lacks = null;
      if (file.policy) this.#lacks = "optimiser's state";
      else if (!opponents && (!file.bundled || file.inputs.size > 0)) this.#lacks = "opponents";
      else if (!file.bundled) await this.#readOpponents(file);
    } catch (error) {
      throw namingFile(file.path, error);
    }
    this.#seconds = file.seconds;
    this.#stopped = file.stopped;
    this.#source = file.path;
  }

  /** The checkpoint file that this run was loaded from; null for a new run. */
  get source(): string | null {
    return this.#source;
  }

  /** Gives the engine the pool members that lie beside a checkpoint. */
  async #readOpponents(file: CheckpointFile): Promise<void> {
    const snapshots = await settled(this.#engine.poolSnapshots());
    for (const [slot, snapshot] of snapshots.entries()) {
      const hash = file.opponents.get(snapshot);
      if (!hash) throw corrupt(file.path, `opponent ${snapshot} of the pool is in no file`, "bellows.opponents");
      const path = join(dirname(file.path), "opponents", `${hash}.safetensors`);
      const bytes = await readBytes(path);
      if (createHash("sha256").update(bytes).digest("hex") !== hash) {
        throw corrupt(path, "the content does not match the hash in its name");
      }
      const tensor = inspect(path, bytes).tensors.find(({ name }) => name === "weights");
      if (tensor?.dtype !== "F32") throw corrupt(path, "has no tensor weights of F32", "weights");
      // A copy: the tensor need not lie at a multiple of four in the file's bytes.
      const copy = Uint8Array.from(bytes.subarray(tensor.offset, tensor.offset + tensor.bytes));
      try {
        await settled(this.#engine.poolPut(slot, new Float32Array(copy.buffer, 0, copy.byteLength / 4)));
      } catch (error) {
        throw namingFile(path, error);
      }
    }
  }

  /**
   * Trains; yields each iteration. An iteration starts when `next()` is called, never ahead, so `save` and `evaluate`
   * in the loop see what was just yielded, and `break` stops cleanly.
   */
  train(args: TrainArguments = {}): AsyncGenerator<Iteration, void, undefined> {
    checkArguments(args, "train", ["iterations", "minutes", "signal", "evaluateEvery", "roofline"]);
    checkNumber(args.iterations, "train.iterations", 0, Number.MAX_SAFE_INTEGER, true);
    checkNumber(args.minutes, "train.minutes", 0, 1e9, false);
    checkNumber(args.evaluateEvery, "train.evaluateEvery", 0, Number.MAX_SAFE_INTEGER, true);
    const { signal, roofline } = args;
    if (signal !== undefined && !(signal instanceof AbortSignal)) refuse("train.signal", signal, "an AbortSignal");
    if (roofline !== undefined && typeof roofline !== "boolean") refuse("train.roofline", roofline, "true or false");
    if (args.iterations !== undefined && args.minutes !== undefined) {
      refuse("train.minutes", args.minutes, "left out where iterations is given");
    }
    return this.#train(args);
  }

  async *#train(args: TrainArguments): AsyncGenerator<Iteration, void, undefined> {
    const { signal } = args;
    this.#assertOpen("train");
    if (this.#training) throw new BellowsError("STATE", "this run is training already", { op: "train" });
    this.#assertWhole("train");
    this.#training = true;
    try {
      if (signal?.aborted) throw signal.reason;
      if (args.roofline ?? true) await this.#measureRoof();
      const { run } = this.options;
      const every = args.evaluateEvery ?? run.evaluateEvery;
      const timed = args.minutes !== undefined || (args.iterations === undefined && run.minutes > 0);
      const minutes = args.minutes ?? run.minutes;
      const asked = args.iterations ?? run.iterations;
      let done = (await settled(this.#engine.counters())).iteration;
      const total = done + asked;
      const limit = this.#seconds + minutes * 60;
      this.#clock = performance.now();
      while (timed ? this.seconds < limit : done < total) {
        // From 0 at the first iteration to 1 at the last: the last one runs at a schedule's final value.
        const progress = timed ? Math.min(1, this.seconds / limit) : done / Math.max(1, total - 1);
        if (this.#trace && this.#trace.iterations >= this.#trace.limit) await this.#trace.stop();
        const trace = this.#trace?.recording ? this.#trace : null;
        const start = trace ? native().clock() : 0;
        const raw = await this.#iterate(progress, signal);
        const end = trace ? native().clock() : 0;
        done = raw.index;
        this.#stopped = null;
        const evaluation = every > 0 && done % every === 0 ? await this.evaluate() : null;
        if (run.stopAtCertificate && evaluation?.certificate?.argmax.exploitability === 0) {
          this.#stopped = "certificate";
        }
        const iteration = toIteration(raw, this.seconds, evaluation, this.#stopped);
        await trace?.iterated(iteration, start, end);
        yield iteration;
        if (this.#stopped) return;
      }
    } finally {
      this.#seconds = this.seconds;
      this.#clock = null;
      this.#training = false;
    }
  }

  async #iterate(progress: number, signal: AbortSignal | undefined): Promise<NativeIteration> {
    if (signal?.aborted) throw signal.reason;
    const cancel = () => this.#engine.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      return await this.#engine.iterate(progress);
    } catch (error) {
      if (isNativeError(error) && error.status === "CANCELLED") {
        if (this.#closing) throw new ClosedError("train", "the run was closed while it was training");
        if (signal?.aborted) throw signal.reason;
      }
      throw fromNative(error);
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  #measureRoof(): Promise<unknown> {
    this.#roof ??= settled(this.#engine.measureRoof(false)).catch((error: unknown) => {
      this.#roof = undefined;
      throw error;
    });
    return this.#roof;
  }

  #assertOpen(op: string): void {
    if (this.#closing) throw new ClosedError(op);
  }

  #assertWhole(op: "train" | "save"): void {
    if (this.#lacks === null) return;
    const done = op === "train" ? "trained" : "saved, but by savePolicy";
    throw new BellowsError("STATE", `this run was loaded without its ${this.#lacks}: it cannot be ${done}`, { op });
  }

  /** Training time since the run began, in seconds of the wall clock; a resumed run counts on. */
  get seconds(): number {
    return this.#seconds + (this.#clock === null ? 0 : (performance.now() - this.#clock) / 1e3);
  }

  /** Iterations, games, trained moves and optimiser steps (with a league the main agent's) since the run began. */
  async counters(): Promise<{ iteration: number; games: number; samples: number; updates: number }> {
    return settled(this.#engine.counters());
  }

  /**
   * What the policy is worth: the exact certificate where the game's tree is small enough, the judgement of the perfect
   * player for Connect Four, and the result against uniformly random play (exact for a small tree, otherwise 2,000
   * games).
   */
  async evaluate(): Promise<Evaluation> {
    return this.#trace ? this.#trace.during("evaluate", () => this.#evaluate()) : this.#evaluate();
  }

  async #evaluate(): Promise<Evaluation> {
    let exact: Awaited<ReturnType<NativeEngine["certify"]>> | null = null;
    try {
      exact = await this.#engine.certify();
    } catch (error) {
      // STATE: the tree is too large.
      if (!isNativeError(error) || error.status !== "STATE") throw fromNative(error);
    }
    if (exact) {
      const sampled = seatShares(...exact.sampledRandom);
      const argmax = seatShares(...exact.argmaxRandom);
      return {
        certificate: toCertificate(exact),
        judge: null,
        versusRandom: { ...argmax, sampled, exact: true, games: null, interval: null },
      };
    }
    const argmax = await settled(this.#engine.versusRandom(RANDOM_GAMES, true));
    const sampled = await settled(this.#engine.versusRandom(RANDOM_GAMES, false));
    const shares = seatShares(argmax.first, argmax.second);
    return {
      certificate: null,
      judge: this.options.game.name === "connect4" ? await judgeConnect4(this) : null,
      versusRandom: {
        ...shares,
        sampled: seatShares(sampled.first, sampled.second),
        exact: false,
        games: RANDOM_GAMES,
        interval: wilson(shares.win, RANDOM_GAMES),
      },
    };
  }

  /**
   * Policy and value at a position, given as the moves that lead there (`""` is the start), or at many positions.
   *
   * @throws {@link OptionError} for an illegal move; its path is `moves`, or `moves[i]` of many
   */
  policy(moves: string): Promise<PositionPolicy>;
  policy(moves: readonly string[]): Promise<PositionPolicy[]>;
  async policy(moves: string | readonly string[]): Promise<PositionPolicy | PositionPolicy[]> {
    const list: readonly unknown[] = Array.isArray(moves) ? moves : [moves];
    const pathOf = (index: number) => (Array.isArray(moves) ? `moves[${index}]` : "moves");
    for (const [index, item] of list.entries()) {
      if (typeof item === "string") continue;
      throw new OptionError(`${pathOf(index)} is ${describe(item)}; it must be a string of moves`, {
        op: "policy",
        path: pathOf(index),
        received: describe(item),
        expected: "a string of moves",
      });
    }
    const positions: PositionPolicy[] = [];
    for (let start = 0; start < list.length; start += POLICY_BATCH) {
      const batch = list.slice(start, start + POLICY_BATCH) as string[];
      try {
        const { actions, logits, probabilities, values, terminal } = await this.#engine.policy(batch);
        for (const [i, text] of batch.entries()) {
          positions.push({
            moves: text,
            logits: logits.slice(i * actions, (i + 1) * actions),
            probabilities: probabilities.slice(i * actions, (i + 1) * actions),
            value: values[i]!,
            terminal: terminal[i] === 1,
          });
        }
      } catch (error) {
        if (!isNativeError(error) || error.status !== "OPTION") throw fromNative(error);
        throw new OptionError(error.message, { ...error, path: pathOf(start + error.step) });
      }
    }
    return Array.isArray(moves) ? positions : positions[0]!;
  }

  /** Where the time went since the run was made or {@link resetProfile}, as of the last finished iteration. */
  profile(): ProfileRow[] {
    this.#assertOpen("profile");
    return toProfile(this.#engine.profile());
  }

  /** Lets {@link profile} begin anew, for example after the first iteration, which is slower. */
  async resetProfile(): Promise<void> {
    await settled(this.#engine.profileReset());
  }

  /**
   * What this machine can do at most with the run's threads: the best that this process has seen. The first look takes
   * about 300 ms, each call after that looks again for about 100 ms.
   */
  async roof(): Promise<Roof> {
    await settled(this.#engine.measureRoof(true));
    return toRoof(this.#engine.profile())!;
  }

  /**
   * Records what each thread does, from here on. A run has one recording at a time: another one ends it.
   *
   * @example
   * ```ts
   * const trace = await run.trace({ iterations: 3 });
   * for await (const it of run.train({ iterations: 3 })) console.log(it.index);
   * await trace.stop();
   * await trace.save("trace.json"); // open it in ui.perfetto.dev
   * ```
   */
  async trace(args: TraceArguments = {}): Promise<Trace> {
    checkArguments(args, "trace", ["iterations", "capacity"]);
    const { iterations = 3, capacity = 500_000 } = args;
    checkNumber(iterations, "trace.iterations", 1, 1e6, true);
    checkNumber(capacity, "trace.capacity", 1, 1e9, true);
    this.#assertOpen("trace");
    await this.#trace?.stop();
    await settled(this.#engine.traceStart(capacity));
    const { game, run } = this.options;
    const about = { game: game.name, seed: run.seed, version: native().version };
    this.#trace = new Trace(this.#engine, iterations, {
      game: game.name,
      about,
      roof: () => toRoof(this.#engine.profile()),
    });
    return this.#trace;
  }

  /** A copy of the weights as the last finished iteration left them. See {@link tensors} for what lies where. */
  async weights(): Promise<Float32Array> {
    // Once more, into memory of JavaScript's own: what an addon lends must not be moved to a thread that outlives it.
    return new Float32Array(await settled(this.#engine.weights())).slice();
  }

  /** SHA-256 of the weights' bytes (fp32, little-endian, in the order of {@link tensors}), in hexadecimal. */
  async weightsHash(): Promise<string> {
    const weights = await settled(this.#engine.weights());
    return createHash("sha256").update(new Uint8Array(weights)).digest("hex");
  }

  /**
   * Writes everything to one file, opponents included: {@link load} goes on exactly from here. The file is replaced at
   * once or not at all.
   */
  async save(path: string): Promise<void> {
    this.#assertWhole("save");
    if (typeof path !== "string" || path === "" || path.includes("\0")) refuse("save.path", path, "the name of a file");
    const work = async () => writeAtomic(path, await this.#encode("bundle", {}));
    await (this.#trace ? this.#trace.during("checkpoint", work) : work());
  }

  /**
   * Writes the weights alone to one file: enough to play with, for example in {@link playMatch}, not to train on. It
   * takes a third of a checkpoint's room, or less where there are opponents.
   */
  async savePolicy(path: string): Promise<void> {
    if (typeof path !== "string" || path === "" || path.includes("\0")) {
      refuse("savePolicy.path", path, "the name of a file");
    }
    await writeAtomic(path, await this.#encode("policy", {}));
  }

  async #encode(what: "bundle" | "state" | "policy", opponents: Readonly<Record<string, string>>): Promise<Uint8Array> {
    const metadata = encodeMetadata({
      config: this.options,
      version: native().version,
      seconds: this.seconds,
      stopped: this.#stopped,
      opponents,
      inputs: what === "policy" ? {} : this.#inputs,
    });
    return seal(new Uint8Array(await settled(this.#engine.save(what, metadata))));
  }

  /** Ends what runs, frees the memory, joins the thread. Calls after it reject with {@link ClosedError}. */
  close(): Promise<void> {
    this.#closing ??= this.#engine.close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  static {
    internals = {
      restore: (run, file) => run.#restore(file, true),
      encode: (run, opponents) => run.#encode("state", opponents),
      encodePolicy: (run) => run.#encode("policy", {}),
      engine: (run) => run.#engine,
      stopped: (run) => run.#stopped,
    };
  }
}

/** Refuses options that describe a net which the file cannot hold, before memory for it is taken. */
function checkNetSize(file: CheckpointFile, rows: readonly PlanRow[]): void {
  // The weights, and but for a policy the optimiser's two moments.
  const needed = (file.policy ? 1 : 3) * rows.find(({ group, name }) => group === "net" && name === "agent")!.bytes;
  if (needed <= file.bytes.length) return;
  const what = `its options describe a net of ${needed} bytes, and the file has ${file.bytes.length}`;
  throw corrupt(file.path, what, "net");
}

function refuse(path: string, value: unknown, expected: string): never {
  throw new OptionError(`${path} is ${describe(value)}; it must be ${expected}`, {
    op: path.split(".")[0],
    path,
    received: describe(value),
    expected,
  });
}
