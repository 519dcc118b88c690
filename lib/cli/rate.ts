import { existsSync } from "node:fs";
import { resolve } from "node:path";
import cliProgress from "cli-progress";
import type { Command } from "commander";
import { checkWritable, newestCheckpoint } from "../checkpoint.js";
import { OptionError } from "../errors.js";
import type { MatchResult } from "../match/match.js";
import { randomOpenings } from "../match/openings.js";
import { MAX_SIMULATIONS, Player, parseReferencePlayer } from "../match/player.js";
import { ladderPath, type Pool, readPool, writePool } from "../match/pool.js";
import { type PoolRating, rateOnPool } from "../match/rate-on-pool.js";
import { playRoundRobin } from "../match/round-robin.js";
import { GAME_NAMES, type GameName, PLAYER_ROWS } from "../names.gen.js";
import { bootstrapRatings, type RatingInterval } from "../ratings/bootstrap.js";
import { bradleyTerry, type PlayerRating } from "../ratings/bradley-terry.js";
import { cycles } from "../ratings/cycles.js";
import { type Encounter, encounterOf, type Tally, totalOf } from "../ratings/encounter.js";
import { sequentialElo } from "../ratings/sequential.js";
import type { Context } from "./context.js";
import { integer } from "./load.js";
import { usage } from "./output.js";
import { ratingText, table } from "./report.js";

interface RateFlags {
  readonly game?: string;
  readonly pool?: string;
  readonly games: string;
  readonly plies?: string;
  readonly seed: string;
  readonly draws: string;
  readonly simulations?: string;
  readonly threads?: string;
  readonly save?: string;
}

/** What --pool takes beside files. */
const LADDER = "ladder";

/** The game that has one. */
const LADDER_GAME = "connect4";

const ANCHORS = { random: 1000 };

export function registerRate(program: Command, context: Context): void {
  const kinds = PLAYER_ROWS.map(({ kind, strength, doc, ...row }) => {
    const range = strength ? ` (${strength} ${row.min} to ${row.max}, default ${row.default})` : "";
    return `  ${(strength ? `${kind}:N` : kind).padEnd(14)}${doc}${range}\n`;
  });
  program
    .command("rate")
    .summary("rate players by games against each other, or against a pool")
    .description(
      "Plays games and rates the players, 400 points for a factor of ten, random play at 1000. With --pool each player " +
        "meets the pool's members, whose ratings stay; without it all meet each other. A checkpoint is two players, " +
        "reported apart: its most probable moves (argmax) and its samples (sampled).",
    )
    .argument("<players...>", "checkpoints, policy files or run directories, and names of the list below")
    .option("--pool <file>", "a pool with known ratings; `ladder` is the one of players without networks")
    .option("--games <n>", "games of each two players, half of them with either colour", "100")
    .option(
      "--plies <n>",
      "start each pair of games from a random opening of so many moves (0 to 64, as far as there are enough of them), " +
        "another one each time; default: as the games behind the pool's ratings did, else 0",
    )
    .option(
      "--simulations <n>",
      "rate each checkpoint also with a search of so many simulations before each move, as players of their own",
    )
    .option("--draws <how>", "half: a draw is half a win; davidson: draws have a probability of their own", "half")
    .option("--game <name>", `${GAME_NAMES.join(" or ")}; needed where neither a policy nor a pool says it`)
    .option("--seed <n>", "seed of openings, moves and intervals", "0")
    .option("--threads <n>", "threads; never changes results")
    .option("--save <file>", "write the rated players as a pool, for --pool")
    .option("--json", "one JSON object a line on stdout")
    .addHelpText(
      "after",
      `\nPlayers without a network:\n${kinds.join("")}` +
        "\nRatings are maximum likelihood (Bradley-Terry). Intervals (95%) are a bootstrap over pairs of games with one\n" +
        "opening and colours swapped; against a pool also over its members, which says how the rating may differ on\n" +
        "another pool. Between two deterministic players a repeated game counts once: give them --plies. A player that\n" +
        "won everything has no rating but `>=` one: were it below, so many wins would have had a chance of 5%. An end of an\n" +
        "interval that is ? is without limit: in so many of the samples the player won, or lost, everything.\n" +
        "\nExamples:\n" +
        "  $ bellows rate runs/my-run --pool ladder\n" +
        "  $ bellows rate runs/my-run --pool ladder --simulations 64\n" +
        "  $ bellows rate runs/a runs/b random alpha-beta:4 --games 400 --plies 4\n",
    )
    .action((players: string[], flags: RateFlags) => rate(players, flags, context));
}

