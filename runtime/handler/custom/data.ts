/**
 * The object that a custom handler receives: a copy of the request's body that it may take apart.
 *
 * Handlers ported from Python do `data.pop("inputs")`; the request must survive that, as it may be tried again.
 */
import { isMedia, type InferenceRequest, type Media } from "../../inference.ts";
import type { HandlerData } from "../contract.ts";
import { isPlainObject } from "../plain-object.ts";

/**
 * A fresh plain object; a binary body becomes a `Blob` in `inputs`, a form's file one in its place. Typed arrays are
 * handed on, not copied.
 */
export function toHandlerData({ data, media }: InferenceRequest): HandlerData {
  const copy = copyObject(data);
  if (media === undefined) return { inputs: undefined, ...copy };
  return { ...copy, inputs: toBlob(media) };
}

/** A Blob copies its parts, so the handler may keep it. */
function toBlob({ bytes, contentType }: Media): Blob {
  return new Blob([bytes as BlobPart], { type: contentType });
}

function copyObject(value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  // A spread copies an own key "__proto__", which JSON.parse can make, as a key; the assignment then finds it.
  const copy: Record<string, unknown> = { ...value };
  for (const key of Object.keys(copy)) copy[key] = copyValue(copy[key]);
  return copy;
}

function copyValue(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(copyValue);
  if (isMedia(value)) return toBlob(value);
  return isPlainObject(value) ? copyObject(value) : value;
}
