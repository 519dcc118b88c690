// Ratings against values from R, and on leagues whose ratings are known.

import { describe, expect, test } from "vitest";
import {
  bootstrapRatings,
  bradleyTerry,
  cycles,
  type Encounter,
  encounter,
  encounterOf,
  expectedScore,
  fixedPoolRating,
  gamesToSeparate,
  type MatchGame,
  OptionError,
  pointsOf,
  sequentialElo,
  totalOf,
} from "../../lib/index.js";
import { type Random, randomOf } from "../../lib/lab/stats/random.js";

const LEAGUE = [
  encounter("random", "heuristic", 4, 1, 35),
  encounter("random", "one-ply", 2, 0, 38),
  encounter("random", "net", 1, 3, 36),
  encounter("heuristic", "one-ply", 10, 6, 24),
  encounter("heuristic", "net", 6, 2, 32),
  encounter("one-ply", "net", 11, 5, 24),
];
const anchors = { random: 1000 };

function byName(fit: ReturnType<typeof bradleyTerry>) {
  return new Map(fit.ratings.map((rating) => [rating.player, rating]));
}

// R: X has +1 and -1 for the players of a row, without random's column; s = w + d/2, n = w + d + l
//   m <- glm(cbind(s, n - s) ~ 0 + X, family = quasibinomial()); 1000 + 400/log(10) * coef(m)
//   summary(m, dispersion = 1)$coefficients[, 2]
const HALF = {
  heuristic: [1334.79119496, 63.8288065],
  "one-ply": [1467.31881158, 67.582638],
  net: [1579.39619635, 71.1664803],
};
// R: optim of -sum(w*t/2 - l*t/2 + d*delta - n*log(exp(t/2) + exp(-t/2) + exp(delta))), t = X theta
const DAVIDSON = {
  heuristic: [1387.4445605, 71.400272],
  "one-ply": [1538.1534084, 76.297445],
  net: [1665.1296286, 80.909949],
};

