export { type Atlas, type AtlasArguments, atlasText, type BlunderCluster, blunderAtlas } from "./atlas.js";
export { type Blunder, type BlunderKind, findBlunders } from "./blunders.js";
export type { Calibration, CalibrationBin } from "./calibration.js";
export { type Connect4Agent, type JudgeArguments, judgeConnect4 } from "./connect4.js";
export {
  type Answer,
  type Judgement,
  judgeAnswers,
  type MistakeShare,
  type Mistakes,
  type PlayJudgement,
  type PositionShare,
} from "./judgement.js";
export { connect4Positions, PLY_BANDS, type PlyBand, type ScoredPosition } from "./positions.js";
