// Our files in the public Python package `safetensors`, its files here, and thousands of damaged ones in both: what we
// accept, it accepts with the same content. The package lives in a virtual environment of its own, build/python.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { SelfPlay } from "../../lib/index.js";
import { native } from "../../lib/native.js";
import { bellows, root, scratch, tinyPool } from "../ts/cli.js";

const PACKAGES = ["safetensors==0.8.0", "numpy==2.4.6"];

const folder = scratch();
const environment = join(root, "build", "python");
const python = join(environment, "bin", "python");

/** Name, type, shape and SHA-256 of the bytes. */
type Row = [name: string, dtype: string, shape: number[], hash: string];
type Content = { metadata: Record<string, string>; tensors: Row[] };
type Found = Content | { error: string };

function run(command: string, args: readonly string[]): string {
  const done = spawnSync(command, args, { encoding: "utf8", maxBuffer: 1 << 30 });
  if (done.error) throw new Error(`${command} cannot be started: apt-get install python3 python3-venv`);
  if (done.status === 0) return done.stdout;
  throw new Error(
    `${command} ${args.join(" ")} (is python3-venv missing? apt-get install python3-venv)\n${done.stderr}`,
  );
}

function script(command: "read" | "write", place: string): Record<string, Found> {
  return JSON.parse(run(python, [join(root, "test", "slow", "interop.py"), command, place]));
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
// As Python sorts: by code points, which is the order of the bytes of UTF-8.
const byName = (a: Row, b: Row) => Buffer.compare(Buffer.from(a[0]), Buffer.from(b[0]));

/** What our reader finds. */
function ours(bytes: Uint8Array): Found {
  const outcome = native().inspect(bytes);
  if (!outcome.ok) return { error: outcome.error.message };
  const { metadata, tensors } = outcome.file;
  const rows = tensors.map(
    ({ name, dtype, shape, offset, bytes: size }): Row => [
      name,
      dtype,
      [...shape],
      sha256(bytes.subarray(offset, offset + size)),
    ],
  );
  return { metadata: { ...metadata }, tensors: rows.sort(byName) };
}

function makeFolder(name: string): string {
  const place = join(folder, name);
  mkdirSync(place);
  return place;
}

beforeAll(() => {
  const wanted = PACKAGES.join(" ");
  const stamp = join(environment, "packages");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  run("python3", ["-m", "venv", "--clear", environment]);
  run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ...PACKAGES]);
  writeFileSync(stamp, wanted);
});

describe("our files in Python", () => {
  test("checkpoints, saved runs and opponents have the same tensors and metadata there", async () => {
    const out = join(folder, "run");
    const args = [...tinyPool, "--iterations", "6", "--set", "net.kind=resmlp", "--set", "net.depth=3"];
    const end = await bellows(["train", "tictactoe", ...args, "--out", out, "--json"]);
    expect(end.code, end.stderr).toBe(0);
    const checkpoints = join(out, "checkpoints");
    const opponents = join(checkpoints, "opponents");
    const agent = await SelfPlay.load(out);
    const saved = makeFolder("saved");
    await agent.save(join(saved, "agent.safetensors"));
    const weights = await agent.weights();

    for (const place of [saved, opponents]) {
      const found = script("read", place);
      const names = readdirSync(place);
      expect(Object.keys(found).sort()).toEqual(names.sort());
      expect(names.length).toBeGreaterThan(0);
      for (const name of names) expect(found[name]).toEqual(ours(readFileSync(join(place, name))));
    }
    const found = script("read", saved)["agent.safetensors"] as Content;
    const hashes = new Map(found.tensors.map(([name, , shape, hash]) => [name, { shape, hash }]));
    for (const { name, shape, offset } of agent.tensors) {
      const size = shape.reduce((product, length) => product * length, 1);
      const bytes = new Uint8Array(weights.buffer, weights.byteOffset + 4 * offset, 4 * size);
      expect(hashes.get(name), name).toEqual({ shape, hash: sha256(bytes) });
    }
    expect(hashes.get("opponents.weights")?.shape).toEqual([3, agent.parameters]);
    expect(JSON.parse(found.metadata["bellows.config"]!)).toEqual(agent.options);
    expect(found.metadata.iteration).toBe("6");
    await agent.close();
  });

  test("a checkpoint that Python wrote again, without the checksum, is the same agent", async () => {
    const copy = join(makeFolder("again"), "agent.safetensors");
    const source = join(folder, "saved", "agent.safetensors");
    const code = [
      "import sys, safetensors, safetensors.numpy as st",
      "with safetensors.safe_open(sys.argv[1], 'numpy') as f: metadata = f.metadata()",
      "del metadata['bellows.sha256']",
      "st.save_file(st.load_file(sys.argv[1]), sys.argv[2], metadata=metadata)",
    ];
    run(python, ["-c", code.join("\n"), source, copy]);
    const [a, b] = await Promise.all([SelfPlay.load(source), SelfPlay.load(copy)]);
    expect(await b.weightsHash()).toBe(await a.weightsHash());
    expect(await b.counters()).toEqual(await a.counters());
    for (const agent of [a, b]) for await (const _ of agent.train({ iterations: 2, roofline: false }));
    expect(await b.weightsHash()).toBe(await a.weightsHash());
    await Promise.all([a.close(), b.close()]);
  });
});

