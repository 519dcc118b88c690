import { OptionError } from "../../errors.js";

/** What a number may be. Without a range any finite number is right. */
export interface Range {
  readonly integer?: boolean;
  /** At least this. */
  readonly min?: number;
  /** More than this. */
  readonly above?: number;
  /** At most this. */
  readonly max?: number;
  /** Less than this. */
  readonly below?: number;
}

/** An {@link OptionError} that names the field, its value and what is allowed. */
export function refuse(op: string, path: string, value: unknown, expected: string): never {
  const received = describe(value);
  throw new OptionError(`${path} is ${received}; it must be ${expected}`, { op, path, received, expected });
}

/** Refuses what is no finite number of the range. */
export function checkNumber(op: string, path: string, value: unknown, range: Range = {}): number {
  const { integer = false, min, above, max, below } = range;
  const fits =
    typeof value === "number" &&
    (integer ? Number.isSafeInteger(value) : Number.isFinite(value)) &&
    !(min !== undefined && value < min) &&
    !(above !== undefined && value <= above) &&
    !(max !== undefined && value > max) &&
    !(below !== undefined && value >= below);
  return fits ? value : refuse(op, path, value, wording(range));
}

/** Refuses what is no list of finite numbers, or has fewer than `atLeast`. */
export function checkNumbers(op: string, path: string, values: unknown, atLeast = 1): asserts values is Numbers {
  if (!Array.isArray(values) && !(values instanceof Float64Array)) refuse(op, path, values, "a list of numbers");
  if (values.length < atLeast) {
    refuse(op, `${path}.length`, values.length, `at least ${atLeast}`);
  }
  for (let i = 0; i < values.length; ++i) checkNumber(op, `${path}[${i}]`, values[i]);
}

/** Refuses what is not one of the words. */
export function checkWord<Word extends string>(op: string, path: string, value: unknown, words: readonly Word[]): Word {
  return words.find((word) => word === value) ?? refuse(op, path, value, words.map((word) => `"${word}"`).join(" or "));
}

/** Numbers that are only read. */
export type Numbers = readonly number[] | Float64Array;

function wording({ integer = false, min, above, max, below }: Range): string {
  const parts = [
    ...(min === undefined ? [] : [`at least ${min}`]),
    ...(above === undefined ? [] : [`above ${above}`]),
    ...(max === undefined ? [] : [`at most ${max}`]),
    ...(below === undefined ? [] : [`below ${below}`]),
  ];
  return [integer ? "a whole number" : "a finite number", parts.join(" and ")].filter(Boolean).join(", ");
}

function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === "object" && value !== null ? "an object" : String(value);
}
