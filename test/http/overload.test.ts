/**
 * What Hugging Face's JavaScript client does with a server that has too much to do: it tries a 503 again at once and
 * without end, so no overload may be one.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { InferenceClient } from "@huggingface/inference";
import { RuntimeError, type ErrorCode } from "../../runtime/errors.ts";
import { openSocketDoor } from "../support/app-matrix.ts";

for (const code of [
  "QUEUE_FULL",
  "DEADLINE_EXCEEDED",
  "HANDLER_FAILED",
  "WORKER_DIED",
] as const satisfies readonly ErrorCode[]) {
  test(`the JavaScript client gives up at once, with our sentence, on ${code}`, async () => {
    let asked = 0;
    await using door = await openSocketDoor({
      answer: () => {
        asked++;
        throw new RuntimeError(code, "Cannot answer: one sentence", { retryAfterMs: 1000 });
      },
    });
    const client = new InferenceClient("hf_anyToken").endpoint(door.url);
    await assert.rejects(client.fillMask({ inputs: "[MASK]" }), /Cannot answer: one sentence/);
    assert.equal(asked, 1);
  });
}
