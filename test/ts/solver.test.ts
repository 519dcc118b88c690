// The perfect player of Connect Four, from TypeScript and from the command line. That its scores are right is tested in
// C against minimax (test/c/test_solver.c); here: what users see.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { ClosedError, Connect4Solver, OptionError, type Solution } from "../../lib/index.js";
import { bellows, scratch, start } from "./cli.js";

const solver = await Connect4Solver.create({ threads: 2, memory: 32 });
afterAll(() => solver.close());

/** Takes minutes of search, without the book. */
const hard = "";

// One game of best play on both sides: the first player wins with the last stone that he has.
const perfect = "44444432655225232233336666611111177777755";

describe("Connect4Solver", () => {
  test("knows wins, draws and losses", async () => {
    const win = await solver.solve("112233");
    expect(win).toEqual({
      moves: "112233",
      score: 18,
      value: "win",
      scores: null,
      over: false,
      nodes: win.nodes,
      ms: expect.any(Number),
    });
    expect(await solver.solve("44553")).toMatchObject({ score: -18, value: "loss", over: false });
    expect(await solver.solve("1122334")).toMatchObject({ score: -18, value: "loss", over: true, nodes: 0 });
    const full = "121212212121343434434343565656656565777777";
    expect(await solver.solve(full, { scores: true })).toMatchObject({
      score: 0,
      value: "draw",
      over: true,
      scores: Array(7).fill(null),
    });
    expect(await solver.scores(full.slice(0, -1))).toEqual([null, null, null, null, null, null, 0]);
  });

  test("scores the first moves, and says who wins", async () => {
    expect(await solver.scores("")).toEqual([-2, -1, 0, 1, 0, -1, -2]);
    expect(await solver.solve("")).toMatchObject({ score: 1, value: "win", nodes: 0 });
  });

  test("sees the first player win on the 41st ply from everywhere on a perfect game", async () => {
    const list = Array.from({ length: perfect.length - 12 }, (_, i) => perfect.slice(0, 12 + i));
    const solutions = await solver.solveMany(list);
    for (const { moves, score } of solutions) expect(score, moves).toBe(moves.length % 2 === 0 ? 1 : -1);
    expect(await solver.solve(perfect)).toMatchObject({ over: true, score: -1 });
  });

  test("solves lists in their order, whatever the threads and the memory", async () => {
    const list = Array.from({ length: 200 }, (_, i) => perfect.slice(0, 20 + ((i * 7) % 21)));
    const told: [Solution, number][] = [];
    const solutions = await solver.solveMany(list, {
      scores: true,
      onSolution: (solution, index) => told.push([solution, index]),
    });
    expect(solutions.map(({ moves }) => moves)).toEqual(list);
    expect(told).toEqual(solutions.map((solution, index) => [solution, index]));
    const other = await Connect4Solver.create({ threads: 1, memory: 1, book: false });
    const again = await other.solveMany([...list].reverse(), { scores: true });
    expect(other.threads).toBe(1);
    expect(other.bytes).toBeLessThan(solver.bytes);
    await other.close();
    const facts = ({ moves, score, scores, value, over }: Solution) => ({ moves, score, scores, value, over });
    expect(again.reverse().map(facts)).toEqual(solutions.map(facts));
    for (const { score, scores } of solutions) expect(Math.max(...scores!.map((each) => each ?? -99))).toBe(score);
    expect(await solver.solveMany([])).toEqual([]);
  });

  test.each([
    ["4444444", "'4'", /move 7/],
    ["48", "'8'", /one of 1 2 3 4 5 6 7/],
    ["11223344", "'4'", /after the end/],
    ["4\0", /./, /./],
  ])("refuses %j and names its place", async (moves, received, message) => {
    const error = await solver.solve(moves).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OptionError);
    expect(error).toMatchObject({ path: "moves", received: expect.stringMatching(received) });
    expect((error as OptionError).message).toMatch(message);
    await expect(solver.solveMany(["4", "44", moves])).rejects.toMatchObject({ code: "OPTION", path: "moves[2]" });
  });

  test("refuses arguments of other kinds", async () => {
    const bad = (value: unknown) => value as never;
    await expect(Connect4Solver.create({ threads: 257 })).rejects.toMatchObject({ path: "solver.threads" });
    await expect(Connect4Solver.create({ memory: 0 })).rejects.toMatchObject({ path: "solver.memory" });
    await expect(Connect4Solver.create({ book: bad(1) })).rejects.toMatchObject({ path: "solver.book" });
    await expect(Connect4Solver.create(bad({ thread: 1 }))).rejects.toMatchObject({ path: "solver.thread" });
    await expect(solver.solve(bad(44))).rejects.toMatchObject({ path: "moves", received: "44" });
    await expect(solver.solveMany(bad("44"))).rejects.toMatchObject({ path: "moves" });
    await expect(solver.solveMany(["4", bad(null)])).rejects.toMatchObject({ path: "moves[1]" });
    await expect(solver.solve("4", bad({ score: true }))).rejects.toMatchObject({ path: "solve.score" });
    await expect(solver.solve("4", { signal: bad({}) })).rejects.toMatchObject({ path: "solve.signal" });
    await expect(solver.solveMany([], { onSolution: bad(1) })).rejects.toMatchObject({ path: "solveMany.onSolution" });
  });

  test("stops when it is told to, and only what it is told to", async () => {
    const searching = await Connect4Solver.create({ threads: 2, memory: 16, book: false });
    const stop = new AbortController();
    const reason = new Error("enough");
    const running = searching.solve(hard, { signal: stop.signal });
    const waiting = searching.solve(hard, { signal: stop.signal });
    const later = searching.solve("44444433333355555");
    setTimeout(() => stop.abort(reason), 50);
    await Promise.all([expect(running).rejects.toBe(reason), expect(waiting).rejects.toBe(reason)]);
    expect(await later).toMatchObject({ score: (await solver.solve("44444433333355555")).score });
    await expect(searching.solve("4", { signal: stop.signal })).rejects.toBe(reason);

    // At the very moment at which its turn comes.
    const next = new AbortController();
    const before = searching.solve("44444433333355555");
    const late = searching.solve(hard, { signal: next.signal });
    const settled = expect(late).rejects.toBe(reason);
    await before;
    next.abort(reason);
    await settled;

    // What the caller's function throws.
    const list = ["44444433333355555", ...Array<string>(20).fill(hard)];
    const thrown = searching.solveMany(list, {
      onSolution: () => {
        throw reason;
      },
    });
    await expect(thrown).rejects.toBe(reason);

    const closing = searching.solve(hard);
    const queued = searching.solve("4");
    setTimeout(() => searching.close(), 50);
    await Promise.all([closing, queued].map((each) => expect(each).rejects.toBeInstanceOf(ClosedError)));
    await expect(searching.solve("4")).rejects.toMatchObject({ code: "CLOSED", message: "the solver is closed" });
    await searching.close();
  });

  test("leaves the event loop free", async () => {
    const searching = await Connect4Solver.create({ threads: 1, memory: 16, book: false });
    const stop = new AbortController();
    let ticks = 0;
    const timer = setInterval(() => ++ticks === 10 && stop.abort(), 1);
    await expect(searching.solve(hard, { signal: stop.signal })).rejects.toMatchObject({ name: "AbortError" });
    clearInterval(timer);
    await searching.close();
  });
});

