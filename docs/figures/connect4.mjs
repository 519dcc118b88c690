// Makes docs/figures/connect4.svg and the tables of docs/connect-four.md from bench/results/connect4-seeds.json
// (bench/connect4/seeds.mjs) and the studies bench/results/connect4-*.jsonl (`bellows study show NAME --json`).
//
//   npm install --no-save vega vega-lite && node docs/figures/connect4.mjs

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse, View } from "vega";
import { compile } from "vega-lite";
import { studentQuantile } from "../../dist/lab/stats/distributions.js";

const file = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const evidence = JSON.parse(readFileSync(file("bench/results/connect4-seeds.json"), "utf8"));
const { rows } = evidence;
const before = JSON.parse(readFileSync(file("bench/results/connect4-seeds-self-play-only.json"), "utf8"));

const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;
const whole = (value) => value.toFixed(0);
const figure = (value) => String(Number(value.toPrecision(3)));
const PLAYS = ["argmax", "sampled"];

/** Mean over seeds and its 95% interval by Student's t. */
function overSeeds(values) {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1));
  const half = (studentQuantile(0.975, n - 1) * deviation) / Math.sqrt(n);
  return { mean, low: mean - half, high: mean + half };
}
const interval = (values, show) => {
  const { mean, low, high } = overSeeds(values);
  return `${show(mean)} (${show(low)} to ${show(high)})`;
};
function rated(row, where, play) {
  const rating = row[where].find((candidate) => candidate.play === play);
  const ends = [rating.rating, rating.sequential, ...rating.interval];
  if (ends.includes(null)) throw new Error(`seed ${row.seed}, ${play}: a sweep of the ${where} has no rating`);
  return rating;
}

// ---- ratings ----

const ratings = [
  `${rows.length} seeds, ${rows[0].iterations.toLocaleString("en-US")} iterations each, ${whole(Math.min(...rows.map((row) => row.seconds / 60)))} to ` +
    `${whole(Math.max(...rows.map((row) => row.seconds / 60)))} minutes on ${rows[0].threads} of the threads of a machine with ${evidence.machine}, ${evidence.jobs} at a time. Mean over seeds with the 95% interval of the mean, by Student's t.`,
  "",
  "| | argmax | sampled |",
  "|---|---:|---:|",
  ...[
    ["rebuilt pool, Bradley-Terry", "pool", "rating"],
    ["rebuilt pool, sequential procedure", "pool", "sequential"],
    ["pool of another seed, Bradley-Terry", "heldOut", "rating"],
    ["pool of another seed, sequential procedure", "heldOut", "sequential"],
    ["ladder, Bradley-Terry", "ladder", "rating"],
  ]
    .filter(([, where]) => rows.every((row) => row[where]))
    .map(
      ([words, where, scale]) =>
        `| ${words} | ${PLAYS.map((play) =>
          interval(
            rows.map((row) => rated(row, where, play)[scale]),
            whole,
          ),
        ).join(" | ")} |`,
    ),
  `| mistakes, of ${rows[0].judge.argmax.positions.toLocaleString("en-US")} contested positions | ${PLAYS.map((play) =>
    interval(
      rows.map((row) => row.judge[play].mistakeRate),
      percent,
    ),
  ).join(" | ")} |`,
  "",
  `| seed | minutes | ${PLAYS.flatMap((play) => [`${play}, pool`, "sequential", "ladder", "mistakes"]).join(" | ")} | weights |`,
  `|---:|---:|${"---:|".repeat(8)}---|`,
  ...rows.map((row) => {
    const cells = PLAYS.flatMap((play) => {
      const pool = rated(row, "pool", play);
      const own = pool.interval.map(whole).join(" to ");
      return [
        `${whole(pool.rating)} (${own})`,
        whole(pool.sequential),
        whole(rated(row, "ladder", play).rating),
        percent(row.judge[play].mistakeRate),
      ];
    });
    return `| ${row.seed} | ${(row.seconds / 60).toFixed(1)} | ${cells.join(" | ")} | \`${row.weightsHash.slice(0, 12)}\` |`;
  }),
];

