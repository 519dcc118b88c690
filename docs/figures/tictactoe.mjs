// Makes docs/figures/tictactoe.svg and the table of docs/tic-tac-toe.md from bench/results/tictactoe-seeds.json.
//
//   npm install --no-save vega vega-lite && node docs/figures/tictactoe.mjs

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse, View } from "vega";
import { compile } from "vega-lite";

const file = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const { rows, machine, commit, command } = JSON.parse(readFileSync(file("bench/results/tictactoe-seeds.json"), "utf8"));

const median = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

// ---- the figure: sampled exploitability of every seed on the way, and how many argmax policies are unbeatable ----

const curves = rows.flatMap(({ seed, curve }) => curve.map((point) => ({ seed, ...point })));
const iterations = [...new Set(curves.map((point) => point.iteration))].sort((a, b) => a - b);
const unbeatable = iterations.map((iteration) => {
  const points = curves.filter((point) => point.iteration === iteration);
  return { iteration, share: points.filter((point) => point.argmax === 0).length / points.length };
});
const x = { field: "iteration", type: "quantitative", title: "iteration", scale: { nice: false } };
const spec = {
  $schema: "https://vega.github.io/schema/vega-lite/v6.json",
  background: "white",
  config: { font: "sans-serif", axis: { grid: true, gridColor: "#eee" }, view: { stroke: null } },
  vconcat: [
    {
      width: 560,
      height: 200,
      title: { text: `Exploitability of the sampled policy, ${rows.length} seeds`, anchor: "start" },
      data: { values: curves },
      mark: { type: "line", opacity: 0.7, strokeWidth: 1.2 },
      encoding: {
        x: { ...x, title: null },
        y: {
          field: "sampled",
          type: "quantitative",
          title: "best response's gain",
          scale: { type: "log", domain: [0.0003, 1.2] },
        },
        color: { field: "seed", type: "nominal", legend: null, scale: { scheme: "tableau20" } },
      },
    },
    {
      width: 560,
      height: 90,
      title: { text: "Share of seeds whose argmax policy no opponent can beat", anchor: "start" },
      data: { values: unbeatable },
      mark: { type: "area", interpolate: "step-before", color: "#4c78a8" },
      encoding: { x, y: { field: "share", type: "quantitative", title: null, axis: { format: "%", tickCount: 3 } } },
    },
  ],
};
const svg = await new View(parse(compile(spec).spec), { renderer: "none" }).toSVG();
writeFileSync(file("docs/figures/tictactoe.svg"), `${svg}\n`);

// ---- the table ----

const percent = (share) => `${(100 * share).toFixed(2)}%`;
const walls = rows.map((row) => row.wallSeconds);
const table = [
  `Seeds ${rows[0].seed} to ${rows.at(-1).seed}, defaults, on ${machine}, commit ${commit}: \`${command}\`.`,
  "",
  "| seed | argmax exploitability | sampled exploitability | argmax against random: win, draw, loss | wall time | weights (SHA-256) |",
  "|---:|---:|---:|---|---:|---|",
  ...rows.map(
    ({ seed, argmax, sampled, versusRandom: { win, draw, loss }, wallSeconds, weightsHash }) =>
      `| ${seed} | ${argmax} | ${sampled.toFixed(5)} | ${percent(win)}, ${percent(draw)}, ${percent(loss)} | ${wallSeconds.toFixed(1)} s | \`${weightsHash.slice(0, 12)}\` |`,
  ),
  "",
  `${rows.filter((row) => row.argmax === 0).length} of ${rows.length} seeds end at argmax exploitability exactly 0. Sampled ` +
    `exploitability: median ${median(rows.map((row) => row.sampled)).toFixed(4)}, largest ${Math.max(...rows.map((row) => row.sampled)).toFixed(4)}. ` +
    `Wall time of the whole command: median ${median(walls).toFixed(1)} s, ${Math.min(...walls).toFixed(1)} to ${Math.max(...walls).toFixed(1)} s.`,
].join("\n");
const page = file("docs/tic-tac-toe.md");
const text = readFileSync(page, "utf8");
const marked = /(<!-- table -->\n)[\s\S]*?(<!-- end of table -->)/;
if (!marked.test(text)) throw new Error("docs/tic-tac-toe.md has no table markers");
writeFileSync(
  page,
  text.replace(marked, (_, begin, end) => `${begin}\n${table}\n\n${end}`),
);
