// The objective "selfplay": what it reports is what a run reports, for each kind of budget, and an attempt that was ended
// goes on to the same result.

import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { type Iteration, SelfPlay, type SelfPlayOptions } from "../../lib/index.js";
import { execute } from "../../lib/lab/execute.js";
import { flatten } from "../../lib/lab/objectives/selfplay.js";
import type { Outcome, Report, Task } from "../../lib/lab/task.js";
import { scratch } from "./cli.js";

const folder = scratch();
let folders = 0;

/** With opponents that change, so that going on has something to get wrong. */
const config = {
  game: { name: "tictactoe" },
  net: { width: 16, depth: 1 },
  rollout: { games: 32, opponents: { pool: 3, every: 2, selfShare: 0.5 } },
} as const satisfies SelfPlayOptions;
const exploitability = "evaluation.certificate.sampled.exploitability";

function taskOf(rest: Partial<Task> = {}): Task {
  return {
    objective: "selfplay",
    config,
    seed: 7,
    budget: { iterations: 6 },
    metric: { name: exploitability, goal: "minimize", summary: "final" },
    limits: {},
    directory: join(folder, `run-${++folders}`),
    ...rest,
  };
}

async function run(task: Task): Promise<{ outcome: Outcome; reports: Report[]; log: string }> {
  const reports: Report[] = [];
  const outcome = await execute(task, { onReport: (report) => reports.push(report) });
  return { outcome, reports, log: readFileSync(join(task.directory, "run.log"), "utf8") };
}

/** Values without those that depend on the clock. */
function timeless(values: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(values).filter(([name]) => !/^(speed|roofline)\.|[sS]econds/.test(name)));
}

function finite(values: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => Number.isFinite(value)));
}

function succeeded(outcome: Outcome): Outcome & { ok: true } {
  if (!outcome.ok) throw new Error(outcome.message);
  return outcome;
}

describe.concurrent("a budget of iterations", () => {
  test("reports what a run of the library's reports", async () => {
    const run_ = { seed: 7, iterations: 6, evaluateEvery: 2, threads: 1 };
    const direct = await SelfPlay.create({ ...config, ppo: { lrSchedule: "linear" }, run: run_ });
    const iterations: Iteration[] = [];
    for await (const iteration of direct.train({ roofline: false })) iterations.push(iteration);
    await direct.close();
    const { outcome, reports } = await run(
      taskOf({ config: { ...config, ppo: { lrSchedule: "linear" }, run: { evaluateEvery: 2 } } }),
    );
    expect(reports.map(({ index }) => index)).toEqual([1, 2, 3, 4, 5, 6]);
    for (const [i, { index, ...values }] of iterations.entries()) {
      expect(timeless(reports[i]!.values)).toEqual(timeless(finite(flatten(values))));
    }
    const last = iterations[5]!.evaluation!.certificate!.sampled.exploitability;
    expect(succeeded(outcome).value).toBe(last);
    expect(timeless(succeeded(outcome).values)).toEqual(timeless(reports[5]!.values));
    expect(outcome.cost).toMatchObject({ iterations: 6, flops: expect.any(Number) });
    expect(outcome.cost.flops).toBeGreaterThan(1e6);
  });

  test("has an evaluation at its end, whatever run.evaluateEvery", async () => {
    for (const [every, expected] of [
      [undefined, [6]],
      [4, [4, 6]],
      [3, [3, 6]],
    ] as const) {
      const { reports } = await run(taskOf({ config: { ...config, run: { evaluateEvery: every ?? 0 } } }));
      const evaluated = reports.filter(({ values }) => exploitability in values).map(({ index }) => index);
      expect(evaluated).toEqual(expected);
      expect(reports[5]!.values["evaluation.versusRandom.win"]).toBeGreaterThan(0);
    }
  });

  test("the mean of the last evaluations", async () => {
    const metric = { name: exploitability, goal: "minimize", summary: { last: 2 } } as const;
    const { outcome, reports } = await run(taskOf({ metric, config: { ...config, run: { evaluateEvery: 2 } } }));
    const values = reports.flatMap(({ values }) => values[exploitability] ?? []);
    expect(values).toHaveLength(3);
    expect(succeeded(outcome).value).toBe((values[1]! + values[2]!) / 2);
  });

  test("mistakes by the perfect player's scores are a metric for Connect Four", async () => {
    const connect4 = { ...config, game: { name: "connect4" } } as const;
    const metric = { name: "evaluation.judge.sampled.mistakeRate", goal: "minimize", summary: "final" } as const;
    const { outcome, reports } = await run(taskOf({ metric, config: connect4, budget: { iterations: 1 } }));
    expect(succeeded(outcome).value).toBe(reports[0]!.values[metric.name]);
    await using direct = await SelfPlay.create({ ...connect4, run: { seed: 7, iterations: 1 } });
    for await (const _ of direct.train({ roofline: false }));
    expect(succeeded(outcome).value).toBe((await direct.evaluate()).judge!.sampled.mistakeRate);
  });

  test("other seeds give other results, the same seed the same", async () => {
    const value = async (seed: number) => succeeded((await run(taskOf({ seed }))).outcome).value;
    const [a, b, c] = await Promise.all([value(7), value(7), value(8)]);
    expect(a).toBe(b);
    expect(a).not.toBe(c);
  });

  test("leaves nothing but its log", async () => {
    const task = taskOf();
    await run(task);
    expect(readdirSync(task.directory)).toEqual(["run.log"]);
  });
});

