// The limit of the sequential test for many pairs: the sum becomes a Brownian motion, watched at the looks.

import { checkNumber } from "./check.js";
import { normalCdf, normalDensity, normalQuantile } from "./distributions.js";
import { type Spending, spent } from "./spending.js";

/** A sequential test in its limit for many pairs. */
export interface NormalDesign {
  /** One-sided error probability, above 0 and below 0.5. */
  readonly alpha: number;
  /** Shares of the pairs at the looks, increasing, above 0 and at most 1. */
  readonly times: readonly number[];
  readonly spending: Spending;
}

export interface NormalLimit {
  /** Standard normal values that cross, look by look. Infinite where nothing can be spent. */
  readonly boundaries: readonly number[];
  /** Probability of crossing at any look. `drift`: expected final z-value, that is gain sqrt(pairs) / sd. */
  power(drift: number): number;
  /** The drift that has this power. */
  driftFor(power: number): number;
  /** Expected share of the pairs that is used. */
  meanTime(drift: number): number;
}

const POINTS = 193; // odd, for Simpson's rule
const REACH = 8; // standard deviations that a grid covers, and beyond which a step is not followed

/**
 * Boundaries, power and mean length by recursive numerical integration: Armitage, McPherson and Rowe, "Repeated
 * significance tests on accumulating data", Journal of the Royal Statistical Society A 132 (1969); Jennison and
 * Turnbull, "Group Sequential Methods" (2000), chapter 19. The density of the motion is carried over the values that
 * have not crossed; a drift multiplies it by exp(drift x - drift^2 t / 2), so that one pass serves all drifts.
 */
export function normalLimit(design: NormalDesign): NormalLimit {
  const { alpha, times, spending } = design;
  checkNumber("normalLimit", "alpha", alpha, { above: 0, below: 0.5 });
  times.forEach((time, i) => {
    checkNumber("normalLimit", `times[${i}]`, time, { above: times[i - 1] ?? 0, max: 1 });
  });
  /** Values, and probability weights, of the motion that goes on after a look. */
  let grid: readonly { x: number; weight: number }[] = [{ x: 0, weight: 1 }];
  let before = 0;
  let spentBefore = 0;
  const boundaries: number[] = [];
  const after: { readonly time: number; readonly grid: typeof grid }[] = [];
  for (const time of times) {
    const step = Math.sqrt(time - before);
    const allowed = spent(spending, alpha, time) - spentBefore;
    const exits = (bound: number) =>
      grid.reduce((sum, { x, weight }) => {
        const z = (x - bound) / step;
        return z < -REACH ? sum : sum + weight * normalCdf(z);
      }, 0);
    let low = 0;
    let high = 40 * Math.sqrt(time);
    if (exits(high) >= allowed) low = high;
    while (high - low > 1e-10) {
      const middle = (low + high) / 2;
      if (exits(middle) > allowed) low = middle;
      else high = middle;
    }
    spentBefore += exits(high);
    boundaries.push(high / Math.sqrt(time));
    const from = -REACH * Math.sqrt(time);
    const width = (Math.min(high, REACH * Math.sqrt(time)) - from) / (POINTS - 1);
    const previous = grid;
    grid = Array.from({ length: POINTS }, (_, i) => {
      const x = from + i * width;
      let density = 0;
      for (const at of previous) {
        const z = (x - at.x) / step;
        if (Math.abs(z) < REACH) density += (at.weight * normalDensity(z)) / step;
      }
      const simpson = i === 0 || i === POINTS - 1 ? 1 / 3 : i % 2 === 1 ? 4 / 3 : 2 / 3;
      return { x, weight: density * simpson * width };
    });
    after.push({ time, grid });
    before = time;
  }
  const goesOn = (at: { readonly time: number; readonly grid: typeof grid }, drift: number) =>
    at.grid.reduce((sum, { x, weight }) => sum + weight * Math.exp(drift * x - (drift * drift * at.time) / 2), 0);
  const power = (drift: number) => 1 - goesOn(after.at(-1)!, drift);
  return {
    boundaries,
    power,
    driftFor: (wanted) => {
      checkNumber("driftFor", "power", wanted, { above: alpha, below: 1 });
      let low = 0;
      let high = 2 * (normalQuantile(1 - alpha) + normalQuantile(Math.max(wanted, 0.5))) + 1;
      while (high - low > 1e-9) {
        const middle = (low + high) / 2;
        if (power(middle) < wanted) low = middle;
        else high = middle;
      }
      return high;
    },
    meanTime: (drift) =>
      after.slice(0, -1).reduce((sum, at, k) => sum + (times[k + 1]! - times[k]!) * goesOn(at, drift), times[0]!),
  };
}
