/**
 * Resizing as Pillow does it, level for level.
 *
 * Models were trained and are compared behind Pillow's resampling: a separable filter that widens as the image shrinks,
 * with weights of 22 bits and rounding to 8 bits after each direction (`src/libImaging/Resample.c`, Pillow 12). The
 * library's own resizing maps single points through `affine`, so a photograph made small aliases: pixel values then
 * differ by up to the whole range.
 */

/** 8-bit pixels, row by row, `channels` values each. */
export interface Raster {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
  readonly channels: number;
}

/** The filters of `PIL.Image.Resampling`, at the number by which configurations name them. */
export const FILTERS = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"] as const;
export type Filter = (typeof FILTERS)[number];

/** `Image.resize((width, height), filter)`. */
export function resample(image: Raster, width: number, height: number, filter: Filter): Raster {
  if (filter === "nearest") return pickNearest(image, width, height);
  const { support, weigh } = KERNELS[filter];
  const wide = width === image.width ? image : stretchRows(image, width, support, weigh);
  return height === image.height ? wide : stretchColumns(wide, height, support, weigh);
}

interface Kernel {
  /** Half the width in source pixels, where nothing is made smaller. */
  readonly support: number;
  readonly weigh: (x: number) => number;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

const KERNELS: Readonly<Record<Exclude<Filter, "nearest">, Kernel>> = {
  box: { support: 0.5, weigh: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weigh: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: {
    support: 1,
    weigh: (x) => (Math.abs(x) >= 1 ? 0 : sinc(x) * (0.54 + 0.46 * Math.cos(x * Math.PI))),
  },
  bicubic: {
    support: 2,
    weigh(signed) {
      const a = -0.5;
      const x = Math.abs(signed);
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    },
  },
  lanczos: { support: 3, weigh: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** 32 bits less 8 for the pixel and 2 for sums of negative weights. */
const PRECISION_BITS = 22;
const HALF = 1 << (PRECISION_BITS - 1);

/** Which source pixels make each target pixel, and how much of each. */
interface Taps {
  /** The most source pixels of one target pixel: the stride of `weights`. */
  readonly size: number;
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** Fixed point, `2 ** PRECISION_BITS` is one. */
  readonly weights: Int32Array;
}

function precompute(from: number, to: number, support: number, weigh: Kernel["weigh"]): Taps {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const reach = support * stretch;
  const size = Math.ceil(reach) * 2 + 1;
  const first = new Int32Array(to);
  const count = new Int32Array(to);
  const weights = new Int32Array(to * size);
  const row = new Float64Array(size);
  for (let target = 0; target < to; target++) {
    const center = (target + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - reach + 0.5));
    const end = Math.min(from, Math.trunc(center + reach + 0.5));
    let sum = 0;
    for (let x = start; x < end; x++) {
      const weight = weigh((x - center + 0.5) * (1 / stretch));
      row[x - start] = weight;
      sum += weight;
    }
    for (let x = 0; x < end - start; x++) {
      const fixed = ((row[x] ?? 0) / (sum === 0 ? 1 : sum)) * (1 << PRECISION_BITS);
      weights[target * size + x] = Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    first[target] = start;
    count[target] = end - start;
  }
  return { size, first, count, weights };
}

// The loops below read typed arrays inside their bounds, which the compiler cannot see: `?? 0` costs nothing there, as V8
// drops the check of a value that is never undefined.

function stretchRows(
  { data, width, height, channels }: Raster,
  to: number,
  support: number,
  weigh: Kernel["weigh"],
): Raster {
  const { size, first, count, weights } = precompute(width, to, support, weigh);
  const out = new Uint8ClampedArray(to * height * channels);
  for (let y = 0; y < height; y++) {
    const row = y * width * channels;
    let target = y * to * channels;
    for (let x = 0; x < to; x++) {
      const start = row + (first[x] ?? 0) * channels;
      const taps = count[x] ?? 0;
      const base = x * size;
      for (let channel = 0; channel < channels; channel++) {
        let sum = HALF;
        let source = start + channel;
        for (let tap = 0; tap < taps; tap++) {
          sum = (sum + (data[source] ?? 0) * (weights[base + tap] ?? 0)) | 0;
          source += channels;
        }
        out[target++] = sum >> PRECISION_BITS; // clamped by the array
      }
    }
  }
  return { data: out, width: to, height, channels };
}

function stretchColumns(
  { data, width, height, channels }: Raster,
  to: number,
  support: number,
  weigh: Kernel["weigh"],
): Raster {
  const { size, first, count, weights } = precompute(height, to, support, weigh);
  const stride = width * channels;
  const out = new Uint8ClampedArray(stride * to);
  const sums = new Int32Array(stride);
  for (let y = 0; y < to; y++) {
    sums.fill(HALF);
    const taps = count[y] ?? 0;
    for (let tap = 0; tap < taps; tap++) {
      const weight = weights[y * size + tap] ?? 0;
      const row = ((first[y] ?? 0) + tap) * stride;
      for (let i = 0; i < stride; i++) {
        sums[i] = ((sums[i] ?? 0) + (data[row + i] ?? 0) * weight) | 0;
      }
    }
    const target = y * stride;
    for (let i = 0; i < stride; i++) out[target + i] = (sums[i] ?? 0) >> PRECISION_BITS;
  }
  return { data: out, width, height: to, channels };
}

/** The source pixel under the middle of each target pixel (`Geometry.c`, `ImagingScaleAffine`). */
function pickNearest(image: Raster, width: number, height: number): Raster {
  const { data, channels } = image;
  const out = new Uint8ClampedArray(width * height * channels);
  const columns = nearestIndices(image.width, width);
  const rows = nearestIndices(image.height, height);
  let target = 0;
  for (const row of rows) {
    for (const column of columns) {
      const source = (row * image.width + column) * channels;
      for (let channel = 0; channel < channels; channel++)
        out[target++] = data[source + channel] ?? 0;
    }
  }
  return { data: out, width, height, channels };
}

function nearestIndices(from: number, to: number): Int32Array {
  const scale = from / to;
  const indices = new Int32Array(to);
  let at = scale * 0.5;
  for (let target = 0; target < to; target++) {
    indices[target] = Math.min(from - 1, Math.floor(at));
    at += scale; // added up, not multiplied: where a middle falls on an edge the rounding decides
  }
  return indices;
}
