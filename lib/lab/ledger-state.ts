// What events add up to. apply() is the only place that writes the tables of the state, and it looks at nothing but the
// event and those tables: so a replay of the events gives the same rows.

import type { LedgerEvent, Problem, Read } from "./ledger-events.js";
import { readEvents } from "./ledger-events.js";
import { createState, STATE_TABLES } from "./ledger-schema.js";
import { Connection, type SqlValue, textOf } from "./sqlite.js";

/** A run's row, as far as events ask for it. */
function runOf(db: Connection, event: { study: string; arm: string; seed: number }) {
  const row = db.row(
    "SELECT state, claims FROM runs WHERE study = ? AND arm = ? AND seed = ?",
    event.study,
    event.arm,
    event.seed,
  );
  return row && { state: textOf(row[0]), claims: Number(row[1]) };
}

/** Why an attempt's event cannot be, or null: an attempt is a run's last one, and at work. */
function notAtWork(db: Connection, event: { study: string; arm: string; seed: number; attempt: number }) {
  const run = runOf(db, event);
  if (run === undefined) return "there is no such run";
  if (run.state !== "running" || run.claims !== event.attempt) {
    return `attempt ${event.attempt} is not at work: the run is ${run.state}, its last attempt ${run.claims}`;
  }
  return null;
}

const KEY = "study = ? AND arm = ? AND seed = ?";

/**
 * Enters an event into the tables of the state.
 *
 * @returns why it cannot follow from what has happened before, or null; in the first case nothing is changed
 */
export function apply(db: Connection, event: LedgerEvent): string | null {
  const { id, time, study } = event;
  const hasStudy = () => db.has("SELECT 1 FROM studies WHERE name = ?", study);
  switch (event.kind) {
    case "study.created": {
      if (hasStudy()) return "there is a study of this name";
      const { spec, hash } = event.body;
      db.run(
        "INSERT INTO studies (name, spec, hash, time, event) VALUES (?,?,?,?,?)",
        study,
        JSON.stringify(spec),
        hash,
        time,
        id,
      );
      return null;
    }
    case "arm.added":
    case "comparison.added": {
      if (!hasStudy()) return "there is no such study";
      const [table, name] = event.kind === "arm.added" ? ["arms", event.arm] : ["comparisons", event.comparison];
      if (db.has(`SELECT 1 FROM ${table} WHERE study = ? AND name = ?`, study, name)) return `${name} is there already`;
      db.run(
        `INSERT INTO ${table} (study, name, body, event) VALUES (?,?,?,?)`,
        study,
        name,
        JSON.stringify(event.body),
        id,
      );
      return null;
    }
    case "run.claimed": {
      const { arm, seed, attempt, body } = event;
      if (!db.has("SELECT 1 FROM arms WHERE study = ? AND name = ?", study, arm)) return "there is no such arm";
      const run = runOf(db, event);
      if (run !== undefined && run.state !== "waiting") return `the run is ${run.state}`;
      if (attempt !== (run?.claims ?? 0) + 1) return `the next attempt is ${(run?.claims ?? 0) + 1}, not ${attempt}`;
      db.run(
        `INSERT INTO runs (study, arm, seed, state, claims, attempts, event) VALUES (?,?,?,'running',?,0,?)
         ON CONFLICT DO UPDATE SET state = 'running', claims = excluded.claims, event = excluded.event`,
        study,
        arm,
        seed,
        attempt,
        id,
      );
      db.run(
        `INSERT INTO attempts (study, arm, seed, attempt, state, owner, started, event) VALUES (?,?,?,?,'running',?,?,?)`,
        study,
        arm,
        seed,
        attempt,
        JSON.stringify(body.owner),
        time,
        id,
      );
      return null;
    }
    case "run.released": {
      const refusal = notAtWork(db, event);
      if (refusal !== null) return refusal;
      const { arm, seed, attempt, body } = event;
      db.run(`UPDATE runs SET state = 'waiting', event = ? WHERE ${KEY}`, id, study, arm, seed);
      db.run(
        `UPDATE attempts SET state = 'released', ended = ?, reason = ?, event = ? WHERE ${KEY} AND attempt = ?`,
        time,
        body.reason,
        id,
        study,
        arm,
        seed,
        attempt,
      );
      return null;
    }
    case "run.reported": {
      const refusal = notAtWork(db, event);
      if (refusal !== null) return refusal;
      const { arm, seed, attempt, body } = event;
      for (const { index, values } of body.reports) {
        // Of two reports with one index the later one counts.
        db.run(
          `INSERT INTO reports (study, arm, seed, attempt, step, body, event) VALUES (?,?,?,?,?,?,?)
           ON CONFLICT DO UPDATE SET body = excluded.body, event = excluded.event`,
          study,
          arm,
          seed,
          attempt,
          index,
          JSON.stringify(values),
          id,
        );
      }
      return null;
    }
    case "run.told": {
      const refusal = notAtWork(db, event);
      if (refusal !== null) return refusal;
      const { arm, seed, attempt } = event;
      const { outcome, giveUp } = event.body;
      const end = outcome.ok ? "done" : "failed";
      db.run(
        `UPDATE runs SET state = ?, attempts = attempts + 1, reason = ?, event = ? WHERE ${KEY}`,
        outcome.ok ? "done" : giveUp === undefined ? "waiting" : "failed",
        outcome.ok ? null : (giveUp ?? null),
        id,
        study,
        arm,
        seed,
      );
      db.run(
        `UPDATE attempts SET state = ?, ended = ?, outcome = ?, event = ? WHERE ${KEY} AND attempt = ?`,
        end,
        time,
        JSON.stringify(outcome),
        id,
        study,
        arm,
        seed,
        attempt,
      );
      if (outcome.ok) {
        const { seconds, iterations, flops, cpuSeconds, peakMemory } = outcome.cost;
        db.run(
          `INSERT INTO results (study, arm, seed, attempt, value, body, seconds, iterations, flops, cpu_seconds,
           peak_memory, event) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)`,
          study,
          arm,
          seed,
          attempt,
          outcome.value,
          JSON.stringify(outcome.values),
          seconds,
          iterations,
          flops,
          cpuSeconds,
          peakMemory,
          id,
        );
      }
      return null;
    }
    case "run.abandoned": {
      const { arm, seed, body } = event;
      if (!db.has("SELECT 1 FROM arms WHERE study = ? AND name = ?", study, arm)) return "there is no such arm";
      const run = runOf(db, event);
      if (run !== undefined && run.state !== "waiting") return `the run is ${run.state}`;
      db.run(
        `INSERT INTO runs (study, arm, seed, state, claims, attempts, reason, event) VALUES (?,?,?,'failed',0,0,?,?)
         ON CONFLICT DO UPDATE SET state = 'failed', reason = excluded.reason, event = excluded.event`,
        study,
        arm,
        seed,
        body.reason,
        id,
      );
      return null;
    }
    case "verdict.recorded": {
      const { comparison, body } = event;
      if (!db.has("SELECT 1 FROM comparisons WHERE study = ? AND name = ?", study, comparison)) {
        return "there is no such comparison";
      }
      db.run(
        "INSERT INTO verdicts (event, study, comparison, time, body) VALUES (?,?,?,?,?)",
        id,
        study,
        comparison,
        time,
        JSON.stringify(body),
      );
      return null;
    }
  }
}

