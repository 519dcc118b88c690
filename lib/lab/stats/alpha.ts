import { checkNumber } from "./check.js";

/** How the error probability of a study is split over its proposals. */
export type Family =
  /** `planned` proposals share it evenly; there can be no more. */
  | { readonly planned: number }
  /** Any number: proposal k gets the share k^-exponent / zeta(exponent). `exponent`: above 1; default 1.6. */
  | { readonly open: true; readonly exponent?: number };

/**
 * The error probability of the k-th proposal of a study. They add up to at most `alpha`, so the probability that any
 * false proposal of the study is kept is at most `alpha`, however the proposals depend on each other, on shared
 * baseline runs or on earlier verdicts (Bonferroni's inequality; for endless studies Tian and Ramdas, "Online control
 * of the familywise error rate", Statistical Methods in Medical Research 30, 2021, whose exponent 1.6 is the default).
 *
 * @param alpha - of the whole study, between 0 and 1
 * @param index - k = 1, 2, ...; with `planned` at most that
 */
export function alphaOf(alpha: number, family: Family, index: number): number {
  checkNumber("alphaOf", "alpha", alpha, { above: 0, below: 1 });
  if ("planned" in family) {
    const planned = checkNumber("alphaOf", "family.planned", family.planned, { integer: true, min: 1 });
    checkNumber("alphaOf", "index", index, { integer: true, min: 1, max: planned });
    return alpha / planned;
  }
  const exponent = checkNumber("alphaOf", "family.exponent", family.exponent ?? 1.6, { above: 1, max: 10 });
  checkNumber("alphaOf", "index", index, { integer: true, min: 1 });
  return (alpha * index ** -exponent) / zeta(exponent);
}

/** The pairs without which no sign-flip test can reach an error probability: the least n with 2^-n at most `alpha`. */
export function leastPairs(alpha: number, side: "two" | "greater"): number {
  checkNumber("leastPairs", "alpha", alpha, { above: 0, below: 1 });
  return Math.max(1, Math.ceil(-Math.log2(side === "two" ? alpha / 2 : alpha) - 1e-12));
}

/** Riemann's zeta function above 1, by Euler and Maclaurin from the tenth term. */
function zeta(s: number): number {
  const n = 10;
  let sum = 0;
  for (let k = 1; k < n; ++k) sum += k ** -s;
  const tail = n ** -s;
  return (
    sum +
    (n * tail) / (s - 1) +
    tail / 2 +
    (s * tail) / (12 * n) -
    (s * (s + 1) * (s + 2) * tail) / (720 * n ** 3) +
    (s * (s + 1) * (s + 2) * (s + 3) * (s + 4) * tail) / (30240 * n ** 5)
  );
}
