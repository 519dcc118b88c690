// The command line's contract: lines, keys, exit codes, and what bad input gets.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { OPTION_ROWS } from "../../lib/names.gen.js";
import { self } from "../../lib/owner.js";
import { bellows, type Finished, main, root, scratch, start, tiny, tinyPool } from "./cli.js";

const folder = scratch();
const runPath = join(folder, "run");
let trained: Finished;
let checkpoint: string;

beforeAll(async () => {
  trained = await bellows([
    "train",
    "tictactoe",
    ...tinyPool,
    "--iterations",
    "6",
    "--seed",
    "5",
    "--out",
    runPath,
    "--json",
  ]);
  checkpoint = String(trained.last.checkpoint);
});

function expectError(end: Finished, exitCode: number, code: string, path: string | RegExp) {
  expect({ code: end.code, last: end.last }).toMatchObject({ code: exitCode, last: { type: "error", code } });
  expect(Object.keys(end.last).sort()).toEqual(["code", "expected", "message", "path", "received", "type"]);
  expect(end.last.path).toMatch(path);
  expect(end.last.message).not.toBe("");
  expect(end.stderr).toContain(end.last.message);
}

describe("train", () => {
  test("prints start, iterations, evaluation, checkpoint, result", () => {
    expect(trained.code, trained.stderr).toBe(0);
    expect(trained.lines.map((line) => line.type)).toEqual([
      "start",
      ...Array<string>(6).fill("iteration"),
      "checkpoint",
      "evaluation",
      "result",
    ]);
    expect(trained.lines.filter((line) => line.type === "iteration").map((line) => line.index)).toEqual([
      1, 2, 3, 4, 5, 6,
    ]);
    for (const line of trained.lines.filter(({ type }) => type === "iteration")) {
      expect(line).toMatchObject({ games: 32, loss: { policy: expect.any(Number), entropy: expect.any(Number) } });
      expect(line.speed.gamesPerSecond).toBeGreaterThan(0);
      expect(line.maxRatioError).toBeLessThanOrEqual(1e-5);
    }
  });

  test("the result has the keys of the contract, and they agree", () => {
    const { last } = trained;
    expect(last).toMatchObject({
      type: "result",
      game: "tictactoe",
      seed: 5,
      threads: 1,
      iterations: 6,
      games: 192,
      seconds: expect.any(Number),
      weightsHash: expect.stringMatching(/^[0-9a-f]{64}$/),
      checkpoint: join(runPath, "checkpoints", "000006.safetensors"),
    });
    for (const policy of [last.certificate.argmax, last.certificate.sampled]) {
      expect(policy.exploitability).toBe((policy.first + policy.second) / 2);
      expect(Math.abs(policy.first)).toBeLessThanOrEqual(1);
    }
    const { win, draw, loss } = last.versusRandom;
    expect(win + draw + loss).toBeCloseTo(1, 9);
    expect(win).toBeGreaterThan(0);
  });

  test("the run directory holds config, metrics, checkpoints and result", () => {
    expect(readdirSync(runPath).sort()).toEqual(["checkpoints", "config.json", "metrics.jsonl", "result.json"]);
    const config = JSON.parse(readFileSync(join(runPath, "config.json"), "utf8"));
    expect(config).toMatchObject({ game: { name: "tictactoe" }, net: { width: 16 }, run: { seed: 5, iterations: 6 } });
    const metrics = readFileSync(join(runPath, "metrics.jsonl"), "utf8").trimEnd().split("\n");
    expect(metrics.map((line) => JSON.parse(line).index)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("the weights' hash is that of the tensors in the checkpoint", () => {
    const bytes = readFileSync(checkpoint);
    const length = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Record<
      string,
      { data_offsets: [number, number] }
    >;
    const hash = createHash("sha256");
    const weights = Object.entries(header)
      .filter(([name]) => !/^(__metadata__|optimizer\.|opponents\.)/.test(name))
      .sort((a, b) => a[1].data_offsets[0] - b[1].data_offsets[0]);
    expect(weights.length).toBeGreaterThan(3);
    for (const [, { data_offsets }] of weights) {
      hash.update(bytes.subarray(8 + length + data_offsets[0], 8 + length + data_offsets[1]));
    }
    expect(hash.digest("hex")).toBe(trained.last.weightsHash);
  });

  test("threads and batches change nothing but the time", async () => {
    const args = ["train", "tictactoe", ...tinyPool, "--iterations", "6", "--seed", "5", "--json"];
    const two = await bellows([...args, "--threads", "2", "--out", join(folder, "threads")]);
    const batch = await bellows([...args, "--set", "rollout.batch=7", "--out", join(folder, "batch")]);
    const same = ({ seconds, checkpoint: _, threads, ...rest }: Finished["last"]) => rest;
    expect(same(two.last)).toEqual(same(trained.last));
    expect(two.last.threads).toBe(2);
    expect(same(batch.last)).toEqual(same(trained.last));
    const other = await bellows([...args, "--seed", "6", "--out", join(folder, "other")]);
    expect(other.last.weightsHash).not.toBe(trained.last.weightsHash);
  });

  test("--config, --set and flags win in this order", async () => {
    const config = join(folder, "config.json");
    writeFileSync(
      config,
      JSON.stringify({ net: { width: 24, depth: 1 }, ppo: { lr: 0.01 }, run: { seed: 1, iterations: 9 } }),
    );
    const out = join(folder, "precedence");
    const end = await bellows([
      ...[
        "train",
        "tictactoe",
        "--config",
        config,
        "--set",
        "net.width=12",
        "--set",
        "run.seed=2",
        "--set",
        "rollout.games=32",
      ],
      ...["--seed", "3", "--iterations", "1", "--out", out, "--json"],
    ]);
    expect(end.code, end.stderr).toBe(0);
    const resolved = JSON.parse(readFileSync(join(out, "config.json"), "utf8"));
    expect(resolved).toMatchObject({
      net: { width: 12, depth: 1 },
      ppo: { lr: 0.01 },
      run: { seed: 3, iterations: 1 },
    });
    // A run's config.json is a config.
    const again = await bellows([
      "train",
      "tictactoe",
      "--config",
      join(out, "config.json"),
      "--out",
      join(folder, "again"),
      "--json",
    ]);
    expect(again.last.weightsHash).toBe(end.last.weightsHash);
  });

  test("without --out the run is under runs/", () => {
    const stdout = execFileSync(
      process.execPath,
      [main, "train", "tictactoe", ...tiny, "--iterations", "1", "--json"],
      {
        cwd: folder,
        stdio: ["ignore", "pipe", "ignore"],
      },
    );
    const result = JSON.parse(String(stdout).trimEnd().split("\n").at(-1)!);
    expect(result.checkpoint).toMatch(/^runs\/tictactoe-s0-/);
    expect(existsSync(join(folder, result.checkpoint))).toBe(true);
  });

  test("without --json people get the certificate, the checkpoint and the commands", async () => {
    const end = await bellows([
      "train",
      "tictactoe",
      ...tiny,
      "--iterations",
      "2",
      "--seed",
      "4",
      "--out",
      join(folder, "text"),
    ]);
    expect(end.code).toBe(0);
    expect(end.stdout).toMatch(/exploitability/);
    expect(end.stdout).toMatch(/reproduce .*train tictactoe --seed 4 --iterations 2 .*--set net\.width=16/);
    expect(end.stdout).toMatch(/play .* play .*000002\.safetensors/);
  });

  test("the default recipe reaches its certificate; a run stops there when asked, and says so", async () => {
    const out = join(folder, "certified");
    const end = await bellows([
      ...["train", "tictactoe", "--seed", "101", "--out", out, "--json"],
      ...["--set", "run.evaluateEvery=20", "--set", "run.stopAtCertificate=true"],
    ]);
    expect(end.code, end.stderr).toBe(0);
    expect(end.last.stoppedAtCertificate).toBe(true);
    expect(end.last.iterations).toBeLessThan(400);
    expect(end.last.certificate.argmax).toMatchObject({ exploitability: 0, first: 0, second: 0 });
    expect(end.last.versusRandom.loss).toBe(0);
    expect(end.lines.filter((line) => line.type === "evaluation").at(-1)?.certificate.argmax.exploitability).toBe(0);
  });

  test("a run that should stop at its certificate and has none goes on to its end", async () => {
    const end = await bellows([
      ...["train", "tictactoe", ...tiny, "--iterations", "3", "--out", join(folder, "stop"), "--json"],
      ...["--set", "run.evaluateEvery=1", "--set", "run.stopAtCertificate=true"],
    ]);
    expect(end.lines.filter((line) => line.type === "evaluation")).toHaveLength(3);
    expect(end.last.stoppedAtCertificate).toBe(false); // such a run is far from it
  });

  test("connect4 has no certificate, and an interval for its games against random play", async () => {
    const end = await bellows([
      "train",
      "connect4",
      ...tiny,
      "--iterations",
      "1",
      "--out",
      join(folder, "c4"),
      "--json",
    ]);
    expect(end.code, end.stderr).toBe(0);
    expect(end.last.certificate).toBeNull();
    const { win, draw, loss, games, interval } = end.last.versusRandom;
    expect(win + draw + loss).toBeCloseTo(1, 9);
    expect(games).toBe(2000);
    expect(interval[0]).toBeLessThan(win);
    expect(interval[1]).toBeGreaterThan(win);
  });

  test("a long run that learned nothing fails, and its checkpoint is kept", async () => {
    const out = join(folder, "nothing");
    const args = [
      "--set",
      "ppo.lr=0",
      "--set",
      "rollout.games=50000",
      "--set",
      "ppo.epochs=1",
      "--set",
      "ppo.minibatch=65536",
    ];
    const end = await bellows(["train", "tictactoe", ...tiny, ...args, "--iterations", "1", "--out", out, "--json"]);
    expectError(end, 1, "LEARNED_NOTHING", /000001\.safetensors$/);
    expect(existsSync(end.last.path)).toBe(true);
    const again = await bellows(["train", "--resume", out, "--json"]);
    expect(again.code).toBe(1);
    expect(again.last).toEqual(end.last);
  });
});

describe("a run that diverges", () => {
  test("stops with the tensor named, keeps its checkpoints, and does so again on resume", async () => {
    const out = join(folder, "diverged");
    const wild = ["lr=10", "maxGradNorm=0", "entropy=10", "valueCoef=100", "minibatch=32"];
    const args = wild.flatMap((option) => ["--set", `ppo.${option}`]);
    const depth = ["--set", "net.depth=12", "--set", "run.checkpointEvery=1"];
    const end = await bellows([
      "train",
      "tictactoe",
      ...tiny,
      ...args,
      ...depth,
      "--iterations",
      "500",
      "--out",
      out,
      "--json",
    ]);
    expectError(end, 1, "NUMERIC", /./);
    expect(end.last.message).toMatch(/step \d+/);
    const again = await bellows(["train", "--resume", out, "--json"]);
    expectError(again, 1, "NUMERIC", end.last.path);
    expect(again.last.message).toBe(end.last.message);
  });
});

describe("bad input of train", () => {
  const out = join(folder, "never");
  const train = (...args: string[]) =>
    bellows(["train", "tictactoe", "--iterations", "1", "--out", out, "--json", ...args]);

  test.each<[string, string[], string | RegExp, RegExp]>([
    ["unknown option", ["--set", "ppo.clipp=0.2"], "ppo.clipp", /did you mean.*ppo\.clip/i],
    ["unknown group", ["--set", "nett.width=8"], "nett.width", /net\.width/],
    ["wrong type", ["--set", "net.width=wide"], "net.width", /integer/],
    ["boolean for a number", ["--set", "net.width=true"], "net.width", /integer/],
    ["number for an enum", ["--set", "net.kind=3"], "net.kind", /mlp/],
    ["out of range", ["--set", "net.width=1"], "net.width", /4.*4096/],
    ["fraction of an integer", ["--seed", "1.5"], "run.seed", /integer/],
    ["text for the seed", ["--seed", "abc"], "run.seed", /integer/],
    ["negative seed", ["--seed", "-1"], "run.seed", /0/],
    ["zero iterations", ["--iterations", "0"], "run.iterations", /1/],
    ["too many threads", ["--threads", "100000"], "run.threads", /256/],
    ["unknown device", ["--device", "tpu"], "run.device", /cpu/],
    ["infinite number", ["--set", "ppo.lr=1e999"], "ppo.lr", /0/],
    ["null", ["--set", "ppo.lr=null"], "ppo.lr", /number/],
  ])("%s", async (_, args, path, message) => {
    const end = await train(...args);
    expectError(end, 2, "OPTION", path);
    expect(end.last.message).toMatch(message);
    expect(existsSync(out)).toBe(false);
  });

  test.each<[string, string[], string | RegExp]>([
    ["unknown flag", ["--sed", "1"], "--sed"],
    ["flag without value", ["--seed"], /--seed/],
    ["--set without =", ["--set", "net.width"], "--set"],
    ["iterations and minutes", ["--minutes", "1"], "--minutes"],
    ["two games", ["connect4"], /./],
  ])("%s", async (_, args, path) => {
    expectError(await train(...args), 2, "USAGE", path);
    expect(existsSync(out)).toBe(false);
  });

  test("no game, unknown game, unknown command, no command", async () => {
    expectError(await bellows(["train", "--json"]), 2, "USAGE", "game");
    expectError(await bellows(["train", "chess", "--json"]), 2, "OPTION", "game.name");
    expectError(await bellows(["trane", "--json"]), 2, "USAGE", "trane");
    const none = await bellows([]);
    expect(none.code).toBe(2);
    expect(none.stderr).toContain("Usage:");
  });

  test("devices that are not here say why", async () => {
    for (const device of ["cuda", "metal"]) {
      const end = await train("--device", device);
      expectError(end, 2, "DEVICE", "run.device");
      expect(end.last.message).toContain(device);
      expect(existsSync(out)).toBe(false);
    }
  });

  test("a config that is missing, no JSON, no object, or of another game", async () => {
    const file = join(folder, "bad.json");
    expectError(await train("--config", join(folder, "none.json")), 2, "IO", /none\.json$/);
    expectError(await train("--config", folder), 2, "IO", folder);
    for (const [text, path] of [
      ["{", file],
      ["[1]", file],
      ["null", file],
      ['{"net": 5}', "net"],
      ['{"net": {"width": [8]}}', "net.width"],
      ['{"net": {"width": null}}', "net.width"],
      ['{"net": {"width": "8"}}', "net.width"],
      ['{"game": {"name": "connect4"}}', "game.name"],
      ['{"nett": {}}', "nett"],
    ] as const) {
      writeFileSync(file, text);
      expectError(await train("--config", file), 2, "OPTION", path);
    }
  });

  test("an --out that is not empty, a file, under a file, or in no writable place", async () => {
    const full = join(folder, "full");
    mkdirSync(full);
    writeFileSync(join(full, "precious"), "data");
    expectError(await train("--out", full), 2, "USAGE", full);
    expect(readdirSync(full)).toEqual(["precious"]);
    const file = join(full, "precious");
    expectError(await train("--out", file), 2, "IO", file);
    expectError(await train("--out", join(file, "sub")), 2, "IO", join(file, "sub"));
    expectError(await train("--out", "/proc/nowhere/run"), 2, "IO", "/proc/nowhere/run");
    expectError(await train("--out", ""), 2, "USAGE", "--out");
    expect(readFileSync(file, "utf8")).toBe("data");
  });

  test("an empty --out is used", async () => {
    const empty = join(folder, "empty-out");
    mkdirSync(empty);
    const inode = statSync(empty).ino; // somebody's working directory: replacing it would pull it away from them
    expect((await train(...tiny, "--out", empty)).code).toBe(0);
    expect(statSync(empty).ino).toBe(inode);
    // What a process leaves that dies while it fills the folder.
    const begun = join(folder, "begun-out");
    mkdirSync(begun);
    writeFileSync(join(begun, "lock"), JSON.stringify({ ...self(), pid: 999999999 }));
    expect((await train(...tiny, "--out", begun)).code).toBe(0);
    const foreign = join(folder, "foreign-out");
    mkdirSync(foreign);
    writeFileSync(join(foreign, "lock"), "mine");
    expectError(await train(...tiny, "--out", foreign), 2, "USAGE", foreign);
    expect(readFileSync(join(foreign, "lock"), "utf8")).toBe("mine");
  });

  test("a plan that cannot fit", async () => {
    const huge = ["net.width=4096", "net.depth=64", "rollout.opponents.pool=1024", "rollout.opponents.selfShare=0.5"];
    const args = huge.flatMap((option) => ["--set", option]);
    const planned = await bellows(["plan", "tictactoe", "--json", ...args]);
    expectError(planned, 2, "MEMORY", /./);
    expectError(await train(...args), 2, "MEMORY", /./);
    expect(existsSync(out)).toBe(false);
  });
});

describe("checkpoints", () => {
  const commands = [["eval"], ["policy"], ["play"]];

  test("missing, empty, truncated, corrupt, a directory: exit 2 and the path", async () => {
    const good = readFileSync(checkpoint);
    const cases: Record<string, Buffer> = {
      empty: Buffer.alloc(0),
      short: good.subarray(0, 5),
      truncated: good.subarray(0, good.length - 1),
      half: good.subarray(0, good.length >> 1),
      longer: Buffer.concat([good, Buffer.from([0])]),
      text: Buffer.from("not a checkpoint at all, but long enough to have a header"),
      length: Buffer.concat([Buffer.alloc(8, 0xff), good.subarray(8)]),
      header: Buffer.concat([good.subarray(0, 20), Buffer.from([0]), good.subarray(21)]),
      flipped: Buffer.concat([good.subarray(0, -5), Buffer.from([good.at(-5)! ^ 1]), good.subarray(-4)]),
      foreign: Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]), Buffer.from("{}")]),
    };
    for (const [name, bytes] of Object.entries(cases)) {
      const path = join(folder, `${name}.safetensors`);
      writeFileSync(path, bytes);
      expectError(await bellows(["eval", path, "--json"]), 2, "CHECKPOINT", path);
    }
    const hollow = join(folder, "hollow");
    mkdirSync(hollow);
    for (const path of [join(folder, "nothing-here"), hollow]) {
      for (const command of commands) expectError(await bellows([...command, path, "--json"]), 2, "CHECKPOINT", path);
    }
  });

  test("eval repeats the certificate of the run, from file and directory", async () => {
    for (const path of [checkpoint, runPath]) {
      const end = await bellows(["eval", path, "--json"]);
      expect(end.code, end.stderr).toBe(0);
      expect(end.lines).toHaveLength(1);
      const { certificate, versusRandom, weightsHash } = trained.last;
      expect(end.last).toMatchObject({ type: "result", checkpoint, certificate, versusRandom, weightsHash });
    }
  });

  test("a copy without the opponents' files can be judged", async () => {
    const copy = join(folder, "copy.safetensors");
    copyFileSync(checkpoint, copy);
    const end = await bellows(["eval", copy, "--json"]);
    expect(end.last.certificate).toEqual(trained.last.certificate);
  });
});

