/**
 * What is asked of the contenders: mixes of lengths × arrivals.
 *
 * To add one: a name in `FULL`, made of a mix of `texts.ts` and of `c<clients>` for a closed loop or
 * `open-<share of the ceiling>` for an open one.
 */
import type { Arrivals } from "./load.ts";
import { medianOf } from "./latency.ts";
import type { Measurement } from "./programs.ts";
import { MIXES, type MixName } from "./texts.ts";

export interface Scenario {
  /** `mixed/c32`, `mixed/open-0.9`. */
  readonly name: string;
  readonly mix: MixName;
  readonly arrivals:
    | { readonly kind: "closed"; readonly concurrency: number }
    /** Requests come at this share of what the ceiling can do. */
    | { readonly kind: "open"; readonly share: number };
}

const FULL = [
  ...["c1", "c8", "c32", "c64", "open-0.5", "open-0.9", "open-1.2"].map((load) => `mixed/${load}`),
  ...["short", "medium", "long", "bimodal"].map((mix) => `${mix}/c32`),
  "medium/c1",
];
const QUICK = ["mixed/c1", "mixed/c32", "mixed/open-0.9"];

export const SCENARIOS: Readonly<Record<"full" | "quick", readonly Scenario[]>> = {
  full: FULL.map(parseScenario),
  quick: QUICK.map(parseScenario),
};

/** @throws RangeError When the name is none. */
export function parseScenario(name: string): Scenario {
  const [, mix = "", clients, share] = /^(\w+)\/(?:c(\d+)|open-([\d.]+))$/.exec(name) ?? [];
  if (!Object.hasOwn(MIXES, mix))
    throw new RangeError(
      `Cannot read the scenario "${name}": wanted a mix and a load, as in "mixed/c32"`,
    );
  return {
    name,
    mix: mix as MixName,
    arrivals:
      clients === undefined
        ? { kind: "open", share: Number(share) }
        : { kind: "closed", concurrency: Number(clients) },
  };
}

/** @param capacity Requests per second that an open loop's share is of. */
export function toArrivals({ arrivals }: Scenario, capacity: number, seed: number): Arrivals {
  return arrivals.kind === "closed"
    ? arrivals
    : { kind: "open", ratePerSecond: arrivals.share * capacity, seed };
}

/** Each number's median over the runs; errors are added up. */
export function medianMeasurement(runs: readonly Measurement[]): Measurement {
  const median = (pick: (run: Measurement) => number | undefined): number | undefined => {
    const known = runs.map(pick).filter((value) => value !== undefined);
    return known.length === 0 ? undefined : medianOf(known);
  };
  const errors: Record<string, number> = {};
  for (const run of runs) {
    for (const [name, count] of Object.entries(run.errors))
      errors[name] = (errors[name] ?? 0) + count;
  }
  const optional = {
    cpuSeconds: median((run) => run.cpuSeconds),
    peakBytes: median((run) => run.peakBytes),
    paddingWaste: median((run) => run.paddingWaste),
    events: median((run) => run.events),
  };
  const first = (pick: "p50" | "p95" | "p99"): number =>
    median((run) => run.firstEventMs?.[pick]) ?? NaN;
  return {
    requests: median((run) => run.requests) ?? 0,
    tokens: median((run) => run.tokens) ?? 0,
    seconds: median((run) => run.seconds) ?? 0,
    errors,
    latencyMs: {
      p50: median((run) => run.latencyMs.p50) ?? NaN,
      p95: median((run) => run.latencyMs.p95) ?? NaN,
      p99: median((run) => run.latencyMs.p99) ?? NaN,
    },
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
    ...(runs.some(({ firstEventMs }) => firstEventMs !== undefined) && {
      firstEventMs: { p50: first("p50"), p95: first("p95"), p99: first("p99") },
    }),
  };
}

/** Tokens per second of wall time: a share of long texts more or less in a window does not move it. */
export function tokensPerSecond({ tokens, seconds }: Measurement): number {
  return tokens / seconds;
}

/** Tokens per second of CPU time, which neighbours on the machine move less; `undefined` where it is not known. */
export function tokensPerCpuSecond({ tokens, cpuSeconds }: Measurement): number | undefined {
  return cpuSeconds === undefined || cpuSeconds === 0 ? undefined : tokens / cpuSeconds;
}
