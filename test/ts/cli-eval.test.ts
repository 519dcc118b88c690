// `bellows eval` of a Connect Four agent: mistakes, games, the atlas; and the mistakes that `bellows train` shows.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { newestCheckpoint } from "../../lib/checkpoint.js";
import { Connect4Solver } from "../../lib/index.js";
import { connect4Positions } from "../../lib/judge/index.js";
import { ladderPath } from "../../lib/match/pool.js";
import { native, take } from "../../lib/native.js";
import { bellows, type Finished, scratch, tiny } from "./cli.js";

const folder = scratch();
let trained: Finished;
let run: string;

beforeAll(async () => {
  run = join(folder, "run");
  const args = ["--iterations", "4", "--seed", "3", "--set", "run.evaluateEvery=2", "--out", run];
  trained = await bellows(["train", "connect4", ...tiny, ...args, "--json"]);
});

test("training shows mistake rates as it goes and at its end", async () => {
  expect(trained.code, trained.stderr).toBe(0);
  const evaluations = trained.lines.filter(({ type }) => type === "evaluation");
  expect(evaluations.map(({ iteration }) => iteration)).toEqual([2, 4]);
  for (const { judge } of evaluations) {
    expect(judge.argmax.mistakeRate).toBeGreaterThan(0);
    expect(judge.sampled.bands["16-23"].first.positions).toBeGreaterThan(50);
  }
  expect(trained.last.judge).toEqual(evaluations[1]!.judge);
  const percent = (share: number) => `${(share * 100).toFixed(2)}%`;
  for (const { iteration, judge } of evaluations) {
    const { argmax, sampled } = judge;
    const line = trained.stderr.split("\n").find((text) => text.startsWith(`iteration ${iteration}: `));
    expect(line).toContain(`mistakes ${percent(argmax.mistakeRate)} argmax, ${percent(sampled.mistakeRate)} sampled`);
  }
});

