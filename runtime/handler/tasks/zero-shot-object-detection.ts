/**
 * Zero-shot object detection: where in an image some labels are to be seen.
 *
 * Numbers follow `ZeroShotObjectDetectionPipeline` of Python's transformers (4.57 and 5.18), boxes included: whole pixels
 * of the image as it was sent, cut towards zero, and over the edge where the model says so. OWL-ViT reads all labels of
 * an image together, as they do not see each other; a model whose labels do (Grounding DINO) reads one at a time, as in
 * Python. Letters: `P` places where an object may be, `N` labels, `K` logits of a place.
 *
 * @example
 * ```jsonc
 * // test/fixtures/models/tiny-owlvit in fp32, whose weights are random, and an image of 64 × 64 pixels.
 * {"inputs": "iVBORw0KGgoA…", "parameters": {"candidate_labels": ["a circle", "the star"], "top_k": 1}}
 * // → [{"score": 0.556610676348805, "label": "the star", "box": {"xmin": 62, "ymin": 63, "xmax": 62, "ymax": 64}}]
 * ```
 */
import { AutoModelForZeroShotObjectDetection, type RawImage } from "@huggingface/transformers";
import { z } from "zod";

import { PillowImage } from "../media/image.ts";
import { rowOf, type FloatTensor } from "../model/encoder.ts";
import { chunksOf } from "../model/similarity.ts";
import type { Encoding } from "../model/truncation.ts";
import { imageCost, stackPixels, type Pixels } from "../model/vision.ts";
import { loadVisionText } from "../model/vision-text.ts";
import { CandidateLabels } from "./candidate-labels.ts";
import { createImageInput, EXAMPLE_IMAGE, IGNORED_IMAGE_PARAMETERS } from "./image-input.ts";
import { readParameters } from "./inputs.ts";
import { toBox, type Box } from "./detection.ts";
import { labelledImages, LabelledImageInputs, type LabelledImage } from "./labelled-image.ts";
import { findOutput } from "./outputs.ts";
import { sigmoid } from "./scores.ts";
import type { Item, OpenTask, Task, TaskContext, TaskModel } from "./task.ts";

const ACTION = "detect objects in the image";
const TASK = "zero-shot-object-detection";

const wantedThreshold = "a number from 0 to 1";
const wantedTopK = "a whole number of at least 1, or null for all";

export const ZeroShotObjectDetectionParameters = z.object({
  candidate_labels: CandidateLabels,
  /** Only what is more likely than this. */
  threshold: z
    .number(wantedThreshold)
    .min(0, wantedThreshold)
    .max(1, wantedThreshold)
    .nullish()
    .transform((given) => given ?? 0.1),
  /** How many, the likeliest first; by default all. */
  top_k: z.int(wantedTopK).positive(wantedTopK).nullish(),
});
type Parameters = z.output<typeof ZeroShotObjectDetectionParameters>;

export const zeroShotObjectDetection: Task = {
  inputs: LabelledImageInputs,
  parameters: ZeroShotObjectDetectionParameters,
  example: {
    inputs: EXAMPLE_IMAGE,
    parameters: { candidate_labels: ["a cat", "a dog", "a car"] },
  },
  answersListsByElement: true,
  measure: "items",
  open,
};

interface DetectionItem extends Item {
  readonly pixels: Pixels;
  readonly labels: readonly string[];
  readonly texts: readonly Encoding[];
  readonly threshold: number;
}

interface State {
  readonly isList: boolean;
  /** Per image. */
  readonly topK: readonly (number | undefined)[];
  readonly warn: TaskContext["warn"];
}

/** What was found in one image. */
interface Found {
  /** The likeliest first, at most `MOST_DETECTIONS`. */
  readonly detections: readonly Detection[];
  /** How many there were. */
  readonly count: number;
}

/** An answer of 1 MB. A threshold of 0 finds a million in one image: every label at every place. */
const MOST_DETECTIONS = 10_000;

type Detection = { readonly score: number; readonly label: string; readonly box: Box };
/** The likeliest first. */
export type ZeroShotObjectDetectionAnswer = readonly Detection[];

/** Model types whose logits are one per label: `K = N`. */
const READS_TOGETHER = new Set(["owlvit", "owlv2"]);

