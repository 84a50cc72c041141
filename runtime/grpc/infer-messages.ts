/**
 * `ModelInferRequest` and `ModelInferResponse`, and what REST shares with them (`open-inference-exchange.ts`).
 *
 * Contents are raw or typed, and never both; the answer's are as the request's were. FP16 has no typed contents, so an answer
 * that holds it is raw in any case.
 */
import { RuntimeError } from "../errors.ts";
import type {
  OipInferRequest,
  OipInferResponse,
  OipTensor,
} from "../http/protocols/open-inference-exchange.ts";
import {
  cannotRead,
  countElements,
  decodeTensor,
  encodeTensor,
  toDatatype,
  type TensorTitle,
} from "../http/protocols/tensor-codec.ts";
import type { TensorData, TensorDatatype } from "../inference.ts";
import {
  MOST_BYTES_ELEMENTS,
  readContents,
  writeContents,
  type TensorContents,
} from "./contents.ts";
import { readParameters, writeParameters, type InferParameters } from "./parameters.ts";

export interface InferInputTensor {
  readonly name: string;
  readonly datatype: string;
  /** Decimal text. */
  readonly shape: readonly string[];
  readonly parameters: InferParameters;
  /** Still encoded; empty where absent. */
  readonly contents: Uint8Array;
}

/** As decoded: what is absent is empty. */
export interface ModelInferRequest {
  readonly model_name: string;
  readonly model_version: string;
  readonly id: string;
  readonly parameters: InferParameters;
  readonly inputs: readonly InferInputTensor[];
  readonly outputs: readonly { readonly name: string; readonly parameters: InferParameters }[];
  readonly raw_input_contents: readonly Uint8Array[];
}

export interface ModelInferResponse {
  readonly model_name: string;
  readonly model_version: string;
  readonly id: string;
  readonly parameters: InferParameters;
  readonly outputs: readonly {
    readonly name: string;
    readonly datatype: string;
    readonly shape: readonly number[];
    readonly parameters: InferParameters;
    readonly contents?: TensorContents;
  }[];
  readonly raw_output_contents?: readonly Uint8Array[];
}

/** Whether a request's contents are raw, and so its answer's. */
export function isRaw({ raw_input_contents: raw }: ModelInferRequest): boolean {
  return raw.length > 0;
}

/**
 * @param id What the request is called where its client has not said.
 * @throws RuntimeError `INVALID_INPUT` where contents are missing, of two kinds, or do not fit datatype and shape.
 */
export function readInferRequest(message: ModelInferRequest, id: string): OipInferRequest {
  const { inputs, outputs, raw_input_contents: raw } = message;
  if (isRaw(message)) assertRaw(inputs, raw);
  return {
    modelName: message.model_name,
    modelVersion: message.model_version || undefined,
    id: message.id || id,
    parameters: readParameters(message.parameters),
    inputs: inputs.map((input, i) => readTensor(input, raw[i])),
    outputs: outputs.map(({ name, parameters }) => ({
      name,
      parameters: readParameters(parameters),
    })),
  };
}

function assertRaw(inputs: readonly InferInputTensor[], raw: readonly Uint8Array[]): void {
  const mixed = inputs.find(({ contents }) => contents.byteLength > 0);
  if (mixed !== undefined)
    throw cannotRead(
      titleOf(mixed.name),
      "it has typed contents while the request has raw_input_contents, wanted one of both",
    );
  if (raw.length === inputs.length) return;
  throw new RuntimeError(
    "INVALID_INPUT",
    `Cannot read the request: found ${raw.length} raw_input_contents for ${inputs.length} inputs, wanted one for each`,
  );
}

function readTensor(
  { name, datatype: given, shape: lengths, parameters, contents }: InferInputTensor,
  raw: Uint8Array | undefined,
): OipTensor {
  const title = titleOf(name);
  const datatype = toDatatype(given, title);
  const shape = lengths.map(Number);
  // As in REST: as many as there are.
  const isOpen = shape.length === 1 && shape[0] === -1;
  const count = isOpen ? undefined : countElements(shape, title);
  const data =
    raw === undefined
      ? readContents(contents, datatype, {
          title,
          shape: count === undefined ? undefined : { lengths: shape, count },
        })
      : readRaw(plain(raw), datatype, title, count);
  return {
    name,
    datatype,
    shape: isOpen ? [data.length] : shape,
    data,
    parameters: readParameters(parameters),
  };
}

function readRaw(
  raw: Uint8Array,
  datatype: TensorDatatype,
  title: TensorTitle,
  count: number | undefined,
): TensorData {
  if (datatype === "BYTES" && (count ?? countStrings(raw)) > MOST_BYTES_ELEMENTS)
    throw cannotRead(title, `it has more than ${MOST_BYTES_ELEMENTS} elements`);
  return decodeTensor(raw, datatype, { title, count });
}

/** Lengths of four bytes, each followed by as many. */
function countStrings(raw: Uint8Array): number {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  let count = 0;
  for (let at = 0; at + 4 <= raw.byteLength; at += 4 + view.getUint32(at, true)) count++;
  return count;
}

/** Without a `Buffer`'s own ways: its `slice` does not copy. */
function plain({ buffer, byteOffset, byteLength }: Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function titleOf(name: string): string {
  return `the input "${name.slice(0, 100)}"`;
}

export function writeInferResponse(
  { modelName, modelVersion, id, parameters, outputs }: OipInferResponse,
  wantsRaw: boolean,
): ModelInferResponse {
  const isRawAnswer = wantsRaw || outputs.some(({ datatype }) => datatype === "FP16");
  return {
    model_name: modelName,
    model_version: modelVersion,
    id,
    parameters: writeParameters(parameters),
    outputs: outputs.map((output) => ({
      name: output.name,
      datatype: output.datatype,
      shape: output.shape,
      parameters: writeParameters(output.parameters),
      ...(!isRawAnswer && { contents: writeContents(output) }),
    })),
    ...(isRawAnswer && {
      raw_output_contents: outputs.map(({ datatype, data }) => encodeTensor(datatype, data)),
    }),
  };
}
