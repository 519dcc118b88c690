// The command bench: rows, refusals, and the statistics behind --compare.

import { describe, expect, test } from "vitest";
import type { ProgramRow } from "../../lib/bench/builds.js";
import { benchCases, chooseCases, runCase } from "../../lib/bench/cases.js";
import { groupChanges, summariseComparison } from "../../lib/bench/compare.js";
import { machineName } from "../../lib/bench/machine.js";
import { findPeers, measurePeer, type PeerEntry, peerEntries, peersOf } from "../../lib/bench/peers.js";
import { median, medianInterval, noiseOf, quantile, verdictOf } from "../../lib/bench/statistics.js";
import { bars, waterfallText } from "../../lib/bench/waterfall.js";
import { svgRenderer } from "../../lib/cli/vega.js";
import { waterfallSpec } from "../../lib/cli/waterfall-svg.js";
import { bellows, start } from "./cli.js";

const quick = ["--pairs", "2", "--seconds", "0", "--threads", "1", "--no-peers"];

describe("rows", () => {
  test("say what they are: names, units, ratios, machine, commit", async () => {
    const end = await bellows(["bench", "--only", "gemm/dw,rollout/tictactoe,kernel/adamw", ...quick, "--json"]);
    expect(end.code, end.stderr).toBe(0);
    const [machine, ...lines] = end.lines;
    expect(machine).toMatchObject({
      type: "machine",
      cpu: expect.any(String),
      family: expect.any(Number),
      cores: expect.any(Number),
      isa: expect.any(String),
      load: expect.any(Number),
      version: expect.any(String),
    });
    expect(lines.pop()).toMatchObject({ type: "result", cases: 8 });
    expect(lines.map(({ name }) => name)).toEqual([
      ...Array<string>(6).fill("gemm/dw"),
      "kernel/adamw",
      "rollout/tictactoe",
    ]);
    for (const row of lines) {
      expect(row).toMatchObject({ type: "bench", threads: 1, precision: "fp32", pairs: 2, peers: [] });
      expect(row.commit).toBe(machine?.commit);
      expect(row.samples).toBe(2);
      expect(row.p10).toBeLessThanOrEqual(row.median);
      expect(row.p90).toBeGreaterThanOrEqual(row.median);
      expect(row.roofFraction ?? 0).toBeLessThanOrEqual(1);
      expect(row.roofRaised).toEqual(expect.any(Boolean));
    }
    const [product] = lines;
    expect(product).toMatchObject({ shape: "M=64 N=256 K=256", unit: "us" });
    for (const key of ["median", "gflops", "roofFraction", "floorRatio", "roofGflops"]) {
      expect(product?.[key], key).toBeGreaterThan(0);
    }
    expect(product!.floorRatio * product!.roofFraction).toBeGreaterThan(0.2); // medians of two: inverse only nearly
    expect(lines.at(-1)).toMatchObject({ unit: "Mmoves/s", gflops: null, roofFraction: null, floorRatio: null });
  });

  test("an iteration also says where its time goes", async () => {
    const end = await bellows(["bench", "--only", "iteration/tictactoe", ...quick, "--json"]);
    const row = end.lines.find(({ type }) => type === "bench")!;
    expect(row).toMatchObject({ name: "iteration/tictactoe", unit: "ms" });
    const { ms, collectMs, updateMs, msPerStep, steps, samples, moves, floorMs, scaledToSteps } = row.iteration;
    expect(ms).toBeCloseTo(row.median, 9);
    expect(collectMs + updateMs).toBeLessThanOrEqual(ms * 1.2);
    expect(msPerStep * steps).toBeCloseTo(updateMs, 6);
    expect(samples).toBeGreaterThan(1500);
    expect(moves).toBeGreaterThan(samples);
    expect(floorMs).toBeGreaterThan(0);
    expect(scaledToSteps).toBeNull();
    expect(end.stderr).toMatch(/iteration\/tictactoe .* ms .* x the floor\n {2}[\d.]+ ms: collect/);
  });

  test("bf16 is measured, or refused with the reason", async () => {
    const end = await bellows(["bench", "--only", "gemm/forward", "--precision", "bf16", ...quick, "--json"]);
    if (end.code === 0) expect(end.lines[1]).toMatchObject({ type: "bench", precision: "bf16" });
    else expect(end.last).toMatchObject({ type: "error", code: "OPTION", path: "precision", received: "bf16" });
  });

  test("--list runs nothing", async () => {
    const end = await bellows(["bench", "--list", "--only", "iteration", "--json"]);
    expect(end.last.cases.map(({ name }: { name: string }) => name)).toEqual([
      "iteration/tictactoe",
      "iteration/connect4",
    ]);
    expect(end.lines).toHaveLength(1);
  });

  test("an interrupt ends it", async () => {
    const run = start(["bench", "--only", "gemm", "--seconds", "60", "--no-peers", "--json"]);
    await run.line("machine");
    run.child.kill("SIGINT");
    expect(await run.finished).toMatchObject({ code: 130, last: { type: "error", code: "INTERRUPTED" } });
  });
});

