// Scores of the perfect player in words.

/** Moves of both sides until the game ends, for a score that is not 0 of the side to move after `ply` moves. */
export function movesToEnd(score: number, ply: number): number {
  const stones = 22 - Math.abs(score);
  const firstWins = (ply % 2 === 0) === score > 0;
  // The first player's n-th stone is move 2n - 1, the second player's move 2n.
  return 2 * stones - (firstWins ? 1 : 0) - ply;
}

/** "win in 7", "draw", "loss in 12", in moves of both sides, for the side to move after `ply` moves. */
export function verdict(score: number, ply: number): string {
  if (score === 0) return "draw";
  return `${score > 0 ? "win" : "loss"} in ${movesToEnd(score, ply)}`;
}
