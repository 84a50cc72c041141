import assert from "node:assert/strict";
import { test } from "node:test";

import { targetSize, type Size } from "../../../runtime/handler/model/image-size.ts";

const DETR = { image_processor_type: "DetrImageProcessor" };
const YOLOS = { image_processor_type: "YolosImageProcessor" };
const EDGES = { shortest_edge: 800, longest_edge: 1333 };

/** Worked out with the functions of Python's `image_transforms.py` and `image_processing_yolos.py`. */
const ASPECT_RATIOS: readonly (readonly [source: Size, detr: Size, yolos: Size, small: Size])[] = [
  [
    [640, 480],
    [1066, 800],
    [1056, 800],
    [64, 48],
  ],
  [
    [480, 640],
    [800, 1066],
    [800, 1056],
    [48, 64],
  ],
  [
    [480, 200],
    [1333, 555],
    [1328, 544],
    [64, 27],
  ],
  [
    [1000, 333],
    [1333, 444],
    [1328, 432],
    [64, 21],
  ],
  [
    [333, 1000],
    [444, 1333],
    [432, 1328],
    [21, 64],
  ],
  [
    [120, 80],
    [1200, 800],
    [1200, 800],
    [64, 43],
  ],
  [
    [800, 800],
    [800, 800],
    [800, 800],
    [64, 64],
  ],
  [
    [1066, 800],
    [1066, 800],
    [1056, 800],
    [64, 48],
  ],
  [
    [401, 97],
    [1333, 322],
    [1328, 320],
    [64, 15],
  ],
  [
    [97, 401],
    [322, 1333],
    [320, 1328],
    [15, 64],
  ],
];

for (const [source, detr, yolos, small] of ASPECT_RATIOS) {
  test(`${source.join(" × ")} is made the size that Python's detectors make it`, () => {
    assert.deepEqual(targetSize(source, EDGES, DETR), detr);
    assert.deepEqual(targetSize(source, EDGES, YOLOS), yolos);
    assert.deepEqual(targetSize(source, { shortest_edge: 64, longest_edge: 64 }, DETR), small);
  });
}

const CLIP = { image_processor_type: "CLIPImageProcessor" };
const VIT = { image_processor_type: "ViTImageProcessor" };

test("the shortest edge alone keeps the aspect ratio, cut to whole pixels", () => {
  assert.deepEqual(targetSize([640, 480], { shortest_edge: 224 }, CLIP), [298, 224]);
  assert.deepEqual(targetSize([101, 333], { shortest_edge: 224 }, CLIP), [224, 738]);
});

test("a bare number is a square, the shortest edge, or a detector's shortest edge, by the processor", () => {
  assert.deepEqual(targetSize([640, 480], 224, VIT), [224, 224]);
  assert.deepEqual(targetSize([640, 480], 224, CLIP), [298, 224]);
  assert.deepEqual(targetSize([640, 480], 800, { ...DETR, max_size: 1000 }), [1000, 750]);
  const old = { feature_extractor_type: "DetrFeatureExtractor" };
  assert.deepEqual(targetSize([480, 200], 800, old), [1333, 555]);
});

test("MaskFormer rounds up to its divisor", () => {
  const config = { image_processor_type: "MaskFormerImageProcessor", size_divisor: 32 };
  assert.deepEqual(targetSize([640, 480], EDGES, config), [1088, 800]);
  assert.deepEqual(targetSize([101, 333], EDGES, config), [416, 1344]);
});

test("a height and a width are taken as they are, a largest of each as a frame", () => {
  assert.deepEqual(targetSize([640, 480], { height: 64, width: 32 }, VIT), [32, 64]);
  assert.deepEqual(targetSize([640, 480], { max_height: 100, max_width: 100 }, DETR), [100, 75]);
});

test("what the library knows better is left to it", () => {
  const dpt = { image_processor_type: "DPTImageProcessor", keep_aspect_ratio: true };
  assert.equal(targetSize([640, 480], { height: 384, width: 384 }, dpt), undefined);
  const glpn = { feature_extractor_type: "GLPNFeatureExtractor", size_divisor: 32 };
  assert.equal(targetSize([640, 480], undefined, glpn), undefined);
  assert.equal(targetSize([640, 480], { longest_edge: 100 }, CLIP), undefined);
  const modnet = { feature_extractor_type: "ImageFeatureExtractor", size_divisibility: 32 };
  assert.equal(targetSize([640, 480], { shortest_edge: 512 }, modnet), undefined);
});
