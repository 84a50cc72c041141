/**
 * What hubserve itself costs: a handler that does nothing, a handler that streams, and the way from spawn to the first
 * answer.
 */
import { join } from "node:path";

import { hubserveOptions, plainOptions, type Setup } from "./contenders.ts";
import { medianOf } from "./latency.ts";
import type { LoadOrder } from "./load.ts";
import {
  measureLoad,
  ROOT,
  startProgram,
  type Measurement,
  type ProgramOptions,
} from "./programs.ts";
import { errorsOf, printVerdict, type Line } from "./report.ts";
import { medianMeasurement } from "./scenarios.ts";
import { drawTable, figure, mebibytes } from "./table.ts";

export interface OverheadOptions {
  readonly hubserve: string;
  /** Compiled programs of the bench. */
  readonly files: Readonly<Record<"load" | "echo-route", string>>;
  readonly seconds: number;
  readonly rounds: number;
  readonly isWanted: (line: string) => boolean;
}

type Order = Pick<LoadOrder, "bodies" | "headers" | "areEvents"> & { readonly concurrency: number };

/** V8 compiles in stages: the first thousands of requests cost twice what the later ones do. */
const WARM_UP_SECONDS = 3;

const EVENTS = { accept: "text/event-stream" };
const streamOf = (count: number): LoadOrder["bodies"] => [
  { body: JSON.stringify({ inputs: { count } }), tokens: 0 },
];
const NOOP_BODY = [{ body: JSON.stringify({ inputs: "I am quite excited" }), tokens: 0 }];

/** Name → handler's folder and load. */
const OVERHEADS: Readonly<Record<string, { readonly handler: string; readonly order: Order }>> = {
  "noop/c1": { handler: "noop", order: { bodies: NOOP_BODY, concurrency: 1 } },
  "noop/c32": { handler: "noop", order: { bodies: NOOP_BODY, concurrency: 32 } },
  "events/c1": {
    handler: "events",
    order: { bodies: streamOf(3), concurrency: 1, headers: EVENTS, areEvents: true },
  },
  "events/c8": {
    handler: "events",
    order: { bodies: streamOf(1000), concurrency: 8, headers: EVENTS, areEvents: true },
  },
};

export async function measureOverhead({
  hubserve,
  files,
  seconds,
  rounds,
  isWanted,
}: OverheadOptions): Promise<Line[]> {
  const lines: Line[] = [];
  for (const [name, { handler, order }] of Object.entries(OVERHEADS)) {
    const model = join(ROOT, "bench/handlers", handler);
    const ways: readonly (readonly [string, ProgramOptions])[] = [
      ["hubserve", hubserveOptions({ hubserve, model, threads: 1 }, [])],
      // The floor: the same framework with nothing in it, in one process.
      ["hono", { file: files["echo-route"], args: [], ready: /Listening on (\S+)/ }],
    ];
    for (const [who, options] of ways) {
      if (!isWanted(`${name}/${who}`) || (who === "hono" && order.areEvents === true)) continue;
      await using program = await startProgram(options);
      const runs: Measurement[] = [];
      const { concurrency, ...rest } = order;
      for (let round = 0; round < rounds; round++) {
        const load: LoadOrder = {
          ...rest,
          url: `${program.url}/`,
          arrivals: { kind: "closed", concurrency },
          warmupSeconds: round === 0 ? WARM_UP_SECONDS : 0.2,
          seconds,
          mostRequests: 10_000_000,
          requestTimeoutMs: 10_000,
        };
        runs.push(await measureLoad(files.load, load, program.pid));
      }
      lines.push({ name: `${name}/${who}`, ...medianMeasurement(runs) });
    }
  }
  if (lines.length === 0) return [];
  printOverhead(lines);
  return lines;
}

