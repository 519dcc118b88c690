// Trains a small tic-tac-toe agent for a few iterations, judges it exactly, saves it and asks the saved one for a move.
// Run it in a built checkout: node examples/tictactoe.mjs

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SelfPlay } from "bellows";

const folder = await mkdtemp(join(tmpdir(), "bellows-"));
const path = join(folder, "agent.safetensors");

const run = await SelfPlay.create({ game: { name: "tictactoe" }, run: { seed: 7, iterations: 20 } });
for await (const iteration of run.train()) {
  if (iteration.index % 5 === 0) {
    console.log(
      `iteration ${iteration.index}: ${iteration.games} games, policy loss ${iteration.loss.policy.toFixed(4)}`,
    );
  }
}
const { certificate, versusRandom } = await run.evaluate();
console.log("exploitability of the most probable moves:", certificate?.argmax.exploitability);
console.log("win share against random play:", versusRandom.win.toFixed(4));
await run.save(path);
await run.close();

const loaded = await SelfPlay.load(path);
const { probabilities } = await loaded.policy("5"); // the first player took the middle
console.log("answer to the middle:", [...probabilities].map((p) => p.toFixed(3)).join(" "));
await loaded.close();
await rm(folder, { recursive: true });
