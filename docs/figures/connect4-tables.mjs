// The tables of docs/connect-four.md, from bench/results/connect4-seeds*.json (bench/connect4/seeds.mjs) and the studies
// bench/results/connect4-*.jsonl (`bellows study show NAME --json`). docs/figures/connect4.mjs writes them into the page;
// a test compares them with it.

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { studentQuantile } from "../../dist/lab/stats/distributions.js";

const file = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
export const evidence = JSON.parse(readFileSync(file("bench/results/connect4-seeds.json"), "utf8"));
const { rows } = evidence;
const LADDER = JSON.parse(readFileSync(file("pools/connect4-ladder.json"), "utf8"));
const results = (name) => JSON.parse(readFileSync(file(`bench/results/connect4-seeds${name}.json`), "utf8"));
/** Files of seeds.mjs: the recipe, and others that the page tells about. */
const compared = [
  ["the recipe", evidence],
  ["deviations end with the chosen move", results("-by-move")],
  ["the same, 600 iterations", results("-600")],
  ["against itself only, no deviations", results("-self-play-only")],
];

const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;
const whole = (value) => value.toFixed(0);
const figure = (value) => String(Number(value.toPrecision(3)));
export const PLAYS = ["argmax", "sampled"];

function meanAndDeviation(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / (values.length - 1)) };
}

/** Mean over seeds and its 95% interval by Student's t. */
function overSeeds(values) {
  const n = values.length;
  const { mean, deviation } = meanAndDeviation(values);
  const half = (studentQuantile(0.975, n - 1) * deviation) / Math.sqrt(n);
  return { mean, low: mean - half, high: mean + half };
}
const interval = (values, show) => {
  const { mean, low, high } = overSeeds(values);
  return `${show(mean)} (${show(low)} to ${show(high)})`;
};
function finite(rating, seed, where) {
  const ends = [rating.rating, rating.sequential, ...(rating.interval ?? [null])];
  if (ends.includes(null)) throw new Error(`seed ${seed}, ${rating.play}: a sweep of ${where} has no rating`);
  return rating;
}

/** A row's rating of one way to play on its ladder or on the pool of a number. */
export function rated(row, where, play) {
  const ratings = where === "ladder" ? row.ladder : row.pools[where];
  const rating = ratings.find((candidate) => candidate.play === play);
  return finite(rating, row.seed, where);
}

// ---- ratings ----

const minutes = rows.map((row) => row.seconds / 60);
const POOLS = evidence.pools.map((about, i) => {
  const words = `pool of seed ${/seed (\d+)/.exec(about)[1]}`;
  return i === 0 ? `rebuilt ${words}` : words;
});
const ALL_POOLS = `mean over the ${POOLS.length} pools`;
/** A row's mean rating over all pools. */
const everywhere = (row, play, scale = "rating") =>
  row.pools.reduce((sum, _, pool) => sum + rated(row, pool, play)[scale], 0) / row.pools.length;
