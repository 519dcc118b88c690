import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const file = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

test("fixed runs on the portable instruction set compute what they always have", () => {
  const { signature } = JSON.parse(readFileSync(file("test/golden/signature.json"), "utf8")) as { signature: string };
  const printed = execFileSync(process.execPath, [file("scripts/signature.mjs")], { encoding: "utf8" }).trim();
  // On purpose? Then say so in the commit and run `npm run signature -- --write`.
  expect(printed).toBe(signature);
});
