/**
 * The bench of text generation: hubserve beside a plain route, beside Python, and beside the bare loop.
 *
 *     npx tsx bench/generation.ts [--quick] [--only LINE] [--model gpt2-small|smollm-135m|FOLDER] [--streams 1,4,8,16]
 *                                 [--threads N] [--rounds N] [--seconds N] [--hubserve CLI] [--python PROGRAM] [--json FILE]
 *
 * Clients stream texts, each asks again when its text is whole (`generation-load.ts`); prompts and texts have mixed, seeded lengths
 * (`generation-orders.ts`). Rounds alternate, A B C A B C, so that a machine that slows down does so for all of them; what is
 * printed are medians over the rounds, and for ratios the median of each round's ratio. Every round has orders of its own, the
 * same ones for everybody.
 */
import { writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { basename, resolve } from "node:path";
import { parseArgs } from "node:util";

import {
  endWriters,
  startWriters,
  WRITER_NAMES,
  type Writer,
  type WriterName,
  type WriterSetup,
} from "./generation-contenders.ts";
import { GENERATION_MODELS, makeGenerationModel } from "./generation-models.ts";
import { asUnderWay, makeOrders } from "./generation-orders.ts";
import {
  medianWriting,
  printVerdicts,
  printWriting,
  type WritingLine,
} from "./generation-report.ts";
import { describeMachine } from "./machine.ts";
import { builtHubserve, compile, type Measurement } from "./programs.ts";

const { values: flags } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    model: { type: "string" },
    streams: { type: "string" },
    threads: { type: "string", default: "1" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    hubserve: { type: "string" },
    python: { type: "string" },
    json: { type: "string" },
  },
});

const rounds = Number(flags.rounds ?? (flags.quick ? 2 : 3));
const seconds = Number(flags.seconds ?? (flags.quick ? 8 : 20));
const streamCounts = (flags.streams ?? (flags.quick ? "1,8" : "1,4,8,16")).split(",").map(Number);
const patterns = flags.only.split(",");
const isWanted = (line: string): boolean => patterns.some((pattern) => line.includes(pattern));

/** Of a window, goes by before it is measured. */
const WARM_UP_SHARE = 0.2;
/** More than a round can use up. */
const ORDERS = 512;

async function main(): Promise<void> {
  const hubserve =
    flags.hubserve === undefined
      ? await builtHubserve(() => console.log("Building hubserve"))
      : resolve(flags.hubserve);
  const files = {
    "generation-load": await compile("generation-load"),
    "generation-plain-route": await compile("generation-plain-route"),
    "generation-bare-loop": await compile("generation-bare-loop"),
  };
  const machine = describeMachine(hubserve);
  const versions = Object.entries(machine.versions).map((entry) => entry.join(" "));
  console.log(`${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB, float32`);
  console.log(versions.join(", "));
  console.log(
    `${flags.threads} thread(s) per run, ${rounds} alternating rounds of ${seconds} s, medians; the load generator runs on the same machine\n`,
  );
  const lines: WritingLine[] = [];
  for (const model of flags.model?.split(",") ?? modelNames()) {
    const folder = folderOf(model);
    const setup: WriterSetup = {
      model: folder,
      threads: Number(flags.threads),
      hubserve,
      python: flags.python,
      files,
    };
    lines.push(...(await runModel(basename(model), setup)));
  }
  if (flags.json !== undefined)
    writeFileSync(flags.json, JSON.stringify({ machine, flags, lines }, undefined, 2));
}

function modelNames(): string[] {
  const names = Object.keys(GENERATION_MODELS);
  return flags.quick ? names.slice(0, 1) : names;
}

function folderOf(model: string): string {
  if (!isOwn(model)) return resolve(model);
  return makeGenerationModel(model, (folder) => console.log(`Making ${folder}`));
}

function isOwn(model: string): model is keyof typeof GENERATION_MODELS {
  return Object.hasOwn(GENERATION_MODELS, model);
}

async function runModel(model: string, setup: WriterSetup): Promise<WritingLine[]> {
  const nameOf = (streams: number, who: WriterName): string => `${model}/${streams}/${who}`;
  /** The bare loop is one client's ceiling. */
  const takesPart = (who: WriterName, streams: number): boolean =>
    isWanted(nameOf(streams, who)) && (who !== "bare-loop" || streams === 1);
  const wanted = WRITER_NAMES.filter((who) =>
    streamCounts.some((streams) => takesPart(who, streams)),
  );
  if (wanted.length === 0) return [];
  const writers = await startWriters(
    setup,
    (who) => wanted.includes(who),
    (who, why) => console.log(`Without ${who}: ${why}`),
  );
  const lines: WritingLine[] = [];
  try {
    for (const writer of writers) await warmUp(writer);
    for (const streams of streamCounts) {
      const taking = writers.filter(({ name }) => takesPart(name, streams));
      if (taking.length === 0) continue;
      const runs = new Map<WriterName, Measurement[]>(taking.map(({ name }) => [name, []]));
      for (let round = 0; round < rounds; round++) {
        const orders = asUnderWay(makeOrders(ORDERS, round + 1), streams, round + 1);
        for (const writer of taking) {
          const warmupSeconds = seconds * WARM_UP_SHARE;
          const measurement = await writer.measure({ orders, streams, warmupSeconds, seconds });
          runs.get(writer.name)?.push(measurement);
        }
      }
      const found = taking.map(({ name }): WritingLine => {
        return { name: nameOf(streams, name), ...medianWriting(runs.get(name) ?? []) };
      });
      const load = loadavg()[0] ?? NaN;
      console.log(`${model}, ${streams} stream(s); load average afterwards ${load.toFixed(1)}`);
      printWriting(found);
      printVerdicts(streams, runs);
      console.log();
      lines.push(...found);
    }
  } finally {
    await endWriters(writers);
  }
  return lines;
}

/** JavaScript is compiled and memory is touched before anything is measured. */
async function warmUp(writer: Writer): Promise<void> {
  const orders = makeOrders(ORDERS, 0);
  await writer.measure({ orders, streams: 4, warmupSeconds: 0, seconds: flags.quick ? 2 : 4 });
}

await main();