describe("Python's files here", () => {
  test("every type and shape, odd numbers, names and metadata", () => {
    const place = makeFolder("python");
    const written = script("write", place);
    const names = Object.keys(written);
    expect(names.length).toBeGreaterThanOrEqual(17);
    for (const name of names) expect(ours(readFileSync(join(place, name))), name).toEqual(written[name]);
  });
});

// ---- damaged files ----

/** Numbers from a seed (mulberry32). */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

const SIZES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
};
const NAMES = ["a", "b", "weight", "", "é", "😀", "__metadata__", "dtype", "__proto__"];
const PIECES = [
  ...['"', "\\", "\\n", "\\u00e9", "\\ud83d\\ude00", "\\ud83d", "\\u0000", "\\x", "\n", "\u007f", "{", "}", "[", "]"],
  ...[",", ":", " ", "\t", "0", "1", "-", ".0", "e1", "null", "true", "a", "F8_E4M3", "9223372036854775808"],
];
const NUMBERS = ["0", "1", "2", "3", "4", "8", "-1", "01", "1.0", "1e0", "4294967296", "9223372036854775807", "null"];

/** A file of header and data; `slip` is what its length field is wrong by. */
function compose(header: string, data: Buffer, slip = 0): Buffer {
  const text = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Math.max(0, text.length + slip)));
  return Buffer.concat([length, text, data]);
}

/** A valid file of some tensors and metadata, or one that was damaged up to four times. */
function damagedFile(seed: number): Buffer {
  const below = random(seed);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!;
  let offset = 0;
  const members = Array.from({ length: below(4) }, (_, i) => {
    const dtype = pick(Object.keys(SIZES)) as keyof typeof SIZES;
    const shape = Array.from({ length: below(below(8) ? 5 : 6) }, () => below(4));
    const begin = offset;
    offset += shape.reduce((product, length) => product * length, SIZES[dtype]);
    const tensor = { dtype, shape, data_offsets: [begin, offset] };
    return `${JSON.stringify(pick(NAMES) + (below(4) ? i : ""))}:${JSON.stringify(tensor)}`;
  });
  if (below(2)) {
    const entries = Array.from(
      { length: below(3) },
      () => `${JSON.stringify(pick(NAMES))}:${JSON.stringify(pick(NAMES))}`,
    );
    members.push(`"__metadata__":{${entries}}`);
  }
  members.sort(() => below(3) - 1);
  let header = `{${members}}${" ".repeat(below(9))}`;
  for (let times = below(5); times > 0; --times) {
    const tokens = [...header.matchAll(/"(?:[^"\\]|\\.)*"|-?\d+|./gsu)];
    const at = pick(tokens);
    const other = pick(tokens);
    const cut = (text: string, token = at) =>
      header.slice(0, token.index) + text + header.slice(token.index + token[0].length);
    const numbers = tokens.filter(([text]) => /^\d/.test(text));
    header = [
      () => cut(""),
      () => cut(at[0] + at[0]),
      () => cut(other[0]),
      () => cut(pick(PIECES) + at[0]),
      () => (numbers.length > 0 ? cut(pick(NUMBERS), pick(numbers)) : header),
      () => header.slice(0, at.index + 1) + pick(PIECES) + header.slice(at.index + 1),
    ][below(6)]!();
    if (header === "") break;
  }
  const slip = (often: number) => (below(often) ? 0 : below(3) - 1);
  const file = compose(header, Buffer.alloc(Math.max(0, offset + slip(8)), seed), slip(30));
  if (!below(10)) file[below(file.length)] = below(256);
  return file;
}

