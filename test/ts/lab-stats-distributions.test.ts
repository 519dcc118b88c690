// Distribution functions against R 4.2.2; the call that gave each value stands beside it.

import { describe, expect, test } from "vitest";
import {
  betaCdf,
  betaQuantile,
  chiSquareCdf,
  chiSquareQuantile,
  clopperPearson,
  fCdf,
  normalCdf,
  normalDensity,
  normalQuantile,
  randomOf,
  studentCdf,
  studentQuantile,
} from "../../lib/lab/stats/index.js";

/** Relative, or absolute below 1e-300. */
function near(value: number, expected: number, tolerance = 1e-12): void {
  expect(Math.abs(value - expected), `${value}, expected ${expected}`).toBeLessThanOrEqual(
    tolerance * Math.max(Math.abs(expected), 1e-300),
  );
}

describe("distributions", () => {
  test.each([
    ["pnorm(-1.96)", normalCdf(-1.96), 0.024997895148220428],
    ["pnorm(1.96)", normalCdf(1.96), 0.97500210485177963],
    ["pnorm(-5)", normalCdf(-5), 2.8665157187919391e-7],
    ["pnorm(-10)", normalCdf(-10), 7.6198530241605269e-24],
    ["pnorm(-37)", normalCdf(-37), 5.7255712225245771e-300],
    ["dnorm(1.3)", normalDensity(1.3), 0.17136859204780736],
    ["qnorm(1e-10)", normalQuantile(1e-10), -6.3613409024040557],
    ["qnorm(0.001)", normalQuantile(0.001), -3.0902323061678132],
    ["qnorm(0.9)", normalQuantile(0.9), 1.2815515655446008],
    ["qnorm(1e-250)", normalQuantile(1e-250), -33.799586172694838],
    ["pt(2.1, 5)", studentCdf(2.1, 5), 0.95512337505770062],
    ["pt(-1, 0.7)", studentCdf(-1, 0.7), 0.2751933362599856],
    ["pt(-8, 12)", studentCdf(-8, 12), 1.8799491123751306e-6],
    ["qt(0.975, 3)", studentQuantile(0.975, 3), 3.1824463052837078],
    ["qt(0.999, 29)", studentQuantile(0.999, 29), 3.3962402883568026],
    ["pchisq(3.3, 4)", chiSquareCdf(3.3, 4), 0.49106774215500171],
    ["qchisq(0.025, 19)", chiSquareQuantile(0.025, 19), 8.9065164819879712],
    ["qchisq(0.975, 19)", chiSquareQuantile(0.975, 19), 32.852326861729708],
    ["pgamma(100, 90)", chiSquareCdf(200, 180), 0.85365382530126721],
    ["pbeta(0.3, 2.5, 7)", betaCdf(0.3, 2.5, 7), 0.64122246297172114],
    ["pbeta(0.99, 200, 3)", betaCdf(0.99, 200, 3), 0.67123817103838967],
    ["qbeta(0.975, 6, 2000)", betaQuantile(0.975, 6, 2000), 0.0058099447006690653],
    ["qbeta(0.95, 1, 100)", betaQuantile(0.95, 1, 100), 0.029513049607039932],
    ["pf(3.1, 4, 17)", fCdf(3.1, 4, 17), 0.95642814145871102],
  ])("%s", (_, value, expected) => near(value, expected));

  test("quantiles invert, at the ends too", () => {
    for (const p of [1e-12, 0.01, 0.3, 0.5, 0.77, 0.999]) {
      near(normalCdf(normalQuantile(p)), p);
      near(studentCdf(studentQuantile(p, 2.5), 2.5), p);
      near(chiSquareCdf(chiSquareQuantile(p, 7), 7), p);
      near(betaCdf(betaQuantile(p, 3, 0.7), 3, 0.7), p, 1e-11);
    }
    expect([normalQuantile(0), normalQuantile(1)]).toEqual([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]);
    expect([normalCdf(Number.NEGATIVE_INFINITY), normalCdf(0), normalCdf(Number.POSITIVE_INFINITY)]).toEqual([
      0, 0.5, 1,
    ]);
    expect([chiSquareQuantile(0, 3), betaQuantile(1, 2, 2)]).toEqual([0, 1]);
  });

  test("Clopper and Pearson as R's binom.test(3, 40)", () => {
    const { low, high } = clopperPearson(3, 40);
    near(low, 0.015742179851041538, 1e-11);
    near(high, 0.20386474873289895, 1e-11);
    near(clopperPearson(0, 40).high, 1 - 0.025 ** (1 / 40), 1e-11);
    expect(clopperPearson(40, 40).high).toBe(1);
  });

  test.each([
    [() => normalQuantile(1.5), "p", "1.5", "a finite number, at least 0 and at most 1"],
    [() => studentCdf(1, 0), "df", "0", "a finite number, above 0"],
    [() => clopperPearson(5, 4), "successes", "5", "a whole number, at least 0 and at most 4"],
    [() => randomOf(-1), "seed", "-1", "a whole number, at least 0"],
    [() => randomOf(1, 0.5), "stream[0]", "0.5", "a whole number, at least 0"],
  ])("bad arguments are named: %#", (call, path, received, expected) => {
    expect(call).toThrow(expect.objectContaining({ code: "OPTION", path, received, expected }));
  });
});

describe("random numbers", () => {
  test("are those of the seed and the stream", () => {
    const draw = (...key: [number, ...number[]]) => Array.from({ length: 4 }, randomOf(...key).uniform);
    expect(draw(7)).toEqual(draw(7));
    const keys: [number, ...number[]][] = [[7], [8], [7, 0], [7, 1], [0, 7], [2 ** 32 + 7], [2 ** 53 - 1]];
    expect(new Set(keys.map((key) => draw(...key)[0])).size).toBe(keys.length);
  });

  test("are uniform, normal, fair, and shuffles equally likely", () => {
    const random = randomOf(20);
    const n = 60_000;
    const cells = new Array<number>(16).fill(0);
    let coins = 0;
    let normal = 0;
    let squares = 0;
    const orders = new Map<string, number>();
    for (let i = 0; i < n; ++i) {
      cells[Math.floor(random.uniform() * 16)]! += 1;
      coins += random.coin() ? 1 : 0;
      const z = random.normal();
      normal += z;
      squares += z * z;
      const order = random.shuffle([1, 2, 3]).join("");
      orders.set(order, (orders.get(order) ?? 0) + 1);
    }
    const fit = (counts: readonly number[]) => {
      const share = n / counts.length;
      return (
        1 -
        chiSquareCdf(
          counts.reduce((sum, count) => sum + (count - share) ** 2 / share, 0),
          counts.length - 1,
        )
      );
    };
    expect(fit(cells), "seed 20: uniforms").toBeGreaterThan(1e-3);
    expect(fit([coins, n - coins]), "seed 20: coins").toBeGreaterThan(1e-3);
    expect(orders.size).toBe(6);
    expect(fit([...orders.values()]), "seed 20: shuffles").toBeGreaterThan(1e-3);
    expect(Math.abs(normal / Math.sqrt(n)), "seed 20: mean").toBeLessThan(3.3);
    expect(Math.abs((squares - n) / Math.sqrt(2 * n)), "seed 20: variance").toBeLessThan(3.3);
  });
});
