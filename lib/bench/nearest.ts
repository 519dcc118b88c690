// Suggestions for names that were mistyped.

/** Letters to insert, delete or replace. */
function distance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, j) => j);
  for (const [i, letter] of [...left].entries()) {
    const next = [i + 1];
    for (let j = 1; j <= right.length; ++j) {
      const replaced = row[j - 1]! + (letter === right[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[right.length]!;
}

/** The name that was probably meant; null where none is near. */
export function nearest(name: string, known: readonly string[]): string | null {
  const [best] = known.map((word) => ({ word, far: distance(name, word) })).sort((a, b) => a.far - b.far);
  return best && best.far <= name.length / 3 + 1 ? best.word : null;
}
