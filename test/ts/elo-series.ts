// Published Elo series of github keirp/self-play-ppo: its own evaluations, each of one unseeded run.

import { readFileSync } from "node:fs";
import type { Series } from "../../lib/lab/stats/index.js";

const { series } = JSON.parse(readFileSync(new URL("../../examples/published-elo.json", import.meta.url), "utf8")) as {
  series: Record<string, { every: number; values: number[] }>;
};

function run(name: string): Series {
  const { every, values } = series[name]!;
  return { iterations: values.map((_, i) => (i + 1) * every), values };
}

/** Every 250 iterations to 9,250. Its report gives the peak, 1,943, as the result. */
export const long = run("exp18");

/** Opponents at temperature 1.5, every 500 iterations to 5,000. */
export const temperature15 = run("exp16a");

/** Temperature 2.0, stopped at 2,500 as "too random". */
export const temperature20 = run("exp16b");
