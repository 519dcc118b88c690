// Makes the positions that Connect Four agents are judged on, pools/connect4-positions.txt: stratified, with the exact
// score of every move. It takes about five minutes of one core, most of it for the positions with 6 to 10 stones.
//
//   npm run build:native && npm run build:ts
//   node scripts/connect4-positions.mjs [--seed N] [--threads N]
//
// Where positions come from (the letter before the scores), in turn:
//   r  games of uniformly random moves
//   l  games between players of the ladder, from random openings of 0 to 8 plies
//   o  best play that errs now and then (a random move with probability 0.2), from the 12th ply of ladder games on:
//      half of them from drawn positions, which are rare otherwise
//
// Of each game at most one position in a band of plies is taken; a position and its mirror image count as one. Strata
// are the band, the side to move, the value for it, and for wins and draws how hard it is to keep: one move does; at
// most half of the legal moves do; more do; or all do, so that no mistake is possible. Lost positions cannot be made
// worse either. Each stratum has a quota, and candidates are taken in random order until it is full or they run out:
// with few stones solving costs seconds, so that there are few candidates and no quotas.

import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Connect4Solver, playMatch, randomOpenings } from "../dist/index.js";
import { randomOf } from "../dist/lab/index.js";
import { canonical } from "./connect4-keys.mjs";

const file = join(dirname(dirname(fileURLToPath(import.meta.url))), "pools", "connect4-positions.txt");

const BANDS = [
  [0, 7],
  [8, 15],
  [16, 23],
  [24, 31],
  [32, 41],
];
/** Positions of a stratum; by side and value, too. */
const QUOTA = { only: 45, few: 45, many: 45, all: 20, lost: 45 };
/** Candidates that are solved, by number of stones. */
const CANDIDATES = { 6: 30, 7: 30, 8: 40, 9: 60, 10: 100, 11: 130, 12: 180, 13: 250, 14: 400, 15: 400 };
const MORE_CANDIDATES = 600;
/** With so many stones and more, candidates cost next to nothing, and some strata are rare: all of a game's are looked at. */
const CHEAP = { stones: 24, candidates: 2500 };

/** Solving positions with fewer stones takes too long. */
const FEWEST = 6;

const NOISE = 0.2;
const NOISY_FROM = 12;
const NOISY_GAMES = 300;
/** Positions that are solved to find drawn ones among them. */
const NOISY_STARTS = 1200;

const { values } = parseArgs({
  options: { seed: { type: "string", default: "4" }, threads: { type: "string", default: "2" } },
});
const seed = Number(values.seed);
const threads = Number(values.threads);
const solver = await Connect4Solver.create({ threads, memory: 256 });
const cpu = process.cpuUsage();

const shuffled = (list, random) => random.shuffle([...list]);

// ---- games ----

async function gamesOf(a, b, args) {
  const { games } = await playMatch(a, b, { game: "connect4", threads, ...args });
  return games.map(({ opening, moves }) => opening + moves);
}

function randomGames() {
  return gamesOf({ kind: "random" }, { kind: "random" }, { games: 4000, seed });
}

const LADDER = [
  { kind: "random" },
  { kind: "heuristic" },
  { kind: "one-ply" },
  { kind: "alpha-beta", depth: 2 },
  { kind: "alpha-beta", depth: 4 },
  { kind: "alpha-beta", depth: 6 },
  { kind: "alpha-beta", depth: 8 },
  { kind: "mcts", simulations: 100 },
  { kind: "mcts", simulations: 1000 },
];

async function ladderGames() {
  const games = [];
  let match = 0;
  for (const [i, a] of LADDER.entries()) {
    for (const b of LADDER.slice(i)) {
      for (const plies of [0, 2, 4, 8]) {
        const count = plies === 0 ? 1 : 8;
        const openings = randomOpenings({ game: "connect4", count, plies, seed: seed + match });
        games.push(...(await gamesOf(a, b, { openings, games: plies === 0 ? 6 : 24, seed: seed + match++ })));
      }
    }
  }
  return games;
}

async function noisyStarts(from, random) {
  const all = from.filter((moves) => moves.length > NOISY_FROM).map((moves) => moves.slice(0, NOISY_FROM));
  const different = new Map(all.map((moves) => [canonical(moves), moves])).values();
  const solved = await solver.solveMany(shuffled([...different], random).slice(0, NOISY_STARTS));
  const starts = (drawn) => solved.filter(({ score }) => (score === 0) === drawn).map(({ moves }) => moves);
  const drawn = starts(true).slice(0, NOISY_GAMES / 2);
  return [...drawn, ...starts(false).slice(0, NOISY_GAMES - drawn.length)];
}

/** All games move by move together, so that each ply is one call of the solver. */
async function noisyGames(from, random) {
  let open = await noisyStarts(from, random);
  const games = [];
  while (open.length > 0) {
    const next = [];
    for (const { moves, over, scores } of await solver.solveMany(open, { scores: true })) {
      if (over) {
        games.push(moves);
        continue;
      }
      const legal = [...scores.keys()].filter((column) => scores[column] !== null);
      const best = Math.max(...legal.map((column) => scores[column]));
      const choice = random.uniform() < NOISE ? legal : legal.filter((column) => scores[column] === best);
      next.push(moves + (choice[random.below(choice.length)] + 1));
    }
    open = next;
  }
  return games;
}

