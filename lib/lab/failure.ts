// Failures of an objective as data: what went wrong, and whether another attempt could end otherwise.

import { BellowsError, errnoOf } from "../errors.js";
import type { Ending } from "./protocol.js";

/** With the same options and the same seed on the same machine these come again. */
const CERTAIN: readonly string[] = ["OPTION", "NUMERIC", "DEVICE", "NO_BINARY", "UNSETTLED"];

/** Mistakes in a program. The platform's own TypeErrors, of `fetch` for example, name a cause. */
function isMistake(error: unknown): boolean {
  if (error instanceof TypeError) return error.cause === undefined;
  return error instanceof ReferenceError || error instanceof SyntaxError;
}

export function failure(code: string, message: string, retry = !CERTAIN.includes(code)): Ending & { ok: false } {
  return { ok: false, kind: "error", code, message, retry };
}

/** The failure of an objective that threw. */
export function failureOf(error: unknown): Ending & { ok: false } {
  if (!(error instanceof Error)) return failure("ERROR", `the objective threw ${String(error)}`, true);
  const code = error instanceof BellowsError ? error.code : (errnoOf(error) ?? error.name);
  return failure(code, error.message || error.name, !CERTAIN.includes(code) && !isMistake(error));
}

/** The failure of an objective that ends without a finite metric. */
export function metricFailure(message: string): Ending & { ok: false } {
  return { ok: false, kind: "metric", code: "METRIC", message, retry: false };
}
