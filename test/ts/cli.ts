// Runs the built command line as a child process.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const main = join(root, "dist", "cli", "main.js");

export interface Line {
  type: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look at whatever the line has
  [key: string]: any;
}

export interface Finished {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** stdout as JSON lines; parsing fails the test where one is not JSON. */
  readonly lines: Line[];
  readonly last: Line;
}

export interface Running {
  child: ChildProcess;
  /** Resolves at the first line of the type (and, given one, that satisfies the condition). */
  line(type: string, condition?: (line: Line) => boolean): Promise<Line>;
  finished: Promise<Finished>;
}

export function start(args: readonly string[], options: { input?: string; node?: readonly string[] } = {}): Running {
  const child = spawn(process.execPath, [...(options.node ?? [main]), ...args], { stdio: ["pipe", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  const waiting: { type: string; condition: (line: Line) => boolean; resolve: (line: Line) => void }[] = [];
  let seen = 0;
  const parse = (text: string) =>
    text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Line);
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    stdout += chunk;
    const complete = stdout.lastIndexOf("\n") + 1;
    if (waiting.length === 0 || complete === seen) return;
    seen = complete;
    const lines = parse(stdout.slice(0, complete));
    for (const item of [...waiting]) {
      const found = lines.find((line) => line.type === item.type && item.condition(line));
      if (!found) continue;
      waiting.splice(waiting.indexOf(item), 1);
      item.resolve(found);
    }
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    stderr += chunk;
  });
  child.stdin.on("error", () => {}).end(options.input ?? "");
  const finished = new Promise<Finished>((resolve, reject) => {
    child.on("error", reject).on("close", (code, signal) => {
      resolve({
        code,
        signal,
        stdout,
        stderr,
        get lines() {
          return parse(stdout);
        },
        get last() {
          return parse(stdout).at(-1) ?? { type: "nothing" };
        },
      });
    });
  });
  return {
    child,
    finished,
    line: (type, condition = () => true) =>
      Promise.race([
        new Promise<Line>((resolve) => waiting.push({ type, condition, resolve })),
        finished.then((end) => {
          const found = end.lines.find((line) => line.type === type && condition(line));
          if (found) return found;
          throw new Error(`ended without a line ${type}: ${end.stdout}${end.stderr}`);
        }),
      ]),
  };
}

export function bellows(args: readonly string[], options: Parameters<typeof start>[1] = {}): Promise<Finished> {
  return start(args, options).finished;
}

/** A folder that is removed after the file's tests. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), "bellows-test-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A run that takes milliseconds an iteration. */
export const tiny = ["--set", "net.width=16", "--set", "net.depth=1", "--set", "rollout.games=32", "--threads", "1"];

/** With opponents that change often, so that resuming has something to get wrong. */
export const tinyPool = [
  ...tiny,
  ...["pool=3", "every=2", "selfShare=0.5"].flatMap((option) => ["--set", `rollout.opponents.${option}`]),
];

/** Numbers in [0, 1) from a seed (Mulberry32). */
export function random(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
