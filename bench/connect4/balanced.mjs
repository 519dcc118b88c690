// Start positions of Connect Four that are drawn by best play, for rollout.starts.file: random openings of PLIES moves,
// solved, and those kept whose exact score is 0.
//
//   node bench/connect4/balanced.mjs [--plies 10] [--openings 1000] [--seed 7] [--threads 0] > balanced.txt
//
// The shorter the openings, the longer each takes: 1,000 of 10 moves take about a minute on one core.

import { parseArgs } from "node:util";
import { Connect4Solver, randomOpenings } from "../../dist/index.js";

const { values } = parseArgs({
  options: {
    plies: { type: "string", default: "10" },
    openings: { type: "string", default: "1000" },
    seed: { type: "string", default: "7" },
    threads: { type: "string", default: "0" },
  },
});
const [plies, count, seed, threads] = ["plies", "openings", "seed", "threads"].map((name) => Number(values[name]));
const openings = [...new Set(randomOpenings({ game: "connect4", plies, count, seed }))];
const solver = await Connect4Solver.create({ threads });
try {
  const solutions = await solver.solveMany(openings);
  const drawn = solutions.filter(({ score }) => score === 0);
  console.log(
    `# ${drawn.length} of ${openings.length} random openings of ${plies} moves (seed ${seed}): drawn by best play`,
  );
  for (const { moves } of drawn) console.log(moves);
} finally {
  await solver.close();
}
