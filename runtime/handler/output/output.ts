/**
 * What a handler returned, as one of the neutral outputs: JSON, a file, a stream, or a graph's own tensors.
 *
 * `json.ts` knows what becomes of values inside JSON, `tensor.ts` of numbers, `file.ts` of images
 * and sounds.
 */
import { RuntimeError } from "../../errors.ts";
import type { InferenceOutput, JsonValue, Media } from "../../inference.ts";
import { toHandlerError } from "../custom/message.ts";
import { encode, isFile, type FileLike } from "./file.ts";
import { isStream, toJsonAwaiting, type Stream } from "./json.ts";
import { TensorAnswer } from "./tensor-answer.ts";

/** What bytes of no stated type are. */
const BYTES = "application/octet-stream";

/**
 * Turns a handler's result into an output.
 *
 * Bytes, `Blob`, `RawImage`, `RawAudio` and a fetch `Response` become a file; an async iterable, a generator or a
 * `ReadableStream` becomes a stream whose chunks are turned into JSON as they are read; everything else becomes JSON.
 *
 * @throws {RuntimeError} `HANDLER_FAILED` when the result cannot be sent, with the place inside it.
 */
export async function toOutput(result: unknown): Promise<InferenceOutput> {
  try {
    if (typeof result === "object" && result !== null) {
      if (result instanceof TensorAnswer) return { kind: "tensors", tensors: result.tensors };
      if (isStream(result)) return { kind: "stream", chunks: toChunks(result) };
      if (result instanceof Response) return await fromResponse(result);
      const media = toMedia(result);
      if (media !== undefined) return { kind: "media", media: await media };
    }
    return { kind: "json", value: await toJsonAwaiting(result) };
  } catch (error) {
    // A getter or a toJSON() of the result is the handler's code too.
    throw toHandlerError(error);
  }
}

/** A reader who leaves early ends the handler's generator, whose `finally` runs then. */
async function* toChunks(stream: Stream): AsyncGenerator<JsonValue, void, undefined> {
  try {
    for await (const chunk of stream) yield await toJsonAwaiting(chunk);
  } catch (error) {
    throw toHandlerError(error);
  }
}

/** A handler that hands on what another service answered. Its failures are not passed off as answers. */
async function fromResponse(response: Response): Promise<InferenceOutput> {
  if (!response.ok) {
    await response.body?.cancel();
    const text = `Handler failed: it returned a Response with status ${response.status}`;
    throw new RuntimeError("HANDLER_FAILED", text);
  }
  const contentType = response.headers.get("content-type") ?? BYTES;
  if (/^application\/json\b/i.test(contentType)) {
    return { kind: "json", value: await toJsonAwaiting(await response.json()) };
  }
  const bytes = new Uint8Array(await response.arrayBuffer());
  return { kind: "media", media: { bytes, contentType } };
}

/** @returns `undefined`, at once, for what is no file. */
function toMedia(result: object): Media | Promise<Media> | undefined {
  if (result instanceof Uint8Array) {
    // Without what Buffer adds: a plain array crosses the process wall as itself.
    const bytes = new Uint8Array(result.buffer, result.byteOffset, result.byteLength);
    return { bytes, contentType: BYTES };
  }
  if (result instanceof ArrayBuffer) return { bytes: new Uint8Array(result), contentType: BYTES };
  return isFile(result) ? fromFile(result) : undefined;
}

async function fromFile(file: FileLike): Promise<Media> {
  const blob = await encode(file);
  const bytes = new Uint8Array(await blob.arrayBuffer());
  return { bytes, contentType: blob.type || BYTES };
}
