// The table of docs/solver.md: random Connect Four positions solved on one thread, without the opening book. Times are
// of the processor, so that other programs disturb them less.
//
//   node bench/solver.mjs [SCALE = 1]     SCALE times as many positions

import { cpus, loadavg } from "node:os";
import { Connect4Solver } from "../dist/index.js";

const scale = Number(process.argv[2] ?? 1);
const classes = [
  [32, 4000],
  [28, 2000],
  [24, 1000],
  [20, 400],
  [16, 160],
  [14, 80],
  [12, 40],
  [10, 20],
  [8, 10],
  [7, 6],
];

let random = 1;
/** An integer below n: a linear congruential generator is random enough to pick columns. */
function below(n) {
  random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
  return Math.floor((random / 2 ** 32) * n);
}

/** Whether the top stone of a column made four in a row. */
function won(columns, column) {
  const row = columns[column].length - 1;
  const player = columns[column][row];
  const length = (dx, dy) => {
    let n = 0;
    while (columns[column + dx * (n + 1)]?.[row + dy * (n + 1)] === player) ++n;
    return n;
  };
  return [
    [1, 0],
    [0, 1],
    [1, 1],
    [1, -1],
  ].some(([dx, dy]) => length(dx, dy) + length(-dx, -dy) >= 3);
}

function randomMoves(stones) {
  for (;;) {
    /** Stones of a column, bottom first: 0 the first player's, 1 the second's. */
    const columns = Array.from({ length: 7 }, () => []);
    let moves = "";
    let over = false;
    while (moves.length < stones && !over) {
      const column = below(7);
      if (columns[column].length === 6) continue;
      columns[column].push(moves.length % 2);
      moves += column + 1;
      over = won(columns, column);
    }
    if (!over) return moves;
  }
}

console.log(`${cpus()[0].model}, one thread; load ${loadavg()[0].toFixed(1)}\n`);
console.log("| stones | positions | nodes, mean | ms, mean | ms, longest | million nodes/s |");
console.log("|---:|---:|---:|---:|---:|---:|");
for (const [stones, count] of classes) {
  const list = Array.from({ length: count * scale }, () => randomMoves(stones));
  const solver = await Connect4Solver.create({ threads: 1, memory: 64, book: false });
  await solver.solve("444444333333222222"); // the tables' first pages
  const before = process.cpuUsage();
  const solutions = await solver.solveMany(list);
  const { user, system } = process.cpuUsage(before);
  await solver.close();
  const nodes = solutions.reduce((sum, solution) => sum + solution.nodes, 0);
  const ms = (user + system) / 1e3;
  const longest = Math.max(...solutions.map((solution) => solution.ms));
  const cells = [stones, list.length, Math.round(nodes / list.length).toLocaleString("en-US")];
  cells.push((ms / list.length).toPrecision(3), longest.toPrecision(3), (nodes / ms / 1e3).toFixed(1));
  console.log(`| ${cells.join(" | ")} |`);
}
