// Node for another platform than this one, from the registry.

import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "../ts/cli.js";

const VERSION = "20.20.2";

/** Path of the executable; downloaded once. */
export function nodeFor(platform: "linux" | "win32", arch: string): string {
  const name = `node-${platform === "win32" ? "win" : platform}-${arch}`;
  const place = join(root, "build", `${name}-${VERSION}`);
  const node = join(place, "package", "bin", platform === "win32" ? "node.exe" : "node");
  if (existsSync(node)) return node;
  mkdirSync(place, { recursive: true });
  const packed = spawnSync("npm", ["pack", `${name}@${VERSION}`, "--silent"], { cwd: place, encoding: "utf8" });
  if (packed.status !== 0) throw new Error(`${name}@${VERSION} could not be had: ${packed.stderr}`);
  const unpacked = spawnSync("tar", ["xzf", packed.stdout.trim()], { cwd: place, encoding: "utf8" });
  if (unpacked.status !== 0) throw new Error(unpacked.stderr);
  chmodSync(node, 0o755);
  return node;
}
