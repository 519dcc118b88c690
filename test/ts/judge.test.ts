// Judging agents of Connect Four: the committed positions are what they say, and the figures are those of their
// definitions, computed again here in other ways.

import { describe, expect, test } from "vitest";
import {
  type Answer,
  Connect4Solver,
  connect4Positions,
  findBlunders,
  type Judgement,
  judgeAnswers,
  judgeConnect4,
  OptionError,
  PLY_BANDS,
  type PlayerSpec,
  type PositionPolicy,
  playMatch,
  type ScoredPosition,
  SelfPlay,
} from "../../lib/index.js";
import { parsePositions } from "../../lib/judge/positions.js";
import { randomOf } from "../../lib/lab/index.js";
import { native, take } from "../../lib/native.js";

const positions = await connect4Positions();

const SEED = 20;

const legalOf = ({ scores }: ScoredPosition) => [...scores.keys()].filter((column) => scores[column] !== null);
const bestOf = (position: ScoredPosition) => Math.max(...legalOf(position).map((column) => position.scores[column]!));

/** Win 1, draw 0.5, loss 0. */
const worth = (score: number): number => (score > 0 ? 1 : score < 0 ? 0 : 0.5);

const oneHot = (column: number) => Array.from({ length: 7 }, (_, i) => Number(i === column));

/** Plays at random among the moves of the best value, so not always the fastest win, and knows the result. */
function perfectAnswer(position: ScoredPosition): Answer {
  const best = bestOf(position);
  const keep = legalOf(position).filter((column) => worth(position.scores[column]!) === worth(best));
  const probabilities = Array.from({ length: 7 }, (_, column) => (keep.includes(column) ? 1 / keep.length : 0));
  return { probabilities, value: Math.sign(best) };
}

function uniformAnswer(position: ScoredPosition): Answer {
  const legal = legalOf(position);
  return { probabilities: Array.from({ length: 7 }, (_, i) => (legal.includes(i) ? 1 / legal.length : 0)), value: 0 };
}

/** Random probabilities and values; illegal columns have some, too, which must not count. */
function randomAnswers(list: readonly ScoredPosition[], seed: number): Answer[] {
  const random = randomOf(seed);
  return list.map(() => ({
    probabilities: Array.from({ length: 7 }, () => random.uniform() ** 3),
    value: 2 * random.uniform() - 1,
  }));
}

describe("the committed positions", () => {
  const canonical = (moves: string) => take(native().position("connect4", moves), "position");

  test("go on, are unique up to mirror images, and score exactly the legal moves", () => {
    expect(positions.length).toBeGreaterThan(2000);
    const seen = new Set<string>();
    for (const position of positions) {
      const at = canonical(position.moves);
      expect(at.result).toBe(0);
      expect(at.legal.map(({ action }) => action)).toEqual(legalOf(position));
      expect(seen.has(at.canonical), position.moves).toBe(false);
      seen.add(at.canonical);
    }
  });

  test("fill every stratum from 8 stones on", () => {
    const counts = new Map<string, number>();
    for (const position of positions) {
      const legal = legalOf(position);
      const value = Math.sign(bestOf(position));
      const keep = legal.filter((column) => Math.sign(position.scores[column]!) === value).length;
      const kind = keep === legal.length ? "all" : keep === 1 ? "only" : keep <= legal.length / 2 ? "few" : "many";
      const stones = position.moves.length;
      const key = `${Math.min(4, Math.floor(stones / 8))} ${stones % 2} ${value} ${value < 0 ? "" : kind}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    for (let band = 1; band < 5; ++band) {
      for (const side of [0, 1]) {
        for (const stratum of ["-1 ", "0 only", "0 few", "0 many", "0 all", "1 only", "1 few", "1 many", "1 all"]) {
          expect(counts.get(`${band} ${side} ${stratum}`) ?? 0, `${band} ${side} ${stratum}`).toBeGreaterThan(3);
        }
      }
    }
  });

  test("have the scores that the solver finds", { timeout: 60_000 }, async () => {
    const random = randomOf(SEED);
    const late = positions.filter(({ moves }) => moves.length >= 16);
    const middle = positions.filter(({ moves }) => moves.length >= 12 && moves.length < 16);
    const sample = [...random.shuffle(late.slice()).slice(0, 300), ...random.shuffle(middle.slice()).slice(0, 12)];
    await using solver = await Connect4Solver.create({ threads: 2, memory: 64 });
    const solutions = await solver.solveMany(
      sample.map(({ moves }) => moves),
      { scores: true },
    );
    for (const [i, { scores }] of solutions.entries()) expect(scores, sample[i]!.moves).toEqual(sample[i]!.scores);
  });

  test("a line that is none is named", () => {
    expect(parsePositions("# a\n44 l -2 -1 0 1 0 -1 -2\n- r 0 . 0 0 0 0 0\n", "f")).toEqual([
      { moves: "44", scores: [-2, -1, 0, 1, 0, -1, -2] },
      { moves: "", scores: [0, null, 0, 0, 0, 0, 0] },
    ]);
    for (const line of ["44 l 1 2 3", "48 l 0 0 0 0 0 0 0", "44 l . . . . . . .", "44 l 19 0 0 0 0 0 0"]) {
      expect(() => parsePositions(`# x\n${line}\n`, "file")).toThrow(
        expect.objectContaining({ code: "OPTION", path: "file:2", received: line }),
      );
    }
  });
});

