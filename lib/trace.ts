// A recording of what each thread did when, as a file that Perfetto (ui.perfetto.dev) and chrome://tracing open: the
// JSON object form of Chrome's trace event format, with complete events (X), counters (C) and names (M). Times in it are
// microseconds from the start of the recording.

import { Readable } from "node:stream";
import { createGzip } from "node:zlib";
import { writeAtomic } from "./checkpoint.js";
import type { Iteration } from "./events.js";
import { type NativeEngine, type NativeEvents, native, settled } from "./native.js";
import { type Roof, rates } from "./profile.js";

/** How much is recorded. */
export interface TraceArguments {
  /** Iterations from here on; default 3. What follows the last one, up to the next, is recorded too. */
  readonly iterations?: number | undefined;
  /** Events of a thread that an iteration has room for, 64 bytes each; default 500,000. What has none is counted. */
  readonly capacity?: number | undefined;
}

/** An event of Chrome's trace event format. */
export interface TraceEvent {
  readonly name: string;
  /** X: an interval; C: a counter's new value; M: the name of a process or thread. */
  readonly ph: "X" | "C" | "M";
  readonly pid: number;
  readonly tid: number;
  /** Microseconds. */
  readonly ts: number;
  /** Microseconds; of X only. */
  readonly dur?: number;
  readonly cat?: string;
  readonly args?: Readonly<Record<string, number | string>>;
}

/** What a trace file holds. */
export interface TraceFile {
  readonly displayTimeUnit: "ms";
  readonly otherData: Readonly<Record<string, number | string>>;
  readonly traceEvents: readonly TraceEvent[];
}

/** What stands in a trace beside its events. */
export interface TraceSource {
  readonly game: string;
  readonly about: Readonly<Record<string, number | string>>;
  /** The roof as measured by then; null before. */
  readonly roof: () => Roof | null;
}

const PID = 1;
const JAVASCRIPT_TID = 1;
/** Columns of a row of {@link NativeEvents}. */
const COLUMNS = 8;

interface Span {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

interface Sample {
  readonly at: number;
  readonly iteration: Iteration;
}

/** A recording that {@link SelfPlay.trace} began. */
export class Trace {
  /** Iterations that it holds at most. */
  readonly limit: number;
  readonly #engine: NativeEngine;
  readonly #source: TraceSource;
  readonly #origin = native().clock();
  readonly #parts: NativeEvents[] = [];
  readonly #spans: Span[] = [];
  readonly #samples: Sample[] = [];
  #recording = true;

  /** @internal */
  constructor(engine: NativeEngine, limit: number, source: TraceSource) {
    this.#engine = engine;
    this.limit = limit;
    this.#source = source;
  }

  /** Whether it still records. */
  get recording(): boolean {
    return this.#recording;
  }

  /** Iterations recorded so far. */
  get iterations(): number {
    return this.#samples.length;
  }

  /** Events recorded so far on all threads. */
  get events(): number {
    return this.#spans.length + this.#parts.reduce((sum, part) => sum + part.rows.length / COLUMNS, 0);
  }

  /** Events that found no room: the file lacks them. */
  get dropped(): number {
    return this.#parts.reduce((sum, part) => sum + part.dropped, 0);
  }

