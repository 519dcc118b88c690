// What a run reports: the types that the API yields and the command line prints as JSON.

import type { Judgement } from "./judge/judgement.js";
import type { NativeCertificate, NativeExploit, NativeIteration, Role, Shares } from "./native.js";

export type { Role, Shares };

/** A league, as of the end of an iteration; what is frozen then is counted, with the scores of before. */
export interface League {
  /** Frozen players. */
  readonly size: number;
  readonly main: Role;
  readonly mainExploiter: Role;
  readonly leagueExploiter: Role;
}

/**
 * One iteration of training. Figures that do not exist (no pool game was played) are NaN, in JSON null. With a league
 * `games`, `samples`, `plies`, their totals, `speed` and `roofline` count all learners, the rest is the main agent's.
 */
export interface Iteration {
  /** 1 for the first iteration of a run; goes on counting after a resume. */
  readonly index: number;
  /** Games played in this iteration. */
  readonly games: number;
  /** Trained moves of this iteration. */
  readonly samples: number;
  /** All moves of this iteration. */
  readonly plies: number;
  /** Optimiser steps of this iteration. */
  readonly updates: number;
  /** Games and trained moves since the run began. */
  readonly totalGames: number;
  readonly totalSamples: number;
  /** Means over the update. Entropy is in nats, over legal actions. */
  readonly loss: { readonly policy: number; readonly value: number; readonly entropy: number };
  readonly approxKl: number;
  /** Share of samples whose ratio was clipped. */
  readonly clipFraction: number;
  /** Global L2 norm of the gradient before clipping. */
  readonly gradNorm: number;
  /** 1 - var(returns - values) / var(returns), before the update. */
  readonly explainedVariance: number;
  /** Largest |ratio - 1| of the first minibatch, before the first step. */
  readonly maxRatioError: number;
  readonly lr: number;
  readonly entropyCoef: number;
  /** Passes over the samples; fewer than `ppo.epochs` after a KL stop. */
  readonly epochs: number;
  readonly poolSize: number;
  /** The agent's share of wins against pool opponents. */
  readonly winRate: number;
  /** The agent against pool opponents. */
  readonly pool: Shares;
  /** The first player's shares over all games. */
  readonly firstPlayer: Shares;
  readonly speed: {
    readonly gamesPerSecond: number;
    readonly samplesPerSecond: number;
    readonly collectSeconds: number;
    readonly updateSeconds: number;
  };
  /**
   * Rate of all kernels, and its share of the measured peak, at most 1 (NaN where the roof was not measured). `raised`:
   * the peak is the best rate that an iteration reached, because all measurements of it read less.
   */
  readonly roofline: { readonly gflops: number; readonly fraction: number; readonly raised: boolean };
  /** Training time since the run began, in seconds of the wall clock. */
  readonly seconds: number;
  /** Null without a league. */
  readonly league: League | null;
  /** Where this iteration was to be evaluated. */
  readonly evaluation: Evaluation | null;
  /** Why the run ends early with this iteration, if it does. */
  readonly stopped: "certificate" | null;
}

/** A policy judged by a best response: +1 it wins, 0 draw, -1 it loses. */
export interface Exploit {
  /** Mean of `first` and `second`; 0 for a policy that no opponent can beat in a drawn game. */
  readonly exploitability: number;
  /** The best response's expected result when the policy plays first. */
  readonly first: number;
  /** The best response's expected result when the policy plays second. */
  readonly second: number;
  /** The best response's line of play in each case: the worst game, to replay. */
  readonly worst: { readonly first: string; readonly second: string };
}

/** The exact certificate of a policy on a small game, over the whole tree. */
export interface Certificate {
  /** The policy that plays its most probable action. */
  readonly argmax: Exploit;
  /** The policy that samples. */
  readonly sampled: Exploit;
  /** Reachable states of the game. */
  readonly states: number;
}

/** Shares against uniformly random play: the mean over both seats, and each seat. */
export interface SeatShares extends Shares {
  /** The policy plays first. */
  readonly first: Shares;
  /** The policy plays second. */
  readonly second: Shares;
}

