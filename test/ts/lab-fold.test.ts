// Logs that are folded while they come: short, bounded, and with every distinct message that matters.

import { randomInt } from "node:crypto";
import { describe, expect, test } from "vitest";
import { FOLD_LIMITS, Fold, kindOf, Lines } from "../../lib/lab/fold.js";

function fold(lines: readonly string[], limits = FOLD_LIMITS): string[] {
  const out: string[] = [];
  const folding = new Fold((line) => out.push(line), limits);
  for (const line of lines) folding.line(line);
  folding.end();
  return out;
}

/** The lines that bytes are cut into, given in these pieces. */
function cut(pieces: readonly (string | Uint8Array)[], width = FOLD_LIMITS.width): string[] {
  const out: string[] = [];
  const lines = new Lines(width, (line) => out.push(line));
  for (const piece of pieces) lines.write(Buffer.from(piece as string));
  lines.end();
  return out;
}

/** Words without digits, all different. */
function word(i: number): string {
  return i < 26 ? String.fromCharCode(97 + i) : word(Math.floor(i / 26) - 1) + word(i % 26);
}

describe("lines", () => {
  test.each<[string, (string | Uint8Array)[], string[]]>([
    ["newlines", ["a\nb\n"], ["a", "b"]],
    ["an end without a newline", ["a\nb"], ["a", "b"]],
    ["empty lines", ["a\n\nb\n"], ["a", "", "b"]],
    ["newlines of Windows", ["a\r\nb\r\n"], ["a", "b"]],
    ["a newline of Windows in two pieces", ["a\r", "\nb\r\n"], ["a", "b"]],
    ["a progress bar", ["1%\r2%\r3%\nb"], ["1%", "2%", "3%", "b"]],
    ["a progress bar that returns first", ["\r1%\r2%\r3%\n"], ["1%", "2%", "3%"]],
    ["colours", ["\x1b[31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07\n"], ["red link"]],
    ["colours in two pieces", ["\x1b[3", "1mred\x1b[", "0m\n"], ["red"]],
    ["control characters", ["a\0b\x07c\td\n"], ["abc  d"]],
    ["a character in pieces", [...Buffer.from("é€😀\n")].map((byte) => Uint8Array.of(byte)), ["é€😀"]],
    ["bytes that are no text", [Uint8Array.of(97, 255, 98, 10)], ["a\ufffdb"]],
    ["half a character at the end", [Uint8Array.of(97, 0xe2, 0x82)], ["a\ufffd"]],
  ])("%s", (_, pieces, expected) => {
    expect(cut(pieces)).toEqual(expected);
    expect(cut([Buffer.concat(pieces.map((piece) => Buffer.from(piece as string)))])).toEqual(expected);
  });

  test("the same, however the bytes are cut", () => {
    const text = Buffer.from("é\r\n€😀\n\r50%\r60%\n\nab\x1b[31mc\x1b[0m\n");
    const whole = cut([text]);
    for (let i = 0; i < 200; ++i) {
      const pieces: Buffer[] = [];
      for (let at = 0; at < text.length; ) {
        const size = randomInt(1, 6);
        pieces.push(text.subarray(at, at + size));
        at += size;
      }
      expect(cut(pieces), JSON.stringify(pieces.map((piece) => piece.toString("hex")))).toEqual(whole);
    }
  });

  test("a line has a largest length, a flood without newlines is bounded and counted", () => {
    expect(cut(["x".repeat(30), "\nshort\n"], 10)).toEqual(["xxxxxxxxxx ... (20 more characters)", "short"]);
    const mib = Buffer.alloc(1 << 20, "y");
    const out: string[] = [];
    const lines = new Lines(100, (line) => out.push(line));
    const before = process.memoryUsage();
    for (let i = 0; i < 256; ++i) lines.write(mib);
    const after = process.memoryUsage();
    lines.end();
    expect(out).toEqual([`${"y".repeat(100)} ... (${256 * (1 << 20) - 100} more characters)`]);
    expect(after.heapUsed + after.external - before.heapUsed - before.external).toBeLessThan(64 << 20);
  });
});

describe("kinds of lines", () => {
  test.each([
    ["step 7 of 100, loss 0.25, 12 ms", "step 90 of 100, loss 1.5e-05, 1.2 s"],
    ["[12:03:55.120] epoch 3", "[2:13:05.1] epoch 33"],
    ["2024-05-01T10:00:00Z saved", "2025-12-31T23:59:59Z saved"],
    [" 10%|█         | 1/10 [00:01<00:09,  1.00it/s]", "100%|██████████| 10/10 [00:10<00:00,  2.50s/it]"],
    ["train [===>      ] 30%", "train [========> ] 80%"],
    ["- working", "\\ working"],
    ["⠋ working", "⠙ working"],
    ["allocated 512 KB at 0x7f00ab", "allocated 1.5 MiB at 0xdeadbeef"],
    ["commit 3fa9c1d2e4 done", "commit 00ab12cd34 done"],
    ["loss -0.5", "loss 0.5"],
  ])("%j is like %j", (a, b) => {
    expect(kindOf(a)).toBe(kindOf(b));
  });

  test.each([
    ["error: out of memory", "error: out of time"],
    ["loss 0.5", "loss nan"],
    ["layer norm.0.gain", "layer norm.0.shift"],
    ["saved", "saved 3"],
  ])("%j is not like %j", (a, b) => {
    expect(kindOf(a)).not.toBe(kindOf(b));
  });
});

