// Finds the native binary for this machine and loads it, or says what was tried and what to do.
//
// The layout is that of prebuildify: build/Release of whoever built from source, else prebuilds/PLATFORM-ARCH. The choice
// is made here and not by guessing: a wrong or damaged file must give a reason, and some would end the process.

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve, toNamespacedPath } from "node:path";
import { fileURLToPath } from "node:url";
import { readElf } from "./elf.js";
import { NoBinaryError, type Runtime, type TriedBinary } from "./errors.js";

/** Node-API version that the addon is built for. */
const NODE_API = 8;

/** Where this file lies: in dist/ or lib/ of the package. Bundlers that write CommonJS leave no URL. */
const here = import.meta.url ? fileURLToPath(import.meta.url) : "";

/** The package's folder. */
export const packageRoot = dirname(dirname(here));

/** The package's version; null when this code was bundled away from its package. */
export function packageVersion(): string | null {
  try {
    const manifest = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as Record<string, unknown>;
    return manifest.name === "bellows" ? String(manifest.version) : null;
  } catch {
    return null;
  }
}

/** The libc that a dynamic linker on Linux belongs to; null where it is another. */
export function libcOf(linker: string): "glibc" | "musl" | null {
  if (/(^|\/)ld-musl-[^/]+$/.test(linker)) return "musl";
  return /(^|\/)(ld-linux[^/]*|ld64|ld)\.so\.\d+$/.test(linker) ? "glibc" : null;
}

/** The libc of this process; null where it is not known. It is read from Node itself: a system may have both. */
function libcFamily(): "glibc" | "musl" | null {
  if (process.platform !== "linux") return null;
  try {
    return libcOf(readElf(process.execPath)?.interpreter ?? "");
  } catch {
    return null;
  }
}

/** For people: "glibc 2.36". The report is slow (milliseconds), so it is asked for only when something has failed. */
function libcText(): string | null {
  const family = libcFamily();
  if (family !== "glibc") return family;
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  const version = report?.header?.glibcVersionRuntime;
  return version === undefined ? family : `${family} ${version}`;
}

/** Where a binary may lie in the package, best first. */
function places(): string[] {
  const folder = join(packageRoot, "prebuilds", `${process.platform}-${process.arch}`);
  if (process.platform !== "linux") return [join(folder, "bellows.node")];
  const family = libcFamily();
  return (family === null ? ["glibc", "musl"] : [family]).map((libc) => join(folder, `bellows.${libc}.node`));
}

/** The prebuilds in the package, for example `linux-x64/bellows.glibc.node`. */
function prebuilds(): string[] {
  const list = (folder: string) => (existsSync(folder) ? readdirSync(folder).sort() : []);
  const root = join(packageRoot, "prebuilds");
  return list(root).flatMap((tuple) => list(join(root, tuple)).map((name) => `${tuple}/${name}`));
}

/** The first line of what went wrong. The system's linker repeats what it finds in a damaged file, binary or endless. */
function text(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const line = (message.split("\n")[0] ?? "").replace(/[^\x20-\x7e\u00a0-\ud7ff]/gu, "?");
  return line.length > 200 ? `${line.slice(0, 200)}...` : line;
}

/** Why the file cannot be the binary, found without loading it; null when nothing speaks against it. */
function problemOf(path: string): string | null {
  let size: number;
  try {
    const found = statSync(path);
    if (found.isDirectory()) return "is a folder";
    if (!found.isFile()) return "is not a file";
    size = found.size;
    if (process.platform === "darwin" || process.platform === "win32") return null;
    // Loading a file that was cut off kills the process (SIGBUS), and one for another processor is reported as missing.
    const elf = readElf(path);
    if (elf === null) return "is not a shared library";
    if (elf.arch !== process.arch) return `is for ${elf.arch}, and this process is ${process.arch}`;
    return size < elf.bytes ? `is cut off: ${size} bytes of at least ${elf.bytes}` : null;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return code === "ENOENT" || code === "ENOTDIR" ? "no such file" : text(error);
  }
}

/** The exports of the binary at `path`; throws the reason as an error. */
function open(path: string): Record<string, unknown> {
  const problem = problemOf(path);
  if (problem !== null) throw new Error(problem);
  const module = { exports: {} as Record<string, unknown> };
  try {
    // Not require(): it would run a text file of another name as JavaScript.
    process.dlopen(module, toNamespacedPath(path));
  } catch (error) {
    throw new Error(text(error).replace(`${path}: `, ""), { cause: error });
  }
  const { version, Engine } = module.exports;
  if (typeof version !== "string" || typeof Engine !== "function") throw new Error("is not the addon of bellows");
  const wanted = packageVersion();
  if (wanted !== null && version !== wanted) throw new Error(`is of bellows ${version}, and this is ${wanted}`);
  return module.exports;
}

