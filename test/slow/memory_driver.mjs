// Runs with fail_alloc.c preloaded: lets each allocation that the addon makes during a call fail once, in one process
// that lives on. Prints a line a call: {call, failures}; ends with an exception at the first thing that is wrong.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { BellowsError, Connect4Solver, OutOfMemoryError, SelfPlay } from "../../dist/index.js";
import { native, settled } from "../../dist/native.js";
import { Control, REFUSALS } from "./fail_alloc.mjs";

const [folder, threads] = process.argv.slice(2);
const control = new Control(process.env.FAIL_ALLOC_CONTROL);
const options = {
  game: { name: "tictactoe" },
  net: { width: 16, depth: 2 },
  rollout: { games: 64, opponents: { pool: 3, every: 1, selfShare: 0.5 } },
  run: { seed: 3, threads: Number(threads) },
};

const countThreads = () => readdirSync("/proc/self/task").length;

/** Objects that nobody holds give their memory back in several steps. */
async function collect() {
  for (let i = 0; i < 5; ++i) {
    global.gc();
    await setImmediate();
  }
}

/** Calls until nothing fails; returns the result of the last call. `same` is what must not change while it fails. */
async function sweep(name, call, same = async () => null) {
  const before = await same();
  const threadsBefore = countThreads();
  for (let at = 1; ; ++at) {
    control.fail(at);
    let error = null;
    let result;
    try {
      result = await call();
    } catch (reason) {
      error = reason;
    }
    const { hits } = control.read();
    control.watch();
    if (hits === 0) {
      if (error) throw error;
      console.log(JSON.stringify({ call: name, failures: at - 1 }));
      return result;
    }
    const where = `${name}, allocation ${at}`;
    assert(error instanceof OutOfMemoryError, `${where}: ${error === null ? "no error" : error.stack}`);
    assert(error.code === "MEMORY" && error.message.length > 5 && error.op !== "", where);
    assert(error.needed >= 0 && error.needed < 2 ** 32 && error.received !== error.expected, where);
    assert.deepEqual(await same(), before, `${where} changed the run`);
    assert.equal(countThreads(), threadsBefore, `${where}: threads`);
    assert(at < 2000, `${name} fails for ever`);
  }
}

const state = async (run) => ({ hash: await run.weightsHash(), ...(await run.counters()) });
const once = async (run) => {
  for await (const _ of run.train({ iterations: 1, roofline: false }));
};
/** What a checkpoint leads to. */
async function resumed(path) {
  const run = await SelfPlay.load(path);
  await once(run);
  const reached = await state(run);
  await run.close();
  return reached;
}

/** The calls of the API, on one run that fails all the time, beside one that never does. */
async function main() {
  control.fail(0);
  const untroubled = await SelfPlay.create(options);
  const file = join(folder, "untroubled.safetensors");
  await once(untroubled);
  await untroubled.save(file);

  const create = async () => {
    const run = await SelfPlay.create(options);
    await run.close();
  };
  // Twice without failures: what is made once and kept is there, then what is alive must not grow.
  for (let i = 0; i < 2; ++i) {
    control.watch();
    await create();
    await solve();
    await collect();
  }
  const { live } = control.read();

  await sweep("plan", () => SelfPlay.plan(options));
  await sweep("info", () => settled(native().info(false)));
  await sweep("perft", () => settled(native().perft("tictactoe", 3)));
  await sweep("create and close", create);
  const solved = await sweep("solve", solve);
  assert.deepEqual(solved, [15, 18]);

  let run = await sweep("create", () => SelfPlay.create(options));
  const same = () => state(run);
  await sweep("train", () => once(run), same);
  assert.deepEqual(await state(run), await state(untroubled), "training after failures gives other bits");
  await sweep("evaluate", () => run.evaluate(), same);
  const moves = ["", "5", "51", "519"];
  const policies = await sweep("policy", () => run.policy(moves), same);
  assert.deepEqual(policies, await untroubled.policy(moves));
  await sweep("counters", () => run.counters(), same);
  await sweep("profile", async () => run.profile());

  const saved = join(folder, "saved.safetensors");
  await run.save(saved);
  const untouched = readFileSync(saved);
  await sweep(
    "save",
    () => run.save(saved),
    async () => {
      const now = readFileSync(saved);
      return now.equals(untouched) ? "the old file" : "another file";
    },
  );
  assert.deepEqual(await resumed(saved), await resumed(file), "a file that was saved after failures is another");
  await sweep("load and close", async () => {
    const loaded = await SelfPlay.load(file);
    await loaded.close();
  });
  await run.close();
  run = await sweep("load", () => SelfPlay.load(file));
  assert.deepEqual(await state(run), await state(untroubled));
  await once(run);
  await once(untroubled);
  assert.deepEqual(await state(run), await state(untroubled), "a run that was loaded after failures goes on otherwise");

  // Closing takes no memory: it cannot fail.
  control.fail(1);
  await run.close();
  assert.equal(control.read().hits, 0, "close allocates");
  control.watch();
  await engineCalls();

  await untroubled.close();
  run = null;
  await collect();
  assert.equal(control.read().live, live, "memory that was not given back");
  control.fail(0);
}

