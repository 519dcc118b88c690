import { checkNumber, checkNumbers, type Numbers, refuse } from "./check.js";
import { normalCdf, normalDensity, studentCdf, studentQuantile } from "./distributions.js";
import { meanOf, medianOf, varianceOf } from "./moments.js";

/** The mean of the last `k` values, 1 to as many as there are. */
export function lastMean(values: Numbers, k: number): number {
  checkNumbers("lastMean", "values", values);
  checkNumber("lastMean", "k", k, { integer: true, min: 1, max: values.length });
  return meanOf(values.slice(values.length - k));
}

/**
 * The autocorrelation at a lag, -1 to 1: the usual estimate, whose sums of products and of squares are both divided by
 * the number of values (R's `acf`). 0 for a constant series.
 *
 * @param lag - whole number, 0 to one less than the number of values
 */
export function autocorrelation(values: Numbers, lag: number): number {
  checkNumbers("autocorrelation", "values", values, 2);
  checkNumber("autocorrelation", "lag", lag, { integer: true, min: 0, max: values.length - 1 });
  const mean = meanOf(values);
  let products = 0;
  let squares = 0;
  for (let i = 0; i < values.length; ++i) {
    squares += (values[i]! - mean) ** 2;
    if (i >= lag) products += (values[i]! - mean) * (values[i - lag]! - mean);
  }
  return squares === 0 ? 0 : products / squares;
}

export interface SeriesMean {
  readonly mean: number;
  readonly standardError: number;
  readonly low: number;
  readonly high: number;
  readonly n: number;
  /** How many independent values would give that standard error: at most n. */
  readonly effective: number;
}

/**
 * The mean of a level stretch of a series, with a standard error that allows for autocorrelation: sd / sqrt(effective)
 * with effective = n (1 - r) / (1 + r), as of a first-order autoregression (Zwiers and von Storch, "Taking serial
 * correlation into account in tests of the mean", Journal of Climate 8, 1995). r is the lag-1 autocorrelation, raised by
 * (1 + 3 r) / n for its bias in short series (Marriott and Pope, Biometrika 41, 1954) and kept from 0 to 0.99: a series
 * that happens to alternate earns nothing. The interval is Student's with one less than the effective number of degrees
 * of freedom, at least 1. Memory far longer than lag 1 shows in {@link autocorrelation}, not here.
 *
 * @param values - at least 3
 * @param confidence - between 0 and 1
 */
export function seriesMean(values: Numbers, confidence = 0.95): SeriesMean {
  checkNumbers("seriesMean", "values", values, 3);
  checkNumber("seriesMean", "confidence", confidence, { above: 0, below: 1 });
  const n = values.length;
  const raw = autocorrelation(values, 1);
  const r = Math.min(0.99, Math.max(0, raw + (1 + 3 * raw) / n));
  const effective = (n * (1 - r)) / (1 + r);
  const mean = meanOf(values);
  const standardError = Math.sqrt(varianceOf(values) / effective);
  const reach = standardError * studentQuantile((1 + confidence) / 2, Math.max(1, effective - 1));
  return { mean, standardError, low: mean - reach, high: mean + reach, n, effective };
}

export interface Trend {
  /** Theil and Sen's slope: the median of the slopes of all pairs, a step of the series. */
  readonly slope: number;
  /** Kendall's S: pairs that rise less pairs that fall. */
  readonly s: number;
  /** Two-sided. */
  readonly p: number;
}

/**
 * Whether a series rises or falls: Mann and Kendall's test, normal approximation with ties and continuity correction,
 * and the variance corrected for autocorrelation after Hamed and Rao, "A modified Mann-Kendall trend test for
 * autocorrelated data", Journal of Hydrology 204 (1998), from the ranks of the detrended series. Their autocorrelations
 * are taken as those of a first-order autoregression, r^lag, since in short series single lags are mostly noise; r is
 * raised by (2 + 4 r) / n for its bias after detrending and kept from 0 to 0.99.
 *
 * @param values - at equal distances, at least 4
 */
export function trendTest(values: Numbers): Trend {
  checkNumbers("trendTest", "values", values, 4);
  const n = values.length;
  let s = 0;
  const slopes: number[] = [];
  for (let i = 0; i < n; ++i) {
    for (let j = i + 1; j < n; ++j) {
      s += Math.sign(values[j]! - values[i]!);
      slopes.push((values[j]! - values[i]!) / (j - i));
    }
  }
  const slope = medianOf(slopes);
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  let ties = 0;
  for (const count of counts.values()) ties += count * (count - 1) * (2 * count + 5);
  let variance = (n * (n - 1) * (2 * n + 5) - ties) / 18;
  const ranks = ranksOf(Array.from(values, (value, i) => value - slope * i));
  const raw = autocorrelation(ranks, 1);
  const r = Math.min(0.99, Math.max(0, raw + (2 + 4 * raw) / n));
  let correction = 0;
  for (let lag = 1; lag <= n - 3; ++lag) correction += (n - lag) * (n - lag - 1) * (n - lag - 2) * r ** lag;
  variance *= 1 + (2 * correction) / (n * (n - 1) * (n - 2));
  if (variance === 0) return { slope, s, p: 1 };
  const z = Math.max(0, Math.abs(s) - 1) / Math.sqrt(variance);
  return { slope, s, p: 2 * normalCdf(-z) };
}

/** Ranks from 1, equal values sharing the mean of theirs. */
function ranksOf(values: readonly number[]): number[] {
  return values.map((value) => {
    let below = 0;
    let equal = 0;
    for (const other of values) {
      if (other < value) ++below;
      else if (other === value) ++equal;
    }
    return below + (equal + 1) / 2;
  });
}

