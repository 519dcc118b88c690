// Starts writers of a ledger (ledger_driver.mjs), and reads what they noted.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Running, root, start } from "./cli.js";

const driver = join(root, "test", "ts", "ledger_driver.mjs");

/** Starts a writer; its arguments are those of ledger_driver.mjs. */
export function writer(args: readonly (string | number)[], node: readonly string[] = []): Running {
  return start(args.map(String), { node: [...node, driver] });
}

/** The values that were acknowledged of every run ("ARM SEED"), in files of a folder whose names begin so. */
export function acknowledged(folder: string, prefix = "notes-"): Map<string, number[]> {
  const told = new Map<string, number[]>();
  for (const name of readdirSync(folder).filter((name) => name.startsWith(prefix))) {
    // A line that a kill has cut short was not acknowledged.
    for (const line of readFileSync(join(folder, name), "utf8").split("\n").slice(0, -1)) {
      const [arm, seed, value] = line.split(" ");
      const run = `${arm} ${seed}`;
      const said = told.get(run);
      if (said === undefined) told.set(run, [Number(value)]);
      else said.push(Number(value));
    }
  }
  return told;
}