// ---- the recipe before it ----

const spread = (values, show) => {
  const { mean } = overSeeds(values);
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
  return `${show(mean)}, ${show(deviation)}, ${show(Math.min(...values))}`;
};
const compared = [
  ["argmax, pool", (row) => rated(row, "pool", "argmax").rating],
  ["sampled, pool", (row) => rated(row, "pool", "sampled").rating],
  ["argmax, ladder", (row) => rated(row, "ladder", "argmax").rating],
  ["sampled, ladder", (row) => rated(row, "ladder", "sampled").rating],
];
const seedsOf = (list) => `${list[0].seed} to ${list.at(-1).seed}`;
const earlier = [
  `| mean, standard deviation, lowest | before, seeds ${seedsOf(before.rows)} | now, seeds ${seedsOf(rows)} |`,
  "|---|---:|---:|",
  ...compared.map(
    ([name, of]) => `| ${name} | ${spread(before.rows.map(of), whole)} | ${spread(rows.map(of), whole)} |`,
  ),
  ...PLAYS.map((play) => {
    const of = (row) => row.judge[play].mistakeRate;
    return `| ${play}, mistakes | ${spread(before.rows.map(of), percent)} | ${spread(rows.map(of), percent)} |`;
  }),
];

// ---- mistakes ----

const bands = Object.keys(rows[0].judge.argmax.bands);
const mistakes = [
  "| stones | contested positions | argmax | argmax, first / second | sampled | sampled, first / second |",
  "|---|---:|---:|---:|---:|---:|",
  ...bands.map((band) => {
    const of = (play, side) =>
      interval(
        rows.map((row) => (side ? row.judge[play].bands[band][side] : row.judge[play].bands[band]).mistakeRate),
        percent,
      );
    const mean = (play, side) =>
      percent(overSeeds(rows.map((row) => row.judge[play].bands[band][side].mistakeRate)).mean);
    const cells = PLAYS.flatMap((play) => [of(play), `${mean(play, "first")} / ${mean(play, "second")}`]);
    return `| ${band} | ${rows[0].judge.argmax.bands[band].positions} | ${cells.join(" | ")} |`;
  }),
  "",
  "| | argmax | sampled |",
  "|---|---:|---:|",
  ...[
    ["misses a win with one stone", (judgement) => judgement.missedWins.share],
    ["lets the opponent win at once, though another move does not", (judgement) => judgement.avoidableLosses.share],
    ["regret, of 1 for a win turned into a loss", (judgement) => judgement.regret],
  ].map(
    ([words, of]) =>
      `| ${words} | ${PLAYS.map((play) =>
        interval(
          rows.map((row) => of(row.judge[play])),
          (v) => percent(v, 2),
        ),
      ).join(" | ")} |`,
  ),
];

// ---- opponents ----

const tallyOf = (tallies) =>
  ["wins", "draws", "losses"].map((key) => tallies.reduce((sum, tally) => sum + tally[key], 0)).join(" / ");
const ladder = [
  `Wins / draws / losses over all seeds, ${evidence.games} games of each seed from random openings of 4 plies:`,
  "",
  "| opponent | argmax first | argmax second | sampled first | sampled second |",
  "|---|---:|---:|---:|---:|",
  ...rated(rows[0], "ladder", "argmax").opponents.map(({ opponent }, i) => {
    const cells = PLAYS.flatMap((play) =>
      ["first", "second"].map((side) => tallyOf(rows.map((row) => rated(row, "ladder", play).opponents[i][side]))),
    );
    return `| ${opponent} | ${cells.join(" | ")} |`;
  }),
];
const met = rows.filter((row) => row.perfect !== null);
const won = met.filter((row) => row.perfect.first.wins > 0).length;
const every = met.filter((row) => row.perfect.first.draws + row.perfect.first.losses === 0).length;
const perfect =
  met.length === 0
    ? ["Games against the perfect player were not played (`--perfect`)."]
    : [
        "The argmax policies against the perfect player, from the empty board, who picks among his best moves at random. " +
          `Moving first, ${won} of ${met.length} seeds won at least one game, and ${every} won all of theirs.`,
        "",
        "| seed | first: won / drawn / lost | second: won / drawn / lost |",
        "|---:|---:|---:|",
        ...met.map((row) => `| ${row.seed} | ${tallyOf([row.perfect.first])} | ${tallyOf([row.perfect.second])} |`),
      ];

