// What a study's file may say, what it means, and how what is wrong with it is named.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { OptionError } from "../../lib/index.js";
import { resolveSpec, studySchema } from "../../lib/lab/index.js";
import { completed } from "../../lib/lab/spec.js";
import { root } from "./cli.js";

const valid = () => ({
  name: "lr",
  metric: { name: "evaluation.certificate.sampled.exploitability", goal: "minimize" },
  budget: { iterations: 10 },
  baseline: { config: { game: { name: "tictactoe" } } },
  proposals: { slow: { change: { ppo: { lr: 0.0004 } }, hypothesis: "learns too little" } },
});

/** The study with one field replaced, or removed where the value is undefined. */
function withField(path: string, value: unknown): Record<string, unknown> {
  const study = structuredClone(valid()) as Record<string, unknown>;
  const parts = path.split(".");
  const last = parts.pop()!;
  let at = study;
  for (const part of parts) {
    at[part] ??= {};
    at = at[part] as Record<string, unknown>;
  }
  if (value === undefined) delete at[last];
  else at[last] = value;
  return study;
}

function refusal(study: unknown): OptionError {
  try {
    resolveSpec(study);
  } catch (error) {
    expect(error).toBeInstanceOf(OptionError);
    return error as OptionError;
  }
  throw new Error("it was not refused");
}

describe("a study's file", () => {
  test("has defaults", () => {
    const spec = resolveSpec(valid());
    expect(spec).toMatchObject({
      objective: "selfplay",
      metric: { summary: "final", delta: null },
      seeds: { first: 1, min: 3, max: 16 },
      noise: { runs: 8 },
      alpha: 0.05,
      family: 1,
      attempts: 3,
    });
    expect(spec.proposals.slow).toMatchObject({ category: "other", seeds: "shared" });
  });

  test.each([
    ["name", undefined, "study.name", "nothing", "letters"],
    ["name", "a/b", "study.name", '"a/b"', "letters"],
    ["metric.goal", "smaller", "study.metric.goal", '"smaller"', "minimize or maximize"],
    ["metric.delta", -1, "study.metric.delta", "-1", "above 0"],
    ["metric.summary", { last: 0 }, "study.metric.summary.last", "0", "an integer from 1"],
    ["metric.summary", "last", "study.metric.summary", '"last"', "final, or"],
    ["budget", {}, "study.budget", "{}", "exactly one"],
    ["budget", { iterations: 1, seconds: 1 }, "study.budget", '{"iterations":1,"seconds":1}', "exactly one"],
    ["budget.iterations", 1.5, "study.budget.iterations", "1.5", "an integer from 1"],
    ["alpha", 0.6, "study.alpha", "0.6", "0.0001 to 0.5"],
    ["seeds", { min: 9, max: 4 }, "study.seeds.min", "9", "at most seeds.max, which is 4"],
    ["seeds.max", 2000, "study.seeds.max", "2000", "from 2 to 1000"],
    ["family", 0, "study.family", "0", "from 1"],
    ["proposals.slow.hypothesis", " ", "study.proposals.slow.hypothesis", '" "', "expected"],
    ["proposals.slow.change", undefined, "study.proposals.slow.change", "nothing", "object"],
    [
      "proposals.baseline",
      { change: { ppo: { lr: 1 } }, hypothesis: "x" },
      "study.proposals.baseline",
      "a proposal",
      "another name",
    ],
    ["proposals.a b", { change: {}, hypothesis: "x" }, "study.proposals.a b", "a bad name", "letters"],
    ["baseline.config.run", { seed: 3 }, "study.baseline.config.run.seed", "3", "never a setting"],
    ["baseline.config.run", { iterations: 3 }, "study.baseline.config.run.iterations", "3", "budget"],
    ["baseline.config.ppo", { lr: 11 }, "study.baseline.config.ppo.lr", "11", "10"],
    ["proposals.slow.change.ppo", { rl: 1 }, "study.proposals.slow.change.ppo.rl", "ppo.rl", "ppo.lr"],
    ["proposal", {}, "study.proposal", "unknown", "proposals"],
    ["metric.names", "x", "study.metric.names", "unknown", "goal"],
    ["proposals.slow.changes", {}, "study.proposals.slow.changes", "unknown", "hypothesis"],
  ])("with %s as %j is refused, naming the field", (path, value, field, received, expected) => {
    const error = refusal(withField(path, value));
    expect(error.path).toBe(field);
    expect(error.received).toContain(received);
    expect(`${error.message} ${error.expected}`).toContain(expected);
  });

  test.each([null, 7, "x", []])("that is %j is refused", (study) => {
    expect(refusal(study).path).toBe("study");
  });

  test("may not propose what changes nothing, unless with seeds of its own", () => {
    const same = { change: { ppo: { lr: 0.004 } }, hypothesis: "the recipe's own rate" };
    expect(refusal(withField("proposals.same", same)).path).toBe("study.proposals.same.change");
    const spec = resolveSpec(withField("proposals.same", { ...same, seeds: "own" }));
    expect(spec.proposals.same!.fingerprint).toBe(spec.baseline.fingerprint);
  });

  test("merges a change into the baseline, name by name", () => {
    const study = withField("baseline.config.ppo", { lr: 0.002, clip: 0.1 });
    const { config } = resolveSpec(study).proposals.slow!;
    // Everything else is what the game's recipe says, filled in; the seed and the length are the study's.
    expect(config).toMatchObject({ game: { name: "tictactoe" }, ppo: { lr: 0.0004, clip: 0.1, lambda: 1 } });
    for (const field of ["seed", "iterations", "minutes"]) expect(config.run).not.toHaveProperty(field);
  });

  test("names the place of an option of self-play that there is not", () => {
    const { message } = refusal(withField("baseline.config.net", { layers: 1 }));
    expect(message).toMatch(/^study\.baseline\.config: unknown option "net\.layers"/);
  });

  test("has a JSON schema for editors", () => {
    expect(studySchema()).toMatchObject({
      type: "object",
      required: expect.arrayContaining(["name", "metric", "budget"]),
    });
  });
});

