/**
 * What Prometheus's own client libraries tell of a process, under the names that they gave it: of the server's process, which
 * holds no model. Its children are in `metrics-workers.ts`.
 *
 * Source: https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics
 */
import { readdirSync, readFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";

import { VERSION } from "../version.ts";
import type { GaugeSample, Registry } from "./prometheus.ts";

/** How often the event loop's lateness is measured, in milliseconds. */
const LAG_RESOLUTION_MS = 20;

export function declareProcessMetrics(registry: Registry): void {
  registry.chapter("The server's own process");
  const single = (value: number): readonly GaugeSample[] => [{ labels: {}, value }];
  const known = (value: number | undefined): readonly GaugeSample[] =>
    value === undefined ? [] : single(value);

  registry.gauge(
    "hubserve_build_info",
    "Always 1; the labels say which version of hubserve and of Node runs",
    () => [{ labels: { version: VERSION, node: process.versions.node }, value: 1 }],
    { labels: ["version", "node"] },
  );
  registry.gauge(
    "process_cpu_seconds_total",
    "Processor time of the server's own process, in seconds",
    () => {
      const { user, system } = process.cpuUsage();
      return single((user + system) / 1e6);
    },
    { type: "counter" },
  );
  registry.gauge("process_resident_memory_bytes", "Resident memory of the server's process", () =>
    single(process.memoryUsage.rss()),
  );
  const startedAt = Math.round(Date.now() / 1000 - process.uptime());
  registry.gauge(
    "process_start_time_seconds",
    "When the process began, in seconds since 1970",
    () => single(startedAt),
  );
  registry.gauge("process_open_fds", "Open files and connections; on Linux only", () =>
    known(countOpenFiles()),
  );
  registry.gauge("process_max_fds", "The most that may be open at once; on Linux only", () =>
    known(readMostFiles()),
  );
  registry.gauge("hubserve_memory_bytes", "The same memory, under an older name", () =>
    single(process.memoryUsage.rss()),
  );

  const lag = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS });
  lag.enable();
  registry.gauge(
    "hubserve_event_loop_lag_seconds",
    "How late the server's timers were since the last look",
    () => {
      const samples = [50, 99].map((percentile) => ({
        labels: { quantile: String(percentile / 100) },
        value: Math.max(0, lag.percentile(percentile) / 1e9 - LAG_RESOLUTION_MS / 1000),
      }));
      lag.reset();
      return samples;
    },
    { labels: ["quantile"] },
  );
}

/** Less the one that looks. */
function countOpenFiles(): number | undefined {
  try {
    return readdirSync("/proc/self/fd").length - 1;
  } catch {
    return undefined; // not Linux
  }
}

function readMostFiles(): number | undefined {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return found === undefined ? undefined : Number(found); // "unlimited" is no number
  } catch {
    return undefined; // not Linux
  }
}
