// A connection to a lab's file: how it is opened, what its errors become, and how text is read from it.
//
// The binding ends the process when a text column holds bytes that are not UTF-8, and when it is given a boolean. So
// every read casts text to bytes, which are decoded here, and every parameter is looked at first.
//
// SQLite before 3.51.3 may damage a file when a commit starts the write-ahead log anew in the middle of somebody else's
// checkpoint. So checkpoints are never automatic: they are made by checkpoint(), which holds the writers' lock.

import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { pathToFileURL } from "node:url";
import Libsql from "libsql";
import { BellowsError, ClosedError, IoError, ioError, LedgerError, OptionError, OutOfMemoryError } from "../errors.js";

/** What SQLite stores. A bigint is for integers beyond 2^53. */
export type SqlValue = string | number | bigint | Uint8Array | null;

/** The write-ahead log is copied into the file when it has become this long, bytes. */
const LOG_BYTES = 4 << 20;

/** How long a checkpoint waits for readers, ms. The next commit tries again. */
const CHECKPOINT_MS = 200;

interface SqliteError extends Error {
  readonly code: string;
  readonly rawCode: number;
}

function isSqliteError(error: unknown): error is SqliteError {
  return error instanceof Error && typeof (error as Partial<SqliteError>).rawCode === "number";
}

/** The process that holds the writers' lock of a write-ahead log, where the system tells it; else null. */
function writerOf(path: string): number | null {
  try {
    const inode = statSync(`${path}-shm`).ino;
    // "1: POSIX  ADVISORY  WRITE 1234 08:01:131 120 120": the writers' lock is byte 120 of the shared memory.
    for (const line of readFileSync("/proc/locks", "latin1").split("\n")) {
      const [, , , mode, pid, file, first, last] = line.trim().split(/\s+/);
      if (mode !== "WRITE" || Number(file?.split(":")[2]) !== inode) continue;
      if (Number(first) <= 120 && 120 <= (last === "EOF" ? 120 : Number(last))) return Number(pid);
    }
  } catch {
    // Another system, or the file is gone: nobody is named.
  }
  return null;
}

/** Why a file cannot be opened, as the file system says it; null where it sees no reason. */
function obstacle(path: string, writable: boolean): unknown {
  const folder = dirname(path);
  try {
    if (!statSync(folder).isDirectory()) return Object.assign(new Error("ENOTDIR: no directory"), { code: "ENOTDIR" });
    const there = statSync(path, { throwIfNoEntry: false });
    if (there?.isDirectory()) return Object.assign(new Error("EISDIR: a directory"), { code: "EISDIR" });
    if (there !== undefined && !there.isFile()) {
      return Object.assign(new Error("EINVAL: no regular file"), { code: "EINVAL" });
    }
    if (there === undefined && !writable) accessSync(path);
    if (there !== undefined) accessSync(path, writable ? constants.R_OK | constants.W_OK : constants.R_OK);
    // The write-ahead log lies beside the file.
    if (writable) accessSync(folder, constants.W_OK | constants.X_OK);
    return null;
  } catch (error) {
    return error;
  }
}

/** The typed error for what the binding threw; anything else as it is. */
function typed(error: unknown, path: string, doing: string, patience: number): unknown {
  if (error instanceof BellowsError || !(error instanceof Error)) return error;
  const details = { op: "ledger", path, cause: error };
  if (!isSqliteError(error)) {
    if (/connection is not open/.test(error.message)) return new ClosedError("ledger", "the ledger is closed");
    return error;
  }
  const [family] = /^SQLITE_[A-Z]+/.exec(error.code) ?? [""];
  const io = (errno: string, received = errno) =>
    new IoError(`${doing}: ${path}: ${error.message} (${received})`, {
      ...details,
      received,
      expected:
        errno === "ENOSPC"
          ? "space on the device"
          : errno === "EROFS"
            ? "a file that can be written"
            : "a device that works",
      errno,
      input: errno === "EROFS",
    });
  switch (family) {
    case "SQLITE_BUSY":
    case "SQLITE_LOCKED": {
      const pid = writerOf(path);
      const who = pid === null ? "another process" : pid === process.pid ? "this process" : `process ${pid}`;
      return new BellowsError("LOCKED", `${doing}: ${path} is being written by ${who} for too long`, {
        ...details,
        received: `locked by ${who}`,
        expected: `a file that is free within ${patience / 1000} s`,
      });
    }
    case "SQLITE_FULL":
      return io("ENOSPC");
    case "SQLITE_IOERR":
      return io("EIO", error.code);
    case "SQLITE_READONLY":
    case "SQLITE_CANTOPEN":
    case "SQLITE_PERM":
    case "SQLITE_AUTH": {
      const why = obstacle(path, true);
      return why === null ? io(family === "SQLITE_CANTOPEN" ? "EIO" : "EROFS", error.code) : ioError(why, path, doing);
    }
    case "SQLITE_NOTADB":
      return new LedgerError(`${doing}: ${path} is not a database`, { ...details, expected: "a lab's file" });
    case "SQLITE_CORRUPT":
      return new LedgerError(`${doing}: ${path} is damaged: ${error.message}`, {
        ...details,
        received: error.code,
        expected: "a whole file",
      });
    case "SQLITE_NOMEM":
      return new OutOfMemoryError(`${doing}: ${path}: out of memory`, { ...details, needed: 0, free: 0 });
    default:
      // Our own statements are right: what they meet is a file that somebody has changed, or that is damaged.
      return new LedgerError(`${doing}: ${path} is damaged or changed: ${error.message}`, {
        ...details,
        received: error.code,
        expected: "the tables of a ledger",
      });
  }
}

