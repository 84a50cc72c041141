import assert from "node:assert/strict";
import { after, test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { ask, assertNear, modelPath, readGolden, variantOf } from "../../support/goldens.ts";
import { filesOf, fixedGraph, Sample, sampled, SHAPES, WIDE } from "../../support/images.ts";
import { imageText } from "../../support/shapes.ts";

const VIT = modelPath("tiny-vit-features");
const vit = await loadDefaultHandler({ repository: VIT, dtype: "fp32" }, silentLog());
after(() => vit.dispose());

const States = z.array(z.array(z.array(z.number())));
const Pooled = z.array(z.array(z.number()));
const { cases } = readGolden(
  "tiny-vit-features",
  z.object({
    cases: z.array(
      z.object({
        image: z.string(),
        last_hidden_state: Sample,
        pooler_output: z.array(z.number()),
      }),
    ),
  }),
);

test("tiny-vit-features answers with PyTorch's hidden states, one by one and as a list", async () => {
  const inputs = cases.map(({ image }) => imageText(image));
  const list = z.array(States).parse(await ask(vit, { inputs }));
  for (const [index, { last_hidden_state }] of cases.entries()) {
    const single = States.parse(await ask(vit, { inputs: inputs[index] }));
    for (const answer of [single, list[index] ?? []]) {
      const dims = [answer.length, answer[0]?.length, answer[0]?.[0]?.length];
      assert.deepEqual(dims, last_hidden_state.dims);
      const values = sampled(answer.flat(2), last_hidden_state);
      assertNear(values, last_hidden_state.sample_values, 1e-4);
    }
  }
});

test("pool gives the pooler's vector", async () => {
  for (const { image, pooler_output } of cases) {
    const data = { inputs: imageText(image), parameters: { pool: true } };
    const answer = Pooled.parse(await ask(vit, data));
    assert.equal(answer.length, 1);
    assertNear(answer[0] ?? [], pooler_output, 1e-4);
  }
});

test("a list keeps its order and its shape", async () => {
  const images = [WIDE, ...SHAPES].map((name) => imageText(name));
  for (const parameters of [{}, { pool: true }, { pool: false }, { pool: null }]) {
    const singles = [];
    for (const inputs of images) singles.push(await ask(vit, { inputs, parameters }));
    const list = await ask(vit, { inputs: images, parameters });
    const flat = (value: unknown) => z.array(z.number()).parse([value].flat(9));
    assertNear(flat(list), flat(singles), 1e-5); // kernels add up in another order for two images
  }
  assert.deepEqual(await ask(vit, { inputs: [] }), []);
});

test("a convolutional network answers with its map, whatever the output is called", async () => {
  const values = Array.from({ length: 12 }, (_, i) => i);
  for (const name of ["last_hidden_state", "feature_map"]) {
    const graph = fixedGraph([{ name, shape: [3, 2, 2], values }]);
    await using repository = await variantOf(VIT, filesOf(graph));
    const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
    const inputs = imageText(SHAPES[0]);
    assert.deepEqual(await ask(handler, { inputs }), [
      [
        [
          [0, 1],
          [2, 3],
        ],
        [
          [4, 5],
          [6, 7],
        ],
        [
          [8, 9],
          [10, 11],
        ],
      ],
    ]);
    await assert.rejects(ask(handler, { inputs, parameters: { pool: true } }), {
      code: "INVALID_INPUT",
      message: `Cannot extract the features of the image: "pool" is true, but the model has no pooled output`,
    });
    await handler.dispose();
  }
});

test("parameters are refused when they are unknown or of another kind", async () => {
  const inputs = imageText(SHAPES[0]);
  const refuse = (parameters: object, sentence: string) =>
    assert.rejects(ask(vit, { inputs, parameters }), {
      code: "INVALID_INPUT",
      message: `Cannot extract the features of the image: ${sentence}`,
    });
  await refuse({ pool: "mean" }, `"pool" is "mean", wanted true or false`);
  await refuse(
    { pol: true },
    `there is no parameter "pol", perhaps you mean "pool"; known are pool`,
  );
});
