// Positions of a game from the command line: a file has one a line.

import { createReadStream } from "node:fs";
import { ioError, OptionError } from "../errors.js";
import { type PositionLine, positionOfLine } from "../position-lines.js";

/** Positions in a batch. */
const BATCH = 1024;

/** Positions of a file in batches. A newline at the end of the file begins no further line. */
export async function* positionBatches(path: string): AsyncGenerator<PositionLine[], void, undefined> {
  let batch: PositionLine[] = [];
  let line = 0;
  for await (const text of lines(path)) {
    const moves = positionOfLine(text);
    line += 1;
    if (moves === null) continue;
    batch.push({ moves, line });
    if (batch.length < BATCH) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

async function* lines(path: string): AsyncGenerator<string, void, undefined> {
  const stream = path === "-" ? process.stdin.setEncoding("utf8") : createReadStream(path, "utf8");
  let rest = "";
  try {
    for await (const chunk of stream as AsyncIterable<string>) {
      const found = (rest + chunk).split("\n");
      rest = found.pop() ?? "";
      for (const text of found) yield text;
    }
  } catch (error) {
    throw ioError(error, path, "cannot read the positions");
  }
  if (rest !== "") yield rest;
}

function indexOf(error: unknown): number | null {
  if (!(error instanceof OptionError)) return null;
  const match = /^moves\[(\d+)\]$/.exec(error.path ?? "");
  return match ? Number(match[1]) : null;
}

/** An error about the only position of a list. */
export function namingMoves(error: unknown): unknown {
  return indexOf(error) === null
    ? error
    : new OptionError((error as OptionError).message, { ...(error as OptionError), path: "moves" });
}

/** An error about one of the positions of a file. */
export function namingLine(error: unknown, file: string, positions: readonly PositionLine[]): unknown {
  const index = indexOf(error);
  if (index === null) return error;
  const line = positions[index]!.line;
  const { message, op, received, expected } = error as OptionError;
  return new OptionError(`${file}, line ${line}: ${message}`, {
    op,
    path: `${file}:${line}`,
    received,
    expected,
    cause: error,
  });
}