function printOverhead(lines: readonly Line[]): void {
  console.log("No model: hubserve itself, parent and worker together");
  const columns = [
    { title: "line", align: "left" as const },
    ...["req/s", "p50 ms", "p99 ms", "req/CPU-s", "events/s", "events/CPU-s"].map((title) => ({
      title,
    })),
    ...["first event p50 ms", "p99 ms", "CPU s", "peak MiB", "errors"].map((title) => ({ title })),
  ];
  const perCpu = (count: number | undefined, line: Line): string =>
    figure(
      count === undefined || line.cpuSeconds === undefined ? undefined : count / line.cpuSeconds,
    );
  console.log(
    drawTable(
      columns,
      lines.map((line) => [
        line.name,
        figure(line.requests / line.seconds),
        figure(line.latencyMs.p50),
        figure(line.latencyMs.p99),
        perCpu(line.requests, line),
        figure(line.events === undefined ? undefined : line.events / line.seconds),
        perCpu(line.events, line),
        figure(line.firstEventMs?.p50),
        figure(line.firstEventMs?.p99),
        figure(line.cpuSeconds),
        mebibytes(line.peakBytes),
        errorsOf(line),
      ]),
    ),
  );
  for (const line of lines) {
    if (line.name === "noop/c32/hubserve") {
      const perCpuSecond = line.requests / (line.cpuSeconds ?? NaN);
      printVerdict("no-op requests", perCpuSecond, { note: "per CPU-second", atLeast: 5000 });
    } else if (line.name === "events/c8/hubserve") {
      const perSecond = (line.events ?? NaN) / line.seconds;
      printVerdict("server-sent events", perSecond, { note: "per second", atLeast: 20_000 });
    } else if (line.name === "events/c1/hubserve") {
      printVerdict("first event", line.firstEventMs?.p50 ?? NaN, {
        note: "ms after the handler yields it, p50",
        atMost: 5,
      });
    }
  }
  console.log();
}

/** From spawn to ready and to the first answer, of hubserve and of the plain route. */
export async function measureStarts(
  setup: Setup,
  target: string,
  { isWanted, rounds }: { isWanted: (line: string) => boolean; rounds: number },
): Promise<Line[]> {
  const ways = (
    [
      ["hubserve", hubserveOptions(setup, [])],
      ["plain", plainOptions(setup)],
    ] as const
  )
    .map(([who, options]) => ({
      name: `${target}/start/${who}`,
      options,
      readyMs: [] as number[],
      answerMs: [] as number[],
    }))
    .filter(({ name }) => isWanted(name));
  if (ways.length === 0) return [];
  for (let round = 0; round < rounds; round++) {
    for (const { options, readyMs, answerMs } of ways) {
      const startedMs = performance.now();
      await using program = await startProgram(options);
      readyMs.push(program.startMs);
      const response = await fetch(program.url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ inputs: "I am quite excited" }),
      });
      await response.arrayBuffer();
      if (!response.ok) throw new Error(`Cannot time the start: the answer was ${response.status}`);
      answerMs.push(performance.now() - startedMs);
    }
  }
  const lines = ways.map(({ name, readyMs, answerMs }): Line => ({
    name,
    ...medianMeasurement([]),
    readyMs: medianOf(readyMs),
    firstAnswerMs: medianOf(answerMs),
  }));
  console.log(`${target}/start, medians of ${rounds}`);
  const columns = [
    { title: "line", align: "left" as const },
    { title: "spawn to ready ms" },
    { title: "to first answer ms" },
  ];
  console.log(
    drawTable(
      columns,
      lines.map(({ name, readyMs, firstAnswerMs }) => [
        name,
        figure(readyMs),
        figure(firstAnswerMs),
      ]),
    ),
  );
  const own = lines.find(({ name }) => name.endsWith("/hubserve"));
  if (own !== undefined && target.startsWith("minilm"))
    printVerdict("spawn to first answer", own.firstAnswerMs ?? NaN, { note: "ms", atMost: 1000 });
  console.log();
  return lines;
}
