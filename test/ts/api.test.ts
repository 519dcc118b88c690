// The library: SelfPlay and its typed errors.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { markAsUntransferable } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import {
  BellowsError,
  CheckpointError,
  ClosedError,
  DeviceError,
  type Iteration,
  OPTION_ROWS,
  OptionError,
  OutOfMemoryError,
  resolveOptions,
  SelfPlay,
  type SelfPlayOptions,
} from "../../lib/index.js";
import { scratch } from "./cli.js";

const folder = scratch();

const tiny = {
  game: { name: "tictactoe" },
  net: { width: 16, depth: 1 },
  rollout: { games: 32, opponents: { pool: 2, every: 2, selfShare: 0.5 } },
  ppo: { lrSchedule: "constant", entropySchedule: "constant" },
  run: { seed: 3, threads: 1, iterations: 4 },
} satisfies SelfPlayOptions;

async function collect(run: SelfPlay, args: Parameters<SelfPlay["train"]>[0]): Promise<Iteration[]> {
  const seen: Iteration[] = [];
  for await (const iteration of run.train({ roofline: false, ...args })) seen.push(iteration);
  return seen;
}

describe("options", () => {
  test("every option of the table resolves to its default, unless the recipe says otherwise", () => {
    const resolved: unknown = resolveOptions({ game: { name: "connect4" } });
    for (const row of OPTION_ROWS) {
      const value = row.path.split(".").reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], resolved);
      if (row.path === "game.name" || row.path === "ppo.chain") continue;
      expect(typeof value, row.path).toBe(typeof row.default);
    }
    expect(resolved).toMatchObject({ game: { name: "connect4" }, net: { kind: expect.any(String) } });
  });

  test.each<[unknown, string]>([
    [null, "options"],
    [[], "options"],
    [() => {}, "options"],
    ["tictactoe", "options"],
    [new Map(), "options"],
    [{}, "game.name"],
    [{ game: {} }, "game.name"],
    [{ game: { name: "chess" } }, "game.name"],
    [{ game: { name: 3 } }, "game.name"],
    [{ game: "tictactoe" }, "game"],
    [{ ...tiny, net: null }, "net"],
    [{ ...tiny, net: [16] }, "net"],
    [{ ...tiny, net: new Date() }, "net"],
    [{ ...tiny, net: { width: "16" } }, "net.width"],
    [{ ...tiny, net: { width: null } }, "net.width"],
    [{ ...tiny, net: { width: 16n } }, "net.width"],
    [{ ...tiny, net: { width: Number.NaN } }, "net.width"],
    [{ ...tiny, net: { width: 16.5 } }, "net.width"],
    [{ ...tiny, net: { width: {} } }, "net.width"],
    [{ ...tiny, net: { widht: 16 } }, "net.widht"],
    [{ ...tiny, nett: { width: 16 } }, "nett.width"],
    [{ ...tiny, nett: {} }, "nett"],
    [{ ...tiny, rollout: { opponents: 3 } }, "rollout.opponents"],
    [{ ...tiny, rollout: { mirror: 1 } }, "rollout.mirror"],
    [{ ...tiny, ppo: { clip: () => 0.2 } }, "ppo.clip"],
    [{ ...tiny, ppo: { lr: Number.POSITIVE_INFINITY } }, "ppo.lr"],
  ])("%o is refused at %s", async (options, path) => {
    const error = await SelfPlay.create(options as SelfPlayOptions).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(OptionError);
    expect(error).toBeInstanceOf(BellowsError);
    expect(error).toMatchObject({
      code: "OPTION",
      path,
      expected: expect.stringMatching(/./),
      received: expect.stringMatching(/./),
    });
    await expect(SelfPlay.plan(options as SelfPlayOptions)).rejects.toMatchObject({ code: "OPTION", path });
  });

  test("undefined means not given, and an unknown name gets a suggestion", async () => {
    const options = { game: { name: "tictactoe" }, net: undefined, ppo: { lr: undefined } } satisfies SelfPlayOptions;
    expect(resolveOptions(options)).toEqual(resolveOptions({ game: { name: "tictactoe" } }));
    const typo = { ...tiny, net: { widht: 8 } } as SelfPlayOptions;
    expect(() => resolveOptions(typo)).toThrow(/did you mean.*net\.width/i);
  });

  test("arguments of train and load are checked too", async () => {
    const run = await SelfPlay.create(tiny);
    const bad: [object, string][] = [
      [{ iterationz: 3 }, "train.iterationz"],
      [{ iterations: -1 }, "train.iterations"],
      [{ iterations: "3" }, "train.iterations"],
      [{ iterations: 1, minutes: 1 }, "train.minutes"],
      [{ signal: {} }, "train.signal"],
    ];
    for (const [args, path] of bad) {
      expect(() => run.train(args)).toThrow(expect.objectContaining({ code: "OPTION", path }));
    }
    expect(() => run.train(null as never)).toThrow(OptionError);
    await expect(SelfPlay.load(3 as never)).rejects.toBeInstanceOf(OptionError);
    await expect(run.save("")).rejects.toBeInstanceOf(OptionError);
    await run.close();
  });

  test("a device that is not here is an error, never another device", async () => {
    const error = await SelfPlay.create({ ...tiny, run: { device: "cuda" } }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(DeviceError);
    expect(error).toMatchObject({ code: "DEVICE", device: "cuda" });
  });

  test("a plan that cannot fit names the group, before anything is allocated", async () => {
    const options = { ...tiny, net: { width: 4096, depth: 64 }, rollout: { opponents: { pool: 1024 } } };
    const error = await SelfPlay.create(options).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(OutOfMemoryError);
    const { needed, free, plan } = error as OutOfMemoryError;
    expect(needed).toBeGreaterThan(free);
    expect(plan?.reduce((sum, row) => sum + row.bytes, 0)).toBeGreaterThan(free);
  });
});

