// The shape of the code: folders include only what stands above them, and the engine never prints or exits.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

// Top to bottom. A folder includes itself and what has a smaller number.
const RANK: Readonly<Record<string, number>> = {
  core: 0,
  device: 1,
  games: 2,
  kernels: 3,
  backends: 4,
  nets: 5,
  train: 6,
  judge: 7,
  text: 7,
  api: 8,
  bench: 9,
  binding: 10,
};

// Tighter than the order: these reach kernels only through the device contract, and the binding sees the API
// and its error record only.
const ONLY: Readonly<Record<string, readonly string[]>> = {
  nets: ["core", "device", "games", "nets"],
  train: ["core", "device", "games", "nets", "train"],
  judge: ["core", "games", "judge"],
  bench: ["api", "bench", "core", "device", "games"],
  binding: ["api", "bench", "binding", "core"],
};

// The one header through which a device is made by name.
const FACTORY = "csrc/backends/backends.h";
const FACTORY_USERS = ["train", "api", "bench"];

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.(c|h|cc|m|cu|def)$/.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .sort();
}

/** csrc/games/list.def -> games */
function folderOf(path: string): string {
  return path.split("/")[1] ?? "";
}

/** What is wrong with the quoted includes of one file. `exists` tells whether a path from the root is a file. */
function includeProblems(path: string, text: string, exists: (path: string) => boolean): string[] {
  const problems: string[] = [];
  const own = folderOf(path);
  const ownRank = RANK[own];
  if (ownRank === undefined) return [`${path}: folder ${own} has no place in the order`];
  for (const [, name = ""] of text.matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)) {
    const target = [posix.join(posix.dirname(path), name), posix.join("csrc", name)].find(exists);
    if (target === undefined) {
      problems.push(`${path}: includes "${name}", which is no file of csrc`);
      continue;
    }
    const other = folderOf(target);
    const rank = RANK[other];
    if (other === own || (target === FACTORY && FACTORY_USERS.includes(own))) continue;
    const allowed = rank !== undefined && rank < ownRank && (ONLY[own]?.includes(other) ?? true);
    if (!allowed) problems.push(`${path}: ${own} may not include ${target}`);
  }
  return problems;
}

/** Source text without comments, and with empty strings in place of string literals. */
function codeOnly(text: string): string {
  return text.replace(/\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g, (part) =>
    part.startsWith("/") ? " " : '""',
  );
}

