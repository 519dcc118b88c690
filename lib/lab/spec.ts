// What a study is before its first run: the settings that are compared, what is expected of each, the metric, the seeds
// and the budget. It is plain JSON, checked here once, and never changes after the study has begun.

import { createHash } from "node:crypto";
import { z } from "zod";
import { OptionError } from "../errors.js";
import { OPTION_ROWS } from "../index.js";
import { selfPlayOptions } from "./objectives/selfplay.js";
import type { Budget, Config, Limits, Metric, ObjectiveSource } from "./task.js";

/** A change that a study tries, as its user writes it. */
export interface ProposalSpec {
  /** Merged over the baseline's config: objects name by name, everything else replaced. */
  readonly change: Config;
  /** What is expected, and why; written before the first run. */
  readonly hypothesis: string;
  /** What kind of idea it is, for example `optimizer` or `architecture`. */
  readonly category?: string | undefined;
  /**
   * `shared`: pair i of both arms has the same seed. `own`: the proposal has seeds of its own, so that even the same
   * settings give other numbers; what a control wants. Default `shared`.
   */
  readonly seeds?: "shared" | "own" | undefined;
}

/** A study, as its user writes it. What is left out has the defaults of {@link Spec}. */
export interface StudySpec {
  /** For editors; ignored. */
  readonly $schema?: string | undefined;
  /** Names the study in its lab: letters, digits, `.`, `_` and `-`. */
  readonly name: string;
  /** What computes a run. Default `selfplay`. A module's path is relative to the study's file. */
  readonly objective?:
    | "selfplay"
    | "function"
    | { readonly module: string; readonly export?: string | undefined }
    | undefined;
  readonly metric: {
    /** Dotted name in a report, for example `evaluation.certificate.sampled.exploitability`. */
    readonly name: string;
    readonly goal: "minimize" | "maximize";
    /** `final`, or the mean of the last k reports that have it. Default `final`. */
    readonly summary?: "final" | { readonly last: number } | undefined;
    /** Gains smaller than this, either way, do not matter: arms that differ by less are equivalent. */
    readonly delta?: number | undefined;
  };
  /** The length of a run: exactly one of the three. */
  readonly budget: Budget;
  readonly baseline: { readonly config: Config };
  readonly proposals?: Readonly<Record<string, ProposalSpec>> | undefined;
  readonly seeds?:
    | {
        /** The first seed. Default 1. */
        readonly first?: number | undefined;
        /** Pairs before the first look. Default 3. */
        readonly min?: number | undefined;
        /** Pairs at most. Default 16. */
        readonly max?: number | undefined;
      }
    | undefined;
  /** A/A runs of the baseline that measure the noise first. Default 8; 0 leaves them out. */
  readonly noise?: { readonly runs: number } | undefined;
  /** The chance that the study, over all of its proposals, calls any change an improvement or a harm that is none. */
  readonly alpha?: number | undefined;
  /** How many proposals the study may try, those added later included; `alpha` is shared among them. */
  readonly family?: number | undefined;
  readonly limits?: Limits | undefined;
  /** Tries of a run that failed for a reason which may not come again. Default 3. */
  readonly attempts?: number | undefined;
}

/** A proposal with everything filled in. */
export interface Proposal {
  readonly config: Config;
  readonly hypothesis: string;
  readonly category: string;
  readonly seeds: "shared" | "own";
  /** Hash of what a run of it computes, whatever the seed. */
  readonly fingerprint: string;
}

/** A study with everything filled in. */
export interface Spec {
  readonly name: string;
  readonly objective: ObjectiveSource | "function";
  /** SHA-256 of the objective's module; null for those that come with bellows or with the caller. */
  readonly objectiveHash: string | null;
  readonly metric: Metric & { readonly delta: number | null };
  readonly budget: Budget;
  readonly baseline: { readonly config: Config; readonly fingerprint: string };
  readonly proposals: Readonly<Record<string, Proposal>>;
  readonly seeds: { readonly first: number; readonly min: number; readonly max: number };
  readonly noise: { readonly runs: number };
  readonly alpha: number;
  readonly family: number;
  readonly limits: Limits;
  readonly attempts: number;
}

/** The arm that proposals are compared with. */
export const BASELINE = "baseline";

/** Where the seeds of each kind begin, after the study's first: so far apart that they never meet. */
const SEED_BLOCKS = { own: 1_000_000_000, noise: 2_000_000_000 } as const;

/** Seeds of one comparison at most. */
const PAIRS = 1000;

// Each field says what it must be, for the error's `expected`.

function integer(min: number, max: number) {
  const expected = `an integer from ${min} to ${max}`;
  return z.number(expected).int(expected).min(min, expected).max(max, expected);
}

function positive(what: string) {
  const expected = `${what} above 0`;
  return z.number(expected).positive(expected).finite(expected);
}

function nonEmpty(expected: string, longest = 2000) {
  return z.string(expected).trim().min(1, expected).max(longest, `${expected} of at most ${longest} characters`);
}

const NAME = "1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit";
const name = z.string(NAME).regex(/^[A-Za-z0-9][\w.-]{0,63}$/, NAME);

