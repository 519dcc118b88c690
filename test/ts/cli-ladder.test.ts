import { join } from "node:path";
import { expect, test } from "vitest";
import { bellows, scratch } from "./cli.js";

test("training rates its policy at each evaluation, argmax and sampled apart", async () => {
  const out = join(scratch(), "run");
  const small = ["net.width=16", "net.depth=2", "rollout.games=64", "ppo.minibatch=256", "run.evaluateEvery=2"];
  const sets = small.flatMap((set) => ["--set", set]);
  const { code, lines, stderr } = await bellows([
    "train",
    "connect4",
    ...sets,
    "--iterations",
    "3",
    "--out",
    out,
    "--json",
  ]);
  expect(code).toBe(0);
  const rated = lines.filter(({ type }) => type === "ladder");
  expect(rated.map(({ iteration }) => iteration)).toEqual([2, 3]); // 3: the end
  for (const line of rated) {
    for (const play of ["argmax", "sampled"]) {
      const { rating, interval } = line[play];
      expect(rating).toBeGreaterThan(700);
      expect(rating).toBeLessThan(1700); // three iterations do not reach the heuristic
      expect(interval[0]).toBeLessThan(rating);
      expect(interval[1]).toBeGreaterThan(rating);
    }
  }
  const { type, iteration, ...last } = rated.at(-1)!;
  expect(lines.at(-1)).toMatchObject({ type: "result", ladder: last });
  expect(stderr).toMatch(/iteration 2: rating \d+ \+-\d+ argmax, \d+ \+-\d+ sampled, mistakes/);
  const again = await bellows(["train", "--resume", out]);
  expect(again.stdout).toMatch(/On the ladder .*: rating \d+/);
});
