// Which native binary is loaded, and the page that says why none is. Every case is a real package folder with real files:
// the built addon, whole or damaged.

import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { libcOf } from "../../lib/binary.js";
import { readElf } from "../../lib/elf.js";
import { NoBinaryError } from "../../lib/index.js";
import { type Finished, root, scratch } from "./cli.js";

const folder = scratch();
const require = createRequire(import.meta.url);
const addon = readFileSync(join(root, "build", "Release", "bellows.node"));
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
const linux = process.platform === "linux";
const tuple = `${process.platform}-${process.arch}`;
const libc = linux ? libcOf(readElf(process.execPath)?.interpreter ?? "") : null;
/** The prebuild's name for this machine. */
const fitting = `${tuple}/bellows${libc === null ? "" : `.${libc}`}.node`;

/** A package as it is installed, with these binaries: names in prebuilds/, or paths that begin with build/. */
function stage(binaries: Readonly<Record<string, Buffer>>, manifest: object = {}): string {
  const at = mkdtempSync(join(folder, "package-"));
  cpSync(join(root, "dist"), join(at, "dist"), { recursive: true });
  const own = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as object;
  writeFileSync(join(at, "package.json"), JSON.stringify({ ...own, ...manifest }));
  symlinkSync(join(root, "node_modules"), join(at, "node_modules"), "dir");
  for (const [name, bytes] of Object.entries(binaries)) {
    const path = join(at, name.startsWith("build/") ? name : `prebuilds/${name}`);
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, bytes);
  }
  return at;
}

interface How {
  readonly env?: Readonly<Record<string, string>>;
  /** Flags of node. */
  readonly node?: readonly string[];
  readonly uid?: number;
}

