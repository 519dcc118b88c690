// Runs of tasks in processes of their own: what they tell, how they end, and that nothing of them is left.

import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { execute, executeHere } from "../../lib/lab/execute.js";
import { killWorker } from "../../lib/lab/orphan.js";
import type { Config, Objective, Outcome, Report, Task } from "../../lib/lab/task.js";
import { fateOf, isAlive, type Owner } from "../../lib/owner.js";
import { root, scratch, start } from "./cli.js";

const folder = scratch();
const objectives = fileURLToPath(new URL("./lab-objectives.mjs", import.meta.url));
const linux = process.platform === "linux";
let folders = 0;

function taskOf(name: string, config: Config = {}, rest: Partial<Task> = {}): Task {
  return {
    objective: { module: objectives, export: name },
    config,
    seed: 5,
    budget: { iterations: 3 },
    metric: { name: "loss", goal: "minimize", summary: "final" },
    limits: {},
    directory: join(folder, `run-${++folders}`),
    ...rest,
  };
}

interface Ran {
  outcome: Outcome;
  reports: Report[];
  log: string;
}

async function run(task: Task, onReport: (report: Report) => void = () => {}): Promise<Ran> {
  const reports: Report[] = [];
  const outcome = await execute(task, {
    onReport: (report) => {
      reports.push(report);
      onReport(report);
    },
  });
  return { outcome, reports, log: readFileSync(join(task.directory, "run.log"), "utf8") };
}

function failed(outcome: Outcome): Outcome & { ok: false } {
  if (outcome.ok) throw new Error(`a failure was expected: ${JSON.stringify(outcome)}`);
  return outcome;
}

/** Waits until a process is gone, or is dead and only its parent has not asked for its end. */
async function gone(pid: number): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (isAlive(pid)) {
    const state = linux ? readFileSync(`/proc/${pid}/stat`, "latin1").replace(/.*\) /s, "")[0] : "?";
    if (state === "Z") return;
    if (performance.now() > deadline) throw new Error(`process ${pid} is still there`);
    await sleep(20);
  }
}

/** States of this process's children, by id. */
function children(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      let stat: string;
      try {
        stat = readFileSync(`/proc/${name}/stat`, "latin1");
      } catch {
        return [];
      }
      const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return parent === String(process.pid) ? [`${name} ${state}`] : [];
    });
}

describe.concurrent("an objective of the user's", () => {
  test("reports in order, and its last report is the metric", async () => {
    const { outcome, reports } = await run(taskOf("default", { steps: 4 }));
    expect(reports.map(({ index, values }) => [index, values.loss])).toEqual([1, 2, 3, 4].map((i) => [i, 5 + 1 / i]));
    expect(outcome).toMatchObject({ ok: true, value: 5.25, values: { loss: 5.25, steps: 4 } });
    const { cost } = outcome;
    expect(cost).toMatchObject({ iterations: 4, flops: 0 });
    expect(cost.seconds).toBeGreaterThan(0);
    expect(cost.cpuSeconds).toBeGreaterThan(0);
    expect(cost.peakMemory).toBeGreaterThan(10 * 1024 * 1024);
  });

  test("is told configuration, seed, budget and folder", async () => {
    const task = taskOf("context", { a: [1, { b: null }] }, { budget: { flops: 1e12 } });
    expect((await run(task)).outcome.ok).toBe(true);
    const { config, seed, budget, directory } = task;
    expect(JSON.parse(readFileSync(join(directory, "context.json"), "utf8"))).toEqual({
      config,
      seed,
      budget,
      directory,
    });
  });

  test("may lie at a file URL", async () => {
    const objective = { module: pathToFileURL(objectives).href };
    expect((await run(taskOf("", {}, { objective }))).outcome.ok).toBe(true);
  });

  test("has no finite metric", async () => {
    expect((await run(taskOf("exits", { code: 0 }))).outcome).toMatchObject({ kind: "killed", code: "EXIT" });
    expect((await run(taskOf("nothing"))).outcome).toMatchObject({ kind: "metric", code: "METRIC", retry: false });
  });

  test("cannot disturb reports with what it prints or sends", async () => {
    const { outcome, reports } = await run(taskOf("meddles"));
    expect(outcome).toMatchObject({ ok: true, value: 1 });
    expect(reports).toEqual([{ index: 1, values: { loss: 1 } }]);
  });

  test("100,000 lines in the log and 2,000 reports: a hundred lines, and every report", async () => {
    const { outcome, reports, log } = await run(taskOf("noisy", { lines: 100_000, reports: 2000 }));
    expect(outcome).toMatchObject({ ok: true, value: 100_000 });
    expect(reports.map(({ index }) => index)).toEqual(Array.from({ length: 2000 }, (_, i) => i + 1));
    expect(reports.map(({ values }) => values.loss)).toEqual(Array.from({ length: 2000 }, (_, i) => 50 * (i + 1)));
    expect(log.split("\n").length).toBeLessThanOrEqual(100);
    for (const letter of "abcdefghijklmnopqrst") expect(log).toContain(`warning: gradient ${letter} is large`);
    expect(log).toContain("step 100000 of 100000");
  });
});

