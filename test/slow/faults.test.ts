// Every call that changes or reads a file, made to fail in every way: a typed error or success, the old state intact,
// nothing left lying about, and a run that goes on as if nothing had happened.

import { spawnSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { main } from "../ts/cli.js";
import { applies, buildShim, type Call, Control, FAULTS, shimmed } from "./fail_io.mjs";
import { checkCheckpoints, emptied, inPairs, recipe, run, summary, workFolder } from "./runs.mjs";

const folder = workFolder();
const counts: string[] = [];
const whole = [...recipe, "--iterations", "4", "--json"];

let library: string;
let control: Control;
/** What an uninterrupted run calls, in order, and what it leaves. */
let calls: readonly Call[];
let expected: ReturnType<typeof summary>;

beforeAll(async () => {
  library = buildShim(folder);
  control = new Control(join(folder, "control"));
  const arena = emptied(join(folder, "whole"));
  control.watch(arena);
  const end = await run([...whole, "--out", join(arena, "run")], shimmed(library, control));
  expect(end.code, end.stderr).toBe(0);
  calls = control.read().calls;
  expected = summary(join(arena, "run"));

  // To be resumed: killed in the middle of its third checkpoint.
  const longer = [...recipe, "--iterations", "6", "--json"];
  const second = emptied(join(folder, "second"));
  control.watch(second);
  await run([...longer, "--out", join(second, "run")], shimmed(library, control));
  const isThird = ({ op, path }: Call) => op === "write" && path.includes("checkpoints/.000006");
  const at = control.read().calls.findIndex(isThird) + 1;
  expect(at).toBeGreaterThan(0);
  emptied(second);
  control.watch(second, { at, fault: "kill after half a write" });
  const killed = await run([...longer, "--out", join(second, "run")], shimmed(library, control));
  expect(killed.signal).toBe("SIGKILL");
  cpSync(join(second, "run"), join(folder, "killed"), { recursive: true });
});

afterAll(() => {
  control.close();
  rmSync(folder, { recursive: true, force: true });
  console.log(`faults: ${counts.join("; ")}`);
});

/** Calls by name; a folder is opened as a file is. */
function byName(list: readonly Call[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { op } of list) {
    const name = op === "opendir" ? "open" : op;
    found[name] = (found[name] ?? 0) + 1;
  }
  return found;
}

/** The same from the lines of strace, for what lies in a folder. */
function traced(lines: readonly string[], arena: string): Record<string, number> {
  const found: Record<string, number> = {};
  const add = (name: string, count: number) => {
    found[name] = (found[name] ?? 0) + count;
  };
  for (const line of lines) {
    const [, name = "", rest = ""] = /^(\w+)\((.*)$/.exec(line) ?? [];
    const [, descriptor] = /^\d+<([^>]*)>/.exec(rest) ?? [];
    const strings = [...rest.matchAll(/"([^"]*)"/g)].map(([, text]) => text);
    const path = /^(openat|statx)$/.test(name) && strings[0] ? strings[0] : (descriptor ?? strings.at(-1) ?? "");
    if (path !== arena && !path.startsWith(`${arena}/`)) continue;
    if (name === "openat" && rest.includes("O_DIRECTORY")) {
      // Listing a folder, which the C library does: opened and closed inside.
      add("scandir64", 1);
      if (/ = \d/.test(rest)) add("close", -1);
    } else if (!["newfstatat", "getdents64"].includes(name)) {
      // Those two are the listing itself, and the fault library's own look at what is opened.
      add({ openat: "open", ftruncate: "ftruncate64" }[name] ?? name, 1);
    }
  }
  return found;
}

describe("the library that injects faults", () => {
  test("sees every call that strace sees", () => {
    const arena = emptied(join(folder, "traced"));
    const logs = emptied(join(folder, "strace"));
    control.watch(arena, { family: "both" });
    const { LD_PRELOAD, FAIL_IO_CONTROL, UV_USE_IO_URING } = shimmed(library, control);
    const set = Object.entries({ LD_PRELOAD, FAIL_IO_CONTROL, UV_USE_IO_URING }).map(
      ([key, value]) => `${key}=${value}`,
    );
    const options = [
      "-ff",
      "-y",
      "-o",
      join(logs, "thread"),
      "-e",
      "trace=%file,%desc",
      ...set.flatMap((pair) => ["-E", pair]),
    ];
    const command = [process.execPath, main, ...whole, "--out", join(arena, "run")];
    const done = spawnSync("strace", [...options, ...command], { encoding: "utf8" });
    if (done.error) throw new Error(`this test needs strace: apt-get install strace (${done.error.message})`);
    expect(done.status, done.stderr).toBe(0);
    const seen = control.read();
    const lines = readdirSync(logs).flatMap((name) => readFileSync(join(logs, name), "utf8").split("\n"));
    expect(traced(lines, arena)).toEqual(byName(seen.calls));
    expect(seen.count).toBeGreaterThanOrEqual(120);
    expect(lines.filter((line) => line.startsWith("io_uring"))).toEqual([]);
    counts.push(`strace saw the same ${seen.count} calls`);
  });
});

describe("the order of a run's calls", () => {
  test("a file is synced before it gets its name, its folder before anything builds on it", () => {
    const renames = calls.flatMap((call, index) => (call.op === "rename" ? [{ ...call, index }] : []));
    expect(renames.length).toBeGreaterThanOrEqual(6);
    const after = (from: number, condition: (call: Call) => boolean) => {
      const found = calls.findIndex((call, index) => index > from && condition(call));
      return found < 0 ? calls.length : found;
    };
    for (const { from, path, index } of renames) {
      const own = calls.slice(0, index).filter((call) => call.path === from);
      const what = `${path}: ${own.map(({ op }) => op).join(" ")}`;
      // The folder of a run is made of files that are synced already.
      if (!own.some(({ op }) => op === "mkdir"))
        expect(
          own.map(({ op }) => op),
          what,
        ).toEqual(["open", "write", "fsync", "close"]);
      const synced = after(index, (call) => call.op === "fsync" && call.path === dirname(path));
      const built = after(
        index,
        ({ op, path }) => op === "rename" || op === "unlink" || (op === "write" && path.endsWith("jsonl")),
      );
      expect(synced, `${path}: the next call that builds on it comes before its folder is synced`).toBeLessThan(built);
    }
  });

  test("a checkpoint comes after the metrics up to it, and after the opponents that it names", () => {
    const checkpoints = calls.flatMap(({ op, path }, index) =>
      op === "rename" && /\/0\d+\.safe/.test(path) ? [index] : [],
    );
    expect(checkpoints).toHaveLength(2);
    for (const index of checkpoints) {
      const metrics = calls.slice(0, index).filter(({ path }) => path.endsWith("metrics.jsonl"));
      expect(metrics.at(-1)?.op).toBe("fdatasync");
      expect(metrics.filter(({ op }) => op === "write").length).toBeGreaterThan(1);
    }
    const members = calls.flatMap(({ op, path }, index) =>
      op === "rename" && path.includes("opponents/") ? [index] : [],
    );
    expect(members.filter((index) => index < checkpoints[0]!).length).toBeGreaterThan(1);
    // An old one goes only when the new one is safe.
    const dropped = calls.findIndex(({ op, path }) => op === "unlink" && path.includes("checkpoints/0"));
    if (dropped >= 0) expect(dropped).toBeGreaterThan(checkpoints[1]!);
  });
});

interface Report {
  calls: number;
  attempts: number;
  byFault: Record<string, number>;
  byStage: Record<string, number>;
  problems: string[];
}

describe("every fault at every call", () => {
  test.each([
    ["save", "save() over an older file", 8, 60],
    ["train", "a run in a new folder", 80, 600],
    ["fill", "the beginning of a run in an empty folder", 20, 150],
    ["resume", "going on with a run that was killed while it saved", 50, 400],
    ["read", "what going on with a run reads", 50, 200],
    ["load", "what load() reads, of a file and of a folder", 25, 100],
  ])("%s: %s", (job, _what, leastCalls, leastAttempts) => {
    const base = emptied(join(folder, "jobs"));
    cpSync(join(folder, "killed"), join(base, "killed"), { recursive: true });
    const driver = fileURLToPath(new URL("fault_driver.mjs", import.meta.url));
    control.rest();
    const done = spawnSync(process.execPath, [driver, control.path, base, job], {
      env: shimmed(library, control),
      encoding: "utf8",
      maxBuffer: 1 << 28,
    });
    expect({ status: done.status, signal: done.signal, stderr: done.stderr }).toEqual({
      status: 0,
      signal: null,
      stderr: "",
    });
    const report = JSON.parse(done.stdout) as Report;
    expect(report.problems).toEqual([]);
    expect(report.calls).toBeGreaterThanOrEqual(leastCalls);
    expect(report.attempts).toBeGreaterThanOrEqual(leastAttempts);
    counts.push(`${job} ${report.calls} calls, ${report.attempts} faults`);
  });
});

describe("the process", () => {
  test("ends with its exit code, never by a signal, and another one goes on with the run", async () => {
    const faults = Object.keys(FAULTS).filter((name) => !name.startsWith("kill"));
    const work = calls.map(({ op }, index) => {
      const possible = faults.filter((name) => applies(name, op));
      return { at: index + 1, op, fault: possible[(index * 7) % possible.length]! };
    });
    const controls = [control, new Control(join(folder, "control-2"))];
    let refused = 0;
    await inPairs(work, async ({ at, op, fault }, worker) => {
      const arena = emptied(join(folder, `process-${worker}`));
      const out = join(arena, "run");
      controls[worker]!.watch(arena, { at, fault });
      const end = await run([...whole, "--out", out], shimmed(library, controls[worker]!));
      const what = `call ${at}, ${op}, ${fault}: ${end.stderr}`;
      expect(controls[worker]!.read().hits, what).toBeGreaterThan(0);
      expect(end.signal, what).toBeNull();
      expect(end.stderr, what).not.toMatch(/^ {4}at |Unhandled|Warning/m);
      if (FAULTS[fault]!.recovers) expect(end.code, what).toBe(0);
      if (end.code !== 0) {
        ++refused;
        expect(end.last, what).toMatchObject({ type: "error", code: "IO" });
        // 2 says that the path was a bad choice, which a full or broken disk is not.
        const codes = ["ENOSPC", "EDQUOT", "EIO"].includes(end.last.received) ? [1] : [1, 2];
        expect(codes, `${what}, exit code ${end.code}`).toContain(end.code);
        if (existsSync(join(out, "checkpoints"))) await checkCheckpoints(out);
        const begun = existsSync(join(out, "config.json"));
        const again = await run(begun ? ["train", "--resume", out, "--json"] : [...whole, "--out", out]);
        expect(again.code, `${what}, then: ${again.stderr}`).toBe(0);
      }
      const { files, ...rest } = summary(out);
      expect(rest, what).toEqual({ metrics: expected.metrics, result: expected.result });
      // A run that has ended is not locked again, so that a lock which could not be removed stays.
      expect(
        files.filter((path: string) => path !== "lock" || (!FAULTS[fault]!.lasts && op !== "unlink")),
        what,
      ).toEqual(expected.files);
    });
    controls[1]!.close();
    counts.push(`${work.length} processes, ${refused} ended with an error`);
  });
});
