// Runs a function of this process as an objective: without a process to end, there is nothing but its signal.

import { mkdir } from "node:fs/promises";
import { ioError, OptionError } from "../errors.js";
import { checkTaskHere } from "./check.js";
import type { ExecuteOptions } from "./execute.js";
import { failureOf } from "./failure.js";
import { Meter } from "./meter.js";
import { abortReason, cpuSeconds, describeReached, GRACE_MS } from "./protocol.js";
import type { Objective, Outcome, Task } from "./task.js";

/** Refuses what cannot be kept without a process. */
function checkLimits({ memory, heartbeat }: Task["limits"]): void {
  for (const [name, value] of Object.entries({ memory, heartbeat })) {
    if (value === undefined) continue;
    const path = `task.limits.${name}`;
    const expected = "left out: this limit needs a process of its own, so a module as the objective";
    const received = String(value);
    throw new OptionError(`${path} is ${received}; it must be ${expected}`, {
      op: "executeHere",
      path,
      received,
      expected,
    });
  }
}

/**
 * Runs a function of this process. At the limit of time its signal is aborted; a function that goes on a second later is
 * left to itself. CPU time and memory in the costs are those of this whole process.
 *
 * @throws {@link OptionError} for a limit of memory or heartbeat; otherwise as {@link execute}
 */
export async function executeHere(
  objective: Objective,
  task: Omit<Task, "objective">,
  options: Omit<ExecuteOptions, "onStart">,
): Promise<Outcome> {
  checkTaskHere(task);
  checkLimits(task.limits);
  const { signal } = options;
  const { seconds } = task.limits;
  signal?.throwIfAborted();
  try {
    await mkdir(task.directory, { recursive: true });
  } catch (error) {
    throw ioError(error, task.directory, "cannot make the run's folder");
  }
  const abort = new AbortController();
  const begun = performance.now();
  const cpu = process.cpuUsage();
  let over = false;
  let late = false;
  let thrown: { readonly error: unknown } | null = null;
  const meter = new Meter(task.metric, (report) => {
    if (over) return;
    try {
      options.onReport(report);
    } catch (error) {
      // The caller's, not the run's.
      thrown ??= { error };
      abort.abort(error);
    }
  });
  const cost = () => {
    const seconds = (performance.now() - begun) / 1000;
    const peakMemory = 1024 * process.resourceUsage().maxRSS;
    return { seconds, ...meter.work, cpuSeconds: cpuSeconds(cpu), peakMemory };
  };

  let timer: NodeJS.Timeout | undefined;
  const reached = () => ({ limit: "seconds", allowed: seconds!, found: cost().seconds }) as const;
  const check = () => {
    const left = 1000 * seconds! - (performance.now() - begun);
    // A timer waits for no more than 24 days.
    if (left > 0) timer = setTimeout(check, Math.min(left, 1e9));
    else {
      late = true;
      abort.abort(abortReason(reached()));
    }
  };
  if (seconds !== undefined) check();
  const interrupt = () => abort.abort(signal!.reason);
  signal?.addEventListener("abort", interrupt, { once: true });
  let grace: NodeJS.Timeout | undefined;
  const leftAlone = new Promise<null>((resolve) => {
    abort.signal.addEventListener("abort", () => {
      grace = setTimeout(() => resolve(null), GRACE_MS);
    });
  });

  try {
    const { seed, budget, directory, config } = task;
    const report = (values: Record<string, number>, index?: number) => meter.report(values, index);
    const context = { seed, budget, directory, signal: abort.signal, report };
    const running = (async () => meter.end(await objective(config, context)))().catch(failureOf);
    const ending = await Promise.race([running, leftAlone]);
    signal?.throwIfAborted();
    if (thrown) throw (thrown as { error: unknown }).error;
    if (late || !ending) {
      const message = describeReached(reached());
      return { ok: false, kind: "time", code: "TIME", message, retry: false, cost: cost() };
    }
    return { ...ending, cost: cost() };
  } finally {
    over = true;
    clearTimeout(timer);
    clearTimeout(grace);
    signal?.removeEventListener("abort", interrupt);
  }
}
