// Simulated studies: proposals that change nothing, or have a known gain, judged by a rule. Pure functions of a seed.
// `stats` is the module lib/lab/stats, compiled or not, so that the bench and the tests run the same text.

/**
 * @param noise - { name, draw(random): one run's metric } with standard deviation 1 for the gains to mean what they say
 * @returns share of studies with any false keep, with its exact 95% interval; keeps and pairs a proposal
 */
export function falseKeeps(stats, { rule, noise, studies, proposals, seed }) {
  let any = 0;
  let keeps = 0;
  let pairs = 0;
  for (let study = 0; study < studies; ++study) {
    const random = stats.randomOf(seed, study);
    let kept = 0;
    for (let proposal = 0; proposal < proposals; ++proposal) {
      const end = rule(() => noise.draw(random) - noise.draw(random));
      if (end.keep) ++kept;
      pairs += end.pairs;
    }
    if (kept > 0) ++any;
    keeps += kept;
  }
  const { low, high } = stats.clopperPearson(any, studies);
  const share = { rate: any / studies, low, high };
  return {
    studies,
    proposals,
    any,
    ...share,
    keepsPerStudy: keeps / studies,
    meanPairs: pairs / (studies * proposals),
  };
}

/** How often a rule keeps a proposal with a true gain, in standard deviations of a run, and the pairs that it takes. */
export function power(stats, { rule, noise, gain, trials, seed }) {
  let keeps = 0;
  let pairs = 0;
  for (let trial = 0; trial < trials; ++trial) {
    const random = stats.randomOf(seed, trial);
    const end = rule(() => gain + noise.draw(random) - noise.draw(random));
    if (end.keep) ++keeps;
    pairs += end.pairs;
  }
  return { gain, power: keeps / trials, meanPairs: pairs / trials };
}

/** The lab's rule: pairs until the test has crossed, is used up or is futile. */
export function sequential(stats, design) {
  return (draw) => {
    const test = stats.pairedSequentialTest(design);
    const differences = [];
    for (;;) {
      differences.push(draw());
      const { finished, futile, crossed } = test.look(differences);
      if (finished || futile) return { keep: crossed === "greater", pairs: differences.length };
    }
  };
}

/** One sign-flip test after a fixed number of pairs. */
export function fixed(stats, alpha, pairs) {
  const design = { alpha, side: "greater", maxPairs: pairs, looks: [pairs], futility: null };
  return (draw) => ({ keep: stats.decide(Array.from({ length: pairs }, draw), design).crossed !== null, pairs });
}

/** Wrong on purpose: looks after every pair from `first` on, each as if it were the only one. */
export function uncorrected(stats, alpha, first, pairs) {
  return (draw) => {
    const differences = [];
    for (let n = 1; n <= pairs; ++n) {
      differences.push(draw());
      const design = { alpha, side: "greater", maxPairs: n, looks: [n], futility: null };
      if (n >= first && stats.decide(differences, design).crossed !== null) return { keep: true, pairs: n };
    }
    return { keep: false, pairs };
  };
}

/** What most people do: keep if the mean of a few runs is better. */
export function naive(runs) {
  return (draw) => {
    let sum = 0;
    for (let run = 0; run < runs; ++run) sum += draw();
    return { keep: sum > 0, pairs: runs };
  };
}

export const gaussian = { name: "gaussian", draw: (random) => random.normal() };

/** Runs drawn with replacement from values that were measured, scaled to standard deviation 1. */
export function resampled(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const sd = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  return { name: "resampled", draw: (random) => values[random.below(values.length)] / sd };
}
