// What can happen in a lab: the kinds of events, what each one says, and how a row is told from a damaged one.

import { createHash } from "node:crypto";
import { z } from "zod";
import { OptionError } from "../errors.js";
import { type Connection, type SqlValue, textOf } from "./sqlite.js";

/** Names of studies, arms and comparisons: what prints on one line. */
const name = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[^\p{Cc}\p{Cs}]*$/u, "must have no control characters");

const whole = z.number().int().nonnegative();
const json = z.record(z.string(), z.unknown());
const values = z.record(z.string(), z.number());
const text = z.string().max(100_000);

const owner = z.object({
  pid: z.number().int().positive(),
  start: z.string(),
  host: z.string(),
  machine: z.string(),
  boot: z.string(),
  space: z.string(),
});

const cost = z.object({
  seconds: z.number().nonnegative(),
  iterations: z.number().nonnegative(),
  flops: z.number().nonnegative(),
  cpuSeconds: z.number().nonnegative(),
  peakMemory: z.number().nonnegative(),
});

const outcome = z.discriminatedUnion("ok", [
  z.object({ ok: z.literal(true), value: z.number(), values, cost }),
  z.object({
    ok: z.literal(false),
    kind: z.enum(["error", "time", "memory", "stalled", "killed", "metric"]),
    code: text,
    message: text,
    retry: z.boolean(),
    cost,
  }),
]);

const report = z.object({ index: z.number().int().positive(), values });

const none = z.null();
const stamp = { id: z.number().int().positive(), time: z.number().int(), writer: z.string(), study: name };
const ofStudy = { ...stamp, arm: none, seed: none, attempt: none, comparison: none };
const ofArm = { ...ofStudy, arm: name };
const ofRun = { ...ofArm, seed: whole };
const ofAttempt = { ...ofRun, attempt: z.number().int().positive() };
const ofComparison = { ...ofStudy, comparison: name };

const event = z.discriminatedUnion("kind", [
  /** A study was registered. */
  z.object({ ...ofStudy, kind: z.literal("study.created"), body: z.object({ spec: json, hash: text }) }),
  z.object({ ...ofArm, kind: z.literal("arm.added"), body: json }),
  z.object({ ...ofComparison, kind: z.literal("comparison.added"), body: json }),
  /** An attempt at a run began. */
  z.object({ ...ofAttempt, kind: z.literal("run.claimed"), body: z.object({ owner }) }),
  /** The attempt was interrupted, and does not count. */
  z.object({ ...ofAttempt, kind: z.literal("run.released"), body: z.object({ reason: text }) }),
  z.object({ ...ofAttempt, kind: z.literal("run.reported"), body: z.object({ reports: z.array(report).min(1) }) }),
  /** The attempt ended; `giveUp` says why there shall be no other one after a failure. */
  z.object({ ...ofAttempt, kind: z.literal("run.told"), body: z.object({ outcome, giveUp: text.optional() }) }),
  /** The run was given up between attempts. */
  z.object({ ...ofRun, kind: z.literal("run.abandoned"), body: z.object({ reason: text }) }),
  z.object({ ...ofComparison, kind: z.literal("verdict.recorded"), body: json }),
]);

/** One event, whole and valid. */
export type LedgerEvent = z.infer<typeof event>;
export type EventKind = LedgerEvent["kind"];

type Of<K extends EventKind> = Extract<LedgerEvent, { kind: K }>;

/** What an event is about. */
type Subject<K extends EventKind> = Pick<Of<K>, "study"> & {
  readonly [F in "arm" | "seed" | "attempt" | "comparison" as Of<K>[F] extends null ? never : F]: Of<K>[F];
};

/** An event to be written: what happened, what it is about, what there is to say. */
export type NewEvent = { [K in EventKind]: readonly [kind: K, subject: Subject<K>, body: Of<K>["body"]] }[EventKind];

/** Something found wrong in a ledger. */
export interface Problem {
  readonly table: string;
  /** The event at fault, or the one that wrote the row; null where none is known. */
  readonly event: number | null;
  readonly reason: string;
}

/** An event, or why a row is none. */
export type Read = { readonly event: LedgerEvent } | { readonly id: number; readonly problem: string };

/** What goes wrong first, for messages. */
function firstIssue(error: z.ZodError): { at: string; message: string } {
  const [issue] = error.issues;
  return { at: issue?.path.join(".") || "event", message: issue?.message ?? "invalid" };
}