describe("bradleyTerry", () => {
  test.each([
    ["half", HALF, null],
    ["davidson", DAVIDSON, 0.237885679],
  ] as const)("draws %s: ratings and errors of R", (draws, wanted, drawRatio) => {
    const fit = bradleyTerry(LEAGUE, { anchors, draws });
    const ratings = byName(fit);
    for (const [player, [rating, error]] of Object.entries(wanted)) {
      expect(ratings.get(player)!.rating).toBeCloseTo(rating!, 4);
      expect(ratings.get(player)!.standardError).toBeCloseTo(error!, 2);
      expect(ratings.get(player)!.standing).toBe("estimated");
    }
    expect(ratings.get("random")).toMatchObject({ rating: 1000, standing: "fixed", standardError: null, games: 120 });
    expect(ratings.get("net")).toMatchObject({ games: 120, points: 97 });
    expect(fit.ratings.map(({ player }) => player)).toEqual(["net", "one-ply", "heuristic", "random"]);
    if (drawRatio === null) expect(fit.drawRatio).toBeNull();
    else expect(fit.drawRatio).toBeCloseTo(drawRatio, 6);
  });

  test("every player's expected score is the one that it made", () => {
    const ratings = byName(bradleyTerry(LEAGUE, { anchors }));
    for (const player of ["heuristic", "one-ply", "net"]) {
      let [made, expected] = [0, 0];
      for (const { a, b, pairs } of LEAGUE) {
        if (a !== player && b !== player) continue;
        const { wins, draws, losses } = totalOf(pairs);
        const games = wins + draws + losses;
        made += draws / 2 + (a === player ? wins : losses);
        const other = ratings.get(a === player ? b : a)!.rating;
        expected += games * expectedScore(ratings.get(player)!.rating - other);
      }
      expect(expected).toBeCloseTo(made, 6);
    }
  });

  test("without draws Davidson's model is Bradley and Terry's", () => {
    const league = [encounter("random", "a", 3, 0, 9), encounter("a", "b", 4, 0, 6), encounter("random", "b", 1, 0, 9)];
    const half = byName(bradleyTerry(league, { anchors }));
    const davidson = byName(bradleyTerry(league, { anchors, draws: "davidson" }));
    for (const [player, { rating }] of half) expect(davidson.get(player)!.rating).toBeCloseTo(rating, 6);
  });

  test("where nobody lost, Davidson's draws may grow without end: a direction, not a rating", () => {
    const fit = (...league: Encounter[]) => {
      const { ratings, drawRatio } = bradleyTerry(league, { anchors, draws: "davidson" });
      return { drawRatio, standing: Object.fromEntries(ratings.map(({ player, standing }) => [player, standing])) };
    };
    const unbeaten = encounter("x", "random", 95, 5, 0);
    expect(fit(unbeaten).standing).toEqual({ x: "atLeast", random: "fixed" });
    expect(bradleyTerry([unbeaten], { anchors, draws: "davidson" }).ratings[0]).toMatchObject({
      rating: Infinity,
      bound: null,
    });
    expect(fit(encounter("random", "x", 95, 5, 0)).standing).toMatchObject({ x: "atMost" });
    expect(fit(encounter("x", "random", 0, 9, 0)).standing).toMatchObject({ x: "estimated" });
    const equals = encounter("x", "y", 0, 40, 0);
    expect(fit(unbeaten, equals, encounter("y", "random", 30, 10, 0)).standing).toMatchObject({
      x: "atLeast",
      y: "atLeast",
    });
    expect(fit(encounter("x", "y", 3, 0, 0), encounter("y", "random", 0, 40, 0)).standing.x).toBe("atLeast");
    // One win and one loss between any two of them tie the parameter down, and everybody has a rating again.
    const tied = fit(unbeaten, encounter("y", "random", 30, 10, 1));
    expect(tied.standing).toMatchObject({ x: "estimated", y: "estimated" });
    expect(tied.drawRatio).toBeLessThan(10);
    // A won against B and drew, as B did against C and C against A: no ratings make all of them certain.
    const round = [encounter("x", "y", 9, 1, 0), encounter("y", "random", 9, 1, 0), encounter("random", "x", 9, 1, 0)];
    expect(fit(...round).standing).toMatchObject({ x: "estimated", y: "estimated" });
    // Who hangs on players without a rating has none either.
    const chain = fit(encounter("random", "x", 4, 2, 0), encounter("x", "y", 0, 2, 2));
    expect(chain.standing).toMatchObject({ x: "atMost", y: "undetermined" });
    const draws = (a: string) => encounter(a, "x", 0, 1, 0);
    const between = fit(draws("random"), draws("y"), encounter("random", "z", 1, 0, 0), encounter("z", "y", 1, 0, 0));
    expect(Object.keys(between.standing)).toHaveLength(4);
    for (let seed = 0; seed < 3000; ++seed) {
      const chance = randomOf(seed, 78);
      const names = ["random", "a", "b", "c"];
      const league = names.flatMap((a, i) =>
        names.slice(i + 1).flatMap((b) => {
          const [wins, drawn, losses] = [0, 1, 2].map(() => Math.max(0, chance.below(6) - 3));
          return wins! + drawn! + losses! === 0 ? [] : [encounter(a, b, wins!, drawn!, losses!)];
        }),
      );
      if (league.some(({ a }) => a === "random"))
        expect(Object.keys(fit(...league).standing).length).toBeGreaterThan(1);
    }
    // Samples without the only loss have no finite rating, and no end to their interval.
    const once = [encounter("x", "random", 95, 4, 1)];
    const [low, high] = bootstrapRatings(once, { anchors, draws: "davidson", seed: 1 }).get("x")!;
    expect(low).toBeGreaterThan(1000);
    expect(high).toBe(Infinity);
  });

  test("several anchors stay where they are", () => {
    const fit = byName(bradleyTerry(LEAGUE, { anchors: { random: 1000, heuristic: 1584, "one-ply": 1700 } }));
    expect([fit.get("heuristic")!.rating, fit.get("one-ply")!.rating]).toEqual([1584, 1700]);
    const results = [
      { rating: 1000, wins: 36, draws: 3, losses: 1 },
      { rating: 1584, wins: 32, draws: 2, losses: 6 },
      { rating: 1700, wins: 24, draws: 5, losses: 11 },
    ];
    expect(fit.get("net")!.rating).toBeCloseTo(fixedPoolRating(results), 4);
  });

  test("who won all has a bound, not a rating", () => {
    const league = [
      encounter("random", "low", 10, 0, 10),
      encounter("low", "middle", 5, 0, 5),
      encounter("top", "random", 30, 0, 0),
      encounter("top", "low", 30, 0, 0),
      encounter("best", "top", 5, 0, 5),
      encounter("worst", "random", 0, 0, 20),
      encounter("stranger", "friend", 5, 0, 5),
    ];
    const fit = byName(bradleyTerry(league, { anchors }));
    expect(fit.get("low")).toMatchObject({ standing: "estimated", bound: null });
    expect(fit.get("top")).toMatchObject({ standing: "atLeast", rating: Infinity, standardError: null });
    // 60 wins against 1000 have a probability of 0.05 at 1000 + 400 log10(1 / (0.05^(-1/60) - 1)).
    expect(fit.get("top")!.bound).toBeCloseTo(1000 - 400 * Math.log10(0.05 ** (-1 / 60) - 1), 5);
    // It met nobody else, but scored half against one who is at least that good.
    expect(fit.get("best")!.standing).toBe("atLeast");
    expect(fit.get("worst")).toMatchObject({ standing: "atMost", rating: -Infinity });
    expect(fit.get("worst")!.bound).toBeCloseTo(1000 + 400 * Math.log10(0.05 ** (-1 / 20) - 1), 5);
    expect(fit.get("stranger")).toMatchObject({ standing: "undetermined", rating: Number.NaN });
    // R: uniroot of 20 log p(1400) + 10 log p(1500) = log 0.05
    const swept = [encounter("x", "a", 20, 0, 0), encounter("x", "b", 10, 0, 0)];
    expect(byName(bradleyTerry(swept, { anchors: { a: 1400, b: 1500 } })).get("x")!.bound).toBeCloseTo(
      1830.87524101,
      5,
    );
    // A prior makes all of that finite.
    const prior = byName(bradleyTerry(league, { anchors, prior: 1 }));
    expect(prior.get("top")!.standing).toBe("estimated");
    expect(prior.get("top")!.rating).toBeGreaterThan(1400);
    expect(prior.get("stranger")!.standing).toBe("undetermined");
  });

  test("a chain of close results far from the anchor converges", () => {
    const chain = Array.from({ length: 30 }, (_, i) => encounter(`p${i}`, `p${i + 1}`, 1, 0, 999));
    const fit = byName(bradleyTerry(chain, { anchors: { p0: 0 } }));
    expect(fit.get("p30")!.rating).toBeCloseTo(30 * pointsOf(0.999), 3);
  });

  test("refuses what is no league", () => {
    expect(() => bradleyTerry(LEAGUE, { anchors: {} })).toThrow(OptionError);
    expect(() => bradleyTerry(LEAGUE, { anchors: { nobody: 1 } })).toThrow("anchors");
    expect(() => bradleyTerry(LEAGUE, { anchors: { random: Number.NaN } })).toThrow("anchors.random");
    expect(() => bradleyTerry(LEAGUE, { anchors, prior: -1 })).toThrow("prior");
    expect(() => bradleyTerry([encounter("a", "a", 1, 0, 1)], { anchors })).toThrow("against itself");
  });
});

