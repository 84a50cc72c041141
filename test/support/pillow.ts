/**
 * Small image files of many kinds and what Pillow makes of them; `scripts/models/pillow_pixels.py` writes both.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { z } from "zod";

const Pixels = z.object({
  width: z.int(),
  height: z.int(),
  rgb: z.base64().transform((text) => new Uint8Array(Buffer.from(text, "base64"))),
});

const Golden = z.object({
  pillow: z.string(),
  decoded: z.record(z.string(), Pixels),
  resized: z.array(Pixels.extend({ filter: z.string() })),
});

/** Bytes of a file in `test/fixtures/images`. */
export function imageFile(name: string): Uint8Array {
  const path = fileURLToPath(new URL(`../fixtures/images/${name}`, import.meta.url));
  return new Uint8Array(readFileSync(path));
}

export const PILLOW = Golden.parse(
  JSON.parse(Buffer.from(imageFile("pixels.json")).toString("utf8")),
);

/** The largest difference between two images' levels; `Infinity` where they are not equally long. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let largest = 0;
  for (let i = 0; i < a.length; i++)
    largest = Math.max(largest, Math.abs((a[i] ?? 0) - (b[i] ?? 0)));
  return largest;
}
