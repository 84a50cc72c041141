/**
 * Tensors as a custom handler gets them: lists as JSON has them, nested as the shape says. A `BYTES` element is a string where it
 * is UTF-8, else a `Blob`.
 *
 * One tensor is `inputs`; several are an object by name. A lone element that is a JSON object is the handler's payload, as on
 * TorchServe's routes.
 */
import { isUtf8 } from "node:buffer";

import type { JsonValue, Media } from "../../inference.ts";
import { sniffMediaType } from "../../media-type.ts";
import type { Answering } from "./open-inference-answer.ts";
import type { OipParameters, OipTensor } from "./open-inference-exchange.ts";
import { readPayload } from "./open-inference-payload.ts";
import { halfToNumber } from "./tensor-half.ts";
import { toRequestContent } from "./torchserve-request.ts";

/** What a request asks of its model, and how the answer is cut into elements. */
export interface Reading {
  readonly data: Readonly<Record<string, unknown>>;
  readonly answering: Answering;
}

/** For a custom handler. */
export function readValues(inputs: readonly OipTensor[], parameters: OipParameters): Reading {
  const beside = Object.keys(parameters).length > 0 ? { parameters } : {};
  const [first, ...more] = inputs;
  const count = first?.data.length;
  const payload = more.length === 0 && first !== undefined ? solePayload(first) : undefined;
  if (payload !== undefined) {
    const { data } = toRequestContent({ body: payload }, "predict", { handler: "custom" });
    return { data: { ...beside, ...data }, answering: { isDefault: false, count: undefined } };
  }
  const values = inputs.map((tensor) => [tensor.name, toNested(tensor)] as const);
  return {
    data: { inputs: more.length === 0 ? values[0]?.[1] : Object.fromEntries(values), ...beside },
    answering: { isDefault: false, count: more.length === 0 ? count : undefined },
  };
}

function solePayload({ datatype, data }: OipTensor): Readonly<Record<string, unknown>> | undefined {
  const [element, ...more] = datatype === "BYTES" ? data : [];
  return element instanceof Uint8Array && more.length === 0 ? readPayload(element) : undefined;
}

/** A `BYTES` element: text, or a file. Text has no NUL, and hardly a file is UTF-8 without one. */
export function toTextOrFile(bytes: Uint8Array): string | Media {
  if (isUtf8(bytes) && !bytes.includes(0))
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  const sniffed = sniffMediaType(bytes);
  const isFile = sniffed !== undefined && sniffed !== "application/json";
  return { bytes, contentType: isFile ? sniffed : "application/octet-stream" };
}

/** `[2, 3]` → two lists of three. */
function toNested(tensor: OipTensor): unknown {
  const { shape } = tensor;
  const elements = toElements(tensor);
  const nest = (axis: number, from: number, to: number): unknown => {
    if (axis >= shape.length - 1) return elements.slice(from, to);
    const size = shape[axis] ?? 0;
    const step = size === 0 ? 0 : (to - from) / size;
    return Array.from({ length: size }, (_, i) =>
      nest(axis + 1, from + i * step, from + (i + 1) * step),
    );
  };
  return shape.length === 0 ? elements[0] : nest(0, 0, elements.length);
}

function toElements({ datatype, data }: OipTensor): unknown[] {
  switch (datatype) {
    case "BYTES":
      return Array.from(data as readonly Uint8Array[], toTextOrFile); // what `BYTES` is
    case "BOOL":
      return Array.from(data as Uint8Array, (value) => value !== 0);
    case "FP16":
      return Array.from(data as Uint16Array, halfToNumber);
    case "INT64":
    case "UINT64":
      return Array.from(data as BigInt64Array | BigUint64Array, fromBigInt);
    case "UINT8":
    case "UINT16":
    case "UINT32":
    case "INT8":
    case "INT16":
    case "INT32":
    case "FP32":
    case "FP64":
      return Array.from(data as Float64Array);
  }
}

/** A number, or, where none holds it, its digits. */
function fromBigInt(value: bigint): JsonValue {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}
