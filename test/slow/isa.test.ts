// One binary for every CPU of its architecture: the shipped addon and the C tests, built by the shipping compiler, on
// emulated CPUs that lack what this machine has. An instruction that the CPU does not know ends the process there.

import { execFile, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, test } from "vitest";
import { compile, prebuild, targets } from "../../scripts/prebuild.mjs";
import { root, scratch } from "../ts/cli.js";
import { nodeFor } from "./nodes.js";

const folder = scratch();
const execute = promisify(execFile);

/**
 * An emulated CPU, the best instruction set that it has for us, and one of a real x64 CPU that computes the same:
 * NEON fuses multiply-adds in the places where AVX2 does.
 */
const machines = [
  { cpu: "Nehalem", arch: "x64", isa: "portable", real: "portable", emulator: ["qemu-x86_64", "-cpu", "Nehalem"] },
  { cpu: "Haswell", arch: "x64", isa: "avx2", real: "avx2", emulator: ["qemu-x86_64", "-cpu", "Haswell"] },
  {
    cpu: "arm64",
    arch: "arm64",
    isa: "neon",
    real: "avx2",
    emulator: ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"],
  },
] as const;

const targetOf = (arch: string, libc = "glibc") => {
  const found = targets.find((t) => t.platform === "linux" && t.arch === arch && t.libc === libc);
  if (!found) throw new Error(`no target for ${arch}-${libc}`);
  return found;
};

function need(command: string, packages: string): void {
  if (spawnSync(command, ["--version"]).error) throw new Error(`${command} is missing: apt-get install ${packages}`);
}

/** Node for the emulated architecture. */
function nodeOf(arch: string): string {
  return arch === process.arch ? process.execPath : nodeFor("linux", arch);
}

function bellows(node: readonly string[], addon: string, args: readonly string[], isa?: string) {
  const env = { ...process.env, BELLOWS_BINARY: addon, ...(isa === undefined ? {} : { BELLOWS_ISA: isa }) };
  const [command = "", ...before] = node;
  const script = join(root, "dist", "cli", "main.js");
  return spawnSync(command, [...before, script, ...args], { env, encoding: "utf8", cwd: folder });
}

let runs = 0;

/** The hash of the weights after a run that uses the pool, openings and mirroring. */
function hashOf(node: readonly string[], addon: string, isa?: string): string {
  const args = ["train", "tictactoe", "--iterations", "3", "--seed", "1", "--set", "rollout.games=128", "--json"];
  const end = bellows(node, addon, [...args, "--out", join(folder, `run-${++runs}`)], isa);
  expect(end.stderr, `${node.join(" ")}: ${end.signal}`).not.toContain("error");
  expect(end.status).toBe(0);
  return JSON.parse(end.stdout.trim().split("\n").at(-1) ?? "").weightsHash;
}

/** C tests: the longest ones shrink as they do under sanitizers. */
const tests = new Map<string, string>();

beforeAll(async () => {
  need("qemu-x86_64", "qemu-user");
  need("qemu-aarch64", "qemu-user");
  need("readelf", "binutils");
  if (!existsSync("/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1")) {
    throw new Error("arm64's C library is missing: apt-get install libc6-arm64-cross");
  }
  for (const arch of ["x64", "arm64"]) {
    for (const libc of ["glibc", "musl"]) await prebuild(targetOf(arch, libc));
    const build = join(root, "build", "isa", arch);
    compile(targetOf(arch), build, "tests", ["-DCMAKE_C_FLAGS=-DBW_SANITIZED=1"]);
    tests.set(arch, build);
  }
}, 1_800_000);

