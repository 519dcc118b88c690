// Recordings of what each thread did when, and the rules of the trace event format that their files keep.

import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { ClosedError, OptionError, SelfPlay, type SelfPlayOptions, type TraceEvent } from "../../lib/index.js";
import { bellows, scratch, start } from "./cli.js";

const folder = scratch();

/** On two threads, with rows enough that both get work. */
const small = {
  game: { name: "tictactoe" },
  net: { width: 64, depth: 2 },
  rollout: { games: 512 },
  run: { seed: 3, threads: 2 },
} satisfies SelfPlayOptions;
const flags = ["--set", "net.width=64", "--set", "net.depth=2", "--set", "rollout.games=512", "--threads", "2"];

/** Times are whole nanoseconds, given in microseconds. */
const NANOSECOND = 1e-3;

/** What breaks the rules of the trace event format, or of what is promised beyond it. */
function violations(events: readonly TraceEvent[]): string[] {
  const found: string[] = [];
  const named = new Set(
    events.filter(({ name, ph }) => ph === "M" && name === "thread_name").map(({ pid, tid }) => `${pid}/${tid}`),
  );
  const rows = new Map<string, TraceEvent[]>();
  for (const [index, event] of events.entries()) {
    const complain = (what: string) => found.push(`event ${index} (${JSON.stringify(event)}): ${what}`);
    const { name, ph, pid, tid, ts, dur, args } = event;
    if (typeof name !== "string" || name === "") complain("no name");
    if (!["X", "C", "M"].includes(ph)) complain("another phase");
    if (!Number.isInteger(pid) || !Number.isInteger(tid)) complain("no pid or tid");
    if (!Number.isFinite(ts) || ts < 0) complain("no time");
    if (ph === "M" && !["process_name", "thread_name", "thread_sort_index"].includes(name)) complain("another name");
    if (ph === "M" && args?.[name === "thread_sort_index" ? "sort_index" : "name"] === undefined) complain("no args");
    if (ph === "C" && !Object.values(args ?? {}).every((value) => typeof value === "number")) complain("no numbers");
    if (ph === "C" && Object.keys(args ?? {}).length === 0) complain("no series");
    if (ph === "X" && !(Number.isFinite(dur) && dur! >= 0)) complain("no duration");
    if (ph === "X" && typeof event.cat !== "string") complain("no category");
    if (!named.has(`${pid}/${tid}`)) complain("a row without a name");
    const row = rows.get(`${pid}/${tid}`) ?? [];
    if (ph !== "M") rows.set(`${pid}/${tid}`, [...row, event]);
  }
  for (const [row, list] of rows) {
    const open: TraceEvent[] = [];
    for (const [i, event] of list.entries()) {
      if (i > 0 && event.ts < list[i - 1]!.ts) found.push(`${row}: ${event.name} at ${event.ts} goes back in time`);
      if (event.ph !== "X") continue;
      while (open.length > 0 && event.ts >= open.at(-1)!.ts + open.at(-1)!.dur! - NANOSECOND / 2) open.pop();
      const around = open.at(-1);
      if (around && event.ts + event.dur! > around.ts + around.dur! + NANOSECOND / 2) {
        found.push(`${row}: ${event.name} at ${event.ts} overlaps ${around.name} at ${around.ts}`);
      }
      open.push(event);
    }
  }
  return found;
}

const intervals = (events: readonly TraceEvent[], name: string, cat?: string) =>
  events.filter((event) => event.ph === "X" && event.name === name && (cat === undefined || event.cat === cat));

const within = (inner: TraceEvent, outer: TraceEvent) =>
  inner.ts >= outer.ts && inner.ts + inner.dur! <= outer.ts + outer.dur! + NANOSECOND / 2;