/** Calls that an engine in somebody else's process must not make. */
function forbiddenCalls(path: string, text: string): string[] {
  const calls =
    /\b(exit|_exit|_Exit|quick_exit|abort|printf|fprintf|vprintf|vfprintf|puts|fputs|putchar|perror|assert)\s*\(/g;
  return [...codeOnly(text).matchAll(calls)].map(([, name]) => `${path}: calls ${name}`);
}

const files = sources("csrc");
const engine = files.filter((path) => folderOf(path) !== "binding" && path.split("/").length > 2);
const read = (path: string) => readFileSync(join(root, path), "utf8");
const isFile = (path: string) => existsSync(join(root, path));

describe("includes", () => {
  test("point upwards only", () => {
    expect(files.length).toBeGreaterThan(20);
    expect(files.flatMap((path) => includeProblems(path, read(path), isFile))).toEqual([]);
  });

  test.each([
    ["csrc/core/a.c", "games/game.h"],
    ["csrc/core/a.c", "../device/device.h"],
    ["csrc/nets/a.c", "../kernels/norm.k.h"],
    ["csrc/train/a.c", "api/bw.h"],
    ["csrc/train/a.c", "../judge/best_response.h"],
    ["csrc/nets/a.c", "../backends/backends.h"],
    ["csrc/judge/a.c", "../train/config.h"],
    ["csrc/binding/a.cc", "../train/config.h"],
    ["csrc/api/a.c", "../bench/bench.h"],
    ["csrc/bench/a.c", "../train/run.h"],
    ["csrc/bench/a.c", "../backends/cpu_device.h"],
    ["csrc/core/a.c", "no_such_file.h"],
  ])("%s including %s is refused", (path, name) => {
    const known = (candidate: string) =>
      !candidate.includes("no_such_file") && !/csrc\/\w+\/(games|api)\//.test(candidate);
    expect(includeProblems(path, `#include "${name}"\n`, known)).toHaveLength(1);
  });

  test("the device factory is open to training, the API and the benches", () => {
    expect(includeProblems("csrc/bench/a.c", '#include "../backends/backends.h"', () => true)).toEqual([]);
    expect(includeProblems("csrc/train/a.c", '#include "../backends/backends.h"', () => true)).toEqual([]);
    expect(includeProblems("csrc/api/a.c", '#include "../backends/backends.h"', () => true)).toEqual([]);
  });
});

/** What the lab may use of lib beside the public API: who is at work, and how files are written. */
const LAB_USES = ["lib/index.js", "lib/errors.js", "lib/owner.js", "lib/checkpoint.js"];

describe("the lab", () => {
  const inLab = (path: string, text: string) =>
    [...text.matchAll(/from "(\.[^"]+)"/g)]
      .map(([, name = ""]) => posix.join(posix.dirname(path), name))
      .filter((target) => !target.startsWith("lib/lab/") && !LAB_USES.includes(target));

  test("uses the public API only", () => {
    const paths = readdirSync(join(root, "lib/lab"), { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
      .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join("/"));
    expect(paths.length).toBeGreaterThan(10);
    expect(paths.flatMap((path) => inLab(path, read(path)))).toEqual([]);
    expect(inLab("lib/lab/objectives/a.ts", 'import { x } from "../../native.js";')).toEqual(["lib/native.js"]);
  });
});

describe("the engine", () => {
  test("never prints, exits, aborts or asserts", () => {
    expect(engine.flatMap((path) => forbiddenCalls(path, read(path)))).toEqual([]);
  });

  test("the check sees a planted call and no look-alike", () => {
    expect(forbiddenCalls("x.c", 'void f(void) { fprintf(stderr, "x"); }')).toHaveLength(1);
    expect(forbiddenCalls("x.c", "if (bad) abort ();")).toHaveLength(1);
    expect(forbiddenCalls("x.c", 'snprintf(a, 3, "exit(1)"); _Static_assert(1, ""); // printf("")')).toEqual([]);
  });

  test("carries the version of package.json", () => {
    const { version } = JSON.parse(read("package.json")) as { version: string };
    expect(read("csrc/api/bw.c")).toContain(`"${version}"`);
  });
});

describe("csrc/sources.json", () => {
  const lists = JSON.parse(read("csrc/sources.json")) as Record<string, string[] | string>;
  const listed = Object.values(lists)
    .filter((list): list is string[] => Array.isArray(list))
    .flat();

  test("lists every compiled file once", () => {
    expect([...listed].sort()).toEqual(files.filter((path) => /\.(c|cc)$/.test(path)));
  });
});

/** The packages that are loaded with a module of lib, by it or by what it imports; types and `import()` aside. */
function packagesOf(entry: string): string[] {
  const packages = new Set<string>();
  const seen = new Set<string>();
  const visit = (path: string) => {
    if (seen.has(path)) return;
    seen.add(path);
    const text = readFileSync(join(root, path), "utf8");
    for (const [, clause = "", name = ""] of text.matchAll(/^(?:import|export)\s([^;]*?)from\s+"([^"]+)";/gm)) {
      if (/^type\s/.test(clause)) continue;
      if (name.startsWith(".")) visit(posix.join(posix.dirname(path), name.replace(/\.js$/, ".ts")));
      else if (!name.startsWith("node:")) packages.add(name.split("/")[0]!);
    }
  };
  visit(entry);
  return [...packages].sort();
}

test("self-play and the command start without what only studies need", () => {
  const lab = ["libsql", "zod"];
  expect(packagesOf("lib/lab/index.ts")).toEqual(expect.arrayContaining(lab));
  expect(packagesOf("lib/cli/main.ts")).toContain("commander");
  for (const entry of ["lib/index.ts", "lib/cli/main.ts"]) {
    for (const name of [...lab, "log-update"]) expect(packagesOf(entry), entry).not.toContain(name);
  }
});
