// The evidence that bf16 trains as well as fp32: the same seeds in both precisions, turn by turn in one process.
//
//   node bench/precision.mjs [--seeds 201-208] [--connect4 201-210] [--iterations 20] [--threads 1] [--no-save]
//
// Tic-tac-toe trains its defaults to the end: argmax exploitability, when it first was 0, and the sampled policy's.
// Connect Four trains the first iterations of its defaults (the schedules are those of the whole run): value loss,
// entropy and explained variance, mean of the last five, and the mean difference over pairs of the same seed with its
// interval by Student's t, at a level (98.3%) that lets one of the three miss 0 by chance in one run of twenty. Writes
// bench/results/precision.json, from which docs/numerics.md quotes. Exits with 1 where a tic-tac-toe run does not end at
// exploitability 0, or where such an interval does not hold 0.
// Seconds are CPU time of the process, so that other work on the machine counts little.

import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { SelfPlay } from "../dist/index.js";
import { studentQuantile } from "../dist/lab/stats/distributions.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const PRECISIONS = ["fp32", "bf16"];
const CURVES = ["value", "entropy", "explainedVariance"];
const LAST = 5;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "201-208" },
    connect4: { type: "string", default: "201-210" },
    iterations: { type: "string", default: "20" },
    threads: { type: "string", default: "1" },
    "no-save": { type: "boolean", default: false },
  },
});
const iterations = Number(values.iterations);
const threads = Number(values.threads);

function seedsOf(flag, text) {
  const range = /^(\d+)-(\d+)$/.exec(text);
  if (!range) {
    console.error(`--${flag} expects FIRST-LAST, received "${text}"`);
    process.exit(2);
  }
  const [first, last] = range.slice(1).map(Number);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

const mean = (numbers) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
const median = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};
const cpuSeconds = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

async function tictactoe(seed, precision) {
  const run = await SelfPlay.create({ game: { name: "tictactoe" }, run: { seed, precision, threads } });
  const start = cpuSeconds();
  let certificate = null;
  let ratioError = 0;
  for await (const { index, evaluation, maxRatioError } of run.train({ evaluateEvery: 5, roofline: false })) {
    ratioError = Math.max(ratioError, maxRatioError);
    if (evaluation?.certificate.argmax.exploitability === 0) {
      certificate ??= { iteration: index, seconds: cpuSeconds() - start };
    }
  }
  const seconds = cpuSeconds() - start;
  const { argmax, sampled } = (await run.evaluate()).certificate;
  const weightsHash = await run.weightsHash();
  await run.close();
  const ends = { argmax: argmax.exploitability, sampled: sampled.exploitability };
  return { seed, precision, ...ends, certificate, seconds, ratioError, weightsHash };
}

async function connect4(seed, precision) {
  const run = await SelfPlay.create({ game: { name: "connect4" }, run: { seed, precision, threads } });
  const start = cpuSeconds();
  const curve = [];
  const total = run.options.run.iterations;
  for await (const it of run.train({ iterations: total, roofline: false })) {
    curve.push({ value: it.loss.value, entropy: it.loss.entropy, explainedVariance: it.explainedVariance });
    if (it.maxRatioError !== 0) throw new Error(`ratio error ${it.maxRatioError} at iteration ${it.index}`);
    if (it.index === iterations) break;
  }
  const row = { seed, precision, seconds: cpuSeconds() - start, curve };
  for (const key of CURVES) row[key] = mean(curve.slice(-LAST).map((point) => point[key]));
  await run.close();
  return row;
}

let ok = true;
const results = { tictactoe: [], connect4: [] };
for (const seed of seedsOf("seeds", values.seeds)) {
  for (const precision of PRECISIONS) {
    const row = await tictactoe(seed, precision);
    results.tictactoe.push(row);
    ok &&= row.argmax === 0 && row.ratioError === 0;
    const when = row.certificate ? `${row.certificate.iteration} (${row.certificate.seconds.toFixed(1)} s)` : "never";
    console.log(
      `tictactoe ${seed} ${precision}  argmax ${row.argmax}  sampled ${row.sampled.toFixed(5)}  first 0 at ${when}  ` +
        `${row.seconds.toFixed(1)} s`,
    );
  }
}
for (const seed of seedsOf("connect4", values.connect4)) {
  for (const precision of PRECISIONS) {
    const row = await connect4(seed, precision);
    results.connect4.push(row);
    console.log(
      `connect4 ${seed} ${precision}  ${CURVES.map((key) => `${key} ${row[key].toFixed(4)}`).join("  ")}  ` +
        `${row.seconds.toFixed(1)} s`,
    );
  }
}

const summary = { tictactoe: {}, connect4: {} };
for (const precision of PRECISIONS) {
  const rows = results.tictactoe.filter((row) => row.precision === precision);
  const found = rows.filter((row) => row.certificate);
  summary.tictactoe[precision] = {
    solved: rows.filter((row) => row.argmax === 0).length,
    runs: rows.length,
    sampledMedian: median(rows.map((row) => row.sampled)),
    sampledMax: Math.max(...rows.map((row) => row.sampled)),
    certificateIteration: median(found.map((row) => row.certificate.iteration)),
    certificateSeconds: median(found.map((row) => row.certificate.seconds)),
    seconds: median(rows.map((row) => row.seconds)),
  };
}
for (const key of CURVES) {
  const [fp32, bf16] = PRECISIONS.map((precision) =>
    results.connect4.filter((row) => row.precision === precision).map((row) => row[key]),
  );
  const differences = bf16.map((value, i) => value - fp32[i]);
  const n = differences.length;
  const difference = mean(differences);
  const variance = differences.reduce((sum, d) => sum + (d - difference) ** 2, 0) / (n - 1);
  const half = studentQuantile(1 - 0.05 / CURVES.length / 2, n - 1) * Math.sqrt(variance / n);
  const interval = [difference - half, difference + half];
  ok &&= interval[0] <= 0 && interval[1] >= 0;
  summary.connect4[key] = { fp32: mean(fp32), bf16: mean(bf16), difference, interval };
}
console.log(JSON.stringify(summary, null, 1));
if (!values["no-save"]) {
  const commit = spawnSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" }).stdout.trim();
  const machine = `${cpus()[0]?.model.trim()}, ${availableParallelism()} cores`;
  const command = `node bench/precision.mjs ${process.argv.slice(2).join(" ")}`.trim();
  const file = join(root, "bench", "results", "precision.json");
  writeFileSync(file, `${JSON.stringify({ command, machine, commit, threads, summary, ...results }, null, 1)}\n`);
}
process.exitCode = ok ? 0 : 1;
