// A run that is interrupted, killed or damaged goes on exactly as if nothing had happened.

import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { self } from "../../lib/owner.js";
import { bellows, type Line, scratch, start, tinyPool } from "./cli.js";

const folder = scratch();
const ITERATIONS = 30;
const args = [
  ...["train", "tictactoe", ...tinyPool, "--iterations", String(ITERATIONS), "--seed", "11", "--json"],
  ...["--set", "run.checkpointEvery=3", "--set", "ppo.lrSchedule=linear", "--set", "net.value=wdl"],
  ...["--set", "rollout.opponents.sampling=pfsp"],
  ...["--set", "rollout.starts.share=0.3", "--set", "rollout.starts.capacity=100"],
  ...["--set", "ppo.klCoef=0.1", "--set", "ppo.klTarget=0.002", "--set", "ppo.warmup=0.3"],
];
let whole: Line;

/** A result without what depends on clock and place. */
function same({ seconds, checkpoint, ...rest }: Line): Line {
  return rest as Line;
}

function metrics(out: string): number[] {
  const text = readFileSync(join(out, "metrics.jsonl"), "utf8");
  expect(text.endsWith("\n")).toBe(true);
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line).index);
}

const all = Array.from({ length: ITERATIONS }, (_, i) => i + 1);

beforeAll(async () => {
  const end = await bellows([...args, "--out", join(folder, "whole")]);
  expect(end.code, end.stderr).toBe(0);
  whole = end.last;
});

async function expectResumes(out: string): Promise<void> {
  const end = await bellows(["train", "tictactoe", "--resume", out, "--json"]);
  expect(end.code, end.stderr).toBe(0);
  expect(same(end.last)).toEqual(same(whole));
  expect(metrics(out)).toEqual(all);
}