describe("a trace file", () => {
  test("keeps the rules, and has phases over ops, rows of threads, counters", async () => {
    const path = join(folder, "trace.json");
    const end = await bellows([
      ...["train", "tictactoe", ...flags, "--iterations", "4", "--out", join(folder, "run")],
      ...["--set", "run.checkpointEvery=2", "--set", "run.evaluateEvery=2"],
      ...["--profile", path, "--profile-iterations", "3", "--json"],
    ]);
    expect(end.code, end.stderr).toBe(0);
    const { traceEvents: events, otherData } = JSON.parse(readFileSync(path, "utf8")) as {
      traceEvents: TraceEvent[];
      otherData: Record<string, unknown>;
    };
    expect(violations(events)).toEqual([]);
    expect(otherData).toMatchObject({ game: "tictactoe", iterations: 3, dropped: 0 });
    const line = end.lines.find(({ type }) => type === "profile");
    const complete = events.filter(({ ph }) => ph === "X");
    expect(line).toMatchObject({ path, iterations: 3, events: complete.length, dropped: 0 });
    expect(end.last.type).toBe("result");

    const name = (row: string) => events.find(({ ph, args }) => ph === "M" && args?.name === row)?.tid;
    const engine = name("worker 0 (engine)");
    const javascript = name("JavaScript");
    expect(name("worker 1")).toBeDefined();
    expect(name("bellows tictactoe")).toBeDefined();

    // Three iterations, what follows the third included: the checkpoint and the evaluation are the second one's.
    for (const phase of ["collect", "update"]) {
      const found = intervals(events, phase, "phase");
      expect(found).toHaveLength(3);
      for (const op of complete.filter(({ cat, tid }) => cat === phase && tid === engine)) {
        expect(found.filter((around) => within(op, around))).toHaveLength(1);
      }
    }
    expect(intervals(events, "evaluate", "phase")).toHaveLength(1);
    expect(intervals(events, "checkpoint", "phase")).toHaveLength(1);
    for (const index of [1, 2, 3]) {
      const [iteration] = intervals(events, `iteration ${index}`);
      expect(iteration?.tid).toBe(javascript);
      // Two clocks would not agree to this.
      expect(within(intervals(events, "update", "phase")[index - 1]!, iteration!)).toBe(true);
    }
    expect(intervals(events, "iteration 4")).toEqual([]);
    for (const [phase, row] of [
      ["checkpoint", "checkpoint"],
      ["evaluate", "evaluate"],
    ] as const) {
      const around = intervals(events, row).find(({ tid }) => tid === javascript);
      expect(within(intervals(events, phase, "phase")[0]!, around!)).toBe(true);
    }

    const lines = end.lines.filter(({ type }) => type === "iteration");
    const counters = (counter: string) => events.filter((event) => event.ph === "C" && event.name === counter);
    expect(counters("games/s").map(({ args }) => args!["games/s"])).toEqual(
      lines.slice(0, 3).map(({ speed }) => speed.gamesPerSecond),
    );
    expect(counters("loss").map(({ args }) => args)).toEqual(lines.slice(0, 3).map(({ loss }) => loss));

    // Both workers have their share of the update.
    const worker = name("worker 1");
    expect(intervals(events, "linear_gradient", "update").some(({ tid }) => tid === worker)).toBe(true);
    for (const op of complete.filter(({ tid }) => tid === worker)) {
      expect(["collect", "update", "evaluate"]).toContain(op.cat);
    }

    const forward = intervals(events, "linear_forward", "update");
    expect(forward.length).toBeGreaterThan(0);
    for (const { args } of forward) {
      expect(args).toMatchObject({ "GFLOP/s": expect.any(Number), "GB/s": expect.any(Number) });
      expect(args!["% of roof"]).toBeGreaterThan(0);
    }
    expect(readdirSync(folder).filter((file) => file.endsWith("tmp"))).toEqual([]);
  });

  test("is compressed where its name says so; a shorter run is recorded to its end", async () => {
    const path = join(folder, "trace.json.gz");
    const out = join(folder, "short");
    const end = await bellows(["train", "tictactoe", ...flags, "--iterations", "1", "--out", out, "--profile", path]);
    expect(end.code, end.stderr).toBe(0);
    expect(end.stderr).toMatch(/Wrote .*trace\.json\.gz: 1 iterations, [\d,]+ events/);
    const { traceEvents } = JSON.parse(gunzipSync(readFileSync(path)).toString()) as { traceEvents: TraceEvent[] };
    expect(violations(traceEvents)).toEqual([]);
    expect(intervals(traceEvents, "evaluate", "phase")).toHaveLength(1);
    expect(intervals(traceEvents, "checkpoint", "phase")).toHaveLength(1);
  });

  test.each([
    [["--profile", join(folder, "nowhere", "trace.json")], "IO", /nowhere/],
    [["--profile", folder], "IO", /./],
    [["--profile", ""], "USAGE", /--profile/],
    [["--profile-iterations", "3"], "USAGE", /--profile/],
    [["--profile", join(folder, "t.json"), "--profile-iterations", "0"], "USAGE", /--profile-iterations/],
    [["--profile", join(folder, "t.json"), "--profile-iterations", "2.5"], "USAGE", /--profile-iterations/],
    [["--profile", join(folder, "t.json"), "--profile-iterations", ""], "USAGE", /--profile-iterations/],
  ])("%j is refused before anything is done", async (wrong, code, path) => {
    const out = join(folder, "never");
    const end = await bellows(["train", "tictactoe", ...flags, "--iterations", "1", "--out", out, ...wrong, "--json"]);
    expect({ code: end.code, last: end.last }).toMatchObject({ code: 2, last: { type: "error", code } });
    expect(end.last.path).toMatch(path);
    expect(end.lines).toHaveLength(1);
    expect(existsSync(out)).toBe(false);
    expect(existsSync(join(folder, "t.json"))).toBe(false);
  });

  test("that cannot be written in the end leaves the training whole, and is an error", async () => {
    const path = join(folder, "gone.json");
    const out = join(folder, "whole");
    const args = ["train", "tictactoe", ...flags, "--iterations", "40", "--out", out, "--profile", path, "--json"];
    const training = start(args);
    await training.line("start");
    mkdirSync(path);
    const end = await training.finished;
    expect({ code: end.code, last: end.last }).toMatchObject({ code: 2, last: { type: "error", code: "IO", path } });
    expect(end.lines.at(-2)?.type).toBe("result");
    expect(existsSync(join(out, "result.json"))).toBe(true);
  });
});

