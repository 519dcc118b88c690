import type { Command } from "commander";
import { native, nativePath, settled } from "../native.js";
import type { Context } from "./context.js";
import { bytes, table } from "./report.js";

export function registerInfo(program: Command, context: Context): void {
  program
    .command("info")
    .summary("what this machine offers: instruction sets, devices, peaks")
    .description("Prints version, instruction sets, devices (and why one is missing), and peaks measured now (200 ms).")
    .option("--json", "one JSON object a line on stdout")
    .action(() => info(context));
}

async function info({ output }: Context): Promise<void> {
  const { version } = native();
  const { isa, isasAvailable, cpu, threads, memory, devices, ...peaks } = await settled(native().info(true));
  const { gflops, gflopsBf16, gbytes } = peaks;
  const bf16 = gflopsBf16 > 0 ? `${gflopsBf16.toFixed(1)} bf16` : "no bf16";
  const isas = isasAvailable.split(",").map((name) => name.trim());
  output.text(`bellows ${version}, node ${process.version}\n\n`);
  output.text(
    table(
      [
        ["binary", ""],
        ["cpu", ""],
        ["instruction sets", ""],
        ["threads", ""],
        ["memory", ""],
        ["peaks", ""],
      ].map(([name], i) => [
        `${(name ?? "").padEnd(18)}${
          [
            nativePath(),
            cpu,
            `${isa} (available: ${isas.join(", ")})`,
            String(threads),
            memory > 0 ? bytes(memory) : "unknown",
            `${gflops.toFixed(1)} GFLOP/s fp32, ${bf16}, ${gbytes.toFixed(1)} GB/s (measured now, all threads)`,
          ][i]
        }`,
      ]),
    ),
  );
  for (const { name, available, reason } of devices) {
    output.text(`  device ${name.padEnd(11)}${available ? "available" : `not available: ${reason}`}\n`);
  }
  await output.emit({
    type: "result",
    version,
    binary: nativePath(),
    isa,
    isasAvailable: isas,
    cpu,
    threads,
    memory,
    devices,
    peaks: { gflops, gflopsBf16, gbytes },
  });
}
