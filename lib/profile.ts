import type { NativeProfile } from "./native.js";

/** A memory of the machine: how much it holds, and how fast the threads stream from it together. */
export interface MemoryRoof {
  readonly name: "L1" | "L2" | "L3" | "DRAM";
  /** What it holds for all threads together; null for DRAM. */
  readonly bytes: number | null;
  readonly gbytes: number;
  /** Whether that is the best rate of an op: the probe read less. */
  readonly raised: boolean;
}

/**
 * What this machine can do at most, measured with as many threads as the run has. A probe reads less while other
 * programs run, so the best of several counts, and where work was faster than all of them, its rate.
 */
export interface Roof {
  readonly threads: number;
  /** Multiply-adds in the run's precision, GFLOP/s. */
  readonly gflops: number;
  /** Whether that is the best rate of an iteration or an op: the probes read less. */
  readonly raised: boolean;
  /** Without what single ops reached: of fp32, and of bf16 factors with fp32 sums; null where the CPU has no instruction for that. */
  readonly arithmetic: { readonly fp32: number; readonly bf16: number | null };
  /** The nearest first; the last one is DRAM. */
  readonly memory: readonly MemoryRoof[];
}

/** One kind of work of a run: where the time went, and how near to the machine's roof. */
export interface ProfileRow {
  readonly op: string;
  /** The phase it ran in: `collect`, `update`, ... */
  readonly group: string;
  readonly calls: number;
  readonly ms: number;
  /** Share of the time of all rows. */
  readonly share: number;
  readonly gflops: number;
  readonly gbytes: number;
  /** Arithmetic intensity: floating-point operations per byte that the work needs. */
  readonly intensity: number;
  /**
   * Share of the roof over this intensity: of peak arithmetic, or of the bandwidth of the nearest memory that holds
   * what one call touches, whichever is reached first. Faster than that memory, it is compared with one nearer, where
   * the data must have stayed. At most 1; NaN until the roof is measured.
   */
  readonly roof: number;
  /** Which of the two that is; null until the roof is measured, and for work that counts neither. */
  readonly bound: "compute" | "memory" | null;
  /** That memory; null until the roof is measured. */
  readonly memory: MemoryRoof["name"] | null;
  /** Whether the roof that binds it was raised to the best rate seen, because the probes read less. */
  readonly raised: boolean;
}

/** Work that was timed. */
export interface Work {
  readonly flops: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly calls: number;
  /** The threads that it counts, where it is not all of them. */
  readonly threads?: number;
}

export type Rates = Pick<ProfileRow, "gflops" | "gbytes" | "intensity" | "roof" | "bound" | "memory" | "raised">;

/** Rates of work, and its place under the roof. */
export function rates({ flops, bytes, seconds, calls, threads }: Work, roof: Roof | null): Rates {
  const gflops = seconds > 0 ? flops / seconds / 1e9 : 0;
  const gbytes = seconds > 0 ? bytes / seconds / 1e9 : 0;
  const intensity = bytes > 0 ? flops / bytes : 0;
  const rate = { gflops, gbytes, intensity };
  if (roof === null) return { ...rate, roof: Number.NaN, bound: null, memory: null, raised: false };
  const part = (threads ?? roof.threads) / roof.threads;
  const touched = bytes / Math.max(1, calls);
  let at = roof.memory.findIndex((level) => level.bytes === null || level.bytes * part >= touched);
  while (at > 0 && gbytes > roof.memory[at]!.gbytes * part) --at;
  const memory = roof.memory[at]!;
  const compute = gflops / (roof.gflops * part);
  const stream = gbytes / (memory.gbytes * part);
  const bound = flops <= 0 && bytes <= 0 ? null : compute >= stream ? "compute" : "memory";
  const share = Math.max(compute, stream);
  // Above 1 only for work that the roof was not raised to: short, or one event of a trace.
  const raised = share > 1 || (bound !== null && (bound === "compute" ? roof : memory).raised);
  return { ...rate, roof: Math.min(1, share), bound, memory: memory.name, raised };
}

/** Share of the time from which on a rate is evidence: clocks and uneven shares of threads make shorter ones up. */
const EVIDENCE = 0.01;

/** The roof over all of this work, done by all threads: a rate that was reached is reachable. */
export function raisedTo(works: readonly Work[], roof: Roof): Roof {
  const total = works.reduce((sum, { seconds }) => sum + seconds, 0);
  const counted = works.filter(({ seconds }) => seconds > 0 && seconds >= EVIDENCE * total);
  const gflops = Math.max(0, ...counted.map(({ flops, seconds }) => flops / seconds / 1e9));
  const gbytes = Math.max(0, ...counted.map(({ bytes, seconds }) => bytes / seconds / 1e9));
  const [nearest, ...farther] = roof.memory;
  return {
    ...roof,
    ...(gflops > roof.gflops && { gflops, raised: true }),
    memory: gbytes > nearest!.gbytes ? [{ ...nearest!, gbytes, raised: true }, ...farther] : roof.memory,
  };
}

const CACHES = ["L1", "L2", "L3"] as const;

/** The roof of a profile, which none of its rows exceeds; null until it is measured. */
export function toRoof(raw: NativeProfile): Roof | null {
  if (!(raw.gflops > 0 && raw.gbytes > 0)) return null;
  const memory = [
    ...raw.caches.map((cache, i) => ({ name: CACHES[i]!, ...cache, raised: false })),
    { name: "DRAM" as const, bytes: null, gbytes: raw.gbytes, raised: false },
  ].filter(({ gbytes }) => gbytes > 0);
  const arithmetic = { fp32: raw.gflopsFp32, bf16: raw.gflopsBf16 > 0 ? raw.gflopsBf16 : null };
  return raisedTo(raw.spans, { threads: raw.threads, gflops: raw.gflops, raised: raw.raised, arithmetic, memory });
}

export function toProfile(raw: NativeProfile): ProfileRow[] {
  const roof = toRoof(raw);
  const total = raw.spans.reduce((sum, { seconds }) => sum + seconds, 0);
  return raw.spans.map((span) => {
    const { gflops, gbytes, intensity, roof: fraction, bound, memory, raised } = rates(span, roof);
    return {
      op: span.name,
      group: span.group,
      calls: span.calls,
      ms: span.seconds * 1e3,
      share: total > 0 ? span.seconds / total : 0,
      gflops,
      gbytes,
      intensity,
      roof: fraction,
      bound,
      memory,
      raised,
    };
  });
}
