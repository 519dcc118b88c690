// The Windows binary, under Wine: the C tests as Windows programs, and the addon in Node for Windows. It computes the
// bits that Linux computes.

import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { compile, prebuild, targets } from "../../scripts/prebuild.mjs";
import { root, scratch } from "../ts/cli.js";
import { nodeFor } from "./nodes.js";

const folder = scratch();
const build = join(root, "build", "windows");
const windows = targets.find(({ platform }) => platform === "win32");
const wine = ["/usr/bin/wine64", "/usr/lib/wine/wine64"].find((path) => existsSync(path));
const env = {
  ...process.env,
  WINEDEBUG: "-all",
  WINEPREFIX: join(build, "wine"),
  NODE_SKIP_PLATFORM_CHECK: "1", // Wine says that it is Windows 7
};

/** Wine makes no pipes of ours for Node, so programs write to files. */
function run(args: readonly string[], more: Readonly<Record<string, string>> = {}) {
  return spawnSync(wine ?? "wine64", args, { cwd: folder, env: { ...env, ...more }, stdio: "ignore" });
}

beforeAll(async () => {
  if (!wine) throw new Error("Wine is missing: apt-get install wine64");
  if (!windows) throw new Error("no target for Windows");
  await prebuild(windows);
  compile(windows, build, "tests");
}, 1_800_000);

test("every C test passes", () => {
  const programs = readdirSync(build).filter((name) => /^test_[a-z_]+\.exe$/.test(name));
  expect(programs.length).toBeGreaterThan(12);
  expect(programs.filter((name) => run([join(build, name)]).status !== 0)).toEqual([]);
});

test("the addon trains, saves, loads and judges in Node for Windows, with the bits of Linux", () => {
  // A package of its own: node_modules hold another platform's files.
  const place = join(folder, "package");
  mkdirSync(join(place, "prebuilds", "win32-x64"), { recursive: true });
  for (const item of ["dist", "package.json"]) cpSync(join(root, item), join(place, item), { recursive: true });
  cpSync(windows?.file ?? "", join(place, "prebuilds", "win32-x64", "bellows.node"));
  const script = (library: string, out: string) => `
    import { writeFileSync } from "node:fs";
    try {
      const { SelfPlay } = await import(${JSON.stringify(library)});
      const options = { game: { name: "tictactoe" }, rollout: { games: 128 }, run: { seed: 1, iterations: 3, threads: 2 } };
      const run = await SelfPlay.create(options);
      for await (const _ of run.train({ roofline: false }));
      const hash = await run.weightsHash();
      const { certificate } = await run.evaluate();
      await run.save("agent.safetensors");
      await run.save("agent.safetensors");
      await run.close();
      const again = await SelfPlay.load("agent.safetensors");
      const loaded = await again.weightsHash();
      await again.close();
      writeFileSync(${JSON.stringify(out)}, JSON.stringify({ hash, loaded, sampled: certificate.sampled.exploitability }));
    } catch (error) {
      writeFileSync(${JSON.stringify(out)}, JSON.stringify({ error: error.stack }));
    }`;
  writeFileSync(join(folder, "windows.mjs"), script("./package/dist/index.js", "windows.json"));
  writeFileSync(join(folder, "linux.mjs"), script(join(root, "dist", "index.js"), "linux.json"));
  for (const isa of ["portable", "avx2"]) {
    run([nodeFor("win32", "x64"), "windows.mjs"], { BELLOWS_ISA: isa });
    const here = { ...process.env, BELLOWS_ISA: isa };
    spawnSync(process.execPath, ["linux.mjs"], { cwd: folder, env: here });
    const read = (name: string) => JSON.parse(readFileSync(join(folder, name), "utf8"));
    expect(read("windows.json")).toEqual(read("linux.json"));
    expect(read("windows.json").loaded).toMatch(/^[0-9a-f]{64}$/);
  }
});
