// Finds and loads the addon, and says what its functions take and give. Everything else in lib/ is typed by this.

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve as resolvePath } from "node:path";
import { fileURLToPath } from "node:url";
import { fromNative, type NativeError, NoBinaryError, type PlanRow } from "./errors.js";

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
  /** Measured peaks; 0 until measured. */
  readonly gflops: number;
  readonly gbytes: number;
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
  save(bundlePool: boolean, metadata: readonly (readonly [string, string])[]): Promise<ArrayBuffer>;
  load(bytes: Uint8Array): Promise<void>;
  poolSnapshots(): Promise<readonly number[]>;
  poolGet(slot: number): Promise<{ snapshot: number; weights: Float32Array }>;
  poolPut(slot: number, weights: Float32Array): Promise<void>;
  weights(): Promise<ArrayBuffer>;
  counters(): Promise<NativeCounters>;
  measureRoof(): Promise<{ gflops: number; gbytes: number }>;
  profile(): NativeProfile;
  profileReset(): Promise<void>;
  cancel(): void;
  close(): Promise<void>;
}

export interface NativeInfo {
  readonly isa: string;
  readonly isasAvailable: string;
  readonly cpu: string;
  readonly threads: number;
  readonly memory: number;
  readonly devices: readonly { readonly name: string; readonly available: boolean; readonly reason: string }[];
  readonly gflops: number;
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

type Outcome<K extends string, T> =
  | ({ readonly ok: true } & { readonly [key in K]: T })
  | { readonly ok: false; readonly error: NativeError };

export interface NativeAddon {
  readonly version: string;
  readonly Engine: new () => NativeEngine;
  info(measurePeaks: boolean): Promise<NativeInfo>;
  resolve(game: string, entries: readonly NativeEntry[]): Outcome<"entries", readonly NativeEntry[]>;
  plan(game: string, entries: readonly NativeEntry[]): Outcome<"rows", readonly PlanRow[]>;
  games(): readonly NativeGame[];
  position(game: string, moves: string): Outcome<"position", NativePosition>;
  perft(game: string, depth: number): Promise<number>;
  inspect(bytes: Uint8Array): Outcome<"file", NativeFile>;
  member(weights: Float32Array): Outcome<"bytes", ArrayBuffer>;
}

/** Node-API version that the addon is built for. */
const NAPI_VERSION = 8;

/** The package's folder: lib/ and dist/ lie directly in it. */
export const packageRoot = dirname(dirname(fileURLToPath(import.meta.url)));

const require = createRequire(import.meta.url);

function reason(error: unknown): string {
  return error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
}

function load(): NativeAddon {
  const tried: string[] = [];
  const offered = Number(process.versions.napi ?? 0);
  if (offered < NAPI_VERSION) {
    throw new NoBinaryError(
      `bellows needs Node-API ${NAPI_VERSION} or later; this runtime (${process.version}) offers ${offered}`,
      tried,
    );
  }
  const named = process.env.BELLOWS_BINARY;
  if (named) {
    const path = resolvePath(named);
    try {
      return require(path) as NativeAddon;
    } catch (error) {
      throw new NoBinaryError(`BELLOWS_BINARY names ${path}, which does not load: ${reason(error)}`, [path], error);
    }
  }
  const built = join(packageRoot, "build", "Release", "bellows.node");
  let cause: unknown;
  if (existsSync(built)) {
    try {
      return require(built) as NativeAddon;
    } catch (error) {
      cause = error;
      tried.push(`${built} (${reason(error)})`);
    }
  } else {
    tried.push(`${built} (no such file)`);
  }
  const prebuilds = join(packageRoot, "prebuilds", `${process.platform}-${process.arch}`);
  try {
    const find = require("node-gyp-build") as { path(directory: string): string };
    return require(find.path(packageRoot)) as NativeAddon;
  } catch (error) {
    cause ??= error;
    tried.push(existsSync(prebuilds) ? `${prebuilds} (${reason(error)})` : `${prebuilds} (no such folder)`);
  }
  throw new NoBinaryError(
    `no native binary of bellows for ${process.platform}-${process.arch} was found.\n` +
      `Tried:\n${tried.map((path) => `  ${path}`).join("\n")}\n` +
      `Build it with \`npm run build:native\` in ${packageRoot} (needs CMake and a C++ compiler).`,
    tried,
    cause,
  );
}

let addon: NativeAddon | undefined;

/** The addon, loaded at first use. */
export function native(): NativeAddon {
  addon ??= load();
  return addon;
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
