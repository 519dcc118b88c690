// What is done many times leaves nothing behind: no memory, descriptors, threads or handles.
//
// BELLOWS_SANITIZED=1: under a sanitizer, which looks at the memory itself, with fewer repetitions.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { root } from "../ts/cli.js";
import { buildShim } from "./fail_alloc.mjs";

interface Held {
  resident: number;
  javascript: number;
  allocations: number;
  descriptors: number;
  threads: number;
  handles: string[];
}

const sanitized = process.env.BELLOWS_SANITIZED !== undefined;

// In memory where that can be: thousands of files are synced.
const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "bellows-leaks-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("repeated", () => {
  test.each([
    ["iterations", 100_000],
    ["create and close", 2_000],
    ["create and forget", 2_000],
    ["save and load", 2_000],
    ["failed creates", 2_000],
    ["questions and cancelled iterations", 1_000],
    ["run directory", 2_000],
    ["resumed run directory", 1_000],
  ])("%s, %i times", (name, times) => {
    const count = sanitized ? Math.ceil(times / 100) : times;
    const control = join(folder, "control");
    writeFileSync(control, Buffer.alloc(40));
    const driver = join(root, "test", "slow", "leaks_driver.mjs");
    const done = spawnSync(process.execPath, ["--expose-gc", driver, name, folder, String(count)], {
      encoding: "utf8",
      env: { ...process.env, ...(sanitized ? {} : { LD_PRELOAD: buildShim(folder) }), FAIL_ALLOC_CONTROL: control },
    });
    expect({ status: done.status, signal: done.signal, stderr: done.stderr }).toEqual({
      status: 0,
      signal: null,
      stderr: "",
    });
    const { before, after, seconds } = JSON.parse(done.stdout) as { before: Held; after: Held; seconds: number };
    const resident = after.resident - before.resident;
    const javascript = after.javascript - before.javascript;
    console.log(
      `${count} times ${name}: ${seconds.toFixed(1)} s; resident ${(resident / 1e6).toFixed(1)} MB more, ` +
        `JavaScript's ${(javascript / 1e6).toFixed(2)} MB more`,
    );
    if (sanitized) return; // its library has files, threads and memory of its own
    // The addon's allocations are counted one by one.
    expect({ ...after, resident: 0, javascript: 0 }).toEqual({ ...before, resident: 0, javascript: 0 });
    expect(javascript).toBeLessThan(1e6);
    // What Node holds for the addon. 100 bytes an iteration would be 10 MB; with fewer repetitions, what the C library
    // and V8 keep for later weighs more.
    expect(resident).toBeLessThan(count >= 100_000 ? 6e6 : 24e6);
  });
});
