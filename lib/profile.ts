import type { NativeProfile } from "./native.js";

/** A memory of the machine: how much it holds, and how fast the threads stream from it together. */
export interface MemoryRoof {
  readonly name: "L1" | "L2" | "L3" | "DRAM";
  /** What it holds for all threads together; null for DRAM. */
  readonly bytes: number | null;
  readonly gbytes: number;
}

/** What this machine can do at most, measured with as many threads as the run has. */
export interface Roof {
  readonly threads: number;
  /** Multiply-adds in the run's precision, GFLOP/s. */
  readonly gflops: number;
  /** The same of fp32, and of bf16 factors with fp32 sums; null where the CPU has no instruction for that. */
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
   * what one call touches, whichever is reached first. Above 1 where the data stayed nearer than that. NaN until the
   * roof is measured.
   */
  readonly roof: number;
  /** Which of the two that is; null until the roof is measured, and for work that counts neither. */
  readonly bound: "compute" | "memory" | null;
  /** That memory; null until the roof is measured. */
  readonly memory: MemoryRoof["name"] | null;
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

export type Rates = Pick<ProfileRow, "gflops" | "gbytes" | "intensity" | "roof" | "bound" | "memory">;

/** Rates of work, and its place under the roof. */
export function rates({ flops, bytes, seconds, calls, threads }: Work, roof: Roof | null): Rates {
  const gflops = seconds > 0 ? flops / seconds / 1e9 : 0;
  const gbytes = seconds > 0 ? bytes / seconds / 1e9 : 0;
  const intensity = bytes > 0 ? flops / bytes : 0;
  const rate = { gflops, gbytes, intensity };
  if (roof === null) return { ...rate, roof: Number.NaN, bound: null, memory: null };
  const part = (threads ?? roof.threads) / roof.threads;
  const touched = bytes / Math.max(1, calls);
  const memory = roof.memory.find((level) => level.bytes === null || level.bytes * part >= touched)!;
  const compute = gflops / (roof.gflops * part);
  const stream = gbytes / (memory.gbytes * part);
  const bound = flops <= 0 && bytes <= 0 ? null : compute >= stream ? "compute" : "memory";
  return { ...rate, roof: Math.max(compute, stream), bound, memory: memory.name };
}

const CACHES = ["L1", "L2", "L3"] as const;

/** The roof of a profile; null until it is measured. */
export function toRoof(raw: NativeProfile): Roof | null {
  if (!(raw.gflops > 0 && raw.gbytes > 0)) return null;
  const memory: MemoryRoof[] = [
    ...raw.caches.map((cache, i) => ({ name: CACHES[i]!, ...cache })),
    { name: "DRAM", bytes: null, gbytes: raw.gbytes },
  ];
  const arithmetic = { fp32: raw.gflopsFp32, bf16: raw.gflopsBf16 > 0 ? raw.gflopsBf16 : null };
  return { threads: raw.threads, gflops: raw.gflops, arithmetic, memory: memory.filter(({ gbytes }) => gbytes > 0) };
}

export function toProfile(raw: NativeProfile): ProfileRow[] {
  const roof = toRoof(raw);
  const total = raw.spans.reduce((sum, { seconds }) => sum + seconds, 0);
  return raw.spans.map((span) => {
    const { gflops, gbytes, intensity, roof: fraction, bound, memory } = rates(span, roof);
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
    };
  });
}
