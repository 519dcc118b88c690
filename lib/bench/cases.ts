// Which cases there are, which ones are meant, and how one is measured.

import { BellowsError } from "../errors.js";
import { type NativeBenchCase, type NativeBenchRow, native, settled, take } from "../native.js";
import { nearest } from "./nearest.js";
import { measurePeer, type PeerEntry } from "./peers.js";
import { median } from "./statistics.js";

export interface BenchCase extends NativeBenchCase {
  readonly index: number;
}

export interface BenchPeer {
  readonly name: string;
  /** In the case's unit. */
  readonly median: number;
  /** How many times as fast bellows is: the median of the pairs' ratios. */
  readonly ratio: number;
}

export interface BenchRow {
  readonly name: string;
  readonly shape: string;
  readonly threads: number;
  readonly precision: string;
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
  readonly unit: string;
  /** null where the case counts no operations. */
  readonly gflops: number | null;
  /** Share of the probed roof that binds first; at most 1. */
  readonly roofFraction: number | null;
  /** Whether the case was faster than a probe: its own rate is the roof then. */
  readonly roofRaised: boolean;
  /** Time / the least time at the probed rates. */
  readonly floorRatio: number | null;
  readonly peers: readonly BenchPeer[];
  readonly pairs: number;
  readonly samples: number;
  readonly gbytes: number | null;
  readonly roofGflops: number;
  readonly roofGbytes: number | null;
  /** Of cases that are one iteration of training; times are not scaled to steps. */
  readonly iteration?: {
    readonly ms: number;
    readonly collectMs: number;
    readonly updateMs: number;
    readonly msPerStep: number;
    readonly steps: number;
    readonly samples: number;
    readonly moves: number;
    readonly floorMs: number;
    readonly scaledToSteps: number | null;
  };
}

export interface BenchRequest {
  readonly threads: number;
  readonly precision: string;
  readonly pairs: number;
  /** Of one case and pair; undefined: the case's own. */
  readonly seconds: number | undefined;
  readonly peers: readonly PeerEntry[];
  readonly signal: AbortSignal;
  /** Told which peer runs: some take minutes. */
  readonly say: (text: string) => void;
}

export function benchCases(): BenchCase[] {
  return native()
    .benchCases()
    .map((of, index) => ({ ...of, index }));
}

/** The cases that the names mean: a whole name, or what stands before its slash. */
export function chooseCases(names: readonly string[], cases: readonly BenchCase[]): BenchCase[] {
  const known = [...new Set(cases.flatMap(({ name }) => [name.slice(0, name.indexOf("/")), name]))].sort();
  for (const name of names) {
    if (known.includes(name)) continue;
    const near = nearest(name, known);
    const hint = near === null ? "" : `did you mean ${near}? `;
    throw new BellowsError("USAGE", `--only ${name}: no such case; ${hint}There are ${known.join(", ")}`, {
      op: "bench",
      path: "--only",
      received: name || '""',
      expected: known.join(", "),
    });
  }
  if (names.length === 0) return [...cases];
  return cases.filter(({ name }) => names.some((wanted) => name === wanted || name.startsWith(`${wanted}/`)));
}

const orNull = (value: number) => (value > 0 ? value : null);

/** Measures one case and its peers in turn, pair by pair. */
export async function runCase(of: BenchCase, request: BenchRequest): Promise<BenchRow> {
  const seconds = request.seconds ?? of.seconds;
  const peers = request.peers.filter((peer) => peer.case === of.name);
  const theirs = peers.map((): number[] => []);
  const ours: number[] = [];
  const runs: Float64Array[] = [];
  let samples = 0;
  for (let pair = 0; pair < request.pairs; ++pair) {
    request.signal.throwIfAborted();
    const run = await settled(
      native().benchRun(of.index, { threads: request.threads, precision: request.precision, seconds, warmUp: true }),
    );
    runs.push(run.samples);
    samples += run.count;
    ours.push(take(native().benchRow(run.samples), "row").median);
    for (const [i, peer] of peers.entries()) {
      request.say(`${of.name}: pair ${pair + 1} of ${request.pairs}, ${peer.name}\n`);
      theirs[i]!.push(await measurePeer(peer, { of, threads: request.threads, seconds, signal: request.signal }));
    }
  }
  const row = take(native().benchRow(concatenated(runs)), "row");
  const timesAsFast = (mine: number, other: number) => (of.unit.endsWith("/s") ? mine / other : other / mine);
  return {
    name: of.name,
    shape: of.shape,
    threads: request.threads,
    precision: request.precision,
    median: row.median,
    p10: row.p10,
    p90: row.p90,
    unit: of.unit,
    gflops: orNull(row.gflops),
    roofFraction: orNull(row.roofFraction),
    roofRaised: row.roofRaised,
    floorRatio: orNull(row.floorRatio),
    peers: peers.map(({ name }, i) => ({
      name,
      median: median(theirs[i]!),
      ratio: median(ours.map((mine, pair) => timesAsFast(mine, theirs[i]![pair]!))),
    })),
    pairs: request.pairs,
    samples,
    gbytes: orNull(row.gbytes),
    roofGflops: row.roofGflops,
    roofGbytes: orNull(row.roofGbytes),
    ...(row.steps > 0 ? { iteration: iterationOf(of, row) } : {}),
  };
}

function iterationOf(of: BenchCase, row: NativeBenchRow): NonNullable<BenchRow["iteration"]> {
  return {
    ms: row.seconds * 1e3,
    collectMs: row.collectSeconds * 1e3,
    updateMs: row.updateSeconds * 1e3,
    msPerStep: (row.updateSeconds * 1e3) / row.steps,
    steps: row.steps,
    samples: row.samples,
    moves: row.moves,
    floorMs: row.floorSeconds * 1e3,
    scaledToSteps: orNull(of.steps),
  };
}

function concatenated(parts: readonly Float64Array[]): Float64Array {
  const whole = new Float64Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
