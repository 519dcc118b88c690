// Checkpoint files: written so that a crash at any moment leaves the old file or the new one, read with distrust.

import { createHash, randomBytes } from "node:crypto";
import { constants, type FileHandle, lstat, open, readdir, realpath, rename, rm, stat } from "node:fs/promises";
import { totalmem } from "node:os";
import { basename, dirname, join } from "node:path";
import { CheckpointError, errnoOf, fromNative, IoError, ioError, OptionError } from "./errors.js";
import type { ResolvedOptions, SelfPlayOptions } from "./names.gen.js";
import { type NativeFile, native } from "./native.js";
import { isPlainObject } from "./options.js";
import { idSpace, isAlive } from "./owner.js";

const TEMPORARY = /^\.(.+)\.(\d+)\.([0-9a-f]{8})([0-9a-f]{8})\.bellows-tmp$/;

/** After this long without a change nobody is still writing a file, whoever it was. */
const FORGOTTEN_MS = 24 * 3600 * 1000;

/** Temporary files and folders of this process that could not be removed when their time was over. */
const abandoned = new Set<string>();

/** A name for a file or folder that becomes `name` when it is whole; {@link removeStale} knows it. */
export function temporaryName(directory: string, name: string): string {
  // Threads of this process share its id, so the rest is drawn; a long name would leave no room for it.
  const rest = `${process.pid}.${idSpace}${randomBytes(4).toString("hex")}`;
  return join(directory, `.${name.slice(0, 60)}.${rest}.bellows-tmp`);
}

/** Whether a name is one that {@link temporaryName} made. */
export function isTemporary(name: string): boolean {
  return TEMPORARY.test(name);
}

/** Removes a temporary file or folder, now or, where that fails, with the next ones. */
export async function removeTemporary(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
    abandoned.delete(path);
  } catch {
    abandoned.add(path);
  }
}

/** Removes what writers that died, here or on another machine, left in a directory. */
export async function removeStale(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const [, , pid, space] = TEMPORARY.exec(name) ?? [];
    if (pid === undefined) continue;
    const path = join(directory, name);
    const dead = space === idSpace && !isAlive(Number(pid));
    if (dead || abandoned.has(path) || (await isForgotten(path))) await removeTemporary(path);
  }
}

async function isForgotten(path: string): Promise<boolean> {
  const status = await lstat(path).catch(() => null);
  return status !== null && Date.now() - status.mtimeMs > FORGOTTEN_MS;
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
 * @throws {@link IoError}. The old content is then still there, and no temporary file is left. Only where the directory
 * could not be synced is the new content there already: whole, but a crash of the machine may bring the old one back.
 */
export async function writeAtomic(
  path: string,
  data: Uint8Array | string | AsyncIterable<Uint8Array | string>,
  running = false,
): Promise<void> {
  const target = await targetOf(path);
  const directory = dirname(target);
  const temporary = temporaryName(directory, basename(target));
  const pieces = typeof data === "string" || data instanceof Uint8Array ? [data] : data;
  let handle: FileHandle | undefined;
  try {
    handle = await open(temporary, "wx");
    // From where the piece before it ended.
    for await (const piece of pieces) await handle.writeFile(piece);
    await handle.sync();
    await handle.close();
    handle = undefined;
    await rename(temporary, target);
    await syncDirectory(directory);
  } catch (error) {
    await handle?.close().catch(() => {});
    await removeTemporary(temporary);
    throw ioError(error, path, "cannot write", running);
  }
  await removeStale(directory).catch(() => {});
}

/**
 * Refuses a path that {@link writeAtomic} could not write, before there is anything to write, and one that holds a
 * checkpoint or policy: whatever is to be written there is something else.
 *
 * @throws {@link IoError} {@link OptionError}
 */
export async function checkWritable(path: string): Promise<void> {
  const target = await targetOf(path);
  if (await isSafetensors(target)) {
    throw new OptionError(`${path} is a checkpoint or policy file, and would be lost; name another file`, {
      op: "write",
      path,
      received: "a checkpoint or policy file",
      expected: "another file",
    });
  }
  const temporary = temporaryName(dirname(target), basename(target));
  try {
    await (await open(temporary, "wx")).close();
  } catch (error) {
    throw ioError(error, path, "cannot write");
  } finally {
    await removeTemporary(temporary);
  }
}

/** Whether a file begins like a safetensors file: the length of a header that fits into it, then the header's brace. */
async function isSafetensors(path: string): Promise<boolean> {
  const handle = await open(path, "r").catch(() => null);
  if (!handle) return false;
  try {
    const status = await handle.stat();
    if (!status.isFile()) return false;
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(9), 0, 9, 0);
    return bytesRead === 9 && buffer.readBigUInt64LE() <= BigInt(status.size - 8) && buffer[8] === 0x7b;
  } catch {
    return false; // unreadable: whether it can be written is looked at next
  } finally {
    await handle.close();
  }
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
  /** Hashes of the files that the run takes something from. */
  readonly inputs: Readonly<Record<string, string>>;
}

const KEYS = {
  version: "bellows.version",
  config: "bellows.config",
  run: "bellows.run",
  opponents: "bellows.opponents",
  inputs: "bellows.inputs",
  checksum: "bellows.sha256",
} as const;

/** What the engine calls a file of weights alone. */
const POLICY_FORMAT = "bellows-policy-1";

