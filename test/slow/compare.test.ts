// bellows bench --compare on real commits of this checkout: one that has nothing changed, and one that is slower.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { bellows, root } from "../ts/cli.js";

const folder = mkdtempSync(join(tmpdir(), "bellows-compare-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function git(args: readonly string[], input?: string): string {
  const env = { ...process.env, GIT_INDEX_FILE: join(folder, "index") };
  return execFileSync("git", ["-C", root, ...args], { encoding: "utf8", env, input }).trim();
}

/** A commit like HEAD with one text of a file replaced; no branch or work tree sees it. */
function planted(path: string, text: string, replacement: string): string {
  const before = git(["show", `HEAD:${path}`]);
  expect(before).toContain(text);
  const blob = git(["hash-object", "-w", "--stdin"], `${before.replace(text, replacement)}\n`);
  git(["read-tree", "HEAD"]);
  git(["update-index", "--cacheinfo", `100644,${blob},${path}`]);
  const identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
  return git([...identity, "commit-tree", git(["write-tree"]), "-p", "HEAD", "-m", "planted"]);
}

const how = [
  "--only",
  "kernel/gae,iteration/tictactoe",
  "--pairs",
  "6",
  "--seconds",
  "0.1",
  "--threads",
  "1",
  "--check",
  "--json",
];

test("a commit is not slower than itself", async () => {
  const end = await bellows(["bench", "--compare", "HEAD..HEAD", ...how]);
  // On a machine that changes its speed in the middle the verdict may be any; the lines are the same.
  const lines = end.lines.filter(({ type }) => type === "compare");
  expect(lines.map(({ name }) => name)).toEqual(["iteration/tictactoe", "kernel/gae"]);
  for (const line of lines) {
    expect(line).toMatchObject({ pairs: 6, verdict: expect.stringMatching(/^(faster|slower|equal|undecided)$/) });
    expect(line.interval.confidence).toBeCloseTo(0.96875, 9);
    expect(line.interval.low).toBeLessThanOrEqual(line.ratio);
  }
  expect(lines[0]?.groups.map(({ group }: { group: string }) => group)).toContain("forward");
  expect(end.stderr).toMatch(/HEAD +[\d.]+ +█/);
}, 600_000);

test("a commit that takes a hundred times as long fails the check", async () => {
  const slow = planted("csrc/bench/kernels.c", "i < calls; ++i", "i < 100 * calls; ++i");
  const end = await bellows(["bench", "--compare", `HEAD..${slow}`, ...how]);
  const line = end.lines.find(({ type, name }) => type === "compare" && name === "kernel/gae");
  expect(line, end.stderr).toMatchObject({ verdict: "slower" });
  expect(line?.ratio).toBeGreaterThan(10);
  expect(end.code).toBe(1);
  expect(end.last).toMatchObject({
    type: "result",
    slower: expect.arrayContaining([{ name: "kernel/gae", shape: expect.any(String) }]),
  });
}, 600_000);