test.each([
  "examples/studies/tictactoe.json",
  ...["screen", "confirm", "more", "confirm-balanced", "league"].map((name) => `bench/connect4/${name}.json`),
])("%s can be run", (path) => {
  const { proposals } = resolveSpec(JSON.parse(readFileSync(join(root, path), "utf8")));
  expect(Object.keys(proposals).length).toBeGreaterThan(0);
});

test.each(["screen", "more", "confirm", "confirm-balanced", "league"])(
  "Connect Four's study %s is still the one whose results are committed",
  (study) => {
    const stored = readFileSync(join(root, `bench/results/connect4-${study}.jsonl`), "utf8").split("\n")[0]!;
    const { baseline, proposals } = JSON.parse(stored).spec;
    const today = resolveSpec(JSON.parse(readFileSync(join(root, `bench/connect4/${study}.json`), "utf8")));
    expect(today.baseline.config).toEqual(completed("selfplay", baseline.config));
    expect(Object.keys(today.proposals)).toEqual(Object.keys(proposals));
    for (const [name, { config }] of Object.entries(today.proposals)) {
      expect(config, name).toEqual(completed("selfplay", proposals[name].config));
    }
  },
);

test("an option that a stored config does not know has its general default, not that of a recipe", () => {
  const { config } = resolveSpec({
    ...valid(),
    baseline: { config: { game: { name: "connect4" } } },
    proposals: {},
  }).baseline;
  const { net, ...rest } = config as { net: { observation?: string; width: number } };
  expect(net.observation).toBe("threats"); // today's recipe
  const { observation: _, ...earlier } = net;
  const old = completed("selfplay", { ...rest, net: earlier }) as { net: unknown; run: object };
  expect(old).toEqual({ ...config, net: { ...net, observation: "stones" } });
  expect(completed({ module: "x.mjs" }, { any: 1 })).toEqual({ any: 1 });
});
