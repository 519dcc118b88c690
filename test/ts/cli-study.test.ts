// `bellows study` as its users see it: what it writes, what it refuses, how it stops and goes on.

import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { bellows, type Finished, type Line, scratch, start } from "./cli.js";

const folder = scratch();
let folders = 0;

/** Takes `config.ms`; appends a line to `runs.txt` beside it, so that a test sees what was run; noise from the seed. */
const OBJECTIVE = `
import { appendFileSync } from "node:fs";
export default async function objective(config, { seed, report, signal }) {
  appendFileSync(new URL("runs.txt", import.meta.url), config.gain + " " + seed + "\\n");
  await new Promise((resolve, reject) => {
    setTimeout(resolve, config.ms);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
  const noise = Math.sin((seed + 31 * config.gain) * 12.9898) * 43758.5453;
  const score = config.gain + noise - Math.floor(noise);
  report({ score });
  return { score };
}
export const other = async () => ({ score: 1 });
export const number = 3;
`;

const STUDY = {
  name: "tiny",
  objective: { module: "./objective.mjs" },
  metric: { name: "score", goal: "maximize" },
  budget: { iterations: 1 },
  baseline: { config: { gain: 0, ms: 1 } },
  proposals: { more: { change: { gain: 2 }, hypothesis: "Two is more than the noise." } },
  seeds: { max: 8 },
  noise: { runs: 2 },
};

interface Place {
  readonly at: string;
  readonly file: string;
  readonly lab: string;
  /** Lines of `runs.txt`. */
  ran(): string[];
}

/** A folder with a study, its objective, and no lab yet. */
function place(more: object = {}): Place {
  const at = join(folder, String(++folders));
  mkdirSync(at);
  writeFileSync(join(at, "objective.mjs"), OBJECTIVE);
  writeFileSync(join(at, "study.json"), JSON.stringify({ ...STUDY, ...more }));
  const log = join(at, "runs.txt");
  return {
    at,
    file: join(at, "study.json"),
    lab: join(at, "lab.sqlite"),
    ran: () => (existsSync(log) ? readFileSync(log, "utf8").trimEnd().split("\n") : []),
  };
}

function study(command: string, { lab }: Place, ...args: string[]): Promise<Finished> {
  return bellows(["study", command, ...args, "--lab", lab]);
}

/** Runs to the end; every line of stdout was JSON, and the last one is the result. */
async function whole(at: Place, ...args: string[]): Promise<Line> {
  const end = await study("run", at, at.file, "--workers", "2", "--json", ...args);
  expect(end.code, end.stderr).toBe(0);
  expect(end.last.type).toBe("result");
  return end.last;
}

function figures(verdicts: readonly Line[]): object[] {
  return verdicts.map(({ verdict, gain, interval, p, pairs }) => ({ verdict, gain, interval, p, pairs }));
}

describe("study new", () => {
  test("writes a study that runs as it is, and never over another file", async () => {
    const file = join(folder, "first study.json");
    const end = await bellows(["study", "new", file, "--name", "first", "--json"]);
    expect(end.code, end.stderr).toBe(0);
    expect(end.lines).toEqual([{ type: "result", file, name: "first" }]);
    expect(end.stderr).toMatch(/study run '.*first study\.json'/);
    const written = readFileSync(file, "utf8");
    const again = await bellows(["study", "new", file, "--name", "second", "--json"]);
    expect(again).toMatchObject({ code: 2, last: { type: "error", code: "USAGE", received: file } });
    expect(readFileSync(file, "utf8")).toBe(written);
  });

  test("refuses a name that no study may have, and writes nothing", async () => {
    const file = join(folder, "never.json");
    const end = await bellows(["study", "new", file, "--name", "a b", "--json"]);
    expect(end).toMatchObject({ code: 2, last: { code: "OPTION", path: "study.name" } });
    expect(existsSync(file)).toBe(false);
  });
});

