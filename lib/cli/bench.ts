import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { build, needTools } from "../bench/builds.js";
import { type BenchCase, type BenchRow, benchCases, chooseCases, runCase } from "../bench/cases.js";
import { type Comparison, compare } from "../bench/compare.js";
import { BUSY_LOAD, load, machine, machineName, origin } from "../bench/machine.js";
import { findPeers, type PeerEntry, peerEntries, peersOf } from "../bench/peers.js";
import { waterfallText } from "../bench/waterfall.js";
import { checkWritable, writeAtomic } from "../checkpoint.js";
import type { Context } from "./context.js";
import { integer } from "./load.js";
import { usage } from "./output.js";
import { duration, table } from "./report.js";
import { svgRenderer } from "./vega.js";
import { waterfallSpec } from "./waterfall-svg.js";

interface BenchFlags {
  readonly only?: string;
  readonly list?: boolean;
  readonly threads?: string;
  readonly precision: string;
  readonly pairs?: string;
  readonly seconds?: string;
  readonly peers: boolean;
  readonly compare?: string;
  readonly check?: boolean;
  readonly svg?: string;
}

export function registerBench(program: Command, context: Context): void {
  program
    .command("bench")
    .summary("how fast this machine trains, case by case, beside its roof and other programs")
    .description(
      "Times whole iterations of training, matrix products and single kernels, each in turn with probes of what this " +
        "machine can do at that moment, and with PyTorch and OpenBLAS where they are found.",
    )
    .option("--only <names>", "cases, separated by commas: iteration/tictactoe, or gemm for all of gemm/...")
    .option("--list", "the cases, without running them")
    .option("--threads <n>", `threads, also of the peers; default ${availableParallelism()}, all cores`)
    .option("--precision <name>", "of matrix products: fp32 or bf16 (where the CPU has it)", "fp32")
    .option(
      "--pairs <n>",
      "how often a case and its peers, or two commits, take turns; default 5, commits 9 (at least 6)",
    )
    .option("--seconds <s>", "time of a case in each pair; default: as --list says")
    .option("--no-peers", "bellows alone")
    .option("--compare <A..B>", "two commits of a checkout instead; --only says what (iteration/tictactoe)")
    .option("--check", "with --compare: exit code 1 when B is slower beyond the noise")
    .option("--svg <file>", "with --compare: the waterfalls of iterations as SVG; needs the package vega")
    .option("--json", "one JSON object a line on stdout: machine, a bench for each case, result")
    .addHelpText(
      "after",
      "\nA row has the median and the 10th and 90th percentile of all samples; GFLOP/s of the dense operations that the\n" +
        "case needs, whatever shortcuts are taken; their share of the roof (multiply-adds in registers, or memory traffic\n" +
        "over as many bytes, whichever binds first; the best rate seen where the probes read less); and how many times the least possible time it took: the operations\n" +
        "at the probed rate, for an iteration also the optimiser's memory traffic. Peers: how many times as fast\n" +
        "bellows is. BELLOWS_PYTHON names the Python that has torch.\n" +
        "\n--compare builds the bench program of both commits (git and CMake are needed) and runs them in turn: first pairs\n" +
        "of A with itself, which show the noise, then pairs of A and B. B is slower when the median of the pairs' ratios\n" +
        "is above 1 by more than the noise and 2%, and the 95% interval of the median (sign test) is above 1.\n" +
        "\nExamples:\n" +
        "  $ bellows bench --only iteration,gemm\n" +
        "  $ bellows bench --only gemm/forward --threads 1 --json > gemm.jsonl\n" +
        "  $ BELLOWS_PYTHON=.venv/bin/python bellows bench --only iteration/tictactoe --pairs 9\n" +
        "  $ bellows bench --compare main..HEAD --only iteration --check --svg waterfall.svg\n",
    )
    .action((flags: BenchFlags) => bench(flags, context));
}

/** Measured seconds from a flag. */
function secondsOf(text: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (value >= 0 && value <= 3600) return value;
  throw usage(`--seconds is ${text}; it must be a number from 0 to 3600`, "--seconds", text, "a number from 0 to 3600");
}

