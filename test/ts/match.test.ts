// Matches through the API: players, openings, results, cancelling, errors.

import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  BellowsError,
  CheckpointError,
  type GameName,
  OptionError,
  PLAYER_ROWS,
  Player,
  type PlayerSpec,
  parseReferencePlayer,
  playMatch,
  randomOpenings,
  SelfPlay,
} from "../../lib/index.js";
import { native, take } from "../../lib/native.js";
import { scratch } from "./cli.js";

const folder = scratch();
const policyFile = join(folder, "policy.safetensors");
const checkpoint = join(folder, "checkpoint.safetensors");
let small: SelfPlay;
let large: SelfPlay;

beforeAll(async () => {
  const rollout = { games: 64 };
  small = await SelfPlay.create({ game: { name: "connect4" }, net: { kind: "mlp", width: 16, depth: 1 }, rollout });
  large = await SelfPlay.create({ game: { name: "connect4" }, net: { kind: "resmlp", width: 32, depth: 3 }, rollout });
  for await (const _ of small.train({ iterations: 3, roofline: false }));
  await small.save(checkpoint);
  await small.savePolicy(policyFile);
});
afterAll(async () => {
  await small.close();
  await large.close();
});

function positionOf(game: GameName, moves: string) {
  return take(native().position(game, moves), "position");
}

