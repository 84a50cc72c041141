import assert from "node:assert/strict";
import { test } from "node:test";
import { RuntimeError } from "../../runtime/errors.ts";
import type { LoadedHandler, RequestContext } from "../../runtime/handler/contract.ts";
import type { InferenceRequest, JsonValue } from "../../runtime/inference.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { warmUp } from "../../runtime/worker/warm-up.ts";

function makeScene(
  kind: "default" | "custom",
  example: JsonValue | undefined,
  answer: (request: InferenceRequest, context: RequestContext) => unknown,
) {
  const requests: InferenceRequest[] = [];
  const warnings: string[] = [];
  const log = { ...silentLog(), warn: (text: string) => void warnings.push(text) };
  const handler: LoadedHandler = {
    description: { handler: kind, ...(example !== undefined && { example }), notes: [] },
    call: async (request, context) => {
      requests.push(request);
      return answer(request, context);
    },
    dispose: () => Promise.resolve(),
  };
  const contextOf = ({ id, headers }: InferenceRequest, signal: AbortSignal): RequestContext => ({
    signal,
    requestId: id,
    headers,
    log,
  });
  const run = (longestMs?: number): Promise<number | undefined> =>
    warmUp(handler, { contextOf, log, ...(longestMs !== undefined && { longestMs }) });
  return { requests, warnings, run };
}

const EXAMPLE = { inputs: "I love you", parameters: { top_k: 1 } };

test("warmUp() asks the example, with a copy that the handler may change", async () => {
  const scene = makeScene("default", EXAMPLE, ({ data }) =>
    Object.assign(data, { inputs: "gone" }),
  );
  assert.ok(((await scene.run()) ?? -1) >= 0);
  assert.equal(scene.requests.length, 1);
  assert.equal(scene.requests[0]?.kind, "predict");
  assert.equal(EXAMPLE.inputs, "I love you");
});

test("warmUp() asks nothing where there is no example, or none that could be a body", async () => {
  for (const example of [undefined, "text", ["a"], null]) {
    const scene = makeScene("custom", example, () => "never");
    assert.equal(await scene.run(), undefined);
    assert.deepEqual(scene.requests, []);
  }
});

test("warmUp() reads a stream to its end", async () => {
  let isRead = false;
  const scene = makeScene("custom", EXAMPLE, async function* () {
    yield "a";
    yield "b";
    isRead = true;
  });
  await scene.run();
  assert.ok(isRead);
});

test("a default handler that does not answer its example cannot be served", async () => {
  const scene = makeScene("default", EXAMPLE, () => {
    throw new RuntimeError("HANDLER_FAILED", "Cannot run the model: a shape does not fit");
  });
  await assert.rejects(scene.run(), {
    code: "MODEL_INVALID",
    message:
      "Cannot load the model: it does not answer its own example: Cannot run the model: a shape does not fit; " +
      "--no-warm-up serves it all the same",
  });
});

test("an example that does not fit, and an author's handler that fails, are warnings", async () => {
  const refuse = (): never => {
    throw new RuntimeError("INVALID_INPUT", "too long");
  };
  const fail = (): never => {
    throw new Error("no such table");
  };
  for (const [kind, answer, pattern] of [
    ["default", refuse, /may be slow: too long$/],
    ["custom", refuse, /may be slow: .*too long/],
    ["custom", fail, /may be slow: .*no such table/],
  ] as const) {
    const scene = makeScene(kind, EXAMPLE, answer);
    await scene.run();
    assert.equal(scene.warnings.length, 1);
    assert.match(scene.warnings[0] ?? "", pattern);
  }
});

test("a warm-up that takes too long is ended, and that is no failure", async () => {
  const scene = makeScene("default", EXAMPLE, (_request, { signal }) => {
    return new Promise<never>((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error));
    });
  });
  assert.notEqual(await scene.run(1), undefined);
  assert.deepEqual(scene.warnings, []);
});
