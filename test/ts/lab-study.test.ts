// Studies from end to end, with functions of this process as objectives: what is run, what is decided, what is resumed.

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  keepOrRevert,
  Lab,
  type Objective,
  randomOf,
  Study,
  type StudyEvent,
  type StudySpec,
} from "../../lib/lab/index.js";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bellows-test-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A metric with a known mean: `gain` of the config, plus normal noise that depends on the seed alone. */
const noisy: Objective = async (config, { seed, report }) => {
  const value = Number(config.gain ?? 0) + Number(config.noise ?? 1) * randomOf(seed).normal();
  report({ "loss.value": value });
  return { score: value };
};

function studyOf(more: Partial<StudySpec> = {}): StudySpec {
  return {
    name: "noisy",
    objective: "function",
    metric: { name: "score", goal: "maximize" },
    budget: { iterations: 1 },
    baseline: { config: { gain: 0 } },
    proposals: {
      large: { change: { gain: 5 }, hypothesis: "five deviations more", seeds: "own" },
      none: { change: {}, hypothesis: "the same", category: "control", seeds: "own" },
    },
    noise: { runs: 4 },
    ...more,
  };
}

async function all(study: Study, workers = 2): Promise<StudyEvent[]> {
  const events: StudyEvent[] = [];
  for await (const event of study.run({ workers })) events.push(event);
  return events;
}

describe("a study", () => {
  test("measures the noise first, then decides what is real and not what is not", async () => {
    using study = await Study.open(studyOf(), { lab: join(folder, "lab.sqlite"), objective: noisy });
    const events = await all(study, 1);
    const started = events.filter((event) => event.type === "started");
    expect(started.slice(0, 4).map(({ seed }) => seed)).toEqual([1, 2, 3, 4].map((seed) => seed + 2_000_000_000));
    const state = study.state();
    expect(state.finished).toBe(true);
    expect(state.noise?.runs).toBe(4);
    const [large, none] = state.verdicts;
    expect(large).toMatchObject({ name: "large", verdict: "better", final: true });
    expect(large!.gain).toBeGreaterThan(3);
    expect(large!.interval[0]).toBeGreaterThan(0);
    expect(large!.pairs).toBeLessThan(16);
    expect(none).toMatchObject({ name: "none", verdict: "undecided", final: true, pairs: 16 });
  });

  test("gives the same verdicts for any number of workers", async () => {
    const verdicts: unknown[] = [];
    for (const workers of [1, 3]) {
      using study = await Study.open(studyOf(), { lab: join(folder, `lab${workers}.sqlite`), objective: noisy });
      await all(study, workers);
      verdicts.push(
        study
          .state()
          .verdicts.map(({ name, verdict, gain, interval, p, pairs }) => ({ name, verdict, gain, interval, p, pairs })),
      );
    }
    expect(verdicts[1]).toEqual(verdicts[0]);
  });
});

describe("a study that is stopped", () => {
  test("goes on with what it has, and comes to the same verdicts", async () => {
    const computed: string[] = [];
    const counting: Objective = async (config, context) => {
      computed.push(`${config.gain} ${context.seed}`);
      return noisy(config, context);
    };
    const lab = join(folder, "lab.sqlite");
    for (let stop = 5; ; stop += 5) {
      using study = await Study.open(studyOf(), { lab, objective: counting });
      let ended = 0;
      for await (const event of study.run({ workers: 2 })) {
        if (event.type === "ended" && ++ended === stop) break;
      }
      if (study.state().finished) break;
    }
    using whole = await Study.open(studyOf(), { lab: join(folder, "whole.sqlite"), objective: noisy });
    await all(whole);
    using stopped = await Study.open("noisy", { lab, objective: counting });
    const figures = (study: Study) =>
      study.state().verdicts.map(({ verdict, gain, interval, p, pairs }) => ({ verdict, gain, interval, p, pairs }));
    expect(figures(stopped)).toEqual(figures(whole));
    expect((await all(stopped)).map(({ type }) => type)).toEqual(["noise", "verdict", "verdict"]);
    // Only what was at work when it was stopped is computed again.
    expect(computed.length).toBeLessThan(new Set(computed).size + 20);
    expect(new Set(computed).size).toBeLessThanOrEqual(whole.state().runs.length + 4);
  });

  test("rejects with the signal's reason, and its runs do not count", async () => {
    using study = await Study.open(studyOf(), { lab: null, objective: waiting });
    const abort = new AbortController();
    const reason = new Error("enough");
    const work = (async () => {
      for await (const event of study.run({ workers: 2, signal: abort.signal })) {
        if (event.type === "started" && event.seed % 2 === 0) abort.abort(reason);
      }
    })();
    await expect(work).rejects.toBe(reason);
    expect(study.state().runs.map(({ state }) => state)).toEqual(["waiting", "waiting"]);
  });

  /** Ends only when it is told to. */
  const waiting: Objective = (_config, { signal }) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
});