const decoder = new TextDecoder("utf-8");
const strict = new TextDecoder("utf-8", { fatal: true });

/** Text as a read gives it: bytes. Null where they are not UTF-8, or where there is none. */
export function textOf(value: unknown): string | null {
  if (!(value instanceof Uint8Array)) return null;
  try {
    return strict.decode(value);
  } catch {
    return null;
  }
}

/** A read, whose columns are the named ones. */
interface Select {
  readonly names: readonly string[];
  readonly statement: Libsql.Statement;
}

/** Throws for what cannot be stored. */
function checkParameter(value: unknown, at: string): void {
  if (value === null || typeof value === "string" || typeof value === "bigint" || value instanceof Uint8Array) return;
  if (typeof value === "number" && Number.isFinite(value)) return;
  throw new OptionError(
    `${at}: ${typeof value === "number" ? value : `a ${typeof value}`} cannot be a parameter of SQL`,
    {
      op: "ledger.query",
      path: at,
      received: String(value),
      expected: "a string, a finite number, a bigint, bytes or null",
    },
  );
}

export class Connection {
  readonly path: string;
  /** How long a call may wait for other writers, ms. */
  readonly patience: number;
  #db: Libsql.Database;
  #statements = new Map<string, Libsql.Statement>();
  #selects = new Map<string, Select>();
  #synchronous = "";
  #isOpen = true;

  private constructor(path: string, db: Libsql.Database, patience: number) {
    this.path = path;
    this.patience = patience;
    this.#db = db;
  }