/** Runs the command line of a staged package. */
function run(at: string, args: readonly string[], { env = {}, node = [], uid }: How = {}) {
  const options = { env: { ...process.env, ...env }, ...(uid === undefined ? {} : { uid, gid: uid }) };
  const child = spawn(process.execPath, [...node, join(at, "dist", "cli", "main.js"), ...args], options);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    stderr += chunk;
  });
  return new Promise<Pick<Finished, "code" | "signal" | "stdout" | "stderr">>((resolve, reject) => {
    child.on("error", reject).on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** The command line fails with the page, without a stack trace, by exit code 1; returns the page. */
async function page(at: string, how: How = {}): Promise<string> {
  const { code, signal, stdout, stderr } = await run(at, ["games", "perft", "tictactoe", "--depth", "1"], how);
  expect({ code, signal, stdout }).toEqual({ code: 1, signal: null, stdout: "" });
  expect(stderr).toMatch(/^bellows: /);
  expect(stderr).not.toMatch(/\n\s+at /);
  expect(stderr).toContain(`This machine: ${tuple}`);
  expect(stderr).toContain(`Node ${process.version}, Node-API ${process.versions.napi}`);
  return stderr;
}

/** The file that a staged package loads its addon from. */
async function loadedFrom(at: string, how: How = {}): Promise<string> {
  const { code, stdout, stderr } = await run(at, ["info", "--json"], how);
  expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
  return (JSON.parse(stdout) as { binary: string }).binary;
}

/** A copy with some bytes replaced. */
function patched(bytes: Buffer, at: number, ...values: number[]): Buffer {
  const copy = Buffer.from(bytes);
  copy.set(values, at);
  return copy;
}

describe("the binary that is loaded", () => {
  test("is the prebuild for this machine, which node-gyp-build would find too", async () => {
    const others = { "linux-x64/bellows.other.node": Buffer.from("no"), "plan9-vax/bellows.node": Buffer.from("no") };
    const at = stage({ [fitting]: addon, ...(linux ? {} : others) });
    expect(await loadedFrom(at)).toBe(join(at, "prebuilds", fitting));
    const standard = require("node-gyp-build") as { path(directory: string): string };
    expect(standard.path(at)).toBe(join(at, "prebuilds", fitting));
  });

  test.runIf(linux)("is of this process's libc, whatever else lies beside it", async () => {
    const other = libc === "musl" ? "glibc" : "musl";
    const at = stage({ [fitting]: addon, [`${tuple}/bellows.${other}.node`]: addon });
    expect(await loadedFrom(at)).toBe(join(at, "prebuilds", fitting));
    // The switch of other loaders must not turn it.
    expect(await loadedFrom(at, { env: { LIBC: other } })).toBe(join(at, "prebuilds", fitting));
  });

  test("is the one that was built from source, where there is one", async () => {
    const at = stage({ "build/Release/bellows.node": addon, [fitting]: addon });
    expect(await loadedFrom(at)).toBe(join(at, "build", "Release", "bellows.node"));
  });

  test("is the one that BELLOWS_BINARY names, before all others", async () => {
    const named = join(folder, "a name without an extension");
    writeFileSync(named, addon);
    const at = stage({ "build/Release/bellows.node": Buffer.from("broken"), [fitting]: addon });
    expect(await loadedFrom(at, { env: { BELLOWS_BINARY: named } })).toBe(named);
  });

  test("is not needed to import the package, to print help or the version", async () => {
    const at = stage({});
    const { code, stdout } = await run(at, ["--version"]);
    expect({ code, stdout: stdout.trim() }).toEqual({ code: 0, stdout: version });
    expect((await run(at, ["train", "--help"])).code).toBe(0);
    const index = JSON.stringify(pathToFileURL(join(at, "dist", "index.js")).href);
    const source = `console.log(Object.keys(await import(${index})).includes("SelfPlay"))`;
    const printed = execFileSync(process.execPath, ["--input-type=module", "-e", source], { encoding: "utf8" });
    expect(printed.trim()).toBe("true");
  });
});

describe("without a binary that fits", () => {
  test("the page names the machine, the files tried, the prebuilds inside and the command", async () => {
    const at = stage({ "plan9-vax/bellows.node": addon, "plan9-mips/bellows.node": addon });
    const text = await page(at);
    expect(text).toContain("no native binary of bellows fits this machine");
    expect(text).toContain(`${join(at, "build", "Release", "bellows.node")}: no such file`);
    expect(text).toContain(`${join(at, "prebuilds", fitting)}: no such file`);
    expect(text).toContain("Prebuilt in this package: plan9-mips/bellows.node, plan9-vax/bellows.node.");
    expect(text).toContain(`cd '${at}' && npx --yes --package=cmake-js@8 --package=node-addon-api@8 cmake-js compile`);
    if (libc === "glibc") expect(text).toMatch(/, glibc \d+\.\d+, Node /);
    if (libc === "musl") expect(text).toContain(", musl, Node ");
  });

  test("a checkout is told the checkout's command", async () => {
    const at = stage({});
    mkdirSync(join(at, "scripts"));
    writeFileSync(join(at, "scripts", "native.mjs"), "");
    expect(await page(at)).toContain(`cd '${at}' && npm run build:native\n`);
  });

  test("the API rejects with a typed error, and --json prints its line", async () => {
    const at = stage({ "plan9-vax/bellows.node": addon });
    const index = JSON.stringify(pathToFileURL(join(at, "dist", "index.js")).href);
    const source = `const { SelfPlay, NoBinaryError } = await import(${index});
      try { await SelfPlay.create({ game: { name: "tictactoe" } }); } catch (error) {
        console.log(JSON.stringify({ ...error, typed: error instanceof NoBinaryError }));
      }`;
    const printed = execFileSync(process.execPath, ["--input-type=module", "-e", source], { encoding: "utf8" });
    expect(JSON.parse(printed)).toMatchObject({
      name: "NoBinaryError",
      code: "NO_BINARY",
      typed: true,
      platform: process.platform,
      arch: process.arch,
      node: process.version,
      nodeApi: { offered: Number(process.versions.napi), needed: 8 },
      tried: [
        { path: join(at, "build", "Release", "bellows.node"), reason: "no such file" },
        { path: join(at, "prebuilds", fitting), reason: "no such file" },
      ],
      prebuilds: ["plan9-vax/bellows.node"],
      buildCommand: expect.stringContaining("cmake-js"),
      path: join(at, "prebuilds", fitting),
      received: "no such file",
      expected: expect.stringContaining(tuple),
    });
    const { code, stdout } = await run(at, ["info", "--json"]);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ type: "error", code: "NO_BINARY", received: "no such file" });
  });

  test("a runtime with an older Node-API is told so before anything is loaded", async () => {
    const old = join(folder, "old.mjs");
    writeFileSync(
      old,
      `const versions = { ...process.versions, napi: "7" };
       Object.defineProperty(process, "versions", { value: versions });`,
    );
    const at = stage({ [fitting]: addon });
    const { code, stderr } = await run(at, ["info"], { node: ["--import", pathToFileURL(old).href] });
    expect(code).toBe(1);
    expect(stderr).toContain("this runtime is too old");
    expect(stderr).toContain("Node-API 7 (bellows needs Node-API 8 or later)");
  });

  test("code that was bundled away from its package is told to leave bellows out of the bundle", async () => {
    expect(await page(stage({}, { name: "an-application" }))).toContain("mark bellows as external");
  });
});

