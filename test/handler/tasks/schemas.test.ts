/** The JSON Schemas of tasks say what their zod schemas check. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { Ajv2020 } from "ajv/dist/2020.js";

import { TASKS } from "../../../runtime/handler/tasks/registry.ts";
import { describeSchemas } from "../../../runtime/handler/tasks/schemas.ts";
import type { JsonValue } from "../../../runtime/inference.ts";

const BODIES: readonly JsonValue[] = [
  {},
  { top_k: 2 },
  { top_k: 0 },
  { top_k: "2" },
  { truncation: true },
  { function_to_apply: "softmax" },
  { max_new_tokens: -1 },
  { candidate_labels: ["a", "b"] },
  { normalize: "yes" },
];

for (const entry of TASKS) {
  test(`${entry.name}: the task's example fits, and parameters fit both schemas or neither`, async () => {
    const task = await entry.load();
    const { inputs, parameters } = describeSchemas(task);
    const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });
    const checkInputs = ajv.compile(inputs as object);
    const checkParameters = ajv.compile(parameters as object);
    const { example } = task;
    assert.ok(typeof example === "object" && example !== null && "inputs" in example);
    assert.ok(checkInputs(example["inputs"]), JSON.stringify(checkInputs.errors));
    const own = "parameters" in example ? [example["parameters"] ?? {}] : [];
    for (const body of [...BODIES, ...own])
      assert.equal(
        checkParameters(body),
        task.parameters.safeParse(body).success,
        `${JSON.stringify(body)}: ${JSON.stringify(checkParameters.errors)}`,
      );
    assert.equal("$schema" in (inputs as object), false);
  });
}
