import assert from "node:assert/strict";
import { test } from "node:test";

import { createHostReader } from "../../runtime/observe/host.ts";
import { createTorchServeMetrics, filterPage } from "../../runtime/observe/torchserve-metrics.ts";

const GIB = 1024 ** 3;
const readHost = () => ({
  cpuPercent: 12.34,
  memoryBytes: { used: GIB, available: 3 * GIB, total: 4 * GIB },
  diskBytes: { used: 30 * GIB, available: 70 * GIB, total: 110 * GIB },
});

/** Every sample of a page: name and labels → value. */
function samplesOf(page: string): Record<string, string> {
  return Object.fromEntries(
    page
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => {
        const at = line.lastIndexOf(" ");
        return [line.slice(0, at), line.slice(at + 1)];
      }),
  );
}

test("names, labels, units and numbers are TorchServe's", () => {
  const metrics = createTorchServeMetrics({ host: "vm", readHost });
  const model = metrics.ofModel("echo", "1.0");
  for (const status of [200, 202, 404, 503, 101, 302]) metrics.responded(status);
  for (let i = 0; i < 3; i++) model.requested();
  model.answered({ queueMs: 1.5, inferenceMs: 20, overheadMs: 0.5, hasFailed: false });
  model.answered({ queueMs: 2.5, inferenceMs: 30, overheadMs: 1, hasFailed: false });
  model.answered({ queueMs: 99, inferenceMs: 99, overheadMs: 99, hasFailed: true });
  model.workerReady(9000, 1234);
  model.workerReady(9001, 5);
  model.workerGone(9001);
  const page = metrics.render();
  assert.deepEqual(samplesOf(page), {
    'Requests2XX{Level="Host",Hostname="vm",}': "2.0",
    'Requests4XX{Level="Host",Hostname="vm",}': "1.0",
    'Requests5XX{Level="Host",Hostname="vm",}': "1.0",
    'ts_inference_requests_total{model_name="echo",model_version="1.0",hostname="vm",}': "3.0",
    'ts_inference_latency_microseconds{model_name="echo",model_version="1.0",hostname="vm",}':
      "55500.0",
    'ts_queue_latency_microseconds{model_name="echo",model_version="1.0",hostname="vm",}': "4000.0",
    'QueueTime{Level="Host",Hostname="vm",}': "2.5",
    'WorkerThreadTime{Level="Host",Hostname="vm",}': "1.0",
    'WorkerLoadTime{WorkerName="W-9000-echo_1.0",Level="Host",Hostname="vm",}': "1234.0",
    'HandlerTime{ModelName="echo",Level="Model",Hostname="vm",}': "30.0",
    'PredictionTime{ModelName="echo",Level="Model",Hostname="vm",}': "30.0",
    'CPUUtilization{Level="Host",Hostname="vm",}': "12.3",
    'MemoryUsed{Level="Host",Hostname="vm",}': "1024.0",
    'MemoryAvailable{Level="Host",Hostname="vm",}': "3072.0",
    'MemoryUtilization{Level="Host",Hostname="vm",}': "25.0",
    'DiskUsage{Level="Host",Hostname="vm",}': "30.0",
    'DiskUtilization{Level="Host",Hostname="vm",}': "30.0",
    'DiskAvailable{Level="Host",Hostname="vm",}': "70.0",
  });
  assert.ok(
    page.startsWith(
      "# HELP Requests2XX Torchserve prometheus counter metric with unit: Count\n" +
        "# TYPE Requests2XX counter\n" +
        'Requests2XX{Level="Host",Hostname="vm",} 2.0\n',
    ),
  );
  assert.match(page, /^# TYPE DiskUsage gauge$/m);
});

test("a page is filtered by the names of metrics or of samples", () => {
  const page =
    "# HELP h A histogram\n# TYPE h histogram\n" +
    'h_bucket{le="+Inf"} 1\nh_sum 2\nh_count 1\n' +
    "# HELP c A counter\n# TYPE c counter\nc 1\n" +
    "# HELP e An empty one\n# TYPE e counter\n";
  assert.equal(filterPage(page, []), page);
  assert.equal(filterPage(page, ["c"]), "# HELP c A counter\n# TYPE c counter\nc 1\n");
  assert.equal(filterPage(page, ["h_sum"]), "# HELP h A histogram\n# TYPE h histogram\nh_sum 2\n");
  assert.equal(filterPage(page, ["h", "e"]), page.replace(/# HELP c[\s\S]*c 1\n/, ""));
  assert.equal(filterPage(page, ["nothing"]), "");
});

test("the machine's own numbers hang together", () => {
  const read = createHostReader();
  read();
  const { cpuPercent, memoryBytes, diskBytes } = read();
  assert.ok(cpuPercent >= 0 && cpuPercent <= 100, String(cpuPercent));
  assert.ok(memoryBytes.available > 0 && memoryBytes.used > 0);
  assert.equal(memoryBytes.used + memoryBytes.available, memoryBytes.total);
  assert.ok(diskBytes === undefined || diskBytes.total >= diskBytes.used + diskBytes.available);
});
