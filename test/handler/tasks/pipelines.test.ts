/**
 * Answers beside those of Python's pipelines and `generate()`: `scripts/models/pipeline_goldens.py`.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { ask, modelPath } from "../../support/goldens.ts";

/** fp32 in another order of adding; the goldens have seven digits. */
const TOLERANCE = 1e-5;

const Sets = z.object({
  sets: z.array(
    z.object({
      model: z.string(),
      task: z.string(),
      cases: z.array(z.object({ request: z.record(z.string(), z.unknown()), answer: z.unknown() })),
    }),
  ),
});
const { sets } = Sets.parse(JSON.parse(readFileSync(modelPath("../pipelines.json"), "utf8")));

/** Everything equal, numbers within the tolerance. */
function assertAlike(actual: unknown, expected: unknown, where: string): void {
  if (typeof actual === "number" && typeof expected === "number") {
    const difference = Math.abs(actual - expected);
    assert.ok(difference <= TOLERANCE, `${where} is ${actual}, wanted ${expected}`);
  } else if (Array.isArray(actual) && Array.isArray(expected)) {
    assert.equal(actual.length, expected.length, `length of ${where}`);
    for (const [index, value] of expected.entries())
      assertAlike(actual[index], value, `${where}[${index}]`);
  } else if (isObject(actual) && isObject(expected)) {
    assert.deepEqual(Object.keys(actual).sort(), Object.keys(expected).sort(), where);
    for (const [key, value] of Object.entries(expected))
      assertAlike(actual[key], value, `${where}.${key}`);
  } else assert.deepEqual(actual, expected, where);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

for (const { model, task, cases } of sets) {
  test(`${task} with ${model} answers ${cases.length} requests like Python`, async () => {
    const options = { repository: modelPath(model), task, dtype: "fp32" as const };
    const handler = await loadDefaultHandler(options, silentLog());
    try {
      for (const { request, answer } of cases) {
        const shown = JSON.stringify(request).slice(0, 300);
        if (answer === null) {
          await assert.rejects(ask(handler, request), { code: "INVALID_INPUT" }, shown);
        } else assertAlike(await ask(handler, request), answer, shown);
      }
    } finally {
      await handler.dispose();
    }
  });
}