describe("policy", () => {
  test("one position, or the start", async () => {
    const end = await bellows(["policy", checkpoint, "51", "--json"]);
    expect(end.lines.map((line) => line.type)).toEqual(["position", "result"]);
    const [position] = end.lines;
    expect(position).toMatchObject({ moves: "51", terminal: false, value: expect.any(Number) });
    expect(position!.logits).toHaveLength(9);
    expect(position!.probabilities[4]).toBe(0);
    expect(position!.probabilities[0]).toBe(0);
    expect(position!.probabilities.reduce((a: number, b: number) => a + b)).toBeCloseTo(1, 5);
    const begin = await bellows(["policy", checkpoint, "--json"]);
    expect(begin.lines[0]).toMatchObject({ moves: "", terminal: false });
    expect((await bellows(["policy", checkpoint, "", "--json"])).lines).toEqual(begin.lines);
  });

  test("a file in order; empty lines are the start; terminal positions say so", async () => {
    const file = join(folder, "positions.txt");
    writeFileSync(file, "51\n\n14253\r\n5\n");
    const end = await bellows(["policy", checkpoint, "--file", file, "--json"]);
    expect(end.code, end.stderr).toBe(0);
    expect(end.lines.slice(0, -1).map((line) => line.moves)).toEqual(["51", "", "14253", "5"]);
    expect(end.lines[2]).toMatchObject({ terminal: true, value: -1, probabilities: Array(9).fill(0) });
    expect(end.last).toMatchObject({ type: "result", positions: 4, checkpoint });
    const single = await bellows(["policy", checkpoint, "51", "--json"]);
    expect(single.lines[0]).toEqual(end.lines[0]);
    const piped = await bellows(["policy", checkpoint, "--file", "-", "--json"], { input: "51\n\n14253\n5" });
    expect(piped.lines).toEqual(end.lines);
  });

  test("many positions", async () => {
    const file = join(folder, "many.txt");
    const positions = Array.from({ length: 5000 }, (_, i) => `${(i % 9) + 1}`);
    writeFileSync(file, `${positions.join("\n")}\n`);
    const end = await bellows(["policy", checkpoint, "--file", file, "--json"]);
    expect(end.lines.slice(0, -1).map((line) => line.moves)).toEqual(positions);
    expect(end.last.positions).toBe(5000);
  });

  test("an empty file has no positions", async () => {
    const file = join(folder, "no-positions.txt");
    writeFileSync(file, "");
    expect((await bellows(["policy", checkpoint, "--file", file, "--json"])).lines).toMatchObject([
      { type: "result", positions: 0 },
    ]);
  });

  test("illegal moves name the line", async () => {
    expectError(await bellows(["policy", checkpoint, "55", "--json"]), 2, "OPTION", "moves");
    expectError(await bellows(["policy", checkpoint, "5x", "--json"]), 2, "OPTION", "moves");
    expectError(await bellows(["policy", checkpoint, "142536", "--json"]), 2, "OPTION", "moves");
    const file = join(folder, "illegal.txt");
    writeFileSync(file, "5\n\n55\n1\n");
    const end = await bellows(["policy", checkpoint, "--file", file, "--json"]);
    expectError(end, 2, "OPTION", `${file}:3`);
    expect(end.last.message).toContain("line 3");
    expectError(await bellows(["policy", checkpoint, "--file", join(folder, "no"), "--json"]), 2, "IO", /no$/);
    expectError(await bellows(["policy", checkpoint, "5", "--file", file, "--json"]), 2, "USAGE", "--file");
  });
});

