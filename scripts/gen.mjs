// Writes what follows from the .def tables: lib/names.gen.ts (names, types, option rows), docs/options.md and the
// headers that include every game (csrc/games/games.gen.h, csrc/kernels/games.gen.h).
//
//   node scripts/gen.mjs           writes the files
//   node scripts/gen.mjs --check   fails when a file is not what it would write

import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

// ---- reading ----

/** The macro lines of a .def file: [{ macro, args, line }]. Strings lose their quotes. */
export function parseDef(text, file) {
  const rows = [];
  text.split("\n").forEach((source, index) => {
    const line = source.trim();
    if (line === "" || line.startsWith("//")) return;
    const call = /^([A-Z]+)\((.*)\)$/.exec(line);
    if (!call) throw new Error(`${file}:${index + 1}: not a macro line: ${line}`);
    const args = [...call[2].matchAll(/\s*("(?:[^"\\]|\\.)*"|[^",\s][^",]*)\s*(?:,|$)/g)].map(([, arg]) =>
      arg.startsWith('"') ? JSON.parse(arg) : arg.trim(),
    );
    rows.push({ macro: call[1], args, line: index + 1 });
  });
  return rows;
}

function readDef(file) {
  return parseDef(readFileSync(join(root, file), "utf8"), file);
}

function fail(file, line, problem) {
  throw new Error(`${file}:${line}: ${problem}`);
}

/** Options, games and recipes as data, checked. */
export function readTables() {
  const games = readDef("csrc/games/list.def").map(({ args: [name, title] }) => ({ name, title }));
  const file = "csrc/train/options.def";
  const options = readDef(file).map(({ macro, args, line }) => {
    const [, path] = args;
    if (macro === "INT" || macro === "REAL") {
      const [initial, min, max] = args.slice(2, 5).map(Number);
      if (args.length !== 6 || ![initial, min, max].every(Number.isFinite)) fail(file, line, "wrong arguments");
      if (initial < min || initial > max) fail(file, line, `the default of ${path} is out of its range`);
      return { path, type: macro === "INT" ? "integer" : "number", default: initial, min, max, doc: args[5] };
    }
    if (macro === "BOOL") {
      if (args.length !== 4) fail(file, line, "wrong arguments");
      return { path, type: "boolean", default: args[2] === "1", doc: args[3] };
    }
    if (macro === "ENUM") {
      if (args.length !== 5) fail(file, line, "wrong arguments");
      const values = args[3] === "BW_GAME_NAMES" ? games.map((game) => game.name) : args[3].split("|");
      const initial = values[Number(args[2])];
      if (initial === undefined) fail(file, line, `the default of ${path} is none of its names`);
      return { path, type: "enum", default: initial, values, doc: args[4] };
    }
    if (macro === "TEXT") {
      if (args.length !== 3) fail(file, line, "wrong arguments");
      return { path, type: "text", default: "", doc: args[2] };
    }
    return fail(file, line, `unknown macro ${macro}`);
  });
  const paths = new Set(options.map((option) => option.path));
  if (paths.size !== options.length) throw new Error(`${file}: an option stands twice`);
  const recipesFile = "csrc/train/recipes.def";
  const recipes = readDef(recipesFile).map(({ args: [game, path, text], line }) => {
    if (!games.some(({ name }) => name === game)) fail(recipesFile, line, `unknown game ${game}`);
    const option = options.find((candidate) => candidate.path === path);
    if (!option) fail(recipesFile, line, `unknown option ${path}`);
    return { game, path, value: parseValue(option, text) };
  });
  const playersFile = "csrc/judge/players/players.def";
  const players = readDef(playersFile).map(({ args, line }) => {
    const [, name, strength, ...rest] = args;
    const [initial, least, most] = rest.slice(0, 3).map(Number);
    if (args.length !== 7 || ![initial, least, most].every(Number.isInteger))
      fail(playersFile, line, "wrong arguments");
    if (initial < least || initial > most) fail(playersFile, line, `the default of ${name} is out of its range`);
    const ranged = strength !== "";
    return { kind: name, strength: ranged ? strength : null, default: initial, min: least, max: most, doc: rest[3] };
  });
  return { games, options, recipes, players };
}

function parseValue(option, text) {
  if (option.type === "enum" || option.type === "text") return text;
  if (option.type === "boolean") return text === "true";
  return Number(text);
}

// ---- writing ----

const pascal = (word) => word[0].toUpperCase() + word.slice(1);
const literal = (value) => JSON.stringify(value);

/** "rollout.opponents.sampling" -> "OpponentsSampling" */
function typeName(path) {
  return path.split(".").slice(-2).map(pascal).join("");
}

function typeOf(option) {
  if (option.type === "enum") return typeName(option.path);
  if (option.type === "text") return "string";
  return option.type === "boolean" ? "boolean" : "number";
}

function allowed(option) {
  if (option.type === "enum") return `one of ${option.values.join(", ")}`;
  if (option.type === "boolean") return "true or false";
  if (option.type === "text") return "text";
  return `${option.type === "integer" ? "an integer" : "a number"} from ${option.min} to ${option.max}`;
}

