import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { InferenceSession, Tensor } from "onnxruntime-node";

import { openExplainer, type Question } from "../../runtime/explain/explainer.ts";
import { parseOnnxModel } from "../../runtime/explain/onnx-model.ts";
import { integratedGradients } from "../../runtime/index.ts";
import {
  AnswerExplanationsGolden,
  ExplanationsGolden,
  GOLDEN_METHODS,
} from "../support/explanations.ts";
import { assertNear, EMBEDDED, modelPath, readGolden } from "../support/goldens.ts";

/** Gradients of a few layers in float32, summed over a hundred places: 3e-7 was the largest difference found. */
const TOLERANCE = 1e-5;

const FILES = {
  "emotion-distilbert": join(EMBEDDED, "model/onnx/model.onnx"),
  "seqcls-bert-2way": modelPath("seqcls-bert-2way/onnx/model.onnx"),
  "ner-bert": modelPath("ner-bert/onnx/model.onnx"),
  "qa-bert": modelPath("qa-bert/onnx/model.onnx"),
} as const;

/** The value that holds the words' embeddings alone, before positions are added. */
function wordLayerOf(file: string): string {
  const { graph } = parseOnnxModel(readFileSync(file));
  const lookup = graph.node.find(
    ({ opType, input }) => opType === "Gather" && input[0]?.endsWith("word_embeddings.weight"),
  );
  return lookup?.output[0] ?? "";
}

for (const name of ["emotion-distilbert", "seqcls-bert-2way", "ner-bert"] as const) {
  for (const layer of ["embeddings", "word_embeddings"] as const) {
    test(`${name}: attributions to the ${layer} are those of PyTorch`, async () => {
      const file = FILES[name];
      await using explainer = await openExplainer({
        file,
        output: "logits",
        layer: layer === "embeddings" ? undefined : wordLayerOf(file),
      });
      const { explanations } = readGolden(name, ExplanationsGolden);
      for (const method of GOLDEN_METHODS) {
        const questions = explanations.map(({ input_ids, reference_ids, target }): Question => ({
          inputIds: input_ids,
          baseline: { ids: reference_ids },
          targets: [[target].flat()],
          method,
        }));
        const found = await explainer.explain(questions);
        for (const [index, { layers }] of explanations.entries()) {
          const [own, golden] = [found[index], layers[layer][method]];
          assertNear(own?.importances ?? [], golden.importances, TOLERANCE);
          assertNear(own?.attributions ?? [], golden.attributions_per_token, TOLERANCE);
          assertNear(
            [own?.delta ?? 0, own?.value ?? 0, own?.baselineValue ?? 0],
            [golden.delta, golden.value_input, golden.value_reference],
            2 * TOLERANCE, // of numbers up to 6, in float32
          );
        }
      }
    });
  }
}

for (const layer of ["embeddings", "word_embeddings"] as const) {
  test(`qa-bert: beginnings and ends, attributed to the ${layer}, are those of PyTorch, as are TorchServe's`, async () => {
    const file = FILES["qa-bert"];
    await using explainer = await openExplainer({
      file,
      output: { stacked: ["start_logits", "end_logits"] },
      layer: layer === "embeddings" ? undefined : wordLayerOf(file),
    });
    const { explanations } = readGolden("qa-bert", AnswerExplanationsGolden);
    assert.ok(explanations.some(({ encoding }) => encoding === "torchserve"));
    for (const golden of explanations) {
      for (const method of GOLDEN_METHODS) {
        const [start, end] = await explainer.explain(
          [golden.target_start, golden.target_end].map((place, output): Question => ({
            inputIds: golden.input_ids,
            tokenTypeIds: golden.token_type_ids,
            baseline: { ids: golden.reference_ids },
            targets: [[place, output]],
            method,
          })),
        );
        assertNear(start?.importances ?? [], golden.start[layer][method].importances, TOLERANCE);
        assertNear(end?.importances ?? [], golden.end[layer][method].importances, TOLERANCE);
        assertNear([start?.delta ?? 0], [golden.start[layer][method].delta], 4 * TOLERANCE);
        assertNear([end?.delta ?? 0], [golden.end[layer][method].delta], 4 * TOLERANCE);
      }
    }
  });
}

const INPUT = { inputIds: [2, 51, 205, 1046, 1257, 3], targets: [[1]] };
const PADDED = { ids: [2, 0, 0, 0, 0, 3] };

test("attributions add up to the change of the output, the better the more places there are", async () => {
  await using explainer = await openExplainer({
    file: FILES["emotion-distilbert"],
    output: "logits",
  });
  const steps = [5, 50, 500];
  const scared = {
    inputIds: [2, 51, 11, 55, 519, 211, 162, 945, 3],
    baseline: { ids: [2, 0, 0, 0, 0, 0, 0, 0, 3] },
    targets: [[4]],
  };
  const found = await explainer.explain(steps.map((count) => ({ ...scared, steps: count })));
  const [coarse = 0, usual = 0, fine = 0] = found.map(({ delta }) => Math.abs(delta));
  assert.ok(coarse > usual && usual > fine, `${coarse}, ${usual}, ${fine}`);
  // The logit moves by 2.9, steeply in places, so that a thousandth of it is still open.
  assert.ok(fine < 5e-3, `${fine}`);
});

