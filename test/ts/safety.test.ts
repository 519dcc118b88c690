// The addon in a process that does not wait for it: workers, exits, garbage collection, several copies.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { type Finished, root, scratch, start } from "./cli.js";

const folder = scratch();
const library = JSON.stringify(pathToFileURL(join(root, "dist", "index.js")).href);
const native = JSON.stringify(pathToFileURL(join(root, "dist", "native.js")).href);
let scripts = 0;

/** Runs a module in a process of its own. */
function run(source: string, ...flags: string[]): Promise<Finished> {
  const path = join(folder, `script-${++scripts}.mjs`);
  writeFileSync(
    path,
    `import { SelfPlay } from ${library};
     import { Worker, isMainThread, parentPort, threadId } from "node:worker_threads";
     import { fileURLToPath } from "node:url";
     const big = { game: { name: "tictactoe" }, net: { width: 64 }, rollout: { games: 100000 }, run: { threads: 2 } };
     const tiny = { game: { name: "tictactoe" }, net: { width: 16, depth: 1 }, rollout: { games: 32 }, run: { threads: 1 } };
     const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
     ${source}`,
  );
  return start([], { node: [...flags, path] }).finished;
}

async function expectClean(end: Promise<Finished>, stdout: string, code = 0): Promise<void> {
  const { code: got, signal, stdout: out, stderr } = await end;
  expect({ code: got, signal, out: out.trim(), stderr: code === 0 ? stderr : "" }).toEqual({
    code,
    signal: null,
    out: stdout,
    stderr: "",
  });
}

describe("exit", () => {
  test("process.exit() during an iteration", async () => {
    await expectClean(
      run(`const run = await SelfPlay.create(big);
           run.train().next();
           setTimeout(() => { console.log("leaving"); process.exit(7); }, 100);`),
      "leaving",
      7,
    );
  });

  test("the end of the program with an open engine", async () => {
    await expectClean(
      run(`const run = await SelfPlay.create(tiny); await run.train().next(); console.log("end");`),
      "end",
    );
  });

  test("a pending promise keeps the process alive, an idle engine does not", async () => {
    await expectClean(
      run(`const run = await SelfPlay.create(tiny);
           run.train().next().then(({ value }) => console.log(value.index));`),
      "1",
    );
  });

  test("an uncaught exception during an iteration", async () => {
    const end = await run(
      `const run = await SelfPlay.create(big); run.train().next(); setTimeout(() => { throw new Error("mine"); }, 50);`,
    );
    expect({ code: end.code, signal: end.signal }).toEqual({ code: 1, signal: null });
    expect(end.stderr).toContain("mine");
  });
});

describe("worker_threads", () => {
  test("terminate() during an iteration, many times", async () => {
    await expectClean(
      run(`if (isMainThread) {
             for (let i = 0; i < 8; ++i) {
               const worker = new Worker(fileURLToPath(import.meta.url));
               await new Promise((resolve) => worker.once("message", resolve));
               await wait(i * 7);
               await worker.terminate();
             }
             const run = await SelfPlay.create(tiny);
             console.log((await run.train().next()).value.index);
             await run.close();
           } else {
             const run = await SelfPlay.create(big);
             run.train({ roofline: false }).next();
             parentPort.postMessage("training");
           }`),
      "1",
    );
  });

  test("workers and the main thread at the same time give the same weights", async () => {
    await expectClean(
      run(`async function hash() {
             const run = await SelfPlay.create(tiny);
             for await (const _ of run.train({ iterations: 5 }));
             const hash = await run.weightsHash();
             await run.close();
             return hash;
           }
           if (isMainThread) {
             const workers = [1, 2, 3].map(() => new Worker(fileURLToPath(import.meta.url)));
             const hashes = await Promise.all([hash(), ...workers.map((worker) => new Promise((resolve) => worker.once("message", resolve)))]);
             console.log(new Set(hashes).size);
           } else parentPort.postMessage(await hash());`),
      "1",
    );
  });

  test("a worker that ends with an open engine, and one that calls process.exit()", async () => {
    await expectClean(
      run(`if (isMainThread) {
             for (let i = 0; i < 4; ++i) {
               const worker = new Worker(fileURLToPath(import.meta.url), { argv: [String(i % 2)] });
               const code = await new Promise((resolve) => worker.once("exit", resolve));
               console.log(code);
             }
           } else {
             const run = await SelfPlay.create(big);
             const next = run.train({ roofline: false }).next();
             next.catch(() => {});
             if (process.argv[2] === "1") process.exit(3);
             await wait(20);
             run.close();
           }`),
      "0\n3\n0\n3",
    );
  });

  test("perft in a worker that is terminated", async () => {
    await expectClean(
      run(`import { native } from ${native};
           if (isMainThread) {
             const worker = new Worker(fileURLToPath(import.meta.url));
             await new Promise((resolve) => worker.once("message", resolve));
             await wait(100);
             await worker.terminate();
             console.log("done");
           } else {
             native().perft("connect4", 40);
             parentPort.postMessage("counting");
           }`),
      "done",
    );
  });
});

