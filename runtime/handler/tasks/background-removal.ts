/**
 * Background removal: an image to the same image with an alpha channel.
 *
 * Follows `BackgroundRemovalPipeline` of transformers.js 4.3, as Python has none. The answer is a PNG file, for a list of
 * images a list of such in base64.
 *
 * @example
 * ```jsonc
 * // tiny-modnet in fp32, of the tests, and a file of 64 × 64 pixels.
 * {"inputs": "iVBORw0KGgo…"}
 * // → a PNG file of 64 × 64 pixels, RGBA
 * ```
 */
import { z } from "zod";

import type { Media } from "../../inference.ts";
import { toPngBase64, toPngBlob } from "../media/png.ts";
import { resample, type Raster } from "../media/resample.ts";
import { loadVision, type ImageItem, type Vision } from "../model/vision.ts";
import {
  createImageInput,
  EXAMPLE_IMAGE,
  IGNORED_IMAGE_PARAMETERS,
  ImageInputs,
} from "./image-input.ts";
import { readParameters } from "./inputs.ts";
import { toMatte } from "./matte.ts";
import type { OpenTask, Task, TaskModel } from "./task.ts";

const ACTION = "remove the background of the image";

export const BackgroundRemovalParameters = z.object({});
export type BackgroundRemovalParameters = z.infer<typeof BackgroundRemovalParameters>;

/** A PNG file; of a list of images a list of such in base64. */
export type BackgroundRemovalAnswer = Blob | readonly string[];

export const backgroundRemoval: Task = {
  inputs: ImageInputs,
  parameters: BackgroundRemovalParameters,
  example: { inputs: EXAMPLE_IMAGE },
  answersListsByElement: true,
  measure: "items",
  async open(model) {
    const vision = await loadVision(model);
    return openBackgroundRemoval(vision, [...vision.outputs.keys()][0] ?? "output", model);
  },
};

/** What is needed to decode an image again: its pixels are not kept while others are prepared. */
interface Original {
  readonly file: Media;
  readonly name: string;
}

interface PictureItem extends ImageItem, Original {}

interface Masked extends Original {
  readonly matte: Raster;
}

interface State {
  readonly isList: boolean;
  readonly signal: AbortSignal;
}

function openBackgroundRemoval(
  vision: Vision,
  output: string,
  { urlHosts }: TaskModel,
): OpenTask<PictureItem, Masked, State> {
  const input = createImageInput(ACTION, urlHosts);
  return {
    notes: [],

    async preprocess(request, context) {
      readParameters(BackgroundRemovalParameters, request.data["parameters"], {
        action: ACTION,
        warn: context.warn,
        ignored: IGNORED_IMAGE_PARAMETERS,
      });
      const { items, isList } = await input.readAll(
        request,
        context,
        async (image, name, file) => ({
          ...(await vision.read(image, { action: ACTION, name })),
          file,
          name,
        }),
      );
      return { items, state: { isList, signal: context.signal } };
    },

    async inference(items) {
      const images = items.map(({ pixels }) => pixels);
      const [mask] = await vision.forward(images, [output]);
      return items.map(({ file, name }, b) => ({ file, name, matte: toMatte(mask, b) }));
    },

    async postprocess({ isList, signal }, results): Promise<BackgroundRemovalAnswer> {
      const [first] = results;
      const cutOut = <T>({ file, name, matte }: Masked, encode: (image: Raster) => Promise<T>) =>
        input.read(file, name, { signal }, (image) => encode(withAlpha(image, matte)));
      if (!isList && first !== undefined) return cutOut(first, toPngBlob);
      const files: string[] = [];
      for (const result of results) files.push(await cutOut(result, toPngBase64));
      return files;
    },

    dispose: () => vision.dispose(),
  };
}

function withAlpha({ data: rgb, width, height }: Raster, matte: Raster): Raster {
  const { data: alpha } = resample(matte, width, height, "bilinear");
  const data = new Uint8ClampedArray(width * height * 4);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      data[pixel * 4 + channel] = rgb[pixel * 3 + channel] ?? 0;
    }
    data[pixel * 4 + 3] = alpha[pixel] ?? 0;
  }
  return { data, width, height, channels: 4 };
}
