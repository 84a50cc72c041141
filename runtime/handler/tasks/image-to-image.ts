/**
 * Image to image: an image to a better one, such as one of twice the size.
 *
 * Numbers follow `ImageToImagePipeline` of Python's transformers 4.57 (5 has dropped it). The network wants sizes that
 * its windows divide, so the image is continued by its mirror image at the right and the bottom; Python answers with
 * that rim, here it is cut off. The answer is a PNG file, for a list of images a list of such in base64.
 *
 * @example
 * ```jsonc
 * // tiny-swin2sr in fp32, of the tests, and a file of 64 × 64 pixels.
 * {"inputs": "iVBORw0KGgo…"}
 * // → a PNG file of 128 × 128 pixels
 * ```
 */
import { z } from "zod";

import type { JsonValue } from "../../inference.ts";
import { toPngBase64, toPngBlob } from "../media/png.ts";
import type { Raster } from "../media/resample.ts";
import { rowOf, type FloatTensor } from "../model/encoder.ts";
import { loadVision, type ImageItem, type Pixels, type Vision } from "../model/vision.ts";
import {
  createImageInput,
  EXAMPLE_IMAGE,
  IGNORED_IMAGE_PARAMETERS,
  ImageInputs,
} from "./image-input.ts";
import { readParameters } from "./inputs.ts";
import { findOutput } from "./outputs.ts";
import type { OpenTask, Task, TaskModel } from "./task.ts";

const ACTION = "make an image of the image";

export const ImageToImageParameters = z.object({});
export type ImageToImageParameters = z.infer<typeof ImageToImageParameters>;

/** What the clients' methods send for diffusion models, which these are not. */
const DIFFUSION_PARAMETERS = [
  "prompt",
  "negative_prompt",
  "guidance_scale",
  "num_inference_steps",
  "target_size",
] as const;

/** A PNG file; of a list of images a list of such in base64. */
export type ImageToImageAnswer = Blob | readonly string[];

export const imageToImage: Task = {
  inputs: ImageInputs,
  parameters: ImageToImageParameters,
  example: { inputs: EXAMPLE_IMAGE },
  answersListsByElement: true,
  measure: "items",
  async open(model) {
    const vision = await loadVision(model);
    const output = findOutput(vision, model, "image-to-image", ["reconstruction"], 4);
    const example = await makeExample(vision);
    return openImageToImage(vision, output, model, example);
  },
};

function openImageToImage(
  vision: Vision,
  output: string,
  { urlHosts }: TaskModel,
  example: JsonValue | undefined,
): OpenTask<ImageItem, Raster, { readonly isList: boolean }> {
  const input = createImageInput(ACTION, urlHosts);
  return {
    notes: [],
    ...(example !== undefined && { example }),

    async preprocess(request, context) {
      readParameters(ImageToImageParameters, request.data["parameters"], {
        action: ACTION,
        warn: context.warn,
        ignored: [...IGNORED_IMAGE_PARAMETERS, ...DIFFUSION_PARAMETERS],
      });
      const { items, isList } = await input.readAll(request, context, (image, name) =>
        vision.read(image, { action: ACTION, name }),
      );
      return { items, state: { isList } };
    },

    async inference(items) {
      const images = items.map(({ pixels }) => pixels);
      const [picture] = await vision.forward(images, [output]); // [B, C, H, W]
      return images.map((pixels, b) => toPicture(picture, b, pixels));
    },

    async postprocess({ isList }, results): Promise<ImageToImageAnswer> {
      const [first] = results;
      if (!isList && first !== undefined) return toPngBlob(first);
      const files: string[] = [];
      for (const picture of results) files.push(await toPngBase64(picture));
      return files;
    },

    dispose: () => vision.dispose(),
  };
}

/** A grey image for a graph that takes one size: nothing is resized for these networks. */
async function makeExample({ fixedSize }: Vision): Promise<JsonValue | undefined> {
  if (fixedSize === undefined) return undefined;
  const data = new Uint8Array(fixedSize.width * fixedSize.height).fill(128);
  return { inputs: await toPngBase64({ data, ...fixedSize, channels: 1 }) };
}

/** Numbers from 0 to 1 as bytes, rounded, without what was made of the padding. */
function toPicture(picture: FloatTensor, b: number, { dims, reshaped }: Pixels): Raster {
  const [channels = 3, H = 0, W = 0] = picture.dims.slice(1);
  const width = Math.round((reshaped.width * W) / dims[2]);
  const height = Math.round((reshaped.height * H) / dims[1]);
  const values = rowOf(picture, b);
  const data = new Uint8ClampedArray(width * height * channels);
  for (let channel = 0; channel < channels; channel++) {
    for (let y = 0; y < height; y++) {
      const row = (channel * H + y) * W;
      for (let x = 0; x < width; x++) {
        // The array clamps, and rounds halves to even as numpy does.
        data[(y * width + x) * channels + channel] = Math.fround((values[row + x] ?? 0) * 255);
      }
    }
  }
  return { data, width, height, channels };
}