const JSON_OBJECT = "an object of JSON values";
const config = z.record(z.string(), z.json(), JSON_OBJECT);

const proposal = z.strictObject(
  {
    change: config,
    hypothesis: nonEmpty("a sentence that says what is expected, and why"),
    category: nonEmpty("a word such as optimizer", 64).optional(),
    seeds: z.enum(["shared", "own"], "shared or own").optional(),
  },
  "an object with change, hypothesis, category, seeds",
);

const budget = z
  .strictObject(
    {
      iterations: integer(1, 100_000_000).optional(),
      seconds: positive("a number of seconds").optional(),
      flops: positive("a number of operations").optional(),
    },
    "an object with one of iterations, seconds, flops",
  )
  .refine(
    (value) => Object.values(value).filter((item) => item !== undefined).length === 1,
    "exactly one of iterations, seconds, flops",
  );

const study = z.strictObject(
  {
    $schema: z.string("a string").optional(),
    name,
    objective: z
      .union(
        [
          z.enum(["selfplay", "function"]),
          z.strictObject({
            module: nonEmpty("the path of a module"),
            export: nonEmpty("the name of an export").optional(),
          }),
        ],
        'selfplay, or an object such as {"module": "./objective.mjs", "export": "default"}',
      )
      .default("selfplay"),
    metric: z.strictObject(
      {
        name: nonEmpty("the dotted name of a reported number", 200),
        goal: z.enum(["minimize", "maximize"], "minimize or maximize"),
        summary: z
          .union(
            [z.literal("final"), z.strictObject({ last: integer(1, 1_000_000) })],
            'final, or {"last": k} with k from 1',
          )
          .default("final"),
        delta: positive("a number").optional(),
      },
      "an object with name, goal, summary, delta",
    ),
    budget,
    baseline: z.strictObject({ config }, "an object with config"),
    proposals: z.record(name, proposal, "an object with a proposal under each name").default({}),
    seeds: z
      .strictObject(
        {
          first: integer(0, 2 ** 52).default(1),
          min: integer(2, PAIRS).default(3),
          max: integer(2, PAIRS).default(16),
        },
        "an object with first, min, max",
      )
      .prefault({}),
    noise: z.strictObject({ runs: integer(0, 1000) }, "an object with runs").default({ runs: 8 }),
    alpha: z
      .number("a number from 0.0001 to 0.5")
      .min(0.0001, "a number from 0.0001 to 0.5")
      .max(0.5, "a number from 0.0001 to 0.5")
      .default(0.05),
    family: integer(1, 1_000_000).optional(),
    limits: z
      .strictObject(
        {
          memory: positive("a number of MiB").optional(),
          seconds: positive("a number of seconds").optional(),
          heartbeat: positive("a number of seconds").optional(),
        },
        "an object with memory, seconds, heartbeat",
      )
      .default({}),
    attempts: integer(1, 100).default(3),
  },
  "an object with name, metric, budget, baseline, proposals",
);

function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function refuse(path: string, received: string, expected: string): never {
  throw new OptionError(`${path} is ${received}; it must be ${expected}`, { op: "study", path, received, expected });
}

/** The value of a schema, or an {@link OptionError} for the first thing that is wrong with it. */
function parsed<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const path = [where, ...issue.path.map(String)].join(".");
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0]!;
    const allowed = allowedKeys(schema, issue.path);
    refuse(`${path}.${key}`, "unknown", allowed.length > 0 ? `one of ${allowed.join(", ")}` : "left out");
  }
  const at = issue.path.reduce<unknown>(
    (item, key) => (item as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  );
  // A name of a record that is no name: what it should be is in the issue below.
  const inner = issue.code === "invalid_key" ? issue.issues[0] : undefined;
  refuse(path, inner ? "a bad name" : shown(at), inner?.message ?? issue.message);
}

/** The names that an object of a schema may have. */
function allowedKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let at: unknown = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  for (const key of path) {
    const node = at as { properties?: Record<string, unknown>; additionalProperties?: unknown };
    at = node.properties?.[String(key)] ?? node.additionalProperties;
  }
  return Object.keys((at as { properties?: object } | undefined)?.properties ?? {});
}

/** JSON with the names of every object in order, so that equal values have equal text. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    typeof item === "object" && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
}

/** SHA-256 of a value's canonical JSON. */
export function hashOf(value: unknown): string {
  return createHash("sha256").update(canonical(value)).digest("hex");
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** One config over another: objects name by name, everything else replaced. */
export function merged(base: Config, change: Config): Config {
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(change)) {
    const below = result[key];
    result[key] = isObject(below) && isObject(value) ? merged(below, value) : value;
  }
  return result;
}

/**
 * A config as it was stored in full, maybe by an earlier version: options that it did not know have their general default,
 * under which nothing changes, whatever a game's recipe says today.
 */