describe("training", () => {
  test("an iteration starts when next() is called, never ahead", async () => {
    const run = await SelfPlay.create(tiny);
    const iterator = run.train({ iterations: 3 });
    expect((await run.counters()).iteration).toBe(0);
    const first = await iterator.next();
    expect(first.value).toMatchObject({ index: 1, games: 32 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await run.counters()).iteration).toBe(1);
    await iterator.return();
    expect((await run.counters()).iteration).toBe(1);
    // A new loop goes on.
    expect((await collect(run, { iterations: 2 })).map(({ index }) => index)).toEqual([2, 3]);
    await run.close();
  });

  test("break stops cleanly, and what follows sees the iteration just yielded", async () => {
    const run = await SelfPlay.create(tiny);
    for await (const iteration of run.train({ iterations: 10 })) {
      if (iteration.index === 2) break;
    }
    expect((await run.counters()).iteration).toBe(2);
    const whole = await SelfPlay.create(tiny);
    await collect(whole, { iterations: 2 });
    expect(await run.weightsHash()).toBe(await whole.weightsHash());
    await Promise.all([run.close(), whole.close()]);
  });

  test("schedules end with the last iteration", async () => {
    const run = await SelfPlay.create({ ...tiny, ppo: { lr: 0.01, lrSchedule: "linear", lrFinal: 0.1 } });
    const rates = (await collect(run, {})).map(({ lr }) => lr);
    expect(rates).toHaveLength(4);
    expect(rates[0]).toBeCloseTo(0.01, 9);
    expect(rates[3]).toBeCloseTo(0.001, 9);
    // From 4 done to 6: progress 4/5 and 5/5.
    const more = (await collect(run, { iterations: 2 })).map(({ lr }) => lr);
    expect(more[0]).toBeCloseTo(0.01 * (1 - 0.9 * 0.8), 9);
    expect(more[1]).toBeCloseTo(0.001, 9);
    await run.close();
  });

  test("minutes bound the run, and the last iteration is past the limit", async () => {
    const run = await SelfPlay.create(tiny);
    const seen = await collect(run, { minutes: 0.3 / 60 });
    expect(seen.length).toBeGreaterThan(0);
    // The clock is looked at once more after an iteration was given out: the last one may be short by that much.
    expect(seen.at(-1)!.seconds).toBeGreaterThan(0.29);
    if (seen.length > 1) expect(seen.at(-2)!.seconds).toBeLessThan(0.3);
    await run.close();
  });

  test("abort rejects with the signal's reason and leaves no trace", async () => {
    const big = { ...tiny, rollout: { games: 20000 } };
    const run = await SelfPlay.create(big);
    const before = await run.weightsHash();
    const controller = new AbortController();
    const reason = new Error("enough");
    setTimeout(() => controller.abort(reason), 30);
    await expect(collect(run, { iterations: 100, signal: controller.signal })).rejects.toBe(reason);
    const { iteration } = await run.counters();
    if (iteration === 0) expect(await run.weightsHash()).toBe(before);
    // The run can still be used, and goes on as if nothing had happened.
    await collect(run, { iterations: 1 });
    const whole = await SelfPlay.create(big);
    await collect(whole, { iterations: iteration + 1 });
    expect(await run.weightsHash()).toBe(await whole.weightsHash());
    const aborted = AbortSignal.abort("before");
    await expect(run.train({ signal: aborted }).next()).rejects.toBe("before");
    await Promise.all([run.close(), whole.close()]);
  });

  test("two loops at a time are refused", async () => {
    const run = await SelfPlay.create(tiny);
    const one = run.train({ iterations: 2 });
    await one.next();
    await expect(run.train({ iterations: 1 }).next()).rejects.toMatchObject({ code: "STATE" });
    await one.next();
    await run.close();
  });

  test("evaluateEvery evaluates in the loop", async () => {
    const run = await SelfPlay.create(tiny);
    const seen = await collect(run, { iterations: 4, evaluateEvery: 2 });
    expect(seen.map(({ evaluation }) => evaluation !== null)).toEqual([false, true, false, true]);
    expect(seen[3]!.evaluation).toEqual(await run.evaluate());
    await run.close();
  });

  test("the event loop is free while the engine works", async () => {
    const run = await SelfPlay.create({ ...tiny, rollout: { games: 20000 } });
    const next = run.train({ iterations: 1 }).next();
    let ticks = 0;
    const timer = setInterval(() => ++ticks, 1);
    await next;
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(5);
    await run.close();
  });

  test("the profile has rates, and shares of the roof once it is measured", async () => {
    const run = await SelfPlay.create(tiny);
    await collect(run, { iterations: 1 });
    const rows = run.profile();
    expect(rows.length).toBeGreaterThan(3);
    expect(rows.some(({ gflops }) => gflops > 0)).toBe(true);
    expect(rows.every(({ roof }) => Number.isNaN(roof))).toBe(true);
    const [iteration] = await collect(run, { iterations: 1, roofline: true });
    expect(iteration!.roofline.fraction).toBeGreaterThan(0);
    expect(run.profile().some(({ roof }) => roof > 0)).toBe(true);
    await run.close();
  });
});