async function bench(flags: BenchFlags, context: Context): Promise<void> {
  const { output } = context;
  for (const flag of ["check", "svg"] as const) {
    if (flags[flag] === undefined || flags.compare !== undefined) continue;
    throw usage(`--${flag} needs --compare A..B`, `--${flag}`, "no --compare", "--compare A..B");
  }
  const only = flags.only ?? (flags.compare === undefined ? undefined : "iteration/tictactoe");
  const names = only?.split(",").map((name) => name.trim()) ?? [];
  const cases = chooseCases(names, benchCases());
  const threads = flags.threads === undefined ? availableParallelism() : integer("--threads", flags.threads, 1, 256);
  // Fewer than six pairs of commits cannot give an interval of 95%.
  const [least, usual] = flags.compare === undefined ? [1, 5] : [6, 9];
  const pairs = flags.pairs === undefined ? usual : integer("--pairs", flags.pairs, least, 1000);
  const seconds = flags.seconds === undefined ? undefined : secondsOf(flags.seconds);
  if (flags.list) {
    const rows = cases.map((of) => [of.name, of.shape.padEnd(46), `${of.seconds} s`, of.what.padEnd(72)]);
    output.text(table([["name", "shape".padEnd(46), "a pair", "what".padEnd(72)], ...rows]));
    await output.emit({ type: "result", cases });
    return;
  }
  const started = performance.now();
  const here = await machine();
  const from = origin();
  const busy = load();
  output.text(
    `${here.cpu}${here.family ? ` (family ${here.family}, model ${here.model})` : ""}, ${here.cores} cores, ${here.isa}; ` +
      `bellows ${from.version}${from.commit ? ` at ${from.commit}` : ""}; load ${busy}\n`,
  );
  if (busy > BUSY_LOAD) output.warn(`the machine is busy (load ${busy}): medians will be off`);
  await output.emit({ type: "machine", ...here, name: machineName(here), load: busy, ...from });

  const how = { threads, precision: flags.precision, pairs, seconds };
  if (flags.compare !== undefined) {
    await compareCommits(flags.compare, names, how, flags, context);
    return;
  }
  const peers = flags.peers ? await peersHere(cases, threads, context) : [];
  const request = { ...how, peers, signal: context.signal, say: (text: string) => output.note(text) };
  for (const of of cases) {
    const row = await runCase(of, request);
    output.text(rowText(row));
    await output.emit({ type: "bench", ...row, commit: from.commit, load: load() });
  }
  const took = (performance.now() - started) / 1e3;
  output.text(`${cases.length} cases in ${duration(took)}\n`);
  await output.emit({ type: "result", cases: cases.length, seconds: took });
}

/** The peers of the cases that can run here; says which ones cannot, and why. */
async function peersHere(cases: readonly BenchCase[], threads: number, context: Context): Promise<PeerEntry[]> {
  const entries = peerEntries();
  if (entries.length === 0) context.output.note("no peers: this package came without bench/peers\n");
  const names = cases.map(({ name }) => name);
  const left = new Map<string, Set<string>>();
  const peers = await findPeers(peersOf(entries, names, threads), context.signal, (name, reason) => {
    left.set(reason, (left.get(reason) ?? new Set()).add(name));
  });
  for (const [reason, missing] of left) context.output.note(`left out: ${[...missing].join(", ")} (${reason})\n`);
  return peers;
}

