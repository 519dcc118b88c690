// Who made a lock or a temporary file, and whether that process is still there. A process id says so only to processes
// that see the same ids: under the same boot of the same kernel, in the same namespace (containers have their own).

import { createHash } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { isPlainObject } from "./options.js";

/** A process, as others can recognise it. What a system does not tell is "". */
export interface Owner {
  readonly pid: number;
  /** When it started, so that a reused id is not taken for it. */
  readonly start: string;
  readonly host: string;
  readonly machine: string;
  /** Differs after every start of the kernel. */
  readonly boot: string;
  /** The namespace of its process id. */
  readonly space: string;
}

function told(read: () => string): string {
  try {
    return read().trim();
  } catch {
    return "";
  }
}

function startOf(pid: number): string {
  return told(() => {
    // Field 22 of stat; the second one, the command in parentheses, may contain anything.
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  });
}

const here = {
  machine: told(() => readFileSync("/etc/machine-id", "latin1")),
  boot: told(() => readFileSync("/proc/sys/kernel/random/boot_id", "latin1")),
  space: told(() => readlinkSync("/proc/self/ns/pid")),
};

/** A process that this one can see. */
export function ownerOf(pid: number): Owner {
  return { pid, start: startOf(pid), host: hostname(), ...here };
}

/** This process. */
export function self(): Owner {
  return ownerOf(process.pid);
}

/** Eight digits that processes share which see the same process ids. */
export const idSpace = createHash("sha256")
  .update(JSON.stringify(here.boot ? [here.boot, here.space] : [hostname(), here.machine]))
  .digest("hex")
  .slice(0, 8);

/** Whether a process with this id exists. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function isSameMachine(owner: Owner): boolean {
  return owner.host === hostname() && owner.machine === here.machine;
}

/** Whether a process runs, or ran, under the kernel that this one runs under. */
export function isSameKernel(owner: Owner): boolean {
  return owner.boot === here.boot && (owner.boot !== "" || isSameMachine(owner));
}

/** Whether a process is still there, as far as that can be told from here. */
export function fateOf(owner: Owner): "alive" | "dead" | "unknown" {
  if (!isSameKernel(owner)) {
    // A machine that has been started again has none of its processes left. A host's name alone does not tell machines
    // apart: containers on several may share one.
    const restarted = isSameMachine(owner) && here.machine !== "" && owner.boot !== "" && here.boot !== "";
    return restarted ? "dead" : "unknown";
  }
  if (owner.space !== here.space) return "unknown";
  if (!isAlive(owner.pid)) return "dead";
  if (owner.start === "") return "unknown"; // it, or another one with the same id
  return startOf(owner.pid) === owner.start ? "alive" : "dead";
}

/** An owner from what was written about it; null where that is not one. */
export function toOwner(value: unknown): Owner | null {
  if (!isPlainObject(value)) return null;
  const { pid, start, host, machine, boot, space } = value;
  if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid <= 0) return null;
  const texts = [start, host, machine, boot, space];
  if (!texts.every((text) => typeof text === "string")) return null;
  const [a, b, c, d, e] = texts as [string, string, string, string, string];
  return { pid, start: a, host: b, machine: c, boot: d, space: e };
}
