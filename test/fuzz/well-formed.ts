/**
 * What every protocol promises the engine, whatever a client sent: a request that can be told to a worker and answered by it.
 */
import { serialize } from "node:v8";

import {
  isMedia,
  TENSOR_DATATYPES,
  type InferenceRequest,
  type NamedTensor,
} from "../../runtime/inference.ts";
import type { GenerationRequest } from "../../runtime/generation.ts";
import { Defect } from "./target.ts";

const KINDS = new Set(["predict", "explain", "tensors", "generate"]);

/** The arrays that hold each datatype; `BYTES` is a list. */
const ARRAYS: Readonly<Record<string, string>> = {
  BOOL: "Uint8Array",
  UINT8: "Uint8Array",
  UINT16: "Uint16Array",
  UINT32: "Uint32Array",
  UINT64: "BigUint64Array",
  INT8: "Int8Array",
  INT16: "Int16Array",
  INT32: "Int32Array",
  INT64: "BigInt64Array",
  FP16: "Uint16Array",
  FP32: "Float32Array",
  FP64: "Float64Array",
};

const CREDENTIALS = ["authorization", "cookie", "proxy-authorization"];

/** @throws Defect */
export function assertWellFormed(request: InferenceRequest): void {
  const { id, kind, data, media, tensors, generation, headers } = request;
  check(/^[\x21-\x7e]{1,128}$/.test(id), "an id of visible ASCII", id);
  check(KINDS.has(kind), "a known kind", kind);
  check(isPlainObject(data), "data in a plain object", data);
  for (const [name, value] of Object.entries(headers)) {
    check(name === name.toLowerCase() && typeof value === "string", "headers in lower case", name);
    check(!CREDENTIALS.includes(name), "headers without credentials", name);
  }
  if (media !== undefined) {
    check(isMedia(media) && media.contentType !== "", "media with its type", media);
    check(!("inputs" in data), "no inputs beside media", Object.keys(data));
  }
  check((kind === "tensors") === (tensors !== undefined), "tensors for their kind alone", kind);
  check(
    (kind === "generate") === (generation !== undefined),
    "generation for its kind alone",
    kind,
  );
  if (kind === "tensors" || kind === "generate")
    check(Object.keys(data).length === 0, "no data beside tensors or a generation", data);
  for (const tensor of tensors?.inputs ?? []) checkTensor(tensor);
  check(
    tensors?.outputs?.every((name) => typeof name === "string") ?? true,
    "names of outputs",
    tensors?.outputs,
  );
  if (generation !== undefined) checkGeneration(generation);
  serialize(request); // as it goes to the worker: throws for what cannot
}

function checkTensor({ name, datatype, shape, data }: NamedTensor): void {
  check(typeof name === "string", "a tensor's name", name);
  check(TENSOR_DATATYPES.includes(datatype), "a known datatype", datatype);
  check(
    shape.every((size) => Number.isSafeInteger(size) && size >= 0),
    "sizes of axes",
    shape,
  );
  const elements = shape.reduce((product, size) => product * size, 1);
  check(data.length === elements, "as many elements as the shape says", [shape, data.length]);
  if (datatype === "BYTES")
    check(Array.isArray(data) && data.every((one) => one instanceof Uint8Array), "bytes", data);
  else
    check(
      data.constructor.name === ARRAYS[datatype],
      "the datatype's own array",
      data.constructor.name,
    );
  if (datatype === "BOOL")
    check(
      (data as Uint8Array).every((value) => value <= 1),
      "0 or 1",
      undefined,
    );
}

/** Its numbers are numbers: what a worker computes with is never `NaN`, nor without an end. */
function checkGeneration({ prompt, parameters, stream }: GenerationRequest): void {
  check(typeof stream === "boolean", "whether to stream", stream);
  switch (prompt.kind) {
    case "text":
      check(typeof prompt.text === "string", "a text", prompt.text);
      break;
    case "tokens":
      check(
        prompt.ids.every((id) => Number.isSafeInteger(id) && id >= 0),
        "token ids",
        prompt.ids.slice(0, 5),
      );
      break;
    case "chat":
      check(prompt.messages.length > 0, "messages", prompt.messages.length);
      check(
        prompt.messages.every(({ role }) => typeof role === "string"),
        "roles",
        undefined,
      );
      break;
  }
  for (const [name, value] of Object.entries(parameters)) {
    if (typeof value === "number") check(Number.isFinite(value), `a number as ${name}`, value);
  }
  const { sequences = 1, maxNewTokens = 1, stop = [], logitBias = {} } = parameters;
  check(
    Number.isInteger(sequences) && sequences >= 1 && sequences <= 1024,
    "a few sequences",
    sequences,
  );
  check(
    maxNewTokens === null || (Number.isInteger(maxNewTokens) && maxNewTokens >= 0),
    "a length",
    maxNewTokens,
  );
  check(
    stop.every((text) => typeof text === "string"),
    "texts to stop at",
    stop,
  );
  check(Object.values(logitBias).every(Number.isFinite), "biases", logitBias);
}

function isPlainObject(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function check(holds: boolean, wanted: string, found: unknown): void {
  if (holds) return;
  const shown = typeof found === "string" ? found : (JSON.stringify(found) ?? String(found));
  throw new Defect(`not well-formed: ${wanted}`, `found ${shown.slice(0, 300)}`);
}
