/**
 * `context.metrics`: checks what a handler measures and hands it on, one sample for each call.
 *
 * Names, units and defaults are TorchServe's (`metric_cache_abstract.py` and `unit.py` of 0.12: times, sizes and shares are
 * gauges, everything else counters). What is wrong throws, and so fails the request that did it: a metric that is silently
 * not there would be found out in the night in which it is needed. How many names and series there may be is the parent's
 * affair, which outlives this process.
 */
import { METRIC_TYPES, type HandlerMetric, type MetricType } from "../../inference.ts";
import type { HandlerMetrics, MetricOptions } from "../contract.ts";

/** The words under which TorchServe shows its units. */
const UNITS: Readonly<Record<string, string>> = {
  ms: "Milliseconds",
  s: "Seconds",
  percent: "Percent",
  count: "Count",
  B: "Bytes",
  kB: "Kilobytes",
  MB: "Megabytes",
  GB: "Gigabytes",
  "": "unit",
};

const TIMES = ["ms", "s"];
const SIZES = ["B", "kB", "MB", "GB"];

/** Prometheus's rules, and lengths that a page and a line of the log can bear. */
const NAME = /^[A-Za-z_:][A-Za-z0-9_:]{0,119}$/;
const DIMENSION = /^(?!__)[A-Za-z_][A-Za-z0-9_]{0,59}$/;
const UNIT = /^[\x21-\x7e]{0,40}$/;
const MOST_DIMENSIONS = 8;
const LONGEST_VALUE = 120;

/** Labels that the server itself adds, and the beginning of its own metrics' names. */
const TAKEN_DIMENSION = /^(?:Hostname|hostname|le)$/;
const TAKEN_NAME = /^(?:hubserve|inf)_/;

/** @param record Takes each sample; called at once. */
export function createHandlerMetrics(
  requestId: string,
  record: (sample: HandlerMetric) => void,
): HandlerMetrics {
  function add(
    name: string,
    value: number,
    unit: string,
    { dimensions = {}, type = "counter" }: MetricOptions,
  ): void {
    assertName(name);
    assertType(name, type);
    if (typeof unit !== "string" || !UNIT.test(unit))
      throw wrong(name, `the unit is ${show(unit)}, wanted at most 40 characters without spaces`);
    if (typeof value !== "number" || !Number.isFinite(value))
      throw wrong(name, `the value is ${show(value)}, wanted a number`);
    if (type === "counter" && value < 0)
      throw wrong(name, `the value is ${value}, and a counter can only grow`);
    record({
      name,
      type,
      unit: UNITS[unit] ?? unit,
      value,
      dimensions: toDimensions(name, dimensions),
      requestId,
    });
  }

  return {
    addCounter: (name, value = 1, options = {}) =>
      add(name, value, "count", { ...options, type: "counter" }),
    addTime: (name, value, { unit = "ms", ...options } = {}) =>
      add(name, value, oneOf(name, unit, TIMES), { type: "gauge", ...options }),
    addSize: (name, value, { unit = "MB", ...options } = {}) =>
      add(name, value, oneOf(name, unit, SIZES), { type: "gauge", ...options }),
    addPercent: (name, value, options = {}) =>
      add(name, value, "percent", { type: "gauge", ...options }),
    addMetric: (name, value, { unit, ...options }) => add(name, value, unit, options),
  };
}

function assertName(name: string): void {
  if (typeof name !== "string" || !NAME.test(name))
    throw wrong(name, "wanted a name of letters, digits, _ and : that begins with no digit");
  if (TAKEN_NAME.test(name)) throw wrong(name, "names that begin so are the server's own");
}

function assertType(name: string, type: MetricType): void {
  if (METRIC_TYPES.includes(type)) return;
  throw wrong(name, `the type is ${show(type)}, wanted one of ${METRIC_TYPES.join(", ")}`);
}

function oneOf(name: string, unit: string, units: readonly string[]): string {
  if (units.includes(unit)) return unit;
  throw wrong(name, `the unit is ${show(unit)}, wanted one of ${units.join(", ")}`);
}

function toDimensions(
  name: string,
  dimensions: NonNullable<MetricOptions["dimensions"]>,
): HandlerMetric["dimensions"] {
  if (typeof dimensions !== "object" || dimensions === null || Array.isArray(dimensions))
    throw wrong(name, `the dimensions are ${show(dimensions)}, wanted an object`);
  const entries = Object.entries(dimensions);
  if (entries.length > MOST_DIMENSIONS)
    throw wrong(name, `it has ${entries.length} dimensions, wanted at most ${MOST_DIMENSIONS}`);
  return Object.fromEntries(
    entries.map(([label, value]) => {
      if (!DIMENSION.test(label))
        throw wrong(name, `the dimension ${show(label)} has no name of letters, digits and _`);
      if (TAKEN_DIMENSION.test(label))
        throw wrong(name, `the dimension ${show(label)} is the server's own`);
      if (!["string", "number", "boolean"].includes(typeof value))
        throw wrong(name, `the dimension ${label} is ${show(value)}, wanted a text or a number`);
      return [label, String(value).slice(0, LONGEST_VALUE)];
    }),
  );
}

function wrong(name: unknown, problem: string): TypeError {
  return new TypeError(`Cannot add the metric ${show(name)}: ${problem}`);
}

function show(value: unknown): string {
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