describe("policy", () => {
  test("one, many, none; the batch size changes nothing", async () => {
    const run = await SelfPlay.create(tiny);
    const one = await run.policy("51");
    expect(one.logits).toBeInstanceOf(Float32Array);
    expect(one.probabilities[4]).toBe(0);
    const many = await run.policy(["", "51", "14253"]);
    expect(many[1]).toEqual(one);
    expect(many[2]).toMatchObject({ terminal: true, value: -1 });
    expect(await run.policy([])).toEqual([]);
    const long = await run.policy(Array<string>(3000).fill("51"));
    expect(long).toHaveLength(3000);
    expect(long[2999]).toEqual(one);
    await run.close();
  });

  test("errors carry the index", async () => {
    const run = await SelfPlay.create(tiny);
    await expect(run.policy("11")).rejects.toMatchObject({ code: "OPTION", path: "moves" });
    await expect(run.policy(["1", "11"])).rejects.toMatchObject({ code: "OPTION", path: "moves[1]" });
    const many = [...Array<string>(2000).fill("1"), "x"];
    await expect(run.policy(many)).rejects.toMatchObject({ path: "moves[2000]" });
    await expect(run.policy([1] as never)).rejects.toMatchObject({ code: "OPTION", path: "moves[0]" });
    await expect(run.policy(undefined as never)).rejects.toMatchObject({ code: "OPTION", path: "moves" });
    await run.close();
  });
});