describe("the figures", () => {
  test("a policy that keeps every value makes no mistakes, argmax and sampled", () => {
    const { argmax, sampled, calibration } = judgeAnswers(positions, positions.map(perfectAnswer));
    for (const play of [argmax, sampled]) {
      for (const all of [play, ...PLY_BANDS.map((band) => play.bands[band])]) {
        for (const share of [all, all.first, all.second]) expect(share).toMatchObject({ mistakeRate: 0, regret: 0 });
      }
      expect(play.interval[0]).toBe(0);
      expect(play.interval[1]).toBeGreaterThan(0);
      expect(play.avoidableLosses.positions).toBeGreaterThan(50);
    }
    // It may win later than it could: the value is kept, the score is not.
    expect(sampled.scoreRegret).toBeGreaterThan(0.1);
    expect(sampled.missedWins.share).toBeGreaterThan(0);
    expect(calibration).toMatchObject({ error: 0, squaredError: 0 });
    expect(calibration.correlation).toBeCloseTo(1, 12);
  });

  test("the best score is no regret at all, and wins at once", () => {
    const answers = positions.map((position) => ({
      probabilities: oneHot(position.scores.indexOf(bestOf(position))),
      value: 0,
    }));
    const { argmax, sampled } = judgeAnswers(positions, answers);
    expect(argmax).toEqual(sampled);
    expect(argmax).toMatchObject({ mistakeRate: 0, scoreRegret: 0, missedWins: { share: 0 } });
    expect(argmax.avoidableLosses.share).toBe(0);
  });

  test("the worst move always errs", () => {
    const answers = positions.map((position) => {
      const worst = Math.min(...legalOf(position).map((column) => position.scores[column]!));
      return { probabilities: oneHot(position.scores.indexOf(worst)), value: 0 };
    });
    const { argmax } = judgeAnswers(positions, answers);
    expect(argmax).toMatchObject({ mistakeRate: 1, avoidableLosses: { share: 1 } });
    expect(argmax.interval[1]).toBeCloseTo(1, 12);
  });

  test("a uniform policy's rates are those of counting", () => {
    const { argmax, sampled, positions: all } = judgeAnswers(positions, positions.map(uniformAnswer));
    expect(all).toBe(positions.length);
    const rates: number[] = [];
    const regrets: number[] = [];
    const early: number[] = [];
    for (const position of positions) {
      const values = legalOf(position).map((column) => worth(position.scores[column]!));
      const best = Math.max(...values);
      if (values.every((value) => value === best)) continue;
      const rate = values.filter((value) => value < best).length / values.length;
      rates.push(rate);
      regrets.push(best - values.reduce((sum, value) => sum + value, 0) / values.length);
      const stones = position.moves.length;
      if (stones >= 8 && stones <= 15 && stones % 2 === 1) early.push(rate);
    }
    const mean = (list: readonly number[]) => list.reduce((sum, each) => sum + each, 0) / list.length;
    expect(sampled.positions).toBe(rates.length);
    expect(sampled.mistakeRate).toBeCloseTo(mean(rates), 12);
    expect(sampled.regret).toBeCloseTo(mean(regrets), 12);
    expect(sampled.bands["8-15"].second.positions).toBe(early.length);
    expect(sampled.bands["8-15"].second.mistakeRate).toBeCloseTo(mean(early), 12);
    // Equal probabilities: the first legal move.
    const first = positions.map((position) => ({ probabilities: oneHot(legalOf(position)[0]!), value: 0 }));
    expect(argmax).toEqual(judgeAnswers(positions, first).argmax);
  });

  test("the expectation of sampled play is what samples tend to", () => {
    const answers = randomAnswers(positions, SEED);
    const { sampled } = judgeAnswers(positions, answers);
    const random = randomOf(SEED, 1);
    let mistakes = 0;
    const rounds = 40;
    for (let round = 0; round < rounds; ++round) {
      const draws = positions.map((position, i) => {
        const legal = legalOf(position);
        const { probabilities } = answers[i]!;
        let left = random.uniform() * legal.reduce((sum, column) => sum + probabilities[column]!, 0);
        const column = legal.find((each) => {
          left -= probabilities[each]!;
          return left <= 0;
        });
        return { probabilities: oneHot(column ?? legal.at(-1)!), value: 0 };
      });
      mistakes += judgeAnswers(positions, draws).argmax.mistakeRate / rounds;
    }
    // Five standard errors, at most.
    expect(Math.abs(mistakes - sampled.mistakeRate)).toBeLessThan(5 * Math.sqrt(0.25 / (sampled.positions * rounds)));
  });

  test("mirrored positions and answers give the same", () => {
    const mirror = (moves: string) => [...moves].map((move) => String(8 - Number(move))).join("");
    const answers = randomAnswers(positions, SEED);
    const mirrored = positions.map(({ moves, scores }) => ({ moves: mirror(moves), scores: scores.slice().reverse() }));
    const flipped = answers.map(({ probabilities, value }) => ({
      probabilities: Array.from(probabilities).reverse(),
      value,
    }));
    const close = (a: unknown, b: unknown): void => {
      if (typeof a === "number") expect(a).toBeCloseTo(b as number, 10);
      else
        for (const key of Object.keys(a as object))
          close((a as Judgement)[key as "argmax"], (b as Judgement)[key as "argmax"]);
    };
    close(judgeAnswers(mirrored, flipped), judgeAnswers(positions, answers));
  });

  test("tactics: wins at once and losses that can be avoided", () => {
    const list: ScoredPosition[] = [
      { moves: "121212", scores: [18, -3, 0, 0, 0, 0, 0] }, // column 1 wins at once
      { moves: "12121", scores: [2, -18, -18, -18, -18, -18, -18] }, // only column 1 stops four
      { moves: "44335", scores: [-18, -18, -18, -18, -18, -18, -18] }, // nothing stops it
    ];
    const play = (column: number) => ({ probabilities: oneHot(column), value: 0 });
    const tactics = (columns: readonly number[]) => {
      const { missedWins, avoidableLosses } = judgeAnswers(list, columns.map(play)).argmax;
      return [missedWins, avoidableLosses];
    };
    expect(tactics([0, 0, 0])).toEqual([
      { positions: 1, share: 0 },
      { positions: 1, share: 0 },
    ]);
    expect(tactics([2, 3, 0])).toEqual([
      { positions: 1, share: 1 },
      { positions: 1, share: 1 },
    ]);
  });

  test("calibration: bins, their error, and the correlation", () => {
    const scores = (best: number) => [best, null, null, null, null, null, null];
    const list = [3, 3, -3, 0].map((best) => ({ moves: "4", scores: scores(best) }));
    const answers = [0.9, 0.9, 0.9, -0.5].map((value) => ({ probabilities: oneHot(0), value }));
    const { calibration, argmax } = judgeAnswers(list, answers);
    expect(calibration.bins).toHaveLength(10);
    const [low, high] = [calibration.bins[2]!, calibration.bins[9]!];
    expect(low).toMatchObject({ positions: 1, predicted: -0.5, actual: 0 });
    expect(high.positions).toBe(3);
    expect(high.predicted).toBeCloseTo(0.9, 12);
    expect(high.actual).toBeCloseTo(1 / 3, 12);
    expect(calibration.error).toBeCloseTo((0.5 + 3 * (0.9 - 1 / 3)) / 4, 12);
    expect(calibration.squaredError).toBeCloseTo((0.01 + 0.01 + 1.9 ** 2 + 0.25) / 4, 12);
    expect(calibration.correlation).toBeCloseTo(0.35 / Math.sqrt(1.47 * 2.75), 12); // by hand
    expect(argmax.positions).toBe(0);
    expect(argmax.mistakeRate).toBeNaN();
  });

  test("answers that are none are refused", () => {
    const [position] = positions as [ScoredPosition];
    for (const answers of [[], [{ probabilities: [0, 0, 0, 0, 0, 0, 0], value: 0 }]]) {
      expect(() => judgeAnswers([position], answers)).toThrow(OptionError);
    }
    const answers = [{ probabilities: oneHot(3), value: Number.NaN }];
    expect(() => judgeAnswers([position], answers)).toThrow(expect.objectContaining({ path: "answers[0]" }));
  });
});

