// Random histories, by two writers in turn: the events give the state again, row for row, and no call breaks its word.

import { join } from "node:path";
import { expect, test } from "vitest";
import { type Claim, Ledger, type RunKey } from "../../lib/lab/ledger.js";
import type { Outcome } from "../../lib/lab/task.js";
import { type Owner, self } from "../../lib/owner.js";
import { random, scratch } from "./cli.js";

const folder = scratch();
/** BELLOWS_SEED repeats a failure. */
const first = Number(process.env.BELLOWS_SEED ?? Date.now() % 1e6);
const HISTORIES = 12;
const STEPS = 250;

const me = self();
const dead: Owner = { ...me, start: "1" };
const elsewhere: Owner = { ...me, host: "elsewhere", machine: "m", boot: "b" };
/** Tokens of claims whose owner is dead. */
const isDead = new Set<string>();

test.each(Array.from({ length: HISTORIES }, (_, i) => first + i))("history %i", (seed) => {
  const next = random(seed);
  const below = (n: number) => Math.floor(next() * n);
  const pick = <T>(from: readonly T[]): T => from[below(from.length)]!;
  const path = join(folder, `${seed}.sqlite`);
  const ledgers = [Ledger.open(path), Ledger.open(path)] as const;
  const cost = () => ({ seconds: next(), iterations: below(9), flops: 1e12 * next(), cpuSeconds: 1, peakMemory: 1e6 });

  const keys: RunKey[] = [];
  for (const study of ["s", "t"]) {
    ledgers[0].createStudy(study, { next: next() }, study);
    for (const arm of ["a", "b"]) {
      ledgers[1].addArm(study, arm, { arm });
      for (let run = 0; run < 3; ++run) keys.push({ study, arm, seed: run });
    }
    ledgers[0].addComparison(study, "a-b", {});
  }
  const text = (key: RunKey) => `${key.study}/${key.arm}/${key.seed}`;
  // What the calls have promised.
  const held = new Map<string, Claim>();
  const done = new Map<string, number>();
  const failures = new Map<string, number>();
  const given = new Set<string>();
  const verdicts: number[] = [];
  const claims: Claim[] = [];

  for (let step = 0; step < STEPS; ++step) {
    const ledger = pick(ledgers);
    const key = pick(keys);
    const claim = claims.length > 0 ? claims[Math.max(0, claims.length - 1 - below(8))]! : null;
    const holds = claim !== null && held.get(text(claim))?.token === claim.token;
    switch (below(9)) {
      case 0:
      case 1:
      case 2: {
        const owner = pick([me, me, dead, elsewhere]);
        const made = ledger.claim(key, owner, { seconds: 1000 });
        const old = held.get(text(key));
        const free = !done.has(text(key)) && !given.has(text(key)) && (old === undefined || isDead.has(old.token));
        expect(made !== null, `claim of ${text(key)}`).toBe(free);
        if (made === null) break;
        claims.push(made);
        held.set(text(key), made);
        if (owner === dead) isDead.add(made.token);
        break;
      }
      case 3: {
        if (claim === null) break;
        const value = next();
        const ok = below(3) > 0;
        const outcome: Outcome = ok
          ? { ok, value, values: { value, step }, cost: cost() }
          : {
              ok,
              kind: pick(["error", "time", "memory"] as const),
              code: "E",
              message: "m",
              retry: true,
              cost: cost(),
            };
        const giveUp = !ok && below(3) === 0 ? "enough" : undefined;
        expect(ledger.tell(claim, outcome, giveUp)).toBe(holds);
        if (!holds) break;
        held.delete(text(claim));
        if (ok) done.set(text(claim), value);
        else failures.set(text(claim), (failures.get(text(claim)) ?? 0) + 1);
        if (giveUp !== undefined) given.add(text(claim));
        break;
      }
      case 4:
      case 5: {
        if (claim === null) break;
        const reports = Array.from({ length: below(4) }, () => ({ index: 1 + below(20), values: { loss: next() } }));
        expect(ledger.report(claim, reports)).toBe(holds);
        break;
      }
      case 6:
        if (claim === null) break;
        ledger.release(claim);
        if (holds) held.delete(text(claim));
        break;
      case 7: {
        const taken = ledger.takeOver();
        const wanted = [...held.values()].filter(({ token }) => isDead.has(token));
        expect(taken.map((item) => item.claim.token).sort()).toEqual(wanted.map(({ token }) => token).sort());
        for (const { claim } of taken) held.delete(text(claim));
        break;
      }
      case 8:
        if (below(3) === 0) {
          verdicts.push(step);
          ledger.recordVerdict("t", "a-b", { step });
        } else if (below(4) === 0) {
          const free = !done.has(text(key)) && !given.has(text(key)) && !held.has(text(key));
          expect(ledger.giveUp(key, "the end")).toBe(free);
          if (free) given.add(text(key));
        }
        break;
    }
  }

  const runs = ["s", "t"].flatMap((study) => ledgers[0].runs(study));
  for (const { key, state, outcome, attempts } of runs) {
    const name = text(key);
    expect(state, name).toBe(
      done.has(name) ? "done" : given.has(name) ? "failed" : held.has(name) ? "running" : "waiting",
    );
    if (done.has(name)) expect(outcome, name).toMatchObject({ ok: true, value: done.get(name) });
    expect(attempts, name).toBe((done.has(name) ? 1 : 0) + (failures.get(name) ?? 0));
  }
  expect(ledgers[0].query("SELECT count(*) AS n FROM results")).toEqual([{ n: done.size }]);
  expect(ledgers[0].verdicts("t").map(({ body }) => body.step)).toEqual(verdicts);
  expect(ledgers[1].check()).toEqual([]);
  const before = ledgers[0].query("SELECT * FROM attempts");
  expect(ledgers[0].rebuild()).toEqual([]);
  expect(ledgers[1].query("SELECT * FROM attempts")).toEqual(before);
  expect(ledgers[1].check()).toEqual([]);
  for (const ledger of ledgers) ledger.close();
});
