// A study at work: what its ledger says, what it wants next, and the processes that do it. Everything that matters is in
// the ledger, so a study that was killed goes on with what is there.

import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BellowsError, ioError, OptionError } from "../errors.js";
import { type Owner, self } from "../owner.js";
import { checkObjective, execute } from "./execute.js";
import { executeHere } from "./here.js";
import { specOf } from "./lab.js";
import { type Claim, type JsonObject, Ledger, type Problem } from "./ledger.js";
import type { NoiseFloor } from "./noise.js";
import { killWorker } from "./orphan.js";
import { Queue } from "./queue.js";
import { type Comparison, noiseRuns, type RunId, type RunRecord, wantedRuns } from "./schedule.js";
import {
  BASELINE,
  canonical,
  completed,
  hashOf,
  type ProposalSpec,
  resolveProposal,
  resolveSpec,
  type Spec,
  type StudySpec,
} from "./spec.js";
import type { Objective, Outcome, Report, Task } from "./task.js";
import type { Verdict } from "./verdict.js";
import { type Arm, type StudyState, StudyView } from "./view.js";

/** How to open a study. */
export interface StudyArguments {
  /** The lab's file; default `lab.sqlite`. Null: a temporary one, which goes when the study is closed. */
  readonly lab?: string | null | undefined;
  /** Folder that a relative module path of the objective starts from; default the current one. */
  readonly directory?: string | undefined;
  /** The function that computes a run, where the study's objective is `function`. It runs in this process. */
  readonly objective?: Objective | undefined;
}

/** How to run a study. */
export interface RunArguments {
  /** Runs at a time; default one a processor. */
  readonly workers?: number | undefined;
  /** Aborting it stops the runs at work, which do not count; `next()` rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
}

/** What happens while a study runs. */
export type StudyEvent =
  | { readonly type: "started"; readonly arm: string; readonly seed: number; readonly attempt: number }
  | { readonly type: "report"; readonly arm: string; readonly seed: number; readonly report: Report }
  | {
      readonly type: "ended";
      readonly arm: string;
      readonly seed: number;
      readonly attempt: number;
      readonly outcome: Outcome;
      /** Whether it is tried again. */
      readonly again: boolean;
    }
  /** A run of a process that is gone was taken over. */
  | { readonly type: "takeover"; readonly arm: string; readonly seed: number }
  | { readonly type: "noise"; readonly floor: NoiseFloor }
  /** A comparison with more pairs; `verdict.final` says whether it is decided. */
  | { readonly type: "verdict"; readonly verdict: Verdict }
  /** All that is left is at work in other processes. */
  | { readonly type: "waiting"; readonly runs: number };

/** Seconds after which a claim that was not renewed may be taken over, where its process cannot be asked. */
const LEASE_SECONDS = 60;

/** Milliseconds between looks at what other processes do. */
const POLL_MS = 1000;

/** Reports go to the ledger in batches: one transaction each. */
const REPORTS_MS = 250;

/** Attempts that may die with their runner before their first report: a run that brings it down each time must end. */
const LOST_LIMIT = 20;

/** One run at work in this process. */
interface Job {
  readonly claim: Claim;
  readonly abort: AbortController;
  readonly reports: Report[];
  done: Promise<void>;
}

type Happening =
  | { readonly type: "report"; readonly job: Job; readonly report: Report }
  | { readonly type: "ended"; readonly job: Job; readonly outcome: Outcome }
  | { readonly type: "failed"; readonly job: Job; readonly error: unknown };

function key(id: RunId): string {
  return `${id.seed} ${id.arm}`;
}

/** The module of an objective: its absolute path, and a hash of what is in it. */
async function moduleOf(spec: unknown, directory: string): Promise<{ path: string; hash: string } | undefined> {
  const module = (spec as { objective?: { module?: unknown } } | null | undefined)?.objective?.module;
  if (typeof module !== "string" || module === "") return undefined;
  const path = module.startsWith("file:") ? fileURLToPath(module) : resolve(directory, module);
  try {
    return {
      path,
      hash: createHash("sha256")
        .update(await readFile(path))
        .digest("hex"),
    };
  } catch (error) {
    throw ioError(error, path, "cannot read the objective");
  }
}

/**
 * A study in a lab: configurations over seeds, run in parallel processes, judged in pairs.
 *
 * @example
 * ```ts
 * const study = await Study.open({
 *   name: "learning-rate",
 *   metric: { name: "evaluation.certificate.sampled.exploitability", goal: "minimize", delta: 0.01 },
 *   budget: { iterations: 100 },
 *   baseline: { config: { game: { name: "tictactoe" } } },
 *   proposals: { slow: { change: { ppo: { lr: 4e-4 } }, hypothesis: "A tenth of the rate learns too little." } },
 * });
 * for await (const event of study.run()) if (event.type === "verdict") console.log(event.verdict.sentence);
 * study.close();
 * ```
 */
export class Study implements Disposable {
  readonly spec: Spec;
  readonly lab: string;
  /** Damage to the lab that was found when it was opened; what can be mended is mended. See {@link Ledger.mend}. */
  readonly damage: readonly Problem[];
  readonly #ledger: Ledger;
  readonly #view: StudyView;
  readonly #objective: Objective | undefined;
  /** The folder of a temporary lab. */
  readonly #temporary: string | null;
  #running = false;
  /** Claims that could not be given back, on a full disk for example: as long as this process lives they are its own. */
  #held: Claim[] = [];

