// Files made to hurt: each is a CheckpointError that names the file and what is wrong in it, wherever a checkpoint can
// be given, in a process that lives on. Truncated, empty and randomly damaged files are in api.test.ts and
// contract.test.ts, the reader's every branch in test/c/test_safetensors.c.

import { execFileSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { seal } from "../../lib/checkpoint.js";
import { CheckpointError, SelfPlay } from "../../lib/index.js";
import { native } from "../../lib/native.js";
import { bellows, type Line, scratch, tinyPool } from "./cli.js";

const folder = scratch();

/** A file of this header, with so many bytes of data. `length` is what it says about the header, if not the truth. */
function compose(header: string | Buffer, data: number | Buffer = 0, length?: bigint): Buffer {
  const text = Buffer.from(header as string);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(text.length));
  return Buffer.concat([prefix, text, typeof data === "number" ? Buffer.alloc(data) : data]);
}

const tensor = (shape: string, begin: string | number, end: string | number, dtype = "U8") =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`;
const metadata = (text: string) => `{"__metadata__":{${text}}}`;
const latin1 = (text: string) => Buffer.from(text, "latin1");

/** No container: [what, bytes, what the message says]. */
const containers: [string, () => Buffer, RegExp][] = [
  ["a length beyond the file", () => compose("{}", 0, 3n), /length is given as 3/],
  ["a length of 2^63", () => compose("{}", 0, 1n << 63n), /length is given as 9223372036854775808/],
  ["a length that wraps around", () => compose("{}", 0, (1n << 64n) - 6n), /length is given as/],
  ["a length above the format's limit", () => compose(Buffer.alloc(100_000_001, " "), 0), /length is given/],
  ["a header of nothing", () => compose(""), /expected '\{'/],
  ["a header of spaces", () => compose(Buffer.alloc(50_000_000, " ")), /expected '\{'/],
  ["an enormous header of spaces around nothing", () => compose(`{${" ".repeat(50_000_000)}`), /expected/],
  ["a byte order mark", () => compose("\uFEFF{}"), /expected '\{'/],
  ["UTF-16", () => compose(Buffer.from("{}", "utf16le")), /expected/],
  ["an array", () => compose("[]"), /expected '\{'/],
  ["a comment", () => compose("{/**/}"), /expected/],
  ["a second object", () => compose("{}{}"), /follows the closing/],
  ["a byte 0 behind the header", () => compose("{}\0"), /follows the closing/],
  ["deep nesting", () => compose('{"a":'.repeat(1_000_000)), /expected|field/],
  ["deep lists", () => compose(`{"a":{"shape":${"[".repeat(1_000_000)}`), /whole number/],
  ["a negative offset", () => compose(`{"a":${tensor("[1]", -1, 0)}}`, 1), /whole number/],
  ["an offset of 2^63", () => compose(`{"a":${tensor("[1]", 0, "9223372036854775808")}}`, 1), /too large/],
  ["an offset of 2^64", () => compose(`{"a":${tensor("[1]", "18446744073709551616", 1)}}`, 1), /too large/],
  ["an offset with an exponent", () => compose(`{"a":${tensor("[1]", 0, "1e0")}}`, 1), /expected/],
  ["offsets the wrong way round", () => compose(`{"a":${tensor("[1]", 1, 0)}}`, 1), /a: .*\[begin, end\]/],
  ["data beyond the file", () => compose(`{"a":${tensor("[9]", 0, 9)}}`, 8), /a: .*file holds 8 bytes/],
  ["overlapping tensors", () => compose(`{"a":${tensor("[2]", 0, 2)},"b":${tensor("[2]", 1, 3)}}`, 3), /b: .*begins/],
  ["a shared range", () => compose(`{"a":${tensor("[2]", 0, 2)},"b":${tensor("[2]", 0, 2)}}`, 2), /b: .*begins/],
  ["a gap", () => compose(`{"a":${tensor("[1]", 0, 1)},"b":${tensor("[1]", 2, 3)}}`, 3), /b: .*begins at byte 2/],
  ["trailing bytes", () => compose(`{"a":${tensor("[1]", 0, 1)}}`, 2), /data: .*end at byte 1/],
  ["an unknown type", () => compose(`{"a":${tensor("[1]", 0, 1, "F8_E4M3")}}`, 1), /a: unknown dtype/],
  ["too few bytes for the type", () => compose(`{"a":${tensor("[1]", 0, 1, "F64")}}`, 1), /a: .*need 8 bytes/],
  ["a rank of a million", () => compose(`{"a":${tensor(`[${"1,".repeat(999_999)}1]`, 0, 1)}}`, 1), /a: .*dimensions/],
  ["a product of 2^64", () => compose(`{"a":${tensor("[4294967296,4294967296]", 0, 0)}}`), /a: .*overflows/],
  ["such a product of nothing", () => compose(`{"a":${tensor("[0,9223372036854775807,9]", 0, 0)}}`), /a: .*overflows/],
  ["a size of 0 with data", () => compose(`{"a":${tensor("[0,5]", 0, 5)}}`, 5), /a: .*need 0 bytes/],
  ["one name twice", () => compose(`{"a":${tensor("[0]", 0, 0)},"\\u0061":${tensor("[0]", 0, 0)}}`), /a: two tensors/],
  ["one field twice", () => compose(`{"a":{"dtype":"U8","dtype":"U8"}}`), /a: .*twice/],
  ["one key twice", () => compose(metadata('"k":"1","k":"2"')), /"k" stands there twice/],
  ["metadata twice", () => compose('{"__metadata__":{},"__metadata__":{}}'), /twice/],
  ["metadata of numbers", () => compose(metadata('"k":1')), /expected '"'/],
  ["metadata of objects", () => compose(metadata('"k":{}')), /expected '"'/],
  ["broken UTF-8", () => compose(latin1(metadata('"k":"\xC3("'))), /not UTF-8/],
  ["overlong UTF-8", () => compose(latin1(metadata('"k":"\xC0\x80"'))), /not UTF-8/],
  ["a surrogate as UTF-8", () => compose(latin1(metadata('"k":"\xED\xA0\x80"'))), /not UTF-8/],
  ["half a surrogate pair", () => compose(metadata('"k":"\\ud83d"')), /surrogate/],
  ["halves the wrong way round", () => compose(metadata('"k":"\\ude00\\ud83d"')), /surrogate/],
  ["a character 0 in a name", () => compose(`{"a\\u0000b":${tensor("[0]", 0, 0)}}`), /character 0/],
  ["a raw 0 in a name", () => compose(`{"a\0b":${tensor("[0]", 0, 0)}}`), /control character/],
  ["an unknown escape", () => compose(metadata('"k":"\\x41"')), /escape/],
  ["a string without end", () => compose('{"__metadata__":{"k'), /without end/],
];

interface Editable {
  header: { __metadata__: Record<string, string>; [name: string]: unknown };
  data: Buffer;
}

let good: string;
let whole: Line;

function open(): Editable {
  const bytes = readFileSync(good);
  const end = 8 + Number(bytes.readBigUInt64LE(0));
  return { header: JSON.parse(bytes.toString("utf8", 8, end)), data: Buffer.from(bytes.subarray(end)) };
}

/** The valid checkpoint after a change, with a new checksum unless it is to be wrong. */
function edited(change: (file: Editable) => void, sealed = true): Buffer {
  const file = open();
  change(file);
  if (sealed) file.header.__metadata__["bellows.sha256"] = "0".repeat(64);
  const bytes = compose(JSON.stringify(file.header), file.data);
  return sealed ? Buffer.from(seal(bytes)) : bytes;
}

// biome-ignore lint/suspicious/noExplicitAny: a test changes whatever the header has
const info = (file: Editable, name: string) => file.header[name] as any;
const put = (key: string, value: string) => (file: Editable) => {
  file.header.__metadata__[key] = value;
};
const drop = (key: string) => (file: Editable) => {
  delete file.header.__metadata__[key];
};
const config = (group: string, options: object) => (file: Editable) => {
  const value = JSON.parse(file.header.__metadata__["bellows.config"]!);
  Object.assign(value[group], options);
  file.header.__metadata__["bellows.config"] = JSON.stringify(value);
};
const number = (name: string, value: number) => (file: Editable) => {
  file.data.writeFloatLE(value, info(file, name).data_offsets[0]);
};
const deep = (depth: number) => `${'{"net":'.repeat(depth)}1${"}".repeat(depth)}`;

/** A container, but no checkpoint: [what, change, what the error says it received or its message says]. */
const checkpoints: [string, () => Buffer, RegExp][] = [
  ["no metadata at all", () => compose(`{"a":${tensor("[1]", 0, 1)}}`, 1), /lacks "bellows.config"/],
  ["another checksum", () => edited(put("bellows.sha256", "1".repeat(64)), false), /checksum/],
  ["a checksum of nothing", () => edited(put("bellows.sha256", ""), false), /checksum/],
  ["a checksum with escapes", () => edited(put("bellows.sha256", '"\\'), false), /checksum/],
  ["a content that was not there", () => edited(put("iteration", "1"), false), /checksum/],
  ["another format", () => edited(put("format", "bellows-selfplay-2")), /format/],
  ["no format", () => edited(drop("format")), /format/],
  ["a negative counter", () => edited(put("games", "-1")), /games/],
  ["a counter with an exponent", () => edited(put("games", "1e3")), /games/],
  ["a counter above 2^53", () => edited(put("updates", "9007199254740993")), /updates/],
  ["a counter of a thousand digits", () => edited(put("samples", "9".repeat(1000))), /samples/],
  ["no counter", () => edited(drop("iteration")), /iteration/],
  ["opponents out of order", () => edited(put("opponents", "2,1")), /opponents/],
  ["more opponents than the pool holds", () => edited(put("opponents", "1,2,3,4")), /opponents/],
  ["an opponent from the future", () => edited(put("opponents", "1,999")), /opponents/],
  ["opponents with a comma more", () => edited(put("opponents", "1,")), /opponents/],
  ["NaN in the weights", () => edited(number("trunk.0.weight", Number.NaN)), /trunk\.0\.weight.*NaN/],
  ["infinity in the policy", () => edited(number("policy.bias", Number.POSITIVE_INFINITY)), /policy\.bias.*infinity/],
  ["NaN in a moment", () => edited(number("optimizer.first_moment", Number.NaN)), /first_moment.*NaN/],
  ["a negative mean of squares", () => edited(number("optimizer.second_moment", -1)), /second_moment.*negative/],
  ["NaN in an opponent", () => edited(number("opponents.weights", Number.NaN)), /opponents\.weights.*NaN/],
  [
    "a weight that is missing",
    () =>
      edited((file) => {
        file.header["trunk.9.weight"] = info(file, "trunk.0.weight");
        delete file.header["trunk.0.weight"];
      }),
    /trunk\.0\.weight.*missing/,
  ],
  [
    "a weight of another shape",
    () => edited((file) => void info(file, "trunk.0.weight").shape.reverse()),
    /trunk\.0\.weight.*shape/,
  ],
  [
    "a weight of one more dimension",
    () => edited((file) => void info(file, "trunk.0.weight").shape.push(1)),
    /trunk\.0\.weight.*shape/,
  ],
  [
    "weights of integers",
    () =>
      edited((file) => {
        info(file, "policy.weight").dtype = "I32";
      }),
    /policy\.weight.*I32/,
  ],
  ["an opponent more than is listed", () => edited(put("opponents", "")), /opponents\.weights.*shape/],
  ["options that are no JSON", () => edited(put("bellows.config", "{")), /bellows\.config/],
  ["options that are null", () => edited(put("bellows.config", "null")), /bellows\.config/],
  ["options that are a list", () => edited(put("bellows.config", "[]")), /bellows\.config/],
  ["options in many braces", () => edited(put("bellows.config", deep(100_000))), /net\.net|game\.name/],
  ["options of no game", () => edited(put("bellows.config", "{}")), /game\.name/],
  ["options of an unknown game", () => edited(config("game", { name: "go" })), /game\.name/],
  ["another game's net", () => edited(config("game", { name: "connect4" })), /trunk\.0\.weight|net/],
  ["an unknown option", () => edited(config("net", { widht: 1 })), /widht/],
  ["a net wider than its tensors", () => edited(config("net", { width: 17 })), /trunk\.0\.weight/],
  ["a net that needs gigabytes", () => edited(config("net", { width: 4096, depth: 64 })), /net of \d+/],
  ["a width of text", () => edited(config("net", { width: "16" })), /net\.width/],
  [
    "a width of 1e400",
    () => edited(put("bellows.config", '{"game":{"name":"tictactoe"},"net":{"width":1e400}}')),
    /net\.width/,
  ],
  [
    "an option that cannot be turned into text",
    () => edited(config("net", { width: { constructor: { name: { toString: 1, valueOf: 1 } } } })),
    /net\.width/,
  ],
  [
    "a prototype among the options",
    () =>
      edited((file) => {
        const text = file.header.__metadata__["bellows.config"]!;
        file.header.__metadata__["bellows.config"] = text.replace("{", '{"__proto__":{"polluted":1},');
      }),
    /__proto__/,
  ],
  ["no time", () => edited(put("bellows.run", "{}")), /bellows\.run/],
  ["a negative time", () => edited(put("bellows.run", '{"seconds":-1}')), /bellows\.run/],
  ["an endless time", () => edited(put("bellows.run", '{"seconds":1e999}')), /bellows\.run/],
  ["an opponent's file elsewhere", () => edited(put("bellows.opponents", '{"1":"../../etc/passwd"}')), /opponents/],
  ["an opponent without a number", () => edited(put("bellows.opponents", `{"x":"${"0".repeat(64)}"}`)), /opponents/],
];

/** What is at a path, but no regular file: [what, how to make it, the path]. */
const places: [string, (path: string) => void, RegExp][] = [
  ["a pipe that nobody writes to", (path) => void execFileSync("mkfifo", [path]), /not a regular file/],
  ["a link to a device without end", (path) => symlinkSync("/dev/zero", path), /not a regular file/],
  ["a link to itself", (path) => symlinkSync(path, path), /ELOOP/],
  ["a link to nowhere", (path) => symlinkSync(`${path}.gone`, path), /ENOENT/],
  ["a directory", (path) => mkdirSync(path), /is a directory/],
  [
    "eight tebibytes, none of them written",
    (path) => {
      writeFileSync(path, "");
      truncateSync(path, 2 ** 43);
    },
    /too large/,
  ],
];

async function refused(path: string, says: RegExp): Promise<void> {
  const error: unknown = await SelfPlay.load(path).then(
    (run) => run.close(),
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(CheckpointError);
  const typed = error as CheckpointError;
  expect(typed.path).toBe(path);
  expect(typed.received).toBeTruthy();
  expect(typed.expected).toBeTruthy();
  expect(`${typed.message.replaceAll(path, "")} (${typed.received})`).toMatch(says);
}

beforeAll(async () => {
  const out = join(folder, "whole");
  const args = ["train", "tictactoe", ...tinyPool, "--iterations", "6", "--set", "run.checkpointEvery=2"];
  const end = await bellows([...args, "--out", out, "--json"]);
  expect(end.code, end.stderr).toBe(0);
  whole = end.last;
  const run = await SelfPlay.load(out);
  good = join(folder, "good.safetensors");
  await run.save(good);
  await run.close();
});

describe("SelfPlay.load", () => {
  test("the file that the others are made from is good", async () => {
    const path = join(folder, "same.safetensors");
    writeFileSync(
      path,
      edited(() => {}),
    );
    const run = await SelfPlay.load(path);
    expect(await run.weightsHash()).toBe(whole.weightsHash);
    await run.close();
  });

  test.each(containers)("%s", async (what, make, says) => {
    const path = join(folder, `${what}.safetensors`);
    const bytes = make();
    writeFileSync(path, bytes);
    await refused(path, says);
    const outcome = native().inspect(bytes);
    expect(outcome.ok).toBe(false);
    if (!outcome.ok) expect(outcome.error).toMatchObject({ status: "CHECKPOINT", path: expect.stringMatching(/./) });
    rmSync(path);
  });

  test.each(checkpoints)("%s", async (what, make, says) => {
    const path = join(folder, `${what}.safetensors`);
    writeFileSync(path, make());
    await refused(path, says);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    rmSync(path);
  });

  test.each(places)("%s", async (what, make, says) => {
    const path = join(folder, what);
    make(path);
    await refused(path, says);
    rmSync(path, { recursive: true });
  });

  test("30,000 tensors that nobody asked for", async () => {
    const names = Array.from({ length: 30_000 }, (_, i) => `"${i}":${tensor("[0]", 0, 0)}`);
    const path = join(folder, "many.safetensors");
    writeFileSync(path, compose(`{${names.join()}}`));
    await refused(path, /lacks "bellows.config"/);
  });

  test("metadata named like what every object has", async () => {
    const path = join(folder, "names.safetensors");
    writeFileSync(
      path,
      edited((file) => {
        const names = ["constructor", "hasOwnProperty", "toString", "0", ""];
        for (const name of names) file.header.__metadata__[name] = "text";
        Object.defineProperty(file.header.__metadata__, "__proto__", { value: "text", enumerable: true });
      }),
    );
    const run = await SelfPlay.load(path);
    expect(await run.weightsHash()).toBe(whole.weightsHash);
    await run.close();
    const outcome = native().inspect(readFileSync(path));
    expect(outcome.ok && Object.keys(outcome.file.metadata)).toEqual(
      expect.arrayContaining(["__proto__", "constructor", "hasOwnProperty", "toString", "0", ""]),
    );
  });

  test("weights so large that their products are infinite", async () => {
    const path = join(folder, "large.safetensors");
    const large = edited((file) => {
      const [begin, end] = info(file, "trunk.0.weight").data_offsets;
      for (let at = begin; at < end; at += 4) file.data.writeFloatLE(3e38, at);
    });
    writeFileSync(path, large);
    const run = await SelfPlay.load(path);
    const steps = [run.evaluate(), run.policy(""), run.train({ iterations: 1, roofline: false }).next()];
    for (const step of await Promise.allSettled<unknown>(steps)) {
      if (step.status === "rejected") expect(step.reason).toMatchObject({ code: "NUMERIC" });
    }
    await run.close();
  });
});

describe("the command", () => {
  test("eval, policy and play refuse with exit 2 and the path", async () => {
    const files = [...containers, ...checkpoints].filter(([what]) =>
      ["deep nesting", "overlapping tensors", "NaN in the weights", "a net that needs gigabytes"].includes(what),
    );
    expect(files).toHaveLength(4);
    const paths = files.map(([what, make]) => {
      const path = join(folder, `cli ${what}`);
      writeFileSync(path, make());
      return path;
    });
    const pipe = join(folder, "cli pipe");
    execFileSync("mkfifo", [pipe]);
    const calls = [...paths, pipe, "/dev/zero"].map((path) => ["eval", path]);
    for (const [command, path] of [...calls, ["policy", pipe], ["play", pipe]]) {
      const end = await bellows([command!, path!, "--json"]);
      expect({ code: end.code, signal: end.signal }).toEqual({ code: 2, signal: null });
      expect(end.lines).toHaveLength(1);
      expect(end.last).toMatchObject({ type: "error", code: "CHECKPOINT", path });
    }
  });

  test("resume goes on from the checkpoint before the hostile one", async () => {
    const hostile: [string, (path: string) => void][] = [
      ["a pipe", places[0]![1]],
      ["a directory", (path) => mkdirSync(path)],
      ["NaN", (path) => writeFileSync(path, edited(number("policy.weight", Number.NaN)))],
      ["a net that needs gigabytes", (path) => writeFileSync(path, edited(config("net", { width: 4096 })))],
    ];
    for (const [what, make] of hostile) {
      const out = join(folder, `resume ${what}`);
      cpSync(join(folder, "whole"), out, { recursive: true });
      rmSync(join(out, "result.json"));
      const newest = join(out, "checkpoints", "000006.safetensors");
      renameSync(newest, join(folder, "kept"));
      make(newest);
      const end = await bellows(["train", "--resume", out, "--json"]);
      expect(end.code, `${what}: ${end.stderr}`).toBe(0);
      expect(end.stderr).toContain("000006.safetensors");
      expect(end.last.weightsHash).toBe(whole.weightsHash);
      expect(readdirSync(join(out, "checkpoints"))).toContain("000006.safetensors");
    }
  });
});
