// The log of an attempt: both of its streams, folded, in a file. A log that cannot be written ends no run.

import { type FileHandle, open } from "node:fs/promises";
import { FOLD_LIMITS, Fold, Lines } from "./fold.js";

/** Lines that a message about a crash quotes. */
const QUOTED = 12;

export class RunLog {
  readonly #handle: FileHandle | null;
  readonly #streams: Lines[] = [];
  readonly #quoted: string[] = [];
  readonly #fold = new Fold((line) => this.#write(`${line}\n`));
  #waiting = "";
  #writing: Promise<void> | null = null;
  #problem: unknown = null;

  private constructor(handle: FileHandle | null, problem: unknown) {
    this.#handle = handle;
    this.#problem = problem;
  }

  /** Opens a file to append to. */
  static async open(path: string): Promise<RunLog> {
    try {
      return new RunLog(await open(path, "a"), null);
    } catch (error) {
      return new RunLog(null, error);
    }
  }

  /** Why the log is not whole, if it is not. */
  get problem(): unknown {
    return this.#problem;
  }

  /** A stream of bytes to log, beside others. */
  stream(): Lines {
    const lines = new Lines(FOLD_LIMITS.width, (line) => this.line(line));
    this.#streams.push(lines);
    return lines;
  }

  line(text: string): void {
    if (text !== "") {
      this.#quoted.push(text);
      if (this.#quoted.length > QUOTED) this.#quoted.shift();
    }
    this.#fold.line(text);
  }

  /** The last lines that came in, not folded. */
  last(): readonly string[] {
    return this.#quoted;
  }

  async close(): Promise<void> {
    for (const lines of this.#streams) lines.end();
    this.#fold.end();
    await this.#writing;
    await this.#handle?.close().catch(() => {});
  }

  /** One write at a time; what comes meanwhile goes with the next. The fold bounds how much that can be. */
  #write(text: string): void {
    if (!this.#handle || this.#problem !== null) return;
    this.#waiting += text;
    this.#writing ??= this.#drain(this.#handle);
  }

  async #drain(handle: FileHandle): Promise<void> {
    try {
      while (this.#waiting !== "") {
        const text = this.#waiting;
        this.#waiting = "";
        await handle.writeFile(text);
      }
    } catch (error) {
      this.#problem = error;
      this.#waiting = "";
    }
    this.#writing = null;
  }
}
