// What docs/speed.md is made of: where the time of an iteration goes, and how time and memory grow.
//
//   node bench/speed.mjs [--time | --growth] [--precision fp32|bf16] [--rounds N]
//
// Prints Markdown and keeps the numbers in bench/results/speed-<machine>.json. Needs `npm run build:native`,
// `npm run build:ts` and the C program (cmake --build build/c). Threads are taken in turn within a round, and each
// figure is the median over the rounds.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, loadavg } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { kindOf } from "../dist/bench/compare.js";
import { machine, machineName, origin } from "../dist/bench/machine.js";
import { median } from "../dist/bench/statistics.js";
import { SelfPlay } from "../dist/index.js";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values: options } = parseArgs({
  options: {
    time: { type: "boolean", default: false },
    growth: { type: "boolean", default: false },
    precision: { type: "string", default: "fp32" },
    rounds: { type: "string", default: "3" },
  },
});
const everything = !options.time && !options.growth;
const rounds = Number(options.rounds);
if (!(Number.isInteger(rounds) && rounds >= 1))
  throw new Error(`--rounds is ${options.rounds}; expected a number from 1`);
if (loadavg()[0] > 0.5) console.error(`the machine is not quiet (load ${loadavg()[0].toFixed(2)})`);

const cell = (value) => (typeof value === "number" ? String(Number(value.toPrecision(3))) : value);

/** A Markdown table; rows are arrays of strings or numbers. */
function table(header, rows) {
  const line = (cells) => `| ${cells.map(cell).join(" | ")} |`;
  return [line(header), `|${header.map((_, i) => (i ? "---:" : "---")).join("|")}|`, ...rows.map(line)].join("\n");
}

// ---- where the time goes ----

function iteration(game, threads) {
  const program = join(root, "build", "c", "bench", "bellows_bench");
  const argv = ["--only", `iteration/${game}`, "--threads", String(threads), "--precision", options.precision];
  const done = spawnSync(program, [...argv, "--seconds", game === "connect4" ? "6" : "2", "--json"], {
    encoding: "utf8",
  });
  if (done.status !== 0) throw new Error(`${program} ${argv.join(" ")}: ${done.stderr || done.error}`);
  return JSON.parse(done.stdout.trim().split("\n").at(-1));
}

/** Optimiser steps that Connect Four's times are scaled to. */
const SCALED_TO = 299;

const scaled = (part, scale) => ({
  ...part,
  ms: part.ms * scale,
  gflop: part.gflop * scale,
  gbyte: part.gbyte * scale,
});

/**
 * ms and floor of each kind of op, and what no op accounts for. Floor: operations at the probed rate; for the optimiser,
 * whose operands no cache holds, its bytes at the probed bandwidth where that is more.
 */
function kindsOf(row) {
  const kinds = new Map();
  const scale = row.name === "iteration/connect4" ? SCALED_TO / row.steps : 1; // as the row's median is
  for (const { op, group, ms, gflop, gbyte } of row.profile.map((part) => scaled(part, scale))) {
    const kind = kindOf(op, group);
    const sum = kinds.get(kind) ?? { ms: 0, floor: 0 };
    sum.ms += ms;
    sum.floor += 1e3 * Math.max(gflop / row.roofGflops, op === "linear_update" ? gbyte / row.roofGbytes : 0);
    kinds.set(kind, sum);
  }
  const ops = [...kinds.values()].reduce((sum, { ms }) => sum + ms, 0);
  return kinds.set("outside ops", { ms: Math.max(0, row.median - ops), floor: 0 });
}

