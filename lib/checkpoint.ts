// Checkpoint files: written so that a crash at any moment leaves the old file or the new one, read with distrust.

import { createHash } from "node:crypto";
import {
  constants,
  type FileHandle,
  lstat,
  open,
  readdir,
  readFile,
  realpath,
  rename,
  stat,
  unlink,
} from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { CheckpointError, fromNative, IoError, ioError } from "./errors.js";
import type { ResolvedOptions, SelfPlayOptions } from "./names.gen.js";
import { type NativeFile, native } from "./native.js";
import { isPlainObject } from "./options.js";

const TEMPORARY = /^\.(.+)\.(\d+)\.(\d+)\.bellows-tmp$/;
let counter = 0;

/** A name for a file that becomes `name` when it is whole; {@link removeStale} knows it. */
export function temporaryName(directory: string, name: string): string {
  return join(directory, `.${name}.${process.pid}.${++counter}.bellows-tmp`);
}

/** Whether a name is one that {@link temporaryName} made. */
export function isTemporary(name: string): boolean {
  return TEMPORARY.test(name);
}

/** Whether a process with this id exists. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Removes what writers that died left in a directory. */
export async function removeStale(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const match = TEMPORARY.exec(name);
    if (match && !isAlive(Number(match[2]))) await unlink(join(directory, name)).catch(() => {});
  }
}

