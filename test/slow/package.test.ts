// The package as strangers get it: packed, checked, and installed into empty folders by every package manager, with nothing
// but node on the PATH. Needs `npm run prebuild` (or at least this machine's file in prebuilds/) and `npm run build:ts`.

import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { homedir, tmpdir } from "node:os";
import { basename, delimiter, dirname, join, relative, sep } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { targets } from "../../scripts/prebuild.mjs";
import { tool, toolFolder } from "../../scripts/tools.mjs";

const root = dirname(dirname(import.meta.dirname));
const require = createRequire(import.meta.url);

/** The most that the package may weigh, in bytes. Raise it knowingly. */
const LIMITS = { packed: 2_500_000, unpacked: 6_500_000 };

/** What lies in the package beside dist/, csrc/ and prebuilds/. */
const FILES = [
  "CHANGELOG.md",
  "CMakeLists.txt",
  "LICENSE",
  "README.md",
  "docs/architecture.md",
  "docs/figures/tictactoe.svg",
  "docs/numerics.md",
  "docs/options.md",
  "docs/packaging.md",
  "docs/tic-tac-toe.md",
  "package.json",
];

/** Links of the README that lead to files of the repository which users do not need. */
const REPOSITORY_ONLY = ["CONTRIBUTING.md", "bench/results"];

const TINY = ["--set", "net.width=16", "--set", "net.depth=1", "--set", "rollout.games=32", "--threads", "1"];

