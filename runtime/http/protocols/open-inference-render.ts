/**
 * Inference responses over REST: JSON, or, for tensors that a client wants binary, JSON and then their bytes.
 *
 * The JSON is put together by hand around each tensor's data: `JSON.stringify` knows no 64-bit integers, and takes its time
 * over lists of a million numbers.
 */
import type { Rendered } from "../render.ts";
import { JSON_LENGTH_HEADER } from "./open-inference-body.ts";
import type { OipInferRequest, OipInferResponse, OipTensor } from "./open-inference-exchange.ts";
import { encodeTensor } from "./tensor-codec.ts";
import { printJsonElements } from "./tensor-json.ts";

/** @param asked What was asked for; it says which tensors go out binary. */
export function renderInferResponse(
  { modelName, modelVersion, id, parameters, outputs }: OipInferResponse,
  asked: Pick<OipInferRequest, "parameters" | "outputs">,
): Rendered {
  const blobs: Uint8Array[] = [];
  const printed = outputs.map((tensor) => {
    if (!wantsBinary(tensor.name, asked)) return printTensor(tensor);
    const blob = encodeTensor(tensor.datatype, tensor.data);
    blobs.push(blob);
    return JSON.stringify(withParameters(tensor, { binary_data_size: blob.byteLength }));
  });
  const head = {
    id,
    model_name: modelName,
    model_version: modelVersion,
    ...(parameters !== undefined && { parameters }),
  };
  const json = `${JSON.stringify(head).slice(0, -1)},"outputs":[${printed.join(",")}]}`;
  if (blobs.length === 0) return { body: json, headers: { "content-type": "application/json" } };
  const bytes = Buffer.from(json);
  return {
    body: new Uint8Array(Buffer.concat([bytes, ...blobs])),
    headers: {
      "content-type": "application/octet-stream",
      [JSON_LENGTH_HEADER]: String(bytes.byteLength),
    },
  };
}

function wantsBinary(
  name: string,
  { parameters, outputs = [] }: Pick<OipInferRequest, "parameters" | "outputs">,
): boolean {
  const own = outputs.find((output) => output.name === name)?.parameters?.["binary_data"];
  return own === true || (own !== false && parameters["binary_data_output"] === true);
}

function printTensor(tensor: OipTensor): string {
  const { text, isBase64 } = printJsonElements(tensor.datatype, tensor.data);
  const head = JSON.stringify(withParameters(tensor, isBase64 ? { content_type: "base64" } : {}));
  return `${head.slice(0, -1)},"data":${text}}`;
}

function withParameters(
  { name, shape, datatype, parameters = {} }: OipTensor,
  more: NonNullable<OipTensor["parameters"]>,
): Omit<OipTensor, "data"> {
  const all = { ...parameters, ...more };
  return { name, shape, datatype, ...(Object.keys(all).length > 0 && { parameters: all }) };
}
