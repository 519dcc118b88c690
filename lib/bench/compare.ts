// Two commits side by side: their bench programs in turn, what the ratio of times says beyond the machine's own noise,
// and where the time went.

import { type Build, type ProgramRequest, type ProgramRow, runProgram } from "./builds.js";
import { type Interval, median, noiseOf, type Verdict, verdictOf } from "./statistics.js";

/** ms an iteration that ops of one kind take in the two commits. */
export interface GroupChange {
  readonly group: string;
  readonly before: number;
  readonly after: number;
}

export interface Comparison {
  readonly name: string;
  readonly shape: string;
  readonly unit: string;
  /** Medians of A and B. */
  readonly before: number;
  readonly after: number;
  /** Time of B / time of A: the median of the pairs', and the sign test's interval of it. */
  readonly ratio: number;
  readonly interval: Interval;
  /** How far pairs of A with itself strayed from 1, and what was tolerated: that, or 2% if it is less. */
  readonly noise: number;
  readonly threshold: number;
  readonly verdict: Verdict;
  readonly pairs: number;
  /** Empty but for iterations. */
  readonly groups: readonly GroupChange[];
}

/** Ops by what they are for. The first that fits; an op that no line knows is a kind of its own. */
const KINDS: readonly (readonly [RegExp, string])[] = [
  [/ barrier$/, "waiting for threads"],
  [/^collect (linear|layernorm|gelu|features|bias|matmul)/, "collect: forward"],
  [/^collect (rollout|playout)/, "collect: rules, sampling"],
  [/^collect /, "collect: rest"],
  [/ (linear|layernorm|gelu|features)_forward$/, "forward"],
  [/ (linear|layernorm|gelu|relu)_backward$/, "backward"],
  [/ (linear|layernorm|features)_gradient$/, "weight gradients"],
  [/ (square_sum|clip_scale|adamw|linear_update|weight_pack|features_base|muon\w*)$/, "optimiser, packing"],
  [/ (ppo_\w+|sample_gather|sample_states)$/, "minibatch, loss"],
  [/ (gae|sample_list|sample_moments|advantage_normalize)$/, "advantages"],
];

export function kindOf(op: string, phase: string): string {
  const whole = `${phase} ${op}`;
  return KINDS.find(([pattern]) => pattern.test(whole))?.[1] ?? whole;
}

/** ms of each kind in one run; what no op accounts for is "outside ops". */
function kindsOf(row: ProgramRow): Map<string, number> {
  const kinds = new Map<string, number>();
  if (row.profile.length === 0) return kinds;
  let rest = row.median;
  for (const { op, group, ms } of row.profile) {
    const kind = kindOf(op, group);
    kinds.set(kind, (kinds.get(kind) ?? 0) + ms);
    rest -= ms;
  }
  return kinds.set("outside ops", rest);
}

/** Medians over runs of each kind's ms, the largest change first. */
export function groupChanges(before: readonly ProgramRow[], after: readonly ProgramRow[]): GroupChange[] {
  const sides = [before, after].map((rows) => rows.map(kindsOf));
  const names = new Set(sides.flat().flatMap((kinds) => [...kinds.keys()]));
  const middle = (side: readonly Map<string, number>[], name: string) =>
    median(side.map((kinds) => kinds.get(name) ?? 0));
  return [...names]
    .map((group) => ({ group, before: middle(sides[0]!, group), after: middle(sides[1]!, group) }))
    .sort((x, y) => Math.abs(y.after - y.before) - Math.abs(x.after - x.before));
}

/** Time of y / time of x. */
function timeRatio(x: ProgramRow, y: ProgramRow): number {
  return x.unit.endsWith("/s") ? x.median / y.median : y.median / x.median;
}

export interface CompareRequest extends ProgramRequest {
  readonly pairs: number;
}

/**
 * Runs A twice `pairs` times for the noise, then A and B `pairs` times, the one that goes first changing from pair to
 * pair. A run is one process and gives one value a case, its median.
 */
export async function compare(
  before: Build,
  after: Build,
  request: CompareRequest,
  say: (text: string) => void,
): Promise<Comparison[]> {
  const same: (readonly [ProgramRow[], ProgramRow[]])[] = [];
  const pairs: (readonly [ProgramRow[], ProgramRow[]])[] = [];
  for (let pair = 0; pair < request.pairs; ++pair) {
    say(`${request.only}: ${before.name} twice, pair ${pair + 1} of ${request.pairs}\n`);
    same.push([await runProgram(before, request), await runProgram(before, request)]);
  }
  for (let pair = 0; pair < request.pairs; ++pair) {
    say(`${request.only}: ${before.name} and ${after.name}, pair ${pair + 1} of ${request.pairs}\n`);
    const swapped = pair % 2 === 1;
    const first = await runProgram(swapped ? after : before, request);
    const second = await runProgram(swapped ? before : after, request);
    pairs.push(swapped ? [second, first] : [first, second]);
  }
  return summariseComparison(same, pairs);
}

type Pairs = readonly (readonly [readonly ProgramRow[], readonly ProgramRow[]])[];

/** Of runs that give the rows of several cases: those that both commits have, one comparison each. */
export function summariseComparison(same: Pairs, pairs: Pairs): Comparison[] {
  const [a, b] = pairs[0]!;
  // Programs of before the table gave no shape; they have one shape a name.
  const find = (rows: readonly ProgramRow[], of: ProgramRow) =>
    rows.find(({ name, shape }) => name === of.name && (shape === of.shape || shape === "" || of.shape === ""));
  const both = b.filter((of) => find(a, of));
  return both.map((of) => {
    const sides = (list: Pairs) => list.map(([x, y]) => [find(x, of)!, find(y, of)!] as const);
    const ratios = sides(pairs).map(([x, y]) => timeRatio(x, y));
    const noise = noiseOf(sides(same).map(([x, y]) => timeRatio(x, y)));
    const before = sides(pairs).map(([x]) => x);
    const after = sides(pairs).map(([, y]) => y);
    return {
      name: of.name,
      shape: of.shape,
      unit: of.unit,
      before: median(before.map((row) => row.median)),
      after: median(after.map((row) => row.median)),
      ...verdictOf(ratios, noise),
      noise,
      pairs: pairs.length,
      groups: groupChanges(before, after),
    };
  });
}
