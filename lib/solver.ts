/// <reference lib="esnext.disposable" preserve="true" />
import { ClosedError, fromNative, isNativeError, OptionError } from "./errors.js";
import { type NativeConnect4Solver, native, settled } from "./native.js";
import { checkArguments, checkNumber, describe } from "./options.js";

/** How a {@link Connect4Solver} is made. */
export interface SolverOptions {
  /** Threads of {@link Connect4Solver.solveMany}; default: all of the machine's. Never changes scores. */
  readonly threads?: number | undefined;
  /** MiB for the transposition tables of all threads; default 64 a thread. Never changes scores. */
  readonly memory?: number | undefined;
  /** False searches positions that the opening book has, too; default true. */
  readonly book?: boolean | undefined;
}

/** How positions are solved. */
export interface SolveArguments {
  /** Whether every move is scored as well; default false. */
  readonly scores?: boolean | undefined;
  /** Aborting it ends the search; the promise rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
}

/** How many positions are solved. */
export interface SolveManyArguments extends SolveArguments {
  /** Called for each position, in the order of the list, soon after it and all before it are solved. */
  readonly onSolution?: ((solution: Solution, index: number) => void) | undefined;
}

/** What best play of both sides makes of a position. */
export interface Solution {
  /** The position, as it was given. */
  readonly moves: string;
  /**
   * For the side to move: a win scores 22 minus the number of stones that the winner will have played (18 with his
   * fourth stone), a loss what the opponent's win scores, negated, a draw 0.
   */
  readonly score: number;
  readonly value: "win" | "draw" | "loss";
  /** The same of each column's move, null where it is not legal; null when it was not asked for. */
  readonly scores: readonly (number | null)[] | null;
  /** Whether the game has ended: then the side that would be to move has lost, or it is a draw. */
  readonly over: boolean;
  /** Positions that were searched; 0 where the opening book or the rules answer. */
  readonly nodes: number;
  readonly ms: number;
}

/** Numbers of a solution as the engine gives it: score, over, nodes, seconds, a score for each column. */
const COLUMNS = 11;
/** Between looks at what is solved, in ms. */
const LOOK = 50;

/**
 * The perfect player of Connect Four: exact scores of positions.
 *
 * @example
 * ```ts
 * const solver = await Connect4Solver.create();
 * console.log((await solver.solve("4455")).score); // 18: three in a row, open at both ends
 * console.log(await solver.scores("")); // [-2, -1, 0, 1, 0, -1, -2]
 * await solver.close();
 * ```
 */
export class Connect4Solver {
  readonly #engine: NativeConnect4Solver;
  /** Threads that solve. */
  readonly threads: number;
  /** Bytes of the transposition tables. */
  readonly bytes: number;
  /** The last call that solves; each waits for those before it. */
  #last: Promise<void> = Promise.resolve();
  #closing: Promise<void> | null = null;

  private constructor(engine: NativeConnect4Solver, threads: number, bytes: number) {
    this.#engine = engine;
    this.threads = threads;
    this.bytes = bytes;
  }

  /**
   * Makes a solver.
   *
   * @throws {@link OptionError} for a bad option, OutOfMemoryError where there is no room for the tables
   */
  static async create(options: SolverOptions = {}): Promise<Connect4Solver> {
    checkArguments(options, "solver", ["threads", "memory", "book"]);
    const { threads = 0, memory, book = true } = options;
    checkNumber(threads, "solver.threads", 0, 256, true);
    checkNumber(memory, "solver.memory", 1, 1 << 20, true);
    if (typeof book !== "boolean") refuse("solver.book", book, "true or false");
    const engine = new (native().Connect4Solver)();
    try {
      const started = await settled(engine.start(threads, (memory ?? 0) * 2 ** 20, book));
      return new Connect4Solver(engine, started.threads, started.bytes);
    } catch (error) {
      await engine.close();
      throw error;
    }
  }

  /**
   * Solves a position, given as the moves that lead to it: columns 1 to 7 (`""` is the empty board).
   *
   * @throws {@link OptionError} for moves that break the rules; its path is `moves`
   */
  async solve(moves: string, args: SolveArguments = {}): Promise<Solution> {
    checkArguments(args, "solve", ["scores", "signal"]);
    checkSolveArguments(args, "solve");
    const [solution] = await this.#solve([moves], args, () => "moves");
    return solution!;
  }

  /** The score of each column's move at a position, null where it is not legal. */
  async scores(moves: string, args: Pick<SolveArguments, "signal"> = {}): Promise<(number | null)[]> {
    checkArguments(args, "scores", ["signal"]);
    checkSolveArguments(args, "scores");
    const [solution] = await this.#solve([moves], { ...args, scores: true }, () => "moves");
    return [...solution!.scores!];
  }