describe("resume", () => {
  test("keeps run.checkpoints generations and only the opponents that they need", () => {
    const checkpoints = join(folder, "whole", "checkpoints");
    const files = readdirSync(checkpoints).filter((name) => name.endsWith(".safetensors"));
    expect(files.sort()).toEqual(["000024.safetensors", "000027.safetensors", "000030.safetensors"]);
    const referenced = new Set<string>();
    for (const file of files) {
      const bytes = readFileSync(join(checkpoints, file));
      const header = JSON.parse(bytes.toString("utf8", 8, 8 + Number(bytes.readBigUInt64LE(0))));
      for (const hash of Object.values(JSON.parse(header.__metadata__["bellows.opponents"])))
        referenced.add(String(hash));
    }
    expect(referenced.size).toBeGreaterThanOrEqual(3);
    const kept = readdirSync(join(checkpoints, "opponents")).map((name) => name.replace(".safetensors", ""));
    expect(kept.sort()).toEqual([...referenced].sort());
  });

  test("ten kills at random moments, each resumed, give the same result", async () => {
    const out = join(folder, "killed");
    const first = start([...args, "--out", out]);
    await Promise.race([first.line("start"), first.finished]);
    first.child.kill("SIGKILL");
    await first.finished;
    let kills = 1;
    let ended = false;
    while (kills < 10 && !ended) {
      const running = start(["train", "--resume", out, "--json"]);
      const killed = sleep(60 + Math.random() * 350).then(() => running.child.kill("SIGKILL"));
      const end = await running.finished;
      await killed;
      ended = end.code === 0;
      if (!ended) expect(end.signal, end.stderr).toBe("SIGKILL");
      ++kills;
    }
    await expectResumes(out);
    expect(readdirSync(out).sort()).toEqual(["checkpoints", "config.json", "metrics.jsonl", "result.json"]);
  });

  test("kills while training, at random iterations, on the way to the same result", async () => {
    const out = join(folder, "killed-training");
    const first = start([...args, "--out", out]);
    for (let kill = 0, running = first; kill < 10; ++kill) {
      const begun = await running.line("start");
      const at = begun.iteration + 1 + Math.floor(Math.random() * 4);
      if (at >= ITERATIONS) {
        await running.finished;
        break;
      }
      await running.line("iteration", (line) => line.index >= at);
      running.child.kill("SIGKILL");
      await running.finished;
      running = start(["train", "--resume", out, "--json"]);
      if (kill === 9) await running.finished;
    }
    await expectResumes(out);
  });

  test("an interrupt and other threads on resume", async () => {
    const out = join(folder, "interrupted");
    const running = start([...args, "--out", out]);
    await running.line("iteration", (line) => line.index >= 5);
    running.child.kill("SIGINT");
    expect((await running.finished).code).toBe(130);
    const end = await bellows(["train", "tictactoe", "--resume", out, "--threads", "2", "--json"]);
    expect(end.code, end.stderr).toBe(0);
    expect({ ...same(end.last), threads: 1 }).toEqual(same(whole));
    expect(metrics(out)).toEqual(all);
  });

  test("before the first checkpoint it starts over", async () => {
    const out = join(folder, "fresh");
    cpSync(join(folder, "whole"), out, { recursive: true });
    rmSync(join(out, "result.json"));
    rmSync(join(out, "checkpoints"), { recursive: true });
    await expectResumes(out);
  });

  test("a finished run prints the same result again, and touches nothing", async () => {
    const out = join(folder, "whole");
    const before = readFileSync(join(out, "metrics.jsonl"), "utf8");
    for (const extra of [[], ["tictactoe"], ["tictactoe", "--seed", "11", "--iterations", String(ITERATIONS)]]) {
      const end = await bellows(["train", ...extra, "--resume", out, "--json"]);
      expect(end.code, end.stderr).toBe(0);
      expect(end.last).toEqual(whole);
    }
    expect(readFileSync(join(out, "metrics.jsonl"), "utf8")).toBe(before);
    // It takes no lock either: a finished run may lie where nothing can be written.
    const archived = join(folder, "archived");
    cpSync(out, archived, { recursive: true });
    mkdirSync(join(archived, "lock"));
    expect((await bellows(["train", "--resume", archived, "--json"])).code).toBe(0);
  });

  test("a damaged newest checkpoint falls back to the one before, with a warning", async () => {
    for (const damage of ["truncate", "empty", "flip"] as const) {
      const out = join(folder, `damaged-${damage}`);
      cpSync(join(folder, "whole"), out, { recursive: true });
      rmSync(join(out, "result.json"));
      const newest = join(out, "checkpoints", "000030.safetensors");
      if (damage === "truncate") truncateSync(newest, 1000);
      else if (damage === "empty") truncateSync(newest, 0);
      else {
        const bytes = readFileSync(newest);
        bytes[9] = 0;
        writeFileSync(newest, bytes);
      }
      const end = await bellows(["train", "--resume", out, "--json"]);
      expect(end.code, end.stderr).toBe(0);
      expect(end.stderr).toMatch(/warning: .*000030\.safetensors/);
      expect(end.lines[0]).toMatchObject({ type: "start", iteration: 27 });
      expect(same(end.last)).toEqual(same(whole));
      expect(metrics(out)).toEqual(all);
      expect(existsSync(`${newest}.corrupt`)).toBe(true);
    }
  });

  test("a checkpoint of another moment or another run is not gone on from", async () => {
    const elsewhere = join(folder, "elsewhere");
    expect((await bellows([...args, "--seed", "12", "--out", elsewhere])).code).toBe(0);
    for (const [what, source] of [
      ["iteration 27", join(folder, "whole", "checkpoints", "000027.safetensors")],
      ["run.seed is 12", join(elsewhere, "checkpoints", "000030.safetensors")],
    ] as const) {
      const out = join(folder, `foreign ${what}`);
      cpSync(join(folder, "whole"), out, { recursive: true });
      rmSync(join(out, "result.json"));
      cpSync(source, join(out, "checkpoints", "000030.safetensors"));
      const end = await bellows(["train", "--resume", out, "--json"]);
      expect(end.code, end.stderr).toBe(0);
      expect(end.stderr).toContain(what);
      expect(same(end.last)).toEqual(same(whole));
    }
  });

  test("a missing or changed opponent is noticed", async () => {
    const out = join(folder, "opponents");
    cpSync(join(folder, "whole"), out, { recursive: true });
    rmSync(join(out, "result.json"));
    const opponents = join(out, "checkpoints", "opponents");
    for (const name of readdirSync(opponents)) {
      const bytes = readFileSync(join(opponents, name));
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(join(opponents, name), bytes);
    }
    const end = await bellows(["train", "--resume", out, "--json"]);
    expect(end.code).toBe(2);
    expect(end.last).toMatchObject({ type: "error", code: "CHECKPOINT", path: expect.stringContaining("opponents") });
    for (const name of readdirSync(opponents)) rmSync(join(opponents, name));
    expect((await bellows(["train", "--resume", out, "--json"])).code).toBe(2);
    // Nothing was lost: with the files back, the run goes on.
    cpSync(join(folder, "whole", "checkpoints", "opponents"), opponents, { recursive: true });
    await expectResumes(out);
  });

  test("a result that is not whole is made anew", async () => {
    const out = join(folder, "result");
    cpSync(join(folder, "whole"), out, { recursive: true });
    for (const text of ["", "{", '{"line":{},"exitCode":0}', '{"line":{"type":"result"},"exitCode":0}']) {
      writeFileSync(join(out, "result.json"), text);
      await expectResumes(out);
    }
  });

  test("a metrics file with half a line, or lines of work to be done anew", async () => {
    const out = join(folder, "half");
    cpSync(join(folder, "whole"), out, { recursive: true });
    for (const name of ["result.json", "checkpoints/000030.safetensors"]) rmSync(join(out, name));
    const path = join(out, "metrics.jsonl");
    truncateSync(path, readFileSync(path).length - 40);
    await expectResumes(out);
  });

  test("a damaged line of metrics takes no other with it", async () => {
    const out = join(folder, "blot");
    cpSync(join(folder, "whole"), out, { recursive: true });
    for (const name of ["result.json", "checkpoints/000030.safetensors"]) rmSync(join(out, name));
    const path = join(out, "metrics.jsonl");
    const lines = readFileSync(path, "utf8").split("\n");
    lines[2] = "blot";
    writeFileSync(path, lines.join("\n"));
    const end = await bellows(["train", "--resume", out, "--json"]);
    expect(end.code).toBe(0);
    expect(end.stderr).toContain("lacks 1 of the 27 iterations");
    const after = readFileSync(path, "utf8").split("\n");
    expect(after.slice(0, 27)).toEqual(lines.slice(0, 27));
    expect(after).toHaveLength(lines.length);
  });

  test("what a resume cannot do: no directory, no run, other options, another game", async () => {
    const empty = join(folder, "empty");
    mkdirSync(empty);
    for (const out of [join(folder, "nowhere"), empty, join(folder, "whole", "config.json")]) {
      const end = await bellows(["train", "tictactoe", "--resume", out, "--json"]);
      expect(end.code).toBe(2);
      expect(end.last).toMatchObject({ type: "error", code: "IO", path: out });
    }
    const out = join(folder, "whole");
    for (const [extra, path] of [
      [["--seed", "12"], "run.seed"],
      [["--iterations", "31"], "run.iterations"],
      [["--minutes", "1"], "run.minutes"],
      [["--set", "ppo.lr=0.5"], "ppo.lr"],
      [["--out", join(folder, "elsewhere")], "--out"],
    ] as const) {
      const end = await bellows(["train", "--resume", out, "--json", ...extra]);
      expect(end.code).toBe(2);
      expect(end.last).toMatchObject({ type: "error", code: "USAGE", path });
    }
    const end = await bellows(["train", "connect4", "--resume", out, "--json"]);
    expect(end.last).toMatchObject({ type: "error", code: "USAGE", path: "game" });
  });

  test("a config.json that was edited to nonsense", async () => {
    const out = join(folder, "edited");
    mkdirSync(out);
    for (const text of ["", "{", "7", '{"game": {"name": "tictactoe"}, "nett": {"width": 1}}']) {
      writeFileSync(join(out, "config.json"), text);
      const end = await bellows(["train", "--resume", out, "--json"]);
      expect(end.code).toBe(2);
      expect(end.last).toMatchObject({ type: "error", code: "OPTION" });
    }
  });
});

