// Damaged ledgers: what is wrong is named, the rest is read, nothing counts twice, and nothing crashes.

import { createHash } from "node:crypto";
import { copyFileSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Libsql from "libsql";
import { describe, expect, test } from "vitest";
import { BellowsError } from "../../lib/errors.js";
import { Ledger, type Problem, type RunKey } from "../../lib/lab/ledger.js";
import { self } from "../../lib/owner.js";
import { random, scratch } from "./cli.js";

const folder = scratch();
let files = 0;
const cost = { seconds: 1, iterations: 2, flops: 3, cpuSeconds: 4, peakMemory: 5 };
const keyOf = (seed: number): RunKey => ({ study: "s", arm: "base", seed });

/** A file with runs 1 .. n, each done with its seed as the value and three reports; its claim is event 2 + 3 seed - 2. */
function written(runs = 3): string {
  const path = join(folder, `lab-${++files}.sqlite`);
  const ledger = Ledger.open(path);
  ledger.createStudy("s", { words: "all of them" }, "hash");
  ledger.addArm("s", "base", { x: 1 });
  for (let seed = 1; seed <= runs; ++seed) {
    const claim = ledger.claim(keyOf(seed), self(), { seconds: 60 })!;
    ledger.report(
      claim,
      [1, 2, 3].map((index) => ({ index, values: { loss: seed / index } })),
    );
    ledger.tell(claim, { ok: true, value: seed, values: { loss: seed }, cost });
  }
  ledger.close();
  return path;
}

/** Events of run `seed` in such a file. */
const claimed = (seed: number) => 3 * seed;
const reported = (seed: number) => 3 * seed + 1;
const told = (seed: number) => 3 * seed + 2;

/** What the column `checksum` holds for the others. */
const checksum = (columns: readonly unknown[]) =>
  createHash("sha256").update(JSON.stringify(columns)).digest("hex").slice(0, 16);

/** Changes a file behind the ledger's back. */
function plant(path: string, sql: string): void {
  const db = new Libsql(path);
  const guards = db.prepare("SELECT sql FROM sqlite_schema WHERE type = 'trigger'").all() as { sql: string }[];
  db.exec("DROP TRIGGER events_stay; DROP TRIGGER events_remain;");
  db.exec(sql);
  for (const guard of guards) db.exec(guard.sql);
  db.close();
}

/** All that a ledger says, with the damage that its reads met. */
function look(path: string) {
  const met: Problem[] = [];
  const ledger = Ledger.open(path, { onProblem: (problem) => met.push(problem) });
  const runs = ledger.runs("s");
  const reports = runs.map(({ key }) => ledger.reports(key));
  const events = ledger.events();
  const studies = ledger.studies();
  const attempts = ledger.attempts("s");
  const found = ledger.check();
  ledger.close();
  return { runs, reports, events, studies, attempts, met, found };
}

test("the events stand where these tests think", () => {
  const { events, found } = look(written());
  expect(events.map(({ kind }) => kind).slice(2, 5)).toEqual(["run.claimed", "run.reported", "run.told"]);
  expect(events[told(2) - 1]).toMatchObject({ kind: "run.told", seed: 2 });
  expect(found).toEqual([]);
});

describe("a damaged event", () => {
  test.each<[string, string, RegExp]>([
    ["a body that is not JSON", "UPDATE events SET body = '{' WHERE id = 7", /checksum/],
    ["another value", "UPDATE events SET body = replace(body, '\"loss\":1', '\"loss\":3') WHERE id = 7", /checksum/],
    ["another time", "UPDATE events SET time = time + 1 WHERE id = 7", /checksum/],
    ["another subject", "UPDATE events SET seed = 1 WHERE id = 7", /checksum/],
    ["another kind", "UPDATE events SET kind = 'run.told' WHERE id = 7", /checksum/],
    ["another checksum", "UPDATE events SET checksum = 'x' WHERE id = 7", /checksum/],
    ["text that is not UTF-8", "UPDATE events SET body = CAST(x'7bff7d' AS TEXT) WHERE id = 7", /UTF-8/],
    ["a character 0", "UPDATE events SET body = CAST(x'7b00' || body AS TEXT) WHERE id = 7", /checksum/],
    ["a missing row", "DELETE FROM events WHERE id = 7", /event 7 is missing/],
  ])("%s", (_, sql, reason) => {
    const path = written();
    plant(path, sql);
    const { events, runs, met, found } = look(path);
    expect(events.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6, 8, 9, 10, 11]);
    expect(met).toEqual([{ table: "events", event: 7, reason: expect.stringMatching(reason) }]);
    expect(found).toContainEqual({ table: "events", event: 7, reason: expect.stringMatching(reason) });
    // The state still has what the event said when it was whole; that it follows from no event any more is listed.
    expect(runs.map(({ outcome }) => outcome?.ok && outcome.value)).toEqual([1, 2, 3]);
    expect(found.slice(1)).toEqual(
      [1, 2, 3].map((step) => ({
        table: "reports",
        event: 7,
        reason: `row ["s","base",2,1,${step}] follows from no event`,
      })),
    );
  });

  /** Adds an event with a right checksum, made by another ledger in which it was possible. */
  function addEvent(path: string, kind: string, change: (body: string) => string): void {
    const donor = written(1);
    const from = new Libsql(donor);
    const row = from.prepare("SELECT * FROM events WHERE kind = ?").get([kind]) as Record<string, string | number>;
    from.close();
    const db = new Libsql(path);
    const body = change(String(row.body));
    const id = 1 + Number((db.prepare("SELECT max(id) AS n FROM events").get() as { n: number }).n);
    const columns = [id, row.time!, kind, row.study!, row.arm!, row.seed!, row.attempt!, null, body, row.writer!];
    db.prepare("INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?,?,?)").run([...columns, checksum(columns)]);
    db.close();
  }

  test("a second result for a run is found, and never counted", () => {
    const path = written();
    addEvent(path, "run.told", (body) => body.replace('"value":1', '"value":99'));
    const { runs, found } = look(path);
    expect(runs.map(({ outcome }) => outcome?.ok && outcome.value)).toEqual([1, 2, 3]);
    expect(found).toEqual([{ table: "events", event: 12, reason: expect.stringContaining("is not at work") }]);
    const ledger = Ledger.open(path);
    expect(ledger.rebuild()).toEqual(found);
    expect(ledger.query("SELECT seed, value FROM results")).toEqual([1, 2, 3].map((n) => ({ seed: n, value: n })));
    // And work goes on behind it.
    const claim = ledger.claim(keyOf(4), self(), { seconds: 60 })!;
    expect(ledger.tell(claim, { ok: true, value: 4, values: {}, cost })).toBe(true);
    expect(ledger.check()).toEqual(found);
    ledger.close();
  });

  test.each<[string, (body: string) => string, RegExp]>([
    ["a report with NaN", (body) => body.replace('"loss":1', '"loss":NaN'), /not JSON/],
    ["a report with null for NaN", (body) => body.replace('"loss":1', '"loss":null'), /body.reports.0.values.loss/],
    ["a report beyond all numbers", (body) => body.replace('"loss":1', '"loss":1e999'), /body.reports.0.values.loss/],
    ["a report without an index", (body) => body.replace('"index":1', '"index":0'), /body.reports.0.index/],
    ["no object", () => "7", /body/],
  ])("%s, with a right checksum", (_, change, reason) => {
    const path = written();
    addEvent(path, "run.reported", change);
    const { events, met, found } = look(path);
    expect(events).toHaveLength(11);
    expect(met).toEqual([{ table: "events", event: 12, reason: expect.stringMatching(reason) }]);
    expect(found).toEqual(met);
  });

  test("a result whose event is damaged: its run is done until the state is computed again, then waits", () => {
    const path = written();
    plant(path, `UPDATE events SET body = 'x' WHERE id = ${told(2)}`);
    const ledger = Ledger.open(path);
    expect(ledger.claim(keyOf(2), self(), { seconds: 60 })).toBeNull();
    expect(ledger.rebuild()).toEqual([{ table: "events", event: told(2), reason: "the checksum does not match" }]);
    expect(ledger.runs("s").map(({ state }) => state)).toEqual(["done", "running", "done"]);
    const claim = ledger.claim(keyOf(2), self(), { seconds: 60 })!;
    expect(claim.attempt).toBe(2);
    expect(ledger.tell(claim, { ok: true, value: 22, values: {}, cost })).toBe(true);
    expect(ledger.query("SELECT seed, value FROM results")).toEqual([
      { seed: 1, value: 1 },
      { seed: 2, value: 22 },
      { seed: 3, value: 3 },
    ]);
    expect(ledger.check()).toHaveLength(1);
    ledger.close();
  });

  test("a claim whose event is missing takes what followed from it along", () => {
    const path = written();
    plant(path, `DELETE FROM events WHERE id = ${claimed(1)}`);
    const ledger = Ledger.open(path);
    expect(ledger.rebuild().map(({ event, reason }) => [event, reason])).toEqual([
      [claimed(1), `event ${claimed(1)} is missing`],
      [reported(1), "there is no such run"],
      [told(1), "there is no such run"],
    ]);
    expect(ledger.runs("s").map(({ key }) => key.seed)).toEqual([2, 3]);
    ledger.close();
  });
});

