// A process that takes locks when it is told to, and answers each line with one: "take FOLDER", "release", or
// "pretend FOLDER TEXT", which holds a lock that says something else about its holder, by the kernel's lock alone.

import { openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Lock } from "../../dist/lock.js";
import { native } from "../../dist/native.js";

let lock;

async function obey([order, folder, text]) {
  if (order === "take") lock = await Lock.take(folder);
  if (order === "release") await lock.release();
  if (order === "pretend") {
    const file = openSync(join(folder, "lock"), "w");
    if (native().lockFile(file, true) !== true) throw new Error("this file system has no locks");
    writeSync(file, text);
  }
}

native(); // what comes next is fast
console.log(JSON.stringify({ pid: process.pid }));
for await (const line of createInterface({ input: process.stdin })) {
  try {
    await obey(JSON.parse(line));
    console.log(JSON.stringify({ done: true }));
  } catch (error) {
    console.log(JSON.stringify({ done: false, code: error.code, message: error.message }));
  }
}
