/**
 * Depth estimation: an image to the depth of its pixels.
 *
 * Numbers and shapes follow `DepthEstimationPipeline` of Python's transformers (4.57 and 5.18): the network's map
 * stretched to the original image with a bicubic filter, and the same as a grey PNG in base64, black where the least and
 * white where the largest number is. What the numbers are, metres or a scale of the model's own, is the model's affair.
 *
 * @example
 * ```jsonc
 * // tiny-glpn in fp32, of the tests, and a file of 64 × 64 pixels.
 * {"inputs": "iVBORw0KGgo…"}
 * // → {"predicted_depth": [[5.8326616287231445, 5.905252456665039, …], …], "depth": "iVBORw0KGgoAAAAN…"}: 64 rows of 64 numbers
 * ```
 */
import { z } from "zod";

import type { JsonValue } from "../../inference.ts";
import { shownName } from "../media/image.ts";
import { toPngBase64 } from "../media/png.ts";
import { rowOf } from "../model/encoder.ts";
import { loadVision, type ImageItem, type Vision } from "../model/vision.ts";
import { fromTensor } from "../output/tensor.ts";
import {
  createImageInput,
  EXAMPLE_IMAGE,
  IGNORED_IMAGE_PARAMETERS,
  ImageInputs,
} from "./image-input.ts";
import { invalidInput, readParameters } from "./inputs.ts";
import { interpolate, type Plane } from "./interpolate.ts";
import type { OpenTask, Task, TaskModel } from "./task.ts";

const ACTION = "estimate the depth of the image";

/** Numbers of more pixels, 20 characters each, come near the longest text that JavaScript can hold. */
const MOST_PIXELS = 16_777_216;

export const DepthEstimationParameters = z.object({});
export type DepthEstimationParameters = z.infer<typeof DepthEstimationParameters>;

export type Depth = {
  /** `[H][W]`, of the original image's size. */
  readonly predicted_depth: JsonValue;
  /** A PNG in base64, of the same size. */
  readonly depth: string;
};
/** Of a list of images a list of such. */
export type DepthEstimationAnswer = Depth | readonly Depth[];

export const depthEstimation: Task = {
  inputs: ImageInputs,
  parameters: DepthEstimationParameters,
  example: { inputs: EXAMPLE_IMAGE },
  answersListsByElement: true,
  measure: "items",
  async open(model) {
    const vision = await loadVision(model);
    const names = [...vision.outputs.keys()];
    const output =
      names.find((name) => name === "predicted_depth") ?? names[0] ?? "predicted_depth";
    return openDepthEstimation(vision, output, model);
  },
};

function openDepthEstimation(
  vision: Vision,
  output: string,
  { urlHosts }: TaskModel,
): OpenTask<ImageItem, Plane, { readonly isList: boolean }> {
  const input = createImageInput(ACTION, urlHosts);
  return {
    notes: [],

    async preprocess(request, context) {
      readParameters(DepthEstimationParameters, request.data["parameters"], {
        action: ACTION,
        warn: context.warn,
        ignored: IGNORED_IMAGE_PARAMETERS,
      });
      const { items, isList } = await input.readAll(request, context, (image, name) => {
        const { width, height } = image;
        if (width * height > MOST_PIXELS) {
          const problem = `is ${width} × ${height} pixels large, wanted at most ${MOST_PIXELS} pixels`;
          throw invalidInput(ACTION, `${shownName({ name })} ${problem}`);
        }
        return vision.read(image, { action: ACTION, name });
      });
      return { items, state: { isList } };
    },

    async inference(items) {
      const images = items.map(({ pixels }) => pixels);
      const [depth] = await vision.forward(images, [output]); // [B, H, W] or [B, 1, H, W]
      const [height = 0, width = 0] = depth.dims.slice(-2);
      return images.map(({ original }, b) => {
        const plane = { data: rowOf(depth, b), width, height };
        return interpolate(plane, original.width, original.height, "bicubic");
      });
    },

    async postprocess({ isList }, results): Promise<DepthEstimationAnswer> {
      const answers: Depth[] = [];
      for (const plane of results) {
        const { data, width, height } = plane;
        answers.push({
          predicted_depth: fromTensor({ data, dims: [height, width] }),
          depth: await toPngBase64({ data: toShades(plane), width, height, channels: 1 }),
        });
      }
      const [first] = answers;
      return isList || first === undefined ? answers : first;
    },

    dispose: () => vision.dispose(),
  };
}

/** From 0 at the least to 255 at the largest number, cut to whole shades; one shade for a flat map. */
function toShades({ data }: Plane): Uint8ClampedArray {
  let least = Infinity;
  let largest = -Infinity;
  for (const value of data) {
    if (value < least) least = value;
    if (value > largest) largest = value;
  }
  const f = Math.fround;
  const range = f(largest - least);
  const shades = new Uint8ClampedArray(data.length);
  if (!(range > 0)) return shades;
  for (const [i, value] of data.entries()) {
    shades[i] = Math.floor(f(f(f(value - least) / range) * 255));
  }
  return shades;
}
