// The folder of a run:
//
//   config.json                      the resolved options; there before anything else
//   metrics.jsonl                    a line an iteration, written before the next one begins
//   checkpoints/000025.safetensors   generations, newest by name; run.checkpoints of them are kept
//   checkpoints/opponents/HASH.safetensors   pool members, immutable, named by content
//   result.json                      the final line, once the run has ended
//   lock                             the process that is at work here
//
// A kill at any moment leaves a folder from which the run goes on: every file appears whole or not at all, and
// checkpoints appear after what they refer to.

import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rename, rmdir, stat, unlink } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import {
  type CheckpointFile,
  corrupt,
  generationName,
  generations,
  isTemporary,
  isUnread,
  readCheckpoint,
  readWhole,
  removeStale,
  removeTemporary,
  syncDirectory,
  temporaryName,
  writeAtomic,
} from "./checkpoint.js";
import { BellowsError, CheckpointError, errnoOf, IoError, ioError, OptionError } from "./errors.js";
import type { Iteration } from "./events.js";
import { isLock, isTakeover, Lock } from "./lock.js";
import { native, settled, take } from "./native.js";
import { differences, isPlainObject, type ResolvedOptions, resolveEntries, storedEntries } from "./options.js";
import { internals, type SelfPlay } from "./selfplay.js";

/** Options that a resumed run may change: where it computes, not what. (Another precision rounds otherwise, though.) */
export const FREE_ON_RESUME = ["run.threads", "run.device", "run.precision"];

