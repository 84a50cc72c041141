/**
 * Image segmentation: an image to the masks of its parts.
 *
 * Numbers and shapes follow `ImageSegmentationPipeline` of Python's transformers (4.57 and 5.18); masks are grey PNG files
 * in base64, of the original image's size, 255 where the part is. A network that only parts foreground from background
 * answers one segment, `"foreground"`, whose mask has every shade.
 *
 * @example
 * ```jsonc
 * // tiny-segformer in fp32, of the tests, and a file of 64 × 64 pixels.
 * {"inputs": "iVBORw0KGgo…"}
 * // → [{"score": null, "label": "triangle", "mask": "iVBORw0KGgoAAAAN…"}, {"score": null, "label": "star", "mask": "iVBORw0KGgoAAAAN…"}]
 * ```
 */
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import { toPngBase64 } from "../media/png.ts";
import { resample } from "../media/resample.ts";
import type { ModelConfig } from "../model/folder.ts";
import { rowOf } from "../model/encoder.ts";
import { loadVision, type ImageItem, type Pixels, type Vision } from "../model/vision.ts";
import {
  createImageInput,
  EXAMPLE_IMAGE,
  IGNORED_IMAGE_PARAMETERS,
  ImageInputs,
} from "./image-input.ts";
import { invalidInput, readParameters } from "./inputs.ts";
import { toMatte } from "./matte.ts";
import {
  mergeQueries,
  readPlanes,
  readQueries,
  toInstances,
  toPanoptic,
  toSemantic,
  type Segment,
} from "./segments.ts";
import type { OpenTask, Task, TaskModel } from "./task.ts";

const ACTION = "segment the image";

const wantedSubtask = `"semantic", "instance" or "panoptic"`;
const wantedShare = "a number from 0 to 1";
const Share = z.number(wantedShare).min(0, wantedShare).max(1, wantedShare).nullish();

export const ImageSegmentationParameters = z.object({
  /** What to segment into; by default the first of panoptic, instance and semantic that the model is for. */
  subtask: z.enum(["semantic", "instance", "panoptic"], wantedSubtask).nullish(),
  /** Segments with a score above it are answered; 0.9 by default. Not for semantic segmentation. */
  threshold: Share,
  /** The probability from which on a pixel belongs to a mask; 0.5 by default. Not for semantic segmentation. */
  mask_threshold: Share,
  /** The share of its mask that a segment must keep among the others; 0.5 by default. Not for semantic segmentation. */
  overlap_mask_area_threshold: Share,
});
export type ImageSegmentationParameters = z.infer<typeof ImageSegmentationParameters>;

/** A part of the image; the score is `null` where the model decides for each pixel by itself. */
export type ImageSegment = {
  readonly score: number | null;
  readonly label: string;
  /** A PNG in base64. */
  readonly mask: string;
};
/** Of a list of images a list of such. */
export type ImageSegmentationAnswer =
  | readonly ImageSegment[]
  | readonly (readonly ImageSegment[])[];

export const imageSegmentation: Task = {
  inputs: ImageInputs,
  parameters: ImageSegmentationParameters,
  example: { inputs: EXAMPLE_IMAGE },
  answersListsByElement: true,
  measure: "items",
  async open(model) {
    const vision = await loadVision(model);
    return openImageSegmentation(vision, findFamily(vision, model), model);
  },
};

type Subtask = NonNullable<ImageSegmentationParameters["subtask"]>;

/** What the network gives, with the names of its outputs; the first subtask is the default. */
type Family =
  | { readonly kind: "grid"; readonly outputs: readonly [logits: string] }
  | { readonly kind: "matte"; readonly outputs: readonly [mask: string] }
  | { readonly kind: "queries"; readonly outputs: readonly [classes: string, masks: string] };

const SUBTASKS: Readonly<Record<Family["kind"], readonly Subtask[]>> = {
  grid: ["semantic"],
  matte: ["semantic"],
  queries: ["panoptic", "instance", "semantic"],
};

function findFamily({ outputs }: Vision, { weights }: TaskModel): Family {
  const has = (name: string, rank: number) => outputs.get(name) === rank;
  if (has("class_queries_logits", 3) && has("masks_queries_logits", 4))
    return { kind: "queries", outputs: ["class_queries_logits", "masks_queries_logits"] };
  if (has("logits", 3) && has("pred_masks", 4))
    return { kind: "queries", outputs: ["logits", "pred_masks"] };
  if (has("logits", 4)) return { kind: "grid", outputs: ["logits"] };
  const [first] = outputs.keys();
  if (first !== undefined && (has(first, 4) || has(first, 3)) && first !== "logits")
    return { kind: "matte", outputs: [first] };
  const described = [...outputs].map(([name, rank]) => `"${name}" of ${rank} dimensions`);
  throw new RuntimeError(
    "MODEL_INVALID",
    `Cannot serve image-segmentation with ${weights.files[0] ?? "this graph"}: its outputs are ${described.join(", ")}, wanted "logits" of 4, or classes and masks of queries`,
  );
}

