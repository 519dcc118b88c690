// Studies whose processes are killed at random moments, and what must hold when they have come to their end.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { Ledger } from "../../dist/lab/ledger.js";
import { type Line, main, type Running, start } from "./cli.js";

/** Reports every few milliseconds, with its values a function of seed, gain and step alone. */
const OBJECTIVE = `
import { setTimeout as sleep } from "node:timers/promises";
export default async function objective({ gain, steps, ms }, { seed, report }) {
  const noise = (n) => { const x = Math.sin(n * 12.9898) * 43758.5453; return x - Math.floor(x); };
  for (let step = 1; step <= steps; ++step) {
    await sleep(ms);
    report({ score: gain + noise(seed + 31 * gain + step), step });
  }
  console.log("done with", seed);
  return {};
}
`;

const SHARED = { alpha: 0.2, attempts: 100 };

const MODULE = {
  ...SHARED,
  name: "module",
  objective: { module: "./objective.mjs" },
  metric: { name: "score", goal: "maximize", summary: { last: 3 } },
  budget: { iterations: 10 },
  baseline: { config: { gain: 0, steps: 10, ms: 15 } },
  proposals: {
    more: { change: { gain: 1 }, hypothesis: "One is more than the noise." },
    same: { change: {}, seeds: "own", hypothesis: "No difference but noise.", category: "control" },
  },
  seeds: { min: 3, max: 8 },
  noise: { runs: 4 },
};

/** Its runs leave checkpoints when they are interrupted, and go on from them. */
const SELF_PLAY = {
  ...SHARED,
  name: "self-play",
  objective: "selfplay",
  metric: { name: "evaluation.certificate.sampled.exploitability", goal: "minimize" },
  budget: { iterations: 200 },
  baseline: {
    config: {
      game: { name: "tictactoe" },
      rollout: { games: 64 },
      net: { width: 16, depth: 1 },
      run: { threads: 1, evaluateEvery: 50 },
    },
  },
  proposals: { still: { change: { ppo: { lr: 1e-6 } }, hypothesis: "It hardly moves." } },
  seeds: { min: 2, max: 4 },
  noise: { runs: 2 },
};

const STEPS: Readonly<Record<string, number>> = { module: 10, "self-play": 200 };

export type StudyName = "module" | "self-play";

/** Mulberry32: a number below 1 each call. */
export function random(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Makes a folder with both studies and their objective. */
export function studiesIn(folder: string): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "objective.mjs"), OBJECTIVE);
  for (const study of [MODULE, SELF_PLAY]) writeFileSync(join(folder, `${study.name}.json`), JSON.stringify(study));
  return folder;
}

export function command(folder: string, study: StudyName, workers = 2): string[] {
  const lab = join(folder, "lab.sqlite");
  return ["study", "run", join(folder, `${study}.json`), "--lab", lab, "--workers", String(workers), "--json"];
}

/** What a verdict says, without what the clock has to do with. */
export function figures(end: Line): object[] {
  return end.verdicts.map(({ name, verdict, final, gain, interval, p, pairs, failures }: Line) => ({
    ...{ name, verdict, final, gain, interval, p, pairs, failures },
  }));
}

export interface Whole {
  readonly figures: object[];
  /** Milliseconds to the first run, and from one run's end to the next. */
  readonly toFirst: number;
  readonly perRun: number;
}

/** An uninterrupted study, and its pace. */
export async function whole(folder: string, study: StudyName): Promise<Whole> {
  const begun = performance.now();
  const running = start(command(folder, study));
  await running.line("started");
  const first = performance.now();
  const end = await running.finished;
  expect(end.code, end.stderr).toBe(0);
  const ended = end.lines.filter(({ type }) => type === "ended");
  for (const { outcome } of ended) expect(outcome.ok, JSON.stringify(outcome)).toBe(true);
  const runs = ended.length;
  return { figures: figures(end.last), toFirst: first - begun, perRun: (performance.now() - first) / runs };
}

/** Parent and command line of every process. */
function processes(): { pid: number; parent: number; args: string }[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "latin1");
      const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const args = readFileSync(`/proc/${name}/cmdline`, "latin1").replaceAll("\0", " ");
      return state === "Z" ? [] : [{ pid: Number(name), parent: Number(parent), args }];
    } catch {
      return []; // it has ended
    }
  });
}

const WORKER = join(main, "..", "..", "lab", "worker.js");

/** Process ids of the workers that were started by these runners and are still there. */
export function workersOf(runners: ReadonlySet<number>): number[] {
  return processes()
    .filter(({ args }) => {
      const [, after] = args.split(`${WORKER} `);
      return after !== undefined && runners.has(Number(after.split(" ")[0]));
    })
    .map(({ pid }) => pid);
}