const initial = (option) => (option.type === "text" ? '""' : option.default);

// "mlp: ..." stays as it is: a name, not a word.
const sentence = (doc) => `${/^\w+:/.test(doc) ? doc : pascal(doc)}.`;

/** Options as nested objects: { net: { kind: option, ... }, ... } */
function tree(options) {
  const top = {};
  for (const option of options) {
    const words = option.path.split(".");
    let node = top;
    for (const word of words.slice(0, -1)) {
      node[word] ??= {};
      node = node[word];
    }
    node[words.at(-1)] = option;
  }
  return top;
}

const isOption = (node) => typeof node.path === "string";

function interfaces(name, node, doc) {
  const inner = [];
  const lines = [`/** ${doc} */`, `export interface ${name} {`];
  for (const [key, child] of Object.entries(node)) {
    if (isOption(child)) {
      lines.push(
        `  /** ${sentence(child.doc)} ${pascal(allowed(child))}; default ${initial(child)}. */`,
        `  ${key}: ${typeOf(child)};`,
      );
    } else {
      inner.push(...interfaces(`${pascal(key)}Options`, child, `Options \`${key}\`.`), "");
      lines.push(`  ${key}: ${pascal(key)}Options;`);
    }
  }
  return [...inner, ...lines, "}"];
}

export function renderTypes({ games, options, recipes, players }) {
  const out = [
    "// Generated by scripts/gen.mjs from csrc/train/options.def, csrc/train/recipes.def, csrc/games/list.def and",
    "// csrc/judge/players/players.def.",
    "// Do not edit: change the tables and run `npm run gen`.",
    "",
    "/** Names of the games, as typed by users. */",
    `export const GAME_NAMES = ${literal(games.map((game) => game.name))} as const;`,
    "",
    "/** Names of the games for people. */",
    `export const GAME_TITLES: Readonly<Record<GameName, string>> = ${literal(Object.fromEntries(games.map((g) => [g.name, g.title])))};`,
    "",
  ];
  for (const option of options.filter(({ type }) => type === "enum")) {
    const union = option.values.map(literal).join(" | ");
    out.push(`/** \`${option.path}\`: ${option.doc}. */`, `export type ${typeName(option.path)} = ${union};`, "");
  }
  for (const [group, node] of Object.entries(tree(options))) {
    out.push(...interfaces(`${pascal(group)}Options`, node, `Options \`${group}\`.`), "");
  }
  out.push("/** Every option of a self-play run with its value. */", "export interface ResolvedOptions {");
  for (const group of Object.keys(tree(options))) out.push(`  ${group}: ${pascal(group)}Options;`);
  out.push(
    "}",
    "",
    "type DeepPartial<T> = { [K in keyof T]?: (T[K] extends object ? DeepPartial<T[K]> : T[K]) | undefined };",
    "",
    "/** Options of a self-play run as users give them: what is left out has its default. */",
    "export type SelfPlayOptions = DeepPartial<ResolvedOptions>;",
    "",
    "/** One option as data, for help texts and tables. */",
    "export interface OptionRow {",
    "  readonly path: string;",
    '  readonly type: "integer" | "number" | "boolean" | "enum" | "text";',
    "  readonly default: number | boolean | string;",
    "  /** Smallest and largest allowed value of a number; null otherwise. */",
    "  readonly min: number | null;",
    "  readonly max: number | null;",
    "  /** Allowed names of an enum; null otherwise. */",
    "  readonly values: readonly string[] | null;",
    "  readonly doc: string;",
    "}",
    "",
    "/** Every option, in the order of the tables. */",
    "export const OPTION_ROWS: readonly OptionRow[] = [",
  );
  for (const option of options) {
    const row = {
      path: option.path,
      type: option.type,
      default: option.default,
      min: option.min ?? null,
      max: option.max ?? null,
      values: option.values ?? null,
      doc: option.doc,
    };
    out.push(`  ${literal(row)},`);
  }
  out.push(
    "];",
    "",
    "/** Defaults that differ for one game, by option path. */",
    "export const GAME_DEFAULTS: Readonly<Record<GameName, Readonly<Record<string, number | boolean | string>>>> = {",
  );
  for (const { name } of games) {
    const own = recipes.filter((recipe) => recipe.game === name).map((recipe) => [recipe.path, recipe.value]);
    out.push(`  ${name}: ${literal(Object.fromEntries(own))},`);
  }
  out.push(
    "};",
    "",
    "/** A player without a network, and how strong. */",
    "export type ReferencePlayer =",
    ...players.map(({ kind, strength, ...row }, index) => {
      const range = strength
        ? `; /** ${pascal(strength)} from ${row.min} to ${row.max}; default ${row.default}. */ `
        : "";
      const field = strength ? `readonly ${strength}?: number | undefined` : "";
      return `  | { readonly kind: ${literal(kind)}${range}${field} }${index === players.length - 1 ? ";" : ""}`;
    }),
    "",
    "/** One kind of player as data. */",
    "export interface PlayerRow {",
    '  readonly kind: ReferencePlayer["kind"];',
    "  /** What its strength counts: the name of its field; null where it has none. */",
    "  readonly strength: string | null;",
    "  readonly default: number;",
    "  readonly min: number;",
    "  readonly max: number;",
    "  readonly doc: string;",
    "}",
    "",
    "/** Every player without a network. */",
    "export const PLAYER_ROWS: readonly PlayerRow[] = [",
    ...players.map((row) => `  ${literal(row)},`),
    "];",
    "",
  );
  return out.join("\n");
}