describe("refused", () => {
  test.each([
    ["an unknown case", ["--only", "gem/forward"], "--only", "did you mean gemm/forward?"],
    ["an empty name", ["--only", ""], "--only", "There are gemm,"],
    ["no threads", ["--threads", "0"], "--threads", "1 to 256"],
    ["half a pair", ["--pairs", "0.5"], "--pairs", "1 to 1000"],
    ["negative seconds", ["--seconds", "-1"], "--seconds", "0 to 3600"],
    ["seconds that are none", ["--seconds", ""], "--seconds", "0 to 3600"],
    ["--check alone", ["--check"], "--check", "--compare A..B"],
    ["--svg alone", ["--svg", "x.svg"], "--svg", "--compare A..B"],
    ["an empty --svg", ["--compare", "HEAD..HEAD", "--svg", ""], "--svg", "a file to write"],
    ["one commit", ["--compare", "HEAD"], "--compare", "A..B"],
    ["too few pairs of commits", ["--compare", "HEAD..HEAD", "--pairs", "5"], "--pairs", "6 to 1000"],
    ["a commit that is none", ["--compare", "no-such-commit..HEAD"], "--compare", "no-such-commit is no commit"],
    ["what looks like an option of git", ["--compare", "--all..HEAD"], "--compare", "--all"],
  ])("%s", async (_, args, path, words) => {
    const end = await bellows(["bench", ...args, "--json"]);
    expect({ code: end.code, last: end.last }).toMatchObject({ code: 2, last: { type: "error", code: "USAGE", path } });
    expect(`${end.last.message} ${end.last.expected}`).toContain(words);
  });

  test("a precision that is none", async () => {
    const end = await bellows(["bench", "--only", "gemm/dx", "--precision", "fp8", ...quick, "--json"]);
    expect(end.code).toBe(2);
    expect(end.last).toMatchObject({ code: "OPTION", path: "precision", received: "fp8", expected: "fp32 or bf16" });
  });
});

describe("cases", () => {
  test("are chosen by whole names and by what stands before the slash", () => {
    const cases = benchCases();
    const names = (only: string[]) => new Set(chooseCases(only, cases).map(({ name }) => name));
    expect(chooseCases([], cases)).toHaveLength(cases.length);
    expect(names(["gemm/forward"])).toEqual(new Set(["gemm/forward"]));
    expect(names(["iteration"])).toEqual(new Set(["iteration/tictactoe", "iteration/connect4"]));
    expect(chooseCases(["gemm/dw"], cases).map(({ shape }) => Number(/M=(\d+)/.exec(shape)?.[1]))).toEqual([
      64, 128, 256, 512, 1024, 2048,
    ]);
    for (const prefix of ["gem", "gemm/", "iteration/tictactoes"]) {
      expect(() => chooseCases([prefix], cases), prefix).toThrow(/no such case; did you mean/);
    }
    expect(() => chooseCases(["qqqqqqqq"], cases)).toThrow(/no such case; There are/);
  });

  test("results of different designs of one name go to different files", () => {
    const machine = { cpu: "AMD EPYC", family: 25, model: 17, cores: 2, isa: "avx512", memoryGiB: 1, platform: "x" };
    expect(machineName(machine)).toBe("amd-epyc-family-25-model-17-2-cores");
    expect(machineName({ ...machine, cpu: "Intel(R) Xeon(R) @ 2.1GHz", family: 0 })).toBe("intel-xeon-2-1ghz-2-cores");
  });
});

