// The waterfall of a comparison as SVG.

import type { Mark, Spec } from "vega";
import type { Comparison } from "../bench/compare.js";
import { bars, changeText } from "../bench/waterfall.js";

const WIDTH = 640;
/** Pixels a bar, and above and below the bars of one case. */
const BAR = 26;
const HEAD = 56;
const FOOT = 40;
const INK = "#222";
const FAINT = "#666";
const COLOURS = { total: "#777", saved: "#3a8f5c", lost: "#c4553b" };

/** One above the other. `about`: machine and command, for the last line. */
export function waterfallSpec(
  comparisons: readonly Comparison[],
  names: readonly [string, string],
  about: string,
): Spec {
  let top = 0;
  const marks = comparisons.map((comparison) => {
    const mark = chart(comparison, names, top);
    top += HEAD + mark.height + FOOT;
    return mark.mark;
  });
  return {
    $schema: "https://vega.github.io/schema/vega/v6.json",
    background: "white",
    width: WIDTH,
    height: top + 20,
    padding: 12,
    config: { text: { font: "sans-serif" }, title: { font: "sans-serif" } },
    marks: [
      ...marks,
      {
        type: "text",
        encode: {
          enter: {
            x: { value: WIDTH },
            y: { value: top + 12 },
            align: { value: "right" },
            fill: { value: FAINT },
            fontSize: { value: 11 },
            text: { value: about },
          },
        },
      },
    ],
  };
}

function chart(comparison: Comparison, names: readonly [string, string], top: number): { mark: Mark; height: number } {
  const { name, interval, ratio, pairs } = comparison;
  const list = bars(comparison, names).map(({ label, from, to, total }, index) => ({
    index,
    label,
    left: Math.min(from, to),
    right: Math.max(from, to),
    text: total ? `${to.toFixed(2)} ms` : changeText(to - from),
    colour: total ? COLOURS.total : to <= from ? COLOURS.saved : COLOURS.lost,
    weight: total ? "bold" : "normal",
  }));
  const height = BAR * list.length;
  const percent = (value: number) => `${value > 1 ? "+" : ""}${(100 * (value - 1)).toFixed(1)}%`;
  const y = { scale: "y", field: "index" };
  const mark: Mark = {
    type: "group",
    encode: { enter: { y: { value: top + HEAD }, width: { value: WIDTH }, height: { value: height } } },
    title: {
      text: `${name}: time ${percent(ratio)}`,
      subtitle:
        `${names[0]} to ${names[1]}; median of ${pairs} pairs, ${percent(interval.low)} to ${percent(interval.high)} ` +
        `with ${(100 * interval.confidence).toFixed(0)}% confidence`,
      anchor: "start",
      fontSize: 16,
      subtitleFontSize: 12,
      subtitleColor: FAINT,
      offset: 12,
    },
    data: [{ name: "bars", values: list }],
    scales: [
      // Room for the figures behind the bars.
      {
        name: "x",
        type: "linear",
        domain: [0, 1.15 * Math.max(...list.map(({ right }) => right))],
        range: [170, WIDTH],
      },
      {
        name: "y",
        type: "band",
        domain: list.map(({ index }) => index),
        range: [0, height],
        paddingInner: 0.25,
        paddingOuter: 0.1,
      },
    ],
    axes: [
      {
        orient: "bottom",
        scale: "x",
        grid: true,
        gridScale: "y",
        gridColor: "#eee",
        tickCount: 6,
        title: "ms an iteration",
      },
    ],
    marks: [
      {
        type: "rect",
        from: { data: "bars" },
        encode: {
          enter: {
            x: { scale: "x", field: "left" },
            x2: { scale: "x", field: "right" },
            y,
            height: { scale: "y", band: 1 },
            fill: { field: "colour" },
          },
        },
      },
      {
        type: "text",
        from: { data: "bars" },
        encode: {
          enter: {
            x: { scale: "x", field: "right", offset: 6 },
            y: { ...y, band: 0.5 },
            baseline: { value: "middle" },
            fill: { value: INK },
            fontSize: { value: 12 },
            text: { field: "text" },
          },
        },
      },
      {
        type: "text",
        from: { data: "bars" },
        encode: {
          enter: {
            x: { value: 162 },
            y: { ...y, band: 0.5 },
            align: { value: "right" },
            baseline: { value: "middle" },
            fill: { value: INK },
            fontSize: { value: 12 },
            fontWeight: { field: "weight" },
            text: { field: "label" },
          },
        },
      },
    ],
  };
  return { mark, height };
}
