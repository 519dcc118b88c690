import type { NativeProfile } from "./native.js";

/** One kind of work of a run: where the time went, and how near to the machine's roof. */
export interface ProfileRow {
  readonly op: string;
  /** The phase it ran in: `collect`, `update`, ... */
  readonly group: string;
  readonly calls: number;
  readonly ms: number;
  readonly gflops: number;
  readonly gbytes: number;
  /**
   * Share of the lower roof: of peak arithmetic or peak bandwidth, whichever this op's flops per byte let it reach
   * last. NaN until the roof is measured.
   */
  readonly roof: number;
}

export function toProfile(raw: NativeProfile): ProfileRow[] {
  return raw.spans.map((span) => {
    const gflops = span.seconds > 0 ? span.flops / span.seconds / 1e9 : 0;
    const gbytes = span.seconds > 0 ? span.bytes / span.seconds / 1e9 : 0;
    const known = raw.gflops > 0 && raw.gbytes > 0;
    const roof = known ? Math.max(gflops / raw.gflops, gbytes / raw.gbytes) : Number.NaN;
    return { op: span.name, group: span.group, calls: span.calls, ms: span.seconds * 1e3, gflops, gbytes, roof };
  });
}
