import type { PositionPolicy } from "../events.js";
import { checkArguments } from "../options.js";
import { type Judgement, judgeAnswers } from "./judgement.js";
import { connect4Positions, type ScoredPosition } from "./positions.js";

/** Who can be judged: a {@link SelfPlay} run, or whatever else answers at many positions. */
export interface Connect4Agent {
  policy(moves: readonly string[]): Promise<readonly Pick<PositionPolicy, "logits" | "probabilities" | "value">[]>;
}

export interface JudgeArguments {
  /** Default: {@link connect4Positions}. */
  readonly positions?: readonly ScoredPosition[] | undefined;
}

/**
 * Judges an agent of Connect Four by the perfect player, on positions whose scores are known: the whole set takes
 * one batch of inference.
 *
 * @example
 * ```ts
 * const run = await SelfPlay.load("runs/my-run", { opponents: false });
 * const { argmax, sampled } = await judgeConnect4(run);
 * console.log(argmax.mistakeRate, sampled.mistakeRate, argmax.bands["8-15"].first.mistakeRate);
 * ```
 */
export async function judgeConnect4(agent: Connect4Agent, args: JudgeArguments = {}): Promise<Judgement> {
  checkArguments(args, "judge", ["positions"]);
  const positions = args.positions ?? (await connect4Positions());
  return judgeAnswers(positions, await agent.policy(positions.map(({ moves }) => moves)));
}