describe.concurrent("an objective that fails", () => {
  test.each([
    ["option", "OPTION", false, "config.x is 3; it must be 4"],
    ["numeric", "NUMERIC", false, "the loss is NaN"],
    ["mistake", "TypeError", false, "undefined"],
    ["string", "ERROR", true, "the objective threw a string"],
    ["later", "Error", true, "nobody waits for this"],
    ["system", "ECONNREFUSED", true, "connection refused"],
  ])("throws: %s", async (what, code, retry, message) => {
    const { outcome, log } = await run(taskOf("throws", { what }));
    expect(outcome).toMatchObject({ ok: false, kind: "error", code, retry, message: expect.stringContaining(message) });
    expect(log).toContain("about to throw");
    if (what !== "string") expect(log).toContain("lab-objectives.mjs");
  });

  test("never settles", async () => {
    expect((await run(taskOf("unsettled"))).outcome).toMatchObject({ kind: "error", code: "UNSETTLED", retry: false });
  });

  test("ends its process", async () => {
    const { outcome, reports } = await run(taskOf("exits", { code: 3 }));
    expect(outcome).toMatchObject({ kind: "killed", code: "EXIT", retry: false, cost: { iterations: 1 } });
    expect(failed(outcome).message).toContain("exit code 3");
    expect(failed(outcome).message).toContain("dying words t");
    expect(reports).toHaveLength(1);
  });

  test.each(["SIGKILL", "SIGSEGV", "SIGTERM"])("dies by %s", async (signal) => {
    const { outcome, reports } = await run(taskOf("exits", { signal }));
    expect(outcome).toMatchObject({ kind: "killed", code: signal, retry: true });
    expect(failed(outcome).message).toMatch(new RegExp(`killed by ${signal}[^]*dying words t`));
    expect(reports).toHaveLength(1);
  });

  test.each([
    ["no file", { module: join(folder, "none.mjs") }, /none\.mjs/],
    ["no export", { module: objectives, export: "descent" }, /"descent" .* is not there; the module exports .*patient/],
    ["no function", { module: objectives, export: "notFunction" }, /"notFunction" .* is no function but number/],
    ["no JavaScript", { module: join(root, "README.md") }, /cannot load/],
  ])("cannot be loaded: %s", async (_, objective, message) => {
    const { outcome } = await run(taskOf("", {}, { objective }));
    expect(outcome).toMatchObject({
      kind: "error",
      code: "OPTION",
      retry: false,
      message: expect.stringMatching(message),
    });
  });
});

