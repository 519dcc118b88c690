// What a lab knows of a study, read from its ledger: arms, runs, noise and verdicts. Nothing here changes anything.

import type { Ledger, RunRecord as LedgerRun } from "./ledger.js";
import { type NoiseFloor, noiseFloorOf } from "./noise.js";
import {
  type Comparison,
  noiseValues,
  type Pair,
  pairsOf,
  type Records,
  type RunId,
  type RunRecord,
  wantedRuns,
} from "./schedule.js";
import { BASELINE, type Spec } from "./spec.js";
import type { Config, Report } from "./task.js";
import { isFinal, judge, undecidable, type Verdict } from "./verdict.js";

/** A setting that a study runs. */
export interface Arm {
  readonly name: string;
  readonly config: Config;
  /** Null for the baseline. */
  readonly hypothesis: string | null;
  readonly category: string | null;
  /** Arms that compute the same have the same. */
  readonly fingerprint: string;
}

/** What there is of a study. */
export interface StudyState {
  readonly name: string;
  readonly spec: Spec;
  readonly arms: readonly Arm[];
  readonly runs: readonly RunRecord[];
  /** Null before two A/A runs are done. */
  readonly noise: NoiseFloor | null;
  readonly verdicts: readonly Verdict[];
  /** Why its pairs can decide nothing, whatever the runs come to; null where they can. */
  readonly undecidable: string | null;
  /** Whether there is nothing left to run. */
  readonly finished: boolean;
}

/** The same pairs always have the same verdict. */
function idOf(comparison: Comparison, pairs: readonly Pair[]): string {
  return `${comparison.name} ${pairs.length}`;
}

function key(id: RunId): string {
  return `${id.seed} ${id.arm}`;
}

function recordOf({ key: { arm, seed }, state, claims, attempts, lost, outcome }: LedgerRun): RunRecord {
  const failures = attempts - (state === "done" ? 1 : 0);
  return { arm, seed, state, attempts: claims, failures, lost, outcome };
}

/** A study as its ledger has it. */
export class StudyView {
  readonly spec: Spec;
  readonly #ledger: Ledger;
  /** Verdicts by the pairs that they are of. */
  readonly #judged = new Map<string, Verdict>();
  readonly #final = new Map<string, boolean>();
  /** Runs as they were at the last look, and the last event that changed one of them. */
  readonly #known = new Map<string, RunRecord>();
  #event = 0;

  constructor(ledger: Ledger, spec: Spec) {
    this.#ledger = ledger;
    this.spec = spec;
  }

  get name(): string {
    return this.spec.name;
  }

  arms(): Arm[] {
    return this.#ledger.arms(this.name).map(({ name, body }) => ({ name, ...(body as unknown as Omit<Arm, "name">) }));
  }

  /** In the order in which they were registered. */
  comparisons(): Comparison[] {
    return this.#ledger
      .comparisons(this.name)
      .map(({ name, body }) => ({ name, ...(body as unknown as Omit<Comparison, "name">) }));
  }

  runs(): RunRecord[] {
    return this.#ledger.runs(this.name).map(recordOf);
  }

  /** All runs as they are now, to look up. Reads only what has changed since the last time. */
  records(): Records {
    for (const run of this.#ledger.runs(this.name, this.#event)) {
      const record = recordOf(run);
      this.#known.set(key(record), record);
      this.#event = Math.max(this.#event, run.event);
    }
    return (id) => this.#known.get(key(id));
  }

  reports(id: RunId): readonly Report[] {
    return this.#ledger.reports({ study: this.name, ...id });
  }

  noise(records: Records): NoiseFloor | null {
    const values = noiseValues(this.spec, BASELINE, records);
    return values.length < 2 ? null : noiseFloorOf(this.spec, values);
  }

  /** Whether a comparison wants no more pairs: its verdict's `final`, in less time. */
  isFinal(comparison: Comparison, records: Records): boolean {
    const pairs = pairsOf(this.spec, comparison, records);
    const id = idOf(comparison, pairs);
    let final = this.#judged.get(id)?.final ?? this.#final.get(id);
    if (final === undefined) {
      final = isFinal(this.spec, comparison, pairs);
      this.#final.set(id, final);
    }
    return final;
  }

  verdict(comparison: Comparison, records: Records): Verdict {
    const pairs = pairsOf(this.spec, comparison, records);
    const id = idOf(comparison, pairs);
    let verdict = this.#judged.get(id);
    if (!verdict) {
      verdict = judge(this.spec, comparison, pairs);
      this.#judged.set(id, verdict);
    }
    return verdict;
  }

  /** The arm that a new change is compared with: the last one that was kept, or the first baseline. */
  baseline(): string {
    const records = this.records();
    const kept = this.comparisons().findLast(
      (comparison) => comparison.side === "greater" && this.verdict(comparison, records).verdict === "better",
    );
    return kept?.proposal ?? BASELINE;
  }

  state(): StudyState {
    const records = this.records();
    const comparisons = this.comparisons();
    const verdicts = comparisons.map((comparison) => this.verdict(comparison, records));
    const open = comparisons.filter((_, position) => !verdicts[position]!.final);
    return {
      name: this.name,
      spec: this.spec,
      arms: this.arms(),
      runs: this.runs(),
      noise: this.noise(records),
      verdicts,
      undecidable: undecidable(this.spec, comparisons.some(({ side }) => side === "two") ? "two" : "greater"),
      finished: wantedRuns(this.spec, BASELINE, open, records).next().done === true,
    };
  }
}
