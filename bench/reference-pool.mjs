// Rebuilds the reference pool of self-play-ppo with this engine: trains its first published Connect Four recipe
// (pools/connect4-v1.config.json), keeps the policy of every 200th iteration, and lets these, random moves and the
// heuristic play each other.
//
//   node bench/reference-pool.mjs [--out runs/reference-pool] [--iterations 3000] [--every 200] [--games 400]
//                                 [--seed 42] [--threads 1]
//
// OUT gets iter_N.safetensors (1.5 MB each), pool.json for `bellows rate --pool OUT/pool.json`, and report.json: ratings
// by Bradley-Terry with intervals and by the sequential procedure, every pair's results, cycles, and the hash of the last weights.
// bench/results/reference-pool.json is such a report. A run that was stopped goes on from its last kept iteration. The same seed gives the same weights for any number of
// threads on one instruction set. Nothing of it is part of the package.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
  bootstrapRatings,
  bradleyTerry,
  cycles,
  encounterOf,
  Player,
  playRoundRobin,
  SelfPlay,
  sequentialElo,
  writePool,
} from "../dist/index.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: {
    out: { type: "string", default: join(root, "runs", "reference-pool") },
    iterations: { type: "string", default: "3000" },
    every: { type: "string", default: "200" },
    games: { type: "string", default: "400" },
    seed: { type: "string", default: "42" },
    threads: { type: "string", default: "1" },
  },
});
const number = (name) => {
  const value = Number(values[name]);
  if (Number.isInteger(value) && value >= (name === "threads" || name === "seed" ? 0 : 1)) return value;
  console.error(`--${name} expects a whole number, received "${values[name]}"`);
  process.exit(2);
};
const [iterations, every, games, seed, threads] = ["iterations", "every", "games", "seed", "threads"].map(number);
const out = values.out;
const state = join(out, "state.safetensors");
const snapshot = (iteration) => join(out, `iter_${iteration}.safetensors`);
mkdirSync(out, { recursive: true });

const recipe = JSON.parse(readFileSync(join(root, "pools", "connect4-v1.config.json"), "utf8"));
const options = { ...recipe, run: { ...recipe.run, seed, iterations, threads } };

/** The run as its last kept iteration left it, or a new one. */
async function open() {
  const resumed = await SelfPlay.load(state, { threads }).catch(() => null);
  if (resumed?.options.run.seed === seed) return resumed;
  await resumed?.close();
  return SelfPlay.create(options);
}

async function train() {
  const run = await open();
  const started = performance.now();
  try {
    let { iteration } = await run.counters();
    const keep = async () => {
      await run.savePolicy(snapshot(iteration));
      await run.save(state);
    };
    if (iteration === 0) await keep();
    const left = iterations - iteration;
    for await (const it of left > 0 ? run.train({ iterations: left, roofline: false }) : []) {
      iteration = it.index;
      if (iteration % every !== 0) continue;
      await keep();
      const { win, draw, loss } = it.pool;
      const shares = [win, draw, loss].map((share) => `${(share * 100).toFixed(0)}%`).join(" / ");
      const seconds = ((performance.now() - started) / 1e3).toFixed(0);
      console.log(
        `iteration ${iteration}: ${shares} against the pool, entropy ${it.loss.entropy.toFixed(3)}, ${seconds} s`,
      );
    }
    return { weightsHash: await run.weightsHash(), trainSeconds: (performance.now() - started) / 1e3 };
  } finally {
    await run.close();
  }
}

const { weightsHash, trainSeconds } = await train();
const kept = Array.from({ length: Math.floor(iterations / every) + 1 }, (_, i) => i * every);
const players = [];
for (const iteration of kept) {
  const name = `iter_${iteration}`;
  players.push(await Player.load({ kind: "policy", path: snapshot(iteration), play: "sampled", name }));
}
for (const kind of ["random", "heuristic"]) players.push(await Player.load({ kind }));

const started = performance.now();
// From the empty board, since that is what the published ratings were played from.
const matches = await playRoundRobin(players, { game: "connect4", games, seed, threads });
const matchSeconds = (performance.now() - started) / 1e3;
const encounters = matches.map(encounterOf);
const anchors = { random: 1000 };
const fit = bradleyTerry(encounters, { anchors });
const intervals = bootstrapRatings(encounters, { anchors, seed });
const sequential = sequentialElo(encounters);
const rated = new Map(fit.ratings.map((rating) => [rating.player, rating]));

for (const { player, rating, bound, standing } of fit.ratings) {
  const interval = (intervals.get(player) ?? [rating, rating]).map((end) => end.toFixed(0)).join(" to ");
  const text = bound === null ? rating.toFixed(0) : `${standing} ${bound.toFixed(0)}`;
  console.log(
    `${player.padEnd(12)} ${text.padStart(6)}  (${interval})  sequential ${sequential.get(player).toFixed(0)}`,
  );
}
const members = players.map((player) => ({
  player,
  rating: rated.get(player.name).rating,
  sequential: sequential.get(player.name),
}));
const about = `rebuilt reference pool: v1 recipe, seed ${seed}, ${iterations} iterations, ${games} games of each two players`;
const infinite = members.filter(({ rating }) => !Number.isFinite(rating)).map(({ player }) => player.name);
if (infinite.length > 0) console.log(`no pool is written: ${infinite.join(", ")} won or lost everything`);
else await writePool(join(out, "pool.json"), { game: "connect4", about, plies: 0, members });
const circles = cycles(encounters);
const report = {
  about,
  machine: cpus()[0]?.model ?? "",
  threads,
  trainSeconds,
  matchSeconds,
  options,
  weightsHash,
  ratings: fit.ratings.map((rating) => ({
    ...rating,
    interval: intervals.get(rating.player) ?? null,
    sequential: sequential.get(rating.player),
  })),
  cycles: { count: circles.length, strongest: circles[0] ?? null },
  matches: matches.map(({ a, b, wins, draws, losses }) => ({ a, b, wins, draws, losses })),
};
writeFileSync(join(out, "report.json"), `${JSON.stringify(report, null, 1)}\n`);
console.log(
  `${join(out, "report.json")}: trained in ${trainSeconds.toFixed(0)} s, played in ${matchSeconds.toFixed(0)} s`,
);
