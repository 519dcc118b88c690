// Studies as text for people.

import type { Exploration, NoiseFloor, StudyState, StudySummary, Verdict } from "../lab/index.js";
import { bytes, count, duration, table } from "./report.js";

/** A figure with as many digits as say something. */
export function figure(value: number | null): string {
  if (value === null || Number.isNaN(value)) return "?";
  if (value === Number.POSITIVE_INFINITY) return "inf";
  if (value === Number.NEGATIVE_INFINITY) return "-inf";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

function signed(value: number | null): string {
  const text = figure(value);
  return value !== null && value > 0 ? `+${text}` : text;
}

function interval([low, high]: readonly [number | null, number | null]): string {
  if (low === null && high === null) return "none yet";
  if (high === null) return `above ${signed(low)}`;
  if (low === null) return `below ${signed(high)}`;
  return `${signed(low)} to ${signed(high)}`;
}

export function plural(number: number, what: string): string {
  return `${count(number)} ${what}${number === 1 ? "" : "s"}`;
}

export function listText(studies: readonly StudySummary[]): string {
  if (studies.length === 0) return "the lab has no studies\n";
  return table([
    ["study", "proposals", "runs", "failed", "begun"],
    ...studies.map(({ name, proposals, done, failed, created }) => [
      name,
      count(proposals),
      count(done),
      count(failed),
      created.replace("T", " ").slice(0, 16),
    ]),
  ]);
}

export function armText({ name, spec, arms }: StudyState): string {
  const { metric, budget } = spec;
  const [unit, length] = Object.entries(budget)[0]!;
  const how = metric.summary === "final" ? "at the end" : `mean of the last ${metric.summary.last} reports`;
  let text = `${name}: ${metric.goal} ${metric.name} (${how}), runs of ${figure(length as number)} ${unit}\n`;
  for (const { name: arm, hypothesis, category } of arms) {
    if (hypothesis !== null) text += `  ${arm} (${category}): ${hypothesis}\n`;
  }
  return `${text}\n`;
}

/** What a study's pairs can show, with the noise that there is. */
export function reachText({ detectable, pairsForDelta }: NoiseFloor, { seeds, metric }: StudyState["spec"]): string {
  const { delta } = metric;
  const shown = detectable === null ? "no gain" : `a gain of ${figure(detectable)} four times out of five`;
  const needed =
    delta !== null && pairsForDelta !== null ? `; a gain of ${figure(delta)} needs ${pairsForDelta} pairs` : "";
  return `${seeds.max} pairs can show ${shown}${needed}`;
}

export function noiseText({ noise, spec }: StudyState): string {
  if (!noise) return "";
  return (
    `Noise, from ${noise.runs} runs of the baseline with different seeds: mean ${figure(noise.mean)}, standard ` +
    `deviation ${figure(noise.deviation)} (95% interval ${noise.deviationInterval.map(figure).join(" to ")})\n` +
    `  ${reachText(noise, spec)}\n\n`
  );
}

export function verdictRow(verdict: Verdict): string[] {
  return [
    verdict.name,
    verdict.final ? verdict.verdict : "open",
    signed(verdict.gain),
    interval(verdict.interval),
    String(verdict.pairs),
    duration(verdict.cost.seconds),
  ];
}

export const VERDICT_HEAD = ["proposal", "verdict", "gain", "interval", "pairs", "run time"];

export function verdictsText({ verdicts }: Pick<StudyState, "verdicts">): string {
  if (verdicts.length === 0) return "no proposals\n";
  const level = Math.min(...verdicts.map((verdict) => verdict.level));
  return (
    `${table([VERDICT_HEAD, ...verdicts.map(verdictRow)])}\n` +
    `${verdicts.map(({ sentence }) => `  ${sentence}\n`).join("")}\n` +
    `  Gains are in the metric's unit, positive when better. Each interval holds with ${figure(level * 100)}%, at every look,\n` +
    "  so that all of the study's verdicts hold together.\n"
  );
}

export function runsText({ runs }: StudyState): string {
  return `${table([
    ["run", "seed", "state", "value", "attempts", "time", "memory"],
    ...runs.map(({ arm, seed, state, outcome, attempts }) => [
      arm,
      String(seed),
      outcome && !outcome.ok ? `${state} (${outcome.kind})` : state,
      outcome?.ok ? figure(outcome.value) : "",
      String(attempts),
      outcome ? duration(outcome.cost.seconds) : "",
      outcome ? bytes(outcome.cost.peakMemory) : "",
    ]),
  ])}\n`;
}

export function costText({ runs }: StudyState): string {
  const outcomes = runs.map(({ outcome }) => outcome).filter((outcome) => outcome !== null);
  const seconds = outcomes.reduce((sum, { cost }) => sum + cost.seconds, 0);
  const cpu = outcomes.reduce((sum, { cost }) => sum + cost.cpuSeconds, 0);
  const failed = runs.filter(({ state }) => state === "failed").length;
  return `\n${plural(outcomes.length, "run")}, ${failed} failed; ${duration(seconds)} of run time, ${duration(cpu)} of processors\n`;
}

export function explorationText(a: string, b: string, found: Exploration): string {
  const { metric, runs, iterations, baseline, proposal, gain, low, high, interval: of, reason } = found;
  const what = { runs: "over runs", iterations: "of these two runs only", none: "" }[of ?? "none"];
  return (
    `${metric} over the ${count(iterations.length)} iterations that all runs have reported\n\n` +
    table([
      ["arm", "runs", "mean"],
      [a, String(runs.baseline), figure(baseline)],
      [b, String(runs.proposal), figure(proposal)],
    ]) +
    `\n  gain of ${b}: ${signed(gain)}${of === null ? "" : `, 95% interval ${signed(low)} to ${signed(high)} ${what}`}\n` +
    `  ${reason}\n\n` +
    "  Nobody registered this comparison before the runs, so no verdict follows from it.\n"
  );
}
