import assert from "node:assert/strict";
import { test } from "node:test";

import type { Tensor } from "@huggingface/transformers";

import type { FloatTensor } from "../../../runtime/handler/model/encoder.ts";
import {
  chunksOf,
  fitLine,
  openComparer,
  type Comparison,
} from "../../../runtime/handler/model/similarity.ts";
import type { Encoding } from "../../../runtime/handler/model/truncation.ts";
import type { VisionText } from "../../../runtime/handler/model/vision-text.ts";
import type { Pixels } from "../../../runtime/handler/model/vision.ts";
import { assertNear } from "../../support/goldens.ts";

const never = new AbortController().signal;

/** Dimensions of the vectors: a text of ids `[a, b]` points to `a`, an image to its first pixel. */
const H = 2;

function pointTo(angle: number): [number, number] {
  return [Math.cos(angle), Math.sin(angle)];
}

/** A model that counts what its graph is asked. */
function countingModel(toLogit: (similarity: number) => number, outputs?: readonly string[]) {
  const passes: { images: number; texts: number }[] = [];
  const names = outputs ?? ["logits_per_image", "image_embeds", "text_embeds"];
  const run = async (
    encodings: readonly Encoding[],
    wanted: readonly string[],
    { pixel_values }: { pixel_values: Tensor },
  ): Promise<FloatTensor[]> => {
    const B = pixel_values.dims[0] ?? 0;
    const N = encodings.length;
    passes.push({ images: B, texts: N });
    const size = pixel_values.data.length / B;
    const images = Array.from({ length: B }, (_, b) =>
      pointTo(Number(pixel_values.data[b * size])),
    );
    const texts = encodings.map(({ inputIds }) => pointTo(inputIds[0] ?? 0));
    const logits = images.flatMap(([x, y]) => texts.map(([u, v]) => toLogit(x * u + y * v)));
    const byName: Readonly<Record<string, FloatTensor>> = {
      logits_per_image: { data: Float32Array.from(logits), dims: [B, N] },
      image_embeds: { data: Float32Array.from(images.flat()), dims: [B, H] },
      text_embeds: { data: Float32Array.from(texts.flat()), dims: [N, H] },
    };
    return wanted.map((name) => byName[name] ?? assert.fail(name));
  };
  const model = {
    encoder: { outputs: new Map(names.map((name) => [name, 2])), run },
    images: {
      read: async ({ data }: { data: Uint8ClampedArray }) => imageOf((data[3] ?? 0) / 100),
    },
    encodeText: (text: string) => textOf(text.length / 7),
  } as unknown as VisionText; // all that is asked of it
  return { model, passes };
}

function imageOf(angle: number): Pixels {
  const size = { width: 1, height: 1 };
  return { data: Float32Array.of(angle, 0, 0), dims: [3, 1, 1], original: size, reshaped: size };
}

function textOf(angle: number, length = 2): Encoding {
  return { inputIds: Array.from({ length }, () => angle) };
}

function itemOf(angle: number, texts: readonly number[]): Comparison {
  return { pixels: imageOf(angle), texts: texts.map((text) => textOf(text)) };
}

const siglip = (similarity: number): number => 110 * similarity - 12;

test("the scale and the bias are found, and used", async () => {
  const { model } = countingModel(siglip);
  const comparer = await openComparer(model);
  assert.equal(comparer.keepsTexts, true);
  const items = [itemOf(0.3, [1, 2, 3]), itemOf(0.9, [3])];
  const [first, second] = await comparer.compare(items, never);
  const expected = (image: number, text: number) => siglip(Math.cos(image - text));
  assertNear(
    [...(first ?? [])],
    [1, 2, 3].map((text) => expected(0.3, text)),
    1e-4,
  );
  assertNear([...(second ?? [])], [expected(0.9, 3)], 1e-4);
});

