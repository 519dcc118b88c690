// bellows rate, pools, and the script that rebuilds the reference pool.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import {
  Player,
  rateOnPool,
  readPool,
  resolveOptions,
  SelfPlay,
  type SelfPlayOptions,
  writePool,
} from "../../lib/index.js";
import { OPTION_ROWS } from "../../lib/names.gen.js";
import { bellows, type Line, root, scratch } from "./cli.js";

const folder = scratch();
const policy = join(folder, "policy.safetensors");
const pool = join(folder, "pool.json");

beforeAll(async () => {
  const run = await SelfPlay.create({
    game: { name: "connect4" },
    net: { kind: "mlp", width: 16, depth: 1 },
    rollout: { games: 64 },
  });
  await run.savePolicy(policy);
  await run.close();
});

const matchesOf = (lines: readonly Line[]) => lines.filter(({ type }) => type === "match");
const ratingsOf = (lines: readonly Line[]) => lines.filter(({ type }) => type === "rating");

describe("bellows rate", () => {
  test("a tournament: all pairs, ratings with intervals, the same whatever the threads, saved as a pool", async () => {
    const args = ["rate", policy, "one-ply", "alpha-beta:2", "--games", "40", "--seed", "6", "--json"];
    const end = await bellows([...args, "--threads", "1", "--save", pool]);
    expect(end.code, end.stderr).toBe(0);
    // A checkpoint is two players, and random is the anchor.
    const names = [`${policy} (argmax)`, `${policy} (sampled)`, "one-ply", "alpha-beta:2", "random"];
    expect(matchesOf(end.lines)).toHaveLength(10);
    for (const match of matchesOf(end.lines)) {
      const { a, b, wins, draws, losses, first, second } = match;
      expect(names.indexOf(a)).toBeLessThan(names.indexOf(b));
      expect(wins + draws + losses).toBe(40);
      for (const seat of [first, second]) expect(seat.wins + seat.draws + seat.losses).toBe(20);
      expect(first.wins + second.wins).toBe(wins);
    }
    const ratings = new Map(ratingsOf(end.lines).map((line) => [line.player, line]));
    expect([...ratings.keys()].sort()).toEqual([...names].sort());
    expect(ratings.get("random")).toMatchObject({ rating: 1000, standing: "fixed", interval: null });
    const oneply = ratings.get("one-ply")!;
    expect(oneply.interval[0]).toBeLessThan(oneply.rating);
    expect(oneply.rating).toBeLessThan(oneply.interval[1]);
    expect(oneply.rating).toBeGreaterThan(1200);
    expect(ratings.get("alpha-beta:2")!.rating ?? Infinity).toBeGreaterThan(oneply.rating);
    expect(end.last).toMatchObject({ type: "result", game: "connect4", players: 5, matches: 10, games: 400, plies: 0 });
    const again = await bellows([...args, "--threads", "2"]);
    expect(again.lines).toEqual(end.lines);
    expect((await readPool(pool)).members.map(({ player }) => player.name)).toEqual(names);
  });

  test("against a pool: each player by itself, on both scales, by colour", async () => {
    const end = await bellows(["rate", "heuristic", policy, "--pool", pool, "--games", "20", "--plies", "2", "--json"]);
    expect(end.code, end.stderr).toBe(0);
    const [heuristic, argmax, sampled] = ratingsOf(end.lines);
    expect(heuristic).toMatchObject({ player: "heuristic", standing: "estimated", games: 100 });
    expect(heuristic!.interval).toHaveLength(2);
    expect(heuristic!.intervalOverOpponents).toHaveLength(2);
    expect(Math.abs(heuristic!.sequential - heuristic!.rating)).toBeLessThan(150);
    expect([argmax!.player, sampled!.player]).toEqual([`${policy} (argmax)`, `${policy} (sampled)`]);
    // Members of the pool are not played by themselves.
    expect(matchesOf(end.lines).filter(({ a }) => a !== "heuristic")).toHaveLength(8);
    const text = await bellows(["rate", "heuristic", "--pool", pool, "--games", "4"]);
    expect(text.stdout).toContain("alpha-beta:2");
    expect(text.stdout).toMatch(/rating .*interval .* to .*on other pools .* to /);
  });

  test("policies that search are rated beside those that do not", async () => {
    const args = ["rate", policy, "one-ply", "--games", "8", "--plies", "1", "--simulations", "16", "--json"];
    const saved = join(folder, "searching.json");
    const end = await bellows([...args, "--save", saved]);
    expect(end.code, end.stderr).toBe(0);
    const ratings = new Map(ratingsOf(end.lines).map((line) => [line.player, line]));
    for (const play of ["argmax", "sampled"]) {
      expect(ratings.get(`${policy} (${play})`)).toMatchObject({ play, simulations: 0 });
      expect(ratings.get(`${policy} (${play}, search 16)`)).toMatchObject({ play, simulations: 16 });
    }
    expect(ratings.get("one-ply")).not.toHaveProperty("simulations");
    const read = (await readPool(saved)).members.map(({ player }) => [player.name, player.play, player.simulations]);
    expect(read).toContainEqual([`${policy} (sampled, search 16)`, "sampled", 16]);
    expect(read).toContainEqual([`${policy} (argmax)`, "argmax", 0]);
    expect(read).toContainEqual(["one-ply", null, null]);
  });

  test("a sweep has a bound", async () => {
    const end = await bellows(["rate", "alpha-beta:6", "--game", "connect4", "--games", "20", "--json"]);
    const [best] = ratingsOf(end.lines);
    expect(best).toMatchObject({ player: "alpha-beta:6", standing: "atLeast", rating: null });
    // 20 wins against 1000.
    expect(best!.bound).toBeCloseTo(1000 - 400 * Math.log10(0.05 ** (-1 / 20) - 1), 5);
    expect(best!.interval).toBeNull();
    // It is no member of a pool, whose ratings are finite.
    const file = join(folder, "swept.json");
    const saved = await bellows([
      "rate",
      "alpha-beta:6",
      "--game",
      "connect4",
      "--games",
      "20",
      "--save",
      file,
      "--json",
    ]);
    expect(saved.code).toBe(2);
    expect(saved.last).toMatchObject({ type: "error", path: "--save", received: "alpha-beta:6" });
    expect(existsSync(file)).toBe(false);
  });

  test("one pair of games has no interval", async () => {
    const end = await bellows(["rate", "heuristic", "one-ply", "--game", "connect4", "--games", "2", "--json"]);
    for (const { interval } of ratingsOf(end.lines)) expect(interval).toBeNull();
  });

  test("the ladder of the package is a pool", async () => {
    const end = await bellows(["rate", policy, "--pool", "ladder", "--games", "2", "--json"]);
    expect(end.code, end.stderr).toBe(0);
    // It says the game where no player does.
    const heuristic = await bellows(["rate", "heuristic", "--pool", "ladder", "--games", "2", "--json"]);
    expect(heuristic.last).toMatchObject({ type: "result", game: "connect4" });
    // Games begin as those behind the pool's ratings did.
    expect(end.last.plies).toBe(4);
    expect(matchesOf(end.lines).map(({ b }) => b)).toEqual(
      expect.arrayContaining(["random", "mcts:1000", "alpha-beta:8"]),
    );
  });

  test.each([
    [["rate", "random", "one-ply"], "--game"],
    [["rate", "random", "random", "--game", "connect4"], "players"],
    [["rate", "random", "--game", "connect4", "--games", "3"], "--games"],
    [["rate", "random", "--game", "connect4", "--draws", "none"], "--draws"],
    [["rate", "heuristic", "--pool", "ladder", "--draws", "davidson"], "--draws"],
    [["rate", "heuristic", "--game", "connect4", "--save", "none.json", "--draws", "davidson"], "--draws"],
    [["rate", "mcts:0", "--game", "connect4"], "players"],
    [["rate", "alpha-beta:x", "--game", "connect4"], "players"],
    [["rate", "random", "--game", "connect4"], "players"],
    [["rate", policy, `${folder}/../${basename(folder)}/policy.safetensors`], "players"],
    [["rate", "heuristic", "--game", "connect4", "--simulations", "8"], "--simulations"],
    [["rate", "heuristic", "--game", "connect4", "--save", join(folder, "none", "p.json")], /p.json$/],
    [["rate", "random", "--game", "connect4", "--simulations", "0"], "--simulations"],
    [["rate", "none.safetensors"], "players"],
    [["rate", "random", "--game", "tictactoe", "--pool", "ladder"], "--pool"],
    [["rate", "random", "--game", "connect4", "--pool", join(root, "package.json")], /package.json$/],
    [["rate", "random", "--game", "connect4", "--games", "20", "--plies", "1"], "--plies"],
  ])("%j is refused", async (args, path) => {
    const end = await bellows([...args, "--json"]);
    expect({ code: end.code, type: end.last.type }).toEqual({ code: 2, type: "error" });
    expect(end.last.path).toMatch(path);
    expect(end.last.expected).toBeTruthy();
  });
});

