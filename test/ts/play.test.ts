// bellows play on Connect Four: hints with the perfect player's scores, mistakes, and a policy that searches.

import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { mistakeText, PlaySolver, reviewText } from "../../lib/cli/play-solver.js";
import { movesToEnd, verdict } from "../../lib/cli/verdict.js";
import { Connect4Solver, SelfPlay } from "../../lib/index.js";
import { bellows, scratch } from "./cli.js";

const checkpoint = join(scratch(), "checkpoint.safetensors");

beforeAll(async () => {
  const net = { kind: "mlp", width: 16, depth: 1 } as const;
  const run = await SelfPlay.create({ game: { name: "connect4" }, net, rollout: { games: 64 } });
  await run.save(checkpoint);
  await run.close();
});

test("a hint has the policy's and the perfect player's view of each move", async () => {
  const end = await bellows(["play", checkpoint, "--json"], { input: "hint\nquit\n" });
  expect(end.code, end.stderr).toBe(0);
  const hint = end.lines.find(({ type }) => type === "hint")!;
  expect(hint).toMatchObject({ moves: "", reason: null });
  // The empty board's scores are known: its moves are in the opening book.
  expect(hint.solver).toEqual({ score: 1, scores: [-2, -1, 0, 1, 0, -1, -2] });
  const shares = Object.values(hint.policy.probabilities) as number[];
  expect(Object.keys(hint.policy.probabilities)).toEqual(["1", "2", "3", "4", "5", "6", "7"]);
  expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 5);
  const text = await bellows(["play", checkpoint], { input: "h\nquit\n" });
  expect(text.stdout).toMatch(/move +policy +score +best play\n/);
  expect(text.stdout).toMatch(/ 4 +[\d.]+% +1 +win in 41\n/);
  expect(text.stdout).toMatch(/ 1 +[\d.]+% +-2 +loss in 40\n/);
});

test("a policy that searches plays a whole game, and mistakes are counted", async () => {
  const input = `${[..."4435267123456712345671234567123456712345671234567"].join("\n")}\n`;
  const end = await bellows(["play", checkpoint, "--simulations", "32", "--json"], { input });
  expect(end.code, end.stderr).toBe(0);
  const { moves, winner, mistakes, judged, simulations } = end.last;
  expect(["human", "policy", "draw"]).toContain(winner);
  expect(simulations).toBe(32);
  expect(judged).toBeGreaterThan(0);
  // Of a short game's moves few are solved in time on a busy machine, the last ones first (and the first six, which are
  // in the book). Those are judged as the solver does.
  const solver = await Connect4Solver.create({ threads: 1 });
  const first = moves.length - Math.max(0, Math.min(4, judged - 6));
  const wanted: number[] = [];
  for (let ply = first; ply < moves.length; ++ply) {
    const best = (await solver.solve(moves.slice(0, ply))).score;
    const after = -(await solver.solve(moves.slice(0, ply + 1))).score;
    if (Math.sign(after) < Math.sign(best)) wanted.push(ply + 1);
  }
  await solver.close();
  const found = (mistakes as { number: number }[]).map(({ number }) => number).filter((number) => number > first);
  expect(found).toEqual(wanted);
});

test("mistakes are named; what is not solved in time is no mistake", async () => {
  const solver = new PlaySolver();
  try {
    // The side to move wins at once in columns 1 and 7, and loses with all others.
    const before = "716521175533466572132213";
    expect(await solver.mistake(`${before}1`, 0)).toBeNull();
    const missed = (await solver.mistake(`${before}2`, 0))!;
    expect(missed).toEqual({ by: "human", move: "2", number: 25, best: 9, score: -9 });
    expect(mistakeText(missed)).toBe("2 was a mistake: from a win in 1 to a loss in 2");
    expect(await solver.mistake(`${before}2`, 1)).toMatchObject({ by: "policy" });
    expect(await solver.mistake("35333571", 1, 1)).toBeUndefined();
    expect(reviewText([missed], 5, 7)).toBe(
      "Judged by the perfect player, mistakes of yours: 1 (move 25), of the policy: none; 2 of 7 moves were not judged in time.",
    );
  } finally {
    await solver.close();
  }
});

test("scores in words", () => {
  expect([movesToEnd(18, 6), movesToEnd(-18, 5), movesToEnd(1, 0)]).toEqual([1, 2, 41]);
  expect([verdict(0, 3), verdict(18, 6), verdict(-2, 0)]).toEqual(["draw", "win in 1", "loss in 40"]);
});

test("answers that are no move, and undo, are lines too", async () => {
  const end = await bellows(["play", checkpoint, "--json"], { input: "8\nundo\n4\nundo\nquit\n" });
  expect(end.code, end.stderr).toBe(0);
  const expected = ["1", "2", "3", "4", "5", "6", "7"];
  const told = end.lines.filter(({ type }) => type === "refused" || type === "undo");
  expect(told).toEqual([
    { type: "refused", received: "8", expected },
    { type: "refused", received: "undo", expected },
    { type: "undo", moves: "" },
  ]);
  expect(end.last).toMatchObject({ type: "result", moves: "", winner: null, stopped: true });
});

test("simulations out of range are refused", async () => {
  const end = await bellows(["play", checkpoint, "--simulations", "100001", "--json"]);
  expect(end.code).toBe(2);
  expect(end.last).toMatchObject({ type: "error", path: "--simulations" });
});
