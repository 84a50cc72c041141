/**
 * From a segmenter's outputs to masks: `post_process_{semantic,instance,panoptic}_segmentation` of Python's image
 * processors (transformers 4.57 and 5.18).
 *
 * Two families. Segformer and its kin score each class at each place, on a coarse grid. DETR, MaskFormer and Mask2Former
 * have queries: each with a class, by a softmax with "no object" last, and a mask. Letters: `Q` queries, `L` classes.
 */
import { BAND_ROWS, interpolate, interpolateRows, type Plane } from "./interpolate.ts";
import { sigmoid, softmax, topIndices } from "./scores.ts";

/** A part of the image. */
export interface Segment {
  /** The index of its class. */
  readonly label: number;
  /** `null` where the model decides for each pixel, not for the part. */
  readonly score: number | null;
  /** Makes the mask: 255 where the part is, else 0; of the original image's size. One at a time: images are large. */
  readonly paint: () => Uint8ClampedArray;
}

/** The original image. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** What a model with queries gives for one image. */
export interface Queries {
  /** Scores of each query's classes after the softmax, the last one "no object". */
  readonly classes: readonly Float64Array[];
  /** Logits of each query's mask. */
  readonly masks: readonly Plane[];
}

export interface SegmentOptions {
  /** A query's class must score above it. */
  readonly threshold: number;
  /** Where a mask's weighted probability reaches it, the query claims the pixel. */
  readonly maskThreshold: number;
  /** A segment must keep more than this share of what its query claims. */
  readonly overlap: number;
}

/**
 * @param logits `[L, h, w]`.
 */
export function readPlanes(logits: Float32Array, dims: readonly number[]): Plane[] {
  const [count = 0, height = 0, width = 0] = dims;
  const size = height * width;
  return Array.from({ length: count }, (_, index) => ({
    data: logits.subarray(index * size, (index + 1) * size),
    width,
    height,
  }));
}

/**
 * @param logits `[Q, L + 1]`.
 * @param preparedSize Mask2Former's masks are brought to 384 × 384 first.
 */
export function readQueries(
  logits: Float32Array,
  masks: readonly Plane[],
  preparedSize?: number,
): Queries {
  const L = logits.length / masks.length;
  return {
    classes: masks.map((_, query) => softmax(logits.subarray(query * L, (query + 1) * L))),
    masks:
      preparedSize === undefined
        ? masks
        : masks.map((mask) => interpolate(mask, preparedSize, preparedSize, "bilinear")),
  };
}

/** Each pixel's best class; a segment for every class that is best somewhere, in the order of classes. */
export function toSemantic(classes: readonly Plane[], { width, height }: Size): Segment[] {
  const { winners, wins } = pickWinners(classes, { width, height });
  return classes.flatMap((_, label) =>
    (wins[label] ?? 0) > 0 ? [{ label, score: null, paint: painter(winners, label) }] : [],
  );
}

/** The same from queries: a class's map is the sum of the masks, each by the class's share of its query. */
export function mergeQueries({ classes, masks }: Queries): Plane[] {
  const probabilities = masks.map(({ data }) => sigmoid(data));
  const L = (classes[0]?.length ?? 1) - 1;
  return Array.from({ length: L }, (_, label): Plane => {
    const { width = 0, height = 0 } = masks[0] ?? {};
    const sums = new Float64Array(width * height);
    for (const [query, probability] of probabilities.entries()) {
      const share = classes[query]?.[label] ?? 0;
      for (let i = 0; i < sums.length; i++)
        sums[i] = (sums[i] ?? 0) + share * (probability[i] ?? 0);
    }
    return { data: Float32Array.from(sums), width, height };
  });
}

/**
 * A segment for each query that is sure of its class and keeps enough of its mask; each pixel goes to the query with the
 * largest weighted probability. Nothing is fused, as in the pipeline.
 */
export function toPanoptic(
  { classes, masks }: Queries,
  { width, height }: Size,
  { threshold, maskThreshold, overlap }: SegmentOptions,
): Segment[] {
  const kept = classes.flatMap((scores, query) => {
    const [label = 0] = topIndices(scores, 1);
    const score = Math.fround(scores[label] ?? 0);
    const mask = masks[query];
    const isObject = label !== scores.length - 1 && score > threshold;
    return isObject && mask !== undefined ? [{ label, score, mask }] : [];
  });
  const probabilities = kept.map(({ mask }): Plane => ({
    ...mask,
    data: Float32Array.from(sigmoid(mask.data)),
  }));
  const weights = kept.map(({ score }) => score);
  const claiming = { weights, maskThreshold };
  const { winners, wins, claims } = pickWinners(probabilities, { width, height }, claiming);
  return kept.flatMap(({ label, score }, index): Segment[] => {
    const claimed = claims[index] ?? 0;
    const won = wins[index] ?? 0;
    if (won === 0 || claimed === 0 || !(won / claimed > overlap)) return [];
    return [{ label, score: round6(score), paint: painter(winners, index) }];
  });
}