describe("peers", () => {
  const { signal } = new AbortController();
  const of = (name: string) => benchCases().find((found) => found.name === name)!;
  const ask = (code: string, name = "gemm/forward") =>
    measurePeer(
      { case: name, name: "a peer", command: [process.execPath, "-e", code, "{threads}", "{M}", "{peers}"] },
      { of: of(name), threads: 3, seconds: 1, signal },
    );

  test("the list names cases that there are, in the repository's own folder", () => {
    const names = new Set(benchCases().map(({ name }) => name));
    const entries = peerEntries();
    expect(entries.length).toBeGreaterThan(0);
    for (const entry of entries) expect(names, entry.name).toContain(entry.case);
  });

  test("are told threads and shape, and give the case's unit", async () => {
    const echo =
      "console.log('noise'); console.log(JSON.stringify({ median: process.argv[1] * 1000 + +process.argv[2] }))";
    expect(await ask(echo)).toBe(3064);
    expect(await ask("console.log(JSON.stringify({ median_ms: 0.25 }))")).toBe(250);
    expect(await ask("console.log(JSON.stringify({ median_ms: 600, steps: 598 }))", "iteration/connect4")).toBe(300);
  });

  test("see no overrides that slow them down", async () => {
    process.env.OPENBLAS_CORETYPE = "Haswell";
    try {
      expect(await ask("console.log(JSON.stringify({ median: process.env.OPENBLAS_CORETYPE ? 1 : 2 }))")).toBe(2);
    } finally {
      delete process.env.OPENBLAS_CORETYPE;
    }
  });

  test.each([
    ["fail", "console.error('no luck'); process.exit(3)", /a peer failed.*exit status 3: no luck/],
    ["print something else", "console.log('fast')", /a peer failed.*fast/],
    ["print no time", "console.log('{}')", /a peer failed.*\{\}/],
    ["do not exist", null, /a peer failed.*ENOENT/],
  ])("that %s are errors", async (_, code, message) => {
    const asked =
      code === null
        ? measurePeer(
            { case: "gemm/dx", name: "a peer", command: ["/no/such/program"] },
            { of: of("gemm/dx"), threads: 1, seconds: 1, signal },
          )
        : ask(code);
    await expect(asked).rejects.toThrow(message);
  });

  test.each([
    ["kernel/gae", 1e9],
    ["rules/connect4", 1e-9],
  ])("that take for ever are many times slower: %s", async (name, median) => {
    const answer = `console.log(JSON.stringify({ median: ${median} }))`;
    const row = await runCase(of(name), {
      threads: 1,
      precision: "fp32",
      pairs: 2,
      seconds: 0,
      peers: [{ case: name, name: "a peer", command: [process.execPath, "-e", answer] }],
      signal,
      say: () => {},
    });
    expect(row.peers).toEqual([{ name: "a peer", median, ratio: expect.any(Number) }]);
    expect(row.peers[0]!.ratio).toBeGreaterThan(1000);
  });

  test("are those of the cases and of the number of threads", () => {
    const entries = [{ case: "a" }, { case: "b" }, { case: "a", threads: 1 }].map((entry, i) => ({
      ...entry,
      name: String(i),
      command: [],
    }));
    const names = (cases: string[], threads: number) => peersOf(entries, cases, threads).map(({ name }) => name);
    expect(names(["a"], 1)).toEqual(["0", "2"]);
    expect(names(["a", "b"], 2)).toEqual(["0", "1"]);
  });

  test("that are not there are left out with the reason", async () => {
    const entry = (name: string, code: string): PeerEntry => ({
      case: "gemm/dx",
      name,
      find: [process.execPath, "-e", code],
      command: ["x"],
    });
    const missing: [string, string][] = [];
    const found = await findPeers(
      [entry("here", ""), entry("gone", "console.error('first'); console.error('why'); process.exit(1)")],
      signal,
      (name, reason) => missing.push([name, reason]),
    );
    expect(found.map(({ name }) => name)).toEqual(["here"]);
    expect(missing).toEqual([["gone", "why"]]);
  });
});