describe("study run", () => {
  test("as JSON: what is run, how it ends, and last the result", async () => {
    const here = place();
    const end = await study("run", here, here.file, "--workers", "2", "--json");
    expect(end.code, end.stderr).toBe(0);
    expect(end.lines[0]).toMatchObject({ type: "study", name: "tiny", lab: here.lab, runs: 0 });
    const { last } = end;
    expect(last).toMatchObject({ type: "result", study: "tiny", finished: true, noise: { runs: 2 } });
    expect(last.verdicts).toMatchObject([{ name: "more", verdict: "better", final: true }]);
    expect(last.verdicts[0].gain).toBeGreaterThan(1);
    const ended = end.lines.filter(({ type }) => type === "ended");
    expect(ended.length).toBe(end.lines.filter(({ type }) => type === "started").length);
    for (const { outcome } of ended) expect(outcome).toMatchObject({ ok: true, values: { score: outcome.value } });
    expect(new Set(here.ran()).size).toBe(ended.length);
    expect(here.ran().length).toBe(ended.length);

    // Again: nothing is left to run.
    const again = await whole(here);
    expect(here.ran().length).toBe(ended.length);
    expect(again.verdicts).toEqual(last.verdicts);
  });

  test("as text: verdicts on stdout, progress on stderr", async () => {
    const here = place();
    const end = await study("run", here, here.file, "--workers", "2");
    expect(end.code, end.stderr).toBe(0);
    expect(end.stdout).toMatch(/^ *proposal +verdict +gain/);
    expect(end.stdout).toContain("more is better than baseline by");
    expect(end.stdout).toMatch(/\d+ runs, 0 failed/);
    expect(end.stderr).toContain("study tiny in");
    expect(end.stderr).toMatch(/baseline, seed \d+: [\d.]+ in /);
    expect(end.stderr).toMatch(
      /noise: standard deviation [\d.]+ of \d+ runs; 8 pairs can show a gain of [\d.]+ four times/,
    );
    expect(end.stderr).not.toContain("warning");
    expect(end.stdout).not.toContain("seed 1:");
  });

  test("warns before the first run where the pairs can decide nothing", async () => {
    const here = place({ seeds: { max: 3 } });
    const end = await study("run", here, here.file);
    expect(end.code, end.stderr).toBe(0);
    const warning = "bellows: warning: seeds.max: 3 pairs can decide nothing at alpha 0.05; it takes 6 to 1000";
    expect(end.stderr.indexOf(warning), end.stderr).toBeGreaterThan(-1);
    expect(end.stderr.indexOf(warning)).toBeLessThan(end.stderr.indexOf("baseline, seed"));
    expect(end.stderr).toMatch(/of \d+ runs; 3 pairs can show no gain/);
  });

  test("finds the objective from the study's file, and goes on where all of it was moved to", async () => {
    const here = place();
    const { verdicts } = await whole(here);
    const there = { ...place(), at: `${here.at}-moved` };
    cpSync(here.at, there.at, { recursive: true });
    const moved = { ...there, file: join(there.at, "study.json"), lab: join(there.at, "lab.sqlite") };
    const end = await whole(moved);
    expect(end.verdicts).toEqual(verdicts);
    expect(readFileSync(join(there.at, "runs.txt"), "utf8")).toBe(readFileSync(join(here.at, "runs.txt"), "utf8"));
  });

  test("a failed run is tried again, counted, and told with the end of its log", async () => {
    const here = place({ attempts: 2, seeds: { min: 2, max: 2 }, noise: { runs: 0 } });
    writeFileSync(
      join(here.at, "objective.mjs"),
      'export default async ({ gain }) => { if (gain === 2) { console.log("so long"); process.kill(process.pid, "SIGKILL"); await new Promise(() => {}); } return 1; };',
    );
    const end = await study("run", here, here.file, "--workers", "1", "--json");
    expect(end.code, end.stderr).toBe(0);
    const failed = end.lines.filter(({ type, outcome }) => type === "ended" && !outcome.ok);
    expect(failed.map(({ seed, attempt, again }) => [seed, attempt, again])).toEqual([
      [1, 1, true],
      [1, 2, false],
      [2, 1, true],
      [2, 2, false],
    ]);
    expect(failed[0]!.outcome).toMatchObject({ kind: "killed", code: "SIGKILL" });
    expect(end.last.verdicts[0]).toMatchObject({ verdict: "undecided", failures: { baseline: 0, proposal: 2 } });
    const shown = await study("show", here, "tiny", "--runs");
    expect(shown.stdout).toContain("failed (killed)");
  });

  test("a real study of tic-tac-toe, by self-play", async () => {
    const here = place({
      objective: "selfplay",
      metric: { name: "evaluation.certificate.sampled.exploitability", goal: "minimize" },
      budget: { iterations: 3 },
      baseline: {
        config: {
          game: { name: "tictactoe" },
          rollout: { games: 64 },
          net: { width: 16, depth: 1 },
          run: { threads: 1 },
        },
      },
      proposals: { still: { change: { ppo: { lr: 1e-7 } }, hypothesis: "It hardly moves." } },
      seeds: { min: 2, max: 3 },
      noise: { runs: 2 },
    });
    const end = await whole(here);
    expect(end).toMatchObject({ finished: true, verdicts: [{ name: "still", final: true, ran: 3 }] });
    const rows = await study("query", here, "select distinct iterations from results", "--json");
    expect(rows.lines).toEqual([
      { type: "row", row: { iterations: 3 } },
      { type: "result", rows: 1 },
    ]);
  });
});

