// The evidence for the Connect Four recipe: trains its defaults on several seeds through the command, JOBS at a time on
// their share of the cores (which changes no weights), then rates each on pools and on the ladder, judges it against the
// perfect player, and lets it play him.
//
//   node bench/reference-pool.mjs                              once: runs/reference-pool
//   node bench/connect4/seeds.mjs [--seeds 201-210] [--pool runs/reference-pool/pool.json]... [--games 400] [--jobs 1]
//                                 [--out runs/connect4] [--set PATH=VALUE]... [--perfect] [--brief] [--save FILE]
//
// --perfect adds games against the perfect player, which take minutes a seed where his opening book is short. --brief
// leaves out the ladder, search and him. Writes bench/results/connect4-seeds.json, from which docs/connect-four.md is made
// (docs/figures/connect4.mjs); with --set, for trying other options, nothing, unless --save names a file. A seed whose
// run is in OUT is not trained again, or goes on.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual, parseArgs } from "node:util";
import { optionEntries } from "../../dist/cli/flags.js";
import { resolveOptions } from "../../dist/index.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "201-210" },
    pool: { type: "string", multiple: true, default: [join(root, "runs", "reference-pool", "pool.json")] },
    games: { type: "string", default: "400" },
    jobs: { type: "string", default: "1" },
    out: { type: "string" },
    set: { type: "string", multiple: true, default: [] },
    perfect: { type: "boolean", default: false },
    brief: { type: "boolean", default: false },
    save: { type: "string" },
  },
});
const range = /^(\d+)-(\d+)$/.exec(values.seeds);
const jobs = Number(values.jobs);
const wrong = !range
  ? "--seeds expects FIRST-LAST"
  : !(Number.isInteger(jobs) && jobs >= 1 && jobs <= availableParallelism())
    ? `--jobs expects a whole number from 1 to ${availableParallelism()}, received "${values.jobs}"`
    : (values.pool
        .filter((file) => !existsSync(file))
        .map((file) => `there is no ${file}: see the top of this file`)[0] ?? null);
if (wrong !== null) {
  console.error(wrong);
  process.exit(2);
}

const out = values.out ?? join(root, "runs", values.set.length === 0 ? "connect4" : "connect4-tried");

const DEFAULT_FILE = join(root, "bench", "results", "connect4-seeds.json");

/** Of search at play time, rated on the ladder by fewer games. */
const SIMULATIONS = [16, 64];
const SEARCH_GAMES = "100";

