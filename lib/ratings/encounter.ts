// What ratings are computed from: who met whom, with which results.

import { OptionError } from "../errors.js";
import { gameKey, type MatchResult } from "../match/match.js";

/** Results of some games, for the first player. */
export interface Tally {
  readonly wins: number;
  readonly draws: number;
  readonly losses: number;
}

/** All games of two players. What belongs together, an opening with colours swapped, is one tally. */
export interface Encounter {
  readonly a: string;
  readonly b: string;
  readonly pairs: readonly Tally[];
}

/**
 * A match as an encounter: two games in a row, one opening with colours swapped, are a pair. Where both players are
 * deterministic, a pair that was played before counts once, since the second time says nothing new.
 */
export function encounterOf(match: MatchResult): Encounter {
  const { a, b, games, deterministic } = match;
  const seen = new Set<string>();
  const pairs: Tally[] = [];
  for (let g = 0; g < games.length; g += 2) {
    const pair = games.slice(g, g + 2);
    const key = pair.map(gameKey).join("|");
    if (deterministic && seen.has(key)) continue;
    seen.add(key);
    const count = (score: number) => pair.filter((game) => game.score === score).length;
    pairs.push({ wins: count(1), draws: count(0.5), losses: count(0) });
  }
  return { a, b, pairs };
}

/** An encounter from its totals; every game is a pair of its own. */
export function encounter(a: string, b: string, wins: number, draws: number, losses: number): Encounter {
  const all = (count: number, tally: Tally) => Array.from({ length: count }, () => tally);
  return {
    a,
    b,
    pairs: [
      ...all(wins, { wins: 1, draws: 0, losses: 0 }),
      ...all(draws, { wins: 0, draws: 1, losses: 0 }),
      ...all(losses, { wins: 0, draws: 0, losses: 1 }),
    ],
  };
}

/** Totals of some pairs. */
export function totalOf(pairs: readonly Tally[]): Tally {
  let [wins, draws, losses] = [0, 0, 0];
  for (const pair of pairs) {
    wins += pair.wins;
    draws += pair.draws;
    losses += pair.losses;
  }
  return { wins, draws, losses };
}

/** Names of all players, in the order in which they appear. */
export function playersOf(encounters: readonly Encounter[]): string[] {
  return [...new Set(encounters.flatMap(({ a, b }) => [a, b]))];
}

/** Refuses encounters that are none. */
export function checkEncounters(encounters: readonly Encounter[], op: string): void {
  for (const [i, { a, b, pairs }] of encounters.entries()) {
    const path = `encounters[${i}]`;
    if (a === b) refuse(op, path, `"${a}" against itself`, "two different players");
    for (const { wins, draws, losses } of pairs) {
      if (![wins, draws, losses].every((count) => Number.isFinite(count) && count >= 0)) {
        refuse(op, `${path}.pairs`, JSON.stringify({ wins, draws, losses }), "counts from 0");
      }
    }
  }
}

function refuse(op: string, path: string, received: string, expected: string): never {
  throw new OptionError(`${path} is ${received}; it must be ${expected}`, { op, path, received, expected });
}
