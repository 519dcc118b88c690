// Builds native code, with clear words when a tool is missing.
//
//   node scripts/native.mjs addon              the Node addon, into build/Release (cmake-js)
//   node scripts/native.mjs test [asan|tsan]   the C tests: configure, build, ctest (needs cmake and a C compiler only)
//   node scripts/native.mjs gyp                the portable engine with node-gyp in build/gyp, loaded once
//
// BELLOWS_WERROR=1 in the environment turns compiler warnings into errors.

import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const jobs = String(availableParallelism());

function fail(message) {
  console.error(`bellows: ${message}`);
  process.exit(1);
}

function run(command, args, options = {}) {
  const done = spawnSync(command, args, { cwd: root, stdio: "inherit", ...options });
  if (done.error) fail(`${command} could not be started: ${done.error.message}`);
  if (done.status !== 0) process.exit(done.status ?? 1);
}

function works(command) {
  const done = spawnSync(command, ["--version"], { stdio: "ignore" });
  return !done.error && done.status === 0;
}

function needTools() {
  const missing = [];
  if (!works("cmake")) missing.push("CMake 3.20 or later (apt-get install cmake, brew install cmake, cmake.org)");
  const compilers = process.env.CC ? [process.env.CC.split(" ")[0]] : ["cc", "gcc", "clang"];
  if (process.platform !== "win32" && !compilers.some(works)) {
    missing.push("a C and C++ compiler (apt-get install g++, xcode-select --install)");
  }
  if (missing.length > 0) fail(`building from source needs ${missing.join(" and ")}.`);
}

// A package's executable, run by this node: no PATH and no shell involved.
function packageBin(name) {
  const manifest = `${name}/package.json`;
  let path;
  try {
    path = require.resolve(manifest);
  } catch {
    fail(`the development dependency ${name} is not installed: run \`npm install\` in the checkout first.`);
  }
  const { bin } = require(manifest);
  return join(dirname(path), typeof bin === "string" ? bin : bin[name]);
}

function cmake(preset) {
  needTools();
  const build = join(root, "build", preset);
  const configurations = {
    c: ["-DCMAKE_BUILD_TYPE=Release"],
    asan: ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DBELLOWS_SANITIZE=address", "-DBELLOWS_BENCHES=OFF"],
    tsan: ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DBELLOWS_SANITIZE=thread", "-DBELLOWS_BENCHES=OFF"],
  };
  const werror = process.env.BELLOWS_WERROR ? "ON" : "OFF";
  const quiet = { stdio: ["ignore", "ignore", "inherit"] };
  run("cmake", ["-S", root, "-B", build, `-DBELLOWS_WERROR=${werror}`, ...configurations[preset]], quiet);
  run("cmake", ["--build", build, "--parallel", jobs]);
  return build;
}

const [task, argument] = process.argv.slice(2);

if (task === "addon") {
  needTools();
  const arguments_ = ["compile", "--parallel", jobs, "--log-level", "warn"];
  arguments_.push(`--CDBELLOWS_WERROR=${process.env.BELLOWS_WERROR ? "ON" : "OFF"}`);
  run(process.execPath, [packageBin("cmake-js"), ...arguments_]);
} else if (task === "test") {
  const preset = argument ?? "c";
  if (!["c", "asan", "tsan"].includes(preset)) fail(`test: "${preset}" is none of asan, tsan`);
  const build = cmake(preset);
  run("ctest", ["--test-dir", build, "--output-on-failure", "--parallel", jobs, "--no-tests=error"]);
} else if (task === "gyp") {
  // In a folder of its own: node-gyp writes to build/, where the CMake-built addon lies.
  const folder = join(root, "build", "gyp");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const item of ["binding.gyp", "package.json", "csrc"]) {
    cpSync(join(root, item), join(folder, item), { recursive: true });
  }
  const options = ["--directory", folder, "--jobs", jobs, "--loglevel", "warn"];
  // The headers that came with this node, where they did: nothing to download then.
  const prefix = dirname(dirname(process.execPath));
  if (existsSync(join(prefix, "include", "node", "node_api.h"))) options.push("--nodedir", prefix);
  run(process.execPath, [packageBin("node-gyp"), "rebuild", ...options]);
  const addon = join(folder, "build", "Release", "bellows.node");
  const loaded = spawnSync(process.execPath, ["-p", `Object.keys(require(${JSON.stringify(addon)})).join(" ")`], {
    encoding: "utf8",
  });
  if (loaded.status !== 0 || loaded.stdout.trim() === "") fail(`${addon} does not load: ${loaded.stderr}`);
  console.log(`portable engine built with node-gyp; it exports ${loaded.stdout.trim()}`);
} else {
  fail("usage: node scripts/native.mjs addon | test [asan|tsan] | gyp");
}
