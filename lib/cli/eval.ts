import type { Command } from "commander";
import { checkWritable, newestCheckpoint, writeAtomic } from "../checkpoint.js";
import { ATLAS_PLIES, atlasText, blunderAtlas } from "../judge/atlas.js";
import { type Blunder, findBlunders } from "../judge/blunders.js";
import { connect4Positions } from "../judge/positions.js";
import { playMatch } from "../match/match.js";
import { Player } from "../match/player.js";
import { SelfPlay } from "../selfplay.js";
import type { Context } from "./context.js";
import { integer, type LoadFlags, loadArguments } from "./load.js";
import { usage } from "./output.js";
import { Counter } from "./progress.js";
import { byColour, checkOpenings, checkPool, emitMatch, poolOf, rateCheckpoint } from "./rate.js";
import { count, evaluationText, table } from "./report.js";

interface EvalFlags extends LoadFlags {
  readonly worst: string;
  readonly pool?: string;
  readonly perfect?: boolean;
  readonly games: string;
  readonly atlas?: string;
  readonly seed: string;
}

/** The perfect player's choice among equally good moves is random, so that games differ. */
const PERFECT_GAMES = 20;

export function registerEval(program: Command, context: Context): void {
  program
    .command("eval")
    .summary("judge a checkpoint: certificate, mistakes, games")
    .description(
      "Judges a checkpoint: the exact best response from both seats (tic-tac-toe), mistakes by the perfect player's " +
        "scores (connect4), and the result against random play.",
    )
    .argument("<checkpoint>", "a checkpoint or policy file, or a run directory (its newest checkpoint)")
    .option("--worst <n>", "connect4: the worst mistakes of argmax play that are shown", "5")
    .option(
      "--pool <file>",
      "rate it by games against a pool, as `bellows rate` does; `ladder` is the one that comes along",
    )
    .option("--games <n>", "games against each member of the pool, and in each match of the atlas", "100")
    .option("--perfect", "connect4: games of argmax play against the perfect player; takes a minute or more")
    .option(
      "--atlas <file>",
      "connect4: write the positions of its own games in which it errs, in clusters; a file for rollout.starts.file",
    )
    .option("--seed <n>", "seed of games", "0")
    .option("--threads <n>", "threads; never changes results")
    .option("--precision <name>", "fp32 or bf16, instead of the one it was trained with")
    .option("--json", "one JSON object a line on stdout")
    .addHelpText(
      "after",
      "\nExamples:\n  $ bellows eval runs/my-run\n  $ bellows eval runs/my-run --pool ladder --atlas blunders.txt\n",
    )
    .action((path: string, flags: EvalFlags) => evaluate(path, flags, context));
}

async function evaluate(path: string, flags: EvalFlags, context: Context): Promise<void> {
  const { output } = context;
  const worst = integer("--worst", flags.worst, 0, 1e6);
  const games = integer("--games", flags.games, 2, 1e6);
  if (games % 2) throw usage(`--games is ${games}; it must be even`, "--games", flags.games, "an even number");
  const seed = integer("--seed", flags.seed, 0, Number.MAX_SAFE_INTEGER);
  const file = await newestCheckpoint(path, (error) => output.warn(error.message));
  const load = loadArguments(flags);
  const run = await SelfPlay.load(file.path, { ...load, opponents: false });
  try {
    const game = run.options.game.name;
    for (const flag of ["perfect", "atlas"] as const) {
      if (flags[flag] === undefined || game === "connect4") continue;
      throw usage(`--${flag} is for connect4, and the checkpoint of ${game}`, `--${flag}`, game, "connect4");
    }
    const how = { game, games, seed, threads: load.threads ?? 0 };
    const pool = flags.pool === undefined ? null : await poolOf(flags.pool, game);
    // So that a wrong option is not found after minutes of work.
    if (pool) checkPool(pool, how);
    if (flags.atlas !== undefined) {
      checkOpenings({ ...how, plies: ATLAS_PLIES }, "--games");
      await checkWritable(flags.atlas);
    }
    const evaluation = await run.evaluate();
    const { iteration, games: trained } = await run.counters();
    output.text(`${file.path}: ${game}, iteration ${iteration}\n\n${evaluationText(evaluation)}`);
    if (evaluation.judge) await reportWorst(run, worst, context);
    if (pool) {
      output.text("\n");
      await rateCheckpoint(file.path, pool, how, context);
    }
    if (flags.perfect) await meetPerfect(run, file.path, seed, load.threads, context);
    if (flags.atlas !== undefined) await writeAtlas(run, flags.atlas, { games, seed, threads: load.threads }, context);
    await output.emit({
      type: "result",
      game,
      seed: run.options.run.seed,
      iterations: iteration,
      games: trained,
      weightsHash: await run.weightsHash(),
      checkpoint: file.path,
      ...evaluation,
    });
  } finally {
    await run.close();
  }
}

