// The tables of a lab's file. They are public: docs describe them, and queries read them.

import { BellowsError, LedgerError } from "../errors.js";
import { Connection, textOf } from "./sqlite.js";

/** "bwLb", in the header of the file: what tells a ledger from other databases. */
export const APPLICATION_ID = 0x62774c62;

/** What happened, in order. Rows are added only; `checksum` is over the others (see checksumOf). */
const EVENTS = `
CREATE TABLE events (
  id INTEGER PRIMARY KEY,   -- 1, 2, 3, ... without gaps
  time INTEGER NOT NULL,    -- ms since 1970
  kind TEXT NOT NULL,
  study TEXT NOT NULL,
  arm TEXT,
  seed INTEGER,
  attempt INTEGER,
  comparison TEXT,
  body TEXT NOT NULL,       -- JSON
  writer TEXT NOT NULL,     -- process@host
  checksum TEXT NOT NULL
) STRICT;
CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are only added'); END;
CREATE TRIGGER events_remain BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are only added'); END;
`;

/** What the events add up to. `event` is the id of the one that wrote the row last. */
const STATE = `
CREATE TABLE studies (
  name TEXT PRIMARY KEY,
  spec TEXT NOT NULL,       -- JSON
  hash TEXT NOT NULL,
  time INTEGER NOT NULL,
  event INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE arms (
  study TEXT NOT NULL,
  name TEXT NOT NULL,
  body TEXT NOT NULL,       -- JSON
  event INTEGER NOT NULL,
  PRIMARY KEY (study, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE comparisons (
  study TEXT NOT NULL,
  name TEXT NOT NULL,
  body TEXT NOT NULL,       -- JSON
  event INTEGER NOT NULL,
  PRIMARY KEY (study, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE runs (
  study TEXT NOT NULL,
  arm TEXT NOT NULL,
  seed INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')),
  claims INTEGER NOT NULL,  -- attempts begun: the number of the last one
  attempts INTEGER NOT NULL,-- those of them that ended with an outcome
  reason TEXT,              -- why it was given up
  event INTEGER NOT NULL,
  PRIMARY KEY (study, arm, seed)
) STRICT, WITHOUT ROWID;
CREATE TABLE attempts (
  study TEXT NOT NULL,
  arm TEXT NOT NULL,
  seed INTEGER NOT NULL,
  attempt INTEGER NOT NULL, -- 1, 2, ...
  state TEXT NOT NULL CHECK (state IN ('running', 'released', 'failed', 'done')),
  owner TEXT NOT NULL,      -- JSON: the process that made it
  started INTEGER NOT NULL, -- ms since 1970
  ended INTEGER,
  reason TEXT,              -- why it was released
  outcome TEXT,             -- JSON
  event INTEGER NOT NULL,
  PRIMARY KEY (study, arm, seed, attempt)
) STRICT, WITHOUT ROWID;
CREATE TABLE reports (
  study TEXT NOT NULL,
  arm TEXT NOT NULL,
  seed INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  step INTEGER NOT NULL,    -- the report's index
  body TEXT NOT NULL,       -- JSON: values by name
  event INTEGER NOT NULL,
  PRIMARY KEY (study, arm, seed, attempt, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE results (
  study TEXT NOT NULL,
  arm TEXT NOT NULL,
  seed INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  value REAL NOT NULL,      -- the metric
  body TEXT NOT NULL,       -- JSON: values by name
  seconds REAL NOT NULL,
  iterations REAL NOT NULL,
  flops REAL NOT NULL,
  cpu_seconds REAL NOT NULL,
  peak_memory REAL NOT NULL,-- bytes
  event INTEGER NOT NULL,
  PRIMARY KEY (study, arm, seed)
) STRICT, WITHOUT ROWID;
CREATE TABLE verdicts (
  event INTEGER PRIMARY KEY,-- the highest one of a comparison counts
  study TEXT NOT NULL,
  comparison TEXT NOT NULL,
  time INTEGER NOT NULL,
  body TEXT NOT NULL        -- JSON
) STRICT;
CREATE INDEX verdicts_of ON verdicts (study, comparison);
`;

/** Who works on what just now. No part of the state: heartbeats would drown the events. */
const LEASES = `
CREATE TABLE leases (
  study TEXT NOT NULL,
  arm TEXT NOT NULL,
  seed INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  token TEXT,               -- null: nobody's, kept for the worker that may be left
  owner TEXT NOT NULL,      -- JSON
  worker TEXT,              -- JSON: the process group at work
  expires INTEGER NOT NULL, -- ms since 1970
  PRIMARY KEY (study, arm, seed)
) STRICT, WITHOUT ROWID;
`;

