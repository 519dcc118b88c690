// Several processes that write one ledger.

import { join } from "node:path";
import { expect, test } from "vitest";
import { Ledger } from "../../lib/lab/ledger.js";
import { scratch } from "./cli.js";
import { acknowledged, writer } from "./ledger-writers.js";

const folder = scratch();

test("of eight processes each tells its runs, and one of them each of those that all want", async () => {
  const file = join(folder, "eight.sqlite");
  const runs = 40; // test/slow has 5,000
  const ends = await Promise.all(
    Array.from({ length: 8 }, (_, i) => writer([file, join(folder, `notes-${i}`), `arm-${i}`, runs, runs]).finished),
  );
  for (const end of ends) expect(end, end.stderr).toMatchObject({ code: 0 });
  const told = acknowledged(folder);
  expect(told.size).toBe(9 * runs);
  const ledger = Ledger.open(file);
  const results = ledger.query("SELECT arm, seed, value FROM results");
  expect(new Map(results.map(({ arm, seed, value }) => [`${arm} ${seed}`, [value]]))).toEqual(told);
  expect(results).toHaveLength(9 * runs);
  expect(ledger.query("SELECT count(*) AS n FROM leases")).toEqual([{ n: 0 }]);
  expect(ledger.check()).toEqual([]);
  ledger.close();
});

test("a killed process's run is done by another one, and what it was told stays", async () => {
  const file = join(folder, "killed.sqlite");
  const notes = join(folder, "notes-killed");
  const first = writer([file, notes, "arm", 100_000]);
  while (acknowledged(folder, "notes-killed").size < 20) await new Promise((done) => setTimeout(done, 5));
  first.child.kill("SIGKILL");
  expect((await first.finished).signal).toBe("SIGKILL");
  const before = acknowledged(folder, "notes-killed");

  const ledger = Ledger.open(file);
  const kept = ledger.query("SELECT arm, seed, value FROM results");
  for (const [run, [value]] of before) {
    expect(kept.filter(({ arm, seed }) => `${arm} ${seed}` === run)).toMatchObject([{ value }]);
  }
  const second = await writer([file, notes, "arm", before.size + 5]).finished;
  expect(second, second.stderr).toMatchObject({ code: 0 });
  expect(
    ledger
      .runs("s")
      .slice(0, before.size + 5)
      .every(({ state }) => state === "done"),
  ).toBe(true);
  for (const [run, values] of acknowledged(folder, "notes-killed")) expect(values, run).toHaveLength(1);
  expect(ledger.check()).toEqual([]);
  ledger.close();
});