export function completed(objective: Spec["objective"], config: Config): Config {
  if (objective !== "selfplay") return config;
  // The game is there, and seed and length are the run's.
  const others = ["game.name", "run.seed", "run.iterations", "run.minutes"];
  const rows = OPTION_ROWS.filter(({ path }) => !others.includes(path));
  const defaults = rows.map((row) =>
    row.path.split(".").reduceRight<unknown>((value, name) => ({ [name]: value }), row.default),
  );
  return [...(defaults as Config[]), config].reduce(merged, {});
}

/**
 * Settings with everything filled in, so that a later version's defaults do not change what a study goes on with. The
 * seed and the length stay out: they are the study's. Errors name the place in the study.
 */
function resolved({ objective, budget }: Pick<Spec, "objective" | "budget">, config: Config, where: string): Config {
  if (objective !== "selfplay") return config;
  try {
    const { run, ...options } = selfPlayOptions(config, 0, budget);
    const { seed: _, iterations: __, minutes: ___, ...others } = run;
    return { ...options, run: others };
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    const path = error.path ? `${where}.${error.path.replace(/^config\./, "")}` : where;
    const message = error.message.startsWith("unknown option")
      ? `${where}: ${error.message}`
      : error.message.replace(/^(config\.)?/, `${where}.`);
    throw new OptionError(message, { ...error, path, cause: error });
  }
}

/** What computes the same thing has the same fingerprint. */
function fingerprintOf(spec: Pick<Spec, "objective" | "objectiveHash" | "budget">, config: Config): string {
  return hashOf({ objective: spec.objectiveHash ?? spec.objective, budget: spec.budget, config });
}

/** A proposal against a baseline, checked and filled in. */
export function resolveProposal(
  spec: Pick<Spec, "objective" | "objectiveHash" | "budget">,
  baseline: { readonly config: Config; readonly fingerprint: string },
  given: ProposalSpec,
  where: string,
): Proposal {
  const { change, hypothesis, category, seeds } = parsed(proposal, given, where) as ProposalSpec;
  const full = resolved(spec, merged(baseline.config, change), `${where}.change`);
  const fingerprint = fingerprintOf(spec, full);
  if (fingerprint === baseline.fingerprint && seeds !== "own") {
    refuse(
      `${where}.change`,
      shown(change),
      'a change of what a run computes (a control with the same settings needs "seeds": "own")',
    );
  }
  return { config: full, hypothesis, category: category ?? "other", seeds: seeds ?? "shared", fingerprint };
}

/**
 * Checks a study and fills in what is left out.
 *
 * @param module - what a relative module means, and its content, where the objective is one
 * @throws {@link OptionError} naming the field, the value and what is allowed
 */
export function resolveSpec(given: unknown, module?: { readonly path: string; readonly hash: string }): Spec {
  const value = parsed(study, given, "study");
  const { objective } = value;
  const { min, max, first } = value.seeds;
  if (min > max) refuse("study.seeds.min", String(min), `at most seeds.max, which is ${max}`);
  const names = Object.keys(value.proposals);
  if (names.includes(BASELINE))
    refuse(`study.proposals.${BASELINE}`, "a proposal", "another name: the baseline has this one");
  const family = value.family ?? Math.max(1, names.length);
  if (family < names.length)
    refuse("study.family", String(family), `at least the ${names.length} proposals that are listed`);
  const basis = {
    objective:
      typeof objective === "string"
        ? objective
        : {
            module: module?.path ?? objective.module,
            ...(objective.export === undefined ? {} : { export: objective.export }),
          },
    objectiveHash: module?.hash ?? null,
    budget: value.budget as Budget,
  };
  const settings = value.baseline.config as Config;
  const config = resolved(basis, settings, "study.baseline.config");
  const baseline = { config, fingerprint: fingerprintOf(basis, config) };
  const proposals = Object.fromEntries(
    names.map((key) => [
      key,
      // Over the settings as they were given: what they leave out may depend on what is changed.
      resolveProposal(
        basis,
        { ...baseline, config: settings },
        value.proposals[key] as ProposalSpec,
        `study.proposals.${key}`,
      ),
    ]),
  );
  const { delta, ...metric } = value.metric;
  return {
    name: value.name,
    ...basis,
    metric: { ...metric, delta: delta ?? null },
    baseline,
    proposals,
    seeds: { first, min, max },
    noise: value.noise,
    alpha: value.alpha,
    family,
    limits: value.limits as Limits,
    attempts: value.attempts,
  };
}

/** The JSON schema of a study's file, for editors. */
export function studySchema(): object {
  return z.toJSONSchema(study, { io: "input", unrepresentable: "any" });
}

/**
 * The seeds of pair `index` (from 0) of a comparison: [baseline, proposal].
 *
 * @param block - 0 where proposals share the baseline's runs; another number for each that wants fresh ones
 */
export function pairSeeds(
  spec: Pick<Spec, "seeds">,
  seeds: "shared" | "own",
  index: number,
  block = 0,
): [number, number] {
  const seed = spec.seeds.first + block * PAIRS + index;
  return [seed, seeds === "own" ? seed + SEED_BLOCKS.own : seed];
}

/** The seed of A/A run `index` (from 0). */
export function noiseSeed(spec: Pick<Spec, "seeds">, index: number): number {
  return spec.seeds.first + SEED_BLOCKS.noise + index;
}
