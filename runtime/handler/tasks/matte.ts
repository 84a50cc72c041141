/**
 * From the output of a network that parts foreground from background (MODNet, RMBG, BEN, BiRefNet) to an alpha channel.
 *
 * Follows `ImageSegmentationPipeline` of transformers.js 4.3, as Python has no pipeline for these models. Whoever needs the
 * mask in the original image's size stretches it with Pillow's bilinear filter.
 */
import type { Raster } from "../media/resample.ts";
import type { FloatTensor } from "../model/encoder.ts";
import { rowOf } from "../model/encoder.ts";

/**
 * Room for rounding when telling whether the graph ends with a sigmoid
 * (https://github.com/microsoft/onnxruntime/issues/23943).
 */
const EPSILON = 1e-5;

/**
 * The mask of one image of a batch, of the network's size.
 *
 * @param output `[B, 1, H, W]` or `[B, H, W]`: probabilities, or logits.
 * @throws Error where the output has several channels: no such network.
 */
export function toMatte(output: FloatTensor, b: number): Raster {
  const [H = 0, W = 0] = output.dims.slice(-2);
  const values = rowOf(output, b);
  if (values.length !== H * W) {
    throw new Error(`a mask of ${output.dims.slice(1).join(" × ")} was wanted with one channel`);
  }
  const isProbability = values.every((value) => value >= -EPSILON && value <= 1 + EPSILON);
  const mask = new Uint8ClampedArray(H * W);
  for (const [i, value] of values.entries()) {
    const probability = isProbability ? value : 1 / (1 + Math.exp(-value));
    mask[i] = Math.floor(Math.max(0, Math.fround(probability * 255))); // cut, not rounded, as a cast to bytes
  }
  return { data: mask, width: W, height: H, channels: 1 };
}
