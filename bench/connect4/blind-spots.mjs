// Where an agent loses to a pool: for each opponent and side that takes at least LEAST of the games from the argmax
// player, the most frequent game that it lost, the opponent's moves that the agent itself holds improbable, and the
// agent's moves that lose value.
//
//   node bench/connect4/blind-spots.mjs RUN... [--pool runs/reference-pool/pool.json] [--least 0.05] [--games 400]

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Connect4Solver, Player, playMatch, readPool, SelfPlay } from "../../dist/index.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { values, positionals: runs } = parseArgs({
  allowPositionals: true,
  options: {
    pool: { type: "string", default: join(root, "runs", "reference-pool", "pool.json") },
    least: { type: "string", default: "0.05" },
    games: { type: "string", default: "400" },
  },
});
const least = Number(values.least);
const games = Number(values.games);
if (runs.length === 0 || !(least > 0 && least <= 1) || !(Number.isInteger(games) && games >= 2 && games % 2 === 0)) {
  console.error("needs a run, --least above 0 and at most 1, and an even number of --games: see the top of the file");
  process.exit(2);
}

/** What the agent holds improbable. */
const IMPROBABLE = 0.01;
/** The solver takes long for positions with fewer stones. */
const SOLVED_FROM = 7;

const { members } = await readPool(values.pool);
const solver = await Connect4Solver.create();

/** The most frequent of the games, and how often it was played. */
function mostFrequent(list) {
  const counts = new Map();
  for (const { moves } of list) counts.set(moves, (counts.get(moves) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0];
}

/** Improbable moves of the opponent and the agent's mistakes, in the order of the game. */
async function explain(agent, moves, seat) {
  const told = [];
  for (let ply = 0; ply < moves.length; ++ply) {
    const before = moves.slice(0, ply);
    const column = Number(moves[ply]) - 1;
    const probability = (await agent.policy(before)).probabilities[column];
    if (ply % 2 !== seat) {
      if (probability < IMPROBABLE) told.push(`ply ${ply}: opponent ${moves[ply]} (p ${probability.toExponential(0)})`);
      continue;
    }
    if (ply < SOLVED_FROM) continue;
    const scores = await solver.scores(before);
    const best = Math.max(...scores.filter((score) => score !== null));
    const lost = Math.sign(best) > Math.sign(scores[column]);
    if (lost)
      told.push(`ply ${ply}: mistake ${moves[ply]} (p ${probability.toFixed(2)}, ${best} to ${scores[column]})`);
  }
  return told;
}

for (const path of runs) {
  const player = await Player.load({ kind: "policy", path, play: "argmax" });
  const agent = await SelfPlay.load(path, { opponents: false });
  for (const { player: opponent } of members) {
    const match = await playMatch(player, opponent, { game: "connect4", games });
    for (const seat of [0, 1]) {
      const lost = match.games.filter(({ first, score }) => score === 0 && (first === "a") === (seat === 0));
      if (lost.length < (least * games) / 2) continue;
      const [moves, times] = mostFrequent(lost);
      const how = seat === 0 ? "first" : "second";
      console.log(`${path}, ${how}, loses ${lost.length} of ${games / 2} to ${opponent.name}; ${times} times ${moves}`);
      for (const line of await explain(agent, moves, seat)) console.log(`  ${line}`);
    }
  }
  await agent.close();
}
await solver.close();
