// Runs the benches: bellows, and beside it PyTorch where a Python with torch is found, in interleaved pairs.
//
//   node bench/run.mjs [--only NAME] [--pairs N] [--threads T] [--precision auto|fp32|medium|bf16]
//                      [--no-build] [--no-peer] [--no-save] [--json]
//
// See bench/README.md. Medians and the spread go to a table (stderr with --json), to stdout as JSON with --json, and
// to bench/results/<machine>.json unless --no-save.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(here);

/** The benches. iterations and warmup are those of one process; a pair is one process a side. */
const benches = [
  { name: "iteration/tictactoe", game: "tictactoe", iterations: 20, warmup: 3 },
  { name: "iteration/connect4", game: "connect4", iterations: 5, warmup: 1 },
];

/** Environment overrides that slow BLAS down would flatter us: no child sees them. */
const slowdowns = ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"];
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !slowdowns.includes(name)));

function fail(message) {
  console.error(`bench: ${message}`);
  process.exit(2);
}

function options() {
  try {
    const { values } = parseArgs({
      options: {
        only: { type: "string" },
        pairs: { type: "string", default: "5" },
        threads: { type: "string", default: String(availableParallelism()) },
        precision: { type: "string", default: "auto" },
        "no-build": { type: "boolean", default: false },
        "no-peer": { type: "boolean", default: false },
        "no-save": { type: "boolean", default: false },
        json: { type: "boolean", default: false },
      },
    });
    for (const name of ["pairs", "threads"]) {
      if (!/^[1-9]\d{0,3}$/.test(values[name])) fail(`--${name} expects a number from 1, received "${values[name]}"`);
    }
    if (!["auto", "fp32", "medium", "bf16"].includes(values.precision)) {
      fail(`--precision expects auto, fp32, medium or bf16, received "${values.precision}"`);
    }
    return { ...values, pairs: Number(values.pairs) };
  } catch (error) {
    return fail(error.message);
  }
}

const args = options();
const say = (text) => (args.json ? console.error(text) : console.log(text));
const note = (text) => console.error(text);

function build() {
  const folder = join(root, "build", "c");
  const steps = [
    ["-S", root, "-B", folder, "-DCMAKE_BUILD_TYPE=Release"],
    ["--build", folder, "--target", "bench_iteration", "--parallel", String(availableParallelism())],
  ];
  for (const step of steps) {
    const done = spawnSync("cmake", step, { stdio: ["ignore", "ignore", "inherit"] });
    if (done.error) fail(`cmake could not be started: ${done.error.message}`);
    if (done.status !== 0) fail("the build failed");
  }
}

/** Runs a command that prints one line of JSON. */
function measure(command, argv) {
  const done = spawnSync(command, argv, { env: environment, encoding: "utf8", maxBuffer: 1 << 26 });
  if (done.error) fail(`${command} could not be started: ${done.error.message}`);
  if (done.status !== 0) fail(`${command} ${argv.join(" ")} failed (${done.status ?? done.signal}):\n${done.stderr}`);
  try {
    return JSON.parse(done.stdout.trim().split("\n").at(-1));
  } catch {
    return fail(`${command} did not print JSON:\n${done.stdout}`);
  }
}

/** A Python that can import torch: BELLOWS_PYTHON, else python3. undefined where there is none. */
function findPython() {
  const python = process.env.BELLOWS_PYTHON ?? "python3";
  const done = spawnSync(python, ["-c", "import torch; print(torch.__version__)"], { env: environment });
  if (done.status === 0) return python;
  if (process.env.BELLOWS_PYTHON) fail(`BELLOWS_PYTHON (${python}) cannot import torch`);
  return undefined;
}

function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  const position = q * (sorted.length - 1);
  const low = Math.floor(position);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (position - low);
}

const median = (values) => quantile(values, 0.5);
const round = (value, digits = 3) => Number(value.toFixed(digits));