/** A match by who plays first in the game. */
export function byColour(match: MatchResult): { first: Tally; second: Tally } {
  const tally = (colour: "a" | "b") => {
    const count = (score: number) => match.games.filter((game) => game.first === colour && game.score === score).length;
    return { wins: count(1), draws: count(0.5), losses: count(0) };
  };
  return { first: tally("a"), second: tally("b") };
}

async function rate(texts: readonly string[], flags: RateFlags, context: Context): Promise<void> {
  const games = integer("--games", flags.games, 2, 1e6);
  if (games % 2)
    throw usage(
      `--games is ${games}; it must be even: half with either colour`,
      "--games",
      flags.games,
      "an even number",
    );
  const seed = integer("--seed", flags.seed, 0, Number.MAX_SAFE_INTEGER);
  const threads = flags.threads === undefined ? 0 : integer("--threads", flags.threads, 0, 256);
  if (flags.draws !== "half" && flags.draws !== "davidson") {
    throw usage(`--draws is ${flags.draws}; it must be half or davidson`, "--draws", flags.draws, "half or davidson");
  }
  const simulations =
    flags.simulations === undefined ? 0 : integer("--simulations", flags.simulations, 1, MAX_SIMULATIONS);
  const scaled = flags.pool === undefined ? "--save" : "--pool";
  if (flags.draws === "davidson" && (flags.pool ?? flags.save) !== undefined) {
    const why = "the ratings of a pool are of draws as half a win";
    throw usage(`--draws davidson and ${scaled} exclude each other: ${why}`, "--draws", "davidson", "half");
  }
  if (flags.pool !== undefined && flags.save !== undefined) {
    throw usage("--save and --pool exclude each other", "--save", flags.save, "one of them");
  }
  const players = await playersOf(texts, context, simulations);
  const file = flags.pool === undefined || flags.pool === LADDER ? null : await readPool(flags.pool);
  const game = gameOf(players, flags.game, file?.game ?? (flags.pool === LADDER ? LADDER_GAME : undefined));
  const pool = flags.pool === LADDER ? await poolOf(LADDER, game) : file;
  const plies = flags.plies === undefined ? (pool?.plies ?? 0) : integer("--plies", flags.plies, 0, 64);
  const how: How = { game, plies, games, seed, threads, draws: flags.draws, context };
  checkOpenings(how);
  if (!pool) await tournament(players, how, flags.save);
  else {
    const matches = await againstPool(players, pool, how);
    await emitResult(how, players.length, matches);
  }
}

/** Names the option where there are too few openings for it, before any game. */
export function checkOpenings(
  { game, plies, games, seed }: Pick<How, "game" | "plies" | "games" | "seed">,
  flag: "--plies" | "--games" = "--plies",
): void {
  try {
    if (plies > 0) randomOpenings({ game, plies, count: games / 2, seed });
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    if (flag === "--games") {
      const what = `there are fewer openings of ${plies} plies than the ${games / 2} that they need`;
      throw usage(`--games is ${games}, and ${what}`, flag, String(games), `fewer games; openings: ${error.expected}`);
    }
    const expected = error.expected ?? "other plies";
    const what = `there are fewer openings of so many plies than the ${games / 2} that ${games} games need`;
    throw usage(`--plies is ${plies}, and ${what}`, flag, String(plies), expected);
  }
}

