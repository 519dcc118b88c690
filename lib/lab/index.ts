// The lab: studies of settings over seeds, one ledger, verdicts that hold. Published as `bellows/lab`.

export type { Exploration } from "./explore.js";
export { type Decision as KeepDecision, keepOrRevert } from "./keep.js";
export { Lab, type StudySummary } from "./lab.js";
export type { Problem } from "./ledger.js";
export type { NoiseFloor } from "./noise.js";
export type { Comparison, RunRecord } from "./schedule.js";
export {
  BASELINE,
  type Proposal,
  type ProposalSpec,
  resolveSpec,
  type Spec,
  type StudySpec,
  studySchema,
} from "./spec.js";
export * from "./stats/index.js";
export { type RunArguments, Study, type StudyArguments, type StudyEvent } from "./study.js";
export type * from "./task.js";
export type { Verdict } from "./verdict.js";
export type { Arm, StudyState } from "./view.js";