/** Over the processes of one side: medians of medians, and the spread of the processes' medians. */
function summarise(runs) {
  const medians = runs.map((run) => run.median_ms);
  const { profile: _, ...last } = runs.at(-1);
  const middle = (key) => round(median(runs.map((run) => run[key])), 4);
  return {
    ...last,
    samples: Math.round(median(runs.map((run) => run.samples))),
    steps: Math.round(median(runs.map((run) => run.steps))),
    median_ms: middle("median_ms"),
    spread_ms: [round(Math.min(...medians)), round(Math.max(...medians))],
    p10_ms: middle("p10_ms"),
    p90_ms: middle("p90_ms"),
    collect_ms: middle("collect_ms"),
    update_ms: middle("update_ms"),
    update_ms_per_step: middle("update_ms_per_step"),
    ...(last.gflops === undefined
      ? {}
      : { gflops: middle("gflops"), roof_gflops: middle("roof_gflops"), roof_share: middle("roof_share") }),
    runs_ms: medians.map((value) => round(value)),
  };
}

/**
 * How to run the peer here: "pytorch" is the fastest over precisions and ways to write the gradient, and
 * "pytorch_autograd" the same optimised script with an ordinary loss.backward(), where that is not the fastest.
 */
function calibrate(python, bench) {
  const script = join(here, "peers", "ppo_torch.py");
  const precisions = args.precision === "auto" ? ["fp32", "medium"] : [args.precision];
  const rounds = ["--iterations", String(bench.iterations), "--warmup", String(bench.warmup)];
  const argv = (precision, variant) =>
    [script, "--game", bench.game, "--threads", args.threads, "--precision", precision, "--variant", variant].concat(
      rounds,
      "--json",
    );
  const tried = precisions.map((precision) => {
    note(`${bench.name}: choosing the fastest PyTorch variant (${precision})`);
    return measure(python, argv(precision, "auto"));
  });
  const fastest = tried.toSorted((x, y) => x.median_ms - y.median_ms)[0];
  const peers = { pytorch: argv(fastest.precision, fastest.variant) };
  if (fastest.variant !== "autograd") peers.pytorch_autograd = argv(fastest.precision, "autograd");
  return { peers, tried };
}

function compare(bench, python) {
  const executable = join(root, "build", "c", "bench", "bench_iteration");
  if (!existsSync(executable)) fail(`${executable} does not exist: run without --no-build`);
  const rounds = ["--iterations", String(bench.iterations), "--warmup", String(bench.warmup)];
  const argv = ["--game", bench.game, "--threads", args.threads, ...rounds, "--json"];
  const { peers, tried } = python ? calibrate(python, bench) : { peers: {}, tried: undefined };
  const ours = [];
  const theirs = Object.fromEntries(Object.keys(peers).map((name) => [name, []]));
  for (let pair = 1; pair <= args.pairs; ++pair) {
    note(`${bench.name}: pair ${pair} of ${args.pairs}`);
    ours.push(measure(executable, argv));
    for (const [name, peerArgv] of Object.entries(peers)) theirs[name].push(measure(python, peerArgv));
  }
  const result = {
    name: bench.name,
    threads: Number(args.threads),
    pairs: args.pairs,
    iterations: bench.iterations,
    warmup: bench.warmup,
    bellows: summarise(ours),
    profile: ours.at(-1).profile,
    pytorch_tried: tried,
  };
  for (const [name, runs] of Object.entries(theirs)) {
    // Samples an iteration differ a little between the sides: the ratio a step is given beside the plain one.
    const ratios = ours.map((run, i) => runs[i].median_ms / run.median_ms);
    const steps = ours.map((run, i) => runs[i].update_ms_per_step / run.update_ms_per_step);
    result[name] = {
      ...summarise(runs),
      ratio: round(median(ratios)),
      ratio_spread: [round(Math.min(...ratios)), round(Math.max(...ratios))],
      ratio_update_per_step: round(median(steps)),
    };
  }
  return result;
}

