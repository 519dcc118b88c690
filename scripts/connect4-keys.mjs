// Keys of Connect Four positions, for the scripts that make tables of them.

const STEP = 7; // bits a column
const BOTTOM = 0x40810204081n; // the lowest bit of each column

/** The key of games/connect4.h after moves: the mover's stones + all stones. */
function keyOf(moves) {
  const boards = [0n, 0n];
  let occupied = 0n;
  for (const [ply, move] of [...moves].entries()) {
    const column = 0x3fn << BigInt(STEP * (move - 1));
    const stone = (occupied + (BOTTOM & column)) & column;
    boards[ply % 2] |= stone;
    occupied |= stone;
  }
  return boards[moves.length % 2] + occupied;
}

const mirrored = (moves) => [...moves].map((move) => String(8 - Number(move))).join("");

/** The same key for a position and its mirror image. */
export function canonical(moves) {
  const keys = [keyOf(moves), keyOf(mirrored(moves))];
  return keys[0] < keys[1] ? keys[0] : keys[1];
}