describe.concurrent("other budgets", () => {
  test("operations: as many as asked for, the same every time, and schedules end with them", async () => {
    const ppo = { lrSchedule: "linear", lr: 0.01 };
    const task = () => taskOf({ budget: { flops: 3e7 }, config: { ...config, ppo } });
    const { outcome, reports } = await run(task());
    expect(outcome.ok).toBe(true);
    const { flops, iterations } = outcome.cost;
    expect(iterations).toBe(reports.length);
    expect(flops).toBeGreaterThanOrEqual(3e7);
    expect(flops).toBeLessThan(3e7 * (1 + 2 / iterations));
    const rates = reports.map(({ values }) => values.lr!);
    expect(rates[0]).toBe(0.01);
    expect(rates.at(-1)).toBeLessThan(0.001);
    expect(rates[Math.floor(rates.length / 2)]).toBeCloseTo(0.005, 3);
    const again = await run(task());
    expect(again.reports.map(({ values }) => timeless(values))).toEqual(reports.map(({ values }) => timeless(values)));
  });

  test("seconds: of training, and schedules follow the clock", async () => {
    const ppo = { lrSchedule: "linear", lr: 0.01 };
    const { outcome, reports } = await run(taskOf({ budget: { seconds: 0.5 }, config: { ...config, ppo } }));
    expect(outcome.ok).toBe(true);
    // The clock that ends the run is read a moment after the one that is reported.
    expect(reports.at(-1)!.values.seconds).toBeGreaterThan(0.49);
    expect(reports.at(-2)!.values.seconds).toBeLessThan(0.5);
    for (const { values } of reports.slice(0, -1))
      expect(values.lr! + 0.02 * values.seconds!).toBeGreaterThan(0.01 - 1e-9);
    expect(reports.at(-1)!.values[exploitability]).toBeDefined();
  });
});

describe("the certificate", () => {
  test("tells when the argmax policy was first unbeatable; run.stopAtCertificate ends there", async () => {
    const options = { game: { name: "tictactoe" }, net: { width: 64, depth: 2 }, rollout: { games: 512 } };
    const stopping = { ...options, run: { evaluateEvery: 5, stopAtCertificate: true } };
    const { outcome, reports } = await run(taskOf({ config: stopping, budget: { iterations: 400 } }));
    const last = reports.at(-1)!;
    const { iterationsToCertificate, secondsToCertificate } = succeeded(outcome).values;
    expect(last.index).toBeLessThan(400);
    expect(last.values["evaluation.certificate.argmax.exploitability"]).toBe(0);
    expect(iterationsToCertificate).toBe(last.index);
    expect(secondsToCertificate).toBe(last.values.seconds);
    expect((await run(taskOf())).outcome).not.toHaveProperty("values.iterationsToCertificate");
  });
});

