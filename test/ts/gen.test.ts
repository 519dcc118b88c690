// Generated files are what the tables say.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { GAME_DEFAULTS, GAME_NAMES, OPTION_ROWS } from "../../lib/names.gen.js";
import { outputs, parseDef } from "../../scripts/gen.mjs";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

describe("generated files", () => {
  test.each(outputs().map(([path, text]) => ({ path, text })))("$path is fresh (npm run gen)", ({ path, text }) => {
    expect(readFileSync(join(root, path), "utf8")).toBe(text);
  });

  test("a row for every line of options.def", () => {
    const lines = readFileSync(join(root, "csrc/train/options.def"), "utf8")
      .split("\n")
      .filter((line) => /^(INT|REAL|BOOL|ENUM|TEXT)\(/.test(line));
    expect(OPTION_ROWS.map((row) => row.path)).toEqual(lines.map((line) => /"([^"]+)"/.exec(line)?.[1]));
  });

  test("defaults lie in their ranges", () => {
    for (const row of OPTION_ROWS) {
      if (row.values) expect(row.values).toContain(row.default);
      if (row.min !== null) expect(row.default).toBeGreaterThanOrEqual(row.min);
      if (row.max !== null) expect(row.default).toBeLessThanOrEqual(row.max);
    }
  });

  test("every game has its defaults, for known options", () => {
    expect(Object.keys(GAME_DEFAULTS)).toEqual([...GAME_NAMES]);
    const paths = OPTION_ROWS.map((row) => row.path);
    for (const own of Object.values(GAME_DEFAULTS)) {
      for (const path of Object.keys(own)) expect(paths).toContain(path);
    }
  });
});

describe("the reader of .def files", () => {
  test("splits arguments, keeps commas and bars in strings", () => {
    const [row] = parseDef('INT(a_b, "a.b", -1, 0, 2e3, "one, two | (three)")\n', "x.def");
    expect(row).toEqual({ macro: "INT", args: ["a_b", "a.b", "-1", "0", "2e3", "one, two | (three)"], line: 1 });
  });

  test("names file and line of what it does not understand", () => {
    expect(() => parseDef("// fine\nINT(a\n", "x.def")).toThrow("x.def:2");
  });
});
