// Evaluations and profiles as text for people.

import type { Evaluation, Exploit, SeatShares } from "../events.js";
import type { Judgement, MistakeShare, Mistakes, PlayJudgement } from "../judge/judgement.js";
import { PLY_BANDS } from "../judge/positions.js";
import type { ProfileRow } from "../profile.js";
import type { PlayerRating } from "../ratings/bradley-terry.js";

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** 12345 as 12,345. */
export function count(value: number): string {
  return whole.format(value);
}

/** A number of seconds as people say it. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?";
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  const rest = Math.floor(seconds % 60);
  return minutes < 60 ? `${minutes} min ${rest} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Bytes with a binary unit. */
export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let scaled = value;
  while (scaled >= 1024 && unit < units.length - 1) {
    scaled /= 1024;
    ++unit;
  }
  return `${unit === 0 ? scaled : scaled.toFixed(1)} ${units[unit]}`;
}

/** Columns padded to their widest cell; the first to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[], indent = "  "): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  }
  return rows
    .map((row) => {
      const cells = row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)));
      return `${indent}${cells.join("   ").trimEnd()}\n`;
    })
    .join("");
}

/** A rating, or where it ends. */
export function ratingText({
  rating,
  standing,
  bound,
}: Pick<PlayerRating, "standing" | "bound"> & { readonly rating: number | null }): string {
  if (standing === "atLeast") return `>= ${bound?.toFixed(0) ?? "?"}`;
  if (standing === "atMost") return `<= ${bound?.toFixed(0) ?? "?"}`;
  return standing === "undetermined" || rating === null ? "?" : rating.toFixed(0);
}

function figure(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(6);
}

/** A best response's result in words: it wins (+1), draws (0), loses (-1), or something between. */
function outcome(value: number): string {
  const word = value === 0 ? " draw" : value === 1 ? " loss" : value === -1 ? " win" : "";
  return `${figure(value)}${word}`;
}

function percent(value: number): string {
  return `${(value * 100).toFixed(2)}%`;
}

function shares(name: string, seats: SeatShares): string[][] {
  const row = (label: string, { win, draw, loss }: { win: number; draw: number; loss: number }) => [
    label,
    percent(win),
    percent(draw),
    percent(loss),
  ];
  return [row(name, seats), row("  playing first", seats.first), row("  playing second", seats.second)];
}

function exploit(name: string, { exploitability, first, second }: Exploit): string[] {
  return [name, figure(exploitability), outcome(first), outcome(second)];
}

/** Mistake rates in a line: of the chosen move, and expected of a sampled one. */
export function mistakesText({ argmax, sampled }: Judgement): string {
  return `mistakes ${percent(argmax.mistakeRate)} argmax, ${percent(sampled.mistakeRate)} sampled`;
}

/** A share that may not exist. */
function rate(value: number | null): string {
  return value === null || Number.isNaN(value) ? "" : percent(value);
}

/** What the perfect player makes of a policy, as a block of text. */
export function judgementText({ positions, argmax, sampled, calibration }: Judgement): string {
  const byStones = (cell: (share: MistakeShare) => string) => {
    const cells = (all: Mistakes) => [all, all.first, all.second].map(cell);
    const row = (name: string, of: (play: PlayJudgement) => Mistakes) => [
      name,
      String(of(argmax).positions),
      ...cells(of(argmax)),
      ...cells(of(sampled)),
    ];
    return table([
      ["stones", "positions", "argmax", "first", "second", "sampled", "first", "second"],
      ...PLY_BANDS.map((band) => row(band, (play) => play.bands[band])),
      row("all", (play) => play),
    ]);
  };
  const interval = ({ interval: [from, to] }: MistakeShare) => `${percent(from)} to ${percent(to)}`;
  const scores = (play: PlayJudgement) => play.scoreRegret.toFixed(2);
  return (
    `Mistakes by the perfect player's scores: moves that lose value, in ${count(argmax.positions)} of ` +
    `${count(positions)} positions where a move can\n\n` +
    byStones(({ mistakeRate }) => rate(mistakeRate)) +
    `\n  95% interval: argmax ${interval(argmax)}, sampled ${interval(sampled)}\n\n` +
    "Regret: mean loss of value by a move there (win 1, draw 0.5, loss 0)\n\n" +
    byStones(({ regret }) => (Number.isFinite(regret) ? regret.toFixed(4) : "")) +
    `\n  in scores: argmax ${scores(argmax)}, sampled ${scores(sampled)}\n` +
    `  wins at once missed: argmax ${rate(argmax.missedWins.share)}, sampled ${rate(sampled.missedWins.share)}; ` +
    `losses at once allowed: argmax ${rate(argmax.avoidableLosses.share)}, ` +
    `sampled ${rate(sampled.avoidableLosses.share)}\n` +
    `  value against best play: calibration error ${calibration.error.toFixed(3)}, ` +
    `mean square ${calibration.squaredError.toFixed(3)}, correlation ${(calibration.correlation ?? Number.NaN).toFixed(3)}\n\n`
  );
}

/** The certificate, or what stands in for it, as a block of text. */
export function evaluationText({ certificate, judge, versusRandom }: Evaluation): string {
  let text = "";
  if (certificate) {
    text += `Certificate: a best response against the policy, exact over all ${count(certificate.states)} states\n\n`;
    text += table([
      ["policy", "exploitability", "plays first", "plays second"],
      exploit("argmax", certificate.argmax),
      exploit("sampled", certificate.sampled),
    ]);
    const { first, second } = certificate.argmax.worst;
    const beaten = certificate.argmax.first > 0 || certificate.argmax.second > 0;
    if (beaten) text += `\n  worst games of argmax: ${first} (it plays first), ${second} (it plays second)\n`;
    text += "\n  Values are the best response's result: 0 means that no opponent can beat the policy.\n\n";
  }
  if (judge) text += judgementText(judge); // results of earlier versions have none
  const { interval, games } = versusRandom;
  const how = versusRandom.exact ? "exact" : `${count(games ?? 0)} games`;
  text += `Against uniformly random play (${how})\n\n`;
  text += table([
    ["policy", "win", "draw", "loss"],
    ...shares("argmax", versusRandom),
    ...shares("sampled", versusRandom.sampled),
  ]);
  if (interval)
    text += `\n  95% interval of the argmax win share: ${percent(interval[0])} to ${percent(interval[1])}\n`;
  return text;
}

/** The rows of a profile that took the most time, as a block of text. */
export function profileText(rows: readonly ProfileRow[], most = 5): string {
  const top = [...rows].sort((a, b) => b.ms - a.ms).slice(0, most);
  const rates = table([
    ["where the time went", "phase", "time", "GFLOP/s", "GB/s", "of roof"],
    ...top.map(({ op, group, share, gflops, gbytes, roof, bound, memory, raised }) => [
      op,
      group,
      `${(share * 100).toFixed(1)}%`,
      gflops.toFixed(1),
      gbytes.toFixed(1),
      Number.isNaN(roof)
        ? ""
        : `${(roof * 100).toFixed(0)}%${raised ? "*" : ""} ${bound === "memory" ? memory : (bound ?? "")}`.trim(),
    ]),
  ]);
  return top.some(({ raised }) => raised) ? `${rates}  ${RAISED}\n` : rates;
}

/** What a star beside a share of the roof says. */
export const RAISED = "* roof raised to the best rate seen: probes of it read less";
