// The other side of fail_io.c: builds it, and tells it what is to fail.

import { spawnSync } from "node:child_process";
import { closeSync, constants as flags, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const MODES = { errno: 1, short: 2, half: 3, full: 4, forGood: 5, kill: 6, killHalf: 7 };
const FAMILIES = { change: 1, read: 2, both: 3 };
const { errno } = constants;

/**
 * The faults, by name. `recovers` ones must do no harm: what is tried again, or gone on with, succeeds. `lasts` ones
 * stay until the test takes them away, so that cleaning up fails as well.
 *
 * @type {Readonly<Record<string, { mode: number, error: number, recovers?: true, lasts?: true, writes?: true }>>}
 */
export const FAULTS = {
  ENOSPC: { mode: MODES.errno, error: errno.ENOSPC },
  EIO: { mode: MODES.errno, error: errno.EIO },
  EDQUOT: { mode: MODES.errno, error: errno.EDQUOT },
  EROFS: { mode: MODES.errno, error: errno.EROFS },
  EINTR: { mode: MODES.errno, error: errno.EINTR, recovers: true },
  EMFILE: { mode: MODES.errno, error: errno.EMFILE },
  "one byte": { mode: MODES.short, error: 0, recovers: true, writes: true },
  "half a transfer": { mode: MODES.half, error: 0, recovers: true, writes: true },
  "disk full": { mode: MODES.full, error: errno.ENOSPC, lasts: true, writes: true },
  "disk gone": { mode: MODES.forGood, error: errno.EIO, lasts: true },
  "made read-only": { mode: MODES.forGood, error: errno.EROFS, lasts: true },
  kill: { mode: MODES.kill, error: 0 },
  "kill after half a write": { mode: MODES.killHalf, error: 0, writes: true },
};

/** Compiles the library into a folder; returns its path. */
export function buildShim(folder) {
  const library = join(folder, "fail_io.so");
  const source = fileURLToPath(new URL("fail_io.c", import.meta.url));
  const options = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"];
  const built = spawnSync("cc", [...options, "-o", library, source, "-ldl", "-lpthread"], { encoding: "utf8" });
  if (built.error)
    throw new Error(`the fault campaign needs a C compiler: apt-get install gcc libc6-dev (${built.error})`);
  if (built.status !== 0) throw new Error(`fail_io.c does not compile:\n${built.stderr}`);
  return library;
}

const CONTROL_BYTES = 1 << 20;
const LOG_AT = 1024;

/** @typedef {{ op: string, path: string, from: string }} Call */

/** The memory that the test and the library share. */
export class Control {
  #file;

  /** @param {string} path a file, made if need be */
  constructor(path) {
    this.path = path;
    this.#file = openSync(path, flags.O_RDWR | flags.O_CREAT);
    ftruncateSync(this.#file, CONTROL_BYTES);
  }

  /**
   * Counts from 0 on the calls that touch a folder, and lets one of them fail.
   *
   * @param {string} folder
   * @param {{ at?: number, fault?: string, family?: "change" | "read" | "both" }} [what] `at` counts from 1
   */
  watch(folder, { at = 0, fault, family = "change" } = {}) {
    const header = Buffer.alloc(LOG_AT);
    const { mode, error } = fault === undefined ? { mode: 0, error: 0 } : FAULTS[fault];
    header.writeUInt32LE(at, 0);
    header.writeUInt32LE(mode, 4);
    header.writeUInt32LE(error, 8);
    header.writeUInt32LE(FAMILIES[family], 12);
    if (header.write(folder, 32) >= 992) throw new Error(`${folder} is too long a name`);
    writeSync(this.#file, header, 0, LOG_AT, 0);
  }

  /** Lets everything succeed again; what was counted can still be read. */
  rest() {
    writeSync(this.#file, Buffer.alloc(992), 0, 992, 32);
  }

  /** How many calls were counted since {@link watch}, and made to fail: of several processes at once, too. */
  counts() {
    const header = Buffer.alloc(LOG_AT);
    readSync(this.#file, header, 0, LOG_AT, 0);
    return { count: header.readUInt32LE(16), hits: header.readUInt32LE(20) };
  }

  /**
   * What was counted since {@link watch}, in one process. A call's path is the one that it makes or changes.
   *
   * @returns {{ count: number, hits: number, calls: Call[] }}
   */
  read() {
    const header = Buffer.alloc(LOG_AT);
    readSync(this.#file, header, 0, LOG_AT, 0);
    const log = Buffer.alloc(header.readUInt32LE(24));
    readSync(this.#file, log, 0, log.length, LOG_AT);
    const lines = log.toString("utf8").split("\n").slice(0, -1);
    const calls = lines.map((line) => {
      const [, op, from, to] = /^(\S+) ([^\t]*)\t?(.*)$/.exec(line);
      return { op, path: to || from, from };
    });
    return { count: header.readUInt32LE(16), hits: header.readUInt32LE(20), calls };
  }

  close() {
    closeSync(this.#file);
  }
}

/** The environment of a process that the library works in. */
export function shimmed(library, control) {
  return { ...process.env, LD_PRELOAD: library, FAIL_IO_CONTROL: control.path, UV_USE_IO_URING: "0" };
}

/** Whether a call can have a fault. */
export function applies(fault, op) {
  const { mode, writes } = FAULTS[fault];
  if (mode === MODES.full) return /write|^open$|mkdir|^link$/.test(op);
  return !writes || /write|read/.test(op);
}
