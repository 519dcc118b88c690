// What --profile asks for: a recording of the first iterations, written as soon as they are done or the run ends.

import { checkWritable } from "../checkpoint.js";
import type { SelfPlay } from "../selfplay.js";
import type { Trace } from "../trace.js";
import { integer } from "./load.js";
import { type Output, usage } from "./output.js";
import { count } from "./report.js";

export interface ProfileFlags {
  readonly profile?: string;
  readonly profileIterations?: string;
}

/** Iterations that are recorded where --profile-iterations says nothing. */
export const PROFILED = 3;

/** A file to write, and how much of the run goes into it. */
export interface Profile {
  readonly path: string;
  readonly iterations: number;
}

/** What the flags ask for; refuses a file that could not be written. */
export async function profileOf({ profile: path, profileIterations }: ProfileFlags): Promise<Profile | null> {
  if (path === undefined) {
    if (profileIterations === undefined) return null;
    throw usage("--profile-iterations needs --profile", "--profile", "nothing", "a file to write");
  }
  if (path === "") throw usage("--profile is empty", "--profile", "an empty name", "a file to write");
  const iterations = integer("--profile-iterations", profileIterations ?? String(PROFILED), 1, 1e6);
  await checkWritable(path);
  return { path, iterations };
}

/** A recording on its way into a file. A file that cannot be written in the end does not stop the training. */
export class Recording {
  readonly trace: Trace;
  readonly #path: string;
  readonly #output: Output;
  #written: Promise<void> | null = null;
  #failure: { readonly error: unknown } | null = null;

  private constructor(trace: Trace, path: string, output: Output) {
    this.trace = trace;
    this.#path = path;
    this.#output = output;
  }

  static async begin(run: SelfPlay, { path, iterations }: Profile, output: Output): Promise<Recording> {
    return new Recording(await run.trace({ iterations }), path, output);
  }

  /** Ends the recording and writes the file; the first call does. */
  write(): Promise<void> {
    this.#written ??= this.#write();
    return this.#written;
  }

  async #write(): Promise<void> {
    const { trace } = this;
    try {
      await trace.stop();
      await trace.save(this.#path);
    } catch (error) {
      this.#failure = { error };
      return;
    }
    const { iterations, events, dropped } = trace;
    await this.#output.emit({ type: "profile", path: this.#path, iterations, events, dropped });
  }

  /** Says what was written, or throws why it was not. */
  report(): void {
    if (this.#failure) throw this.#failure.error;
    const { iterations, events, dropped } = this.trace;
    this.#output.note(
      `Wrote ${this.#path}: ${count(iterations)} iterations, ${count(events)} events (open it in ui.perfetto.dev)\n`,
    );
    if (dropped > 0) this.#output.warn(`the profile lacks ${count(dropped)} events, which found no room`);
  }
}
