// Ratings by maximum likelihood: Bradley and Terry (1952), with draws as half a win each or by Davidson (1970).
//
// With draws as halves the likelihood is that of `points` wins in `games` games, which is what most rating lists and
// the one-dimensional ratings of fixed-pool.ts use: scales stay comparable, so it is the default. Davidson's model gives a draw
// a probability of its own, proportional to the root of both strengths, and one more parameter: the true likelihood of
// three outcomes. Its 400 points are a factor of ten between wins and losses, draws left out, so the more draws there
// are the wider its scale. Both give every player the rating at which its expected score is the one it made.

import { BellowsError, OptionError } from "../errors.js";
import { cholesky, solve } from "./cholesky.js";
import { checkEncounters, type Encounter, playersOf, totalOf } from "./encounter.js";
import { expectedScore, POINTS } from "./scale.js";
import { type DrawnScore, davidsonStandings, type Standing, standings } from "./separation.js";

export interface BradleyTerryArguments {
  /** Players with a given rating, at least one: `{ random: 1000 }`. */
  readonly anchors: Readonly<Record<string, number>>;
  /** How draws count; default `half`. */
  readonly draws?: "half" | "davidson" | undefined;
  /**
   * Drawn games added to every encounter, so that all ratings that are connected become finite: they are then pulled
   * together, the more the fewer games there are. Default 0: the likelihood alone.
   */
  readonly prior?: number | undefined;
  /** Of the bounds of players who never conceded or never scored; default 0.95. */
  readonly confidence?: number | undefined;
}

/** A player's rating. */
export interface PlayerRating {
  readonly player: string;
  /** Infinite where it has no finite estimate, NaN where it is undetermined. */
  readonly rating: number;
  readonly standing: Standing;
  /**
   * Of a player that never conceded: the rating at which what it did would have had a probability of 1 - confidence, so
   * that lower ones are unlikely; likewise of one that never scored. Null for the others.
   */
  readonly bound: number | null;
  /** From the likelihood's curvature; null where there is no finite estimate. Bootstrap intervals assume less. */
  readonly standardError: number | null;
  readonly games: number;
  /** Wins and half the draws. */
  readonly points: number;
}

export interface BradleyTerryFit {
  /** Best first; those that are undetermined at the end. */
  readonly ratings: readonly PlayerRating[];
  /** Davidson's parameter: between equals a draw is this many times as probable as a win of one of them; else null. */
  readonly drawRatio: number | null;
  readonly iterations: number;
}

const MOST_ITERATIONS = 200;

/**
 * Rates players from their encounters.
 *
 * @throws {@link OptionError} for bad arguments, {@link BellowsError} NUMERIC should the maximum not be found
 */
export function bradleyTerry(encounters: readonly Encounter[], args: BradleyTerryArguments): BradleyTerryFit {
  checkEncounters(encounters, "ratings");
  const totals = encounters.map(({ a, b, pairs }) => ({ a, b, ...totalOf(pairs) }));
  return fitTotals(playersOf(encounters), totals, args);
}

/** One encounter's totals. */
export interface Total {
  readonly a: string;
  readonly b: string;
  readonly wins: number;
  readonly draws: number;
  readonly losses: number;
}

/** {@link bradleyTerry} on totals that were checked. `start`: ratings to begin at. */
export function fitTotals(
  players: readonly string[],
  totals: readonly Total[],
  args: BradleyTerryArguments,
  start?: ReadonlyMap<string, number>,
): BradleyTerryFit {
  const { anchors, draws = "half", prior = 0, confidence = 0.95 } = args;
  check(anchors, draws, prior, confidence, players);
  const index = new Map(players.map((player, i) => [player, i]));
  const pairs: DrawnScore[] = [];
  for (const { a, b, wins, draws: drawn, losses } of totals) {
    const games = wins + drawn + losses;
    if (games === 0) continue;
    const shared = drawn + prior;
    const [i, j] = [index.get(a)!, index.get(b)!];
    pairs.push({ a: i, b: j, points: wins + shared / 2, games: games + prior, draws: shared });
  }
  const fixed = players.flatMap((player, i) => (Object.hasOwn(anchors, player) ? [i] : []));
  const standing = (draws === "davidson" ? davidsonStandings : standings)(players.length, pairs, fixed);
  const ratings = Float64Array.from(players, (player, i) => {
    if (standing[i] === "fixed") return anchors[player]!;
    const begin = start?.get(player);
    const mean = fixed.reduce((sum, at) => sum + anchors[players[at]!]!, 0) / fixed.length;
    return begin !== undefined && Number.isFinite(begin) ? begin : mean;
  });
  const known = (i: number) => standing[i] === "fixed" || standing[i] === "estimated";
  const inside = pairs.filter(({ a, b }) => known(a) && known(b));
  const free = players.flatMap((_, i) => (standing[i] === "estimated" ? [i] : []));
  // Where nothing but draws is left, no rating differs, whatever a draw's probability.
  const decided = inside.some((pair) => pair.draws > 0) && inside.some((pair) => pair.draws < pair.games);
  const fit = maximise(ratings, free, inside, draws === "davidson" && decided);
  const bounds = boundsOf(ratings, standing, pairs, 1 - confidence);

  const rated = players.map((player, i): PlayerRating => {
    const own = totals.filter(({ a, b }) => a === player || b === player);
    const total = (of: (t: Total) => number) => own.reduce((sum, t) => sum + of(t), 0);
    return {
      player,
      rating: known(i)
        ? ratings[i]!
        : ({ atLeast: Infinity, atMost: -Infinity }[standing[i] as "atLeast"] ?? Number.NaN),
      standing: standing[i]!,
      bound: bounds[i] ?? null,
      standardError: fit.errors[free.indexOf(i)] ?? null,
      games: total(({ wins, draws: drawn, losses }) => wins + drawn + losses),
      points: total((t) => (t.a === player ? t.wins : t.losses) + t.draws / 2),
    };
  });
  const order = ({ rating }: PlayerRating) => (Number.isNaN(rating) ? Number.NEGATIVE_INFINITY : rating);
  rated.sort((x, y) => (order(x) === order(y) ? 0 : order(y) - order(x)));
  return { ratings: rated, drawRatio: fit.drawRatio, iterations: fit.iterations };
}