const groupTitles = {
  game: "What to learn.",
  net: "The network.",
  rollout: "How games are played to learn from.",
  league: "A league of learners in place of a pool: see [league.md](league.md).",
  ppo: "How the policy learns from them.",
  run: "Length, seed, machine and files of a run.",
};

export function renderDocs({ games, options, recipes }) {
  const cell = (text) => String(text).replaceAll("|", "\\|");
  const tuned = games.filter(({ name }) => recipes.some((recipe) => recipe.game === name));
  const out = [
    "# Options of a self-play run",
    "",
    "<!-- Generated by scripts/gen.mjs from csrc/train/options.def and recipes.def: change those and run `npm run gen`. -->",
    "",
    "The same names in TypeScript (`{ ppo: { clip: 0.1 } }`), in a `--config` file (the same as JSON) and on the command",
    "line (`--set ppo.clip=0.1`). Unknown names, wrong types and values out of range are refused. A run that has",
    "`run.minutes` ends by the clock and does not use `run.iterations`.",
    "",
    "Rules that span options: `rollout.opponents.selfShare` below 1 needs `rollout.opponents.pool` of at least 1;",
    "`ppo.chain` `ply` needs `rollout.drawReward` 0, since its sign flip holds for zero-sum rewards only; `net.value` `wdl`",
    "needs `ppo.gamma` 1 where `rollout.drawReward` is not 0; `ppo.klTarget` needs a `ppo.klCoef` to start from;",
    "`rollout.starts.listShare` needs `rollout.starts.file`, and `rollout.opponents.pinnedShare` `rollout.opponents.pinned`.",
    "With `league.enabled` the options `selfShare`, `pool`, `every`, `sampling`, `eviction` and `temperature` of",
    "`rollout.opponents` are not used; `league.selfShare` and `exploiterShare` are at most 1 together, `minIterations` at",
    "most `maxIterations`.",
    "Names of files are taken from the directory in which a run is started or gone on with; checkpoints hold the SHA-256 of",
    "each file, and a run does not go on with other content.",
    "",
  ];
  for (const group of Object.keys(tree(options))) {
    out.push(`## ${group}`, "", groupTitles[group] ?? "", "");
    out.push(
      `| option | allowed | default |${tuned.map(({ name }) => ` ${name} |`).join("")} meaning |`,
      `|---|---|---|${tuned.map(() => "---|").join("")}---|`,
    );
    for (const option of options.filter(({ path }) => path.startsWith(`${group}.`))) {
      const own = tuned.map(({ name }) =>
        recipes.find((recipe) => recipe.game === name && recipe.path === option.path),
      );
      const columns = own.map((recipe) => ` ${recipe ? `\`${recipe.value}\`` : ""} |`).join("");
      out.push(
        `| \`${option.path}\` | ${cell(allowed(option))} | \`${initial(option)}\` |${columns} ${cell(sentence(option.doc))} |`,
      );
    }
    out.push("");
  }
  return out.join("\n");
}

function renderRules({ games }) {
  const includes = games.map(({ name }) => `#include "${name}.h"`).sort();
  return `// Generated from games/list.def by \`npm run gen\`; do not edit.
// The rules of every game.
#ifndef BW_GAMES_GAMES_GEN_H
#define BW_GAMES_GAMES_GEN_H

${includes.join("\n")}

#endif
`;
}

function renderRollouts({ games }) {
  const parts = games.map(
    ({ name }) => `#define BW_GAME ${name}\n#include "playouts.k.h"\n#include "rollout.k.h"\n#undef BW_GAME\n`,
  );
  return `// Generated from games/list.def by \`npm run gen\`; do not edit.
// The kernels of every game.

${parts.join("\n")}`;
}

/** Path and contents of every generated file. */
export function outputs() {
  const tables = readTables();
  return [
    ["lib/names.gen.ts", renderTypes(tables)],
    ["docs/options.md", renderDocs(tables)],
    ["csrc/games/games.gen.h", renderRules(tables)],
    ["csrc/kernels/games.gen.h", renderRollouts(tables)],
  ];
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const check = process.argv.includes("--check");
  let stale = 0;
  for (const [path, text] of outputs()) {
    if (!check) {
      writeFileSync(join(root, path), text);
      continue;
    }
    let present = "";
    try {
      present = readFileSync(join(root, path), "utf8");
    } catch {
      // Absent is stale.
    }
    if (present !== text) {
      console.error(`${path} is stale: run \`npm run gen\``);
      stale += 1;
    }
  }
  process.exitCode = stale > 0 ? 1 : 0;
}
