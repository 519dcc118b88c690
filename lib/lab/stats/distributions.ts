import { checkNumber } from "./check.js";

/**
 * P(Z <= x) of the standard normal distribution, accurate in relative terms in the lower tail too.
 *
 * @param x - any number, infinite ones too
 */
export function normalCdf(x: number): number {
  if (x === 0) return 0.5;
  if (x === Number.POSITIVE_INFINITY) return 1;
  if (x === Number.NEGATIVE_INFINITY) return 0;
  // P(|Z| > |x|) is the upper tail of a gamma distribution with shape 1/2 at x^2 / 2.
  return x < 0 ? gammaTails(0.5, (x * x) / 2).upper / 2 : (1 + gammaTails(0.5, (x * x) / 2).lower) / 2;
}

/** The density of the standard normal distribution. */
export function normalDensity(x: number): number {
  return Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
}

/**
 * The standard normal quantile: Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied
 * Statistics 37 (1988), routine PPND16, about 1e-16 of the value.
 *
 * @param p - probability, 0 to 1; the ends give infinities
 */
export function normalQuantile(p: number): number {
  checkNumber("normalQuantile", "p", p, { min: 0, max: 1 });
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) return q * ratio(0.180625 - q * q, CENTRE);
  const tail = Math.min(p, 1 - p);
  if (tail === 0) return q < 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  const r = Math.sqrt(-Math.log(tail));
  return Math.sign(q) * (r <= 5 ? ratio(r - 1.6, MIDDLE) : ratio(r - 5, FAR));
}

type Rational = readonly [numerator: readonly number[], denominator: readonly number[]];

const CENTRE: Rational = [
  [
    3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946, 45921.95393154987, 67265.7709270087,
    33430.57558358813, 2509.0809287301227,
  ],
  [
    1, 42.31333070160091, 687.1870074920579, 5394.196021424751, 21213.794301586597, 39307.89580009271,
    28729.085735721943, 5226.495278852854,
  ],
];
const MIDDLE: Rational = [
  [
    1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045, 1.2704582524523684,
    0.2417807251774506, 0.022723844989269184, 0.0007745450142783414,
  ],
  [
    1, 2.053191626637759, 1.6763848301838038, 0.6897673349851, 0.14810397642748008, 0.015198666563616457,
    0.0005475938084995345, 1.0507500716444169e-9,
  ],
];
const FAR: Rational = [
  [
    6.657904643501103, 5.463784911164114, 1.7848265399172913, 0.29656057182850487, 0.026532189526576124,
    0.0012426609473880784, 0.000027115555687434876, 2.0103343992922881e-7,
  ],
  [
    1, 0.599832206555888, 0.1369298809227358, 0.014875361290850615, 0.0007868691311456133, 0.000018463183175100548,
    1.421511758316446e-7, 2.0442631033899397e-15,
  ],
];

function ratio(x: number, [numerator, denominator]: Rational): number {
  return polynomial(x, numerator) / polynomial(x, denominator);
}

function polynomial(x: number, coefficients: readonly number[]): number {
  return coefficients.reduceRight((sum, coefficient) => sum * x + coefficient, 0);
}

/**
 * P(T <= t) of Student's t distribution.
 *
 * @param df - degrees of freedom, above 0
 */
export function studentCdf(t: number, df: number): number {
  checkNumber("studentCdf", "df", df, { above: 0 });
  if (t === 0) return 0.5;
  const tail = betaCdf(df / (df + t * t), df / 2, 0.5) / 2;
  return t < 0 ? tail : 1 - tail;
}

/** The p-quantile of Student's t distribution. `p`: 0 to 1; `df`: degrees of freedom, above 0. */
export function studentQuantile(p: number, df: number): number {
  checkNumber("studentQuantile", "p", p, { min: 0, max: 1 });
  checkNumber("studentQuantile", "df", df, { above: 0 });
  if (p === 0.5) return 0;
  const tail = Math.min(p, 1 - p);
  if (tail === 0) return p === 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  const size = invert((t) => -studentCdf(-t, df), -tail, 0, 1, Number.POSITIVE_INFINITY);
  return p < 0.5 ? -size : size;
}

/** P(X <= x) of the chi-square distribution. `df`: degrees of freedom, above 0. */
export function chiSquareCdf(x: number, df: number): number {
  checkNumber("chiSquareCdf", "df", df, { above: 0 });
  return x <= 0 ? 0 : gammaTails(df / 2, x / 2).lower;
}

/** The p-quantile of the chi-square distribution. `p`: 0 to 1; `df`: degrees of freedom, above 0. */
export function chiSquareQuantile(p: number, df: number): number {
  checkNumber("chiSquareQuantile", "p", p, { min: 0, max: 1 });
  checkNumber("chiSquareQuantile", "df", df, { above: 0 });
  if (p === 0) return 0;
  if (p === 1) return Number.POSITIVE_INFINITY;
  return invert((x) => chiSquareCdf(x, df), p, 0, df, Number.POSITIVE_INFINITY);
}

/** P(X <= x) of the beta distribution: the regularised incomplete beta function I_x(a, b). `a`, `b`: above 0. */
export function betaCdf(x: number, a: number, b: number): number {
  checkNumber("betaCdf", "a", a, { above: 0 });
  checkNumber("betaCdf", "b", b, { above: 0 });
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  // The fraction converges fast on the near side of the mean.
  return x < (a + 1) / (a + b + 2) ? betaTail(x, 1 - x, a, b) : 1 - betaTail(1 - x, x, b, a);
}