function checkGame(pool: Pool, game: GameName): void {
  if (pool.game === game) return;
  throw usage(`the pool is for ${pool.game}, the players for ${game}`, "--pool", pool.game, game);
}

/** Whether so many games can be played against a pool: before minutes of other work. */
export function checkPool(pool: Pool, args: Pick<How, "game" | "games" | "seed">): void {
  checkGame(pool, args.game);
  checkOpenings({ ...args, plies: pool.plies }, "--games");
}

/** A pool by what --pool says: a file, or `ladder`. */
export async function poolOf(name: string, game: GameName): Promise<Pool> {
  if (name !== LADDER) return readPool(name);
  if (game !== LADDER_GAME) {
    throw usage(
      `there is no ladder for ${game}; there is one for ${LADDER_GAME}`,
      "--pool",
      name,
      "the file of a pool",
    );
  }
  return readPool(ladderPath(game));
}

/** Rates a checkpoint's two players against a pool, for `bellows eval`. */
export async function rateCheckpoint(
  path: string,
  pool: Pool,
  args: Pick<How, "game" | "games" | "seed" | "threads">,
  context: Context,
): Promise<void> {
  await againstPool(await playersOf([path], context), pool, { ...args, plies: pool.plies, draws: "half", context });
}

interface How {
  readonly game: GameName;
  readonly plies: number;
  readonly games: number;
  readonly seed: number;
  readonly threads: number;
  readonly draws: "half" | "davidson";
  readonly context: Context;
}

/** simulations: of a search that policies are rated with as well; 0: none. */
async function playersOf(texts: readonly string[], { output }: Context, simulations = 0): Promise<Player[]> {
  const players: Player[] = [];
  for (const text of texts) {
    const reference = await referenceOf(text);
    if (reference) {
      players.push(reference);
      continue;
    }
    // Once: a run that is being trained may have another checkpoint a moment later.
    const { path } = await newestCheckpoint(text, (error) => output.warn(error.message));
    for (const search of simulations === 0 ? [0] : [0, simulations]) {
      for (const play of ["argmax", "sampled"] as const) {
        const name = `${text} (${search === 0 ? play : `${play}, search ${search}`})`;
        players.push(await Player.load({ kind: "policy", path, play, simulations: search, name }));
      }
    }
  }
  if (simulations > 0 && players.every(({ play }) => play === null)) {
    throw usage("--simulations is for checkpoints, and there is none", "--simulations", String(simulations), "none");
  }
  const identity = ({ name, source, play, simulations: search }: Player) =>
    source === null ? name : `${resolve(source)} ${play} ${search}`;
  const identities = players.map(identity);
  const twice = players.find((_, i) => identities.indexOf(identities[i]!) !== i);
  if (twice !== undefined) throw usage(`${twice.name} is named twice`, "players", twice.name, "each player once");
  return players;
}

/** A player without a network; null where the text is the path of a checkpoint. */
async function referenceOf(text: string): Promise<Player | null> {
  const [kind = "", strength] = text.split(":", 2);
  const row = PLAYER_ROWS.find((candidate) => candidate.kind === kind);
  try {
    const spec = parseReferencePlayer(text);
    if (spec) return await Player.load(spec);
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    const range = row?.strength ? `${row.strength} from ${row.min} to ${row.max}` : "no strength";
    throw usage(`${text} is no player: ${kind} takes ${range}`, "players", text, `${kind} with ${range}`);
  }
  if (existsSync(text)) return null;
  const known = PLAYER_ROWS.map((each) => (each.strength ? `${each.kind}:N` : each.kind)).join(", ");
  const what =
    row?.strength && strength !== undefined
      ? `${kind} takes ${row.strength}, a whole number from ${row.min} to ${row.max}`
      : `there is no such checkpoint, policy file or run directory, and players without a network are ${known}`;
  throw usage(`${text} is no player: ${what}`, "players", text, `a path, or one of ${known}`);
}

