/**
 * Images as ViLT reads them; transformers.js does not know its image processor.
 *
 * Follows `ViltImageProcessor` of Python's transformers 4.57: the shortest edge to a length, the longest to no more than
 * 1333/800 of it, both cut to patches. What is left for the library is to resize, rescale and normalize.
 */
import { z } from "zod";

import type { ImageReader } from "./vision.ts";

const Config = z.looseObject({
  do_resize: z.boolean().nullish(),
  do_normalize: z.boolean().nullish(),
  size: z
    .union([
      z.number().transform((edge) => ({ shortest_edge: edge })),
      z.looseObject({ shortest_edge: z.number() }),
    ])
    .nullish(),
  size_divisor: z.number().nullish(),
  resample: z.number().nullish(),
  image_mean: z.array(z.number()).nullish(),
  image_std: z.array(z.number()).nullish(),
});

/** Bicubic. */
const RESAMPLE = 3;
/** `IMAGENET_STANDARD_MEAN` and its deviation. */
const HALF = [0.5, 0.5, 0.5];

/** Makes a reader do what ViLT's does. Padding is left out: only images of equal size share a pass. */
export function readAsVilt({ processor }: ImageReader): void {
  const config = Config.catch({}).parse(processor.config);
  const edge = config.size?.shortest_edge ?? 384;
  const divisor = config.size_divisor ?? 32;
  processor.do_resize = config.do_resize ?? true;
  processor.do_normalize = config.do_normalize ?? true;
  processor.do_pad = false;
  processor.resample = config.resample ?? RESAMPLE;
  processor.image_mean = config.image_mean ?? HALF;
  processor.image_std = config.image_std ?? HALF;
  processor.get_resize_output_image_size = ({ width, height }) => [
    ...viltSize([width, height], edge, divisor),
  ];
}

/** `get_resize_output_image_size` of `image_processing_vilt.py`; width, then height. */
export function viltSize(
  [width, height]: readonly [number, number],
  edge: number,
  divisor: number,
): [width: number, height: number] {
  const most = Math.trunc((1333 / 800) * edge);
  const scale = edge / Math.min(width, height);
  const exact = height < width ? [scale * width, edge] : [edge, scale * height];
  const longest = Math.max(...exact);
  const shrink = longest > most ? most / longest : 1;
  const [w = 0, h = 0] = exact.map((side) => {
    const whole = Math.trunc(side * shrink + 0.5);
    return Math.floor(whole / divisor) * divisor;
  });
  return [w, h];
}
