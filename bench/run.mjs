// npm run bench: builds, runs `bellows bench` with the same options, and keeps its rows in bench/results/<machine>.json.
//
//   node bench/run.mjs [--no-build] [--no-save] [options of bellows bench]
//
// Rows of other cases, threads and precisions that the file has are kept. See bench/README.md.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(here);
const own = ["--no-build", "--no-save", "--json"];
const given = process.argv.slice(2);
const args = given.filter((arg) => !own.includes(arg));

if (!given.includes("--no-build")) {
  for (const script of ["build:native", "build:ts"]) {
    const done = spawnSync("npm", ["run", "--silent", script], { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
    if (done.status !== 0) process.exit(done.status ?? 1);
  }
}

// With --json people's text goes to stderr, so both can be had from one run.
const command = [join(root, "dist", "cli", "main.js"), "bench", ...args, "--json"];
const child = spawn(process.execPath, command, { stdio: ["inherit", "pipe", "inherit"] });
const lines = [];
for await (const line of createInterface({ input: child.stdout })) {
  lines.push(JSON.parse(line));
  if (given.includes("--json")) console.log(line);
}
process.exitCode = child.exitCode ?? (await new Promise((resolve) => child.on("close", resolve)));

const machine = lines.find(({ type }) => type === "machine");
const rows = lines.filter(({ type }) => type === "bench");
if (machine && rows.length > 0 && !given.includes("--no-save")) {
  const { type: _, load: _load, name, version, commit: _commit, date, ...about } = machine;
  const file = join(here, "results", `${name}.json`);
  const key = (row) => [row.name, row.shape, row.threads, row.precision].join(" ");
  const fresh = new Set(rows.map(key));
  const old = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).rows : [];
  const all = [
    ...old.filter((row) => !fresh.has(key(row))),
    ...rows.map(({ type: _row, ...row }) => ({ ...row, version, date })),
  ].sort((a, b) => key(a).localeCompare(key(b), "en", { numeric: true }));
  mkdirSync(dirname(file), { recursive: true });
  const text = all.map((row) => `    ${JSON.stringify(row)}`).join(",\n");
  writeFileSync(file, `{\n  "machine": ${JSON.stringify(about)},\n  "rows": [\n${text}\n  ]\n}\n`);
  console.error(`wrote ${file}`);
}
