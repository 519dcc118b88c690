// The process of one attempt: gets a task, runs its objective, tells what comes of it. Started by execute.ts with the
// runner's process id and the limits as arguments, so that the watchdog is there before anything else is.

import { Worker } from "node:worker_threads";
import { failure, failureOf } from "./failure.js";
import { Meter } from "./meter.js";
import { load } from "./objective.js";
import {
  abortReason,
  cpuSeconds,
  type Ending,
  type FromWorker,
  type Reached,
  type ToWorker,
  type WatchdogData,
} from "./protocol.js";
import type { Task } from "./task.js";

const BEAT_MS = 100;

const [parent, memory, heartbeat] = process.argv.slice(2).map(Number) as [number, number, number];
const beats = new SharedArrayBuffer(4);
const counter = new Int32Array(beats);
const data: WatchdogData = { parent, memory, heartbeat, beats };
const watchdog = new Worker(new URL("./watchdog.js", import.meta.url), { workerData: data, execArgv: [] });
const abort = new AbortController();

watchdog.on("message", (reached: Reached) => abort.abort(abortReason(reached)));
// Without a watchdog nobody would end this process if the runner died.
watchdog.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
watchdog.unref();
setInterval(() => Atomics.add(counter, 0, 1), BEAT_MS).unref();

// The channel is the runner's: what an objective sends on it would be taken for ours.
const send = process.send!.bind(process) as (message: FromWorker, sent?: () => void) => void;
delete (process as { send?: unknown }).send;

let meter: Meter | null = null;
let ended = false;

async function end(ending: Ending, done?: () => Promise<void>): Promise<never> {
  if (ended) return new Promise(() => {});
  ended = true;
  // First what was printed: once the runner has the result, it waits only a little for the rest.
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise<unknown>((resolve) => stream.write("", resolve));
  }
  const work = meter?.work ?? { iterations: 0, flops: 0 };
  const pulse = { peakMemory: 1024 * process.resourceUsage().maxRSS, cpuSeconds: cpuSeconds() };
  await new Promise<void>((resolve) => send({ type: "end", ending, work, pulse }, resolve));
  await done?.();
  process.exit(0);
}

async function work(task: Task): Promise<void> {
  meter = new Meter(task.metric, (report, work) => {
    // What an objective that goes on behind our back reports after its end counts for nothing.
    if (!ended) send({ type: "report", report, work });
  });
  const mine = meter;
  try {
    const run = await load(task.objective);
    const { returned, done } = await run(
      task.config,
      {
        seed: task.seed,
        budget: task.budget,
        signal: abort.signal,
        directory: task.directory,
        metric: task.metric,
        report: (values, index, flops) => mine.report(values, index, flops),
        entries: () => mine.entries,
        restore: (entries) => mine.restore(entries),
      },
      mine,
    );
    await end(mine.end(returned), done);
  } catch (error) {
    if (error !== abort.signal.reason) console.error(error);
    await end(failureOf(error));
  }
}

process.on("uncaughtException", (error) => {
  console.error(error);
  void end(failureOf(error));
});
process.on("beforeExit", () => {
  void end(failure("UNSETTLED", "the objective's promise was never settled, and nothing is left that could settle it"));
});
process.on("message", (message: ToWorker) => {
  if (message.type === "abort") return abort.abort(abortReason(message.why));
  // An objective that has nothing left to do ends, though the runner might still say something.
  process.channel?.unref();
  void work(message.task);
});
