// What the command line writes. With --json, stdout has one JSON object a line and nothing else; people's text goes
// to stderr. Without it, people's text goes to stdout, progress and complaints to stderr.

import { CommanderError } from "commander";
import { BellowsError, IoError, ioError } from "../errors.js";

export interface Line {
  readonly type: string;
  readonly [key: string]: unknown;
}

export interface ErrorLine extends Line {
  readonly type: "error";
  readonly code: string;
  readonly path: string | null;
  readonly received: string | null;
  readonly expected: string | null;
  readonly message: string;
}

export class Output {
  readonly json: boolean;
  /** Set when whoever read stdout has gone. */
  broken = false;

  constructor(json: boolean) {
    this.json = json;
  }

  /** Text for people, as it is. */
  text(text: string): void {
    if (this.json) process.stderr.write(text);
    else if (!this.broken) process.stdout.write(text);
  }

  /** Text about how things go, or went wrong. */
  note(text: string): void {
    process.stderr.write(text);
  }

  warn(message: string): void {
    this.note(`bellows: warning: ${message}\n`);
  }

  /** A JSON line; waits where the reader is slow. Nothing without --json. */
  async emit(line: Line): Promise<void> {
    if (!this.json || this.broken) return;
    if (!process.stdout.write(`${JSON.stringify(line)}\n`)) {
      await new Promise<void>((resolve) => {
        const done = () => {
          process.stdout.off("drain", done).off("error", done).off("close", done);
          resolve();
        };
        process.stdout.on("drain", done).on("error", done).on("close", done);
      });
    }
  }

  /** Reports an error and returns the exit code. */
  fail(error: unknown): number {
    const { line, exitCode } = describeError(error);
    this.failWith(line);
    if (line.code === "INTERNAL" && process.env.BELLOWS_DEBUG && error instanceof Error) this.note(`${error.stack}\n`);
    return exitCode;
  }

  /** Reports an error that has its line already. */
  failWith(line: ErrorLine): void {
    this.note(`bellows: ${line.message}\n`);
    if (this.json && !this.broken) process.stdout.write(`${JSON.stringify(line)}\n`);
  }
}

const BAD_INPUT = new Set(["OPTION", "USAGE", "CHECKPOINT", "DEVICE", "MEMORY", "LOCKED", "LEDGER"]);

/** The error line and exit code of whatever was thrown. */
export function describeError(error: unknown): { line: ErrorLine; exitCode: number } {
  const known = error instanceof CommanderError ? fromCommander(error) : ioError(error, pathOf(error), "failed", true);
  if (!(known instanceof BellowsError)) {
    const message = known instanceof Error ? known.message : String(known);
    const line: ErrorLine = { type: "error", code: "INTERNAL", path: null, received: null, expected: null, message };
    return { line, exitCode: 1 };
  }
  const { code, path, received, expected, message } = known;
  const input = BAD_INPUT.has(code) || (known instanceof IoError && known.input);
  const exitCode = code === "INTERRUPTED" ? 130 : input ? 2 : 1;
  return { line: { type: "error", code, path, received, expected, message }, exitCode };
}

function pathOf(error: unknown): string {
  return error instanceof Error ? ((error as NodeJS.ErrnoException).path ?? "a file") : "a file";
}

function fromCommander(error: CommanderError): BellowsError {
  const message = error.message.replace(/^error: /, "");
  const named = /'([^']+)'/.exec(message)?.[1] ?? null;
  const details: Record<string, [string | null, string]> = {
    "commander.unknownOption": [named, "an option that --help lists"],
    "commander.unknownCommand": [named, "a command that --help lists"],
    "commander.missingArgument": ["nothing", "a value"],
    "commander.optionMissingArgument": ["nothing", "a value"],
    "commander.missingMandatoryOptionValue": ["nothing", "a value"],
    "commander.help": ["nothing", "a command that --help lists"],
  };
  const [received, expected] = details[error.code] ?? [message, "what --help describes"];
  return new BellowsError("USAGE", error.code === "commander.help" ? "a command is needed" : message, {
    op: "cli",
    path: named ?? "command",
    received,
    expected,
  });
}

/** A usage error of our own. */
export function usage(message: string, path: string, received: string, expected: string): BellowsError {
  return new BellowsError("USAGE", message, { op: "cli", path, received: received || '""', expected });
}