function table(result) {
  const columns = ["system", "median ms", "spread", "collect", "update", "ms a step", "samples", "steps", "GFLOP/s"];
  const lines = [result.bellows, result.pytorch, result.pytorch_autograd]
    .filter(Boolean)
    .map((row) => [
      `${row.system} ${row.version} ${row.precision}${row.variant ? ` ${row.variant}` : ""}`,
      row.median_ms.toFixed(2),
      row.spread_ms.map((ms) => ms.toFixed(1)).join(" - "),
      row.collect_ms.toFixed(2),
      row.update_ms.toFixed(2),
      row.update_ms_per_step.toFixed(4),
      String(row.samples),
      String(row.steps),
      row.gflops === undefined ? "" : `${row.gflops.toFixed(0)} (${(100 * row.roof_share).toFixed(0)}% of roof)`,
    ]);
  const widths = columns.map((column, i) => Math.max(column.length, ...lines.map((line) => line[i].length)));
  const format = (cells) => cells.map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join("  ");
  say(`\n${result.name}, ${result.threads} threads, ${result.pairs} pairs of ${result.iterations} iterations`);
  for (const line of [columns, ...lines]) say(format(line).trimEnd());
  for (const peer of [result.pytorch, result.pytorch_autograd].filter(Boolean)) {
    const [low, high] = peer.ratio_spread.map((ratio) => ratio.toFixed(2));
    say(
      `bellows / ${peer.system} ${peer.variant}: ${peer.ratio.toFixed(2)}x as fast (pairs ${low} - ${high}), ` +
        `${peer.ratio_update_per_step.toFixed(2)}x a step of the update`,
    );
  }
}

function git(...argv) {
  const done = spawnSync("git", ["-C", root, ...argv], { encoding: "utf8" });
  return done.status === 0 ? done.stdout.trim() : undefined;
}

/** A file name for this kind of machine: CPU model and cores. */
function machineName(cpu) {
  const slug = cpu
    .toLowerCase()
    .replace(/\((r|tm)\)/g, "")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  return `${slug || "unknown"}-${availableParallelism()}-cores`;
}

function save(machine, results) {
  const folder = join(here, "results");
  const file = join(folder, `${machineName(machine.cpu)}.json`);
  let kept = [];
  if (existsSync(file)) {
    const fresh = new Set(results.map((result) => `${result.name} ${result.threads}`));
    kept = JSON.parse(readFileSync(file, "utf8")).results.filter((old) => !fresh.has(`${old.name} ${old.threads}`));
  }
  const all = [...kept, ...results].sort((a, b) => a.name.localeCompare(b.name) || a.threads - b.threads);
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, `${JSON.stringify({ machine: { ...machine, load: undefined }, results: all }, null, 2)}\n`);
  note(`wrote ${file}`);
}

const chosen = benches.filter((bench) => !args.only || bench.name.includes(args.only));
if (chosen.length === 0) fail(`--only ${args.only}: no such bench; there are ${benches.map((b) => b.name).join(", ")}`);
if (!args["no-build"]) build();
const python = args["no-peer"] ? undefined : findPython();
if (!python && !args["no-peer"]) note("no Python with torch (set BELLOWS_PYTHON to one): bellows alone");
const load = round(loadavg()[0], 2);
if (load > 0.5) note(`the machine is not quiet (load ${load}): medians will be off`);

const machine = {
  cpu: cpus()[0]?.model.trim() ?? "unknown",
  cores: availableParallelism(),
  memory_gib: round(totalmem() / 2 ** 30, 1),
  platform: `${process.platform}-${process.arch}`,
  load,
};
const commit = git("rev-parse", "--short", "HEAD");
const dirty =
  commit !== undefined && git("status", "--porcelain", "--untracked-files=no", "--", "csrc", "bench") !== "";
const date = new Date().toISOString().slice(0, 10);
const results = chosen.map((bench) => {
  const result = { ...compare(bench, python), commit: dirty ? `${commit}-dirty` : commit, date, load };
  table(result);
  return result;
});
if (!args["no-save"]) save(machine, results);
if (args.json) console.log(JSON.stringify({ machine, results }));
