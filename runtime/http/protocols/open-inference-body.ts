/**
 * The body of an inference request over REST: JSON, with the binary tensor extension JSON and then the bytes of its tensors.
 *
 * Content types are not asked for: `curl -d` names a form, many clients nothing. What documented samples do is read as they
 * mean it: a shape that is a bare number, data that is a bare scalar, datatypes in lower case.
 *
 * Facts: Open Inference Protocol, "Inference"; Triton's binary tensor data extension.
 */
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import { TENSOR_DATATYPES, type TensorDatatype } from "../../inference.ts";
import { readBodyBytes } from "../body.ts";
import { printable } from "../content-type.ts";
import { decodeText, parseJson } from "../json-body.ts";
import { quoteLongIntegers } from "./exact-integers.ts";
import type { OipInferRequest, OipParameters, OipTensor } from "./open-inference-exchange.ts";
import { cannotRead, countElements, decodeTensor, toDatatype } from "./tensor-codec.ts";
import { readJsonElements, settleShape } from "./tensor-json.ts";

/** How many bytes of a body are JSON, in requests and answers that have binary tensors. */
export const JSON_LENGTH_HEADER = "inference-header-content-length";

const EXAMPLE = '{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["…"]}';

const Parameters = z
  .record(z.string(), z.unknown(), "an object")
  .nullish()
  .transform((given) => (given ?? {}) as OipParameters); // JSON.parse made it
const Lengths = z.union([z.number(), z.array(z.number())], "a list of whole numbers");

export const InferBody = z.looseObject(
  {
    id: z.union([z.string(), z.number()], "a string").nullish(),
    parameters: Parameters,
    inputs: z.array(
      z.looseObject(
        {
          name: z.string("a string").min(1, "a string that is not empty"),
          shape: Lengths,
          datatype: z.unknown().describe(TENSOR_DATATYPES.join(", ")).optional(),
          data: z.unknown().describe("A list, flat or nested as the shape is").optional(),
          parameters: Parameters,
        },
        `a tensor such as ${EXAMPLE}`,
      ),
      `a list of tensors such as ${EXAMPLE}`,
    ),
    outputs: z
      .array(
        z.looseObject({ name: z.string("a string"), parameters: Parameters }, "an object"),
        "a list of objects",
      )
      .nullish(),
  },
  `an object such as {"inputs": [${EXAMPLE}]}`,
);
type InferBody = z.output<typeof InferBody>;

export interface InferTarget {
  readonly modelName: string;
  readonly modelVersion: string | undefined;
  /** What the request is called where its client has not said. */
  readonly id: string;
}

/** @throws RuntimeError as `readBodyBytes`, and `INVALID_INPUT` for what is no inference request. */
export async function readInferRequest(
  request: Request,
  limitBytes: number,
  { id, ...target }: InferTarget,
): Promise<OipInferRequest> {
  const bytes = await readBodyBytes(request, limitBytes);
  const jsonLength = readJsonLength(request, bytes.byteLength);
  const json = bytes.subarray(0, jsonLength);
  const body = checkBody(InferBody, parseJson(json));
  const blobs = takeBlobs(body, jsonLength === undefined ? undefined : bytes.subarray(jsonLength));
  const exact = exactData(json);
  return {
    ...target,
    id: String(body.id ?? id),
    parameters: body.parameters,
    inputs: body.inputs.map((input, i) => readTensor(input, blobs[i], () => exact(i))),
    outputs: (body.outputs ?? []).map(({ name, parameters }) => ({ name, parameters })),
  };
}

/** @returns `undefined` where the body is nothing but JSON. */
function readJsonLength(request: Request, bodyLength: number): number | undefined {
  const header = request.headers.get(JSON_LENGTH_HEADER)?.trim();
  if (header === undefined || header === "") return undefined;
  if (/^\d{1,15}$/.test(header) && Number(header) <= bodyLength) return Number(header);
  throw refusal(
    `its header Inference-Header-Content-Length is "${printable(header)}", wanted a number of bytes up to the body's ${bodyLength}`,
  );
}

