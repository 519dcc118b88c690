// What a comparison comes to: better, worse, equivalent or undecided, by how much, how sure, and at what cost.

import { type Comparison, type Pair, totalCost } from "./schedule.js";
import type { Spec } from "./spec.js";
import {
  alphaOf,
  conditionalEstimate,
  DEFAULT_FUTILITY,
  decide,
  firstAbleLook,
  normalQuantile,
  probabilityOfImprovement,
  repeatedInterval,
  rulesOut,
  type SequentialDesign,
  sequentialP,
} from "./stats/index.js";
import { varianceOf } from "./stats/moments.js";
import type { Cost } from "./task.js";

/** A comparison, judged. */
export interface Verdict {
  readonly name: string;
  readonly baseline: string;
  readonly proposal: string;
  readonly verdict: "better" | "worse" | "equivalent" | "undecided";
  /** Whether no further pair is wanted. */
  readonly final: boolean;
  /** Mean gain of the pairs, in the metric's unit, positive when better; null without pairs. */
  readonly gain: number | null;
  /** The gain's repeated confidence interval: it holds at every look. Null where there is no bound yet. */
  readonly interval: readonly [number | null, number | null];
  /** Its coverage, so that all of the study's intervals hold together with 1 - alpha. */
  readonly level: number;
  /** The smallest of this comparison's shares of alpha at which it would be decided by now. */
  readonly p: number;
  /** Pairs that the verdict is from. */
  readonly pairs: number;
  /** Pairs that were run, those with a failed run and those beyond the deciding one included. */
  readonly ran: number;
  /** Runs that failed. */
  readonly failures: { readonly baseline: number; readonly proposal: number };
  /** Of a better proposal the gain, corrected for having been picked because it was large; else null. */
  readonly shrunk: number | null;
  /** Probability that a run of the proposal beats one of the baseline, with its 95% interval. */
  readonly improvement: { readonly probability: number; readonly interval: readonly [number, number] } | null;
  /** Why it is what it is. */
  readonly reason: string;
  readonly cost: Cost;
  readonly sentence: string;
}

/** What a comparison is judged by: it has a share of alpha. */
function designOf(
  { seeds: { min, max }, alpha, family }: Pick<Spec, "seeds" | "alpha" | "family">,
  { side, futility }: Pick<Comparison, "side" | "futility">,
): SequentialDesign {
  return {
    alpha: alphaOf(alpha, { planned: family }, 1),
    side,
    maxPairs: max,
    looks: Array.from({ length: max - min + 1 }, (_, i) => min + i),
    futility: futility ? DEFAULT_FUTILITY : null,
  };
}

/**
 * Why no comparison of a study can be decided, whatever its runs come to; null where they can.
 *
 * @param side - of its comparisons: `greater` for those of {@link Study.keepOrRevert}
 */
export function undecidable(
  spec: Pick<Spec, "seeds" | "alpha" | "family">,
  side: Comparison["side"] = "two",
): string | null {
  const able = (max: number) =>
    firstAbleLook(designOf({ ...spec, seeds: { ...spec.seeds, max } }, { side, futility: false })) !== null;
  const { min, max } = spec.seeds;
  if (able(max)) return null;
  const shared = spec.family === 1 ? "" : `, shared among ${spec.family} proposals`;
  const wanted = Array.from({ length: 1000 - min + 1 }, (_, i) => min + i).filter(able);
  const range = wanted.length === 0 ? "" : `; it takes ${wanted[0]} to ${wanted.at(-1)}`;
  return `${max} pairs can decide nothing at alpha ${spec.alpha}${shared}${range}`;
}

/** Where the pairs of a comparison decide it: the first look at which one of the rules holds. */
interface Stop {
  readonly verdict: Verdict["verdict"];
  readonly pairs: number;
  readonly reason: string;
}

