/**
 * What the bench of text generation prints.
 */
import type { WriterName } from "./generation-contenders.ts";
import { medianOf, type Percentiles } from "./latency.ts";
import type { Measurement } from "./programs.ts";
import { errorsOf, printVerdict } from "./report.ts";
import { drawTable, figure, mebibytes, type Column } from "./table.ts";

/** A measurement by its name, as `--only` takes it. */
export interface WritingLine extends Measurement {
  readonly name: string;
}

/** What is to be reached: at 8 streams beside the plain route, at 1 beside the bare loop. */
const LEAST_GAIN = 3;
const LEAST_SHARE = 0.95;

/** Each number's median over the rounds; counts and errors are added up. */
export function medianWriting(rounds: readonly Measurement[]): Measurement {
  const median = (pick: (round: Measurement) => number | undefined): number =>
    medianOf(rounds.map((round) => pick(round) ?? NaN));
  const percentiles = (pick: (round: Measurement) => Percentiles | undefined): Percentiles => ({
    p50: median((round) => pick(round)?.p50),
    p95: median((round) => pick(round)?.p95),
    p99: median((round) => pick(round)?.p99),
  });
  const errors: Record<string, number> = {};
  for (const round of rounds)
    for (const [reason, count] of Object.entries(round.errors))
      errors[reason] = (errors[reason] ?? 0) + count;
  return {
    requests: rounds.reduce((sum, { requests }) => sum + requests, 0),
    seconds: 1,
    tokens: median(tokensPerSecond),
    errors,
    latencyMs: percentiles(({ latencyMs }) => latencyMs),
    firstTokenMs: percentiles(({ firstTokenMs }) => firstTokenMs),
    betweenTokensMs: percentiles(({ betweenTokensMs }) => betweenTokensMs),
    cpuSeconds: median(({ cpuSeconds, seconds }) => (cpuSeconds ?? NaN) / seconds),
    peakBytes: Math.max(...rounds.map(({ peakBytes }) => peakBytes ?? NaN)),
  };
}

export function printWriting(lines: readonly WritingLine[]): void {
  const numbers = [
    "tokens/s",
    "first p50 ms",
    "p99 ms",
    "between p50 ms",
    "p99 ms",
    "tokens/CPU-s",
    "CPUs",
    "texts",
    "peak MiB",
    "errors",
  ];
  const columns: Column[] = [
    { title: "line", align: "left" },
    ...numbers.map((title) => ({ title })),
  ];
  const rows = lines.map((line) => [
    line.name,
    figure(line.tokens),
    figure(line.firstTokenMs?.p50),
    figure(line.firstTokenMs?.p99),
    figure(line.betweenTokensMs?.p50),
    figure(line.betweenTokensMs?.p99),
    figure(line.tokens / (line.cpuSeconds ?? NaN)),
    figure(line.cpuSeconds),
    String(line.requests),
    mebibytes(line.peakBytes),
    errorsOf(line),
  ]);
  console.log(drawTable(columns, rows));
}

export function printVerdicts(
  streams: number,
  runs: ReadonlyMap<WriterName, readonly Measurement[]>,
): void {
  const own = runs.get("hubserve");
  if (own === undefined) return;
  const wanted: Partial<Record<WriterName, number>> = {
    ...(streams === 8 && { plain: LEAST_GAIN }),
    ...(streams === 1 && { "bare-loop": LEAST_SHARE }),
  };
  for (const [name, other] of runs) {
    if (name === "hubserve") continue;
    const ratio = ratioOf(own, other, tokensPerSecond);
    const perCpu = ratioOf(own, other, tokensPerCpuSecond);
    const atLeast = wanted[name];
    printVerdict(`hubserve / ${name}`, ratio, {
      note: `tokens/s; per CPU-second ${perCpu.toFixed(2)}`,
      ...(atLeast !== undefined && { atLeast }),
    });
  }
}

const tokensPerSecond = ({ tokens, seconds }: Measurement): number => tokens / seconds;
const tokensPerCpuSecond = ({ tokens, cpuSeconds }: Measurement): number =>
  tokens / (cpuSeconds ?? NaN);

/** The median of each round's ratio. */
function ratioOf(
  own: readonly Measurement[],
  other: readonly Measurement[],
  speedOf: (measurement: Measurement) => number,
): number {
  const ratios = own.map((run, round) => {
    const beside = other[round];
    return speedOf(run) / (beside === undefined ? NaN : speedOf(beside));
  });
  return medianOf(ratios);
}