/** What stands in place of the checksum while it is computed. */
const UNSEALED = "0".repeat(64);

export function encodeMetadata(metadata: CheckpointMetadata): (readonly [string, string])[] {
  const inputs: [string, string][] =
    Object.keys(metadata.inputs).length > 0 ? [[KEYS.inputs, JSON.stringify(metadata.inputs)]] : [];
  return [
    [KEYS.version, metadata.version],
    [KEYS.config, JSON.stringify(metadata.config)],
    [KEYS.run, JSON.stringify({ seconds: metadata.seconds, stopped: metadata.stopped })],
    [KEYS.opponents, JSON.stringify(metadata.opponents)],
    ...inputs,
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
  /** Hashes of files that the run takes something from, by name. */
  readonly inputs: ReadonlyMap<string, string>;
  /** Whether the pool's weights are inside. */
  readonly bundled: boolean;
  /** Whether it holds the weights alone. */
  readonly policy: boolean;
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

/**
 * Reads a file to its end. Node's readFile takes a read that gives less than was asked for, as file systems may, for the
 * end of the file.
 *
 * @internal
 */
export async function readWhole(path: string): Promise<Buffer> {
  const handle = await open(path, "r");
  try {
    let bytes = Buffer.allocUnsafeSlow((await handle.stat()).size + 1);
    for (let length = 0; ; ) {
      if (length === bytes.length) bytes = Buffer.concat([bytes], 2 * length);
      const most = Math.min(bytes.length - length, 1 << 30);
      const { bytesRead } = await handle.read(bytes, length, most, null).catch((error: unknown) => {
        if (errnoOf(error) === "EINTR") return { bytesRead: -1 };
        throw error;
      });
      if (bytesRead === 0) return bytes.subarray(0, length);
      if (bytesRead > 0) length += bytesRead;
    }
  } finally {
    await handle.close().catch(() => {}); // takes nothing from what was read
  }
}

/** Reads a file whole; any failure is a {@link CheckpointError} that names it. */
export async function readBytes(path: string): Promise<Uint8Array> {
  try {
    const status = await stat(path);
    if (status.isDirectory()) throw corrupt(path, "is a directory without checkpoints", "a directory");
    // A pipe may wait for its writer forever, a device may have no end.
    if (!status.isFile()) throw corrupt(path, "is not a regular file", "a pipe, socket or device");
    if (status.size > totalmem()) throw tooLarge(path, status.size);
    return await readWhole(path);
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    if (error instanceof RangeError) throw tooLarge(path, (await stat(path)).size, error);
    throw unreadable(path, error);
  }
}

function tooLarge(path: string, size: number, cause?: unknown): CheckpointError {
  return corrupt(path, `is too large to be read: ${size} bytes`, `${size} bytes`, cause);
}

/** A file error as a {@link CheckpointError}; other errors as they are. */
function unreadable(path: string, error: unknown): unknown {
  const io = ioError(error, path, "cannot read the checkpoint");
  if (!(io instanceof IoError)) return error;
  return new CheckpointError(io.message, {
    op: "checkpoint",
    path,
    received: io.errno,
    expected: "a readable file",
    cause: error,
  });
}

/** Whether a checkpoint failed because the system could not read a file, which says nothing about what is in it. */
export function isUnread(error: CheckpointError): boolean {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    const errno = errnoOf(cause);
    if (errno !== null) return errno !== "ENOENT";
  }
  return false;
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
  if (typeof seconds !== "number" || !(seconds >= 0 && seconds < Number.POSITIVE_INFINITY)) {
    throw corrupt(path, `the metadata "${KEYS.run}" has no valid seconds`, KEYS.run);
  }
  const opponents = new Map<number, string>();
  for (const [snapshot, hash] of Object.entries(parseJson(path, file, KEYS.opponents))) {
    if (!/^\d+$/.test(snapshot) || typeof hash !== "string" || !/^[0-9a-f]{64}$/.test(hash)) {
      throw corrupt(path, `the metadata "${KEYS.opponents}" is not a table of hashes`, KEYS.opponents);
    }
    opponents.set(Number(snapshot), hash);
  }
  const inputs = new Map<string, string>();
  const named = file.metadata[KEYS.inputs] === undefined ? {} : parseJson(path, file, KEYS.inputs);
  for (const [name, hash] of Object.entries(named)) {
    if (typeof hash !== "string" || !/^[0-9a-f]{64}$/.test(hash)) {
      throw corrupt(path, `the metadata "${KEYS.inputs}" is not a table of hashes`, KEYS.inputs);
    }
    inputs.set(name, hash);
  }
  return {
    path,
    bytes,
    file,
    config: config as SelfPlayOptions,
    seconds,
    stopped: stopped === "certificate" ? stopped : null,
    opponents,
    inputs,
    bundled: file.tensors.some((tensor) => tensor.name === "opponents.weights"),
    policy: file.metadata.format === POLICY_FORMAT,
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
  const names = await readdir(folder).catch((error: unknown) => {
    // Any other failure is no reason to believe that there are none.
    if (["ENOENT", "ENOTDIR"].includes(errnoOf(error) ?? "")) return [];
    throw unreadable(folder, error);
  });
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
  const status = await stat(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  if (!status.isDirectory()) return readCheckpoint(path);
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
