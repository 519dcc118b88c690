// run.precision: bf16 where the CPU has it, a typed error where it has not, checkpoints that either precision opens.

import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { OptionError, SelfPlay, type SelfPlayOptions } from "../../lib/index.js";
import { native, settled } from "../../lib/native.js";
import { bellows, scratch } from "./cli.js";

const folder = scratch();

const options = {
  game: { name: "tictactoe" },
  net: { width: 40, depth: 2 },
  rollout: { games: 200 },
  ppo: { minibatch: 100, lrSchedule: "constant" },
  run: { seed: 5, threads: 1, iterations: 3 },
} satisfies SelfPlayOptions;

const asked = (precision: "fp32" | "bf16", threads = 1) => ({
  ...options,
  run: { ...options.run, precision, threads },
});

const info = await settled(native().info(true));
const available = info.gflopsBf16 > 0;

/** Trains to the end; gives the hash of the weights. */
async function trained(run: SelfPlay, iterations = 3): Promise<string> {
  for await (const { maxRatioError } of run.train({ iterations, roofline: false })) expect(maxRatioError).toBe(0);
  return run.weightsHash();
}

async function hashOf(precision: "fp32" | "bf16", threads: number): Promise<string> {
  const run = await SelfPlay.create(asked(precision, threads));
  try {
    return await trained(run);
  } finally {
    await run.close();
  }
}

async function refusal(promise: Promise<unknown>): Promise<OptionError> {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(OptionError);
  return error as OptionError;
}

const isa = process.env.BELLOWS_ISA;
afterEach(() => {
  if (isa === undefined) delete process.env.BELLOWS_ISA;
  else process.env.BELLOWS_ISA = isa;
});

test.runIf(existsSync("/proc/cpuinfo") && process.arch === "x64")("bf16 is available where the CPU has it", () => {
  const flags = /^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1]?.trim().split(/\s+/) ?? [];
  expect(available).toBe(info.isa === "avx512" && flags.includes("avx512_bf16"));
});

describe("where it is not", () => {
  test("create and plan refuse it alike", async () => {
    process.env.BELLOWS_ISA = "portable";
    for (const error of [await refusal(SelfPlay.create(asked("bf16"))), await refusal(SelfPlay.plan(asked("bf16")))]) {
      expect(error).toMatchObject({ code: "OPTION", path: "run.precision", received: '"bf16"' });
      expect(error.expected).toMatch(available ? /^fp32 \(.*portable.*BELLOWS_ISA.*\)$/ : /^fp32 \(this (CPU|build) /);
      expect(error.message).toContain("run.precision");
    }
    expect(await hashOf("fp32", 1)).toHaveLength(64);
  });

  test("so does the command, before it makes a directory", async () => {
    process.env.BELLOWS_ISA = "portable";
    const out = join(folder, "refused");
    const end = await bellows(["train", "tictactoe", "--precision", "bf16", "--out", out, "--json"]);
    expect(end.code).toBe(2);
    expect(end.last).toMatchObject({ type: "error", code: "OPTION", path: "run.precision" });
    expect(existsSync(out)).toBe(false);
  });

  test("a name that is none", async () => {
    const end = await bellows(["train", "tictactoe", "--precision", "fp16", "--json"]);
    expect(end.code).toBe(2);
    expect(end.last).toMatchObject({ code: "OPTION", path: "run.precision", expected: "one of fp32, bf16" });
  });
});

// Only here is anything to compute; a machine without bf16 has said so above.
describe.runIf(available)("where it is", () => {
  test("the same bits for any number of threads, others than fp32", async () => {
    const one = await hashOf("bf16", 1);
    expect(await hashOf("bf16", 3)).toBe(one);
    expect(await hashOf("fp32", 1)).not.toBe(one);
  });

  test("the roof of a run is that of its precision", async () => {
    const run = await SelfPlay.create(asked("bf16", info.threads));
    for await (const { roofline } of run.train({ iterations: 1 })) {
      // Measured in this process before; a later look may only read more.
      expect(roofline.gflops / roofline.fraction).toBeGreaterThan(0.999 * info.gflopsBf16);
    }
    await run.close();
  });

  test("either precision opens the other's checkpoints; where bf16 is missing it must be told to", async () => {
    const path = join(folder, "bf16.safetensors");
    const run = await SelfPlay.create(asked("bf16"));
    await trained(run, 2);
    const hash = await run.weightsHash();
    await run.save(path);
    const whole = await trained(run, 1);
    await run.close();

    const same = await SelfPlay.load(path);
    expect(same.options.run.precision).toBe("bf16");
    expect(await trained(same, 1)).toBe(whole);
    await same.close();

    const other = await SelfPlay.load(path, { precision: "fp32" });
    expect(other.options.run.precision).toBe("fp32");
    expect(await other.weightsHash()).toBe(hash);
    expect(await trained(other, 1)).not.toBe(whole);
    await other.save(join(folder, "fp32.safetensors"));
    await other.close();
    const back = await SelfPlay.load(join(folder, "fp32.safetensors"), { precision: "bf16" });
    expect(back.options.run.precision).toBe("bf16");
    await back.close();

    process.env.BELLOWS_ISA = "portable";
    expect(await refusal(SelfPlay.load(path))).toMatchObject({ path: "run.precision", received: '"bf16"' });
    const elsewhere = await SelfPlay.load(path, { precision: "fp32" });
    expect(await elsewhere.weightsHash()).toBe(hash);
    await elsewhere.close();
    expect((await bellows(["eval", path, "--json"])).last).toMatchObject({ code: "OPTION", path: "run.precision" });
    expect((await bellows(["eval", path, "--precision", "fp32", "--json"])).last.weightsHash).toBe(hash);
  });

  test("a run may be resumed with another precision", async () => {
    const out = join(folder, "resumed");
    const args = ["train", "tictactoe", "--iterations", "4", "--set", "rollout.games=64", "--set", "net.width=16"];
    const every = ["--set", "run.checkpointEvery=1", "--set", "ppo.lrSchedule=constant"];
    const first = await bellows([...args, ...every, "--precision", "bf16", "--out", out, "--json"]);
    expect(first.lines[0]).toMatchObject({ type: "start", precision: "bf16" });
    expect(first.code).toBe(0);
    // As if it had been killed in its last iteration.
    rmSync(join(out, "result.json"));
    rmSync(join(out, "checkpoints", "000004.safetensors"));
    const resumed = await bellows(["train", "--resume", out, "--precision", "fp32", "--json"]);
    expect(resumed.code).toBe(0);
    expect(resumed.lines[0]).toMatchObject({ type: "start", precision: "fp32", iteration: 3 });
    expect(resumed.last.iterations).toBe(4);
    expect(resumed.last.weightsHash).not.toBe(first.last.weightsHash);
  });
});