describe("an interrupt", () => {
  test.each(["SIGINT", "SIGTERM"] as const)("%s: exit 130, and the same command goes on", async (signal) => {
    const here = place({ baseline: { config: { gain: 0, ms: 150 } } });
    const running = start(["study", "run", here.file, "--lab", here.lab, "--workers", "2", "--json"]);
    const interrupted: string[] = [];
    await running.line("ended");
    running.child.kill(signal);
    const end = await running.finished;
    expect(end).toMatchObject({ code: 130, last: { type: "error", code: "INTERRUPTED", received: signal } });
    expect(end.stderr).toContain(`study run ${here.file} --lab ${here.lab}`);
    const done = new Set(
      end.lines.filter(({ type }) => type === "ended").map(({ arm, seed }) => `${arm === "more" ? 2 : 0} ${seed}`),
    );
    interrupted.push(...here.ran().filter((run) => !done.has(run)));
    // Nobody is left at work: what was interrupted waits, with attempts that do not count.
    const states = await study("query", here, "select state, count(*) as n from runs group by state", "--json");
    const rows = states.lines.filter(({ type }) => type === "row").map(({ row }) => row.state);
    expect(rows).not.toContain("running");

    const { verdicts } = await whole(here);
    const twice = here.ran().filter((run, i, all) => all.indexOf(run) !== i);
    expect(twice.filter((run) => !interrupted.includes(run))).toEqual([]);
    const calm = place({ baseline: { config: { gain: 0, ms: 1 } } });
    expect(figures(verdicts)).toEqual(figures((await whole(calm)).verdicts));
  });
});

describe("study resume", () => {
  test("needs the name only", async () => {
    const here = place({ baseline: { config: { gain: 0, ms: 60 } } });
    const running = start(["study", "run", here.file, "--lab", here.lab, "--workers", "1", "--json"]);
    await running.line("ended");
    running.child.kill("SIGINT");
    expect((await running.finished).code).toBe(130);
    const end = await study("resume", here, "tiny", "--json");
    expect(end.code, end.stderr).toBe(0);
    expect(end.last).toMatchObject({ type: "result", finished: true, verdicts: [{ verdict: "better" }] });
  });
});

describe("study show", () => {
  test("lists studies, and shows one with all that is known of it", async () => {
    const here = place();
    const { verdicts } = await whole(here);
    const list = await study("show", here, "--json");
    expect(list.code, list.stderr).toBe(0);
    expect(list.lines).toMatchObject([
      { type: "study", name: "tiny", proposals: 1, failed: 0 },
      { type: "result", studies: 1 },
    ]);
    expect((await study("show", here)).stdout).toMatch(/^ *study +proposals +runs/);

    const one = await study("show", here, "tiny", "--runs", "--json");
    const types = one.lines.map(({ type }) => type);
    expect([...new Set(types)]).toEqual(["study", "arm", "noise", "verdict", "run", "result"]);
    expect(one.lines.find(({ type }) => type === "verdict")?.verdict).toEqual(verdicts[0]);
    expect(types.filter((type) => type === "run").length).toBe(here.ran().length);

    const text = await study("show", here, "tiny", "--runs");
    expect(text.stdout).toContain("Two is more than the noise.");
    expect(text.stdout).toContain("more is better than baseline by");
    expect(text.stdout).toMatch(/baseline +\d+ +done/);
    expect(text.stdout).not.toContain("Not finished");
  });

  test("says how to go on with a study that has not ended", async () => {
    const here = place({ baseline: { config: { gain: 0, ms: 60 } } });
    const running = start(["study", "run", here.file, "--lab", here.lab, "--workers", "1", "--json"]);
    await running.line("ended");
    running.child.kill("SIGINT");
    await running.finished;
    const { stdout } = await study("show", here, "tiny");
    expect(stdout).toContain(`study resume tiny --lab ${here.lab}`);
    expect(stdout).toMatch(/more +open/);
  });
});

