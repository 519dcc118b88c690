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
  /** MiB of resident memory of the worker's process group. */
  readonly memory?: number;
  /** Seconds of wall time. */
  readonly seconds?: number;
  /** Seconds without a sign of life. */
  readonly heartbeat?: number;
}

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

/** What a run took. */
export interface Cost {
  readonly seconds: number;
  readonly iterations: number;
  readonly flops: number;
  readonly cpuSeconds: number;
  /** Bytes. */
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
  /** Aborted when the run is to end early. */
  readonly signal: AbortSignal;
  /** The run's own folder. */
  readonly directory: string;
  /** Records metrics; the index is one more than the last one's where it is left out. */
  report(values: Record<string, number>, index?: number): void;
}

/** A function that computes a run: the metric, or several values by name. */
export type Objective = (config: Config, context: ObjectiveContext) => Promise<number | Record<string, number>>;