describe("lock", () => {
  test("two processes cannot share a run directory; a dead one's lock is taken over", async () => {
    const out = join(folder, "locked");
    const running = start(["train", "tictactoe", ...tinyPool, "--iterations", "100000", "--out", out, "--json"]);
    await running.line("iteration");
    const second = await bellows(["train", "--resume", out, "--json"]);
    expect(second.code).toBe(2);
    expect(second.last).toMatchObject({ type: "error", code: "LOCKED", path: out });
    expect(second.last.message).toContain(String(running.child.pid));
    running.child.kill("SIGKILL");
    await running.finished;
    expect(existsSync(join(out, "lock"))).toBe(true);
    const third = start(["train", "--resume", out, "--json"]);
    await third.line("iteration");
    third.child.kill("SIGINT");
    expect((await third.finished).code).toBe(130);
    expect(existsSync(join(out, "lock"))).toBe(false);
  });

  test("a lock of a reused process id, or half a lock, holds nobody up", async () => {
    for (const text of [JSON.stringify({ ...self(), start: "1" }), "{"]) {
      const out = join(folder, `stale-${text.length}`);
      cpSync(join(folder, "whole"), out, { recursive: true });
      rmSync(join(out, "result.json"));
      writeFileSync(join(out, "lock"), text);
      const end = await bellows(["train", "--resume", out, "--json"]);
      // Without /proc a process id is all there is to go by.
      if (process.platform === "linux" || text === "{") expect(same(end.last)).toEqual(same(whole));
    }
  });
});

describe("a moved directory", () => {
  test("goes on where it lies now", async () => {
    const out = join(folder, "moved");
    cpSync(join(folder, "whole"), out, { recursive: true });
    const end = await bellows(["train", "--resume", out, "--json"]);
    expect(end.last.checkpoint).toBe(join(out, "checkpoints", "000030.safetensors"));
    copyFileSync(end.last.checkpoint, join(out, "copy.safetensors"));
  });
});