describe("study query", () => {
  test("gives rows, and only reads", async () => {
    const here = place();
    await whole(here);
    const end = await study("query", here, "select arm, count(*) as n, avg(value) as mean from results group by arm");
    expect(end.code, end.stderr).toBe(0);
    expect(end.stdout).toMatch(/^arm +n +mean\nbaseline +\d+ +0\.\d+/);
    for (const sql of ["delete from results", "drop table events", "select", "select * from nothing", ""]) {
      const refused = await study("query", here, sql, "--json");
      expect(refused, sql).toMatchObject({ code: 2, last: { type: "error", code: "OPTION", path: "sql" } });
    }
    expect((await whole(here)).finished).toBe(true);
  });
});

describe("study check", () => {
  test("finds damage, which the next start names and mends", async () => {
    const here = place();
    const { verdicts } = await whole(here);
    expect(await study("check", here)).toMatchObject({ code: 0, stdout: "no damage\n" });
    const { default: Database } = await import("libsql");
    const db = new Database(here.lab);
    db.exec("update attempts set outcome = 'x' where arm = 'more' and seed = 2");
    db.exec("update runs set state = 'waiting' where arm = 'more' and seed = 3");
    db.close();
    const check = await study("check", here, "--json");
    expect(check).toMatchObject({ code: 1, last: { type: "result", problems: 2 } });
    expect(check.lines.map(({ table }) => table).sort()).toEqual(["attempts", "runs", undefined]);

    const runs = here.ran();
    const end = await study("run", here, here.file, "--json");
    expect(end.code, end.stderr).toBe(0);
    expect(end.lines.filter(({ type }) => type === "damage").map(({ table }) => table)).toEqual(["runs", "attempts"]);
    expect(end.stderr).toContain("damaged");
    expect(end.last.verdicts).toEqual(verdicts);
    expect(here.ran()).toEqual(runs);
    expect((await study("check", here)).code).toBe(0);
  });
});

