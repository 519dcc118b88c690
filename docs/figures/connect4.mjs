// Makes docs/figures/connect4.svg and writes the tables of connect4-tables.mjs into docs/connect-four.md.
//
//   npm install --no-save vega vega-lite && node docs/figures/connect4.mjs

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse, View } from "vega";
import { compile } from "vega-lite";
import { bands, evidence, fillIn, PLAYS, rated } from "./connect4-tables.mjs";

const { rows } = evidence;
const file = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

const points = rows.flatMap((row) =>
  PLAYS.flatMap((play) =>
    bands.map((band) => ({ seed: row.seed, play, band, rate: row.judge[play].bands[band].mistakeRate })),
  ),
);
const scores = rows.flatMap((row) =>
  PLAYS.map((play) => ({
    seed: String(row.seed),
    play,
    rating: rated(row, 0, play).rating,
    low: rated(row, 0, play).interval[0],
    high: rated(row, 0, play).interval[1],
  })),
);
const color = { field: "play", type: "nominal", title: null, scale: { range: ["#4c78a8", "#f58518"] } };
const seed = { field: "seed", type: "nominal", title: "seed", axis: { labelAngle: 0 } };
const elo = { type: "quantitative", title: null, scale: { zero: false } };
const spec = {
  $schema: "https://vega.github.io/schema/vega-lite/v6.json",
  background: "white",
  config: { font: "sans-serif", axis: { grid: true, gridColor: "#eee" }, view: { stroke: null } },
  hconcat: [
    {
      width: 270,
      height: 200,
      title: { text: "Rating on the rebuilt pool (bar: 2,100)", anchor: "start", fontSize: 12 },
      layer: [
        {
          data: { values: scores },
          mark: { type: "rule" },
          encoding: { x: seed, xOffset: { field: "play" }, y: { ...elo, field: "low" }, y2: { field: "high" }, color },
        },
        {
          data: { values: scores },
          mark: { type: "point", filled: true, size: 50 },
          encoding: { x: seed, xOffset: { field: "play" }, y: { ...elo, field: "rating" }, color },
        },
        {
          data: { values: [{}] },
          mark: { type: "rule", strokeDash: [4, 4], color: "#888" },
          encoding: { y: { datum: 2100 } },
        },
      ],
    },
    {
      width: 270,
      height: 200,
      title: { text: "Mistakes by stones on the board, every seed", anchor: "start", fontSize: 12 },
      data: { values: points },
      mark: { type: "line", point: true, opacity: 0.7 },
      encoding: {
        x: { field: "band", type: "ordinal", sort: bands, title: "stones", axis: { labelAngle: 0 } },
        y: { field: "rate", type: "quantitative", title: null, axis: { format: "%" } },
        color,
        detail: { field: "seed" },
      },
    },
  ],
};
const svg = await new View(parse(compile(spec).spec), { renderer: "none" }).toSVG();
writeFileSync(file("docs/figures/connect4.svg"), `${svg}\n`);

const page = file("docs/connect-four.md");
writeFileSync(page, fillIn(readFileSync(page, "utf8")));
