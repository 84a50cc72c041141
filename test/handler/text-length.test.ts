import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { loadHandler } from "../../runtime/handler/load.ts";
import { LazyResponse } from "../../runtime/handler/custom/response.ts";
import { createHandlerMetrics } from "../../runtime/handler/custom/metrics.ts";
import { silentLog } from "../../runtime/observe/log.ts";

const MODELS = fileURLToPath(new URL("../fixtures/models/", import.meta.url));
const LONGEST = 2 ** 20;

for (const [model, inputs] of [
  ["minilm-embed", (text: string) => text],
  ["seqcls-bert-2way", (text: string) => ({ text: "short", text_pair: text })],
  ["tiny-gpt2", (text: string) => text],
  ["tiny-t5", (text: string) => text],
] as const) {
  test(`a text that is longer than any model reads never reaches a tokenizer: ${model}`, async () => {
    const handler = await loadHandler({ repository: `${MODELS}${model}` }, silentLog());
    try {
      const ask = (text: string): Promise<unknown> =>
        Promise.resolve(
          handler.call(
            { id: "1", kind: "predict", data: { inputs: inputs(text) }, headers: {} },
            {
              signal: new AbortController().signal,
              requestId: "1",
              headers: {},
              log: silentLog(),
              metrics: createHandlerMetrics("1", () => undefined),
              response: new LazyResponse(),
            },
          ),
        );
      await assert.rejects(ask("a".repeat(LONGEST + 1)), {
        code: "INVALID_INPUT",
        message: `Cannot read the text: it is ${LONGEST + 1} characters long, wanted at most ${LONGEST}`,
      });
    } finally {
      await handler.dispose();
    }
  });
}