// ---- leagues with known ratings ----

/** Games of two players in colour-swapped pairs; who begins is `edge` points better. */
function play(random: Random, difference: number, edge: number, games: number, a: string, b: string): Encounter {
  const pairs = Array.from({ length: games / 2 }, () => {
    const opening = edge * random.normal(); // good for who begins in both games: scores of a pair are not independent
    const wins = [1, -1].filter((colour) => random.uniform() < expectedScore(difference + colour * opening)).length;
    return { wins, draws: 0, losses: 2 - wins };
  });
  return { a, b, pairs };
}

describe("bootstrapRatings", () => {
  const truth = { random: 1000, a: 1250, b: 1400, c: 1600 };
  const names = Object.keys(truth) as (keyof typeof truth)[];
  const league = (random: Random, edge: number) =>
    names.flatMap((a, i) => names.slice(i + 1).map((b) => play(random, truth[a] - truth[b], edge, 60, a, b)));

  test("intervals cover known ratings as often as they say", () => {
    const leagues = 120;
    let covered = 0;
    for (let seed = 0; seed < leagues; ++seed) {
      const intervals = bootstrapRatings(league(randomOf(seed, 1), 0), {
        anchors,
        seed,
        samples: 200,
        confidence: 0.9,
      });
      for (const player of ["a", "b", "c"] as const) {
        const [low, high] = intervals.get(player)!;
        if (low <= truth[player] && truth[player] <= high) ++covered;
      }
    }
    // 90% of 360 intervals (three of a league are not independent): within four standard errors of one a league.
    const error = Math.sqrt((0.9 * 0.1) / leagues);
    expect(covered / (3 * leagues), `covered ${covered}`).toBeGreaterThan(0.9 - 4 * error);
    expect(covered / (3 * leagues)).toBeLessThan(0.9 + 3 * error);
  });

  test("pairs stay together: a colour edge within pairs does not widen intervals", () => {
    const width = (encounters: readonly Encounter[]) => {
      const [low, high] = bootstrapRatings(encounters, { anchors, seed: 3 }).get("a")!;
      return high - low;
    };
    // One always wins as first: every pair is 1 to 1, so nothing is left to chance.
    const even = [{ a: "a", b: "random", pairs: Array.from({ length: 30 }, () => ({ wins: 1, draws: 0, losses: 1 })) }];
    expect(width(even)).toBe(0);
    expect(width([encounter("a", "random", 30, 0, 30)])).toBeGreaterThan(100);
  });

  test("opponents drawn anew widen an interval where they disagree", () => {
    const pool = { p: 1400, q: 1400, r: 1400, s: 1400, t: 1400 };
    const against = (wins: readonly number[]) =>
      Object.keys(pool).map((name, i) => encounter("x", name, wins[i]!, 0, 100 - wins[i]!));
    const interval = (encounters: readonly Encounter[], over: "pairs" | "pairs and opponents") =>
      bootstrapRatings(encounters, { anchors: pool, seed: 9, over }).get("x")!;
    const width = ([low, high]: readonly [number, number]) => high - low;
    const split = against([90, 90, 50, 50, 90]);
    expect(width(interval(split, "pairs and opponents"))).toBeGreaterThan(2 * width(interval(split, "pairs")));
    const same = against([70, 70, 70, 70, 70]);
    expect(width(interval(same, "pairs and opponents"))).toBeLessThan(1.3 * width(interval(same, "pairs")));
    expect(interval(split, "pairs")).toEqual(interval(split, "pairs"));
    expect(() => bootstrapRatings(LEAGUE, { anchors, seed: 1, over: "pairs and opponents" })).toThrow(OptionError);
  });

  test("ends are infinite where samples are swept", () => {
    const interval = bootstrapRatings([encounter("a", "random", 59, 0, 1)], { anchors, seed: 5 }).get("a")!;
    expect(interval[0]).toBeGreaterThan(1000);
    expect(interval[1]).toBe(Infinity);
  });
});