  private constructor(
    ledger: Ledger,
    spec: Spec,
    damage: readonly Problem[],
    objective: Objective | undefined,
    temporary: string | null,
  ) {
    this.#ledger = ledger;
    this.damage = damage;
    this.#view = new StudyView(ledger, spec);
    this.spec = spec;
    this.lab = ledger.path;
    this.#objective = objective;
    this.#temporary = temporary;
  }

  /**
   * Opens a study: makes it where the lab has none of that name, goes on with it where it is the same.
   *
   * @param study - the study, or the name of one that the lab has
   * @throws {@link OptionError} for a study that is not valid, or another one of the same name
   */
  static async open(study: StudySpec | string, args: StudyArguments = {}): Promise<Study> {
    const directory = resolve(args.directory ?? ".");
    const given = typeof study === "string" ? null : resolveSpec(study, await moduleOf(study, directory));
    if (given) await checkLoads(given);
    const temporary = args.lab === null ? mkdtempSync(join(tmpdir(), "bellows-lab-")) : null;
    const lab = temporary === null ? (args.lab ?? "lab.sqlite") : join(temporary, "lab.sqlite");
    let ledger: Ledger | undefined;
    try {
      ledger = Ledger.open(lab);
      const damage = ledger.mend();
      const spec = given ?? (await storedSpec(ledger, study as string, lab));
      if (!given) await checkLoads(spec);
      if (spec.objective === "function" && typeof args.objective !== "function") {
        throw new OptionError("objective is missing; it must be the function that computes a run of this study", {
          op: "study",
          path: "objective",
          received: "nothing",
          expected: "a function",
        });
      }
      if (given) register(ledger, given);
      return new Study(ledger, spec, damage, args.objective, temporary);
    } catch (error) {
      ledger?.close();
      if (temporary !== null) rmSync(temporary, { recursive: true, force: true });
      throw error;
    }
  }

  get name(): string {
    return this.spec.name;
  }

  /** The arm that a new change is compared with: the last one that was kept, or the first baseline. */
  get baseline(): string {
    return this.#view.baseline();
  }

  /** What there is now, other processes' work included. */
  state(): StudyState {
    return this.#view.state();
  }

  /** The reports of a run, by index. */
  reports(arm: string, seed: number): readonly Report[] {
    return this.#view.reports({ arm, seed });
  }

  /**
   * Runs what the study wants until every comparison is decided or its pairs are used up. Several processes may run the
   * same study. `break` stops the runs at work; they begin anew, or from their checkpoint, the next time.
   */
  run(args: RunArguments = {}): AsyncGenerator<StudyEvent, void, undefined> {
    return this.#run(args, () => this.#view.comparisons());
  }

