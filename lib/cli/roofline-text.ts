// The roofline for a terminal: both axes are logarithms, ops are letters, and a list beside them says which.

import { type CustomSymbol, type LineFormatterArgs, type Point, plot } from "simple-ascii-chart";
import type { MemoryRoof, ProfileRow, Roof } from "../profile.js";
import { RAISED } from "./report.js";
import type { Roofline } from "./roofline.js";

/** Columns and rows that a picture takes at most. */
const WIDTH = 100;
const HEIGHT = 30;
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** Where a picture is drawn. */
export interface Terminal {
  readonly columns?: number | undefined;
  /** Whether letters beyond ASCII come through. */
  readonly unicode: boolean;
}

export function terminal(
  { columns }: { readonly columns?: number | undefined },
  env: NodeJS.ProcessEnv = process.env,
): Terminal {
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || "";
  const plain = env.NO_COLOR || env.TERM === "dumb" || !/utf-?8/i.test(locale);
  return { columns, unicode: !plain };
}

const ASCII_AXES = { n: "^", ns: "|", y: "+", nse: "+", x: "+", we: "-", e: ">" };

/** A thousandth of the time is not worth a place. */
const LEAST_SHARE = 0.001;

/** Work with a place in the picture: it takes time, computes, and touches memory. */
export function isPlaced({ share, gflops, intensity }: ProfileRow): boolean {
  return share >= LEAST_SHARE && gflops > 0 && intensity > 0;
}

export function rooflineText(of: Roofline, { columns = WIDTH, unicode }: Terminal): string {
  const lettered = of.rows.filter(isPlaced).slice(0, LETTERS.length);
  const list = listOf(of.rows, lettered, HEIGHT - 6);
  const beside = columns >= 90;
  const listWidth = Math.max(...list.map((line) => line.length));
  const width = beside ? Math.min(columns, WIDTH) - listWidth - 2 : Math.min(columns, WIDTH);
  const chart = chartOf(of, lettered, width, unicode);
  const body = beside
    ? Array.from({ length: Math.max(chart.length, list.length) }, (_, i) =>
        `${(chart[i] ?? "").padEnd(width)}  ${list[i] ?? ""}`.trimEnd(),
      )
    : [...chart, "", ...list];
  return [...headOf(of), "", ...body, ""].join("\n");
}

/** Whether a roof is a rate that work reached instead of a probe's. */
export function isRaised({ raised, memory }: Roof): boolean {
  return raised || memory.some((level) => level.raised);
}

function headOf({ game, iterations, roof, rows, seconds, gflops, cpu, isa, precision }: Roofline): string[] {
  const star = (raised: boolean) => (raised ? "*" : "");
  const memory = roof.memory
    .map(({ name, gbytes, raised }) => `${name} ${gbytes.toFixed(0)} GB/s${star(raised)}`)
    .join(", ");
  const each = (1e3 * seconds) / iterations;
  return [
    `${game}: ${each.toFixed(each < 100 ? 1 : 0)} ms an iteration, ${gflops.toFixed(1)} GFLOP/s, ` +
      `${((100 * gflops) / roof.gflops).toFixed(0)}% of the roof; ${cpu}, ${isa}, ${roof.threads} threads`,
    `roofs: ${roof.gflops.toFixed(0)} GFLOP/s ${precision}${star(roof.raised)}, ${memory}`,
    ...(isRaised(roof) || rows.some((row) => row.ms > 0 && row.raised) ? [RAISED] : []),
  ];
}

/** The ops with most time: letter, phase, share of the time, rate, share of the roof and which one that is. */
function listOf(rows: readonly ProfileRow[], lettered: readonly ProfileRow[], most: number): string[] {
  const line = (letter: string, op: string, phase: string, time: string, rate: string, share: string) =>
    `${letter} ${op.padEnd(19)} ${phase.padEnd(7)} ${time.padStart(5)} ${rate.padStart(7)} ${share}`;
  const shown = rows.filter(({ ms }) => ms > 0).slice(0, most);
  const rest = rows.slice(shown.length).reduce((sum, { share }) => sum + share, 0);
  const others = rest >= 0.0005 ? [line(" ", "others", "", percent(rest), "", "").trimEnd()] : [];
  return [
    line(" ", "op", "phase", "time", "GFLOP/s", "of roof"),
    ...shown.map((row) => {
      const letter = LETTERS[lettered.indexOf(row)] ?? " ";
      const rate = row.gflops > 0 ? row.gflops.toFixed(row.gflops < 10 ? 2 : 1) : "";
      const which = row.bound === "compute" ? "" : ` ${row.memory}`;
      const share =
        row.bound === null ? "" : `${(100 * row.roof).toFixed(0).padStart(3)}%${row.raised ? "*" : ""}${which}`;
      return line(letter, row.op, row.group, percent(row.share), rate, share).trimEnd();
    }),
    ...others,
  ];
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}

