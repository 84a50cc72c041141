/**
 * The sounds of the goldens, and asking with one as the body.
 */
import { readFileSync } from "node:fs";

import type { LoadedHandler } from "../../runtime/handler/contract.ts";
import type { Media } from "../../runtime/inference.ts";
import { modelPath, quietLog } from "./goldens.ts";

/** A golden's sound (`audio/tones-0.wav`) in base64. */
export function sound(name: string): string {
  return readFileSync(modelPath(`_expected/${name}`)).toString("base64");
}

/** Asks a handler with a file as the body, as a worker would. */
export function askWithBody(
  handler: LoadedHandler,
  media: Media,
  parameters?: object,
): Promise<unknown> {
  const data = parameters === undefined ? {} : { parameters };
  const { signal } = new AbortController();
  return handler.call(
    { id: "test", kind: "predict", data, media, headers: {} },
    { signal, requestId: "test", log: quietLog([]), headers: {} },
  );
}
