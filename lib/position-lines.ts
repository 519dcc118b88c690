// Lines of files of positions: `bellows solve|policy --file`, `rollout.starts.file` and atlases have the same.

/** A position and the line where it stands, counted from 1. */
export interface PositionLine {
  readonly moves: string;
  readonly line: number;
}

/**
 * The position of a line: its first word, moves from the start, `-` or none for the start position itself. What stands
 * behind `#` is for people; null where nothing stands before it.
 */
export function positionOfLine(text: string): string | null {
  const [before = "", ...remark] = text.split("#", 2);
  const [word = ""] = before.trim().split(/\s+/, 1);
  if (word === "" && remark.length > 0) return null;
  return word === "-" ? "" : word;
}