/** An image's part of the outputs, and the image's size. */
interface Output {
  readonly original: Pixels["original"];
  readonly rows: readonly { readonly data: Float32Array; readonly dims: readonly number[] }[];
}

interface State {
  readonly isList: boolean;
  readonly subtask: Subtask;
  readonly threshold: number;
  readonly maskThreshold: number;
  readonly overlap: number;
}

function openImageSegmentation(
  vision: Vision,
  family: Family,
  { folder: { config }, urlHosts }: TaskModel,
): OpenTask<ImageItem, Output, State> {
  const input = createImageInput(ACTION, urlHosts);
  const subtasks = SUBTASKS[family.kind];
  return {
    notes: [],

    async preprocess(request, context) {
      const parameters = readParameters(ImageSegmentationParameters, request.data["parameters"], {
        action: ACTION,
        warn: context.warn,
        ignored: IGNORED_IMAGE_PARAMETERS,
      });
      const subtask = parameters.subtask ?? subtasks[0] ?? "semantic";
      if (!subtasks.includes(subtask)) {
        const able = subtasks.map((name) => `"${name}"`).join(", ");
        throw invalidInput(ACTION, `"subtask" is "${subtask}", this model is for ${able}`);
      }
      const { items, isList } = await input.readAll(request, context, (image, name) =>
        vision.read(image, { action: ACTION, name }),
      );
      const { threshold, mask_threshold, overlap_mask_area_threshold } = parameters;
      return {
        items,
        state: {
          isList,
          subtask,
          threshold: threshold ?? 0.9,
          maskThreshold: mask_threshold ?? 0.5,
          overlap: overlap_mask_area_threshold ?? 0.5,
        },
      };
    },

    async inference(items) {
      const images = items.map(({ pixels }) => pixels);
      const tensors = await vision.forward(images, [...family.outputs]);
      return images.map(({ original }, b) => ({
        original,
        rows: tensors.map((tensor) => ({ data: rowOf(tensor, b), dims: tensor.dims.slice(1) })),
      }));
    },

    async postprocess(state, results): Promise<ImageSegmentationAnswer> {
      const answers: ImageSegment[][] = [];
      for (const output of results) answers.push(await toAnswer(family, output, state, config));
      return state.isList ? answers : answers.flat();
    },

    dispose: () => vision.dispose(),
  };
}

async function toAnswer(
  { kind }: Family,
  output: Output,
  state: State,
  config: ModelConfig,
): Promise<ImageSegment[]> {
  const { original, rows } = output;
  if (kind === "matte") {
    const [row] = rows;
    const matte = toMatte({ data: row?.data ?? NOTHING, dims: [1, ...(row?.dims ?? [])] }, 0);
    const { width, height } = original;
    const mask = await toPngBase64(resample(matte, width, height, "bilinear"));
    return [{ score: null, label: "foreground", mask }];
  }
  const answer: ImageSegment[] = [];
  for (const { label, score, paint } of toSegments(kind, output, state, config)) {
    answer.push({
      score,
      label: String(config.id2label?.[label] ?? `LABEL_${label}`),
      mask: await toPngBase64({ data: paint(), ...original, channels: 1 }),
    });
  }
  return answer;
}

const NOTHING = new Float32Array(0);

function toSegments(
  kind: "grid" | "queries",
  { rows, original }: Output,
  state: State,
  { model_type }: ModelConfig,
): Segment[] {
  const [first, second] = rows;
  const planes = kind === "grid" ? first : second;
  const maps = readPlanes(planes?.data ?? NOTHING, planes?.dims ?? []);
  if (kind === "grid") return toSemantic(maps, original);
  const isMask2Former = model_type === "mask2former";
  const queries = readQueries(first?.data ?? NOTHING, maps, isMask2Former ? 384 : undefined);
  if (state.subtask === "semantic") return toSemantic(mergeQueries(queries), original);
  // DETR's instances are its panoptic segments.
  const hasOwnInstances = isMask2Former || model_type === "maskformer";
  return state.subtask === "instance" && hasOwnInstances
    ? toInstances(queries, original, state)
    : toPanoptic(queries, original, state);
}
