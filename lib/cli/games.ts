import type { Command } from "commander";
import { nearest } from "../bench/nearest.js";
import { GAME_NAMES } from "../names.gen.js";
import { native, settled } from "../native.js";
import { resolveEntries } from "../options.js";
import type { Context } from "./context.js";
import { withGame } from "./flags.js";
import { integer } from "./load.js";
import { usage } from "./output.js";
import { count, table } from "./report.js";

export function registerGames(program: Command, context: Context): void {
  const games = program
    .command("games")
    .summary("the games, and perft to check their rules")
    .description("Lists the games, or counts the leaves of a game's tree (perft).")
    .hook("preSubcommand", refuseUnknown);
  games
    .command("list", { isDefault: true })
    .summary("the games")
    .description("Lists the games with their sizes.")
    .option("--json", "one JSON object a line on stdout")
    .action(() => list(context));
  games
    .command("perft")
    .summary("leaves of the game tree at a depth")
    .description(
      "Counts the move sequences of the given length from the start position; comparable with published counts.",
    )
    .argument("<game>", GAME_NAMES.join(" or "))
    .requiredOption("--depth <n>", "moves from the start position")
    .option("--json", "one JSON object a line on stdout")
    .addHelpText("after", "\nExample:\n  $ bellows games perft connect4 --depth 8\n")
    .action((game: string, flags: { depth: string }) => perft(game, flags.depth, context));
}

/** What is no command of `games` is an argument of the default one to commander, which has no suggestion then. */
function refuseUnknown(games: Command): void {
  const names = games.commands.map((command) => command.name());
  const [word = ""] = games.args;
  if (word === "" || word.startsWith("-") || names.includes(word)) return;
  const near = nearest(word, names);
  const hint = near === null ? "" : `\n(Did you mean ${near}?)`;
  throw usage(`unknown command '${word}'${hint}`, word, word, `one of ${names.join(", ")}`);
}

async function list({ output }: Context): Promise<void> {
  const games = native().games();
  output.text(
    table([
      ["name", "title", "board", "actions", "longest game"],
      ...games.map((game) => [
        game.name,
        game.title,
        `${game.cols} x ${game.rows}`,
        String(game.actions),
        `${game.maxPlies} moves`,
      ]),
    ]),
  );
  await output.emit({ type: "result", games });
}

async function perft(game: string, depthText: string, { output }: Context): Promise<void> {
  resolveEntries(withGame(game, [])); // refuses an unknown game
  const { maxPlies } = native()
    .games()
    .find(({ name }) => name === game)!;
  const depth = integer("--depth", depthText, 0, maxPlies);
  const nodes = await settled(native().perft(game, depth));
  output.text(`${count(nodes)}\n`);
  await output.emit({ type: "result", game, depth, nodes });
}
