// Makes docs/figures/lab.svg and the tables of docs/lab.md from bench/results/lab-false-keeps.json (bench/false-keeps.mjs)
// and bench/results/lab-known-truth.jsonl (the two commands above its table).
//
//   npm install --no-save vega vega-lite && node docs/figures/lab.mjs

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse, View } from "vega";
import { compile } from "vega-lite";

const file = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const keeps = JSON.parse(readFileSync(file("bench/results/lab-false-keeps.json"), "utf8"));
const lines = readFileSync(file("bench/results/lab-known-truth.jsonl"), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line));

const NOISE = { gaussian: "normal noise", resampled: "real noise" };
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;
const figure = (value) => String(Number(value.toPrecision(3)));

// ---- the figure: power and what it costs ----

const points = keeps.power
  .filter(({ design }) => design === "the lab's default")
  .flatMap(({ noise, points }) => points.map((point) => ({ noise: NOISE[noise], ...point })));
const x = { field: "gain", type: "quantitative", title: "true gain, in standard deviations of a run" };
const color = { field: "noise", type: "nominal", title: null, scale: { range: ["#4c78a8", "#f58518"] } };
const panel = (title, y, extra = []) => ({
  width: 270,
  height: 180,
  title: { text: title, anchor: "start", fontSize: 12 },
  layer: [
    { data: { values: points }, mark: { type: "line", point: true }, encoding: { x, y, color } },
    ...extra.map((value) => ({
      data: { values: [{}] },
      mark: { type: "rule", strokeDash: [4, 4], color: "#888" },
      encoding: { y: { datum: value } },
    })),
  ],
});
const fixed = keeps.power.find(
  ({ design, noise }) => design === "the lab's default" && noise === "gaussian",
).fixedPairs;
const spec = {
  $schema: "https://vega.github.io/schema/vega-lite/v6.json",
  background: "white",
  config: { font: "sans-serif", axis: { grid: true, gridColor: "#eee" }, view: { stroke: null } },
  hconcat: [
    panel("Chance that a gain is found and kept", {
      field: "power",
      type: "quantitative",
      title: null,
      axis: { format: "%" },
    }),
    panel(
      `Pairs until decided (dashed: fixed test, ${fixed})`,
      { field: "meanPairs", type: "quantitative", title: null, scale: { domain: [0, keeps.maxPairs] } },
      [fixed],
    ),
  ],
};
const svg = await new View(parse(compile(spec).spec), { renderer: "none" }).toSVG();
writeFileSync(file("docs/figures/lab.svg"), `${svg}\n`);

// ---- the tables ----

const RULES = {
  "sequential, with futility (the lab's)":
    "the lab's: sequential, alpha spent over looks and proposals, gives up early",
  "sequential, no futility": "the same, never giving up",
  "keep if one run is better": "keep if one run is better",
  "keep if the mean of 3 runs is better": "keep if the mean of 3 runs is better",
  "sign-flip at 0.05, alpha not split, 20 pairs": "a test at 0.05 for each proposal, 20 pairs",
  "a look after every pair, not corrected": "alpha split, but a look after every pair, not corrected",
};
const cell = (rule, noise) => {
  const row = keeps.falseKeeps.find((candidate) => candidate.rule === rule && candidate.noise === noise);
  return { ...row, text: `${percent(row.rate)} (${percent(row.low)} to ${percent(row.high)})` };
};
const falseKeeps = [
  `Studies of ${keeps.proposals} proposals that change nothing, alpha ${keeps.alpha}, at most ${keeps.maxPairs} pairs a proposal: the share of studies that`,
  "keep any (exact 95% interval), and the pairs that a proposal takes. Normal noise, and noise drawn from",
  `${keeps.realNoise.runs} real A/A runs. \`${keeps.command}\`, seed ${keeps.seed}.`,
  "",
  "| rule | normal noise | real noise | pairs |",
  "|---|---:|---:|---:|",
  ...Object.entries(RULES).map(([rule, words]) => {
    const normal = cell(rule, "gaussian");
    return `| ${words} | ${normal.text} | ${cell(rule, "resampled").text} | ${normal.meanPairs.toFixed(1)} |`;
  }),
];

const { spec: known } = lines.find(({ type }) => type === "study");
const { floor } = lines.find(({ type }) => type === "noise");
const verdicts = lines.filter(({ type }) => type === "verdict").map(({ verdict }) => verdict);
const runs = lines.filter(({ type }) => type === "run");
const knownTruth = [
  `The noise first: ${floor.runs} runs of the baseline with different seeds end at ${figure(floor.mean)}, standard deviation ${figure(floor.deviation)} (95%`,
  `interval ${figure(floor.deviationInterval[0])} to ${figure(floor.deviationInterval[1])}). ${known.seeds.max} pairs can show a gain of ${figure(floor.detectable)} four times out of five.`,
  "",
  "| proposal | truth | verdict | gain | interval | pairs |",
  "|---|---|---|---:|---|---:|",
  ...verdicts.map(({ name, verdict, gain, interval, level, pairs }) => {
    const truth = known.proposals[name].category === "control" ? "no difference" : "worse";
    const limits = `${interval.map(figure).join(" to ")} (${figure(100 * level)}%)`;
    return `| \`${name}\` | ${truth} | **${verdict}** | ${figure(gain)} | ${limits} | ${pairs} |`;
  }),
  "",
  `${runs.length} runs, ${runs.filter(({ state }) => state === "failed").length} failed. In words of the lab:`,
  "",
  ...verdicts.map(({ sentence }) => `> ${sentence.replace(/, [\d.]+ s of run time/, "")}\n>`),
];

const page = file("docs/lab.md");
let text = readFileSync(page, "utf8");
for (const [name, block] of Object.entries({ "false keeps": falseKeeps, "known truth": knownTruth })) {
  const marked = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- end of ${name} -->)`);
  if (!marked.test(text)) throw new Error(`docs/lab.md has no markers of ${name}`);
  text = text.replace(marked, (_, begin, end) => `${begin}\n${block.join("\n").replace(/\n>$/, "")}\n\n${end}`);
}
writeFileSync(page, text);
