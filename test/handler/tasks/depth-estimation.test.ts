import assert from "node:assert/strict";
import { after, test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { ask, assertNear, modelPath, readGolden, variantOf } from "../../support/goldens.ts";
import {
  filesOf,
  fixedGraph,
  pngOf,
  readPng,
  Sample,
  sampled,
  SHAPES,
  WIDE,
} from "../../support/images.ts";
import { imageText } from "../../support/shapes.ts";

const GLPN = modelPath("tiny-glpn");
const glpn = await loadDefaultHandler({ repository: GLPN, dtype: "fp32" }, silentLog());
after(() => glpn.dispose());

const Depth = z.strictObject({ predicted_depth: z.array(z.array(z.number())), depth: z.string() });
const { cases } = readGolden(
  "tiny-glpn",
  z.object({ cases: z.array(z.object({ image: z.string(), predicted_depth: Sample })) }),
);

test("tiny-glpn answers with PyTorch's depth, one by one and as a list", async () => {
  const inputs = cases.map(({ image }) => imageText(image));
  const list = z.array(Depth).parse(await ask(glpn, { inputs }));
  for (const [index, { predicted_depth }] of cases.entries()) {
    const single = Depth.parse(await ask(glpn, { inputs: inputs[index] }));
    for (const { predicted_depth: rows = [] } of [single, list[index] ?? single]) {
      assert.deepEqual([1, rows.length, rows[0]?.length], predicted_depth.dims);
      assertNear(sampled(rows.flat(), predicted_depth), predicted_depth.sample_values, 1e-4);
    }
  }
  assert.equal(list.length, cases.length);
});

test("the picture is grey, black at the least and white at the largest number, cut to whole shades", async () => {
  const { predicted_depth, depth } = Depth.parse(await ask(glpn, { inputs: imageText(SHAPES[0]) }));
  const values = predicted_depth.flat();
  const least = Math.min(...values);
  const range = Math.max(...values) - least;
  const { channels, width, height, data } = await readPng(depth);
  assert.deepEqual([channels, width, height], [1, 64, 64]);
  assert.deepEqual([Math.min(...data), Math.max(...data)], [0, 255]);
  for (const [i, shade] of data.entries()) {
    const exact = (((values[i] ?? 0) - least) / range) * 255;
    assert.ok(exact - shade > -1e-3 && exact - shade < 1 + 1e-3, `${shade} for ${exact}`);
  }
});

test("depth has the original image's size", async () => {
  const { predicted_depth, depth } = Depth.parse(await ask(glpn, { inputs: imageText(WIDE) }));
  assert.deepEqual([predicted_depth.length, predicted_depth[0]?.length], [80, 120]);
  const { width, height } = await readPng(depth);
  assert.deepEqual([width, height], [120, 80]);
});

test("a flat map is black, an axis of one channel makes no difference", async () => {
  for (const shape of [
    [1, 2],
    [1, 1, 2],
  ]) {
    const graph = fixedGraph([{ name: "predicted_depth", shape, values: [3, 3] }]);
    await using repository = await variantOf(GLPN, filesOf(graph));
    const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
    const inputs = await pngOf(2, 1, new Uint8Array(6));
    const { predicted_depth, depth } = Depth.parse(await ask(handler, { inputs }));
    assert.deepEqual(predicted_depth, [[3, 3]]);
    assert.deepEqual([...(await readPng(depth)).data], [0, 0]);
    await handler.dispose();
  }
});

test("a list keeps its shape, also of one and of none", async () => {
  const inputs = imageText(SHAPES[0]);
  assert.deepEqual(await ask(glpn, { inputs: [inputs] }), [await ask(glpn, { inputs })]);
  assert.deepEqual(await ask(glpn, { inputs: [] }), []);
});

test("an image whose numbers would not fit in an answer is refused", async () => {
  const inputs = await pngOf(5000, 4000, new Uint8Array(5000 * 4000 * 3));
  await assert.rejects(ask(glpn, { inputs }), {
    code: "INVALID_INPUT",
    message: `Cannot estimate the depth of the image: "inputs" is 5000 × 4000 pixels large, wanted at most 16777216 pixels`,
  });
});

test("there are no parameters, and no image is refused", async () => {
  const prefix = "Cannot estimate the depth of the image:";
  await assert.rejects(ask(glpn, { inputs: imageText(SHAPES[0]), parameters: { scale: 2 } }), {
    code: "INVALID_INPUT",
    message: `${prefix} there is no parameter "scale", nor any other`,
  });
  await assert.rejects(ask(glpn, { parameters: { timeout: 5 } }), {
    code: "INVALID_INPUT",
    message: `${prefix} "inputs" is missing, wanted an image in base64, or a list of them`,
  });
});
