// Which runs a study wants next, given those that it has. Pure: the same records always want the same runs, so a study
// that was killed goes on as if it had not been, and several processes can work on one.

import { noiseSeed, pairSeeds, type Spec } from "./spec.js";
import type { Cost, Outcome } from "./task.js";

/** A comparison of a study: what was registered before its first run. */
export interface Comparison {
  readonly name: string;
  /** The arm compared with, and the arm that is tried. */
  readonly baseline: string;
  readonly proposal: string;
  readonly seeds: "shared" | "own";
  /** Which seeds it uses; 0 for those that share the baseline's runs. See {@link pairSeeds}. */
  readonly block: number;
  /** `two`: better or worse. `greater`: only whether it is better, as keep or revert asks. */
  readonly side: "two" | "greater";
  /** Whether it ends early when a gain has become unlikely. */
  readonly futility: boolean;
}

/** An arm and a seed of the study at hand. */
export interface RunId {
  readonly arm: string;
  readonly seed: number;
}

/** What is known of a run. */
export interface RunRecord extends RunId {
  readonly state: "waiting" | "running" | "done" | "failed";
  /** How often it was begun; how many of these attempts failed by themselves, and died with their runner at once. */
  readonly attempts: number;
  readonly failures: number;
  readonly lost: number;
  /** The last outcome. */
  readonly outcome: Outcome | null;
}

/** Looks up a run; undefined where it was never begun. */
export type Records = (id: RunId) => RunRecord | undefined;

/** One pair of a comparison whose runs have both ended. */
export interface Pair {
  /** From 0. */
  readonly index: number;
  readonly seeds: readonly [number, number];
  /** The metric's values; null where that run failed. */
  readonly baseline: number | null;
  readonly proposal: number | null;
  /** Improvement of the proposal in the metric's unit, positive when better; null where either failed. */
  readonly gain: number | null;
  readonly cost: Cost;
}

export const NO_COST: Cost = { seconds: 0, iterations: 0, flops: 0, cpuSeconds: 0, peakMemory: 0 };

/** What several runs took together; of memory the most. */
export function totalCost(costs: readonly Cost[]): Cost {
  return costs.reduce(
    (sum, cost) => ({
      seconds: sum.seconds + cost.seconds,
      iterations: sum.iterations + cost.iterations,
      flops: sum.flops + cost.flops,
      cpuSeconds: sum.cpuSeconds + cost.cpuSeconds,
      peakMemory: Math.max(sum.peakMemory, cost.peakMemory),
    }),
    NO_COST,
  );
}

function ended(record: RunRecord | undefined): record is RunRecord {
  return record?.state === "done" || record?.state === "failed";
}

function metricOf(record: RunRecord): number | null {
  return record.state === "done" && record.outcome?.ok ? record.outcome.value : null;
}

/**
 * The pairs of a comparison whose runs have ended, from the first on without a gap: what comes after an unfinished pair
 * waits for it, so that the order in which runs happen to end never matters.
 */
export function pairsOf(spec: Spec, comparison: Comparison, records: Records): Pair[] {
  const pairs: Pair[] = [];
  for (let index = 0; index < spec.seeds.max; ++index) {
    const seeds = pairSeeds(spec, comparison.seeds, index, comparison.block);
    const a = records({ arm: comparison.baseline, seed: seeds[0] });
    const b = records({ arm: comparison.proposal, seed: seeds[1] });
    if (!ended(a) || !ended(b)) break;
    const baseline = metricOf(a);
    const proposal = metricOf(b);
    const sign = spec.metric.goal === "maximize" ? 1 : -1;
    const gain = baseline === null || proposal === null ? null : sign * (proposal - baseline);
    const cost = totalCost([a.outcome?.cost ?? NO_COST, b.outcome?.cost ?? NO_COST]);
    pairs.push({ index, seeds, baseline, proposal, gain, cost });
  }
  return pairs;
}

/** The A/A runs of a study: the arm whose noise is measured, with seeds of their own. */
export function noiseRuns(spec: Spec, arm: string): RunId[] {
  return Array.from({ length: spec.noise.runs }, (_, index) => ({ arm, seed: noiseSeed(spec, index) }));
}

/** The values of A/A runs that are done. */
export function noiseValues(spec: Spec, arm: string, records: Records): number[] {
  return noiseRuns(spec, arm)
    .map((id) => records(id))
    .filter(ended)
    .map(metricOf)
    .filter((value) => value !== null);
}

/**
 * The runs that are wanted and have not ended, the most urgent first: the noise, then the first unfinished pair of each
 * undecided comparison, then, for processors that would idle, later pairs.
 */
export function* wantedRuns(
  spec: Spec,
  noiseArm: string,
  undecided: readonly Comparison[],
  records: Records,
): Generator<RunId> {
  const seen = new Set<string>();
  const isWanted = (id: RunId) => {
    const key = `${id.seed} ${id.arm}`;
    if (seen.has(key) || ended(records(id))) return false;
    seen.add(key);
    return true;
  };
  for (const id of noiseRuns(spec, noiseArm)) if (isWanted(id)) yield id;
  const starts = undecided.map((comparison) => pairsOf(spec, comparison, records).length);
  for (let ahead = 0; ahead < spec.seeds.max; ++ahead) {
    for (const [position, comparison] of undecided.entries()) {
      const index = starts[position]! + ahead;
      if (index >= spec.seeds.max) continue;
      const [a, b] = pairSeeds(spec, comparison.seeds, index, comparison.block);
      for (const id of [
        { arm: comparison.baseline, seed: a },
        { arm: comparison.proposal, seed: b },
      ]) {
        if (isWanted(id)) yield id;
      }
    }
  }
}
