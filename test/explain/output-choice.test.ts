import assert from "node:assert/strict";
import { test } from "node:test";

import { InferenceSession, Tensor } from "onnxruntime-node";

import {
  parseOnnxModel,
  writeOnnxModel,
  type OnnxModel,
} from "../../runtime/explain/onnx-model.ts";
import { withOutput, type OutputChoice } from "../../runtime/explain/output-choice.ts";
import { assertNear } from "../support/goldens.ts";
import { encodeGraph, type Port } from "../support/onnx-graph.ts";

const port = (name: string, shape: Port["shape"]): Port => ({ name, element: "float", shape });

/** Two outputs `[N, T]` and one `[N, T, 3]`, which are the inputs. */
function modelOf(opset: number): OnnxModel {
  const names = [
    ["a", ["N", "T"]],
    ["b", ["N", "T"]],
    ["scores", ["N", "T", 3]],
  ] as const;
  const model = parseOnnxModel(
    encodeGraph({
      inputs: names.map(([name, shape]) => port(`${name}_in`, shape)),
      outputs: names.map(([name, shape]) => port(name, shape)),
      nodes: names.map(([name]) => ({ op: "Identity", inputs: [`${name}_in`], outputs: [name] })),
      constants: [],
    }),
  );
  return { ...model, opsetImport: [{ domain: "", version: opset }] };
}

/** What the chosen output is, with its shape as the graph announces it. */
async function run(opset: number, choice: OutputChoice) {
  const { model, name } = withOutput(modelOf(opset), choice);
  const session = await InferenceSession.create(writeOnnxModel(model));
  const found = await session.run({
    a_in: new Tensor("float32", [1, 2], [1, 2]),
    b_in: new Tensor("float32", [3, 4], [1, 2]),
    scores_in: new Tensor("float32", [0, 0, 0, 5, 5, 1000], [1, 2, 3]),
  });
  const announced = session.outputMetadata.find((output) => output.name === name);
  await session.release();
  assert.ok(announced?.isTensor);
  const { data, dims } = found[name] ?? assert.fail(`no output ${name}`);
  return { data: Array.from(data as Float32Array), dims, announced: announced.shape };
}

for (const opset of [11, 12, 13, 17]) {
  test(`two outputs become one, in opset ${opset}`, async () => {
    const { data, dims, announced } = await run(opset, { stacked: ["a", "b"] });
    assert.deepEqual(
      [data, dims, announced],
      [
        [1, 3, 2, 4],
        [1, 2, 2],
        ["N", "T", 2],
      ],
    );
  });

  test(`scores become logarithms of probabilities, in opset ${opset}`, async () => {
    const { data, dims, announced } = await run(opset, { logSoftmax: "scores" });
    const third = -Math.log(3);
    assertNear(data, [third, third, third, -995, -995, 0], 1e-4);
    assert.deepEqual(
      [dims, announced],
      [
        [1, 2, 3],
        ["N", "T", 3],
      ],
    );
  });
}

test("an output as it is needs nothing new, and the model itself is never changed", () => {
  const model = modelOf(17);
  assert.deepEqual(withOutput(model, "a"), { model, name: "a" });
  const nodes = model.graph.node.length;
  withOutput(model, { stacked: ["a", "b"] });
  assert.deepEqual([model.graph.node.length, model.graph.output.length], [nodes, 3]);
  assert.throws(() => withOutput(model, "c"), {
    message: `there is no output "c", known are a, b, scores`,
  });
});