async function readConfig(directory: string): Promise<ResolvedOptions> {
  const path = join(directory, "config.json");
  let text: string;
  try {
    text = (await readWhole(path)).toString("utf8");
  } catch (error) {
    const errno = errnoOf(error) ?? "";
    if (!["ENOENT", "ENOTDIR"].includes(errno)) throw ioError(error, path, "cannot read the run's options");
    const status = await stat(directory).catch(() => null);
    const missing = status === null ? "there is no such directory" : "it is not a directory";
    const why = status?.isDirectory() ? "config.json is missing" : missing;
    throw new IoError(`${directory} holds no run: ${why}`, {
      op: "rundir",
      path: directory,
      received: why,
      expected: "a run directory that `bellows train` made",
      errno,
      input: true,
      cause: error,
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new OptionError(`${path} is not JSON: ${(error as Error).message}`, {
      op: "rundir",
      path,
      received: "text that is not JSON",
      expected: "the options of a run",
      cause: error,
    });
  }
  return resolveEntries(storedEntries(value, path));
}

/** How a run ended, as kept in result.json. Paths in it are relative to the directory. */
export interface StoredResult {
  readonly line: Readonly<Record<string, unknown>>;
  readonly exitCode: number;
}

/** Whether a stored line is whole enough to be printed. */
function isEnd(line: unknown): line is Record<string, unknown> {
  if (!isPlainObject(line)) return false;
  if (line.type === "error") return typeof line.message === "string";
  return line.type === "result" && "certificate" in line && isPlainObject(line.versusRandom);
}

/** A run's folder, locked by this process until {@link close}. */
export class RunDirectory {
  readonly path: string;
  readonly options: ResolvedOptions;
  #lock: Lock;
  #metrics: FileHandle | undefined;
  #syncing: Promise<unknown> | undefined;
  #members = new Map<number, string>();
  #references = new Map<string, readonly string[]>();

  private constructor(path: string, options: ResolvedOptions, lock: Lock) {
    this.path = path;
    this.options = options;
    this.#lock = lock;
  }

  get checkpoints(): string {
    return join(this.path, "checkpoints");
  }

  get #opponents(): string {
    return join(this.checkpoints, "opponents");
  }

  /** Refuses a path that {@link create} could not use, before any work is done. */
  static async check(path: string): Promise<void> {
    try {
      const names = await readdir(path);
      // A lock of ours without a run: whoever was filling the folder died, or taking the lock will tell who it is.
      if (names.every((name) => name === "lock" || isTemporary(name) || isTakeover(name))) {
        if (!names.includes("lock") || (await isLock(path))) return;
      }
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return;
      throw ioError(error, path, "cannot use the run directory");
    }
    throw new BellowsError(
      "USAGE",
      `${path} is not empty; continue the run in it with --resume ${path}, or choose another --out`,
      {
        op: "rundir",
        path,
        received: "a directory that is not empty",
        expected: "a new or empty directory",
      },
    );
  }

  /**
   * Makes the folder of a new run. It is prepared beside its place and renamed, so that it never lacks its
   * config.json. A folder that is there already is filled where it is: it may be somebody's working directory, a mount
   * point, or in a parent that is closed to us.
   */
  static async create(path: string, options: ResolvedOptions): Promise<RunDirectory> {
    await RunDirectory.check(path);
    const full = resolve(path);
    const config = `${JSON.stringify(options, null, 2)}\n`;
    try {
      const exists = (await stat(full).catch(() => null))?.isDirectory() ?? false;
      return new RunDirectory(path, options, exists ? await fill(full, config) : await prepare(full, config));
    } catch (error) {
      // What failed may have been in a folder that is gone again: the error names the one that was asked for.
      const cause = error instanceof IoError ? error.cause : error;
      throw ioError(cause, path, "cannot make the run directory");
    }
  }

  /** The options of the run in a folder; nothing is changed. */
  static async config(path: string): Promise<ResolvedOptions> {
    return readConfig(path);
  }

  /** Opens the folder of a run that was interrupted, or has ended. */
  static async open(path: string): Promise<RunDirectory> {
    const options = await readConfig(path);
    const lock = await Lock.take(path);
    const directory = new RunDirectory(path, options, lock);
    try {
      const folders = [path, directory.checkpoints, directory.#opponents];
      for (const folder of folders.slice(1)) await makeFolders(folder);
      for (const folder of folders) await syncDirectory(folder);
      for (const folder of folders) await removeStale(folder);
    } catch (error) {
      await directory.close();
      throw ioError(error, path, "cannot use the run directory");
    }
    return directory;
  }

  /** How the run in a folder ended; null while it has not. Nothing is changed, so it may be read-only. */
  static async result(directory: string): Promise<StoredResult | null> {
    const path = join(directory, "result.json");
    const bytes = await readWhole(path).catch((error: unknown) => {
      if (errnoOf(error) === "ENOENT") return null;
      throw ioError(error, path, "cannot read the result");
    });
    if (bytes === null) return null;
    try {
      const value: unknown = JSON.parse(bytes.toString("utf8"));
      if (isPlainObject(value) && isEnd(value.line) && typeof value.exitCode === "number") {
        return { line: value.line, exitCode: value.exitCode };
      }
    } catch {
      // Falls through: the run is judged anew from its last checkpoint.
    }
    return null;
  }

  async writeResult(result: StoredResult): Promise<void> {
    await writeAtomic(join(this.path, "result.json"), `${JSON.stringify(result)}\n`, true);
  }

  /**
   * Restores the newest valid generation into a run that was made with {@link options}.
   *
   * @param warn - told of generations that cannot be used; damaged ones are renamed to `NAME.corrupt`
   * @returns the iteration restored, 0 where there is no checkpoint yet
   */
  async restore(run: SelfPlay, warn: (message: string) => void): Promise<number> {
    const found = await generations(this.checkpoints);
    let first: CheckpointError | undefined;
    let restored = -1;
    const broken: string[] = [];
    for (const { iteration, path } of found) {
      try {
        const file = await readCheckpoint(path);
        this.#checkOwn(file, iteration);
        if (restored < 0) {
          await internals.restore(run, file);
          restored = iteration;
        }
        this.#remember(path, file);
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
        first ??= error;
        if (!isUnread(error)) broken.push(path);
        warn(error.message);
      }
    }
    if (restored < 0 && first) throw first;
    for (const path of broken) await rename(path, `${path}.corrupt`).catch(() => {});
    if (restored >= 0) await this.#prune(); // which a crash may have left undone
    return Math.max(restored, 0);
  }

  /** Refuses a checkpoint of another run or moment that was put here: going on from it would not be this run. */
  #checkOwn(file: CheckpointFile, iteration: number): void {
    const held = file.file.metadata.iteration;
    if (held !== String(iteration)) {
      throw corrupt(file.path, `it holds iteration ${held}, not ${iteration}`, `iteration ${held}`);
    }
    let options: ResolvedOptions;
    try {
      options = resolveEntries(storedEntries(file.config, file.path));
    } catch (error) {
      if (!(error instanceof OptionError)) throw error;
      throw corrupt(file.path, `its options are not valid here: ${error.message}`, error.path, error);
    }
    const [other] = differences(options, this.options, FREE_ON_RESUME);
    if (!other) return;
    const what = `${other.path} is ${other.text}`;
    throw corrupt(file.path, `it is of another run: ${what} there`, what);
  }

  #remember(path: string, file: CheckpointFile): void {
    this.#references.set(path, [...file.opponents.values()]);
    for (const [snapshot, hash] of file.opponents) this.#members.set(snapshot, hash);
  }

  /**
   * Opens metrics.jsonl and drops the lines after an iteration: those of work that is done anew. Returns how many of the
   * iterations up to it have no line.
   */
  async openMetrics(iteration: number): Promise<number> {
    const path = join(this.path, "metrics.jsonl");
    try {
      const text = await readWhole(path).catch((error: unknown) => {
        if (errnoOf(error) === "ENOENT") return Buffer.alloc(0);
        throw error;
      });
      let keep = 0;
      const present = new Set<number>();
      for (let start = 0; start < text.length; ) {
        const end = text.indexOf(0x0a, start);
        if (end < 0) break;
        // A damaged line in the middle stays, so that it takes no whole one with it.
        const index = indexOf(text.toString("utf8", start, end));
        if (index <= iteration) keep = end + 1;
        if (index >= 1 && index <= iteration) present.add(index);
        start = end + 1;
      }
      this.#metrics = await open(path, "a");
      if (keep < text.length) await this.#metrics.truncate(keep);
      await this.#metrics.sync();
      return iteration - present.size;
    } catch (error) {
      throw ioError(error, path, "cannot open the metrics");
    }
  }

  /**
   * Appends one iteration. The line has left this process when this returns, so that no kill can take it; it is on the
   * disk, whatever happens to the machine, before the next line or checkpoint is written.
   */
  async appendMetrics(iteration: Iteration): Promise<void> {
    await this.#syncMetrics();
    try {
      await this.#metrics?.appendFile(`${JSON.stringify(iteration)}\n`);
    } catch (error) {
      throw ioError(error, join(this.path, "metrics.jsonl"), "cannot write the metrics", true);
    }
    // Beside the next iteration: waiting for the disk would cost some of them a tenth of their time.
    this.#syncing = Promise.all([this.#metrics?.datasync(), this.#keepLock()]);
    this.#syncing.catch(() => {}); // reported by whoever waits for it
  }

  /** Notices when somebody has removed the lock: with another process at work here, this one must not go on. */
  async #keepLock(): Promise<void> {
    if (await this.#lock.isKept()) return;
    await this.#lock.release();
    this.#lock = await Lock.take(this.path);
  }

  async #syncMetrics(): Promise<void> {
    try {
      await this.#syncing;
    } catch (error) {
      throw ioError(error, join(this.path, "metrics.jsonl"), "cannot write the metrics", true);
    }
  }

  /** Writes a generation and drops the oldest beyond `run.checkpoints`. Returns its path. */
  async saveCheckpoint(run: SelfPlay, iteration: number): Promise<string> {
    const path = join(this.checkpoints, generationName(iteration));
    await this.#syncMetrics();
    const opponents = await this.#saveOpponents(run);
    await writeAtomic(path, await internals.encode(run, opponents), true);
    this.#references.set(path, Object.values(opponents));
    await this.#prune();
    return path;
  }

  /** Drops the oldest generations beyond `run.checkpoints`, and opponents that none of the others refers to. */
  async #prune(): Promise<void> {
    try {
      const found = await generations(this.checkpoints);
      const whole = found.filter(({ path }) => this.#references.has(path));
      const kept = whole.slice(0, this.options.run.checkpoints).map(({ path }) => path);
      // A newer one could not be read: it does not count, and is replaced when the run gets there.
      const newest = whole[0]?.iteration ?? Number.POSITIVE_INFINITY;
      for (const { iteration, path } of found) {
        if (iteration > newest || kept.includes(path)) continue;
        await unlink(path);
        this.#references.delete(path);
      }
      if (found.some(({ iteration }) => iteration > newest)) return; // what it refers to is not known
      const needed = new Set([...this.#references.values()].flat());
      for (const name of await readdir(this.#opponents)) {
        const hash = /^([0-9a-f]{64})\.safetensors$/.exec(name)?.[1];
        if (hash && !needed.has(hash)) await unlink(join(this.#opponents, name));
      }
    } catch (error) {
      throw ioError(error, this.checkpoints, "cannot remove old checkpoints", true);
    }
  }

  /** Writes pool members that are not there yet. Returns the hash of each, by snapshot number. */
  async #saveOpponents(run: SelfPlay): Promise<Record<string, string>> {
    const engine = internals.engine(run);
    const hashes: Record<string, string> = {};
    const kept = new Map<number, string>();
    for (const [slot, snapshot] of (await settled(engine.poolSnapshots())).entries()) {
      let hash = this.#members.get(snapshot);
      const known = hash && (await stat(join(this.#opponents, `${hash}.safetensors`)).catch(() => null));
      if (!hash || !known) {
        const { weights } = await settled(engine.poolGet(slot));
        const bytes = new Uint8Array(take(native().member(weights), "bytes"));
        hash = createHash("sha256").update(bytes).digest("hex");
        await writeAtomic(join(this.#opponents, `${hash}.safetensors`), bytes, true);
      }
      kept.set(snapshot, hash);
      hashes[String(snapshot)] = hash;
    }
    this.#members = kept;
    return hashes;
  }

  /** Gives the folder free. */
  async close(): Promise<void> {
    await this.#syncing?.catch(() => {});
    await this.#metrics?.close().catch(() => {});
    this.#metrics = undefined;
    await this.#lock.release();
  }
}

/** Makes a folder and those above it. Node's own recursive mkdir never returns below /proc. */
async function makeFolders(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT" && dirname(path) !== path) {
      await makeFolders(dirname(path));
      await mkdir(path);
    } else {
      const status = await stat(path).catch((reason: unknown) => {
        throw errno === "EEXIST" ? reason : error;
      });
      if (!status.isDirectory()) throw error;
    }
  }
}

/** Makes a run's folder beside its place and moves it there. */
async function prepare(full: string, config: string): Promise<Lock> {
  const parent = dirname(full);
  await makeFolders(parent);
  await removeStale(parent).catch(() => {}); // somebody else's folder, it may be
  const prepared = temporaryName(parent, basename(full));
  let lock: Lock | undefined;
  try {
    await mkdir(prepared);
    lock = await fill(prepared, config);
    lock.moveTo(full);
    await rename(prepared, full);
  } catch (error) {
    await lock?.release();
    await removeTemporary(prepared);
    await RunDirectory.check(full); // another process may have made one meanwhile
    throw error;
  }
  try {
    await syncDirectory(parent);
    return lock;
  } catch (error) {
    await clear(full);
    await lock.release();
    await rmdir(full).catch(() => {});
    throw error;
  }
}

/**
 * Fills a new folder: the lock, then what makes it a run's. Killed before that it still counts as empty, killed after
 * it a resume makes the rest.
 */
async function fill(folder: string, config: string): Promise<Lock> {
  const lock = await Lock.take(folder);
  try {
    await RunDirectory.check(folder); // its last holder may have made a run here
    try {
      await writeAtomic(join(folder, "config.json"), config);
      for (const name of ["checkpoints", join("checkpoints", "opponents")]) await mkdir(join(folder, name));
      await (await open(join(folder, "metrics.jsonl"), "wx")).close();
      await syncDirectory(join(folder, "checkpoints"));
      await syncDirectory(folder);
      return lock;
    } catch (error) {
      await clear(folder);
      throw error;
    }
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** Undoes {@link fill}. The options go last: a folder where that fails half way is still a run's. */
async function clear(folder: string): Promise<void> {
  try {
    await unlink(join(folder, "metrics.jsonl")).catch(ignoreMissing);
    for (const name of [join("checkpoints", "opponents"), "checkpoints"]) {
      await rmdir(join(folder, name)).catch(ignoreMissing);
    }
    await unlink(join(folder, "config.json")).catch(ignoreMissing);
  } catch {
    // Whatever made the run fail lets this fail too.
  }
}

function ignoreMissing(error: unknown): void {
  if (errnoOf(error) !== "ENOENT") throw error;
}

/** The iteration of a metrics line; infinite for a line that is none. */
function indexOf(line: string): number {
  try {
    const value: unknown = JSON.parse(line);
    if (isPlainObject(value) && typeof value.index === "number") return value.index;
  } catch {
    // A damaged line.
  }
  return Number.POSITIVE_INFINITY;
}
