// A lab to look into: its studies, its tables, its state of health. Nothing here runs anything.

import { OptionError } from "../errors.js";
import { type Exploration, explore } from "./explore.js";
import { Ledger } from "./ledger.js";
import type { Spec } from "./spec.js";
import { type StudyState, StudyView } from "./view.js";

/** A study in a few words. */
export interface StudySummary {
  readonly name: string;
  /** When it began: ISO 8601, UTC. */
  readonly created: string;
  readonly proposals: number;
  /** Runs that are done, and that failed for good. */
  readonly done: number;
  readonly failed: number;
}

/** The study of a name, as it was registered. */
export function specOf(ledger: Ledger, name: string, lab: string): Spec {
  const found = ledger.study(name);
  if (found) {
    const { environment: _, ...spec } = found.spec;
    return spec as unknown as Spec;
  }
  const names = ledger.studies().map((study) => study.name);
  const has = names.join(", ") || "none";
  throw new OptionError(`${lab} has no study ${name}; it has ${has}`, {
    op: "study",
    path: "study",
    received: name,
    expected: names.length > 0 ? `one of ${has}` : "a study that was begun",
  });
}

/**
 * A lab's file, opened to read.
 *
 * @example
 * ```ts
 * const lab = Lab.open("lab.sqlite");
 * for (const { name } of lab.studies()) console.log(name, lab.study(name).verdicts);
 * console.table(lab.query("select arm, avg(value) as mean from results group by arm"));
 * lab.close();
 * ```
 */
export class Lab implements Disposable {
  readonly path: string;
  readonly #ledger: Ledger;

  private constructor(path: string, ledger: Ledger) {
    this.path = path;
    this.#ledger = ledger;
  }

  /** @throws {@link IoError} where there is no such file; {@link BellowsError} where it is no lab */
  static open(path = "lab.sqlite"): Lab {
    return new Lab(path, Ledger.open(path, { readonly: true }));
  }

  studies(): StudySummary[] {
    return this.#ledger.studies().map(({ name, time }) => {
      const runs = this.#ledger.runs(name);
      const count = (state: string) => runs.filter((run) => run.state === state).length;
      return {
        name,
        created: new Date(time).toISOString(),
        proposals: this.#ledger.comparisons(name).length,
        done: count("done"),
        failed: count("failed"),
      };
    });
  }

  /** @throws {@link OptionError} naming the studies that there are */
  study(name: string): StudyState {
    return this.#view(name).state();
  }

  #view(name: string): StudyView {
    return new StudyView(this.#ledger, specOf(this.#ledger, name, this.path));
  }

  /**
   * Two arms of a study over the iterations that all of their runs have reported, stopped runs included. Nobody
   * registered it, so it claims nothing: a change that looks good here is one to propose in a study of its own.
   *
   * @param metric - another reported number than the study's
   */
  compare(name: string, baseline: string, proposal: string, metric?: string): Exploration {
    return explore(this.#view(name), baseline, proposal, metric);
  }

  /** The rows of one SELECT on the lab's tables: see {@link Ledger.query}. */
  query(...args: Parameters<Ledger["query"]>): ReturnType<Ledger["query"]> {
    return this.#ledger.query(...args);
  }

  /** What is damaged: events whose content is not what was written, and what they were. */
  check(): ReturnType<Ledger["check"]> {
    return this.#ledger.check();
  }

  close(): void {
    this.#ledger.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
