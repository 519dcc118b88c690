// Runs under fail_io.c: does a piece of work once for every call that it makes, and every fault that this call can
// have, and checks what is left. The work is the command's own code, in this process, which makes an attempt a matter
// of milliseconds. Prints one JSON line.

import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { Command } from "commander";
import { Context } from "../../dist/cli/context.js";
import { Output } from "../../dist/cli/output.js";
import { registerTrain } from "../../dist/cli/train.js";
import { SelfPlay } from "../../dist/index.js";
import { applies, Control, FAULTS } from "./fail_io.mjs";
import { checkCheckpoints, isLeftOver, listing, recipe, stageOf, summary } from "./runs.mjs";

/** Keeps what the command would print. */
class Kept extends Output {
  lines = [];
  notes = "";
  constructor() {
    super(true);
  }
  text(text) {
    this.notes += text;
  }
  note(text) {
    this.notes += text;
  }
  async emit(line) {
    this.lines.push(line);
  }
  failWith(line) {
    this.lines.push(line);
  }
}

/** The command line in this process: its exit code, its lines, and what was thrown. */
async function bellows(args) {
  const output = new Kept();
  const context = new Context(output);
  const program = new Command("bellows").exitOverride().configureOutput({ writeErr() {}, outputError() {} });
  registerTrain(program, context);
  try {
    await program.parseAsync(args, { from: "user" });
    return { code: context.exitCode, output, last: output.lines.at(-1) };
  } catch (error) {
    const code = output.fail(error);
    return { code, output, last: output.lines.at(-1), error };
  }
}

const [controlPath, base, job] = process.argv.slice(2);
const control = new Control(controlPath);
const arena = join(base, "arena");
const out = join(arena, "run");
const problems = [];
const byFault = {};
const byStage = {};
let attempts = 0;

function demand(condition, what) {
  if (!condition) throw new Error(what);
}

function same(actual, expected, what) {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a === b) return;
  let at = 0;
  while (a[at] === b[at]) ++at;
  const from = Math.max(0, at - 40);
  throw new Error(`${what} differs: ...${a.slice(from, at + 60)} instead of ...${b.slice(from, at + 60)}`);
}

/** Files in the arena that this process has open. */
function openFiles() {
  const found = [];
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      if (path.startsWith(arena)) found.push(path);
    } catch {
      // The descriptor that listed the folder.
    }
  }
  return found;
}

/** What a fault that is reported must look like. */
function checkError({ code, error, last }, fault, path) {
  const errno =
    Object.hasOwn(FAULTS, fault) && /^E/.test(fault)
      ? fault
      : { "disk full": "ENOSPC", "disk gone": "EIO", "made read-only": "EROFS" }[fault];
  demand(last?.type === "error", `no error line, exit code ${code}`);
  const kinds = ["IO", "CHECKPOINT"];
  demand(kinds.includes(last.code), `error ${last.code}: ${last.message}\n${error?.stack}`);
  demand(last.received === errno, `received ${last.received}: ${last.message}`);
  demand(last.path?.startsWith(path), `path ${last.path}: ${last.message}`);
  if (last.code === "IO") demand(error.errno === errno && error.op !== "", `errno ${error.errno}, op "${error.op}"`);
  const inputs = last.code === "CHECKPOINT" || error.input;
  demand(code === (inputs ? 2 : 1), `exit code ${code}`);
  if (["ENOSPC", "EIO", "EDQUOT"].includes(errno) && last.code === "IO")
    demand(code === 1, `exit code ${code} for ${errno}`);
}

/** As if this process had died: its lock is a dead one's. */
function die() {
  const path = join(out, "lock");
  if (!existsSync(path)) return;
  const lock = JSON.parse(readFileSync(path, "utf8"));
  writeFileSync(path, `${JSON.stringify({ ...lock, start: "1" })}\n`);
}

/**
 * Tries a piece of work with every fault at every call.
 *
 * @param family which calls
 * @param faults names of faults
 * @param work { prepare, attempt, check(outcome, fault, calls before, op), until(call): where to stop }
 */
