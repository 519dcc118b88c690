// Rates of work, and where they stand under the roof.

import { describe, expect, test } from "vitest";
import { profileText } from "../../lib/cli/report.js";
import { type Roof, SelfPlay } from "../../lib/index.js";
import type { NativeProfile } from "../../lib/native.js";
import { raisedTo, rates, toProfile, toRoof } from "../../lib/profile.js";

const roof: Roof = {
  threads: 4,
  gflops: 400,
  raised: false,
  arithmetic: { fp32: 400, bf16: null },
  memory: [
    { name: "L2", bytes: 4e6, gbytes: 200, raised: false },
    { name: "L3", bytes: 32e6, gbytes: 100, raised: false },
    { name: "DRAM", bytes: null, gbytes: 20, raised: false },
  ],
};

describe("rates", () => {
  test("without a roof", () => {
    expect(rates({ flops: 6e9, bytes: 2e9, seconds: 2, calls: 1 }, null)).toEqual({
      gflops: 3,
      gbytes: 1,
      intensity: 3,
      roof: Number.NaN,
      bound: null,
      memory: null,
      raised: false,
    });
    expect(rates({ flops: 0, bytes: 0, seconds: 0, calls: 0 }, null)).toMatchObject({
      gflops: 0,
      gbytes: 0,
      intensity: 0,
    });
  });

  test.each([
    // flops, bytes, calls: which memory holds a call's bytes, which roof is lower there, how near it is in a second.
    [100e9, 4e6, 1, "L2", "compute", 0.25],
    [1e9, 40e9, 10_000, "L2", "memory", 0.2],
    [1e9, 40e9, 9_000, "L3", "memory", 0.4],
    [1e9, 10e9, 100, "DRAM", "memory", 0.5],
    [300e9, 10e9, 100, "DRAM", "compute", 0.75],
    [0, 10e9, 10_000, "L2", "memory", 0.05],
    // Faster than the memory that holds it: the data stayed nearer.
    [0, 50e9, 100, "L3", "memory", 0.5],
    [0, 150e9, 100, "L2", "memory", 0.75],
  ])("%d flops and %d bytes in %d calls: %s, %s", (flops, bytes, calls, memory, bound, share) => {
    const found = rates({ flops, bytes, seconds: 1, calls }, roof);
    expect(found).toMatchObject({ memory, bound });
    expect(found.roof).toBeCloseTo(share, 12);
  });

  test("one thread of four has a fourth of everything", () => {
    const whole = rates({ flops: 80e9, bytes: 3e9, seconds: 1, calls: 1000 }, roof);
    const part = rates({ flops: 20e9, bytes: 0.75e9, seconds: 1, calls: 1000, threads: 1 }, roof);
    expect(part.roof).toBeCloseTo(whole.roof, 12);
    expect([part.bound, part.memory]).toEqual([whole.bound, whole.memory]);
  });

  test("work that counts nothing is bound by nothing", () => {
    expect(rates({ flops: 0, bytes: 0, seconds: 1, calls: 1 }, roof)).toMatchObject({ roof: 0, bound: null });
  });
});

