// Keeps a lab's file that this version writes, and what it holds: part of `npm run golden`.
//
//   lab.sqlite   a ledger with a run in every state, closed
//   lab.json     what its reads give

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Ledger } from "../dist/lab/ledger.js";

/** Everything that a ledger's reads give. */
export function contents(ledger) {
  return ledger.studies().map((study) => ({
    study,
    arms: ledger.arms(study.name),
    comparisons: ledger.comparisons(study.name),
    runs: ledger.runs(study.name).map((run) => ({ ...run, reports: ledger.reports(run.key) })),
    attempts: ledger.attempts(study.name),
    verdicts: ledger.verdicts(study.name),
  }));
}

/** Writes both files into a folder. */
export function writeLedger(folder) {
  const path = join(folder, "lab.sqlite");
  const ledger = Ledger.open(path);
  const owner = { pid: 4711, start: "1", host: "golden", machine: "m", boot: "b", space: "pid:[1]" };
  const cost = { seconds: 1.5, iterations: 20, flops: 3e9, cpuSeconds: 2.5, peakMemory: 1e8 };
  const failure = { ok: false, kind: "memory", code: "MEMORY", message: "too much: 2 GiB\n💡", retry: true, cost };
  ledger.createStudy("studie ü", { metric: { name: "loss", goal: "minimize" }, seeds: [1, 2] }, "0123abcd");
  ledger.addArm("studie ü", "base", { config: { "ppo.learningRate": 1e-3 } });
  ledger.addArm("studie ü", "wide", { config: { net: { width: 64 } } });
  ledger.addComparison("studie ü", "wide", { baseline: "base", proposal: "wide" });
  const claim = (arm, seed) => ledger.claim({ study: "studie ü", arm, seed }, owner, { seconds: 1e-3 });
  const done = claim("base", 1);
  ledger.report(done, [
    { index: 1, values: { loss: 0.5, "evaluation.win": 0.25 } },
    { index: 2, values: { loss: 0.25 } },
  ]);
  ledger.tell(done, { ok: true, value: 0.25, values: { loss: 0.25 }, cost });
  ledger.tell(claim("base", 2), failure);
  ledger.release(claim("wide", 1));
  const running = claim("wide", 1);
  ledger.worker(running, { ...owner, pid: 4712 });
  ledger.report(running, [{ index: 1, values: { loss: 0.75 } }]);
  ledger.tell(claim("wide", 2), failure, "no other try");
  ledger.giveUp({ study: "studie ü", arm: "wide", seed: 3 }, "the budget is spent");
  ledger.recordVerdict("studie ü", "wide", { verdict: "undecided", gain: -0.125 });
  ledger.recordVerdict("studie ü", "wide", { verdict: "better", gain: 0.5 });
  writeFileSync(join(folder, "lab.json"), `${JSON.stringify(contents(ledger), null, 2)}\n`);
  ledger.close();
}
