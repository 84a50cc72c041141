/**
 * Reading the images that models answer with, and networks that answer what a test wants.
 */
import sharp from "sharp";
import { z } from "zod";

import { encodeGraph, type Constant, type Node } from "./onnx-graph.ts";

/** 64 × 64 pixels each, which no model of the goldens resizes. */
export const SHAPES = ["images/shapes-64x64-0.png", "images/shapes-64x64-1.png"] as const;
/** 120 × 80 pixels, which most resize. */
export const WIDE = "images/shapes-120x80-2.png";

/** Numbers of a tensor: some of them, each with its place. */
export const Sample = z.object({
  dims: z.array(z.int()),
  sample_indices: z.array(z.int()),
  sample_values: z.array(z.number()),
});

/** The numbers of `values` that a golden has kept. */
export function sampled(values: ArrayLike<number>, sample: z.infer<typeof Sample>): number[] {
  return sample.sample_indices.map((index) => values[index] ?? Number.NaN);
}

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** As the file has them: one for grey. */
  readonly channels: number;
  readonly data: Uint8Array;
}

/** The pixels of a PNG, as it stands in JSON or as a file. */
export async function readPng(png: unknown): Promise<Picture> {
  const bytes =
    png instanceof Blob
      ? Buffer.from(await png.arrayBuffer())
      : Buffer.from(z.base64().parse(png), "base64");
  const { format, channels, width, height } = await sharp(bytes).metadata();
  if (format !== "png") throw new Error(`a file of ${format}`);
  const image = channels === 1 ? sharp(bytes).toColourspace("b-w") : sharp(bytes);
  return { width, height, channels, data: await image.raw().toBuffer() };
}

/** A PNG of RGB pixels in base64. */
export async function pngOf(
  width: number,
  height: number,
  rgb: ArrayLike<number>,
): Promise<string> {
  const image = sharp(Uint8Array.from(rgb), { raw: { width, height, channels: 3 } });
  return (await image.png().toBuffer()).toString("base64");
}

/** What a network of `fixedGraph` answers for each image. */
export interface FixedOutput {
  readonly name: string;
  /** Without the axis of images. */
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/**
 * A network that looks at its images and answers the same for each.
 *
 * @param batch The axis of images; a number for a graph that takes so many and no other.
 * @param slope How much of an image's mean is added to each number.
 */
export function fixedGraph(
  outputs: readonly FixedOutput[],
  { batch = "batch", slope = 0 }: { batch?: string | number; slope?: number } = {},
): Uint8Array {
  const nodes: Node[] = [
    {
      op: "ReduceMean",
      inputs: ["pixel_values"],
      outputs: ["mean"],
      attributes: { axes: [1, 2, 3], keepdims: 1 },
    },
    { op: "Mul", inputs: ["mean", "slope"], outputs: ["share"] },
  ];
  const constants: Constant[] = [{ name: "slope", element: "float", shape: [1], values: [slope] }];
  for (const { name, shape, values } of outputs) {
    const ones = [-1, ...shape.map(() => 1)];
    constants.push(
      { name: `${name}_axes`, element: "int64", shape: [ones.length], values: ones },
      { name: `${name}_values`, element: "float", shape: [1, ...shape], values },
    );
    nodes.push(
      { op: "Reshape", inputs: ["share", `${name}_axes`], outputs: [`${name}_share`] },
      { op: "Add", inputs: [`${name}_share`, `${name}_values`], outputs: [name] },
    );
  }
  return encodeGraph({
    inputs: [{ name: "pixel_values", element: "float", shape: [batch, 3, "height", "width"] }],
    outputs: outputs.map(({ name, shape }) => ({
      name,
      element: "float",
      shape: [batch, ...shape],
    })),
    nodes,
    constants,
  });
}

/** The files of a variant whose network is `graph`. */
export function filesOf(graph: Uint8Array): Record<string, Uint8Array | null> {
  return { "onnx/model.onnx": graph, "onnx/model_quantized.onnx": null };
}
