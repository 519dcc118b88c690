// Tests of the addon under Address-, Undefined- and LeakSanitizer, or under ThreadSanitizer.
//
//   node test/sanitizers/run.mjs asan|tsan [files of test/ts, test/slow ...]
//
// The addon is built with the sanitizer in a folder of its own. Node is not: the sanitizer's library is preloaded, and
// what it says about Node itself is left out. Reports go to files, so that tests which look at stderr see none; they
// are read at the end, and any of them fails the run.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));

/** What runs without further words: each way into the addon, and each way out of it. */
const SELECTION = [
  "test/ts/api.test.ts",
  "test/ts/safety.test.ts",
  "test/ts/text.test.ts",
  "test/ts/resume.test.ts",
  "test/slow/leaks.test.ts",
  "test/slow/lifetime.test.ts",
];

const [sanitizer, ...files] = process.argv.slice(2);
const library = { asan: "libasan.so", tsan: "libtsan.so" }[sanitizer];
if (!library) {
  console.error("usage: node test/sanitizers/run.mjs asan|tsan [test files]");
  process.exit(2);
}
if (process.platform !== "linux") {
  console.error("bellows: the addon's sanitizer tests need Linux with gcc; the C tests run everywhere.");
  process.exit(1);
}

// A name without a folder: this compiler has no such library.
const compiler = process.env.CC ?? "gcc";
const found = spawnSync(compiler, [`-print-file-name=${library}`], { encoding: "utf8" });
const runtime = found.stdout?.trim() ?? "";
if (found.error || !isAbsolute(runtime) || !existsSync(runtime)) {
  console.error(`bellows: ${compiler} has no ${library}: apt-get install gcc g++ libasan8 libtsan2`);
  process.exit(1);
}

function run(command, args, env = {}) {
  const done = spawnSync(command, args, { cwd: root, stdio: "inherit", env: { ...process.env, ...env } });
  if (done.error) throw done.error;
  return done.status ?? 1;
}

const built = run(process.execPath, [join(root, "scripts", "native.mjs"), "addon", sanitizer]);
if (built !== 0) process.exit(built);

const reports = mkdtempSync(join(tmpdir(), `bellows-${sanitizer}-`));
const log = `log_path=${join(reports, "report")}`;
const status = run(
  process.execPath,
  [
    join(root, "node_modules", "vitest", "vitest.mjs"),
    "run",
    "--config",
    join(here, "vitest.config.ts"),
    ...(files.length > 0 ? files : SELECTION),
  ],
  {
    LD_PRELOAD: runtime,
    BELLOWS_SANITIZED: "1",
    BELLOWS_BINARY: join(root, "build", `${sanitizer}-addon`, "RelWithDebInfo", "bellows.node"),
    // A request that is too big is refused, as without the sanitizer. An error ends its process by a signal, so that the
    // test fails; leaks are found at the end of a process, and do not change how it ended.
    ASAN_OPTIONS: `${log}:abort_on_error=1:allocator_may_return_null=1:detect_stack_use_after_return=1:quarantine_size_mb=16:malloc_context_size=12`,
    LSAN_OPTIONS: "detect_leaks=1:exitcode=0",
    UBSAN_OPTIONS: "print_stacktrace=1",
    TSAN_OPTIONS: `${log}:exitcode=0:suppressions=${join(here, "tsan.supp")}:second_deadlock_stack=1`,
  },
);

// Node leaves memory behind when it is told to end at once: a leak counts when the addon's own code allocated it.
function isOurLeak(leak) {
  const frames = leak.split("\n").filter((line) => /^ +#\d/.test(line));
  const first = frames.find((frame) => !/libsanitizer|\/include\/c\+\+\/|\(.*\.so[.\d]*\+0x/.test(frame));
  return /csrc\/|node-addon-api|bellows\.node/.test(first ?? "");
}

const findings = [];
for (const name of readdirSync(reports)) {
  const text = readFileSync(join(reports, name), "utf8");
  if (text.includes("LeakSanitizer")) {
    findings.push(...text.split("\n\n").filter((part) => /^(Direct|Indirect) leak/.test(part) && isOurLeak(part)));
  } else if (text.includes("ThreadSanitizer")) {
    // A race in which the addon takes part.
    findings.push(...text.split(/^={18}$/m).filter((part) => part.includes("bellows.node")));
  } else {
    findings.push(text);
  }
}
rmSync(reports, { recursive: true });
for (const text of findings) console.error(`\n${text}`);
console.log(`${sanitizer}: ${findings.length} reports`);
process.exit(status || (findings.length > 0 ? 1 : 0));
