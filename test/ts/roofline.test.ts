// The pictures of a roofline: what they show, that they fit, and that nothing in them lies on something else.

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Roofline } from "../../lib/cli/roofline.js";
import { rooflineSvg } from "../../lib/cli/roofline-svg.js";
import { rooflineText, terminal } from "../../lib/cli/roofline-text.js";
import type { ProfileRow } from "../../lib/index.js";
import { rates } from "../../lib/profile.js";
import { bellows, main, scratch } from "./cli.js";

const folder = scratch();

const roof: Roofline["roof"] = {
  threads: 2,
  gflops: 236,
  raised: false,
  arithmetic: { fp32: 236, bf16: 472 },
  memory: [
    { name: "L1", bytes: 65_536, gbytes: 560, raised: false },
    { name: "L2", bytes: 2_097_152, gbytes: 340, raised: false },
    { name: "L3", bytes: 33_554_432, gbytes: 250, raised: false },
    { name: "DRAM", bytes: null, gbytes: 35, raised: false },
  ],
};

/** A row that takes its milliseconds of a second. */
function row(op: string, group: string, ms: number, gflops: number, intensity: number): ProfileRow {
  const seconds = ms / 1e3;
  const flops = gflops * 1e9 * seconds;
  const bytes = intensity > 0 ? flops / intensity : 1e6;
  return { op, group, calls: 10, ms, share: seconds, ...rates({ flops, bytes, seconds, calls: 10 }, roof) };
}

function picture(rows: readonly ProfileRow[]): Roofline {
  return {
    game: "connect4",
    iterations: 2,
    roof,
    rows: [...rows].sort((a, b) => b.ms - a.ms),
    seconds: 1,
    gflops: 150,
    cpu: "A CPU",
    isa: "avx512",
    precision: "fp32",
    version: "0.1.0",
    command: "bellows roofline connect4 --iterations 2",
  };
}

const few = picture([
  row("linear_forward", "update", 500, 180, 50),
  row("layernorm_forward", "update", 200, 30, 1),
  row("square_sum", "update", 100, 0.5, 0.5),
  row("linear_forward", "collect", 90, 179, 50),
  row("weight_pack", "update", 60, 0, 0),
  { ...row("barrier", "update", 50, 0, 0), bound: null },
]);

/** Numbers from 0 to 1 that are the same every time (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Up to thirty ops anywhere under the roof, some of them on each other. */
function anything(seed: number): Roofline {
  const next = random(seed);
  const rows: ProfileRow[] = [];
  for (let i = 0; i < 3 + 27 * next(); ++i) {
    const near = rows.length > 0 && next() < 0.3 ? rows[Math.floor(next() * rows.length)]! : null;
    const intensity = near ? near.intensity * (0.98 + 0.04 * next()) : 10 ** (-1.5 + 3.5 * next());
    const height = Math.min(roof.gflops, 560 * intensity);
    const gflops = near ? Math.min(near.gflops * (0.9 + 0.2 * next()), height) : height * 10 ** (-3 * next());
    rows.push(
      row(
        `op_${"x".repeat(1 + 12 * next())}_${i}`,
        next() < 0.3 ? "collect" : "update",
        200 * next() ** 3,
        gflops,
        intensity,
      ),
    );
  }
  return picture(rows);
}

/** Letters of the list, and where the chart has them: column and line. */
function letters(text: string): { listed: Map<string, string>; drawn: Map<string, [number, number]> } {
  const listed = new Map<string, string>();
  const drawn = new Map<string, [number, number]>();
  const lines = text.split("\n");
  const at = lines.find((line) => line.startsWith("GFLOP/s"))!.indexOf("op ") - 2;
  for (const [i, line] of lines.entries()) {
    const [, letter, op] = /^([A-Z]) (\w+ +\w+)/.exec(line.slice(at)) ?? [];
    if (letter) listed.set(letter, op!.replace(/ +/, " "));
    if (i < 4) continue; // the head, and the axis's name
    const chart = line.slice(0, at).replace(/\b(L1|L2|L3|DRAM)\b/g, (name) => " ".repeat(name.length));
    for (const found of chart.matchAll(/[A-Z]/g)) drawn.set(found[0], [found.index, i]);
  }
  return { listed, drawn };
}