describe("statistics", () => {
  test("quantiles", () => {
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
    expect(quantile([5], 0.9)).toBe(5);
    expect(quantile([0, 10], 0.1)).toBe(1);
    expect(median([3, 1, 2])).toBe(2);
  });

  test("the sign test's interval", () => {
    // Confidence: 1 - 2 sum of C(n, i) / 2^n for i < k.
    const upTo = (n: number) => Array.from({ length: n }, (_, i) => n - i);
    expect(medianInterval(upTo(5))).toEqual({ low: 1, high: 5, confidence: 1 - 2 / 32 });
    expect(medianInterval(upTo(6))).toEqual({ low: 1, high: 6, confidence: 1 - 2 / 64 });
    expect(medianInterval(upTo(9))).toEqual({ low: 2, high: 8, confidence: 1 - (2 * 10) / 512 });
    const twenty = medianInterval(upTo(20));
    expect([twenty.low, twenty.high]).toEqual([6, 15]);
    expect(twenty.confidence).toBeCloseTo(0.9586, 4);
    expect(medianInterval([7])).toEqual({ low: 7, high: 7, confidence: 0 });
  });

  test("noise is how far the interval of equal pairs reaches, either way", () => {
    expect(noiseOf([1, 1, 1, 1, 1, 1])).toBe(0);
    expect(noiseOf([1, 1, 1, 1, 1, 1.1])).toBeCloseTo(0.1, 12);
    expect(noiseOf([1, 1, 1, 1, 1, 1 / 1.1])).toBeCloseTo(0.1, 12);
  });

  test.each([
    ["a clear loss", [1.1, 1.11, 1.09, 1.1, 1.12, 1.1], 0.01, "slower"],
    ["a clear gain", [0.9, 0.91, 0.89, 0.9, 0.88, 0.9], 0.01, "faster"],
    ["a loss within the noise", [1.05, 1.06, 1.04, 1.05, 1.07, 1.05], 0.08, "equal"],
    ["noise that hides everything", [1, 1, 1, 1, 1, 1], 0.5, "undecided"],
    ["less than 2%", [1.01, 1.015, 1.01, 1.012, 1.01, 1.01], 0, "equal"],
    ["a loss in the middle, gains beside it", [1.1, 0.8, 1.2, 1.15, 1.1, 0.9], 0.01, "undecided"],
    ["scattered around 1", [1.05, 0.95, 1, 1, 1.01, 0.99], 0, "undecided"],
  ] as const)("%s", (_, ratios, noise, verdict) => {
    expect(verdictOf(ratios, noise).verdict).toBe(verdict);
  });

  test("equal programs are called slower by chance less than once in twenty times", () => {
    // A generator of our own, so that the test is the same everywhere (Park & Miller 1988).
    let state = 12345;
    const uniform = () => {
      state = (state * 48271) % 2147483647;
      return state / 2147483647;
    };
    const ratio = () => Math.exp(0.1 * (uniform() + uniform() + uniform() - 1.5));
    let slower = 0;
    for (let trial = 0; trial < 2000; ++trial) {
      const noise = noiseOf(Array.from({ length: 9 }, ratio));
      slower += verdictOf(Array.from({ length: 9 }, ratio), noise).verdict === "slower" ? 1 : 0;
    }
    expect(slower).toBeLessThan(100);
  });
});