describe("eval", () => {
  test("gives the judgement again, and the worst mistakes with values that the solver finds", async () => {
    const end = await bellows(["eval", run, "--worst", "4", "--threads", "1", "--json"]);
    expect(end.code, end.stderr).toBe(0);
    expect(end.last.judge).toEqual(trained.last.judge);
    expect(end.lines.map(({ type }) => type)).toEqual([...Array<string>(4).fill("blunder"), "result"]);
    await using solver = await Connect4Solver.create({ threads: 1 });
    for (const { moves, played, best, scoreBest, scorePlayed, value, after } of end.lines.slice(0, 4)) {
      expect([value, after]).toEqual(["win", "loss"]);
      expect((await solver.solve(moves)).score).toBe(scoreBest);
      expect(-(await solver.solve(`${moves}${played}`)).score).toBe(scorePlayed);
      expect(-(await solver.solve(`${moves}${best[0]}`)).score).toBe(scoreBest);
    }
    expect(end.stderr).toContain("The worst of");
    const { argmax, sampled } = end.last.judge;
    const row = (cell: (share: { mistakeRate: number; regret: number }) => string) =>
      [argmax, sampled].flatMap(({ bands: { "32-41": band } }) => [band, band.first, band.second].map(cell)).join(" +");
    expect(end.stderr).toMatch(
      new RegExp(`32-41 +\\d+ +${row(({ mistakeRate }) => `${(100 * mistakeRate).toFixed(2)}%`)}`),
    );
    expect(end.stderr).toMatch(new RegExp(`Regret: [^]*32-41 +\\d+ +${row(({ regret }) => regret.toFixed(4))}`));
  });

  test("writes an atlas whose positions are mistakes, and training starts from it", async () => {
    const atlas = join(folder, "atlas.txt");
    const args = ["--atlas", atlas, "--games", "2", "--worst", "0", "--threads", "1"];
    const end = await bellows(["eval", run, ...args, "--json"]);
    expect(end.code, end.stderr).toBe(0);
    const line = end.lines.find(({ type }) => type === "atlas")!;
    const clusters = end.lines.filter(({ type }) => type === "cluster");
    const lines = readFileSync(atlas, "utf8").split("\n");
    const positions = lines.filter((text) => /^\d/.test(text));
    expect(positions).toHaveLength(line.blunders);
    expect(clusters.reduce((sum, { positions: count }) => sum + count, 0)).toBe(line.blunders);
    expect(lines.filter((text) => text.startsWith("# "))).toHaveLength(clusters.length);
    expect(lines.slice(0, -1)).not.toContain(""); // an empty line is the empty board to `bellows solve`
    expect(line.blunders).toBeGreaterThan(5);
    // Who trains from the atlas is not judged by what it trained on.
    const canonical = (moves: string) => take(native().position("connect4", moves), "position").canonical;
    const judged = new Set((await connect4Positions()).map(({ moves }) => canonical(moves)));
    expect(positions.filter((text) => judged.has(canonical(text.split(" ")[0]!)))).toEqual([]);

    await using solver = await Connect4Solver.create({ threads: 1 });
    const late = positions.filter((text) => text.split(" ")[0]!.length >= 20);
    for (const text of late.slice(0, 40)) {
      const [, moves = "", played = "", score] = /^(\d+) # played (\d) \((-?\d+)\), best/.exec(text)!;
      const [before, after] = await solver.solveMany([moves, moves + played]);
      expect(-after!.score).toBe(Number(score));
      expect(Math.sign(before!.score)).toBeGreaterThan(Math.sign(-after!.score));
    }

    const starts = ["--set", `rollout.starts.file=${atlas}`, "--set", "rollout.starts.listShare=0.5"];
    const out = join(folder, "from-atlas");
    const again = await bellows(["train", "connect4", ...tiny, ...starts, "--iterations", "1", "--out", out, "--json"]);
    expect(again.code, again.stderr).toBe(0);
  });

  test("rates against a pool, as bellows rate does", async () => {
    const args = ["--games", "2", "--worst", "0", "--threads", "1", "--json"];
    const end = await bellows(["eval", run, "--pool", "ladder", ...args]);
    expect(end.code, end.stderr).toBe(0);
    expect(end.lines.filter(({ type }) => type === "rating")).toHaveLength(2);
    const opponents = new Set(end.lines.filter(({ type }) => type === "match").map(({ b }) => b));
    expect(opponents.has("alpha-beta:4") && opponents.has("random")).toBe(true);
    expect(end.last.type).toBe("result");
  });

  test("no output takes the place of a checkpoint", async () => {
    const precious = join(folder, "precious.safetensors");
    const bytes = readFileSync((await newestCheckpoint(run)).path);
    writeFileSync(precious, bytes);
    const tries = [
      ["eval", precious, "--atlas", precious, "--games", "2"],
      ["rate", "random", "heuristic", "--game", "connect4", "--games", "2", "--save", precious],
      ["train", "tictactoe", "--iterations", "1", "--out", join(folder, "traced"), "--profile", precious],
    ];
    for (const args of tries) {
      const end = await bellows([...args, "--json"]);
      expect(end.code, end.stderr).toBe(2);
      expect(end.last).toMatchObject({ type: "error", path: precious, received: "a checkpoint or policy file" });
      expect(readFileSync(precious).equals(bytes)).toBe(true);
    }
  });

  test("refuses what is for another game, and odd numbers", async () => {
    const other = join(folder, "tictactoe");
    await bellows(["train", "tictactoe", ...tiny, "--iterations", "1", "--out", other]);
    const refused = [
      [["eval", other, "--perfect"], "--perfect"],
      [["eval", other, "--atlas", join(folder, "none")], "--atlas"],
      [["eval", other, "--pool", ladderPath("connect4")], "--pool"],
      [["eval", run, "--games", "3"], "--games"],
      [["eval", run, "--games", "2000", "--pool", "ladder"], "--games"],
      [["eval", run, "--games", "2000", "--atlas", join(folder, "none")], "--games"],
      [["eval", run, "--worst", "-1"], "--worst"],
    ] as const;
    for (const [args, path] of refused) {
      const end = await bellows([...args, "--json"]);
      expect({ code: end.code, last: end.last }).toMatchObject({
        code: 2,
        last: { type: "error", code: "USAGE", path },
      });
      expect(end.lines).toHaveLength(1); // before the evaluation
    }
  });
});