function check(
  anchors: Readonly<Record<string, number>>,
  draws: string,
  prior: number,
  confidence: number,
  players: readonly string[],
): void {
  const refuse = (path: string, received: unknown, expected: string): never => {
    throw new OptionError(`${path} is ${received}; it must be ${expected}`, {
      op: "ratings",
      path,
      received: String(received),
      expected,
    });
  };
  if (draws !== "half" && draws !== "davidson") refuse("ratings.draws", draws, '"half" or "davidson"');
  if (!(prior >= 0 && prior < Infinity)) refuse("ratings.prior", prior, "a number from 0");
  if (!(confidence > 0 && confidence < 1)) refuse("ratings.confidence", confidence, "between 0 and 1");
  const present = Object.keys(anchors).filter((player) => players.includes(player));
  if (present.length === 0) {
    refuse(
      "ratings.anchors",
      Object.keys(anchors).join(", ") || "empty",
      "at least one of those who played, with its rating",
    );
  }
  for (const player of present) {
    if (!Number.isFinite(anchors[player])) refuse(`ratings.anchors.${player}`, anchors[player], "a number");
  }
}

/** Expectations and covariances of one game: of the score of a, and of whether it is drawn. */
function moments(difference: number, delta: number | null) {
  if (delta === null) {
    const p = expectedScore(difference);
    return { score: p, draw: 0, scoreVariance: p * (1 - p), drawVariance: 0, covariance: 0 };
  }
  const half = difference / POINTS / 2;
  const scale = Math.max(Math.abs(half), delta);
  const [win, loss, drawn] = [Math.exp(half - scale), Math.exp(-half - scale), Math.exp(delta - scale)];
  const sum = win + loss + drawn;
  const [w, d] = [win / sum, drawn / sum];
  const score = w + d / 2;
  return {
    score,
    draw: d,
    scoreVariance: w + d / 4 - score * score,
    drawVariance: d * (1 - d),
    covariance: d / 2 - d * score,
  };
}

function logLikelihood(ratings: Float64Array, pairs: readonly DrawnScore[], delta: number | null): number {
  let sum = 0;
  for (const { a, b, points, games, draws } of pairs) {
    const half = (ratings[a]! - ratings[b]!) / POINTS / 2;
    const terms = delta === null ? [half, -half] : [half, -half, delta];
    const top = Math.max(...terms);
    const normaliser = top + Math.log(terms.reduce((total, term) => total + Math.exp(term - top), 0));
    // In units of half the log-odds: a win is +half, a loss -half, a draw nothing or delta.
    sum += (2 * points - games) * half + (delta === null ? 0 : draws * delta) - games * normaliser;
  }
  return sum;
}

