import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { BellowsError, ioError } from "../errors.js";
import type { Output } from "./output.js";

/**
 * Signals this close together are one wish: from npm or timeout a process gets Ctrl-C twice, from the terminal and from
 * its parent, and must still save its checkpoint.
 */
const SAME_INTERRUPT_MS = 1000;

/** What a command is given beside its arguments. */
export class Context {
  readonly output: Output;
  readonly #interrupt = new AbortController();
  #graceful = 0;
  #firstSignal = 0;
  exitCode = 0;

  constructor(output: Output) {
    this.output = output;
  }

  /** Aborted at the first SIGINT or SIGTERM, with an INTERRUPTED error as reason. */
  get signal(): AbortSignal {
    return this.#interrupt.signal;
  }

  /** Runs work that ends by itself after an interrupt, because it looks at {@link signal}. */
  async gracefully<T>(work: () => Promise<T>): Promise<T> {
    ++this.#graceful;
    try {
      return await work();
    } finally {
      --this.#graceful;
    }
  }

  /** Stops the command: in an orderly way where it can, else at once; at once when asked again. */
  interrupt(why: string): void {
    const now = performance.now();
    const again = this.signal.aborted;
    if (!again) this.#firstSignal = now;
    else if (now - this.#firstSignal < SAME_INTERRUPT_MS) return;
    const reason = new BellowsError("INTERRUPTED", `interrupted by ${why}`, {
      op: "cli",
      received: why,
      expected: "to run to the end",
    });
    if (!again) this.#interrupt.abort(reason);
    if (again || this.#graceful === 0) process.exit(this.output.fail(reason));
  }

  /** Whoever read stdout has gone: training stops as if interrupted, other commands have nobody to work for. */
  readerGone(): void {
    this.output.broken = true;
    if (this.#graceful === 0) process.exit(0);
    if (!this.signal.aborted) this.interrupt("the closed output");
  }

  listen(): void {
    for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => this.interrupt(name));
    process.stdout.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE") this.readerGone();
      this.output.broken = true;
      if (error.code !== "EPIPE") process.exit(this.output.fail(ioError(error, "stdout", "cannot write", true)));
    });
    process.stderr.on("error", () => {});
  }
}

/** How a user starts this command line here: through npx where it is installed, by its file in a checkout. */
export function launcher(): string {
  const main = fileURLToPath(new URL("./main.js", import.meta.url));
  if (/[\\/]node_modules[\\/]/.test(main)) return "npx bellows";
  return `node ${shellWord(relative(process.cwd(), main) || main)}`;
}

/** A word for a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
