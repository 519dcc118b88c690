// Prints one hash of what small fixed runs compute, on the portable instruction set: a change of it means that seeds
// compute something else now, and the commit must say so. `--write` stores it in test/golden/signature.json, which a
// test compares.
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

process.env.BELLOWS_ISA = "portable";
const { SelfPlay } = await import("../dist/index.js");

/** Between them the runs use every game, net, optimiser, chain, schedule but cosine, and the pool. */
const runs = [
  {
    game: { name: "tictactoe" },
    net: { kind: "mlp", width: 24, depth: 2 },
    rollout: { games: 64, drawReward: 0.5, opponents: { selfShare: 0.5, pool: 3, every: 1, temperature: 1.5 } },
    ppo: { minibatch: 50, lr: 0.003, weightDecay: 0.01 },
    run: { seed: 7, threads: 1 },
  },
  {
    game: { name: "connect4" },
    net: { kind: "resmlp", width: 16, depth: 3 },
    rollout: { games: 32, mirror: true },
    ppo: { minibatch: 64, optimizer: "muon", lrSchedule: "linear" },
    run: { seed: 8, threads: 2 },
  },
];

export async function signature() {
  const hash = createHash("sha256");
  for (const options of runs) {
    const run = await SelfPlay.create(options);
    for await (const iteration of run.train({ iterations: 4, roofline: false })) hash.update(`${iteration.samples} `);
    hash.update(await run.weightsHash());
    await run.close();
  }
  return hash.digest("hex").slice(0, 16);
}

const text = await signature();
console.log(text);
if (process.argv.includes("--write")) {
  const file = fileURLToPath(new URL("../test/golden/signature.json", import.meta.url));
  writeFileSync(file, `${JSON.stringify({ signature: text }, null, 2)}\n`);
}
