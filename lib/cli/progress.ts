// One live line on a terminal, sparse lines elsewhere; always on stderr.

import cliProgress from "cli-progress";
import type { Iteration, League } from "../events.js";
import type { Judgement } from "../judge/judgement.js";
import { type LadderRatings, ladderText } from "./ladder.js";
import type { Output } from "./output.js";
import { count, duration, mistakesText } from "./report.js";

const percent = (share: number) => `${(share * 100).toFixed(0)}%`;

function leagueText({ size, main, mainExploiter, leagueExploiter }: League): string {
  return (
    `, league of ${size}: main agent scores ${percent(main.winRate)}, main exploiter ${percent(mainExploiter.winRate)} ` +
    `against it, league exploiter ${percent(leagueExploiter.winRate)}, main agent trained ` +
    `${percent(main.sampleShare)} of the moves`
  );
}

function figures({ index, loss, speed, roofline, league }: Iteration): string {
  const of = roofline.raised ? "of the best rate seen" : "of roof";
  const share = Number.isNaN(roofline.fraction) ? "" : ` (${(roofline.fraction * 100).toFixed(0)}% ${of})`;
  return (
    `iteration ${index}, ${count(speed.gamesPerSecond)} games/s, policy loss ${loss.policy.toFixed(4)}, ` +
    `value loss ${loss.value.toFixed(4)}, entropy ${loss.entropy.toFixed(3)}, ` +
    `${roofline.gflops.toFixed(1)} GFLOP/s${share}${league ? leagueText(league) : ""}`
  );
}

/** The same for one line of a terminal. */
function brief({ loss, speed, league }: Iteration): string {
  const roles = league && [league.main, league.mainExploiter, league.leagueExploiter];
  const scores = roles ? `  league ${league.size} ${roles.map(({ winRate }) => percent(winRate)).join(" ")}` : "";
  return (
    `${count(speed.gamesPerSecond)} games/s  loss ${loss.policy.toFixed(3)} ${loss.value.toFixed(3)}  ` +
    `entropy ${loss.entropy.toFixed(2)}${scores}`
  );
}

/** A bar on the terminal; null elsewhere. */
function barFor(format: string): cliProgress.SingleBar | null {
  if (!process.stderr.isTTY) return null;
  return new cliProgress.SingleBar({
    stream: process.stderr,
    format,
    barCompleteChar: "#",
    barIncompleteChar: ".",
    barsize: 20,
    hideCursor: true,
    clearOnComplete: true,
    stopOnComplete: false,
    fps: 10,
  });
}

/** How many of many things are done. What takes less than two seconds needs no lines. */
export class Counter {
  readonly #output: Output;
  readonly #total: number;
  readonly #what: string;
  readonly #bar: cliProgress.SingleBar | null;
  readonly #started = performance.now();
  #tenth = 0;

  constructor(output: Output, total: number, what: string) {
    this.#output = output;
    this.#total = total;
    this.#what = what;
    this.#bar = barFor(`{bar} {value}/{total} ${what}  ETA {remaining}`);
    this.#bar?.start(total, 0, { remaining: "?" });
  }

  update(done: number): void {
    const elapsed = (performance.now() - this.#started) / 1e3;
    this.#bar?.update(done, { remaining: duration((elapsed / done) * (this.#total - done)) });
    const tenth = Math.floor((10 * done) / this.#total);
    if (this.#bar || elapsed < 2 || tenth <= this.#tenth) return;
    this.#tenth = tenth;
    this.#output.note(`${tenth * 10}%  ${count(done)} ${this.#what}\n`);
  }

  stop(): void {
    this.#bar?.stop();
  }
}

/** Where a run of a given length is. */
export class Progress {
  readonly #output: Output;
  readonly #total: number;
  readonly #timed: boolean;
  readonly #bar: cliProgress.SingleBar | null;
  readonly #started = performance.now();
  #first: number | null = null;
  #tenth = 0;
  /** Of the last evaluation. */
  #judge: Judgement | null = null;
  #ratings: LadderRatings | null = null;

  /** @param total - iterations, or seconds where timed */
  constructor(output: Output, total: number, timed: boolean) {
    this.#output = output;
    this.#total = total;
    this.#timed = timed;
    this.#bar = barFor("{bar} {where}  {figures}  ETA {remaining}");
    this.#bar?.start(total, 0, { where: "0", figures: "starting", remaining: "?" });
  }

  /** @param ratings - of an evaluation that was made after this iteration */
  update(iteration: Iteration, ratings: LadderRatings | null): void {
    const done = Math.min(this.#total, this.#timed ? iteration.seconds : iteration.index);
    this.#first ??= this.#timed ? 0 : done - 1;
    const elapsed = (performance.now() - this.#started) / 1e3;
    const { judge = null } = iteration.evaluation ?? {};
    this.#judge = judge ?? this.#judge;
    this.#ratings = ratings ?? this.#ratings;
    const remaining = this.#timed
      ? this.#total - done
      : (elapsed / Math.max(1, done - this.#first)) * (this.#total - done);
    if (this.#bar) {
      const where = this.#timed ? String(iteration.index) : `${iteration.index}/${this.#total}`;
      const strength = [
        ...(this.#ratings ? [ladderText(this.#ratings)] : []),
        ...(this.#judge ? [mistakesText(this.#judge)] : []),
      ];
      const figures = [brief(iteration), ...strength].join("  ");
      this.#bar.update(done, { where, figures, remaining: duration(remaining) });
      return;
    }
    if (judge) {
      const rating = ratings ? `${ladderText(ratings)}, ` : "";
      this.#output.note(`iteration ${iteration.index}: ${rating}${mistakesText(judge)}\n`);
    }
    const tenth = Math.floor((10 * done) / this.#total);
    if (tenth <= this.#tenth) return;
    this.#tenth = tenth;
    this.#output.note(`${tenth * 10}%  ${figures(iteration)}\n`);
  }

  stop(): void {
    this.#bar?.stop();
  }
}
