/**
 * How well images and texts go together, where a graph makes a vector of each.
 *
 * Such graphs end in `logits = scale · (image vector · text vector) + bias`, both vectors of length 1, with a scale and a
 * bias that were learned and stand in no file but the graph. They are measured once, at the start. From then on a text's
 * vector is kept, as clients ask with the same labels again and again, and reading the labels costs more than reading the
 * image. A graph that does not end so is asked everything each time.
 *
 * Letters: `B` images, `N` texts, `H` dimensions.
 */
import type { Tensor } from "@huggingface/transformers";

import { PillowImage } from "../media/image.ts";
import { rowOf, type FloatTensor } from "./encoder.ts";
import type { Encoding } from "./truncation.ts";
import { stackPixels, type Pixels } from "./vision.ts";
import type { VisionText } from "./vision-text.ts";

/** One image and the texts it is compared with. */
export interface Comparison {
  /** Of one size within a pass. */
  readonly pixels: Pixels;
  readonly texts: readonly Encoding[];
}

export interface Comparer {
  /** @returns Per item its logits `[N]`, in the order of its texts. */
  compare(items: readonly Comparison[], signal: AbortSignal): Promise<Float64Array[]>;
  /** Whether vectors of texts are kept. */
  readonly keepsTexts: boolean;
}

/** `logits = scale · similarity + bias`. */
export interface Line {
  readonly scale: number;
  readonly bias: number;
}

const LOGITS = "logits_per_image";
const VECTORS = ["image_embeds", "text_embeds"] as const;

/** The most tokens of texts that one pass reads, padding included; more texts take more passes. */
const MOST_TEXT_TOKENS = 4096;
/** 2²² floats are 16 MiB: 8192 labels of 512 dimensions. */
const MOST_KEPT_FLOATS = 2 ** 22;

/** What the scale is measured with: texts and images that are unlike each other. */
const PROBE_TEXTS = ["a cat", "the blue sky over the sea", "7", "an old car in the street"];
const PROBE_SIDE = 64;
const PROBE = { action: "measure the scale of the scores", name: "a probe" };

/**
 * Measures the scale and answers with what compares.
 *
 * @param mostKeptFloats How many numbers of texts' vectors are kept.
 */
export async function openComparer(
  model: VisionText,
  mostKeptFloats = MOST_KEPT_FLOATS,
): Promise<Comparer> {
  const { encoder } = model;
  const hasVectors = VECTORS.every((name) => encoder.outputs.has(name));
  const line = hasVectors ? await measureLine(model) : undefined;
  const kept = new Map<string, Float32Array>();

  async function compareInGraph(items: readonly Comparison[], signal: AbortSignal) {
    const pixels = joinPixels(items);
    const texts = distinct(items);
    const logits = new Map<string, Float64Array>(); // text → a logit per image
    for (const chunk of chunksOf([...texts.keys()], texts.values())) {
      signal.throwIfAborted();
      const encodings = chunk.flatMap((key) => texts.get(key) ?? []);
      const [scores] = await encoder.run(encodings, [LOGITS], { pixel_values: pixels }); // [B, N]
      const rows = items.map((_, b) => rowOf(scores, b));
      for (const [n, key] of chunk.entries()) {
        logits.set(
          key,
          Float64Array.from(rows, (row) => row[n] ?? 0),
        );
      }
    }
    return items.map((item, b) =>
      Float64Array.from(item.texts, (text) => logits.get(keyOf(text))?.[b] ?? 0),
    );
  }

  async function compareVectors(
    items: readonly Comparison[],
    { scale, bias }: Line,
    signal: AbortSignal,
  ) {
    const texts = distinct(items);
    const vectors = new Map<string, Float32Array>();
    for (const key of texts.keys()) {
      const vector = kept.get(key);
      if (vector === undefined) continue;
      kept.delete(key); // and back at the end: the first of the map is the one longest unused
      kept.set(key, vector);
      vectors.set(key, vector);
    }
    const missing = [...texts.keys()].filter((key) => !vectors.has(key));
    // The graph wants a text in any case.
    const chunks = missing.length > 0 ? chunksOf(missing, texts.values()) : [shortest(texts)];
    let images: FloatTensor | undefined;
    let pixels = joinPixels(items);
    for (const chunk of chunks) {
      signal.throwIfAborted();
      const encodings = chunk.flatMap((key) => texts.get(key) ?? []);
      const [image, text] = await encoder.run(encodings, VECTORS, { pixel_values: pixels });
      images ??= image; // [B, H]
      pixels = joinPixels(items.slice(0, 1)); // later passes are for their texts
      for (const [n, key] of chunk.entries()) {
        if (vectors.has(key)) continue;
        const vector = rowOf(text, n).slice(); // a view would keep the whole pass
        vectors.set(key, vector);
        kept.set(key, vector);
      }
    }
    forget(kept, mostKeptFloats);
    return items.map((item, b) => {
      const image = images === undefined ? new Float32Array() : rowOf(images, b);
      return Float64Array.from(item.texts, (text) => {
        const vector = vectors.get(keyOf(text)) ?? new Float32Array();
        return scale * dot(image, vector) + bias;
      });
    });
  }

  return {
    keepsTexts: line !== undefined,
    compare: (items, signal) =>
      line === undefined ? compareInGraph(items, signal) : compareVectors(items, line, signal),
  };
}