// ---- the rest ----

describe("self-play-ppo's ratings", () => {
  test("sequential Elo: on one pair of players the difference is that of the score, and random is the anchor", () => {
    const one = sequentialElo([encounter("a", "random", 30, 0, 10)]);
    expect(one.get("random")).toBe(1000);
    // 200 passes do not quite reach it.
    expect(Math.abs(one.get("a")! - (1000 + pointsOf(0.75)))).toBeLessThan(0.2);
    // On a league it comes close to the likelihood's maximum of equal weights, and depends on the order.
    const forth = sequentialElo(LEAGUE);
    const back = sequentialElo([...LEAGUE].reverse());
    for (const [player, [rating]] of Object.entries(HALF)) {
      expect(Math.abs(forth.get(player)! - rating!)).toBeLessThan(25);
      expect(back.get(player)).not.toBe(forth.get(player));
    }
    expect(() => sequentialElo(LEAGUE, "nobody")).toThrow(OptionError);
  });

  test("sequential Elo by hand: two updates of the first pass", () => {
    // 200 passes by a loop of its own, on plain numbers.
    const rating: Record<string, number> = { random: 1500, x: 1500, y: 1500 };
    const rows = [
      ["x", "random", 0.9],
      ["x", "y", 0.25],
      ["y", "random", 0.8],
    ] as const;
    for (let pass = 0; pass < 200; ++pass) {
      for (const [a, b, score] of rows) {
        const expected = 1 / (1 + 10 ** ((rating[b]! - rating[a]!) / 400));
        rating[a]! += 16 * (score - expected);
        rating[b]! += 16 * (1 - score - (1 - expected));
      }
    }
    const got = sequentialElo([
      encounter("x", "random", 18, 0, 2),
      encounter("x", "y", 4, 2, 14),
      encounter("y", "random", 16, 0, 4),
    ]);
    for (const player of ["x", "y"]) expect(got.get(player)).toBeCloseTo(rating[player]! + 1000 - rating.random!, 9);
  });

  test("the fixed-pool rating is the maximum likelihood where that is finite", () => {
    const pool = { random: 1000, heuristic: 1584, other: 1412 };
    const league = [
      encounter("x", "random", 39, 0, 1),
      encounter("x", "heuristic", 20, 4, 16),
      encounter("x", "other", 30, 2, 8),
    ];
    const results = league.map(({ b, pairs }) => ({ rating: pool[b as keyof typeof pool], ...totalOf(pairs) }));
    expect(fixedPoolRating(results)).toBeCloseTo(byName(bradleyTerry(league, { anchors: pool })).get("x")!.rating, 3);
    // A sweep runs off by the steps that it has: no rating.
    expect(fixedPoolRating([{ rating: 1000, wins: 40, draws: 0, losses: 0 }])).toBeGreaterThan(2500);
  });
});

