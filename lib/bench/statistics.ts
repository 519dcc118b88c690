// What timings come to when nobody knows their distribution: medians, quantiles, and the sign test's interval.

/** The q-quantile, interpolated linearly between the sorted values. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const position = q * (sorted.length - 1);
  const low = Math.floor(position);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low]! + (sorted[high]! - sorted[low]!) * (position - low);
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export interface Interval {
  readonly low: number;
  readonly high: number;
  /** How probable it is that the interval holds the median, whatever the distribution. */
  readonly confidence: number;
}

/**
 * The sign test's interval of the median: from the k-th smallest to the k-th largest value, with the largest k that
 * keeps the confidence. Fewer than six values cannot give 95%: then it is their whole range, and says so.
 */
export function medianInterval(values: readonly number[], confidence = 0.95): Interval {
  const sorted = [...values].sort((a, b) => a - b);
  const n = sorted.length;
  let k = 1;
  let reached = coverage(n, 1);
  for (; coverage(n, k + 1) >= confidence; ++k) reached = coverage(n, k + 1);
  return { low: sorted[k - 1]!, high: sorted[n - k]!, confidence: reached };
}

/** 1 - 2 P(fewer than k of n fair coins show heads). */
function coverage(n: number, k: number): number {
  if (2 * k > n + 1) return 0;
  let term = 0.5 ** n;
  let below = 0;
  for (let heads = 0; heads < k; ++heads) {
    below += term;
    term *= (n - heads) / (heads + 1);
  }
  return 1 - 2 * below;
}

/** What pairs of equal things say about how far a median ratio strays from 1 by itself. */
export function noiseOf(ratios: readonly number[]): number {
  const { low, high } = medianInterval(ratios.map(Math.log));
  return Math.exp(Math.max(Math.abs(low), Math.abs(high))) - 1;
}

export type Verdict = "faster" | "slower" | "equal" | "undecided";

/**
 * Whether B's time differs from A's. `ratios`: time of B / time of A, pair by pair. The threshold is what the machine's
 * own noise can do, at least 2%. Slower: the median is beyond the threshold, and the interval beyond 1. Equal: the whole
 * interval is inside the threshold, and that is no more than 10%: in more noise nothing can be called equal.
 */
export function verdictOf(
  ratios: readonly number[],
  noise: number,
): { ratio: number; interval: Interval; threshold: number; verdict: Verdict } {
  const threshold = Math.max(noise, 0.02);
  const ratio = median(ratios);
  const interval = medianInterval(ratios);
  let verdict: Verdict = "undecided";
  if (ratio > 1 + threshold && interval.low > 1) verdict = "slower";
  else if (ratio < 1 / (1 + threshold) && interval.high < 1) verdict = "faster";
  else if (threshold <= 0.1 && interval.low >= 1 / (1 + threshold) && interval.high <= 1 + threshold) verdict = "equal";
  return { ratio, interval, threshold, verdict };
}
