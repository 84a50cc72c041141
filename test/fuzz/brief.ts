/**
 * A short look at targets, with the same inputs each time, for `npm test`; `npx tsx test/fuzz/run.ts` looks longer, with others.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { fuzz } from "./fuzz.ts";
import type { Target } from "./target.ts";

const SEED = 1;

/** What a few seconds are enough for, where that is less than usual. */
const SLOW: Readonly<Record<string, number>> = {
  sounds: 20,
  archives: 25,
  onnxruntime: 15,
  "onnx gradient": 15,
  "raw socket": 30,
  "model-config.yaml": 40,
  "metrics.yaml": 30,
  "chat templates": 40,
  "real text-classification": 20,
  "real custom": 30,
};

const USUAL = 120;

/** A test for each target. */
export function testTargets(targets: readonly Target[]): void {
  for (const target of targets) {
    const cases = SLOW[target.name] ?? USUAL;
    test(`${target.name}: nothing that is thrown at it breaks it`, async (t) => {
      t.mock.method(console, "error", () => undefined); // decoders print what they think of a sound
      const report = await fuzz(target, { seed: SEED, cases });
      assert.deepEqual(
        report.defects.map(({ message, recipe }) => `${message}\n${JSON.stringify(recipe)}`),
        [],
      );
      assert.ok(report.cases >= cases, `only ${report.cases} were run`);
      assert.ok(report.outcomes.size > 1, "all inputs came to the same: they are not mutated");
    });
  }
}