describe("gamesToSeparate", () => {
  test("as R computes it", () => {
    // R: ((qnorm(1-a/2) sqrt(v(.5)) + qnorm(power) sqrt(v(p))) / (p - .5))^2, v(p) = p (1-p) - draws/4: 381.86, 3145.2
    expect(gamesToSeparate({ difference: 50 })).toBe(382);
    expect(gamesToSeparate({ difference: -50 })).toBe(382);
    expect(gamesToSeparate({ difference: 20, draws: 0.3, power: 0.9, alpha: 0.01 })).toBe(3146);
    expect(gamesToSeparate({ difference: 0 })).toBe(Infinity);
    expect(() => gamesToSeparate({ difference: 50, power: 1 })).toThrow(OptionError);
  });
});

describe("cycles", () => {
  test("finds three players who beat each other in turn, and none in a league that ratings explain", () => {
    const circle = [
      encounter("rock", "scissors", 70, 0, 30),
      encounter("scissors", "paper", 70, 0, 30),
      encounter("rock", "paper", 30, 0, 70),
    ];
    const [found, ...others] = cycles(circle);
    expect(others).toEqual([]);
    expect(found!.points).toBeCloseTo(3 * pointsOf(70.5 / 101), 6);
    const turned = [
      found!.players,
      [...found!.players.slice(1), found!.players[0]],
      [found!.players[2], ...found!.players.slice(0, 2)],
    ];
    expect(turned).toContainEqual(["rock", "scissors", "paper"]);
  });

  test.each([100, 300, 900])("raises few false alarms in leagues with players %d points apart", (apart) => {
    let alarms = 0;
    for (let seed = 0; seed < 200; ++seed) {
      const random = randomOf(seed, 77);
      const names = ["a", "b", "c", "d", "e", "f"];
      const league = names.flatMap((a, i) =>
        names.slice(i + 1).map((b, j) => play(random, -apart * (j + 1), 0, 100, a, b)),
      );
      if (cycles(league).length > 0) ++alarms;
    }
    expect(alarms, `${alarms} of 200 leagues`).toBeLessThan(22); // 5% and four standard errors
  });

  test("results so one-sided that ratings explain them are no cycle, and a circle of sweeps is one", () => {
    for (const games of [10, 400, 10_000]) {
      const order = [
        encounter("a", "b", games, 0, 0),
        encounter("b", "c", games, 0, 0),
        encounter("a", "c", games, 0, 0),
      ];
      expect(cycles(order)).toEqual([]);
      const circle = [
        encounter("a", "b", games, 0, 0),
        encounter("b", "c", games, 0, 0),
        encounter("c", "a", games, 0, 0),
      ];
      // By ratings all are equal: every game had a chance of a half.
      const [found] = cycles(circle);
      expect(found!.z).toBeCloseTo(Math.sqrt(2 * 3 * games * Math.LN2), 6);
      expect(found!.players).toEqual(["a", "b", "c"]);
    }
  });

  test("agrees with a test of the log-odds where there are many close games", () => {
    const legs = [
      encounter("a", "b", 5300, 0, 4700),
      encounter("b", "c", 5400, 0, 4600),
      encounter("c", "a", 5100, 0, 4900),
    ];
    const odds = legs.map(({ pairs }) => pairs.reduce((sum, { wins }) => sum + wins, 0) / 1e4);
    const sum = odds.reduce((total, p) => total + Math.log(p / (1 - p)), 0);
    const error = Math.sqrt(odds.reduce((total, p) => total + 1 / (1e4 * p * (1 - p)), 0));
    expect(cycles(legs)[0]!.z).toBeCloseTo(sum / error, 1);
  });
});

describe("encounterOf", () => {
  const game = (first: "a" | "b", opening: string, moves: string, score: 0 | 0.5 | 1): MatchGame => ({
    first,
    opening,
    moves,
    score,
  });
  const match = (deterministic: boolean) => ({
    a: "x",
    b: "y",
    game: "connect4" as const,
    wins: 3,
    draws: 1,
    losses: 2,
    games: [
      game("a", "", "123", 1),
      game("b", "", "456", 0),
      game("a", "4", "1", 0.5),
      game("b", "4", "2", 1),
      game("a", "", "123", 1),
      game("b", "", "456", 0),
    ],
    distinct: 4,
    deterministic,
  });

  test("counts what deterministic players repeat once, and chance as often as it came", () => {
    expect(encounterOf(match(true)).pairs).toEqual([
      { wins: 1, draws: 0, losses: 1 },
      { wins: 1, draws: 1, losses: 0 },
    ]);
    expect(encounterOf(match(false)).pairs).toHaveLength(3);
    expect(totalOf(encounterOf(match(false)).pairs)).toEqual({ wins: 3, draws: 1, losses: 2 });
  });
});
