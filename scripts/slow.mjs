// Everything that is too slow for `npm test`, one after another, with a table of how long each took at the end.
//
//   node scripts/slow.mjs [NAME...]      all campaigns, or those named
//   node scripts/slow.mjs --packages     the Debian packages that they need

import { spawnSync } from "node:child_process";

/** Name of each campaign, which is `npm run test:NAME`, and the Debian packages that it needs beyond a compiler. */
const campaigns = [
  ["asan", []],
  ["tsan", []],
  ["memory", []],
  ["leaks", []],
  ["lifetime", []],
  ["faults", ["strace"]],
  ["ledger", []],
  ["lab-kill", []],
  ["plants", []],
  ["compare", ["git"]],
  ["interop", ["python3", "python3-venv"]],
  ["isa", ["qemu-user", "libc6-arm64-cross", "musl", "binutils"]],
  ["shipped", []],
  ["windows", ["wine64"]],
  ["nodes", []],
  ["package", []],
  ["fuzz", ["clang", "libclang-rt-dev"]],
];

const names = process.argv.slice(2);
if (names.includes("--packages")) {
  console.log([...new Set(campaigns.flatMap(([, packages]) => packages))].join(" "));
  process.exit();
}
const unknown = names.find((name) => campaigns.every(([known]) => known !== name));
if (unknown !== undefined) {
  console.error(`bellows: "${unknown}" is none of ${campaigns.map(([name]) => name).join(", ")}`);
  process.exit(2);
}

const results = [];
for (const [name] of campaigns) {
  if (names.length > 0 && !names.includes(name)) continue;
  console.log(`\n== npm run test:${name}`);
  const start = performance.now();
  const { status } = spawnSync("npm", ["run", "--silent", `test:${name}`], { stdio: "inherit" });
  results.push({
    campaign: name,
    result: status === 0 ? "passed" : "FAILED",
    seconds: (performance.now() - start) / 1e3,
  });
}
console.log();
for (const { campaign, result, seconds } of results) {
  console.log(`${campaign.padEnd(10)} ${result}  ${seconds.toFixed(0).padStart(5)} s`);
}
const failed = results.filter(({ result }) => result !== "passed").length;
console.log(`${results.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
