// The rating that training shows: quick games against players without networks, at each evaluation.

import { Player } from "../match/player.js";
import { ladderPath, type Pool, readPool } from "../match/pool.js";
import { rateOnPool } from "../match/rate-on-pool.js";
import type { GameName } from "../names.gen.js";
import type { PlayerRating } from "../ratings/bradley-terry.js";
import type { SelfPlay } from "../selfplay.js";
import { ratingText } from "./report.js";

/** Against each player of the ladder, half of them with either colour: about a second for all. */
const GAMES = 20;

/** A policy's place among the players of the ladder; random play is at 1000. */
export interface LadderRating {
  /** Null where it won or lost everything: `standing` and `bound` then say where its rating begins or ends. */
  readonly rating: number | null;
  readonly standing: PlayerRating["standing"];
  readonly bound: number | null;
  /** 95%, of these games. */
  readonly interval: readonly [number, number] | null;
}

export type LadderRatings = Readonly<Record<"argmax" | "sampled", LadderRating>>;

/** Rates policies as they are trained. */
export class Ladder {
  readonly #pool: Pool;

  private constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Null where the game has none. */
  static async open(game: GameName): Promise<Ladder | null> {
    return game === "connect4" ? new Ladder(await readPool(ladderPath(game))) : null;
  }

  /** The games depend on the policy and the run's seed only. */
  async rate(run: SelfPlay, signal: AbortSignal): Promise<LadderRatings> {
    const { seed, threads } = run.options.run;
    const rate = async (play: "argmax" | "sampled"): Promise<LadderRating> => {
      const player = await Player.load({ kind: "policy", run, play, name: play });
      const { rating, standing, bound, interval } = await rateOnPool(player, this.#pool, {
        games: GAMES,
        seed,
        threads,
        signal,
      });
      return {
        rating: Number.isFinite(rating) ? rating : null,
        standing,
        bound,
        interval: interval?.every(Number.isFinite) ? [interval[0], interval[1]] : null,
      };
    };
    return { argmax: await rate("argmax"), sampled: await rate("sampled") };
  }
}

function placeText({ interval, ...rating }: LadderRating): string {
  const half = interval === null ? "" : ` +-${((interval[1] - interval[0]) / 2).toFixed(0)}`;
  return `${ratingText(rating)}${half}`;
}

/** Ratings in a line. */
export function ladderText({ argmax, sampled }: LadderRatings): string {
  return `rating ${placeText(argmax)} argmax, ${placeText(sampled)} sampled`;
}