  /**
   * Tries a change on fresh seeds until it is decided whether to keep it: one that is shown to be better becomes the
   * baseline of those tried after it.
   *
   * The chance that a study keeps any change that is no better is at most `alpha`, for up to `family` changes. A change
   * is given up early when a gain has become unlikely.
   *
   * @param name - names the change in the study
   * @throws {@link OptionError} where the study has tried `family` changes
   */
  async keepOrRevert(
    name: string,
    change: ProposalSpec,
    args: RunArguments & { readonly onEvent?: (event: StudyEvent) => void } = {},
  ): Promise<{ readonly keep: boolean; readonly verdict: Verdict }> {
    const comparison = this.#propose(name, change);
    for await (const event of this.#run(args, () => [comparison])) args.onEvent?.(event);
    const verdict = this.#view.verdict(comparison, this.#view.records());
    return { keep: verdict.verdict === "better", verdict };
  }

  /** Registers a change to be kept or reverted; the same one again goes on where it was. */
  #propose(name: string, change: ProposalSpec): Comparison {
    const comparisons = this.#view.comparisons();
    const known = comparisons.find((comparison) => comparison.name === name);
    const against = this.#arm(known?.baseline ?? this.baseline);
    const { config, hypothesis, category, seeds, fingerprint } = resolveProposal(
      this.spec,
      against,
      change,
      `proposals.${name}`,
    );
    if (known) {
      if (this.#arm(known.proposal).fingerprint === fingerprint && known.side === "greater") return known;
      throw new OptionError(`${name} is the name of another change of study ${this.name}`, {
        op: "study",
        path: `proposals.${name}`,
        received: "another change",
        expected: "a name that is new, or the change that has it",
      });
    }
    if (comparisons.length >= this.spec.family) {
      throw new OptionError(
        `study ${this.name} has tried ${comparisons.length} changes, which is all that its alpha was shared among`,
        {
          op: "study",
          path: "family",
          received: String(comparisons.length + 1),
          expected: `at most ${this.spec.family}`,
        },
      );
    }
    const comparison: Comparison = {
      name,
      baseline: against.name,
      proposal: name,
      seeds,
      block: comparisons.length + 1,
      side: "greater",
      futility: true,
    };
    this.#ledger.addArm(this.name, name, plain({ config, hypothesis, category, fingerprint }));
    this.#ledger.addComparison(this.name, name, bodyOf(comparison));
    return comparison;
  }

  #arm(name: string): Arm {
    return this.#view.arms().find((arm) => arm.name === name)!;
  }

