// Folds a log while it is written: what a program says again and again, differing only in numbers, is kept as the first
// line, a count and the last line. What is left is short enough to read, and distinct messages are still there.

import { StringDecoder } from "node:string_decoder";
import { stripVTControlCharacters } from "node:util";

/** How much a folded log keeps. */
export interface FoldLimits {
  /** Lines from the beginning. */
  readonly head: number;
  /** Lines after those that look like warnings or errors. */
  readonly notable: number;
  /** Lines at the end. */
  readonly tail: number;
  /** Kinds of repeated lines whose counts are listed at the end. */
  readonly counts: number;
  /** Characters of a line. */
  readonly width: number;
}

/** Together less than a hundred lines, whatever comes in: see {@link Fold.end}. */
export const FOLD_LIMITS: FoldLimits = { head: 48, notable: 10, tail: 16, counts: 8, width: 500 };

/** Kinds of lines that are remembered; the one that was not seen for longest is forgotten for another. */
const KINDS = 1000;

const NOTABLE =
  /error|warn|fail|fatal|panic|exception|traceback|abort|assert|killed|denied|cannot|\bnan\b|out of memory/i;

/** A line without colours and other control characters, as a terminal would show it. */
function plain(line: string): string {
  return stripVTControlCharacters(line)
    .replace(/\t/g, "  ")
    .replace(/\p{Cc}/gu, "")
    .trimEnd();
}

/**
 * What a line has in common with those that differ from it in numbers, times, sizes and progress bars only.
 */
