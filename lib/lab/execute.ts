// Runs a task in a process of its own. The process leads a group, has limits, and ends with the runner, however that
// ends: a watchdog thread inside it sees to that.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { errnoOf, ioError, OptionError } from "../errors.js";
import { type Owner, ownerOf } from "../owner.js";
import { checkTask } from "./check.js";
import { failure } from "./failure.js";
import { killGroup } from "./group.js";
import { RunLog } from "./log.js";
import {
  describeReached,
  type Ending,
  type FromWorker,
  GRACE_MS,
  type LimitName,
  type Pulse,
  type Reached,
  type ToWorker,
  type Work,
} from "./protocol.js";
import { type Cost, HEARTBEAT, type ObjectiveSource, type Outcome, type Report, type Task } from "./task.js";

export { executeHere } from "./here.js";

export interface ExecuteOptions {
  /** Aborting it ends the run's processes; the promise then rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
  /** Called for every report, in order. */
  onReport(report: Report): void;
  /** Called once the worker process is there. */
  onStart?(worker: Owner): void;
}

// Beside this file in dist; the sources in lib, which tests import, use that one too.
const WORKER = fileURLToPath(new URL("../../dist/lab/worker.js", import.meta.url));

const PROBE = fileURLToPath(new URL("../../dist/lab/probe.js", import.meta.url));

/** A module has this long to load. */
const PROBE_MS = 60_000;

const TICK_MS = 250;
/** A worker that has told its result, or has died, has this long to be gone with all that it started. */
const LEAVING_MS = 2000;
const MIB = 1024 * 1024;

/** Options of Node that decide how modules are loaded: a worker loads the objective as this process would. */
function moduleOptions(): string[] {
  const kept: string[] = [];
  const known =
    /^(--import|--require|-r|--loader|--experimental-loader|--conditions|-C|--(no-)?experimental-[a-z-]*)(=|$)/;
  for (const [i, option] of process.execArgv.entries()) {
    if (!known.test(option)) continue;
    kept.push(option);
    const next = process.execArgv[i + 1];
    if (!option.includes("=") && next !== undefined && !next.startsWith("-")) kept.push(next);
  }
  return kept;
}

function start(task: Task): ChildProcess {
  const { memory = 0, heartbeat = HEARTBEAT } = task.limits;
  const args = [process.pid, memory * MIB, heartbeat].map(String);
  return spawn(process.execPath, [...moduleOptions(), WORKER, ...args], {
    // Its own group: the terminal's interrupt is for the runner, and one call ends all that the worker started.
    detached: process.platform !== "win32",
    windowsHide: true,
    stdio: ["ignore", "pipe", "pipe", "ipc", "pipe"],
  });
}

/**
 * Loads an objective's module in a process of its own, as a run would, and runs nothing.
 *
 * @throws {@link OptionError} for one that does not load, or has no such export
 */
export async function checkObjective(source: ObjectiveSource): Promise<void> {
  if (source === "selfplay") return;
  const args = [...moduleOptions(), PROBE, JSON.stringify(source)];
  await new Promise<void>((resolve, reject) => {
    execFile(
      process.execPath,
      args,
      { windowsHide: true, timeout: PROBE_MS, killSignal: "SIGKILL" },
      (error, stdout) => {
        // The module may have printed something before, or have ended the process itself.
        const last = stdout.slice(stdout.lastIndexOf("\n") + 1);
        if (!error && last === "loaded") return resolve();
        const told = last.startsWith("{") ? (JSON.parse(last) as { message: string; path?: string }) : null;
        const message = told?.message ?? `the objective's module ${source.module} ends the process that loads it`;
        const path = told?.path ?? "objective.module";
        reject(
          new OptionError(message, { op: "study", path, received: source.module, expected: "a module that loads" }),
        );
      },
    );
  });
}

/** Calls back for each JSON line of a stream. */
function readLines<T>(stream: Readable, take: (value: T) => void): void {
  let rest = "";
  stream.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) take(JSON.parse(line) as T);
  });
}

/** How an attempt failed that reached a limit. */
function overLimit(reached: Reached): Ending {
  const kinds = { memory: "memory", seconds: "time", heartbeat: "stalled" } as const satisfies Record<
    LimitName,
    string
  >;
  const kind = kinds[reached.limit];
  // The same seed takes the same memory and time again.
  return { ok: false, kind, code: kind.toUpperCase(), message: describeReached(reached), retry: kind === "stalled" };
}

function quote(lines: readonly string[]): string {
  return lines.length === 0 ? "" : `; the last lines of its log:\n${lines.map((line) => `  ${line}`).join("\n")}`;
}

/** How an attempt failed whose process ended without a result. */
function died(code: number | null, signal: NodeJS.Signals | null, log: readonly string[]): Ending {
  const how = signal === null ? `ended with exit code ${code}` : `was killed by ${signal}`;
  return {
    ok: false,
    kind: "killed",
    code: signal ?? "EXIT",
    message: `the run's process ${how} and left no result${quote(log)}`,
    // Exit codes are the objective's own doing; signals mostly come from outside.
    retry: signal !== null,
  };
}

/**
 * Runs a task in a process of its own.
 *
 * What the objective prints goes, folded, to `run.log` in the task's folder. A limit that is reached aborts the
 * objective's signal first; a second later all processes of the run are killed. Failures of the run are outcomes.
 *
 * @throws {@link OptionError} for a task that cannot be run, {@link IoError} where there is no place for its folder, and
 * the signal's reason when that was aborted
 */
