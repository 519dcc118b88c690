// What the documents show works: TypeScript blocks compile, named scripts and commands exist.

import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const documents = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

/** Fenced blocks of one language: where they stand, and their text. */
function blocks(language: string): { where: string; text: string }[] {
  return documents.flatMap((path) =>
    [...readFileSync(join(root, path), "utf8").matchAll(/^```(\w+)\n([\s\S]*?)^```/gm)]
      .filter(([, fence]) => fence === language)
      .map(([, , text = ""], index) => ({ where: `${path} block ${index + 1}`, text })),
  );
}

/** Shell commands of the documents, without comments and continuation by &&. */
const commands = blocks("sh")
  .flatMap(({ text }) => text.split(/\n|&&/))
  .map((line) => line.replace(/\s+#.*$/, "").trim())
  .filter((line) => line !== "");

describe("documents", () => {
  test("docs/connect-four.md has the tables that today's results make", async () => {
    const { fillIn } = await import(join(root, "docs", "figures", "connect4-tables.mjs"));
    const page = readFileSync(join(root, "docs", "connect-four.md"), "utf8");
    expect(fillIn(page)).toBe(page);
    const other = page.replace(/\d+ \(\d+ to \d+\)/, "9999 (9998 to 9999)");
    expect(other).not.toBe(page);
    expect(fillIn(other)).toBe(page);
    expect(() => fillIn(page.replace("<!-- end of ladder -->", ""))).toThrow("ladder");
  });

  test("TypeScript blocks compile", () => {
    const folder = join(root, "build", "readme");
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const shown = blocks("ts");
    expect(shown.length).toBeGreaterThan(0);
    shown.forEach(({ where, text }, index) => {
      writeFileSync(join(folder, `block${index}.ts`), `// ${where}\n${text}\nexport {};\n`);
    });
    const config = { extends: "../../tsconfig.test.json", include: ["*.ts"] };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
    const require = createRequire(import.meta.url);
    const tsc = join(dirname(require.resolve("typescript/package.json")), "bin", "tsc");
    const done = spawnSync(process.execPath, [tsc, "-p", folder], { encoding: "utf8" });
    expect(done.stdout + done.stderr).toBe("");
    expect(done.status).toBe(0);
  });

  test("scripts that are named exist", () => {
    const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      scripts: Record<string, string>;
    };
    const named = commands.flatMap((line) => /^npm (?:run (\S+)|(start|test))/.exec(line)?.slice(1) ?? []);
    const missing = named.filter((name) => name !== undefined && scripts[name] === undefined);
    expect(named.length).toBeGreaterThan(0);
    expect(missing).toEqual([]);
  });

  const shownCommands = [...new Set(commands.flatMap((line) => /^npx bellows (\w+)/.exec(line)?.[1] ?? []))];
  test.each(shownCommands)("bellows %s exists", (name) => {
    const done = spawnSync(process.execPath, [join(root, "dist/cli/main.js"), name, "--help"], { encoding: "utf8" });
    expect(done.status).toBe(0);
    expect(done.stdout).toContain(`bellows ${name}`);
  });
});
