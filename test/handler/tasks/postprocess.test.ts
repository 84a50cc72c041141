/**
 * What becomes of random scores, beside Python's transformers 5.18: `scripts/models/postprocess_goldens.py`.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { z } from "zod";

import { warpScores } from "../../../runtime/handler/model/generation-choice.ts";
import { toDetections } from "../../../runtime/handler/tasks/detection.ts";
import { softmax } from "../../../runtime/handler/tasks/scores.ts";
import {
  mergeQueries,
  readPlanes,
  readQueries,
  toInstances,
  toPanoptic,
  toSemantic,
  type Segment,
} from "../../../runtime/handler/tasks/segments.ts";
import { assertNear, modelPath } from "../../support/goldens.ts";

const Numbers = z.array(z.number());
const Segments = z.array(
  z.object({ label: z.number(), score: z.number().nullable(), runs: Numbers }),
);
const Golden = z.object({
  size: z.object({ width: z.number(), height: z.number() }),
  warped: z.array(
    z.object({
      sampling: z.object({
        temperature: z.number(),
        topK: z.number(),
        topP: z.number(),
        minP: z.number(),
        typicalP: z.number(),
        epsilonCutoff: z.number(),
        etaCutoff: z.number(),
      }),
      atLeast: z.number(),
      scores: Numbers,
      probabilities: Numbers,
    }),
  ),
  boxes: z.array(
    z.object({
      focal: z.boolean(),
      threshold: z.number(),
      logits: z.array(Numbers),
      boxes: z.array(Numbers),
      objects: z.array(z.object({ score: z.number(), label: z.number(), box: Numbers })),
    }),
  ),
  masks: z.array(
    z.object({
      kind: z.enum(["maskformer", "mask2former"]),
      threshold: z.number(),
      mask_threshold: z.number(),
      overlap_mask_area_threshold: z.number(),
      classes: z.array(Numbers),
      masks: z.array(z.array(Numbers)),
      panoptic: Segments,
      instance: Segments,
      semantic: Segments,
    }),
  ),
});
const golden = Golden.parse(JSON.parse(readFileSync(modelPath("../postprocess.json"), "utf8")));
const { size } = golden;

test("tokens are drawn with the probabilities that Python's warpers leave", () => {
  for (const { sampling, atLeast, scores, probabilities } of golden.warped) {
    const warped = Float32Array.from(scores);
    warpScores(warped, sampling, atLeast);
    // float32 there, float64 here
    assertNear([...softmax(warped)], probabilities, 1e-5);
  }
});

test("boxes are those of Python's image processors", () => {
  for (const { focal, threshold, logits, boxes, objects } of golden.boxes) {
    const found = toDetections(Float32Array.from(logits.flat()), Float32Array.from(boxes.flat()), {
      threshold,
      ...size,
      focalPairs: focal ? boxes.length : undefined,
    });
    assert.ok(objects.length > 0);
    assert.deepEqual(
      found.map(({ label, box: { xmin, ymin, xmax, ymax } }) => [label, xmin, ymin, xmax, ymax]),
      objects.map(({ label, box }) => [label, ...box]),
    );
    assertNear(
      found.map(({ score }) => score),
      objects.map(({ score }) => score),
      1e-6,
    );
  }
});

/** Lengths of what is outside, inside, outside … */
function runsOf(mask: Uint8ClampedArray): number[] {
  const runs = [0];
  let last = 0;
  for (const value of mask) {
    if (value !== last) runs.push(0);
    last = value;
    runs.push((runs.pop() ?? 0) + 1);
  }
  return runs;
}

function assertSegments(found: readonly Segment[], wanted: z.infer<typeof Segments>): void {
  assert.deepEqual(
    found.map(({ label, paint }) => ({ label, runs: runsOf(paint()) })),
    wanted.map(({ label, runs }) => ({ label, runs })),
  );
  assertNear(
    found.map(({ score }) => score ?? -1),
    wanted.map(({ score }) => score ?? -1),
    2e-6, // both are rounded to six places
  );
}

for (const [index, expected] of golden.masks.entries()) {
  const { kind, classes, masks, threshold, ...rest } = expected;
  test(`masks of ${kind} are those of Python's image processor, case ${index}`, () => {
    const [first = []] = masks;
    const dims = [masks.length, first.length, first[0]?.length ?? 0];
    const planes = readPlanes(Float32Array.from(masks.flat(2)), dims);
    const logits = Float32Array.from(classes.flat());
    const queries = readQueries(logits, planes, kind === "mask2former" ? 384 : undefined);
    const limits = {
      threshold,
      maskThreshold: rest.mask_threshold,
      overlap: rest.overlap_mask_area_threshold,
    };
    assertSegments(toPanoptic(queries, size, limits), rest.panoptic);
    assertSegments(toInstances(queries, size, limits), rest.instance);
    assertSegments(toSemantic(mergeQueries(queries), size), rest.semantic);
  });
}