describe("a damaged row of the state", () => {
  test.each<[string, string, string, number]>([
    ["a report that is not JSON", "UPDATE reports SET body = 'x' WHERE seed = 2 AND step = 2", "reports", 7],
    [
      "a report that is not UTF-8",
      "UPDATE reports SET body = CAST(x'ff' AS TEXT) WHERE seed = 2 AND step = 2",
      "reports",
      7,
    ],
    [
      "a report without a number",
      "UPDATE reports SET body = '{\"loss\":null}' WHERE seed = 2 AND step = 2",
      "reports",
      7,
    ],
    ["an outcome that is not JSON", "UPDATE attempts SET outcome = '{' WHERE seed = 2", "attempts", 8],
    ["an outcome that is none", "UPDATE attempts SET outcome = '{\"ok\":true}' WHERE seed = 2", "attempts", 8],
    ["a run done without an outcome", "UPDATE attempts SET outcome = NULL WHERE seed = 2", "attempts", 8],
    ["a spec that is not JSON", "UPDATE studies SET spec = 'all'", "studies", 1],
    ["a name that is not UTF-8", "UPDATE studies SET name = CAST(x'ff' AS TEXT)", "studies", 1],
  ])("%s", (_, sql, table, event) => {
    const path = written();
    const whole = look(path);
    plant(path, sql);
    const seen = look(path);
    expect(seen.met.length).toBeGreaterThan(0);
    for (const problem of seen.met) expect(problem).toMatchObject({ event, reason: "a damaged row" });
    expect(seen.found.length).toBeGreaterThan(0);
    for (const problem of seen.found) expect(problem).toMatchObject({ table, event });
    expect(seen.events).toEqual(whole.events);
    if (table === "reports") expect(seen.reports[1]?.map(({ index }) => index)).toEqual([1, 3]);
    if (table === "attempts") expect(seen.runs.map(({ key }) => key.seed)).toEqual([1, 3]);
    const ledger = Ledger.open(path);
    expect(ledger.rebuild()).toEqual([]);
    ledger.close();
    expect(look(path)).toEqual(whole);
  });

  test("a lost one, and one from nowhere", () => {
    const path = written();
    plant(path, "DELETE FROM results WHERE seed = 1; INSERT INTO comparisons VALUES ('s', 'c', '{}', 99)");
    expect(look(path).found).toEqual([
      { table: "comparisons", event: 99, reason: 'row ["s","c"] follows from no event' },
      { table: "results", event: told(1), reason: 'row ["s","base",1] is missing' },
    ]);
  });
});

