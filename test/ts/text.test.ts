// Strings of JavaScript may hold NUL characters, the engine's end there: what would be cut off is refused instead.

import { describe, expect, test } from "vitest";
import { OptionError, SelfPlay, type SelfPlayOptions } from "../../lib/index.js";
import { native } from "../../lib/native.js";

const tiny = { net: { width: 16, depth: 1 }, rollout: { games: 32 }, run: { threads: 1 } };

function refusal(path: string) {
  return expect.objectContaining({
    code: "OPTION",
    path,
    received: "a text with a NUL character",
    expected: "text without NUL characters",
  });
}

describe("a NUL character", () => {
  test.each([
    ["game.name", { game: { name: "tictactoe\0" } }],
    ["net.kind", { game: { name: "tictactoe" }, net: { kind: "mlp\0resmlp" } }],
  ])("in %s", async (path, options) => {
    const given = options as unknown as SelfPlayOptions;
    for (const call of [SelfPlay.create, SelfPlay.plan]) {
      const error: unknown = await call(given).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(OptionError);
      expect(error).toEqual(refusal(path));
    }
  });

  test("in the name of an option", () => {
    const entries = [{ path: "net.width\0.x", kind: "number", text: "16" }] as const;
    expect(native().resolve("tictactoe", entries)).toMatchObject({ ok: false, error: { status: "OPTION" } });
  });

  test("in moves", async () => {
    const run = await SelfPlay.create({ game: { name: "tictactoe" }, ...tiny });
    await expect(run.policy("5\0illegal")).rejects.toEqual(refusal("moves"));
    await expect(run.policy(["", "5", "\0"])).rejects.toEqual(refusal("moves[2]"));
    await run.close();
    expect(native().position("tictactoe", "5\x001")).toMatchObject({ ok: false, error: { path: "moves" } });
    expect(native().position("tictactoe\0", "5")).toMatchObject({ ok: false, error: { path: "game.name" } });
    await expect(native().perft("tictactoe\0", 1)).rejects.toMatchObject({ status: "OPTION", path: "game.name" });
  });

  test("in a checkpoint's metadata", async () => {
    const engine = new (native().Engine)();
    await engine.start("tictactoe", [{ path: "rollout.games", kind: "number", text: "32" }]);
    await expect(engine.save("state", [["key\0", "value"]])).rejects.toMatchObject({
      status: "OPTION",
      path: "metadata",
    });
    await expect(engine.save("state", [["key", "val\0ue"]])).rejects.toMatchObject({ status: "OPTION", path: "key" });
    const bytes = Buffer.from(await engine.save("state", [["key", "sixsix"]]));
    await engine.close();
    // A file that says one is refused, not cut.
    const at = bytes.indexOf("sixsix");
    expect(at).toBeGreaterThan(0);
    bytes.write("\\u0000", at);
    expect(native().inspect(bytes)).toMatchObject({
      ok: false,
      error: { status: "CHECKPOINT", path: "header", message: expect.stringContaining("the character 0") },
    });
  });

  test("in the name of a file", async () => {
    const run = await SelfPlay.create({ game: { name: "tictactoe" }, ...tiny });
    await expect(run.save("file\0.safetensors")).rejects.toThrow();
    await run.close();
    await expect(SelfPlay.load("file\0.safetensors")).rejects.toThrow();
  });
});
