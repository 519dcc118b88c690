// What a hint says: the policy's view of each move and, in Connect Four, the perfect player's.

import type { PositionPolicy } from "../events.js";
import type { NativePosition } from "../native.js";
import type { Output } from "./output.js";
import { LIMIT, type PlaySolver } from "./play-solver.js";
import { table } from "./report.js";
import { verdict } from "./verdict.js";

/** solver: null for games that have none. */
export async function giveHint(
  { moves, probabilities, value }: PositionPolicy,
  position: NativePosition,
  solver: PlaySolver | null,
  output: Output,
): Promise<void> {
  const scores = solver && (await solver.scores(moves));
  const shares = position.legal.map(({ action, symbol }) => ({ action, symbol, share: probabilities[action]! }));
  output.text(
    table([
      ["move", "policy", ...(scores ? ["score", "best play"] : [])],
      ...shares.map(({ action, symbol, share }) => [
        symbol,
        `${(share * 100).toFixed(1)}%`,
        ...(scores ? [String(scores[action]), verdict(scores[action]!, position.ply)] : []),
      ]),
    ]),
  );
  output.text(`  value ${value.toFixed(3)} for you, the policy thinks\n`);
  const reason = solver ? (scores ? null : `not solved within ${LIMIT / 1000} s`) : "no solver for this game";
  if (solver && !scores) output.text(`  the perfect player: ${reason}\n`);
  await output.emit({
    type: "hint",
    moves,
    policy: { value, probabilities: Object.fromEntries(shares.map(({ symbol, share }) => [symbol, share])) },
    solver: scores && { score: Math.max(...scores.filter((score) => score !== null)), scores },
    reason,
  });
}
