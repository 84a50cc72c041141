/** Which tensor requests share a run, and that nobody can tell from the answer. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { InferenceSession, Tensor } from "onnxruntime-node";

import type { MemberOutcome } from "../../runtime/handler/contract.ts";

import { openGraph, type Graph, type GraphOptions } from "../../runtime/handler/tensors/graph.ts";
import { hasRows, planRuns } from "../../runtime/handler/tensors/join.ts";
import type { Port, Signature } from "../../runtime/handler/tensors/signature.ts";
import type { NamedTensor } from "../../runtime/inference.ts";
import { assertNear, modelPath } from "../support/goldens.ts";
import { encodeGraph } from "../support/onnx-graph.ts";
import {
  answerOf,
  floatsOf,
  fp32,
  memberOf,
  messageIn,
  noise,
  runBatch,
  tensorRequest,
  tokens,
} from "../support/tensors.ts";

interface Watched extends AsyncDisposable {
  readonly callBatch: Graph["answer"];
  /** The first dimension of the first input of each run. */
  readonly runs: number[];
}

function open(model: string, file = "model.onnx"): Promise<Watched> {
  return watch(join(modelPath(model), "onnx", file), { isOfTask: true });
}

async function watch(source: string | Uint8Array, options: GraphOptions): Promise<Watched> {
  const session =
    typeof source === "string"
      ? await InferenceSession.create(source)
      : await InferenceSession.create(source);
  const runs: number[] = [];
  const first = session.inputNames[0] ?? "";
  const graph = openGraph(
    {
      inputMetadata: session.inputMetadata,
      outputMetadata: session.outputMetadata,
      run(feeds: InferenceSession.FeedsType, ...rest: never[]) {
        runs.push(feeds[first]?.dims[0] ?? -1);
        return session.run(feeds, ...rest);
      },
    },
    options,
  );
  assert.ok(graph);
  return {
    callBatch: graph.answer,
    runs,
    [Symbol.asyncDispose]: () => session.release(),
  };
}

/** Rows of token ids that differ from each other. */
function rowsOf(count: number, length: number, seed: number): NamedTensor {
  return tokens(
    ...Array.from({ length: count }, (_, row) =>
      Array.from({ length }, (_each, place) => 5 + ((seed * 31 + row * 17 + place * 7) % 500)),
    ),
  );
}

const pixels = (count: number, seed: number): NamedTensor =>
  noise("pixel_values", [count, 3, 64, 64], seed);

/** Equal to the bit where kernels add up row by row; some processors' kernels depend on the number of rows. */
const ROUNDING = 1e-5;

const JOINED: readonly {
  readonly model: string;
  readonly file?: string;
  readonly inputs: readonly NamedTensor[];
  readonly runs: readonly number[];
  /** What answers together may differ from answers apart. */
  readonly tolerance: number;
}[] = [
  {
    model: "minilm-embed",
    inputs: [rowsOf(1, 7, 1), rowsOf(3, 7, 2), rowsOf(1, 9, 3), rowsOf(2, 7, 4)],
    runs: [6, 1],
    tolerance: ROUNDING,
  },
  {
    model: "seqcls-bert-2way",
    inputs: [rowsOf(1, 7, 1), rowsOf(3, 7, 2), rowsOf(2, 7, 4)],
    runs: [6],
    tolerance: ROUNDING,
  },
  // 16 × 16 pixels in three channels count as three tokens: 10 images are 480.
  {
    model: "tiny-vit",
    inputs: [pixels(2, 1), pixels(8, 2), pixels(1, 3)],
    runs: [10, 1],
    tolerance: ROUNDING,
  },
  {
    model: "tiny-gpt2",
    inputs: [rowsOf(1, 5, 1), rowsOf(2, 5, 2)],
    runs: [3],
    tolerance: ROUNDING,
  },
  // One scale of the activations for all rows of a run: `notes/facts.md`. Logits of ±4.
  {
    model: "seqcls-bert-2way",
    file: "model_quantized.onnx",
    inputs: [rowsOf(1, 7, 1), rowsOf(3, 7, 2), rowsOf(2, 7, 4)],
    runs: [6],
    tolerance: 0.2,
  },
];

for (const { model, file = "model.onnx", inputs, runs, tolerance } of JOINED) {
  test(`${model}/${file}: ${inputs.length} requests in ${runs.length} runs are answered as alone`, async () => {
    await using graph = await open(model, file);
    const members = inputs.map((input) => memberOf(tensorRequest([input])));
    const { outcomes, passes } = await runBatch(graph, members);
    assert.deepEqual(graph.runs, runs);
    assert.deepEqual(passes, [], "the engine learns from the task's predictions");
    for (const [index, member] of members.entries()) {
      const together = answerOf(outcomes[index]);
      const alone = answerOf((await runBatch(graph, [member])).outcomes[0]);
      for (const [place, tensor] of together.entries()) {
        assert.deepEqual(tensor.shape, alone[place]?.shape);
        assertNear(floatsOf(tensor), floatsOf(alone[place]), tolerance);
        const { data } = tensor;
        assert.ok(ArrayBuffer.isView(data) && data.byteLength === data.buffer.byteLength);
      }
    }
  });
}