function timeTable(game, threads) {
  const rows = Array.from({ length: rounds }, () => iteration(game, threads));
  const kinds = rows.map(kindsOf);
  const middle = (pick) => median(rows.map(pick));
  const total = median(kinds.map((k) => [...k.values()].reduce((sum, { ms }) => sum + ms, 0)));
  const names = [...kinds[0].keys()];
  const parts = names
    .map((name) => ({
      name,
      ms: median(kinds.map((k) => k.get(name)?.ms ?? 0)),
      floor: median(kinds.map((k) => k.get(name)?.floor ?? 0)),
    }))
    .sort((x, y) => y.ms - x.ms);
  const shape = { game, threads, precision: options.precision, probe: middle((row) => row.roofGflops) };
  console.log(`\n**${game}**, ${threads} threads, ${options.precision}, probe ${shape.probe.toFixed(0)} GFLOP/s, `);
  console.log(`${total.toFixed(1)} ms an iteration\n`);
  const left = ({ ms, floor }) => (ms - floor).toFixed(2);
  console.log(
    table(
      ["", "ms", "share", "floor, ms", "left to win, ms"],
      parts.map((p) => [p.name, p.ms.toFixed(2), `${((100 * p.ms) / total).toFixed(1)}%`, p.floor.toFixed(2), left(p)]),
    ),
  );
  return { ...shape, ms: total, parts };
}

// ---- growth ----

/** Iterations of a measurement, the first of which does not count. */
const ITERATIONS = { tictactoe: 4, connect4: 2 };

async function measure(game, change, threads) {
  const given = {
    game: { name: game },
    ...change,
    run: { seed: 1, threads, iterations: 1000, precision: options.precision, evaluateEvery: 0 },
  };
  const run = await SelfPlay.create(given);
  const times = [];
  let games = 0;
  for await (const it of run.train({ iterations: ITERATIONS[game] })) {
    if (it.index > 1) times.push(it.speed.collectSeconds + it.speed.updateSeconds);
    games = it.games;
  }
  await run.close();
  return (1e6 * median(times)) / games;
}

async function memory(game, change) {
  const plan = await SelfPlay.plan({ game: { name: game }, ...change, run: { precision: options.precision } });
  return plan.total / 2 ** 20;
}

async function growth(game, header, changes) {
  const found = changes.map(([name, change]) => ({ name, change, us: { 1: [], 2: [] } }));
  for (let round = 0; round < rounds; ++round) {
    for (const row of found) {
      for (const threads of [1, 2]) row.us[threads].push(await measure(game, row.change, threads));
    }
  }
  const rows = [];
  for (const { name, change, us } of found) {
    const [one, two] = [median(us[1]), median(us[2])];
    rows.push({ name, one, two, mib: await memory(game, change) });
  }
  console.log(`\n**${game}**, ${options.precision}\n`);
  console.log(
    table(
      [header, "us a game, 1 thread", "2 threads", "times as fast", "memory, MiB"],
      rows.map((r) => [r.name, r.one, r.two, (r.one / r.two).toFixed(2), r.mib]),
    ),
  );
  return { game, precision: options.precision, by: header, rows };
}

// ---- all ----

const kept = { time: [], growth: [] };
if (options.time || everything) {
  for (const game of ["tictactoe", "connect4"]) kept.time.push(timeTable(game, Math.min(2, availableParallelism())));
}
if (options.growth || everything) {
  const games = [128, 512, 2048, 8192, 16384].map((n) => [String(n), { rollout: { games: n } }]);
  const widths = [64, 128, 256, 512, 1024].map((n) => [String(n), { net: { width: n } }]);
  for (const game of ["tictactoe", "connect4"]) {
    kept.growth.push(await growth(game, "games", games));
    kept.growth.push(await growth(game, "width", widths));
  }
}
const here = await machine();
const file = join(root, "bench", "results", `speed-${machineName(here)}.json`);
mkdirSync(dirname(file), { recursive: true });
const old = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
const fresh = (list, other) => [
  ...(other ?? []).filter((o) => !list.some((n) => n.game === o.game && n.precision === o.precision && n.by === o.by)),
  ...list,
];
const all = {
  machine: here,
  origin: origin(),
  time: fresh(kept.time, old.time),
  growth: fresh(kept.growth, old.growth),
};
writeFileSync(file, `${JSON.stringify(all, null, 2)}\n`);
console.error(`wrote ${file}`);
