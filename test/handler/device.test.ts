/**
 * Where the default handler computes. A device that is not there is a sentence, whatever the machine has.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { readConfig } from "../../runtime/config.ts";
import { isRuntimeError } from "../../runtime/errors.ts";
import { loadHandler } from "../../runtime/handler/load.ts";
import { createLog } from "../../runtime/observe/log.ts";
import { ROOT } from "../support/hubserve.ts";

const NOWHERE = { env: {}, cwd: ROOT, home: "/nonexistent" };

test("besides the CPU the weights are fp32, unless somebody chooses others", () => {
  const dtypeOf = (...args: string[]): unknown => readConfig({ ...NOWHERE, args }).dtype;
  assert.equal(dtypeOf(), undefined);
  assert.equal(dtypeOf("--device", "cuda"), "fp32");
  assert.equal(dtypeOf("--device", "cuda", "--dtype", "fp16"), "fp16");
});

test("a device that onnxruntime cannot use is named, with what to do", async () => {
  const log = createLog({ write: () => undefined });
  // Windows's: nowhere else, and where it is, this model runs on it.
  const load = { repository: join(ROOT, "model"), dtype: "fp32", device: "dml" } as const;
  if (process.platform === "win32") return;
  await assert.rejects(loadHandler(load, log), (error: unknown) => {
    assert.ok(isRuntimeError(error) && error.code === "MODEL_INVALID");
    assert.match(error.message, /^Cannot load onnx\/model\.onnx on the device "dml": \S/);
    assert.match(error.message, /--device cpu does without$/);
    return true;
  });
});