async function open(model: TaskModel): Promise<OpenTask<DetectionItem, Found, State>> {
  const kind = model.folder.config.model_type ?? "";
  const visionText = await loadVisionText(model, AutoModelForZeroShotObjectDetection, TASK);
  const { encoder, images } = visionText;
  findOutput(encoder, model, TASK, ["logits"], 3);
  findOutput(encoder, model, TASK, ["pred_boxes"], 3);
  const input = createImageInput(ACTION, model.urlHosts);
  const isSquare = kind === "owlv2";

  async function toItem(
    { value, name, labels: sent }: LabelledImage,
    context: TaskContext,
  ): Promise<{ readonly item: DetectionItem; readonly parameters: Parameters }> {
    const parameters = readParameters(ZeroShotObjectDetectionParameters, sent.parameters, {
      action: ACTION,
      warn: context.warn,
      elsewhere: sent.elsewhere,
      ignored: IGNORED_IMAGE_PARAMETERS,
    });
    const labels = parameters.candidate_labels;
    const texts = labels.map((label, index) =>
      visionText.encodeText(label, {
        action: ACTION,
        name: `candidate_labels[${index}]`,
        warn: context.warn,
      }),
    );
    const pixels = await input.read(value, name, context, async (image) => {
      const { width, height } = image;
      const read = await images.read(isSquare ? await padToSquare(image) : image, {
        action: ACTION,
        name,
      });
      return { ...read, original: { width, height } };
    });
    const item: DetectionItem = {
      tokens: imageCost(pixels).tokens,
      group: Symbol("an image"), // exports hold no more: what is behind the boxes takes one
      pixels,
      labels,
      texts,
      threshold: parameters.threshold,
    };
    return { item, parameters };
  }

  async function detect(item: DetectionItem, signal: AbortSignal): Promise<Found> {
    const { pixels, texts, labels, threshold } = item;
    const { width, height } = pixels.original;
    const side = Math.max(width, height);
    const scale = isSquare ? { width: side, height: side } : { width, height };
    let found: Detection[] = [];
    let count = 0;
    const places = [...texts.keys()];
    const together = READS_TOGETHER.has(kind);
    const chunks = together ? chunksOf(places, texts) : places.map((place) => [place]);
    for (const chunk of chunks) {
      signal.throwIfAborted();
      const encodings = chunk.flatMap((place) => texts[place] ?? []);
      const [logits, boxes] = await encoder.run(encodings, ["logits", "pred_boxes"], {
        pixel_values: stackPixels([pixels]),
      }); // [1, P, K], [1, P, 4]
      for (const [n, place] of chunk.entries()) {
        const scores = sigmoid(together ? columnOf(logits, n) : largestOf(logits));
        for (const [p, score] of scores.entries()) {
          if (!(score > threshold)) continue;
          const box = toBox(rowOf(boxes, 0).subarray(p * 4, p * 4 + 4), scale);
          found.push({ score, label: labels[place] ?? "", box });
          count++;
        }
        if (found.length > 2 * MOST_DETECTIONS) found = likeliest(found);
      }
    }
    return { detections: likeliest(found), count };
  }

  return {
    notes: [],

    async preprocess(request, context) {
      const { images: sent, isList } = labelledImages(request, ACTION);
      const prepared = await Promise.all(sent.map((image) => toItem(image, context)));
      return {
        items: prepared.map(({ item }) => item),
        state: {
          isList,
          topK: prepared.map(({ parameters }) => parameters.top_k ?? undefined),
          warn: context.warn,
        },
      };
    },

    async inference(items, signal) {
      const results: Found[] = [];
      for (const item of items) results.push(await detect(item, signal));
      return results;
    },

    postprocess({ isList, topK, warn }, results) {
      const answers = results.map(({ detections, count }, place): ZeroShotObjectDetectionAnswer => {
        const wanted = Math.min(count, topK[place] ?? Infinity);
        if (wanted > MOST_DETECTIONS)
          warn(`Only the ${MOST_DETECTIONS} likeliest of ${count} objects are answered`);
        return detections.slice(0, wanted);
      });
      return isList ? answers : (answers[0] ?? []);
    },

    dispose: () => encoder.dispose(),
  };
}

/** The best of them, in their order; of equal ones the earlier first. */
function likeliest(found: readonly Detection[]): Detection[] {
  return found.toSorted((a, b) => b.score - a.score).slice(0, MOST_DETECTIONS);
}

/** Logits `[P]` of one label. */
function columnOf({ data, dims }: FloatTensor, n: number): Float32Array {
  const [, P = 0, K = 0] = dims;
  return Float32Array.from({ length: P }, (_, p) => data[p * K + n] ?? 0);
}

/** The largest of each place's logits, which stand for the tokens of the one label: `[P]`. */
function largestOf({ data, dims }: FloatTensor): Float32Array {
  const [, P = 0, K = 0] = dims;
  return Float32Array.from({ length: P }, (_, p) =>
    data.subarray(p * K, (p + 1) * K).reduce((a, b) => Math.max(a, b), -Infinity),
  );
}

/** Well above what any OWLv2 reads (1008): a larger image is made smaller before it is padded. */
const MOST_SIDE = 4096;

/** Black below or beside the image: OWLv2 reads squares, and transformers.js would distort the image instead. */
async function padToSquare(image: RawImage): Promise<RawImage> {
  const factor = Math.min(1, MOST_SIDE / Math.max(image.width, image.height));
  const [w = 1, h = 1] = [image.width, image.height].map((edge) =>
    Math.max(1, Math.round(edge * factor)),
  );
  const { data, width, height, channels } = factor === 1 ? image : await image.resize(w, h);
  const side = Math.max(width, height);
  const square = new Uint8ClampedArray(side * side * channels);
  for (let y = 0; y < height; y++) {
    square.set(
      data.subarray(y * width * channels, (y + 1) * width * channels),
      y * side * channels,
    );
  }
  return new PillowImage({ data: square, width: side, height: side, channels });
}