/** The lines that the command prints with --json. */
function bellows(...argv) {
  const done = spawnSync(process.execPath, [join(root, "dist/cli/main.js"), ...argv, "--json"], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (done.error || done.status !== 0) {
    const how = done.error ?? done.signal ?? done.status;
    throw new Error(`bellows ${argv.join(" ")} ended with ${how}: ${(done.stdout ?? "").slice(-500)}`);
  }
  return done.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

/** Ratings of both plays, with so many simulations before each move, and what they made against each opponent. */
function rate(run, pool, simulations = 0) {
  const search = simulations === 0 ? [] : ["--simulations", String(simulations)];
  const games = simulations === 0 ? values.games : SEARCH_GAMES;
  const lines = bellows("rate", run, "--pool", pool, "--games", games, ...search);
  return lines
    .filter((line) => line.type === "rating" && line.simulations === simulations)
    .map((rating) => ({
      play: rating.play,
      rating: rating.rating,
      bound: rating.bound,
      interval: rating.interval,
      sequential: rating.sequential,
      opponents: lines
        .filter(({ type, a }) => type === "match" && a === rating.player)
        .map(({ b, first, second }) => ({ opponent: b, first, second })),
    }));
}

mkdirSync(out, { recursive: true });
const seeds = Array.from({ length: Number(range[2]) - Number(range[1]) + 1 }, (_, i) => Number(range[1]) + i);
const folder = (seed) => join(out, `seed-${seed}`);
const sets = values.set.flatMap((set) => ["--set", set]);
const threads = Math.floor(availableParallelism() / jobs);

const children = new Set();

/** What a seed's run must have been asked for. */
async function optionsOf(seed, threads) {
  const options = { game: { name: "connect4" }, run: { seed, threads } };
  for (const { path, kind, text } of await optionEntries({ set: values.set })) {
    const keys = path.split(".");
    const last = keys.pop();
    const group = keys.reduce((inside, key) => (inside[key] ??= {}), options);
    group[last] = kind === "string" ? text : JSON.parse(text);
  }
  return resolveOptions(options);
}

/** Trains a seed, or what is left of it. */
async function train(seed) {
  const run = folder(seed);
  const stored = existsSync(join(run, "config.json")) && JSON.parse(readFileSync(join(run, "config.json"), "utf8"));
  if (stored) {
    if (!isDeepStrictEqual(stored, await optionsOf(seed, stored.run.threads))) {
      const what = sets.length === 0 ? "the recipe" : `the recipe with ${values.set.join(" ")}`;
      throw new Error(`${run} is not a run of ${what}; choose another --out`);
    }
  }
  const begin = ["connect4", "--seed", String(seed), "--out", run, "--threads", String(threads), ...sets];
  const argv = ["train", ...(stored ? ["--resume", run] : begin), "--json"];
  const child = spawn(process.execPath, [join(root, "dist/cli/main.js"), ...argv], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  children.add(child);
  const code = await new Promise((resolve) => child.on("close", resolve));
  children.delete(child);
  if (code === 0) return;
  for (const other of children) other.kill("SIGTERM");
  throw new Error(`bellows ${argv.join(" ")} ended with ${code}`);
}

const waiting = [...seeds];
await Promise.all(
  Array.from({ length: jobs }, async () => {
    for (let seed = waiting.shift(); seed !== undefined; seed = waiting.shift()) await train(seed);
  }),
);
const rows = [];
for (const seed of seeds) {
  const run = folder(seed);
  const { judge, seconds, games, iterations, weightsHash } = bellows("train", "--resume", run).find(
    ({ type }) => type === "result",
  );
  const { threads: trainedOn } = JSON.parse(readFileSync(join(run, "config.json"), "utf8")).run;
  const pools = values.pool.map((pool) => rate(run, pool));
  rows.push({ seed, iterations, games, seconds, threads: trainedOn, weightsHash, judge, pools });
  if (!values.brief) {
    const evaluation = bellows("eval", run, ...(values.perfect ? ["--perfect"] : []));
    const { versusRandom } = evaluation.find(({ type }) => type === "result");
    const met = evaluation.find(({ type, b }) => type === "match" && b === "perfect");
    const perfect = met ? { first: met.first, second: met.second } : null;
    const ladder = rate(run, "ladder");
    const search = SIMULATIONS.map((simulations) => ({ simulations, ladder: rate(run, "ladder", simulations) }));
    Object.assign(rows.at(-1), { versusRandom, perfect, ladder, search });
  }
  const text = pools[0].map(({ play, rating, bound }) => `${play} ${(rating ?? bound).toFixed(0)}`).join(", ");
  const mistakes = ["argmax", "sampled"].map((play) => `${(100 * judge[play].mistakeRate).toFixed(2)}%`).join(", ");
  console.log(`seed ${seed}: ${seconds.toFixed(0)} s, rating ${text}, mistakes ${mistakes}`);
}

const file = values.save ?? (values.set.length === 0 ? DEFAULT_FILE : undefined);
if (file !== undefined) {
  const commit = spawnSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" }).stdout.trim();
  const machine = `${cpus()[0]?.model.trim()}, ${availableParallelism()} cores`;
  const pools = values.pool.map((pool) => JSON.parse(readFileSync(pool, "utf8")).about);
  const command = `node bench/connect4/seeds.mjs ${process.argv.slice(2).join(" ")}`;
  const text = JSON.stringify({ command, machine, commit, jobs, pools, games: Number(values.games), rows }, null, 1);
  writeFileSync(file, `${text}\n`);
}
