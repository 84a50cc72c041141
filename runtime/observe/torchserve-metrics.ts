/**
 * TorchServe's metrics, beside our own: its names, labels, units and spelling, for dashboards and alerts that exist.
 *
 * Wire facts: TorchServe 0.12's `metrics.yaml` and Prometheus's Java client 0.9, which ends labels with a comma and prints
 * whole numbers with `.0`. Its latencies are sums under the type counter, in microseconds. `model_version` is the version
 * that answered, where the original says `default` unless the path names one: a canary could not be told from the rest.
 */
import { hostname } from "node:os";

import type { HandlerMetric, StageTimes } from "../inference.ts";
import { createHandlerMetricsBook, toDouble, type DeclaredMetric } from "./handler-metrics.ts";
import { createHostReader, type HostReading } from "./host.ts";
import type { Declaration } from "./prometheus.ts";

/** One answer of a worker, in milliseconds. */
export interface AnswerTimes {
  /** From the request's arrival to the worker. */
  readonly queueMs: number;
  /** Inside the handler. */
  readonly inferenceMs: number;
  /** What carrying both ways took besides. */
  readonly overheadMs: number;
  /** Parts of inference, where the handler tells them. */
  readonly stages?: StageTimes | undefined;
  readonly hasFailed: boolean;
}

/** Counts what happens in one version of a model. */
export interface TorchServeModelMetrics {
  requested(): void;
  answered(times: AnswerTimes): void;
  workerReady(worker: number, loadMs: number): void;
  workerGone(worker: number): void;
  measured(sample: HandlerMetric): void;
}

export interface TorchServeMetrics {
  ofModel(name: string, version: string): TorchServeModelMetrics;
  responded(status: number): void;
  render(): string;
  readonly declarations: readonly Declaration[];
}

