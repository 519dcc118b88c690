// The noise of a study: how much runs of the same settings differ, and what that leaves to be seen.

import type { Spec } from "./spec.js";
import { alphaOf, noiseOfRuns, pairsNeeded, smallestGain } from "./stats/index.js";
import { meanOf } from "./stats/moments.js";

/** The noise of a study's metric, from A/A runs. */
export interface NoiseFloor {
  readonly runs: number;
  readonly mean: number;
  /** Standard deviation of a run, and its 95% interval (chi-square, for normal noise). */
  readonly deviation: number;
  readonly deviationInterval: readonly [number, number];
  /** The smallest gain that the study's pairs show with probability 0.8; null where they are too few to show any. */
  readonly detectable: number | null;
  /** Pairs that show a gain of delta with probability 0.8; null without a delta, or where a thousand are too few. */
  readonly pairsForDelta: number | null;
}

/**
 * @param values - the metric of each A/A run, at least 2
 */
export function noiseFloorOf(spec: Spec, values: readonly number[]): NoiseFloor {
  const { sd, low, high } = noiseOfRuns(values);
  const { min, max } = spec.seeds;
  // As if a pair's runs were independent: a shared seed can only make their difference vary less.
  const question = {
    alpha: alphaOf(spec.alpha, { planned: spec.family }, 1),
    side: "two",
    sd: sd * Math.SQRT2,
  } as const;
  const looks = Array.from({ length: max - min + 1 }, (_, i) => min + i);
  const detectable = sd === 0 ? 0 : smallestGain({ ...question, maxPairs: max, looks });
  const { delta } = spec.metric;
  return {
    runs: values.length,
    mean: meanOf(values),
    deviation: sd,
    deviationInterval: [low, high],
    detectable: Number.isFinite(detectable) ? detectable : null,
    pairsForDelta: delta === null || sd === 0 ? null : pairsNeeded(delta, question),
  };
}