describe("copies", () => {
  test("loaded twice in one process: two module instances, one addon", async () => {
    await expectClean(
      run(`const other = await import(${library} + "?again");
           import { createRequire } from "node:module";
           const runs = [await SelfPlay.create(tiny), await other.SelfPlay.create(tiny)];
           for (const run of runs) for await (const _ of run.train({ iterations: 2 }));
           const [a, b] = await Promise.all(runs.map((run) => run.weightsHash()));
           console.log(a === b);`),
      "true",
    );
  });

  test("many engines made and closed leave no memory behind", async () => {
    await expectClean(
      run(
        `const make = async () => { const run = await SelfPlay.create({ ...tiny, rollout: { games: 4096 } }); await run.weights(); await run.close(); };
           for (let i = 0; i < 20; ++i) await make();
           global.gc();
           const before = process.memoryUsage.rss();
           for (let i = 0; i < 200; ++i) await make();
           global.gc();
           console.log((process.memoryUsage.rss() - before) < 64e6);`,
        "--expose-gc",
      ),
      "true",
    );
  });
});

describe("garbage collection", () => {
  test("an engine that nobody closed is freed, and its weights stay valid while they are held", async () => {
    await expectClean(
      run(
        `let view;
           let freed = 0;
           const registry = new FinalizationRegistry(() => ++freed);
           await (async () => {
             for (let i = 0; i < 5; ++i) {
               const run = await SelfPlay.create(tiny);
               await run.train({ roofline: false }).next();
               if (i === 4) view = await run.weights();
               registry.register(run, i);
             }
           })();
           for (let i = 0; i < 20 && freed < 4; ++i) { global.gc(); await wait(10); }
           let sum = 0;
           for (const value of view) sum += value;
           console.log(freed >= 4, Number.isFinite(sum), view.length > 100);
           view = null;
           for (let i = 0; i < 10; ++i) { global.gc(); await wait(10); }`,
        "--expose-gc",
      ),
      "true true true",
    );
  });

  test("a promise in flight keeps its engine", async () => {
    await expectClean(
      run(
        `let next = (await SelfPlay.create({ ...big, rollout: { games: 20000 } })).train({ roofline: false }).next();
           for (let i = 0; i < 10; ++i) { global.gc(); await wait(5); }
           console.log((await next).value.index);`,
        "--expose-gc",
      ),
      "1",
    );
  });

  test("the engine's memory is reported, so that forgotten engines are collected before they fill the machine", async () => {
    await expectClean(
      run(`let freed = 0;
           const registry = new FinalizationRegistry(() => ++freed);
           for (let i = 0; i < 40; ++i) {
             registry.register(await SelfPlay.create({ ...tiny, rollout: { games: 65536 } }));
             await wait(1);
           }
           console.log(freed >= 10);`),
      "true",
    );
  });
});