describe("a task that cannot be run", () => {
  test.each<[string, Partial<Record<keyof Task, unknown>>]>([
    ["task.objective", { objective: "selfply" }],
    ["task.objective.module", { objective: { module: "./near.mjs" } }],
    ["task.budget", { budget: {} }],
    ["task.budget", { budget: { iterations: 1, seconds: 1 } }],
    ["task.budget.iterations", { budget: { iterations: 0.5 } }],
    ["task.limits.memory", { limits: { memory: -1 } }],
    ["task.limits", { limits: { minutes: 1 } }],
    ["task.metric.summary", { metric: { name: "loss", goal: "minimize", summary: "best" } }],
    ["task.seed", { seed: -1 }],
    ["task.directory", { directory: "here" }],
  ])("%s", async (path, wrong) => {
    const task = { ...taskOf("default"), ...wrong } as Task;
    await expect(execute(task, { onReport() {} })).rejects.toMatchObject({ code: "OPTION", path });
    expect(existsSync(task.directory)).toBe(false);
  });

  test("has no place for its folder", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    const task = taskOf("default", {}, { directory: join(file, "run") });
    await expect(execute(task, { onReport() {} })).rejects.toMatchObject({ code: "IO", path: task.directory });
  });
});

describe.concurrent("limits", () => {
  test("seconds: the signal first, and its reason names the limit", async () => {
    const task = taskOf("patient", {}, { limits: { seconds: 3 } });
    const { outcome } = await run(task);
    expect(outcome).toMatchObject({
      kind: "time",
      code: "TIME",
      retry: false,
      message: expect.stringContaining("3 s"),
    });
    expect(JSON.parse(readFileSync(join(task.directory, "reason.json"), "utf8"))).toMatchObject({
      code: "CANCELLED",
      path: "limits.seconds",
    });
  });

  test.each(["ignore", "spin"])(
    "seconds: an objective that does not listen (%s) is killed with its child",
    async (next) => {
      const { outcome, reports } = await run(taskOf("withChild", { next }, { limits: { seconds: 3 } }));
      expect(outcome).toMatchObject({ kind: "time", retry: false });
      await gone(reports[0]!.values.pid!);
      await gone(reports[0]!.values.worker!);
    },
  );

  test("heartbeat: a main thread that hangs", async () => {
    const { outcome, reports } = await run(taskOf("withChild", { next: "spin" }, { limits: { heartbeat: 1 } }));
    expect(outcome).toMatchObject({ kind: "stalled", code: "STALLED", retry: true });
    expect(failed(outcome).message).toContain("limits.heartbeat");
    await gone(reports[0]!.values.pid!);
  });

  test("heartbeat: a process that is stopped", async () => {
    const { outcome } = await run(taskOf("withChild", { next: "ignore" }, { limits: { heartbeat: 1 } }), ({ values }) =>
      process.kill(values.worker!, "SIGSTOP"),
    );
    expect(outcome).toMatchObject({ kind: "stalled", retry: true });
  });

  test("heartbeat: an objective that waits for long has one", async () => {
    const { outcome } = await run(taskOf("patient", {}, { limits: { heartbeat: 1, seconds: 4 } }));
    expect(outcome).toMatchObject({ kind: "time" });
  });

  test.each(linux ? ["hoard", "hoardElsewhere"] : ["hoard"])("memory: %s", async (name) => {
    const { outcome, reports } = await run(taskOf(name, {}, { limits: { memory: 300 } }));
    expect(outcome).toMatchObject({ kind: "memory", code: "MEMORY", retry: false });
    expect(failed(outcome).message).toMatch(/over the limit of 300 MiB/);
    expect(outcome.cost.peakMemory).toBeGreaterThan(300 * 1024 * 1024);
    if (name === "hoardElsewhere") await gone(reports[0]!.values.pid!);
  });

  test("memory: enough is no failure", async () => {
    expect((await run(taskOf("default", {}, { limits: { memory: 2000, seconds: 60 } }))).outcome.ok).toBe(true);
  });
});

