// The ledger: everything that happens in a lab, in one SQLite file that several processes write. Events are only added;
// the state (which runs are done, and with what) is changed in the transaction that adds the event, and only by apply(),
// so that it can be computed again from the events. Calls are synchronous: most take well below a millisecond, those
// that must survive a loss of power as long as the disk takes to confirm.

import { randomUUID } from "node:crypto";
import { statSync } from "node:fs";
import { hostname } from "node:os";
import { resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { BellowsError, ClosedError, LedgerError, OptionError } from "../errors.js";
import { fateOf, type Owner } from "../owner.js";
import { type JsonObject, toJson } from "./json.js";
import {
  type LedgerEvent,
  makeEvent,
  type NewEvent,
  type Problem,
  parseObject,
  parseOutcome,
  parseOwner,
  parseValues,
  readEvents,
  writeEvent,
} from "./ledger-events.js";
import { checkVersion, migrate } from "./ledger-schema.js";
import { apply, differences, rebuildState, replayedState } from "./ledger-state.js";
import { Connection, type SqlValue, textOf } from "./sqlite.js";
import type { Outcome, Report } from "./task.js";

export type { Json, JsonObject } from "./json.js";
export type { EventKind, LedgerEvent, Problem } from "./ledger-events.js";
export type { SqlValue } from "./sqlite.js";

/** The unit of work: one arm with one seed. */
export interface RunKey {
  readonly study: string;
  readonly arm: string;
  readonly seed: number;
}

/** The right to work on a run, and to tell its outcome. */
export interface Claim extends RunKey {
  /** 1, 2, ...: which attempt at the run this is, interrupted ones included. */
  readonly attempt: number;
  /** Known to the claim's holder only. */
  readonly token: string;
}

/** A claim just made. */
export interface NewClaim extends Claim {
  /** The worker that an earlier owner, now dead, may have left at work on this run: to be killed before starting. */
  readonly orphan: Owner | null;
}

/** A claim that was taken from a dead owner. */
export interface TakenClaim {
  readonly claim: Claim;
  /** The worker that it may have left, to be killed. */
  readonly worker: Owner | null;
}

export interface OpenOptions {
  /** Only reads; the file must be there. */
  readonly readonly?: boolean;
  /** Seconds that a call may wait for other writers before it throws `LOCKED`. */
  readonly wait?: number;
  /** Told about damaged rows that a read skips. {@link Ledger.check} lists all of them. */
  readonly onProblem?: (problem: Problem) => void;
}

export interface StudyRecord {
  readonly name: string;
  readonly spec: JsonObject;
  readonly hash: string;
  /** When it was registered, ms since 1970. */
  readonly time: number;
}

export interface NamedRecord {
  readonly name: string;
  readonly body: JsonObject;
}

export type RunState = "waiting" | "running" | "done" | "failed";

export interface RunRecord {
  readonly key: RunKey;
  readonly state: RunState;
  /** Attempts that ended with an outcome. */
  readonly attempts: number;
  /** Attempts begun, interrupted ones included. */
  readonly claims: number;
  /** Attempts whose owner was gone before they ended, or reported anything: those that made no progress. */
  readonly lost: number;
  /** The last outcome that was told; a success for a run that is done. */
  readonly outcome: Outcome | null;
  /** Why it was given up. */
  readonly reason: string | null;
  /** Who works on it. */
  readonly owner: Owner | null;
  /** The worker process of the one who works on it. */
  readonly worker: Owner | null;
  /** The last event that changed it; those of its reports do not. */
  readonly event: number;
}

export interface AttemptRecord {
  readonly key: RunKey;
  readonly attempt: number;
  readonly state: "running" | "released" | "failed" | "done";
  /** ms since 1970. */
  readonly started: number;
  readonly ended: number | null;
  /** Why it was released. */
  readonly reason: string | null;
  readonly outcome: Outcome | null;
}

export interface VerdictRecord {
  readonly comparison: string;
  readonly body: JsonObject;
  /** When it was recorded, ms since 1970. */
  readonly time: number;
  readonly event: number;
}

/** Why an attempt was released that died with its owner. */
const GONE = "its owner is gone";

const OF_RUN = "study = ? AND arm = ? AND seed = ?";

/** A lease's row. */
interface Lease {
  readonly key: RunKey;
  readonly attempt: number;
  /** Null: nobody's, kept for the worker that may be left. */
  readonly token: string | null;
  readonly owner: Owner | null;
  readonly worker: Owner | null;
  readonly expires: number;
}

const LEASE = "SELECT study, arm, seed, attempt, token, owner, worker, expires FROM leases";

function toLease(row: readonly unknown[]): Lease {
  const [study, arm, seed, attempt, token, owner, worker, expires] = row;
  return {
    key: { study: textOf(study) ?? "", arm: textOf(arm) ?? "", seed: Number(seed) },
    attempt: Number(attempt),
    token: textOf(token),
    owner: parseOwner(owner),
    worker: parseOwner(worker),
    expires: Number(expires),
  };
}

/** Whether nobody works under this lease any more. The clock decides only where the process cannot be seen. */
function isOver(lease: Lease): boolean {
  if (lease.token === null) return true;
  const fate = lease.owner === null ? "unknown" : fateOf(lease.owner);
  return fate === "dead" || (fate === "unknown" && Date.now() > lease.expires);
}

/** Leaves a transaction without writing, with what the call returns. */
class Nothing<T> {
  readonly result: T;
  constructor(result: T) {
    this.result = result;
  }
}

/**
 * A lab's file. Open one a process; several processes may write at once.
 *
 * @example
 * ```ts
 * using ledger = Ledger.open("lab.sqlite");
 * ledger.createStudy("lr", { metric: "loss" }, "hash of the spec");
 * ledger.addArm("lr", "base", { "ppo.learningRate": 0.001 });
 * const claim = ledger.claim({ study: "lr", arm: "base", seed: 1 }, self(), { seconds: 60 });
 * if (claim !== null) ledger.tell(claim, outcome);
 * ```
 */
export class Ledger {
  /** The file, absolute. */
  readonly path: string;
  readonly readonly: boolean;
  #db: Connection;
  #reader: Connection | null = null;
  #writer = `${process.pid}@${hostname()}`;
  #onProblem: (problem: Problem) => void;

  private constructor(db: Connection, options: OpenOptions) {
    this.path = db.path;
    this.readonly = options.readonly === true;
    this.#db = db;
    this.#onProblem = options.onProblem ?? (() => {});
  }

  /**
   * Opens a lab's file, which is made where there is none. Its folder must be there.
   *
   * @throws IoError - the folder is missing, or may not be written
   * @throws LedgerError - the file is no ledger, of a later version, or damaged
   */
  static open(path: string, options: OpenOptions = {}): Ledger {
    if (typeof path !== "string" || path === "") {
      throw new OptionError("path: must be a path", { op: "ledger.open", path: "path", expected: "a path" });
    }
    const { wait = 30 } = options;
    if (!(wait >= 0 && wait <= 3600)) {
      throw new OptionError(`wait: ${wait} is out of range`, {
        op: "ledger.open",
        path: "wait",
        received: String(wait),
        expected: "0 to 3600 seconds",
      });
    }
    const file = resolve(path);
    const patience = Math.round(wait * 1000);
    const db = options.readonly ? openReadonly(file, patience) : Connection.open(file, "create", patience);
    try {
      if (options.readonly) checkVersion(db);
      else migrate(db);
    } catch (error) {
      db.close();
      throw error;
    }
    return new Ledger(db, options);
  }

  // ---------------------------------------------------------------------------------------------------- writing

  /** Runs a transaction. What its body returns as Nothing is returned, and nothing is written. */
  #write<T>(durable: boolean, body: () => T | Nothing<T>): T {
    this.#checkOpen();
    if (this.readonly) {
      throw new BellowsError("STATE", `${this.path} is open for reading only`, { op: "ledger", path: this.path });
    }
    try {
      return this.#db.write(durable, () => {
        const result = body();
        if (result instanceof Nothing) throw result;
        return result;
      });
    } catch (error) {
      if (error instanceof Nothing) return error.result as T;
      throw error;
    }
  }

  /** Adds an event and what follows from it; returns why it cannot be, or null. Inside a transaction. */
  #append(...added: NewEvent): string | null {
    const id = Number(this.#db.row("SELECT max(id) FROM events")?.[0] ?? 0) + 1;
    const event = makeEvent({ id, time: Date.now(), writer: this.#writer }, added);
    const refusal = apply(this.#db, event);
    if (refusal === null) writeEvent(this.#db, event);
    return refusal;
  }

  /** The same for events that must be possible: a refusal is the caller's mistake. */
  #must(...event: NewEvent): void {
    const refusal = this.#append(...event);
    if (refusal === null) return;
    const { study, arm, comparison } = event[1] as { study: string; arm?: string; comparison?: string };
    const name = [study, arm ?? comparison].filter((part) => part !== undefined).join("/");
    throw new OptionError(`${event[0]}: ${name}: ${refusal}`, { op: "ledger", path: name, received: refusal });
  }

  /** Registers a study. The same name with the same hash does nothing. */
  createStudy(name: string, spec: JsonObject, hash: string): void {
    const body = { spec: toJson(spec, "spec") as JsonObject, hash };
    this.#write(true, () => {
      const there = this.#db.row("SELECT hash FROM studies WHERE name = ?", String(name));
      if (there !== undefined) {
        const old = textOf(there[0]);
        if (old === hash) return new Nothing(undefined);
        throw new OptionError(`the study ${name} is registered with another spec`, {
          op: "ledger.createStudy",
          path: name,
          received: `a spec with the hash ${hash}`,
          expected: `the spec with the hash ${old}, or another name`,
        });
      }
      this.#must("study.created", { study: name }, body);
    });
  }

  /** Adds an arm to a study. The same name with the same content does nothing. */
  addArm(study: string, arm: string, body: JsonObject): void {
    this.#add("arms", study, arm, body);
  }

  /** Adds a comparison to a study. The same name with the same content does nothing. */
  addComparison(study: string, name: string, body: JsonObject): void {
    this.#add("comparisons", study, name, body);
  }

  #add(table: "arms" | "comparisons", study: string, name: string, body: JsonObject): void {
    const plain = toJson(body, "body") as JsonObject;
    this.#write(true, () => {
      const there = this.#db.row(`SELECT body FROM ${table} WHERE study = ? AND name = ?`, String(study), String(name));
      if (there !== undefined) {
        if (isDeepStrictEqual(parseObject(there[0]), plain)) return new Nothing(undefined);
        throw new OptionError(`${study}/${name} is there with another content`, {
          op: "ledger",
          path: `${study}/${name}`,
          received: JSON.stringify(plain).slice(0, 200),
          expected: "the same content, or another name",
        });
      }
      if (table === "arms") this.#must("arm.added", { study, arm: name }, plain);
      else this.#must("comparison.added", { study, comparison: name }, plain);
    });
  }

  /**
   * Takes a run to work on. A dead owner's claim is taken over.
   *
   * @param owner - the process that will tell
   * @param lease - how long the claim holds without {@link renew} for those who cannot see whether the owner lives
   * @returns null where the run is done, given up, or somebody else works on it
   */
  claim(key: RunKey, owner: Owner, lease: { readonly seconds: number }): NewClaim | null {
    const { study, arm, seed } = checkKey(key);
    const expires = expiry(lease);
    return this.#write<NewClaim | null>(false, () => {
      const run = this.#db.row(`SELECT state, claims FROM runs WHERE ${OF_RUN}`, study, arm, seed);
      const state = textOf(run?.[0]);
      if (state === "done" || state === "failed") return new Nothing(null);
      const old = this.#lease({ study, arm, seed });
      if (old !== null && !isOver(old)) return new Nothing(null);
      const attempt = Number(run?.[1] ?? 0) + 1;
      // Running without a lease, or with one that is over: its owner is gone.
      if (state === "running") {
        this.#must("run.released", { study, arm, seed, attempt: attempt - 1 }, { reason: GONE });
      }
      this.#must("run.claimed", { study, arm, seed, attempt }, { owner });
      const token = randomUUID();
      this.#db.run(
        `INSERT INTO leases (study, arm, seed, attempt, token, owner, expires) VALUES (?,?,?,?,?,?,?)
         ON CONFLICT DO UPDATE SET attempt = excluded.attempt, token = excluded.token, owner = excluded.owner,
         worker = NULL, expires = excluded.expires`,
        study,
        arm,
        seed,
        attempt,
        token,
        JSON.stringify(owner),
        expires,
      );
      return { study, arm, seed, attempt, token, orphan: old?.worker ?? null };
    });
  }

  #lease({ study, arm, seed }: RunKey): Lease | null {
    const row = this.#db.row(`${LEASE} WHERE ${OF_RUN}`, study, arm, seed);
    return row === undefined ? null : toLease(row);
  }

  /** Whether a claim still holds. Inside a transaction. */
  #holds({ study, arm, seed, attempt, token }: Claim): boolean {
    const sql = `SELECT 1 FROM leases WHERE ${OF_RUN} AND attempt = ? AND token = ?`;
    return this.#db.has(sql, study, arm, seed, attempt, token);
  }

  #dropLease({ study, arm, seed }: RunKey): void {
    this.#db.run(`DELETE FROM leases WHERE ${OF_RUN}`, study, arm, seed);
  }

  /** A sign of life: the lease runs from now. Returns false where the claim is lost. */
  renew(claim: Claim, lease: { readonly seconds: number } = { seconds: 60 }): boolean {
    const { study, arm, seed, attempt, token } = claim;
    const expires = expiry(lease);
    return this.#write(false, () => {
      const sql = `UPDATE leases SET expires = ? WHERE ${OF_RUN} AND attempt = ? AND token = ?`;
      return this.#db.run(sql, expires, study, arm, seed, attempt, token) > 0;
    });
  }

  /** Gives a claim back: the attempt was interrupted and does not count. A lost claim is left alone. */
  release(claim: Claim, reason = "interrupted"): void {
    const { study, arm, seed, attempt } = claim;
    this.#write<void>(false, () => {
      if (!this.#holds(claim)) return new Nothing(undefined);
      this.#must("run.released", { study, arm, seed, attempt }, { reason });
      this.#dropLease(claim);
    });
  }

  /** Notes the process group that works for a claim, for whoever takes it over. Returns false where it is lost. */
  worker(claim: Claim, owner: Owner): boolean {
    const { study, arm, seed, attempt, token } = claim;
    return this.#write(false, () => {
      const sql = `UPDATE leases SET worker = ? WHERE ${OF_RUN} AND attempt = ? AND token = ?`;
      return this.#db.run(sql, JSON.stringify(owner), study, arm, seed, attempt, token) > 0;
    });
  }

  /**
   * Records intermediate metrics, in one transaction: cheaper in batches. A loss of power may take the last ones.
   *
   * @returns false where the claim is lost; then nothing is recorded
   */
  report(claim: Claim, reports: readonly Report[]): boolean {
    if (reports.length === 0) return this.#write<boolean>(false, () => new Nothing(this.#holds(claim)));
    const { study, arm, seed, attempt } = claim;
    return this.#write<boolean>(false, () => {
      if (!this.#holds(claim)) return new Nothing(false);
      this.#must("run.reported", { study, arm, seed, attempt }, { reports: [...reports] });
      return true;
    });
  }

  /**
   * Records how an attempt ended, and ends the claim. A failed run waits for the next attempt. What this returned true
   * for survives a crash of the machine.
   *
   * @param giveUp - after a failure: there shall be no other attempt, for this reason
   * @returns false where the claim is lost or the run is told already; then nothing is recorded
   */
  tell(claim: Claim, outcome: Outcome, giveUp?: string): boolean {
    const { study, arm, seed, attempt } = claim;
    const body = { outcome, ...(giveUp === undefined ? {} : { giveUp }) };
    return this.#write<boolean>(true, () => {
      if (!this.#holds(claim)) return new Nothing(false);
      this.#must("run.told", { study, arm, seed, attempt }, body);
      this.#dropLease(claim);
      return true;
    });
  }

  /** Ends a run that nobody works on, without a result. Returns false where it is done, given up or at work. */
  giveUp(key: RunKey, reason: string): boolean {
    const { study, arm, seed } = checkKey(key);
    return this.#write<boolean>(true, () => {
      const run = this.#db.row(`SELECT state FROM runs WHERE ${OF_RUN}`, study, arm, seed);
      if (run !== undefined && textOf(run[0]) !== "waiting") return new Nothing(false);
      this.#must("run.abandoned", { study, arm, seed }, { reason });
      return true;
    });
  }

  /**
   * Releases the claims of owners that are dead, or that cannot be seen from here and whose lease has run out. Their
   * workers may still be at work: kill them. Until somebody claims the run, {@link claim} names the worker again.
   */
  takeOver(): readonly TakenClaim[] {
    const isLeft = (lease: Lease) => lease.token !== null && isOver(lease);
    const all = () => this.#db.rows(`${LEASE} WHERE token IS NOT NULL`).map(toLease);
    this.#checkOpen();
    // Usually there are none: then nobody is kept waiting.
    if (!all().some(isLeft)) return [];
    return this.#write<TakenClaim[]>(false, () => {
      const left = all().filter(isLeft);
      for (const { key, attempt } of left) {
        const { study, arm, seed } = key;
        const refusal = this.#append("run.released", { study, arm, seed, attempt }, { reason: GONE });
        // A lease that the state knows nothing of is dropped as well.
        if (refusal === null) this.#db.run(`UPDATE leases SET token = NULL WHERE ${OF_RUN}`, study, arm, seed);
        else this.#dropLease(key);
      }
      return left.map(({ key, attempt, token, worker }) => ({ claim: { ...key, attempt, token: token! }, worker }));
    });
  }

  /** Adds a verdict to a comparison. The last one counts; all stay. */
  recordVerdict(study: string, comparison: string, body: JsonObject): void {
    const plain = toJson(body, "body") as JsonObject;
    this.#write(true, () => this.#must("verdict.recorded", { study, comparison }, plain));
  }

  // ---------------------------------------------------------------------------------------------------- reading

  #checkOpen(): void {
    if (!this.#db.isOpen) throw new ClosedError("ledger", "the ledger is closed");
  }

  /** What parse() makes of the rows of a query; those that it makes nothing of are reported and left out. */
  #read<T>(table: string, sql: string, values: SqlValue[], parse: (row: unknown[]) => T | null): T[] {
    const found: T[] = [];
    for (const row of this.#db.rows(`SELECT event, * FROM (${sql})`, ...values)) {
      const item = parse(row.slice(1));
      if (item !== null) found.push(item);
      else this.#onProblem({ table, event: Number(row[0]) || null, reason: "a damaged row" });
    }
    return found;
  }

  /** All studies, in the order of their names. */
  studies(): StudyRecord[] {
    return this.#studies("ORDER BY name");
  }

  /** One study, or null where there is none. */
  study(name: string): StudyRecord | null {
    return this.#studies("WHERE name = ?", name)[0] ?? null;
  }

  #studies(where: string, ...values: SqlValue[]): StudyRecord[] {
    const sql = `SELECT event, name, spec, hash, time FROM studies ${where}`;
    return this.#read("studies", sql, values, ([, name, spec, hash, time]) => {
      const record = { name: textOf(name), spec: parseObject(spec) as JsonObject | null, hash: textOf(hash) };
      if (record.name === null || record.spec === null || record.hash === null) return null;
      return { name: record.name, spec: record.spec, hash: record.hash, time: Number(time) };
    });
  }

  /** A study's arms, in the order in which they were added. */
  arms(study: string): NamedRecord[] {
    return this.#named("arms", study);
  }

  /** A study's comparisons, in the order in which they were added. */
  comparisons(study: string): NamedRecord[] {
    return this.#named("comparisons", study);
  }

  #named(table: "arms" | "comparisons", study: string): NamedRecord[] {
    const sql = `SELECT event, name, body FROM ${table} WHERE study = ? ORDER BY event`;
    return this.#read(table, sql, [study], ([, name, body]) => {
      const record = { name: textOf(name), body: parseObject(body) as JsonObject | null };
      return record.name === null || record.body === null ? null : { name: record.name, body: record.body };
    });
  }

  /**
   * A study's runs, by arm and seed: those that were claimed or given up at least once.
   *
   * @param since - only those that an event after the one with this id has changed
   */
  runs(study: string, since = 0): RunRecord[] {
    const sql = `
      SELECT r.event AS event, r.arm, r.seed, r.state, r.claims, r.attempts, r.reason, l.owner, l.worker,
        (SELECT count(*) FROM attempts a WHERE a.study = r.study AND a.arm = r.arm AND a.seed = r.seed
         AND a.state = 'released' AND a.reason = '${GONE}'
         AND NOT EXISTS (SELECT 1 FROM reports p WHERE p.study = a.study AND p.arm = a.arm AND p.seed = a.seed
           AND p.attempt = a.attempt)) AS lost,
        (SELECT a.outcome FROM attempts a WHERE a.study = r.study AND a.arm = r.arm AND a.seed = r.seed
         AND a.outcome IS NOT NULL ORDER BY a.attempt DESC LIMIT 1) AS outcome
      FROM runs r
      LEFT JOIN leases l ON l.study = r.study AND l.arm = r.arm AND l.seed = r.seed AND l.token IS NOT NULL
      WHERE r.study = ? AND r.event > ? ORDER BY r.arm, r.seed`;
    return this.#read("runs", sql, [study, since], (row) => {
      const [event, arm, seed, state, claims, attempts, reason, owner, worker, lost, told] = row;
      const name = textOf(arm);
      const outcome = told === null ? null : parseOutcome(told);
      const shown = textOf(state) as RunState | null;
      if (name === null || shown === null || (told !== null && outcome === null)) return null;
      if (shown === "done" && outcome?.ok !== true) return null;
      return {
        key: { study, arm: name, seed: Number(seed) },
        state: shown,
        attempts: Number(attempts),
        claims: Number(claims),
        lost: Number(lost),
        outcome,
        reason: textOf(reason),
        owner: parseOwner(owner),
        worker: parseOwner(worker),
        event: Number(event),
      };
    });
  }

  /** A study's attempts, by arm, seed and number. */
  attempts(study: string): AttemptRecord[] {
    const sql = `SELECT event, arm, seed, attempt, state, started, ended, reason, outcome FROM attempts
      WHERE study = ? ORDER BY arm, seed, attempt`;
    return this.#read("attempts", sql, [study], ([, arm, seed, attempt, state, started, ended, reason, told]) => {
      const name = textOf(arm);
      const outcome = told === null ? null : parseOutcome(told);
      const shown = textOf(state) as AttemptRecord["state"] | null;
      if (name === null || shown === null || (told !== null && outcome === null)) return null;
      return {
        key: { study, arm: name, seed: Number(seed) },
        attempt: Number(attempt),
        state: shown,
        started: Number(started),
        ended: ended === null ? null : Number(ended),
        reason: textOf(reason),
        outcome,
      };
    });
  }

  /**
   * A run's reports, by index. Where attempts overlap (one was resumed from a checkpoint of another), the later one's
   * count; reports of earlier attempts beyond the last one's end are left out.
   *
   * @param attempt - only this attempt's
   */
  reports(key: RunKey, attempt?: number): Report[] {
    const { study, arm, seed } = checkKey(key);
    const sql = `SELECT event, attempt, step, body FROM reports WHERE ${OF_RUN} ORDER BY attempt, step`;
    const all = this.#read("reports", sql, [study, arm, seed], ([, of, step, body]) => {
      const values = parseValues(body);
      return values === null ? null : { attempt: Number(of), index: Number(step), values };
    }).filter((report) => attempt === undefined || report.attempt === attempt);
    const merged = new Map(all.map(({ index, values }) => [index, { index, values }]));
    const last = all.at(-1)?.index ?? 0;
    return [...merged.values()].filter(({ index }) => index <= last).sort((a, b) => a.index - b.index);
  }

  /** A study's verdicts, in the order in which they were recorded: of each comparison the last one counts. */
  verdicts(study: string): VerdictRecord[] {
    const sql = "SELECT event, comparison, body, time FROM verdicts WHERE study = ? ORDER BY event";
    return this.#read("verdicts", sql, [study], ([event, comparison, body, time]) => {
      const record = { name: textOf(comparison), body: parseObject(body) as JsonObject | null };
      if (record.name === null || record.body === null) return null;
      return { comparison: record.name, body: record.body, time: Number(time), event: Number(event) };
    });
  }

  /** What happened after the event with this id, in order; damaged events are left out. */
  events(since = 0): LedgerEvent[] {
    const found: LedgerEvent[] = [];
    for (const read of readEvents(this.#db, since)) {
      if ("event" in read) found.push(read.event);
      else this.#onProblem({ table: "events", event: read.id, reason: read.problem });
    }
    return found;
  }

  /**
   * The rows of one SELECT over the tables, by a connection that cannot write. Parameters are `?`, given as a list, or
   * `:name`, given as an object.
   *
   * The tables: `studies` (name, spec, hash, time), `arms` and `comparisons` (study, name, body), `runs` (study, arm,
   * seed, state, claims, attempts, reason), `attempts` (study, arm, seed, attempt, state, owner, started, ended, reason,
   * outcome), `reports` (study, arm, seed, attempt, step, body), `results` (study, arm, seed, attempt, value, body,
   * seconds, iterations, flops, cpu_seconds, peak_memory), `verdicts` (event, study, comparison, time, body), `events`
   * (id, time, kind, study, arm, seed, attempt, comparison, body, writer, checksum), `leases` (study, arm, seed,
   * attempt, token, owner, worker, expires). Times are ms since 1970; spec, body, owner, worker and outcome are JSON,
   * for `json_extract`; `event` names the event that wrote a row last.
   */
  query(
    sql: string,
    params: readonly SqlValue[] | Readonly<Record<string, SqlValue>> = [],
  ): Record<string, SqlValue>[] {
    this.#checkOpen();
    this.#reader ??= this.readonly ? this.#db : Connection.open(this.path, "read", this.#db.patience);
    return this.#reader.objects(sql, params);
  }

  // --------------------------------------------------------------------------------------------------- checking

  /** Runs reads that see one state of the file, whatever others write. */
  #snapshot<T>(body: () => T): T {
    this.#db.exec("BEGIN");
    try {
      return body();
    } finally {
      this.#db.rollBack();
    }
  }

  /**
   * Everything that is wrong with the file: damage that SQLite sees, damaged or missing events, events that cannot
   * follow from those before them, and rows of the state that the events do not give. Takes seconds on large files.
   */
  check(): readonly Problem[] {
    this.#checkOpen();
    try {
      return this.#snapshot(() => {
        const page = this.#db.rows("SELECT integrity_check FROM pragma_integrity_check(20)");
        const found = page.map(([line]) => textOf(line) ?? "").filter((line) => line !== "ok");
        const damage = found.map((reason) => ({ table: "file", event: null, reason }));
        const { state, problems } = replayedState(this.#db);
        try {
          return [...damage, ...problems, ...differences(this.#db, state)];
        } finally {
          state.close();
        }
      });
    } catch (error) {
      if (!(error instanceof LedgerError)) throw error;
      return [{ table: "file", event: null, reason: error.message }];
    }
  }

  /** What differs between the state and what the events give when they are replayed: nothing, in a whole ledger. */
  replayed(): readonly Problem[] {
    this.#checkOpen();
    return this.#snapshot(() => {
      const { state } = replayedState(this.#db);
      try {
        return differences(this.#db, state);
      } finally {
        state.close();
      }
    });
  }

  /** Computes the state anew from the events, which mends damaged rows of it; returns the events that were skipped. */
  rebuild(): readonly Problem[] {
    return this.#write(true, () => rebuildState(this.#db));
  }

  /**
   * Looks for damage to all but the reports, and mends what can be mended: where the events are whole, the state is
   * computed anew from them. Where an event is damaged, the state has what it said. To be called before work goes on,
   * so that nothing is built on damaged rows.
   *
   * @throws LedgerError - rows of the state cannot be read, and the events do not have all of them
   */
  mend(): readonly Problem[] {
    const look = () => {
      const { state, problems } = replayedState(this.#db, false);
      try {
        return { events: problems, rows: differences(this.#db, state, false) };
      } finally {
        state.close();
      }
    };
    this.#checkOpen();
    const first = this.#snapshot(look);
    if (first.rows.length === 0 || first.events.length > 0) {
      const unreadable = first.events.length === 0 ? undefined : this.#unreadable();
      if (unreadable === undefined) return first.events;
      const [event] = first.events;
      throw new LedgerError(
        `${this.path} is damaged: ${unreadable.table} has rows that cannot be read, and so has events (${event!.event}: ${event!.reason})`,
        { op: "ledger.mend", path: this.path, received: event!.reason, expected: "events that are whole" },
      );
    }
    // Others may have written, or mended, meanwhile.
    return this.#write<readonly Problem[]>(true, () => {
      const { events, rows } = look();
      if (rows.length > 0 && events.length === 0) rebuildState(this.#db);
      return [...events, ...rows];
    });
  }

  /** The first row of the state that cannot be read. */
  #unreadable(): Problem | undefined {
    const found: Problem[] = [];
    const told = this.#onProblem;
    this.#onProblem = (problem) => found.push(problem);
    try {
      for (const { name } of this.studies()) {
        this.arms(name);
        this.comparisons(name);
        this.runs(name);
      }
    } finally {
      this.#onProblem = told;
    }
    return found[0];
  }

  /** Closes the file; a second time does nothing. */
  close(): void {
    if (!this.#db.isOpen) return;
    // So that the file is whole by itself, if nobody else is at work.
    if (!this.readonly) this.#db.checkpoint();
    if (this.#reader !== this.#db) this.#reader?.close();
    this.#db.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function openReadonly(file: string, patience: number): Connection {
  const db = Connection.open(file, "read", patience);
  try {
    db.pragma("user_version");
    return db;
  } catch (error) {
    db.close();
    // A log needs shared memory beside it. Without a log, and in a folder that cannot be written, nobody writes.
    const log = statSync(`${file}-wal`, { throwIfNoEntry: false });
    if (error instanceof LedgerError || (log !== undefined && log.size > 0)) throw error;
    return Connection.open(file, "immutable", patience);
  }
}

function checkKey(key: RunKey): RunKey {
  const { study, arm, seed } = key;
  if (typeof study === "string" && typeof arm === "string" && Number.isSafeInteger(seed) && seed >= 0) return key;
  const at = typeof study !== "string" ? "study" : typeof arm !== "string" ? "arm" : "seed";
  throw new OptionError(`${at}: ${String(key[at])} names no run`, {
    op: "ledger",
    path: at,
    received: String(key[at]),
    expected: at === "seed" ? "a whole number from 0 to 2^53 - 1" : "a name",
  });
}

/** When a lease that begins now runs out, ms since 1970. */
function expiry({ seconds }: { readonly seconds: number }): number {
  if (seconds > 0 && seconds <= 1e7) return Math.round(Date.now() + seconds * 1000);
  throw new OptionError(`lease.seconds: ${seconds} is out of range`, {
    op: "ledger.claim",
    path: "lease.seconds",
    received: String(seconds),
    expected: "more than 0, at most 1e7",
  });
}