/** @returns `undefined` when the graph's logits are something else. */
async function measureLine(model: VisionText): Promise<Line | undefined> {
  const encodings = PROBE_TEXTS.map((text) => model.encodeText(text, PROBE));
  const similarities: number[] = [];
  const logits: number[] = [];
  // One by one, for a graph that takes no more.
  for (const image of probeImages()) {
    const pixels = stackPixels([await model.images.read(image, PROBE)]);
    const [scores, seen, read] = await model.encoder.run(encodings, [LOGITS, ...VECTORS], {
      pixel_values: pixels,
    });
    similarities.push(...encodings.map((_, n) => dot(rowOf(seen, 0), rowOf(read, n))));
    logits.push(...scores.data);
  }
  return fitLine(similarities, logits);
}

/**
 * The line through points, without a bias where that is enough: fewer unknowns are measured more exactly.
 *
 * @returns `undefined` when a point is off the line by more than a thousandth of the largest logit, which is more than
 * float16 rounds.
 */
export function fitLine(x: readonly number[], y: ArrayLike<number>): Line | undefined {
  const points = x.map((value, i) => [value, y[i] ?? 0] as const);
  const sum = (term: (x: number, y: number) => number) =>
    points.reduce((total, point) => total + term(...point), 0);
  const n = points.length;
  const meanX = sum((x) => x) / n;
  const meanY = sum((_, y) => y) / n;
  const steep = sum((x, y) => (x - meanX) * (y - meanY)) / sum((x) => (x - meanX) ** 2);
  const candidates: readonly Line[] = [
    { scale: sum((x, y) => x * y) / sum((x) => x * x), bias: 0 },
    { scale: steep, bias: meanY - steep * meanX },
  ];
  const tolerance = 1e-3 * Math.max(...points.map(([, y]) => Math.abs(y)));
  return candidates.find(({ scale, bias }) =>
    points.every(([x, y]) => Math.abs(scale * x + bias - y) <= tolerance),
  );
}

/** A plain one and one with a slope of each colour. */
function probeImages(): PillowImage[] {
  const size = PROBE_SIDE;
  const plain = new Uint8ClampedArray(size * size * 3).fill(200);
  const slope = plain.map((_, i) => {
    const [row, column, channel] = [Math.floor(i / 3 / size), Math.floor(i / 3) % size, i % 3];
    return channel === 0 ? row * 4 : channel === 1 ? column * 4 : (row * column) % 256;
  });
  return [plain, slope].map(
    (data) => new PillowImage({ data, width: size, height: size, channels: 3 }),
  );
}

/** The texts of all items, each once, by what they are. */
function distinct(items: readonly Comparison[]): Map<string, Encoding> {
  return new Map(items.flatMap(({ texts }) => texts.map((text) => [keyOf(text), text] as const)));
}

function keyOf({ inputIds }: Encoding): string {
  return inputIds.join();
}

/** Names of texts in runs that one pass can read. */
export function chunksOf<K>(keys: readonly K[], texts: Iterable<Encoding>): K[][] {
  let longest = 1;
  for (const { inputIds } of texts) longest = Math.max(longest, inputIds.length);
  const size = Math.max(1, Math.floor(MOST_TEXT_TOKENS / longest));
  return Array.from({ length: Math.ceil(keys.length / size) }, (_, i) =>
    keys.slice(i * size, (i + 1) * size),
  );
}

function shortest(texts: ReadonlyMap<string, Encoding>): string[] {
  const [first] = [...texts].sort(([, a], [, b]) => a.inputIds.length - b.inputIds.length);
  return first === undefined ? [] : [first[0]];
}

/** Drops the vectors longest unused until the others fit. */
function forget(kept: Map<string, Float32Array>, mostFloats: number): void {
  const [one] = kept.values();
  const most = Math.floor(mostFloats / Math.max(1, one?.length ?? 1));
  for (const key of kept.keys()) {
    if (kept.size <= most) return;
    kept.delete(key);
  }
}

function joinPixels(items: readonly Comparison[]): Tensor {
  return stackPixels(items.map(({ pixels }) => pixels));
}

/** In float64: a float32 sum loses digits that a scale of 100 brings to light. */
function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}
