/**
 * What an author finds around a call: metrics that are checked when they are added, a response that is checked when the call
 * is done.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import type { HandlerMetrics } from "../../runtime/handler/contract.ts";
import { createHandlerMetrics } from "../../runtime/handler/custom/metrics.ts";
import { LazyResponse } from "../../runtime/handler/custom/response.ts";
import type { HandlerMetric } from "../../runtime/inference.ts";

function open(): { metrics: HandlerMetrics; samples: HandlerMetric[] } {
  const samples: HandlerMetric[] = [];
  return { metrics: createHandlerMetrics("r1", (sample) => void samples.push(sample)), samples };
}

test("names, units and types are TorchServe's", () => {
  const { metrics, samples } = open();
  metrics.addCounter("Words");
  metrics.addCounter("Words", 4, { dimensions: { Language: "en", Long: true, Part: 2 } });
  metrics.addTime("Lookup", 1.5);
  metrics.addTime("Lookup", 2, { unit: "s", type: "histogram" });
  metrics.addSize("Text", 3);
  metrics.addSize("Text", 3, { unit: "kB" });
  metrics.addPercent("Hits", 97.5);
  metrics.addMetric("Heat", 20, { unit: "Kelvin" });
  metrics.addMetric("Heat", -20, { unit: "", type: "gauge" });
  assert.deepEqual(
    samples.map(({ name, type, unit, value }) => [name, type, unit, value]),
    [
      ["Words", "counter", "Count", 1],
      ["Words", "counter", "Count", 4],
      ["Lookup", "gauge", "Milliseconds", 1.5],
      ["Lookup", "histogram", "Seconds", 2],
      ["Text", "gauge", "Megabytes", 3],
      ["Text", "gauge", "Kilobytes", 3],
      ["Hits", "gauge", "Percent", 97.5],
      ["Heat", "counter", "Kelvin", 20],
      ["Heat", "gauge", "unit", -20],
    ],
  );
  assert.deepEqual(samples[1]?.dimensions, { Language: "en", Long: "true", Part: "2" });
  assert.ok(samples.every(({ requestId }) => requestId === "r1"));
});

const MANY = Object.fromEntries(Array.from({ length: 9 }, (_, index) => [`d${index}`, "x"]));

for (const [what, add, reason] of [
  ["a name with spaces", (m) => m.addCounter("no good"), /"no good": wanted a name of letters/],
  ["the server's own names", (m) => m.addCounter("hubserve_x"), /are the server's own/],
  ["a value that is no number", (m) => m.addTime("a", Number.NaN), /the value is NaN, wanted a/],
  ["a counter that shrinks", (m) => m.addCounter("a", -1), /-1, and a counter can only grow/],
  ["a unit of time that is none", (m) => m.addTime("a", 1, { unit: "h" as "s" }), /one of ms, s$/],
  ["a unit of size that is none", (m) => m.addSize("a", 1, { unit: "TB" as "B" }), /B, kB, MB, GB/],
  ["a unit with a line break", (m) => m.addMetric("a", 1, { unit: "x\ny" }), /without spaces/],
  ["a type that is none", (m) => m.addPercent("a", 1, { type: "sum" as "gauge" }), /the type is/],
  ["too many dimensions", (m) => m.addCounter("a", 1, { dimensions: MANY }), /9 dimensions/],
  ["a dimension of the server's", (m) => m.addCounter("a", 1, { dimensions: { le: 1 } }), /own$/],
  ["a dimension without a name", (m) => m.addCounter("a", 1, { dimensions: { "": 1 } }), /no name/],
  [
    "a dimension that is an object",
    (m) => m.addCounter("a", 1, { dimensions: { a: {} as string } }),
    /wanted a text or a number/,
  ],
] as const satisfies readonly (readonly [string, (metrics: HandlerMetrics) => void, RegExp])[]) {
  test(`${what} is refused, and nothing is measured`, () => {
    const { metrics, samples } = open();
    assert.throws(() => add(metrics), { name: "TypeError", message: reason });
    assert.throws(() => add(metrics), { message: /^Cannot add the metric / });
    assert.deepEqual(samples, []);
  });
}

test("a response that nobody touched says nothing, and one that was says what was set", () => {
  const response = new LazyResponse();
  assert.equal(response.head(), undefined);
  assert.equal(response.headers.get("x-none"), null);
  assert.equal(response.head(), undefined, "looking is not saying");
  response.status = 201;
  response.headers.set("X-Model-Stage", "canary");
  assert.deepEqual(response.head(), { status: 201, headers: { "x-model-stage": "canary" } });
});

for (const status of [199, 600, 200.5, Number.NaN, "200", null]) {
  test(`the status ${String(status)} cannot be sent`, () => {
    const response = new LazyResponse();
    response.status = status as number; // what JavaScript allows
    assert.throws(() => response.head(), {
      code: "HANDLER_FAILED",
      message:
        /^Handler failed: its response cannot be sent: the status is .*, wanted a whole number/,
    });
  });
}

for (const [what, set, reason] of [
  ["framing", (h) => h.set("Content-Length", "3"), /content-length is the server's own/],
  ["a hop's header", (h) => h.set("connection", "close"), /connection is the server's own/],
  ["the request's id", (h) => h.set("x-request-id", "1"), /x-request-id is the server's own/],
  [
    "two cookies",
    (h) => (h.append("set-cookie", "a=1"), h.append("set-cookie", "b=2")),
    /set-cookie is there twice/,
  ],
  [
    "headers without end",
    (h) => {
      for (let i = 0; i < 40; i++) h.set(`x-${i}`, "1");
    },
    /40 headers, wanted at most 32/,
  ],
  ["a long header", (h) => h.set("x-long", "a".repeat(9000)), /9006 characters, wanted at most/],
] as const satisfies readonly (readonly [string, (headers: Headers) => void, RegExp])[]) {
  test(`${what} cannot be sent`, () => {
    const response = new LazyResponse();
    set(response.headers);
    assert.throws(() => response.head(), { code: "HANDLER_FAILED", message: reason });
  });
}

test("a line break cannot become a header at all", () => {
  assert.throws(() => new LazyResponse().headers.set("x-a", "b\r\nx-evil: 1"), TypeError);
});
