/** Tensors through the wall between the processes: the real engine, a real worker, a real model. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createEngine, type Engine } from "../../runtime/engine/engine.ts";
import { startWorkerProcess } from "../../runtime/engine/process.ts";
import type { InferenceResult, NamedTensor } from "../../runtime/inference.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { assertNear, modelPath, variantOf } from "../support/goldens.ts";
import { encodeGraph } from "../support/onnx-graph.ts";
import { floatsOf, fp32, int64, tensorRequest, tokens } from "../support/tensors.ts";

async function start(repository: string): Promise<Engine & AsyncDisposable> {
  const log = silentLog();
  const engine = createEngine({
    workers: 1,
    jobQueueSize: 100,
    startWorker: (onMessage) =>
      startWorkerProcess({
        load: { repository, dtype: "fp32" },
        startupTimeoutMs: 60_000,
        env: process.env,
        onMessage,
        log,
      }),
    log,
  });
  await engine.start();
  return Object.assign(engine, { [Symbol.asyncDispose]: () => engine.close() });
}

const WAITING = { signal: new AbortController().signal, deadlineAtMs: Infinity };

function ask(
  engine: Engine,
  inputs: readonly NamedTensor[],
  outputs?: readonly string[],
): Promise<InferenceResult> {
  return engine.submit(tensorRequest(inputs, outputs), WAITING);
}

function tensorsIn({ output }: InferenceResult): readonly NamedTensor[] {
  assert.ok(output.kind === "tensors", output.kind);
  return output.tensors;
}

test("requests that wait together are each answered with their own rows, beside predictions", async () => {
  await using engine = await start(modelPath("seqcls-bert-2way"));
  const rows = Array.from({ length: 20 }, (_, index) => [2, 300 + index, 131, 3]);
  const alone: (NamedTensor | undefined)[] = [];
  for (const row of rows) alone.push(tensorsIn(await ask(engine, [tokens(row)]))[0]);
  const prediction = engine.submit(
    { id: "p", kind: "predict", headers: {}, data: { inputs: "I like it" } },
    WAITING,
  );
  const faulty = assert.rejects(ask(engine, [int64("input_ids", [1, 1], [9e9])]), {
    code: "INVALID_INPUT",
    message: /^Cannot run the graph: its operator Gather refused: /,
  });
  const together = await Promise.all(rows.map((row) => ask(engine, [tokens(row)])));
  for (const [index, result] of together.entries()) {
    const [logits] = tensorsIn(result);
    assert.deepEqual(logits?.shape, [1, 2]);
    assertNear([...floatsOf(logits)], [...floatsOf(alone[index])], 1e-5);
  }
  assert.equal((await prediction).output.kind, "json");
  await faulty;
});

test("64-bit numbers, texts and empty tensors cross the wall as they are", async () => {
  const port = (name: string, element: "int64" | "string") =>
    ({ name, element, shape: ["batch", "n"] }) as const;
  const graph = encodeGraph({
    inputs: [port("a", "int64"), port("b", "string")],
    outputs: [port("c", "int64"), port("d", "string")],
    nodes: [
      { op: "Identity", inputs: ["a"], outputs: ["c"] },
      { op: "Identity", inputs: ["b"], outputs: ["d"] },
    ],
    constants: [],
  });
  await using repository = await variantOf(undefined, { "onnx/model.onnx": graph });
  await using engine = await start(repository.path);
  const texts = ["", "kůň 😀"].map((text) => new TextEncoder().encode(text));
  const a: NamedTensor = {
    name: "a",
    datatype: "INT64",
    shape: [1, 2],
    data: BigInt64Array.of(2n ** 63n - 1n, -1n),
  };
  const b: NamedTensor = { name: "b", datatype: "BYTES", shape: [1, 2], data: texts };
  const [c, d] = tensorsIn(await ask(engine, [a, b]));
  assert.deepEqual(c, { ...a, name: "c" });
  assert.deepEqual(d, { ...b, name: "d" });

  const none = [
    { ...a, shape: [1, 0], data: new BigInt64Array(0) },
    { ...b, shape: [1, 0], data: [] },
  ];
  const empty = tensorsIn(await ask(engine, none, ["d"]));
  assert.deepEqual(empty, [{ name: "d", datatype: "BYTES", shape: [1, 0], data: [] }]);

  await assert.rejects(
    engine.submit({ id: "p", kind: "predict", headers: {}, data: { inputs: "hi" } }, WAITING),
    { code: "NOT_SUPPORTED", message: /send it tensors, a INT64 \[-1,-1\], b BYTES \[-1,-1\], at/ },
  );
  await assert.rejects(ask(engine, [fp32("a", [1, 1], [1])]), { code: "INVALID_INPUT" });
});
