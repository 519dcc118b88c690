// The types that users see; checked by the compiler (npm run test:ts runs it first) and again here at run time.

import { describe, expectTypeOf, test } from "vitest";
import {
  type Evaluation,
  type GameName,
  type Iteration,
  type PositionPolicy,
  type ProfileRow,
  type ResolvedOptions,
  SelfPlay,
  type SelfPlayOptions,
} from "../../lib/index.js";

describe("types", () => {
  test("options are partial, resolved options are whole", () => {
    expectTypeOf<{ game: { name: "connect4" } }>().toExtend<SelfPlayOptions>();
    expectTypeOf<ResolvedOptions>().toExtend<SelfPlayOptions>();
    expectTypeOf<ResolvedOptions["net"]["width"]>().toEqualTypeOf<number>();
    expectTypeOf<GameName>().toEqualTypeOf<"tictactoe" | "connect4">();
  });

  test("names and values are checked", () => {
    // @ts-expect-error no such game
    const game: SelfPlayOptions = { game: { name: "chess" } };
    // @ts-expect-error no such option
    const option: SelfPlayOptions = { net: { widht: 3 } };
    // @ts-expect-error a number is needed
    const type: SelfPlayOptions = { net: { width: "3" } };
    // @ts-expect-error no such schedule
    const schedule: SelfPlayOptions = { ppo: { lrSchedule: "step" } };
    expectTypeOf([game, option, type, schedule]).toEqualTypeOf<SelfPlayOptions[]>();
  });

  test("calls", () => {
    expectTypeOf(SelfPlay.create).returns.resolves.toEqualTypeOf<SelfPlay>();
    expectTypeOf<SelfPlay["train"]>().returns.toEqualTypeOf<AsyncGenerator<Iteration, void, undefined>>();
    expectTypeOf<SelfPlay["evaluate"]>().returns.resolves.toEqualTypeOf<Evaluation>();
    expectTypeOf<SelfPlay["profile"]>().returns.toEqualTypeOf<ProfileRow[]>();
    expectTypeOf<SelfPlay["weights"]>().returns.resolves.toEqualTypeOf<Float32Array>();
    expectTypeOf<SelfPlay>().toExtend<AsyncDisposable>();
    const one = (run: SelfPlay) => run.policy("1");
    const many = (run: SelfPlay) => run.policy(["1"]);
    expectTypeOf(one).returns.resolves.toEqualTypeOf<PositionPolicy>();
    expectTypeOf(many).returns.resolves.toEqualTypeOf<PositionPolicy[]>();
  });
});
