export {
  BellowsError,
  CheckpointError,
  ClosedError,
  DeviceError,
  type ErrorCode,
  IoError,
  NoBinaryError,
  NumericError,
  OptionError,
  OutOfMemoryError,
  type PlanRow,
  type Runtime,
  type TriedBinary,
} from "./errors.js";
export type {
  Certificate,
  Evaluation,
  Exploit,
  Iteration,
  League,
  PositionPolicy,
  Role,
  SeatShares,
  Shares,
  VersusRandom,
} from "./events.js";
export * from "./judge/index.js";
export { type MatchArguments, type MatchGame, type MatchResult, playMatch } from "./match/match.js";
export { type OpeningArguments, randomOpenings } from "./match/openings.js";
export { Player, type PlayerSpec, type PolicyPlayer, parseReferencePlayer } from "./match/player.js";
export { type Pool, type PoolMember, readPool, writePool } from "./match/pool.js";
export { type PoolRating, type PoolRatingArguments, rateOnPool } from "./match/rate-on-pool.js";
export { playRoundRobin, type RoundRobinArguments } from "./match/round-robin.js";
export * from "./names.gen.js";
export { resolveOptions } from "./options.js";
export type { MemoryRoof, ProfileRow, Roof } from "./profile.js";
export * from "./ratings/index.js";
export { type LoadArguments, type Plan, SelfPlay, type TensorInfo, type TrainArguments } from "./selfplay.js";
export {
  Connect4Solver,
  type Solution,
  type SolveArguments,
  type SolveManyArguments,
  type SolverOptions,
} from "./solver.js";
export { Trace, type TraceArguments, type TraceEvent, type TraceFile } from "./trace.js";
