// A runner in a process of its own, to be killed: runs the task in its argument, prints what happens as JSON lines.

import { execute } from "../../dist/lab/execute.js";

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const outcome = await execute(JSON.parse(process.argv[2]), {
  onStart: (worker) => print({ type: "worker", pid: worker.pid }),
  onReport: (report) => print({ type: "report", ...report }),
});
print({ type: "outcome", ...outcome });
