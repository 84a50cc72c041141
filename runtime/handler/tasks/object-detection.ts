/**
 * Object detection: an image to labelled boxes in its pixels.
 *
 * Numbers and shapes follow `ObjectDetectionPipeline` of Python's transformers (4.57 and 5.18). Images share a forward
 * pass when their sizes are equal after resizing; none is padded, as padding moves DETR's numbers.
 *
 * @example
 * ```jsonc
 * // tiny-yolos in fp32, of the tests, and a file of 64 × 64 pixels.
 * {"inputs": "iVBORw0KGgo…", "parameters": {"threshold": 0.3}}
 * // → [{"score": 0.3191171663509684, "label": "square", "box": {"xmin": 17, "ymin": 16, "xmax": 48, "ymax": 49}}]
 * ```
 */
import { z } from "zod";

import type { ModelConfig } from "../model/folder.ts";
import { rowOf } from "../model/encoder.ts";
import { loadVision, type ImageItem, type Vision } from "../model/vision.ts";
import { toDetections, type Box } from "./detection.ts";
import {
  createImageInput,
  EXAMPLE_IMAGE,
  IGNORED_IMAGE_PARAMETERS,
  ImageInputs,
} from "./image-input.ts";
import { readParameters } from "./inputs.ts";
import { findOutput } from "./outputs.ts";
import type { OpenTask, Task, TaskModel } from "./task.ts";

const ACTION = "detect objects in the image";
/** Python's default. */
const THRESHOLD = 0.5;

const wantedThreshold = "a number from 0 to 1";

export const ObjectDetectionParameters = z.object({
  /** Objects with a score above it are answered; 0.5 by default. */
  threshold: z.number(wantedThreshold).min(0, wantedThreshold).max(1, wantedThreshold).nullish(),
});
export type ObjectDetectionParameters = z.infer<typeof ObjectDetectionParameters>;

/** An object; the box is in pixels of the upright image. */
export type DetectedObject = { readonly score: number; readonly label: string; readonly box: Box };
/** Of a list of images a list of such. */
export type ObjectDetectionAnswer =
  | readonly DetectedObject[]
  | readonly (readonly DetectedObject[])[];

export const objectDetection: Task = {
  inputs: ImageInputs,
  parameters: ObjectDetectionParameters,
  example: { inputs: EXAMPLE_IMAGE },
  answersListsByElement: true,
  measure: "items",
  async open(model) {
    const vision = await loadVision(model);
    const logits = findOutput(vision, model, "object-detection", ["logits"], 3);
    const boxes = findOutput(vision, model, "object-detection", ["pred_boxes"], 3);
    return openObjectDetection(vision, [logits, boxes], model);
  },
};

/**
 * Models trained with a focal loss, and how many pairs of query and label their processors keep; `Infinity` for as many
 * as there are queries.
 */
const FOCAL_PAIRS: Readonly<Record<string, number>> = {
  conditional_detr: 100,
  d_fine: Infinity,
  "dab-detr": Infinity,
  deformable_detr: 100,
  deta: 100,
  lw_detr: 100,
  rf_detr: Infinity,
  rt_detr: Infinity,
  rt_detr_v2: Infinity,
};

interface Output {
  readonly logits: Float32Array;
  readonly boxes: Float32Array;
  readonly original: ImageItem["pixels"]["original"];
}

interface State {
  readonly isList: boolean;
  readonly threshold: number;
}

function openObjectDetection(
  vision: Vision,
  outputs: readonly [logits: string, boxes: string],
  { folder: { config }, urlHosts }: TaskModel,
): OpenTask<ImageItem, Output, State> {
  const input = createImageInput(ACTION, urlHosts);
  return {
    notes: [],

    async preprocess(request, context) {
      const { threshold } = readParameters(ObjectDetectionParameters, request.data["parameters"], {
        action: ACTION,
        warn: context.warn,
        ignored: IGNORED_IMAGE_PARAMETERS,
      });
      const { items, isList } = await input.readAll(request, context, (image, name) =>
        vision.read(image, { action: ACTION, name }),
      );
      return { items, state: { isList, threshold: threshold ?? THRESHOLD } };
    },

    async inference(items) {
      const images = items.map(({ pixels }) => pixels);
      const [logits, boxes] = await vision.forward(images, outputs); // [B, Q, L], [B, Q, 4]
      return images.map(({ original }, b) => ({
        logits: rowOf(logits, b),
        boxes: rowOf(boxes, b),
        original,
      }));
    },

    postprocess({ isList, threshold }, results): ObjectDetectionAnswer {
      const answers = results.map(({ logits, boxes, original }) => {
        const options = {
          threshold,
          ...original,
          focalPairs: focalPairs(config, boxes.length / 4),
        };
        return toDetections(logits, boxes, options).map(
          ({ score, label, box }): DetectedObject => ({
            score,
            label: String(config.id2label?.[label] ?? `LABEL_${label}`),
            box,
          }),
        );
      });
      return isList ? answers : answers.flat();
    },

    dispose: () => vision.dispose(),
  };
}

function focalPairs({ model_type }: ModelConfig, queries: number): number | undefined {
  const most = FOCAL_PAIRS[model_type ?? ""];
  return most === undefined || Number.isFinite(most) ? most : queries;
}
