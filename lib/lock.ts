// The lock of a run directory: a file that names the process at work there. It appears whole, by a hard link, and one
// that a dead process left is taken over by exactly one of those who find it. Whether a process is dead its id tells;
// from another container, where ids mean other processes, the kernel's lock of the same file does.

import { createHash, randomUUID } from "node:crypto";
import { type FileHandle, link, open, readdir, rename, unlink } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readWhole, removeTemporary, temporaryName } from "./checkpoint.js";
import { BellowsError, errnoOf, ioError } from "./errors.js";
import { native } from "./native.js";
import { fateOf, isSameKernel, type Owner, self, toOwner } from "./owner.js";

const TAKEOVER = /^\.lock\.[0-9a-f]{16}\.takeover$/;

/** How often to look again, and after what pause, where somebody else seems to be taking the lock just now. */
const ATTEMPTS = 100;
const PAUSE_MS = 20;

/** A half-written lock is somebody's who is writing it, until it has been looked at this often. */
const HALF_WRITTEN = 10;

/** Failures of link() where the file system has no hard links. */
const NO_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);

/** Whether a name is one of the files that belong to taking over a lock. */
export function isTakeover(name: string): boolean {
  return TAKEOVER.test(name);
}

/** A process that holds a lock, and whether the kernel knows of it. */
interface Holder extends Owner {
  readonly kernel: boolean;
}

/** What becomes a lock: a file, and what is in it. */
interface Candidate {
  readonly path: string;
  readonly holder: Holder & { readonly id: string };
  /** The text of the lock. Where it could not be made by a link it is another file, which the kernel's is not of. */
  text: string;
}

function textOf(holder: Candidate["holder"]): string {
  return `${JSON.stringify(holder)}\n`;
}

function parse(text: string): Holder | null {
  try {
    const value: unknown = JSON.parse(text);
    const owner = toOwner(value);
    return owner && { ...owner, kernel: (value as { kernel?: unknown }).kernel === true };
  } catch {
    return null;
  }
}

/** Whether a lock's holder is there, as far as can be told. */
async function isHeld(path: string, holder: Holder): Promise<boolean> {
  const fate = fateOf(holder);
  if (fate !== "unknown" || !holder.kernel || !isSameKernel(holder)) return fate !== "dead";
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw error;
  }
  try {
    return native().lockFile(handle.fd, false) !== true;
  } finally {
    await handle.close().catch(() => {});
  }
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return (await readWhole(path)).toString("utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return null;
    throw error;
  }
}

/** Whether the file `lock` of a folder is a lock of ours, or gone again, rather than somebody's file of that name. */
export async function isLock(directory: string): Promise<boolean> {
  const text = await readIfThere(join(directory, "lock")).catch((error: unknown) => {
    if (errnoOf(error) === "EISDIR") return "";
    throw error;
  });
  return text === null || parse(text) !== null;
}

function locked(directory: string, path: string, holder: Owner): BellowsError {
  const gone = fateOf(holder) === "unknown" ? ` (if it is gone, delete ${path})` : "";
  const where = holder.host === hostname() ? "" : ` of ${holder.host}`;
  return new BellowsError("LOCKED", `${directory} is in use by process ${holder.pid}${where}${gone}`, {
    op: "rundir",
    path: directory,
    received: `locked by process ${holder.pid}`,
    expected: "a run directory that no other process works in",
  });
}

/** Gives a candidate's file a second name, unless somebody has it. */
async function linked(mine: Candidate, path: string): Promise<boolean> {
  try {
    await link(mine.path, path);
    return true;
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    if (!NO_LINKS.has(errnoOf(error) ?? "")) throw error;
  }
  let handle: FileHandle;
  try {
    handle = await open(path, "wx");
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    throw error;
  }
  try {
    mine.text = textOf({ ...mine.holder, kernel: false });
    await handle.writeFile(mine.text);
    await handle.close();
    return true;
  } catch (error) {
    await handle.close().catch(() => {});
    await unlink(path).catch(() => {});
    throw error;
  }
}

