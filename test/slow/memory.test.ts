// Allocation failure at every index of what the API calls, in the addon as it is: each time a typed error, the run as
// it was, nothing leaked, and the process lives. test/c/test_memory.c does the same to the engine alone.

import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { root, scratch } from "../ts/cli.js";
import { buildShim } from "./fail_alloc.mjs";

const folder = scratch();
const addon = process.env.BELLOWS_BINARY ?? join(root, "build", "Release", "bellows.node");

describe("allocation failure at every index", () => {
  test.each([1, 2])("%i threads", (threads) => {
    const control = join(folder, `control-${threads}`);
    writeFileSync(control, Buffer.alloc(40));
    const driver = join(root, "test", "slow", "memory_driver.mjs");
    const done = spawnSync(process.execPath, ["--expose-gc", driver, folder, String(threads)], {
      encoding: "utf8",
      env: { ...process.env, BELLOWS_BINARY: addon, LD_PRELOAD: buildShim(folder), FAIL_ALLOC_CONTROL: control },
    });
    expect({ status: done.status, signal: done.signal, stderr: done.stderr }).toEqual({
      status: 0,
      signal: null,
      stderr: "",
    });
    const counts = done.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { call: string; failures: number });
    const failures = counts.reduce((sum, count) => sum + count.failures, 0);
    console.log(`${threads} threads: ${failures} failures in ${counts.length} calls`);
    // Fewer would mean that the addon's allocations are not seen.
    for (const [call, least] of [
      ["create", 40],
      ["train", 5],
      ["save", 20],
      ["load", 80],
    ] as const) {
      expect(counts.find((count) => count.call === call)?.failures, call).toBeGreaterThan(least);
    }
  });
});