/** Everything that must hold of a study that has ended, whatever was done to its processes. */
export function checkLab(
  folder: string,
  study: StudyName,
  what: string,
): { runs: number; attempts: number; resumed: number } {
  const ledger = Ledger.open(join(folder, "lab.sqlite"));
  try {
    expect(ledger.check(), what).toEqual([]);
    expect(ledger.replayed(), what).toEqual([]);
    const runs = ledger.runs(study);
    for (const run of runs) expect(["done", "waiting"], `${what}: ${JSON.stringify(run)}`).toContain(run.state);
    const done = runs.filter(({ state }) => state === "done");
    const told = new Map<string, number>();
    for (const event of ledger.events()) {
      if (event.kind !== "run.told" || event.study !== study || !event.body.outcome.ok) continue;
      const id = `${event.arm} ${event.seed}`;
      told.set(id, (told.get(id) ?? 0) + 1);
    }
    expect(
      [...told.values()].every((count) => count === 1),
      what,
    ).toBe(true);
    expect(told.size, what).toBe(done.length);
    let resumed = 0;
    for (const { key, claims } of done) {
      // Of the attempt that counts, every report is there, once.
      const indices = ledger.reports(key, claims).map(({ index }) => index);
      expect(indices.at(-1), `${what}, ${JSON.stringify(key)}`).toBe(STEPS[study]);
      expect(indices, `${what}, ${JSON.stringify(key)}`).toEqual(indices.map((_, i) => indices[0]! + i));
      if (indices[0]! > 1) ++resumed;
    }
    const attempts = runs.reduce((sum, { claims }) => sum + claims, 0);
    return { runs: done.length, attempts, resumed };
  } finally {
    ledger.close();
  }
}

export interface Tally {
  kills: number;
  readonly of: Record<string, number>;
  rounds: number;
  runs: number;
  attempts: number;
  resumed: number;
}

/**
 * Runs studies from their beginning to their end, one after another, and kills their processes until there were that
 * many kills: a runner, a worker, or both, of one runner or of two at a time. Interrupts (SIGINT) come in between, so
 * that there are checkpoints; they are not counted.
 */
export async function crash(
  folder: string,
  studies: readonly { name: StudyName; whole: Whole }[],
  kills: number,
  seed: number,
): Promise<Tally> {
  const draw = random(seed);
  const tally: Tally = { kills: 0, of: {}, rounds: 0, runs: 0, attempts: 0, resumed: 0 };
  while (tally.kills < kills) {
    const { name, whole } = studies[tally.rounds % studies.length]!;
    const here = studiesIn(join(folder, `round-${tally.rounds}`));
    const what = `seed ${seed}, round ${tally.rounds} (${name})`;
    const everyone = new Set<number>();
    const runners: Running[] = [];
    const launch = () => {
      const runner = start(command(here, name, 1 + Math.floor(2 * draw())));
      everyone.add(runner.child.pid!);
      runners.push(runner);
      return runner;
    };
    let end: Line | null = null;
    let failed: unknown = null;
    const watch = (runner: Running) =>
      runner.finished.then((finished) => {
        runners.splice(runners.indexOf(runner), 1);
        if (finished.code === 0) end = finished.last;
        else if (finished.signal === null && finished.code !== 130) {
          failed ??= new Error(`${what}: a runner ended with ${finished.code ?? finished.signal}: ${finished.stderr}`);
        }
      });
    const watching: Promise<void>[] = [];
    while (end === null && failed === null) {
      const wanted = tally.kills >= kills ? 1 : 1 + Number(draw() < 0.4);
      while (runners.length < wanted) watching.push(watch(launch()));
      if (tally.kills >= kills) {
        await Promise.race(runners.map(({ finished }) => finished));
        continue;
      }
      const victim = runners[Math.floor(draw() * runners.length)]!;
      // From the start of the process on, or from its first run on.
      const [early, share, kind] = [draw() < 0.25, draw(), draw()];
      if (!early) await Promise.race([victim.line("started").catch(() => {}), victim.finished]);
      await sleep(early ? share * whole.toFirst : 4 * share * whole.perRun);
      if (victim.child.exitCode !== null || victim.child.signalCode !== null) continue;
      const pid = victim.child.pid!;
      const workers = workersOf(new Set([pid]));
      const worker = workers[Math.floor(draw() * workers.length)];
      const interrupts = name === "self-play" ? 0.3 : 0.1;
      const chosen = kind < interrupts ? "interrupt" : kind < 0.5 ? "runner" : kind < 0.75 ? "worker" : "both";
      if (worker === undefined && chosen === "worker") continue;
      if (worker !== undefined && (chosen === "worker" || chosen === "both")) kill(worker);
      if (chosen === "runner" || chosen === "both") victim.child.kill("SIGKILL");
      if (chosen === "interrupt") victim.child.kill("SIGINT");
      else ++tally.kills;
      tally.of[chosen] = (tally.of[chosen] ?? 0) + 1;
      if (chosen !== "worker") await victim.finished;
    }
    await Promise.all(watching); // the other runner ends by itself
    if (failed !== null) throw failed;
    // Whom nobody waits for any more has a moment to go: a watchdog looks four times a second.
    for (let tries = 0; tries < 100 && workersOf(everyone).length > 0; ++tries) await sleep(100);
    expect(workersOf(everyone), `${what}: processes that are left`).toEqual([]);
    expect(figures(end!), what).toEqual(whole.figures);
    const { runs, attempts, resumed } = checkLab(here, name, what);
    tally.runs += runs;
    tally.attempts += attempts;
    tally.resumed += resumed;
    ++tally.rounds;
  }
  return tally;
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

export function shown({ kills, of, rounds, runs, attempts, resumed }: Tally): string {
  const each = Object.entries(of).map(([name, count]) => `${name} ${count}`);
  return `${kills} kills (${each.join(", ")}) in ${rounds} studies; ${runs} runs in ${attempts} attempts, ${resumed} from a checkpoint`;
}
