import type { LoadArguments } from "../selfplay.js";
import { usage } from "./output.js";

export interface LoadFlags {
  readonly threads?: string;
  readonly precision?: string;
}

/** A whole number from a flag. */
export function integer(flag: string, text: string, min: number, max: number): number {
  const value = /^[+-]?\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  const expected = `an integer from ${min} to ${max}`;
  throw usage(`${flag} is ${text}; it must be ${expected}`, flag, text, expected);
}

/** Flags of commands that load a checkpoint. */
export function loadArguments({ threads, precision }: LoadFlags): LoadArguments {
  return {
    threads: threads === undefined ? undefined : integer("--threads", threads, 0, 256),
    precision: precision as LoadArguments["precision"], // checked where all options are
  };
}