const ratings = [
  `${rows.length} seeds, ${rows[0].iterations.toLocaleString("en-US")} iterations each, ${Math.min(...minutes).toFixed(1)} to ` +
    `${Math.max(...minutes).toFixed(1)} minutes (${evidence.machine}; ${evidence.jobs} at a time, each on ${rows[0].threads} of them). ` +
    "Mean over seeds with the 95% interval of the mean, by Student's t.",
  "",
  "| | argmax | sampled |",
  "|---|---:|---:|",
  ...[
    ...POOLS.flatMap((words, i) => [
      [`${words}, Bradley-Terry`, i, "rating"],
      [`${words}, sequential procedure`, i, "sequential"],
    ]),
    [`${ALL_POOLS}, Bradley-Terry`, "pools", "rating"],
    [`${ALL_POOLS}, sequential procedure`, "pools", "sequential"],
    ["ladder, Bradley-Terry", "ladder", "rating"],
    ["ladder, sequential procedure", "ladder", "sequential"],
  ].map(([words, where, scale]) => {
    const of = (row, play) => (where === "pools" ? everywhere(row, play, scale) : rated(row, where, play)[scale]);
    const cells = PLAYS.map((play) =>
      interval(
        rows.map((row) => of(row, play)),
        whole,
      ),
    );
    return `| ${words} | ${cells.join(" | ")} |`;
  }),
  `| mistakes, of ${rows[0].judge.argmax.positions.toLocaleString("en-US")} contested positions | ${PLAYS.map((play) =>
    interval(
      rows.map((row) => row.judge[play].mistakeRate),
      percent,
    ),
  ).join(" | ")} |`,
  "",
  `| seed | minutes | ${PLAYS.flatMap((play) => [`${play}, rebuilt pool`, "sequential", "other pools", "ladder", "mistakes"]).join(" | ")} | weights |`,
  `|---:|---:|${"---:|".repeat(10)}---|`,
  ...rows.map((row) => {
    const cells = PLAYS.flatMap((play) => {
      const pool = rated(row, 0, play);
      const own = pool.interval.map(whole).join(" to ");
      return [
        `${whole(pool.rating)} (${own})`,
        whole(pool.sequential),
        row.pools
          .slice(1)
          .map((_, i) => whole(rated(row, 1 + i, play).rating))
          .join(", "),
        whole(rated(row, "ladder", play).rating),
        percent(row.judge[play].mistakeRate),
      ];
    });
    return `| ${row.seed} | ${(row.seconds / 60).toFixed(1)} | ${cells.join(" | ")} | \`${row.weightsHash.slice(0, 12)}\` |`;
  }),
];

// ---- other recipes ----

const spread = (values, show) => {
  const { mean, deviation } = meanAndDeviation(values);
  return `${show(mean)}, ${show(deviation)}, ${show(Math.min(...values))}`;
};

/** Exact two-sided permutation test of two means: the share of all ways to deal the values that part them as much. */
function permutationTest(a, b) {
  const all = [...a, ...b];
  const total = all.reduce((sum, value) => sum + value, 0);
  const gap = (sum) => Math.abs(sum / a.length - (total - sum) / b.length);
  const found = gap(a.reduce((sum, value) => sum + value, 0)) * (1 - 1e-12);
  let ways = 0;
  let asFar = 0;
  (function deal(from, left, sum) {
    if (left === 0) {
      ++ways;
      if (gap(sum) >= found) ++asFar;
      return;
    }
    for (let i = from; i <= all.length - left; ++i) deal(i + 1, left - 1, sum + all[i]);
  })(0, a.length, 0);
  return asFar / ways;
}

const measures = PLAYS.flatMap((play) => [
  [`${ALL_POOLS}, ${play}`, (row) => everywhere(row, play)],
  [`mistakes, ${play}`, (row) => row.judge[play].mistakeRate],
]);
const tests = [
  `| p, exact permutation tests | ${measures.map(([words]) => words).join(" | ")} |`,
  `|---|${"---:|".repeat(measures.length)}`,
  ...compared.flatMap(([words, a], i) =>
    compared.slice(i + 1).map(([others, b]) => {
      const cells = measures.map(([, of]) => permutationTest(a.rows.map(of), b.rows.map(of)).toPrecision(2));
      return `| ${words} / ${others} | ${cells.join(" | ")} |`;
    }),
  ),
];
const others = [
  `| mean, standard deviation, lowest | ${compared.map(([words, of]) => `${words}, seeds ${of.rows[0].seed} to ${of.rows.at(-1).seed}`).join(" | ")} |`,
  `|---|${"---:|".repeat(compared.length)}`,
  ...[...POOLS, ALL_POOLS].flatMap((words, i) =>
    PLAYS.map((play) => {
      const of = (row) => (i < POOLS.length ? rated(row, i, play).rating : everywhere(row, play));
      const cells = compared.map(([, { rows: others }]) => spread(others.map(of), whole));
      return `| ${words}, ${play} | ${cells.join(" | ")} |`;
    }),
  ),
  ...PLAYS.map((play) => {
    const cells = compared.map(([, of]) => {
      const { mean, low, high } = overSeeds(of.rows.map((row) => row.judge[play].mistakeRate));
      return `${percent(mean)} (${percent(low)} to ${percent(high)})`;
    });
    return `| mistakes, ${play} (95% interval) | ${cells.join(" | ")} |`;
  }),
];

