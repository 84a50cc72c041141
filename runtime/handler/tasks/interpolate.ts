/**
 * Stretching maps of numbers as `torch.nn.functional.interpolate` does with `align_corners=False`: no widening of the
 * filter where a map is made smaller, unlike images.
 *
 * Both directions are one weighted sum over a few neighbours, so they run one after the other.
 */

/** A map of numbers, row by row. */
export interface Plane {
  readonly data: Float32Array;
  readonly width: number;
  readonly height: number;
}

export type InterpolationMode = "nearest" | "bilinear" | "bicubic";

/** `interpolate(plane[None, None], size=(height, width), mode=mode)`. */
export function interpolate(
  plane: Plane,
  width: number,
  height: number,
  mode: InterpolationMode,
): Plane {
  if (plane.width === width && plane.height === height) return plane; // every neighbour but one weighs nothing
  const data = new Float32Array(width * height);
  for (let y = 0; y < height; y += BAND_ROWS) {
    const end = Math.min(y + BAND_ROWS, height);
    data.set(interpolateRows(plane, { width, height, mode }, y, end), y * width);
  }
  return { data, width, height };
}

/** Rows that are worked out together: what lies between the two directions stays in the cache. */
export const BAND_ROWS = 64;

/** What a map is stretched to. */
export interface Target {
  readonly width: number;
  readonly height: number;
  readonly mode: InterpolationMode;
}

/** Some rows of the stretched map, for those who need only a part of it at a time. */
export function interpolateRows(
  plane: Plane,
  { width, height, mode }: Target,
  from: number,
  to: number,
): Float32Array {
  if (plane.width === width && plane.height === height)
    return plane.data.subarray(from * width, to * width);
  const columns = neighbours(plane.width, width, mode, 0, width);
  const rows = neighbours(plane.height, height, mode, from, to);
  const firstRow = rows.indices.reduce((least, row) => Math.min(least, row), Infinity);
  const lastRow = rows.indices.reduce((largest, row) => Math.max(largest, row), 0);
  const wide = new Float32Array(width * (lastRow - firstRow + 1));
  for (let y = firstRow; y <= lastRow; y++) {
    const source = plane.data.subarray(y * plane.width, (y + 1) * plane.width);
    const target = wide.subarray((y - firstRow) * width, (y - firstRow + 1) * width);
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let tap = x * columns.taps; tap < (x + 1) * columns.taps; tap++) {
        sum += (source[columns.indices[tap] ?? 0] ?? 0) * (columns.weights[tap] ?? 0);
      }
      target[x] = sum;
    }
  }
  const data = new Float32Array(width * (to - from));
  for (let y = 0; y < to - from; y++) {
    const target = data.subarray(y * width, (y + 1) * width);
    for (let tap = y * rows.taps; tap < (y + 1) * rows.taps; tap++) {
      const weight = rows.weights[tap] ?? 0;
      const source = ((rows.indices[tap] ?? 0) - firstRow) * width;
      for (let x = 0; x < width; x++)
        target[x] = (target[x] ?? 0) + (wide[source + x] ?? 0) * weight;
    }
  }
  return data;
}

interface Neighbours {
  /** How many source values make a target value. */
  readonly taps: number;
  /** `taps` of them for each target; beyond the edge, the edge. */
  readonly indices: Int32Array;
  readonly weights: Float32Array;
}

const OFFSETS: Readonly<Record<InterpolationMode, readonly number[]>> = {
  nearest: [0],
  bilinear: [0, 1],
  bicubic: [-1, 0, 1, 2],
};

/** Those of the targets `start` to `end` (exclusive), where `from` values become `to`. */
function neighbours(
  from: number,
  to: number,
  mode: InterpolationMode,
  start: number,
  end: number,
): Neighbours {
  const offsets = OFFSETS[mode];
  const indices = new Int32Array((end - start) * offsets.length);
  const weights = new Float32Array((end - start) * offsets.length);
  const scale = from / to;
  for (let target = start; target < end; target++) {
    const middle = mode === "nearest" ? target * scale : (target + 0.5) * scale - 0.5;
    const at = mode === "bilinear" ? Math.max(middle, 0) : middle;
    const first = Math.floor(at);
    for (const [tap, offset] of offsets.entries()) {
      const place = (target - start) * offsets.length + tap;
      indices[place] = Math.min(Math.max(first + offset, 0), from - 1);
      weights[place] = weigh(mode, at - first - offset);
    }
  }
  return { taps: offsets.length, indices, weights };
}

/** @param distance From the target to the neighbour, in source steps. */
function weigh(mode: InterpolationMode, distance: number): number {
  if (mode === "nearest") return 1;
  const x = Math.abs(distance);
  if (mode === "bilinear") return 1 - x;
  const a = -0.75; // torch's, where Pillow has -0.5
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}
