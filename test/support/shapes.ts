/**
 * The images that the goldens of vision models are about, and how a test sends them.
 */
import { readFileSync } from "node:fs";

import type { LoadedHandler } from "../../runtime/handler/contract.ts";
import type { Media } from "../../runtime/inference.ts";
import { modelPath, quietLog } from "./goldens.ts";

/**
 * An image as a file.
 *
 * @param path As a golden names it: `images/shapes-64x64-0.png`.
 */
export function imageFile(path: string): Media {
  return { bytes: readFileSync(modelPath(`_expected/${path}`)), contentType: "image/png" };
}

/** An image as JSON carries it. */
export function imageText(path: string): string {
  return Buffer.from(imageFile(path).bytes).toString("base64");
}

/** Asks a handler with a binary body. */
export function askWithFile(
  handler: LoadedHandler,
  media: Media,
  data: Readonly<Record<string, unknown>> = {},
): Promise<unknown> {
  const context = {
    signal: new AbortController().signal,
    requestId: "test",
    log: quietLog([]),
    headers: {},
  };
  return handler.call({ id: "test", kind: "predict", data, media, headers: {} }, context);
}

/** Asks a handler several things at once, and says how many of them went through the model together. */
export async function askTogether(
  handler: LoadedHandler,
  bodies: readonly Readonly<Record<string, unknown>>[],
): Promise<{ readonly answers: readonly unknown[]; readonly passes: readonly number[] }> {
  const answers: unknown[] = [];
  const passes: number[] = [];
  const members = bodies.map((data, index) => ({
    request: { id: `test-${index}`, kind: "predict" as const, data, headers: {} },
    context: {
      signal: new AbortController().signal,
      requestId: `test-${index}`,
      log: quietLog([]),
      headers: {},
    },
  }));
  await handler.callBatch?.(members, {
    onOutcome(index, outcome) {
      answers[index] = "error" in outcome ? outcome.error : outcome.value;
    },
    onPass: ({ items }) => void passes.push(items),
    maxPaddedTokens: 512,
  });
  return { answers, passes };
}