describe("runs that fail", () => {
  test("are tried again where that may help, and then given up", async () => {
    const tries = new Map<number, number>();
    const flaky: Objective = async (config, context) => {
      const count = (tries.get(context.seed) ?? 0) + 1;
      tries.set(context.seed, count);
      if (config.gain === 5 && context.seed % 2 === 1 && count < 3) throw new Error("not yet");
      return noisy(config, context);
    };
    using study = await Study.open(studyOf({ seeds: { max: 10 } }), { lab: null, objective: flaky });
    const events = await all(study);
    const failed = events.filter((event) => event.type === "ended" && !event.outcome.ok);
    expect(failed.length).toBeGreaterThan(0);
    for (const event of failed) expect(event).toMatchObject({ arm: "large", outcome: { code: expect.any(String) } });
  });

  test("never make a proposal look better: one that fails more often than the baseline is not called so", async () => {
    const fragile: Objective = async (config, context) => {
      if (config.gain === 5 && context.seed % 5 === 0) throw new Error("diverged");
      return noisy(config, context);
    };
    using study = await Study.open(studyOf({ attempts: 1 }), { lab: null, objective: fragile });
    await all(study);
    const [large] = study.state().verdicts;
    expect(large).toMatchObject({ verdict: "undecided", final: true, ran: 16 });
    expect(large!.failures.proposal).toBeGreaterThan(0);
    expect(large!.interval[0]).toBeGreaterThan(0);
    expect(large!.sentence).toContain("failed");
  });

  test("nor worse: a baseline that fails more often than the proposal is not called the better one", async () => {
    // Where the baseline would be bad it fails; what is left of it is better than the proposal, which never fails.
    const fragile: Objective = async (config, context) => {
      if (config.gain === 0 && context.seed % 5 === 0) throw new Error("diverged");
      return noisy(config, context);
    };
    const proposals = { low: { change: { gain: -5 }, hypothesis: "five deviations less", seeds: "own" as const } };
    using study = await Study.open(studyOf({ attempts: 1, proposals }), { lab: null, objective: fragile });
    await all(study);
    const [low] = study.state().verdicts;
    expect(low).toMatchObject({ verdict: "undecided", final: true, ran: 16, failures: { proposal: 0 } });
    expect(low!.failures.baseline).toBeGreaterThan(0);
    expect(low!.interval[1]).toBeLessThan(0);
    expect(low!.sentence).toContain("of the baseline's");
  });
});

test("tells before the first run where its pairs can decide nothing", async () => {
  const why = async (more: Partial<StudySpec>) => {
    using study = await Study.open(studyOf(more), { lab: null, objective: noisy });
    return study.state().undecidable;
  };
  expect(await why({})).toBe(null);
  expect(await why({ seeds: { max: 8 }, family: 200 })).toBe(
    "8 pairs can decide nothing at alpha 0.05, shared among 200 proposals; it takes 13 to 1000",
  );
  expect(await why({ seeds: { max: 40 }, family: 2000 })).toMatch(/; it takes 17 to 34$/);
  // One side needs one pair less.
  expect(await why({ seeds: { max: 5 }, family: 1, proposals: {} })).toBe(null);
  expect(await why({ seeds: { max: 4 }, family: 1, proposals: {} })).toMatch(/at alpha 0.05; it takes 5 to 1000$/);
});

describe("keep or revert", () => {
  test("keeps what is better, on fresh seeds, and compares the next change with it", async () => {
    using study = await Study.open(studyOf({ proposals: {}, family: 3, noise: { runs: 0 } }), {
      lab: null,
      objective: noisy,
    });
    const change = (gain: number) => ({ change: { gain }, hypothesis: `${gain} deviations`, seeds: "own" as const });
    const first = await study.keepOrRevert("four", change(4));
    expect(first).toMatchObject({ keep: true, verdict: { verdict: "better", baseline: "baseline" } });
    expect(study.baseline).toBe("four");
    const second = await study.keepOrRevert("three", change(3));
    expect(second).toMatchObject({ keep: false, verdict: { baseline: "four" } });
    expect(second.verdict.pairs).toBeLessThan(16); // given up early
    expect(study.baseline).toBe("four");
    // The same again computes nothing.
    const runs = study.state().runs.length;
    expect(await study.keepOrRevert("four", change(4))).toEqual(first);
    expect(study.state().runs.length).toBe(runs);
    await study.keepOrRevert("nine", change(9));
    const seeds = study.state().runs.map(({ arm, seed }) => `${arm} ${seed}`);
    expect(new Set(seeds).size).toBe(seeds.length);
    const of = (arm: string) =>
      study
        .state()
        .runs.filter((run) => run.arm === arm)
        .map(({ seed }) => seed);
    expect(of("three").some((seed) => of("nine").includes(seed))).toBe(false);
    await expect(study.keepOrRevert("ten", change(10))).rejects.toMatchObject({ code: "OPTION", path: "family" });
  });
});

