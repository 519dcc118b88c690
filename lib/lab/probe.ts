// A process that loads an objective and does nothing else: whether a study's module is one is known before the study is.

import { load } from "./objective.js";
import type { ObjectiveSource } from "./task.js";

try {
  await load(JSON.parse(process.argv[2]!) as ObjectiveSource);
  process.stdout.write("\nloaded", () => process.exit(0));
} catch (error) {
  const { message, path } = error as { message: string; path?: string };
  process.stdout.write(`\n${JSON.stringify({ message, path })}`, () => process.exit(1));
}