export async function execute(task: Task, options: ExecuteOptions): Promise<Outcome> {
  checkTask(task);
  const { signal } = options;
  signal?.throwIfAborted();
  try {
    await mkdir(task.directory, { recursive: true });
  } catch (error) {
    throw ioError(error, task.directory, "cannot make the run's folder");
  }
  const log = await RunLog.open(join(task.directory, "run.log"));
  try {
    signal?.throwIfAborted();
    return await attempt(task, options, log);
  } finally {
    await log.close();
  }
}

function attempt(task: Task, options: ExecuteOptions, log: RunLog): Promise<Outcome> {
  const { signal } = options;
  const { seconds, heartbeat = HEARTBEAT } = task.limits;
  const begun = performance.now();
  let work: Work = { iterations: 0, flops: 0 };
  let pulse: Pulse = { peakMemory: 0, cpuSeconds: 0 };
  /** The first of what ended the attempt. */
  let ending: Ending | { readonly thrown: unknown } | null = null;
  let exit: { code: number | null; signal: NodeJS.Signals | null } = { code: null, signal: null };
  let silence = 0;
  let last = begun;
  let killing: NodeJS.Timeout | undefined;

  function cost(): Cost {
    return {
      seconds: (performance.now() - begun) / 1000,
      ...work,
      cpuSeconds: pulse.cpuSeconds,
      peakMemory: pulse.peakMemory,
    };
  }

  let child: ChildProcess;
  try {
    child = start(task);
  } catch (error) {
    return Promise.resolve({ ...notStarted(error), cost: cost() });
  }
  const [, stdout, stderr, , life] = child.stdio as (Readable | null)[];

  function tell(message: ToWorker): void {
    // A worker that is gone needs no message.
    if (child.connected) child.send(message, () => {});
  }

  function kill(): void {
    if (child.pid !== undefined) killGroup(child.pid);
    child.kill("SIGKILL");
  }

  /** Ends the attempt, in a while by force. */
  function finish(why: NonNullable<typeof ending>, milliseconds: number): void {
    if (ending) return;
    ending = why;
    killing = setTimeout(kill, milliseconds);
  }

  /** Calls what the caller gave; what that throws is the caller's, not the run's. */
  function call(action: () => void): void {
    try {
      action();
    } catch (error) {
      finish({ thrown: error }, 0);
    }
  }

  function onAbort(): void {
    finish({ thrown: signal!.reason }, GRACE_MS);
    tell({ type: "abort", why: null });
  }

  function reach(reached: Reached): void {
    finish(overLimit(reached), GRACE_MS);
    tell({ type: "abort", why: reached });
  }

  function tick(): void {
    const now = performance.now();
    if (seconds !== undefined && now - begun > 1000 * seconds) {
      reach({ limit: "seconds", allowed: seconds, found: (now - begun) / 1000 });
    }
    // The watchdog finds a main thread that hangs; this finds a process that is stopped altogether.
    silence += Math.min(now - last, 2 * TICK_MS);
    last = now;
    if (silence > 1000 * heartbeat + LEAVING_MS) {
      reach({ limit: "heartbeat", allowed: heartbeat, found: silence / 1000 });
    }
  }

  return new Promise((resolve, reject) => {
    const ticks = setInterval(tick, TICK_MS);
    signal?.addEventListener("abort", onAbort, { once: true });

    for (const stream of [stdout, stderr]) {
      const lines = log.stream();
      stream?.on("data", (chunk: Buffer) => lines.write(chunk)).on("error", () => {});
    }
    if (life) {
      life.on("error", () => {});
      readLines<Pulse>(life, (sign) => {
        silence = 0;
        pulse = sign;
        if (sign.reached) finish(overLimit(sign.reached), GRACE_MS + TICK_MS);
      });
    }
    child.on("message", (message: FromWorker) => {
      work = message.work;
      if (message.type === "end") {
        const { ending, pulse: final } = message;
        pulse = { ...final, peakMemory: Math.max(pulse.peakMemory, final.peakMemory) };
        finish(ending, LEAVING_MS);
      } else if (!ending || "kind" in ending) call(() => options.onReport(message.report));
    });

    function settle(failed?: Ending): void {
      clearInterval(ticks);
      clearTimeout(killing);
      signal?.removeEventListener("abort", onAbort);
      const why = failed ?? ending ?? died(exit.code, exit.signal, log.last());
      if ("thrown" in why) reject(why.thrown);
      else resolve({ ...why, cost: cost() });
    }

    child.on("error", (error) => {
      if (child.pid === undefined) settle(notStarted(error));
    });
    child.on("exit", (code, by) => {
      exit = { code, signal: by };
      clearTimeout(killing);
      // What the worker started must not stay, nor hold its pipes open.
      kill();
      killing = setTimeout(() => {
        for (const stream of [stdout, stderr, life]) stream?.destroy();
      }, LEAVING_MS);
    });
    child.on("close", () => settle());

    if (child.pid !== undefined) {
      const worker = ownerOf(child.pid);
      if (options.onStart) call(() => options.onStart?.(worker));
      tell({ type: "task", task });
    }
  });
}

function notStarted(error: unknown): Ending & { ok: false } {
  const why = error instanceof Error ? error.message : String(error);
  return failure(errnoOf(error) ?? "SPAWN", `the run's process could not be started: ${why}`, true);
}
