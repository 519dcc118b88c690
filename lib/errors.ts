import { constants } from "node:os";

/** What went wrong, for programs. The command line adds its own: USAGE, INTERRUPTED, LEARNED_NOTHING. */
export type ErrorCode =
  | "OPTION"
  | "MEMORY"
  | "NUMERIC"
  | "CHECKPOINT"
  | "DEVICE"
  | "STATE"
  | "CANCELLED"
  | "CLOSED"
  | "NO_BINARY"
  | "IO"
  | "LOCKED"
  | "LEDGER"
  | "USAGE"
  | "INTERRUPTED"
  | "LEARNED_NOTHING"
  | "INTERNAL";

/** What an error may say beside its message. */
export interface ErrorDetails {
  /** The function or kernel that failed, for example `selfplay.create`. */
  op?: string | undefined;
  /** The device it ran on; empty where none is involved. */
  device?: string | undefined;
  /** The option, field, tensor or file concerned. */
  path?: string | null | undefined;
  /** The value that was refused, as text. */
  received?: string | null | undefined;
  /** What is allowed. */
  expected?: string | null | undefined;
  cause?: unknown;
}

/** The base of every error that bellows throws on purpose. */
export class BellowsError extends Error {
  override name = "BellowsError";
  readonly code: ErrorCode;
  readonly op: string;
  readonly device: string;
  readonly path: string | null;
  readonly received: string | null;
  readonly expected: string | null;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.op = details.op ?? "";
    this.device = details.device ?? "";
    this.path = details.path || null;
    this.received = details.received || null;
    this.expected = details.expected || null;
  }
}

/** An option or argument is unknown, of the wrong type, or out of range. */
export class OptionError extends BellowsError {
  override name = "OptionError";

  constructor(message: string, details: ErrorDetails = {}) {
    super("OPTION", message, details);
  }
}

/** One row of a memory plan. */
export interface PlanRow {
  /** The option group that decides the size. */
  readonly group: string;
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** Memory ran out, or a plan does not fit before anything is allocated. */
export class OutOfMemoryError extends BellowsError {
  override name = "OutOfMemoryError";
  /** Bytes that were asked for; 0 if unknown. */
  readonly needed: number;
  /** Bytes that there are; 0 if unknown. */
  readonly free: number;
  /** What the run would allocate, where that is known. */
  readonly plan: readonly PlanRow[] | null;

  constructor(
    message: string,
    details: ErrorDetails & { needed: number; free: number; plan?: readonly PlanRow[] | null },
  ) {
    super("MEMORY", message, details);
    this.needed = details.needed;
    this.free = details.free;
    this.plan = details.plan ?? null;
  }
}

/** A loss, gradient or weight is not a finite number. The run is as it was before the failing step. */
export class NumericError extends BellowsError {
  override name = "NumericError";
  /** The optimiser step. */
  readonly step: number;
  /** The tensor that is not finite. */
  readonly tensor: string;

  constructor(message: string, details: ErrorDetails & { step: number; tensor: string }) {
    super("NUMERIC", message, {
      ...details,
      path: details.path || details.tensor,
      received: details.received || "NaN or infinity",
      expected: details.expected || "finite numbers",
    });
    this.step = details.step;
    this.tensor = details.tensor;
  }
}

/** A checkpoint is missing, unreadable, truncated, corrupt, or of another shape. */
export class CheckpointError extends BellowsError {
  override name = "CheckpointError";

  constructor(message: string, details: ErrorDetails = {}) {
    super("CHECKPOINT", message, details);
  }
}

/** A lab's file is no ledger, was written by a later version, or is damaged. */
export class LedgerError extends BellowsError {
  override name = "LedgerError";

  constructor(message: string, details: ErrorDetails = {}) {
    super("LEDGER", message, details);
  }
}

/** The device that was asked for is not available here. */
export class DeviceError extends BellowsError {
  override name = "DeviceError";

  constructor(message: string, details: ErrorDetails = {}) {
    super("DEVICE", message, details);
  }
}

/** The run is closed. */
export class ClosedError extends BellowsError {
  override name = "ClosedError";

  constructor(op = "", message = "the run is closed") {
    super("CLOSED", message, { op });
  }
}

/** A native binary that was tried, and why it did not do. */
export interface TriedBinary {
  readonly path: string;
  readonly reason: string;
}

/** What decides which native binary fits. */
export interface Runtime {
  /** As in `process.platform`. */
  readonly platform: string;
  /** As in `process.arch`. */
  readonly arch: string;
  /** On Linux `glibc VERSION` or `musl`; null where it is another or not known. */
  readonly libc: string | null;
  /** As in `process.version`. */
  readonly node: string;
  /** Versions of Node-API: what this runtime has, and what bellows needs at least. */
  readonly nodeApi: { readonly offered: number; readonly needed: number };
}

/** No native binary was found that loads here. The message is a page for people. */
export class NoBinaryError extends BellowsError implements Runtime {
  override name = "NoBinaryError";
  readonly platform: string;
  readonly arch: string;
  readonly libc: string | null;
  readonly node: string;
  readonly nodeApi: Runtime["nodeApi"];
  /** The files that were tried, in this order. */
  readonly tried: readonly TriedBinary[];
  /** The prebuilt binaries inside the package, for example `linux-x64/bellows.glibc.node`. */
  readonly prebuilds: readonly string[];
  /** The command that builds the binary from source. */
  readonly buildCommand: string;