describe("play", () => {
  test("takes moves from a pipe, refuses what is none, ends with a result", async () => {
    const end = await bellows(["play", checkpoint, "--json"], {
      input: "x\n1\n2\n3\n4\n5\n6\n7\n8\n9\n1\n2\n3\n4\n5\n6\n7\n8\n9\n",
    });
    expect(end.code, end.stderr).toBe(0);
    expect(["human", "policy", "draw"]).toContain(end.last.winner);
    expect(end.last).toMatchObject({ type: "result", game: "tictactoe", human: "first" });
    expect(end.last.moves.length).toBeGreaterThanOrEqual(5);
    const second = await bellows(["play", checkpoint, "--second", "--hints", "--json"], { input: "quit\n" });
    expect(second.code).toBe(0);
    expect(second.last).toMatchObject({ human: "second", winner: null });
    expect(second.last.moves).toHaveLength(1);
    expectError(await bellows(["play", checkpoint, "--first", "--second", "--json"]), 2, "USAGE", "--second");
  });

  test("shows the board and the outcome to people", async () => {
    const end = await bellows(["play", checkpoint, "--hints"], { input: "5\n" });
    expect(end.code).toBe(0);
    expect(end.stdout).toContain("Your move (1 2 3 4 5 6 7 8 9)");
    expect(end.stdout).toContain("Stopped before the end.");
  });
});