/** The p-quantile of the beta distribution. `p`: 0 to 1; `a`, `b`: above 0. */
export function betaQuantile(p: number, a: number, b: number): number {
  checkNumber("betaQuantile", "p", p, { min: 0, max: 1 });
  checkNumber("betaQuantile", "a", a, { above: 0 });
  checkNumber("betaQuantile", "b", b, { above: 0 });
  if (p === 0 || p === 1) return p;
  return invert((x) => betaCdf(x, a, b), p, 0, 1, 1);
}

/** P(X <= x) of the F distribution with `df1` and `df2` degrees of freedom, above 0. */
export function fCdf(x: number, df1: number, df2: number): number {
  checkNumber("fCdf", "df1", df1, { above: 0 });
  checkNumber("fCdf", "df2", df2, { above: 0 });
  return x <= 0 ? 0 : betaCdf((df1 * x) / (df1 * x + df2), df1 / 2, df2 / 2);
}

/**
 * The exact confidence interval of a probability: Clopper and Pearson, Biometrika 26 (1934).
 *
 * @param successes - whole number, 0 to `trials`
 * @param trials - whole number, at least 1
 * @param confidence - of the interval, between 0 and 1; each end errs with at most half the rest
 */
export function clopperPearson(successes: number, trials: number, confidence = 0.95): { low: number; high: number } {
  checkNumber("clopperPearson", "trials", trials, { integer: true, min: 1 });
  checkNumber("clopperPearson", "successes", successes, { integer: true, min: 0, max: trials });
  checkNumber("clopperPearson", "confidence", confidence, { above: 0, below: 1 });
  const tail = (1 - confidence) / 2;
  return {
    low: successes === 0 ? 0 : betaQuantile(tail, successes, trials - successes + 1),
    high: successes === trials ? 1 : betaQuantile(1 - tail, successes + 1, trials - successes),
  };
}

/** Both tails of the gamma distribution of unit scale: a series below the mean, Lentz's continued fraction above. */
function gammaTails(shape: number, x: number): { lower: number; upper: number } {
  // x^shape e^-x / Gamma(shape), by Stirling's error so that nothing large cancels.
  const front =
    Math.sqrt(shape / (2 * Math.PI)) * Math.exp(shape * Math.log(x / shape) + shape - x - stirlingError(shape));
  if (x < shape + 1) {
    let term = 1 / shape;
    let sum = term;
    for (let n = 1; n < 10_000 && term > sum * 1e-17; ++n) {
      term *= x / (shape + n);
      sum += term;
    }
    return { lower: front * sum, upper: 1 - front * sum };
  }
  const upper = front / lentz(x + 1 - shape, (n) => [-n * (n - shape), x + 1 - shape + 2 * n]);
  return { lower: 1 - upper, upper };
}

/** I_x(a, b) by its continued fraction (DLMF 8.17.22), for x below the mean. `y`: 1 - x. */
function betaTail(x: number, y: number, a: number, b: number): number {
  const sum = a + b;
  const exponent =
    a * logRatio(x * sum, a) + b * logRatio(y * sum, b) + stirlingError(sum) - stirlingError(a) - stirlingError(b);
  const front = Math.sqrt((a * b) / (2 * Math.PI * sum)) * Math.exp(exponent);
  const fraction = lentz(1, (n) => {
    const m = Math.floor(n / 2);
    const d =
      n % 2 === 0
        ? (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m))
        : (-(a + m) * (sum + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    return [d, 1];
  });
  return front / a / fraction;
}

/** ln(x / y), with all its digits both near 0 and far from it. */
function logRatio(x: number, y: number): number {
  return Math.abs(x - y) < y / 2 ? Math.log1p((x - y) / y) : Math.log(x / y);
}

/** b0 + a1 / (b1 + a2 / (b2 + ...)) by Lentz's method as modified by Thompson and Barnett (1986). */
function lentz(b0: number, term: (n: number) => readonly [a: number, b: number]): number {
  const tiny = 1e-300;
  let value = b0 || tiny;
  let c = value;
  let d = 0;
  for (let n = 1; n < 10_000; ++n) {
    const [a, b] = term(n);
    d = 1 / (b + a * d || tiny);
    c = b + a / c || tiny;
    value *= c * d;
    if (Math.abs(c * d - 1) < 1e-16) break;
  }
  return value;
}

/** ln Gamma(x + 1) - ((x + 1/2) ln x - x + ln(2 pi) / 2): Stirling's series for large x, its recurrence below. */
function stirlingError(x: number): number {
  let up = 0;
  for (; x < 16; ++x) up += (x + 0.5) * Math.log1p(1 / x) - 1;
  const square = x * x;
  return up + (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / 1188 / square) / square) / square) / square) / x;
}

/** The x in [low, limit] at which an increasing function reaches a level: an upper end by doubling, then bisection. */
function invert(f: (x: number) => number, level: number, low: number, guess: number, limit: number): number {
  let high = guess;
  while (high < limit && f(high) < level) {
    low = high;
    high *= 2;
  }
  for (let step = 0; step < 1100; ++step) {
    const middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) break;
    if (f(middle) < level) low = middle;
    else high = middle;
  }
  return high;
}