describe.each(machines)("$cpu", ({ cpu, arch, isa, real, emulator }) => {
  test("every C test passes", async () => {
    const build = tests.get(arch) ?? "";
    const programs = readdirSync(build).filter((name) => /^test_[a-z_]+$/.test(name));
    expect(programs.length).toBeGreaterThan(12);
    const failed: string[] = [];
    // Two at a time: an emulated thread is slow, and these are minutes.
    const queue = programs.values();
    const work = async () => {
      for (const name of queue) {
        const [command, ...args] = emulator;
        const end = await execute(command, [...args, join(build, name)], { cwd: root }).catch((error) => error);
        if (end instanceof Error) failed.push(`${cpu}, ${name}: ${end.message}`);
      }
    };
    await Promise.all([work(), work()]);
    expect(failed).toEqual([]);
  });

  test("the addon chooses what the CPU has, and computes what a real CPU computes", () => {
    const node = [...emulator, nodeOf(arch)];
    const info = bellows(node, targetOf(arch).file, ["info", "--json"]);
    expect(info.status, info.stderr).toBe(0);
    expect(JSON.parse(info.stdout).isa).toBe(isa);
    const here = (name: string) => hashOf([process.execPath], targetOf(process.arch).file, name);
    expect(hashOf(node, targetOf(arch).file)).toBe(here(real));
    expect(hashOf(node, targetOf(arch).file, "portable")).toBe(here("portable"));
  });
});

test("an instruction set that the CPU lacks is refused", () => {
  const node = ["qemu-x86_64", "-cpu", "Nehalem", process.execPath];
  const end = bellows(node, targetOf("x64").file, ["train", "tictactoe", "--iterations", "1"], "avx2");
  expect(end.signal).toBeNull();
  expect(end.stderr).toContain("BELLOWS_ISA");
  expect(end.status).toBe(2);
});

describe.each(["x64", "arm64"])("the binaries of %s", (arch) => {
  const dynamic = (file: string, option: string) => {
    const end = spawnSync("readelf", ["--wide", option, file], { encoding: "utf8" });
    if (end.status !== 0) throw new Error(end.stderr);
    return end.stdout;
  };

  test("need no glibc above 2.28 and no library but the C library's", () => {
    const { file } = targetOf(arch);
    const versions = [...dynamic(file, "--version-info").matchAll(/GLIBC_(\d+)\.(\d+)/g)].map((v) => [+v[1]!, +v[2]!]);
    expect(versions.length).toBeGreaterThan(3);
    for (const [major = 0, minor = 0] of versions) expect(major * 1000 + minor).toBeLessThanOrEqual(2028);
    const needed = [...dynamic(file, "--dynamic").matchAll(/NEEDED.*\[(.*)\]/g)].map((match) => match[1]);
    const allowed = /^(lib(c|m|dl|pthread)\.so\.\d|ld-linux-(x86-64|aarch64)\.so\.\d)$/;
    expect(needed.filter((name) => !allowed.test(name ?? ""))).toEqual([]);
    const musl = dynamic(targetOf(arch, "musl").file, "--dynamic");
    expect([...musl.matchAll(/NEEDED.*\[(.*)\]/g)].map((match) => match[1])).toEqual(["libc.so"]);
    expect(dynamic(targetOf(arch, "musl").file, "--version-info")).not.toContain("GLIBC");
  });

  test.each(["glibc", "musl"])("stay in memory when Node drops them, as their exit handlers do (%s)", (libc) => {
    expect(dynamic(targetOf(arch, libc).file, "--dynamic")).toMatch(/FLAGS_1.*NODELETE/);
  });

  test.each(["glibc", "musl"])("show the linker two symbols (%s)", (libc) => {
    const shown = dynamic(targetOf(arch, libc).file, "--dyn-syms")
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , , type, , , index]) => type === "FUNC" && index !== "UND")
      .map((fields) => fields[7]);
    expect(shown.sort()).toEqual(["napi_register_module_v1", "node_api_module_get_api_version_v1"]);
  });
});

test("musl's C library loads the musl binary and resolves all of it but Node's own functions", () => {
  const { file } = targetOf("x64", "musl");
  const loader = "/lib/ld-musl-x86_64.so.1";
  if (!existsSync(loader)) throw new Error("musl is missing: apt-get install musl");
  const end = spawnSync(loader, ["--list", file], { encoding: "utf8" });
  const missing = [...`${end.stdout}${end.stderr}`.matchAll(/: (\S+): symbol not found/g)].map(
    (match) => match[1] ?? "",
  );
  expect(missing.filter((name) => !name.startsWith("napi_"))).toEqual([]);
  expect(missing.length).toBeGreaterThan(10);
});