function gameOf(players: readonly Player[], given: string | undefined, ofPool: GameName | undefined): GameName {
  const name = given ?? players.find(({ game }) => game !== null)?.game ?? ofPool;
  const game = GAME_NAMES.find((known) => known === name);
  if (game) return game;
  const expected = GAME_NAMES.join(" or ");
  throw usage(`--game is ${name ?? "missing"}; it must be ${expected}`, "--game", name ?? "nothing", expected);
}

// ---- all against each other ----

async function tournament(asked: readonly Player[], how: How, save: string | undefined): Promise<void> {
  const { output } = how.context;
  const anchored = asked.some(({ name }) => name === "random");
  if (anchored && asked.length === 1) {
    throw usage("random alone has nobody to play; name another player, or --pool", "players", "random", "two players");
  }
  if (save !== undefined) await checkWritable(save);
  const players = anchored ? asked : [...asked, await Player.load({ kind: "random" })];
  const progress = new Matches((players.length * (players.length - 1)) / 2);
  const matches = await playRoundRobin(players, {
    ...argumentsOf(how),
    onMatch: async (match) => {
      progress.next();
      await emitMatch(match, how.context);
    },
  }).finally(() => progress.stop());
  const encounters = matches.map(encounterOf);
  const args = { anchors: ANCHORS, draws: how.draws };
  const fit = bradleyTerry(encounters, args);
  const intervals = bootstrapRatings(encounters, { ...args, seed: how.seed });
  const sequential = sequentialElo(encounters);
  output.text(`${how.game}: ${how.games} games of each two players, ${how.plies} random plies, random = 1000\n\n`);
  output.text(
    table([
      ["player", "rating", "95% interval", "sequential", "score", "games"],
      ...fit.ratings.map((rating) => [
        rating.player,
        ratingText(rating),
        intervalText(intervals.get(rating.player)),
        sequential.get(rating.player)!.toFixed(0),
        percent(rating.points / rating.games),
        String(rating.games),
      ]),
    ]),
  );
  const circles = cycles(encounters);
  const [circle] = circles;
  if (circle) {
    const [a, b, c] = circle.players;
    output.warn(
      `${circles.length} cycles that no ratings explain; the strongest: ${a} does better against ${b}, ${b} against ` +
        `${c} and ${c} against ${a} than ratings allow, by ${circle.points.toFixed(0)} points in all`,
    );
  }
  for (const rating of fit.ratings) {
    await output.emit({
      type: "rating",
      ...ratingLine(rating, intervals.get(rating.player), players),
      sequential: sequential.get(rating.player),
    });
  }
  for (const found of circles) await output.emit({ type: "cycle", ...found });
  if (save !== undefined) {
    const members = players.map((player) => {
      const { rating } = fit.ratings.find((rated) => rated.player === player.name)!;
      if (!Number.isFinite(rating)) {
        const why = "won or lost everything, so that it has no rating; more --games, or other players";
        throw usage(`${save} is not written: ${player.name} ${why}`, "--save", player.name, "finite ratings");
      }
      return { player, rating, sequential: sequential.get(player.name)! };
    });
    const { game, games, seed, plies } = how;
    const start = plies === 0 ? "the start position" : `random openings of ${plies} plies`;
    const about = `${games} games of each two players from ${start}, seed ${seed}, random = 1000`;
    await writePool(save, { game, about, plies, members });
  }
  await emitResult(how, players.length, matches.length);
}

// ---- against a pool ----

/** Gives the number of matches. */
async function againstPool(players: readonly Player[], pool: Pool, how: How): Promise<number> {
  const { context, games, plies, seed, threads, draws } = how;
  const { output, signal } = context;
  checkGame(pool, how.game);
  const progress = new Matches(players.length * pool.members.length);
  let matches = 0;
  const onMatch = async (match: MatchResult) => {
    progress.next();
    await emitMatch(match, context);
  };
  try {
    for (const player of players) {
      const args = { games, plies, seed, threads, draws, firstMatch: matches, signal, onMatch };
      const rating = await rateOnPool(player, pool, args);
      matches += rating.opponents.length;
      await reportAgainstPool(player, rating, context);
    }
  } finally {
    progress.stop();
  }
  output.text(`Intervals are 95%; "on other pools" they include which opponents there are. Pool: ${pool.about}.\n`);
  return matches;
}

