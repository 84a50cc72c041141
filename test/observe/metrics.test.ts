import assert from "node:assert/strict";
import { test } from "node:test";

import { createMetrics } from "../../runtime/observe/metrics.ts";
import { createRegistry } from "../../runtime/observe/prometheus.ts";

/** A page in Prometheus's text format as name{labels} → value, refusing lines that the format does not know. */
function parse(page: string): Map<string, number> {
  const samples = new Map<string, number>();
  const typed = new Set<string>();
  for (const line of page.trimEnd().split("\n")) {
    const type = /^# TYPE (\w+) (counter|gauge|histogram)$/.exec(line)?.[1];
    if (type !== undefined) {
      assert.ok(!typed.has(type), `${type} is declared once`);
      typed.add(type);
      continue;
    }
    if (/^# HELP \w+ .+$/.test(line)) continue;
    const [, name = "", labels = "", value = ""] =
      /^([A-Za-z0-9_]+)(\{(?:\w+="(?:[^"\\\n]|\\.)*",?)+\})? (-?[\d.e+-]+)$/.exec(line) ?? [];
    assert.notEqual(name, "", `a line of the format: ${line}`);
    assert.ok(!samples.has(name + labels), `${name}${labels} stands once`);
    assert.ok([name, name.replace(/_(?:bucket|sum|count)$/, "")].some((base) => typed.has(base)));
    samples.set(name + labels, Number(value));
  }
  return samples;
}

test("a histogram's buckets are cumulative, and a value on a bound belongs to it", () => {
  const registry = createRegistry();
  const histogram = registry.histogram("h", "A histogram", [1, 2], ["model"]).at("m");
  for (const value of [0.5, 1, 1.5, 2, 3]) histogram.observe(value);
  const samples = parse(registry.render());
  assert.deepEqual(Object.fromEntries(samples), {
    'h_bucket{model="m",le="1"}': 2,
    'h_bucket{model="m",le="2"}': 4,
    'h_bucket{model="m",le="+Inf"}': 5,
    'h_sum{model="m"}': 8,
    'h_count{model="m"}': 5,
  });
});

test("labels are escaped, and one that never ends cannot fill the memory", () => {
  const registry = createRegistry();
  const counter = registry.counter("c", "A counter", ["name"]);
  counter.at('a"b\\c\nd').add(2);
  assert.equal(parse(registry.render()).get('c{name="a\\"b\\\\c\\nd"}'), 2);
  for (let i = 0; i < 5000; i++) counter.at(String(i)).add();
  const samples = parse(registry.render());
  assert.ok(samples.size <= 1001);
  assert.equal(
    [...samples.values()].reduce((sum, value) => sum + value, 0),
    5002,
  );
});

test("what happens in an engine is counted under the model's name", () => {
  const metrics = createMetrics();
  const model = metrics.ofModel("m", "1.0");
  model.refused("full");
  model.left("client", "queue");
  model.left("deadline", "worker");
  model.requested();
  const stages = { prepareMs: 4, waitMs: 2, modelMs: 8, batchSize: 3 };
  model.answered({ queueMs: 2, inferenceMs: 30, overheadMs: 1, stages, hasFailed: false });
  model.answered({ queueMs: 2, inferenceMs: 30, overheadMs: 1, hasFailed: true });
  model.dispatched(3);
  model.passed({ items: 3, length: 10, tokens: 24, ms: 5 });
  model.workerReady({ process: 100, model: 400 }, 9000);
  model.workerDied("signal SIGSEGV");
  model.workerMemory(7, 1e6);
  model.workerDied("no process: spawn ENOMEM");
  model.workerUsed({ cpuMs: 250, busyMs: 125 });
  model.weights(5e6);
  metrics.request("/", 200, 12, "m");
  metrics.request("other", 404, 1);
  const engine = {
    waiting: 4,
    running: 2,
    workers: { ready: 1, starting: 1 },
    batching: { kind: "batch", cost: { budgetTokens: 256, fixedMs: 2, perTokenMs: 0.2 } },
  };
  const samples = parse(
    metrics.render([
      { name: "m", version: "1.0", engine },
      { name: "other", version: "1.0", engine: undefined },
    ]),
  );
  const expected: Readonly<Record<string, number>> = {
    'hubserve_refused_total{model="m",version="1.0",why="full"}': 1,
    'hubserve_left_total{model="m",version="1.0",why="client",where="queue"}': 1,
    'hubserve_left_total{model="m",version="1.0",why="deadline",where="worker"}': 1,
    'hubserve_answers_total{model="m",version="1.0",outcome="ok"}': 1,
    'hubserve_answers_total{model="m",version="1.0",outcome="failed"}': 1,
    'hubserve_queue_seconds_sum{model="m",version="1.0"}': 0.004,
    'hubserve_inference_seconds_count{model="m",version="1.0"}': 2,
    'hubserve_batch_requests_bucket{model="m",version="1.0",le="4"}': 1,
    'hubserve_batch_requests_bucket{model="m",version="1.0",le="2"}': 0,
    'hubserve_tokens_total{model="m",version="1.0"}': 24,
    'hubserve_padded_tokens_total{model="m",version="1.0"}': 30,
    'hubserve_pass_seconds_total{model="m",version="1.0"}': 0.005,
    'hubserve_worker_starts_total{model="m",version="1.0"}': 1,
    'hubserve_worker_deaths_total{model="m",version="1.0",reason="signal SIGSEGV"}': 1,
    'hubserve_worker_deaths_total{model="m",version="1.0",reason="hang"}': 0,
    'hubserve_worker_deaths_total{model="m",version="1.0",reason="no process"}': 1,
    'hubserve_worker_start_part_seconds{model="m",version="1.0",part="model"}': 0.4,
    'hubserve_worker_cpu_seconds_total{model="m",version="1.0"}': 0.25,
    'hubserve_worker_busy_seconds_total{model="m",version="1.0"}': 0.125,
    'hubserve_weights_bytes{model="m",version="1.0"}': 5e6,
    'hubserve_prepare_seconds_sum{model="m",version="1.0"}': 0.004,
    'hubserve_batch_wait_seconds_sum{model="m",version="1.0"}': 0.002,
    'hubserve_model_seconds_sum{model="m",version="1.0"}': 0.008,
    'hubserve_total_seconds_sum{model="m",version="1.0"}': 0.066,
    'hubserve_refused_total{model="m",version="1.0",why="not-ready"}': 0,
    'hubserve_worker_start_seconds_sum{model="m",version="1.0"}': 0.5,
    'hubserve_worker_memory_bytes{model="m",version="1.0",worker="7"}': 1e6,
    'hubserve_requests_total{route="/",status="200",model="m"}': 1,
    'hubserve_requests_total{route="other",status="404",model=""}': 1,
    'hubserve_request_duration_seconds_count{route="/"}': 1,
    'hubserve_queue_requests{model="m",version="1.0"}': 4,
    'hubserve_running_requests{model="m",version="1.0"}': 2,
    'hubserve_workers{model="m",version="1.0",state="ready"}': 1,
    'hubserve_batch_budget_tokens{model="m",version="1.0"}': 256,
    'hubserve_run_fixed_seconds{model="m",version="1.0"}': 0.002,
    'hubserve_run_seconds_per_token{model="m",version="1.0"}': 0.0002,
    inf_batch_current_size: 2,
    inf_queue_size: 4,
  };
  for (const [name, value] of Object.entries(expected))
    assert.equal(samples.get(name), value, name);
  model.workerMemory(7, 0);
  const page = metrics.render([]);
  assert.ok(!page.includes('worker="7"'), "a worker that is gone is not listed");
  assert.ok(!page.includes("hubserve_weights_bytes{"), "nor what a model had that is gone");
});

test("what workers generate is counted, and how things stand in each of them is summed up", () => {
  const metrics = createMetrics();
  const model = metrics.ofModel("m", "1.0");
  const statistics = {
    promptTokens: 30,
    reusedTokens: 10,
    tokens: 12,
    firstTokenMs: [20, 300],
    perTokenMs: [4],
    gauges: { running: 2, waiting: 1, cacheTokens: 100, cacheLimit: 1000 },
  };
  model.generated(statistics, 9000);
  model.generated({ ...statistics, gauges: { ...statistics.gauges, running: 5 } }, 9001);
  const page = (): Map<string, number> => parse(metrics.render([]));
  const labels = '{model="m",version="1.0"}';
  const state = (name: string): string => `{model="m",version="1.0",state="${name}"}`;
  const before = page();
  assert.equal(before.get(`hubserve_prompt_tokens_total${labels}`), 60);
  assert.equal(before.get(`hubserve_prompt_tokens_reused_total${labels}`), 20);
  assert.equal(before.get(`hubserve_generated_tokens_total${labels}`), 24);
  assert.equal(before.get(`hubserve_first_token_seconds_count${labels}`), 4);
  assert.equal(before.get(`hubserve_token_seconds_count${labels}`), 2);
  assert.equal(before.get(`hubserve_generating_sequences${state("running")}`), 7);
  assert.equal(before.get(`hubserve_generating_sequences${state("waiting")}`), 2);
  assert.equal(before.get(`hubserve_cache_tokens${labels}`), 200);
  assert.equal(before.get(`hubserve_cache_limit_tokens${labels}`), 2000);
  model.workerStopped(9001);
  model.workerStopped(9002); // one that never told anything
  assert.equal(page().get(`hubserve_generating_sequences${state("running")}`), 2);
  assert.equal(page().get(`hubserve_cache_tokens${labels}`), 100);
  model.workerStopped(9000);
  assert.equal(page().get(`hubserve_generating_sequences${state("running")}`), 0);
  assert.equal(page().get(`hubserve_generated_tokens_total${labels}`), 24);
  model.workerReady({ process: 1 }, 9001);
  model.generated({ ...statistics, gauges: { ...statistics.gauges, running: 3 } }, 9001);
  assert.equal(page().get(`hubserve_generating_sequences${state("running")}`), 3);
  model.workerGone(9001);
  assert.equal(page().get(`hubserve_generating_sequences${state("running")}`), 0);
});

test("the process is told of under the names that Prometheus's libraries use", () => {
  const samples = parse(createMetrics().render([]));
  for (const name of ["process_cpu_seconds_total", "process_resident_memory_bytes"])
    assert.ok((samples.get(name) ?? 0) > 0, name);
  const started = samples.get("process_start_time_seconds") ?? 0;
  assert.ok(started > 1.7e9 && started <= Date.now() / 1000 + 1, String(started));
  if (process.platform === "linux") assert.ok((samples.get("process_open_fds") ?? 0) > 2);
  assert.ok([...samples.keys()].some((name) => name.startsWith("hubserve_build_info{version=")));
});

test("every sample of a page is declared, with the labels that it has", () => {
  const metrics = createMetrics();
  const model = metrics.ofModel("m", "1.0");
  model.generated(
    {
      promptTokens: 1,
      reusedTokens: 0,
      tokens: 1,
      firstTokenMs: [1],
      perTokenMs: [1],
      gauges: { running: 1, waiting: 0, cacheTokens: 1, cacheLimit: 2 },
    },
    9000,
  );
  model.workerReady({ process: 1 }, 9000);
  model.workerMemory(7, 1e6);
  model.weights(1);
  metrics.request("/", 200, 1, "m");
  metrics.call("a/B", "OK", 1);
  const engine = {
    waiting: 0,
    running: 0,
    workers: { ready: 1, starting: 0 },
    batching: { kind: "batch", cost: { budgetTokens: 1, fixedMs: 1, perTokenMs: 1 } },
  };
  const declared = new Map(metrics.declarations.map((each) => [each.name, each]));
  assert.equal(declared.size, metrics.declarations.length, "each is declared once");
  for (const sample of parse(metrics.render([{ name: "m", version: "1.0", engine }])).keys()) {
    const [name = ""] = sample.split("{");
    const own = declared.get(name) ?? declared.get(name.replace(/_(?:bucket|sum|count)$/, ""));
    assert.ok(own, `${name} is declared`);
    if (own.chapter === "TorchServe's") continue;
    const labels = [...sample.matchAll(/(\w+)="/g)].map(([, label]) => label);
    assert.deepEqual(
      labels.filter((label) => label !== "le"),
      [...own.labels],
      sample,
    );
  }
});
