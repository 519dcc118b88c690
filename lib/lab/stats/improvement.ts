import { type BootstrapOptions, type Estimate, stratifiedBootstrap } from "./bootstrap.js";
import { checkNumber, checkNumbers, type Numbers, refuse } from "./check.js";
import { normalQuantile } from "./distributions.js";
import { meanOf } from "./moments.js";

/** Runs of both arms on one task. Higher values are better. */
export interface Contest {
  readonly proposal: Numbers;
  readonly baseline: Numbers;
}

/**
 * How probable it is that a run of the proposal is better than a run of the baseline, equal ones counting half: the
 * Mann-Whitney statistic / (runs * runs), averaged over tasks (Agarwal et al., 2021).
 *
 * One task: the interval of Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney
 * statistic, part 2", Statistics in Medicine 25 (2006), method 5, which stays honest when one arm wins every time.
 * Several: the stratified bootstrap over the runs of both arms.
 *
 * @param tasks - at least one, with 2 runs of each arm at least; values where higher is better
 */
export function probabilityOfImprovement(tasks: readonly Contest[], options: BootstrapOptions = {}): Estimate {
  const op = "probabilityOfImprovement";
  if (!Array.isArray(tasks) || tasks.length === 0) refuse(op, "tasks", tasks, "a list of at least one task");
  tasks.forEach(({ proposal, baseline }, i) => {
    checkNumbers(op, `tasks[${i}].proposal`, proposal, 2);
    checkNumbers(op, `tasks[${i}].baseline`, baseline, 2);
  });
  const confidence = checkNumber(op, "confidence", options.confidence ?? 0.95, { above: 0, below: 1 });
  const [only] = tasks;
  if (tasks.length === 1 && only) {
    const estimate = share(only.proposal, only.baseline);
    return { estimate, ...newcombe(estimate, only.proposal.length, only.baseline.length, confidence) };
  }
  const strata = tasks.flatMap(({ proposal, baseline }) => [proposal, baseline]);
  return stratifiedBootstrap(
    strata,
    (drawn) => meanOf(tasks.map((_, t) => share(drawn[2 * t]!, drawn[2 * t + 1]!))),
    options,
  );
}

function share(proposal: Numbers, baseline: Numbers): number {
  let wins = 0;
  for (const a of proposal) for (const b of baseline) wins += a > b ? 1 : a === b ? 0.5 : 0;
  return wins / (proposal.length * baseline.length);
}

/** The values p with (estimate - p)^2 <= z^2 V(p), where V is Hanley and McNeil's variance made symmetric. */
function newcombe(estimate: number, m: number, n: number, confidence: number): { low: number; high: number } {
  const z = normalQuantile((1 + confidence) / 2);
  const inside = (p: number) => {
    const spread = 1 + ((m + n) / 2 - 1) * ((1 - p) / (2 - p) + p / (1 + p));
    return (estimate - p) ** 2 <= (z * z * p * (1 - p) * spread) / (m * n);
  };
  const edge = (out: number) => {
    let within = estimate;
    for (let step = 0; step < 60; ++step) {
      const middle = (within + out) / 2;
      if (inside(middle)) within = middle;
      else out = middle;
    }
    return within;
  };
  return { low: edge(0), high: edge(1) };
}
