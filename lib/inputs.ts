// Files that a run takes something from when it starts: positions, and fixed opponents. A checkpoint holds the hash of
// each, so that a run goes on with the content that it began with or not at all.

import { createHash } from "node:crypto";
import { type CheckpointFile, corrupt, readCheckpoint, readWhole } from "./checkpoint.js";
import { fromNative, ioError, isNativeError, OptionError } from "./errors.js";
import { type NativeEngine, settled } from "./native.js";
import { gameOf, type ResolvedOptions, storedEntries } from "./options.js";
import { positionOfLine } from "./position-lines.js";

/** SHA-256 of each file's content, by its name in the options. */
export type InputHashes = Readonly<Record<string, string>>;

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Names in `rollout.opponents.pinned`. */
function pinnedNames(options: ResolvedOptions): string[] {
  const names = options.rollout.opponents.pinned.split(",").map((name) => name.trim());
  return names.filter((name) => name !== "");
}

/** Gives an engine what its options take from files. */
export async function giveInputs(engine: NativeEngine, options: ResolvedOptions): Promise<InputHashes> {
  const hashes: Record<string, string> = {};
  const { starts, opponents } = options.rollout;
  if (starts.listShare > 0) hashes[starts.file] = await giveStarts(engine, starts.file);
  if (opponents.pinnedShare > 0) {
    for (const name of pinnedNames(options)) hashes[name] = await givePinned(engine, name);
  }
  return hashes;
}

async function giveStarts(engine: NativeEngine, path: string): Promise<string> {
  const option = "rollout.starts.file";
  let bytes: Uint8Array;
  try {
    bytes = await readWhole(path);
  } catch (error) {
    throw ioError(error, path, "cannot read the start positions");
  }
  const lines = new TextDecoder().decode(bytes).split("\n");
  const positions = lines.flatMap((text, index) => {
    const moves = positionOfLine(text);
    // Here an empty line is none: `-` is the start position.
    return moves === null || text.trim() === "" ? [] : [{ moves, line: index + 1 }];
  });
  if (positions.length === 0) {
    throw new OptionError(`${path} (${option}) holds no positions`, {
      op: "selfplay.create",
      path: option,
      received: "a file without positions",
      expected: "a line of moves for each position",
    });
  }
  try {
    await engine.setStarts(positions.map(({ moves }) => moves));
  } catch (error) {
    const typed = fromNative(error);
    const position = isNativeError(error) ? positions[error.step] : undefined;
    if (!(typed instanceof OptionError) || !position) throw typed;
    throw new OptionError(`${path}, line ${position.line} (${option}): ${typed.message}`, {
      op: "selfplay.create",
      path: option,
      received: position.moves,
      expected: typed.expected ?? "moves after which the game goes on",
      cause: typed,
    });
  }
  return sha256(bytes);
}

async function givePinned(engine: NativeEngine, path: string): Promise<string> {
  const file = await readCheckpoint(path);
  const entries = storedEntries(file.config, path);
  try {
    await settled(engine.pin(gameOf(entries), entries, file.bytes));
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    throw new OptionError(`${path} (rollout.opponents.pinned): ${error.message}`, {
      op: "selfplay.create",
      path: "rollout.opponents.pinned",
      received: error.received ?? path,
      expected: error.expected ?? "a checkpoint or policy file of the same game",
      cause: error,
    });
  }
  return sha256(file.bytes);
}

/** Refuses to go on from a checkpoint with files that are not those that its run began with. */
export function checkInputs(file: CheckpointFile, hashes: InputHashes): void {
  for (const [name, hash] of Object.entries(hashes)) {
    const held = file.inputs.get(name);
    if (held === hash) continue;
    const what = held === undefined ? "it does not say what was in" : "the run began with other content of";
    throw corrupt(file.path, `${what} ${name}`, name);
  }
}
