// Pools: files that list players with known ratings, so that others can be rated against them.

import { readFile } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { writeAtomic } from "../checkpoint.js";
import { ioError, OptionError } from "../errors.js";
import type { GameName } from "../names.gen.js";
import { describe } from "../options.js";
import { Player, parseReferencePlayer } from "./player.js";

/** What a pool's file calls itself. */
export const FORMAT = "bellows-pool-1";

/** A player of a pool with its ratings on both scales. */
export interface PoolMember {
  readonly player: Player;
  readonly rating: number;
  readonly sequential: number;
}

export interface Pool {
  readonly game: GameName;
  readonly about: string;
  /** Random plies at the beginning of the games behind the ratings: games against the pool should have as many. */
  readonly plies: number;
  readonly members: readonly PoolMember[];
}

/** The pool of players without networks that comes with the package. */
export function ladderPath(game: GameName): string {
  return fileURLToPath(new URL(`../../pools/${game}-ladder.json`, import.meta.url));
}

/**
 * Reads a pool and loads its players.
 *
 * @throws {@link OptionError} {@link IoError} {@link CheckpointError}
 */
export async function readPool(path: string): Promise<Pool> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw ioError(error, path, "cannot read the pool");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return refuse(path, "text that is not JSON", error);
  }
  // Only here: whoever trains does not load it.
  const { poolFile } = await import("./pool-file.js");
  const parsed = poolFile.safeParse(value);
  if (!parsed.success) {
    const { path: at, message } = parsed.error.issues[0]!;
    const found = at.reduce<unknown>((inside, key) => (inside as Record<PropertyKey, unknown>)?.[key], value);
    return refuse(path, `${at.join(".") || "the content"} is ${describe(found)}: ${message}`, parsed.error);
  }
  const { game, about, plies, players } = parsed.data;
  const members: PoolMember[] = [];
  for (const { name, player, play = "sampled", temperature, simulations, rating, sequential } of players) {
    const file = resolve(dirname(path), player);
    const spec = parseReferencePlayer(player) ?? { kind: "policy", path: file, play, temperature, simulations, name };
    members.push({ player: await Player.load(spec), rating, sequential });
  }
  const names = members.map(({ player }) => player.name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) refuse(path, `two players named ${twice}`);
  return { game, about, plies, members };
}

/**
 * Writes a pool. Files of policies are named relative to it.
 *
 * @throws {@link OptionError} where a rating is not finite, or a policy is that of a run in memory. {@link IoError}
 */
export async function writePool(path: string, { game, about, plies, members }: Pool): Promise<void> {
  for (const { player, rating, sequential } of members) {
    if (player.play !== null && player.source === null) {
      throw new OptionError(`pool.player ${player.name} is a run in memory; it must be a policy read from a file`, {
        op: "pool",
        path: "pool.player",
        received: player.name,
        expected: "a policy read from a file",
      });
    }
    for (const [name, value] of Object.entries({ rating, sequential })) {
      if (Number.isFinite(value)) continue;
      throw new OptionError(`pool.${name} of ${player.name} is ${value}; it must be finite`, {
        op: "pool",
        path: `pool.${name}`,
        received: String(value),
        expected: "a finite number",
      });
    }
  }
  const players = members.map(({ player, rating, sequential }) => {
    const file = player.source === null ? null : relative(dirname(resolve(path)), resolve(player.source));
    return {
      name: player.name,
      player: file?.replaceAll("\\", "/") ?? player.name,
      ...(file === null ? {} : { play: player.play }),
      ...(player.temperature === null || player.temperature === 1 ? {} : { temperature: player.temperature }),
      ...(player.simulations ? { simulations: player.simulations } : {}),
      rating: Number(rating.toFixed(2)),
      sequential: Number(sequential.toFixed(2)),
    };
  });
  await writeAtomic(path, `${JSON.stringify({ format: FORMAT, game, about, plies, players }, null, 2)}\n`);
}

function refuse(path: string, received: string, cause?: unknown): never {
  throw new OptionError(`${path} is no pool: ${received}`, {
    op: "pool",
    path,
    received,
    expected: `a JSON file of the format ${FORMAT}`,
    cause,
  });
}