describe("info, plan, games", () => {
  test("info", async () => {
    const { code, lines, last } = await bellows(["info", "--json"]);
    expect(code).toBe(0);
    expect(lines).toHaveLength(1);
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    expect(last).toMatchObject({ type: "result", version, cpu: expect.any(String), threads: expect.any(Number) });
    expect(last.isasAvailable).toContain(last.isa);
    expect(last.devices.map((device: { name: string }) => device.name)).toEqual(["cpu", "cuda", "metal"]);
    for (const { available, reason } of last.devices) expect(reason === "").toBe(available);
    expect(last.peaks.gflops).toBeGreaterThan(0);
    expect(last.peaks.gbytes).toBeGreaterThan(0);
  });

  test("plan lists rows that add up", async () => {
    const { code, last } = await bellows(["plan", "connect4", "--set", "net.width=32", "--json"]);
    expect(code).toBe(0);
    expect(last.rows.length).toBeGreaterThan(5);
    expect(last.rows.reduce((sum: number, row: { bytes: number }) => sum + row.bytes, 0)).toBe(last.total);
    expectError(await bellows(["plan", "connect4", "--set", "net.wdth=3", "--json"]), 2, "OPTION", "net.wdth");
  });

  test("perft counts", async () => {
    const nodes = async (game: string, depth: number) =>
      (await bellows(["games", "perft", game, "--depth", String(depth), "--json"])).last.nodes;
    expect(await nodes("tictactoe", 0)).toBe(1);
    expect(await nodes("tictactoe", 9)).toBe(127872);
    expect(await nodes("connect4", 7)).toBe(823536);
    expectError(await bellows(["games", "perft", "chess", "--depth", "1", "--json"]), 2, "OPTION", "game.name");
    expectError(await bellows(["games", "perft", "connect4", "--json"]), 2, "USAGE", /depth/);
    for (const depth of ["-1", "x", "1.5", "43"]) {
      expectError(await bellows(["games", "perft", "connect4", "--depth", depth, "--json"]), 2, "USAGE", "--depth");
    }
    expect((await bellows(["games", "--json"])).last.games.map((game: { name: string }) => game.name)).toEqual([
      "tictactoe",
      "connect4",
    ]);
  });
});

