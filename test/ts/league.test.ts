// A league from outside: what it reports and plans, and that a run directory and a file go on with it bit for bit.

import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Iteration, SelfPlay, type SelfPlayOptions } from "../../lib/index.js";
import { flatten } from "../../lib/lab/objectives/selfplay.js";
import { bellows, scratch, tiny } from "./cli.js";

const folder = scratch();

/** Whose players are frozen often. */
const league = { size: 4, every: 2, minIterations: 1, maxIterations: 3 };
const options = {
  game: { name: "tictactoe" },
  net: { width: 16, depth: 1 },
  rollout: { games: 32 },
  league: { enabled: true, ...league },
  run: { seed: 5, threads: 1, iterations: 8 },
} as const satisfies SelfPlayOptions;

async function train(run: SelfPlay, iterations: number): Promise<Iteration[]> {
  const seen: Iteration[] = [];
  for await (const iteration of run.train({ iterations, roofline: false })) seen.push(iteration);
  return seen;
}

describe("a league", () => {
  test("reports its learners, and counts the games and moves of all", async () => {
    const run = await SelfPlay.create(options);
    const seen = await train(run, 7);
    for (const { league: now, games, samples, poolSize } of seen) {
      expect(games).toBe(3 * options.rollout.games);
      const roles = [now!.main, now!.mainExploiter, now!.leagueExploiter];
      expect(roles.reduce((sum, role) => sum + role.samples, 0)).toBe(samples);
      expect(roles.reduce((sum, role) => sum + role.sampleShare, 0)).toBeCloseTo(1, 12);
      for (const { winRate } of roles) expect(winRate > 0 && winRate < 1).toBe(true);
      expect(now!.size).toBe(poolSize);
    }
    const last = seen.at(-1)!;
    expect(last.league!.size).toBe(league.size);
    expect(last.league!.main).toMatchObject({ iterations: 7, frozen: 3, resets: 0 });
    expect(last.league!.mainExploiter.frozen).toBeGreaterThanOrEqual(2);
    expect(last.league!.mainExploiter.resets).toBe(last.league!.mainExploiter.frozen);
    expect(last.totalGames).toBe(7 * 3 * options.rollout.games);
    expect(flatten(last)).toHaveProperty(["league.mainExploiter.winRate"], last.league!.mainExploiter.winRate);
    await run.close();
  });

  test("is off by default, in memory too", async () => {
    const { league: _, ...plain } = options;
    const run = await SelfPlay.create(plain);
    expect((await train(run, 1))[0]!.league).toBeNull();
    expect((await SelfPlay.plan(plain)).rows.some(({ group }) => group === "league")).toBe(false);
    const plan = await SelfPlay.plan(options);
    const rows = plan.rows.filter(({ group }) => group === "league");
    const weights = run.parameters * 4;
    const bytes = (name: string) => rows.find((row) => row.name === name)?.bytes;
    expect(bytes("opponent pool")).toBe(league.size * weights);
    expect(bytes("exploiters")).toBe(6 * weights);
    expect(bytes("trained exploiters")).toBe(6 * weights);
    expect(bytes("fresh exploiters")).toBe(2 * weights);
    await run.close();
  });

  test("goes on from a file as if it had never stopped", async () => {
    const whole = await SelfPlay.create(options);
    const path = join(folder, "league.safetensors");
    await train(whole, 4);
    await whole.save(path);
    const rest = await train(whole, 4);
    const resumed = await SelfPlay.load(path);
    const again = await train(resumed, 4);
    expect(again.map(({ league: now }) => now)).toEqual(rest.map(({ league: now }) => now));
    expect(await resumed.weightsHash()).toBe(await whole.weightsHash());
    await whole.close();
    await resumed.close();
  });

  test("of a run directory goes on to the same result, and shows its learners", async () => {
    const out = join(folder, "run");
    const settings = Object.entries(league).flatMap(([name, value]) => ["--set", `league.${name}=${value}`]);
    const length = ["--iterations", "9", "--seed", "5", "--set", "run.checkpointEvery=3"];
    const all = ["train", "tictactoe", ...tiny, "--league", ...settings, ...length, "--json", "--out", out];
    const end = await bellows(all);
    expect(end.code, end.stderr).toBe(0);
    expect(end.stderr).toMatch(/league of \d+: main agent scores \d+%, main exploiter \d+% against it, league/);
    const iterations = end.lines.filter(({ type }) => type === "iteration");
    expect(iterations).toHaveLength(9);
    expect(iterations.at(-1)!.league.leagueExploiter).toMatchObject({ winRate: expect.any(Number) });

    const checkpoints = join(out, "checkpoints");
    for (const name of readdirSync(checkpoints)) {
      if (/^00000[69]/.test(name)) rmSync(join(checkpoints, name));
    }
    rmSync(join(out, "result.json"));
    const resumed = await bellows(["train", "--resume", out, "--json"]);
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(resumed.lines[0]!.iteration).toBe(3);
    expect(resumed.last.weightsHash).toBe(end.last.weightsHash);
    const tail = resumed.lines.filter(({ type }) => type === "iteration").map((line) => line.league);
    expect(tail).toEqual(iterations.slice(3).map((line) => line.league));
  });
});
