/**
 * To which size an image is made before a network reads it, as Python's image processors decide it.
 *
 * transformers.js rounds otherwise in places (a longest edge that binds, sizes that YOLOS cuts to patches) and reads a
 * bare number as a square to fit into, where Python means an exact square, or the shortest edge. Whatever is not told
 * apart here stays with the library: DPT's aspect ratio, size divisors alone, a longest edge alone.
 *
 * Sources: `image_transforms.py` and `models/{detr,yolos,maskformer}/image_processing_*.py` of transformers 4.57 and 5.18.
 */
import { z } from "zod";

/** Width, then height, as the library has it. */
export type Size = readonly [width: number, height: number];

/** What decides the size, of `preprocessor_config.json`. */
export const SizeConfig = z.looseObject({
  image_processor_type: z.string().nullish(),
  feature_extractor_type: z.string().nullish(),
  max_size: z.number().nullish(),
  size_divisor: z.number().nullish(),
  size_divisibility: z.number().nullish(),
  keep_aspect_ratio: z.boolean().nullish(),
});
export type SizeConfig = z.infer<typeof SizeConfig>;

const Edges = z.object({
  shortest_edge: z.number().nullish(),
  longest_edge: z.number().nullish(),
  height: z.number().nullish(),
  width: z.number().nullish(),
  max_height: z.number().nullish(),
  max_width: z.number().nullish(),
});
type Edges = z.infer<typeof Edges>;

/** Processors that fit an image between a shortest and a longest edge. */
const DETECTORS =
  /^(?:\w*Detr|Yolos|GroundingDino|DFine|MaskFormer|Mask2Former|OneFormer)(?![a-z])/;
/** Processors for whom a bare number is the shortest edge (`default_to_square=False`). */
const SHORTEST_EDGE =
  /^(?:CLIP|ChineseCLIP|Bit|ConvNext|Levit|MobileNetV1|MobileNetV2|MobileViT|PoolFormer|VideoMAE|Vivit|XCLIP)(?![a-z])/;
/** The longest edge where a detector's configuration names none. */
const DETECTOR_LONGEST_EDGE = 1333;

/**
 * The size to resize to.
 *
 * @param size `size` of the configuration, or what the processor made of it.
 * @returns `undefined` where the library's own rule holds.
 */
export function targetSize(source: Size, size: unknown, config: SizeConfig): Size | undefined {
  const kind = config.image_processor_type ?? config.feature_extractor_type ?? "";
  const edges = toEdges(size, kind, config);
  if (edges === undefined) return undefined;
  const { shortest_edge, longest_edge, height, width, max_height, max_width } = edges;
  if (isGiven(shortest_edge) && isGiven(longest_edge)) {
    if (/^MaskFormer|^Mask2Former|^OneFormer/.test(kind)) {
      const divisor = config.size_divisor ?? config.size_divisibility ?? 1;
      return roundUp(withinLongest(source, shortest_edge, longest_edge), divisor);
    }
    const fitted = betweenEdges(source, shortest_edge, longest_edge);
    return kind.startsWith("Yolos") ? roundDown(fitted, 16) : fitted;
  }
  const isDivided = isGiven(config.size_divisor) || isGiven(config.size_divisibility);
  if (isGiven(shortest_edge)) return isDivided ? undefined : toShortest(source, shortest_edge);
  if (isGiven(height) && isGiven(width) && config.keep_aspect_ratio !== true)
    return [width, height];
  if (isGiven(max_height) && isGiven(max_width)) {
    const scale = Math.min(max_height / source[1], max_width / source[0]);
    return [Math.trunc(source[0] * scale), Math.trunc(source[1] * scale)];
  }
  return undefined;
}

function toEdges(size: unknown, kind: string, { max_size }: SizeConfig): Edges | undefined {
  if (typeof size !== "number") {
    const result = Edges.safeParse(size);
    return result.success ? result.data : undefined;
  }
  if (DETECTORS.test(kind))
    return { shortest_edge: size, longest_edge: max_size ?? DETECTOR_LONGEST_EDGE };
  return SHORTEST_EDGE.test(kind) ? { shortest_edge: size } : { height: size, width: size };
}

/** `get_resize_output_image_size(image, size, default_to_square=False)`. */
function toShortest([width, height]: Size, edge: number): Size {
  return width <= height
    ? [edge, Math.trunc((edge * height) / width)]
    : [Math.trunc((edge * width) / height), edge];
}

/** The same with `max_size`. */
function withinLongest(source: Size, edge: number, longest: number): Size {
  const [width, height] = toShortest(source, edge);
  const long = Math.max(width, height);
  if (long <= longest) return [width, height];
  const short = Math.trunc((longest * edge) / long);
  return width <= height ? [short, longest] : [longest, short];
}

/** `get_size_with_aspect_ratio`, which keeps the unrounded shortest edge for the other one. */
function betweenEdges([width, height]: Size, shortest: number, longest: number): Size {
  const short = Math.min(width, height);
  const long = Math.max(width, height);
  let edge = shortest;
  let exact = shortest;
  if ((long / short) * shortest > longest) {
    exact = (longest * short) / long;
    edge = roundHalfEven(exact);
  }
  if (short === edge) return [width, height];
  return width < height
    ? [edge, Math.trunc((exact * height) / width)]
    : [Math.trunc((exact * width) / height), edge];
}

function roundDown([width, height]: Size, divisor: number): Size {
  return [width - (width % divisor), height - (height % divisor)];
}

function roundUp([width, height]: Size, divisor: number): Size {
  return [Math.ceil(width / divisor) * divisor, Math.ceil(height / divisor) * divisor];
}

/** Python's `round`. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** JSON writes what is not there as null. */
function isGiven<T>(value: T | null | undefined): value is T {
  return value !== undefined && value !== null;
}
