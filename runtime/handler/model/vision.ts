/**
 * An image network and its image processor, loaded with transformers.js from a local folder and from nowhere else.
 *
 * The processor makes pixel values of one image at a time, so that images of equal size, whoever sent them, can share a
 * forward pass. Letters: `B` images of a batch, `C` channels, `H` height, `W` width. Tasks bring the meaning: which
 * output they read. A task with a text beside the image takes `loadImageReader` and feeds its own network.
 */
import {
  AutoImageProcessor,
  PreTrainedModel,
  Tensor,
  type RawImage,
} from "@huggingface/transformers";

import { RuntimeError } from "../../errors.ts";
import { assertHasFile } from "./folder.ts";
import { MOST_PREPARED_PIXELS, shownName, type DecodeOptions } from "../media/image.ts";
import type { Item, TaskModel } from "../tasks/task.ts";
import { invalidInput } from "../tasks/inputs.ts";
import {
  confineLibrary,
  loadNetwork,
  toFloats,
  type AutoModelClass,
  type FloatTensor,
  type Session,
} from "./encoder.ts";
import { loadFailure } from "./load-failure.ts";
import { SizeConfig, targetSize } from "./image-size.ts";

type LibraryProcessor = Awaited<ReturnType<typeof AutoImageProcessor.from_pretrained>>;

/** An image as a network reads it. */
export interface Pixels {
  /** `[C, H, W]`, row-major. */
  readonly data: Float32Array;
  readonly dims: readonly [C: number, H: number, W: number];
  /** The upright image, before anything was done to it. */
  readonly original: { readonly width: number; readonly height: number };
  /** After resizing and cropping, before padding. */
  readonly reshaped: { readonly width: number; readonly height: number };
}

/** Makes of an image what its network reads. */
export interface ImageReader {
  /** The library's own, for what else it knows (`config`, `size`). */
  readonly processor: LibraryProcessor;
  /** @throws `INVALID_INPUT` when the image would be resized to nothing, or beyond all bounds. */
  read(image: RawImage, options: DecodeOptions): Promise<Pixels>;
}

/** An image of a forward pass. */
export interface ImageItem extends Required<Item> {
  readonly pixels: Pixels;
}

export interface Vision {
  readonly reader: ImageReader;
  /** The one size that the graph takes, where it says so. */
  readonly fixedSize: { readonly width: number; readonly height: number } | undefined;
  /**
   * Prepares an image, and tells with whom it can share a forward pass.
   *
   * @throws `INVALID_INPUT` when it cannot be made a size that the graph takes.
   */
  read(image: RawImage, options: DecodeOptions): Promise<ImageItem>;
  /** The graph's outputs with their number of dimensions, in the graph's order. */
  readonly outputs: ReadonlyMap<string, number>;
  /**
   * Runs the graph once over images of equal size.
   *
   * @returns The outputs in the order of their names; `rowOf(output, b)` of `encoder.ts` is that of `images[b]`.
   */
  forward<const N extends readonly string[]>(
    images: readonly Pixels[],
    outputs: N,
  ): Promise<{ [K in keyof N]: FloatTensor }>;
  dispose(): Promise<void>;
}

/** Most networks for images are one graph that is fed pixels: the library need not know their kind. */
const ONE_GRAPH: AutoModelClass = {
  supports: () => false,
  from_pretrained: PreTrainedModel.from_pretrained.bind(PreTrainedModel),
};

/**
 * Loads the processor and the weights.
 *
 * @throws `MODEL_INVALID` when a file is missing or broken.
 */
export async function loadVision(model: TaskModel): Promise<Vision> {
  const reader = await loadImageReader(model);
  const network = await loadNetwork(model, ONE_GRAPH);
  const session: Session = network.sessions["model"];
  const { inputNames, outputMetadata } = session;
  const pixelInput = inputNames.includes("pixel_values") ? "pixel_values" : inputNames[0];
  const foreign = inputNames.filter((name) => name !== pixelInput && name !== "pixel_mask");
  if (pixelInput === undefined || foreign.length > 0) {
    await network.dispose();
    throw new RuntimeError(
      "MODEL_INVALID",
      `Cannot load ${model.weights.files[0] ?? "the graph"}: its inputs are ${inputNames.join(", ")}, wanted pixel values alone`,
    );
  }
  const [B, , H, W] = session.inputMetadata[inputNames.indexOf(pixelInput)]?.shape ?? [];
  const fixedSize =
    typeof W === "number" && typeof H === "number" ? { width: W, height: H } : undefined;
  const mask = inputNames.indexOf("pixel_mask");
  const maskShape = mask === -1 ? undefined : (session.inputMetadata[mask]?.shape ?? []);

  return {
    reader,
    fixedSize,

    async read(image, options) {
      const pixels = await reader.read(image, options);
      const [, height, width] = pixels.dims;
      if (fixedSize !== undefined && (fixedSize.width !== width || fixedSize.height !== height)) {
        const wanted = `this model takes ${fixedSize.width} × ${fixedSize.height}`;
        const problem = `${shownName(options)} is ${width} × ${height} pixels large as the network would see it, ${wanted}`;
        throw invalidInput(options.action, problem);
      }
      return { ...imageCost(pixels), ...(B === 1 && { group: Symbol("alone") }), pixels };
    },

    outputs: new Map(outputMetadata.map(({ name, shape }) => [name, shape?.length ?? 0])),

    async forward<const N extends readonly string[]>(images: readonly Pixels[], names: N) {
      const pixels = stackPixels(images);
      const outputs: Record<string, Tensor> = await network({
        [pixelInput]: pixels,
        ...(maskShape && { pixel_mask: fullMask(pixels, maskShape) }),
      });
      const floats = names.map((name) => {
        const tensor = outputs[name];
        if (tensor === undefined) throw new Error(`the graph gave no output "${name}"`);
        return toFloats(tensor);
      });
      return floats as { [K in keyof N]: FloatTensor }; // map keeps the places
    },

    async dispose() {
      await network.dispose();
    },
  };
}