/** The field of that dotted path, as text. */
function fieldOf(value: unknown, at: string): string {
  const found = at.split(".").reduce<unknown>((inner, key) => (inner as Record<string, unknown> | null)?.[key], value);
  return typeof found === "object" && found !== null ? "an object" : String(found);
}

/** What a checksum is over: every other column, in the order of the table. */
function checksumOf(columns: readonly SqlValue[]): string {
  return createHash("sha256").update(JSON.stringify(columns)).digest("hex").slice(0, 16);
}

/** The columns of the table `events`, in its order. */
const COLUMNS = "id, time, kind, study, arm, seed, attempt, comparison, body, writer, checksum";

/** Checks an event that is to be written; an OptionError names what is wrong in it. */
export function makeEvent(
  fields: { readonly id: number; readonly time: number; readonly writer: string },
  [kind, subject, body]: NewEvent,
): LedgerEvent {
  const full = { arm: null, seed: null, attempt: null, comparison: null, ...fields, kind, ...subject, body };
  const parsed = event.safeParse(full);
  if (parsed.success) return parsed.data;
  const { at, message } = firstIssue(parsed.error);
  const path = at.replace(/^body\./, "");
  throw new OptionError(`${kind}: ${path}: ${message}`, {
    op: "ledger",
    path,
    received: fieldOf(full, at),
    expected: message,
  });
}

/** Adds an event to the table. */
export function writeEvent(connection: Connection, made: LedgerEvent): void {
  const { id, time, kind, study, arm, seed, attempt, comparison, body, writer } = made;
  const columns = [id, time, kind, study, arm, seed, attempt, comparison, JSON.stringify(body), writer];
  connection.run(`INSERT INTO events (${COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)`, ...columns, checksumOf(columns));
}

/** The event that a row holds, or why it holds none. */
function parseRow(row: readonly unknown[]): Read {
  const columns = row.map((value) => (value instanceof Uint8Array ? textOf(value) : value)) as SqlValue[];
  const id = Number(columns[0]);
  if (row.some((value, i) => value !== null && columns[i] === null)) return { id, problem: "text that is not UTF-8" };
  const checksum = columns.pop();
  if (checksumOf(columns) !== checksum) return { id, problem: "the checksum does not match" };
  const [, time, kind, study, arm, seed, attempt, comparison, text, writer] = columns;
  let body: unknown;
  try {
    body = JSON.parse(String(text));
  } catch {
    return { id, problem: "the body is not JSON" };
  }
  const parsed = event.safeParse({ id, time, kind, study, arm, seed, attempt, comparison, body, writer });
  if (parsed.success) return { event: parsed.data };
  const { at, message } = firstIssue(parsed.error);
  return { id, problem: `${at}: ${message}` };
}

/** How many rows are read at once: no transaction stays open in between. */
const PAGE = 1000;

/**
 * The events after the one with the given id, in order, damaged ones and gaps included.
 *
 * @param withReports - false leaves out the reports, which are most of a ledger; gaps are not seen then
 */
export function* readEvents(connection: Connection, since = 0, withReports = true): Generator<Read> {
  let last = since;
  const which = withReports ? "" : "AND kind <> 'run.reported'";
  for (;;) {
    const rows = connection.rows(`SELECT ${COLUMNS} FROM events WHERE id > ? ${which} ORDER BY id LIMIT ${PAGE}`, last);
    for (const row of rows) {
      const read = parseRow(row);
      const id = "event" in read ? read.event.id : read.id;
      if (withReports && id > last + 1) {
        const missing = id === last + 2 ? `event ${last + 1} is` : `events ${last + 1} to ${id - 1} are`;
        yield { id: last + 1, problem: `${missing} missing` };
      }
      yield read;
      last = id;
    }
    if (rows.length < PAGE) return;
  }
}

/** An outcome as the ledger has it, from its text; null where that is none. */
export function parseOutcome(value: unknown): z.infer<typeof outcome> | null {
  return parsed(outcome, value);
}

/** Values by name from their text; null where that is something else. */
export function parseValues(value: unknown): Record<string, number> | null {
  return parsed(values, value);
}

/** An owner from its text; null where that is none. */
export function parseOwner(value: unknown): z.infer<typeof owner> | null {
  return parsed(owner, value);
}

/** A JSON object from its text; null where that is something else. */
export function parseObject(value: unknown): Record<string, unknown> | null {
  return parsed(json, value);
}

function parsed<T>(schema: z.ZodType<T>, value: unknown): T | null {
  const source = textOf(value);
  if (source === null) return null;
  try {
    const result = schema.safeParse(JSON.parse(source));
    return result.success ? result.data : null;
  } catch {
    return null;
  }
}
