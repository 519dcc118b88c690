// The roofline as SVG.

import type { LabelAnchor, Mark, Spec } from "vega";
import type { ProfileRow } from "../profile.js";
import { RAISED } from "./report.js";
import type { Roofline } from "./roofline.js";
import { domainOf, isPlaced, isRaised, powers } from "./roofline-text.js";
import { svgRenderer } from "./vega.js";

const WIDTH = 720;
const HEIGHT = 440;
/** Pixels squared of an op that takes all of the time, and of one that takes none. */
const AREA = { most: 5000, least: 24 };
/** Pixels. */
const FONT = 11;
const LINE = 14;
const INK = "#222";
const FAINT = "#666";

/**
 * A function that draws.
 *
 * @throws BellowsError where vega is not installed
 */
export async function rooflineSvg(): Promise<(of: Roofline) => Promise<string>> {
  const draw = await svgRenderer("roofline");
  return (of) => draw(rooflineSpec(of));
}

interface Label {
  readonly x: number;
  readonly y: number;
  /** Pixels from there. */
  readonly dx: number;
  readonly dy: number;
  readonly text: string;
  readonly phase: string;
  /** Labels with more are placed first. */
  readonly share: number;
}

function areaOf({ share }: ProfileRow): number {
  return AREA.least + AREA.most * share;
}

