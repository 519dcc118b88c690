// What the header of an ELF file says: enough to know, before it is loaded, that a binary is whole and for this machine.

import { closeSync, openSync, readSync } from "node:fs";

export interface Elf {
  /** The processor, by the names of `process.arch`, or the format's number where there is no such name. */
  readonly arch: string;
  /** The dynamic linker that an executable asks for, for example `/lib64/ld-linux-x86-64.so.2`. */
  readonly interpreter: string | null;
  /** How long the file must be at least for all that is loaded from it. */
  readonly bytes: number;
}

/** e_machine and the name in `process.arch`; riscv, mips and ppc have one number for 32 and 64 bits. */
const ARCHES: Readonly<Record<number, string>> = {
  3: "ia32",
  8: "mips",
  21: "ppc64",
  22: "s390x",
  40: "arm",
  62: "x64",
  183: "arm64",
  243: "riscv64",
  258: "loong64",
};

const LOAD = 1;
const INTERPRETER = 3;

/** The header of the file at `path`; null when it is none, or cut off. */
export function readElf(path: string): Elf | null {
  const file = openSync(path, "r");
  try {
    const read = (offset: number, length: number): DataView | null => {
      const bytes = new Uint8Array(length);
      return readSync(file, bytes, 0, length, offset) === length ? new DataView(bytes.buffer) : null;
    };
    const header = read(0, 64);
    if (header === null || header.getUint32(0) !== 0x7f454c46) return null;
    const wide = header.getUint8(4) === 2;
    const little = header.getUint8(5) === 1;
    const word = (view: DataView, offset: number) =>
      wide ? Number(view.getBigUint64(offset, little)) : view.getUint32(offset, little);
    const machine = header.getUint16(18, little);
    const table = word(header, wide ? 32 : 28);
    const size = header.getUint16(wide ? 54 : 42, little);
    const count = header.getUint16(wide ? 56 : 44, little);
    // The format has one size; trusting another could ask for gigabytes.
    if (size !== (wide ? 56 : 32)) return null;
    const segments = read(table, size * count);
    let interpreter: string | null = null;
    let bytes = table + size * count;
    for (let i = 0; segments !== null && i < count; ++i) {
      const segment = new DataView(segments.buffer, i * size, size);
      const kind = segment.getUint32(0, little);
      const offset = word(segment, wide ? 8 : 4);
      const length = word(segment, wide ? 32 : 16);
      if (kind === LOAD) bytes = Math.max(bytes, offset + length);
      if (kind === INTERPRETER && length < 4096) {
        const text = read(offset, length);
        if (text !== null) interpreter = new TextDecoder().decode(text).replace(/\0.*$/s, "");
      }
    }
    return { arch: ARCHES[machine] ?? `machine ${machine}`, interpreter, bytes };
  } finally {
    closeSync(file);
  }
}