test("a request larger than a run should be is cut by rows, and put together again", async () => {
  await using graph = await open("seqcls-bert-2way");
  const large = memberOf(tensorRequest([rowsOf(21, 8, 1)]));
  const small = memberOf(tensorRequest([rowsOf(2, 8, 9)]));
  const cut = await runBatch(graph, [large, small], 64); // 8 rows of 8 tokens
  assert.deepEqual(graph.runs.splice(0), [8, 8, 7]);
  const whole = await runBatch(graph, [large], 1000);
  assert.deepEqual(graph.runs.splice(0), [21]);
  assertNear(
    floatsOf(answerOf(cut.outcomes[0])[0]),
    floatsOf(answerOf(whole.outcomes[0])[0]),
    ROUNDING,
  );
  assert.deepEqual(answerOf(cut.outcomes[0])[0]?.shape, [21, 2]);
  assert.deepEqual(answerOf(cut.outcomes[1])[0]?.shape, [2, 2]);
});

test("a run that fails is tried once more for each request, and only the one at fault fails", async () => {
  await using graph = await open("seqcls-bert-2way");
  const ask = (...rows: number[][]) => memberOf(tensorRequest([tokens(...rows)]));
  const { outcomes } = await runBatch(graph, [ask([5, 6]), ask([7, 9e6]), ask([8, 9], [10, 11])]);
  assert.deepEqual(graph.runs, [4, 1, 1, 2]);
  assert.match(messageIn(outcomes[1]), /out of data bounds/);
  assert.deepEqual(answerOf(outcomes[0])[0]?.shape, [1, 2]);
  assert.deepEqual(answerOf(outcomes[2])[0]?.shape, [2, 2]);
});

test("nobody computes for those who have left, and a request whose first rows failed is done with", async () => {
  await using graph = await open("seqcls-bert-2way");
  const left = AbortSignal.abort();
  const gone = await runBatch(graph, [memberOf(tensorRequest([rowsOf(2, 4, 1)]), left)]);
  assert.match(messageIn(gone.outcomes[0]), /nobody waits/);
  const faulty = tokens([9e6, 1], [5, 6], [7, 8]);
  const failed = await runBatch(graph, [memberOf(tensorRequest([faulty]))], 2);
  assert.match(messageIn(failed.outcomes[0]), /out of data bounds/);
  assert.deepEqual(graph.runs, [1]);
});

test("those that ask for different outputs do not share a run", async () => {
  await using graph = await open("tiny-gpt2");
  const ask = (outputs?: string[]) => memberOf(tensorRequest([rowsOf(1, 3, 1)], outputs));
  const { outcomes } = await runBatch(graph, [ask(["logits"]), ask(["present.0.key"])]);
  assert.deepEqual(graph.runs, [1, 1]);
  assert.deepEqual(
    outcomes.map((outcome) => answerOf(outcome).map(({ name }) => name)),
    [["logits"], ["present.0.key"]],
  );
});

/** `y = x + c`, or `x` less the mean of all its rows, which are not a row's own business. */
function bare(kind: "adds" | "mixes"): Uint8Array {
  return encodeGraph({
    inputs: [{ name: "x", element: "float", shape: ["batch", 2] }],
    outputs: [{ name: "y", element: "float", shape: ["batch", 2] }],
    nodes:
      kind === "adds"
        ? [{ op: "Add", inputs: ["x", "c"], outputs: ["y"] }]
        : [
            { op: "ReduceMean", inputs: ["x"], outputs: ["mean"], attributes: { axes: [0] } },
            { op: "Sub", inputs: ["x", "mean"], outputs: ["y"] },
          ],
    constants:
      kind === "adds" ? [{ name: "c", element: "float", shape: [2], values: [10, 20] }] : [],
  });
}

for (const [kind, wanted, later] of [
  [
    "adds",
    [
      [11, 22],
      [13, 24],
      [15, 26],
    ],
    [2],
  ],
  [
    "mixes",
    [
      [0, 0],
      [0, 0],
      [0, 0],
    ],
    [1, 1],
  ],
] as const) {
  test(`a graph of no task that ${kind} rows shows in a trial whether requests may share a run`, async () => {
    await using graph = await watch(bare(kind), { isOfTask: false });
    const ask = (...values: number[]) => memberOf(tensorRequest([fp32("x", [1, 2], values)]));
    const valuesOf = (outcome: MemberOutcome | undefined) => [...floatsOf(answerOf(outcome)[0])];

    const same = await runBatch(graph, [ask(1, 2), ask(1, 2)]);
    assert.deepEqual(same.outcomes.map(valuesOf), [wanted[0], wanted[0]]);
    assert.deepEqual(graph.runs.splice(0), [1, 1]); // the same rows would prove nothing

    const first = await runBatch(graph, [ask(1, 2), ask(3, 4)]);
    assert.deepEqual(first.outcomes.map(valuesOf), [wanted[0], wanted[1]]);
    assert.deepEqual(graph.runs.splice(0), [1, 1, 2]);

    const next = await runBatch(graph, [ask(5, 6), ask(1, 2)]);
    assert.deepEqual(next.outcomes.map(valuesOf), [wanted[2], wanted[0]]);
    assert.deepEqual(graph.runs.splice(0), later);
    assert.deepEqual(
      next.passes.map(({ items }) => items),
      later,
    );
  });
}