/**
 * Checks a body against a schema whose error texts say what is wanted.
 *
 * @throws RuntimeError `INVALID_INPUT` that names the place.
 */
export function checkBody<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const read = schema.safeParse(value);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  const path = issue?.path ?? [];
  const name = path.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`));
  const found = path.reduce<unknown>(
    (inner, key) => Object.getOwnPropertyDescriptor(Object(inner), key)?.value,
    value,
  );
  const place = name.length === 0 ? "it" : `"${name.join("").slice(1, 100)}"`;
  throw refusal(`${place} is ${kindOf(found)}, wanted ${issue?.message ?? "something else"}`);
}

/** What each input's bytes are, one after the other; `undefined` for those in JSON. */
function takeBlobs(
  { inputs }: InferBody,
  rest: Uint8Array | undefined,
): readonly (Uint8Array | undefined)[] {
  let taken = 0;
  const blobs = inputs.map(({ name, parameters, data }) => {
    const size = parameters["binary_data_size"];
    if (size === undefined) return undefined;
    const title = titleOf(name);
    if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
      throw cannotRead(title, "its binary_data_size is no number of bytes");
    if (data !== undefined)
      throw cannotRead(title, "it has data and a binary_data_size, wanted one of both");
    const length = rest?.byteLength;
    if (rest === undefined || length === undefined)
      throw cannotRead(
        title,
        "it has a binary_data_size, wanted the header Inference-Header-Content-Length with it",
      );
    if (size > length - taken)
      throw cannotRead(title, `its binary_data_size is ${size}, found ${length - taken} bytes`);
    taken += size;
    return rest.subarray(taken - size, taken);
  });
  const left = (rest?.byteLength ?? 0) - taken;
  if (left === 0) return blobs;
  throw refusal(`${left} bytes follow its tensors, wanted as many as binary_data_size says`);
}

function readTensor(
  { name, shape: lengths, datatype: given, data, parameters }: InferBody["inputs"][number],
  blob: Uint8Array | undefined,
  exact: () => unknown,
): OipTensor {
  const title = titleOf(name);
  const datatype = toDatatype(given, title);
  const shape = typeof lengths === "number" ? [lengths] : lengths;
  const { binary_data_size: _size, ...others } = parameters;
  const rest = { name, datatype, parameters: others };
  if (blob !== undefined) {
    const isKnown = shape.length > 0 && !shape.includes(-1);
    const count = isKnown ? countElements(shape, title) : undefined;
    const decoded = decodeTensor(blob, datatype, { title, count });
    return { ...rest, shape: settleShape(shape, [decoded.length], title), data: decoded };
  }
  if (data === undefined)
    throw cannotRead(title, `its data is missing, wanted a list of ${datatype}`);
  const isBase64 = others["content_type"] === "base64";
  const value = isLong(datatype) && hasInexact(data) ? exact() : data;
  return { ...rest, ...readJsonElements(value, datatype, { title, shape, isBase64 }) };
}

/**
 * The data of an input as it is in the text, with long integers as strings; read once, and only when somebody asks.
 */
function exactData(json: Uint8Array): (index: number) => unknown {
  let inputs: InferBody["inputs"] | undefined;
  return (index) => {
    inputs ??= checkBody(InferBody, JSON.parse(quoteLongIntegers(decodeText(json)))).inputs;
    return inputs[index]?.data;
  };
}

function isLong(datatype: TensorDatatype): boolean {
  return datatype === "INT64" || datatype === "UINT64";
}

function hasInexact(data: unknown): boolean {
  if (Array.isArray(data)) return data.some(hasInexact);
  return typeof data === "number" && !Number.isSafeInteger(data);
}

function titleOf(name: string): string {
  return `the input "${name.slice(0, 100)}"`;
}

function kindOf(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function refusal(problem: string): RuntimeError {
  return new RuntimeError("INVALID_INPUT", `Cannot read the body: ${problem}`);
}
