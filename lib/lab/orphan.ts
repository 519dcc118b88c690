// Workers that a runner left behind, for whoever takes over from it. There are few: a worker ends with its runner, unless
// its watchdog was killed as well.

import { fateOf, isAlive, isSameKernel, type Owner } from "../owner.js";
import { killGroup } from "./group.js";

/**
 * Ends what a worker of another runner left. False where that cannot be known from here: another machine, or another
 * namespace of process ids.
 */
export function killWorker(owner: Owner): boolean {
  const fate = fateOf(owner);
  if (fate === "unknown") return false;
  if (!isSameKernel(owner)) return true; // nothing outlives its kernel
  // A dead leader's id stays taken while its group has members, so the group of that name is the worker's, unless a new
  // process has the id.
  if (fate === "alive" || !isAlive(owner.pid)) killGroup(owner.pid);
  return true;
}