test("keepOrRevert tries one change and leaves nothing behind", async () => {
  vi.stubEnv("TMPDIR", folder); // others may be at work in the usual one
  const study = studyOf({ proposals: {} });
  const change = { change: { gain: 5 }, hypothesis: "five deviations more", seeds: "own" as const };
  const better = await keepOrRevert(study, change, { objective: noisy });
  expect(better).toMatchObject({ keep: true, verdict: { verdict: "better" } });
  const worse = await keepOrRevert(study, { ...change, change: { gain: -5 } }, { objective: noisy });
  expect(worse).toMatchObject({ keep: false });
  expect(worse.verdict.pairs).toBeLessThan(better.verdict.pairs); // given up early
  expect(tmpdir()).toBe(folder);
  expect(readdirSync(folder)).toEqual([]);
  vi.unstubAllEnvs();
});

describe("a lab", () => {
  test("refuses another study of the same name", async () => {
    const lab = join(folder, "lab.sqlite");
    (await Study.open(studyOf(), { lab, objective: noisy })).close();
    await expect(Study.open(studyOf({ alpha: 0.1 }), { lab, objective: noisy })).rejects.toMatchObject({
      code: "OPTION",
    });
    await expect(Study.open("nosy", { lab, objective: noisy })).rejects.toMatchObject({
      code: "OPTION",
      expected: expect.stringContaining("noisy"),
    });
  });

  test("can be asked in SQL and looked into without running anything", async () => {
    const lab = join(folder, "lab.sqlite");
    using study = await Study.open(studyOf(), { lab, objective: noisy });
    await all(study);
    using view = Lab.open(lab);
    expect(view.studies()).toMatchObject([{ name: "noisy", proposals: 2, failed: 0 }]);
    expect(view.study("noisy").verdicts).toEqual(study.state().verdicts);
    const [row] = view.query("select count(*) as runs from results where arm = 'large'");
    expect(row!.runs).toBe(study.state().runs.filter(({ arm }) => arm === "large").length);
    expect(view.check()).toEqual([]);
    expect(() => view.query("delete from events")).toThrow();
  });

  test("lets two runners share a study, each run computed once", async () => {
    const lab = join(folder, "lab.sqlite");
    const computed: string[] = [];
    const slow: Objective = async (config, context) => {
      computed.push(`${config.gain} ${context.seed}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
      return noisy(config, context);
    };
    using a = await Study.open(studyOf(), { lab, objective: slow });
    using b = await Study.open(studyOf(), { lab, objective: slow });
    await Promise.all([all(a, 1), all(b, 1)]);
    expect(new Set(computed).size).toBe(computed.length);
    expect(a.state().finished).toBe(true);
    expect(a.state().verdicts).toEqual(b.state().verdicts);
  });
});

describe("a verdict", () => {
  const better = async (gain: number, noise: number) => {
    const proposals = { more: { change: { gain }, hypothesis: "more", seeds: "own" as const } };
    const baseline = { config: { gain: 0, noise } };
    using study = await Study.open(studyOf({ proposals, baseline, seeds: { max: 24 } }), {
      lab: null,
      objective: noisy,
    });
    await all(study);
    return study.state().verdicts[0]!;
  };

  test("takes off what luck adds to a gain near the noise, and leaves one that is far above it", async () => {
    const near = await better(1.6, 1);
    expect(near.verdict).toBe("better");
    expect(near.shrunk).toBeGreaterThan(0);
    expect(near.shrunk! / near.gain!).toBeLessThan(0.98);
    const far = await better(10, 1);
    expect(far.shrunk! / far.gain!).toBeGreaterThan(0.97);
  });

  test("says how probable it is that a run of the proposal is better", async () => {
    const { improvement } = await better(10, 1);
    expect(improvement!.probability).toBe(1);
    expect(improvement!.interval[0]).toBeGreaterThan(0.5);
  });
});

describe("looking around", () => {
  test("compares what the runs of two arms have in common, by reports or by results", async () => {
    const lab = join(folder, "lab.sqlite");
    using study = await Study.open(studyOf(), { lab, objective: noisy });
    await all(study);
    using view = Lab.open(lab);
    const reported = view.compare("noisy", "baseline", "large", "loss.value");
    expect(reported).toMatchObject({ iterations: [1], verdict: "better", interval: "runs" });
    const values = (arm: string) =>
      study.state().runs.flatMap((run) => (run.arm === arm && run.outcome?.ok ? [run.outcome.value] : []));
    const mean = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
    expect(reported.gain).toBeCloseTo(mean(values("large")) - mean(values("baseline")), 12);
    expect(view.compare("noisy", "baseline", "large")).toMatchObject({ metric: "score", gain: reported.gain });
    expect(() => view.compare("noisy", "baseline", "small")).toThrow(/large, none/);
    expect(() => view.compare("noisy", "baseline", "large", "los")).toThrow(/loss.value/);
  });
});