describe("playMatch", () => {
  test("games are legal, end where they end, and are scored for the first player", async () => {
    const openings = randomOpenings({ game: "connect4", count: 6, plies: 3, seed: 5 });
    const match = await playMatch(
      { kind: "policy", run: small, play: "sampled" },
      { kind: "policy", run: large, play: "sampled", temperature: 0.5, name: "large" },
      { openings, games: 40, seed: 3 },
    );
    expect(match).toMatchObject({ a: "connect4 seed 0 (sampled)", b: "large", game: "connect4", deterministic: false });
    expect(match.games).toHaveLength(40);
    expect(match.wins + match.draws + match.losses).toBe(40);
    for (const [g, { opening, moves, first, score }] of match.games.entries()) {
      expect(opening).toBe(openings[Math.floor(g / 2) % 6]);
      expect(first).toBe(g % 2 === 0 ? "a" : "b");
      const end = positionOf("connect4", opening + moves);
      expect(end.result).not.toBe(0);
      const last = (end.ply - 1) % 2 === 0 ? first : first === "a" ? "b" : "a";
      expect(score).toBe(end.result === 2 ? 0.5 : last === "a" ? 1 : 0);
    }
  });

  test("a run, its checkpoint and its policy file are one player", async () => {
    const opponent = { kind: "policy", run: large, play: "sampled" } as const;
    const args = { games: 30, seed: 8 };
    const of = async (spec: PlayerSpec) => (await playMatch(spec, opponent, args)).games;
    const games = await of({ kind: "policy", run: small, play: "sampled" });
    expect(await of({ kind: "policy", path: checkpoint, play: "sampled" })).toEqual(games);
    expect(await of({ kind: "policy", path: policyFile, play: "sampled" })).toEqual(games);
    expect(await of({ kind: "policy", path: policyFile, play: "sampled", temperature: 3 })).not.toEqual(games);
  });

  test("a policy that searches is another player, and says so", async () => {
    const random = { kind: "random" } as const;
    const policy = { kind: "policy", run: small, play: "argmax" } as const;
    const openings = randomOpenings({ game: "connect4", count: 20, plies: 2, seed: 9 });
    const points = async (spec: PlayerSpec) => {
      const { wins, draws } = await playMatch(spec, { kind: "one-ply" }, { openings, seed: 2 });
      return wins + draws / 2;
    };
    const searching = { ...policy, simulations: 24 };
    expect(await points(searching)).toBeGreaterThan((await points(policy)) + 5);
    const names = async (specs: PlayerSpec[]) => Promise.all(specs.map(async (spec) => (await Player.load(spec)).name));
    expect(await names([policy, searching, { ...searching, play: "sampled", temperature: 0.5 }])).toEqual([
      "connect4 seed 0 (argmax)",
      "connect4 seed 0 (argmax, search 24)",
      "connect4 seed 0 (sampled at 0.5, search 24)",
    ]);
    expect(await Player.load(searching)).toMatchObject({ play: "argmax", simulations: 24, deterministic: true });
    expect(await Player.load(random)).toMatchObject({ play: null, simulations: null });
    const game = async (threads: number) =>
      (await playMatch({ ...searching, play: "sampled" }, random, { openings, seed: 4, threads })).games;
    expect(await game(2)).toEqual(await game(1));
  });

  test("the seed decides, not the threads", async () => {
    const play = (seed: number, threads: number) =>
      playMatch({ kind: "mcts", simulations: 20 }, { kind: "one-ply" }, { game: "connect4", games: 20, seed, threads });
    const one = await play(1, 1);
    expect(await play(1, 2)).toEqual(one);
    expect((await play(2, 2)).games).not.toEqual(one.games);
  });

  test("deterministic players repeat themselves, and the result says so", async () => {
    const match = await playMatch(
      { kind: "policy", path: policyFile, play: "argmax" },
      { kind: "heuristic" },
      { games: 50 },
    );
    expect(match).toMatchObject({ deterministic: true, distinct: 2 });
    expect(match.wins % 25).toBe(0);
  });

  test("stronger players win", async () => {
    const ladder: PlayerSpec[] = [
      { kind: "random" },
      { kind: "one-ply" },
      { kind: "alpha-beta", depth: 2 },
      { kind: "alpha-beta", depth: 5 },
    ];
    for (const [i, weaker] of ladder.slice(0, -1).entries()) {
      const { wins, draws } = await playMatch(ladder[i + 1]!, weaker, { game: "connect4", games: 100, seed: 4 });
      expect(wins + draws / 2, `${JSON.stringify(ladder[i + 1])} against ${JSON.stringify(weaker)}`).toBeGreaterThan(
        60,
      );
    }
  });

  test("tells how far it is, and stops when asked", async () => {
    const told: [number, number][] = [];
    const specs = [{ kind: "mcts" }, { kind: "mcts" }] as const;
    await playMatch(...specs, { game: "connect4", games: 6, onProgress: (done, games) => told.push([done, games]) });
    expect(told.at(-1)).toEqual([6, 6]);
    const stop = new AbortController();
    const reason = new Error("enough");
    const long = playMatch({ kind: "mcts", simulations: 1000 }, specs[1], {
      game: "connect4",
      games: 100_000,
      signal: stop.signal,
      onProgress: () => stop.abort(reason),
    });
    await expect(long).rejects.toBe(reason);
    // What the caller's function throws ends the match too.
    const thrown = playMatch({ kind: "mcts", simulations: 1000 }, specs[1], {
      game: "connect4",
      games: 100_000,
      onProgress: () => {
        throw reason;
      },
    });
    await expect(thrown).rejects.toBe(reason);
    await expect(playMatch(...specs, { game: "connect4", signal: stop.signal })).rejects.toBe(reason);
  });

  test("refuses what it cannot play", async () => {
    const random = { kind: "random" } as const;
    const policy = { kind: "policy", path: policyFile, play: "argmax" } as const;
    const refusal = async (promise: Promise<unknown>, path: string | RegExp) => {
      const error = await promise.then(
        () => null,
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(BellowsError);
      expect((error as BellowsError).path).toMatch(path);
      expect((error as BellowsError).expected).toBeTruthy();
      return error;
    };
    const bad = (value: unknown) => value as never;
    await refusal(playMatch(random, random), "match.game");
    await refusal(playMatch(bad({ kind: "oracle" }), random), "player.kind");
    await refusal(playMatch(bad(null), random), "player.kind");
    await refusal(playMatch({ kind: "mcts", simulations: 0 }, random), "player.simulations");
    await refusal(playMatch(bad({ kind: "random", depth: 2 }), random), "player.depth");
    await refusal(playMatch({ ...policy, temperature: 0 }, random), "player.temperature");
    await refusal(playMatch({ ...policy, simulations: -1 }, random), "player.simulations");
    await refusal(playMatch({ ...policy, simulations: 1.5 }, random), "player.simulations");
    await refusal(playMatch({ ...policy, simulations: 100_001 }, random), "player.simulations");
    await refusal(playMatch(bad({ ...policy, play: "best" }), random), "player.play");
    await refusal(playMatch(bad({ kind: "policy", play: "argmax" }), random), "player.path");
    await refusal(playMatch(policy, random, { game: "tictactoe" }), "players");
    await refusal(playMatch(policy, random, { openings: [] }), "match.openings");
    await refusal(playMatch(policy, random, { openings: ["4", "49"] }), "openings");
    await refusal(playMatch(policy, random, { openings: ["1212121"] }), "openings");
    await refusal(playMatch(policy, random, { games: 0 }), "match.games");
    const missing = { ...policy, path: join(folder, "none") };
    expect(await refusal(playMatch(missing, random), /none$/)).toBeInstanceOf(CheckpointError);
  });
});

describe("players", () => {
  test("have names that read back", async () => {
    for (const { kind, strength, max } of PLAYER_ROWS) {
      const spec = (strength ? { kind, [strength]: max } : { kind }) as PlayerSpec;
      const player = await Player.load(spec);
      expect(parseReferencePlayer(player.name)).toEqual(spec);
      expect(player).toMatchObject({ game: null, source: null, deterministic: kind === "heuristic" });
    }
    expect(parseReferencePlayer("runs/a")).toBeNull();
    expect(parseReferencePlayer("mcts")).toEqual({ kind: "mcts" });
    expect(() => parseReferencePlayer("random:3")).toThrow(OptionError);
  });
});

describe("randomOpenings", () => {
  test("are different up to reflection, open, and the seed's", () => {
    const args = { game: "connect4", count: 200, plies: 5, seed: 11 } as const;
    const openings = randomOpenings(args);
    expect(openings).toEqual(randomOpenings(args));
    expect(openings).not.toEqual(randomOpenings({ ...args, seed: 12 }));
    const mirrored = (moves: string) => [...moves].map((digit) => 8 - Number(digit)).join("");
    // Two lists of moves may lead to one position: boards are compared.
    const board = (moves: string) => positionOf("connect4", moves).board;
    const both = openings.map((moves) => [board(moves), board(mirrored(moves))].sort().join("/"));
    expect(new Set(both).size).toBe(200);
    const wins = (moves: string) =>
      positionOf("connect4", moves).legal.filter(({ symbol }) => positionOf("connect4", moves + symbol).result === 1);
    for (const moves of openings) {
      expect(moves).toMatch(/^[1-7]{5}$/);
      expect(wins(moves)).toEqual([]);
      expect(positionOf("connect4", moves).legal.some(({ symbol }) => wins(moves + symbol).length === 0)).toBe(true);
    }
  });

  test("all there are: four first moves of Connect Four, six of tic-tac-toe", () => {
    expect(randomOpenings({ game: "connect4", count: 4, plies: 1, seed: 0 })).toHaveLength(4);
    expect(() => randomOpenings({ game: "connect4", count: 5, plies: 1, seed: 0 })).toThrow("only 4");
    // Reflection is left-right only: cells 1, 2, 4, 5, 7, 8 of tic-tac-toe.
    expect(randomOpenings({ game: "tictactoe", count: 6, plies: 1, seed: 0 })).toHaveLength(6);
  });
});
