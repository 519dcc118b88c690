// Options of a run from the command line: --config FILE, --set path=value, and flags that are short for some of them.

import { readFile } from "node:fs/promises";
import { ioError, OptionError } from "../errors.js";
import { GAME_DEFAULTS, GAME_NAMES, OPTION_ROWS } from "../names.gen.js";
import type { NativeEntry } from "../native.js";
import { toEntries } from "../options.js";
import { usage } from "./output.js";

export interface OptionFlags {
  readonly config?: string;
  readonly set?: readonly string[];
}

/** Collects a repeatable option. */
export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}

/** An option whose value was typed: JSON numbers and booleans are such, everything else is text. */
export function typedEntry(path: string, text: string): NativeEntry {
  let value: unknown = text;
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "number" || typeof parsed === "boolean") value = parsed;
  } catch {
    // Text.
  }
  const kind = typeof value as "number" | "boolean" | "string";
  return { path, kind, text: String(value) };
}

function setEntry(text: string): NativeEntry {
  const equals = text.indexOf("=");
  if (equals <= 0) {
    throw usage(`--set ${text}: it must be path=value, for example --set ppo.lr=0.001`, "--set", text, "path=value");
  }
  return typedEntry(text.slice(0, equals).trim(), text.slice(equals + 1).trim());
}

async function configEntries(path: string): Promise<NativeEntry[]> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw ioError(error, path, "cannot read the config");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new OptionError(`${path} is not JSON: ${(error as Error).message}`, {
      op: "config",
      path,
      received: "text that is not JSON",
      expected: "a JSON object with game, net, rollout, ppo, run",
      cause: error,
    });
  }
  return toEntries(value, path);
}

/** What --config and --set say, later ones over earlier ones. */
export async function optionEntries(flags: OptionFlags): Promise<NativeEntry[]> {
  const entries = flags.config === undefined ? [] : await configEntries(flags.config);
  return [...entries, ...(flags.set ?? []).map(setEntry)];
}

/** The game first: its recipe gives the defaults. */
export function withGame(game: string, entries: readonly NativeEntry[]): NativeEntry[] {
  return [{ path: "game.name", kind: "string", text: game }, ...entries];
}

/** The table of options for help texts. */
export function optionTable(): string {
  const width = Math.max(...OPTION_ROWS.map((row) => row.path.length));
  const lines: string[] = ["Options of a run (--set path=value, or nested in a --config file):"];
  let group = "";
  for (const row of OPTION_ROWS) {
    const [head = ""] = row.path.split(".");
    if (head !== group) lines.push("");
    group = head;
    const range = row.min === null ? "true|false" : `${row.min}..${row.max}`;
    const allowed = row.type === "text" ? "text" : (row.values?.join("|") ?? range);
    const recipes = GAME_NAMES.filter((game) => row.path in GAME_DEFAULTS[game]).map(
      (game) => `, ${GAME_DEFAULTS[game][row.path]} for ${game}`,
    );
    lines.push(
      `  ${row.path.padEnd(width)}  ${row.doc} [${allowed}; default ${row.type === "text" ? '""' : row.default}${recipes.join("")}]`,
    );
  }
  return lines.join("\n");
}