describe("the terminal's picture", () => {
  test.each([true, false])("has every letter where it belongs (unicode %s)", (unicode) => {
    const text = rooflineText(few, { columns: 100, unicode });
    const { listed, drawn } = letters(text);
    expect([...listed]).toEqual([
      ["A", "linear_forward update"],
      ["B", "layernorm_forward update"],
      ["C", "square_sum update"],
      ["D", "linear_forward collect"],
    ]);
    expect([...drawn.keys()].sort()).toEqual(["A", "B", "C", "D"]);
    const [a, b, c, d] = ["A", "B", "C", "D"].map((letter) => drawn.get(letter)!) as [number, number][] as [
      [number, number],
      [number, number],
      [number, number],
      [number, number],
    ];
    // More per byte stands further right, more a second further up; who would hide another one stands beside it.
    expect(c[0] < b[0] && b[0] < a[0]).toBe(true);
    expect(a[1] < b[1] && b[1] < c[1]).toBe(true);
    expect(d).toEqual([a[0] + 1, a[1]]);
    expect(text).toContain("roofs: 236 GFLOP/s fp32, L1 560 GB/s, L2 340 GB/s, L3 250 GB/s, DRAM 35 GB/s");
    expect(text).toMatch(/linear_forward +update +50\.0% +180\.0 +76%$/m);
    expect(text).toMatch(/weight_pack +update +6\.0% /);
    expect(text).toMatch(/barrier +update +5\.0%$/m);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what ASCII is
    expect(/^[\x00-\x7f]*$/.test(text)).toBe(!unicode);
  });

  test("fits into a hundred columns and thirty lines, and into a narrow terminal", () => {
    for (let seed = 1; seed <= 100; ++seed) {
      const of = anything(seed);
      const lines = rooflineText(of, { columns: 200, unicode: true }).trimEnd().split("\n");
      const widest = Math.max(...lines.map((line) => line.length));
      expect(lines.length, `seed ${seed}`).toBeLessThanOrEqual(30);
      expect(widest, `seed ${seed}`).toBeLessThanOrEqual(100);
      const narrow = rooflineText(of, { columns: 64, unicode: false }).split("\n").slice(3);
      expect(Math.max(...narrow.map((line) => line.length)), `seed ${seed}`).toBeLessThanOrEqual(64);
    }
  });

  test("shows each letter of its list once", () => {
    for (let seed = 1; seed <= 100; ++seed) {
      const { listed, drawn } = letters(rooflineText(anything(seed), { columns: 100, unicode: true }));
      expect(
        [...listed.keys()].filter((letter) => !drawn.has(letter)),
        `seed ${seed}`,
      ).toEqual([]);
    }
  });

  test.each([
    [{ LANG: "en_US.UTF-8" }, true],
    [{ LC_ALL: "C", LANG: "en_US.UTF-8" }, false],
    [{ LC_CTYPE: "C.utf8" }, true],
    [{ LANG: "en_US.UTF-8", NO_COLOR: "1" }, false],
    [{ LANG: "en_US.UTF-8", TERM: "dumb" }, false],
    [{}, false],
  ])("%j: unicode %s", (env, unicode) => {
    expect(terminal({ columns: 80 }, env)).toEqual({ columns: 80, unicode });
  });
});

