// Files that a run takes something from: start positions and fixed opponents.

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { CheckpointError, IoError, OptionError, SelfPlay, type SelfPlayOptions } from "../../lib/index.js";
import { bellows, scratch } from "./cli.js";

const folder = scratch();
const at = (name: string) => join(folder, name);

/** A run on connect4 with what is given beside small numbers. */
function small(rollout: SelfPlayOptions["rollout"], net: SelfPlayOptions["net"] = {}, seed = 3): SelfPlayOptions {
  return {
    game: { name: "connect4" },
    net: { width: 16, depth: 2, ...net },
    rollout: { games: 64, ...rollout },
    ppo: { minibatch: 256, epochs: 1, lrSchedule: "constant", entropySchedule: "constant" },
    run: { seed, threads: 1, iterations: 4 },
  };
}

async function train(run: SelfPlay, iterations: number): Promise<void> {
  for await (const _ of run.train({ iterations, roofline: false }));
}

beforeAll(async () => {
  const other = await SelfPlay.create(small({}, { kind: "mlp", width: 24, depth: 3, value: "wdl" }, 9));
  await train(other, 1);
  await other.savePolicy(at("policy.safetensors"));
  await other.save(at("whole.safetensors"));
  await other.close();
  writeFileSync(at("starts.txt"), "4\n12\r\n\n4435\n");
});

describe("inputs", () => {
  const both = (): SelfPlayOptions =>
    small({
      starts: { file: at("starts.txt"), listShare: 0.5 },
      opponents: {
        pinned: `${at("policy.safetensors")}, ${at("whole.safetensors")}`,
        pinnedShare: 0.3,
        selfShare: 0.5,
        pool: 2,
      },
    });

  test("change what is learned, and a resumed run is the same to the bit", async () => {
    const hashes: string[] = [];
    for (const options of [both(), small({}), small({ opponents: { pool: 2, selfShare: 0.5 } })]) {
      const run = await SelfPlay.create(options);
      await train(run, 4);
      hashes.push(await run.weightsHash());
      await run.close();
    }
    expect(new Set(hashes).size).toBe(3);

    const begun = await SelfPlay.create(both());
    await train(begun, 2);
    await begun.save(at("half.safetensors"));
    await begun.close();
    const resumed = await SelfPlay.load(at("half.safetensors"));
    await train(resumed, 2);
    expect(await resumed.weightsHash()).toBe(hashes[0]);
    await resumed.close();
  });

  test("other content is refused; judging needs no files", async () => {
    const file = at("moving.txt");
    writeFileSync(file, "1\n");
    const run = await SelfPlay.create(small({ starts: { file, listShare: 0.5 } }));
    await run.save(at("moved.safetensors"));
    await run.close();
    writeFileSync(file, "2\n");
    const error = await SelfPlay.load(at("moved.safetensors")).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toContain(file);
    const judged = await SelfPlay.load(at("moved.safetensors"), { opponents: false });
    expect((await judged.policy("")).value).toBeGreaterThan(-10);
    await expect(judged.train({ iterations: 1 }).next()).rejects.toMatchObject({ code: "STATE" });
    await expect(judged.save(at("judged.safetensors"))).rejects.toMatchObject({ code: "STATE" });
    await judged.close();
  });

  test("the command goes on with the same files", async () => {
    const args = ["--seed", "4", "--json", "--set", "run.checkpointEvery=2", "--set", "net.width=16"];
    const files = ["--set", `rollout.starts.file=${at("starts.txt")}`, "--set", "rollout.starts.listShare=0.4"];
    const pins = [
      "--set",
      `rollout.opponents.pinned=${at("policy.safetensors")}`,
      "--set",
      "rollout.opponents.pinnedShare=0.4",
    ];
    const small4 = ["--set", "rollout.games=64", "--iterations", "4"];
    const all = ["train", "connect4", ...args, ...files, ...pins, ...small4];
    const whole = await bellows([...all, "--out", at("run")]);
    expect(whole.code, whole.stderr).toBe(0);
    rmSync(join(at("run"), "result.json"));
    rmSync(join(at("run"), "checkpoints", "000004.safetensors"));
    const again = await bellows(["train", "--resume", at("run"), "--json"]);
    expect(again.last.weightsHash).toBe(whole.last.weightsHash);
  });

  test.each<[string, SelfPlayOptions["rollout"], new (...args: never[]) => Error, string]>([
    ["no such list", { starts: { file: "nowhere.txt", listShare: 0.1 } }, IoError, "nowhere.txt"],
    ["an empty list", { starts: { file: "empty.txt", listShare: 0.1 } }, OptionError, "no positions"],
    ["an illegal move", { starts: { file: "illegal.txt", listShare: 0.1 } }, OptionError, "line 3"],
    ["a game that is over", { starts: { file: "over.txt", listShare: 0.1 } }, OptionError, "line 2"],
    ["no such opponent", { opponents: { pinned: "no.safetensors", pinnedShare: 0.1 } }, CheckpointError, "no.saf"],
    ["no checkpoint", { opponents: { pinned: "over.txt", pinnedShare: 0.1 } }, CheckpointError, "over.txt"],
    ["another game", { opponents: { pinned: "ttt.safetensors", pinnedShare: 0.1 } }, OptionError, "connect4|game"],
  ])("refuses %s", async (_, rollout, kind, words) => {
    writeFileSync(at("empty.txt"), "\n \n");
    writeFileSync(at("illegal.txt"), "1\n\n19\n");
    writeFileSync(at("over.txt"), "1\n1212121\n");
    const ttt = await SelfPlay.create({
      game: { name: "tictactoe" },
      net: { width: 8, depth: 1 },
      run: { threads: 1 },
    });
    await ttt.savePolicy(at("ttt.safetensors"));
    await ttt.close();
    const { starts, opponents } = rollout ?? {};
    const options = small({
      ...(starts && { starts: { ...starts, file: at(starts.file ?? "") } }),
      ...(opponents && { opponents: { ...opponents, pinned: at(opponents.pinned ?? "") } }),
    });
    const error = await SelfPlay.create(options).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(kind);
    expect((error as Error).message).toMatch(new RegExp(words));
  });
});