/** What we refuse on purpose although the package takes it: an example with so many bytes of data, and what we say. */
const STRICTER: Record<string, { header: string; data: number; says: RegExp }> = {
  "a type that this library has not": { header: tensor('"F8_E4M3"', "[1]", 1), data: 1, says: /unknown dtype/ },
  "more than four dimensions": { header: tensor('"U8"', "[1,1,1,1,1]", 1), data: 1, says: /more than 4 dimensions/ },
  // The package refuses this where the 0 comes last, and numpy wherever it comes; numpy has no BF16.
  "sizes that overflow behind a 0": {
    header: tensor('"BF16"', "[0,9223372036854775807,9]", 0),
    data: 0,
    says: /shape overflows|number too large/,
  },
  "a field that the format does not know": {
    header: '{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1],"x":1}}',
    data: 1,
    says: /unknown field/,
  },
  "a name or key twice": {
    header: '{"__metadata__":{"a":"1","a":"2"}}',
    data: 0,
    says: /twice|two tensors have this name/,
  },
  "the character 0 in a string": { header: '{"__metadata__":{"a":"\\u0000"}}', data: 0, says: /character 0/ },
  "white space before the header": { header: " {}", data: 0, says: /expected '\{' at byte 0/ },
  "metadata that are null, or a tensor that is a list": {
    header: '{"__metadata__":null}',
    data: 0,
    says: /expected '\{'/,
  },
};

function tensor(dtype: string, shape: string, end: number): string {
  return `{"a":{"dtype":${dtype},"shape":${shape},"data_offsets":[0,${end}]}}`;
}

describe("damaged files", () => {
  test("where we are stricter", () => {
    const place = makeFolder("stricter");
    const rules = Object.entries(STRICTER);
    rules.forEach(([, { header, data }], i) => {
      writeFileSync(join(place, String(i)), compose(header, Buffer.alloc(data)));
    });
    const theirs = script("read", place);
    rules.forEach(([what, { says }], i) => {
      expect(theirs[i], what).not.toHaveProperty("error");
      expect(ours(readFileSync(join(place, String(i)))), what).toEqual({ error: expect.stringMatching(says) });
    });
  });

  test("what we accept, Python accepts with the same content", () => {
    const FILES = 20_000;
    const place = makeFolder("damaged");
    for (let seed = 1; seed <= FILES; ++seed) writeFileSync(join(place, String(seed)), damagedFile(seed));
    const theirs = script("read", place);
    const count = { both: 0, neither: 0 };
    const stricter: Record<string, number> = {};
    for (let seed = 1; seed <= FILES; ++seed) {
      const own = ours(damagedFile(seed));
      const other = theirs[seed]!;
      const said = `seed ${seed}: ${JSON.stringify(own)} and ${JSON.stringify(other)}`;
      if (!("error" in own)) {
        expect(other, said).toEqual(own);
        ++count.both;
      } else if ("error" in other) {
        ++count.neither;
      } else {
        const [reason] = Object.entries(STRICTER).find(([, { says }]) => says.test(own.error)) ?? [];
        expect(reason, said).toBeDefined();
        stricter[reason!] = (stricter[reason!] ?? 0) + 1;
      }
    }
    console.log(
      `${FILES} files: accepted by both ${count.both}, by neither ${count.neither}, by Python only`,
      stricter,
    );
    expect(count.both).toBeGreaterThan(FILES / 10);
    expect(count.neither).toBeGreaterThan(FILES / 10);
  });
});