/** Enters events into the tables of a state, skipping what is damaged or cannot be; returns what was skipped. */
export function replay(events: Iterable<Read>, into: Connection): Problem[] {
  const problems: Problem[] = [];
  for (const read of events) {
    const reason = "event" in read ? apply(into, read.event) : read.problem;
    if (reason === null) continue;
    const id = "event" in read ? read.event.id : read.id;
    problems.push({ table: "events", event: id, reason });
  }
  return problems;
}

const PAGE = 1000;

/** The rows of a table of the state, in order, as JSON each; with the event that wrote them. */
function* rowsOf(db: Connection, table: string): Generator<{ key: string; event: number; text: string }> {
  const order = STATE_TABLES[table]!;
  const names = db.rows(`SELECT name FROM pragma_table_info('${table}') ORDER BY cid`).map(([name]) => textOf(name)!);
  const keys = order.split(", ").map((name) => names.indexOf(name));
  let last: SqlValue[] | null = null;
  for (;;) {
    const after: string = last === null ? "" : `WHERE (${order}) > (${last.map(afterThis)})`;
    const page: unknown[][] = db.rows(
      `SELECT ${names} FROM ${table} ${after} ORDER BY ${order} LIMIT ${PAGE}`,
      ...(last ?? []),
    );
    for (const row of page) {
      const shown = row.map((value) =>
        value instanceof Uint8Array ? (textOf(value) ?? { bytes: Buffer.from(value).toString("hex") }) : value,
      );
      yield {
        key: JSON.stringify(keys.map((at) => shown[at])),
        event: Number(row[names.indexOf("event")]),
        text: JSON.stringify(shown),
      };
    }
    if (page.length < PAGE) return;
    last = keys.map((at) => page.at(-1)![at] as SqlValue);
  }
}

/** Text comes as bytes, and must go back as text to be compared with some. */
function afterThis(value: SqlValue): string {
  return value instanceof Uint8Array ? "CAST(? AS TEXT)" : "?";
}

/** What differs between the state that a ledger holds and the one that its events give. */
export function differences(db: Connection, replayed: Connection, withReports = true): Problem[] {
  const problems: Problem[] = [];
  for (const table of Object.keys(STATE_TABLES)) {
    if (table === "reports" && !withReports) continue;
    const wanted = new Map<string, { event: number; text: string }>();
    for (const { key, event, text } of rowsOf(replayed, table)) wanted.set(key, { event, text });
    for (const { key, event, text } of rowsOf(db, table)) {
      const there = wanted.get(key);
      wanted.delete(key);
      if (there?.text === text) continue;
      const reason = there === undefined ? `row ${key} follows from no event` : `row ${key} differs from its events`;
      problems.push({ table, event: there === undefined ? event : there.event, reason });
    }
    for (const [key, { event }] of wanted) problems.push({ table, event, reason: `row ${key} is missing` });
  }
  return problems;
}

/** The state that a ledger's events give, in memory, and what was wrong with the events. The caller closes it. */
export function replayedState(db: Connection, withReports = true): { state: Connection; problems: Problem[] } {
  const state = Connection.open(":memory:", "create", 0);
  createState(state);
  state.exec("BEGIN");
  const problems = replay(readEvents(db, 0, withReports), state);
  state.exec("COMMIT");
  return { state, problems };
}

/** Writes the state anew from the events, inside a transaction of the caller's. */
export function rebuildState(db: Connection): Problem[] {
  for (const table of Object.keys(STATE_TABLES)) db.exec(`DELETE FROM ${table}`);
  return replay(readEvents(db), db);
}