async function compareCommits(
  range: string,
  names: readonly string[],
  how: { threads: number; precision: string; pairs: number; seconds: number | undefined },
  flags: BenchFlags,
  context: Context,
): Promise<void> {
  const { output, signal } = context;
  const [, a = "", b = ""] = /^(.+)\.\.(.+)$/.exec(range) ?? [];
  if (!a || !b) throw usage(`--compare is ${range}; it must be A..B`, "--compare", range, "two commits, A..B");
  if (flags.svg === "") throw usage("--svg is empty", "--svg", "an empty name", "a file to write");
  const draw = flags.svg === undefined ? null : await svgRenderer("bench");
  if (flags.svg !== undefined) await checkWritable(flags.svg);
  needTools();
  const say = (text: string) => output.note(text);
  const before = await build(a, signal, say);
  const after = await build(b, signal, say);
  // A program takes one name; iterations run one by one, since the program of an old commit knows no other way.
  const wanted = [...new Set(chooseCases(names, benchCases()).map(({ name }) => name))];
  const all: Comparison[] = [];
  for (const only of wanted) {
    for (const comparison of await compare(before, after, { ...how, only, signal }, say)) {
      all.push(comparison);
      output.text(comparisonText(comparison, [a, b]));
      const { commit: from } = before;
      await output.emit({ type: "compare", ...comparison, ...how, commits: [from, after.commit] });
    }
  }
  const drawn = all.filter(({ groups }) => groups.length > 0);
  if (draw && flags.svg !== undefined && drawn.length > 0) {
    const about = `${how.threads} threads, ${how.precision}: bellows bench --compare ${range}`;
    await writeAtomic(flags.svg, await draw(waterfallSpec(drawn, [a, b], about)));
    output.note(`Wrote ${flags.svg}\n`);
  }
  const slower = all.filter(({ verdict }) => verdict === "slower");
  await output.emit({ type: "result", cases: all.length, slower: slower.map(({ name, shape }) => ({ name, shape })) });
  if (!flags.check || slower.length === 0) return;
  const list = slower.map(({ name, shape, ratio }) => `${name} ${shape} (${percentOf(ratio)})`).join(", ");
  output.note(`slower beyond the noise: ${list}\n`);
  context.exitCode = 1;
}

function percentOf(ratio: number): string {
  const percent = 100 * (ratio - 1);
  return `${percent > 0 ? "+" : ""}${percent.toFixed(1)}%`;
}

function comparisonText(comparison: Comparison, names: readonly [string, string]): string {
  const { name, shape, unit, before, after, ratio, interval, noise, verdict, pairs, groups } = comparison;
  const words = {
    faster: `${names[1]} is faster`,
    slower: `${names[1]} is slower`,
    equal: "no difference beyond the noise",
    undecided: "undecided: more --pairs would tell",
  };
  let text =
    `${name} ${shape}: ${figure(before)} to ${figure(after)} ${unit}; time ${percentOf(ratio)} ` +
    `(${percentOf(interval.low)} to ${percentOf(interval.high)} with ${(100 * interval.confidence).toFixed(0)}% confidence, ` +
    `${pairs} pairs; noise ${(100 * noise).toFixed(1)}%): ${words[verdict]}\n`;
  if (groups.length > 0) text += waterfallText(comparison, names);
  return text;
}

/** Three digits, as people read them. */
function figure(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function rowText(row: BenchRow): string {
  const cells = [
    row.name.padEnd(25),
    row.shape.padEnd(row.iteration ? 48 : 24),
    `${figure(row.median).padStart(6)} ${row.unit}`.padEnd(16),
    `(${figure(row.p10)} to ${figure(row.p90)})`.padEnd(18),
  ];
  if (row.gflops !== null) cells.push(`${figure(row.gflops).padStart(5)} GFLOP/s`);
  if (row.gbytes !== null) cells.push(`${figure(row.gbytes).padStart(5)} GB/s`);
  const of = row.roofRaised ? "the best rate seen" : "the roof";
  if (row.roofFraction !== null) cells.push(`${(100 * row.roofFraction).toFixed(0).padStart(3)}% of ${of}`);
  if (row.floorRatio !== null) cells.push(`${row.floorRatio.toFixed(2)} x the floor`);
  let text = `${cells.join(" ").trimEnd()}\n`;
  if (row.iteration) {
    const { ms, collectMs, updateMs, msPerStep, steps, samples, floorMs } = row.iteration;
    text +=
      `  ${figure(ms)} ms: collect ${figure(collectMs)}, update ${figure(updateMs)} (${msPerStep.toFixed(4)} a step); ` +
      `${Math.round(samples)} samples, ${Math.round(steps)} steps; floor ${figure(floorMs)} ms at ${figure(row.roofGflops)} GFLOP/s\n`;
  }
  for (const peer of row.peers) {
    text += `  ${peer.ratio.toFixed(2)} x as fast as ${peer.name} (${figure(peer.median)} ${row.unit})\n`;
  }
  return text;
}
