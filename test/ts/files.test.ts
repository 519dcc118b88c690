// Files are replaced whole or not at all, also when the disk is full.

import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryName, writeAtomic } from "../../lib/checkpoint.js";
import { IoError } from "../../lib/errors.js";
import { bellows, main, scratch, tiny, tinyPool } from "./cli.js";

const folder = scratch();

/** Runs the command line with files limited to some blocks of 512 bytes: writing more fails as on a full disk. */
function limited(blocks: number, args: readonly string[]) {
  const quoted = [process.execPath, main, ...args].map((word) => `'${word}'`).join(" ");
  return spawnSync("sh", ["-c", `trap '' XFSZ; ulimit -f ${blocks}; exec ${quoted}`], { encoding: "utf8" });
}

describe("writeAtomic", () => {
  test("replaces content, follows links, leaves no temporary file", async () => {
    const path = join(folder, "file");
    await writeAtomic(path, "one");
    await writeAtomic(path, new Uint8Array([116, 119, 111]));
    expect(readFileSync(path, "utf8")).toBe("two");
    const link = join(folder, "link");
    symlinkSync(path, link);
    await writeAtomic(link, "three");
    expect(readlinkSync(link)).toBe(path);
    expect(readFileSync(path, "utf8")).toBe("three");
    expect(readdirSync(folder).filter((name) => name.includes("tmp"))).toEqual([]);
  });

  test("a directory, a device, a missing or unwritable place: IoError, nothing changed", async () => {
    const directory = join(folder, "directory");
    mkdirSync(directory);
    for (const path of [
      directory,
      "/dev/null",
      join(folder, "no", "file"),
      join(folder, "file", "under"),
      "/proc/bellows",
    ]) {
      await expect(writeAtomic(path, "x")).rejects.toBeInstanceOf(IoError);
      await expect(writeAtomic(path, "x")).rejects.toMatchObject({ code: "IO", path, input: true });
    }
    expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
  });

  test("removes temporary files of dead processes, and no others", async () => {
    const dead = Number(execFileSync(process.execPath, ["-p", "process.pid"], { encoding: "utf8" }));
    const names = [".file", ".folder", ".other"].map((name) => basename(temporaryName(folder, name.slice(1))));
    const [own = "", ofDead = "", ofOther = ""] = names;
    const gone = [
      own.replace(`.${process.pid}.`, `.${dead}.`),
      ofDead.replace(`.${process.pid}.`, `.${dead}.`),
      ofOther.replace(/\.\d+\..{8}/, `.${dead}.00000000`),
    ];
    // Whether a process of another machine is dead is not known, until nobody can be writing any more.
    const kept = [own, ofOther.replace(/\.\d+\..{8}/, `.${dead}.ffffffff`), `.file.${dead}.1.bellows-tmp`];
    mkdirSync(join(folder, gone[1]!));
    for (const name of [gone[0]!, join(gone[1]!, "inside"), gone[2]!, ...kept]) writeFileSync(join(folder, name), "");
    utimesSync(join(folder, gone[2]!), 0, 0);
    await writeAtomic(join(folder, "file"), "x");
    expect(gone.map((name) => existsSync(join(folder, name)))).toEqual([false, false, false]);
    expect(kept.map((name) => existsSync(join(folder, name)))).toEqual([true, true, true]);
  });
});

describe("a full disk", () => {
  test("while training: exit 1, IO, and the run goes on from what was saved", async () => {
    const out = join(folder, "full");
    const args = ["train", "tictactoe", ...tinyPool, "--iterations", "40", "--set", "run.checkpointEvery=4", "--json"];
    const whole = await bellows([...args, "--out", join(folder, "whole")]);
    // Checkpoints of such a net fit in 20 KiB, metrics of 40 iterations do not.
    const end = limited(40, [...args, "--out", out]);
    const last = JSON.parse(end.stdout.trimEnd().split("\n").at(-1)!);
    expect({ status: end.status, last }).toMatchObject({
      status: 1,
      last: { type: "error", code: "IO", received: "EFBIG" },
    });
    expect(last.path).toContain(out);
    const names = readdirSync(join(out, "checkpoints")).filter((name) => name.includes("tmp"));
    expect(names).toEqual([]);
    const resumed = await bellows(["train", "--resume", out, "--json"]);
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(resumed.last.weightsHash).toBe(whole.last.weightsHash);
  });

  test("while making the run: exit 1 and no half-made directory", () => {
    const out = join(folder, "none");
    const end = limited(0, ["train", "tictactoe", ...tiny, "--iterations", "1", "--out", out, "--json"]);
    expect(end.status).toBe(1);
    expect(JSON.parse(end.stdout.trimEnd().split("\n").at(-1)!)).toMatchObject({
      type: "error",
      code: "IO",
      path: out,
    });
    expect(existsSync(out)).toBe(false);
    expect(readdirSync(folder).filter((name) => name.includes("none"))).toEqual([]);
  });
});
