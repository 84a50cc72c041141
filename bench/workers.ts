/**
 * Workers × threads: what each shape of the pool gives on this machine, for `notes/workers.md`.
 *
 *     npx tsx bench/workers.ts --model FOLDER [--dtype fp32|q8] [--shapes 1x1,1x2,2x1] [--concurrency 1,8,32]
 *                              [--lists 1,16] [--rounds 3] [--seconds 4]
 *
 * Closed loop; the shapes are interleaved, so that a machine that slows down does so for all of them, and medians over
 * the rounds are printed. `--lists 16` sends sixteen texts a request. The generator runs on the same CPUs, as a
 * neighbour of the server's does in a cluster.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";

import { startHubserve } from "../test/support/hubserve.ts";
import { medianOf } from "./latency.ts";
import { generateLoad, type LoadBody } from "./load.ts";
import { readUsage } from "./process-tree.ts";
import { makeTexts, readWords } from "./texts.ts";

const { values: flags } = parseArgs({
  options: {
    model: { type: "string", default: "model" },
    dtype: { type: "string" },
    shapes: { type: "string", default: "1x1,1x2,2x1" },
    concurrency: { type: "string", default: "1,8,32" },
    lists: { type: "string", default: "1,16" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "4" },
  },
});

interface Load {
  /** Texts a request. */
  readonly list: number;
  readonly concurrency: number;
}

/** One shape under one load, once. */
interface Sample {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  /** Of the parent and its workers together, per request. */
  readonly cpuMs: number;
}

const shapes = flags.shapes.split(",");
const loads: readonly Load[] = flags.lists
  .split(",")
  .flatMap((list) =>
    flags.concurrency
      .split(",")
      .map((concurrency) => ({ list: Number(list), concurrency: Number(concurrency) })),
  );
const texts = makeTexts("mixed", 1024, readWords(flags.model));

/** The same texts whatever the length of the lists. */
function bodiesOf(list: number): LoadBody[] {
  return Array.from({ length: texts.length / list }, (_, index) => {
    const part = texts.slice(index * list, (index + 1) * list);
    const inputs = list === 1 ? part[0]?.text : part.map(({ text }) => text);
    return {
      body: JSON.stringify({ inputs }),
      tokens: part.reduce((sum, { tokens }) => sum + tokens, 0),
    };
  });
}

/** @param seconds The window's; a quarter of it goes before, so that code is compiled and arenas have grown. */
async function sample(
  { url, pid }: { url: string; pid: number },
  { list, concurrency }: Load,
  seconds: number,
): Promise<Sample> {
  const cpuSeconds: number[] = [];
  const { requests, latencyMs, ...observed } = await generateLoad(
    {
      url,
      bodies: bodiesOf(list),
      arrivals: { kind: "closed", concurrency },
      warmupSeconds: seconds / 4,
      seconds,
      mostRequests: Infinity,
      requestTimeoutMs: 60_000,
    },
    () => cpuSeconds.push(readUsage(pid)?.cpuSeconds ?? Number.NaN),
  );
  const errors = Object.entries(observed.errors);
  if (errors.length > 0) throw new Error(`Cannot measure: found ${errors.join(", ")}`);
  const [opened = Number.NaN, closed = Number.NaN] = cpuSeconds;
  return {
    perSecond: requests / observed.seconds,
    p50Ms: latencyMs.p50,
    p95Ms: latencyMs.p95,
    cpuMs: ((closed - opened) * 1000) / requests,
  };
}

const samples = new Map<string, Sample[]>();
const rowOf = (shape: string, { list, concurrency }: Load): string =>
  `| ${list} | ${concurrency} | ${shape.replace("x", "×")} |`;

for (let round = 0; round < Number(flags.rounds); round++) {
  for (const shape of shapes) {
    const [workers, threads] = shape.split("x");
    const dtype = flags.dtype === undefined ? [] : ["--dtype", flags.dtype];
    await using server = await startHubserve({
      args: [flags.model, `--workers=${workers}`, `--threads=${threads}`, ...dtype],
    });
    await server.line(/Ready after/);
    // Ready is when the first worker is: this load, which is not counted, gives the others time to come.
    await sample(server, { list: 1, concurrency: 8 }, 2);
    for (const load of loads) {
      const taken = await sample(server, load, Number(flags.seconds));
      const row = rowOf(shape, load);
      samples.set(row, [...(samples.get(row) ?? []), taken]);
    }
  }
}

console.log(
  `${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${flags.rounds} rounds of ${flags.seconds} s\n`,
);
console.log("| texts | clients | workers×threads | requests/s | p50 ms | p95 ms | CPU ms |");
console.log("|---|---|---|---|---|---|---|");
for (const load of loads) {
  for (const shape of shapes) {
    const taken = samples.get(rowOf(shape, load)) ?? [];
    const cell = (name: keyof Sample, digits: number): string =>
      medianOf(taken.map((one) => one[name])).toFixed(digits);
    console.log(
      `${rowOf(shape, load)} ${cell("perSecond", 0)} | ${cell("p50Ms", 1)} | ${cell("p95Ms", 1)} | ${cell("cpuMs", 1)} |`,
    );
  }
}