/**
 * Mask2Former's and MaskFormer's own rule for instances: the `Q` best pairs of query and class, each scored by its class
 * and by how sure its mask is; of overlapping ones the later, less sure one has the pixel, as in Python.
 */
export function toInstances(
  { classes, masks }: Queries,
  { width, height }: Size,
  { threshold }: Pick<SegmentOptions, "threshold">,
): Segment[] {
  const L = (classes[0]?.length ?? 1) - 1;
  const scores = Float64Array.from(classes.flatMap((row) => [...row.subarray(0, L)]));
  const found: { label: number; score: number }[] = [];
  const owners = new Int32Array(width * height).fill(-1);
  for (const pair of topIndices(scores, masks.length)) {
    const mask = masks[Math.floor(pair / L)];
    if (mask === undefined) continue;
    const score = Math.fround((scores[pair] ?? 0) * sureness(mask.data));
    const inside = { ...mask, data: mask.data.map((value) => (value > 0 ? 1 : 0)) };
    const { data } = interpolate(inside, width, height, "nearest");
    if (score < threshold || data.every((value) => value === 0)) continue;
    for (let i = 0; i < data.length; i++) if (data[i] === 1) owners[i] = found.length;
    found.push({ label: pair % L, score });
  }
  return found.map(({ label, score }, index) => ({
    label,
    score: round6(score),
    paint: painter(owners, index),
  }));
}

/** The mean probability inside a mask. */
function sureness(logits: Float32Array): number {
  let sum = 0;
  let count = 0;
  for (const logit of logits) {
    if (!(logit > 0)) continue;
    sum += 1 / (1 + Math.exp(-logit));
    count++;
  }
  return sum / (count + 1e-6);
}

interface Winners {
  /** The map of each pixel. */
  readonly winners: Int32Array;
  /** How many pixels each map has. */
  readonly wins: readonly number[];
  /** How many pixels of each map reach `maskThreshold`. */
  readonly claims: readonly number[];
}

/**
 * Which map, stretched and weighted, is largest at each pixel; of equal ones the first.
 *
 * Some rows of all maps at a time, as hundreds of the image's size would not fit.
 */
function pickWinners(
  maps: readonly Plane[],
  { width, height }: Size,
  {
    weights,
    maskThreshold = Infinity,
  }: { readonly weights?: readonly number[]; readonly maskThreshold?: number } = {},
): Winners {
  const winners = new Int32Array(width * height).fill(-1);
  const wins = maps.map(() => 0);
  const claims = maps.map(() => 0);
  const best = new Float32Array(width * BAND_ROWS);
  for (let y = 0; y < height; y += BAND_ROWS) {
    const end = Math.min(y + BAND_ROWS, height);
    const band = winners.subarray(y * width, end * width);
    best.fill(-Infinity);
    for (const [index, map] of maps.entries()) {
      const values = interpolateRows(map, { width, height, mode: "bilinear" }, y, end);
      const weight = weights?.[index] ?? 1;
      let claimed = 0;
      for (let i = 0; i < values.length; i++) {
        const value = Math.fround((values[i] ?? 0) * weight);
        if (value >= maskThreshold) claimed++;
        if (value > (best[i] ?? 0)) {
          best[i] = value;
          band[i] = index;
        }
      }
      claims[index] = (claims[index] ?? 0) + claimed;
    }
    for (const winner of band) if (winner >= 0) wins[winner] = (wins[winner] ?? 0) + 1;
  }
  return { winners, wins, claims };
}

function painter(owners: Int32Array, owner: number): () => Uint8ClampedArray {
  return () => {
    const mask = new Uint8ClampedArray(owners.length);
    for (let i = 0; i < owners.length; i++) if (owners[i] === owner) mask[i] = 255;
    return mask;
  };
}

/** Python's `round(score, 6)`. */
function round6(score: number): number {
  return Math.round(score * 1e6) / 1e6;
}