/** The tables of the state, with the columns that order their rows. */
export const STATE_TABLES: Readonly<Record<string, string>> = {
  studies: "name",
  arms: "study, name",
  comparisons: "study, name",
  runs: "study, arm, seed",
  attempts: "study, arm, seed, attempt",
  reports: "study, arm, seed, attempt, step",
  results: "study, arm, seed",
  verdicts: "event",
};

/** What leads from one version of the tables to the next; the first one makes them. */
const MIGRATIONS: readonly ((connection: Connection) => void)[] = [
  (connection) => {
    connection.exec(EVENTS);
    connection.exec(STATE);
    connection.exec(LEASES);
  },
];

/** The version of the tables that this code writes. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/** Makes the tables of the state in an empty database, for a replay. */
export function createState(connection: Connection): void {
  connection.exec(STATE);
}

/** What the file says that its tables are: texts by type and name. Null for a text that is not UTF-8. */
function definitions(connection: Connection): Map<string, string | null> {
  const rows = connection.rows("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL");
  return new Map(rows.map(([type, name, sql]) => [`${textOf(type)} ${textOf(name)}`, textOf(sql)]));
}

let wanted: Map<string, string | null> | null = null;

/**
 * Refuses a file whose tables are not the ones that this code makes; others beside them are left alone. Damage there
 * would be met by every query, and the binding ends the process at a column whose name is not UTF-8.
 */
function checkDefinitions(connection: Connection): void {
  if (wanted === null) {
    const model = Connection.open(":memory:", "create", 0);
    for (const step of MIGRATIONS) step(model);
    wanted = definitions(model);
    model.close();
  }
  const there = definitions(connection);
  const changed = [...wanted].find(([name, text]) => there.get(name) !== text);
  const [name] = changed ?? [...there].find(([, text]) => text === null) ?? [];
  if (name === undefined) return;
  const { path } = connection;
  throw new LedgerError(`${path} is damaged: its ${name} is not what it was made as`, {
    op: "ledger.open",
    path,
    received: `another ${name}`,
    expected: "the tables of a ledger",
  });
}

/** The version of a file's tables; 0 for an empty file. Throws for what is no ledger, or a later version's. */
function versionOf(connection: Connection): number {
  const look = () => ({
    application: Number(connection.pragma("application_id")),
    version: Number(connection.pragma("user_version")),
    isEmpty: !connection.has("SELECT 1 FROM sqlite_schema LIMIT 1"),
  });
  const { path } = connection;
  const first = look();
  if (first.application === 0 && first.version === 0 && first.isEmpty) return 0;
  // Another process may have made the tables between these reads. It does so at once, so a second look is whole.
  const { application, version } = first.application === APPLICATION_ID && first.version > 0 ? first : look();
  if (application !== APPLICATION_ID) {
    throw new LedgerError(`${path} is another application's database`, {
      op: "ledger.open",
      path,
      received: `application id ${application}`,
      expected: `application id ${APPLICATION_ID}`,
    });
  }
  if (version > SCHEMA_VERSION || version < 1) {
    throw new LedgerError(`${path} was written by a later version of bellows`, {
      op: "ledger.open",
      path,
      received: `tables of version ${version}`,
      expected: `tables of version ${SCHEMA_VERSION} or before`,
    });
  }
  return version;
}

/** Refuses what a reader cannot read. */
export function checkVersion(connection: Connection): void {
  const version = versionOf(connection);
  if (version === SCHEMA_VERSION) {
    checkDefinitions(connection);
    return;
  }
  const { path } = connection;
  throw new LedgerError(
    version === 0 ? `${path} is an empty file` : `${path} has tables of version ${version}: open it for writing once`,
    {
      op: "ledger.open",
      path,
      received: version === 0 ? "an empty file" : `tables of version ${version}`,
      expected: `tables of version ${SCHEMA_VERSION}`,
    },
  );
}

/** Brings a file to this version, whole or not at all. */
export function migrate(connection: Connection): void {
  // A database of somebody else's is refused before anything in it is changed.
  versionOf(connection);
  switchToLog(connection);
  if (versionOf(connection) === SCHEMA_VERSION) {
    checkDefinitions(connection);
    return;
  }
  connection.write(true, () => {
    // Somebody may have done it meanwhile.
    const version = versionOf(connection);
    for (const step of MIGRATIONS.slice(version)) step(connection);
    connection.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`);
  });
}

/** Several processes may do this at once, and SQLite does not wait for one another here. */
function switchToLog(connection: Connection): void {
  const until = Date.now() + connection.patience;
  for (;;) {
    try {
      const mode = connection.journalMode("wal");
      if (mode === "wal") return;
      throw new LedgerError(`${connection.path}: this file system does not support a write-ahead log`, {
        op: "ledger.open",
        path: connection.path,
        received: `journal mode ${mode}`,
        expected: "a local file system, with shared memory",
      });
    } catch (error) {
      if (!(error instanceof BellowsError && error.code === "LOCKED") || Date.now() > until) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5 + Math.random() * 20);
    }
  }
}