  async *#run(
    args: RunArguments,
    comparisons: () => readonly Comparison[],
  ): AsyncGenerator<StudyEvent, void, undefined> {
    const { signal } = args;
    const workers = checkWorkers(args.workers);
    if (this.#running) throw new BellowsError("STATE", `study ${this.name} is running already`, { op: "study" });
    this.#running = true;
    const jobs = new Map<string, Job>();
    const queue = new Queue<Happening>();
    const told = { noise: false, verdicts: new Map<string, number>() };
    let lastLook = Number.NEGATIVE_INFINITY;
    let lastFlush = lastLook;
    let nextInterval = lastLook;
    let waiting = 0;
    /** Whether something has happened that may want other runs. */
    let changed = true;
    const wake = () => queue.wake();
    signal?.addEventListener("abort", wake, { once: true });
    try {
      for (const claim of this.#held) this.#ledger.release(claim); // a second time does nothing
      this.#held = [];
      for (;;) {
        signal?.throwIfAborted();
        const now = performance.now();
        if (now - lastLook >= POLL_MS) {
          lastLook = now;
          changed = true;
          // First our own: after a sleep of the machine their leases are over, and not every system can tell whose they are.
          for (const job of jobs.values()) if (!this.#ledger.renew(job.claim)) job.abort.abort(lost(job.claim));
          for (const { claim, worker } of this.#ledger.takeOver()) {
            if (worker) killWorker(worker);
            if (claim.study === this.name) yield { type: "takeover", arm: claim.arm, seed: claim.seed };
          }
        }
        if (now - lastFlush >= REPORTS_MS) {
          lastFlush = now;
          for (const job of jobs.values()) this.#flush(job);
        }

        if (changed) {
          changed = false;
          const records = this.#view.records();
          const noise = this.#view.noise(records);
          if (noise && !told.noise && noiseRuns(this.spec, BASELINE).every((id) => isOver(records(id)))) {
            told.noise = true;
            yield { type: "noise", floor: noise };
          }
          const undecided: Comparison[] = [];
          for (const comparison of comparisons()) {
            if (!this.#view.isFinal(comparison, records)) {
              undecided.push(comparison);
              // With many pairs an interval takes seconds: it may take a tenth of the time.
              if (performance.now() < nextInterval) continue;
            }
            const begun = performance.now();
            const verdict = this.#view.verdict(comparison, records);
            nextInterval = performance.now() + 10 * (performance.now() - begun);
            if (verdict.ran === (told.verdicts.get(comparison.name) ?? 0)) continue;
            told.verdicts.set(comparison.name, verdict.ran);
            if (verdict.final) this.#record(verdict);
            yield { type: "verdict", verdict };
          }

          let elsewhere = 0;
          for (const id of wantedRuns(this.spec, BASELINE, undecided, records)) {
            if (jobs.size >= workers) break;
            if (jobs.has(key(id))) continue;
            const record = records(id);
            if (record?.state === "waiting" && record.lost >= LOST_LIMIT) {
              this.#ledger.giveUp({ study: this.name, ...id }, `its runner died ${record.lost} times`);
              changed = true;
              continue;
            }
            const claim = this.#ledger.claim({ study: this.name, ...id }, self(), { seconds: LEASE_SECONDS });
            if (!claim) {
              ++elsewhere;
              continue;
            }
            if (claim.orphan) killWorker(claim.orphan);
            const job = this.#start(claim, this.#arm(id.arm), queue);
            jobs.set(key(id), job);
            yield { type: "started", arm: id.arm, seed: id.seed, attempt: claim.attempt };
          }
          if (changed) continue;
          if (jobs.size === 0 && elsewhere === 0) return;
          if (jobs.size === 0 && elsewhere !== waiting) yield { type: "waiting", runs: elsewhere };
          waiting = jobs.size === 0 ? elsewhere : 0;
        }

        for (const happening of await queue.take(jobs.size === 0 ? POLL_MS : REPORTS_MS)) {
          const { job } = happening;
          const { arm, seed, attempt } = job.claim;
          if (happening.type === "report") {
            job.reports.push(happening.report);
            yield { type: "report", arm, seed, report: happening.report };
            continue;
          }
          changed = true;
          if (happening.type === "failed") {
            if (happening.error !== job.abort.signal.reason) throw happening.error;
            jobs.delete(key(job.claim)); // the claim was lost
            continue;
          }
          this.#flush(job);
          const { outcome } = happening;
          const failures = (this.#view.records()(job.claim)?.failures ?? 0) + (outcome.ok ? 0 : 1);
          const again = !outcome.ok && outcome.retry && failures < this.spec.attempts;
          const giveUp = outcome.ok || again ? undefined : outcome.message;
          const counts = this.#ledger.tell(job.claim, outcome, giveUp);
          jobs.delete(key(job.claim));
          if (counts) yield { type: "ended", arm, seed, attempt, outcome, again };
        }
      }
    } finally {
      signal?.removeEventListener("abort", wake);
      for (const job of jobs.values()) job.abort.abort(signal?.reason ?? stopped());
      await Promise.all([...jobs.values()].map((job) => job.done));
      for (const job of jobs.values()) this.#release(job);
      this.#running = false;
    }
  }

  /** Begins a run. What comes of it goes through the queue; the promise `done` only says that it has ended. */
  #start(claim: Claim, arm: Arm, queue: Queue<Happening>): Job {
    const abort = new AbortController();
    const job: Job = { claim, abort, reports: [], done: Promise.resolve() };
    const { metric, budget, limits, objective } = this.spec;
    const task = {
      config: completed(objective, arm.config),
      seed: claim.seed,
      budget,
      metric: { name: metric.name, goal: metric.goal, summary: metric.summary },
      limits,
      directory: this.directory(claim),
    };
    const options = {
      signal: abort.signal,
      onReport: (report: Report) => queue.push({ type: "report", job, report }),
    };
    const work =
      objective === "function"
        ? executeHere(this.#objective!, task, options)
        : execute({ ...task, objective } satisfies Task, {
            ...options,
            onStart: (owner: Owner) => this.#ledger.worker(claim, owner),
          });
    job.done = work.then(
      (outcome) => queue.push({ type: "ended", job, outcome }),
      (error: unknown) => queue.push({ type: "failed", job, error }),
    );
    return job;
  }

  /** The folder of a run: its log, and while it works its checkpoint. */
  directory(id: RunId): string {
    return join(`${this.lab.replace(/\.sqlite$/, "")}.runs`, this.name, `${id.arm}-${id.seed}`);
  }

  #flush(job: Job): void {
    if (job.reports.length > 0) this.#ledger.report(job.claim, job.reports.splice(0));
  }

  /** Gives a claim back; what makes that fail made the study fail before. */
  #release(job: Job): void {
    try {
      this.#flush(job);
      this.#ledger.release(job.claim);
    } catch {
      // Another process takes the claim over when this one is gone; this one gives it back when it goes on.
      this.#held.push(job.claim);
    }
  }

  #record(verdict: Verdict): void {
    const body = plain(verdict);
    const last = this.#ledger.verdicts(this.name).findLast((known) => known.comparison === verdict.name);
    if (last && canonical(last.body) === canonical(body)) return;
    this.#ledger.recordVerdict(this.name, verdict.name, body);
  }

  /** Closes the ledger. A study that runs must have ended. */
  close(): void {
    if (this.#running) throw new BellowsError("STATE", `study ${this.name} is still running`, { op: "study" });
    this.#ledger.close();
    if (this.#temporary !== null) rmSync(this.#temporary, { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function isOver(record: RunRecord | undefined): boolean {
  return record?.state === "done" || record?.state === "failed";
}

function lost(claim: Claim): BellowsError {
  return new BellowsError("STATE", `another process has taken over ${claim.arm}, seed ${claim.seed}`, { op: "study" });
}

function stopped(): BellowsError {
  return new BellowsError("CANCELLED", "the study was stopped", { op: "study" });
}

function bodyOf({ name: _, ...body }: Comparison): JsonObject {
  return plain(body);
}

function checkWorkers(workers: number | undefined): number {
  if (workers === undefined) return availableParallelism();
  if (Number.isInteger(workers) && workers >= 1 && workers <= 1024) return workers;
  throw new OptionError(`workers is ${String(workers)}; it must be an integer from 1 to 1024`, {
    op: "study",
    path: "workers",
    received: String(workers),
    expected: "an integer from 1 to 1024",
  });
}

/** A module that does not load would fail every run, for good. */
async function checkLoads({ objective }: Spec): Promise<void> {
  if (objective !== "function") await checkObjective(objective);
}

/** A study that the lab has, if its objective is still what it was. */
async function storedSpec(ledger: Ledger, name: string, lab: string): Promise<Spec> {
  const spec = specOf(ledger, name, lab);
  const module = await moduleOf(spec, ".");
  if (module && module.hash !== spec.objectiveHash) {
    throw new OptionError(
      `${module.path} is not what it was when study ${name} began: its runs would not be comparable. ` +
        "Restore the file, or begin a study of another name",
      { op: "study", path: "objective.module", received: "a changed file", expected: `SHA-256 ${spec.objectiveHash}` },
    );
  }
  return spec;
}

/** What makes a study the same one: of a module its content, wherever it lies. */
function identityOf({ objective, ...rest }: Spec): object {
  return { ...rest, objective: typeof objective === "string" ? objective : { export: objective.export ?? "default" } };
}

/** The dotted path of the first difference between two JSON values, and both sides; null where there is none. */
function difference(a: unknown, b: unknown, at: string): readonly [at: string, a: unknown, b: unknown] | null {
  const parts = [a, b].map((value) => (typeof value === "object" && value !== null ? Object.entries(value) : null));
  if (!parts[0] || !parts[1]) return a === b ? null : [at, a, b];
  const [left, right] = [Object.fromEntries(parts[0]), Object.fromEntries(parts[1])];
  for (const name of new Set([...Object.keys(left), ...Object.keys(right)])) {
    const found = difference(left[name], right[name], `${at}.${name}`);
    if (found) return found;
  }
  return null;
}

function refuseOther(spec: Spec, stored: JsonObject, lab: string): never {
  const { environment: _, ...begun } = stored;
  const [at, now, then] = difference(
    identityOf(JSON.parse(JSON.stringify(spec))),
    identityOf(plain(begun) as never),
    "study",
  ) ?? ["study"];
  const shown = (value: unknown) => (value === undefined ? "nothing" : JSON.stringify(value).slice(0, 100));
  const changed = at === "study.objectiveHash" ? "the objective's module has changed" : `${at} is ${shown(now)}`;
  throw new OptionError(
    `${changed}, but ${lab} has a study ${spec.name} that was begun with ${at === "study.objectiveHash" ? "another one" : shown(then)}: ` +
      "a study stays as it was begun. Undo the change, or give it another name",
    { op: "study", path: at, received: shown(now), expected: shown(then) },
  );
}

/** Puts a new study into the ledger: all of it is written down before its first run. */
function register(ledger: Ledger, spec: Spec): void {
  const cpu = cpus()[0]?.model ?? "";
  const environment = { node: process.version, platform: process.platform, arch: process.arch, cpu };
  const hash = hashOf(identityOf(spec));
  const there = ledger.study(spec.name);
  if (there && there.hash !== hash) refuseOther(spec, there.spec, ledger.path);
  ledger.createStudy(spec.name, plain({ ...spec, environment }), hash);
  ledger.addArm(spec.name, BASELINE, plain({ ...spec.baseline, hypothesis: null, category: null }));
  for (const [name, { config, hypothesis, category, fingerprint, seeds }] of Object.entries(spec.proposals)) {
    ledger.addArm(spec.name, name, plain({ config, hypothesis, category, fingerprint }));
    const comparison: Comparison = {
      name,
      baseline: BASELINE,
      proposal: name,
      seeds,
      block: 0,
      side: "two",
      futility: false,
    };
    ledger.addComparison(spec.name, name, bodyOf(comparison));
  }
}

/** As the ledger takes it. */
function plain(value: object): JsonObject {
  return value as unknown as JsonObject;
}
