import assert from "node:assert/strict";
import { test } from "node:test";

import type { HandlerMetric } from "../../runtime/inference.ts";
import { MOST_METRICS, MOST_SERIES } from "../../runtime/observe/handler-metrics.ts";
import { parseMetricsConfig, readMetricsConfig } from "../../runtime/observe/metrics-config.ts";
import {
  createTorchServeMetrics,
  type TorchServeMetricsOptions,
} from "../../runtime/observe/torchserve-metrics.ts";

const readHost = () => ({
  cpuPercent: 0,
  memoryBytes: { used: 0, available: 0, total: 0 },
  diskBytes: undefined,
});

function open(options: TorchServeMetricsOptions = {}) {
  const warnings: string[] = [];
  const lines: string[] = [];
  const metrics = createTorchServeMetrics({
    host: "vm",
    readHost,
    warn: (text) => void warnings.push(text),
    writeLine: (line) => void lines.push(line),
    now: () => 1_795_233_654_999,
    ...options,
  });
  const model = metrics.ofModel("m", "1.0");
  const measure = (name: string, value: number, more: Partial<HandlerMetric> = {}): void =>
    model.measured({
      name,
      value,
      type: "counter",
      unit: "Count",
      dimensions: {},
      requestId: "r1",
      ...more,
    });
  const linesOf = (name: string): string[] =>
    metrics
      .render()
      .split("\n")
      .filter((line) => line.includes(name));
  return { metrics, measure, linesOf, warnings, lines };
}

test("counters add up, gauges show the last value, and labels are TorchServe's", () => {
  const { measure, linesOf } = open();
  for (const value of [2, 3]) measure("Words", value, { dimensions: { Language: 'a"b' } });
  for (const value of [2, 3]) measure("Lookup", value, { type: "gauge", unit: "Milliseconds" });
  assert.deepEqual(linesOf("Words"), [
    "# HELP Words Torchserve prometheus counter metric with unit: Count",
    "# TYPE Words counter",
    'Words{Language="a\\"b",ModelName="m",Level="Model",Hostname="vm",} 5.0',
  ]);
  assert.deepEqual(linesOf("Lookup").slice(1), [
    "# TYPE Lookup gauge",
    'Lookup{ModelName="m",Level="Model",Hostname="vm",} 3.0',
  ]);
});

test("a histogram has the Java client's buckets, cumulative, with count and sum", () => {
  const { measure, linesOf } = open();
  for (const value of [0.004, 0.5, 99]) measure("Size", value, { type: "histogram" });
  const lines = linesOf("Size");
  assert.equal(lines.length, 2 + 15 + 2);
  const own = 'ModelName="m",Level="Model",Hostname="vm",';
  for (const line of [
    `Size_bucket{${own}le="0.005",} 1.0`,
    `Size_bucket{${own}le="0.25",} 1.0`,
    `Size_bucket{${own}le="0.5",} 2.0`,
    `Size_bucket{${own}le="10.0",} 2.0`,
    `Size_bucket{${own}le="+Inf",} 3.0`,
    `Size_count{${own}} 3.0`,
    `Size_sum{${own}} 99.504`,
  ])
    assert.ok(lines.includes(line), `${line} is not among\n${lines.join("\n")}`);
});

const YAML = `
dimensions:
  - &model_name "ModelName"
  - &level "Level"
ts_metrics:
  counter:
    - name: Requests2XX
      unit: Count
      dimensions: [*level]
model_metrics:
  gauge:
    - name: HandlerTime
      unit: ms
      dimensions: [*model_name, *level]
  histogram:
    - name: Lookup
      unit: ms
      dimensions: [*level, *model_name, "Language"]
`;

test("what metrics.yaml declares has its type, its unit and its labels, whatever the handler says", () => {
  const { measure, linesOf } = open({ declared: parseMetricsConfig("metrics.yaml", YAML) });
  assert.equal(linesOf("# TYPE HandlerTime").length, 1, "the server has that one itself");
  assert.equal(linesOf("# TYPE Lookup histogram").length, 1, "declared and not yet measured");
  measure("Lookup", 1, { type: "gauge", unit: "Seconds", dimensions: { Other: "x" } });
  assert.ok(
    linesOf("Lookup_sum").includes(
      'Lookup_sum{Level="Model",ModelName="m",Language="",Hostname="vm",} 1.0',
    ),
  );
  assert.match(linesOf("# HELP Lookup")[0] ?? "", /histogram metric with unit: ms$/);
});