async function reportAgainstPool(player: Player, rated: PoolRating, { output }: Context): Promise<void> {
  const { interval, intervalOverOpponents: elsewhere, sequential, opponents, ...rating } = rated;
  output.text(`${player.name}\n\n`);
  output.text(
    table([
      ["  opponent", "rating", "first W D L", "second W D L", "score", "distinct"],
      ...opponents.map(({ match, met, member }) => opponentRow(match, met, member.rating)),
    ]),
  );
  output.text(
    `\n  rating ${ratingText(rating)}, interval ${intervalText(interval)}, on other pools ${intervalText(elsewhere)}` +
      `; sequential scale ${sequential?.toFixed(0) ?? "none"}\n\n`,
  );
  await output.emit({
    type: "rating",
    ...ratingLine(rating, interval, [player]),
    intervalOverOpponents: elsewhere ? elsewhere.map(finite) : null,
    sequential,
  });
}

function opponentRow(match: MatchResult, met: Encounter, rating: number): string[] {
  const { first, second } = byColour(match);
  const tally = ({ wins, draws, losses }: Tally) => `${wins} ${draws} ${losses}`;
  const { wins, draws, losses } = totalOf(met.pairs);
  const score = percent((wins + draws / 2) / (wins + draws + losses));
  return [`  ${match.b}`, rating.toFixed(0), tally(first), tally(second), score, String(match.distinct)];
}

// ---- what both print ----

function argumentsOf({ game, plies, games, seed, threads, context }: How) {
  const openings = plies === 0 ? [""] : randomOpenings({ game, plies, count: games / 2, seed });
  return { game, openings, games, seed, threads, signal: context.signal };
}

export async function emitMatch(match: MatchResult, { output }: Context): Promise<void> {
  const { a, b, wins, draws, losses, distinct, deterministic } = match;
  await output.emit({ type: "match", a, b, wins, draws, losses, ...byColour(match), distinct, deterministic });
}

async function emitResult(how: How, players: number, matches: number): Promise<void> {
  const { game, games, plies, seed, draws } = how;
  await how.context.output.emit({ type: "result", game, players, matches, games: matches * games, plies, seed, draws });
}

/** JSON has no infinity. */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** Of one of the players: policies also say how they play, since argmax, samples and searches are not one category. */
function ratingLine(rating: PlayerRating, interval: RatingInterval | undefined, players: readonly Player[]) {
  const fixed = rating.standing === "fixed";
  const { play = null, simulations = null } = players.find(({ name }) => name === rating.player) ?? {};
  return {
    ...rating,
    rating: finite(rating.rating),
    interval: interval?.some(Number.isFinite) && !fixed ? interval.map(finite) : null,
    ...(play === null ? {} : { play, simulations }),
  };
}

function intervalText(interval: RatingInterval | undefined): string {
  if (!interval) return "";
  if (!interval.some(Number.isFinite)) return "unknown";
  const end = (value: number) => (Number.isFinite(value) ? value.toFixed(0) : "?");
  return `${end(interval[0])} to ${end(interval[1])}`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)}%`;
}

/** A bar on terminals. */
class Matches {
  readonly #bar: cliProgress.SingleBar | null;

  constructor(total: number) {
    this.#bar = process.stderr.isTTY
      ? new cliProgress.SingleBar({
          stream: process.stderr,
          format: "{bar} {value}/{total} matches  ETA {eta_formatted}",
          barCompleteChar: "#",
          barIncompleteChar: ".",
          barsize: 20,
          hideCursor: true,
          clearOnComplete: true,
        })
      : null;
    this.#bar?.start(total, 0);
  }

  next(): void {
    this.#bar?.increment();
  }

  stop(): void {
    this.#bar?.stop();
  }
}