describe("bad input", () => {
  const refusals: readonly [what: string, args: (here: Place) => string[], error: object, text?: RegExp][] = [
    [
      "a study that is not there",
      ({ at }) => ["run", join(at, "no.json")],
      { code: "IO", received: "ENOENT" },
      /no\.json/,
    ],
    ["a study that is not JSON", ({ at }) => ["run", join(at, "objective.mjs")], { code: "OPTION" }, /is not JSON/],
    ["--workers 0", ({ file }) => ["run", file, "--workers", "0"], { code: "USAGE", path: "--workers", received: "0" }],
    ["--workers many", ({ file }) => ["run", file, "--workers", "many"], { code: "USAGE", received: "many" }],
    ["an empty --lab", ({ file }) => ["run", file, "--lab", ""], { code: "USAGE", path: "--lab" }],
    ["no study", () => ["run"], { code: "USAGE" }],
    ["no command", () => [], { code: "USAGE" }],
    ["an unknown command", () => ["runn"], { code: "USAGE" }],
    ["an unknown option", ({ file }) => ["run", file, "--worker", "2"], { code: "USAGE" }, /--workers/],
    ["no lab to resume from", () => ["resume", "tiny"], { code: "IO", received: "ENOENT" }, /lab\.sqlite/],
    ["no lab to show", () => ["show"], { code: "IO", received: "ENOENT" }],
    ["no lab to ask", () => ["query", "select 1"], { code: "IO", received: "ENOENT" }],
    ["no lab to check", () => ["check"], { code: "IO", received: "ENOENT" }],
    [
      "a lab that is no database",
      ({ at, file }) => ["run", file, "--lab", join(at, "objective.mjs")],
      { code: "LEDGER" },
    ],
    ["the same to show", ({ at }) => ["show", "--lab", join(at, "objective.mjs")], { code: "LEDGER" }],
    ["a folder as lab", ({ at, file }) => ["run", file, "--lab", at], { code: "IO", received: "EISDIR" }],
    ["a lab in no folder", ({ at, file }) => ["run", file, "--lab", join(at, "no", "lab.sqlite")], { code: "IO" }],
  ];
  test.each(refusals)("%s", async (_what, args, error, text) => {
    const here = place();
    const given = args(here);
    const lab = given.includes("--lab") || given.length === 0 || given[0] === "runn" ? [] : ["--lab", here.lab];
    const end = await bellows(["study", ...given, ...lab, "--json"]);
    expect(end.lines.length, end.stdout).toBe(1);
    expect(end, end.stderr).toMatchObject({ code: 2, last: { type: "error", ...error } });
    if (text) expect(end.last.message).toMatch(text);
    expect(end.stderr).not.toMatch(/^ {4}at /m);
    expect(existsSync(here.lab)).toBe(false); // nothing was begun
    expect(here.ran()).toEqual([]);
  });

  const studies: readonly [what: string, more: object, error: object, text?: RegExp][] = [
    ["an unknown field", { proposal: {} }, { code: "OPTION", path: "study.proposal" }, /proposals/],
    [
      "an unknown setting",
      { objective: "selfplay", baseline: { config: { game: { name: "tictactoe" }, ppo: { lrr: 1 } } } },
      { code: "OPTION", path: "study.baseline.config.ppo.lrr" },
    ],
    ["no budget", { budget: {} }, { code: "OPTION", path: "study.budget" }],
    ["a function", { objective: "function" }, { code: "USAGE", path: "study.objective" }],
    [
      "an objective that is not there",
      { objective: { module: "./no.mjs" } },
      { code: "IO", received: "ENOENT" },
      /no\.mjs/,
    ],
    [
      "more pairs before the first look than in all",
      { seeds: { min: 9, max: 8 } },
      { code: "OPTION", path: "study.seeds.min" },
    ],
  ];
  test.each(studies)("in the study: %s", async (_what, more, error, text) => {
    const here = place(more);
    const end = await study("run", here, here.file, "--json");
    expect(end.lines.length).toBe(1);
    expect(end, end.stderr).toMatchObject({ code: 2, last: { type: "error", ...error } });
    if (text) expect(end.last.message).toMatch(text);
    expect(existsSync(here.lab)).toBe(false);
  });

  test("a study or a lab that has another one", async () => {
    const here = place();
    await whole(here);
    for (const command of ["resume", "show"]) {
      const end = await study(command, here, "tinny", "--json");
      expect(end).toMatchObject({ code: 2, last: { code: "OPTION", received: "tinny" } });
      expect(end.last.message).toContain("it has tiny");
    }
    writeFileSync(here.file, JSON.stringify({ ...STUDY, alpha: 0.1 }));
    const changed = await study("run", here, here.file, "--json");
    expect(changed).toMatchObject({
      code: 2,
      last: { type: "error", code: "OPTION", path: "study.alpha", received: "0.1", expected: "0.05" },
    });
  });

  test("an objective that changed after the study began", async () => {
    const here = place();
    await whole(here);
    writeFileSync(join(here.at, "objective.mjs"), `${OBJECTIVE}\n// another one`);
    for (const args of [
      ["run", here.file],
      ["resume", "tiny"],
    ]) {
      const end = await study(args[0]!, here, args[1]!, "--json");
      expect(end).toMatchObject({ code: 2, last: { type: "error", code: "OPTION" } });
      expect(end.last.message).toMatch(/objective/);
    }
  });

  test("an objective without the export, or that does not load: the study fails at once, not after all its runs", async () => {
    for (const [text, export_, why] of [
      [OBJECTIVE, "missing", /"missing"/],
      [OBJECTIVE, "number", /number/],
      ["import './nowhere.mjs';", undefined, /nowhere/],
      ["process.exit(0);", undefined, /ends the process/],
      ["const = 3;", undefined, /SyntaxError|Unexpected|Missing/],
    ] as const) {
      const here = place({ objective: { module: "./objective.mjs", ...(export_ && { export: export_ }) } });
      writeFileSync(join(here.at, "objective.mjs"), text);
      const end = await study("run", here, here.file, "--json");
      expect(end.lines.filter(({ type }) => type === "started")).toEqual([]);
      expect(end, end.stderr).toMatchObject({ code: 2, last: { type: "error", code: "OPTION" } });
      expect(end.last.message).toMatch(why);
      expect(existsSync(here.lab)).toBe(false);
    }
  });
});

test("help needs no manual", async () => {
  const top = await bellows(["study", "--help"]);
  expect(top.code).toBe(0);
  for (const command of ["new", "run", "resume", "show", "query", "check"]) {
    expect(top.stdout).toMatch(new RegExp(`^ {2}${command} `, "m"));
    const { code, stdout } = await bellows(["study", command, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toContain("--json");
    if (command !== "new") expect(stdout).toContain("--lab");
  }
});