export function rooflineSpec(of: Roofline): Spec {
  const { roof, game, iterations } = of;
  const rows = of.rows.filter(isPlaced);
  const domain = domainOf(of, rows);
  const [left, right] = domain.x.map((power) => 10 ** power) as [number, number];
  const floor = 10 ** domain.y[0];
  const ceiling = 10 ** domain.y[1];
  const toPixel = (x: number, y: number): [number, number] => [
    (WIDTH * Math.log10(x / left)) / Math.log10(right / left),
    HEIGHT - (HEIGHT * Math.log10(y / floor)) / Math.log10(ceiling / floor),
  ];

  // The roofs: a slope for each memory, up to the flat one.
  const slopes = roof.memory.map(({ name, gbytes, raised }) => {
    const from = Math.max(left, floor / gbytes);
    return { name, gbytes, star: raised ? "*" : "", from, to: roof.gflops / gbytes };
  });
  const ridge = slopes[0]!.to;
  const lines = [
    ...slopes.flatMap(({ name, gbytes, from, to }) => [
      { line: name, x: from, y: from * gbytes },
      { line: name, x: to, y: roof.gflops },
    ]),
    { line: "arithmetic", x: ridge, y: roof.gflops },
    { line: "arithmetic", x: right, y: roof.gflops },
  ];
  const [x0, y0] = toPixel(1, 1);
  const [x1, y1] = toPixel(10, 10);
  const turn = Math.atan2(y1 - y0, x1 - x0);
  const angle = (180 / Math.PI) * turn;
  const names = [
    // Above the nearest memory's slope, below the others': those of caches lie close together. Where no disc is near.
    ...slopes.map(({ name, gbytes, star, from, to }, i) => {
      const shares = i === 0 ? [0.3, 0.4, 0.2, 0.1, 0.5] : [0.04, 0.3, 0.14, 0.22, 0.4, 0.5, 0.6, 0.7];
      const places = shares.map((along) => from * (to / from) ** along);
      const isFree = (at: number) => {
        const [px, py] = toPixel(at, at * gbytes);
        return rows.every((row) => {
          const [ox, oy] = toPixel(row.intensity, row.gflops);
          const along = (ox - px) * Math.cos(turn) + (oy - py) * Math.sin(turn);
          const below = (oy - py) * Math.cos(turn) - (ox - px) * Math.sin(turn);
          const room = 6 + Math.sqrt(areaOf(row) / Math.PI);
          return along < -room || along > 85 + room || below < -16 - room || below > 16 + room;
        });
      };
      const x = places.find(isFree) ?? places[0]!;
      const text = `${name} ${gbytes.toFixed(0)} GB/s${star}`;
      return { x, y: x * gbytes, angle, dy: i === 0 ? -6 : 13, text };
    }),
    {
      x: 1.1 * ridge,
      y: roof.gflops,
      angle: 0,
      dy: -7,
      text: `${roof.gflops.toFixed(0)} GFLOP/s ${of.precision}${roof.raised ? "*" : ""}`,
    },
  ];

  const each = (1e3 * of.seconds) / iterations;
  const phases = ["collect", "update"];
  return {
    $schema: "https://vega.github.io/schema/vega/v6.json",
    background: "white",
    width: WIDTH,
    height: HEIGHT,
    padding: 12,
    config: { text: { font: "sans-serif" }, title: { font: "sans-serif" } },
    title: {
      text: `Roofline of an iteration of ${game}`,
      subtitle: [
        `${each.toFixed(each < 100 ? 1 : 0)} ms, ${of.gflops.toFixed(0)} GFLOP/s, ` +
          `${((100 * of.gflops) / roof.gflops).toFixed(0)}% of the flat roof. Areas are shares of the time.`,
        ...(isRaised(roof) ? [RAISED] : []),
      ],
      anchor: "start",
      fontSize: 16,
      subtitleFontSize: 12,
      subtitleColor: FAINT,
      offset: 14,
    },
    data: [
      { name: "lines", values: lines },
      { name: "names", values: names },
      // The largest first, so that none hides a smaller one.
      { name: "ops", values: rows.map((row) => ({ ...row, area: areaOf(row) })).sort((a, b) => b.area - a.area) },
      { name: "labels", values: labelsOf(rows, lines, names, toPixel) },
    ],
    scales: [
      { name: "x", type: "log", domain: [left, right], range: "width" },
      { name: "y", type: "log", domain: [floor, ceiling], range: "height" },
      { name: "phase", type: "ordinal", domain: phases, range: ["#3b76af", "#d9772b"] },
      { name: "text", type: "ordinal", domain: phases, range: ["#234f7d", "#9a4a10"] },
    ],
    axes: [
      { ...axis("x", domain.x), orient: "bottom", title: "arithmetic intensity, flop/byte" },
      { ...axis("y", domain.y), orient: "left", title: "speed, GFLOP/s" },
    ],
    legends: [
      {
        fill: "phase",
        orient: "none",
        legendX: 8,
        legendY: 4,
        direction: "horizontal",
        symbolType: "circle",
        symbolSize: 110,
        symbolOpacity: 0.8,
        labelFontSize: 12,
      },
    ],
    marks: [
      {
        type: "group",
        from: { facet: { name: "line", data: "lines", groupby: "line" } },
        marks: [
          {
            type: "line",
            from: { data: "line" },
            encode: { enter: { ...place(), stroke: { value: INK }, strokeWidth: { value: 1.6 } } },
          },
        ],
      },
      {
        type: "text",
        from: { data: "names" },
        encode: {
          enter: {
            ...place(),
            angle: { field: "angle" },
            dx: { value: 0 },
            dy: { field: "dy" },
            text: { field: "text" },
            align: { value: "left" },
            fill: { value: INK },
            fontSize: { value: 12 },
          },
        },
      },
      {
        type: "symbol",
        from: { data: "ops" },
        encode: {
          enter: {
            ...place("intensity", "gflops"),
            size: { field: "area" },
            fill: { scale: "phase", field: "group" },
            fillOpacity: { value: 0.75 },
            stroke: { value: "white" },
            strokeWidth: { value: 1 },
          },
        },
      },
      labelMarks(),
      {
        type: "text",
        encode: {
          enter: {
            x: { value: WIDTH },
            y: { value: HEIGHT + 62 },
            align: { value: "right" },
            fill: { value: FAINT },
            fontSize: { value: FONT },
            text: {
              value:
                `${of.cpu}, ${of.isa}, ${roof.threads} thread${roof.threads === 1 ? "" : "s"}; ` +
                `bellows ${of.version}: ${of.command}`,
            },
          },
        },
      },
    ],
  };
}

function place(x = "x", y = "y") {
  return { x: { scale: "x", field: x }, y: { scale: "y", field: y } };
}

function axis(scale: "x" | "y", span: readonly [number, number]) {
  return {
    scale,
    grid: true,
    gridColor: "#eee",
    domainColor: FAINT,
    tickColor: FAINT,
    values: powers(span).map((power) => 10 ** power),
    format: "~g",
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: "normal" as const,
    titlePadding: 10,
  };
}

/**
 * Names of ops, and what they must not cover: discs and lines, as texts without letters. Vega would draw those marks to
 * see where they are, for which it needs a canvas.
 */
