// Files of every version that ever wrote some must open in this one.

import { cpSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { SelfPlay } from "../../lib/index.js";
import { bellows, root, scratch } from "./cli.js";

// The ends are those of the portable instruction set. The addon reads this when it is first used.
process.env.BELLOWS_ISA = "portable";

interface Bundle {
  game: string;
  weightsHash: string;
  counters: Record<string, number>;
  policy: { moves: string; probabilities: number[]; value: number };
  weightsHashAtEnd: string;
}

interface Expected {
  /** What fixed runs computed in that version, as in signature.json. */
  signature: string;
  bundles: Record<string, Bundle>;
  run: { weightsHash: string; iterations: number };
}

const folder = scratch();
const golden = join(root, "test", "golden");
const versions = readdirSync(golden).filter((name) => name.startsWith("v"));
const { signature } = JSON.parse(readFileSync(join(golden, "signature.json"), "utf8")) as { signature: string };

test("there are golden files", () => {
  expect(versions).toContain("v0.1.0");
});

describe.each(versions)("files of %s", (name) => {
  const place = join(golden, name);
  const expected = JSON.parse(readFileSync(join(place, "expected.json"), "utf8")) as Expected;
  // A later version may compute something else from there on; what it reads may not differ.
  const same = expected.signature === signature;

  test.each(Object.entries(expected.bundles))(
    "%s: its weights, counters, policy and opponents",
    async (file, wanted) => {
      const run = await SelfPlay.load(join(place, file));
      expect(run.options.game.name).toBe(wanted.game);
      expect(await run.weightsHash()).toBe(wanted.weightsHash);
      expect(await run.counters()).toEqual(wanted.counters);
      const { probabilities, value } = await run.policy(wanted.policy.moves);
      expect(value).toBeCloseTo(wanted.policy.value, 4);
      for (const [action, p] of wanted.policy.probabilities.entries()) expect(probabilities[action]).toBeCloseTo(p, 4);
      for await (const _ of run.train({ iterations: 2, roofline: false }));
      expect((await run.counters()).iteration).toBe(4);
      if (same) expect(await run.weightsHash()).toBe(wanted.weightsHashAtEnd);
      await run.close();
    },
  );

  test("an interrupted run goes on to its end", async () => {
    const directory = join(folder, name);
    cpSync(join(place, "run"), directory, { recursive: true });
    const end = await bellows(["train", "--resume", directory, "--json"]);
    expect(end.code, end.stderr).toBe(0);
    expect(end.last.iterations).toBe(expected.run.iterations);
    if (same) expect(end.last.weightsHash).toBe(expected.run.weightsHash);
  });
});
