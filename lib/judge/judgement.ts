// An agent of Connect Four judged by the perfect player, from exact scores of all moves: no games, no sampling noise.

import { OptionError } from "../errors.js";
import { wilson } from "../events.js";
import { type Calibration, calibrate } from "./calibration.js";
import { type Choice, choiceOf, PLY_BANDS, type PlyBand, type ScoredPosition } from "./positions.js";

/** What an agent says at a position. */
export interface Answer {
  /** For each column; illegal ones do not count. */
  readonly probabilities: ArrayLike<number>;
  /** If there: the largest one of a legal move is the chosen move; otherwise the most probable one is. */
  readonly logits?: ArrayLike<number> | undefined;
  /** Expected result for the side to move, from 1 (it wins) to -1 (it loses). */
  readonly value: number;
}

/** How often moves lose value, over the contested positions: those in which a legal move does. */
export interface MistakeShare {
  /** Contested positions. The figures below are NaN where there are none, in JSON null. */
  readonly positions: number;
  /** Probability that the move turns a win into a draw or loss, or a draw into a loss: mean over the positions. */
  readonly mistakeRate: number;
  /**
   * 95% Wilson interval of the mistake rate. That of a sampled policy, whose share is a mean of probabilities and so
   * varies less than one of zeros and ones, is wider than needed.
   */
  readonly interval: readonly [number, number];
  /** Mean loss of value, where a win is 1, a draw 0.5 and a loss 0. */
  readonly regret: number;
  /** Mean loss of score, that is of how early a win or how late a loss comes as well. */
  readonly scoreRegret: number;
}

/** In all, and by who is to move. */
export interface Mistakes extends MistakeShare {
  readonly first: MistakeShare;
  readonly second: MistakeShare;
}

/** A share of positions, or the mean probability over them. */
export interface PositionShare {
  readonly positions: number;
  /** NaN where there are no positions, in JSON null. */
  readonly share: number;
}

/** One way to play a policy, judged. */
export interface PlayJudgement extends Mistakes {
  readonly bands: Readonly<Record<PlyBand, Mistakes>>;
  /** Where a move wins at once: that another one is played. */
  readonly missedWins: PositionShare;
  /** Where no move wins at once, and some but not all let the opponent win at once: that one of these is played. */
  readonly avoidableLosses: PositionShare;
}

/** An agent judged on positions whose moves are all scored. */
export interface Judgement {
  /** All positions, those in which no mistake is possible included. */
  readonly positions: number;
  /** The most probable move (the first of equals). */
  readonly argmax: PlayJudgement;
  /** A move drawn from the probabilities: expectations over them, exact. */
  readonly sampled: PlayJudgement;
  /** The agent's value against the result of best play, over all positions. */
  readonly calibration: Calibration;
}

/** Sums over positions. */
class Sums {
  positions = 0;
  mistakes = 0;
  value = 0;
  score = 0;

  share(): MistakeShare {
    const { positions, mistakes, value, score } = this;
    const rate = mistakes / positions;
    return {
      positions,
      mistakeRate: rate,
      interval: positions === 0 ? [Number.NaN, Number.NaN] : wilson(rate, positions),
      regret: value / positions,
      scoreRegret: score / positions,
    };
  }
}

class MistakeSums {
  readonly all = new Sums();
  readonly first = new Sums();
  readonly second = new Sums();

  add(side: "first" | "second", mistake: number, value: number, score: number): void {
    for (const sums of [this.all, this[side]]) {
      ++sums.positions;
      sums.mistakes += mistake;
      sums.value += value;
      sums.score += score;
    }
  }

  mistakes(): Mistakes {
    return { ...this.all.share(), first: this.first.share(), second: this.second.share() };
  }
}

class ShareSums {
  #positions = 0;
  #sum = 0;

  add(probability: number): void {
    ++this.#positions;
    this.#sum += probability;
  }

  share(): PositionShare {
    return { positions: this.#positions, share: this.#sum / this.#positions };
  }
}

/** One way to play, over positions. */
class PlaySums {
  readonly #all = new MistakeSums();
  readonly #bands = new Map(PLY_BANDS.map((band) => [band, new MistakeSums()]));
  readonly #missedWins = new ShareSums();
  readonly #avoidableLosses = new ShareSums();

  /** @param weights - the probability of each legal move, in the order of `choice.legal` */
  add({ scores }: ScoredPosition, choice: Choice, weights: readonly number[]): void {
    const { legal, best, win, loss, side, band } = choice;
    /** The expectation of a figure of the move's score. */
    const mean = (figure: (score: number) => number) =>
      legal.reduce((sum, column, i) => sum + weights[i]! * figure(scores[column]!), 0);
    if (choice.contested) {
      const mistake = mean((score) => Number(Math.sign(score) !== Math.sign(best)));
      const value = mean((score) => (Math.sign(best) - Math.sign(score)) / 2);
      const score = mean((each) => best - each);
      this.#all.add(side, mistake, value, score);
      this.#bands.get(band)!.add(side, mistake, value, score);
    }
    if (best === win) this.#missedWins.add(mean((score) => Number(score !== win)));
    else if (best > loss && legal.some((column) => scores[column] === loss)) {
      this.#avoidableLosses.add(mean((score) => Number(score === loss)));
    }
  }

  judgement(): PlayJudgement {
    const bands = [...this.#bands].map(([band, sums]) => [band, sums.mistakes()] as const);
    return {
      ...this.#all.mistakes(),
      bands: Object.fromEntries(bands) as Record<PlyBand, Mistakes>,
      missedWins: this.#missedWins.share(),
      avoidableLosses: this.#avoidableLosses.share(),
    };
  }
}

/** The move that an argmax policy plays: the first of the greatest ones. */
export function chosenMove({ legal }: Pick<Choice, "legal">, { logits, probabilities }: Answer): number {
  const figures = logits ?? probabilities;
  return legal.reduce((best, column) => (figures[column]! > figures[best]! ? column : best));
}

/**
 * Judges answers, one a position.
 *
 * @throws {@link OptionError} where their number differs, or an answer is no distribution and value
 */
export function judgeAnswers(positions: readonly ScoredPosition[], answers: readonly Answer[]): Judgement {
  if (answers.length !== positions.length) {
    refuse("answers", `${answers.length} answers`, `as many as positions, ${positions.length}`);
  }
  const argmax = new PlaySums();
  const sampled = new PlaySums();
  const points: { predicted: number; actual: number }[] = [];
  for (const [i, position] of positions.entries()) {
    const answer = answers[i]!;
    const choice = choiceOf(position);
    const { legal } = choice;
    const total = legal.reduce((sum, column) => sum + answer.probabilities[column]!, 0);
    if (!(total > 0 && Number.isFinite(total) && Number.isFinite(answer.value))) {
      refuse(`answers[${i}]`, `probabilities that add up to ${total}, value ${answer.value}`, "finite, and above 0");
    }
    const chosen = chosenMove(choice, answer);
    argmax.add(
      position,
      choice,
      legal.map((column) => Number(column === chosen)),
    );
    sampled.add(
      position,
      choice,
      legal.map((column) => answer.probabilities[column]! / total),
    );
    points.push({ predicted: answer.value, actual: Math.sign(choice.best) });
  }
  return {
    positions: positions.length,
    argmax: argmax.judgement(),
    sampled: sampled.judgement(),
    calibration: calibrate(points),
  };
}

function refuse(path: string, received: string, expected: string): never {
  throw new OptionError(`${path}: ${received}; expected ${expected}`, { op: "judge", path, received, expected });
}
