/**
 * What is counted of workers: how they start and end, what they use.
 *
 * What a session of onnxruntime holds in memory cannot be asked; the weights' files and the worker's whole memory can.
 */
import type { GaugeSample, Registry } from "./prometheus.ts";

/** Counts what happens to one model's workers. */
export interface WorkerMetrics {
  /**
   * @param parts How long each part of the start took, in milliseconds.
   * @returns How long it took altogether, in milliseconds.
   */
  workerReady(parts: Readonly<Record<string, number>>): number;
  /** @param reason `"code 1"`, `"signal SIGKILL"`, or `"hang"` where it was ended because its handler hung. */
  workerDied(reason: string): void;
  /** @param rssBytes 0 once it is gone. */
  workerMemory(pid: number | undefined, rssBytes: number): void;
  /** What a worker has used since it last told, in milliseconds. */
  workerUsed(used: WorkerUse): void;
  /** How large the files of the weights are. */
  weights(bytes: number): void;
}

export interface WorkerUse {
  /** Processor time, of all its threads. */
  readonly cpuMs: number;
  /** How long its event loop was busy. */
  readonly busyMs: number;
}

/** Seconds: from a tiny handler to many gigabytes of weights. */
const START_SECONDS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

/** There from the beginning, as a rate needs its zero: the usual ways to die. */
const USUAL_DEATHS = ["code 1", "hang", "signal SIGABRT", "signal SIGKILL", "signal SIGSEGV"];

interface Reading {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** @param isThere Whether a model is registered now: what is gone is not shown. */
export function declareWorkerMetrics(
  registry: Registry,
  isThere: (name: string, version: string) => boolean,
): (name: string, version: string) => WorkerMetrics {
  const model = ["model", "version"] as const;
  registry.chapter("Workers");
  const starts = registry.counter(
    "hubserve_worker_starts_total",
    "Workers that became ready",
    model,
  );
  const deaths = registry.counter(
    "hubserve_worker_deaths_total",
    "Workers that died: by their exit code, by a signal, or ended because a handler hung",
    [...model, "reason"],
  );
  const startTime = registry.histogram(
    "hubserve_worker_start_seconds",
    "From a worker's beginning until it was ready",
    START_SECONDS,
    model,
  );
  const parts = new Map<string, Reading>();
  registry.gauge(
    "hubserve_worker_start_part_seconds",
    "How long each part of the latest start took: the process, its modules, the model, its first answer",
    () => shown(parts),
    { labels: [...model, "part"] },
  );
  const memory = new Map<string, Reading>();
  registry.gauge(
    "hubserve_worker_memory_bytes",
    "Resident memory of workers, as last told",
    () => [...memory.values()],
    { labels: [...model, "worker"] },
  );
  const cpu = registry.counter(
    "hubserve_worker_cpu_seconds_total",
    "Processor time that workers used, of all their threads",
    model,
  );
  const busy = registry.counter(
    "hubserve_worker_busy_seconds_total",
    "How long workers' event loops were busy: its rate is the share of the time in which a new request finds none free",
    model,
  );
  const weights = new Map<string, Reading>();
  registry.gauge(
    "hubserve_weights_bytes",
    "The weights' files; what onnxruntime makes of them in memory is a part of hubserve_worker_memory_bytes",
    () => shown(weights),
    { labels: model },
  );

  function shown(readings: ReadonlyMap<string, Reading>): readonly GaugeSample[] {
    return [...readings.values()].filter(({ labels }) =>
      isThere(labels["model"] ?? "", labels["version"] ?? ""),
    );
  }

  return (name, version) => {
    const labels = { model: name, version };
    const series = {
      starts: starts.at(name, version),
      startTime: startTime.at(name, version),
      cpu: cpu.at(name, version),
      busy: busy.at(name, version),
    };
    for (const reason of USUAL_DEATHS) deaths.at(name, version, reason);
    return {
      workerReady(took) {
        let totalMs = 0;
        for (const [part, ms] of Object.entries(took)) {
          totalMs += ms;
          const reading = { labels: { ...labels, part }, value: ms / 1000 };
          parts.set(JSON.stringify([name, version, part]), reading);
        }
        series.starts.add();
        series.startTime.observe(totalMs / 1000);
        return totalMs;
      },
      workerDied: (reason) => deaths.at(name, version, toLabel(reason)).add(),
      workerMemory(pid, bytes) {
        if (bytes === 0) memory.delete(String(pid));
        else memory.set(String(pid), { labels: { ...labels, worker: String(pid) }, value: bytes });
      },
      workerUsed({ cpuMs, busyMs }) {
        series.cpu.add(cpuMs / 1000);
        series.busy.add(busyMs / 1000);
      },
      weights: (bytes) =>
        void weights.set(JSON.stringify([name, version]), { labels, value: bytes }),
    };
  };
}

/** A process that could not be started at all tells a whole sentence. */
function toLabel(reason: string): string {
  return /^(?:hang|code \d+|signal \w+)$/.test(reason) ? reason : "no process";
}
