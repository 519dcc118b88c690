import type { Command } from "commander";
import { OutOfMemoryError } from "../errors.js";
import { native, take } from "../native.js";
import { fromEntries } from "../options.js";
import { SelfPlay } from "../selfplay.js";
import type { Context } from "./context.js";
import { collect, type OptionFlags, optionEntries, optionTable, withGame } from "./flags.js";
import { bytes, table } from "./report.js";

export function registerPlan(program: Command, context: Context): void {
  program
    .command("plan")
    .summary("the memory that a run would take, before anything is allocated")
    .description("Prints every buffer that a run with these options would allocate, and whether it fits.")
    .argument("<game>", "tictactoe or connect4")
    .option("--set <path=value>", "an option of the run; repeatable", collect)
    .option("--config <file>", "a JSON file of options")
    .option("--json", "one JSON object a line on stdout")
    .addHelpText("after", () => `\n${optionTable()}\n\nExample:\n  $ bellows plan connect4 --set net.width=512\n`)
    .action((game: string, flags: OptionFlags) => plan(game, flags, context));
}

async function plan(game: string, flags: OptionFlags, { output }: Context): Promise<void> {
  const entries = withGame(game, await optionEntries(flags));
  const options = fromEntries(take(native().resolve(game, entries), "entries"));
  const { rows, total, available } = await SelfPlay.plan(options);
  if (available > 0 && total > available) {
    const sizes = new Map<string, number>();
    for (const row of rows) sizes.set(row.group, (sizes.get(row.group) ?? 0) + row.bytes);
    const [group, size] = [...sizes].sort((a, b) => b[1] - a[1])[0]!;
    const message =
      `the run needs ${bytes(total)}, and ${bytes(available)} can be had; ` +
      `the group ${group} takes the most (${bytes(size)})`;
    throw new OutOfMemoryError(message, {
      op: "plan",
      path: group,
      received: `${total} bytes`,
      expected: `at most ${available} bytes`,
      needed: total,
      free: available,
      plan: rows,
    });
  }
  output.text(
    table([
      ["group", "name", "type", "shape", "size"],
      ...rows.map((row) => [row.group, row.name, row.dtype, row.shape.join(" x "), bytes(row.bytes)]),
      ["total", "", "", "", bytes(total)],
    ]),
  );
  if (available > 0) output.text(`\n  ${bytes(available)} can be had.\n`);
  await output.emit({ type: "result", game, rows, total, available });
}