describe("folding", () => {
  test("repeats: the first, a count, the last", () => {
    const lines = ["begin", ...Array.from({ length: 50 }, (_, i) => `step ${i} in ${i * 7} ms`), "end"];
    expect(fold(lines)).toEqual([
      "begin",
      "step 0 in 0 ms",
      expect.stringMatching(/49 lines more.*\] step 49 in 343 ms$/),
      "end",
    ]);
  });

  test("a single repeat is no longer than itself", () => {
    expect(fold(["step 1", "step 2", "end"])).toEqual(["step 1", "step 2", "end"]);
  });

  test("interleaved repeats", () => {
    const lines = Array.from({ length: 10_000 }, (_, i) => [`a ${i}`, `b ${i}`, `c ${i}`][i % 3]!);
    const out = fold(lines);
    expect(out.length).toBeLessThanOrEqual(12);
    for (const text of ["a 0", "b 1", "c 2"]) expect(out).toContain(text);
    for (const text of ["a 9999", "b 9997", "c 9998"]) expect(out.some((line) => line.endsWith(text))).toBe(true);
    const counted = out.map((line) => Number(/\[(\d+) lines? more/.exec(line)?.[1] ?? 1));
    expect(counted.reduce((sum, lines) => sum + lines)).toBe(10_000);
  });

  test("no line is lost to the count", () => {
    for (let seed = 0; seed < 50; ++seed) {
      const length = randomInt(1, 2000);
      const kinds = randomInt(1, 200);
      const lines = Array.from({ length }, (_, i) => `${word(randomInt(kinds))} ${i}`);
      const total = fold(lines)
        .map((line) => Number(/^ {4}\[(\d+) lines? (?:more|left out|like)/.exec(line)?.[1] ?? 1))
        .reduce((sum, count) => sum + count);
      expect(total, `${length} lines of ${kinds} kinds`).toBe(length);
    }
  });

  test("a hundred thousand mixed lines are less than a hundred, warnings and errors among them", () => {
    const lines: string[] = [];
    const notable: string[] = [];
    for (let i = 0; i < 100_000; ++i) {
      if (i % 10_000 === 9_999) {
        notable.push(`${i % 20_000 < 10_000 ? "warning" : "Error"}: something ${word(i)} happened`);
        lines.push(notable.at(-1)!);
      } else if (i % 7 === 0) lines.push(`epoch ${i} loss ${Math.sin(i)}`);
      else if (i % 7 === 1) lines.push(`${"█".repeat(i % 40)} ${i % 100}%`);
      else if (i % 7 < 5) lines.push(`GET /item/${i} ${i % 900} ms`);
      else lines.push(`a line about ${word(i)} that is like no other`);
    }
    const out = fold(lines);
    expect(out.length).toBeLessThan(100);
    for (const line of notable) expect(out).toContain(line);
    expect(out).toContain(lines.at(-1));
    expect(out).toContain("epoch 0 loss 0");
    expect(out.some((line) => /\[\d+ lines left out\]/.test(line))).toBe(true);
  });

  test("whatever comes, less than a hundred lines", () => {
    const worst = [
      Array.from({ length: 5000 }, (_, i) => word(i)),
      Array.from({ length: 5000 }, (_, i) => `error ${word(i)}`),
      Array.from({ length: 5000 }, (_, i) => (i % 2 ? `error ${word(i)}` : word(i))),
      Array.from({ length: 5000 }, (_, i) => `${word(i % 500)} ${i}`),
      Array.from({ length: 9000 }, (_, i) => `${word(Math.floor(i / 3))} ${i}`),
      Array.from({ length: 9000 }, (_, i) => `${i % 5 ? "warning" : "fatal"} ${word(Math.floor(i / 3))} ${i}`),
    ];
    for (const lines of worst) {
      const out = fold(lines);
      expect(out.length).toBeLessThan(100);
      expect(out[0]).toBe(lines[0]);
    }
  });

  test("kinds that are remembered are bounded", () => {
    const out: string[] = [];
    const folding = new Fold((line) => out.push(line));
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < 200_000; ++i) folding.line(`${word(i)} ${"filler ".repeat(40)}`);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(100 << 20);
    folding.end();
    expect(out.length).toBeLessThan(100);
  });
});
