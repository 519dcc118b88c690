// A thread of the worker process that goes on when the main thread is busy. It ends the whole group when the runner is
// gone, when memory is over its limit, and when the main thread gives no sign of life.

import { Socket } from "node:net";
import { parentPort, workerData } from "node:worker_threads";
import { exists, killGroup, memoryOfOthers } from "./group.js";
import { cpuSeconds, GRACE_MS, LIFE, type LimitName, type Pulse, type WatchdogData } from "./protocol.js";

const PERIOD_MS = 250;
/** Near the limit of memory. */
const NEAR_MS = 50;
const PULSE_MS = 1000;
/** Where memory grows past this multiple of its limit, there is no time left for grace. */
const RUNAWAY = 1.25;
const MIB = 1024 * 1024;

const { parent, memory, heartbeat, beats } = workerData as WatchdogData;
const counter = new Int32Array(beats);

function die(): void {
  killGroup(process.pid);
  // Where this process leads no group.
  process.kill(process.pid, "SIGKILL");
}

// The other end closes with the runner, however it ends.
const life = new Socket({ fd: LIFE });
life.on("error", die).on("close", die).resume();

let seen = Atomics.load(counter, 0);
let last = performance.now();
let silence = 0;
let others = 0;
let nextScan = 0;
let nextPulse = 0;
let peakMemory = 0;
let ending = false;

function pulse(reached?: Pulse["reached"]): void {
  const line: Pulse = { peakMemory, cpuSeconds: cpuSeconds(), ...(reached && { reached }) };
  life.write(`${JSON.stringify(line)}\n`);
}

function reach(limit: LimitName, allowed: number, found: number): void {
  ending = true;
  const reached = { limit, allowed, found };
  pulse(reached);
  parentPort?.postMessage(reached);
  setTimeout(die, GRACE_MS);
}

function look(): void {
  // A runner that is gone, should the pipe not say so: its child has another parent then, except on Windows.
  if (process.platform === "win32" ? !exists(parent) : process.ppid !== parent) die();
  const now = performance.now();
  // After a pause of the whole process the main thread gets its turn before it is blamed.
  silence += Math.min(now - last, 2 * PERIOD_MS);
  last = now;
  const beat = Atomics.load(counter, 0);
  if (beat !== seen) silence = 0;
  seen = beat;

  if (now >= nextScan) {
    others = memoryOfOthers();
    // Looking at all processes may take no more than a fiftieth of a core.
    nextScan = now + 50 * (performance.now() - now);
  }
  const used = process.memoryUsage.rss() + others;
  peakMemory = Math.max(peakMemory, used);
  if (memory > 0 && used > RUNAWAY * memory && ending) die();
  if (!ending && memory > 0 && used > memory) reach("memory", memory / MIB, used / MIB);
  if (!ending && silence > 1000 * heartbeat) reach("heartbeat", heartbeat, silence / 1000);
  if (now >= nextPulse && life.writableLength === 0) {
    nextPulse = now + PULSE_MS;
    pulse();
  }
  setTimeout(look, memory > 0 && used > memory / 2 ? NEAR_MS : PERIOD_MS);
}

look();