test("questions of unlike lengths, methods and limits, asked together, get what each gets alone", async () => {
  await using explainer = await openExplainer({
    file: FILES["emotion-distilbert"],
    output: "logits",
  });
  const questions: Question[] = [
    { ...INPUT, baseline: PADDED },
    {
      inputIds: [2, 51, 205, 9, 1046, 1257, 3],
      baseline: { ids: [2, 0, 0, 0, 0, 0, 3] },
      targets: [[4]],
      steps: 7,
    },
    {
      inputIds: [2, 519, 3],
      baseline: { ids: [2, 0, 3] },
      targets: [[4]],
      method: "riemann_middle",
    },
    {
      ...INPUT,
      baseline: { ids: INPUT.inputIds, isZero: INPUT.inputIds.map((_, t) => t === 3) },
      maxPoints: 3,
    },
  ];
  const together = await explainer.explain(questions);
  for (const [index, question] of questions.entries()) {
    const [alone] = await explainer.explain([question]);
    // Padding and other neighbours change the order of sums in float32.
    assertNear(together[index]?.importances ?? [], alone?.importances ?? [], TOLERANCE);
    assertNear([together[index]?.delta ?? 0], [alone?.delta ?? 1], TOLERANCE);
  }
  const zeroed = together[3]?.importances ?? [];
  assert.deepEqual(
    zeroed.map((each) => each !== 0),
    [false, false, false, true, false, false],
  );
});

test("of a model that writes, logarithms of probabilities are explained: those that its own logits give", async () => {
  const file = modelPath("tiny-gpt2/onnx/model.onnx");
  const inputIds = [12, 34, 56, 78, 90];
  const ids = [0, 0, 0, 78, 90];
  const targets = [
    [3, 90],
    [4, 21],
  ];
  await using explainer = await openExplainer({ file, output: { logSoftmax: "logits" } });
  const [found] = await explainer.explain([{ inputIds, baseline: { ids }, targets }]);
  const expected = [];
  for (const row of [inputIds, ids]) expected.push(await logProbabilityOf(file, row, targets));
  assertNear([found?.value ?? 0, found?.baselineValue ?? 0], expected, 1e-4);
  // What stays as it is has no share in the change.
  assert.deepEqual(found?.importances.slice(3), [0, 0]);
  const change = (expected[0] ?? 0) - (expected[1] ?? 0);
  assert.ok(Math.abs(found?.delta ?? 1) < 0.02 * Math.abs(change), "50 places leave less than 2 %");
});

/** By the model as it was exported, and by hand. */
async function logProbabilityOf(file: string, ids: number[], targets: number[][]): Promise<number> {
  const session = await InferenceSession.create(file);
  const T = ids.length;
  const feeds: Record<string, Tensor> = {};
  for (const input of session.inputMetadata) {
    assert.ok(input.isTensor);
    const rows: Readonly<Record<string, number[]>> = {
      input_ids: ids,
      attention_mask: ids.map(() => 1),
      position_ids: ids.map((_, t) => t),
    };
    const row = rows[input.name];
    const dims = input.shape.map((dim, axis) =>
      typeof dim === "number" ? dim : axis === 0 ? 1 : 0,
    );
    feeds[input.name] = row
      ? new Tensor("int64", BigInt64Array.from(row, BigInt), [1, T])
      : new Tensor("float32", [], dims);
  }
  const { logits } = await session.run(feeds);
  assert.ok(logits?.data instanceof Float32Array);
  const V = logits.dims[2] ?? 0;
  const data = logits.data;
  await session.release();
  return targets.reduce((sum, [t = 0, id = 0]) => {
    const row = Array.from(data.subarray(t * V, (t + 1) * V));
    const most = Math.max(...row);
    return (
      sum +
      (row[id] ?? 0) -
      most -
      Math.log(row.reduce((all, each) => all + Math.exp(each - most), 0))
    );
  }, 0);
}

test("nothing is computed for a question that contradicts itself", async () => {
  await using explainer = await openExplainer({
    file: FILES["emotion-distilbert"],
    output: "logits",
  });
  assert.deepEqual(await explainer.explain([]), []);
  assert.deepEqual(explainer.shapeOf(7), [6]);
  const wrong: readonly (readonly [Partial<Question>, RegExp])[] = [
    [{ targets: [[6]] }, /the target \[6\] lies outside of \[6\]/],
    [{ targets: [[1, 1]] }, /the target \[1,1\] lies outside of \[6\]/],
    [{ baseline: { ids: [2, 3] } }, /a list is 2 long, wanted 6/],
    [{ tokenTypeIds: [0] }, /a list is 1 long, wanted 6/],
    [{ inputIds: [] }, /no tokens/],
    [{ steps: 0 }, /steps of gausslegendre is 0/],
  ];
  for (const [change, message] of wrong) {
    const question = { ...INPUT, baseline: PADDED, ...change };
    await assert.rejects(explainer.explain([question]), { name: "RangeError", message });
  }
});

test("an explanation ends between two runs once nobody waits for it", async () => {
  await using explainer = await openExplainer({
    file: FILES["emotion-distilbert"],
    output: "logits",
    maxTokensPerRun: 6,
  });
  const abort = new AbortController();
  const reason = new Error("gone");
  const question = { ...INPUT, baseline: PADDED, steps: 500 };
  const gone = assert.rejects(explainer.explain([question], abort.signal), reason);
  setImmediate(() => abort.abort(reason));
  await gone;
  await assert.rejects(explainer.explain([question], AbortSignal.abort(reason)), reason);
});

test("an output that is not there is named, beside those that are", async () => {
  const file = FILES["qa-bert"];
  await assert.rejects(openExplainer({ file, output: { stacked: ["start_logits", "ends"] } }), {
    message: `there is no output "ends", known are start_logits, end_logits`,
  });
});

test("handler authors open a model through the package's face", async () => {
  const explainer = await integratedGradients({
    file: FILES["emotion-distilbert"],
    output: "logits",
  });
  const [found] = await explainer.explain([{ ...INPUT, baseline: PADDED }]);
  assert.equal(found?.importances.length, INPUT.inputIds.length);
  await explainer.dispose();
});
