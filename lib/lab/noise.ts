// The noise of a study: how much runs of the same settings differ, and what that leaves to be seen.

import type { Spec } from "./spec.js";
import { alphaOf, chiSquareQuantile, normalQuantile } from "./stats/index.js";

/** The noise of a study's metric. */
export interface NoiseFloor {
  readonly runs: number;
  readonly mean: number;
  /** Standard deviation of a run, and its 95% interval (chi-square). */
  readonly deviation: number;
  readonly deviationInterval: readonly [number, number];
  /** The smallest gain that the study's pairs show with probability 0.8. */
  readonly detectable: number;
  /** Pairs that show a gain of delta with probability 0.8; null without a delta. */
  readonly pairsForDelta: number | null;
}

export function noiseFloorOf(spec: Spec, values: readonly number[]): NoiseFloor {
  const n = values.length;
  const mean = values.reduce((a, b) => a + b, 0) / n;
  const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / (n - 1);
  const deviation = Math.sqrt(variance);
  const z = normalQuantile(1 - alphaOf(spec.alpha, { planned: spec.family }, 1) / 2) + normalQuantile(0.8);
  const { delta } = spec.metric;
  return {
    runs: n,
    mean,
    deviation,
    deviationInterval: [
      Math.sqrt(((n - 1) * variance) / chiSquareQuantile(0.975, n - 1)),
      Math.sqrt(((n - 1) * variance) / chiSquareQuantile(0.025, n - 1)),
    ],
    detectable: z * deviation * Math.sqrt(2 / spec.seeds.max),
    pairsForDelta: delta === null ? null : Math.ceil(2 * (z * (deviation / delta)) ** 2),
  };
}
