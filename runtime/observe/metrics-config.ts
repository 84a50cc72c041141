/**
 * `metrics.yaml` (`metrics_config` of TorchServe): which metrics of handlers there are, their types, units and labels.
 *
 * `model_metrics` is heeded. `ts_metrics`, the server's own, are all there whatever the file says, under the names that they
 * have there. Source: `ts/configs/metrics.yaml` and `MetricConfiguration.java` of 0.12.
 */
import { readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { parse } from "yaml";
import { z } from "zod";

import { messageOf, RuntimeError, systemCodeOf } from "../errors.ts";
import { METRIC_TYPES } from "../inference.ts";
import type { DeclaredMetric } from "./handler-metrics.ts";

/** 256 KiB: TorchServe's own has 3. */
const LONGEST_FILE_BYTES = 256 * 1024;

/** A parser's own sentence may quote a whole line. */
const LONGEST_REASON = 500;

const name = z.string().regex(/^[A-Za-z_:][A-Za-z0-9_:]*$/, "a name of letters, digits, _ and :");
const Metric = z.object({
  name,
  unit: z.string("a unit"),
  dimensions: z.array(name, "a list of names").default([]),
});
const Metrics = z
  .partialRecord(z.enum(METRIC_TYPES), z.array(Metric).nullable())
  .nullish()
  .transform((metrics) => metrics ?? {});

const File = z.looseObject({ model_metrics: Metrics });

/** @throws RuntimeError `INVALID_OPTION` when the file cannot be read, or declares something that cannot be. */
export function readMetricsConfig(path: string): readonly DeclaredMetric[] {
  return parseMetricsConfig(basename(path), readText(path));
}

/** @param file Its name, for messages. */
export function parseMetricsConfig(file: string, text: string): readonly DeclaredMetric[] {
  let content: unknown;
  try {
    // Warnings would go past the log; what they are about is wrong, or does not matter.
    content = parse(text, { schema: "core", maxAliasCount: 1000, logLevel: "error" });
  } catch (error) {
    throw invalid(file, messageOf(error).split("\n")[0] ?? "", error);
  }
  const { success, data, error } = File.safeParse(content);
  if (!success) {
    const [issue] = error.issues;
    const where = issue?.path.join(".") || "the file";
    throw invalid(file, `${where}: wanted ${issue?.message ?? "something else"}`, error);
  }
  const declared = METRIC_TYPES.flatMap((type) =>
    (data.model_metrics[type] ?? []).map((metric) => ({ ...metric, type })),
  );
  const names = declared.map((metric) => metric.name);
  const twice = names.find((each, index) => names.indexOf(each) !== index);
  if (twice !== undefined) throw invalid(file, `model_metrics declares ${twice} twice`);
  return declared;
}

function readText(path: string): string {
  try {
    const { size } = statSync(path);
    if (size <= LONGEST_FILE_BYTES) return readFileSync(path, "utf8");
    throw invalid(path, `it has ${size} bytes, wanted at most ${LONGEST_FILE_BYTES}`);
  } catch (error) {
    if (error instanceof RuntimeError) throw error;
    throw invalid(path, systemCodeOf(error) ?? messageOf(error), error);
  }
}

function invalid(file: string, reason: string, cause?: unknown): RuntimeError {
  const text = `Cannot read the metrics of ${file}: ${reason.slice(0, LONGEST_REASON)}`;
  return new RuntimeError("INVALID_OPTION", text, { cause });
}
