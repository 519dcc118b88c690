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
  /** How many standard errors that is from chance: the signed root of the likelihood ratio. */
  readonly z: number;
}

/** Points of one player against another. */
interface Leg {
  readonly points: number;
  readonly games: number;
}

/**
 * Cycles that chance does not explain: the probability of finding any where there is none is below `alpha` (by
 * Bonferroni over all triples that met). Strongest first.
 *
 * Each triple is tested by the likelihood ratio between three differences of their own and two ratings, which is
 * chi-squared with one degree of freedom (Wilks 1938). It says nothing where results are so one-sided that some ratings
 * explain them, which a normal approximation of their log-odds would take for a contradiction.
 */
export function cycles(encounters: readonly Encounter[], alpha = 0.05): Cycle[] {
  const legs = new Map<string, Leg>();
  const names: string[] = [];
  for (const { a, b, pairs } of encounters) {
    const { wins, draws, losses } = totalOf(pairs);
    const games = wins + draws + losses;
    if (games === 0) continue;
    const points = wins + draws / 2;
    legs.set(key(a, b), { points, games });
    legs.set(key(b, a), { points: games - points, games });
    for (const name of [a, b]) if (!names.includes(name)) names.push(name);
  }
  const found: Cycle[] = [];
  let triples = 0;
  for (let i = 0; i < names.length; ++i) {
    for (let j = i + 1; j < names.length; ++j) {
      for (let k = j + 1; k < names.length; ++k) {
        const [a, b, c] = [names[i]!, names[j]!, names[k]!];
        const around = [legs.get(key(a, b)), legs.get(key(b, c)), legs.get(key(c, a))];
        if (around.includes(undefined)) continue;
        ++triples;
        const z = contradiction(around as Leg[]);
        // Half a point to either side, so that a leg without a point has a length.
        const sum = around.reduce((total, leg) => total + logit((leg!.points + 0.5) / (leg!.games + 1)), 0);
        found.push({ players: z > 0 ? [a, b, c] : [a, c, b], points: POINTS * Math.abs(sum), z: Math.abs(z) });
      }
    }
  }
  const threshold = normalQuantile(1 - alpha / (2 * Math.max(1, triples)));
  return found.filter(({ z }) => z > threshold).sort((x, y) => y.z - x.z);
}

const logit = (p: number) => Math.log(p / (1 - p));
const logistic = (x: number) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));

/** Of an expected score whose log-odds are x. */
function logLikelihood({ points, games }: Leg, x: number): number {
  const log = (odds: number) => (odds >= 0 ? -Math.log1p(Math.exp(-odds)) : odds - Math.log1p(Math.exp(odds)));
  return points * log(x) + (games - points) * log(-x);
}

/** Of the score that was made. */
function ownLogLikelihood({ points, games }: Leg): number {
  const term = (count: number) => (count === 0 ? 0 : count * Math.log(count / games));
  return term(points) + term(games - points);
}

/** Log-odds beyond this are as good as infinite: a likelihood changes by less than 1e-12 there. */
const FAR = 40;

/**
 * Signed root of the likelihood ratio of three legs a-b, b-c, c-a: positive where each scores more than ratings allow.
 *
 * Where ratings say everything the log-odds of the legs add up to 0. Their likelihood is concave and best where all
 * three legs score as much more than expected: first two of them given their sum, then the sum, both by bisection.
 */
function contradiction(legs: readonly Leg[]): number {
  const [p, q, r] = legs as [Leg, Leg, Leg];
  const surplus = (leg: Leg, x: number) => leg.points - leg.games * logistic(x);
  // x of the first leg that is best when the first two add up to `sum`: where both have the same surplus.
  const split = (sum: number) => {
    let [low, high] = [-FAR - Math.abs(sum), FAR + Math.abs(sum)];
    for (let i = 0; i < 80; ++i) {
      const x = (low + high) / 2;
      if (surplus(p, x) > surplus(q, sum - x)) low = x;
      else high = x;
    }
    return (low + high) / 2;
  };
  let [low, high] = [-FAR, FAR];
  for (let i = 0; i < 80; ++i) {
    const sum = (low + high) / 2;
    if (surplus(p, split(sum)) > surplus(r, -sum)) low = sum;
    else high = sum;
  }
  const sum = (low + high) / 2;
  const x = split(sum);
  const [own, rated] = [
    legs.reduce((total, leg) => total + ownLogLikelihood(leg), 0),
    logLikelihood(p, x) + logLikelihood(q, sum - x) + logLikelihood(r, -sum),
  ];
  return Math.sign(surplus(r, -sum)) * Math.sqrt(2 * Math.max(0, own - rated));
}

function key(a: string, b: string): string {
  return JSON.stringify([a, b]);
}
