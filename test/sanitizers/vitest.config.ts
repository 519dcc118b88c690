import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    root: dirname(dirname(dirname(fileURLToPath(import.meta.url)))),
    include: ["test/ts/*.test.ts", "test/slow/*.test.ts"],
    // The workers of a test file end as processes do: the sanitizer looks at what they leave.
    pool: "forks",
    testTimeout: 600_000,
    hookTimeout: 600_000,
    maxWorkers: 2,
  },
});