describe("the rules", () => {
  const row: TraceEvent = { name: "thread_name", ph: "M", pid: 1, tid: 2, ts: 0, args: { name: "row" } };
  const event = (ts: number, dur: number): TraceEvent => {
    return { name: "op", ph: "X", cat: "c", pid: 1, tid: 2, ts, dur };
  };

  test("are kept by events that follow or enclose each other", () => {
    expect(violations([row, event(0, 10), event(0, 4), event(4, 6), event(10, 1)])).toEqual([]);
  });

  test.each<[string, TraceEvent[]]>([
    ["goes back in time", [row, event(5, 1), event(4, 1)]],
    ["overlaps", [row, event(0, 5), event(4, 2)]],
    ["a row without a name", [event(0, 1)]],
    ["no duration", [row, event(0, Number.NaN)]],
    ["no time", [row, event(Number.NaN, 1)]],
    ["no numbers", [row, { name: "x", ph: "C", pid: 1, tid: 2, ts: 0, args: { x: "1" } }]],
  ])("find what %s", (complaint, events) => {
    expect(violations(events).join()).toContain(complaint);
  });
});

describe("SelfPlay.trace", () => {
  const train = async (run: SelfPlay, iterations: number) => {
    for await (const _ of run.train({ iterations, roofline: false }));
  };

  test("changes no results", async () => {
    const hashes: string[] = [];
    for (const traced of [false, true]) {
      const run = await SelfPlay.create(small);
      if (traced) await run.trace({ iterations: 2 });
      await train(run, 3);
      hashes.push(await run.weightsHash());
      await run.close();
    }
    expect(hashes[1]).toBe(hashes[0]);
  });

  test("ends by itself, or when asked, or when another one begins", async () => {
    const run = await SelfPlay.create(small);
    const first = await run.trace({ iterations: 2 });
    expect([first.recording, first.iterations, first.limit]).toEqual([true, 0, 2]);
    await train(run, 2);
    expect([first.recording, first.iterations]).toEqual([true, 2]);
    await train(run, 1);
    expect([first.recording, first.iterations]).toEqual([false, 2]);
    const { events } = first;
    expect(first.toJSON().traceEvents.filter(({ ph }) => ph === "X")).toHaveLength(events);

    const second = await run.trace();
    const third = await run.trace();
    expect([second.recording, third.recording]).toEqual([false, true]);
    await train(run, 1);
    expect([second.iterations, third.iterations]).toEqual([0, 1]);
    await third.stop();
    await third.stop();
    await train(run, 1);
    expect(third.iterations).toBe(1);
    expect(first.events).toBe(events);
    expect(violations(third.toJSON().traceEvents)).toEqual([]);
    await run.close();
    const path = join(folder, "closed.json");
    await first.save(path);
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(JSON.parse(JSON.stringify(first.toJSON())));
  });

  test("counts what found no room, and keeps the rest", async () => {
    const run = await SelfPlay.create(small);
    const whole = await run.trace({ iterations: 1 });
    await train(run, 1);
    await whole.stop();
    expect(whole.dropped).toBe(0);
    const cut = await run.trace({ iterations: 1, capacity: 10 });
    await train(run, 1);
    await cut.stop();
    expect(cut.dropped).toBeGreaterThan(0);
    expect(cut.toJSON().otherData.dropped).toBe(cut.dropped);
    const kept = cut.toJSON().traceEvents.filter(({ ph, tid }) => ph === "X" && tid === 2);
    expect(kept).toHaveLength(10);
    expect(violations(cut.toJSON().traceEvents)).toEqual([]);
    // The room is each iteration's.
    await (await run.trace({ iterations: 2, capacity: 10 })).stop();
    const two = await run.trace({ iterations: 2, capacity: 10 });
    await train(run, 2);
    await two.stop();
    expect(two.toJSON().traceEvents.filter(({ ph, tid }) => ph === "X" && tid === 2)).toHaveLength(20);
    await run.close();
  });

  test("records work of the caller's thread, nested, also when it fails", async () => {
    const run = await SelfPlay.create(small);
    const trace = await run.trace();
    const failed = trace.during("outer", async () => {
      await trace.during("inner", async () => run.evaluate());
      throw new Error("of the work");
    });
    await expect(failed).rejects.toThrow("of the work");
    await trace.stop();
    expect(await trace.during("later", async () => 7)).toBe(7);
    const events = trace.toJSON().traceEvents;
    expect(violations(events)).toEqual([]);
    expect(events.filter(({ cat }) => cat === "javascript").map(({ name }) => name)).toEqual([
      "outer",
      "inner",
      "evaluate",
    ]);
    await run.close();
  });

  test.each([
    [{ iterations: 0 }, "trace.iterations"],
    [{ iterations: 1.5 }, "trace.iterations"],
    [{ capacity: 0 }, "trace.capacity"],
    [{ capacity: "many" }, "trace.capacity"],
    [{ events: 3 }, "trace.events"],
  ])("refuses %j", async (args, path) => {
    const run = await SelfPlay.create(small);
    const error: unknown = await run.trace(args as object).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(OptionError);
    expect(error).toMatchObject({ path });
    await run.close();
    await expect(run.trace()).rejects.toBeInstanceOf(ClosedError);
  });
});
