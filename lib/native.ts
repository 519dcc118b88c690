// The addon, and what its functions take and give. Everything else in lib/ is typed by this.

import { loadBinary } from "./binary.js";
import { fromNative, type NativeError, type PlanRow } from "./errors.js";

/** One option as the engine's config takes and gives it. */
export interface NativeEntry {
  readonly path: string;
  readonly kind: "number" | "boolean" | "string" | "other";
  readonly text: string;
}

/** Shares of games; they add up to 1. */
export interface Shares {
  readonly win: number;
  readonly draw: number;
  readonly loss: number;
}

export interface NativeExploit {
  readonly exploitability: number;
  readonly first: number;
  readonly second: number;
  readonly worstFirst: string;
  readonly worstSecond: string;
}

export interface NativeCertificate {
  readonly argmax: NativeExploit;
  readonly sampled: NativeExploit;
  readonly argmaxRandom: readonly [Shares, Shares];
  readonly sampledRandom: readonly [Shares, Shares];
  readonly states: number;
}

/** A learner of a league. */
export interface Role {
  /**
   * Share of points, older games counting less: the main exploiter's against the main agent, the others' mean over all
   * frozen players.
   */
  readonly winRate: number;
  /** Iterations since it was frozen last; of the main agent since the run began. */
  readonly iterations: number;
  /** Trained moves of this iteration. */
  readonly samples: number;
  /** Its share of all trained moves since the run began. */
  readonly sampleShare: number;
  /** Copies of it that joined the league so far; there may be fewer by now. */
  readonly frozen: number;
  /** Times that it began anew. */
  readonly resets: number;
}

export interface NativeIteration {
  readonly index: number;
  readonly games: number;
  readonly samples: number;
  readonly plies: number;
  readonly updates: number;
  readonly totalGames: number;
  readonly totalSamples: number;
  readonly win: number;
  readonly draw: number;
  readonly loss: number;
  readonly firstWin: number;
  readonly firstDraw: number;
  readonly firstLoss: number;
  readonly policyLoss: number;
  readonly valueLoss: number;
  readonly entropy: number;
  readonly approxKl: number;
  readonly clipFraction: number;
  readonly gradNorm: number;
  readonly explainedVariance: number;
  readonly maxRatioError: number;
  readonly lr: number;
  readonly entropyCoef: number;
  readonly poolSize: number;
  readonly epochs: number;
  readonly collectSeconds: number;
  readonly updateSeconds: number;
  readonly flops: number;
  readonly roofline: number;
  readonly roofRaised: boolean;
  /** Main agent, main exploiter, league exploiter; null without a league. */
  readonly roles: readonly [Role, Role, Role] | null;
}

export interface NativeSpan {
  readonly name: string;
  readonly group: string;
  readonly calls: number;
  readonly seconds: number;
  readonly flops: number;
  readonly bytes: number;
}

export interface NativeProfile {
  readonly spans: readonly NativeSpan[];
  /** Measured peaks with so many threads; all 0 until measured, those of a cache also where there is none. */
  readonly threads: number;
  /** In the run's precision. */
  readonly gflops: number;
  /** Whether that is the best rate of an iteration: the probes read less. */
  readonly raised: boolean;
  readonly gflopsFp32: number;
  /** 0 where there is no bf16. */
  readonly gflopsBf16: number;
  readonly gbytes: number;
  /** L1, L2, L3: what they hold for all threads, and their bandwidth. */
  readonly caches: readonly { readonly bytes: number; readonly gbytes: number }[];
}

/** Events of a timeline, `TRACE_COLUMNS` numbers each. */
export interface NativeEvents {
  readonly names: readonly string[];
  /** Name and group as indices of `names` (group -1: a phase), thread, start and end (ns), flops, bytes, threads. */
  readonly rows: Float64Array;
  /** Events that found no room. */
  readonly dropped: number;
  /** Threads that events may be of. */
  readonly threads: number;
}

export interface NativeStarted {
  readonly entries: readonly NativeEntry[];
  readonly bytes: number;
  readonly parameters: number;
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[]; readonly offset: number }[];
}

export interface NativeCounters {
  readonly iteration: number;
  readonly games: number;
  readonly samples: number;
  readonly updates: number;
}