  /** Runs work and records how long it took, as an interval of the JavaScript thread. Such calls may nest. */
  async during<T>(name: string, work: () => Promise<T>): Promise<T> {
    if (!this.#recording) return work();
    const start = native().clock();
    try {
      return await work();
    } finally {
      if (this.#recording) this.#spans.push({ name, start, end: native().clock() });
    }
  }

  /**
   * An iteration has ended, and what belongs to it.
   *
   * @internal
   */
  async iterated(iteration: Iteration, start: number, end: number): Promise<void> {
    this.#spans.push({ name: `iteration ${iteration.index}`, start, end });
    this.#samples.push({ at: start, iteration });
    await this.#take();
  }

  async #take(): Promise<void> {
    this.#parts.push(await settled(this.#engine.traceTake()));
  }

  /** Ends the recording; training goes on without it. */
  async stop(): Promise<void> {
    if (!this.#recording) return;
    this.#recording = false;
    await this.#take();
    await settled(this.#engine.traceStop());
  }

  /** The recording so far, as a trace file has it. */
  toJSON(): TraceFile {
    return this.#file([...this.#events()]);
  }

  /**
   * Writes the recording so far to a file, at once or not at all; compressed where the name ends in `.gz`, which
   * Perfetto opens as well.
   *
   * @throws {@link IoError}
   */
  async save(path: string): Promise<void> {
    const text = Readable.from(this.#text());
    await writeAtomic(path, path.endsWith(".gz") ? text.pipe(createGzip()) : text);
  }

  /** The file's text, an event a line, in pieces: there may be more of it than a string holds. */
  *#text(): Generator<string> {
    const { traceEvents: _, ...head } = this.#file([]);
    yield `${JSON.stringify(head).slice(0, -1)},"traceEvents":[`;
    const lines: string[] = [];
    let separator = "\n";
    for (const event of this.#events()) {
      lines.push(JSON.stringify(event));
      if (lines.length < 1000) continue;
      yield separator + lines.splice(0).join(",\n");
      separator = ",\n";
    }
    if (lines.length > 0) yield separator + lines.join(",\n");
    yield "\n]}\n";
  }

  #file(traceEvents: readonly TraceEvent[]): TraceFile {
    const otherData = { ...this.#source.about, iterations: this.iterations, dropped: this.dropped };
    return { displayTimeUnit: "ms", otherData, traceEvents };
  }

  #time(ns: number): number {
    return (ns - this.#origin) / 1e3;
  }

  /** Names first, then everything with a time row by row: in the order of time, what encloses others before them. */
  *#events(): Generator<TraceEvent> {
    const threads = Math.max(1, ...this.#parts.map((part) => part.threads));
    yield* this.#names(threads);
    const javascript = [...this.#intervals(), ...this.#counters()];
    yield* javascript.sort((a, b) => a.ts - b.ts || (b.dur ?? 0) - (a.dur ?? 0));
    for (let t = 0; t < threads; ++t) yield* this.#work(t);
  }

  *#names(threads: number): Generator<TraceEvent> {
    const name = (what: string, tid: number, args: TraceEvent["args"]): TraceEvent => {
      return { name: what, ph: "M", pid: PID, tid, ts: 0, args: args! };
    };
    yield name("process_name", JAVASCRIPT_TID, { name: `bellows ${this.#source.game}` });
    for (let tid = JAVASCRIPT_TID; tid <= threadTid(threads - 1); ++tid) {
      const worker = tid === threadTid(0) ? "worker 0 (engine)" : `worker ${tid - threadTid(0)}`;
      yield name("thread_name", tid, { name: tid === JAVASCRIPT_TID ? "JavaScript" : worker });
      yield name("thread_sort_index", tid, { sort_index: tid });
    }
  }

  *#intervals(): Generator<TraceEvent> {
    for (const { name, start, end } of this.#spans) {
      const ts = this.#time(start);
      yield { name, ph: "X", cat: "javascript", pid: PID, tid: JAVASCRIPT_TID, ts, dur: (end - start) / 1e3 };
    }
  }

  /** From the beginning of its iteration on, each holds until the next one's. */
  *#counters(): Generator<TraceEvent> {
    for (const { at, iteration } of this.#samples) {
      const { policy, value, entropy } = iteration.loss;
      const counter = (name: string, args: Record<string, number>): TraceEvent => {
        return { name, ph: "C", pid: PID, tid: JAVASCRIPT_TID, ts: this.#time(at), args: finite(args) };
      };
      yield counter("loss", { policy, value, entropy });
      yield counter("games/s", { "games/s": iteration.speed.gamesPerSecond });
      yield counter("GFLOP/s", { "GFLOP/s": iteration.roofline.gflops });
    }
  }

  /** What one worker did. */
  *#work(thread: number): Generator<TraceEvent> {
    const roof = this.#source.roof();
    for (const { names, rows } of this.#parts) {
      // Parts follow each other in time; in a part, events stand as they ended.
      const own: number[] = [];
      for (let i = 0; i < rows.length; i += COLUMNS) if (rows[i + 2] === thread) own.push(i);
      own.sort((a, b) => rows[a + 3]! - rows[b + 3]! || rows[b + 4]! - rows[a + 4]!);
      for (const at of own) {
        const row = rows.subarray(at, at + COLUMNS) as Iterable<number> as Row;
        const [name, group, , start, end, flops, bytes, count] = row;
        yield {
          name: names[name]!,
          ph: "X",
          cat: group < 0 ? "phase" : names[group]!,
          pid: PID,
          tid: threadTid(thread),
          ts: this.#time(start),
          dur: (end - start) / 1e3,
          ...(flops > 0 || bytes > 0 ? { args: rateArgs(roof, flops, bytes, end - start, count) } : {}),
        };
      }
    }
  }
}

type Row = [
  name: number,
  group: number,
  thread: number,
  start: number,
  end: number,
  flops: number,
  bytes: number,
  threads: number,
];

function threadTid(thread: number): number {
  return JAVASCRIPT_TID + 1 + thread;
}

/** Rounded to what a reader can use: files have many of these. */
function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

function rateArgs(roof: Roof | null, flops: number, bytes: number, ns: number, threads: number) {
  const { gflops, gbytes, roof: share } = rates({ flops, bytes, seconds: ns / 1e9, calls: 1, threads }, roof);
  return finite({
    ...(flops > 0 && { "GFLOP/s": rounded(gflops) }),
    ...(bytes > 0 && { "GB/s": rounded(gbytes) }),
    "% of roof": rounded(share * 100),
  });
}

/** Numbers that JSON has. */
function finite(args: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(args).filter(([, value]) => Number.isFinite(value)));
}