describe.concurrent("an abort", () => {
  test.each(["wait", "ignore", "spin"])(
    "of an objective that does %s: rejects with the reason, nothing is left",
    async (next) => {
      const abort = new AbortController();
      const reason = new Error("enough");
      const pids: number[] = [];
      const onReport = ({ values }: Report) => {
        pids.push(values.pid!, values.worker!);
        abort.abort(reason);
      };
      await expect(execute(taskOf("withChild", { next }), { signal: abort.signal, onReport })).rejects.toBe(reason);
      expect(pids).toHaveLength(2);
      for (const pid of pids) await gone(pid);
    },
  );

  test("says so to the objective", async () => {
    const abort = new AbortController();
    const task = taskOf("patient");
    const running = execute(task, { signal: abort.signal, onReport: () => abort.abort(new Error("enough")) });
    await expect(running).rejects.toThrow("enough");
    expect(JSON.parse(readFileSync(join(task.directory, "reason.json"), "utf8")).code).toBe("INTERRUPTED");
  });

  test("before the start starts nothing", async () => {
    const task = taskOf("default");
    const signal = AbortSignal.abort(new Error("never"));
    await expect(execute(task, { signal, onReport() {} })).rejects.toThrow("never");
    expect(existsSync(task.directory)).toBe(false);
  });

  test("right after the start", async () => {
    const abort = new AbortController();
    const options = { signal: abort.signal, onStart: () => abort.abort(new Error("at once")), onReport() {} };
    await expect(execute(taskOf("withChild", { next: "ignore" }), options)).rejects.toThrow("at once");
  });

  test.each(["onReport", "onStart"])("by an error that %s throws", async (name) => {
    let worker: Owner | undefined;
    const options = {
      onReport: () => {
        if (name === "onReport") throw new Error("no room for it");
      },
      onStart: (owner: Owner) => {
        worker = owner;
        if (name === "onStart") throw new Error("no room for it");
      },
    };
    await expect(execute(taskOf("withChild", { next: "ignore" }), options)).rejects.toThrow("no room for it");
    expect(fateOf(worker!)).not.toBe("alive");
  });
});

describe("nothing is left", () => {
  test.each(["return", "crash"])("of what the worker started (%s)", async (next) => {
    const { outcome, reports } = await run(taskOf("withChild", { next }));
    expect(outcome.ok).toBe(next === "return");
    await gone(reports[0]!.values.pid!);
  });

  test.skipIf(!linux)("when the runner dies by kill -9, though the worker never returns", async () => {
    for (const next of ["spin", "ignore"]) {
      const task = taskOf("withChild", { next });
      const runner = start([], { node: [join(root, "test/ts/lab-runner.mjs"), JSON.stringify(task)] });
      const { values } = await runner.line("report");
      expect(isAlive(values.worker)).toBe(true);
      expect(isAlive(values.pid)).toBe(true);
      await sleep(next === "spin" ? 300 : 0);
      runner.child.kill("SIGKILL");
      await runner.finished;
      await gone(values.worker);
      await gone(values.pid);
    }
  });

  test.skipIf(!linux)("when the runner dies at random moments of the start", async () => {
    const kill = async () => {
      const task = taskOf("withChild", { next: "spin" });
      const runner = start([], { node: [join(root, "test/ts/lab-runner.mjs"), JSON.stringify(task)] });
      const { pid } = await runner.line("worker");
      await sleep(Math.random() * 1000);
      runner.child.kill("SIGKILL");
      const { lines } = await runner.finished;
      await gone(pid);
      for (const { type, values } of lines) if (type === "report") await gone(values.pid);
    };
    await Promise.all(Array.from({ length: 8 }, kill));
  });

  test("by whoever takes over from a runner", async () => {
    let worker: Owner | undefined;
    let running: Promise<Outcome> | undefined;
    const { pid } = await new Promise<Report["values"]>((resolve) => {
      running = execute(taskOf("withChild", { next: "ignore" }), {
        onStart: (owner) => {
          worker = owner;
        },
        onReport: ({ values }) => resolve(values),
      });
    });
    // A reused id is somebody else; another machine is out of reach; nothing outlives its kernel.
    if (linux) expect(killWorker({ ...worker!, start: "1" })).toBe(true);
    expect(killWorker({ ...worker!, boot: "other", host: "other" })).toBe(false);
    if (linux) expect(killWorker({ ...worker!, boot: "other" })).toBe(worker!.machine !== "");
    expect(await Promise.race([running, sleep(500, "still there")])).toBe("still there");
    expect(killWorker(worker!)).toBe(true);
    expect(await running).toMatchObject({ kind: "killed", code: "SIGKILL", retry: true });
    await gone(pid!);
    expect(killWorker(worker!)).toBe(true);
  });

  test.skipIf(!linux)("of many runs: processes, descriptors, timers, listeners", async () => {
    const abort = new AbortController();
    let listeners = 0;
    const { signal } = abort;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      ++listeners;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      --listeners;
      remove(...args);
    };
    const state = () => ({
      descriptors: readdirSync("/proc/self/fd").length,
      children: children(),
      // Handles that are about to be gone.
      resources: process
        .getActiveResourcesInfo()
        .filter((name) => name !== "CloseReq")
        .sort(),
      listeners,
    });
    const tasks = [
      () => taskOf("default"),
      () => taskOf("exits", { signal: "SIGKILL" }),
      () => taskOf("withChild", { next: "return" }),
      () => taskOf("throws", { what: "option" }),
    ];
    await Promise.all(tasks.map((task) => execute(task(), { signal, onReport() {} })));
    const before = state();
    for (let round = 0; round < 8; ++round) {
      await Promise.all(tasks.map((task) => execute(task(), { signal, onReport() {} })));
    }
    await sleep(50);
    expect(state()).toEqual(before);
    expect(before.listeners).toBe(0);
  });
});

