// A study at work on a terminal: a table that is drawn anew, a line for each event elsewhere; always on stderr.

import { createLogUpdate } from "log-update";
import type { Study, StudyEvent } from "../lab/index.js";
import type { Output } from "./output.js";
import { duration, table } from "./report.js";
import { figure, plural, reachText, VERDICT_HEAD, verdictRow } from "./study-text.js";

/** Milliseconds between drawings. */
const REDRAW_MS = 200;

interface AtWork {
  readonly arm: string;
  readonly seed: number;
  readonly since: number;
  index: number;
}

export class LiveStudy {
  readonly #output: Output;
  readonly #study: Study;
  readonly #started = performance.now();
  readonly #atWork = new Map<string, AtWork>();
  readonly #draw: ReturnType<typeof createLogUpdate> | null;
  #drawn = 0;
  #ended = 0;
  #verdicts: Map<string, Parameters<typeof verdictRow>[0]>;

  constructor(output: Output, study: Study) {
    this.#output = output;
    this.#study = study;
    this.#verdicts = new Map(study.state().verdicts.map((verdict) => [verdict.name, verdict]));
    this.#draw = process.stderr.isTTY ? createLogUpdate(process.stderr) : null;
  }

  update(event: StudyEvent): void {
    const id = "seed" in event ? `${event.seed} ${event.arm}` : "";
    switch (event.type) {
      case "started":
        this.#atWork.set(id, { arm: event.arm, seed: event.seed, since: performance.now(), index: 0 });
        break;
      case "report": {
        const run = this.#atWork.get(id);
        if (run) run.index = event.report.index;
        break;
      }
      case "ended":
        this.#atWork.delete(id);
        ++this.#ended;
        this.#say(
          event.outcome.ok
            ? `${event.arm}, seed ${event.seed}: ${figure(event.outcome.value)} in ${duration(event.outcome.cost.seconds)}`
            : `${event.arm}, seed ${event.seed}: failed (${event.outcome.kind}): ${event.outcome.message}` +
                `${event.again ? "; tried again" : ""}`,
          !event.outcome.ok,
        );
        break;
      case "takeover":
        this.#say(`${event.arm}, seed ${event.seed}: taken over from a process that is gone`, true);
        break;
      case "noise":
        this.#say(
          `noise: standard deviation ${figure(event.floor.deviation)} of ${event.floor.runs} runs; ${reachText(event.floor, this.#study.spec)}`,
          true,
        );
        break;
      case "verdict":
        this.#verdicts.set(event.verdict.name, event.verdict);
        if (event.verdict.final) this.#say(event.verdict.sentence, true);
        break;
      case "waiting":
        this.#say(`waiting for ${plural(event.runs, "run")} of other processes`, true);
        break;
    }
    this.#redraw();
  }

  /** A line that stays. On a terminal the table tells what is not remarkable. */
  #say(line: string, remarkable: boolean): void {
    if (!this.#draw) this.#output.note(`${line}\n`);
    else if (remarkable) {
      this.#draw.clear();
      this.#output.note(`${line}\n`);
      this.#drawn = 0;
    }
  }

  #redraw(): void {
    const now = performance.now();
    if (!this.#draw || now - this.#drawn < REDRAW_MS) return;
    this.#drawn = now;
    const { iterations } = this.#study.spec.budget;
    const length = iterations === undefined ? "" : ` of ${iterations}`;
    const running = [...this.#atWork.values()].map(
      ({ arm, seed, since, index }) =>
        `  ${arm}, seed ${seed}: ${index === 0 ? "starting" : `iteration ${index}${length}`}, ${duration((now - since) / 1e3)}\n`,
    );
    this.#draw(
      `${table([VERDICT_HEAD, ...[...this.#verdicts.values()].map(verdictRow)])}\n${running.join("")}` +
        `  ${this.#ended} ${this.#ended === 1 ? "run" : "runs"} ended in ${duration((now - this.#started) / 1e3)}`,
    );
  }

  stop(): void {
    this.#draw?.clear();
  }
}