const CONFIG_FILE = "preprocessor_config.json";

/**
 * Loads the image processor alone.
 *
 * @throws `MODEL_INVALID` when its file is missing or broken.
 */
export async function loadImageReader({ folder }: TaskModel): Promise<ImageReader> {
  confineLibrary();
  assertHasFile(folder, CONFIG_FILE, "the image processor", "AutoImageProcessor");
  let processor: LibraryProcessor;
  try {
    processor = await AutoImageProcessor.from_pretrained(folder.path, { local_files_only: true });
  } catch (error) {
    throw loadFailure("the image processor", folder.path, error);
  }
  sizeAsPython(processor);

  return {
    processor,
    async read(image, options) {
      const { width, height } = image;
      try {
        if (!processor.do_resize && width * height > MOST_PREPARED_PIXELS) {
          throw new RangeError(`${width} × ${height} pixels are more than ${MOST_PREPARED_PIXELS}`);
        }
        const result = await processor([image]);
        return toPixels(result, { width, height });
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        const problem = `${shownName(options)} cannot be made the model's size: ${error.message}`;
        throw invalidInput(options.action, problem, error);
      }
    },
  };
}

/** Puts Python's rules for sizes before the library's. */
function sizeAsPython(processor: LibraryProcessor): void {
  const config = SizeConfig.parse(processor.config);
  const original = processor.get_resize_output_image_size.bind(processor);
  processor.get_resize_output_image_size = (image: RawImage, size: unknown): [number, number] => {
    const [width, height] =
      targetSize([image.width, image.height], size, config) ?? original(image, size);
    return [width, height];
  };
  // What transformers 5 calls the window that Swin2SR pads to.
  if (config.image_processor_type?.startsWith("Swin2SR") === true) {
    processor.pad_size ??= config.size_divisor ?? 8;
  }
}

interface Processed {
  readonly pixel_values: Tensor;
  readonly reshaped_input_sizes: readonly (readonly [number, number])[];
}

function toPixels(
  { pixel_values, reshaped_input_sizes }: Processed,
  original: Pixels["original"],
): Pixels {
  const [B, C, H, W, ...more] = pixel_values.dims;
  const { data } = toFloats(pixel_values);
  if (B !== 1 || C === undefined || H === undefined || W === undefined || more.length > 0) {
    throw new Error(`the image processor made pixel values of ${pixel_values.dims.join(" × ")}`);
  }
  const [height, width] = reshaped_input_sizes[0] ?? [H, W];
  return { data, dims: [C, H, W], original, reshaped: { width, height } };
}

/** What an image costs and whom it can share a forward pass with: a patch of 16 × 16 pixels counts as a token. */
export function imageCost({ dims: [, H, W] }: Pixels): Required<Item> {
  return { tokens: Math.ceil((H * W) / 256), group: `${W}x${H}` };
}

/** Images of equal size as one tensor `[B, C, H, W]`. */
export function stackPixels(images: readonly Pixels[]): Tensor {
  const [first] = images;
  if (first === undefined) throw new RangeError("no images to stack");
  const size = first.data.length;
  const data = new Float32Array(size * images.length);
  for (const [b, image] of images.entries()) data.set(image.data, b * size);
  return new Tensor("float32", data, [images.length, ...first.dims]);
}

/** All ones, as images share a pass only when none needs padding; exports may fix the mask's size (64 × 64). */
function fullMask(pixels: Tensor, shape: readonly unknown[]): Tensor {
  const [B = 1, , H = 1, W = 1] = pixels.dims;
  const [height, width] = [shape[1], shape[2]].map((size, axis) =>
    typeof size === "number" ? size : axis === 0 ? H : W,
  );
  const dims = [B, height ?? H, width ?? W];
  const count = dims.reduce((product, size) => product * size, 1);
  return new Tensor("int64", new BigInt64Array(count).fill(1n), dims);
}