/** A verdict that the data would have given earlier stays, whatever pairs came after it. */
function stopOf(gains: readonly number[], design: SequentialDesign, delta: number | null): Stop | null {
  const { looks } = decide(gains, design);
  for (const look of looks) {
    if (look.crossed !== null) {
      const verdict = look.crossed === "greater" ? "better" : "worse";
      return { verdict, pairs: look.pairs, reason: "the interval leaves out 0" };
    }
    if (delta !== null && design.side === "two") {
      const there = gains.slice(0, look.pairs);
      const inside = rulesOut(there, design, -delta, "greater") && rulesOut(there, design, delta, "less");
      if (inside) return { verdict: "equivalent", pairs: look.pairs, reason: "the interval lies within delta of 0" };
    }
    if (look.futile) {
      return { verdict: "undecided", pairs: look.pairs, reason: "given up: more pairs would hardly show a gain" };
    }
  }
  return null;
}

/**
 * The gain without what luck adds to gains that are picked because they cross a boundary.
 *
 * The sign-flip boundary itself will not do as the threshold: it grows with the differences, so that a gain far above the
 * noise lies just above it. What counts is the gain at which, with this noise, crossing is as likely as not: by the
 * large-sample form of the test, or, where few pairs must all agree in sign, by the chance that they do.
 */
function shrunkGain(gains: readonly number[], design: SequentialDesign): number {
  const n = gains.length;
  const { spent, estimate } = decide(gains, design).looks.at(-1)!;
  const deviation = Math.sqrt(varianceOf(gains));
  // Without noise there is no luck.
  if (deviation === 0) return estimate;
  const z = normalQuantile(1 - spent);
  const large = n > z * z ? z / Math.sqrt(n - z * z) : Number.POSITIVE_INFINITY;
  const agreeing = normalQuantile(0.5 ** (1 / n));
  const threshold = Math.min(estimate, deviation * Math.min(large, agreeing));
  return conditionalEstimate(estimate, deviation / Math.sqrt(n), threshold).compromise;
}

/** How probable it is that a run of the proposal beats one of the baseline. */
function improvementOf(pairs: readonly Pair[], spec: Spec): NonNullable<Verdict["improvement"]> {
  const sign = spec.metric.goal === "maximize" ? 1 : -1;
  const proposal = pairs.map((pair) => sign * pair.proposal!);
  const baseline = pairs.map((pair) => sign * pair.baseline!);
  const { estimate, low, high } = probabilityOfImprovement([{ proposal, baseline }]);
  return { probability: estimate, interval: [low, high] };
}