describe("pools", () => {
  test("are read as they were written, from any folder", async () => {
    const members = [
      {
        player: await Player.load({ kind: "policy", path: policy, play: "argmax", name: "net" }),
        rating: 1234.5,
        sequential: 1200,
      },
      { player: await Player.load({ kind: "mcts", simulations: 7 }), rating: 1500, sequential: 1490.25 },
    ];
    const path = join(folder, "written.json");
    await writePool(path, { game: "connect4", about: "a test", plies: 3, members });
    expect(JSON.parse(readFileSync(path, "utf8")).players[0]).toMatchObject({
      player: "policy.safetensors",
      play: "argmax",
    });
    const read = await readPool(path);
    expect(read).toMatchObject({ game: "connect4", about: "a test", plies: 3 });
    expect(read.members.map(({ player, ...ratings }) => [player.name, player.deterministic, ratings])).toEqual([
      ["net", true, { rating: 1234.5, sequential: 1200 }],
      ["mcts:7", false, { rating: 1500, sequential: 1490.25 }],
    ]);
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), players: [] }));
    await expect(readPool(path)).rejects.toThrow("is no pool: players is an array: Too small");
    const [member] = members;
    writeFileSync(path, "[]");
    await expect(readPool(path)).rejects.toThrow("is no pool: the content is an array");
    const swept = [{ ...member!, rating: Number.POSITIVE_INFINITY }];
    await expect(writePool(path, { game: "connect4", about: "", plies: 0, members: swept })).rejects.toMatchObject({
      code: "OPTION",
      path: "pool.rating",
      received: "Infinity",
    });
    expect(readFileSync(path, "utf8")).toBe("[]");
  });

  test("keep how warmly a policy samples, which makes it another player, and take no run in memory", async () => {
    const path = join(folder, "warm.json");
    const about = { game: "connect4", about: "", plies: 0 } as const;
    const cold = await Player.load({ kind: "policy", path: policy, play: "sampled", temperature: 0.05 });
    const other = await Player.load({ kind: "random" });
    const members = [cold, other].map((player) => ({ player, rating: 1000, sequential: 1000 }));
    await writePool(path, { ...about, members });
    const read = await readPool(path);
    expect(read.members[0]!.player).toMatchObject({ name: cold.name, temperature: 0.05, play: "sampled" });
    const met = async (temperature: number) => {
      const player = await Player.load({ kind: "policy", path: policy, play: "sampled", temperature });
      const { opponents } = await rateOnPool(player, read, { games: 2 });
      return opponents.map(({ member }) => member.player.name);
    };
    expect(await met(1)).toEqual([cold.name, "random"]);
    expect(await met(0.05)).toEqual(["random"]);

    const run = await SelfPlay.create({ game: { name: "connect4" }, net: { width: 16 }, rollout: { games: 64 } });
    const inMemory = [{ player: await Player.load({ kind: "policy", run, play: "argmax" }), rating: 1, sequential: 1 }];
    await expect(writePool(path, { ...about, members: inMemory })).rejects.toMatchObject({ path: "pool.player" });
    expect(await readPool(path)).toMatchObject(about);
    await run.close();
  });

  test("rate a run of which they hold an earlier checkpoint, and say which one is read", async () => {
    const run = join(folder, "growing");
    const saved = join(folder, "growing.json");
    const tiny = ["net.width=16", "net.depth=1", "rollout.games=64", "run.evaluateEvery=0", "run.checkpointEvery=1"];
    const sets = tiny.flatMap((option) => ["--set", option]);
    const end = await bellows(["train", "connect4", ...sets, "--iterations", "2", "--out", run, "--json"]);
    expect(end.code, end.stderr).toBe(0);
    const checkpoints = join(run, "checkpoints");
    const newest = join(checkpoints, "000002.safetensors");
    const aside = join(folder, "aside.safetensors");
    renameSync(newest, aside); // as it was an iteration ago
    const games = ["--games", "10", "--plies", "2", "--json"];
    const first = await bellows(["rate", run, "random", ...games, "--save", saved]);
    expect(first.code, first.stderr).toBe(0);
    renameSync(aside, newest);
    const later = await bellows(["rate", run, "--pool", saved, ...games]);
    expect(later.code, later.stderr).toBe(0);
    const opponents = matchesOf(later.lines).map(({ a, b }) => [a, b]);
    const [argmax, sampled] = [`${run} (argmax)`, `${run} (sampled)`];
    expect(opponents).toEqual([argmax, sampled].flatMap((a) => [argmax, sampled, "random"].map((b) => [a, b])));
    expect(ratingsOf(later.lines).map(({ player }) => player)).toEqual([argmax, sampled]);

    writeFileSync(newest, readFileSync(newest).subarray(0, 1000));
    const damaged = await bellows(["rate", run, "--pool", saved, ...games]);
    expect(damaged.code, damaged.stderr).toBe(0);
    expect(damaged.stderr).toContain(newest);
    // The one before is the pool's own.
    expect(matchesOf(damaged.lines).map(({ a, b }) => [a, b])).toContainEqual([argmax, sampled]);
    expect(matchesOf(damaged.lines).map(({ a, b }) => [a, b])).not.toContainEqual([argmax, argmax]);
  });
});