/**
 * The expected largest of `n` independent normal values: mean + sd times the integral of z n phi(z) Phi(z)^(n - 1)
 * (Tippett, "On the extreme individuals and the range of samples taken from a normal population", Biometrika 17, 1925).
 *
 * @param n - whole number, at least 1
 * @param sd - from 0
 */
export function expectedMaximum(n: number, mean = 0, sd = 1): number {
  checkNumber("expectedMaximum", "n", n, { integer: true, min: 1, max: 1e9 });
  checkNumber("expectedMaximum", "mean", mean);
  checkNumber("expectedMaximum", "sd", sd, { min: 0 });
  // Trapezoids converge faster than any power for an integrand that vanishes at both ends.
  const step = 1 / 24;
  let sum = 0;
  for (let i = -10 / step; i <= 12 / step; ++i) {
    const z = i * step;
    sum += z * normalDensity(z) * normalCdf(z) ** (n - 1);
  }
  return mean + sd * n * step * sum;
}

/**
 * The expected largest of `n` draws with replacement from values that were seen: what the bootstrap says without any
 * simulation, since the i-th smallest of m is the largest of the draws with probability (i/m)^n - ((i-1)/m)^n.
 */
export function expectedMaximumOf(values: Numbers, n: number): number {
  checkNumbers("expectedMaximumOf", "values", values);
  checkNumber("expectedMaximumOf", "n", n, { integer: true, min: 1 });
  const sorted = Float64Array.from(values).sort();
  const m = sorted.length;
  return sorted.reduce((sum, value, i) => sum + value * (((i + 1) / m) ** n - (i / m) ** n), 0);
}

/** What a series' best value is worth. */
export interface PeakAudit {
  readonly n: number;
  readonly mean: number;
  /** Standard error and interval of the mean, corrected for autocorrelation: {@link seriesMean}. */
  readonly standardError: number;
  readonly low: number;
  readonly high: number;
  /** Standard deviation of single values. */
  readonly sd: number;
  readonly lag1: number;
  readonly trend: Trend;
  /** The best value of the stretch. */
  readonly peak: number;
  /** What the best of n values would be by noise alone. */
  readonly expectedPeak: number;
  /** Probability of a peak at least so far out by noise alone. */
  readonly pOfPeak: number;
  readonly verdict: "within noise" | "above noise";
}

/**
 * Whether the peak of a series, from where it is level, is more than noise around its mean. The probability is that of
 * Grubbs' test for one outlier ("Procedures for detecting outlying observations in samples", Technometrics 11, 1969),
 * so it allows for mean and standard deviation being estimated from the same values, the peak among them. It supposes
 * normal and independent values; look at `lag1` and `trend` first.
 *
 * @param values - of a metric where higher is better, at equal distances
 * @param options - `from`: index of the first value that counts, of which there are at least 4 (default 0);
 * `alpha`: below which `pOfPeak` is "above noise" (default 0.05); `confidence` of the interval (default 0.95)
 */
export function peakAudit(
  values: Numbers,
  {
    from = 0,
    alpha = 0.05,
    confidence = 0.95,
  }: { readonly from?: number; readonly alpha?: number; readonly confidence?: number } = {},
): PeakAudit {
  checkNumbers("peakAudit", "values", values, 4);
  checkNumber("peakAudit", "from", from, { integer: true, min: 0, max: values.length - 4 });
  checkNumber("peakAudit", "alpha", alpha, { above: 0, below: 1 });
  const stretch = values.slice(from);
  const n = stretch.length;
  const { mean, standardError, low, high } = seriesMean(stretch, confidence);
  const sd = Math.sqrt(varianceOf(stretch));
  const peak = Math.max(...stretch);
  const pOfPeak = sd === 0 ? 1 : grubbs((peak - mean) / sd, n);
  return {
    n,
    mean,
    standardError,
    low,
    high,
    sd,
    lag1: autocorrelation(stretch, 1),
    trend: trendTest(stretch),
    peak,
    expectedPeak: expectedMaximum(n, mean, sd),
    pOfPeak,
    verdict: pOfPeak <= alpha ? "above noise" : "within noise",
  };
}

/** P(the largest of n normal values is at least `g` sample standard deviations above their mean), nearly. */
function grubbs(g: number, n: number): number {
  const square = (n * (n - 2) * g * g) / ((n - 1) ** 2 - n * g * g);
  // The distance has a largest value, (n - 1) / sqrt(n), which rounding may pass.
  const tail = square < 0 ? 0 : studentCdf(-Math.sqrt(square), n - 2);
  return -Math.expm1(n * Math.log1p(-tail));
}

/** One run's metric at the iterations at which it was measured. */
export interface Series {
  /** Increasing. */
  readonly iterations: Numbers;
  /** As many. */
  readonly values: Numbers;
}

/** Refuses what is no series. */
export function checkSeries(op: string, path: string, series: Series): void {
  if (typeof series !== "object" || series === null) refuse(op, path, series, "{ iterations, values }");
  checkNumbers(op, `${path}.iterations`, series.iterations);
  checkNumbers(op, `${path}.values`, series.values);
  if (series.values.length !== series.iterations.length) {
    refuse(op, `${path}.values.length`, series.values.length, `${series.iterations.length}, as many as iterations`);
  }
  series.iterations.forEach((iteration, i) => {
    if (i > 0) checkNumber(op, `${path}.iterations[${i}]`, iteration, { above: series.iterations[i - 1]! });
  });
}
