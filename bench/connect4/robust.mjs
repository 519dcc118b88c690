// An objective for studies: how much a Connect Four agent loses to players that it did not train against. It trains for
// the budget's iterations, then plays each member of a pool from the empty board, both as argmax and as sampled policy.
//
// Config: train (options of a run, all of them: a study of a module does not fill them in, and they would change with the
// recipe), pool (file, seen from the root of the checkout), games (against each member).
// Values: lost, lostArgmax, lostSampled (share of points, a draw is half a point), ratingArgmax, ratingSampled.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rateOnPool, readPool, SelfPlay } from "../../dist/index.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

export default async function ({ train, pool: file, games }, { seed, budget, signal, report }) {
  const pool = await readPool(join(root, file));
  const run = await SelfPlay.create({
    ...train,
    run: { threads: 1, ...train.run, seed, iterations: budget.iterations },
  });
  const directory = mkdtempSync(join(tmpdir(), "bellows-robust-"));
  try {
    for await (const { loss } of run.train({ signal, roofline: false })) report({ entropy: loss.entropy });
    const path = join(directory, "policy.safetensors");
    await run.savePolicy(path);
    const values = {};
    for (const [play, name] of [
      ["argmax", "Argmax"],
      ["sampled", "Sampled"],
    ]) {
      const { rating, opponents } = await rateOnPool({ kind: "policy", path, play }, pool, {
        games,
        threads: 1,
        signal,
      });
      const points = opponents.reduce((sum, { match: { wins, draws } }) => sum + wins + draws / 2, 0);
      values[`lost${name}`] = 1 - points / (games * opponents.length);
      if (rating !== null) values[`rating${name}`] = rating;
    }
    return { lost: (values.lostArgmax + values.lostSampled) / 2, ...values };
  } finally {
    await run.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
