// Killed with SIGKILL, at every file call and at random moments, a run that is gone on with ends as if nothing had
// happened. A random moment seldom hits a save, which takes less than a millisecond: the kills at exact calls do.

import { cpSync, existsSync, readdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { applies, buildShim, type Call, Control, shimmed } from "./fail_io.mjs";
import {
  checkCheckpoints,
  emptied,
  inPairs,
  isLeftOver,
  launch,
  listing,
  recipe,
  run,
  stageOf,
  summary,
  workFolder,
} from "./runs.mjs";

const folder = workFolder();
/** BELLOWS_SEED repeats the moments of a failure; the processes' own pace is not repeated. */
const seed = Number(process.env.BELLOWS_SEED ?? Date.now() % 1e6);
const stages: Record<string, number> = {};
let inSaves = 0;
const counts: string[] = [];
const CHECKPOINTS = 2; // run.checkpoints of the recipe

let library: string;
let controls: readonly [Control, Control];

beforeAll(() => {
  library = buildShim(folder);
  controls = [new Control(join(folder, "control-0")), new Control(join(folder, "control-1"))];
});

afterAll(() => {
  for (const control of controls) control.close();
  rmSync(folder, { recursive: true, force: true });
  const hit = Object.entries(stages).sort(([, a], [, b]) => b - a);
  console.log(
    `kills (seed ${seed}): ${counts.join("; ")}; ${inSaves} while a file was being replaced; last call at ${hit.map(([name, n]) => `${name} ${n}`).join(", ")}`,
  );
});

/** Mulberry32. */
function random(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const long = (iterations: number) => [...recipe, "--iterations", String(iterations), "--json"];

/** What an uninterrupted run calls and leaves. */
async function uninterrupted(args: readonly string[], name: string) {
  const arena = emptied(join(folder, name));
  controls[0].watch(arena);
  const begin = performance.now();
  const running = launch([...args, "--out", join(arena, "run")], shimmed(library, controls[0]));
  await running.reached("iteration");
  const first = performance.now();
  const end = await running.finished;
  expect(end.code, end.stderr).toBe(0);
  return {
    calls: controls[0].read().calls,
    summary: summary(join(arena, "run")),
    toTraining: first - begin,
    training: performance.now() - first,
  };
}

/** Where the process was: the file of its last call, and whether it was in the middle of replacing one. */
function record(calls: readonly Call[]): void {
  const last = calls.at(-1);
  const stage = last ? stageOf(last.path) : "nothing yet";
  stages[stage] = (stages[stage] ?? 0) + 1;
  if (!last || stage === "metrics.jsonl") return;
  if (last.op !== "close" || isLeftOver(basename(last.path))) ++inSaves;
}

/** What must hold at any moment: checkpoints are whole, there are not too many, and metrics have no torn middle. */
async function checkMoment(out: string, what: string): Promise<void> {
  if (!existsSync(join(out, "checkpoints"))) return;
  const found = await checkCheckpoints(out).catch((error: unknown) => {
    throw new Error(`${what}: ${error}`);
  });
  // One more between the writing of the newest and the end of the oldest.
  expect(found, what).toBeLessThanOrEqual(CHECKPOINTS + 1);
}

/** Goes on, or begins again where there was no run yet. */
function onwards(out: string, args: readonly string[]): readonly string[] {
  return existsSync(join(out, "config.json")) ? ["train", "--resume", out, "--json"] : [...args, "--out", out];
}

/** @param ended - whether the killed process had come to its end: a finished run is not locked again, nor unlocked */
function checkEnd(arena: string, expected: ReturnType<typeof summary>, what: string, ended: boolean): void {
  const { files, ...rest } = summary(join(arena, "run"));
  expect({ files: files.filter((name: string) => !(ended && name === "lock")), ...rest }, what).toEqual(expected);
  expect(
    listing(arena).filter((path: string) => isLeftOver(basename(path))),
    what,
  ).toEqual([]);
  expect(readdirSync(arena), what).toEqual(["run"]);
}

describe("kills at exact calls", () => {
  test("of a run: at every call, and after half of every write", async () => {
    const args = long(4);
    const whole = await uninterrupted(args, "train");
    const work = whole.calls.flatMap(({ op }, index) =>
      ["kill", "kill after half a write"]
        .filter((fault) => applies(fault, op))
        .map((fault) => ({ at: index + 1, op, fault })),
    );
    expect(work.length).toBeGreaterThanOrEqual(90);
    await inPairs(work, async ({ at, op, fault }, worker) => {
      const arena = emptied(join(folder, `arena-${worker}`));
      const out = join(arena, "run");
      const what = `call ${at}, ${op}, ${fault}`;
      controls[worker]!.watch(arena, { at, fault });
      const killed = await run([...args, "--out", out], shimmed(library, controls[worker]!));
      expect(killed.signal, `${what}: ${killed.stderr}`).toBe("SIGKILL");
      record(controls[worker]!.read().calls);
      await checkMoment(out, what);
      const ended = existsSync(join(out, "result.json"));
      const end = await run(onwards(out, args));
      expect(end.code, `${what}, then: ${end.stderr}`).toBe(0);
      checkEnd(arena, whole.summary, what, ended);
    });
    counts.push(`${work.length} at calls of a run`);
  });

  test("of a resume that takes over a dead lock, drops half a line, and saves", async () => {
    const args = long(6);
    const whole = await uninterrupted(args, "train");
    const half = whole.calls.findIndex(({ op, path }) => op === "write" && path.includes("checkpoints/.000006")) + 1;
    const first = emptied(join(folder, "first"));
    controls[0].watch(first, { at: half, fault: "kill after half a write" });
    expect((await run([...args, "--out", join(first, "run")], shimmed(library, controls[0]))).signal).toBe("SIGKILL");
    const begun = (arena: string) => cpSync(first, emptied(arena), { recursive: true });

    const arena = join(folder, "resume");
    begun(arena);
    controls[0].watch(arena);
    expect((await run(["train", "--resume", join(arena, "run"), "--json"], shimmed(library, controls[0]))).code).toBe(
      0,
    );
    const { calls } = controls[0].read();
    expect(calls.filter(({ path }) => path.endsWith(".takeover")).length).toBeGreaterThan(0);
    const work = calls.flatMap(({ op }, index) =>
      ["kill", "kill after half a write"]
        .filter((fault) => applies(fault, op))
        .map((fault) => ({ at: index + 1, op, fault })),
    );
    expect(work.length).toBeGreaterThanOrEqual(50);
    await inPairs(work, async ({ at, op, fault }, worker) => {
      const arena = join(folder, `arena-${worker}`);
      const out = join(arena, "run");
      const what = `call ${at} of the resume, ${op}, ${fault}`;
      begun(arena);
      controls[worker]!.watch(arena, { at, fault });
      const killed = await run(["train", "--resume", out, "--json"], shimmed(library, controls[worker]!));
      expect(killed.signal, `${what}: ${killed.stderr}`).toBe("SIGKILL");
      record(controls[worker]!.read().calls);
      await checkMoment(out, what);
      const ended = existsSync(join(out, "result.json"));
      const end = await run(["train", "--resume", out, "--json"]);
      expect(end.code, `${what}, then: ${end.stderr}`).toBe(0);
      checkEnd(arena, whole.summary, what, ended);
    });
    counts.push(`${work.length} at calls of a resume`);
  });
});

describe("kills at random moments", () => {
  test("200, each of a run that was killed before, until it ends", async () => {
    const args = long(200);
    const whole = await uninterrupted(args, "whole");
    const kills = 200;
    let [done, runs, inTraining] = [0, 0, 0];
    const draw = random(seed);
    await inPairs([0, 1], async (_, worker) => {
      while (done < kills) {
        const arena = emptied(join(folder, `random-${worker}`));
        const out = join(arena, "run");
        ++runs;
        for (let [left, ended] = [false, false]; !ended; ) {
          // Most are counted from the first iteration on: before it Node starts, and the machine's peaks are measured.
          const [early, share] = [draw() < 0.25, draw()];
          const last = done >= kills;
          controls[worker]!.watch(arena);
          const running = launch(onwards(out, args), shimmed(library, controls[worker]!));
          const what = `seed ${seed}, kill ${done + 1}, ${early ? "from the start" : "while training"}, share ${share}`;
          if (!last) {
            if (!early) await running.reached("iteration");
            await sleep(share * (early ? whole.toTraining : whole.training));
            running.child.kill("SIGKILL");
          }
          const end = await running.finished;
          if (end.signal === "SIGKILL") {
            ++done;
            if (!early) ++inTraining;
            record(controls[worker]!.read().calls);
            await checkMoment(out, what);
            left = existsSync(join(out, "result.json"));
          } else {
            expect(end.code, `${what}: ${end.stderr}`).toBe(0);
            checkEnd(arena, whole.summary, `seed ${seed}, run ${runs}, ${what}`, left);
            ended = true;
          }
        }
      }
    });
    expect(done).toBeGreaterThanOrEqual(kills);
    expect(inTraining).toBeGreaterThan(kills / 4);
    counts.push(`${done} at random moments of ${runs} runs, ${inTraining} of them after the first iteration`);
  });
});
