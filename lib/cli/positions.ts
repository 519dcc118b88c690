// Positions of a game from the command line: a file has one a line, as moves from the start.

import { createReadStream } from "node:fs";
import { ioError, OptionError } from "../errors.js";

/** Lines in a batch. */
const BATCH = 1024;

/** Lines of a file in batches. A newline at the end of the file begins no further line. */
export async function* lineBatches(path: string): AsyncGenerator<string[], void, undefined> {
  const stream = path === "-" ? process.stdin.setEncoding("utf8") : createReadStream(path, "utf8");
  let rest = "";
  let batch: string[] = [];
  try {
    for await (const chunk of stream as AsyncIterable<string>) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        batch.push(line.replace(/\r$/, ""));
        if (batch.length < BATCH) continue;
        yield batch;
        batch = [];
      }
    }
  } catch (error) {
    throw ioError(error, path, "cannot read the positions");
  }
  if (rest !== "") batch.push(rest.replace(/\r$/, ""));
  if (batch.length > 0) yield batch;
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

/** An error about the line that an illegal position stands in, counted from 1. */
export function namingLine(error: unknown, file: string, before: number): unknown {
  const index = indexOf(error);
  if (index === null) return error;
  const line = before + index + 1;
  const { message, op, received, expected } = error as OptionError;
  return new OptionError(`${file}, line ${line}: ${message}`, {
    op,
    path: `${file}:${line}`,
    received,
    expected,
    cause: error,
  });
}