function blunderRow({ moves, played, best, value, after, kind, scorePlayed, scoreBest, ...rest }: Blunder): string[] {
  return [
    moves || "(start)",
    `${played} (${(rest.probability * 100).toFixed(0)}%)`,
    best.join(" "),
    `${value} to ${after}`,
    `${scoreBest} to ${scorePlayed}`,
    rest.agentValue.toFixed(2),
    kind,
  ];
}

async function reportWorst(run: SelfPlay, most: number, { output }: Context): Promise<void> {
  const positions = await connect4Positions();
  const blunders = findBlunders(positions, await run.policy(positions.map(({ moves }) => moves)));
  const worst = blunders.slice(0, most);
  if (worst.length > 0) {
    output.text(`\nThe worst of ${count(blunders.length)} mistakes of argmax play\n\n`);
    output.text(
      table([
        ["position", "played", "best", "value", "score", "its value", "kind"],
        ...worst.map((blunder) => blunderRow(blunder)),
      ]),
    );
  }
  for (const blunder of worst) await output.emit({ type: "blunder", ...blunder });
}

async function meetPerfect(
  run: SelfPlay,
  name: string,
  seed: number,
  threads: number | undefined,
  context: Context,
): Promise<void> {
  const { output, signal } = context;
  const progress = new Counter(output, PERFECT_GAMES, "games against the perfect player");
  const agent = await Player.load({ kind: "policy", run, play: "argmax", name: `${name} (argmax)` });
  const match = await playMatch(
    agent,
    { kind: "perfect" },
    {
      games: PERFECT_GAMES,
      seed,
      threads,
      signal,
      onProgress: (done) => done > 0 && progress.update(done),
    },
  ).finally(() => progress.stop());
  const { first, second } = byColour(match);
  const text = ({ wins, draws, losses }: typeof first) => `${wins} won, ${draws} drawn, ${losses} lost`;
  output.text(
    `\nArgmax play against the perfect player, who picks among best moves at random (${match.distinct} different games)\n\n` +
      `  moving first   ${text(first)}\n  moving second  ${text(second)}\n`,
  );
  await emitMatch(match, context);
}

async function writeAtlas(
  run: SelfPlay,
  path: string,
  args: { games: number; seed: number; threads: number | undefined },
  { output, signal }: Context,
): Promise<void> {
  let counter: Counter | null = null;
  const atlas = await blunderAtlas(run, {
    ...args,
    signal,
    onProgress: (done, positions) => {
      counter ??= new Counter(output, positions, "positions of games");
      counter.update(done);
    },
  }).finally(() => counter?.stop());
  await writeAtomic(path, atlasText(atlas));
  const blunders = atlas.clusters.reduce((sum, cluster) => sum + cluster.blunders.length, 0);
  output.text(
    `\n${path}: ${count(blunders)} mistakes of argmax play, ${atlas.clusters.length} kinds; the most frequent:\n\n`,
  );
  output.text(
    table([
      ["stones", "side", "value", "kind", "positions"],
      ...atlas.clusters
        .slice(0, 8)
        .map(({ band, side, value, after, kind, blunders: of }) => [
          band,
          side,
          `${value} to ${after}`,
          kind,
          String(of.length),
        ]),
    ]),
  );
  for (const { blunders: of, ...cluster } of atlas.clusters)
    await output.emit({ type: "cluster", ...cluster, positions: of.length });
  await output.emit({ type: "atlas", path, positions: atlas.positions, blunders });
}