const scratch = mkdtempSync(join(tmpdir(), "bellows-package-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A folder of programs with nothing in it but this node. */
function onlyNode(node: string): string {
  const folder = mkdtempSync(join(scratch, "path-"));
  symlinkSync(realpathSync(node), join(folder, "node"));
  return folder;
}

const bare = onlyNode(process.execPath);

interface Done {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface How {
  readonly cwd: string;
  /** The whole PATH; only node where it is left out. */
  readonly path?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a program by its path. */
function run(file: string, args: readonly string[], { cwd, path = bare, env = {} }: How): Done {
  // What npm tells its scripts about this checkout must not reach the other package managers.
  const own = Object.entries(process.env).filter(([name]) => !/^(npm_|VITEST|NODE_ENV$|INIT_CWD$)/.test(name));
  const done = spawnSync(file, args, {
    cwd,
    encoding: "utf8",
    env: { ...Object.fromEntries(own), PATH: path, ...env },
    maxBuffer: 1 << 28,
  });
  if (done.error) throw done.error;
  return { code: done.status, stdout: done.stdout, stderr: done.stderr };
}

/** Runs a program that must succeed; returns its stdout. */
function succeed(file: string, args: readonly string[], how: How): string {
  const { code, stdout, stderr } = run(file, args, how);
  expect(code, `${[file, ...args].join(" ")}\n${stdout}${stderr}`).toBe(0);
  return stdout;
}

/** npm's own program: the one that runs this test, or the one beside node. */
function npm(): string {
  const beside = join(
    dirname(dirname(realpathSync(process.execPath))),
    "lib",
    "node_modules",
    "npm",
    "bin",
    "npm-cli.js",
  );
  const found = [process.env.npm_execpath ?? "", beside].find(
    (path) => basename(path) === "npm-cli.js" && existsSync(path),
  );
  if (found === undefined) throw new Error("npm was not found: start this test with `npm run test:package`");
  return found;
}

let tarball = "";
let manifest: Record<string, unknown> = {};
/** Where the tarball is unpacked: not installed, only looked at. */
const unpacked = join(scratch, "unpacked", "package");

/** The files below a folder, with / between names. */
function filesOf(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .sort();
}

/** An empty project. */
function project(fields: object = {}): string {
  const folder = mkdtempSync(join(scratch, "project-"));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "consumer", version: "1.0.0", ...fields }));
  return folder;
}

/** A project into which npm has installed the tarball. */
function installed(...flags: string[]): string {
  const folder = project({ type: "module" });
  const args = ["install", "--prefer-offline", "--no-audit", "--no-fund", ...flags, tarball];
  succeed(process.execPath, [npm(), ...args], { cwd: folder });
  return folder;
}

const prebuilt = (folder: string) => join(folder, "prebuilds", `${process.platform}-${process.arch}`);

beforeAll(() => {
  if (!existsSync(prebuilt(root))) throw new Error("no prebuild for this machine: run `npm run prebuild` first");
  const packed = succeed(
    process.execPath,
    [npm(), "pack", "--ignore-scripts", "--json", "--pack-destination", scratch],
    { cwd: root },
  );
  const [first] = Object.values(JSON.parse(packed) as Record<string, { filename: string }>);
  tarball = join(scratch, first!.filename);
  mkdirSync(dirname(unpacked));
  succeed("/bin/tar", ["-xzf", tarball, "-C", dirname(unpacked)], { cwd: scratch, path: "/usr/bin:/bin" });
  manifest = JSON.parse(readFileSync(join(unpacked, "package.json"), "utf8")) as Record<string, unknown>;
});

describe("the tarball", () => {
  test("holds these files and no others", () => {
    const modules = filesOf(join(root, "lib")).map((path) => path.replace(/\.ts$/, ""));
    const dist = modules.flatMap((name) => [
      `dist/${name}.js`,
      ...(name.startsWith("cli/") ? [] : [`dist/${name}.d.ts`]),
    ]);
    const csrc = filesOf(join(root, "csrc")).filter((path) => /\.(c|cc|h|def|json|cjs|map)$/.test(path));
    const binaries = targets.map(({ file }) => relative(root, file).split(sep).join("/"));
    const found = filesOf(unpacked);
    const wanted = [...FILES, ...dist, ...csrc.map((path) => `csrc/${path}`)];
    expect(found.filter((path) => !path.startsWith("prebuilds/"))).toEqual(wanted.sort());
    expect(found.filter((path) => path.startsWith("prebuilds/") && !binaries.includes(path))).toEqual([]);
    const missing = binaries.filter((path) => !found.includes(path));
    console.log(
      `prebuilds: ${binaries.length - missing.length} of ${binaries.length}${missing.map((path) => `, no ${path}`).join("")}`,
    );
  });

  test("weighs no more than it may", () => {
    const packedSize = statSync(tarball).size;
    const sizes = filesOf(unpacked).map((path) => statSync(join(unpacked, path)).size);
    const unpackedSize = sizes.reduce((sum, size) => sum + size, 0);
    console.log(`package: ${packedSize} bytes packed, ${unpackedSize} unpacked, ${sizes.length} files`);
    expect(packedSize).toBeLessThanOrEqual(LIMITS.packed);
    expect(unpackedSize).toBeLessThanOrEqual(LIMITS.unpacked);
  });

  test("names no folder of the machine that made it", () => {
    const folders = [root, homedir(), tmpdir()].filter((path) => path.split(sep).length > 1 && path !== sep);
    const naming = filesOf(unpacked).filter((path) => {
      const text = readFileSync(join(unpacked, path), "latin1");
      return folders.some((folder) => text.includes(`${folder}${sep}`));
    });
    expect(naming).toEqual([]);
  });

  test("has links in its README that lead somewhere", () => {
    const readme = readFileSync(join(unpacked, "README.md"), "utf8");
    const links = [...readme.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = ""]) => link);
    const local = links.filter((link) => !/^(https:|#)/.test(link)).map((link) => link.replace(/#.*/, ""));
    expect(local.length).toBeGreaterThan(0);
    const dead = local.filter((link) => !existsSync(join(unpacked, link)));
    expect(dead.filter((link) => !REPOSITORY_ONLY.includes(link))).toEqual([]);
    expect(REPOSITORY_ONLY.filter((link) => !existsSync(join(root, link)))).toEqual([]);
  });

  test("has a manifest that restricts nothing and runs nothing", () => {
    expect(manifest).toMatchObject({
      name: "bellows",
      type: "module",
      license: "MIT",
      gypfile: false,
      engines: { node: ">=20" },
      sideEffects: ["./dist/cli/main.js"],
    });
    for (const field of ["os", "cpu", "libc", "bundleDependencies", "private"])
      expect(manifest).not.toHaveProperty(field);
    const scripts = Object.keys(manifest.scripts as object);
    const atInstall = ["preinstall", "install", "postinstall"];
    expect(scripts.filter((name) => atInstall.includes(name))).toEqual([]);
    expect(existsSync(join(unpacked, "binding.gyp"))).toBe(false);
    expect(readFileSync(join(unpacked, "dist/cli/main.js"), "utf8")).toMatch(/^#!\/usr\/bin\/env node\n/);
  });

  test("passes publint, in strict mode", async () => {
    const { publint } = (await import(tool("publint"))) as {
      publint(options: object): Promise<{ messages: { type: string }[] }>;
    };
    const { messages } = await publint({ pkgDir: unpacked, pack: false, strict: true });
    expect(messages).toEqual([]);
  });

  test("passes are-the-types-wrong", () => {
    const attw = join(toolFolder("@arethetypeswrong/cli"), "dist", "index.js");
    const args = [attw, tarball, "--profile", "esm-only", "--format", "json", "--no-definitely-typed"];
    const { analysis } = JSON.parse(succeed(process.execPath, args, { cwd: scratch })) as {
      analysis: { problems: { kind: string; resolutionKind?: string }[]; types: unknown };
    };
    expect(analysis.types).toMatchObject({ kind: "included" });
    // ESM only: what a CommonJS file or the resolution of before 2016 would find is left out, as by the profile.
    const others = analysis.problems.filter(({ resolutionKind = "" }) => !/node10|node16-cjs/.test(resolutionKind));
    expect(others).toEqual([]);
  });
});

const ESM = `
  import { NoBinaryError, SelfPlay } from "bellows";
  const run = await SelfPlay.create({ game: { name: "tictactoe" }, net: { width: 16, depth: 1 },
                                      rollout: { games: 32 }, run: { threads: 1, iterations: 3 } });
  let games = 0;
  for await (const iteration of run.train()) games += iteration.games;
  const { exploitability } = (await run.evaluate()).certificate.argmax;
  await run.close();
  console.log(JSON.stringify({ games, number: Number.isFinite(exploitability), typed: NoBinaryError.name }));
`;

/** Node binaries from the registry exist for x64 Linux; elsewhere the node that runs this test is the only one. */
const nodes: [string, () => string][] =
  process.platform === "linux" && process.arch === "x64"
    ? ["node-20-oldest", "node-20", "node-22", "node-24"].map((name) => [
        name,
        () => join(toolFolder(name), "bin", "node"),
      ])
    : [[process.version, () => process.execPath]];

describe("installed by npm with scripts off and only node on the PATH", () => {
  let folder = "";
  beforeAll(() => {
    folder = installed("--ignore-scripts");
    writeFileSync(join(folder, "main.mjs"), ESM);
  });

  describe.each(nodes)("%s", (_name, binary) => {
    let node = "";
    let path = "";
    beforeAll(() => {
      node = binary();
      path = onlyNode(node);
    });
    const out = (args: readonly string[]) => succeed(node, args, { cwd: folder, path });
    const atLeast = (...wanted: [number, number]) => {
      const [major = 0, minor = 0] = out(["-p", "process.versions.node"]).split(".").map(Number);
      return major > wanted[0] || (major === wanted[0] && minor >= wanted[1]);
    };

    test("trains from a module", () => {
      expect(JSON.parse(out(["main.mjs"]))).toEqual({ games: 96, number: true, typed: "NoBinaryError" });
    });

    // Node drops an addon with the last environment that used it, and the process ends after that.
    test("a worker trains and ends, then the process does", () => {
      const source = `import { Worker, isMainThread } from "node:worker_threads";
        if (isMainThread) for (let i = 0; i < 3; ++i) {
          await new Promise((resolve) => new Worker(new URL(import.meta.url)).on("exit", (code) => resolve(console.log(code))));
        } else await import("./main.mjs");`;
      writeFileSync(join(folder, "worker.mjs"), source);
      const lines = out(["worker.mjs"]).trim().split("\n");
      expect(lines.filter((line) => line === "0")).toHaveLength(3);
      expect(lines).toHaveLength(6);
    });

    test("require() gives the same, where node can require modules", () => {
      const source = `const b = require("bellows"); console.log(typeof b.SelfPlay.create)`;
      const { code, stdout, stderr } = run(node, ["--no-warnings", "-e", source], { cwd: folder, path });
      if (atLeast(20, 19) && !(atLeast(22, 0) && !atLeast(22, 12))) {
        expect({ code, stdout: stdout.trim() }).toEqual({ code: 0, stdout: "function" });
      } else {
        expect({ code, reason: /ERR_REQUIRE_ESM/.test(stderr) }).toEqual({ code: 1, reason: true });
      }
    });

    test("only what is exported can be imported", () => {
      const source = `for (const name of ["bellows/dist/native.js", "bellows/dist/index.js", "bellows/csrc/sources.json"])
          await import(name).then(() => console.log("imported"), (error) => console.log(error.code));
        const { createRequire } = await import("node:module");
        console.log(createRequire(process.cwd() + "/main.mjs")("bellows/package.json").version);`;
      const refused = "ERR_PACKAGE_PATH_NOT_EXPORTED\n".repeat(3);
      expect(out(["--no-warnings", "--input-type=module", "-e", source])).toBe(`${refused}${manifest.version}\n`);
    });

    test("the command trains and informs", () => {
      const command = join(folder, "node_modules", ".bin", "bellows");
      const info = JSON.parse(succeed(command, ["info", "--json"], { cwd: folder, path })) as Record<string, string>;
      expect(info).toMatchObject({ type: "result", version: manifest.version });
      expect(info.binary).toContain(prebuilt(join(realpathSync(folder), "node_modules", "bellows")));
      const out = mkdtempSync(join(scratch, "run-"));
      const args = ["train", "tictactoe", "--iterations", "3", ...TINY, "--out", out, "--json"];
      const lines = succeed(command, args, { cwd: folder, path }).trim().split("\n");
      expect(JSON.parse(lines.at(-1)!)).toMatchObject({ type: "result", iterations: 3 });
    });
  });

  test("npx finds the command", () => {
    const npx = join(dirname(npm()), "npx-cli.js");
    // npx starts commands by a shell, which it looks for on the PATH.
    symlinkSync("/bin/sh", join(bare, "sh"));
    expect(succeed(process.execPath, [npx, "bellows", "--version"], { cwd: folder }).trim()).toBe(manifest.version);
  });

  test.each(["typescript", "typescript-5"])("its types serve strict consumers of %s", (compiler) => {
    const tsc =
      compiler === "typescript"
        ? join(dirname(require.resolve("typescript/package.json")), "bin", "tsc")
        : join(toolFolder(compiler), "bin", "tsc");
    const types = join(dirname(require.resolve("@types/node/package.json")), "..");
    writeFileSync(
      join(folder, "consumer.ts"),
      `import { BellowsError, NoBinaryError, SelfPlay, type Iteration, type TriedBinary } from "bellows";
       export async function train(): Promise<Iteration[]> {
         await using run = await SelfPlay.create({ game: { name: "tictactoe" }, run: { seed: 1 } });
         const rows: Iteration[] = [];
         for await (const row of run.train()) rows.push(row);
         const loss: number = rows[0]!.loss.policy;
         // @ts-expect-error no such game
         await SelfPlay.create({ game: { name: "chess" } });
         // @ts-expect-error no such option
         await SelfPlay.create({ game: { name: "tictactoe" }, run: { sed: 1 } });
         // @ts-expect-error a number
         const text: string = loss;
         return text === "" ? [] : rows;
       }
       export function why(error: unknown): readonly TriedBinary[] {
         if (error instanceof NoBinaryError) return error.tried;
         throw error instanceof BellowsError ? new Error(error.code satisfies string) : error;
       }
       // @ts-expect-error not exported
       export type { NativeAddon } from "bellows/dist/native.js";
      `,
    );
    const withNode = { lib: ["ES2023"], types: ["node"], typeRoots: [types] };
    for (const [module, moduleResolution, libraries] of [
      ["NodeNext", "NodeNext", withNode],
      ["ESNext", "Bundler", withNode],
      ["NodeNext", "NodeNext", { types: [] }], // what a folder has that holds nothing but this package
    ] as const) {
      // Without skipLibCheck, so that the declarations of the package are checked too.
      const options = {
        ...{ strict: true, noEmit: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
        ...{ target: "ES2022", module, moduleResolution, ...libraries },
      };
      const config = join(folder, "tsconfig.json");
      writeFileSync(config, JSON.stringify({ compilerOptions: options, files: ["consumer.ts"] }));
      const { code, stdout } = run(process.execPath, [tsc, "-p", config], { cwd: folder });
      expect({ moduleResolution, code, stdout }).toEqual({ moduleResolution, code: 0, stdout: "" });
    }
  });
});

describe("installed with scripts allowed", () => {
  test("nothing is built", () => {
    const folder = installed("--foreground-scripts");
    expect(filesOf(join(folder, "node_modules", "bellows"))).toEqual(filesOf(unpacked));
  });

  interface Manager {
    readonly name: string;
    readonly files?: Readonly<Record<string, string>>;
    readonly install: () => readonly string[];
    /** How node is started so that it finds the package. */
    readonly start?: (folder: string) => readonly string[];
  }
  const berry = () => join(toolFolder("@yarnpkg/cli-dist"), "bin", "yarn.js");
  const berryFiles = (linker: string) => ({
    "yarn.lock": "",
    ".yarnrc.yml": `nodeLinker: ${linker}\nenableTelemetry: false\nenableScripts: true\nenableGlobalCache: false\n`,
  });
  const bun = () => join(toolFolder("@oven/bun-linux-x64-baseline"), "bin", "bun");
  const managers: Manager[] = [
    {
      name: "pnpm",
      install: () => [process.execPath, join(toolFolder("pnpm"), "bin", "pnpm.cjs"), "add", tarball],
      files: { "pnpm-workspace.yaml": "dangerouslyAllowAllBuilds: true\n" },
    },
    {
      name: "yarn 1",
      install: () => [
        process.execPath,
        join(toolFolder("yarn-classic"), "bin", "yarn.js"),
        "add",
        "--non-interactive",
        tarball,
      ],
    },
    {
      name: "yarn 4 with node_modules",
      files: berryFiles("node-modules"),
      install: () => [process.execPath, berry(), "add", `bellows@file:${tarball}`],
    },
    {
      name: "yarn 4 with Plug'n'Play",
      files: berryFiles("pnp"),
      install: () => [process.execPath, berry(), "add", `bellows@file:${tarball}`],
      start: (folder) => ["--require", join(folder, ".pnp.cjs"), "--loader", join(folder, ".pnp.loader.mjs")],
    },
  ];
  if (process.platform === "linux" && process.arch === "x64") {
    managers.push({ name: "bun", install: () => [bun(), "add", "--trust", tarball] });
  }

  test.each(managers)("by $name: nothing is built, and it trains", ({ files = {}, install, start }) => {
    const folder = project({ type: "module" });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const [program = "", ...args] = install();
    succeed(program, args, { cwd: folder });
    writeFileSync(join(folder, "main.mjs"), ESM);
    const flags = start?.(folder) ?? [];
    const out = succeed(process.execPath, ["--no-warnings", ...flags, "main.mjs"], { cwd: folder });
    expect(JSON.parse(out)).toMatchObject({ games: 96 });
    const built = filesOf(folder).filter((path) => /(^|\/)build\/Release\//.test(path));
    expect(built).toEqual([]);
  });

  test.runIf(process.platform === "linux" && process.arch === "x64")("bun itself runs it", () => {
    const folder = installed("--ignore-scripts");
    writeFileSync(join(folder, "main.mjs"), ESM);
    expect(JSON.parse(succeed(bun(), ["main.mjs"], { cwd: folder }))).toMatchObject({ games: 96 });
  });
});

describe("where no prebuild fits", () => {
  test("the page's command builds from source, as it stands there", () => {
    const folder = installed("--ignore-scripts");
    rmSync(join(folder, "node_modules", "bellows", "prebuilds"), { recursive: true });
    const command = join(folder, "node_modules", ".bin", "bellows");
    // A user's PATH, without what npm adds for the scripts of this checkout.
    const path = (process.env.PATH ?? "")
      .split(delimiter)
      .filter((entry) => !/node_modules|node-gyp-bin/.test(entry))
      .join(delimiter);
    const { code, stderr } = run(command, ["info"], { cwd: folder });
    expect(code).toBe(1);
    const [, line = ""] = /Build it from source \(.*\):\n {2}(.+)\n/.exec(stderr) ?? [];
    succeed("/bin/sh", ["-c", line], { cwd: folder, path });
    const info = JSON.parse(succeed(command, ["info", "--json"], { cwd: folder })) as Record<string, unknown>;
    expect(info.binary).toBe(join(realpathSync(folder), "node_modules", "bellows", "build", "Release", "bellows.node"));
    // The same engine as the prebuilt one, and not only its portable part.
    expect(info.isasAvailable).toEqual(isas());
  });

  function isas(): unknown {
    const folder = installed("--ignore-scripts");
    const command = join(folder, "node_modules", ".bin", "bellows");
    return (JSON.parse(succeed(command, ["info", "--json"], { cwd: folder })) as Record<string, unknown>).isasAvailable;
  }
});

describe("bundled by esbuild", () => {
  let folder = "";
  let bundle: (source: string, name: string, options: object) => string;
  beforeAll(async () => {
    folder = installed("--ignore-scripts");
    writeFileSync(join(folder, "main.mjs"), ESM);
    writeFileSync(join(folder, "unused.mjs"), `import { SelfPlay } from "bellows";\nconsole.log("done");\n`);
    const { buildSync } = (await import(tool("esbuild"))) as {
      buildSync(options: object): { warnings: unknown[] };
    };
    bundle = (source, name, options) => {
      const outfile = join(folder, "out", name);
      const entryPoints = [join(folder, source)];
      buildSync({ bundle: true, platform: "node", logLevel: "silent", entryPoints, outfile, ...options });
      return outfile;
    };
  });

  test("with packages external it works", () => {
    const outfile = bundle("main.mjs", "external.mjs", { format: "esm", packages: "external" });
    expect(JSON.parse(succeed(process.execPath, [outfile], { cwd: folder }))).toMatchObject({ games: 96 });
  });

  test.each(["esm", "cjs"])("as a whole, as %s, it says what to do, and works with BELLOWS_BINARY", (format) => {
    // A CommonJS file cannot wait at its top.
    const source =
      format === "esm"
        ? ESM
        : `import { SelfPlay, NoBinaryError } from "bellows";
      (async () => {${ESM.replace(/import .*\n/, "")}})().catch((error) => { console.error(error); process.exit(1); });`;
    writeFileSync(join(folder, `${format}.mjs`), source);
    const outfile = bundle(`${format}.mjs`, `whole.${format === "esm" ? "mjs" : "cjs"}`, { format });
    const alone = run(process.execPath, [outfile], { cwd: folder });
    expect(alone.code).toBe(1);
    expect(alone.stderr).toContain("NoBinaryError");
    expect(alone.stderr).toContain("mark bellows as external");
    const [binary = ""] = readdirSync(prebuilt(unpacked)).filter((name) => !name.includes("musl"));
    const env = { BELLOWS_BINARY: join(prebuilt(unpacked), binary) };
    expect(JSON.parse(succeed(process.execPath, [outfile], { cwd: folder, env }))).toMatchObject({ games: 96 });
  });

  test("an import that is not used leaves nothing behind", () => {
    const outfile = bundle("unused.mjs", "unused.mjs", { format: "esm" });
    expect(
      readFileSync(outfile, "utf8")
        .replace(/^\/\/.*\n/gm, "")
        .trim(),
    ).toBe('console.log("done");');
  });
});