/** The texts of an SVG with their boxes, for letters of 0.6 em; those that are turned have none. */
function texts(svg: string): { text: string; box: [number, number, number, number] | null }[] {
  return [...svg.matchAll(/<text ([^>]*)>([^<]+)<\/text>/g)]
    .filter(([, attributes]) => !attributes!.includes('opacity="0"'))
    .map(([, attributes = "", text = ""]) => {
      const [, x, y, rest] = /transform="translate\(([-\d.e]+),([-\d.e]+)\)([^"]*)"/.exec(attributes) ?? [];
      const anchor = /text-anchor="(\w+)"/.exec(attributes)?.[1] ?? "start";
      const size = Number(/font-size="([\d.]+)px"/.exec(attributes)?.[1]);
      if (x === undefined || rest) return { text, box: null };
      const width = 0.6 * size * text.length;
      const left = Number(x) - (anchor === "end" ? width : anchor === "middle" ? width / 2 : 0);
      return { text, box: [left, Number(y) - 0.7 * size, left + width, Number(y) + 0.1 * size] };
    });
}

describe("the SVG", () => {
  test("names axes, roofs, machine and command; two runs draw the same", async () => {
    const draw = await rooflineSvg();
    const svg = await draw(few);
    expect(await draw(few)).toBe(svg);
    expect(svg).toMatch(/^<svg /);
    const all = texts(svg).map(({ text }) => text);
    for (const text of [
      "Roofline of an iteration of connect4",
      "arithmetic intensity, flop/byte",
      "speed, GFLOP/s",
      "236 GFLOP/s fp32",
      "L1 560 GB/s",
      "DRAM 35 GB/s",
      "linear_forward 50%",
      "linear_forward 9.0%",
      "square_sum 10%",
      "A CPU, avx512, 2 threads; bellows 0.1.0: bellows roofline connect4 --iterations 2",
    ]) {
      expect(all).toContain(text);
    }
    expect(all.filter((text) => text.startsWith("weight_pack"))).toEqual([]);
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  });

  test("no label of an op lies on another one or outside", async () => {
    const draw = await rooflineSvg();
    for (let seed = 1; seed <= 40; ++seed) {
      const labels = texts(await draw(anything(seed))).filter(({ text }) => text.startsWith("op_"));
      expect(labels.length, `seed ${seed}`).toBeGreaterThan(0);
      for (const [i, { text, box }] of labels.entries()) {
        const [left, top, right, bottom] = box!;
        expect(left >= -1 && right <= 721 && top >= -1 && bottom <= 441, `seed ${seed}: ${text} is outside`).toBe(true);
        for (const other of labels.slice(i + 1)) {
          const [l, t, r, b] = other.box!;
          const apart = l >= right - 1 || r <= left + 1 || t >= bottom - 1 || b <= top + 1;
          expect(apart, `seed ${seed}: ${text} lies on ${other.text}`).toBe(true);
        }
      }
    }
  });
});

describe("a roof that was raised", () => {
  const of = picture([row("a", "update", 500, 200, 100), row("b", "update", 500, 100, 0.25)]);
  const note = "* roof raised to the best rate seen";
  const star = (raised: boolean, nearest: boolean): Roofline => {
    const [first, ...rest] = roof.memory;
    return { ...of, roof: { ...roof, raised, memory: [{ ...first!, raised: nearest }, ...rest] } };
  };

  test("has a star, and a line that says what it means", async () => {
    const draw = await rooflineSvg();
    for (const [raised, nearest] of [
      [true, false],
      [false, true],
      [true, true],
    ] as const) {
      const text = rooflineText(star(raised, nearest), { columns: 100, unicode: false });
      expect(text).toContain(`236 GFLOP/s fp32${raised ? "*" : ""}, L1 560 GB/s${nearest ? "*" : ""}, L2 340 GB/s,`);
      expect(text).toContain(note);
      const svg = await draw(star(raised, nearest));
      expect(svg).toContain(`236 GFLOP/s fp32${raised ? "*" : ""}<`);
      expect(svg).toContain(`L1 560 GB/s${nearest ? "*" : ""}<`);
      expect(svg).toContain(note);
    }
    expect(rooflineText(of, { columns: 100, unicode: false })).not.toContain("*");
    const short = picture([...of.rows, row("short", "update", 1, 900, 100)]); // raises nothing but its own roof
    const text = rooflineText(short, { columns: 100, unicode: false });
    expect(text).toMatch(/short .* 900\.0 100%\*$/m);
    expect(text).toContain(note);
    expect(await draw(of)).not.toContain(note);
  });
});