describe.concurrent("what is refused", () => {
  test.each<[string, Record<string, unknown>]>([
    ["config.run.seed", { ...config, run: { seed: 7 } }],
    ["config.run.iterations", { ...config, run: { iterations: 7 } }],
    ["config.run.minutes", { ...config, run: { minutes: 7 } }],
    ["run", { ...config, run: 7 }],
    ["net.width", { ...config, net: { width: 3 } }],
    ["nett", { ...config, nett: { width: 16 } }],
    ["game.name", {}],
  ])("%s", async (path, wrong) => {
    const { outcome } = await run(taskOf({ config: wrong }));
    expect(outcome).toMatchObject({
      kind: "error",
      code: "OPTION",
      retry: false,
      message: expect.stringContaining(path),
    });
  });

  test("a metric that is not there, or no number", async () => {
    const metric = (name: string) => ({ name, goal: "minimize", summary: "final" }) as const;
    const { outcome } = await run(taskOf({ metric: metric("loss.polcy") }));
    expect(outcome).toMatchObject({ kind: "metric", message: expect.stringMatching(/did you mean loss\.policy,/) });
    // There is no pool, so nobody wins against it.
    const alone = { ...config, rollout: { games: 32 } };
    const nan = await run(taskOf({ metric: metric("pool.win"), config: alone }));
    expect(nan.outcome).toMatchObject({ kind: "metric", message: expect.stringContaining("pool.win is NaN") });
  });

  test("a diverging run fails as one that would diverge again", async () => {
    const ppo = { lr: 10, maxGradNorm: 0, entropy: 10, valueCoef: 100, minibatch: 32 };
    const wild = { ...config, net: { width: 16, depth: 12 }, rollout: { games: 32 }, ppo };
    const { outcome } = await run(taskOf({ seed: 0, config: wild, budget: { iterations: 500 } }));
    expect(outcome).toMatchObject({ kind: "error", code: "NUMERIC", retry: false });
  });
});

