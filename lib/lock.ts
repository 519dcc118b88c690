// The lock of a run directory: a file that names the process at work there. It appears whole, by a hard link, and one
// that a dead process left is taken over by exactly one of those who find it.

import { createHash, randomUUID } from "node:crypto";
import { type FileHandle, link, open, readdir, rename, unlink, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readWhole, removeTemporary, temporaryName } from "./checkpoint.js";
import { BellowsError, errnoOf, ioError } from "./errors.js";
import { fateOf, type Owner, self, toOwner } from "./owner.js";

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

function parse(text: string): Owner | null {
  try {
    return toOwner(JSON.parse(text));
  } catch {
    return null;
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

/** Gives a file a second name, unless somebody has it. */
async function linked(mine: string, path: string, text: string): Promise<boolean> {
  try {
    await link(mine, path);
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
    await handle.writeFile(text);
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
async function claim(directory: string, path: string, mine: string, text: string): Promise<void> {
  for (let attempt = 0; ; ++attempt) {
    if (attempt > 0) await sleep(PAUSE_MS);
    if (await linked(mine, path, text)) return;
    const found = await readIfThere(path);
    const holder = found === null ? null : parse(found);
    const patient = attempt < ATTEMPTS;
    if (holder && fateOf(holder) !== "dead") {
      // Whoever is only taking over will soon have done so, or given up.
      if (patient && path !== join(directory, "lock")) continue;
      throw locked(directory, path, holder);
    }
    if (found === null || (!holder && attempt < HALF_WRITTEN)) {
      if (patient) continue;
      throw new BellowsError("LOCKED", `the lock of ${directory} cannot be taken`, { op: "rundir", path: directory });
    }
    const hash = createHash("sha256").update(found).digest("hex").slice(0, 16);
    const right = join(directory, `.lock.${hash}.takeover`);
    await claim(directory, right, mine, text);
    try {
      if ((await readIfThere(path)) === found) {
        await rename(right, path);
        return;
      }
    } catch (error) {
      await unlink(right).catch(() => {});
      throw error;
    }
    await unlink(right);
  }
}

/** The lock of a run directory, held by this process. */
export class Lock {
  #directory: string;
  readonly #text: string;

  private constructor(directory: string, text: string) {
    this.#directory = directory;
    this.#text = text;
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
    const path = join(directory, "lock");
    const mine = temporaryName(directory, "lock");
    const text = `${JSON.stringify({ ...self(), id: randomUUID() })}\n`;
    try {
      await writeFile(mine, text, { flag: "wx" });
      await claim(directory, path, mine, text);
      // Of those who died while they took over another lock than this one, which nobody can find any more.
      for (const name of await readdir(directory).catch(() => [])) {
        if (isTakeover(name)) await unlink(join(directory, name)).catch(() => {});
      }
    } catch (error) {
      throw ioError(error, path, "cannot lock the run directory");
    } finally {
      await removeTemporary(mine);
    }
    return new Lock(directory, text);
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
  }
}
