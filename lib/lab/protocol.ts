// What the runner, the worker process and its watchdog thread tell each other. Reports and results travel on Node's
// channel between processes, signs of life on a pipe that the watchdog holds, so that a busy main thread delays neither
// limits nor the end; stdout and stderr are the objective's own.

import { BellowsError } from "../errors.js";
import type { Cost, FailureKind, Report, Task } from "./task.js";

/** File descriptor of the watchdog's pipe in the worker process. */
export const LIFE = 4;

/** What an objective has from the abort of its signal to the end of its process. */
export const GRACE_MS = 1000;

export type LimitName = "memory" | "seconds" | "heartbeat";

/** A limit that was reached: which one, what it is and what there was instead. */
export interface Reached {
  readonly limit: LimitName;
  readonly allowed: number;
  readonly found: number;
}

export type ToWorker =
  | { readonly type: "task"; readonly task: Task }
  | { readonly type: "abort"; readonly why: Reached | null };

/** What an attempt has done so far. */
export type Work = Pick<Cost, "iterations" | "flops">;

/** How an objective ended by itself. */
export type Ending =
  | { readonly ok: true; readonly value: number; readonly values: Readonly<Record<string, number>> }
  | {
      readonly ok: false;
      readonly kind: FailureKind;
      readonly code: string;
      readonly message: string;
      readonly retry: boolean;
    };

export type FromWorker =
  | { readonly type: "report"; readonly report: Report; readonly work: Work }
  | { readonly type: "end"; readonly ending: Ending; readonly work: Work; readonly pulse: Pulse };

/** A sign of life. */
export interface Pulse {
  /** Most resident memory so far, in bytes. */
  readonly peakMemory: number;
  readonly cpuSeconds: number;
  readonly reached?: Reached;
}

/** CPU time of this process, as a pulse tells it. */
export function cpuSeconds(since?: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1e6;
}

/** What the worker tells its watchdog. */
export interface WatchdogData {
  readonly parent: number;
  /** Bytes; 0 is no limit. */
  readonly memory: number;
  /** Seconds. */
  readonly heartbeat: number;
  /** One counter, which the main thread increments. */
  readonly beats: SharedArrayBuffer;
}

const UNITS: Readonly<Record<LimitName, string>> = { memory: "MiB", seconds: "s", heartbeat: "s" };

export function describeReached({ limit, allowed, found }: Reached): string {
  const unit = UNITS[limit];
  const text = (value: number) => `${Number(value.toPrecision(4))} ${unit}`;
  switch (limit) {
    case "memory":
      return `memory grew to ${text(found)}, over the limit of ${text(allowed)} (limits.memory)`;
    case "seconds":
      return `it was not done after ${text(allowed)} (limits.seconds)`;
    case "heartbeat":
      return `no sign of life for ${text(found)}, over the limit of ${text(allowed)} (limits.heartbeat)`;
  }
}

/** What the objective's signal says. */
export function abortReason(why: Reached | null): BellowsError {
  if (!why) return new BellowsError("INTERRUPTED", "the run was interrupted", { op: "objective" });
  const unit = UNITS[why.limit];
  return new BellowsError("CANCELLED", describeReached(why), {
    op: "objective",
    path: `limits.${why.limit}`,
    received: `${why.found} ${unit}`,
    expected: `at most ${why.allowed} ${unit}`,
  });
}
