// A worker and everything that it started: one process group, with the worker's process id as its name. What is started
// in a group of its own on purpose (`detached`) is out of reach. The watchdog needs this
// file and is to start quickly, so it imports nothing of the library's.

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** Ends all processes of a worker's group, at once. */
export function killGroup(pid: number): void {
  if (process.platform === "win32") {
    spawnSync("taskkill", ["/pid", String(pid), "/t", "/f"], { stdio: "ignore", windowsHide: true });
    return;
  }
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nobody is left.
  }
}

/** Whether a process with this id exists. */
export function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // it has ended
  }
}

/** Resident memory of the other processes of this process's group, in bytes. Linux only; elsewhere 0. */
export function memoryOfOthers(): number {
  if (process.platform !== "linux") return 0;
  let total = 0;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name) || name === String(process.pid)) continue;
    // The command in parentheses may contain anything; behind it: state, parent, group.
    const stat = read(`/proc/${name}/stat`);
    const group = stat.slice(stat.lastIndexOf(")") + 2).split(" ", 3)[2];
    if (group !== String(process.pid)) continue;
    const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${name}/status`)) ?? [];
    total += 1024 * Number(kib ?? 0);
  }
  return total;
}
