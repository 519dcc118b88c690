#!/usr/bin/env node
// Makes prebuilds/: the addon for every platform that the package carries a binary for, cross-compiled by zig on x64
// Linux and laid out by prebuildify.
//
//   node scripts/prebuild.mjs [TARGET...]    such as linux-x64-glibc; all of them without a name
//
// prebuildify asks what it takes for node-gyp to build; that is this file again, called with "rebuild", which runs CMake
// with cmake/zig.cmake.

import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, rmSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { tool, zig } from "./tools.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);

/**
 * The platforms: names as in Node's process.platform and process.arch, and zig's. 2.28 is the oldest glibc that the
 * binaries promise to run on (RHEL 8, Debian 10); macOS 11 is the first on Apple silicon.
 */
export const targets = [
  { platform: "linux", arch: "x64", libc: "glibc", zig: "x86_64-linux-gnu.2.28" },
  { platform: "linux", arch: "arm64", libc: "glibc", zig: "aarch64-linux-gnu.2.28" },
  { platform: "linux", arch: "x64", libc: "musl", zig: "x86_64-linux-musl" },
  { platform: "linux", arch: "arm64", libc: "musl", zig: "aarch64-linux-musl" },
  { platform: "darwin", arch: "arm64", libc: null, zig: "aarch64-macos.11.0" },
  { platform: "win32", arch: "x64", libc: null, zig: "x86_64-windows-gnu" },
].map((target) => ({
  ...target,
  name: [target.platform, target.arch, target.libc].filter(Boolean).join("-"),
  file: join(
    root,
    "prebuilds",
    `${target.platform}-${target.arch}`,
    ["bellows", target.libc, "node"].filter(Boolean).join("."),
  ),
}));

function run(command, args, options = {}) {
  const done = spawnSync(command, args, { stdio: "inherit", ...options });
  if (done.error) throw new Error(`${command} could not be started: ${done.error.message}`);
  if (done.status !== 0) throw new Error(`${command} ${args.join(" ")}: exit code ${done.status}`);
}

/**
 * Configures and builds with zig.
 *
 * @param target - one of {@link targets}
 * @param folder - the build folder
 * @param goal - what to build: the addon, or the C tests
 */
export function compile(target, folder, goal = "addon", definitions = []) {
  const napi = dirname(require.resolve("node-api-headers/package.json"));
  const configure = [
    ...["-S", root, "-B", folder, "-DCMAKE_BUILD_TYPE=Release"],
    `-DCMAKE_TOOLCHAIN_FILE=${join(root, "cmake", "zig.cmake")}`,
    ...[`-DBELLOWS_ZIG=${zig()}`, `-DBELLOWS_ZIG_TARGET=${target.zig}`],
    ...["-DBELLOWS_WERROR=ON", "-DBELLOWS_BENCHES=OFF", ...definitions],
  ];
  if (goal === "addon") {
    configure.push("-DBELLOWS_ADDON=ON", "-DBELLOWS_TESTS=OFF", "-DBELLOWS_STRIP=ON");
    configure.push(`-DCMAKE_JS_INC=${join(napi, "include")}`);
    if (target.platform === "win32") {
      mkdirSync(folder, { recursive: true });
      const library = join(folder, "node.lib");
      const list = join(napi, "def", "node_api.def");
      run(zig(), ["dlltool", "-m", "i386:x86-64", "-D", "node.exe", "-d", list, "-l", library]);
      configure.push(`-DCMAKE_JS_LIB=${library}`);
    }
  }
  run("cmake", configure, { stdio: ["ignore", "ignore", "inherit"] });
  run("cmake", ["--build", folder, "--parallel", String(availableParallelism())], {
    stdio: ["ignore", "ignore", "inherit"],
  });
}

/** What prebuildify runs in the folder of one target. */
function rebuild() {
  const { PREBUILD_PLATFORM, PREBUILD_ARCH, PREBUILD_LIBC } = process.env;
  const target = targets.find(
    ({ platform, arch, libc }) =>
      platform === PREBUILD_PLATFORM && arch === PREBUILD_ARCH && (libc === null || libc === PREBUILD_LIBC),
  );
  if (!target) throw new Error(`no target for ${PREBUILD_PLATFORM}-${PREBUILD_ARCH}-${PREBUILD_LIBC}`);
  compile(target, join(process.cwd(), "cmake"));
  mkdirSync(join("build", "Release"), { recursive: true });
  cpSync(join("cmake", "bellows.node"), join("build", "Release", "bellows.node"));
}

/** Builds one target; returns the path of its binary. */
export async function prebuild(target) {
  const { default: prebuildify } = await import(pathToFileURL(tool("prebuildify")).href);
  const folder = join(root, "build", "prebuild", target.name);
  rmSync(folder, { recursive: true, force: true }); // what is shipped is built from nothing
  mkdirSync(folder, { recursive: true });
  await promisify(prebuildify)({
    name: "bellows",
    cwd: folder,
    out: root,
    targets: ["20.0.0"],
    napi: true,
    platform: target.platform,
    arch: target.arch,
    libc: target.libc ?? "",
    tagLibc: target.libc ?? false,
    nodeGyp: fileURLToPath(import.meta.url),
  });
  chmodSync(target.file, 0o644);
  return target.file;
}

async function main(names) {
  for (const name of names) {
    if (targets.every((target) => target.name !== name)) {
      throw new Error(`"${name}" is none of ${targets.map((target) => target.name).join(", ")}`);
    }
  }
  if (names.length === 0) rmSync(join(root, "prebuilds"), { recursive: true, force: true });
  for (const target of targets) {
    if (names.length > 0 && !names.includes(target.name)) continue;
    const start = performance.now();
    const file = await prebuild(target);
    const seconds = ((performance.now() - start) / 1e3).toFixed(0);
    console.log(`${target.name.padEnd(18)} ${String(statSync(file).size).padStart(8)} bytes  ${seconds} s`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    if (process.argv[2] === "rebuild") rebuild();
    else await main(process.argv.slice(2));
  } catch (error) {
    console.error(`bellows: ${error.message}`);
    process.exitCode = 1;
  }
}
