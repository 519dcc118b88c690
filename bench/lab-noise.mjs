// Real noise for the simulations of false keeps: the metric of many A/A runs, of one short tic-tac-toe recipe with
// different seeds, into bench/results/lab-noise.json.
//
//   node bench/lab-noise.mjs [--runs 64] [--workers 2]

import { writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { Study } from "bellows/lab";

const { values: flags } = parseArgs({
  options: { runs: { type: "string", default: "64" }, workers: { type: "string", default: "2" } },
});
const spec = {
  name: "noise",
  metric: { name: "evaluation.certificate.sampled.exploitability", goal: "minimize" },
  budget: { iterations: 150 },
  baseline: { config: { game: { name: "tictactoe" }, rollout: { games: 512 } } },
  noise: { runs: Number(flags.runs) },
};
const study = await Study.open(spec, { lab: "build/lab-noise.sqlite" });
for await (const event of study.run({ workers: Number(flags.workers) })) {
  if (event.type === "ended") console.log(event.seed, event.outcome.ok ? event.outcome.value : event.outcome.message);
}
const { runs, noise } = study.state();
study.close();
const result = {
  command: `node bench/lab-noise.mjs --runs ${flags.runs}`,
  machine: cpus()[0]?.model,
  spec,
  metric: spec.metric.name,
  mean: noise.mean,
  deviation: noise.deviation,
  seeds: runs.map(({ seed }) => seed),
  values: runs.map(({ outcome }) => outcome.value),
};
await writeFile("bench/results/lab-noise.json", `${JSON.stringify(result, null, 1)}\n`);
