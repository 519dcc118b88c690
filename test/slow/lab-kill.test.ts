// A study whose processes are killed at a hundred random moments, whose disk is full, or whose file is damaged: nothing
// is lost or counted twice, and it comes to the verdicts of one that nothing happened to.

import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bellows, main, start } from "../ts/cli.js";
import {
  checkLab,
  command,
  crash,
  figures,
  random,
  type StudyName,
  shown,
  studiesIn,
  type Whole,
  whole,
} from "../ts/lab-crash.js";
import { buildShim, Control, shimmed } from "./fail_io.mjs";
import { workFolder } from "./runs.mjs";

const folder = workFolder();
/** BELLOWS_SEED repeats the moments of a failure; the processes' own pace is not repeated. */
const seed = Number(process.env.BELLOWS_SEED ?? Date.now() % 1e6);
const kills = Number(process.env.BELLOWS_KILLS ?? 100);
const counts: string[] = [];
const calm: { name: StudyName; whole: Whole }[] = [];

beforeAll(async () => {
  for (const name of ["module", "self-play"] as const) {
    calm.push({ name, whole: await whole(studiesIn(join(folder, "whole")), name) });
  }
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  console.log(`seed ${seed}: ${counts.join("; ")}`);
});

/** Runs the command line with an environment of its own. */
function run(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<{
  code: number | null;
  signal: string | null;
  lines: { type: string; [key: string]: unknown }[];
  stderr: string;
}> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"], env });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.on("error", reject).on("close", (code, signal) => {
      const lines = stdout.split("\n").filter((line) => line !== "");
      resolve({ code, signal, lines: lines.map((line) => JSON.parse(line)), stderr });
    });
  });
}

test(`${kills} kills at random moments, of runners, workers and both, with one runner or two`, async () => {
  const tally = await crash(folder, calm, kills, seed);
  expect(tally.kills).toBeGreaterThanOrEqual(kills);
  expect(tally.runs).toBeGreaterThan(0);
  counts.push(shown(tally));
});

describe("a full disk", () => {
  test("at any write: a typed error, exit code 1, and the study goes on when there is space", async () => {
    const library = buildShim(folder);
    const control = new Control(join(folder, "control"));
    const { figures: expected } = calm[0]!.whole;
    // How many calls a whole study makes.
    const first = studiesIn(join(folder, "counted"));
    control.watch(first);
    expect((await run(command(first, "module"), shimmed(library, control))).code).toBe(0);
    const total = control.counts().count;
    expect(total).toBeGreaterThan(100);

    const draw = random(seed);
    const moments = [3, 10, ...Array.from({ length: 4 }, () => 1 + Math.floor(draw() * 0.9 * total))];
    let refused = 0;
    for (const [i, at] of moments.entries()) {
      const here = studiesIn(join(folder, `full-${i}`));
      const what = `seed ${seed}, full from call ${at} on`;
      control.watch(here, { at, fault: "disk full" });
      const end = await run(command(here, "module"), shimmed(library, control));
      expect(control.counts().hits, what).toBeGreaterThan(0);
      expect(end.signal, what).toBeNull();
      expect(end.stderr, what).not.toMatch(/^ {4}at |Unhandled/m);
      if (end.code !== 0) {
        ++refused;
        expect(end.code, `${what}: ${end.stderr}`).toBe(1);
        expect(end.lines.at(-1), what).toMatchObject({ type: "error", code: "IO" });
        // Of a file that cannot be made SQLite does not say why.
        expect(["ENOSPC", "SQLITE_CANTOPEN"], what).toContain(end.lines.at(-1)!.received);
      }
      control.rest();
      const again = await bellows(command(here, "module"));
      expect(again.code, `${what}, then: ${again.stderr}`).toBe(0);
      expect(figures(again.last), what).toEqual(expected);
      checkLab(here, "module", what);
    }
    control.close();
    expect(refused).toBeGreaterThan(moments.length / 2);
    counts.push(`${moments.length} full disks, ${refused} refused`);
  });
});

describe("damage between two starts", () => {
  // Each is planted in a study that was killed half way.
  const plants: readonly [what: string, sql: string, table: string, mended: boolean][] = [
    ["a result's row", "update results set value = value + 1", "results", true],
    ["an outcome's text", "update attempts set outcome = '{' where state = 'done'", "attempts", true],
    [
      "an outcome's number",
      "update attempts set outcome = json_set(outcome, '$.value', 1e6) where state = 'done'",
      "attempts",
      true,
    ],
    ["a run that is said to wait", "update runs set state = 'waiting' where state = 'done'", "runs", true],
    ["a run that is gone", "delete from runs where state = 'done'", "runs", true],
    [
      "bytes that are no text",
      "update attempts set outcome = cast(x'ff' as text) where state = 'done'",
      "attempts",
      true,
    ],
    [
      "an event of a result",
      "update events set body = json_set(body, '$.outcome.value', 1e6) where kind = 'run.told'",
      "events",
      false,
    ],
    ["an event of a claim", "update events set body = '{' where kind = 'run.claimed'", "events", false],
  ];
  test.each(plants)("%s", async (what, sql, table, mended) => {
    const here = studiesIn(join(folder, what.replaceAll(/[^a-z]/g, "-")));
    const running = start(command(here, "module"));
    await running.line("noise");
    running.child.kill("SIGKILL");
    await running.finished;
    const { default: Database } = await import("libsql");
    const db = new Database(join(here, "lab.sqlite"));
    // What keeps programs from changing events keeps no disk from it.
    const triggers = db.prepare("select name, sql from sqlite_schema where type = 'trigger'").all();
    for (const { name } of triggers as { name: string }[]) db.exec(`drop trigger ${name}`);
    const { changes } = db.prepare(sql).run();
    for (const { sql } of triggers as { sql: string }[]) db.exec(sql);
    db.close();
    expect(changes).toBeGreaterThan(0);
    const end = await bellows(command(here, "module"));
    expect(end.code, end.stderr).toBe(0);
    const named = end.lines.filter(({ type }) => type === "damage");
    expect(named.map((line) => line.table)).toContain(table);
    expect(end.stderr).toContain("damaged");
    expect(figures(end.last)).toEqual(calm[0]!.whole.figures);
    if (mended) checkLab(here, "module", what);
    counts.push(`${what}: ${named.length} rows named`);
  });
});
