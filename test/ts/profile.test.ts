// Rates of work, and where they stand under the roof.

import { describe, expect, test } from "vitest";
import { type Roof, SelfPlay } from "../../lib/index.js";
import { rates } from "../../lib/profile.js";

const roof: Roof = {
  threads: 4,
  gflops: 400,
  arithmetic: { fp32: 400, bf16: null },
  memory: [
    { name: "L2", bytes: 4e6, gbytes: 200 },
    { name: "L3", bytes: 32e6, gbytes: 100 },
    { name: "DRAM", bytes: null, gbytes: 20 },
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

describe("SelfPlay", () => {
  test("profile() and roof() agree, and a reset begins anew", async () => {
    const run = await SelfPlay.create({ game: { name: "tictactoe" }, rollout: { games: 64 }, run: { threads: 2 } });
    const measured = await run.roof();
    expect(measured).toMatchObject({ threads: 2, gflops: expect.any(Number) });
    expect(measured.gflops).toBeGreaterThan(0);
    expect(measured.memory.at(-1)).toMatchObject({ name: "DRAM", bytes: null });
    expect(measured.arithmetic.fp32).toBe(measured.gflops);
    for (const { gbytes } of measured.memory) expect(gbytes).toBeGreaterThan(0);
    expect(await run.roof()).toEqual(measured);

    for await (const _ of run.train({ iterations: 2 }));
    const rows = run.profile();
    expect(rows.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 9);
    expect(rows.some(({ bound }) => bound === "compute")).toBe(true);
    expect(rows.some(({ bound }) => bound === "memory")).toBe(true);
    for (const row of rows) {
      expect(row.intensity * row.gbytes).toBeCloseTo(row.gbytes > 0 ? row.gflops : 0, 9);
      if (row.bound === null) continue;
      const peak = measured.memory.find(({ name }) => name === row.memory)!.gbytes;
      const height = Math.min(measured.gflops, peak * row.intensity);
      if (row.intensity > 0) expect(row.roof).toBeCloseTo(row.gflops / height, 9);
      else expect(row.roof).toBeCloseTo(row.gbytes / peak, 9);
    }

    await run.resetProfile();
    expect(run.profile()).toEqual([]);
    for await (const _ of run.train({ iterations: 1 }));
    const again = run.profile().find(({ op, group }) => op === "gae" && group === "update");
    expect(again?.calls).toBe(1);
    await run.close();
  });
});
