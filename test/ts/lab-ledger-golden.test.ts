// Ledgers that released versions wrote open in this one, whole, and are gone on with.

import { copyFileSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Ledger } from "../../lib/lab/ledger.js";
import { self } from "../../lib/owner.js";
import { contents } from "../../scripts/golden-ledger.mjs";
import { root, scratch } from "./cli.js";

const folder = scratch();
const golden = join(root, "test", "golden");
const versions = readdirSync(golden).filter((name) => existsSync(join(golden, name, "lab.sqlite")));

test("there are golden ledgers", () => {
  expect(versions).toContain("v0.1.0");
});

test.each(versions)("the ledger of %s", (name) => {
  const path = join(folder, `${name}.sqlite`);
  copyFileSync(join(golden, name, "lab.sqlite"), path);
  const wanted: unknown = JSON.parse(readFileSync(join(golden, name, "lab.json"), "utf8"));
  const reader = Ledger.open(path, { readonly: true });
  expect(contents(reader)).toEqual(wanted);
  reader.close();

  const ledger = Ledger.open(path);
  expect(contents(ledger)).toEqual(wanted);
  expect(ledger.check()).toEqual([]);
  // Its owner is a process of another machine, whose lease ran out long ago.
  expect(ledger.takeOver()).toMatchObject([{ claim: { arm: "wide", seed: 1, attempt: 2 }, worker: { pid: 4712 } }]);
  const claim = ledger.claim({ study: "studie ü", arm: "wide", seed: 1 }, self(), { seconds: 60 })!;
  expect(claim).toMatchObject({ attempt: 3, orphan: { pid: 4712 } });
  const cost = { seconds: 0, iterations: 0, flops: 0, cpuSeconds: 0, peakMemory: 0 };
  expect(ledger.tell(claim, { ok: true, value: 1, values: {}, cost })).toBe(true);
  expect(ledger.check()).toEqual([]);
  ledger.close();
});