test("without detection only what is declared is shown, and the log says so once", () => {
  const declared = parseMetricsConfig("metrics.yaml", YAML);
  const { measure, linesOf, warnings } = open({ declared, detects: false });
  for (let i = 0; i < 3; i++) measure("Words", 1);
  measure("Lookup", 1);
  assert.deepEqual(linesOf("Words"), []);
  assert.equal(linesOf("Lookup_count").length, 1);
  assert.deepEqual(warnings, [
    "Ignoring the metric Words of a handler: metrics_config does not declare it, and model_metrics_auto_detect is not true",
  ]);
});

test("a handler may measure its own time, and nothing else under the server's names", () => {
  const { measure, linesOf, warnings } = open();
  measure("HandlerTime", 7, { type: "gauge", unit: "Milliseconds" });
  measure("Requests2XX", 7);
  measure("Requests2XX", 7);
  assert.deepEqual(linesOf("HandlerTime").slice(2), [
    'HandlerTime{ModelName="m",Level="Model",Hostname="vm",} 7.0',
  ]);
  assert.deepEqual(linesOf("Requests2XX").slice(2), [
    'Requests2XX{Level="Host",Hostname="vm",} 0.0',
  ]);
  assert.deepEqual(warnings, [
    "Ignoring the metric Requests2XX of a handler: the server has one of that name",
  ]);
});

test("neither names nor series without end fill the memory", () => {
  const { measure, linesOf, warnings } = open();
  for (let i = 0; i < MOST_SERIES + 50; i++) measure("Words", 1, { dimensions: { User: `u${i}` } });
  for (let i = 0; i < MOST_METRICS + 50; i++) measure(`Metric${i}`, 1);
  assert.equal(linesOf("Words{").length, MOST_SERIES);
  assert.equal(linesOf("# TYPE Metric").length, MOST_METRICS - 1);
  assert.equal(warnings.length, 2);
  assert.match(warnings[0] ?? "", /^Ignoring further series of the metric Words/);
});

test("with metrics_mode=log each value is a line as in TorchServe's metric logs", () => {
  const { metrics, measure, lines } = open();
  measure("Lookup", 35.49, {
    type: "gauge",
    unit: "Milliseconds",
    dimensions: { Text: "a\nb" },
    requestId: "abc",
  });
  metrics.responded(200);
  assert.deepEqual(lines, [
    "Lookup.Milliseconds:35.49|#Text:a?b,ModelName:m,Level:Model|#hostname:vm,requestID:abc,timestamp:1795233654",
    "Requests2XX.Count:1.0|#Level:Host|#hostname:vm,timestamp:1795233654",
  ]);
  const quiet = createTorchServeMetrics({ host: "vm", readHost });
  quiet.responded(200); // nobody takes lines
});

for (const [text, reason] of [
  ["a: [", /^Cannot read the metrics of m\.yaml: /],
  ["model_metrics: 5", /model_metrics: wanted /],
  ["model_metrics:\n  timer: []", /model_metrics/],
  [
    "model_metrics:\n  gauge:\n    - name: a-b\n      unit: x",
    /a name of letters, digits, _ and :/,
  ],
  ["model_metrics:\n  gauge:\n    - name: a", /model_metrics\.gauge\.0\.unit: wanted a unit/],
  [
    "model_metrics:\n  gauge: [{name: a, unit: x}]\n  counter: [{name: a, unit: x}]",
    /declares a twice/,
  ],
] as const) {
  test(`a metrics.yaml with ${JSON.stringify(text)} is refused with a sentence`, () => {
    assert.throws(() => parseMetricsConfig("m.yaml", text), {
      code: "INVALID_OPTION",
      message: reason,
    });
  });
}

test("a metrics.yaml without model metrics declares none, and one that is not there is refused", () => {
  assert.deepEqual(parseMetricsConfig("m.yaml", "model_metrics:\nother: 1\n"), []);
  assert.deepEqual(parseMetricsConfig("m.yaml", "ts_metrics: {}\n"), []);
  assert.throws(() => readMetricsConfig("/no/such/metrics.yaml"), {
    code: "INVALID_OPTION",
    message: /^Cannot read the metrics of \/no\/such\/metrics\.yaml: ENOENT$/,
  });
});
