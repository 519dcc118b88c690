// Finds the function that a task names. What comes with the library knows more than an objective of the user's.

import { isAbsolute } from "node:path";
import { pathToFileURL } from "node:url";
import { OptionError } from "../errors.js";
import type { Entry, Meter } from "./meter.js";
import type { Budget, Config, Metric, Objective, ObjectiveSource } from "./task.js";

/** What an objective of the library's is told. */
export interface BuiltInContext {
  readonly seed: number;
  readonly budget: Budget;
  readonly signal: AbortSignal;
  readonly directory: string;
  readonly metric: Metric;
  /** Takes a report with the floating-point operations behind it. */
  report(values: Readonly<Record<string, number>>, index: number, flops: number): void;
  /** The values that the metric is made of so far, and how to go on from those of an earlier attempt. */
  entries(): readonly Entry[];
  restore(entries: readonly Entry[]): void;
}

export interface BuiltInResult {
  readonly values: Record<string, number>;
  /** Called when the result has arrived. */
  done(): Promise<void>;
}

/** Runs an objective: what it returned, and what to do once that has arrived. */
export type Run = (
  config: Config,
  context: BuiltInContext,
  meter: Meter,
) => Promise<{ returned: unknown; done?(): Promise<void> }>;

/** Runs a function of the user's. */
export function runOf(objective: Objective): Run {
  return async (config, { seed, budget, signal, directory }, meter) => {
    const report = (values: Record<string, number>, index?: number) => meter.report(values, index);
    return { returned: await objective(config, { seed, budget, signal, directory, report }) };
  };
}

function fail(path: string, message: string, expected: string, cause?: unknown): never {
  throw new OptionError(message, { op: "objective", path, expected, cause });
}

/** What a task names, loaded. */
export async function load(source: ObjectiveSource): Promise<Run> {
  if (source === "selfplay") {
    const { trainBySelfPlay } = await import("./objectives/selfplay.js");
    return async (config, context) => {
      const { values, done } = await trainBySelfPlay(config, context);
      return { returned: values, done };
    };
  }
  const url = isAbsolute(source.module) ? pathToFileURL(source.module).href : source.module;
  const name = source.export ?? "default";
  let module: Record<string, unknown>;
  try {
    module = (await import(url)) as Record<string, unknown>;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    fail(
      "objective.module",
      `cannot load the objective's module ${source.module}: ${why}`,
      "a module that loads",
      error,
    );
  }
  const objective = module[name];
  if (typeof objective === "function") return runOf(objective as Objective);
  const what = name in module ? `is no function but ${typeof objective}` : "is not there";
  const others = Object.keys(module).join(", ") || "nothing";
  fail(
    "objective.export",
    `the export "${name}" of ${source.module} ${what}; the module exports ${others}`,
    "a function",
  );
}