export interface NativePolicy {
  readonly actions: number;
  readonly logits: Float32Array;
  readonly probabilities: Float32Array;
  readonly values: Float32Array;
  readonly terminal: Uint8Array;
}

export interface NativeEngine {
  start(game: string, entries: readonly NativeEntry[]): Promise<NativeStarted>;
  iterate(progress: number): Promise<NativeIteration>;
  certify(): Promise<NativeCertificate>;
  versusRandom(games: number, argmax: boolean): Promise<{ first: Shares; second: Shares }>;
  policy(moves: readonly string[]): Promise<NativePolicy>;
  /** bundle: everything; state: without the opponents' weights; policy: the weights alone. */
  save(what: "bundle" | "state" | "policy", metadata: readonly (readonly [string, string])[]): Promise<ArrayBuffer>;
  load(bytes: Uint8Array): Promise<void>;
  poolSnapshots(): Promise<readonly number[]>;
  poolGet(slot: number): Promise<{ snapshot: number; weights: Float32Array }>;
  poolPut(slot: number, weights: Float32Array): Promise<void>;
  setStarts(moves: readonly string[]): Promise<void>;
  pin(game: string, entries: readonly NativeEntry[], file: Uint8Array): Promise<void>;
  weights(): Promise<ArrayBuffer>;
  counters(): Promise<NativeCounters>;
  /** Measures what is not known; `again`: looks again at what is, and keeps the best. */
  measureRoof(again: boolean): Promise<void>;
  profile(): NativeProfile;
  profileReset(): Promise<void>;
  /** Records events: at most `capacity` a thread between two calls of `traceTake`. */
  traceStart(capacity: number): Promise<void>;
  traceTake(): Promise<NativeEvents>;
  traceStop(): Promise<void>;
  cancel(): void;
  close(): Promise<void>;
}

export interface NativeConnect4Solver {
  /** 0 threads: all; 0 bytes: the default. */
  start(threads: number, bytes: number, book: boolean): Promise<{ threads: number; bytes: number }>;
  /** A row of numbers a position: score, over, nodes, seconds, a score for each column (NaN: none). */
  solve(moves: readonly string[], withScores: boolean): Promise<Float64Array>;
  /** Rows of the call in progress, from `begin` up to the first position that is not solved. */
  solved(begin: number): Float64Array;
  cancel(): void;
  close(): Promise<void>;
}

export interface NativeInfo {
  readonly isa: string;
  readonly isasAvailable: string;
  readonly cpu: string;
  /** Of cpuid; 0 where there is none. */
  readonly cpuFamily: number;
  readonly cpuModel: number;
  readonly threads: number;
  readonly memory: number;
  readonly devices: readonly { readonly name: string; readonly available: boolean; readonly reason: string }[];
  readonly gflops: number;
  /** 0 where bf16 is not available. */
  readonly gflopsBf16: number;
  readonly gbytes: number;
}

export interface NativeGame {
  readonly name: string;
  readonly title: string;
  readonly actions: number;
  readonly rows: number;
  readonly cols: number;
  readonly planes: number;
  readonly inputs: number;
  readonly maxPlies: number;
}

export interface NativePosition {
  readonly board: string;
  readonly ply: number;
  /** 0 the game goes on, 1 the player who just moved has won, 2 drawn. */
  readonly result: number;
  readonly legal: readonly { readonly action: number; readonly symbol: string }[];
  /** The same for positions that are equal up to a left-right reflection, whatever moves led there. */
  readonly canonical: string;
}

export interface NativeFile {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: readonly {
    readonly name: string;
    readonly dtype: string;
    readonly shape: readonly number[];
    /** In bytes, from the start of the file. */
    readonly offset: number;
    readonly bytes: number;
  }[];
}

export interface NativeBenchCase {
  readonly name: string;
  readonly shape: string;
  /** "ms" and "us" (less is better), "Mmoves/s", "Mnodes/s" (more is better). */
  readonly unit: string;
  /** What a run takes by default. */
  readonly seconds: number;
  readonly what: string;
  /** Optimiser steps that an iteration's time is scaled to; 0: it is not. */
  readonly steps: number;
}