// ---- search at play time ----

const searched = [
  "| simulations before each move | argmax, ladder | sampled, ladder |",
  "|---:|---:|---:|",
  ...[{ simulations: 0, of: (row) => row.ladder }]
    .concat(rows[0].search.map(({ simulations }, i) => ({ simulations, of: (row) => row.search[i].ladder })))
    .map(({ simulations, of }) => {
      const cells = PLAYS.map((play) =>
        interval(
          rows.map((row) => of(row).find((rating) => rating.play === play).rating),
          whole,
        ),
      );
      return `| ${simulations} | ${cells.join(" | ")} |`;
    }),
];

// ---- ideas ----

function ideas(path) {
  if (!existsSync(file(path))) return ["Not run yet."];
  const lines = readFileSync(file(path), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const { spec } = lines.find(({ type }) => type === "study");
  const noise = lines.find(({ type }) => type === "noise");
  const verdicts = lines.filter(({ type }) => type === "verdict").map(({ verdict }) => verdict);
  const { runs } = lines.find(({ type }) => type === "result");
  const [[unit, amount]] = Object.entries(spec.budget);
  const budget = `${amount < 1e6 ? amount : amount.toExponential(1)} ${unit}`;
  return [
    `${runs} runs of ${budget} each; metric \`${spec.metric.name}\`, gains below ${spec.metric.delta} do not matter. ` +
      `The baseline ends at ${figure(noise.floor.mean)}, standard deviation over seeds ${figure(noise.floor.deviation)}.`,
    "",
    "| idea | hypothesis, written before | gain | interval | pairs | verdict |",
    "|---|---|---:|---|---:|---|",
    ...verdicts.map(({ name, verdict, gain, interval: ends, level, pairs }) => {
      const limits = ends === null ? "" : `${ends.map(figure).join(" to ")} (${figure(100 * level)}%)`;
      return `| \`${name}\` | ${spec.proposals[name].hypothesis} | ${gain === null ? "" : figure(gain)} | ${limits} | ${pairs} | **${verdict}** |`;
    }),
  ];
}

// ---- the figure ----

const points = rows.flatMap((row) =>
  PLAYS.flatMap((play) =>
    bands.map((band) => ({ seed: row.seed, play, band, rate: row.judge[play].bands[band].mistakeRate })),
  ),
);
const scores = rows.flatMap((row) =>
  PLAYS.map((play) => ({
    seed: String(row.seed),
    play,
    rating: rated(row, "pool", play).rating,
    low: rated(row, "pool", play).interval[0],
    high: rated(row, "pool", play).interval[1],
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

// ---- the page ----

const page = file("docs/connect-four.md");
let text = readFileSync(page, "utf8");
const studies = ["screen", "robust", "league"].map((name) => [name, ideas(`bench/results/connect4-${name}.jsonl`)]);
const blocks = { ratings, earlier, mistakes, ladder, perfect, search: searched, ...Object.fromEntries(studies) };
for (const [name, block] of Object.entries(blocks)) {
  const marked = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- end of ${name} -->)`);
  if (!marked.test(text)) throw new Error(`docs/connect-four.md has no markers of ${name}`);
  text = text.replace(marked, (_, begin, end) => `${begin}\n${block.join("\n")}\n\n${end}`);
}
writeFileSync(page, text);