test("a graph that gives other rows than it says is asked for each request by itself", async () => {
  const x = { isTensor: true, type: "float32" } as const;
  const runs: number[] = [];
  const graph = openGraph(
    {
      inputMetadata: [{ ...x, name: "x", shape: ["batch", 2] }],
      outputMetadata: [{ ...x, name: "y", shape: ["batch", 1] }],
      async run(feeds: InferenceSession.FeedsType) {
        const { data, dims } = feeds["x"] as Tensor;
        runs.push(dims[0] ?? 0);
        const sum = (data as Float32Array).reduce((total, each) => total + each, 0);
        return { y: new Tensor("float32", Float32Array.of(sum), [1, 1]) };
      },
    },
    { isOfTask: true },
  );
  assert.ok(graph);
  const inputs = [noise("x", [2, 2], 1), noise("x", [1, 2], 2), noise("x", [700, 2], 3)];
  const { outcomes } = await runBatch(
    { callBatch: graph.answer },
    inputs.map((input) => memberOf(tensorRequest([input]))),
  );
  assert.deepEqual(runs, [3, 2, 1, 512, 700]);
  for (const [index, input] of inputs.entries()) {
    const sum = floatsOf(input).reduce((total, each) => total + each, 0);
    assertNear([...floatsOf(answerOf(outcomes[index])[0])], [sum], 1e-3);
  }
});

function signature(inputs: readonly Port["axes"][], outputs: readonly Port["axes"][]): Signature {
  const toPort = (axes: Port["axes"], index: number): Port => {
    const shape = axes.map((axis) => (typeof axis === "number" ? axis : -1));
    return { name: `x${index}`, datatype: "FP32", shape, axes };
  };
  return { inputs: inputs.map(toPort), outputs: outputs.map(toPort) };
}

test("a graph has rows where all its ports begin with the one batch", () => {
  assert.ok(hasRows(signature([["batch", 3]], [["batch", 2]])));
  assert.ok(
    hasRows(
      signature(
        [
          ["N_batch", "t"],
          ["N_batch", "t"],
        ],
        [["N_batch", "t", 4]],
      ),
    ),
  );
});

for (const [what, graph] of [
  [
    "another batch of texts than of images",
    signature(
      [
        ["text_batch", 3],
        ["image_batch", 3],
      ],
      [["text_batch", 2]],
    ),
  ],
  ["scores of each with each", signature([["batch", 3]], [["batch", "batch"]])],
  ["an output as long as the batch's longest", signature([["batch", "t"]], [["batch", "samples"]])],
  ["a first dimension that may be time", signature([["T", 3]], [["T", 2]])],
  ["a first dimension without a name", signature([["", 3]], [["", 2]])],
  ["a fixed batch", signature([[1, 3]], [[1, 2]])],
  ["an input without rows", signature([["batch", 3], []], [["batch", 2]])],
  [
    "a state for all",
    signature(
      [
        ["batch", 3],
        [2, "batch", 8],
      ],
      [["batch", 2]],
    ),
  ],
  ["a mean over all", signature([["batch", 3]], [["batch", 2], [2]])],
] as const) {
  test(`no rows: ${what}`, () => assert.equal(hasRows(graph), false));
}

test("planRuns() runs each row of each request once, in order, and no more than fit", () => {
  const questions = [3, 1, 10, 2, 2, 7, 1].map((rows, index) => ({
    inputs: [rowsOf(rows, index === 4 ? 5 : 4, index)],
    outputs: ["logits"],
  }));
  const runs = planRuns(questions, true, 16);
  for (const run of runs) {
    const rows = run.map((piece) => (piece.rows ? piece.rows.to - piece.rows.from : NaN));
    const sum = rows.reduce((total, each) => total + each, 0);
    assert.ok(sum >= 1 && sum <= 4, `${sum} rows`);
    const lengths = new Set(run.map(({ question }) => question.inputs[0]?.shape[1]));
    assert.equal(lengths.size, 1);
  }
  for (const question of questions) {
    let next = 0;
    for (const { rows } of runs.flat().filter((piece) => piece.question === question)) {
      assert.equal(rows?.from, next);
      next = rows?.to ?? NaN;
    }
    assert.equal(next, question.inputs[0]?.shape[0]);
  }
  assert.ok(runs.length < 9, `${runs.length} runs`);
  assert.equal(planRuns(questions, false, 16).length, questions.length);
});
