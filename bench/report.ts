/**
 * What the bench prints.
 */
import { drawTable, figure, mebibytes, percent } from "./table.ts";
import type { Measurement } from "./programs.ts";

/** A measurement by its name, as `--only` takes it. */
export interface Line extends Measurement {
  readonly name: string;
  /** From spawn to ready and to the first answer, in milliseconds, where that is what was measured. */
  readonly readyMs?: number;
  readonly firstAnswerMs?: number;
}

export function printMeasurements(lines: readonly Line[]): void {
  const columns = [
    { title: "line", align: "left" as const },
    ...["req/s", "tokens/s", "p50 ms", "p95 ms", "p99 ms"].map((title) => ({ title })),
    ...["tokens/CPU-s", "CPU s", "peak MiB", "padding", "errors"].map((title) => ({ title })),
  ];
  const rows = lines.map((line) => [
    line.name,
    figure(line.requests / line.seconds),
    figure(line.tokens / line.seconds),
    figure(line.latencyMs.p50),
    figure(line.latencyMs.p95),
    figure(line.latencyMs.p99),
    figure(line.cpuSeconds === undefined ? undefined : line.tokens / line.cpuSeconds),
    figure(line.cpuSeconds),
    mebibytes(line.peakBytes),
    percent(line.paddingWaste),
    errorsOf(line),
  ]);
  console.log(drawTable(columns, rows));
}

/** `429: 12, timeout: 1`. */
export function errorsOf({ errors }: Pick<Measurement, "errors">): string {
  const parts = Object.entries(errors).map(([name, count]) => `${name}: ${count}`);
  return parts.length === 0 ? "0" : parts.join(", ");
}

/** A number beside what it should be. */
export function printVerdict(
  what: string,
  value: number,
  { note, atLeast, atMost }: { note: string; atLeast?: number; atMost?: number },
): void {
  const wanted =
    atLeast === undefined && atMost === undefined
      ? ""
      : ` · wanted ${atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`}: ${
          value >= (atLeast ?? -Infinity) && value <= (atMost ?? Infinity) ? "reached" : "missed"
        }`;
  console.log(`  ${what}: ${figure(value)} (${note})${wanted}`);
}