export interface TorchServeMetricsOptions {
  readonly host?: string;
  readonly readHost?: () => HostReading;
  /** Metrics of handlers that a `metrics.yaml` declares. */
  readonly declared?: readonly DeclaredMetric[];
  /** Whether handlers may add others; true when absent. */
  readonly detects?: boolean;
  /** Takes a line of TorchServe's metrics log (`metrics_mode=log`) for each value. */
  readonly writeLine?: (line: string) => void;
  readonly warn?: (text: string) => void;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

const MEGABYTE = 1024 ** 2;
const GIGABYTE = 1024 ** 3;

interface Metric {
  readonly name: string;
  readonly type: "counter" | "gauge";
  readonly unit: string;
  readonly series: Map<string, number>;
}

type Labels = Readonly<Record<string, string>>;

/** A counter that has nothing yet is absent there; whoever takes a rate wants its zero. */
const CLASSES = ["Requests2XX", "Requests4XX", "Requests5XX"] as const;

export function createTorchServeMetrics({
  host = hostname(),
  readHost = createHostReader(),
  declared = [],
  detects = true,
  writeLine,
  warn = () => undefined,
  now = Date.now,
}: TorchServeMetricsOptions = {}): TorchServeMetrics {
  const metrics: Metric[] = [];
  const machineLabels = { Level: "Host", Hostname: host };
  const machine = labels(machineLabels);

  function declare(name: string, type: Metric["type"], unit: string): Map<string, number> {
    const series = new Map<string, number>();
    metrics.push({ name, type, unit, series });
    return series;
  }

  /** `Requests2XX.Count:1.0|#Level:Host|#hostname:vm,timestamp:1795233654`, as in `ts_metrics.log` and `model_metrics.log`. */
  function tell(name: string, unit: string, value: number, own: Labels, requestId?: string): void {
    if (writeLine === undefined) return;
    const dimensions = Object.entries(own)
      .filter(([label]) => label.toLowerCase() !== "hostname")
      .map(([label, each]) => `${label}:${each}`);
    const request = requestId === undefined ? "" : `,requestID:${requestId}`;
    const when = Math.floor(now() / 1000);
    const line = `${name}.${unit}:${toDouble(value)}|#${dimensions.join(",")}|#hostname:${host}${request},timestamp:${when}`;
    writeLine(line.replace(/[^\x20-\x7e]/g, "?")); // one line, whatever a label says
  }

  const classes = CLASSES.map((name) => declare(name, "counter", "Count").set(machine, 0));
  const requests = declare("ts_inference_requests_total", "counter", "Count");
  const latency = declare("ts_inference_latency_microseconds", "counter", "Microseconds");
  const queueLatency = declare("ts_queue_latency_microseconds", "counter", "Microseconds");
  const queueTime = declare("QueueTime", "gauge", "Milliseconds");
  const threadTime = declare("WorkerThreadTime", "gauge", "Milliseconds");
  const loadTime = declare("WorkerLoadTime", "gauge", "Milliseconds");
  const handlerTime = declare("HandlerTime", "gauge", "ms");
  const predictionTime = declare("PredictionTime", "gauge", "ms");
  const system = {
    cpu: declare("CPUUtilization", "gauge", "Percent"),
    memoryUsed: declare("MemoryUsed", "gauge", "Megabytes"),
    memoryAvailable: declare("MemoryAvailable", "gauge", "Megabytes"),
    memoryUtilization: declare("MemoryUtilization", "gauge", "Percent"),
    diskUsage: declare("DiskUsage", "gauge", "Gigabytes"),
    diskUtilization: declare("DiskUtilization", "gauge", "Percent"),
    diskAvailable: declare("DiskAvailable", "gauge", "Gigabytes"),
  };

  const handlers = createHandlerMetricsBook({
    host,
    declared: declared.filter(({ name }) => !metrics.some((metric) => metric.name === name)),
    detects,
    warn,
    onSample: ({ name, unit }, { value, requestId }, own) =>
      tell(name, unit, value, own, requestId),
  });
  const refused = new Set<string>();

  /** TorchServe's own handlers measure these two themselves; all else under the server's names is the server's. */
  function measured(sample: HandlerMetric, model: string): void {
    const { name, type, value, requestId } = sample;
    const own = metrics.find((metric) => metric.name === name);
    if (own === undefined) {
      handlers.record(sample, model);
      return;
    }
    const isBackend = own.series === handlerTime || own.series === predictionTime;
    if (isBackend && type === "gauge") {
      const backend = { ModelName: model, Level: "Model" };
      own.series.set(labels({ ...backend, Hostname: host }), value);
      tell(name, own.unit, value, backend, requestId);
    } else if (!refused.has(name)) {
      refused.add(name);
      warn(`Ignoring the metric ${name} of a handler: the server has one of that name`);
    }
  }

  function lookAtHost(): void {
    const { cpuPercent, memoryBytes, diskBytes } = readHost();
    system.cpu.set(machine, toTenths(cpuPercent));
    system.memoryUsed.set(machine, memoryBytes.used / MEGABYTE);
    system.memoryAvailable.set(machine, memoryBytes.available / MEGABYTE);
    system.memoryUtilization.set(
      machine,
      toTenths((100 * memoryBytes.used) / Math.max(1, memoryBytes.total)),
    );
    if (diskBytes === undefined) return;
    system.diskUsage.set(machine, diskBytes.used / GIGABYTE);
    system.diskUtilization.set(
      machine,
      // As `df`: what is kept for root counts for nobody.
      toTenths((100 * diskBytes.used) / Math.max(1, diskBytes.used + diskBytes.available)),
    );
    system.diskAvailable.set(machine, diskBytes.available / GIGABYTE);
  }

  return {
    ofModel(name, version) {
      const modelLabels = { model_name: name, model_version: version, hostname: host };
      const own = labels(modelLabels);
      const backendLabels = { ModelName: name, Level: "Model", Hostname: host };
      const backend = labels(backendLabels);
      const nameOf = (worker: number): string =>
        labels({ WorkerName: `W-${worker}-${name}_${version}`, Level: "Host", Hostname: host });
      return {
        measured: (sample) => measured(sample, name),
        requested() {
          add(requests, own, 1);
          tell("ts_inference_requests_total", "Count", 1, modelLabels);
        },
        answered({ queueMs, inferenceMs, overheadMs, hasFailed }) {
          if (hasFailed) return;
          add(latency, own, (queueMs + inferenceMs + overheadMs) * 1000);
          add(queueLatency, own, queueMs * 1000);
          queueTime.set(machine, queueMs);
          threadTime.set(machine, overheadMs);
          handlerTime.set(backend, inferenceMs);
          predictionTime.set(backend, inferenceMs);
          tell("QueueTime", "Milliseconds", queueMs, machineLabels);
          tell("WorkerThreadTime", "Milliseconds", overheadMs, machineLabels);
          tell("HandlerTime", "ms", inferenceMs, backendLabels);
          tell("PredictionTime", "ms", inferenceMs, backendLabels);
        },
        workerReady: (worker, loadMs) => void loadTime.set(nameOf(worker), loadMs),
        workerGone: (worker) => void loadTime.delete(nameOf(worker)),
      };
    },
    responded(status) {
      const index = ["2", "4", "5"].indexOf(String(status)[0] ?? "");
      const series = classes[index];
      if (series === undefined) return;
      add(series, machine, 1);
      tell(CLASSES[index] ?? "", "Count", 1, machineLabels);
    },
    declarations: metrics.map(({ name, type, unit }) => ({
      name,
      type,
      help: `As TorchServe has it, in ${unit}`,
      labels: [],
      chapter: "TorchServe's",
    })),
    render() {
      lookAtHost();
      return metrics.map(renderMetric).join("") + handlers.render(labels);
    },
  };
}

function add(series: Map<string, number>, key: string, amount: number): void {
  series.set(key, (series.get(key) ?? 0) + amount);
}

/** With a comma behind the last one, as the Java client has it. */
function labels(values: Labels): string {
  const parts = Object.entries(values).map(([label, value]) => {
    const escaped = value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
    return `${label}="${escaped}",`;
  });
  return `{${parts.join("")}}`;
}

function renderMetric({ name, type, unit, series }: Metric): string {
  const lines = [
    `# HELP ${name} Torchserve prometheus ${type} metric with unit: ${unit}`,
    `# TYPE ${name} ${type}`,
    ...[...series].map(([own, value]) => `${name}${own} ${toDouble(value)}`),
  ];
  return `${lines.join("\n")}\n`;
}

function toTenths(percent: number): number {
  return Math.round(percent * 10) / 10;
}

/**
 * The samples of a page whose names are wanted, with the lines that declare them: `?name[]=` of Prometheus's Java client.
 *
 * @param names Of samples (`hubserve_queue_seconds_sum`) or of metrics (`hubserve_queue_seconds`); all where there are none.
 */
export function filterPage(page: string, names: readonly string[]): string {
  if (names.length === 0) return page;
  const wanted = new Set(names);
  const kept: string[] = [];
  let declared: string[] = [];
  let isWholeWanted = false;
  for (const line of page.split("\n")) {
    const metric = /^# (?:HELP|TYPE) (\S+)/.exec(line)?.[1];
    if (metric !== undefined) {
      if (line.startsWith("# HELP")) declared = [];
      isWholeWanted = wanted.has(metric);
      declared.push(line);
      if (isWholeWanted && declared.length === 2) kept.push(...declared.splice(0));
      continue;
    }
    const sample = /^[^\s{]+/.exec(line)?.[0];
    if (sample === undefined || !(isWholeWanted || wanted.has(sample))) continue;
    kept.push(...declared.splice(0), line);
  }
  return kept.map((line) => `${line}\n`).join("");
}
