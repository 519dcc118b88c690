// Is a published peak more than noise, and was a setting rightly given up? Statistics of bellows/lab on somebody else's
// numbers; nothing is trained. Run it in a built checkout: node examples/audit.mjs

import { readFileSync } from "node:fs";
import { comparePrefix, peakAudit } from "bellows/lab";

const { series } = JSON.parse(readFileSync(new URL("published-elo.json", import.meta.url), "utf8"));
const runs = Object.fromEntries(
  Object.entries(series).map(([name, { every, values }]) => [
    name,
    { iterations: values.map((_, i) => (i + 1) * every), values },
  ]),
);

const { iterations, values } = runs.exp18;
const audit = peakAudit(values, { from: iterations.indexOf(2000) });
console.log(
  `exp18 from iteration 2,000 on: mean ${audit.mean.toFixed(0)} (standard error ${audit.standardError.toFixed(0)}), ` +
    `trend p ${audit.trend.p.toFixed(2)}; its peak ${audit.peak} is ${audit.verdict}: the best of ${audit.n} such ` +
    `values is ${audit.expectedPeak.toFixed(0)} on average`,
);

const temperature = comparePrefix({ baseline: [runs.exp16a], proposal: [runs.exp16b] }, { goal: "maximize" });
console.log(
  `temperature 2.0 against 1.5 over the ${temperature.iterations.length} evaluations that both have: ` +
    `${temperature.verdict}, gain ${temperature.gain.toFixed(0)} (${temperature.low.toFixed(0)} to ` +
    `${temperature.high.toFixed(0)} in these two runs); ${temperature.reason}`,
);
