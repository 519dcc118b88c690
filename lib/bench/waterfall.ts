// From A's time to B's: one bar for each kind of op, as long as the time that it won or lost.

import type { Comparison } from "./compare.js";

export interface Bar {
  readonly label: string;
  /** ms, the two ends of the bar. */
  readonly from: number;
  readonly to: number;
  readonly total: boolean;
}

/** Less than this share of A's time is gathered in one bar. */
const SMALL = 0.005;

/** Totals at both ends; between them each change begins where the last one ended. */
export function bars(comparison: Comparison, names: readonly [string, string]): Bar[] {
  const { before, after, groups } = comparison;
  const changes: [string, number][] = [];
  let small = 0;
  for (const { group, before: was, after: is } of groups) {
    if (Math.abs(is - was) < SMALL * before) small += is - was;
    else changes.push([group, is - was]);
  }
  // Medians do not add up exactly: the rest goes with what is small.
  small += after - before - groups.reduce((sum, { before: was, after: is }) => sum + is - was, 0);
  changes.push(["the rest", small]);
  const list: Bar[] = [{ label: names[0], from: 0, to: before, total: true }];
  let at = before;
  for (const [label, change] of changes) {
    list.push({ label, from: at, to: at + change, total: false });
    at += change;
  }
  list.push({ label: names[1], from: 0, to: after, total: true });
  return list;
}

/** A change in ms, with its sign. */
export function changeText(change: number): string {
  return `${change > 0 ? "+" : ""}${change.toFixed(2)}`;
}

/** The waterfall for a terminal. */
export function waterfallText(comparison: Comparison, names: readonly [string, string], width = 60): string {
  const list = bars(comparison, names);
  const labels = Math.max(...list.map(({ label }) => label.length));
  const most = Math.max(...list.flatMap(({ from, to }) => [from, to]));
  const column = (ms: number) => Math.round((Math.max(ms, 0) / most) * width);
  const lines = list.map(({ label, from, to, total }) => {
    const [left, right] = [column(Math.min(from, to)), column(Math.max(from, to))];
    const fill = total ? "█" : to <= from ? "▒" : "▓";
    const bar = " ".repeat(left) + fill.repeat(Math.max(right - left, total || to !== from ? 1 : 0));
    const figure = total ? to.toFixed(2) : changeText(to - from);
    return `  ${label.padEnd(labels)}  ${figure.padStart(9)}  ${bar}\n`;
  });
  return `  ${"".padEnd(labels)}  ${"ms".padStart(9)}  ▒ saved  ▓ lost\n${lines.join("")}`;
}