// ---- strata ----

const bandOf = (stones) => BANDS.findIndex(([from, to]) => stones >= from && stones <= to);

function stratumOf({ moves, scores }) {
  const legal = scores.filter((score) => score !== null);
  const best = Math.max(...legal);
  const value = Math.sign(best);
  const keep = legal.filter((score) => Math.sign(score) === value).length;
  let kind = keep === 1 ? "only" : keep <= legal.length / 2 ? "few" : "many";
  if (value < 0) kind = "lost";
  else if (keep === legal.length) kind = "all";
  const [from, to] = BANDS[bandOf(moves.length)];
  return { band: `${from}-${to}`, side: moves.length % 2 ? "second" : "first", value, kind };
}

const nameOf = ({ band, side, value, kind }) => `${band} ${side} ${["loss", "draw", "win"][value + 1]} ${kind}`;

// ---- work ----

const random = randomOf(seed);
const sources = { r: await randomGames(), l: await ladderGames() };
sources.o = await noisyGames(sources.l, random);
for (const [source, games] of Object.entries(sources)) console.log(`${source}: ${games.length} games`);

// The games, the sources in turn, each with the plies at which it has a position that no game before it has.
const games = [];
{
  const seen = new Set();
  const queues = Object.entries(sources).map(([source, list]) =>
    shuffled(list, random).map((moves) => ({ source, moves, plies: [] })),
  );
  for (let i = 0; queues.some((queue) => i < queue.length); ++i) {
    for (const queue of queues) {
      const game = queue[i];
      if (!game) continue;
      games.push(game);
      // Its last move ends a game. Best play that errs is such from its beginning on only.
      for (let stones = game.source === "o" ? NOISY_FROM : 0; stones < game.moves.length; ++stones) {
        const key = canonical(game.moves.slice(0, stones));
        if (!seen.has(key)) game.plies.push(stones);
        seen.add(key);
      }
    }
  }
}

/** Positions to solve: of each game one in the band, or all of them where they cost nothing. */
function candidatesOf(from, to) {
  const byStones = new Map();
  for (const [number, { source, moves, plies }] of games.entries()) {
    const within = plies.filter((stones) => stones >= from && stones <= to && stones >= FEWEST);
    if (within.length === 0) continue;
    for (const stones of from >= CHEAP.stones ? within : [within[random.below(within.length)]]) {
      const list = byStones.get(stones) ?? byStones.set(stones, []).get(stones);
      const most = stones >= CHEAP.stones ? CHEAP.candidates : (CANDIDATES[stones] ?? MORE_CANDIDATES);
      if (list.length < most) list.push({ source, game: number, moves: moves.slice(0, stones) });
    }
  }
  return [...byStones.values()].flat();
}

const chosen = [];
const counts = new Map();
const taken = new Set();
for (const [band, [from, to]] of BANDS.entries()) {
  const candidates = candidatesOf(from, to);
  if (band === 0) candidates.push({ source: "r", moves: "", game: "start" }); // the book has its moves
  const solutions = await solver.solveMany(
    candidates.map(({ moves }) => moves),
    { scores: true },
  );
  const order = shuffled([...candidates.keys()], random);
  for (const i of order) {
    const { source, game } = candidates[i];
    const stratum = stratumOf(solutions[i]);
    const name = nameOf(stratum);
    const count = counts.get(name) ?? 0;
    if (taken.has(`${band} ${game}`) || (band > 0 && count >= QUOTA[stratum.kind])) continue;
    taken.add(`${band} ${game}`);
    counts.set(name, count + 1);
    chosen.push({ source, moves: solutions[i].moves, scores: solutions[i].scores });
  }
  console.log(`${from}-${to}: ${candidates.length} solved`);
}
await solver.close();

for (const name of [...counts.keys()].sort()) console.log(`${name}: ${counts.get(name)}`);
chosen.sort((a, b) => a.moves.length - b.moves.length || (a.moves < b.moves ? -1 : 1));
const lines = chosen.map(
  ({ source, moves, scores }) => `${moves || "-"} ${source} ${scores.map((score) => score ?? ".").join(" ")}`,
);
writeFileSync(
  file,
  `# Connect Four positions for judging agents, with the exact score of every move; docs/judging.md says how they are
# used. Made by scripts/connect4-positions.mjs --seed ${seed}; do not edit.
#
# A line: the moves that lead there (- is the empty board); where it comes from (r random games, l games of the ladder,
# o best play that errs now and then); the score of a move into each column, a dot where it is full.
${lines.join("\n")}
`,
);
const { user } = process.cpuUsage(cpu);
console.log(`${chosen.length} positions, ${(user / 6e7).toFixed(1)} min of processor time, ${file}`);