describe("bellows solve", () => {
  const folder = scratch();

  test("a position, with --json and for people", async () => {
    const end = await bellows(["solve", "connect4", "112233", "--json"]);
    expect(end.code, end.stderr).toBe(0);
    expect(end.lines).toEqual([
      { type: "position", moves: "112233", score: 18, value: "win", nodes: expect.any(Number), ms: expect.any(Number) },
      { type: "result", positions: 1, seconds: expect.any(Number) },
    ]);
    const text = await bellows(["solve", "connect4", "445533", "--scores"]);
    expect(text.stdout).toContain("   1   2   3   4   5   6   7\n");
    expect(text.stdout).toContain("  17  18  17  17  17  18  17   score\n");
    expect(text.stdout).toContain("X to move: X wins with move 7, in 1. Score 18.");
    const empty = await bellows(["solve", "connect4", "--scores", "--json"]);
    expect(empty.lines[0]).toMatchObject({ moves: "", score: 1, scores: [-2, -1, 0, 1, 0, -1, -2] });
    const over = await bellows(["solve", "connect4", "1122334"]);
    expect(over.stdout).toContain("X has won. Score -18.");
  });

  test("a file, in its order; what follows the first word does not count", async () => {
    const path = join(folder, "positions.txt");
    writeFileSync(path, `445533 18\r\n# a remark\n\n${perfect.slice(0, 30)} -7 x\n 44553# and one\n- 5\n1122334`);
    for (const threads of ["1", "3"]) {
      const end = await bellows(["solve", "connect4", "--file", path, "--json", "--threads", threads, "--memory", "8"]);
      expect(end.code, end.stderr).toBe(0);
      expect(end.lines.map(({ moves, score, value }) => [moves, score, value])).toEqual([
        ["445533", 18, "win"],
        ["", 1, "win"],
        [perfect.slice(0, 30), 1, "win"],
        ["44553", -18, "loss"],
        ["", 1, "win"],
        ["1122334", -18, "loss"],
        [undefined, undefined, undefined],
      ]);
      expect(end.last).toEqual({ type: "result", positions: 6, seconds: expect.any(Number) });
      expect(end.stderr).toContain("6 positions in");
    }
    const scored = await bellows(["solve", "connect4", "--file", "-", "--scores", "--json"], { input: "445533\n" });
    expect(scored.lines[0]).toMatchObject({ scores: [17, 18, 17, 17, 17, 18, 17] });
    const nothing = await bellows(["solve", "connect4", "--file", "-", "--json"], { input: "" });
    expect(nothing.lines).toEqual([{ type: "result", positions: 0, seconds: expect.any(Number) }]);
  });

  test("bad input", async () => {
    const path = join(folder, "bad.txt");
    writeFileSync(path, "44\n# 4455\n44444444\n9\n");
    const cases: [string[], string, RegExp, RegExp][] = [
      [["connect4", "4444444"], "OPTION", /^moves$/, /move 7/],
      [["connect4", "--file", path], "OPTION", /bad\.txt:3$/, /line 3: move 7/],
      [["connect4", "--file", join(folder, "none")], "IO", /none$/, /ENOENT/],
      [["connect4", "4", "--file", path], "USAGE", /--file/, /exclude/],
      [["tictactoe"], "USAGE", /game/, /no solver for tictactoe/],
      [["connect4", "--threads", "x"], "USAGE", /--threads/, /integer/],
      [["connect4", "--memory", "0"], "USAGE", /--memory/, /integer/],
    ];
    for (const [args, code, errorPath, message] of cases) {
      const end = await bellows(["solve", ...args, "--json"]);
      expect(end.code, args.join(" ")).toBe(2);
      expect(end.lines).toHaveLength(1);
      expect(end.last).toMatchObject({ type: "error", code });
      expect(end.last.path).toMatch(errorPath);
      expect(end.last.message).toMatch(message);
    }
  });

  test("an interrupt ends it, after what is solved", async () => {
    const path = join(folder, "long.txt");
    const long = Array.from({ length: 49 }, (_, i) => `1234567${1 + Math.floor(i / 7)}${1 + (i % 7)}`);
    writeFileSync(path, ["445533", ...long].join("\n"));
    const running = start(["solve", "connect4", "--file", path, "--json", "--scores", "--memory", "2"]);
    await running.line("position");
    running.child.kill("SIGINT");
    const end = await running.finished;
    expect(end.code).toBe(130);
    expect(end.lines[0]).toMatchObject({ moves: "445533", score: 18 });
    expect(end.last).toMatchObject({ type: "error", code: "INTERRUPTED" });
  });
});
