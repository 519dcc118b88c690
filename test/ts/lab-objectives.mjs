// Objectives that behave well and badly, for lab-execute.test.ts. Each runs in a worker process.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { NumericError, OptionError } from "bellows";

export const notFunction = 7;

export default async function descend({ steps = 3 }, { seed, report }) {
  for (let i = 1; i <= steps; ++i) report({ loss: seed + 1 / i });
  return { steps };
}

export async function nothing() {
  return {};
}

export async function context(config, { seed, budget, directory }) {
  writeFileSync(join(directory, "context.json"), JSON.stringify({ config, seed, budget, directory }));
  return 1;
}

export async function noisy({ lines, reports }, { report }) {
  for (let i = 1; i <= lines; ++i) {
    console.log(`step ${i} of ${lines}, loss ${(1 / i).toFixed(5)}, ${i % 1000} ms`);
    if (i % (lines / 20) === 0)
      console.error(`warning: gradient ${"abcdefghijklmnopqrst"[(20 * i) / lines - 1]} is large`);
    if (i % (lines / reports) === 0) report({ loss: i });
  }
  return {};
}

export async function throws({ what }) {
  console.log("about to throw");
  if (what === "option") throw new OptionError("config.x is 3; it must be 4");
  if (what === "numeric") throw new NumericError("the loss is NaN", { step: 3, tensor: "policy.weight" });
  if (what === "mistake") return undefined.x;
  if (what === "string") throw "a string";
  if (what === "later") setImmediate(() => Promise.reject(new Error("nobody waits for this")));
  if (what === "later") await sleep(60_000);
  throw Object.assign(new Error("connection refused"), { code: "ECONNREFUSED" });
}

export async function exits({ code, signal }, { report }) {
  report({ loss: 5 });
  for (let i = 0; i < 20; ++i) console.error(`dying words ${"abcdefghijklmnopqrst"[i]}`);
  if (signal) process.kill(process.pid, signal);
  else process.exit(code);
  await sleep(60_000);
}

export async function unsettled() {
  await new Promise(() => {});
}

/** Starts a process that would go on for long, tells its id, and then does as the configuration says. */
export async function withChild({ next }, { report, signal }) {
  const child = spawn("sleep", ["1000"], { stdio: "inherit" });
  await once(child, "spawn");
  report({ pid: child.pid, worker: process.pid });
  if (next === "spin") await new Promise((resolve) => setImmediate(resolve));
  if (next === "spin") for (;;);
  if (next === "return") return { loss: 1 };
  if (next === "crash") process.kill(process.pid, "SIGKILL");
  if (next === "wait") await sleep(60_000, null, { signal });
  if (next === "ignore") await sleep(60_000);
  return 0;
}

/** Ends when it is told to, and writes down why. */
export async function patient(_, { report, signal, directory }) {
  report({ loss: 1 });
  await sleep(60_000, null, { signal }).catch(() => {});
  const { code, path, message } = signal.reason;
  writeFileSync(join(directory, "reason.json"), JSON.stringify({ code, path, message }));
  throw signal.reason;
}

export async function hoard(_, { report }) {
  const kept = [];
  for (;;) {
    kept.push(Buffer.alloc(20 * 1024 * 1024, 1));
    report({ loss: kept.length });
    await sleep(20);
  }
}

/** Memory that a child process of the worker takes. */
export async function hoardElsewhere(_, { report }) {
  const text = "const kept = []; setInterval(() => kept.push(Buffer.alloc(20 * 1024 * 1024, 1)), 20);";
  const child = spawn(process.execPath, ["-e", text], { stdio: "ignore" });
  report({ pid: child.pid });
  await sleep(60_000);
  return 0;
}

/** What an objective must not be able to forge. */
export async function meddles(_, { report }) {
  process.send?.({ type: "end", ending: { ok: true, value: 42, values: {} } });
  console.log(JSON.stringify({ type: "report", report: { index: 1, values: { loss: 42 } } }));
  report({ loss: 1 });
  return {};
}
