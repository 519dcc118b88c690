// Takes the reports of an objective, where it runs, and makes its metric of them.

import { OptionError } from "../errors.js";
import { metricFailure } from "./failure.js";
import type { Ending, Work } from "./protocol.js";
import type { Metric, Report, Summary } from "./task.js";

/** Names that "did you mean" chooses from. */
const NAMES = 1000;

/** A value of the metric, with the report that has it. */
export type Entry = readonly [index: number, value: number];

function refuse(path: string, received: unknown, expected: string): never {
  const text = typeof received === "object" ? (JSON.stringify(received) ?? "nothing") : String(received);
  throw new OptionError(`${path} is ${text}; it must be ${expected}`, { op: "report", path, received: text, expected });
}

/** How many reports a summary looks back on. */
export function lengthOf(summary: Summary): number {
  return summary === "final" ? 1 : summary.last;
}

/** Changes of single characters that make one text of another. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; ++i) {
    const next = [i];
    for (let j = 1; j <= b.length; ++j) {
      const swap = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/** The names most like one that is not there: those that end alike first, then those spelt alike. */
export function nearest(name: string, names: Iterable<string>): string[] {
  const leaf = (text: string) => text.slice(text.lastIndexOf(".") + 1);
  const rank = (other: string) => {
    const contains = other.includes(name) || name.includes(other) || leaf(other) === leaf(name);
    return (
      (contains ? 0 : 0.5) + distance(name.toLowerCase(), other.toLowerCase()) / Math.max(name.length, other.length)
    );
  };
  return [...names]
    .map((other) => ({ other, rank: rank(other) }))
    .sort((a, b) => a.rank - b.rank || (a.other < b.other ? -1 : 1))
    .slice(0, 5)
    .map(({ other }) => other);
}

export class Meter {
  readonly #metric: Metric;
  readonly #send: (report: Report, work: Work) => void;
  readonly #names = new Set<string>();
  /** The last values of the metric, not finite ones among them, oldest first. */
  #entries: Entry[] = [];
  #index = 0;
  #last: Readonly<Record<string, number>> = {};
  #work: Work = { iterations: 0, flops: 0 };

  constructor(metric: Metric, send: (report: Report, work: Work) => void) {
    this.#metric = metric;
    this.#send = send;
  }

  get work(): Work {
    return this.#work;
  }

  /** The values that the summary is made of, so far. */
  get entries(): readonly Entry[] {
    return this.#entries;
  }

  /** Goes on from what an earlier attempt had reported. */
  restore(entries: readonly Entry[]): void {
    this.#entries = [...entries];
  }

  /** Takes a report. Numbers that are not finite are not sent on; as the metric, they make the run fail. */
  report(values: unknown, index: unknown = this.#index + 1, flops = 0): void {
    if (typeof values !== "object" || values === null || Array.isArray(values)) {
      refuse("report.values", values, "an object of numbers by dotted names");
    }
    if (!Number.isSafeInteger(index) || (index as number) < 1) refuse("report.index", index, "an integer from 1 on");
    const finite: Record<string, number> = {};
    for (const [name, value] of Object.entries(values)) {
      if (value === undefined) continue;
      if (typeof value !== "number") refuse(`report.values.${name}`, value, "a number");
      if (Number.isFinite(value)) finite[name] = value;
      if (this.#names.size < NAMES) this.#names.add(name);
      if (name !== this.#metric.name) continue;
      this.#entries.push([index as number, value]);
      if (this.#entries.length > lengthOf(this.#metric.summary)) this.#entries.shift();
    }
    this.#index = index as number;
    this.#last = finite;
    this.#work = { iterations: this.#work.iterations + 1, flops: this.#work.flops + flops };
    this.#send({ index: this.#index, values: finite }, this.#work);
  }

  /** How a run ends whose objective returned this. */
  end(returned: unknown): Ending {
    const { name } = this.#metric;
    const named: Record<string, number> = {};
    if (typeof returned === "number") named[name] = returned;
    else if (typeof returned !== "object" || returned === null || Array.isArray(returned)) {
      const what = returned === null ? "null" : Array.isArray(returned) ? "an array" : typeof returned;
      return metricFailure(`the objective returned ${what}; it must be a number, or numbers by names`);
    } else {
      for (const [key, value] of Object.entries(returned)) {
        if (value === undefined) continue;
        if (typeof value !== "number")
          return metricFailure(`the objective returned ${key} as ${typeof value}, no number`);
        named[key] = value;
      }
    }
    const value = named[name] ?? this.#summarised();
    if (value === null) return metricFailure(this.#missing(Object.keys(named)));
    if (!Number.isFinite(value)) return metricFailure(`the metric ${name} is ${value}`);
    const finite = Object.fromEntries(Object.entries(named).filter(([, number]) => Number.isFinite(number)));
    return { ok: true, value, values: { ...this.#last, ...finite, [name]: value } };
  }

  #summarised(): number | null {
    if (this.#entries.length === 0) return null;
    return this.#entries.reduce((sum, [, value]) => sum + value, 0) / this.#entries.length;
  }

  #missing(returned: readonly string[]): string {
    const { name } = this.#metric;
    const near = nearest(name, new Set([...this.#names, ...returned]));
    if (near.length === 0) return `there is no metric ${name}: the objective reported nothing and returned no number`;
    return `there is no metric ${name}; did you mean ${near.join(", ")}?`;
  }
}