/** The first moves of a player from each position, as answers: by way of games, which know nothing of scores. */
async function playedAnswers(player: PlayerSpec): Promise<Answer[]> {
  const openings = positions.map(({ moves }) => moves);
  const { games } = await playMatch(player, { kind: "random" }, { game: "connect4", openings, threads: 2 });
  return openings.map((moves, i) => {
    // Of the two games with one opening, that in which the player is to move.
    const game = games[2 * i + (moves.length % 2)]!;
    return { probabilities: oneHot(Number(game.moves[0]) - 1), value: 0 };
  });
}

describe("players whose play is known", () => {
  test("one ply wins at once and avoids losses at once, but sees no further; four plies see more", async () => {
    const [one, four] = await Promise.all(
      [{ kind: "one-ply" } as const, { kind: "alpha-beta", depth: 4 } as const].map(async (player) => {
        const { argmax } = judgeAnswers(positions, await playedAnswers(player));
        return argmax;
      }),
    );
    for (const { missedWins, avoidableLosses } of [one!, four!]) {
      expect(missedWins.share).toBe(0);
      expect(avoidableLosses.share).toBe(0);
    }
    expect(one!.mistakeRate).toBeGreaterThan(0.1);
    expect(four!.mistakeRate).toBeGreaterThan(0.01);
    expect(four!.mistakeRate).toBeLessThan(one!.mistakeRate / 1.5);
  });

  test("an argmax policy errs in games where it is said to", async () => {
    await using run = await SelfPlay.create({ game: { name: "connect4" }, net: { width: 32 }, run: { seed: SEED } });
    const { argmax } = judgeAnswers(positions, await playedAnswers({ kind: "policy", run, play: "argmax" }));
    expect(argmax).toEqual((await judgeConnect4(run)).argmax);
  });
});

