// The bench program of a commit: built once in build/compare/<commit> of the checkout, and run as a process.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../binary.js";
import { BellowsError } from "../errors.js";
import { execute } from "./peers.js";

/** One row as the bench program prints it. */
export interface ProgramRow {
  readonly name: string;
  readonly shape: string;
  readonly unit: string;
  readonly median: number;
  /** ms of one iteration, by op and phase; scaled as the median is. Empty for other cases. */
  readonly profile: readonly { readonly op: string; readonly group: string; readonly ms: number }[];
}

export interface Build {
  readonly commit: string;
  /** As it was asked for. */
  readonly name: string;
  readonly program: string;
  /** The program of before there was a table of cases: it knows iterations only. */
  readonly old: boolean;
}

function failure(message: string, path: string, received: string, expected: string): BellowsError {
  return new BellowsError("USAGE", message, { op: "bench.compare", path, received, expected });
}

function git(...argv: readonly string[]) {
  return spawnSync("git", ["-C", packageRoot, ...argv], { encoding: "utf8" });
}

/** What --compare needs besides bellows; a typed error says what is missing. */
export function needTools(): void {
  for (const [tool, why] of [
    ["git", "to check out the two commits"],
    ["cmake", "to build them (3.20 or later, with a C and C++ compiler)"],
  ] as const) {
    const done = spawnSync(tool, ["--version"], { stdio: "ignore" });
    if (done.error || done.status !== 0) {
      throw failure(`--compare needs ${tool} ${why}`, "--compare", `no ${tool}`, `${tool} on the PATH`);
    }
  }
  if (git("rev-parse", "--git-dir").status !== 0 || !existsSync(join(packageRoot, ".git"))) {
    const message = `--compare needs a git checkout of bellows; ${packageRoot} is none`;
    throw failure(message, "--compare", packageRoot, "bellows run from a clone");
  }
}

/** The full hash of what people call a commit. */
export function commitOf(name: string): string {
  const done = git("rev-parse", "--verify", "--quiet", "--end-of-options", `${name}^{commit}`);
  if (done.status === 0) return done.stdout.trim();
  throw failure(`--compare: ${name} is no commit here`, "--compare", name, "a commit, branch or tag of this checkout");
}

async function step(command: readonly string[], what: string, signal: AbortSignal): Promise<void> {
  const { status, stdout, stderr, error } = await execute(command, { signal });
  signal.throwIfAborted();
  if (status === 0) return;
  const said = error?.message ?? `${stdout}${stderr}`.trim().split("\n").slice(-20).join("\n");
  throw new BellowsError("INTERNAL", `${what} failed: ${command.join(" ")}\n${said}`, {
    op: "bench.compare",
    path: "--compare",
    received: `exit status ${status}`,
    expected: "a commit that builds",
  });
}

/** Builds the commit's bench program unless that was done before. */
export async function build(name: string, signal: AbortSignal, say: (text: string) => void): Promise<Build> {
  const commit = commitOf(name);
  const old = git("cat-file", "-e", `${commit}:bench/bench.c`).status !== 0;
  if (old && git("cat-file", "-e", `${commit}:bench/iteration.c`).status !== 0) {
    throw failure(`--compare: ${name} has no bench program`, "--compare", name, "a commit with bench/bench.c");
  }
  const target = old ? "bench_iteration" : "bellows_bench";
  const suffix = process.platform === "win32" ? ".exe" : "";
  const folder = join(packageRoot, "build", "compare");
  const program = join(folder, `${commit}${suffix}`);
  if (!existsSync(program)) {
    say(`building ${name} (${commit.slice(0, 9)})\n`);
    const work = join(folder, `${commit}.${process.pid}`);
    const source = join(work, "source");
    mkdirSync(work, { recursive: true });
    try {
      await step(["git", "-C", packageRoot, "worktree", "add", "--detach", source, commit], "the checkout", signal);
      const tree = join(work, "build");
      await step(["cmake", "-S", source, "-B", tree, "-DCMAKE_BUILD_TYPE=Release"], "cmake", signal);
      const jobs = String(availableParallelism());
      await step(["cmake", "--build", tree, "--target", target, "--parallel", jobs], "the build", signal);
      renameSync(join(tree, "bench", `${target}${suffix}`), program);
    } finally {
      rmSync(work, { recursive: true, force: true });
      git("worktree", "prune");
    }
  }
  return { commit, name, program, old };
}

export interface ProgramRequest {
  readonly only: string;
  readonly threads: number;
  readonly precision: string;
  readonly seconds: number | undefined;
  readonly signal: AbortSignal;
}

/** Runs a commit's program once: the rows of the cases that `only` names. */
export async function runProgram(build: Build, request: ProgramRequest): Promise<ProgramRow[]> {
  const argv = build.old ? oldArguments(build, request) : newArguments(request);
  const { status, stdout, stderr, error } = await execute([build.program, ...argv], { signal: request.signal });
  request.signal.throwIfAborted();
  if (status !== 0) {
    const said = error?.message ?? stderr.trim().split("\n")[0] ?? "";
    throw failure(`${build.name}: ${said}`, "--compare", said, `what the bench program of ${build.name} knows`);
  }
  const lines = stdout.trim().split("\n");
  return lines.map((line) => (build.old ? oldRow(JSON.parse(line)) : newRow(JSON.parse(line))));
}

function newArguments({ only, threads, precision, seconds }: ProgramRequest): string[] {
  const argv = ["--only", only, "--threads", String(threads), "--precision", precision, "--json"];
  return seconds === undefined ? argv : [...argv, "--seconds", String(seconds)];
}

interface NewRow extends ProgramRow {
  readonly seconds: number;
}

function newRow(row: NewRow): ProgramRow {
  const { name, shape, unit, median } = row;
  const scale = unit === "ms" ? median / (row.seconds * 1e3) : 1;
  return { name, shape, unit, median, profile: row.profile.map((op) => ({ ...op, ms: op.ms * scale })) };
}

function oldArguments(build: Build, { only, threads, precision, seconds }: ProgramRequest): string[] {
  const game = /^iteration\/(\w+)$/.exec(only)?.[1];
  if (!game || precision !== "fp32") {
    const asked = game ? `precision ${precision}` : only;
    const expected = "iteration/tictactoe or iteration/connect4 in fp32";
    throw failure(`${build.name} has no bench of ${asked}, only ${expected}`, "--only", asked, expected);
  }
  // About as long as the new program takes.
  const [iterations, each] = game === "connect4" ? [5, 0.6] : [20, 0.04];
  const count = seconds === undefined ? iterations : Math.max(1, Math.ceil(seconds / each));
  const argv = ["--game", game, "--threads", String(threads), "--warmup", "2", "--iterations", String(count), "--json"];
  return argv;
}

interface OldRow {
  readonly name: string;
  readonly median_ms: number;
  readonly steps: number;
  readonly profile: ProgramRow["profile"];
}

/** Connect Four is scaled to the steps of the newer table. */
function oldRow({ name, median_ms, steps, profile }: OldRow): ProgramRow {
  const scale = name === "iteration/connect4" ? 299 / steps : 1;
  const scaled = profile.map(({ op, group, ms }) => ({ op, group, ms: ms * scale }));
  return { name, shape: "", unit: "ms", median: median_ms * scale, profile: scaled };
}
