// Options between the nested objects of users and the flat entries of the engine's config. Names, types, ranges and
// defaults are the engine's (csrc/train/options.def): here is only the shape of the objects.

import { OptionError } from "./errors.js";
import { GAME_NAMES, type GameName, OPTION_ROWS, type ResolvedOptions, type SelfPlayOptions } from "./names.gen.js";
import { type NativeEntry, native, take } from "./native.js";

const LEAVES = new Map(OPTION_ROWS.map((row) => [row.path, row]));

/** Groups ("net", "rollout.opponents", ...) with the names in them. */
const GROUPS = new Map<string, string[]>();
for (const { path } of OPTION_ROWS) {
  const parts = path.split(".");
  for (let depth = 0; depth < parts.length; ++depth) {
    const group = parts.slice(0, depth).join(".");
    const names = GROUPS.get(group) ?? [];
    if (!names.includes(parts[depth]!)) names.push(parts[depth]!);
    GROUPS.set(group, names);
  }
}

/** A value in a few words, for messages. */
export function describe(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  switch (typeof value) {
    case "string":
      return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
    case "object": {
      const name: unknown = (value as object).constructor?.name;
      return typeof name === "string" && !["", "Object"].includes(name) ? `an object of class ${name}` : "an object";
    }
    case "function":
      return "a function";
    case "symbol":
      return "a symbol";
    default:
      return String(value);
  }
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  // An object literal of another realm (vm, test runner) has a prototype of its own whose prototype is null.
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

function entryOf(path: string, value: unknown): NativeEntry {
  switch (typeof value) {
    case "number":
      return { path, kind: "number", text: String(value) };
    case "boolean":
      return { path, kind: "boolean", text: String(value) };
    case "string":
      return { path, kind: "string", text: value };
    default:
      return { path, kind: "other", text: describe(value) };
  }
}

/** Appends the options of a nested object as entries. `undefined` means "not given". */
function flatten(value: Record<string, unknown>, prefix: string, entries: NativeEntry[]): void {
  for (const key of Object.keys(value)) {
    const path = prefix ? `${prefix}.${key}` : key;
    const item = value[key];
    if (item === undefined) continue;
    const names = GROUPS.get(path);
    if (names && !isPlainObject(item)) {
      const expected = `an object with ${names.join(", ")}`;
      throw new OptionError(`${path} is ${describe(item)}; it must be ${expected}`, {
        op: "options",
        path,
        received: describe(item),
        expected,
      });
    }
    if (names) flatten(item as Record<string, unknown>, path, entries);
    else if (isPlainObject(item) && !LEAVES.has(path)) refuseUnknownGroup(path, item, entries);
    else entries.push(entryOf(path, item));
  }
}

/** An object under a name that is no group: the engine refuses its first option, with a suggestion. */
function refuseUnknownGroup(path: string, item: Record<string, unknown>, entries: NativeEntry[]): void {
  const keys = Object.keys(item);
  entries.push(keys.length > 0 ? entryOf(`${path}.${keys[0]}`, "") : entryOf(path, item));
}

/** The entries of an options object. `where` names it in messages. */
export function toEntries(options: unknown, where = "options"): NativeEntry[] {
  if (!isPlainObject(options)) {
    const expected = `an object with ${GROUPS.get("")!.join(", ")}`;
    throw new OptionError(`${where} is ${describe(options)}; it must be ${expected}`, {
      op: "options",
      path: where,
      received: describe(options),
      expected,
    });
  }
  const entries: NativeEntry[] = [];
  flatten(options, "", entries);
  return entries;
}

/**
 * The entries of options that were stored in full, by this version or an earlier one: what that one did not know has
 * its general default, under which nothing changes, whatever the game's recipe says today.
 */
export function storedEntries(options: unknown, where: string): NativeEntry[] {
  const entries = toEntries(options, where);
  const known = new Set(entries.map(({ path }) => path));
  const later = OPTION_ROWS.filter(({ path }) => path !== "game.name" && !known.has(path));
  return [...later.map((row) => entryOf(row.path, row.default)), ...entries];
}

/** The game that entries name; the engine says what is wrong with a name. */
export function gameOf(entries: readonly NativeEntry[]): string {
  const entry = entries.findLast((candidate) => candidate.path === "game.name");
  const expected = GAME_NAMES.join(" or ");
  if (!entry) {
    throw new OptionError(`game.name is missing; it must be ${expected}`, {
      op: "options",
      path: "game.name",
      received: "nothing",
      expected,
    });
  }
  if (entry.kind !== "string") {
    throw new OptionError(`game.name is ${entry.text}; it must be ${expected}`, {
      op: "options",
      path: "game.name",
      received: entry.text,
      expected,
    });
  }
  return entry.text;
}

/** The nested object of resolved entries. */
export function fromEntries(entries: readonly NativeEntry[]): ResolvedOptions {
  const options: Record<string, unknown> = {};
  for (const { path, kind, text } of entries) {
    const parts = path.split(".");
    const leaf = parts.pop()!;
    let group = options;
    for (const part of parts) {
      group[part] ??= {};
      group = group[part] as Record<string, unknown>;
    }
    group[leaf] = kind === "number" ? Number(text) : kind === "boolean" ? text === "true" : text;
  }
  return options as unknown as ResolvedOptions;
}

/** Checks options and fills in what is left out: the engine's defaults, then the game's recipe. */
export function resolveEntries(entries: readonly NativeEntry[]): ResolvedOptions {
  return fromEntries(take(native().resolve(gameOf(entries), entries), "entries"));
}

/**
 * Checks options and fills in what is left out: the defaults, then the game's recipe.
 *
 * @throws {@link OptionError} for unknown names, wrong types and values out of range
 */
export function resolveOptions(options: SelfPlayOptions): ResolvedOptions {
  return resolveEntries(toEntries(options));
}

/** Options whose values differ, as entries of the first; neither changes results nor the length where `skip` says. */
export function differences(
  options: ResolvedOptions,
  other: ResolvedOptions,
  skip: readonly string[] = [],
): NativeEntry[] {
  const others = new Map(toEntries(other).map((entry) => [entry.path, entry.text]));
  return toEntries(options).filter((entry) => !skip.includes(entry.path) && others.get(entry.path) !== entry.text);
}

/** Refuses unknown keys and wrong forms of an argument object. */
export function checkArguments(value: unknown, where: string, names: readonly string[]): void {
  if (value === undefined) return;
  const expected = `an object with ${names.join(", ")}`;
  if (!isPlainObject(value)) {
    throw new OptionError(`${where} is ${describe(value)}; it must be ${expected}`, {
      op: where,
      path: where,
      received: describe(value),
      expected,
    });
  }
  for (const key of Object.keys(value)) {
    if (names.includes(key)) continue;
    throw new OptionError(`${where}: unknown option "${key}"; there are ${names.join(", ")}`, {
      op: where,
      path: `${where}.${key}`,
      received: key,
      expected: names.join(", "),
    });
  }
}

/** Refuses what is not a number in a range. */
export function checkNumber(
  value: unknown,
  path: string,
  min: number,
  max: number,
  whole: boolean,
): asserts value is number | undefined {
  if (value === undefined) return;
  const fits = typeof value === "number" && value >= min && value <= max && (!whole || Number.isInteger(value));
  if (fits) return;
  const expected = `${whole ? "an integer" : "a number"} from ${min} to ${max}`;
  throw new OptionError(`${path} is ${describe(value)}; it must be ${expected}`, {
    op: path.split(".")[0],
    path,
    received: describe(value),
    expected,
  });
}

export type { GameName, ResolvedOptions, SelfPlayOptions };
