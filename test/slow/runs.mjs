// The run that the campaigns break, and what must be true of it afterwards.

import { spawn } from "node:child_process";
import { accessSync, constants, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { readCheckpoint } from "../../dist/checkpoint.js";

const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

/** A new folder, in memory where there is such a place: thousands of runs are written and synced. */
export function workFolder() {
  let base = tmpdir();
  try {
    accessSync("/dev/shm", constants.W_OK);
    base = "/dev/shm";
  } catch {
    // The disk does too.
  }
  return mkdtempSync(join(base, "bellows-slow-"));
}

/** Makes a folder anew, empty. */
export function emptied(folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  return folder;
}

/**
 * Starts the command line.
 *
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} [env]
 */
export function launch(args, env = process.env) {
  const child = spawn(process.execPath, [main, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  /** @type {{ text: string, wake: (value?: undefined) => void }[]} */
  let waiting = [];
  const wake = (/** @type {(text: string) => boolean} */ condition) => {
    for (const { wake } of waiting.filter(({ text }) => condition(text))) wake();
    waiting = waiting.filter(({ text }) => !condition(text));
  };
  child.stdout.setEncoding("utf8").on("data", (chunk) => {
    stdout += chunk;
    wake((text) => stdout.includes(text));
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    stderr += text;
  });
  /** @type {Promise<{ code: number | null, signal: string | null, stdout: string, stderr: string, last: any }>} */
  const finished = new Promise((resolve, reject) => {
    child.on("error", reject).on("close", (code, signal) => {
      wake(() => true);
      const lines = stdout.split("\n").slice(0, -1);
      resolve({ code, signal, stdout, stderr, last: lines.length > 0 ? JSON.parse(lines.at(-1) ?? "") : null });
    });
  });
  /** Resolves when it has written a line of a type, or has ended. */
  const reached = (/** @type {string} */ type) =>
    new Promise((/** @type {(value?: undefined) => void} */ resolve) => {
      waiting.push({ text: `{"type":"${type}",`, wake: resolve });
      wake((text) => child.exitCode !== null || child.signalCode !== null || stdout.includes(text));
    });
  return { child, finished, reached };
}

/** @param {readonly string[]} args @param {NodeJS.ProcessEnv} [env] */
export function run(args, env) {
  return launch(args, env).finished;
}

/**
 * Does something with every item, two at a time.
 *
 * @template T
 * @param {readonly T[]} items
 * @param {(item: T, worker: number) => Promise<void>} work
 */
export async function inPairs(items, work) {
  const queue = items.values();
  const worker = async (number) => {
    for (const item of queue) await work(item, number);
  };
  await Promise.all([worker(0), worker(1)]);
}

/** A run of milliseconds that writes every kind of file, drops old checkpoints and opponents, and can be resumed. */
export const recipe = [
  ...["train", "tictactoe", "--seed", "11", "--threads", "1"],
  ...[
    ...["net.width=16", "net.depth=1", "rollout.games=16", "ppo.lrSchedule=constant"],
    ...["rollout.opponents.pool=2", "rollout.opponents.every=1", "rollout.opponents.selfShare=0.5"],
    ...["run.checkpointEvery=2", "run.checkpoints=2"],
  ].flatMap((option) => ["--set", option]),
];

/** Whether a name is of a file or folder that was to become another one. */
export const isLeftOver = (name) => /bellows-tmp$|^\..*\.new$/.test(name);

/** Every file and folder below one, by path from there, sorted. */
export function listing(folder) {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
}

/** What a run's folder says without clock and machine: the names of its files, its metrics and its result. */
export function summary(folder) {
  const text = readFileSync(join(folder, "metrics.jsonl"), "utf8");
  if (!text.endsWith("\n")) throw new Error(`${folder}: the last line of metrics.jsonl is torn`);
  const metrics = text
    .trimEnd()
    .split("\n")
    .map((line) => {
      const { speed, roofline, seconds, ...rest } = JSON.parse(line);
      return rest;
    });
  const { seconds, ...result } = JSON.parse(readFileSync(join(folder, "result.json"), "utf8")).line;
  return { files: listing(folder), metrics, result };
}

/** Reads every checkpoint of a run, as a resume does; throws where one is not whole. Returns how many there are. */
export async function checkCheckpoints(folder) {
  const checkpoints = join(folder, "checkpoints");
  const names = readdirSync(checkpoints).filter((name) => name.endsWith(".safetensors"));
  for (const name of names.filter((name) => !isLeftOver(name))) {
    const { opponents } = await readCheckpoint(join(checkpoints, name));
    for (const hash of opponents.values()) statSync(join(checkpoints, "opponents", `${hash}.safetensors`));
  }
  return names.length;
}

/** Where in a run a call falls: the file that it is about. */
export function stageOf(path) {
  const name = basename(path).replace(/^\.(.+?)(\.\w+)*\.(bellows-tmp|new)$/, "$1");
  if (/opponents/.test(path)) return "opponents";
  if (/checkpoints/.test(path)) return "checkpoint";
  return ["lock", "config.json", "metrics.jsonl", "result.json"].find((known) => name.startsWith(known)) ?? "folder";
}
