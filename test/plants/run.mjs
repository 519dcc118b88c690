// Plants known bugs, one at a time, in a copy of the engine and demands that a test fails: a test that can't fail
// proves nothing. Part of `npm run test:slow`; `node test/plants/run.mjs NAME ...` plants only those named.
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/**
 * Each plant edits files of the copy (exact text, once) or changes the compiler's flags, and names the test that must
 * notice. The first three are the classics of self-play PPO: they train, and quietly learn less.
 */
const plants = [
  {
    name: "layout",
    what: "the observation grouped by plane instead of by cell",
    test: "test_games",
    edits: [
      [
        "csrc/games/tictactoe.h",
        "(uint16_t)(tictactoe_PLANES * cell + (int)(opponent >> cell & 1))",
        "(uint16_t)(cell + 9 * (int)(opponent >> cell & 1))",
      ],
    ],
  },
  {
    name: "gae-across-games",
    what: "advantages that flow from one game into the one before it",
    test: "test_collect",
    edits: [
      [
        "csrc/kernels/gae.k.h",
        "    real next_value[2] = {0, 0}, next_advantage[2] = {0, 0};\n    int next_player[2] = {-1, -1};\n",
        "",
      ],
      [
        "csrc/kernels/gae.k.h",
        "  const real gamma = (real)args->gamma, lambda = (real)args->lambda;\n  FOR_GRID(g, args->games) {\n    const int64_t base = g * args->max_plies;\n    const int outcome = outcomes[g];\n    // By chain: the value",
        "  const real gamma = (real)args->gamma, lambda = (real)args->lambda;\n  int next_player[2] = {-1, -1};\n  real next_value[2] = {0, 0}, next_advantage[2] = {0, 0};\n  FOR_GRID(g, args->games) {\n    const int64_t base = g * args->max_plies;\n    const int outcome = outcomes[g];\n    // By chain: the value",
      ],
    ],
  },
  {
    name: "mask-arithmetic",
    what: "illegal actions masked by adding -1e8 to their logits",
    test: "test_parity",
    edits: [
      [
        "csrc/kernels/policy.h",
        "const real e = EXP(rows->logits[a][r] * inverse_temperature",
        "const real e = EXP((rows->logits[a][r] - (rows->masks[r] >> a & 1 ? 0 : (real)1e8)) * inverse_temperature",
      ],
      ["csrc/kernels/policy.h", "rows->masks[r] >> a & 1 ? e : 0;", "e;"],
    ],
  },
  {
    name: "fast-math",
    what: "the engine compiled with -ffast-math, which deletes checks for NaN",
    test: "test_train",
    flags: "-ffast-math",
  },
  {
    name: "opponent-swap",
    what: "another opponent after every move",
    test: "test_collect",
    edits: [
      [
        "csrc/train/collect.c",
        "        if (opponent > 0) move(run, play, other, listed, 1, &moved[1]);",
        "        static int turn;\n        if (opponent > 0) bw_opponents_load(run, bw_opponents_weights(run, turn++ % run->member_count));\n        if (opponent > 0) move(run, play, other, listed, 1, &moved[1]);",
      ],
    ],
  },
  {
    name: "sign",
    what: "no change of sign between the players of a chain",
    test: "test_collect",
    edits: [["csrc/kernels/gae.k.h", "next_player[chain] == player ? 1 : -1", "1"]],
  },
  {
    name: "batch-dependent-random",
    what: "random numbers keyed by the row of the batch instead of the game",
    test: "test_collect",
    edits: [
      [
        "csrc/kernels/rollout.k.h",
        "BW_STREAM_ACTION, numbers[r], plies_seen[r])",
        "BW_STREAM_ACTION, (uint64_t)(first + r), plies_seen[r])",
      ],
    ],
  },
  {
    name: "stale-weights",
    what: "packed weights that are not renewed after a step",
    test: "test_train",
    edits: [
      ["csrc/train/optimizer.c", "  bw_net_pack_first(&run->agent, run->device);\n  return norm;", "  return norm;"],
    ],
  },
  {
    name: "columns",
    what: "columns whose GELU is skipped where threads share a layer by columns",
    test: "test_train",
    edits: [
      [
        "csrc/backends/cpu_group.c",
        "const int64_t begin = first_panel * cpu->gemm->panel",
        "const int64_t begin = (first_panel + 1) * cpu->gemm->panel",
      ],
    ],
  },
  {
    name: "entropy-sign",
    what: "an entropy bonus that rewards certainty",
    test: "test_gradient",
    edits: [["csrc/kernels/ppo_loss.k.h", "+ entropy_coef * p *", "- entropy_coef * p *"]],
  },
  {
    name: "shared-states",
    what: "of the samples of a state only the last one's gradient",
    test: "test_train",
    edits: [["csrc/kernels/ppo_loss.k.h", "begins ? d[k][r] : gradient[k] + d[k][r]", "d[k][r]"]],
  },
];

const wanted = process.argv.slice(2);
const chosen = plants.filter((plant) => wanted.length === 0 || wanted.includes(plant.name));
const work = mkdtempSync(join(tmpdir(), "bellows-plants-"));
const build = join(work, "build");
let missed = 0;

function cmake(...args) {
  const result = spawnSync("cmake", args, { encoding: "utf8" });
  if (result.status !== 0) throw new Error(`cmake ${args.join(" ")}\n${result.stdout}${result.stderr}`);
}

try {
  for (const part of ["CMakeLists.txt", "csrc", "test/c"])
    cpSync(join(root, part), join(work, part), { recursive: true });
  const options = ["-S", work, "-B", build, "-DBELLOWS_BENCHES=OFF"];
  cmake(...options);
  for (const { name, what, test, edits = [], flags = "" } of chosen) {
    const originals = new Map();
    for (const [file, from, to] of edits) {
      const path = join(work, file);
      const text = readFileSync(path, "utf8");
      if (text.split(from).length !== 2) throw new Error(`plant ${name}: ${file} must hold this text once:\n${from}`);
      if (!originals.has(path)) originals.set(path, text);
      writeFileSync(
        path,
        text.replace(from, () => to),
      );
    }
    cmake(...options, `-DCMAKE_C_FLAGS=${flags}`);
    cmake("--build", build, "--target", test, "-j", "2");
    const result = spawnSync(join(build, test), { encoding: "utf8", cwd: work, timeout: 300_000 });
    const found = result.status !== 0;
    if (!found) missed += 1;
    console.log(`${found ? "found " : "MISSED"}  ${name.padEnd(24)} ${test.padEnd(14)} ${what}`);
    for (const [path, text] of originals) writeFileSync(path, text);
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
console.log(`plants: ${chosen.length - missed} passed, ${missed} failed`);
process.exitCode = missed > 0 || chosen.length === 0 ? 1 : 0;
