export { type BootstrapArguments, bootstrapRatings, type RatingInterval } from "./bootstrap.js";
export {
  type BradleyTerryArguments,
  type BradleyTerryFit,
  bradleyTerry,
  type PlayerRating,
} from "./bradley-terry.js";
export { type Cycle, cycles } from "./cycles.js";
export { type Encounter, encounter, encounterOf, type Tally, totalOf } from "./encounter.js";
export { fixedPoolRating, type PoolResult } from "./fixed-pool.js";
export { gamesToSeparate, type PowerArguments } from "./power.js";
export { expectedScore, pointsOf } from "./scale.js";
export type { Standing } from "./separation.js";
export { sequentialElo } from "./sequential.js";