  constructor(
    message: string,
    details: Runtime & {
      tried: readonly TriedBinary[];
      prebuilds: readonly string[];
      buildCommand: string;
      cause?: unknown;
    },
  ) {
    const { platform, arch, libc, node, nodeApi, tried, prebuilds, buildCommand } = details;
    super("NO_BINARY", message, {
      op: "load",
      path: tried.at(-1)?.path,
      received: tried.at(-1)?.reason ?? `Node-API ${nodeApi.offered}`,
      expected: `a native binary for ${platform}-${arch}${libc === null ? "" : `, ${libc}`}, Node-API ${nodeApi.needed}`,
      cause: details.cause,
    });
    this.platform = platform;
    this.arch = arch;
    this.libc = libc;
    this.node = node;
    this.nodeApi = nodeApi;
    this.tried = tried;
    this.prebuilds = prebuilds;
    this.buildCommand = buildCommand;
  }
}

/** A file could not be read or written. */
export class IoError extends BellowsError {
  override name = "IoError";
  /** The system's name of the failure, for example `ENOSPC`. */
  readonly errno: string;
  /** Whether the given path is at fault, rather than the system while running. */
  readonly input: boolean;

  constructor(message: string, details: ErrorDetails & { errno: string; input: boolean }) {
    super("IO", message, details);
    this.errno = details.errno;
    this.input = details.input;
  }
}

/** Failures of the system rather than of a path that was given. */
const SYSTEM_FAULTS = new Set(["ENOSPC", "EDQUOT", "EIO", "EFBIG", "EMFILE", "ENFILE", "ENOMEM", "ENXIO"]);

/** What would have been right, where the system's name of a failure says it. */
const WANTED: Readonly<Record<string, string>> = {
  ENOENT: "a path that exists, or can be made",
  ENOTDIR: "a path through directories",
  EISDIR: "a file",
  EACCES: "a path that this user may use",
  EPERM: "a path that this user may use",
  EROFS: "a path that can be written",
  ENAMETOOLONG: "a shorter path",
  ENOSPC: "space on the device",
  EDQUOT: "space in the quota",
  EFBIG: "a smaller file, or a larger limit of file sizes",
  EIO: "a device that works",
};

/** How Node calls failures that libuv has no name for, such as EDQUOT and ESTALE. */
const UNNAMED = /^Unknown system error -(\d+)/;

/** The system's name of a failure, or null for other errors. */
export function errnoOf(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  const code = (error as NodeJS.ErrnoException).code;
  if (typeof code !== "string") return null;
  if (/^E[A-Z0-9]+$/.test(code)) return code;
  const [, number] = UNNAMED.exec(code) ?? [];
  if (number === undefined) return null;
  const [name] = Object.entries(constants.errno).find(([, value]) => value === Number(number)) ?? [];
  return name ?? `E${number}`;
}

/**
 * A file error as an {@link IoError}; other errors as they are.
 *
 * @param doing - what failed, for the message: "cannot write the checkpoint"
 * @param running - whether the path had worked before, so that it is not bad input
 */
export function ioError(error: unknown, path: string, doing: string, running = false): unknown {
  const errno = errnoOf(error);
  if (errno === null || error instanceof BellowsError) return error;
  const text = (error as Error).message.replace(/^E[A-Z0-9]+: /, "").replace(/,.*$/s, "");
  const words = UNNAMED.test(text) ? "the system refuses" : text;
  return new IoError(`${doing}: ${path}: ${words} (${errno})`, {
    op: "io",
    path,
    received: errno,
    expected: WANTED[errno] ?? "a path that can be used",
    errno,
    input: !running && !SYSTEM_FAULTS.has(errno),
    cause: error,
  });
}

/** An error as the engine gives it. */
export interface NativeError {
  readonly status: string;
  readonly op: string;
  readonly device: string;
  readonly path: string;
  readonly received: string;
  readonly expected: string;
  readonly message: string;
  readonly needed: number;
  readonly available: number;
  readonly step: number;
}

export function isNativeError(error: unknown): error is NativeError {
  return (
    typeof error === "object" &&
    error !== null &&
    !(error instanceof Error) &&
    typeof (error as NativeError).status === "string"
  );
}

/** The typed error for an engine error; anything else as it is. */
export function fromNative(error: unknown): unknown {
  if (!isNativeError(error)) return error;
  switch (error.status) {
    case "OPTION":
      return new OptionError(error.message, error);
    case "MEMORY": {
      const { needed, available: free } = error;
      const received = error.received || (needed > 0 ? `${needed} bytes` : null);
      const expected = error.expected || (free > 0 ? `at most ${free} bytes` : "less than the memory that is free");
      return new OutOfMemoryError(error.message, { ...error, received, expected, needed, free });
    }
    case "NUMERIC":
      return new NumericError(error.message, { ...error, tensor: error.path });
    case "CHECKPOINT":
      return new CheckpointError(error.message, error);
    case "DEVICE":
      return new DeviceError(error.message, error);
    case "CANCELLED":
      return new BellowsError("CANCELLED", error.message, error);
    case "CLOSED":
      return new ClosedError(error.op, error.message);
    case "STATE":
      return new BellowsError("STATE", error.message, error);
    default:
      return new BellowsError("INTERNAL", error.message, error);
  }
}
