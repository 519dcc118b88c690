// The ledger under duress: many writers, kill -9 at random moments, and every file call failing in every way.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { Ledger } from "../../lib/lab/ledger.js";
import { random } from "../ts/cli.js";
import { acknowledged, writer } from "../ts/ledger-writers.js";
import { buildShim, Control, shimmed } from "./fail_io.mjs";
import { workFolder } from "./runs.mjs";

const folder = workFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));
/** BELLOWS_SEED repeats the moments of the kills; the processes' own pace is not repeated. */
const seed = Number(process.env.BELLOWS_SEED ?? Date.now() % 1e6);

/** Holds a ledger against what its writers noted: all that was acknowledged is there, once. */
function verify(file: string, told: Map<string, number[]>): Ledger {
  const ledger = Ledger.open(file);
  const results = ledger.query("SELECT arm, seed, value FROM results");
  const values = new Map(results.map(({ arm, seed, value }) => [`${arm} ${seed}`, value]));
  expect(values.size).toBe(results.length);
  const wrong = [...told].filter(([run, said]) => said.length !== 1 || said[0] !== values.get(run));
  expect(wrong).toEqual([]);
  expect(ledger.query("SELECT count(*) AS n FROM events WHERE kind = 'run.told'")).toEqual([{ n: results.length }]);
  expect(ledger.check()).toEqual([]);
  return ledger;
}

test("eight processes tell 5,000 runs each", async () => {
  const place = join(folder, "eight");
  mkdirSync(place);
  const file = join(place, "lab.sqlite");
  const begin = performance.now();
  const ends = await Promise.all(
    Array.from({ length: 8 }, (_, i) => writer([file, join(place, `notes-${i}`), `arm-${i}`, 5000]).finished),
  );
  const seconds = (performance.now() - begin) / 1e3;
  for (const end of ends) expect(end, end.stderr).toMatchObject({ code: 0 });
  const told = acknowledged(place);
  expect(told.size).toBe(40_000);
  const ledger = verify(file, told);
  expect(ledger.query("SELECT count(*) AS n FROM results")).toEqual([{ n: 40_000 }]);
  ledger.close();
  console.log(`8 x 5,000 tells: ${seconds.toFixed(1)} s, ${(40_000 / seconds).toFixed(0)} a second`);
});

test(`a hundred writers killed at random moments (seed ${seed})`, async () => {
  const place = join(folder, "killed");
  mkdirSync(place);
  const file = join(place, "lab.sqlite");
  const next = random(seed);
  let kills = 0;
  let before = 0;
  const one = async (i: number) => {
    for (let life = 0; kills < 100; ++life) {
      const running = writer([file, join(place, `notes-${i}-${life}`), `arm-${i}-${life}`, 1e6, 1e6]);
      const most = 400 * next();
      // Some die while they start and open the file, most at work.
      if (next() < 0.8) {
        const notes = `notes-${i}-${life}`;
        while (acknowledged(place, notes).size < 3 && running.child.exitCode === null) await sleep(5);
      } else {
        ++before;
      }
      await sleep(most);
      running.child.kill("SIGKILL");
      const end = await running.finished;
      expect(end.signal, end.stderr).toBe("SIGKILL");
      ++kills;
    }
  };
  await Promise.all([0, 1, 2, 3].map(one));
  const told = acknowledged(place);
  const ledger = verify(file, told);
  const running = ledger.query("SELECT count(*) AS n FROM runs WHERE state = 'running'")[0]?.n;
  expect(ledger.takeOver()).toHaveLength(Number(running));
  expect(ledger.query("SELECT count(*) AS n FROM runs WHERE state = 'running'")).toEqual([{ n: 0 }]);
  const results = Number(ledger.query("SELECT count(*) AS n FROM results")[0]?.n);
  // A process that dies between its tell and its note leaves a result that nobody noted.
  expect(results - told.size).toBeLessThanOrEqual(kills);
  expect(ledger.check()).toEqual([]);
  ledger.close();
  console.log(
    `${kills} kills, ${before} of them in the first 400 ms; ${told.size} tells noted, ${results} in the ledger`,
  );
});

test("every file call fails once in every way", () => {
  // In memory where there is such a folder: a thousand ledgers are made.
  const parent = existsSync("/dev/shm") ? "/dev/shm" : folder;
  const place = mkdtempSync(join(parent, "bellows-ledger-"));
  try {
    const control = new Control(join(place, "control"));
    const script = fileURLToPath(new URL("ledger_faults.mjs", import.meta.url));
    const { stdout, stderr } = spawnSync(process.execPath, ["--expose-gc", script, place, control.path], {
      encoding: "utf8",
      env: shimmed(buildShim(place), control),
      maxBuffer: 1 << 26,
    });
    control.close();
    expect(stderr).toBe("");
    const { problems, ...counts } = JSON.parse(stdout);
    console.log(JSON.stringify(counts));
    expect(problems).toEqual([]);
    expect(counts.calls).toBeGreaterThan(100);
    expect(counts.hits).toBeGreaterThan(counts.calls);
    expect(counts.withTheSameObject).toBeGreaterThan(100);
    expect(Object.keys(counts.errors).sort()).toEqual(["IO EIO", "IO ENOSPC"]);
    // What tell() and giveUp() return true for has reached the disk; reports may wait.
    expect(counts.syncs).toEqual({
      claim: "written",
      report: "written",
      tell: "synced",
      "tell again": "nothing written",
      giveUp: "synced",
    });
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
});
