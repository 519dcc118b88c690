// What a case is compared with: programs that bench/peers/peers.json lists, run as processes of their own. An entry is
//
//   { "case": "iteration/tictactoe", "name": "pytorch fp32",
//     "find": ["{python}", "-c", "import torch"],                              exit status 0: the peer is there
//     "command": ["{python}", "{peers}/ppo_torch.py", "--threads", "{threads}", "--json"] }
//
// and, where there is a number `threads`, is run at that number of threads only. The command's last line on stdout is
// JSON with `median_ms` (or `median`, in the case's unit) and, where the case is scaled to a number of optimiser steps,
// `steps`. {python}: BELLOWS_PYTHON, else python3; {peers}: the folder; {threads}, {seconds} and the numbers of the
// case's shape ({M}, {N}, {K}) are what is asked for.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../binary.js";
import { BellowsError } from "../errors.js";
import type { NativeBenchCase } from "../native.js";

export interface PeerEntry {
  readonly case: string;
  readonly name: string;
  readonly find?: readonly string[];
  readonly threads?: number;
  readonly command: readonly string[];
}

export interface PeerQuestion {
  readonly of: NativeBenchCase;
  readonly threads: number;
  readonly seconds: number;
  readonly signal: AbortSignal;
}

/** Overrides that slow BLAS down would flatter us, and their like would hurt us: no child sees them. */
const SLOWDOWNS = [
  "OPENBLAS_CORETYPE",
  "OPENBLAS_L2_SIZE",
  "MKL_CBWR",
  "MKL_ENABLE_INSTRUCTIONS",
  "ONEDNN_MAX_CPU_ISA",
  "DNNL_MAX_CPU_ISA",
  "ATEN_CPU_CAPABILITY",
];

export function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !SLOWDOWNS.includes(name)));
}

const folder = join(packageRoot, "bench", "peers");

/** The list of peers; empty in a package that came without. */
export function peerEntries(): readonly PeerEntry[] {
  try {
    return JSON.parse(readFileSync(join(folder, "peers.json"), "utf8")) as PeerEntry[];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Those of the cases, at this number of threads. */
export function peersOf(entries: readonly PeerEntry[], names: readonly string[], threads: number): PeerEntry[] {
  return entries.filter((peer) => names.includes(peer.case) && (peer.threads ?? threads) === threads);
}

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly error?: Error;
}

/** Runs a program to its end. An abort kills it. */
export function execute(
  command: readonly string[],
  options: { signal?: AbortSignal; cwd?: string } = {},
): Promise<Ended> {
  return new Promise((resolve) => {
    const [program = "", ...argv] = command;
    const child = spawn(program, argv, {
      env: cleanEnvironment(),
      stdio: ["ignore", "pipe", "pipe"],
      killSignal: "SIGKILL",
      ...options,
    });
    let stdout = "";
    let stderr = "";
    let failure: Error | undefined;
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.on("error", (error) => {
      failure = error;
      // A program that never started closes nothing.
      if (child.pid === undefined) resolve({ status: null, stdout, stderr, error });
    });
    child.on("close", (status) => resolve({ status, stdout, stderr, ...(failure ? { error: failure } : {}) }));
  });
}

function fill(words: readonly string[], question?: PeerQuestion): string[] {
  const values = new Map([
    ["python", process.env.BELLOWS_PYTHON || "python3"],
    ["peers", folder],
  ]);
  if (question) {
    values.set("threads", String(question.threads)).set("seconds", String(question.seconds));
    for (const [, key = "", value = ""] of question.of.shape.matchAll(/\b([A-Z])=(\d+)/g)) values.set(key, value);
  }
  return words.map((word) => word.replace(/\{(\w+)\}/g, (whole, key: string) => values.get(key) ?? whole));
}

/** Which of the peers are there. `missing` gets the name and the reason of those that are not. */
export async function findPeers(
  entries: readonly PeerEntry[],
  signal: AbortSignal,
  missing: (name: string, reason: string) => void,
): Promise<PeerEntry[]> {
  const answers = new Map<string, Promise<string | null>>();
  const reasonOf = (find: readonly string[]) => {
    const words = fill(find);
    const key = words.join("\0");
    let answer = answers.get(key);
    if (!answer) {
      answer = execute(words, { signal }).then(({ status, stderr, error }) => {
        if (status === 0) return null;
        return error?.message ?? stderr.trim().split("\n").at(-1) ?? `exit status ${status}`;
      });
      answers.set(key, answer);
    }
    return answer;
  };
  const found: PeerEntry[] = [];
  for (const entry of entries) {
    const reason = entry.find ? await reasonOf(entry.find) : null;
    if (reason === null) found.push(entry);
    else missing(entry.name, reason);
  }
  return found;
}

/** The peer's median in the case's unit. */
export async function measurePeer(peer: PeerEntry, question: PeerQuestion): Promise<number> {
  const command = fill(peer.command, question);
  const { status, stdout, stderr, error } = await execute(command, { signal: question.signal, cwd: folder });
  question.signal.throwIfAborted();
  const wrong = (received: string) =>
    new BellowsError("INTERNAL", `the peer ${peer.name} failed: ${command.join(" ")}: ${received}`, {
      op: "bench",
      path: peer.name,
      received,
      expected: "a line of JSON with median_ms or median",
    });
  if (status !== 0)
    throw wrong(error?.message ?? `exit status ${status}: ${stderr.trim().split("\n").slice(-3).join(" ")}`);
  const line = stdout.trim().split("\n").at(-1) ?? "";
  let answer: { median_ms?: unknown; median?: unknown; steps?: unknown };
  try {
    answer = JSON.parse(line);
  } catch {
    throw wrong(line.slice(0, 200));
  }
  const perMs = { ms: 1, us: 1000 }[question.of.unit];
  const value = typeof answer.median_ms === "number" && perMs ? answer.median_ms * perMs : answer.median;
  if (typeof value !== "number" || !(value > 0)) throw wrong(line.slice(0, 200));
  if (question.of.steps === 0) return value;
  if (typeof answer.steps !== "number" || !(answer.steps > 0)) throw wrong("no steps");
  return (value * question.of.steps) / answer.steps;
}
