// A few kills of a study's processes; `npm run test:lab-kill` has a hundred, and more to go wrong.

import { join } from "node:path";
import { expect, test } from "vitest";
import { scratch } from "./cli.js";
import { crash, studiesIn, whole } from "./lab-crash.js";

const folder = scratch();
/** BELLOWS_SEED repeats the moments of a failure; the processes' own pace is not repeated. */
const seed = Number(process.env.BELLOWS_SEED ?? Date.now() % 1e6);

// /proc tells which processes are left.
test.runIf(process.platform === "linux")(
  "six kills of runner and workers: the verdicts of a study that had none",
  async () => {
    const calm = await whole(studiesIn(join(folder, "whole")), "module");
    const { kills, runs } = await crash(folder, [{ name: "module", whole: calm }], 6, seed);
    expect(kills).toBeGreaterThanOrEqual(6);
    expect(runs).toBeGreaterThan(0);
  },
);