describe("weights", () => {
  test("a copy of all tensors", async () => {
    const run = await SelfPlay.create(tiny);
    const before = await run.weights();
    expect(before).toHaveLength(run.parameters);
    const names = ["trunk.0.weight", "trunk.0.bias", "policy.weight", "value.weight", "policy.bias", "value.bias"];
    expect(Array.from(run.tensors, ({ name }) => name)).toEqual(names);
    const count = run.tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    expect(count).toBe(run.parameters);
    const again = await run.weights();
    expect(again).toEqual(before);
    expect(again.buffer).not.toBe(before.buffer);
    await collect(run, { iterations: 1 });
    const after = await run.weights();
    expect(before).toEqual(again);
    expect(after).not.toEqual(before);
    const hash = await run.weightsHash();
    after.fill(0);
    expect(await run.weightsHash()).toBe(hash);
    await run.close();
  });

  test("belong to whoever asked: moved, marked, to a worker, and after close", async () => {
    const run = await SelfPlay.create(tiny);
    const [kept, moved, marked] = [await run.weights(), await run.weights(), await run.weights()];
    markAsUntransferable(marked.buffer as ArrayBuffer);
    const there = structuredClone(moved, { transfer: [moved.buffer as ArrayBuffer] });
    expect(moved).toHaveLength(0);
    await run.close();
    expect(there).toEqual(kept);
    expect(marked).toEqual(kept);
    expect(kept.some((value) => value !== 0)).toBe(true);
  });
});

describe("save and load", () => {
  test("a loaded run goes on exactly", async () => {
    const path = join(folder, "exact.safetensors");
    const run = await SelfPlay.create(tiny);
    await collect(run, { iterations: 5 });
    await run.save(path);
    const again = await SelfPlay.load(path);
    expect(again.options).toEqual(run.options);
    expect(await again.weightsHash()).toBe(await run.weightsHash());
    expect(await again.counters()).toEqual(await run.counters());
    expect(again.source).toBe(path);
    const a = await collect(run, { iterations: 5 });
    const b = await collect(again, { iterations: 5 });
    const timeless = ({ speed, roofline, seconds, ...rest }: Iteration) => rest;
    expect(b.map(timeless)).toEqual(a.map(timeless));
    expect(await again.weightsHash()).toBe(await run.weightsHash());
    await Promise.all([run.close(), again.close()]);
  });

  test("a policy file gives a run to judge and to ask, not to go on with", async () => {
    const path = join(folder, "policy.safetensors");
    const run = await SelfPlay.create({ ...tiny, rollout: { opponents: { pool: 2, every: 1, selfShare: 0.5 } } });
    await collect(run, { iterations: 3 });
    await run.savePolicy(path);
    const policy = await SelfPlay.load(path);
    expect(await policy.weightsHash()).toBe(await run.weightsHash());
    expect((await policy.counters()).iteration).toBe(3);
    expect(await policy.policy(["", "1"])).toEqual(await run.policy(["", "1"]));
    const [judged, wanted] = [await policy.evaluate(), await run.evaluate()];
    expect(judged.certificate).toEqual(wanted.certificate);
    const lacking = { code: "STATE", message: expect.stringContaining("optimiser") };
    await expect(policy.train().next()).rejects.toMatchObject({ ...lacking, op: "train" });
    await expect(policy.save(join(folder, "none.safetensors"))).rejects.toMatchObject({ ...lacking, op: "save" });
    await policy.savePolicy(join(folder, "again.safetensors"));
    expect(readFileSync(join(folder, "again.safetensors"))).toEqual(readFileSync(path));
    await Promise.all([run.close(), policy.close()]);
    const cut = join(folder, "cut.safetensors");
    writeFileSync(cut, readFileSync(path).subarray(0, -4));
    await expect(SelfPlay.load(cut)).rejects.toBeInstanceOf(CheckpointError);
  });

  test("saving the same state twice gives the same bytes but for the clock", async () => {
    const run = await SelfPlay.create(tiny);
    const paths = ["a", "b"].map((name) => join(folder, `${name}.safetensors`));
    for (const path of paths) await run.save(path);
    expect(readFileSync(paths[0]!)).toEqual(readFileSync(paths[1]!));
    await run.close();
  });

  test("what is no checkpoint is a CheckpointError that names the file", async () => {
    const path = join(folder, "bad.safetensors");
    writeFileSync(path, "no");
    for (const bad of [path, join(folder, "none"), folder]) {
      const error = await SelfPlay.load(bad).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(CheckpointError);
      expect(error).toMatchObject({ path: bad });
    }
  });

  test("every truncation and many corruptions are refused", async () => {
    const run = await SelfPlay.create({ ...tiny, net: { width: 4, depth: 1 } });
    const path = join(folder, "small.safetensors");
    await run.save(path);
    const good = readFileSync(path);
    const headerEnd = 8 + Number(good.readBigUInt64LE(0));
    const target = join(folder, "mutated.safetensors");
    const refused = async (bytes: Buffer) => {
      writeFileSync(target, bytes);
      const result = await SelfPlay.load(target).then(
        (loaded) => loaded.close().then(() => null),
        (error: unknown) => error,
      );
      if (result !== null) expect(result).toBeInstanceOf(CheckpointError);
      return result !== null;
    };
    for (let length = 0; length < good.length; length += Math.ceil(good.length / 40)) {
      expect(await refused(good.subarray(0, length))).toBe(true);
    }
    // A file whose checksum has another name has none, as after a tool that rewrote it.
    const name = "bellows.sha256";
    const named = good.indexOf(name);
    for (let at = 0; at < headerEnd; at += 37) {
      if (at >= named && at < named + name.length) continue;
      const bytes = Buffer.from(good);
      bytes[at] = bytes[at] === 0x7b ? 0x5b : 0x7b;
      expect(await refused(bytes)).toBe(true);
    }
    for (let at = headerEnd; at < good.length; at += 101) {
      const bytes = Buffer.from(good);
      bytes[at]! ^= 1;
      expect(await refused(bytes)).toBe(true);
    }
    const nan = Buffer.from(good);
    nan.writeFloatLE(Number.NaN, headerEnd);
    expect(await refused(nan)).toBe(true);
    await run.close();
  });
});

