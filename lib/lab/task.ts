// What a run is asked to do and what comes of it: the words that the runner, the ledger and studies share. All of it is
// plain JSON, so that it crosses processes and fits into the ledger.

/** How long an objective may work: exactly one of these. */
export interface Budget {
  readonly iterations?: number;
  readonly seconds?: number;
  readonly flops?: number;
}

/** What ends a run from outside. */
export interface Limits {
  /** MiB of resident memory of the worker's process group. It is looked at a few times a second. */
  readonly memory?: number;
  /** Seconds of wall time. */
  readonly seconds?: number;
  /** Seconds without a sign of life: how long an objective may compute without a pause; default {@link HEARTBEAT}. */
  readonly heartbeat?: number;
}

/** Default of {@link Limits.heartbeat}. Long: an objective that computes without a pause is not wrong, only one that hangs. */
export const HEARTBEAT = 600;

/** How a run's reports become one value: the last one, or the mean of the last k that have the metric. */
export type Summary = "final" | { readonly last: number };

/** What a study measures. */
export interface Metric {
  /** Dotted path into a report, for example `evaluation.certificate.sampled.exploitability`. */
  readonly name: string;
  readonly goal: "minimize" | "maximize";
  readonly summary: Summary;
}

/** What computes a run: the built-in self-play, or a function that a module exports. */
export type ObjectiveSource =
  | "selfplay"
  | {
      /** Absolute path or file URL. */
      readonly module: string;
      /** Name of the export; `default` where it is left out. */
      readonly export?: string;
    };

/** Options of an objective: plain JSON. */
export type Config = Readonly<Record<string, unknown>>;

/** One run, as the runner gets it. */
export interface Task {
  readonly objective: ObjectiveSource;
  readonly config: Config;
  readonly seed: number;
  readonly budget: Budget;
  readonly metric: Metric;
  readonly limits: Limits;
  /** The run's own folder: checkpoints to resume from, run.log. */
  readonly directory: string;
}

/** Intermediate metrics of an attempt. */
export interface Report {
  /** 1, 2, ...: the iteration, or the user's own count. */
  readonly index: number;
  /** Flat, with dotted names; finite numbers only. */
  readonly values: Readonly<Record<string, number>>;
}

/** What one attempt at a run took. What an earlier attempt did, whose checkpoint it went on from, is not in it. */
export interface Cost {
  /** Wall time, from the start of its process to its end. */
  readonly seconds: number;
  /** Iterations, or the reports of an objective of the user's. */
  readonly iterations: number;
  /** Floating-point operations of training; 0 where they are not counted. */
  readonly flops: number;
  /** Of all threads of the worker process; not of processes that it started. */
  readonly cpuSeconds: number;
  /** Bytes: the most that was seen, over the worker's process group. */
  readonly peakMemory: number;
}

/** Why a run failed. */
export type FailureKind =
  /** The objective threw. */
  | "error"
  | "time"
  | "memory"
  /** No sign of life for too long. */
  | "stalled"
  /** Died by a signal, or ended without a result. */
  | "killed"
  /** No finite metric. */
  | "metric";

/** How a run ended. */
export type Outcome =
  | {
      readonly ok: true;
      /** The metric, summarised. */
      readonly value: number;
      readonly values: Readonly<Record<string, number>>;
      readonly cost: Cost;
    }
  | {
      readonly ok: false;
      readonly kind: FailureKind;
      readonly code: string;
      readonly message: string;
      /** Whether another try could differ. */
      readonly retry: boolean;
      readonly cost: Cost;
    };

/** What an objective of the user's is told. */
export interface ObjectiveContext {
  readonly seed: number;
  readonly budget: Budget;
  /** Aborted when the run is to end early; the reason says why. A second later the process is killed. */
  readonly signal: AbortSignal;
  /** The run's own folder. What lies there when an attempt ends is there for the next one. */
  readonly directory: string;
  /** Records metrics; the index is one more than the last one's where it is left out. */
  report(values: Record<string, number>, index?: number): void;
}

/**
 * A function that computes a run. It returns the metric, or several values by name; where the metric is not among them, it
 * is taken from the reports.
 */
export type Objective = (config: Config, context: ObjectiveContext) => Promise<number | Record<string, number>>;