/** Medians over the samples, but for p10 and p90. 0 where a case has no such figure. */
export interface NativeBenchRow {
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
  readonly seconds: number;
  readonly gflops: number;
  readonly gbytes: number;
  readonly roofGflops: number;
  readonly roofGbytes: number;
  readonly roofFraction: number;
  readonly roofRaised: boolean;
  readonly floorSeconds: number;
  readonly floorRatio: number;
  readonly samples: number;
  readonly moves: number;
  readonly steps: number;
  readonly collectSeconds: number;
  readonly updateSeconds: number;
}

/** A player of a match: one of the engine's, or a network with its options and its checkpoint or policy file. */
export type NativePlayer =
  | { readonly kind: string; readonly strength: number }
  | {
      readonly kind: "policy";
      readonly game: string;
      readonly entries: readonly NativeEntry[];
      readonly file: Uint8Array;
      readonly argmax: boolean;
      readonly temperature: number;
      /** Of a search before each move; 0: none. */
      readonly simulations: number;
    };

/** Games in order, as columns. */
export interface NativePlayed {
  /** One byte a game, for the first player: 0 won, 1 drawn, 2 lost. */
  readonly results: ArrayBuffer;
  /** One byte a game: moves made after the opening. */
  readonly plies: ArrayBuffer;
  /** `maxPlies` of the game a row: the symbols of those moves. */
  readonly moves: ArrayBuffer;
}

export interface NativeMatch {
  readonly result: Promise<NativePlayed>;
  /** Games that are over. */
  done(): number;
  /** Makes the result reject with CANCELLED soon. */
  cancel(): void;
}

type Outcome<K extends string, T> =
  | ({ readonly ok: true } & { readonly [key in K]: T })
  | { readonly ok: false; readonly error: NativeError };

export interface NativeAddon {
  readonly version: string;
  readonly Engine: new () => NativeEngine;
  readonly Connect4Solver: new () => NativeConnect4Solver;
  info(measurePeaks: boolean): Promise<NativeInfo>;
  resolve(game: string, entries: readonly NativeEntry[]): Outcome<"entries", readonly NativeEntry[]>;
  plan(game: string, entries: readonly NativeEntry[]): Outcome<"rows", readonly PlanRow[]>;
  games(): readonly NativeGame[];
  position(game: string, moves: string): Outcome<"position", NativePosition>;
  perft(game: string, depth: number): Promise<number>;
  inspect(bytes: Uint8Array): Outcome<"file", NativeFile>;
  member(weights: Float32Array): Outcome<"bytes", ArrayBuffer>;
  /** The kernel's lock of an open file: whether it was free; null where there is none to be had. */
  lockFile(fd: number, exclusive: boolean): boolean | null;
  benchCases(): readonly NativeBenchCase[];
  benchRun(
    index: number,
    request: { threads: number; precision: string; seconds: number; warmUp: boolean },
  ): Promise<{ count: number; samples: Float64Array; profile: readonly NativeSpan[] }>;
  /** What samples come to; they may be those of several runs, one after the other. */
  benchRow(samples: Float64Array): Outcome<"row", NativeBenchRow>;
  /** The clock of events, in ns. */
  clock(): number;
  /** Plays the games `first` to `first + games - 1` on a thread of its own. */
  match(request: {
    game: string;
    players: readonly [NativePlayer, NativePlayer];
    openings: readonly string[];
    first: number;
    games: number;
    limit: number;
    seed: number;
    threads: number;
  }): NativeMatch;
}

let loaded: { readonly addon: NativeAddon; readonly path: string } | undefined;

function load() {
  const { exports, path } = loadBinary();
  return { addon: exports as unknown as NativeAddon, path };
}

/** The addon, loaded at first use. */
export function native(): NativeAddon {
  loaded ??= load();
  return loaded.addon;
}

/** The file that the addon was loaded from. */
export function nativePath(): string {
  loaded ??= load();
  return loaded.path;
}

/** The value of a synchronous call's outcome; throws the typed error otherwise. */
export function take<K extends string, T>(outcome: Outcome<K, T>, key: K): T {
  if (!outcome.ok) throw fromNative(outcome.error);
  return outcome[key];
}

/** Waits for a native promise; rejects with the typed error. */
export async function settled<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    throw fromNative(error);
  }
}
