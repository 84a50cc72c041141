/**
 * Live figures, out of the same `GET /metrics` that Prometheus reads: what happened in the last half minute.
 */
import type { ShownModel } from "../wire.ts";
import type { Api } from "./api.ts";
import { fill, h, svg } from "./dom.ts";

const EVERY_MS = 2000;
/** So many looks are remembered: half a minute. */
const LOOKS = 16;

const NAMES = [
  "hubserve_request_duration_seconds",
  "hubserve_queue_requests",
  "hubserve_running_requests",
  "hubserve_batch_requests",
  "hubserve_workers",
];

/** Requests that ask about the server, this page's own among them, are no work of a model. */
const OTHER_ROUTES =
  /^\/(?:metrics|health|ping|info|ready|playground|api-description|v1\/models|openai\/v1\/models|v2\/health|other)/;

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The text format of Prometheus, version 0.0.4. */
export function readMetrics(page: string): readonly Sample[] {
  return page.split("\n").flatMap((line): Sample[] => {
    const [, name, labels = "", value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined || value === undefined) return [];
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(
      ([, key = "", text = ""]) => [
        key,
        text.replace(/\\(.)/g, (_, c: string) => (c === "n" ? "\n" : c)),
      ],
    );
    return [
      {
        name,
        labels: Object.fromEntries(pairs),
        value: value === "+Inf" ? Infinity : Number(value),
      },
    ];
  });
}

/** One look at the counters. */
interface Look {
  readonly atMs: number;
  /** Requests answered so far, by the limit in seconds below which they were. */
  readonly buckets: ReadonlyMap<number, number>;
  readonly requests: number;
  readonly batches: number;
  readonly batched: number;
  readonly waiting: number;
  readonly running: number;
  readonly ready: number;
  readonly starting: number;
}

function look(samples: readonly Sample[], { name, version }: ShownModel, atMs: number): Look {
  const own = ({ labels }: Sample): boolean =>
    labels["model"] === name && labels["version"] === version;
  const sum = (metric: string, wanted: (sample: Sample) => boolean = own): number =>
    samples
      .filter((sample) => sample.name === metric && wanted(sample))
      .reduce((total, { value }) => total + value, 0);
  const buckets = new Map<number, number>();
  for (const { name: metric, labels, value } of samples) {
    if (metric !== "hubserve_request_duration_seconds_bucket") continue;
    if (OTHER_ROUTES.test(labels["route"] ?? "")) continue;
    const limit = labels["le"] === "+Inf" ? Infinity : Number(labels["le"]);
    buckets.set(limit, (buckets.get(limit) ?? 0) + value);
  }
  const inState = (state: string) => (sample: Sample) =>
    own(sample) && sample.labels["state"] === state;
  return {
    atMs,
    buckets,
    requests: buckets.get(Infinity) ?? 0,
    batches: sum("hubserve_batch_requests_count"),
    batched: sum("hubserve_batch_requests_sum"),
    waiting: sum("hubserve_queue_requests"),
    running: sum("hubserve_running_requests"),
    ready: sum("hubserve_workers", inState("ready")),
    starting: sum("hubserve_workers", inState("starting")),
  };
}

/**
 * Within which a share of the requests between two looks was answered, as Prometheus's `histogram_quantile` has it.
 *
 * @returns Seconds; `undefined` where there were none.
 */
export function quantile(
  share: number,
  before: ReadonlyMap<number, number>,
  after: ReadonlyMap<number, number>,
): number | undefined {
  const limits = [...after.keys()].sort((a, b) => a - b);
  const counts = limits.map((limit) => (after.get(limit) ?? 0) - (before.get(limit) ?? 0));
  const all = counts.at(-1) ?? 0;
  if (all <= 0) return undefined;
  const rank = share * all;
  const place = counts.findIndex((count) => count >= rank);
  const [low, high] = [limits[place - 1] ?? 0, limits[place] ?? 0];
  if (high === Infinity) return low;
  const [below, upTo] = [counts[place - 1] ?? 0, counts[place] ?? 0];
  return low + (high - low) * (upTo === below ? 1 : (rank - below) / (upTo - below));
}

/** Looks every two seconds while the page is seen. @returns What ends it. */
export function watchFigures(place: HTMLElement, model: ShownModel, api: Api): () => void {
  const looks: Look[] = [];
  const ending = new AbortController();
  const path = `/metrics?${NAMES.map((name) => `name[]=${name}`).join("&")}`;

  async function tick(): Promise<void> {
    if (document.hidden) return;
    try {
      const response = await api.peek(path, ending.signal);
      if (!response.ok) return;
      looks.push(look(readMetrics(await response.text()), model, performance.now()));
      if (looks.length > LOOKS) looks.shift();
      draw(place, looks);
    } catch {
      // the server may be away for a while; the figures stand still meanwhile
    }
  }

  void tick();
  const timer = setInterval(() => void tick(), EVERY_MS);
  return () => {
    clearInterval(timer);
    ending.abort();
  };
}

function draw(place: HTMLElement, looks: readonly Look[]): void {
  const [first, last] = [looks[0], looks.at(-1)];
  if (first === undefined || last === undefined) return;
  const rates = looks.slice(1).map((each, index) => {
    const before = looks[index] ?? each;
    return ((each.requests - before.requests) * 1000) / Math.max(1, each.atMs - before.atMs);
  });
  const seconds = (last.atMs - first.atMs) / 1000;
  const rate = seconds === 0 ? 0 : (last.requests - first.requests) / seconds;
  const batches = last.batches - first.batches;
  const latency = (share: number): string => {
    const found = quantile(share, first.buckets, last.buckets);
    return found === undefined ? "–" : `≈ ${time(found)}`; // no finer than the histogram
  };
  fill(
    place,
    figure("Requests a second", rate >= 10 ? rate.toFixed(0) : rate.toFixed(1), sparkline(rates)),
    figure("Latency, median", latency(0.5)),
    figure("95th percentile", latency(0.95)),
    figure("In the queue", String(last.waiting), note(`${last.running} running`)),
    figure(
      "Batch size",
      batches === 0 ? "–" : ((last.batched - first.batched) / batches).toFixed(1),
    ),
    figure(
      "Workers",
      String(last.ready),
      last.starting > 0 ? note(`${last.starting} starting`) : note("ready"),
    ),
  );
}

function figure(name: string, value: string, more?: Element): HTMLElement {
  return h("div", { class: "figure" }, h("dt", {}, name), h("dd", {}, value, more));
}

function note(text: string): HTMLElement {
  return h("small", {}, text);
}

/** `0.0123` → `12 ms`. */
export function time(seconds: number): string {
  const ms = seconds * 1000;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${seconds.toFixed(1)} s`;
}

function sparkline(rates: readonly number[]): SVGElement {
  const most = Math.max(1, ...rates);
  const step = 100 / (LOOKS - 2);
  const start = 100 - (rates.length - 1) * step;
  const points = rates.map((rate, index) => `${start + index * step},${23 - (rate / most) * 21}`);
  return svg(
    "svg",
    {
      class: "sparkline",
      viewBox: "0 0 100 24",
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    },
    svg("polyline", { points: points.join(" "), "vector-effect": "non-scaling-stroke" }),
  );
}
