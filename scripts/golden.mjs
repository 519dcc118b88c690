// Keeps files that this version writes in test/golden/vX.Y.Z, where every later version must open them
// (test/ts/golden.test.ts). Run it once a release; what is there is never written again.
//
//   bundle-GAME.safetensors   SelfPlay.save(): weights, optimiser and opponents in one file
//   run/                      the folder of a run that was stopped after half of its iterations
//   lab.sqlite, lab.json      a lab's file, and what it holds (see golden-ledger.mjs)
//   expected.json             what the files hold, and what the run's end is under the portable instruction set

import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeLedger } from "./golden-ledger.mjs";

process.env.BELLOWS_ISA = "portable";
const { SelfPlay } = await import("../dist/index.js");

const root = fileURLToPath(new URL("..", import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const folder = join(root, "test", "golden", `v${version}`);
if (existsSync(folder)) {
  console.error(`bellows: ${folder} is there already: the files of a version are written once`);
  process.exit(1);
}

const opponents = { selfShare: 0.5, pool: 2, every: 1 };
const games = {
  tictactoe: { net: { kind: "mlp", width: 16, depth: 1 }, rollout: { games: 64, opponents } },
  connect4: {
    net: { kind: "resmlp", width: 8, depth: 2 },
    rollout: { games: 32, opponents },
    ppo: { minibatch: 64, optimizer: "muon" },
  },
};
const position = { tictactoe: "5192", connect4: "4433" };

// Filled beside its place, so that a failure leaves nothing there.
const fresh = join(root, "build", "golden-files");
rmSync(fresh, { recursive: true, force: true });
mkdirSync(fresh, { recursive: true });
const bundles = {};
for (const [name, options] of Object.entries(games)) {
  const run = await SelfPlay.create({ ...options, game: { name }, run: { seed: 3, iterations: 4, threads: 1 } });
  for await (const _ of run.train({ iterations: 2, roofline: false }));
  const file = `bundle-${name}.safetensors`;
  await run.save(join(fresh, file));
  const { probabilities, value } = await run.policy(position[name]);
  const saved = await run.weightsHash();
  const counters = await run.counters();
  for await (const _ of run.train({ iterations: 2, roofline: false }));
  bundles[file] = {
    game: name,
    weightsHash: saved,
    counters,
    policy: { moves: position[name], probabilities: [...probabilities], value },
    weightsHashAtEnd: await run.weightsHash(),
  };
  await run.close();
}

// A run that is killed after its checkpoint of iteration 2, and the end that it would have had.
const out = join(root, "build", "golden");
const train = (directory, iterations) => {
  const options = [
    "net.width=16",
    "net.depth=1",
    "rollout.games=64",
    "run.checkpointEvery=2",
    "rollout.opponents.pool=2",
  ];
  const args = [
    "train",
    "tictactoe",
    "--seed",
    "4",
    "--threads",
    "1",
    "--iterations",
    "6",
    "--json",
    "--out",
    directory,
  ];
  const set = [...options, "rollout.opponents.every=1", "rollout.opponents.selfShare=0.5"].flatMap((o) => ["--set", o]);
  const script = join(root, "dist", "cli", "main.js");
  rmSync(directory, { recursive: true, force: true });
  const stopAt = iterations === undefined ? [] : ["--import", stopper(iterations)];
  return spawnSync(process.execPath, [...stopAt, script, ...args, ...set], { encoding: "utf8" });
};
// Ends the process at once when the checkpoint of that iteration is in place.
const stopper = (iteration) =>
  `data:text/javascript,${encodeURIComponent(`
    import { existsSync } from "node:fs";
    const path = ${JSON.stringify(join(out, "checkpoints", `${String(iteration).padStart(6, "0")}.safetensors`))};
    const write = process.stdout.write;
    process.stdout.write = (...args) => {
      if (existsSync(path)) process.kill(process.pid, "SIGKILL");
      return write.apply(process.stdout, args);
    };
  `)}`;
const whole = train(join(root, "build", "golden-whole"));
const end = JSON.parse(whole.stdout.trim().split("\n").at(-1));
if (whole.status !== 0 || end.type !== "result") throw new Error(`the run failed: ${whole.stderr}`);
const half = train(out, 2);
if (half.signal !== "SIGKILL") throw new Error(`the run was not stopped: ${half.stderr}`);
rmSync(join(out, "lock"), { force: true });
cpSync(out, join(fresh, "run"), { recursive: true });

writeLedger(fresh);

const { signature } = JSON.parse(readFileSync(join(root, "test", "golden", "signature.json"), "utf8"));
const expected = { signature, bundles, run: { weightsHash: end.weightsHash, iterations: end.iterations } };
writeFileSync(join(fresh, "expected.json"), `${JSON.stringify(expected, null, 2)}\n`);
renameSync(fresh, folder);
console.log(folder);
