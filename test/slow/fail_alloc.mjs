// The other side of fail_alloc.c: builds it, and tells it what is to fail.

import { spawnSync } from "node:child_process";
import { closeSync, constants, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Compiles the library into a folder; returns its path. */
export function buildShim(folder) {
  const library = join(folder, "fail_alloc.so");
  const source = fileURLToPath(new URL("fail_alloc.c", import.meta.url));
  // An exception passes through its operator new.
  const options = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fexceptions"];
  const built = spawnSync("cc", [...options, "-o", library, source, "-ldl", "-lpthread"], { encoding: "utf8" });
  if (built.error) throw new Error(`the test needs a C compiler: apt-get install gcc libc6-dev (${built.error})`);
  if (built.status !== 0) throw new Error(`fail_alloc.c does not compile:\n${built.stderr}`);
  return library;
}

export const REFUSALS = { threadsafeFunction: 1, externalBuffer: 2 };

/** The memory that the test and the library share. */
export class Control {
  #file;

  /** @param {string} path a file, made if need be */
  constructor(path) {
    this.#file = openSync(path, constants.O_RDWR | constants.O_CREAT);
    ftruncateSync(this.#file, 40);
  }

  /** Counts from 0 on the addon's allocations, and lets one fail: `at` counts from 1, 0 is none and counts nothing. */
  fail(at) {
    const header = Buffer.alloc(24);
    header.writeBigUInt64LE(BigInt(at), 0);
    writeSync(this.#file, header, 0, header.length, 0);
  }

  /** Counts, and lets nothing fail. */
  watch() {
    this.fail(Number.MAX_SAFE_INTEGER);
  }

  /** Lets functions of Node-API fail, as a runtime may: a sum of {@link REFUSALS}. */
  refuse(what) {
    const field = Buffer.alloc(8);
    field.writeBigUInt64LE(BigInt(what));
    writeSync(this.#file, field, 0, field.length, 32);
  }

  /** @returns {{ seen: number, hits: number, live: number }} */
  read() {
    const header = Buffer.alloc(32);
    readSync(this.#file, header, 0, header.length, 0);
    const [seen, hits, live] = [8, 16, 24].map((offset) => Number(header.readBigUInt64LE(offset)));
    return { seen, hits, live };
  }

  close() {
    closeSync(this.#file);
  }
}
