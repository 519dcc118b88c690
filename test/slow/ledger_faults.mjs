// Runs under fail_io.c: does a piece of work on a ledger once for every file call that it makes and every fault that
// this call can have, then goes on with the same object when the fault is gone. Prints one JSON line.
//
//   node --expose-gc ledger_faults.mjs FOLDER CONTROL [FAULT...]

import { copyFileSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { BellowsError } from "../../dist/errors.js";
import { Ledger } from "../../dist/lab/ledger.js";
import { self } from "../../dist/owner.js";
import { applies, Control, FAULTS } from "./fail_io.mjs";

const [folder, controlPath, ...only] = process.argv.slice(2);
const control = new Control(controlPath);
const me = self();
const cost = { seconds: 1, iterations: 1, flops: 1, cpuSeconds: 1, peakMemory: 1 };
const RUNS = 2;
const counts = { attempts: 0, hits: 0, refused: 0, withTheSameObject: 0, errors: {} };
const problems = [];

/** Takes the fault away, from files that are open as well; returns what was counted. */
function lift() {
  const seen = control.read();
  control.watch("");
  return seen;
}

/** Does what is left to do: registers, claims, reports, tells. Every promise is kept in `state`. */
function work(path, state) {
  state.ledger ??= Ledger.open(path, { wait: 5 });
  const { ledger } = state;
  ledger.createStudy("s", { a: 1 }, "hash");
  ledger.addArm("s", "base", {});
  for (let seed = 0; seed < RUNS; ++seed) {
    if (state.told.has(seed)) continue;
    const key = { study: "s", arm: "base", seed };
    if (!state.claims.has(seed)) {
      const claim = ledger.claim(key, me, { seconds: 60 });
      if (claim === null) throw new Error(`run ${seed} cannot be claimed`);
      state.claims.set(seed, claim);
    }
    const claim = state.claims.get(seed);
    if (!ledger.report(claim, [{ index: 1, values: { loss: seed } }])) throw new Error(`the claim of ${seed} is lost`);
    if (!ledger.tell(claim, { ok: true, value: seed, values: {}, cost })) throw new Error(`run ${seed} was told`);
    state.told.add(seed);
  }
}

/** What the file says when all is done. */
function verify(path, state) {
  for (const how of ["the same object", "a fresh one", "a copy of the file alone"]) {
    if (how === "a fresh one") {
      state.ledger.close();
      state.ledger = Ledger.open(path);
    } else if (how !== "the same object") {
      state.ledger.close();
      copyFileSync(path, `${path}-copy`);
      state.ledger = Ledger.open(`${path}-copy`);
    }
    const { ledger } = state;
    const results = JSON.stringify(ledger.query("SELECT seed, value FROM results ORDER BY seed"));
    const wanted = JSON.stringify(Array.from({ length: RUNS }, (_, seed) => ({ seed, value: seed })));
    if (results !== wanted) throw new Error(`${how}: the results are ${results}`);
    const found = ledger.check();
    if (found.length > 0) throw new Error(`${how}: ${JSON.stringify(found)}`);
  }
  state.ledger.close();
}

function attempt(name, { at, fault }) {
  const arena = join(folder, "arena");
  rmSync(arena, { recursive: true, force: true });
  mkdirSync(arena);
  const path = join(arena, "lab.sqlite");
  const state = { ledger: null, claims: new Map(), told: new Set() };
  ++counts.attempts;
  try {
    control.watch(arena, { at, fault });
    let thrown = null;
    try {
      work(path, state);
      state.ledger.close();
      state.ledger = null;
    } catch (error) {
      thrown = error;
    }
    const seen = lift();
    counts.hits += seen.hits;
    if (thrown !== null) {
      ++counts.refused;
      if (!(thrown instanceof BellowsError)) throw thrown;
      const code = `${thrown.code} ${thrown.errno ?? ""}`.trim();
      counts.errors[code] = (counts.errors[code] ?? 0) + 1;
      if (state.ledger !== null) ++counts.withTheSameObject;
      if (!existsSync(path) && state.ledger !== null) throw new Error("the file is gone");
    }
    work(path, state);
    verify(path, state);
    return seen;
  } catch (error) {
    lift();
    problems.push(`${name}: ${error?.stack ?? error}`);
    state.ledger?.close();
    return { calls: [], count: 0, hits: 0 };
  }
}

const { calls } = attempt("no fault", {});
const faults = Object.keys(FAULTS).filter((name) => !name.startsWith("kill"));
for (const fault of faults.filter((name) => only.length === 0 || only.includes(name))) {
  for (const [i, { op, path }] of calls.entries()) {
    if (!applies(fault, op)) continue;
    // The binding closes files only when what it has handed out is collected, and the loop has turned.
    gc();
    await turn();
    attempt(`${fault} at call ${i + 1}, ${op} ${path.slice(folder.length)}`, { at: i + 1, fault });
  }
}

// What reaches the disk before a call returns.
const arena = join(folder, "sync");
mkdirSync(arena);
// The library follows the files that it has seen being opened.
control.watch(arena);
const ledger = Ledger.open(join(arena, "lab.sqlite"));
ledger.createStudy("s", {}, "hash");
ledger.addArm("s", "base", {});
const syncs = {};
const during = (name, call) => {
  control.watch(arena);
  const result = call();
  const { calls } = control.read();
  const lastWrite = calls.findLastIndex(({ op, path }) => /write/.test(op) && path.endsWith("-wal"));
  const lastSync = calls.findLastIndex(({ op, path }) => /sync/.test(op) && path.endsWith("-wal"));
  syncs[name] = lastWrite < 0 ? "nothing written" : lastSync > lastWrite ? "synced" : "written";
  return result;
};
const claim = during("claim", () => ledger.claim({ study: "s", arm: "base", seed: 0 }, me, { seconds: 60 }));
during("report", () => ledger.report(claim, [{ index: 1, values: { a: 1 } }]));
during("tell", () => ledger.tell(claim, { ok: true, value: 1, values: {}, cost }));
during("tell again", () => ledger.tell(claim, { ok: true, value: 1, values: {}, cost }));
during("giveUp", () => ledger.giveUp({ study: "s", arm: "base", seed: 1 }, "no"));
ledger.close();

console.log(JSON.stringify({ calls: calls.length, ...counts, syncs, problems }));
