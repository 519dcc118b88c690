// Keep or revert one change: a study of one comparison, for programs that have an idea and want to know.

import type { ProposalSpec, StudySpec } from "./spec.js";
import { type RunArguments, Study, type StudyArguments, type StudyEvent } from "./study.js";
import type { Verdict } from "./verdict.js";

/** Whether a change is kept, and why. */
export interface Decision {
  readonly keep: boolean;
  readonly verdict: Verdict;
}

/**
 * Adds pairs of runs, baseline and change, on fresh seeds until it is decided whether the change is better, or its pairs
 * are used up. It is kept only if it is shown to be better; the chance that one is kept which is not is at most `alpha`
 * (0.05). To try many changes one after another, with that chance over all of them, use {@link Study.keepOrRevert}.
 *
 * @param study - the study without its proposals; its name may be left out
 * @param args - `lab: null`, the default here, keeps nothing
 *
 * @example
 * ```ts
 * const { keep, verdict } = await keepOrRevert(
 *   {
 *     objective: "function",
 *     metric: { name: "score", goal: "maximize" },
 *     budget: { iterations: 1 },
 *     baseline: { config: { depth: 2 } },
 *   },
 *   { change: { depth: 3 }, hypothesis: "A deeper net scores higher." },
 *   { objective: async ({ depth }, { seed }) => ({ score: await trainAndScore(depth, seed) }) },
 * );
 * ```
 */
export async function keepOrRevert(
  study: Omit<StudySpec, "name" | "proposals" | "family"> & { readonly name?: string },
  change: ProposalSpec,
  args: StudyArguments & RunArguments & { readonly onEvent?: (event: StudyEvent) => void } = {},
): Promise<Decision> {
  const { lab = null, directory, objective, ...how } = args;
  const name = study.name ?? "keep-or-revert";
  const opened = await Study.open(
    { noise: { runs: 0 }, ...study, name, proposals: {}, family: 1 },
    { lab, directory, objective },
  );
  try {
    return await opened.keepOrRevert("change", change, how);
  } finally {
    opened.close();
  }
}
