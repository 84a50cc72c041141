/**
 * From a detector's outputs to objects: `post_process_object_detection` of Python's image processors.
 *
 * Two families. DETR and YOLOS give each query one label, by a softmax with "no object" as its last class. Deformable
 * and real-time DETRs, trained with a focal loss, score each pair of query and label by itself; the best pairs count.
 * Letters: `Q` queries, `L` classes.
 */
import { softmax, sigmoid, topIndices } from "./scores.ts";

/** Corners in pixels of the original image; they may lie outside of it, as in Python. */
export type Box = {
  readonly xmin: number;
  readonly ymin: number;
  readonly xmax: number;
  readonly ymax: number;
};

export interface Detection {
  readonly score: number;
  /** The index of the class. */
  readonly label: number;
  readonly box: Box;
}

export interface DetectionOptions {
  /** Scores must be above it. */
  readonly threshold: number;
  /** The original image. */
  readonly width: number;
  readonly height: number;
  /** At most so many pairs, before the threshold; for models with a focal loss only. */
  readonly focalPairs: number | undefined;
}

/**
 * @param logits `[Q, L]`.
 * @param boxes `[Q, 4]`: middle, width and height as shares of the image.
 * @returns In the order of the queries; with a focal loss the best first.
 */
export function toDetections(
  logits: Float32Array,
  boxes: Float32Array,
  options: DetectionOptions,
): Detection[] {
  const Q = boxes.length / 4;
  const L = logits.length / Q;
  const { threshold, focalPairs } = options;
  const found =
    focalPairs === undefined
      ? bestOfQueries(logits, Q, L)
      : bestPairs(logits, L, Math.min(focalPairs, Q * L));
  return found
    .filter(({ score }) => score > threshold)
    .map(({ query, label, score }) => ({
      score,
      label,
      box: toBox(boxes.subarray(query * 4, query * 4 + 4), options),
    }));
}

interface Found {
  readonly query: number;
  readonly label: number;
  readonly score: number;
}

/** Each query's best class but the last, even where the last is better. */
function bestOfQueries(logits: Float32Array, Q: number, L: number): Found[] {
  return Array.from({ length: Q }, (_, query) => {
    const scores = softmax(logits.subarray(query * L, (query + 1) * L)).subarray(0, L - 1);
    const label = topIndices(scores, 1)[0] ?? 0;
    return { query, label, score: scores[label] ?? 0 };
  });
}

function bestPairs(logits: Float32Array, L: number, count: number): Found[] {
  const scores = sigmoid(logits);
  return topIndices(scores, count).map((index) => ({
    query: Math.floor(index / L),
    label: index % L,
    score: scores[index] ?? 0,
  }));
}

/** In float32, as Python reckons, so that the cut to whole pixels falls alike. */
export function toBox(
  share: Float32Array,
  { width, height }: Pick<DetectionOptions, "width" | "height">,
): Box {
  const f = Math.fround;
  const [x = 0, y = 0, w = 0, h = 0] = share;
  const corner = (middle: number, half: number, size: number) =>
    Math.trunc(f(f(middle + half) * size)) + 0; // no negative zero
  return {
    xmin: corner(x, -f(0.5 * w), width),
    ymin: corner(y, -f(0.5 * h), height),
    xmax: corner(x, f(0.5 * w), width),
    ymax: corner(y, f(0.5 * h), height),
  };
}