async function campaign(family, faults, { prepare, attempt, check, until = () => false }) {
  const fresh = async () => {
    rmSync(arena, { recursive: true, force: true });
    mkdirSync(arena);
    await prepare();
  };
  await fresh();
  control.watch(arena, { family });
  const whole = await attempt();
  control.rest();
  demand(whole.code === 0, `without a fault: ${JSON.stringify(whole.last)}`);
  const made = control.read().calls;
  const end = made.findIndex(until);
  const calls = end < 0 ? made : made.slice(0, end);
  for (const [index, { op, path }] of calls.entries()) {
    for (const fault of faults.filter((name) => applies(name, op))) {
      ++attempts;
      const where = `call ${index + 1}, ${op} ${path.replace(arena, "")}, ${fault}`;
      try {
        await fresh();
        control.watch(arena, { at: index + 1, fault, family });
        const outcome = await attempt();
        control.rest();
        const seen = control.read();
        demand(seen.hits > 0, "the fault was not injected");
        byFault[fault] = (byFault[fault] ?? 0) + 1;
        const stage = stageOf(path.replace(arena, ""));
        byStage[stage] = (byStage[stage] ?? 0) + 1;
        same(openFiles(), [], "the list of open files");
        await check(outcome, fault, seen.calls.slice(0, index), op);
      } catch (error) {
        control.rest();
        problems.push(`${where}: ${error.message}`);
      }
    }
  }
  return calls;
}

const WRITING = Object.keys(FAULTS).filter((name) => !name.startsWith("kill"));
const READING = ["EIO", "EMFILE", "EINTR", "one byte", "half a transfer", "disk gone"];
const ITERATIONS = ["--iterations", "4"];
/** Of the run that was killed in its third checkpoint, and has the first two. */
const LONGER = ["--iterations", "6"];

/** The uninterrupted run. */
async function reference(iterations = ITERATIONS) {
  const path = join(base, "reference", "run");
  mkdirSync(join(base, "reference"));
  const end = await bellows([...recipe, ...iterations, "--out", path]);
  demand(end.code === 0, JSON.stringify(end.last));
  return summary(path);
}

/** After a fault, and with it gone: the run can be gone on with, and ends as the uninterrupted one. */
async function checkRun(expected, { code, error, last }, fault, op) {
  const { recovers, lasts } = FAULTS[fault];
  if (recovers) demand(code === 0, `a fault that can be recovered from: ${last?.message ?? code}`);
  if (code !== 0) {
    checkError({ code, error, last }, fault, out);
    const left = listing(arena).filter((path) => isLeftOver(basename(path)) && path.includes(`.${process.pid}.`));
    // Removing it may be what failed.
    if (!lasts && op !== "unlink") {
      same(left, [], "the list of temporary files");
      const made = existsSync(out) ? listing(out) : [];
      if (last.message.startsWith("cannot make the run directory"))
        same(made, [], "what is left of a run that never was");
    }
    if (existsSync(join(out, "checkpoints"))) await checkCheckpoints(out);
    die();
    const again = existsSync(join(out, "config.json"))
      ? ["train", "--resume", out]
      : [...recipe, ...ITERATIONS, "--out", out];
    const end = await bellows(again);
    demand(end.code === 0, `cannot go on: ${end.last?.message}`);
  }
  const { files, ...rest } = summary(out);
  same(rest, { metrics: expected.metrics, result: expected.result }, "the run");
  same(
    // A run that has ended is not locked again: the lock of one that could not remove it stays.
    files.filter((path) => !((code === 0 || lasts) && path === "lock")),
    expected.files,
    "the list of files",
  );
  same(
    listing(arena).filter((path) => isLeftOver(basename(path))),
    [],
    "the list of temporary files",
  );
}

