/**
 * TorchServe's envelopes (`service_envelope`): what wraps the inputs of a request and the answers to them.
 *
 * `body` takes the body alone; `json` is TensorFlow Serving's form, `kserve` KServe's first protocol, `kservev2` its second.
 * Each instance becomes a request of its own, so that several are batched with whatever else waits. Unlike there every
 * request is read where several make a batch, and one without an `id` gets its own and never another client's.
 *
 * Wire facts: `ts/torch_handler/request_envelope/` of TorchServe 0.12.
 */
import { isFields } from "../../fields.ts";
import { isRuntimeError, RuntimeError } from "../../errors.ts";
import { isMedia, type InferenceKind, type JsonValue } from "../../inference.ts";
import { sniffMediaType } from "../../media-type.ts";
import type { Envelope } from "../../torchserve-modes.ts";
import { parseJson } from "../json-body.ts";
import { toPythonJson, toPythonLine } from "./torchserve-json.ts";
import type { Row } from "./torchserve-row.ts";

/** What was in an envelope, and how its answers go back. */
export interface Opened {
  /** One request each. */
  readonly rows: readonly Row[];
  /** @param answers One for each row, in their order. @returns The body. */
  readonly seal: (answers: readonly JsonValue[]) => string;
}

export interface Sender {
  readonly kind: InferenceKind;
  /** Whether the answers are the default handler's. */
  readonly isDefault: boolean;
  readonly requestId: string;
  readonly model: string;
  readonly version: string;
}

/** More instances are more work than one request should be. */
export const MOST_INSTANCES = 1024;

/**
 * @returns `undefined` for an envelope that wraps no answer.
 * @throws RuntimeError `INVALID_INPUT` when the body is not what the envelope holds.
 */
export function openEnvelope(envelope: Envelope, row: Row, sender: Sender): Opened | undefined {
  const { kind, isDefault } = sender;
  switch (envelope) {
    case "body":
      return undefined;
    case "json":
      return {
        rows: instancesOf(envelope, row).map(decodeInstance),
        seal: (answers) => toPythonLine({ predictions: answers }, isDefault),
      };
    case "kserve":
      return {
        rows: instancesOf(envelope, row).map((instance) =>
          isBody(instance) ? instance : { data: instance },
        ),
        seal: (answers) =>
          toPythonJson(
            { [kind === "explain" ? "explanations" : "predictions"]: answers },
            isDefault,
          ),
      };
    case "kservev2":
      return openTensors(row, sender);
  }
}

/** With `body` a row is its input, whatever else stands beside it. */
export function withoutEnvelope(row: Row): Row {
  const input = row["data"] ?? row["body"];
  return input === undefined ? row : { body: input };
}

type Fields = Readonly<Record<string, unknown>>;

function instancesOf(envelope: Envelope, row: Row): readonly unknown[] {
  const body = bodyOf(row, envelope);
  return assertCount(envelope, "instances", body["instances"]);
}

function assertCount(envelope: Envelope, key: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0)
    throw wrong(envelope, `wanted a list under "${key}" with something in it`);
  if (value.length <= MOST_INSTANCES) return value;
  throw wrong(envelope, `"${key}" has ${value.length} elements, wanted at most ${MOST_INSTANCES}`);
}

/** The JSON object, also where nobody called it JSON. */
function bodyOf(row: Row, envelope: Envelope): Fields {
  const value = row["data"] ?? row["body"] ?? row;
  const bytes = isMedia(value) ? value.bytes : typeof value === "string" && Buffer.from(value);
  const parsed = bytes ? orUndefined(() => parseJson(bytes)) : value;
  if (isBody(parsed)) return parsed;
  throw wrong(envelope, "wanted a JSON object");
}

function orUndefined(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    if (!isRuntimeError(error)) throw error;
    return undefined; // no JSON, and so no object
  }
}

/** `{"b64": …}` is bytes, as a whole or under a name. */
function decodeInstance(instance: unknown): Row {
  if (!isBody(instance)) return { data: instance };
  const whole = bytesOf(instance);
  if (whole !== undefined) return { data: whole };
  return Object.fromEntries(
    Object.entries(instance).map(([name, value]) => [
      name,
      (isBody(value) ? bytesOf(value) : undefined) ?? value,
    ]),
  );
}

function bytesOf(value: Fields): unknown {
  const { b64, ...others } = value;
  if (typeof b64 !== "string" || Object.keys(others).length > 0) return undefined;
  if (!/^[A-Za-z0-9+/\s]*(?:={1,2}\s*)?$/.test(b64)) throw wrong("json", `"b64" is no base64`);
  const bytes = new Uint8Array(Buffer.from(b64, "base64"));
  return { bytes, contentType: sniffMediaType(bytes) ?? "application/octet-stream" };
}

/** One output for each input, under its name; of `BYTES` the first element is the input, as there. */
function openTensors(row: Row, { isDefault, requestId, model, version }: Sender): Opened {
  const body = bodyOf(row, "kservev2");
  const inputs = assertCount("kservev2", "inputs", body["inputs"]).map((input, index) => {
    if (!isBody(input) || typeof input["name"] !== "string" || !Array.isArray(input["data"]))
      throw wrong("kservev2", `inputs[${index}] wants a "name" and a list under "data"`);
    const { name, data, datatype } = input;
    const first: unknown = data[0];
    if (datatype === "BYTES" && typeof first !== "string")
      throw wrong(
        "kservev2",
        `inputs[${index}] has the datatype BYTES, wanted a text under "data"`,
      );
    return { name, row: { data: datatype === "BYTES" ? first : data } };
  });
  const id = typeof body["id"] === "string" && body["id"] !== "" ? body["id"] : requestId;
  return {
    rows: inputs.map((input) => input.row),
    seal: (answers) => {
      const outputs = answers.map((answer, index) => toOutput(inputs[index]?.name ?? "", answer));
      return toPythonJson({ id, model_name: model, model_version: version, outputs }, isDefault);
    },
  };
}

/** What `numpy.array(answer).flatten()` says of itself. */
function toOutput(name: string, answer: JsonValue): JsonValue {
  const data = flatten(answer);
  const isAll = (test: (value: JsonValue) => boolean): boolean => data.every(test);
  const shape = [data.length];
  if (data.length === 0) return { name, datatype: "FP64", data, shape };
  if (isAll((value) => typeof value === "boolean")) return { name, datatype: "BOOL", data, shape };
  if (isAll((value) => Number.isInteger(value))) return { name, datatype: "INT64", data, shape };
  if (isAll((value) => typeof value === "number")) return { name, datatype: "FP64", data, shape };
  const isPlain = isAll((value) => typeof value !== "object");
  return { name, datatype: "BYTES", data: isPlain ? data.map(String) : data, shape };
}

function flatten(value: JsonValue): readonly JsonValue[] {
  return Array.isArray(value) ? value.flatMap((each: JsonValue) => flatten(each)) : [value];
}

function isBody(value: unknown): value is Fields {
  return isFields(value) && !isMedia(value);
}

function wrong(envelope: Envelope, problem: string): RuntimeError {
  return new RuntimeError(
    "INVALID_INPUT",
    `Cannot open the envelope ${envelope}, in which this model's requests come: ${problem}`,
  );
}