describe("a damaged file", () => {
  // A damaged name of a column would end the process in the binding.
  test("with other tables", () => {
    for (const change of [
      "ALTER TABLE runs RENAME COLUMN reason TO why",
      "DROP TABLE verdicts",
      "DROP TRIGGER events_stay",
    ]) {
      const path = written(1);
      const db = new Libsql(path);
      db.exec(change);
      db.close();
      expect(() => Ledger.open(path)).toThrow(/is damaged/);
      expect(() => Ledger.open(path, { readonly: true })).toThrow(/is damaged/);
    }
    const path = written(1);
    const bytes = readFileSync(path, "latin1");
    writeFileSync(path, bytes.replaceAll("cpu_seconds REAL", "cpu_\xffeconds REAL"), "latin1");
    expect(() => Ledger.open(path)).toThrow(/is damaged/);
    const other = written(1);
    const guest = new Libsql(other);
    guest.exec("CREATE VIEW mine AS SELECT value FROM results; CREATE INDEX results_value ON results (value)");
    guest.close();
    expect(look(other).found).toEqual([]);
  });

  test("cut short", () => {
    const path = written(40);
    const bytes = readFileSync(path);
    for (const part of [0.9, 0.5, 0.1]) {
      truncateSync(path, Math.floor(bytes.length * part));
      expectTyped(path);
    }
    // Cut within its header, it is no database.
    writeFileSync(path, bytes.subarray(0, 50));
    expect(() => Ledger.open(path)).toThrow(/is not a database|damaged/);
  });

  test("with a log that belongs to another state is what it was before, or damaged; never a crash", () => {
    const path = written(40);
    const writer = Ledger.open(path);
    writer.claim(keyOf(50), self(), { seconds: 60 });
    const copy = `${path}-copy`;
    copyFileSync(path, copy);
    // Half of the log, as a copy that was made at a bad moment has it.
    const log = readFileSync(`${path}-wal`);
    writeFileSync(`${copy}-wal`, log.subarray(0, log.length / 2));
    writer.close();
    const { runs, found } = look(copy);
    expect(runs.filter(({ state }) => state === "done")).toHaveLength(40);
    expect(found).toEqual([]);
  });

  const first = Number(process.env.BELLOWS_SEED ?? Date.now() % 1e6);
  test(`with random bytes (seed ${first})`, () => {
    const path = written(12);
    const bytes = readFileSync(path);
    const next = random(first);
    for (let round = 0; round < 30; ++round) {
      const damaged = Buffer.from(bytes);
      const hits = 1 + Math.floor(next() * 8);
      for (let hit = 0; hit < hits; ++hit) damaged[Math.floor(next() * damaged.length)] = Math.floor(next() * 256);
      writeFileSync(path, damaged);
      for (const end of ["-wal", "-shm"]) rmSync(path + end, { force: true });
      expectTyped(path);
    }
  });

  /** Everything can be called: it works, or says in a typed error what is wrong. */
  function expectTyped(path: string): void {
    const calls: ((ledger: Ledger) => unknown)[] = [
      (ledger) => ledger.runs("s"),
      (ledger) => ledger.reports(keyOf(2)),
      (ledger) => ledger.events(),
      (ledger) => ledger.attempts("s"),
      (ledger) => ledger.check(),
      (ledger) => ledger.query("SELECT * FROM results, studies"),
      (ledger) => ledger.takeOver(),
      (ledger) => ledger.claim(keyOf(60), self(), { seconds: 60 }),
      (ledger) => ledger.rebuild(),
    ];
    let ledger: Ledger | null = null;
    try {
      ledger = Ledger.open(path);
    } catch (error) {
      expect(error).toBeInstanceOf(BellowsError);
      return;
    }
    for (const call of calls) {
      try {
        call(ledger);
      } catch (error) {
        expect(error, String(call)).toBeInstanceOf(BellowsError);
      }
    }
    ledger.close();
  }
});