/** The argmax policy against uniformly random play, and the sampled policy beside it. */
export interface VersusRandom extends SeatShares {
  readonly sampled: SeatShares;
  /** Whether the shares were computed over the tree. */
  readonly exact: boolean;
  /** Games played where they were not; null when exact. */
  readonly games: number | null;
  /** 95% Wilson interval of the win share; null when exact. */
  readonly interval: readonly [number, number] | null;
}

/** What a policy is worth. */
export interface Evaluation {
  /** Null for games whose tree is too large. */
  readonly certificate: Certificate | null;
  /** Mistakes by the perfect player's scores; null for other games than Connect Four. */
  readonly judge: Judgement | null;
  readonly versusRandom: VersusRandom;
}

/** Policy and value at one position. */
export interface PositionPolicy {
  readonly moves: string;
  /** Raw, for all actions; 0 at the end of a game. */
  readonly logits: Float32Array;
  /** 0 on illegal actions. */
  readonly probabilities: Float32Array;
  /** Expected result for the side to move; exact at the end of a game. */
  readonly value: number;
  readonly terminal: boolean;
}

export function toIteration(
  raw: NativeIteration,
  seconds: number,
  evaluation: Evaluation | null,
  stopped: "certificate" | null,
): Iteration {
  const busy = raw.collectSeconds + raw.updateSeconds;
  return {
    index: raw.index,
    games: raw.games,
    samples: raw.samples,
    plies: raw.plies,
    updates: raw.updates,
    totalGames: raw.totalGames,
    totalSamples: raw.totalSamples,
    loss: { policy: raw.policyLoss, value: raw.valueLoss, entropy: raw.entropy },
    approxKl: raw.approxKl,
    clipFraction: raw.clipFraction,
    gradNorm: raw.gradNorm,
    explainedVariance: raw.explainedVariance,
    maxRatioError: raw.maxRatioError,
    lr: raw.lr,
    entropyCoef: raw.entropyCoef,
    epochs: raw.epochs,
    poolSize: raw.poolSize,
    winRate: raw.win,
    pool: { win: raw.win, draw: raw.draw, loss: raw.loss },
    firstPlayer: { win: raw.firstWin, draw: raw.firstDraw, loss: raw.firstLoss },
    speed: {
      gamesPerSecond: raw.games / busy,
      samplesPerSecond: raw.samples / busy,
      collectSeconds: raw.collectSeconds,
      updateSeconds: raw.updateSeconds,
    },
    roofline: {
      gflops: raw.flops / busy / 1e9,
      fraction: raw.roofline > 0 ? raw.roofline : Number.NaN,
      raised: raw.roofRaised,
    },
    league: toLeague(raw),
    seconds,
    evaluation,
    stopped,
  };
}

function toLeague({ roles, poolSize }: NativeIteration): League | null {
  if (!roles) return null;
  const [main, mainExploiter, leagueExploiter] = roles;
  return { size: poolSize, main, mainExploiter, leagueExploiter };
}

function toExploit(raw: NativeExploit): Exploit {
  const { exploitability, first, second, worstFirst, worstSecond } = raw;
  return { exploitability, first, second, worst: { first: worstFirst, second: worstSecond } };
}

export function toCertificate(raw: NativeCertificate): Certificate {
  return { argmax: toExploit(raw.argmax), sampled: toExploit(raw.sampled), states: raw.states };
}

export function seatShares(first: Shares, second: Shares): SeatShares {
  const mean = (key: keyof Shares) => (first[key] + second[key]) / 2;
  return { win: mean("win"), draw: mean("draw"), loss: mean("loss"), first, second };
}

/** 95% Wilson score interval of a share seen in `count` trials. */
export function wilson(share: number, count: number): [number, number] {
  const z = 1.959963984540054;
  const spread = z * Math.sqrt((share * (1 - share)) / count + (z * z) / (4 * count * count));
  const middle = share + (z * z) / (2 * count);
  const scale = 1 + (z * z) / count;
  return [Math.max(0, (middle - spread) / scale), Math.min(1, (middle + spread) / scale)];
}