describe.concurrent("the log", () => {
  test("goes on after that of an earlier attempt", async () => {
    const task = taskOf("throws", { what: "option" });
    await run(task);
    const { log } = await run(task);
    expect(log.match(/about to throw/g)).toHaveLength(2);
  });

  test("that cannot be written ends no run", async () => {
    for (const target of ["/dev/full", folder]) {
      const task = taskOf("noisy", { lines: 1000, reports: 10 });
      mkdirSync(task.directory);
      symlinkSync(target, join(task.directory, "run.log"));
      const reports: Report[] = [];
      const outcome = await execute(task, { onReport: (report) => reports.push(report) });
      expect(outcome).toMatchObject({ ok: true, value: 1000 });
      expect(reports).toHaveLength(10);
    }
  });
});

describe.concurrent("a function of this process", () => {
  function here(objective: Objective, rest: Partial<Task> = {}, signal?: AbortSignal) {
    const { objective: _, ...task } = taskOf("", { x: 2 }, rest);
    const reports: Report[] = [];
    const outcome = executeHere(objective, task, { signal, onReport: (report) => reports.push(report) });
    return { outcome, reports };
  }

  test("reports and returns", async () => {
    const { outcome, reports } = here(async ({ x }, { report, seed }) => {
      report({ loss: (x as number) + seed });
      report({ loss: 3 });
      return {};
    });
    expect(await outcome).toMatchObject({ ok: true, value: 3, cost: { iterations: 2 } });
    expect(reports.map(({ values }) => values.loss)).toEqual([7, 3]);
  });

  test("throws, also at once", async () => {
    const { outcome } = here(() => {
      throw new TypeError("no such thing");
    });
    expect(await outcome).toMatchObject({ kind: "error", code: "TypeError", retry: false, message: "no such thing" });
  });

  const loss = (summary: Task["metric"]["summary"], name = "loss") => ({ name, goal: "minimize", summary }) as const;

  test.each([
    [3, 3],
    [{ loss: 2, other: 1 }, 2],
    [Number.POSITIVE_INFINITY, /the metric loss is Infinity/],
    [{ loss: Number.NaN }, /the metric loss is NaN/],
    [null, /returned null/],
    [[3], /returned an array/],
    [{ loss: "2" }, /returned loss as string/],
    [{ lost: 2 }, /no metric loss; did you mean lost\?/],
    [{}, /reported nothing/],
  ])("that returns %j", async (value, expected) => {
    const outcome = await here(async () => value as number).outcome;
    const failure = { kind: "metric", code: "METRIC", retry: false };
    if (typeof expected === "number") expect(outcome).toMatchObject({ ok: true, value: expected });
    else expect(outcome).toMatchObject({ ...failure, message: expect.stringMatching(expected) });
  });

  test.each<[string, [unknown, unknown?][], Task["metric"]["summary"], number | RegExp]>([
    ["the last one", [[{ loss: 1 }], [{ loss: 2 }], [{ other: 3 }]], "final", 2],
    ["a mean of the last that have it", [[{ loss: 1 }], [{ loss: 2 }], [{ other: 3 }], [{ loss: 6 }]], { last: 2 }, 4],
    ["a mean of fewer", [[{ loss: 1 }], [{ loss: 2 }]], { last: 9 }, 1.5],
    ["NaN long ago", [[{ loss: Number.NaN }], [{ loss: 2 }]], "final", 2],
    ["NaN in the mean", [[{ loss: Number.NaN }], [{ loss: 2 }]], { last: 2 }, /the metric loss is NaN/],
    ["NaN at the end", [[{ loss: 2 }], [{ loss: Number.NaN }]], "final", /the metric loss is NaN/],
    ["a text", [[{ loss: "2" }]], "final", /report\.values\.loss is 2; it must be a number/],
    ["no object", [[3]], "final", /report\.values is 3; it must be an object/],
    ["a wrong index", [[{ loss: 2 }, 0]], "final", /report\.index is 0; it must be an integer from 1 on/],
  ])("metric by reports: %s", async (_, calls, summary, expected) => {
    const { outcome, reports } = here(
      async (_config, { report }) => {
        for (const [values, index] of calls) report(values as Record<string, number>, index as number | undefined);
        return {};
      },
      { metric: loss(summary) },
    );
    const ended = await outcome;
    if (typeof expected === "number")
      expect(ended).toMatchObject({ ok: true, value: expected, values: { loss: expected } });
    else expect(failed(ended).message).toMatch(expected);
    for (const { values } of reports) expect(Object.values(values).every(Number.isFinite)).toBe(true);
  });

  test("may number its reports", async () => {
    const { outcome, reports } = here(async (_, { report }) => {
      report({ loss: 1 }, 10);
      report({ loss: 2 });
      report({ loss: 3 }, 2);
      return {};
    });
    await outcome;
    expect(reports.map(({ index }) => index)).toEqual([10, 11, 2]);
  });

  test("names near to one that is missing", async () => {
    const objective: Objective = async (_, { report }) => {
      report({ "train.loss": 1, "valid.loss": 1, entropy: 1, lr: 1 });
      return {};
    };
    const { outcome } = here(objective, { metric: loss("final", "valid.los") });
    expect(failed(await outcome).message).toMatch(/no metric valid\.los; did you mean valid\.loss, train\.loss,/);
  });

  test("reaches the limit of time, listening or not", async () => {
    const { outcome } = here((_, { signal }) => sleep(60_000, 1, { signal }), { limits: { seconds: 0.3 } });
    expect(await outcome).toMatchObject({ kind: "time", code: "TIME", retry: false });
    const late: Report[] = [];
    let report: (values: Record<string, number>) => void = () => {};
    const { objective: _, ...task } = taskOf("", {}, { limits: { seconds: 0.3 } });
    const deaf: Objective = (_config, context) => {
      report = context.report;
      return new Promise(() => {});
    };
    expect(await executeHere(deaf, task, { onReport: (item) => late.push(item) })).toMatchObject({ kind: "time" });
    report({ loss: 1 });
    expect(late).toEqual([]);
  });

  test("is interrupted", async () => {
    const abort = new AbortController();
    const { outcome } = here((_, { signal }) => sleep(60_000, 1, { signal }), {}, abort.signal);
    setTimeout(() => abort.abort(new Error("enough")), 50);
    await expect(outcome).rejects.toThrow("enough");
  });

  test("cannot have limits that need a process", async () => {
    for (const limits of [{ memory: 100 }, { heartbeat: 3 }]) {
      const path = `task.limits.${Object.keys(limits)[0]}`;
      await expect(here(async () => 1, { limits }).outcome).rejects.toMatchObject({ code: "OPTION", path });
    }
  });

  test("an error of onReport is the caller's", async () => {
    const { objective: _, ...task } = taskOf("");
    const objective: Objective = async (_config, { report }) => {
      report({ loss: 1 });
      return {};
    };
    const options = {
      onReport: () => {
        throw new Error("no room for it");
      },
    };
    await expect(executeHere(objective, task, options)).rejects.toThrow("no room for it");
  });
});
