// Plain JSON: what can be stored and read back as it was.

import { OptionError } from "../errors.js";

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [name: string]: Json;
}

/** How deep objects may lie in one another. */
const DEPTH = 100;

function copy(value: unknown, at: string, depth: number): Json {
  const refuse = (received: string): never => {
    throw new OptionError(`${at}: ${received} is not plain JSON`, {
      op: "ledger",
      path: at,
      received,
      expected: "null, booleans, finite numbers, strings, arrays and plain objects",
    });
  };
  if (depth > DEPTH) return refuse(`what lies deeper than ${DEPTH} levels`);
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : refuse(String(value));
  if (Array.isArray(value)) return value.map((item, i) => copy(item, `${at}[${i}]`, depth + 1));
  if (typeof value !== "object") return refuse(`a value of type ${typeof value}`);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return refuse("an object of a class");
  // As in JSON.stringify, what is undefined is left out.
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  return Object.fromEntries(entries.map(([name, item]) => [name, copy(item, `${at}.${name}`, depth + 1)]));
}

/** A copy of a value that is plain JSON; an OptionError that names the place for others. */
export function toJson(value: unknown, at: string): Json {
  return copy(value, at, 0);
}
