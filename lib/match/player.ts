// Who may play a match: policies of runs and files, and the engine's players without a network.

import { newestCheckpoint } from "../checkpoint.js";
import { OptionError } from "../errors.js";
import { GAME_NAMES, type GameName, PLAYER_ROWS, type ReferencePlayer } from "../names.gen.js";
import type { NativePlayer } from "../native.js";
import { checkArguments, checkNumber, describe, gameOf, storedEntries, toEntries } from "../options.js";
import { internals, SelfPlay } from "../selfplay.js";

/** A trained policy: a run in memory, or a checkpoint, policy file or run directory. */
export interface PolicyPlayer {
  readonly kind: "policy";
  /** One of `run` and `path` is needed. The run's weights are those of the moment when the player is loaded. */
  readonly run?: SelfPlay | undefined;
  readonly path?: string | undefined;
  /** Its most probable move (the lowest among equals), or one drawn from its probabilities. */
  readonly play: "argmax" | "sampled";
  /** Softmax temperature of sampling; default 1. */
  readonly temperature?: number | undefined;
  /**
   * Simulations of a Gumbel search before each move, up to 100,000; default 0: the policy alone. With a search, `argmax` is
   * the most probable move of the policy that the search improved, and `sampled` a sample of it.
   */
  readonly simulations?: number | undefined;
  /** What it is called; default: its path and how it plays. */
  readonly name?: string | undefined;
}

/** Of a policy's search. */
export const MAX_SIMULATIONS = 100_000;

export type PlayerSpec = PolicyPlayer | ReferencePlayer;

/** The engine's description of a player; for this package only. */
export let nativePlayer: (player: Player) => NativePlayer;

/** A player that is ready: files are read, options are checked. It may play any number of matches. */
export class Player {
  readonly name: string;
  /** The game of a policy; null for players of every game. */
  readonly game: GameName | null;
  /** Whether it always plays the same move in the same position. */
  readonly deterministic: boolean;
  /** The file that a policy was read from. */
  readonly source: string | null;
  /** How a policy plays; null for other players. */
  readonly play: PolicyPlayer["play"] | null;
  /** Of a policy's sampling; 1 for argmax, null for other players. */
  readonly temperature: number | null;
  /** Of a policy's search before each move; 0 without one, null for other players. */
  readonly simulations: number | null;
  readonly #native: NativePlayer;

  private constructor(
    native: NativePlayer,
    about: Pick<Player, "name" | "game" | "deterministic" | "source" | "play" | "temperature" | "simulations">,
  ) {
    this.#native = native;
    this.name = about.name;
    this.game = about.game;
    this.deterministic = about.deterministic;
    this.source = about.source;
    this.play = about.play;
    this.temperature = about.temperature;
    this.simulations = about.simulations;
  }

  /**
   * Checks what is asked for and reads what it needs.
   *
   * @throws {@link OptionError} {@link CheckpointError}
   */
  static async load(spec: PlayerSpec | Player): Promise<Player> {
    if (spec instanceof Player) return spec;
    if (spec?.kind === "policy") return Player.#policy(spec);
    const { kind } = spec ?? {};
    const row = PLAYER_ROWS.find((candidate) => candidate.kind === kind);
    if (!row) return refuse("player.kind", kind, ["policy", ...PLAYER_ROWS.map((each) => each.kind)].join(", "));
    checkArguments(spec, "player", ["kind", ...(row.strength ? [row.strength] : [])]);
    const given = row.strength === null ? undefined : (spec as unknown as Record<string, unknown>)[row.strength];
    checkNumber(given, `player.${row.strength}`, row.min, row.max, true);
    const strength = given ?? row.default;
    return new Player(
      { kind: row.kind, strength },
      {
        name: row.strength === null ? row.kind : `${row.kind}:${strength}`,
        game: null,
        deterministic: row.kind === "heuristic",
        source: null,
        play: null,
        temperature: null,
        simulations: null,
      },
    );
  }

  static async #policy(spec: PolicyPlayer): Promise<Player> {
    checkArguments(spec, "player", ["kind", "run", "path", "play", "temperature", "simulations", "name"]);
    const { run, path, play, temperature, simulations = 0, name } = spec;
    if (play !== "argmax" && play !== "sampled") refuse("player.play", play, '"argmax" or "sampled"');
    checkNumber(temperature, "player.temperature", 0.01, 100, false);
    checkNumber(simulations, "player.simulations", 0, MAX_SIMULATIONS, true);
    if (name !== undefined && typeof name !== "string") refuse("player.name", name, "a text");
    if ((run === undefined) === (path === undefined)) refuse("player.path", path, "given, or else `run`");
    if (run !== undefined && !(run instanceof SelfPlay)) refuse("player.run", run, "a SelfPlay");
    if (path !== undefined && (typeof path !== "string" || path === "" || path.includes("\0"))) {
      refuse("player.path", path, "the name of a file or run directory");
    }
    const file = path === undefined ? null : await newestCheckpoint(path);
    const entries = file ? storedEntries(file.config, file.path) : toEntries(run!.options);
    const game = gameOf(entries);
    const argmax = play === "argmax";
    const how = argmax || temperature === undefined || temperature === 1 ? play : `${play} at ${temperature}`;
    const suffix = simulations === 0 ? how : `${how}, search ${simulations}`;
    const called = path ?? `${game} seed ${run!.options.run.seed}`;
    return new Player(
      {
        kind: "policy",
        game,
        entries,
        file: file ? file.bytes : await internals.encodePolicy(run!),
        argmax,
        temperature: temperature ?? 1,
        simulations,
      },
      {
        name: name ?? `${called} (${suffix})`,
        // A name that is none is refused by the engine when the match begins.
        game: GAME_NAMES.find((known) => known === game) ?? null,
        deterministic: argmax,
        source: file?.path ?? null,
        play,
        temperature: argmax ? 1 : (temperature ?? 1),
        simulations,
      },
    );
  }

  static {
    nativePlayer = (player) => player.#native;
  }
}

/** A player without a network from its name: `random`, `alpha-beta:4`, `mcts:1000`; null where it is no such name. */
export function parseReferencePlayer(text: string): ReferencePlayer | null {
  const [, kind, strength] = /^([a-z-]+)(?::(\d+))?$/.exec(text) ?? [];
  const row = PLAYER_ROWS.find((candidate) => candidate.kind === kind);
  if (!row) return null;
  if (strength === undefined) return { kind: row.kind } as ReferencePlayer;
  if (row.strength === null) refuse("player", text, `${row.kind}, which has no strength`);
  return { kind: row.kind, [row.strength]: Number(strength) } as ReferencePlayer;
}

function refuse(path: string, value: unknown, expected: string): never {
  throw new OptionError(`${path} is ${describe(value)}; it must be ${expected}`, {
    op: "match",
    path,
    received: describe(value),
    expected,
  });
}