describe("close", () => {
  test("is idempotent; calls after it reject with ClosedError", async () => {
    const run = await SelfPlay.create(tiny);
    await Promise.all([run.close(), run.close()]);
    await run.close();
    for (const call of [
      () => run.evaluate(),
      () => run.policy(""),
      () => run.weights(),
      () => run.weightsHash(),
      () => run.save(join(folder, "closed")),
      () => run.counters(),
      () => run.train().next(),
    ]) {
      await expect(call()).rejects.toBeInstanceOf(ClosedError);
    }
    expect(() => run.profile()).toThrow(ClosedError);
  });

  test("while training it ends the iteration; the loop rejects with ClosedError", async () => {
    const run = await SelfPlay.create({ ...tiny, rollout: { games: 50000 } });
    const loop = collect(run, { iterations: 1000 });
    const queued = run.evaluate();
    setTimeout(() => void run.close(), 30);
    await expect(loop).rejects.toBeInstanceOf(ClosedError);
    await queued.catch((error: unknown) => expect(error).toBeInstanceOf(ClosedError));
    await run.close();
  });

  test("several engines live side by side", async () => {
    const runs = await Promise.all([1, 2, 3].map((seed) => SelfPlay.create({ ...tiny, run: { seed, threads: 1 } })));
    await Promise.all(runs.map((run) => collect(run, { iterations: 3 })));
    const hashes = await Promise.all(runs.map((run) => run.weightsHash()));
    expect(new Set(hashes).size).toBe(3);
    const alone = await SelfPlay.create({ ...tiny, run: { seed: 2, threads: 1 } });
    await collect(alone, { iterations: 3 });
    expect(await alone.weightsHash()).toBe(hashes[1]);
    await Promise.all([...runs, alone].map((run) => run.close()));
  });

  test("Symbol.asyncDispose closes", async () => {
    const run = await SelfPlay.create(tiny);
    await run[Symbol.asyncDispose]();
    await expect(run.evaluate()).rejects.toBeInstanceOf(ClosedError);
  });
});
