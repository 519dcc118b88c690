// Where and of what a bench speaks: machine, load, version, commit.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism, loadavg, totalmem } from "node:os";
import { join } from "node:path";
import { packageRoot, packageVersion } from "../binary.js";
import { native, settled } from "../native.js";

export interface Machine {
  readonly cpu: string;
  /** Of cpuid, since one name covers several designs; 0 where there is none. */
  readonly family: number;
  readonly model: number;
  readonly cores: number;
  readonly isa: string;
  readonly memoryGiB: number;
  readonly platform: string;
}

export interface Origin {
  readonly version: string | null;
  /** Of the checkout, with "-dirty" where the engine's sources differ from it; null in an installed package. */
  readonly commit: string | null;
  readonly date: string;
}

/** More than this, and other programs take time from the bench. */
export const BUSY_LOAD = 0.5;

export async function machine(): Promise<Machine> {
  const info = await settled(native().info(false));
  return {
    cpu: info.cpu,
    family: info.cpuFamily,
    model: info.cpuModel,
    cores: availableParallelism(),
    isa: info.isa,
    memoryGiB: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    platform: `${process.platform}-${process.arch}`,
  };
}

/** The load of the last minute; 0 where the system does not say. */
export function load(): number {
  return Math.round((loadavg()[0] ?? 0) * 100) / 100;
}

function git(...argv: readonly string[]): string | null {
  const done = spawnSync("git", ["-C", packageRoot, ...argv], { encoding: "utf8" });
  return done.status === 0 ? done.stdout.trim() : null;
}

export function origin(): Origin {
  const commit = existsSync(join(packageRoot, ".git")) ? git("rev-parse", "--short", "HEAD") : null;
  const dirty = commit !== null && git("status", "--porcelain", "--untracked-files=no", "--", "csrc") !== "";
  return {
    version: packageVersion(),
    commit: dirty ? `${commit}-dirty` : commit,
    date: new Date().toISOString().slice(0, 10),
  };
}

/** A file name for results of this kind of machine. */
export function machineName({ cpu, family, model, cores }: Machine): string {
  const design = family > 0 ? ` family ${family} model ${model}` : "";
  const words = `${cpu.toLowerCase().replace(/\((r|tm)\)/g, "")}${design} ${cores} cores`;
  return words.replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
}
