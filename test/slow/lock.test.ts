// One process at a time works in a run directory, whoever else is, was or seems to be there.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { self } from "../../lib/owner.js";
import { buildShim, Control, shimmed } from "./fail_io.mjs";
import { emptied, launch, listing, recipe, run, summary, workFolder } from "./runs.mjs";

const folder = workFolder();
const counts: string[] = [];

interface Answer {
  pid?: number;
  done: boolean;
  code?: string;
  message?: string;
}

/** A process of lock_contender.mjs. */
class Contender {
  readonly child: ChildProcess;
  readonly ended: Promise<NodeJS.Signals | null>;
  readonly #answers: AsyncIterator<string>;

  constructor(env: NodeJS.ProcessEnv = process.env) {
    const script = fileURLToPath(new URL("lock_contender.mjs", import.meta.url));
    this.child = spawn(process.execPath, [script], { env, stdio: ["pipe", "pipe", "inherit"] });
    this.child.stdin!.on("error", () => {});
    this.ended = new Promise((resolve) => this.child.on("close", (_code, signal) => resolve(signal)));
    this.#answers = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
    contenders.push(this);
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Its next answer; one that says nothing where it died. */
  async answer(): Promise<Answer> {
    const { value, done } = await this.#answers.next();
    return done ? { done: false } : (JSON.parse(value) as Answer);
  }

  tell(...order: string[]): Promise<Answer> {
    this.child.stdin!.write(`${JSON.stringify(order)}\n`);
    return this.answer();
  }
}

const contenders: Contender[] = [];

async function begin(count: number): Promise<Contender[]> {
  const made = Array.from({ length: count }, () => new Contender());
  for (const contender of made) await contender.answer();
  return made;
}

/** The id of a process that has ended. */
const dead = spawnSync(process.execPath, ["-e", ""]).pid;

function lockText(change: Record<string, unknown>): string {
  return `${JSON.stringify({ ...self(), kernel: false, id: String(Math.random()), ...change })}\n`;
}

afterEach(async () => {
  for (const contender of contenders.splice(0)) {
    contender.child.kill("SIGKILL");
    await contender.ended;
  }
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  console.log(`locks: ${counts.join("; ")}`);
});

describe("twenty processes at once", () => {
  test("take a lock that is free, a dead process's, or half a one: exactly one gets it", async () => {
    const rounds = 60;
    const twenty = await begin(20);
    for (let round = 0; round < rounds; ++round) {
      const at = emptied(join(folder, "round"));
      const kind = ["free", "dead", "dead while taking over", "half"][round % 4]!;
      const first = lockText({ pid: dead });
      if (kind.startsWith("dead")) writeFileSync(join(at, "lock"), first);
      if (kind === "half") writeFileSync(join(at, "lock"), first.slice(0, 30));
      if (kind === "dead while taking over") await leaveTakeover(at, first);
      const answers = await Promise.all(twenty.map((contender) => contender.tell("take", at)));
      const what = `round ${round}, ${kind}: ${JSON.stringify(answers)}`;
      const winners = twenty.filter((_, index) => answers[index]!.done);
      expect(winners.length, what).toBe(1);
      const [winner] = winners;
      for (const { done, code, message } of answers) {
        if (!done)
          expect({ code, names: message?.includes(` ${winner!.pid}`) }, what).toEqual({ code: "LOCKED", names: true });
      }
      expect(readdirSync(at), what).toEqual(["lock"]);
      expect((await winner!.tell("release")).done).toBe(true);
      expect(readdirSync(at), what).toEqual([]);
    }
    counts.push(`${rounds} rounds of 20 processes`);
  });

  /** The right to replace a lock, left by a process that died with it. */
  async function leaveTakeover(at: string, text: string): Promise<void> {
    const { createHash } = await import("node:crypto");
    const hash = createHash("sha256").update(text).digest("hex").slice(0, 16);
    writeFileSync(join(at, `.lock.${hash}.takeover`), lockText({ pid: dead }));
  }

  test("begin a run in the same place: one trains, the others say so", async () => {
    const args = [...recipe, "--iterations", "4", "--json"];
    const reference = join(emptied(join(folder, "reference")), "run");
    expect((await run([...args, "--out", reference])).code).toBe(0);
    for (const empty of [false, true]) {
      const arena = emptied(join(folder, "begin"));
      const out = empty ? emptied(join(arena, "run")) : join(arena, "run");
      const ends = await Promise.all(Array.from({ length: 20 }, () => run([...args, "--out", out])));
      expect(ends.filter(({ code }) => code === 0)).toHaveLength(1);
      for (const { code, last } of ends) {
        // USAGE where it came when there was a run already.
        if (code !== 0)
          expect({ code, error: ["LOCKED", "USAGE"].includes(last.code) }, last?.message).toEqual({
            code: 2,
            error: true,
          });
      }
      expect(summary(out)).toEqual(summary(reference));
      expect(readdirSync(arena)).toEqual(["run"]);
    }
    counts.push("2 x 20 runs begun at once");
  });
});

describe("a taker that dies", () => {
  let library: string;
  let control: Control;
  beforeAll(() => {
    library = buildShim(folder);
    control = new Control(join(folder, "control"));
  });
  afterAll(() => control.close());

  test("at any of its calls, leaves a lock that the next one takes, and nothing else", async () => {
    const prepare = () => {
      const at = emptied(join(folder, "taker"));
      writeFileSync(join(at, "lock"), lockText({ pid: dead }));
      return at;
    };
    const first = prepare();
    control.watch(first);
    const whole = new Contender(shimmed(library, control));
    await whole.answer();
    expect((await whole.tell("take", first)).done).toBe(true);
    const { calls } = control.read();
    expect(calls.some(({ op, path }) => op === "rename" && path.endsWith("/lock"))).toBe(true);
    for (const [index, { op, path }] of calls.entries()) {
      const what = `call ${index + 1}, ${op} ${path}`;
      const at = prepare();
      control.watch(at, { at: index + 1, fault: "kill" });
      const killed = new Contender(shimmed(library, control));
      await killed.answer();
      await killed.tell("take", at);
      expect(await killed.ended, what).toBe("SIGKILL");
      const [next] = await begin(1);
      expect(await next!.tell("take", at), what).toMatchObject({ done: true });
      expect((await next!.tell("release")).done, what).toBe(true);
      // Temporary files go when a run directory is opened; what belongs to the taking over goes at once.
      expect(
        readdirSync(at).filter((name) => !name.endsWith("bellows-tmp")),
        what,
      ).toEqual([]);
    }
    counts.push(`${calls.length} takers killed`);
  });
});

describe("who holds a lock", () => {
  const at = () => emptied(join(folder, "who"));

  test("a process that is stopped still does", async () => {
    const where = at();
    const [holder, other] = (await begin(2)) as [Contender, Contender];
    expect((await holder.tell("take", where)).done).toBe(true);
    holder.child.kill("SIGSTOP");
    const refused = await other.tell("take", where);
    expect(refused).toMatchObject({ done: false, code: "LOCKED" });
    expect(refused.message).toContain(`process ${holder.pid}`);
    holder.child.kill("SIGCONT");
    expect((await holder.tell("release")).done).toBe(true);
    expect((await other.tell("take", where)).done).toBe(true);
  });

  test.each([
    ["a dead process", lockText({ pid: dead })],
    ["another process with the same id", lockText({ pid: process.pid, start: "1" })],
    ["a process before this machine was started", lockText({ pid: process.pid, boot: "before" })],
    ["a damaged one", lockText({}).slice(0, 40)],
    ["an empty one", ""],
    ["one that is something else", '{"pid": "many"}'],
  ])("%s does not", async (_what, text) => {
    const where = at();
    writeFileSync(join(where, "lock"), text);
    const [taker] = await begin(1);
    expect(await taker!.tell("take", where)).toMatchObject({ done: true });
    expect(JSON.parse(readFileSync(join(where, "lock"), "utf8")).pid).toBe(taker!.pid);
  });

  test.each([
    ["another machine", { pid: dead, host: "elsewhere", boot: "other" }, "elsewhere"],
    ["another container without the kernel's lock", { pid: dead, host: "box", space: "pid:[1]" }, "box"],
  ])("a process of %s may; a person decides", async (_what, change, host) => {
    const where = at();
    writeFileSync(join(where, "lock"), lockText(change));
    const [taker] = await begin(1);
    const refused = await taker!.tell("take", where);
    expect(refused).toMatchObject({ done: false, code: "LOCKED" });
    expect(refused.message).toContain(`process ${dead} of ${host} (if it is gone, delete ${join(where, "lock")})`);
    rmSync(join(where, "lock"));
    expect((await taker!.tell("take", where)).done).toBe(true);
  });

  test("a process of another container does while the kernel says so", async () => {
    const where = at();
    const [holder, other] = (await begin(2)) as [Contender, Contender];
    const text = lockText({ pid: dead, host: "box", space: "pid:[1]", kernel: true });
    expect((await holder.tell("pretend", where, text)).done).toBe(true);
    expect(await other.tell("take", where)).toMatchObject({ done: false, code: "LOCKED" });
    holder.child.kill("SIGSTOP");
    expect(await other.tell("take", where)).toMatchObject({ done: false, code: "LOCKED" });
    holder.child.kill("SIGKILL");
    await holder.ended;
    expect(await other.tell("take", where)).toMatchObject({ done: true });
  });
});

describe("a lock that somebody deletes", () => {
  test("is taken again, unless another process was faster: then the run ends", async () => {
    const out = join(emptied(join(folder, "deleted")), "run");
    const lock = join(out, "lock");
    const running = launch([...recipe, "--iterations", "5000", "--json", "--out", out]);
    await running.reached("start");
    // One that never notices ends its run, some seconds later.
    const until = async (condition: () => boolean) => {
      while (!condition()) {
        expect(running.child.exitCode).toBeNull();
        await sleep(5);
      }
    };
    await until(() => existsSync(lock));
    rmSync(lock);
    await until(() => existsSync(lock) && readFileSync(lock, "utf8").includes(`"pid":${running.child.pid},`));
    const [other] = await begin(1);
    for (let answer: Answer = { done: false }; !answer.done; ) {
      rmSync(lock, { force: true });
      answer = await other!.tell("take", out);
    }
    const end = await running.finished;
    expect({ code: end.code, signal: end.signal, error: end.last?.code }).toEqual({
      code: 2,
      signal: null,
      error: "LOCKED",
    });
    expect(end.last.message).toContain(String(other!.pid));
    // It left the other's lock alone, and nothing that is torn.
    expect(JSON.parse(readFileSync(lock, "utf8")).pid).toBe(other!.pid);
    const lines = readFileSync(join(out, "metrics.jsonl"), "utf8").trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line).index)).toEqual(lines.map((_, index) => index + 1));
    expect(listing(out).filter((name: string) => name.endsWith("bellows-tmp"))).toEqual([]);
    counts.push("one lock deleted twice");
  });
});
