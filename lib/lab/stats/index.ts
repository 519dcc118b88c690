export { alphaOf, type Family, leastPairs } from "./alpha.js";
export {
  aggregates,
  type BootstrapOptions,
  type Estimate,
  iqm,
  type Scores,
  stratifiedBootstrap,
} from "./bootstrap.js";
export type { Numbers } from "./check.js";
export {
  betaCdf,
  betaQuantile,
  chiSquareCdf,
  chiSquareQuantile,
  clopperPearson,
  fCdf,
  normalCdf,
  normalDensity,
  normalQuantile,
  studentCdf,
  studentQuantile,
} from "./distributions.js";
export { type EquivalenceTest, equivalentWithin, tost } from "./equivalence.js";
export { conditionalPower, type Futility } from "./futility.js";
export { type NormalDesign, type NormalLimit, normalLimit } from "./group-sequential.js";
export { type Contest, probabilityOfImprovement } from "./improvement.js";
export {
  type Noise,
  noiseOfPairs,
  noiseOfRuns,
  type PowerQuestion,
  pairsNeeded,
  smallestGain,
} from "./noise.js";
export { comparePrefix, type PrefixComparison, type PrefixOptions } from "./prefix.js";
export { type Random, randomOf } from "./random.js";
export {
  DEFAULT_FUTILITY,
  DEFAULT_SPENDING,
  type Decision,
  decide,
  firstAbleLook,
  type GainInterval,
  type Look,
  pairedSequentialTest,
  repeatedInterval,
  rulesOut,
  type SequentialDesign,
  type SequentialTest,
  type Side,
  sequentialP,
} from "./sequential.js";
export {
  autocorrelation,
  expectedMaximum,
  expectedMaximumOf,
  lastMean,
  type PeakAudit,
  peakAudit,
  type Series,
  type SeriesMean,
  seriesMean,
  type Trend,
  trendTest,
} from "./series.js";
export { type ConditionalEstimate, conditionalEstimate, jamesStein, type Shrunk, shrinkTogether } from "./shrinkage.js";
export { type Spending, spent } from "./spending.js";
