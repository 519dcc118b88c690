// Runs the TypeScript tests under the later versions of Node in tools/package.json (x64 Linux).
//
//   node scripts/nodes.mjs [vitest's arguments]

import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { toolFolder } from "./tools.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
let failed = 0;
for (const name of ["node-22", "node-24"]) {
  const node = join(toolFolder(name), "bin", "node");
  console.log(`\n== ${spawnSync(node, ["--version"], { encoding: "utf8" }).stdout.trim()}`);
  const { status } = spawnSync(node, [vitest, "run", ...process.argv.slice(2)], { cwd: root, stdio: "inherit" });
  if (status !== 0) ++failed;
}
process.exitCode = failed === 0 ? 0 : 1;
