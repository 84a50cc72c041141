import assert from "node:assert/strict";
import { test } from "node:test";

import { judgeFlatness } from "../../bench/flatness.ts";
import { medianOf, percentileOf, toPercentiles } from "../../bench/latency.ts";
import { createRandom, drawGap, drawNormal } from "../../bench/random.ts";
import { medianMeasurement, parseScenario, SCENARIOS, toArrivals } from "../../bench/scenarios.ts";
import { drawTable, figure } from "../../bench/table.ts";

test("percentileOf() takes the nearest rank", () => {
  const sorted = Array.from({ length: 100 }, (_, i) => i + 1);
  assert.deepEqual(
    [1, 50, 95, 99, 100].map((percent) => percentileOf(sorted, percent)),
    [1, 50, 95, 99, 100],
  );
  assert.equal(percentileOf([7], 50), 7);
  assert.ok(Number.isNaN(percentileOf([], 50)));
});

test("toPercentiles() sorts by number and leaves its argument alone", () => {
  const times = [10, 9, 100];
  assert.deepEqual(toPercentiles(times), { p50: 10, p95: 100, p99: 100 });
  assert.deepEqual(times, [10, 9, 100]);
});

test("medianOf() takes the mean of the two middle values", () => {
  assert.equal(medianOf([3, 1, 2]), 2);
  assert.equal(medianOf([4, 1, 3, 2]), 2.5);
  assert.ok(Number.isNaN(medianOf([])));
});

test("a seed decides all draws, and they have the moments that they should", () => {
  const draw = (seed: number): number[] => {
    const random = createRandom(seed);
    return Array.from({ length: 20_000 }, () => drawNormal(random));
  };
  assert.deepEqual(draw(1), draw(1));
  assert.notDeepEqual(draw(1), draw(2));
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const normal = draw(3);
  assert.ok(Math.abs(mean(normal)) < 0.03, "five standard errors of the mean are 0.035");
  assert.ok(Math.abs(mean(normal.map((value) => value ** 2)) - 1) < 0.05);
  const random = createRandom(4);
  const gaps = Array.from({ length: 20_000 }, () => drawGap(random, 50));
  assert.ok(Math.abs(mean(gaps) - 1 / 50) < 0.001);
});

test("parseScenario() reads mixes with clients or a share, and nothing else", () => {
  assert.deepEqual(parseScenario("mixed/c32").arrivals, { kind: "closed", concurrency: 32 });
  const open = parseScenario("short/open-0.9");
  assert.deepEqual(open.arrivals, { kind: "open", share: 0.9 });
  assert.deepEqual(toArrivals(open, 200, 7), { kind: "open", ratePerSecond: 180, seed: 7 });
  assert.throws(() => parseScenario("mixed/32"), /wanted a mix and a load/);
  assert.throws(() => parseScenario("odd/c1"), RangeError);
  assert.ok(SCENARIOS.quick.length < SCENARIOS.full.length);
});

test("medianMeasurement() takes medians, adds up errors and leaves out what nobody knows", () => {
  const run = (requests: number, p50: number) => ({
    requests,
    tokens: requests * 10,
    seconds: 1,
    errors: { 429: 2 },
    latencyMs: { p50, p95: p50, p99: p50 },
    cpuSeconds: 0.5,
  });
  const median = medianMeasurement([run(10, 5), run(30, 1), run(20, 3)]);
  assert.equal(median.requests, 20);
  assert.equal(median.latencyMs.p50, 3);
  assert.deepEqual(median.errors, { 429: 6 });
  assert.equal(median.cpuSeconds, 0.5);
  assert.equal("peakBytes" in median, false);
  assert.equal("events" in median, false);
});

test("judgeFlatness() forgives the warm-up and the collector, not growth", () => {
  const tolerance = { share: 0.1, absolute: 1 };
  const sawtooth = Array.from({ length: 40 }, (_, i) => (i < 8 ? i * 10 : 100 + (i % 5)));
  assert.equal(judgeFlatness(sawtooth, tolerance).isFlat, true);
  const leak = Array.from({ length: 40 }, (_, i) => 100 + i);
  assert.equal(judgeFlatness(leak, tolerance).isFlat, false);
  assert.throws(() => judgeFlatness([1, 2, 3], tolerance), RangeError);
});

test("drawTable() and figure() keep columns straight and three figures", () => {
  assert.deepEqual([0, 0.01234, 1.234, 123.4, 12_345, NaN, undefined].map(figure), [
    "0",
    "0.0123",
    "1.23",
    "123",
    "12345",
    "n/a",
    "n/a",
  ]);
  const table = drawTable([{ title: "line", align: "left" }, { title: "n" }], [["a", "10"]]);
  assert.equal(table, "line   n\n────  ──\na     10");
});