/** A word for the system's shell. */
function shellWord(text: string): string {
  if (process.platform === "win32") return `"${text}"`; // no name has a quote there
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The command that builds the binary where the package lies. */
function buildCommand(): string {
  const checkout = existsSync(join(packageRoot, "scripts", "native.mjs"));
  const command = checkout
    ? "npm run build:native"
    : "npx --yes --package=cmake-js@8 --package=node-addon-api@8 cmake-js compile";
  return `cd ${shellWord(packageRoot)} && ${command}`;
}

function capital(sentence: string): string {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

/** The page for people who have no binary. */
function page(headline: string, runtime: Runtime, tried: readonly TriedBinary[], advice: string): string {
  const { platform, arch, libc, node, nodeApi } = runtime;
  const inside = prebuilds();
  const machine = [`${platform}-${arch}`, libc, `Node ${node}`, `Node-API ${nodeApi.offered}`]
    .filter(Boolean)
    .join(", ");
  return [
    headline,
    `This machine: ${machine} (bellows needs Node-API ${nodeApi.needed} or later).`,
    ...(tried.length > 0 ? ["Tried:", ...tried.map(({ path, reason }) => `  ${path}: ${reason}`)] : []),
    inside.length > 0 ? `Prebuilt in this package: ${inside.join(", ")}.` : "This package holds no prebuilt binary.",
    advice,
  ].join("\n");
}

/** Loads the binary that BELLOWS_BINARY names, else the one that was built here, else the prebuilt one. */
export function loadBinary(): { exports: Record<string, unknown>; path: string } {
  const tried: TriedBinary[] = [];
  const nodeApi = { offered: Number(process.versions.napi ?? 0), needed: NODE_API };
  const { platform, arch, version: node } = process;
  const command = buildCommand();
  const fail = (headline: string, advice: string, cause?: unknown): never => {
    const runtime: Runtime = { platform, arch, libc: libcText(), node, nodeApi };
    const details = { ...runtime, tried, prebuilds: prebuilds(), buildCommand: command, cause };
    throw new NoBinaryError(page(headline, runtime, tried, advice), details);
  };

  if (nodeApi.offered < NODE_API) {
    return fail("this runtime is too old for the native binary of bellows.", "Use Node 20 or later.");
  }
  const named = process.env.BELLOWS_BINARY;
  const built = join(packageRoot, "build", "Release", "bellows.node");
  const only = named ? resolve(named) : existsSync(built) ? built : null;
  let cause: unknown;
  for (const path of only === null ? [built, ...places()] : [only]) {
    try {
      return { exports: open(path), path };
    } catch (error) {
      tried.push({ path, reason: text(error) });
      cause = error;
    }
  }
  const code = (cause as { cause?: { code?: unknown } } | undefined)?.cause?.code;
  if (code === "ERR_DLOPEN_DISABLED") {
    const advice = "Start Node without --no-addons; under --permission, with --allow-addons.";
    return fail("this process may not load native binaries.", advice, cause);
  }
  if (tried.some(({ reason }) => /failed to map segment|cannot allocate memory/i.test(reason))) {
    return fail("this process has no memory left to load its native binary.", "Raise its limit (ulimit -v).", cause);
  }
  if (named) {
    const advice = "Unset BELLOWS_BINARY, or let it name a bellows.node for this machine.";
    return fail("the native binary that BELLOWS_BINARY names does not load.", advice, cause);
  }
  const source = `build it from source (needs CMake 3.20 or later and a C and C++ compiler):\n  ${command}`;
  if (only !== null) {
    // Whoever built it wants it: the prebuilt one in its place would be a surprise.
    const instead = places().find((path) => existsSync(path));
    const advice = instead === undefined ? capital(source) : `Remove it to use ${instead}, or ${source}`;
    return fail("the native binary of bellows that was built here does not load.", advice, cause);
  }
  if (packageVersion() === null) {
    const advice = "This code was bundled: mark bellows as external, so that it is loaded from node_modules.";
    return fail("bellows does not find its own package, and so no native binary.", advice, cause);
  }
  if (places().some((path) => existsSync(path))) {
    const advice = `Install bellows again if the file is damaged; where it does not fit this machine, ${source}`;
    return fail("the native binary of bellows for this machine does not load.", advice, cause);
  }
  return fail("no native binary of bellows fits this machine.", capital(source), cause);
}
