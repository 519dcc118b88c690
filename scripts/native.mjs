// Builds native code, with clear words when a tool is missing.
//
//   node scripts/native.mjs addon [asan|tsan]  the Node addon, into build/Release (cmake-js); with a sanitizer into
//                                              build/asan-addon or build/tsan-addon, for test/sanitizers/run.mjs
//   node scripts/native.mjs test [asan|tsan]   the C tests: configure, build, ctest (needs cmake and a C compiler only)
//   node scripts/native.mjs fuzz [executions]  the fuzz targets on every core (10,000,000 of the reader; needs clang)
//   node scripts/native.mjs gyp                the portable engine with node-gyp in build/gyp; it trains once
//
// BELLOWS_WERROR=1 in the environment turns compiler warnings into errors.

import { spawn, spawnSync } from "node:child_process";
import { closeSync, cpSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
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
    fuzz: [
      ...["-DCMAKE_C_COMPILER=clang", "-DCMAKE_CXX_COMPILER=clang++", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"],
      ...["-DBELLOWS_SANITIZE=address", "-DBELLOWS_FUZZ=ON", "-DBELLOWS_TESTS=OFF", "-DBELLOWS_BENCHES=OFF"],
    ],
  };
  const werror = process.env.BELLOWS_WERROR ? "ON" : "OFF";
  const quiet = { stdio: ["ignore", "ignore", "inherit"] };
  run("cmake", ["-S", root, "-B", build, `-DBELLOWS_WERROR=${werror}`, ...configurations[preset]], quiet);
  run("cmake", ["--build", build, "--parallel", jobs]);
  return build;
}

function needFuzzer() {
  const source =
    "int LLVMFuzzerTestOneInput(const char* b, unsigned long n); int LLVMFuzzerTestOneInput(const char* b, unsigned long n) { return !b || n > 9 ? 0 : 0; }";
  const probe = ["-fsanitize=fuzzer,address,undefined", "-x", "c", "-", "-o", "/dev/null"];
  const done = spawnSync("clang", probe, { input: source, encoding: "utf8" });
  if (!done.error && done.status === 0 && works("clang++")) return;
  const why = done.error ? done.error.message : done.stderr.trim();
  fail(`fuzzing needs clang with libFuzzer and the sanitizers (apt-get install clang libclang-rt-dev): ${why}`);
}

// Runs a fuzz target on every core, each process with its share of the executions and a seed of its own; they share
// what they find in build/fuzz/corpus, which later campaigns start from.
async function fuzz(build, target, executions, maxBytes) {
  const corpus = join(build, "corpus", target);
  const findings = join(build, "findings", target);
  for (const folder of [corpus, findings]) mkdirSync(folder, { recursive: true });
  const begin = performance.now();
  const share = Math.ceil(executions / jobs);
  const options = [
    ...[`-runs=${share}`, `-max_len=${maxBytes}`, "-len_control=0", "-mutate_depth=2", "-timeout=5"],
    ...["-rss_limit_mb=2048", "-malloc_limit_mb=64", "-print_final_stats=1", `-artifact_prefix=${findings}/`],
  ];
  const ends = await Promise.all(
    Array.from({ length: Number(jobs) }, async (_, index) => {
      const log = join(build, `${target}-${index}.log`);
      const file = openSync(log, "w");
      const child = spawn(join(build, target), [corpus, ...options], { cwd: root, stdio: ["ignore", file, file] });
      closeSync(file);
      const code = await new Promise((resolve) => child.on("close", resolve).on("error", () => resolve(null)));
      const text = readFileSync(log, "utf8");
      const value = (name) => Number(text.match(new RegExp(`stat::${name}:\\s+(\\d+)`))?.[1] ?? 0);
      const done = value("number_of_executed_units");
      return { log, text, done, slowest: value("slowest_unit_time_sec"), ok: code === 0 && done >= share };
    }),
  );
  const failed = ends.filter((end) => !end.ok);
  for (const { log, text } of failed) console.error(`${text.split("\n").slice(-60).join("\n")}\n(${log})`);
  const total = ends.reduce((sum, { done }) => sum + done, 0);
  const seconds = Math.round((performance.now() - begin) / 1e3);
  const slowest = Math.max(...ends.map((end) => end.slowest));
  console.log(
    `${target}: ${total} executions in ${seconds} seconds, ${failed.length} findings; slowest ${slowest} seconds`,
  );
  if (failed.length > 0) fail(`what failed lies in ${findings}: ${join(build, target)} FILE runs it again`);
}

const [task, argument] = process.argv.slice(2);

if (task === "addon") {
  needTools();
  const arguments_ = ["compile", "--parallel", jobs, "--log-level", "warn"];
  arguments_.push(`--CDBELLOWS_WERROR=${process.env.BELLOWS_WERROR ? "ON" : "OFF"}`);
  if (argument !== undefined) {
    const sanitizer = { asan: "address", tsan: "thread" }[argument];
    if (!sanitizer) fail(`addon: "${argument}" is none of asan, tsan`);
    arguments_.push("--out", join("build", `${argument}-addon`), "--config", "RelWithDebInfo");
    arguments_.push(`--CDBELLOWS_SANITIZE=${sanitizer}`);
  }
  run(process.execPath, [packageBin("cmake-js"), ...arguments_]);
} else if (task === "test") {
  const preset = argument ?? "c";
  if (!["c", "asan", "tsan"].includes(preset)) fail(`test: "${preset}" is none of asan, tsan`);
  const build = cmake(preset);
  run("ctest", ["--test-dir", build, "--output-on-failure", "--parallel", jobs, "--no-tests=error"]);
} else if (task === "fuzz") {
  const executions = Number(argument ?? 10_000_000);
  if (!Number.isInteger(executions) || executions < 1) fail(`fuzz: "${argument}" is no number of executions`);
  needFuzzer();
  const build = cmake("fuzz");
  await fuzz(build, "fuzz_safetensors", executions, 4096);
  // A run's own checks stand behind the reader, and an execution takes five times as long.
  await fuzz(build, "fuzz_checkpoint", Math.ceil(executions / 20), 8192);
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
  const args = "train tictactoe --iterations 2 --set rollout.games=64 --json --out".split(" ");
  const trained = spawnSync(process.execPath, [join(root, "dist", "cli", "main.js"), ...args, join(folder, "run")], {
    encoding: "utf8",
    env: { ...process.env, BELLOWS_BINARY: addon },
  });
  const last = trained.stdout?.trim().split("\n").at(-1) ?? "";
  if (trained.status !== 0 || JSON.parse(last).type !== "result") fail(`${addon} does not train: ${trained.stderr}`);
  console.log(`portable engine built with node-gyp; it trains to ${JSON.parse(last).weightsHash}`);
} else {
  fail("usage: node scripts/native.mjs addon | test [asan|tsan] | fuzz [executions] | gyp");
}