describe("a file that does not do gives its reason", () => {
  const damaged: [string, Buffer, RegExp][] = [
    ["text", Buffer.from("console.log('run as JavaScript')\n".repeat(10)), /is not a shared library/],
    ["an empty file", Buffer.alloc(0), /is not a shared library/],
    ["zeros", Buffer.alloc(100_000), /is not a shared library/],
  ];
  if (linux) {
    const arch = process.arch === "arm64" ? 62 : 183;
    damaged.push(
      ["another processor's", patched(addon, 18, arch), new RegExp(`is for ${arch === 62 ? "x64" : "arm64"}, and`)],
      ["an unknown processor's", patched(addon, 18, 0xfe, 0xca), /is for machine 51966, and/],
      ["a header with another table", patched(addon, 54, 0xff, 0xff), /is not a shared library/],
    );
    const needed = /\0(GLIBC_2\.\d+)\0/.exec(addon.toString("latin1"));
    if (libc === "glibc") {
      expect(needed).not.toBeNull();
      const newer = Buffer.from(
        addon.toString("latin1").replaceAll(needed![0], "\0GLIBC_9.9\0".padEnd(needed![0].length, "\0")),
        "latin1",
      );
      damaged.push(["one for a newer glibc", newer, /version `GLIBC_9\.9' not found/]);
    }
  }
  test.each(damaged)("%s", async (_name, bytes, reason) => {
    const at = stage({ [fitting]: bytes });
    const text = await page(at);
    expect(text).toMatch(reason);
    expect(text).toContain(`${join(at, "prebuilds", fitting)}: `);
    expect(text).not.toContain("JavaScript");
    expect(text).toContain("build it from source");
  });

  test("a process that may not load any", async () => {
    const text = await page(stage({ [fitting]: addon }), { node: ["--no-addons"] });
    expect(text).toContain("this process may not load native binaries");
    expect(text).toContain("--allow-addons");
    expect(text).not.toContain("source");
  });

  test.runIf(linux)("damage inside: what the linker echoes of it stays short and printable", async () => {
    const text = await page(stage({ [fitting]: Buffer.from(addon).fill(0xff, 5000, 40000) }));
    expect(text).toMatch(/^[\x20-\x7e\n]+$/);
    expect(text.length).toBeLessThan(2000);
    expect(text).toContain("Install bellows again");
  });

  test.runIf(process.platform !== "win32")("the command copes with every name of a folder", async () => {
    const at = join(folder, `it's a "folder" of $HOME, ünï`);
    renameSync(stage({}), at);
    const [, command = ""] = /\n {2}(cd .*) && npx .*\n/.exec(await page(at)) ?? [];
    expect(execFileSync("/bin/sh", ["-c", `${command} && pwd -P`], { encoding: "utf8" }).trim()).toBe(realpathSync(at));
  });

  // Loading what was cut off ends the process with SIGBUS.
  test.runIf(linux)("one that was cut off, at any length", async () => {
    const whole = readElf(join(root, "build", "Release", "bellows.node"))!.bytes;
    expect(whole).toBeLessThanOrEqual(addon.length);
    const lengths = [1, 63, 64, 65, 200, 4095, 4096, ...[1, 2, 3, 4, 5, 6, 7].map((i) => (whole * i) >> 3), whole - 1];
    const pages = lengths.map(async (length) => {
      const text = await page(stage({ [fitting]: addon.subarray(0, length) }));
      expect(text, `cut to ${length} bytes`).toMatch(/is cut off: \d+ bytes of at least \d+|is not a shared library/);
    });
    await Promise.all(pages);
  });

  test("another package's addon", async () => {
    const other = execFileSync("find", ["-L", join(root, "node_modules"), "-name", "*.node", "-size", "+9k"], {
      encoding: "utf8",
    });
    const path = other
      .split("\n")
      .find((line) => line.includes(tuple) && (libc === null || !line.includes("musl") || libc === "musl"));
    expect(path, "the development dependencies hold an addon").toBeDefined();
    const text = await page(stage({}), { env: { BELLOWS_BINARY: path! } });
    expect(text).toContain(`${path}: is not the addon of bellows`);
  });

  test.each([
    ["missing", () => join(folder, "none.node"), "no such file"],
    ["below a file", () => join(main(), "none.node"), "no such file"],
    ["a folder", () => folder, "is a folder"],
    ["text", () => main(), "is not a shared library"],
    ["a device", () => "/dev/null", "is not a file"],
  ])("BELLOWS_BINARY that is %s", async (_name, path, reason) => {
    const at = stage({ [fitting]: addon });
    const text = await page(at, { env: { BELLOWS_BINARY: path() } });
    expect(text).toContain("that BELLOWS_BINARY names does not load");
    expect(text).toContain(`${path()}: ${reason}`);
    expect(text).toContain("Unset BELLOWS_BINARY");
    expect(text).not.toContain(join(at, "build"));
  });

  test.runIf(process.platform !== "win32")("one that this user may not read", async () => {
    const at = stage({ [fitting]: addon });
    chmodSync(join(at, "prebuilds", fitting), 0);
    chmodSync(folder, 0o755);
    chmodSync(at, 0o755);
    // The system's administrator may read everything, so that somebody else tries.
    const how = process.getuid?.() === 0 ? { uid: 65534 } : {};
    expect(await page(at, how)).toMatch(/bellows(\.\w+)?\.node: EACCES: permission denied/);
  });
});

describe("a binary of another version", () => {
  test("as prebuild is refused", async () => {
    const text = await page(stage({ [fitting]: addon }, { version: "99.0.0" }));
    expect(text).toContain(`${fitting}: is of bellows ${version}, and this is 99.0.0`);
  });

  test("left in build/Release is not silently replaced: the page says how to get the prebuilt one", async () => {
    const at = stage({ "build/Release/bellows.node": addon, [fitting]: addon }, { version: "99.0.0" });
    const text = await page(at);
    expect(text).toContain("that was built here does not load");
    expect(text).toContain(`${join("build", "Release", "bellows.node")}: is of bellows ${version}, and this is 99.0.0`);
    expect(text).toContain(`Remove it to use ${join(at, "prebuilds", fitting)}, or build it from source`);
  });
});

describe("the ELF header", () => {
  test.each([
    ["/lib64/ld-linux-x86-64.so.2", "glibc"],
    ["/lib/ld-linux-aarch64.so.1", "glibc"],
    ["/lib/ld-linux-riscv64-lp64d.so.1", "glibc"],
    ["/lib/ld-linux.so.2", "glibc"],
    ["/lib64/ld64.so.2", "glibc"],
    ["/nix/store/0c7c-glibc-2.40/lib/ld-linux-x86-64.so.2", "glibc"],
    ["/lib/ld-musl-x86_64.so.1", "musl"],
    ["/lib/ld-musl-aarch64.so.1", "musl"],
    ["/system/bin/linker64", null],
    ["", null],
  ])("linker %s means %s", (linker, expected) => {
    expect(libcOf(linker)).toBe(expected);
  });

  test.runIf(linux)("of this node is read as the system's tools read it", () => {
    const elf = readElf(process.execPath);
    expect(elf?.arch).toBe(process.arch);
    const report = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
    expect(libcOf(elf?.interpreter ?? "")).toBe(report.header.glibcVersionRuntime === undefined ? "musl" : "glibc");
    expect(existsSync(elf?.interpreter ?? "")).toBe(true);
  });

  test("with any bytes in it is read or refused", () => {
    const path = join(folder, "mutated.node");
    const head = addon.subarray(0, 1024);
    let seed = 20_26;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    for (let i = 0; i < 500; ++i) {
      const bytes = Buffer.from(head);
      for (let n = random(8); n >= 0; --n) bytes[4 + random(i % 2 ? 60 : 500)] = random(4) ? random(256) : 255;
      writeFileSync(path, bytes);
      try {
        const elf = readElf(path);
        expect(elf === null || elf.bytes >= 0, `mutation ${i}`).toBe(true);
      } catch (error) {
        // An offset beyond what a file can have.
        expect((error as NodeJS.ErrnoException).code, `mutation ${i}: ${error}`).toMatch(/^(ERR_OUT_OF_RANGE|EINVAL)$/);
      }
    }
  });
});

function main(): string {
  return join(root, "dist", "cli", "main.js");
}

test("NoBinaryError is exported and can be made", () => {
  const nodeApi = { offered: 9, needed: 8 };
  const runtime = { platform: "plan9", arch: "vax", libc: null, node: "v20.0.0", nodeApi };
  const error = new NoBinaryError("none", { ...runtime, tried: [], prebuilds: [], buildCommand: "make" });
  expect(error).toMatchObject({ ...runtime, code: "NO_BINARY", path: null, received: "Node-API 9" });
});