describe("bellows roofline", () => {
  const tiny = ["--set", "net.width=32", "--set", "rollout.games=128", "--threads", "1", "--iterations", "2"];

  test("measures, prints and draws", async () => {
    const svg = join(folder, "roofline.svg");
    const end = await bellows(["roofline", "tictactoe", ...tiny, "--svg", svg, "--json"]);
    expect(end.code, end.stderr).toBe(0);
    const [first, ...rest] = end.lines;
    expect(first).toMatchObject({ type: "roof", threads: 1, gflops: expect.any(Number) });
    expect(first!.memory.at(-1)).toMatchObject({ name: "DRAM" });
    expect(rest.slice(0, -1).every(({ type }) => type === "op")).toBe(true);
    expect(end.last).toMatchObject({
      type: "result",
      game: "tictactoe",
      iterations: 2,
      precision: "fp32",
      svg,
      command: "bellows roofline tictactoe --iterations 2 --threads 1 --set net.width=32 --set rollout.games=128",
    });
    for (const op of rest.slice(0, -1)) expect(op.roof, op.op).toBeLessThanOrEqual(1);
    const gae = rest.find(({ op }) => op === "gae");
    expect(gae).toMatchObject({ group: "update", calls: 2 });
    const shares = rest.filter(({ type }) => type === "op").map(({ share }) => share as number);
    expect(shares).toEqual([...shares].sort((a, b) => b - a));
    expect(end.last.seconds).toBeGreaterThan(0);
    expect(end.stderr).toContain("roofs: ");
    expect(readFileSync(svg, "utf8")).toContain("--set rollout.games=128");
    expect(readdirSync(folder).filter((name) => name.endsWith("tmp"))).toEqual([]);
  });

  test.each([
    [["roofline", "chess"], "OPTION", /game\.name/],
    [["roofline", "--iterations", "0"], "USAGE", /--iterations/],
    [["roofline", "--svg", join(folder, "nowhere", "r.svg")], "IO", /nowhere/],
    [["roofline", "--set", "net.widht=3"], "OPTION", /net\.widht/],
    [["roofline", "--precision", "fp64"], "OPTION", /run\.precision/],
  ])("%j is refused", async (args, code, path) => {
    const end = await bellows([...args, "--json"]);
    expect({ code: end.code, last: end.last }).toMatchObject({ code: 2, last: { type: "error", code } });
    expect(end.last.path).toMatch(path);
    expect(end.lines).toHaveLength(1);
  });

  test("says what to install where vega is missing, before it measures", async () => {
    const preload = join(folder, "without-vega.mjs");
    const hooks = `export const resolve = (name, context, next) => {
      if (name === "vega") throw Object.assign(new Error("no vega"), { code: "ERR_MODULE_NOT_FOUND" });
      return next(name, context);
    };`;
    const url = JSON.stringify(`data:text/javascript,${encodeURIComponent(hooks)}`);
    writeFileSync(preload, `import { register } from "node:module"; register(${url});`);
    const svg = join(folder, "never.svg");
    const end = await bellows(["roofline", ...tiny, "--svg", svg, "--json"], { node: ["--import", preload, main] });
    expect({ code: end.code, last: end.last }).toMatchObject({
      code: 2,
      last: { type: "error", code: "USAGE", path: "--svg", expected: "npm install vega" },
    });
    expect(end.lines).toHaveLength(1);
    expect(existsSync(svg)).toBe(false);
    const text = await bellows(["roofline", ...tiny], { node: ["--import", preload, main] });
    expect(text.code, text.stderr).toBe(0);
    expect(text.stdout).toContain("tictactoe: ");
  });
});