describe("games", () => {
  test.each([
    ["lst", /unknown command 'lst'\n\(Did you mean list\?\)/],
    ["preft", /Did you mean perft\?/],
    ["tictactoe", /unknown command 'tictactoe'$/],
  ])("%s is no command", async (word, message) => {
    const end = await bellows(["games", word, "--json"]);
    expectError(end, 2, "USAGE", word);
    expect(end.last.message).toMatch(message);
  });

  test("the list is the default; it takes no arguments", async () => {
    for (const args of [["games"], ["games", "list"]]) {
      const end = await bellows(args);
      expect({ code: end.code, text: end.stdout }).toMatchObject({
        code: 0,
        text: expect.stringContaining("connect4"),
      });
    }
    expectError(await bellows(["games", "list", "connect4", "--json"]), 2, "USAGE", /./);
    expect((await bellows(["games", "help"])).stdout).toContain("perft");
  });
});

describe("help and streams", () => {
  test("--help of train lists every option", async () => {
    const end = await bellows(["train", "--help"]);
    expect(end.code).toBe(0);
    for (const row of OPTION_ROWS) expect(end.stdout).toContain(row.path);
    const general = await bellows(["--help"]);
    expect(general.code).toBe(0);
    for (const command of ["train", "eval", "play", "policy", "plan", "info", "games"])
      expect(general.stdout).toContain(command);
  });

  test("a reader that leaves is no error message", async () => {
    const running = start([
      "train",
      "tictactoe",
      ...tiny,
      "--iterations",
      "100000",
      "--out",
      join(folder, "pipe"),
      "--json",
    ]);
    await running.line("iteration");
    running.child.stdout?.destroy();
    const end = await running.finished;
    expect(end.code).toBe(130);
    expect(end.stderr).not.toMatch(/EPIPE|at .*\.js:/);
  });

  test.each(["SIGINT", "SIGTERM"] as const)("%s saves a checkpoint and exits with 130", async (signal) => {
    const out = join(folder, signal);
    const running = start(["train", "tictactoe", ...tiny, "--iterations", "100000", "--out", out, "--json"]);
    await running.line("iteration", (line) => line.index >= 3);
    running.child.kill(signal);
    const end = await running.finished;
    expect({ code: end.code, last: end.last }).toMatchObject({
      code: 130,
      last: { type: "error", code: "INTERRUPTED" },
    });
    const saved = end.lines.findLast((line) => line.type === "checkpoint")!;
    const metrics = readFileSync(join(out, "metrics.jsonl"), "utf8").trimEnd().split("\n");
    expect(JSON.parse(metrics.at(-1)!).index).toBe(saved.iteration);
    expect((await bellows(["eval", saved.path, "--json"])).last.iterations).toBe(saved.iteration);
    expect(existsSync(join(out, "lock"))).toBe(false);
  });

  test("an interrupt that arrives twice at once, as through npm, still saves", async () => {
    const out = join(folder, "twice");
    const running = start(["train", "tictactoe", ...tiny, "--iterations", "100000", "--out", out, "--json"]);
    await running.line("iteration", (line) => line.index >= 3);
    running.child.kill("SIGTERM");
    running.child.kill("SIGINT");
    const end = await running.finished;
    expect({ code: end.code, last: end.last }).toMatchObject({ code: 130, last: { code: "INTERRUPTED" } });
    const saved = end.lines.findLast((line) => line.type === "checkpoint")!;
    expect(existsSync(saved.path)).toBe(true);
    expect(existsSync(join(out, "lock"))).toBe(false);
  });
});
