import { xoroshiro128plusFromState } from "pure-rand/generator/xoroshiro128plus";
import { checkNumber } from "./check.js";
import { normalQuantile } from "./distributions.js";

/** A seeded source of random numbers. The same seed and stream give the same numbers on every machine. */
export interface Random {
  /** Uniform in [0, 1), with 53 random bits. */
  uniform(): number;
  /** Standard normal: one uniform through the inverse of the distribution function. */
  normal(): number;
  /** A whole number in [0, n), each equally likely. */
  below(n: number): number;
  /** Fair: true or false. */
  coin(): boolean;
  /** Shuffles in place (Fisher and Yates) and gives the same list back. */
  shuffle<List extends { length: number; [index: number]: unknown }>(list: List): List;
}

/**
 * A generator (xoroshiro128+ of pure-rand) for a seed and a stream of it.
 *
 * Seeds and streams are mixed first, so that neighbours have nothing in common. Only the upper bits of each draw are
 * used, since the lowest ones of this family of generators follow a short linear recurrence.
 *
 * @param seed - whole number, 0 to 2^53 - 1
 * @param stream - whole numbers that tell draws of one seed apart
 */
export function randomOf(seed: number, ...stream: readonly number[]): Random {
  checkNumber("random", "seed", seed, { integer: true, min: 0 });
  let hash = 0x9e3779b9;
  const absorb = (word: number) => {
    hash = mix(Math.imul(hash ^ word, 0x85ebca6b) + 0x6a09e667);
  };
  for (const [index, number] of [seed, ...stream].entries()) {
    checkNumber("random", index === 0 ? "seed" : `stream[${index - 1}]`, number, { integer: true, min: 0 });
    absorb(number | 0);
    absorb(Math.floor(number / 2 ** 32));
  }
  const state = [0, 1, 2, 3].map(() => {
    absorb(0x3c6ef372);
    return hash;
  });
  const source = xoroshiro128plusFromState(state.some((word) => word !== 0) ? state : [1, 2, 3, 4]);

  const uniform = () => ((source.next() >>> 6) * 2 ** 27 + (source.next() >>> 5)) / 2 ** 53;
  const below = (n: number) => Math.floor(uniform() * n); // the bias is at most n / 2^53
  return {
    uniform,
    normal: () => normalQuantile(uniform() || 2 ** -54),
    below,
    coin: () => source.next() < 0,
    shuffle: (list) => {
      for (let i = list.length - 1; i > 0; --i) {
        const j = below(i + 1);
        [list[i], list[j]] = [list[j], list[i]];
      }
      return list;
    },
  };
}

/** The finaliser of MurmurHash3: every bit of the input reaches every bit of the output. */
function mix(word: number): number {
  let h = word | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
