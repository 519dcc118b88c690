// Under the null hypothesis a difference is as likely to have one sign as the other, so that given their sizes
// |d_1| .. |d_n| all 2^n sign vectors are equally likely. A sign vector is known here by its flipped sum: the sum of the
// sizes of its negative differences. The smaller it is, the larger the sum of the differences, which is their total
// size less twice the flipped sum.

import { normalQuantile } from "./distributions.js";
import { randomOf } from "./random.js";

/** All sign vectors, or a sample of them, of which a test takes the most extreme ones look by look. */
export interface SignVectors {
  /** One more pair. `size`: of its difference; `negative`: the sign that was observed. */
  push(size: number, negative: boolean): void;
  /**
   * Takes those with the smallest flipped sums as long as no more than the share `level` is taken in all, those taken
   * at earlier looks included.
   *
   * @returns the largest flipped sum that is taken; -1 if none is
   */
  take(level: number): number;
}

/** Sums this close to each other, in parts of the total, are ties: rounding may tell them apart. */
const TIE = 1e-12;

/** More sums than this are sampled instead of listed. */
const LISTED = 2 ** 18;

/** Sign vectors in a sample; a power of two. */
const SAMPLED = 2 ** 16;

/**
 * Sign vectors for a test of up to `pairs` pairs that takes no more than the share `level`: listed where that is at
 * most 2^18 of them, else sampled.
 */
export function signVectors(pairs: number, level: number, seed: number): SignVectors {
  const count = Math.floor(level * 2 ** pairs);
  return count < LISTED ? listed(count + 1) : sampled(pairs, seed);
}

/** The smallest share that one sign vector is of, after `pairs` of the up to `most` pairs of a test: no less can be taken. */
export function leastShare(pairs: number, most: number, level: number): number {
  const listable = Math.floor(level * 2 ** most) < LISTED;
  return Math.max(2 ** -pairs, listable ? 0 : 1 / SAMPLED);
}

/**
 * Exact. Of the vectors that are not taken only the `capacity` smallest flipped sums are kept, in order; those of one
 * more pair are the merge of the list and of the list plus the pair's size. None that a later look could take is lost:
 * a vector's flipped sum never falls, each kept vector stays in the list when the new pair is not flipped, and a look
 * never takes more than the capacity less one in all.
 */
function listed(capacity: number): SignVectors {
  let list = new Float64Array(capacity);
  let next = new Float64Array(capacity);
  let length = 1;
  let pairs = 0;
  let taken = 0; // of the 2^pairs
  let total = 0;
  return {
    push(size) {
      const merged = Math.min(capacity, 2 * length);
      for (let out = 0, kept = 0, flipped = 0; out < merged; ++out) {
        const a = kept < length ? list[kept]! : Number.POSITIVE_INFINITY;
        const b = flipped < length ? list[flipped]! + size : Number.POSITIVE_INFINITY;
        if (a <= b) {
          next[out] = a;
          ++kept;
        } else {
          next[out] = b;
          ++flipped;
        }
      }
      [list, next] = [next, list];
      length = merged;
      pairs += 1;
      taken *= 2;
      total += size;
    },
    take(level) {
      let count = Math.min(length - 1, Math.floor(level * 2 ** pairs) - taken);
      while (count > 0 && list[count]! - list[count - 1]! <= TIE * total) --count;
      if (count <= 0) return -1;
      const last = list[count - 1]!;
      list.copyWithin(0, count, length);
      length -= count;
      taken += count;
      return last;
    },
  };
}

/**
 * Sampled: random vectors, the observed one, and the opposite of each. The observed vector is then equally likely to be
 * any one of the sample, so the share that is taken bounds the error exactly, as (b + 1) / (B + 1) does for one look
 * (Hemerik and Goeman, "Exact testing with random permutations", TEST 27, 2018).
 */
function sampled(pairs: number, seed: number): SignVectors {
  const flips = randomFlips(pairs, seed);
  const half = SAMPLED / 2;
  const sums = new Float64Array(SAMPLED); // [half] flipped sums, then [half] those of the opposites; observed: the last
  const free = new Uint8Array(SAMPLED).fill(1);
  const scratch = new Float64Array(SAMPLED);
  let pair = 0;
  let taken = 0;
  let total = 0;
  let squares = 0;
  /** The free sums up to a limit, into `scratch`; how many. */
  const gather = (limit: number) => {
    let length = 0;
    for (let i = 0; i < SAMPLED; ++i) if (sums[i]! <= limit && free[i] === 1) scratch[length++] = sums[i]!;
    return length;
  };
  return {
    push(size, negative) {
      const flip = flips[pair]!;
      const observed = half - 1;
      for (let i = 0; i < observed; ++i) sums[flip[i] === 1 ? i : half + i]! += size;
      sums[negative ? observed : half + observed]! += size;
      pair += 1;
      total += size;
      squares += size * size;
    },
    take(level) {
      let count = Math.floor(level * SAMPLED) - taken;
      if (count <= 0) return -1;
      // Flipped sums are nearly normal: those below a generous quantile are enough to select from, most of the time.
      const share = Math.min(0.5, 1.5 * level + 64 / SAMPLED);
      let length = gather(total / 2 + (normalQuantile(share) * Math.sqrt(squares)) / 2);
      if (length <= count) length = gather(Number.POSITIVE_INFINITY);
      count = Math.min(count, length - 1);
      selectSmallest(scratch, length, count);
      const smallest = scratch.subarray(0, count + 1).sort();
      while (count > 0 && smallest[count]! - smallest[count - 1]! <= TIE * total) --count;
      if (count <= 0) return -1;
      const last = smallest[count - 1]!;
      for (let i = 0; i < SAMPLED; ++i) if (free[i] === 1 && sums[i]! <= last) free[i] = 0;
      taken += count;
      return last;
    },
  };
}

/** The flips of the last design that was sampled: [pairs][SAMPLED / 2] of 0 and 1. */
let cached: { readonly seed: number; readonly flips: Uint8Array[] } | null = null;

function randomFlips(pairs: number, seed: number): readonly Uint8Array[] {
  if (cached?.seed !== seed) cached = { seed, flips: [] };
  const { flips } = cached;
  while (flips.length < pairs) {
    const random = randomOf(seed, flips.length);
    flips.push(Uint8Array.from({ length: SAMPLED / 2 }, () => (random.coin() ? 1 : 0)));
  }
  return flips;
}

/** Reorders so that the k + 1 smallest of the first `length` values stand first, in any order: quickselect. */
function selectSmallest(values: Float64Array, length: number, k: number): void {
  let low = 0;
  let high = length - 1;
  while (low < high) {
    const pivot = values[(low + high) >> 1]!;
    let i = low;
    let j = high;
    while (i <= j) {
      while (values[i]! < pivot) ++i;
      while (values[j]! > pivot) --j;
      if (i <= j) {
        const value = values[i]!;
        values[i++] = values[j]!;
        values[j--] = value;
      }
    }
    if (k <= j) high = j;
    else if (k >= i) low = i;
    else return;
  }
}