// ---- mistakes ----

export const bands = Object.keys(rows[0].judge.argmax.bands);
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
  "| opponent | its rating | argmax first | argmax second | sampled first | sampled second |",
  "|---|---:|---:|---:|---:|---:|",
  ...rated(rows[0], "ladder", "argmax").opponents.map(({ opponent }, i) => {
    const cells = PLAYS.flatMap((play) =>
      ["first", "second"].map((side) => tallyOf(rows.map((row) => rated(row, "ladder", play).opponents[i][side]))),
    );
    const { rating } = LADDER.players.find(({ player }) => player === opponent);
    return `| ${opponent} | ${whole(rating)} | ${cells.join(" | ")} |`;
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
          `Moving first, ${won} of ${met.length} seeds${met.length < rows.length ? " whose games were played to the end" : ""} won at least one game, and ${every} won all of theirs.`,
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
          rows.map(
            (row) =>
              finite(
                of(row).find((rating) => rating.play === play),
                row.seed,
                "the ladder",
              ).rating,
          ),
          whole,
        ),
      );
      return `| ${simulations} | ${cells.join(" | ")} |`;
    }),
];

// ---- ideas ----

function ideas(path) {
  if (!existsSync(file(path))) return ["No results yet."];
  const lines = readFileSync(file(path), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const { spec } = lines.find(({ type }) => type === "study");
  // A/A runs, or where there were none the runs of the baseline, if they are there (`study show --runs`).
  const baseline = lines
    .filter(({ type, arm, outcome }) => type === "run" && arm === "baseline" && outcome.ok)
    .map(({ outcome }) => outcome.value);
  const noise =
    lines.find(({ type }) => type === "noise")?.floor ??
    (baseline.length === 0 ? null : { runs: baseline.length, ...meanAndDeviation(baseline) });
  const verdicts = lines.filter(({ type }) => type === "verdict").map(({ verdict }) => verdict);
  const { runs } = lines.find(({ type }) => type === "result");
  const [[unit, amount]] = Object.entries(spec.budget);
  const budget = `${amount < 1e6 ? amount : amount.toExponential(1)} ${unit}`;
  return [
    `${runs} runs of ${budget} each; metric \`${spec.metric.name}\`, gains below ${spec.metric.delta} do not matter.` +
      (noise === null
        ? ""
        : ` The baseline ends at ${figure(noise.mean)}, standard deviation over ${noise.runs} seeds ${figure(noise.deviation)}.`),
    "",
    "| idea | hypothesis, written before | gain | interval | pairs | verdict |",
    "|---|---|---:|---|---:|---|",
    ...verdicts.map(({ name, verdict, gain, interval: ends, level, pairs }) => {
      const limits = !ends || ends.includes(null) ? "" : `${ends.map(figure).join(" to ")} (${figure(100 * level)}%)`;
      return `| \`${name}\` | ${spec.proposals[name].hypothesis} | ${gain === null ? "" : figure(gain)} | ${limits} | ${pairs} | **${verdict}** |`;
    }),
  ];
}

// ---- the page ----

const studies = ["screen", "more", "confirm", "confirm-balanced", "league"].map((name) => [
  name,
  ideas(`bench/results/connect4-${name}.jsonl`),
]);
const blocks = { ratings, others, tests, mistakes, ladder, perfect, search: searched, ...Object.fromEntries(studies) };

/** The page's text with the tables of today's results between their markers. */
export function fillIn(page) {
  let text = page;
  for (const [name, block] of Object.entries(blocks)) {
    const marked = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- end of ${name} -->)`);
    if (!marked.test(text)) throw new Error(`docs/connect-four.md has no markers of ${name}`);
    text = text.replace(marked, (_, begin, end) => `${begin}\n${block.join("\n")}\n\n${end}`);
  }
  return text;
}