async function solve() {
  const solver = await Connect4Solver.create({ threads: Number(threads), memory: 1 });
  try {
    const solutions = await solver.solveMany(["4444443333", "112233"]);
    return solutions.map(({ score }) => score);
  } finally {
    await solver.close();
  }
}

/** What the API calls on the engine itself: the pool's members, loading into a run that exists. */
async function engineCalls() {
  const addon = native();
  const engine = new addon.Engine();
  const entry = (path, text, kind = "number") => ({ path, text, kind });
  const entries = [entry("rollout.games", "64"), entry("rollout.opponents.pool", "3"), entry("run.threads", threads)];
  await engine.start("tictactoe", entries);
  await engine.iterate(0);
  const bytes = new Uint8Array(await engine.save("bundle", [["key", "value"]]));
  const hash = async (buffer) =>
    createHash("sha256")
      .update(new Uint8Array(await buffer))
      .digest("hex");
  const same = async () => ({ hash: await hash(engine.weights()), ...(await engine.counters()) });
  const { snapshot, weights } = await sweep("poolGet", () => settled(engine.poolGet(0)), same);
  assert.equal(snapshot, 1);
  await sweep("poolSnapshots", () => settled(engine.poolSnapshots()), same);
  await sweep("poolPut", () => settled(engine.poolPut(0, weights)), same);
  await sweep("versusRandom", () => settled(engine.versusRandom(20, true)), same);
  await sweep("measureRoof", () => settled(engine.measureRoof(false)), same);
  await sweep("traceStart", () => settled(engine.traceStart(5000)), same);
  await sweep("traceTake", () => settled(engine.traceTake()), same);
  await sweep("traceStop", () => settled(engine.traceStop()), same);
  await engine.iterate(0);
  await sweep("load into a run", () => settled(engine.load(bytes)), same);
  const again = await sweep("save again", () => settled(engine.save("bundle", [["key", "value"]])), same);
  assert(Buffer.from(again).equals(bytes), "what was loaded is not what was saved");
  for (const [name, call] of Object.entries({
    member: () => addon.member(weights),
    inspect: () => addon.inspect(bytes),
    resolve: () => addon.resolve("tictactoe", entries),
  })) {
    await sweep(name, async () => {
      const outcome = call();
      if (!outcome.ok) await settled(Promise.reject(outcome.error));
    });
  }
  // The view of the weights that is made first.
  await sweep("weights", async () => {
    let other;
    const call = async () => {
      other = new addon.Engine();
      await other.start("tictactoe", entries);
      await other.weights();
    };
    try {
      await settled(call());
    } finally {
      await other?.close();
    }
  });
  await engine.close();
}

async function messageOf(argument) {
  const worker = new Worker(fileURLToPath(import.meta.url), { argv: [folder, threads, argument] });
  const message = await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
  await worker.terminate();
  return message;
}

/** Loading: each environment has its own part of the addon. */
async function loads() {
  let failures = 0;
  for (let at = 1; ; ++at) {
    control.fail(at);
    const message = await messageOf("load");
    const { hits } = control.read();
    control.fail(0);
    if (hits === 0) {
      assert.equal(message, "loaded");
      break;
    }
    assert.match(message, /^NO_BINARY: /s, `allocation ${at}: ${message}`);
    ++failures;
  }
  control.refuse(REFUSALS.threadsafeFunction);
  assert.match(await messageOf("load"), /^NO_BINARY: .*cannot create a thread-safe function/s);
  control.refuse(0);
  assert.equal(await messageOf("load"), "loaded");
  console.log(JSON.stringify({ call: "load the addon", failures: failures + 1 }));
}

/** A runtime without external buffers (Electron is one): copies instead, of the same content. */
async function copies() {
  const contents = [];
  for (const refused of [0, REFUSALS.externalBuffer]) {
    control.refuse(refused);
    const run = await SelfPlay.create(options);
    await once(run);
    const file = join(folder, `refused-${refused}.safetensors`);
    await run.save(file);
    const weights = await run.weights();
    contents.push([await state(run), Buffer.from(weights.buffer).toString("hex"), await resumed(file)]);
    await run.close();
  }
  control.refuse(0);
  assert.deepEqual(contents[1], contents[0]);
  console.log(JSON.stringify({ call: "without external buffers", failures: 0 }));
}

if (isMainThread) {
  // Static objects of the addon are made once a process, before anything can be caught.
  native();
  await loads();
  await copies();
  await main();
  control.close();
} else {
  try {
    native();
    parentPort.postMessage("loaded");
  } catch (error) {
    parentPort.postMessage(error instanceof BellowsError ? `${error.code}: ${error.message}` : String(error));
  }
}