function bound(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** What the pairs decide, without what takes longer: interval and p. */
function decided(spec: Spec, comparison: Comparison, pairs: readonly Pair[]) {
  const design = designOf(spec, comparison);
  const whole = pairs.filter((pair) => pair.gain !== null);
  const gains = whole.map((pair) => pair.gain!);
  const failures = {
    baseline: pairs.filter((pair) => pair.baseline === null).length,
    proposal: pairs.filter((pair) => pair.proposal === null).length,
  };
  const { baseline, proposal } = failures;
  // What is left of an arm are its lucky seeds.
  const fails = proposal > baseline ? "proposal" : baseline > proposal ? "baseline" : null;
  const usedUp = pairs.length >= spec.seeds.max;
  let stop = stopOf(gains, design, spec.metric.delta);
  const favoured = { proposal: "better", baseline: "worse" } as const;
  if (stop && fails && (stop.verdict === favoured[fails] || stop.verdict === "equivalent")) {
    const reason = `${proposal} of its runs failed, ${baseline} of the baseline's`;
    stop = usedUp ? { ...stop, verdict: "undecided", reason } : null;
  }
  return { design, whole, gains, failures, usedUp, stop };
}

/** Whether no further pair is wanted: the verdict's `final`, in a hundredth of the time. */
export function isFinal(spec: Spec, comparison: Comparison, pairs: readonly Pair[]): boolean {
  const { stop, usedUp } = decided(spec, comparison, pairs);
  return stop !== null || usedUp;
}

/**
 * Judges a comparison by the pairs whose runs have ended. The same pairs give the same verdict, whatever the order in
 * which they ended.
 *
 * Pairs with a failed run say nothing about the gain, but the arm of which more runs fail is never called the better one,
 * nor both equivalent: the gain would be that of its lucky seeds.
 */
export function judge(spec: Spec, comparison: Comparison, pairs: readonly Pair[]): Verdict {
  const { name, baseline, proposal } = comparison;
  const { design, whole, gains, failures, usedUp, stop } = decided(spec, comparison, pairs);
  const used = gains.slice(0, stop?.pairs ?? gains.length);
  const interval = repeatedInterval(used, design);
  const gain = used.length === 0 ? null : used.reduce((sum, value) => sum + value, 0) / used.length;
  const outcome: Omit<Verdict, "sentence"> = {
    name,
    baseline,
    proposal,
    verdict: stop?.verdict ?? "undecided",
    final: stop !== null || usedUp,
    gain,
    interval: [bound(interval.low), bound(interval.high)],
    level: 1 - design.alpha,
    p: used.length === 0 ? 1 : sequentialP(used, design),
    pairs: used.length,
    ran: pairs.length,
    failures,
    shrunk: stop?.verdict === "better" ? shrunkGain(used, design) : null,
    improvement: used.length < 2 ? null : improvementOf(whole.slice(0, used.length), spec),
    reason: stop?.reason ?? (usedUp ? reasonOf(used, pairs.length, spec, design) : "pairs are missing"),
    cost: totalCost(pairs.map((pair) => pair.cost)),
  };
  return { ...outcome, sentence: sentenceOf(outcome, spec) };
}

/** Why pairs that are used up have decided nothing. */
function reasonOf(used: readonly number[], ran: number, spec: Spec, { side }: SequentialDesign): string {
  if (used.length === 0) return "no pair has two values";
  if (used.length < ran) return `${ran - used.length} of ${ran} pairs had a failed run`;
  const never = undecidable(spec, side);
  if (never !== null) return never;
  return spec.metric.delta === null
    ? `all ${ran} pairs are used up, and the interval holds 0`
    : `all ${ran} pairs are used up, and the interval holds 0 and more than delta`;
}

function figure(value: number): string {
  return String(Number(value.toPrecision(3)));
}

/** A verdict in words; every number in them is one of its fields. */
function sentenceOf(verdict: Omit<Verdict, "sentence">, spec: Spec): string {
  const { proposal, baseline, gain, pairs, cost, level, p, shrunk, reason } = verdict;
  const [low, high] = verdict.interval;
  if (gain === null) return `${proposal} against ${baseline}: nothing known, ${reason}.`;
  const limits =
    low !== null && high !== null
      ? `${figure(low)} to ${figure(high)}`
      : low !== null
        ? `above ${figure(low)}`
        : high !== null
          ? `below ${figure(high)}`
          : "no bound yet";
  const how =
    `${figure(level * 100)}% interval ${limits}, p ${p < 0.001 ? "below 0.001" : figure(p)}, ` +
    `${pairs} pairs, ${figure(cost.seconds)} s of run time`;
  const by = figure(Math.abs(gain));
  switch (verdict.verdict) {
    case "better": {
      const corrected = shrunk === null ? "" : `, ${figure(shrunk)} when corrected for having been picked`;
      return `${proposal} is better than ${baseline} by ${by}${corrected} (${how}).`;
    }
    case "worse":
      return `${proposal} is worse than ${baseline} by ${by} (${how}).`;
    case "equivalent":
      return `${proposal} is equivalent to ${baseline} within ${figure(spec.metric.delta ?? 0)}: gain ${figure(gain)} (${how}).`;
    case "undecided":
      return `${proposal} against ${baseline} is undecided: gain ${figure(gain)} (${how}); ${reason}.`;
  }
}