describe.concurrent("another attempt", () => {
  const iterations = 100;
  const metric = { name: exploitability, goal: "minimize", summary: { last: 95 } } as const;
  // Iterations take milliseconds with their evaluations, so that what is here is not far behind the worker.
  const options = { ...config, run: { evaluateEvery: 1 }, ppo: { lrSchedule: "linear" } };
  const endless = { iterations: 10_000_000 };
  const long = (rest: Partial<Task> = {}) => taskOf({ metric, budget: { iterations }, config: options, ...rest });
  let whole: Awaited<ReturnType<typeof run>>;

  beforeAll(async () => {
    whole = await run(long());
    succeeded(whole.outcome);
  });

  function expectSame({ outcome, reports }: Awaited<ReturnType<typeof run>>): void {
    expect(succeeded(outcome).value).toBe(succeeded(whole.outcome).value);
    expect(timeless(succeeded(outcome).values)).toEqual(timeless(succeeded(whole.outcome).values));
    for (const { index, values } of reports)
      expect(timeless(values)).toEqual(timeless(whole.reports[index - 1]!.values));
    expect(reports.at(-1)!.index).toBe(iterations);
  }

  /** Interrupts a run, which then leaves a checkpoint. Gives its reports. */
  async function interrupt(task: Task, when: (report: Report) => boolean): Promise<Report[]> {
    const abort = new AbortController();
    const reports: Report[] = [];
    const onReport = (report: Report) => {
      reports.push(report);
      if (when(report)) abort.abort(new Error("enough"));
    };
    await expect(execute(task, { signal: abort.signal, onReport })).rejects.toThrow("enough");
    return reports;
  }

  /** Kills the worker. */
  async function kill(task: Task, when: (report: Report) => boolean): Promise<Report[]> {
    const reports: Report[] = [];
    let worker = 0;
    const outcome = await execute(task, {
      onStart: ({ pid }) => {
        worker = pid;
      },
      onReport: (report) => {
        reports.push(report);
        if (when(report)) process.kill(worker, "SIGKILL");
      },
    });
    expect(outcome).toMatchObject({ kind: "killed", code: "SIGKILL", retry: true });
    return reports;
  }

  test("goes on where an interrupt was, and after a kill -9 from there again, to the same bits", async () => {
    const task = long();
    const first = await interrupt(task, ({ index }) => index >= 20);
    // At once: on a busy machine the worker is far ahead of its reports.
    const second = await kill(task, () => true);
    const third = await run(task);
    // What the runner got before the interrupt was done before the checkpoint.
    expect(second[0]!.index).toBeGreaterThan(first.findLast(({ index }) => index <= 20)!.index);
    expect(third.reports[0]!.index).toBe(second[0]!.index);
    expect(third.log).toMatch(/going on after iteration \d+/);
    expect(third.outcome.cost.iterations).toBe(third.reports.length);
    expectSame(third);
    expect(readdirSync(task.directory)).toEqual(["run.log"]);
  });

  test("goes on with what is left of a budget of operations", async () => {
    const budget = { flops: 6e7 };
    const once = await run(long({ budget }));
    const task = long({ budget });
    await interrupt(task, ({ index }) => index >= 20);
    const { outcome, reports } = await run(task);
    expect(reports[0]!.index).toBeGreaterThan(20);
    expect(reports.at(-1)!.index).toBe(once.reports.length);
    expect(succeeded(outcome).value).toBe(succeeded(once.outcome).value);
    for (const { index, values } of reports)
      expect(timeless(values)).toEqual(timeless(once.reports[index - 1]!.values));
  });

  test("goes on from a checkpoint of the way after a kill -9, with the same bits", async () => {
    const task = long({ budget: endless });
    let more = 0;
    const first = await kill(task, () => existsSync(join(task.directory, "state.safetensors")) && ++more === 30);
    const last = first.at(-1)!.index;
    const second = await interrupt(task, ({ index }) => index > last);
    expect(second[0]!.index).toBeGreaterThan(1);
    expect(second[0]!.index).toBeLessThanOrEqual(last);
    for (const { index, values } of second.filter(({ index }) => index <= last)) {
      expect(timeless(values)).toEqual(timeless(first[index - 1]!.values));
    }
  });

  test.each([
    "truncated",
    "flipped",
    "without notes",
    "with the notes of another moment",
    "of another seed",
    "of another configuration",
  ])("with a checkpoint that is %s starts anew", async (what) => {
    const task = long({ budget: endless });
    const first = await interrupt(task, ({ index }) => index >= 20);
    const state = join(task.directory, "state.safetensors");
    const notes = join(task.directory, "state.json");
    const bytes = readFileSync(state);
    if (what === "truncated") truncateSync(state, 1000);
    if (what === "flipped") bytes[bytes.length - 9]! ^= 1;
    if (what === "flipped") writeFileSync(state, bytes);
    if (what === "without notes") writeFileSync(notes, "");
    if (what === "with the notes of another moment") {
      writeFileSync(notes, readFileSync(notes, "utf8").replaceAll(/"iteration":\d+/g, '"iteration":1'));
    }
    const other =
      what === "of another seed"
        ? { ...task, seed: 8 }
        : what === "of another configuration"
          ? { ...task, config: { ...options, ppo: { lr: 0.1 } } }
          : task;
    const second = await interrupt(other, ({ index }) => index >= 20);
    const log = readFileSync(join(task.directory, "run.log"), "utf8");
    expect(log).toMatch(/warning: training starts anew; the checkpoint cannot be used: /);
    expect(second[0]!.index).toBe(1);
    for (const [i, { index, values }] of second.slice(0, 20).entries()) {
      expect(index).toBe(i + 1);
      if (other === task) expect(timeless(values)).toEqual(timeless(first[i]!.values));
    }
  });
});