function labelsOf(
  rows: readonly ProfileRow[],
  lines: readonly { line: string; x: number; y: number }[],
  names: readonly { x: number; y: number; dy: number; angle: number; text: string }[],
  toPixel: (x: number, y: number) => [number, number],
): Label[] {
  const labels: Label[] = [];
  const heaps = heapsOf(rows, toPixel);
  const block = (x: number, y: number, dx: number, dy: number) =>
    labels.push({ x, y, dx, dy, text: "", phase: "", share: -1 });
  for (const row of rows) {
    const { intensity: x, gflops: y, share, op, group } = row;
    const radius = Math.sqrt(areaOf(row) / Math.PI);
    for (let r = radius; r > 0; r -= 4) {
      for (let a = 0; a < 16; ++a) block(x, y, r * Math.cos((a * Math.PI) / 8), r * Math.sin((a * Math.PI) / 8));
    }
    const text = share < 0.005 ? op : `${op} ${(100 * share).toFixed(share < 0.095 ? 1 : 0)}%`;
    const heap = heaps.find((others) => others.includes(row))!;
    const [, top] = toPixel(heap[0]!.intensity, heap[0]!.gflops);
    const [, bottom] = toPixel(heap.at(-1)!.intensity, heap.at(-1)!.gflops);
    const line = (top + bottom) / 2 + (heap.indexOf(row) - (heap.length - 1) / 2) * LINE;
    labels.push({ x, y, dx: 0, dy: line - toPixel(x, y)[1], text, phase: group, share });
  }
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const [from, to] = [lines[i]!, lines[i + 1]!];
    const [ax, ay] = toPixel(from.x, from.y);
    const [bx, by] = toPixel(to.x, to.y);
    const steps = Math.ceil(Math.hypot(bx - ax, by - ay) / 4);
    for (let s = 0; s <= steps; ++s) block(from.x, from.y, ((bx - ax) * s) / steps, ((by - ay) * s) / steps);
  }
  for (const { x, y, dy, angle, text } of names) {
    const turn = (angle * Math.PI) / 180;
    const length = text.length * 6.5;
    for (let at = 0; at < length; at += 4) {
      for (let up = -8; up <= 2; up += 5) {
        const across = dy + up;
        block(x, y, at * Math.cos(turn) - across * Math.sin(turn), at * Math.sin(turn) + across * Math.cos(turn));
      }
    }
  }
  return labels;
}

/** Ops whose discs lie on each other, from the top: their labels are listed line by line beside them. */
function heapsOf(rows: readonly ProfileRow[], toPixel: (x: number, y: number) => [number, number]): ProfileRow[][] {
  const heaps: ProfileRow[][] = [];
  const isNear = (a: ProfileRow, b: ProfileRow) => {
    const [ax, ay] = toPixel(a.intensity, a.gflops);
    const [bx, by] = toPixel(b.intensity, b.gflops);
    return Math.hypot(bx - ax, by - ay) < LINE;
  };
  for (const row of rows) {
    const heap = heaps.find((others) => others.some((other) => isNear(other, row)));
    if (heap) heap.push(row);
    else heaps.push([row]);
  }
  for (const heap of heaps) heap.sort((a, b) => b.gflops - a.gflops);
  return heaps;
}

function labelMarks(): Mark {
  // Beside the disc if there is room, else above or below, else farther away.
  const beside: LabelAnchor[] = ["right", "left"];
  const around: LabelAnchor[] = ["top", "bottom", "top-right", "bottom-right", "top-left", "bottom-left"];
  const places = [
    ...[6, 9, 12, 16, 20, 25, 30].flatMap((offset) => beside.map((anchor) => ({ anchor, offset }))),
    ...[6, 9, 12, 16, 20, 25, 30].flatMap((offset) => around.map((anchor) => ({ anchor, offset }))),
    ...[40, 55].flatMap((offset) => [...beside, ...around].map((anchor) => ({ anchor, offset }))),
  ];
  return {
    type: "text",
    from: { data: "labels" },
    encode: {
      enter: {
        x: { scale: "x", field: "x", offset: { field: "dx" } },
        y: { scale: "y", field: "y", offset: { field: "dy" } },
        text: { field: "text" },
        fontSize: { value: FONT },
        fill: { scale: "text", field: "phase" },
      },
    },
    transform: [
      {
        type: "label",
        size: [WIDTH, HEIGHT],
        sort: { field: "datum.share", order: "descending" },
        anchor: places.map(({ anchor }) => anchor),
        offset: places.map(({ offset }) => offset),
        avoidBaseMark: true,
      },
    ],
  };
}