/** Newton's method with halved steps, in place. The log-likelihood is concave, so its maximum is the only one. */
function maximise(ratings: Float64Array, free: readonly number[], pairs: readonly DrawnScore[], davidson: boolean) {
  const place = new Map(free.map((player, i) => [player, i]));
  const size = free.length + (davidson ? 1 : 0);
  let delta: number | null = davidson ? 0 : null;
  const games = pairs.reduce((sum, pair) => sum + pair.games, 0);
  let best = logLikelihood(ratings, pairs, delta);
  for (let iterations = 0; ; ++iterations) {
    const gradient = new Float64Array(size);
    const information = Array.from({ length: size }, () => new Float64Array(size));
    const add = (i: number | undefined, j: number | undefined, value: number) => {
      if (i !== undefined && j !== undefined) information[i]![j]! += value;
    };
    for (const { a, b, points, games: n, draws } of pairs) {
      const m = moments(ratings[a]! - ratings[b]!, delta);
      const [i, j, k] = [place.get(a), place.get(b), davidson ? size - 1 : undefined];
      if (i !== undefined) gradient[i]! += points - n * m.score;
      if (j !== undefined) gradient[j]! -= points - n * m.score;
      if (k !== undefined) gradient[k]! += draws - n * m.draw;
      add(i, i, n * m.scoreVariance);
      add(j, j, n * m.scoreVariance);
      add(i, j, -n * m.scoreVariance);
      add(j, i, -n * m.scoreVariance);
      for (const [at, sign] of [
        [i, 1],
        [j, -1],
      ] as const) {
        add(at, k, sign * n * m.covariance);
        add(k, at, sign * n * m.covariance);
      }
      add(k, k, n * m.drawVariance);
    }
    const lower = cholesky(information);
    const steepest = gradient.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    if (lower && steepest <= 1e-11 * (1 + games)) {
      const errors = free.map((_, i) => {
        const unit = new Float64Array(size);
        unit[i] = 1;
        return POINTS * Math.sqrt(solve(lower, unit)[i]!);
      });
      return { errors, iterations, drawRatio: delta === null ? null : Math.exp(delta) };
    }
    if (!lower || iterations === MOST_ITERATIONS) throw notFound(iterations, steepest);
    const step = solve(lower, gradient);
    const from = { ratings: ratings.slice(), delta };
    for (let share = 1; ; share /= 2) {
      for (const [i, player] of free.entries()) ratings[player] = from.ratings[player]! + share * POINTS * step[i]!;
      if (from.delta !== null) delta = from.delta + share * step[size - 1]!;
      const reached = logLikelihood(ratings, pairs, delta);
      // Near the maximum the gain is lost in rounding: a full step is right there.
      if (reached >= best - 1e-12 * Math.abs(best)) {
        best = reached;
        break;
      }
      if (share < 1e-9) throw notFound(iterations, steepest);
    }
  }
}

function notFound(iterations: number, gradient: number): BellowsError {
  return new BellowsError("NUMERIC", `the ratings did not converge in ${iterations} steps`, {
    op: "ratings",
    received: `a gradient of ${gradient}`,
    expected: "a gradient of 0",
  });
}

/** Bounds of players without a finite estimate, by their games against players with a rating or a bound. */
function boundsOf(ratings: Float64Array, standing: readonly Standing[], pairs: readonly DrawnScore[], level: number) {
  const bounds = new Map<number, number>();
  const ratingOf = (i: number) => (standing[i] === "fixed" || standing[i] === "estimated" ? ratings[i] : bounds.get(i));
  for (let found = -1; found !== bounds.size; ) {
    found = bounds.size;
    const added: [number, number][] = [];
    for (const [i, how] of standing.entries()) {
      if (bounds.has(i) || (how !== "atLeast" && how !== "atMost")) continue;
      const sign = how === "atLeast" ? 1 : -1;
      const met = pairs.flatMap(({ a, b, games, draws }) => {
        const other = a === i ? b : b === i ? a : null;
        const rating = other === null || (standing[other] === how && !bounds.has(other)) ? undefined : ratingOf(other);
        return rating === undefined ? [] : [{ rating, games, draws }];
      });
      // After draws, which Davidson's model allows for, it is no sweep.
      if (met.length > 0 && met.every(({ draws }) => draws === 0)) added.push([i, sweepBound(met, sign, level)]);
    }
    for (const [i, bound] of added) bounds.set(i, bound);
  }
  return standing.map((_, i) => bounds.get(i));
}

/** The rating at which scoring everything (sign 1) or nothing (-1) in all these games has the probability `level`. */
function sweepBound(met: readonly { rating: number; games: number }[], sign: number, level: number): number {
  const logProbability = (rating: number) =>
    met.reduce((sum, { rating: other, games }) => sum + games * Math.log(expectedScore(sign * (rating - other))), 0);
  const middle = met.reduce((sum, { rating }) => sum + rating, 0) / met.length;
  // Times sign, the probability grows with the rating: bisection over a range that no rating leaves.
  let [low, high] = [-1e5, 1e5];
  for (let i = 0; i < 100; ++i) {
    const half = (low + high) / 2;
    if (logProbability(middle + sign * half) < Math.log(level)) low = half;
    else high = half;
  }
  return middle + (sign * (low + high)) / 2;
}