/** What the axes span, as powers of ten: everything that is shown, and some room. */
export function domainOf({ roof: { gflops, memory } }: Roofline, rows: readonly ProfileRow[]): { x: Point; y: Point } {
  const xs = [...rows.map(({ intensity }) => intensity), ...memory.map(({ gbytes }) => gflops / gbytes)];
  const ys = [...rows.map((row) => row.gflops), gflops / 10, gflops];
  const span = (values: readonly number[], above: number): Point => {
    const [low, high] = [Math.log10(Math.min(...values)), Math.log10(Math.max(...values))];
    return [low - 0.06 * (high - low), high + above * (high - low)];
  };
  return { x: span(xs, 0.09), y: span(ys, 0.14) };
}

/** The whole powers of ten in a span. */
export function powers([from, to]: readonly [number, number]): number[] {
  return Array.from({ length: Math.floor(to) - Math.ceil(from) + 1 }, (_, i) => Math.ceil(from) + i);
}

export function tick(power: number): string {
  return String(Number((10 ** power).toPrecision(1)));
}

function chartOf(of: Roofline, lettered: readonly ProfileRow[], width: number, unicode: boolean): string[] {
  const { gflops, memory } = of.roof;
  const domain = domainOf(of, lettered);
  const height = HEIGHT - 8;
  const labels = Math.max(...powers(domain.y).map((power) => tick(power).length));
  const columns = width - labels - 5;
  const [left, right] = domain.x;
  const steps = Array.from({ length: 2 * columns }, (_, i) => left + ((right - left) * i) / (2 * columns - 1));
  // What stands at a point; points are told apart by their numbers, which the library hands back as they were.
  const texts = new Map<string, { readonly text: string; readonly yields: boolean }>();
  const series: Point[][] = [];
  const add = (points: readonly Point[], text: string, yields = false) => {
    const inside = points.filter(([, y]) => y >= domain.y[0] && y <= domain.y[1]);
    for (const point of inside) texts.set(point.join(), { text, yields });
    if (inside.length > 0) series.push([...inside]);
  };
  const peak = Math.log10(gflops);
  const slope = ({ gbytes }: MemoryRoof) => steps.map((x): Point => [x, x + Math.log10(gbytes)]);
  for (const level of memory)
    add(
      slope(level).filter(([, y]) => y < peak),
      unicode ? "·" : ".",
    );
  const ridge = Math.log10(gflops / memory[0]!.gbytes);
  add(
    steps.filter((x) => x >= ridge).map((x): Point => [x, peak]),
    unicode ? "─" : "-",
  );
  // Names at different heights, the nearest memory's before its slope: the slopes of caches lie close together.
  for (const [i, { name, gbytes }] of memory.entries()) {
    const y = domain.y[0] + (0.75 - 0.2 * i) * (peak - domain.y[0]);
    const shift = ((right - left) / columns) * (i === 0 ? -name.length - 1 : 2);
    add([[y - Math.log10(gbytes) + shift, y]], name);
  }
  for (const [i, { intensity, gflops }] of lettered.entries()) {
    add([[Math.log10(intensity), Math.log10(gflops)]], LETTERS[i]!, true);
  }

  const taken = new Set<string>();
  const lineFormatter = ({ x, y, plotX, plotY }: LineFormatterArgs): CustomSymbol[] => {
    const { text, yields } = texts.get([x, y].join()) ?? { text: "", yields: false };
    let at = plotX;
    // Letters that would hide each other stand side by side, the one with more time where it belongs.
    while (yields && taken.has(`${at},${plotY}`)) ++at;
    const symbols = [...text].map((symbol, i) => ({ x: at + i, y: plotY, symbol }));
    if (yields || text.length > 1) for (const cell of symbols) taken.add(`${cell.x},${cell.y}`);
    return symbols;
  };
  const drawn = plot(series, {
    width: columns,
    height,
    yRange: [...domain.y],
    customXAxisTicks: powers(domain.x),
    customYAxisTicks: powers(domain.y),
    formatter: (value) => tick(value),
    lineFormatter,
    ...(unicode ? {} : { symbols: { axis: ASCII_AXES } }),
  });
  const lines = drawn.split("\n").map((line) => line.trimEnd());
  return ["GFLOP/s", ...lines.filter((line) => line !== ""), "flop/byte".padStart(width)];
}
