/**
 * The Open Inference Protocol without its transport: what REST (`open-inference.ts`) and gRPC both make of a request, and what
 * they both answer. Tensors are bytes and typed arrays here; JSON and protobuf are the doors' own affair.
 *
 * A request goes one of three ways. Tensors that the graph knows by name go straight to it. Text, for the default handler, is
 * what its task reads (`open-inference-texts.ts`). A custom handler gets plain values (`open-inference-values.ts`).
 * Answers that are no tensors become some in `open-inference-answer.ts`.
 */
import { RuntimeError } from "../../errors.ts";
import type {
  InferenceRequest,
  InferenceResult,
  JsonValue,
  ModelDescription,
  NamedTensor,
} from "../../inference.ts";
import { toOutputs, type Answering } from "./open-inference-answer.ts";
import { readTexts } from "./open-inference-texts.ts";
import { readValues } from "./open-inference-values.ts";
import { cannotRead } from "./tensor-codec.ts";

export type OipParameters = Readonly<Record<string, JsonValue>>;

/** A tensor on the wire. Its parameters are the transport's, or say what its bytes are. */
export interface OipTensor extends NamedTensor {
  readonly parameters?: OipParameters;
}

/** `ModelInferRequest`, whichever door it came through. */
export interface OipInferRequest {
  readonly modelName: string;
  /** `undefined`: the default version, or by weight. */
  readonly modelVersion: string | undefined;
  /** The client's, or one made for it; echoed. */
  readonly id: string;
  /** The task's parameters, with those of the protocol among them. */
  readonly parameters: OipParameters;
  readonly inputs: readonly OipTensor[];
  /** What is wanted; everything where absent or empty. */
  readonly outputs?: readonly { readonly name: string; readonly parameters?: OipParameters }[];
}

/** `ModelInferResponse`. */
export interface OipInferResponse {
  readonly modelName: string;
  readonly modelVersion: string;
  readonly id: string;
  readonly parameters?: OipParameters;
  readonly outputs: readonly OipTensor[];
}

/** What surrounds a request. */
export interface ExchangeOptions {
  readonly description: ModelDescription;
  /** For the log and the handler: the client's `x-request-id`, or one made for it. */
  readonly requestId: string;
  /** In lower case, without credentials. */
  readonly headers: Readonly<Record<string, string>>;
}

/** One request on its way to the engine and back. */
export interface Exchange {
  /** For `engine.submit`. */
  readonly request: InferenceRequest;
  /**
   * @param model Who answered.
   * @throws RuntimeError `NOT_SUPPORTED` for a stream that is too long; whatever a stream throws.
   */
  toResponse(
    result: InferenceResult,
    model: { readonly name: string; readonly version: string },
  ): Promise<OipInferResponse>;
}

/** The one output of whatever is not a graph's own; TorchServe's name for it. */
export const OUTPUT_NAME = "predict";

/** @throws RuntimeError `INVALID_INPUT` where the tensors are not what this model reads, or an unknown output is wanted. */
export function openExchange(asked: OipInferRequest, options: ExchangeOptions): Exchange {
  assertDistinct(asked.inputs);
  assertSupported(asked);
  const { request, answering, outputNames } = isForGraph(asked.inputs, options.description)
    ? toGraphRequest(asked, options)
    : toModelRequest(asked, options);
  assertKnown(asked.outputs ?? [], outputNames, options.description);
  return {
    request,
    async toResponse(result, model) {
      return {
        modelName: model.name,
        modelVersion: model.version,
        id: asked.id,
        outputs: await toOutputs(result.output, answering, OUTPUT_NAME),
      };
    },
  };
}

interface Way {
  readonly request: InferenceRequest;
  readonly answering: Answering;
  readonly outputNames: readonly string[];
}

/** Straight to the graph: every name is one of its inputs, or nothing is there that a task could read. */
function isForGraph(inputs: readonly OipTensor[], { signature }: ModelDescription): boolean {
  if (signature === undefined) return false;
  const known = new Set(signature.inputs.map(({ name }) => name));
  return (
    inputs.every(({ name }) => known.has(name)) ||
    inputs.every(({ datatype }) => datatype !== "BYTES")
  );
}

function toGraphRequest(
  { inputs, outputs = [] }: OipInferRequest,
  { description, requestId: id, headers }: ExchangeOptions,
): Way {
  const wanted = outputs.map(({ name }) => name);
  return {
    request: {
      id,
      kind: "tensors",
      data: {},
      tensors: {
        inputs: inputs.map(({ name, datatype, shape, data }) => ({ name, datatype, shape, data })),
        ...(wanted.length > 0 && { outputs: wanted }),
      },
      headers,
    },
    answering: { isDefault: true, count: undefined },
    outputNames: description.signature?.outputs.map(({ name }) => name) ?? [],
  };
}

function toModelRequest(
  { inputs, parameters }: OipInferRequest,
  { description, requestId: id, headers }: ExchangeOptions,
): Way {
  const own = withoutProtocols(parameters);
  const read = description.handler === "custom" ? readValues : readTexts;
  const { data, answering } = read(inputs, own, description);
  return {
    request: { id, kind: "predict", data, headers },
    answering,
    outputNames: [OUTPUT_NAME],
  };
}

/** Parameters that the protocol and its extensions have for themselves: Triton's, and MLServer's. */
const PROTOCOL_PARAMETERS: ReadonlySet<string> = new Set([
  "binary_data",
  "binary_data_output",
  "binary_data_size",
  "classification",
  "content_type",
  "headers",
  "priority",
  "sequence_end",
  "sequence_id",
  "sequence_start",
  "timeout",
]);

/** What is left for the task. */
function withoutProtocols(parameters: OipParameters): OipParameters {
  return Object.fromEntries(
    Object.entries(parameters).filter(
      ([name]) => !PROTOCOL_PARAMETERS.has(name) && !name.startsWith("triton_"),
    ),
  );
}

function assertDistinct(inputs: readonly OipTensor[]): void {
  const names = new Set<string>();
  for (const { name } of inputs) {
    if (names.has(name)) throw cannotRead(`the input "${name}"`, "there are two of that name");
    names.add(name);
  }
}

/** Parameters of tensors that ask for what would quietly not happen. */
const UNSUPPORTED = ["shared_memory_region", "classification"] as const;

function assertSupported({ inputs, outputs = [] }: OipInferRequest): void {
  for (const { name, parameters = {} } of [...inputs, ...outputs]) {
    const found = UNSUPPORTED.find((parameter) => Object.hasOwn(parameters, parameter));
    if (found !== undefined)
      throw cannotRead(`the tensor "${name}"`, `its parameter ${found} is not supported here`);
  }
}

function assertKnown(
  outputs: NonNullable<OipInferRequest["outputs"]>,
  known: readonly string[],
  { signature }: ModelDescription,
): void {
  const unknown = outputs.find(({ name }) => !known.includes(name));
  if (unknown === undefined) return;
  const isGraphs = signature?.outputs.some(({ name }) => name === unknown.name) === true;
  const hint = isGraphs ? "; that output is the graph's, which answers tensors that it takes" : "";
  throw new RuntimeError(
    "INVALID_INPUT",
    `Cannot answer: there is no output "${unknown.name.slice(0, 100)}" here, wanted one of ${known.join(", ")}${hint}`,
  );
}
