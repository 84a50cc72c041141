/**
 * What handlers measure, on TorchServe's page: under their own names, with `ModelName` and `Level` as labels.
 *
 * The first that is known of a name counts: what a `metrics.yaml` declares, else the type and the unit with which a handler
 * came first. Handlers choose names and labels, so both are bounded, and whatever is left out is said in the log, once.
 */
import type { HandlerMetric, MetricType } from "../inference.ts";

/** A metric of handlers that somebody has declared. */
export interface DeclaredMetric {
  readonly name: string;
  readonly type: MetricType;
  readonly unit: string;
  /** The labels that it has, in their order; others of a sample are left out. */
  readonly dimensions: readonly string[];
}

export interface HandlerMetricsOptions {
  readonly host: string;
  readonly declared: readonly DeclaredMetric[];
  /** Whether metrics are shown that nobody has declared. */
  readonly detects: boolean;
  /** Tells a person once why something is not shown. */
  readonly warn: (text: string) => void;
  /** Takes each sample that is shown: its name, unit, value and labels. */
  readonly onSample: (metric: SeenMetric, sample: HandlerMetric, labels: Labels) => void;
}

export type Labels = Readonly<Record<string, string>>;
export type SeenMetric = Pick<DeclaredMetric, "name" | "unit" | "type">;

export interface HandlerMetricsBook {
  record(sample: HandlerMetric, model: string): void;
  /** @param print How labels are written. */
  render(print: (labels: Labels) => string): string;
}

/** Names of metrics, and series of one of them; what goes beyond is dropped. */
export const MOST_METRICS = 200;
export const MOST_SERIES = 1000;

/** Upper bounds of a histogram's buckets: those of Prometheus's Java client, which TorchServe leaves as they are. */
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

interface Series {
  readonly labels: Labels;
  value: number;
  readonly buckets: number[];
  count: number;
}

interface Metric extends SeenMetric {
  readonly dimensions: readonly string[] | undefined;
  readonly series: Map<string, Series>;
}

export function createHandlerMetricsBook(options: HandlerMetricsOptions): HandlerMetricsBook {
  const { host, declared, detects, warn, onSample } = options;
  const metrics = new Map<string, Metric>(
    declared.map((metric) => [metric.name, { ...metric, series: new Map() }]),
  );
  const warned = new Set<string>();

  function warnOnce(about: string, text: string): void {
    if (warned.has(about) || warned.size >= MOST_METRICS) return;
    warned.add(about);
    warn(text);
  }

  function metricOf({ name, type, unit }: HandlerMetric): Metric | undefined {
    const known = metrics.get(name);
    if (known !== undefined) return known;
    if (!detects) {
      warnOnce(
        name,
        `Ignoring the metric ${name} of a handler: metrics_config does not declare it, and model_metrics_auto_detect is not true`,
      );
      return undefined;
    }
    if (metrics.size >= MOST_METRICS) {
      warnOnce("", `Ignoring the metric ${name} of a handler: there are ${MOST_METRICS} already`);
      return undefined;
    }
    const metric: Metric = { name, type, unit, dimensions: undefined, series: new Map() };
    metrics.set(name, metric);
    return metric;
  }

  function seriesOf(metric: Metric, labels: Labels): Series | undefined {
    const key = JSON.stringify(labels);
    const known = metric.series.get(key);
    if (known !== undefined) return known;
    if (metric.series.size >= MOST_SERIES) {
      const text = `Ignoring further series of the metric ${metric.name}: its dimensions have ${MOST_SERIES} different sets of values already`;
      warnOnce(`${metric.name} series`, text);
      return undefined;
    }
    const series: Series = { labels, value: 0, buckets: BOUNDS.map(() => 0), count: 0 };
    metric.series.set(key, series);
    return series;
  }

  return {
    record(sample, model) {
      const metric = metricOf(sample);
      if (metric === undefined) return;
      const labels = labelsOf(metric, sample, model, host);
      const series = seriesOf(metric, labels);
      if (series === undefined) return;
      if (metric.type === "gauge") series.value = sample.value;
      else series.value += sample.value;
      series.count++;
      for (const [index, bound] of BOUNDS.entries())
        if (sample.value <= bound) series.buckets[index] = (series.buckets[index] ?? 0) + 1;
      onSample(metric, sample, labels);
    },
    render: (print) => [...metrics.values()].map((metric) => renderMetric(metric, print)).join(""),
  };
}

/** TorchServe's order: what the handler says, then the model, then the host; a declaration has an order of its own. */
function labelsOf(
  { dimensions }: Metric,
  sample: HandlerMetric,
  model: string,
  host: string,
): Labels {
  const { ModelName = model, Level = "Model" } = sample.dimensions;
  const all: Labels = { ...sample.dimensions, ModelName, Level };
  const kept =
    dimensions === undefined
      ? all
      : Object.fromEntries(dimensions.map((name) => [name, all[name] ?? ""]));
  return { ...kept, Hostname: host };
}

function renderMetric({ name, type, unit, series }: Metric, print: (labels: Labels) => string) {
  const lines = [
    `# HELP ${name} Torchserve prometheus ${type} metric with unit: ${unit}`,
    `# TYPE ${name} ${type}`,
    ...[...series.values()].flatMap(({ labels, value, buckets, count }) => {
      if (type !== "histogram") return [`${name}${print(labels)} ${toDouble(value)}`];
      const bounded = [...BOUNDS.map(toDouble), "+Inf"].map(
        (le, index) =>
          `${name}_bucket${print({ ...labels, le })} ${toDouble(buckets[index] ?? count)}`,
      );
      return [
        ...bounded,
        `${name}_count${print(labels)} ${toDouble(count)}`,
        `${name}_sum${print(labels)} ${toDouble(value)}`,
      ];
    }),
  ];
  return `${lines.join("\n")}\n`;
}

/** As Java prints it: whole numbers with `.0`. */
export function toDouble(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : String(value);
}