describe("a comparison", () => {
  const row = (median: number, ops: Record<string, number>, name = "iteration/tictactoe", unit = "ms"): ProgramRow => ({
    name,
    shape: "a shape",
    unit,
    median,
    profile: Object.entries(ops).map(([key, ms]) => {
      const [group = "", op = ""] = key.split(" ");
      return { group, op, ms };
    }),
  });
  const six = <T>(value: T) => Array<T>(6).fill(value);
  const before = row(100, { "update linear_forward": 30, "update layernorm_forward": 10, "collect rollout_act": 20 });
  const after = row(70, { "update linear_forward": 15, "collect rollout_act": 22, "update something_new": 3 });

  test("is of ratios of times, pair by pair", () => {
    const [found] = summariseComparison(six([[before], [before]] as const), six([[before], [after]] as const));
    expect(found).toMatchObject({ ratio: 0.7, before: 100, after: 70, noise: 0, threshold: 0.02, verdict: "faster" });
    const [rate] = summariseComparison(
      six([[row(10, {}, "rules/x", "Mmoves/s")], [row(10, {}, "rules/x", "Mmoves/s")]] as const),
      six([[row(10, {}, "rules/x", "Mmoves/s")], [row(5, {}, "rules/x", "Mmoves/s")]] as const),
    );
    expect(rate).toMatchObject({ ratio: 2, verdict: "slower", groups: [] });
  });

  test("takes cases that both have; old programs give no shape", () => {
    const old = { ...before, shape: "" };
    const other = row(1, {}, "gemm/dw", "us");
    const found = summariseComparison(six([[old], [old]] as const), six([[old], [after, other]] as const));
    expect(found.map(({ name }) => name)).toEqual(["iteration/tictactoe"]);
  });

  test("says which kinds of ops changed", () => {
    expect(groupChanges([before], [after])).toEqual([
      { group: "forward", before: 40, after: 15 },
      { group: "outside ops", before: 40, after: 30 },
      { group: "update something_new", before: 0, after: 3 },
      { group: "collect: rules, sampling", before: 20, after: 22 },
    ]);
  });

  test("draws a waterfall whose bars lead from A to B", () => {
    const [comparison] = summariseComparison(six([[before], [before]] as const), six([[before], [after]] as const));
    const list = bars(comparison!, ["A", "B"]);
    expect(list[0]).toEqual({ label: "A", from: 0, to: 100, total: true });
    expect(list.at(-1)).toEqual({ label: "B", from: 0, to: 70, total: true });
    for (let i = 2; i < list.length - 1; ++i) expect(list[i]!.from).toBe(list[i - 1]!.to);
    expect(list.at(-2)!.to).toBeCloseTo(70, 9);
    const text = waterfallText(comparison!, ["A", "B"], 50);
    const lines = text.trimEnd().split("\n").slice(1);
    expect(lines).toHaveLength(list.length);
    expect(lines[0]).toMatch(/^ {2}A +100\.00 {2}█{50}$/);
    expect(lines[1]).toMatch(/^ {2}forward +-25\.00 +▒{12,13}$/);
    expect(lines.at(-1)).toMatch(/^ {2}B +70\.00 {2}█{35}$/);
  });

  test("draws waterfalls as SVG, one above the other", async () => {
    const [one] = summariseComparison(six([[before], [before]] as const), six([[before], [after]] as const));
    const draw = await svgRenderer("bench");
    const svg = await draw(waterfallSpec([one!, { ...one!, name: "iteration/connect4" }], ["A", "B"], "the machine"));
    const texts = [...svg.matchAll(/<text [^>]*>([^<]+)<\/text>/g)].map(([, text]) => text);
    for (const text of ["iteration/tictactoe: time -30.0%", "iteration/connect4: time -30.0%", "the machine"]) {
      expect(texts).toContain(text);
    }
    for (const text of ["A", "B", "forward", "-25.00", "+3.00", "100.00 ms", "70.00 ms"]) {
      expect(
        texts.filter((other) => other === text),
        text,
      ).toHaveLength(2);
    }
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    // The bars of both charts: each from where the last one ended.
    expect(svg.match(/fill="#(777|3a8f5c|c4553b)"/g)).toHaveLength(2 * bars(one!, ["A", "B"]).length);
  });
});
