// The evidence for the tic-tac-toe recipe: trains its defaults on several seeds through the command, one after another,
// and tables every certificate.
//
//   node bench/seeds.mjs [--seeds 101-120] [--no-save]
//
// Writes bench/results/tictactoe-seeds.json, from which docs/tic-tac-toe.md and its figure are made
// (docs/figures/tictactoe.mjs). Exits with 1 if any seed misses exploitability 0.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: { seeds: { type: "string", default: "101-120" }, "no-save": { type: "boolean", default: false } },
});
const range = /^(\d+)-(\d+)$/.exec(values.seeds);
if (!range) {
  console.error(`--seeds expects FIRST-LAST, received "${values.seeds}"`);
  process.exit(2);
}

const median = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

const folder = mkdtempSync(join(tmpdir(), "bellows-seeds-"));
const rows = [];
try {
  for (let seed = Number(range[1]); seed <= Number(range[2]); ++seed) {
    const argv = [
      "dist/cli/main.js",
      "train",
      "tictactoe",
      "--seed",
      String(seed),
      "--out",
      join(folder, String(seed)),
    ];
    // Evaluations on the way cost a few milliseconds each and change nothing.
    const started = performance.now();
    const done = spawnSync(process.execPath, [...argv, "--set", "run.evaluateEvery=20", "--json"], {
      cwd: root,
      encoding: "utf8",
      maxBuffer: 1 << 28,
    });
    const wall = (performance.now() - started) / 1000;
    if (done.status !== 0)
      throw new Error(`seed ${seed} ended with ${done.status}: ${done.stdout.trim().split("\n").at(-1)}`);
    const lines = done.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const result = lines.at(-1);
    const curve = lines
      .filter((line) => line.type === "evaluation")
      .map((line) => ({
        iteration: line.iteration,
        argmax: line.certificate.argmax.exploitability,
        sampled: line.certificate.sampled.exploitability,
      }));
    rows.push({
      seed,
      argmax: result.certificate.argmax.exploitability,
      sampled: result.certificate.sampled.exploitability,
      versusRandom: result.versusRandom,
      games: result.games,
      trainSeconds: result.seconds,
      wallSeconds: wall,
      weightsHash: result.weightsHash,
      curve,
    });
    const row = rows.at(-1);
    console.log(
      `seed ${String(seed).padStart(4)}  argmax ${row.argmax}  sampled ${row.sampled.toFixed(5)}  ` +
        `win/draw/loss against random ${["win", "draw", "loss"].map((key) => (100 * row.versusRandom[key]).toFixed(2)).join("/")}%  ` +
        `${wall.toFixed(1)} s  ${row.weightsHash.slice(0, 12)}`,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const walls = rows.map((row) => row.wallSeconds);
const perfect = rows.filter((row) => row.argmax === 0).length;
console.log(
  `${perfect} of ${rows.length} seeds at argmax exploitability 0; sampled at most ${Math.max(...rows.map((row) => row.sampled)).toFixed(5)}; ` +
    `wall time median ${median(walls).toFixed(1)} s, ${Math.min(...walls).toFixed(1)} to ${Math.max(...walls).toFixed(1)} s`,
);
if (!values["no-save"]) {
  const commit = spawnSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" }).stdout.trim();
  const machine = `${cpus()[0]?.model.trim()}, ${availableParallelism()} cores`;
  const file = join(root, "bench", "results", "tictactoe-seeds.json");
  writeFileSync(file, `${JSON.stringify({ command: "node bench/seeds.mjs", machine, commit, rows }, null, 1)}\n`);
}
process.exitCode = perfect === rows.length ? 0 : 1;