describe("blunders", () => {
  const kinds = (moves: string, scores: (number | null)[], column: number) =>
    findBlunders([{ moves, scores }], [{ probabilities: oneHot(column - 1), value: 0 }]).map(({ kind }) => kind);

  test("are of the kinds that the board shows", () => {
    // One column has three of the first player's, who is to move; then the second player is.
    expect(kinds("121212", [18, -3, 0, 0, 0, 0, 0], 2)).toEqual(["missed win"]);
    expect(kinds("12121", [2, -18, -18, -18, -18, -18, -18], 4)).toEqual(["missed block"]);
    expect(kinds("12121", [2, -18, -18, -18, -18, -18, -18], 1)).toEqual([]);
  });

  test("of a run are the contested positions whose most probable move loses value, and make an atlas", async () => {
    await using run = await SelfPlay.create({ game: { name: "connect4" }, net: { width: 32 }, run: { seed: SEED } });
    const blunders = findBlunders(positions, await run.policy(positions.map(({ moves }) => moves)));
    const { argmax } = await judgeConnect4(run);
    expect(blunders.length).toBe(Math.round(argmax.mistakeRate * argmax.positions));
    const missed = blunders.filter(({ kind }) => kind === "missed win").length;
    expect(missed).toBeGreaterThan(0);
    expect(missed).toBeLessThanOrEqual(Math.round(argmax.missedWins.share * argmax.missedWins.positions));
    for (const { moves, played, kind } of blunders) {
      const after = moves + played;
      const lines = ["1", "2", "3", "4", "5", "6", "7"].filter((reply) => {
        const outcome = native().position("connect4", after + reply);
        return outcome.ok && outcome.position.result === 1;
      });
      if (kind === "deeper") expect(lines, moves).toEqual([]);
      if (kind === "win on top") expect(lines, moves).toEqual([String(played)]);
      if (kind === "missed block")
        expect(
          lines.some((reply) => reply !== String(played)),
          moves,
        ).toBe(true);
    }
    expect(new Set(blunders.map(({ kind }) => kind)).size).toBe(4);
  });
});

describe("a run", () => {
  const options = { game: { name: "connect4" }, net: { width: 32 }, run: { seed: SEED, threads: 1 } } as const;

  test("is judged in its evaluation as by hand, and the same whatever the threads", async () => {
    await using run = await SelfPlay.create(options);
    const { judge } = await run.evaluate();
    expect(judge).toEqual(await judgeConnect4(run));
    const answers: PositionPolicy[] = [];
    for (const { moves } of positions) answers.push(await run.policy(moves));
    expect(judge).toEqual(judgeAnswers(positions, answers));
    await using other = await SelfPlay.create({ ...options, run: { ...options.run, threads: 2 } });
    expect(await judgeConnect4(other)).toEqual(judge);
    // Untrained: far from good, and not the same in both ways to play.
    expect(judge!.argmax.mistakeRate).toBeGreaterThan(0.2);
    expect(judge!.sampled.mistakeRate).not.toBe(judge!.argmax.mistakeRate);
  });

  test("of another game has no judgement", async () => {
    await using run = await SelfPlay.create({ game: { name: "tictactoe" }, net: { width: 16 } });
    expect((await run.evaluate()).judge).toBeNull();
  });
});