/** Makes names that were created or changed in a directory last. */
export async function syncDirectory(directory: string): Promise<void> {
  if (process.platform === "win32") return; // directories cannot be opened there
  const handle = await open(directory, constants.O_RDONLY);
  try {
    await handle.sync();
  } catch (error) {
    // Some network file systems know no fsync of directories.
    if (!["EINVAL", "ENOTSUP"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  } finally {
    await handle.close();
  }
}

/** The file that a path stands for: symbolic links are followed, so that the link stays one. */
async function targetOf(path: string): Promise<string> {
  const found = await lstat(path).catch(() => null);
  const target = found?.isSymbolicLink() ? await realpath(path).catch(() => path) : path;
  const status = await stat(target).catch(() => null);
  if (status && !status.isFile()) {
    // A rename would replace a device file and fail on a directory: neither was meant.
    const what = status.isDirectory() ? "a directory" : "not a regular file";
    const errno = status.isDirectory() ? "EISDIR" : "EINVAL";
    throw new IoError(`cannot write ${path}: it is ${what}`, {
      op: "io",
      path,
      received: what,
      expected: "a file name",
      errno,
      input: true,
    });
  }
  return target;
}

/**
 * Replaces a file's content at once: temporary file beside it, written whole, synced, renamed, directory synced.
 *
 * @throws {@link IoError}; the old content is then still there, and no temporary file is left
 */
export async function writeAtomic(path: string, data: Uint8Array | string, running = false): Promise<void> {
  const target = await targetOf(path);
  const directory = dirname(target);
  const temporary = temporaryName(directory, basename(target));
  let handle: FileHandle | undefined;
  try {
    handle = await open(temporary, "wx");
    await handle.writeFile(data);
    await handle.sync();
    await handle.close();
    handle = undefined;
    await rename(temporary, target);
    await syncDirectory(directory);
  } catch (error) {
    await handle?.close().catch(() => {});
    await unlink(temporary).catch(() => {});
    throw ioError(error, path, "cannot write", running);
  }
  await removeStale(directory).catch(() => {});
}

/** What this library adds to a checkpoint's metadata, beside what the engine keeps there. */
export interface CheckpointMetadata {
  readonly config: ResolvedOptions;
  readonly version: string;
  /** Training time so far. */
  readonly seconds: number;
  /** Why the run ended early at this point. */
  readonly stopped: "certificate" | null;
  /** Hashes of the pool members that lie in `opponents/` beside the checkpoint, by snapshot number. */
  readonly opponents: Readonly<Record<string, string>>;
}

const KEYS = {
  version: "bellows.version",
  config: "bellows.config",
  run: "bellows.run",
  opponents: "bellows.opponents",
  checksum: "bellows.sha256",
} as const;

/** What stands in place of the checksum while it is computed. */
const UNSEALED = "0".repeat(64);

export function encodeMetadata(metadata: CheckpointMetadata): (readonly [string, string])[] {
  return [
    [KEYS.version, metadata.version],
    [KEYS.config, JSON.stringify(metadata.config)],
    [KEYS.run, JSON.stringify({ seconds: metadata.seconds, stopped: metadata.stopped })],
    [KEYS.opponents, JSON.stringify(metadata.opponents)],
    [KEYS.checksum, UNSEALED],
  ];
}

/** SHA-256 of a checkpoint with zeros where its checksum stands, and where that is; null where it is not found. */
function checksum(bytes: Uint8Array, stored: string): { hash: string; at: number } | null {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const label = `"${KEYS.checksum}":"`;
  const header = file.subarray(0, 8 + Number(file.readBigUInt64LE(0)));
  const found = header.indexOf(`${label}${stored}"`);
  if (found < 0) return null;
  const at = found + label.length;
  const hash = createHash("sha256").update(file.subarray(0, at)).update(UNSEALED);
  return { hash: hash.update(file.subarray(at + stored.length)).digest("hex"), at };
}

/** Writes the checksum into an encoded checkpoint, in place: damage to any byte is then found when it is read. */
export function seal(bytes: Uint8Array): Uint8Array {
  const sum = checksum(bytes, UNSEALED);
  if (!sum) throw new CheckpointError("the checkpoint has no place for its checksum", { op: "checkpoint" });
  bytes.set(Buffer.from(sum.hash, "latin1"), sum.at);
  return bytes;
}

/** A checkpoint file in memory, its metadata checked. */
export interface CheckpointFile {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly file: NativeFile;
  readonly config: SelfPlayOptions;
  readonly seconds: number;
  readonly stopped: "certificate" | null;
  readonly opponents: ReadonlyMap<number, string>;
  /** Whether the pool's weights are inside. */
  readonly bundled: boolean;
}

/** A checkpoint error that names the file. */
export function corrupt(path: string, what: string, field: string | null = null, cause?: unknown): CheckpointError {
  return new CheckpointError(`${path}: ${what}`, {
    op: "checkpoint",
    path,
    received: field,
    expected: "a checkpoint written by bellows",
    cause,
  });
}

/** Reads a file whole; any failure is a {@link CheckpointError} that names it. */
export async function readBytes(path: string): Promise<Uint8Array> {
  try {
    if ((await stat(path)).isDirectory()) throw corrupt(path, "is a directory without checkpoints", "a directory");
    return await readFile(path);
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    const io = ioError(error, path, "cannot read the checkpoint");
    if (!(io instanceof IoError)) throw error;
    throw new CheckpointError(io.message, {
      op: "checkpoint",
      path,
      received: io.errno,
      expected: "a readable file",
      cause: error,
    });
  }
}

/** The strict parse of safetensors bytes. */
export function inspect(path: string, bytes: Uint8Array): NativeFile {
  if (bytes.length === 0) throw corrupt(path, "the file is empty", "0 bytes");
  const outcome = native().inspect(bytes);
  if (!outcome.ok) throw namingFile(path, fromNative(outcome.error));
  return outcome.file;
}

/** The engine's checkpoint errors name a tensor or field; this names the file too. */
export function namingFile(path: string, error: unknown): unknown {
  if (!(error instanceof CheckpointError) || error.path === path) return error;
  const field = error.path ? `${error.path}: ` : "";
  const message = error.message.includes(error.path ?? "") ? error.message : `${field}${error.message}`;
  return new CheckpointError(`${path}: ${message}`, {
    op: error.op,
    path,
    received: error.received ?? error.path,
    expected: error.expected ?? "a checkpoint written by bellows",
    cause: error,
  });
}

function parseJson(path: string, file: NativeFile, key: string): Record<string, unknown> {
  const text = file.metadata[key];
  if (text === undefined) throw corrupt(path, `the metadata lacks "${key}": not a checkpoint of bellows`, key);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw corrupt(path, `the metadata "${key}" is not JSON`, key, error);
  }
  if (!isPlainObject(value)) throw corrupt(path, `the metadata "${key}" is not an object`, key);
  return value;
}

export async function readCheckpoint(path: string): Promise<CheckpointFile> {
  const bytes = await readBytes(path);
  const file = inspect(path, bytes);
  const config = parseJson(path, file, KEYS.config);
  // A tool that writes the file again may leave the checksum out; one that no longer fits is damage.
  const stored = file.metadata[KEYS.checksum];
  if (stored !== undefined && checksum(bytes, stored)?.hash !== stored) {
    throw corrupt(path, "the content does not match its checksum: the file is damaged", "another checksum");
  }
  const { seconds, stopped } = parseJson(path, file, KEYS.run);
  if (typeof seconds !== "number" || !(seconds >= 0)) {
    throw corrupt(path, `the metadata "${KEYS.run}" has no valid seconds`, KEYS.run);
  }
  const opponents = new Map<number, string>();
  for (const [snapshot, hash] of Object.entries(parseJson(path, file, KEYS.opponents))) {
    if (!/^\d+$/.test(snapshot) || typeof hash !== "string" || !/^[0-9a-f]{64}$/.test(hash)) {
      throw corrupt(path, `the metadata "${KEYS.opponents}" is not a table of hashes`, KEYS.opponents);
    }
    opponents.set(Number(snapshot), hash);
  }
  return {
    path,
    bytes,
    file,
    config: config as SelfPlayOptions,
    seconds,
    stopped: stopped === "certificate" ? stopped : null,
    opponents,
    bundled: file.tensors.some((tensor) => tensor.name === "opponents.weights"),
  };
}

const GENERATION = /^(\d{6,15})\.safetensors$/;

/** A checkpoint of a run directory. */
export interface Generation {
  readonly iteration: number;
  readonly path: string;
}

export function generationName(iteration: number): string {
  return `${String(iteration).padStart(6, "0")}.safetensors`;
}

/** The checkpoints in a folder, newest first; none where there is no such folder. */
export async function generations(folder: string): Promise<Generation[]> {
  const names = await readdir(folder).catch(() => []);
  const found: Generation[] = [];
  for (const name of names) {
    const match = GENERATION.exec(name);
    if (match) found.push({ iteration: Number(match[1]), path: join(folder, name) });
  }
  return found.sort((a, b) => b.iteration - a.iteration);
}

/**
 * The checkpoint that a path means: the file, or the newest valid one of a run directory.
 *
 * @param skipped - told of each newer generation that cannot be read
 */
export async function newestCheckpoint(
  path: string,
  skipped: (error: CheckpointError) => void = () => {},
): Promise<CheckpointFile> {
  const isDirectory = (await stat(path).catch(() => null))?.isDirectory() ?? false;
  if (!isDirectory) return readCheckpoint(path);
  const inside = await generations(join(path, "checkpoints"));
  let first: CheckpointError | undefined;
  for (const generation of inside.length > 0 ? inside : await generations(path)) {
    try {
      return await readCheckpoint(generation.path);
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      first ??= error;
      skipped(error);
    }
  }
  throw first ?? corrupt(path, "is a directory without checkpoints", "a directory");
}