describe("the reference pool", () => {
  const script = join(root, "bench", "reference-pool.mjs");
  const build = (out: string, iterations: number) => {
    const args = [script, "--out", out, "--iterations", String(iterations), "--every", "1", "--games", "10"];
    const done = spawnSync(process.execPath, args, { encoding: "utf8" });
    expect(done.status, done.stderr).toBe(0);
    return JSON.parse(readFileSync(join(out, "report.json"), "utf8"));
  };

  test("the recipe is the published one, every option of it said", () => {
    const recipe = JSON.parse(readFileSync(join(root, "pools", "connect4-v1.config.json"), "utf8")) as SelfPlayOptions;
    const options = resolveOptions(recipe);
    // What the file left out would change with our own recipe.
    const said = (path: string) =>
      path.split(".").reduce((at: unknown, key) => (at as Record<string, unknown> | undefined)?.[key], recipe);
    const open = OPTION_ROWS.map(({ path }) => path).filter((path) => said(path) === undefined);
    expect(open.filter((path) => !path.startsWith("run.") && !path.startsWith("league."))).toEqual([]);
    expect(said("league.enabled")).toBe(false);
    expect(options.net.observation).toBe("stones");
    expect(options).toMatchObject({
      net: { kind: "mlp", width: 256, depth: 6, value: "scalar" },
      rollout: { games: 512, drawReward: 0.5, mirror: false, openings: { share: 0 } },
      ppo: { lr: 3e-4, lrSchedule: "constant", entropy: 0.01, entropySchedule: "constant", clip: 0.1, minibatch: 256 },
      run: { seed: 42, iterations: 3000 },
    });
    expect(options.rollout.opponents).toMatchObject({ selfShare: 0, pool: 20, every: 25, eviction: "keepFirst" });
    expect(options.rollout.opponents).toMatchObject({ sampling: "uniform", per: "iteration", temperature: 1 });
    expect(options.ppo).toMatchObject({ epochs: 4, gamma: 0.99, lambda: 0.95, chain: "player", maxGradNorm: 0.5 });
  });

  test("is built, rated, and goes on where it was stopped", async () => {
    const whole = build(join(folder, "whole"), 2);
    expect(whole.matches).toHaveLength(10);
    expect(whole.ratings.map(({ player }: { player: string }) => player).sort()).toEqual([
      "heuristic",
      "iter_0",
      "iter_1",
      "iter_2",
      "random",
    ]);
    for (const rating of whole.ratings) expect(Number.isFinite(rating.sequential)).toBe(true);
    build(join(folder, "parts"), 1);
    expect(build(join(folder, "parts"), 2).weightsHash).toBe(whole.weightsHash);
  });
});

