// Comparisons that nobody registered before the runs: for looking around, not for claims.

import { OptionError } from "../errors.js";
import { comparePrefix, type PrefixComparison } from "./stats/index.js";
import type { StudyView } from "./view.js";

/** Two arms by what all of their runs have reached. */
export interface Exploration extends PrefixComparison {
  readonly metric: string;
  /** Runs of each arm that have reports with the metric, stopped ones included. */
  readonly runs: { readonly baseline: number; readonly proposal: number };
}

/** Compares two arms of a study over the iterations that all of their runs have reported. */
export function explore(
  view: StudyView,
  baseline: string,
  proposal: string,
  metric = view.spec.metric.name,
): Exploration {
  const arms = view.arms().map(({ name }) => name);
  const seriesOf = (arm: string, path: string) => {
    if (!arms.includes(arm)) {
      throw new OptionError(`study ${view.name} has no arm ${arm}; it has ${arms.join(", ")}`, {
        op: "study",
        path,
        received: arm,
        expected: `one of ${arms.join(", ")}`,
      });
    }
    const runs = view.runs().filter((run) => run.arm === arm);
    const reports = runs.map((run) => view.reports(run));
    const series = reports
      .map((run) => run.filter(({ values }) => values[metric] !== undefined))
      .filter((run) => run.length > 0)
      .map((run) => ({ iterations: run.map(({ index }) => index), values: run.map(({ values }) => values[metric]!) }));
    if (series.length > 0) return series;
    // What only results have is compared as they are.
    const results = runs.flatMap(({ outcome }) => (outcome?.ok ? [outcome.values] : []));
    const values = results.flatMap((result) => result[metric] ?? []);
    if (values.length > 0) return values.map((value) => ({ iterations: [1], values: [value] }));
    const named = [...reports.flat().map((report) => report.values), ...results].flatMap(Object.keys);
    const known = [...new Set(named)].sort().join(", ");
    throw new OptionError(`no run of ${arm} has ${metric}; ${known ? `they have ${known}` : "they have nothing yet"}`, {
      op: "study",
      path: "metric",
      received: metric,
      expected: known ? `one of ${known}` : "a run with reports",
    });
  };
  const runs = { baseline: seriesOf(baseline, "a"), proposal: seriesOf(proposal, "b") };
  return {
    ...comparePrefix(runs, { goal: view.spec.metric.goal }),
    metric,
    runs: { baseline: runs.baseline.length, proposal: runs.proposal.length },
  };
}
