// Processes and workers that end at any moment: see lifetime.test.ts. Which part a process plays stands in its arguments.

import assert from "node:assert/strict";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import vm from "node:vm";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

const options = {
  game: { name: "tictactoe" },
  net: { width: 32, depth: 2 },
  rollout: { games: 256, opponents: { pool: 3, every: 1, selfShare: 0.5 } },
  run: { seed: 5, threads: 2 },
};
const library = new URL("../../dist/index.js", import.meta.url);

/** What a run does over and over while something ends it. */
const works = {
  async create({ SelfPlay }) {
    await (await SelfPlay.create(options)).close();
  },
  async iterate({ run }) {
    for await (const _ of run.train({ iterations: 3, roofline: false }));
  },
  async save({ run, folder }, index) {
    await run.save(join(folder, `${index % 4}.safetensors`));
  },
  async load({ SelfPlay, file }) {
    await (await SelfPlay.load(file)).close();
  },
  async certify({ run }) {
    await run.evaluate();
  },
  /** All at once, and none of them waited for in order. */
  async everything(bench, index) {
    const { run } = bench;
    await Promise.all([
      works.iterate(bench),
      works.create(bench),
      run.evaluate(),
      run.policy("5"),
      works.save(bench, index),
    ]);
  },
};

/** Works for ever; says when it begins. */
async function work(name, folder, file, begins) {
  const { SelfPlay } = await import(library);
  const run = await SelfPlay.create(options);
  begins();
  for (let index = 0; ; ++index) await works[name]({ SelfPlay, run, folder, file }, index);
}

/** A moment: so many milliseconds from now ("20"), or from when the work begins ("begun+20"). */
async function moment(text, begun) {
  if (text.startsWith("begun+")) await begun;
  await setTimeout(Number(text.replace("begun+", "")));
}

/** The weights' hash after three iterations: the same wherever and whenever. */
async function reference() {
  const { SelfPlay } = await import(library);
  const run = await SelfPlay.create(options);
  for await (const _ of run.train({ iterations: 3, roofline: false }));
  const hash = await run.weightsHash();
  await run.close();
  return hash;
}

/** Files are not counted: Node leaves those open that a terminated worker was using, with bellows or without. */
const held = () => ({
  threads: readdirSync("/proc/self/task").length,
  descriptors: readdirSync("/proc/self/fd")
    .map(targetOf)
    .filter((target) => !target.startsWith("/")).length,
});

function targetOf(descriptor) {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`);
  } catch {
    return "/proc/self/fd"; // the one that listed them
  }
}

const isLoaded = () => /bellows\S*\.node/.test(readFileSync("/proc/self/maps", "utf8"));

/** A worker of this file; ends like the process does. */
const begin = (data) => new Worker(fileURLToPath(import.meta.url), { workerData: data });

async function answer(data) {
  const worker = begin(data);
  const ended = new Promise((resolve) => worker.once("exit", resolve));
  const message = await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
  await ended;
  return message;
}

/** `Promise.withResolvers` of Node 22. */
function withResolvers() {
  let resolve;
  const promise = new Promise((given) => {
    resolve = given;
  });
  return { promise, resolve };
}

const parts = {
  /** Terminates workers, each at its moment; then the addon still works here. */
  async terminate(file, folder, ...list) {
    const expected = await reference();
    await begin({ part: "idle" }).terminate(); // Node starts what it keeps
    const before = held();
    for (const item of list) {
      const [name, when] = item.split(":");
      const worker = begin({ part: "work", name, folder, file });
      worker.on("error", (error) => {
        throw error;
      });
      await moment(when, new Promise((resolve) => worker.once("message", resolve)));
      await worker.terminate();
    }
    await setTimeout(50);
    assert.deepEqual(held(), before);
    assert.equal(await reference(), expected);
    return "terminated";
  },
  /**
   * Only workers load the addon, one after another: Node drops it with each, and asks for it again. It stays in memory,
   * since its exit handlers do too.
   */
  async reload(count) {
    const hashes = new Set();
    for (let i = 0; i < Number(count); ++i) {
      hashes.add(await answer({ part: "reference" }));
      assert(isLoaded(), "the addon's exit handlers lead nowhere");
    }
    assert.equal(hashes.size, 1);
    return "reloaded";
  },
  /** Many instances of the addon in one environment, and a run in each at the end of the program. */
  async instances(count) {
    const { nativePath } = await import("../../dist/native.js");
    const require = createRequire(import.meta.url);
    const hashes = new Set();
    const entries = [{ path: "rollout.games", kind: "number", text: "64" }];
    for (let i = 0; i < Number(count); ++i) {
      delete require.cache[nativePath()];
      const addon = require(nativePath());
      const engine = new addon.Engine();
      await engine.start("tictactoe", entries);
      await engine.iterate(0);
      hashes.add(Buffer.from(await engine.weights()).toString("hex"));
      engine.iterate(0);
    }
    assert.equal(hashes.size, 1);
    return "instances";
  },
  /** Contexts of vm: code and objects of other realms, and functions that outlive their context. */
  async contexts(count) {
    const bellows = await import(library);
    const expected = await reference();
    const source = `(async (SelfPlay, text) => {
      const options = JSON.parse(text);
      const run = await SelfPlay.create(options);
      for await (const _ of run.train({ iterations: 3, roofline: false }));
      const { length } = await run.policy(["", "5"]);
      const hash = await run.weightsHash();
      await run.close();
      let refused;
      try { await SelfPlay.create({ ...options, net: { width: -1 } }); } catch (error) { refused = error.code; }
      return [hash, length, refused].join();
    })`;
    for (let i = 0; i < Number(count); ++i) {
      const call = vm.runInContext(source, vm.createContext({}));
      const pending = call(bellows.SelfPlay, JSON.stringify(options));
      if (i % 4 === 0) global.gc();
      assert.equal(await pending, `${expected},2,OPTION`);
    }
    return "contexts";
  },
  /** Works until the process ends itself. */
  async exit(file, folder, how, name, when) {
    const { promise, resolve } = withResolvers();
    const end = async () => {
      await moment(when, promise);
      if (how === "throw") throw new Error("mine");
      process.exit(7);
    };
    if (how === "workers") for (let i = 0; i < 2; ++i) begin({ part: "work", name, folder, file });
    await Promise.all([work(name, folder, file, resolve), end()]);
  },
};

if (isMainThread) {
  const [part, ...given] = process.argv.slice(2);
  console.log(await parts[part](...given));
} else {
  const { part, name, folder, file } = workerData;
  if (part === "work") await work(name, folder, file, () => parentPort.postMessage("begun"));
  if (part === "reference") parentPort.postMessage(await reference());
}