  /**
   * Opens a file.
   *
   * @param path - absolute, or ":memory:"
   * @param mode - "create" makes the file where there is none; "immutable" needs no write-ahead log beside the file
   * @param patience - how long a call may wait for other writers, ms
   */
  static open(path: string, mode: "create" | "read" | "immutable", patience: number): Connection {
    const doing = "cannot open the ledger";
    // Looked at first: the binding's words for these are a number, and it ends the process on some. The file itself is
    // never opened here, since closing it would give up every lock that this process has on it.
    if (path !== ":memory:") {
      if (path.includes("\0")) throw new OptionError(`${doing}: a path has no character 0`, { op: "ledger.open" });
      const why = obstacle(path, mode === "create");
      if (why !== null) throw ioError(why, path, doing);
    }
    const query = mode === "create" ? "" : mode === "read" ? "?mode=ro" : "?mode=ro&immutable=1";
    const name = query === "" ? path : `${pathToFileURL(path).href}${query}`;
    try {
      return new Connection(path, new Libsql(name, { timeout: patience } as Libsql.Options), patience);
    } catch (error) {
      throw typed(Object.assign(error as Error, { code: "SQLITE_CANTOPEN", rawCode: 14 }), path, doing, patience);
    }
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Runs a call of the binding, with its errors made ours. */
  #call<T>(doing: string, body: () => T): T {
    if (!this.#isOpen) throw new ClosedError("ledger", "the ledger is closed");
    try {
      return body();
    } catch (error) {
      throw typed(error, this.path, doing, this.patience);
    }
  }

  exec(sql: string): void {
    this.#call("cannot write the ledger", () => this.#db.exec(sql));
  }

  /** Runs one statement; returns how many rows it changed. */
  run(sql: string, ...values: SqlValue[]): number {
    return this.#call("cannot write the ledger", () => {
      let statement = this.#statements.get(sql);
      if (statement === undefined) {
        statement = this.#db.prepare(sql);
        this.#statements.set(sql, statement);
      }
      return statement.run(values).changes;
    });
  }

  /** The statement that reads what `sql` selects, with text as bytes; `typed` puts the type of every column beside it. */
  #wrap(sql: string, withTypes: boolean): Select {
    const names = (this.#db.prepare(sql).columns() as { name: string }[]).map(({ name }) => name);
    if (names.length === 0) {
      throw new OptionError("only queries that give rows are allowed here", {
        op: "ledger.query",
        path: "sql",
        received: sql,
        expected: "a SELECT",
      });
    }
    const columns = names.map((_, i) => `c${i}`);
    const bytes = columns.map((c) => `CASE typeof(${c}) WHEN 'text' THEN CAST(${c} AS BLOB) ELSE ${c} END`);
    const types = withTypes ? columns.map((c) => `typeof(${c})`) : [];
    const text = `WITH q(${columns}) AS (${sql}\n) SELECT ${[...bytes, ...types]} FROM q`;
    return { names, statement: this.#db.prepare(text).raw() };
  }

  /** The rows of a query; text is bytes, for textOf(). */
  rows(sql: string, ...values: SqlValue[]): unknown[][] {
    return this.#call("cannot read the ledger", () => {
      let select = this.#selects.get(sql);
      if (select === undefined) {
        select = this.#wrap(sql, false);
        this.#selects.set(sql, select);
      }
      return select.statement.all(values) as unknown[][];
    });
  }

  /** The first row of a query. */
  row(sql: string, ...values: SqlValue[]): unknown[] | undefined {
    return this.rows(sql, ...values)[0];
  }

  /** Whether a query gives any row. */
  has(sql: string, ...values: SqlValue[]): boolean {
    return this.row(sql, ...values) !== undefined;
  }

  /** The rows of anybody's query as objects. Bytes that are not UTF-8 are shown as U+FFFD. */
  objects(sql: string, values: readonly SqlValue[] | Readonly<Record<string, SqlValue>>): Record<string, SqlValue>[] {
    if (typeof sql !== "string") throw new OptionError("sql: must be text", { op: "ledger.query", path: "sql" });
    for (const [name, value] of Object.entries(values)) checkParameter(value, `params.${name}`);
    return this.#call("cannot read the ledger", () => {
      let rows: unknown[][];
      let names: readonly string[];
      try {
        const select = this.#wrap(sql.replace(/[\s;]+$/, ""), true);
        names = select.names;
        rows = select.statement.all(values) as unknown[][];
      } catch (error) {
        if (!isSqliteError(error) || !["SQLITE_ERROR", "SQLITE_OK", "SQLITE_MISMATCH"].includes(error.code))
          throw error;
        throw new OptionError(`the query is refused: ${error.message}`, {
          op: "ledger.query",
          path: "sql",
          received: sql,
          expected: "one SELECT of SQLite",
          cause: error,
        });
      }
      return rows.map((row) =>
        Object.fromEntries(
          names.map((name, i) => {
            const value = row[i] as SqlValue;
            const isText = row[names.length + i] === "text" && value instanceof Uint8Array;
            return [name, isText ? decoder.decode(value) : value];
          }),
        ),
      );
    });
  }

  /** A number that the file holds, such as user_version. */
  pragma(name: string): unknown {
    return this.#call(
      "cannot read the ledger",
      () => (this.#db.prepare(`PRAGMA ${name}`).raw().all([]) as unknown[][])[0]?.[0],
    );
  }

  /** Asks for a journal mode, and leaves checkpoints to checkpoint(); returns the mode that there is then. */
  journalMode(mode: string): unknown {
    this.exec("PRAGMA wal_autocheckpoint = 0");
    return this.pragma(`journal_mode = ${mode}`);
  }

  /**
   * Runs a transaction that writes: alone among all processes, whole or not at all.
   *
   * @param durable - whether it has to survive a loss of power when this returns
   */
  write<T>(durable: boolean, body: () => T): T {
    const synchronous = durable ? "FULL" : "NORMAL";
    if (this.#synchronous !== synchronous) {
      this.exec(`PRAGMA synchronous = ${synchronous}`);
      this.#synchronous = synchronous;
    }
    this.exec("BEGIN IMMEDIATE");
    let result: T;
    try {
      result = body();
      this.exec("COMMIT");
    } catch (error) {
      this.rollBack();
      throw error;
    }
    this.#checkpointWhenLong();
    return result;
  }

  /** Ends a transaction that failed; some failures have ended it already. */
  rollBack(): void {
    if (!this.#isOpen || !this.#db.inTransaction) return;
    try {
      this.#db.exec("ROLLBACK");
    } catch {
      // The error that led here says more.
    }
  }

  #checkpointWhenLong(): void {
    if (this.path === ":memory:") return;
    const log = statSync(`${this.path}-wal`, { throwIfNoEntry: false });
    if (log !== undefined && log.size > LOG_BYTES) this.checkpoint();
  }

  /**
   * Copies the write-ahead log into the file, as far as readers allow. Failures are left to the next one: what is
   * committed stands in the log.
   */
  checkpoint(): void {
    try {
      this.#db.exec(`PRAGMA busy_timeout = ${CHECKPOINT_MS}`);
      // TRUNCATE takes the writers' lock, which PASSIVE does not.
      this.#db.prepare("PRAGMA wal_checkpoint(TRUNCATE)").raw().all([]);
    } catch {
      // As above.
    } finally {
      this.#db.exec(`PRAGMA busy_timeout = ${this.patience}`);
    }
  }

  /** Closes the connection; a second time does nothing. */
  close(): void {
    if (!this.#isOpen) return;
    this.rollBack();
    this.#isOpen = false;
    this.#statements.clear();
    this.#selects.clear();
    this.#db.close();
  }
}