describe("the evidence for Connect Four", () => {
  test("seeds are trained, rated on each pool, and not trained again", () => {
    const [out, save] = [join(folder, "seeds"), join(folder, "seeds.json")];
    const set = ["run.iterations=2", "rollout.games=64", "net.width=16", "run.evaluateEvery=0"];
    const args = ["--out", out, "--save", save, "--brief", "--games", "20", "--pool", pool, "--pool", pool];
    const collect = (seeds: string) => {
      const argv = [...args, "--seeds", seeds, "--jobs", "1", ...set.flatMap((option) => ["--set", option])];
      const script = join(root, "bench", "connect4", "seeds.mjs");
      const done = spawnSync(process.execPath, [script, ...argv], { encoding: "utf8" });
      expect(done.status, done.stderr).toBe(0);
      return JSON.parse(readFileSync(save, "utf8"));
    };
    const found = collect("7-8");
    expect(found).toMatchObject({ games: 20, jobs: 1, pools: [expect.any(String), expect.any(String)] });
    expect(found.rows.map(({ seed }: { seed: number }) => seed)).toEqual([7, 8]);
    for (const row of found.rows) {
      expect(row).toMatchObject({ iterations: 2, games: 128 });
      expect(row.judge.argmax.mistakeRate).toBeGreaterThan(0);
      expect(row.pools[0].map(({ play }: { play: string }) => play)).toEqual(["argmax", "sampled"]);
      // The same games give the same ratings, and a run is resumed, not made anew.
      expect(row.pools[1]).toEqual(row.pools[0]);
    }
    expect(found.rows[0].weightsHash).not.toBe(found.rows[1].weightsHash);
    expect(collect("7-7").rows).toEqual(found.rows.slice(0, 1));
    const other = [...args, "--seeds", "7-7", "--jobs", "1", ...set.flatMap((option) => ["--set", option])];
    const script = join(root, "bench", "connect4", "seeds.mjs");
    const refused = spawnSync(process.execPath, [script, ...other, "--set", "ppo.lr=0.1"], { encoding: "utf8" });
    expect(refused.status).not.toBe(0);
    expect(refused.stderr).toContain("is not a run of the recipe with");
  });

  test.each([
    ["--seeds", "7"],
    ["--jobs", "0"],
    ["--pool", "none.json"],
  ])("%s %s is refused", (flag, value) => {
    const script = join(root, "bench", "connect4", "seeds.mjs");
    const done = spawnSync(process.execPath, [script, flag, value], { encoding: "utf8" });
    expect(done.status).toBe(2);
    expect(done.stderr).toContain(flag === "--pool" ? value : flag);
  });
});