const jobs = {
  /** save() over an older file. */
  async save() {
    const path = join(arena, "agent.safetensors");
    const run = await SelfPlay.create({
      game: { name: "tictactoe" },
      net: { width: 16, depth: 1 },
      rollout: { games: 16, opponents: { pool: 2, every: 1, selfShare: 0.5 } },
      run: { seed: 11, threads: 1 },
    });
    const train = async (iterations) => {
      for await (const _ of run.train({ iterations, roofline: false }));
    };
    await train(2);
    await run.save(join(base, "old"));
    await train(1);
    await run.save(join(base, "new"));
    const old = readFileSync(join(base, "old"));
    const renewed = readFileSync(join(base, "new"));
    const calls = await campaign("change", WRITING, {
      prepare: () => writeFileSync(path, old),
      attempt: () =>
        run.save(path).then(
          () => ({ code: 0 }),
          (error) => ({ code: 1, error }),
        ),
      async check({ code, error }, fault, before, op) {
        const { recovers, lasts } = FAULTS[fault];
        if (recovers) demand(code === 0, `a fault that can be recovered from: ${error?.message}`);
        const bytes = readFileSync(path);
        const replaced = bytes.equals(renewed);
        demand(replaced || bytes.equals(old), "the file is neither the old nor the new one");
        if (code === 0) demand(replaced, "no error, and the old file");
        else {
          demand(error.name === "IoError" && error.code === "IO", error.stack);
          demand(error.path === path && error.op !== "", `path ${error.path}, op "${error.op}"`);
          demand(FAULTS[fault].error === FAULTS[error.errno]?.error, `errno ${error.errno}`);
          // Only what comes after the rename may find the new file: it is there, but may not outlive the machine.
          const renamed = before.some((call) => call.op === "rename");
          demand(
            replaced === renamed,
            replaced ? "an error before the rename, and the new file" : "renamed, and the old file",
          );
        }
        if (!lasts && op !== "unlink") same(readdirSync(arena), ["agent.safetensors"], "the folder");
        await run.save(path);
        demand(readFileSync(path).equals(renewed), "the next save failed");
        same(readdirSync(arena), ["agent.safetensors"], "the folder after the next save");
      },
    });
    await run.close();
    return calls;
  },

  /** A run in a folder that is not there yet. */
  async train() {
    const expected = await reference();
    return campaign("change", WRITING, {
      prepare: () => {},
      attempt: () => bellows([...recipe, ...ITERATIONS, "--out", out]),
      check: (outcome, fault, _before, op) => checkRun(expected, outcome, fault, op),
    });
  },

  /** Only the beginning of a run in an empty folder: the rest is the same. */
  async fill() {
    const expected = await reference();
    return campaign("change", WRITING, {
      prepare: () => mkdirSync(out),
      until: ({ op }) => op === "fdatasync",
      attempt: () => bellows([...recipe, ...ITERATIONS, "--out", out]),
      check: (outcome, fault, _before, op) => checkRun(expected, outcome, fault, op),
    });
  },

  /** Going on with a run that was killed: its lock, half a line and half a checkpoint are there. */
  async resume() {
    const expected = await reference(LONGER);
    return campaign("change", WRITING, {
      prepare: () => cpSync(join(base, "killed"), out, { recursive: true }),
      attempt: () => bellows(["train", "--resume", out]),
      check: (outcome, fault, _before, op) => checkRun(expected, outcome, fault, op),
    });
  },

  /** The same, with faults of what it reads. */
  async read() {
    const expected = await reference(LONGER);
    return campaign("read", READING, {
      prepare: () => cpSync(join(base, "killed"), out, { recursive: true }),
      attempt: () => bellows(["train", "--resume", out]),
      async check(outcome, fault, _before, op) {
        await checkRun(expected, outcome, fault, op);
        // Never from further back than need be, and not without saying so.
        const begun = outcome.output.lines.find(({ type }) => type === "start")?.iteration ?? 4;
        const warned = outcome.output.notes.includes("warning");
        demand(begun === 4 || (begun === 2 && warned), `it went on from iteration ${begun}`);
      },
    });
  },

  /** A file and a run's folder, loaded with faults of what is read. */
  async load() {
    const run = join(base, "reference", "run");
    await reference();
    const file = join(run, "checkpoints", "000004.safetensors");
    const hashes = {};
    for (const name of ["000002.safetensors", "000004.safetensors"]) {
      const loaded = await SelfPlay.load(join(run, "checkpoints", name));
      hashes[name] = await loaded.weightsHash();
      await loaded.close();
    }
    const work = (path) => ({
      prepare: () => cpSync(run, out, { recursive: true }),
      async attempt() {
        try {
          const loaded = await SelfPlay.load(path);
          const hash = await loaded.weightsHash();
          await loaded.close();
          return { code: 0, source: loaded.source, hash };
        } catch (error) {
          return { code: 2, error };
        }
      },
      check({ code, source, hash, error }, fault) {
        if (FAULTS[fault].recovers) demand(code === 0, `a fault that can be recovered from: ${error?.message}`);
        if (code === 0) demand(hash === hashes[basename(source)], "other weights");
        else {
          demand(error.name === "CheckpointError" && error.path.startsWith(out), error.stack);
          demand(error.received === fault || (fault === "disk gone" && error.received === "EIO"), error.message);
        }
        same(listing(out), listing(run), "the folder");
      },
    });
    const ofFile = await campaign("read", READING, work(join(out, "checkpoints", basename(file))));
    const ofFolder = await campaign("read", READING, work(out));
    return [...ofFile, ...ofFolder];
  },
};

const calls = await jobs[job]();
const ops = {};
for (const { op } of calls) ops[op] = (ops[op] ?? 0) + 1;
console.log(JSON.stringify({ job, calls: calls.length, attempts, byFault, byStage, ops, problems }));