describe("a roof that was read too low", () => {
  const span = (name: string, seconds: number, gflops: number, gbytes: number) => {
    return { name, group: "update", calls: 10, seconds, flops: gflops * seconds * 1e9, bytes: gbytes * seconds * 1e9 };
  };
  const spans = [span("fast", 2, 214, 1), span("half", 1, 107, 2), span("stream", 1, 1, 600), span("slow", 1, 1, 1)];
  const raw: NativeProfile = {
    spans,
    threads: 2,
    gflops: 118,
    raised: false,
    gflopsFp32: 118,
    gflopsBf16: 0,
    gbytes: 34,
    caches: [
      { bytes: 64e3, gbytes: 282 },
      { bytes: 2e6, gbytes: 151 },
      { bytes: 0, gbytes: 0 },
    ],
  };

  test("is raised to the best rate seen, and everything that it binds says so", () => {
    const found = toRoof(raw)!;
    expect(found).toMatchObject({ gflops: 214, raised: true, arithmetic: { fp32: 118 } });
    expect(found.memory.map(({ name, raised }) => [name, raised])).toEqual([
      ["L1", true],
      ["L2", false],
      ["DRAM", false],
    ]);
    expect(found.memory[0]!.gbytes).toBeCloseTo(600, 9);
    const rows = toProfile(raw);
    expect(rows.map(({ roof, bound, raised }) => [Number(roof.toFixed(3)), bound, raised])).toEqual([
      [1, "compute", true],
      [0.5, "compute", true],
      [1, "memory", true],
      [Number((1 / 34).toFixed(3)), "memory", false],
    ]);
    const lines = profileText(rows).split("\n");
    expect(lines[1]).toMatch(/100%\* compute$/);
    expect(lines[4]).toMatch(/ 3% DRAM$/);
    expect(lines[5]).toContain("* roof raised to the best rate seen");
    expect(profileText(rows.slice(3))).not.toContain("*");
  });

  test("an op that takes next to no time raises nothing; its own share ends at 1", () => {
    const short = { ...raw, spans: [span("fast", 2, 100, 1), span("short", 0.001, 1e4, 1e4)] };
    expect(toRoof(short)).toMatchObject({ gflops: 118, raised: false });
    expect(toProfile(short)[1]).toMatchObject({ roof: 1, raised: true });
  });

  test("one that holds stays as it is", () => {
    const works = [{ flops: 300e9, bytes: 150e9, seconds: 1, calls: 1 }];
    expect(raisedTo(works, roof)).toEqual(roof);
    expect(raisedTo([], roof)).toEqual(roof);
    expect(raisedTo([{ flops: 0, bytes: 0, seconds: 0, calls: 0 }], roof)).toEqual(roof);
  });
});

describe("SelfPlay", () => {
  test("profile() and roof() agree, and a reset begins anew", async () => {
    const run = await SelfPlay.create({ game: { name: "tictactoe" }, rollout: { games: 64 }, run: { threads: 2 } });
    const measured = await run.roof();
    expect(measured).toMatchObject({ threads: 2, gflops: expect.any(Number) });
    expect(measured.gflops).toBeGreaterThan(0);
    expect(measured.memory.at(-1)).toMatchObject({ name: "DRAM", bytes: null });
    expect(measured.arithmetic.fp32).toBe(measured.gflops); // no work has raised it yet
    for (const { gbytes } of measured.memory) expect(gbytes).toBeGreaterThan(0);
    const later = await run.roof(); // looks again
    expect(later.gflops).toBeGreaterThanOrEqual(measured.gflops);
    for (const [i, { gbytes }] of later.memory.entries())
      expect(gbytes).toBeGreaterThanOrEqual(measured.memory[i]!.gbytes);

    for await (const { roofline } of run.train({ iterations: 2 })) {
      expect(roofline.fraction).toBeGreaterThan(0);
      expect(roofline.fraction).toBeLessThanOrEqual(1);
    }
    const now = await run.roof();
    expect(now.gflops).toBeGreaterThanOrEqual(later.gflops);
    const rows = run.profile();
    expect(rows.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 9);
    expect(rows.some(({ bound }) => bound === "compute")).toBe(true);
    expect(rows.some(({ bound }) => bound === "memory")).toBe(true);
    for (const row of rows) {
      expect(row.intensity * row.gbytes).toBeCloseTo(row.gbytes > 0 ? row.gflops : 0, 9);
      if (row.bound === null) continue;
      const peak = now.memory.find(({ name }) => name === row.memory)!.gbytes;
      const height = Math.min(now.gflops, peak * row.intensity);
      const share = row.intensity > 0 ? row.gflops / height : row.gbytes / peak;
      expect(row.roof).toBeCloseTo(Math.min(1, share), 9);
    }

    await run.resetProfile();
    expect(run.profile()).toEqual([]);
    for await (const _ of run.train({ iterations: 1 }));
    const again = run.profile().find(({ op, group }) => op === "gae" && group === "update");
    expect(again?.calls).toBe(1);
    await run.close();
  });
});
