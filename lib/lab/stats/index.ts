export { alphaOf, type Family, leastPairs } from "./alpha.js";
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
export { conditionalPower, type Futility } from "./futility.js";
export { type Random, randomOf } from "./random.js";
export {
  DEFAULT_FUTILITY,
  DEFAULT_SPENDING,
  type Decision,
  decide,
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
export { type Spending, spent } from "./spending.js";