export function kindOf(line: string): string {
  return line
    .slice(0, 300)
    .replace(/[\u2500-\u25ff\u2800-\u28ff]+/g, " ") // bars of block characters, spinners
    .replace(/[=#>.\-_*~]{3,}>?/g, " ") // bars of ASCII
    .replace(/\b0x[\da-f]+\b|\b(?=[a-f]*\d)[\da-f]{8,}\b/gi, "#")
    .replace(/(?<![a-z\d])[-+]?\d+(?:[.,:_]\d+)*(?:e[-+]?\d+)?/gi, "#")
    .replace(/\d+/g, "#")
    .replace(/#\s?(?:%|(?:[kmgt]?i?b|ns|us|µs|ms|s|m|h|min|sec|it|seconds?|minutes?|hours?)(?:\/s|\/it)?\b)/gi, "#")
    .replace(/(?:#\s?){2,}/g, "#")
    .replace(/^[|/\\-] /, "")
    .replace(/\s+/g, " ")
    .trim();
}

/** Cuts a stream of bytes into lines. A progress bar's carriage return ends a line as well. Memory is bounded. */
export class Lines {
  readonly #decoder = new StringDecoder("utf8");
  readonly #width: number;
  readonly #take: (line: string) => void;
  #line = "";
  /** Characters of the line that were not kept. */
  #cut = 0;
  #returned = false;

  constructor(width: number, take: (line: string) => void) {
    this.#width = width;
    this.#take = take;
  }

  write(chunk: Uint8Array): void {
    this.#feed(this.#decoder.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)));
  }

  end(): void {
    this.#feed(this.#decoder.end());
    if (this.#line !== "" || this.#cut > 0) this.#flush();
  }

  #feed(text: string): void {
    let start = 0;
    for (const match of text.matchAll(/[\r\n]/g)) {
      this.#add(text, start, match.index);
      start = match.index + 1;
      // A return and a newline are one end of a line, and a return before the first character is none.
      const again = this.#line === "" && this.#cut === 0 && (match[0] === "\r" || this.#returned);
      if (!again) this.#flush();
      this.#returned = match[0] === "\r";
    }
    this.#add(text, start, text.length);
  }

  #add(text: string, start: number, end: number): void {
    if (start === end) return;
    // Colours take room that they do not need later.
    const room = Math.max(0, 4 * this.#width - this.#line.length);
    this.#line += text.slice(start, Math.min(end, start + room));
    this.#cut += Math.max(0, end - start - room);
    this.#returned = false;
  }

  #flush(): void {
    const line = plain(this.#line);
    const kept = line.slice(0, this.#width);
    const cut = line.length - kept.length + this.#cut;
    this.#line = "";
    this.#cut = 0;
    this.#take(cut > 0 ? `${kept} ... (${cut} more characters)` : kept);
  }
}

interface Kind {
  readonly first: string;
  /** Lines of this kind that are not in the log. */
  hidden: number;
  last: string;
  /** Hidden lines when they were last counted in the log. */
  told: number;
}

function count(lines: number): string {
  return lines === 1 ? "1 line" : `${lines} lines`;
}

/** Takes lines, gives those of the folded log. */
export class Fold {
  readonly #limits: FoldLimits;
  readonly #write: (line: string) => void;
  readonly #kinds = new Map<string, Kind>();
  #previous: Kind | null = null;
  #head = 0;
  #notable = 0;
  /** Lines for the end of the log, if nothing comes after them. */
  #tail: { readonly text: string; readonly lines: number }[] = [];
  /** Lines that fell out of the tail since the last one that was written. */
  #left = 0;

  constructor(write: (line: string) => void, limits: FoldLimits = FOLD_LIMITS) {
    this.#write = write;
    this.#limits = limits;
  }

  line(text: string): void {
    if (text === "") return;
    const key = kindOf(text);
    const known = this.#kinds.get(key);
    if (known) {
      known.hidden += 1;
      known.last = text;
      if (known === this.#previous) return;
      // The map's order is that of use.
      this.#kinds.delete(key);
      this.#kinds.set(key, known);
      this.#previous = known;
      return;
    }
    const kind = { first: text, hidden: 0, last: text, told: 0 };
    const previous = this.#previous;
    // A count stands where its lines end; for lines that come again and again, each time that they are ten times as many.
    if (previous && previous.hidden > 0 && previous.hidden >= 10 * previous.told) this.#tell(previous);
    this.#previous = kind;
    if (this.#kinds.size >= KINDS) this.#forget();
    this.#kinds.set(key, kind);
    this.#put(text, NOTABLE.test(text));
  }

  /** Writes what is still held back: at most head + 2 notable + tail + counts + 2 lines are then in the log. */
  end(): void {
    this.#flushTail();
    const open = [...this.#kinds.values()].filter(({ hidden, told }) => hidden > told);
    const most = open.toSorted((a, b) => b.hidden - b.told - (a.hidden - a.told)).slice(0, this.#limits.counts);
    for (const kind of open) if (most.includes(kind)) this.#write(this.#counted(kind));
    const rest = open.filter((kind) => !most.includes(kind)).reduce((sum, { hidden, told }) => sum + hidden - told, 0);
    if (rest > 0) this.#write(`    [${count(rest)} like others above]`);
    this.#kinds.clear();
    this.#previous = null;
  }

  #counted(kind: Kind): string {
    const more = kind.hidden - kind.told;
    kind.told = kind.hidden;
    if (more === 1) return kind.last;
    const like = this.#previous === kind ? "" : ` like ${JSON.stringify(kindOf(kind.first).slice(0, 60))}`;
    return `    [${count(more)} more${like}, the last one:] ${kind.last}`;
  }

  #tell(kind: Kind): void {
    const lines = kind.hidden - kind.told;
    this.#put(this.#counted(kind), false, lines);
  }

  #forget(): void {
    const [key, kind] = this.#kinds.entries().next().value!;
    this.#kinds.delete(key);
    if (kind.hidden > kind.told) this.#tell(kind);
  }

  /** `lines` is how many lines of the log a text stands for. */
  #put(text: string, notable: boolean, lines = 1): void {
    if (this.#head < this.#limits.head) {
      this.#head += 1;
      this.#write(text);
    } else if (notable && this.#notable < this.#limits.notable) {
      this.#notable += 1;
      for (const { lines } of this.#tail) this.#left += lines;
      this.#tail = [];
      this.#gap();
      this.#write(text);
    } else {
      this.#tail.push({ text, lines });
      if (this.#tail.length > this.#limits.tail) this.#left += this.#tail.shift()!.lines;
    }
  }

  #gap(): void {
    if (this.#left > 0) this.#write(`    [${count(this.#left)} left out]`);
    this.#left = 0;
  }

  #flushTail(): void {
    this.#gap();
    for (const { text } of this.#tail) this.#write(text);
    this.#tail = [];
  }
}
