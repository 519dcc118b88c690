// A writer of a ledger, as a process of its own.
//
//   node ledger_driver.mjs FILE NOTES ARM COUNT [SHARED]
//
// Claims, reports and tells the runs 0 .. COUNT - 1 of an arm, and of the arm "shared" as many as it gets of SHARED.
// After every tell that returned true it adds a line "ARM SEED VALUE" to NOTES: what was acknowledged.

import { openSync, writeSync } from "node:fs";
import { Ledger } from "../../dist/lab/ledger.js";
import { self } from "../../dist/owner.js";

const [file, notes, arm, count, shared = "0"] = process.argv.slice(2);
const me = self();
const out = openSync(notes, "a");
const ledger = Ledger.open(file, { wait: 120 });
ledger.createStudy("s", {}, "hash");
ledger.addArm("s", arm, {});
if (shared !== "0") ledger.addArm("s", "shared", {});
ledger.takeOver();

let told = 0;
function work(of, seed) {
  const claim = ledger.claim({ study: "s", arm: of, seed }, me, { seconds: 60 });
  if (claim === null) return;
  if (seed % 4 === 0) ledger.report(claim, [{ index: 1, values: { pid: me.pid } }]);
  // Nobody else tells this value.
  const value = me.pid + ++told / 2 ** 20;
  const cost = { seconds: 0, iterations: 1, flops: 0, cpuSeconds: 0, peakMemory: 0 };
  if (ledger.tell(claim, { ok: true, value, values: { value }, cost })) writeSync(out, `${of} ${seed} ${value}\n`);
}
for (let seed = 0; seed < Number(count); ++seed) {
  work(arm, seed);
  if (seed < Number(shared)) work("shared", seed);
}
ledger.close();
