// The ledger's calls, one process: what they record, refuse and give back, and that the state follows from the events.

import { copyFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Libsql from "libsql";
import { describe, expect, test } from "vitest";
import { Ledger, type RunKey, type SqlValue } from "../../lib/lab/ledger.js";
import type { Outcome } from "../../lib/lab/task.js";
import { type Owner, self } from "../../lib/owner.js";
import { scratch } from "./cli.js";

const folder = scratch();
let files = 0;
const fresh = () => join(folder, `lab-${++files}.sqlite`);

const cost = { seconds: 1.5, iterations: 20, flops: 3e9, cpuSeconds: 2.5, peakMemory: 1e8 };
const success = (value: number): Outcome => ({ ok: true, value, values: { loss: value, "a.b": -1 }, cost });
const failure: Outcome = { ok: false, kind: "error", code: "ERR", message: "it threw", retry: true, cost };
const lease = { seconds: 60 };
/** A process that is no more: this one's id, as if it had started at another time. */
const dead: Owner = { ...self(), start: "1" };
/** A process of which nothing can be told from here. */
const elsewhere: Owner = { ...self(), host: "elsewhere", machine: "m", boot: "b" };

function lab(path = fresh()): { ledger: Ledger; key: RunKey; path: string } {
  const ledger = Ledger.open(path);
  ledger.createStudy("s", { goal: "minimize" }, "hash");
  ledger.addArm("s", "base", { x: 1 });
  ledger.addArm("s", "other", { x: 2 });
  ledger.addComparison("s", "c", { baseline: "base", proposal: "other" });
  return { ledger, key: { study: "s", arm: "base", seed: 7 }, path };
}

/** The error that a call throws, by its fields. */
function thrown(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

describe("studies", () => {
  test("are registered once, with arms and comparisons", () => {
    const { ledger } = lab();
    ledger.createStudy("s", { goal: "minimize" }, "hash");
    ledger.addArm("s", "base", { x: 1 });
    expect(ledger.events()).toHaveLength(4);
    expect(ledger.studies()).toMatchObject([{ name: "s", spec: { goal: "minimize" }, hash: "hash" }]);
    expect(ledger.study("s")).toEqual(ledger.studies()[0]);
    expect(ledger.study("t")).toBeNull();
    expect(ledger.arms("s").map(({ name }) => name)).toEqual(["base", "other"]);
    expect(ledger.comparisons("s")).toEqual([{ name: "c", body: { baseline: "base", proposal: "other" } }]);
    ledger.close();
  });

  test("are refused with another spec or content, or without a study", () => {
    const { ledger } = lab();
    expect(thrown(() => ledger.createStudy("s", {}, "h2"))).toMatchObject({
      name: "OptionError",
      path: "s",
      received: expect.stringContaining("h2"),
      expected: expect.stringContaining("hash"),
    });
    expect(() => ledger.addArm("s", "base", { x: 2 })).toThrow(/another content/);
    expect(() => ledger.addArm("none", "base", {})).toThrow(/no such study/);
    expect(() => ledger.claim({ study: "s", arm: "none", seed: 1 }, self(), lease)).toThrow(/no such arm/);
    expect(() => ledger.recordVerdict("s", "none", {})).toThrow(/no such comparison/);
    expect(ledger.events()).toHaveLength(4);
    ledger.close();
  });

  test("keep every verdict, in order", () => {
    const { ledger } = lab();
    ledger.recordVerdict("s", "c", { verdict: "undecided" });
    ledger.recordVerdict("s", "c", { verdict: "better" });
    expect(ledger.verdicts("s").map(({ body }) => body.verdict)).toEqual(["undecided", "better"]);
    expect(ledger.replayed()).toEqual([]);
    ledger.close();
  });
});

describe("a run", () => {
  test("is claimed, reported and told once", () => {
    const { ledger, key } = lab();
    const claim = ledger.claim(key, self(), lease)!;
    expect(claim).toMatchObject({ ...key, attempt: 1, orphan: null });
    expect(ledger.claim(key, self(), lease)).toBeNull();
    expect(ledger.runs("s")).toMatchObject([{ key, state: "running", attempts: 0, owner: self(), outcome: null }]);
    expect(ledger.renew(claim)).toBe(true);
    expect(ledger.worker(claim, dead)).toBe(true);
    expect(ledger.runs("s")[0]?.worker).toEqual(dead);
    expect(ledger.report(claim, [{ index: 1, values: { loss: 3 } }])).toBe(true);
    expect(ledger.report(claim, [{ index: 2, values: { loss: 2 } }])).toBe(true);
    expect(ledger.tell(claim, success(0.25))).toBe(true);

    expect(ledger.tell(claim, success(9))).toBe(false);
    expect(ledger.report(claim, [{ index: 3, values: { loss: 1 } }])).toBe(false);
    expect(ledger.renew(claim)).toBe(false);
    expect(ledger.worker(claim, dead)).toBe(false);
    expect(ledger.claim(key, self(), lease)).toBeNull();
    expect(ledger.giveUp(key, "late")).toBe(false);
    expect(ledger.runs("s")).toEqual([
      {
        key,
        state: "done",
        attempts: 1,
        claims: 1,
        lost: 0,
        event: 8,
        outcome: success(0.25),
        reason: null,
        owner: null,
        worker: null,
      },
    ]);
    expect(ledger.reports(key)).toEqual([
      { index: 1, values: { loss: 3 } },
      { index: 2, values: { loss: 2 } },
    ]);
    expect(ledger.query("SELECT value, cpu_seconds, attempt FROM results")).toEqual([
      { value: 0.25, cpu_seconds: 2.5, attempt: 1 },
    ]);
    expect(ledger.check()).toEqual([]);
    ledger.close();
  });

  test("waits again after a failure, until it is given up", () => {
    const { ledger, key } = lab();
    expect(ledger.tell(ledger.claim(key, self(), lease)!, failure)).toBe(true);
    expect(ledger.runs("s")).toMatchObject([{ state: "waiting", attempts: 1, outcome: failure }]);
    const second = ledger.claim(key, self(), lease)!;
    expect(second.attempt).toBe(2);
    expect(ledger.giveUp(key, "at work")).toBe(false);
    expect(ledger.tell(second, failure)).toBe(true);
    expect(ledger.giveUp(key, "two failures")).toBe(true);
    expect(ledger.giveUp(key, "again")).toBe(false);
    expect(ledger.claim(key, self(), lease)).toBeNull();
    expect(ledger.runs("s")).toMatchObject([{ state: "failed", attempts: 2, reason: "two failures" }]);

    const other = { ...key, seed: 8 };
    expect(ledger.tell(ledger.claim(other, self(), lease)!, failure, "no other try")).toBe(true);
    expect(ledger.runs("s")[1]).toMatchObject({ state: "failed", attempts: 1, reason: "no other try" });
    expect(ledger.attempts("s").map(({ state }) => state)).toEqual(["failed", "failed", "failed"]);
    expect(ledger.query("SELECT * FROM results")).toEqual([]);
    expect(ledger.replayed()).toEqual([]);
    ledger.close();
  });

  test("does not count an attempt that was released", () => {
    const { ledger, key } = lab();
    const first = ledger.claim(key, self(), lease)!;
    ledger.release(first);
    ledger.release(first);
    expect(ledger.tell(first, success(1))).toBe(false);
    expect(ledger.runs("s")).toMatchObject([{ state: "waiting", attempts: 0, claims: 1 }]);
    const second = ledger.claim(key, self(), lease)!;
    expect(second.attempt).toBe(2);
    expect(ledger.tell(first, success(1))).toBe(false);
    expect(ledger.tell(second, success(2))).toBe(true);
    expect(ledger.runs("s")).toMatchObject([{ state: "done", attempts: 1, claims: 2 }]);
    ledger.close();
  });

  test("gives the reports of its latest attempt where attempts overlap", () => {
    const { ledger, key } = lab();
    const report = (from: number, to: number, loss: number) =>
      Array.from({ length: to - from + 1 }, (_, i) => ({ index: from + i, values: { loss } }));
    const first = ledger.claim(key, self(), lease)!;
    ledger.report(first, report(1, 6, 1));
    ledger.release(first);
    const second = ledger.claim(key, self(), lease)!;
    expect(ledger.reports(key)).toHaveLength(6);
    ledger.report(second, report(4, 5, 2)); // from the checkpoint of step 3
    expect(ledger.reports(key).map(({ index, values }) => [index, values.loss])).toEqual([
      [1, 1],
      [2, 1],
      [3, 1],
      [4, 2],
      [5, 2],
    ]);
    ledger.report(second, report(5, 5, 3));
    expect(ledger.reports(key, 2).map(({ values }) => values.loss)).toEqual([2, 3]);
    expect(ledger.reports(key, 1)).toHaveLength(6);
    expect(ledger.replayed()).toEqual([]);
    ledger.close();
  });
});

describe("claims of others", () => {
  test("are taken over when their owner is dead, once, with the worker it left", () => {
    const { ledger, key } = lab();
    const claim = ledger.claim(key, dead, lease)!;
    const worker = { ...dead, pid: 4242 };
    ledger.worker(claim, worker);
    const alive = ledger.claim({ ...key, seed: 8 }, self(), { seconds: 1e-3 })!;
    expect(ledger.takeOver()).toEqual([{ claim: { ...key, attempt: 1, token: claim.token }, worker }]);
    expect(ledger.takeOver()).toEqual([]);
    expect(ledger.tell(claim, success(1))).toBe(false);
    expect(ledger.runs("s")).toMatchObject([
      { state: "waiting", attempts: 0, owner: null },
      { state: "running", owner: self() },
    ]);
    // Whoever starts the run again is told of the worker as well.
    const next = ledger.claim(key, self(), lease)!;
    expect(next).toMatchObject({ attempt: 2, orphan: worker });
    expect(ledger.runs("s")[0]?.worker).toBeNull();
    expect(ledger.tell(next, success(1))).toBe(true);
    expect(ledger.tell(alive, success(1))).toBe(true);
    expect(ledger.check()).toEqual([]);
    ledger.close();
  });

  test("can be claimed at once when their owner is dead", () => {
    const { ledger, key } = lab();
    const old = ledger.claim(key, dead, lease)!;
    ledger.worker(old, dead);
    const claim = ledger.claim(key, self(), lease)!;
    expect(claim).toMatchObject({ attempt: 2, orphan: dead });
    expect(ledger.tell(old, success(1))).toBe(false);
    expect(ledger.tell(claim, success(2))).toBe(true);
    expect(ledger.attempts("s").map(({ state }) => state)).toEqual(["released", "done"]);
    expect(ledger.replayed()).toEqual([]);
    ledger.close();
  });

  test("from elsewhere hold until their lease has run out, and longer when they are renewed", async () => {
    const { ledger, key } = lab();
    const claim = ledger.claim(key, elsewhere, { seconds: 1000 })!;
    expect(ledger.takeOver()).toEqual([]);
    expect(ledger.claim(key, self(), lease)).toBeNull();
    expect(ledger.renew(claim, { seconds: 1e-3 })).toBe(true);
    await new Promise((done) => setTimeout(done, 20));
    // Late, but nobody has taken it.
    expect(ledger.renew(claim, { seconds: 1000 })).toBe(true);
    expect(ledger.takeOver()).toEqual([]);
    ledger.renew(claim, { seconds: 1e-3 });
    await new Promise((done) => setTimeout(done, 20));
    expect(ledger.takeOver()).toHaveLength(1);
    expect(ledger.renew(claim)).toBe(false);
    ledger.close();
  });

  test("whose lease is lost are over", () => {
    const { ledger, key, path } = lab();
    ledger.claim(key, self(), lease);
    const db = new Libsql(path);
    db.exec("DELETE FROM leases");
    db.close();
    expect(ledger.claim(key, self(), lease)).toMatchObject({ attempt: 2 });
    expect(ledger.replayed()).toEqual([]);
    ledger.close();
  });
});

describe("what is refused", () => {
  test.each<[string, (ledger: Ledger, key: RunKey) => unknown, string]>([
    ["a value that is not finite", (l, k) => l.tell(l.claim(k, self(), lease)!, success(Number.NaN)), "outcome.value"],
    [
      "a report that is not finite",
      (l, k) => l.report(l.claim(k, self(), lease)!, [{ index: 1, values: { "a.b": Infinity } }]),
      "reports.0.values.a.b",
    ],
    [
      "a report without an index",
      (l, k) => l.report(l.claim(k, self(), lease)!, [{ index: 0, values: {} }]),
      "reports.0.index",
    ],
    ["a seed below 0", (l, k) => l.claim({ ...k, seed: -1 }, self(), lease), "seed"],
    ["a seed that is no number", (l, k) => l.claim({ ...k, seed: "1" as unknown as number }, self(), lease), "seed"],
    ["a lease of no time", (l, k) => l.claim(k, self(), { seconds: 0 }), "lease.seconds"],
    ["a name with a line break", (l) => l.createStudy("a\nb", {}, "h"), "study"],
    ["a name with half a character", (l) => l.createStudy("a\ud800", {}, "h"), "study"],
    ["no name", (l) => l.addArm("s", "", {}), "arm"],
    ["a spec that is not JSON", (l) => l.createStudy("t", { a: [Number.NaN] } as never, "h"), "spec.a[0]"],
    ["a spec with a function", (l) => l.addArm("s", "t", { f: () => 1 } as never), "body.f"],
    ["a spec within itself", (l) => l.addArm("s", "t", circle() as never), `body${".a".repeat(101)}`],
  ])("%s", (_, call, path) => {
    const { ledger, key } = lab();
    const before = ledger.events().length;
    expect(thrown(() => call(ledger, key))).toMatchObject({ name: "OptionError", path });
    // The claim that some of them begin with is still there; nothing else is.
    expect(ledger.events().filter(({ kind }) => kind !== "run.claimed")).toHaveLength(before);
    expect(ledger.check()).toEqual([]);
    ledger.close();
  });

  test("a claim survives an outcome that was refused", () => {
    const { ledger, key } = lab();
    const claim = ledger.claim(key, self(), lease)!;
    expect(() => ledger.tell(claim, success(Number.NaN))).toThrow();
    expect(ledger.tell(claim, success(1))).toBe(true);
    ledger.close();
  });

  test("changes of events", () => {
    const { ledger, path } = lab();
    const db = new Libsql(path);
    expect(() => db.exec("UPDATE events SET body = '{}'")).toThrow(/only added/);
    expect(() => db.exec("DELETE FROM events")).toThrow(/only added/);
    db.close();
    ledger.close();
  });
});

function circle(): object {
  const a: Record<string, unknown> = {};
  a.a = a;
  return a;
}

describe("text", () => {
  test("of every kind comes back as it was", () => {
    const { ledger } = lab();
    const body = { "ключ 💡": "a\u0000b\ud800\u2028'\"\\", empty: "", list: [null, true, -0.5, 1e300] };
    ledger.addArm("s", "β-арм 💡", body);
    expect(ledger.arms("s").at(-1)).toEqual({ name: "β-арм 💡", body });
    const key = { study: "s", arm: "β-арм 💡", seed: Number.MAX_SAFE_INTEGER };
    const claim = ledger.claim(key, self(), lease)!;
    expect(ledger.tell(claim, { ...failure, message: "a\u0000b\ud800" })).toBe(true);
    expect(ledger.runs("s")[0]).toMatchObject({ key, outcome: { message: "a\u0000b\ud800" } });
    expect(ledger.check()).toEqual([]);
    ledger.close();
  });
});

describe("query", () => {
  test("gives rows, by lists and names of parameters", () => {
    const { ledger } = lab();
    expect(ledger.query("SELECT name, body FROM arms WHERE name <> ? ORDER BY name DESC", ["x"])).toEqual([
      { name: "other", body: '{"x":2}' },
      { name: "base", body: '{"x":1}' },
    ]);
    expect(ledger.query("SELECT count(*) AS n FROM arms WHERE json_extract(body, '$.x') = :x; ", { x: 2 })).toEqual([
      { n: 1 },
    ]);
    expect(ledger.query("WITH a AS (SELECT 1 AS b) SELECT b, 'é' AS t, x'00ff' AS y FROM a -- the end")).toEqual([
      { b: 1, t: "é", y: Buffer.from([0, 255]) },
    ]);
    expect(ledger.query("SELECT 1 WHERE 0")).toEqual([]);
    ledger.close();
  });

  test.each([
    ["DELETE FROM runs"],
    ["INSERT INTO arms VALUES ('s', 'x', '{}', 1) RETURNING name"],
    ["PRAGMA journal_mode = DELETE"],
    ["PRAGMA query_only = 0"],
    ["ATTACH 'other.sqlite' AS o"],
    ["SELECT 1; DELETE FROM runs"],
    ["SELEKT"],
    [""],
    ["SELECT * FROM nothing"],
  ])("refuses %j", (sql) => {
    const { ledger } = lab();
    expect(thrown(() => ledger.query(sql))).toMatchObject({ name: "OptionError", path: "sql" });
    expect(ledger.check()).toEqual([]);
    ledger.close();
  });

  test.each<[string, unknown]>([
    ["a boolean", true],
    ["undefined", undefined],
    ["a function", () => 1],
    ["an object", { a: 1 }],
    ["NaN", Number.NaN],
  ])("refuses %s as a parameter", (_, value) => {
    const { ledger } = lab();
    expect(thrown(() => ledger.query("SELECT ?", [value as SqlValue]))).toMatchObject({
      name: "OptionError",
      path: "params.0",
    });
    ledger.close();
  });
});

describe("opening", () => {
  test("twice in one process, and closing twice", () => {
    const { ledger, key, path } = lab();
    const second = Ledger.open(path);
    const claim = second.claim(key, self(), lease)!;
    expect(ledger.claim(key, self(), lease)).toBeNull();
    expect(ledger.tell(claim, success(1))).toBe(true);
    expect(second.runs("s")[0]?.state).toBe("done");
    second.close();
    second.close();
    expect(ledger.runs("s")).toHaveLength(1);
    for (const call of [() => second.runs("s"), () => second.query("SELECT 1"), () => second.tell(claim, success(1))]) {
      expect(thrown(call)).toMatchObject({ name: "ClosedError", code: "CLOSED" });
    }
    expect(() => second.check()).toThrow(/closed/);
    expect(() => second.takeOver()).toThrow(/closed/);
    ledger.close();
  });

  test("leaves a file that is whole without its log", () => {
    const { ledger, key, path } = lab();
    ledger.tell(ledger.claim(key, self(), lease)!, success(1));
    ledger.close();
    const copy = fresh();
    copyFileSync(path, copy);
    const other = Ledger.open(copy);
    expect(other.runs("s")[0]?.state).toBe("done");
    expect(other.check()).toEqual([]);
    other.close();
  });

  test("for reading only", () => {
    const { ledger, key, path } = lab();
    const reader = Ledger.open(path, { readonly: true });
    const claim = ledger.claim(key, self(), lease)!;
    expect(reader.runs("s")[0]?.state).toBe("running");
    expect(thrown(() => reader.tell(claim, success(1)))).toMatchObject({ code: "STATE", path });
    expect(reader.query("SELECT count(*) AS n FROM events")).toEqual([{ n: 5 }]);
    expect(reader.check()).toEqual([]);
    reader.close();
    ledger.close();
    expect(thrown(() => Ledger.open(fresh(), { readonly: true }))).toMatchObject({ name: "IoError", errno: "ENOENT" });
    const empty = fresh();
    writeFileSync(empty, "");
    expect(thrown(() => Ledger.open(empty, { readonly: true }))).toMatchObject({ name: "LedgerError", path: empty });
  });

  test("of what is no ledger", () => {
    const junk = fresh();
    writeFileSync(junk, "no database at all\n".repeat(500));
    expect(thrown(() => Ledger.open(junk))).toMatchObject({ name: "LedgerError", code: "LEDGER", path: junk });

    const foreign = fresh();
    const db = new Libsql(foreign);
    db.exec("CREATE TABLE t (a); PRAGMA application_id = 77");
    db.close();
    expect(thrown(() => Ledger.open(foreign))).toMatchObject({ name: "LedgerError", received: "application id 77" });
    const again = new Libsql(foreign);
    expect(again.pragma("journal_mode")).toEqual([{ journal_mode: "delete" }]);
    again.close();

    const newer = lab();
    newer.ledger.close();
    const change = new Libsql(newer.path);
    change.exec("PRAGMA user_version = 99");
    change.close();
    expect(thrown(() => Ledger.open(newer.path))).toMatchObject({
      name: "LedgerError",
      received: "tables of version 99",
    });
  });

  test("where there is no way to", () => {
    const missing = join(folder, "none", "lab.sqlite");
    expect(thrown(() => Ledger.open(missing))).toMatchObject({ name: "IoError", errno: "ENOENT", input: true });
    expect(thrown(() => Ledger.open(folder))).toMatchObject({ name: "IoError", errno: "EISDIR" });
    const file = fresh();
    writeFileSync(file, "");
    expect(thrown(() => Ledger.open(join(file, "lab")))).toMatchObject({ name: "IoError", errno: "ENOTDIR" });
    expect(thrown(() => Ledger.open(`${file}\0`))).toMatchObject({ name: "OptionError" });
    expect(thrown(() => Ledger.open(""))).toMatchObject({ name: "OptionError", path: "path" });
  });

  test("of names that mean something in an address", () => {
    for (const name of ["a b?mode=memory#x%41.sqlite", "file:lab", "ünï.sqlite"]) {
      const { ledger } = lab(join(folder, name));
      expect(ledger.query("SELECT count(*) AS n FROM arms")).toEqual([{ n: 2 }]);
      ledger.close();
      expect(readdirSync(folder)).toContain(name);
    }
  });
});

test("a file that is being written for too long names who does", () => {
  const { ledger, path } = lab();
  ledger.close();
  const db = new Libsql(path);
  db.exec("BEGIN IMMEDIATE");
  const hasty = Ledger.open(path, { wait: 0.05 });
  expect(thrown(() => hasty.createStudy("t", {}, "h"))).toMatchObject({
    name: "BellowsError",
    code: "LOCKED",
    received: process.platform === "linux" ? "locked by this process" : "locked by another process",
  });
  db.exec("COMMIT");
  db.close();
  hasty.createStudy("t", {}, "h");
  hasty.close();
});
