// Repeats one thing many times in one process, with fail_alloc.c preloaded to count what the addon holds, and prints
// what the process held before and after: {case, count, seconds, before, after}. See leaks.test.ts.

import assert from "node:assert/strict";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { BellowsError, SelfPlay } from "../../dist/index.js";
import { RunDirectory } from "../../dist/rundir.js";
import { Control } from "./fail_alloc.mjs";

const [name, folder, count] = process.argv.slice(2);
const control = new Control(process.env.FAIL_ALLOC_CONTROL);

/** Every kind of thing that an engine holds, in the smallest size. */
const options = {
  game: { name: "tictactoe" },
  net: { width: 4, depth: 1 },
  rollout: { games: 2, batch: 2, opponents: { pool: 2, every: 1, selfShare: 0.5 } },
  ppo: { epochs: 1, minibatch: 8 },
  run: { seed: 1, threads: 2, checkpoints: 2 },
};
const endless = { iterations: Number.MAX_SAFE_INTEGER, roofline: false };

async function refused(call, code) {
  const error = await call().then(
    () => null,
    (reason) => reason,
  );
  assert(error instanceof BellowsError && error.code === code, `${code} expected: ${error}`);
}

/** Each gives a function that is called again and again, and ends what it began. */
const cases = {
  async iterations() {
    const run = await SelfPlay.create(options);
    const iterations = run.train(endless);
    return { step: () => iterations.next(), end: () => run.close() };
  },
  async "create and close"() {
    return {
      async step() {
        const run = await SelfPlay.create(options);
        await run.weights();
        await run.close();
      },
    };
  },
  async "create and forget"() {
    return { step: () => SelfPlay.create(options) };
  },
  async "save and load"() {
    const run = await SelfPlay.create(options);
    const path = join(folder, "saved.safetensors");
    return {
      async step() {
        await run.save(path);
        const loaded = await SelfPlay.load(path);
        await loaded.close();
      },
      end: () => run.close(),
    };
  },
  async "failed creates"() {
    const damaged = join(folder, "damaged.safetensors");
    const run = await SelfPlay.create(options);
    await run.save(damaged);
    await run.close();
    writeFileSync(damaged, "x", { flag: "a" });
    return {
      async step(index) {
        if (index % 4 === 0) await refused(() => SelfPlay.create({ ...options, net: { width: -1 } }), "OPTION");
        if (index % 4 === 1) await refused(() => SelfPlay.create({ ...options, run: { device: "cuda" } }), "DEVICE");
        if (index % 4 === 2) await refused(() => SelfPlay.load(damaged), "CHECKPOINT");
        if (index % 4 === 3) {
          const huge = { ...options, net: { width: 4096, depth: 64 }, rollout: { games: 2 ** 20, batch: 2 ** 16 } };
          await refused(() => SelfPlay.create(huge), "MEMORY");
        }
      },
    };
  },
  async "questions and cancelled iterations"() {
    const run = await SelfPlay.create(options);
    return {
      async step() {
        const trace = await run.trace({ iterations: 1, capacity: 1000 });
        await Promise.all([run.evaluate(), run.policy(["", "5"]), run.weightsHash(), run.counters()]);
        const abort = new AbortController();
        const next = run.train({ ...endless, signal: abort.signal }).next();
        abort.abort();
        await next.catch(() => {});
        run.profile();
        await trace.stop();
        trace.toJSON();
      },
      end: () => run.close(),
    };
  },
  /** What the command does each iteration. */
  async "run directory"() {
    const run = await SelfPlay.create(options);
    const directory = await RunDirectory.create(join(folder, "run"), run.options);
    await directory.openMetrics(0);
    const iterations = run.train(endless);
    return {
      async step() {
        const { value } = await iterations.next();
        await directory.appendMetrics(value);
        await directory.saveCheckpoint(run, value.index);
      },
      async end() {
        await directory.close();
        await run.close();
      },
    };
  },
  async "resumed run directory"() {
    const first = await SelfPlay.create(options);
    const path = join(folder, "resumed");
    const directory = await RunDirectory.create(path, first.options);
    await directory.saveCheckpoint(first, 0);
    await directory.close();
    await first.close();
    return {
      async step() {
        const again = await RunDirectory.open(path);
        const run = await SelfPlay.create(again.options);
        await again.restore(run, () => {});
        await again.openMetrics(0);
        await again.close();
        await run.close();
      },
    };
  },
};

async function held() {
  // Objects that nobody holds give their memory back in several steps.
  for (let i = 0; i < 6; ++i) {
    global.gc();
    await setTimeout(5);
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  return {
    resident: rss,
    javascript: heapUsed + external,
    allocations: control.read().live,
    descriptors: readdirSync("/proc/self/fd").length,
    threads: readdirSync("/proc/self/task").length,
    handles: process
      .getActiveResourcesInfo()
      .filter((resource) => resource !== "Timeout")
      .sort(),
  };
}

control.watch();
const { step, end } = await cases[name]();
for (let index = 0; index < count / 5; ++index) await step(index);
const before = await held();
const start = performance.now();
for (let index = 0; index < count; ++index) await step(index);
const seconds = (performance.now() - start) / 1e3;
const after = await held();
await end?.();
console.log(JSON.stringify({ case: name, count: Number(count), seconds, before, after }));
