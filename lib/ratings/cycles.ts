// Where one number a player cannot say who beats whom: A scores more against B, B against C and C against A than any
// ratings allow.

import { normalQuantile } from "../lab/stats/distributions.js";
import { type Encounter, totalOf } from "./encounter.js";
import { POINTS } from "./scale.js";

/** Three players whose results contradict every rating. */
export interface Cycle {
  /** Each is better against the next, and the last against the first, than the other results say. */
  readonly players: readonly [string, string, string];
  /** The points by which the three differences of ratings fail to add up to 0. */
  readonly points: number;
  /** `points` in standard errors. */
  readonly z: number;
}

/**
 * Cycles that chance does not explain: the probability of finding any where there is none is below `alpha` (by
 * Bonferroni over all triples that met). Strongest first.
 */
export function cycles(encounters: readonly Encounter[], alpha = 0.05): Cycle[] {
  // Log-odds of the score by pair, with half a point added to either side, and their variance.
  const odds = new Map<string, { logit: number; variance: number }>();
  const names: string[] = [];
  for (const { a, b, pairs } of encounters) {
    const { wins, draws, losses } = totalOf(pairs);
    if (wins + draws + losses === 0) continue;
    const [own, other] = [wins + draws / 2 + 0.5, losses + draws / 2 + 0.5];
    const variance = 1 / own + 1 / other;
    odds.set(key(a, b), { logit: Math.log(own / other), variance });
    odds.set(key(b, a), { logit: Math.log(other / own), variance });
    for (const name of [a, b]) if (!names.includes(name)) names.push(name);
  }
  const found: Cycle[] = [];
  let triples = 0;
  for (let i = 0; i < names.length; ++i) {
    for (let j = i + 1; j < names.length; ++j) {
      for (let k = j + 1; k < names.length; ++k) {
        const [a, b, c] = [names[i]!, names[j]!, names[k]!];
        const legs = [odds.get(key(a, b)), odds.get(key(b, c)), odds.get(key(c, a))];
        if (legs.includes(undefined)) continue;
        ++triples;
        const sum = legs.reduce((total, leg) => total + leg!.logit, 0);
        const z = sum / Math.sqrt(legs.reduce((total, leg) => total + leg!.variance, 0));
        found.push({ players: z > 0 ? [a, b, c] : [a, c, b], points: POINTS * Math.abs(sum), z: Math.abs(z) });
      }
    }
  }
  const threshold = normalQuantile(1 - alpha / (2 * Math.max(1, triples)));
  return found.filter(({ z }) => z > threshold).sort((x, y) => y.z - x.z);
}

function key(a: string, b: string): string {
  return JSON.stringify([a, b]);
}