test("a text is read once, however often it is asked for", async () => {
  const { model, passes } = countingModel(siglip);
  const comparer = await openComparer(model);
  passes.length = 0;
  await comparer.compare([itemOf(0.3, [1, 2]), itemOf(0.4, [2, 1, 2])], never);
  await comparer.compare([itemOf(0.5, [2, 1])], never);
  await comparer.compare([itemOf(0.5, [2, 5, 1])], never);
  // The graph wants a text even where all are known.
  assert.deepEqual(passes, [
    { images: 2, texts: 2 },
    { images: 1, texts: 1 },
    { images: 1, texts: 1 },
  ]);
});

test("texts longest unused are forgotten", async () => {
  const { model, passes } = countingModel(siglip);
  const comparer = await openComparer(model, 3 * H); // three vectors
  const ask = (...texts: number[]) => comparer.compare([itemOf(0, texts)], never);
  await ask(1, 2, 3);
  await ask(1); // now the most recent
  await ask(4); // one too many: 2 goes
  passes.length = 0;
  await ask(1, 3, 4);
  assert.deepEqual(passes, [{ images: 1, texts: 1 }], "no more than the one that the graph wants");
  await ask(1, 2, 3, 4, 5);
  assert.deepEqual(passes.at(-1), { images: 1, texts: 2 }, "only 2 and 5 are read");
});

test("a graph whose logits are no scaled similarity is asked everything", async () => {
  for (const { model, passes } of [
    countingModel((similarity) => similarity ** 3 * 40),
    countingModel(siglip, ["logits_per_image"]),
  ]) {
    const comparer = await openComparer(model);
    assert.equal(comparer.keepsTexts, false);
    passes.length = 0;
    const [logits] = await comparer.compare([itemOf(0.3, [1, 2]), itemOf(0.4, [2])], never);
    assert.equal(logits?.length, 2);
    await comparer.compare([itemOf(0.3, [1, 2])], never);
    assert.deepEqual(passes, [
      { images: 2, texts: 2 },
      { images: 1, texts: 2 },
    ]);
  }
});

test("many texts take several passes, of which only the first reads all images", async () => {
  const { model, passes } = countingModel(siglip);
  const comparer = await openComparer(model);
  passes.length = 0;
  const texts = Array.from({ length: 5000 }, (_, i) => i / 1000);
  const [, second] = await comparer.compare([itemOf(0.3, texts), itemOf(0.4, texts)], never);
  assert.deepEqual(passes, [
    { images: 2, texts: 2048 },
    { images: 1, texts: 2048 },
    { images: 1, texts: 904 },
  ]);
  assertNear([second?.[4999] ?? Number.NaN], [siglip(Math.cos(0.4 - 4.999))], 1e-4);
});

test("nobody waits: the next pass is not begun", async () => {
  const { model, passes } = countingModel(siglip);
  const comparer = await openComparer(model);
  passes.length = 0;
  const aborter = new AbortController();
  const gone = new Error("gone");
  aborter.abort(gone);
  await assert.rejects(comparer.compare([itemOf(0.3, [1])], aborter.signal), gone);
  assert.deepEqual(passes, []);
});

test("fitLine() takes a bias only where there is one", () => {
  const x = [0.1, 0.2, 0.35];
  assert.deepEqual(
    fitLine(
      x,
      x.map((value) => value * 100),
    )?.bias,
    0,
  );
  const line = fitLine(
    x,
    x.map((value) => value * 100 - 10),
  );
  assertNear([line?.scale ?? 0, line?.bias ?? 0], [100, -10], 1e-9);
  assert.equal(fitLine(x, [1, 5, 2]), undefined);
});

test("chunksOf() keeps the order, and gives a text of any length a pass", () => {
  const texts = [textOf(1, 5000)];
  assert.deepEqual(chunksOf(["a", "b"], texts), [["a"], ["b"]]);
  assert.deepEqual(chunksOf(["a", "b", "c"], [textOf(1, 2048)]), [["a", "b"], ["c"]]);
});
