// Formats the C and C++ files (npm run format), or with --check reports those that are not formatted (npm run lint).

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const check = process.argv.includes("--check");

function sources(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.(c|h|cc)$/.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)));
}

let command;
try {
  command = require("clang-format").getNativeBinary();
} catch (error) {
  // The npm package holds no binary for some platforms (linux-arm64): CI formats on one that it has.
  const system = spawnSync("clang-format-15", ["--version"], { stdio: "ignore" });
  if (system.error) {
    console.error(`clang-format: not available here, C files not checked (${error.message ?? error})`);
    process.exit(0);
  }
  command = "clang-format-15";
}

const files = ["csrc", "test/c", "test/fuzz", "test/slow", "bench"].flatMap(sources);
const args = check ? ["--dry-run", "-Werror"] : ["-i"];
const done = spawnSync(command, [...args, ...files], { cwd: root, stdio: "inherit" });
if (done.error) {
  console.error(`clang-format: ${done.error.message}`);
  process.exit(1);
}
process.exit(done.status ?? 1);