  /**
   * Solves positions on all threads; the solutions have the order of the list.
   *
   * @throws {@link OptionError} for moves that break the rules, before anything is solved; its path is `moves[i]`
   */
  async solveMany(list: readonly string[], args: SolveManyArguments = {}): Promise<Solution[]> {
    checkArguments(args, "solveMany", ["scores", "signal", "onSolution"]);
    checkSolveArguments(args, "solveMany");
    if (!Array.isArray(list)) refuse("moves", list, "an array of strings of moves");
    const { onSolution } = args;
    if (onSolution !== undefined && typeof onSolution !== "function") {
      refuse("solveMany.onSolution", onSolution, "a function");
    }
    return this.#solve([...list], args, (index) => `moves[${index}]`);
  }

  async #solve(
    list: readonly string[],
    args: SolveManyArguments,
    pathOf: (index: number) => string,
  ): Promise<Solution[]> {
    for (const [index, moves] of list.entries()) {
      if (typeof moves !== "string") refuse(pathOf(index), moves, "a string of moves");
    }
    if (this.#closing) throw closed("solve");
    const before = this.#last;
    const { promise, resolve: done } = withResolvers();
    this.#last = promise;
    try {
      await unlessAborted(before, args.signal);
      return await this.#solveNow(list, args, pathOf);
    } finally {
      void before.then(done);
    }
  }

  async #solveNow(
    list: readonly string[],
    { scores: withScores = false, signal, onSolution }: SolveManyArguments,
    pathOf: (index: number) => string,
  ): Promise<Solution[]> {
    if (signal?.aborted) throw signal.reason; // while it waited for its turn to come round
    const solutions: Solution[] = [];
    const add = (rows: Float64Array) => {
      for (let at = 0; at < rows.length; at += COLUMNS) {
        const index = solutions.length;
        const solution = toSolution(list[index]!, rows.subarray(at, at + COLUMNS), withScores);
        solutions.push(solution);
        onSolution?.(solution, index);
      }
    };
    let failed: { readonly reason: unknown } | null = null;
    const cancel = () => this.#engine.cancel();
    const look = () => {
      try {
        if (!failed) add(this.#engine.solved(solutions.length));
      } catch (reason) {
        failed = { reason: fromNative(reason) }; // thrown by the caller's function, or no memory for rows
        cancel();
      }
    };
    const timer = onSolution ? setInterval(look, LOOK) : undefined;
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      const rows = await this.#engine.solve(list, withScores);
      clearInterval(timer);
      if (failed) throw (failed as { reason: unknown }).reason;
      add(rows.subarray(solutions.length * COLUMNS));
      return solutions;
    } catch (error) {
      if (failed) throw (failed as { reason: unknown }).reason;
      if (!isNativeError(error)) throw error;
      if (error.status === "CANCELLED" || error.status === "CLOSED") {
        if (this.#closing) throw closed("solve", "the solver was closed while it was solving");
        if (signal?.aborted) throw signal.reason;
      }
      if (error.status !== "OPTION") throw fromNative(error);
      throw new OptionError(error.message, { ...error, path: pathOf(error.step) });
    } finally {
      clearInterval(timer);
      signal?.removeEventListener("abort", cancel);
    }
  }

  /** Ends what runs, frees the memory, joins the threads. Calls after it reject with {@link ClosedError}. */
  close(): Promise<void> {
    this.#closing ??= this.#engine.close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function toSolution(moves: string, row: Float64Array, withScores: boolean): Solution {
  const score = row[0]!;
  return {
    moves,
    score,
    value: score > 0 ? "win" : score < 0 ? "loss" : "draw",
    scores: withScores ? [...row.subarray(4)].map((value) => (Number.isNaN(value) ? null : value)) : null,
    over: row[1] === 1,
    nodes: row[2]!,
    ms: row[3]! * 1e3,
  };
}

function closed(op: string, message = "the solver is closed"): ClosedError {
  return new ClosedError(op, message);
}

function checkSolveArguments({ scores, signal }: SolveArguments, where: string): void {
  if (scores !== undefined && typeof scores !== "boolean") refuse(`${where}.scores`, scores, "true or false");
  if (signal !== undefined && !(signal instanceof AbortSignal)) refuse(`${where}.signal`, signal, "an AbortSignal");
}

/** Waits for a promise, or rejects as soon as the signal aborts. */
async function unlessAborted(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted) throw signal.reason;
  if (!signal) return promise;
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

function refuse(path: string, value: unknown, expected: string): never {
  throw new OptionError(`${path} is ${describe(value)}; it must be ${expected}`, {
    op: path.split(".")[0],
    path,
    received: describe(value),
    expected,
  });
}