/**
 * Makes `path` a name of `mine`. Where a dead process's lock is in the way, the right to replace it is a lock of its
 * own, named after the dead one's content and taken in the same manner: without it, somebody who has found the old lock
 * dead could throw away the one that another process has put in its place since.
 */
async function claim(directory: string, path: string, mine: Candidate): Promise<void> {
  const isRight = path !== join(directory, "lock");
  for (let attempt = 0; ; ++attempt) {
    if (attempt > 0) await sleep(PAUSE_MS);
    if (await linked(mine, path)) return;
    const found = await readIfThere(path);
    const holder = found === null ? null : parse(found);
    const patient = attempt < ATTEMPTS;
    if (holder && (await isHeld(path, holder))) {
      // Whoever is only taking over will soon have done so, or given up.
      if (isRight && patient) continue;
      throw locked(directory, path, holder);
    }
    if (!patient) {
      throw new BellowsError("LOCKED", `the lock of ${directory} cannot be taken`, { op: "rundir", path: directory });
    }
    if (found === null || (!holder && attempt < HALF_WRITTEN)) continue;
    const hash = createHash("sha256").update(found).digest("hex").slice(0, 16);
    const right = join(directory, `.lock.${hash}.takeover`);
    await claim(directory, right, mine);
    if (await replaced(path, found, right)) return;
  }
}

/** Puts the right to replace a dead lock in its place, if it is still there; gives it up otherwise. */
async function replaced(path: string, found: string, right: string): Promise<boolean> {
  try {
    if ((await readIfThere(path)) === found) {
      await rename(right, path);
      return true;
    }
    await unlink(right);
  } catch (error) {
    // Whoever has taken the lock meanwhile removes the rights to replace older ones.
    if (errnoOf(error) !== "ENOENT") {
      await unlink(right).catch(() => {});
      throw error;
    }
  }
  return false;
}

/** The lock of a run directory, held by this process. */
export class Lock {
  #directory: string;
  readonly #text: string;
  /** The file, open while the kernel's lock of it is needed. */
  readonly #file: FileHandle | undefined;

  private constructor(directory: string, text: string, file: FileHandle | undefined) {
    this.#directory = directory;
    this.#text = text;
    this.#file = file;
  }

  get #path(): string {
    return join(this.#directory, "lock");
  }

  /**
   * Takes the lock of a directory, from a dead process if need be.
   *
   * @throws {@link BellowsError} LOCKED, naming the process that holds it
   */
  static async take(directory: string): Promise<Lock> {
    const path = temporaryName(directory, "lock");
    let file: FileHandle | undefined;
    try {
      file = await open(path, "wx");
      const holder = { ...self(), kernel: native().lockFile(file.fd, true) === true, id: randomUUID() };
      const mine: Candidate = { path, holder, text: textOf(holder) };
      await file.writeFile(mine.text);
      if (!holder.kernel) {
        await file.close();
        file = undefined;
      }
      await claim(directory, join(directory, "lock"), mine);
      // Of those who died while they took over another lock than this one, which nobody can find any more.
      for (const name of await readdir(directory).catch(() => [])) {
        if (isTakeover(name)) await unlink(join(directory, name)).catch(() => {});
      }
      return new Lock(directory, mine.text, file);
    } catch (error) {
      await file?.close().catch(() => {});
      throw ioError(error, join(directory, "lock"), "cannot lock the run directory");
    } finally {
      await removeTemporary(path);
    }
  }

  /** Whether the lock is still there. One that cannot be read counts as kept. */
  async isKept(): Promise<boolean> {
    try {
      return (await readIfThere(this.#path)) === this.#text;
    } catch {
      return true;
    }
  }

  /** Tells the lock that its directory is about to get another name. */
  moveTo(directory: string): void {
    this.#directory = directory;
  }

  /** Gives the directory free. Does nothing where another process has taken it. */
  async release(): Promise<void> {
    const found = await readIfThere(this.#path).catch(() => null);
    if (found === this.#text) await unlink(this.#path).catch(() => {});
    await this.#file?.close().catch(() => {});
  }
}
