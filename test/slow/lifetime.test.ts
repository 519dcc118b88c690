// Ends at random moments: workers terminated, processes that exit, throw or are told to stop, the addon dropped and
// loaded again. test/ts/safety.test.ts has the cases one by one; this looks for the moments that nobody thought of.
//
// BELLOWS_SANITIZED=1: under a sanitizer, with fewer repetitions.

import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { SelfPlay } from "../../lib/index.js";
import { type Finished, root, scratch, start, tinyPool } from "../ts/cli.js";

const sanitized = process.env.BELLOWS_SANITIZED !== undefined;
const driver = join(root, "test", "slow", "lifetime_driver.mjs");
const folder = scratch();
const works = ["create", "iterate", "save", "load", "certify", "everything"] as const;
const workAt = (index: number) => works[Math.floor(index / 3) % works.length] ?? "everything";

function times(count: number): number {
  return sanitized ? Math.ceil(count / 10) : count;
}

/** The same moments in each run of the tests, as far as the machine's speed lets them be (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Some from the start, some from when the work has begun: how long that takes depends on the machine. */
function moments(count: number, seed: number): string[] {
  const at = random(seed);
  return Array.from({ length: times(count) }, (_, index) =>
    index % 3 === 0 ? String(Math.floor(at() * 250)) : `begun+${Math.floor(at() * 60)}`,
  );
}

const run = (...args: string[]) => start(args, { node: ["--expose-gc", driver] }).finished;

async function expectEnd(end: Promise<Finished>, code: number, stdout: string, what: string): Promise<void> {
  const { code: got, signal, stdout: out, stderr } = await end;
  expect({ code: got, signal, stdout: out.trim(), stderr: code === 1 ? "" : stderr }, what).toEqual({
    code,
    signal: null,
    stdout,
    stderr: "",
  });
}

let made: Promise<string> | undefined;

/** A checkpoint to load. */
function checkpoint(): Promise<string> {
  made ??= (async () => {
    const path = join(folder, "checkpoint.safetensors");
    const saved = await SelfPlay.create({ game: { name: "tictactoe" }, rollout: { games: 64 } });
    await saved.save(path);
    await saved.close();
    return path;
  })();
  return made;
}

/** Calls one after another in two lanes: the machine may have two cores. */
async function each(count: number, call: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < count) await call(next++);
  };
  await Promise.all([lane(), lane()]);
}

describe("workers", () => {
  test.each([1, 2])("terminated at random moments, process %i of 2", async (process) => {
    const list = moments(120, process).map((when, index) => `${workAt(index)}:${when}`);
    await expectEnd(run("terminate", await checkpoint(), folder, ...list), 0, "terminated", list.join(" "));
  });

  test("the addon dropped with each, and loaded again", async () => {
    await expectEnd(run("reload", String(times(50))), 0, "reloaded", "");
  });
});

describe("one process", () => {
  test("many instances of the addon", async () => {
    await expectEnd(run("instances", String(times(50))), 0, "instances", "");
  });

  test("many contexts", async () => {
    await expectEnd(run("contexts", String(times(50))), 0, "contexts", "");
  });
});

describe("exit at random moments", () => {
  test.each([
    ["exit", 7, 60],
    ["throw", 1, 20],
    ["workers", 7, 30],
  ])("%s", async (how, code, count) => {
    const file = await checkpoint();
    const ends = moments(count, code);
    await each(ends.length, async (index) => {
      const name = workAt(index);
      const own = join(folder, `${how}-${index}`);
      await mkdir(own);
      const when = ends[index] ?? "";
      await expectEnd(run("exit", file, own, how, name, when), code, "", `${how} during ${name}, ${when} ms`);
    });
  });

  test("SIGINT and SIGTERM to the command", async () => {
    const ends = moments(100, 3);
    let begun = 0;
    await each(ends.length, async (index) => {
      const out = join(folder, `interrupted-${index}`);
      const signal = index % 2 === 0 ? "SIGINT" : "SIGTERM";
      const when = ends[index] ?? "";
      const what = `${signal}, ${when} ms`;
      const command = start(["train", "tictactoe", ...tinyPool, "--iterations", "1000000", "--out", out, "--json"]);
      if (when.startsWith("begun+")) await command.line("iteration");
      await new Promise((resolve) => setTimeout(resolve, Number(when.replace("begun+", ""))));
      command.child.kill(signal);
      const end = await command.finished;
      // Before the command has begun to listen, the system's answer stands.
      if (end.signal !== null) {
        expect({ signal: end.signal, stdout: end.stdout }, what).toEqual({ signal, stdout: "" });
        expect(existsSync(out), what).toBe(false);
        return;
      }
      expect({ code: end.code, last: end.last.code }, `${what}: ${end.stdout}${end.stderr}`).toEqual({
        code: 130,
        last: "INTERRUPTED",
      });
      const trained = end.lines.filter((line) => line.type === "iteration").length;
      if (trained === 0) return;
      ++begun;
      const resumed = await SelfPlay.load(out);
      expect((await resumed.counters()).iteration, what).toBe(trained);
      await resumed.close();
    });
    console.log(`${begun} of ${ends.length} were training when the signal came`);
    expect(begun).toBeGreaterThan(0);
  });
});
