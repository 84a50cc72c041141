/**
 * The neutral request and answer that every protocol translates to and from.
 *
 * Nothing here knows HTTP, processes or models. All of it survives structured cloning, so it crosses the process
 * wall as it is; the one exception, a stream's `AsyncIterable`, is carried by messages of its own.
 */
import type { GenerationAbilities, GenerationLimits, GenerationRequest } from "./generation.ts";
import type { Device } from "./weights.ts";

/**
 * What is asked of a model: an answer in its task's own shape, or why it answers so; its graph's raw outputs (`tensors`); a
 * text, in neutral words (`generation`).
 */
export type InferenceKind = "predict" | "explain" | "tensors" | "generate";

/** The Open Inference Protocol's names of what a tensor holds. */
export const TENSOR_DATATYPES = [
  "BOOL",
  "UINT8",
  "UINT16",
  "UINT32",
  "UINT64",
  "INT8",
  "INT16",
  "INT32",
  "INT64",
  "FP16",
  "FP32",
  "FP64",
  "BYTES",
] as const;
export type TensorDatatype = (typeof TENSOR_DATATYPES)[number];

/**
 * A tensor's elements, row by row. `BOOL` is a `Uint8Array` of 0 and 1, `FP16` a `Uint16Array` of the numbers' bits, `BYTES` a
 * list of byte strings.
 */
export type TensorData =
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Float32Array
  | Float64Array
  | readonly Uint8Array[];

export interface NamedTensor {
  readonly name: string;
  readonly datatype: TensorDatatype;
  /** As many elements as `data` has. */
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** What a graph takes or gives: -1 stands for a dimension of any length. */
export interface TensorSpec {
  readonly name: string;
  readonly datatype: TensorDatatype;
  readonly shape: readonly number[];
}

/** Anything `JSON.stringify` prints without loss. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

/** Bytes with their media type: an image, audio, or what a handler returns as a file. */
export interface Media {
  readonly bytes: Uint8Array;
  /** A media type such as `image/png`; parameters allowed. */
  readonly contentType: string;
}

/** Whether a value of a request's data is a file. No JSON body can hold one: JSON has no bytes. */
export function isMedia(value: unknown): value is Media {
  if (typeof value !== "object" || value === null) return false;
  return (
    "bytes" in value &&
    value.bytes instanceof Uint8Array &&
    "contentType" in value &&
    typeof value.contentType === "string"
  );
}

/** One question to a model. */
export interface InferenceRequest {
  /** The client's `x-request-id`, or one made for it. */
  readonly id: string;
  readonly kind: InferenceKind;
  /**
   * The body as the client sent it: `inputs`, `parameters` and any further keys. The handler receives a copy of its
   * own. Where `media` is given, `inputs` is absent here. A form's several files stand in it as `Media`, wherever a JSON
   * body would have base64; a custom handler gets them as `Blob`s.
   */
  readonly data: Readonly<Record<string, unknown>>;
  /** A binary body. It reaches the handler as a `Blob` in `data.inputs`. */
  readonly media?: Media;
  /** What the graph reads, for kind `"tensors"`; `data` is empty then. */
  readonly tensors?: {
    readonly inputs: readonly NamedTensor[];
    /** The outputs that are wanted; all where absent. */
    readonly outputs?: readonly string[];
  };
  /** What to write, for kind `"generate"`; `data` is empty then. */
  readonly generation?: GenerationRequest;
  /** Request headers in lower case, without credentials. */
  readonly headers: Readonly<Record<string, string>>;
  /**
   * Set where the engine has split a list of inputs: this is one element of it, still in a list. The answer must be
   * a list of one, as the parts' answers are joined in order.
   */
  readonly part?: { readonly index: number };
}

/**
 * What a request wants besides its kind's own answer: on routes that only predict, `parameters.explain` asks for an
 * explanation beside the prediction.
 */
export function wantsExplanation({
  kind,
  data,
}: Pick<InferenceRequest, "kind" | "data">): "no" | "beside" | "only" {
  if (kind === "explain") return "only";
  const parameters = data["parameters"];
  const isAsked =
    typeof parameters === "object" &&
    parameters !== null &&
    "explain" in parameters &&
    parameters.explain === true;
  return isAsked ? "beside" : "no";
}

/** How a model takes work: what the engine may hand its worker at once. */
export interface Batching {
  /** Whether several requests may go to the worker as one batch. */
  readonly kind: "batch" | "single";
  /** Requests that one worker may answer at the same time, for a handler that takes them one by one. */
  readonly concurrency: number;
  /** Whether the answer to a list of inputs is the list of its elements' answers. */
  readonly splitsLists: boolean;
  /**
   * What a request's cost is predicted from: the characters of its text, or, where an input's size says nothing about
   * its cost (images are resized), how many inputs it has. Characters where absent.
   */
  readonly measure?: "characters" | "items";
}

export const ONE_BY_ONE: Batching = { kind: "single", concurrency: 1, splitsLists: false };

/** One run of a model over several inputs at once, for whoever learns what such a run costs. */
export interface ForwardPass {
  readonly items: number;
  /** Tokens of the longest input: what the others were padded to. */
  readonly length: number;
  /** Tokens of all inputs, without padding. */
  readonly tokens: number;
  readonly ms: number;
}

export const METRIC_TYPES = ["counter", "gauge", "histogram"] as const;
export type MetricType = (typeof METRIC_TYPES)[number];

/** One value that a handler measured, on its way to `/metrics`. */
export interface HandlerMetric {
  readonly name: string;
  readonly type: MetricType;
  /** TorchServe's word for it: `"Milliseconds"`, `"Count"`. */
  readonly unit: string;
  readonly value: number;
  /** What it belongs to besides its model. */
  readonly dimensions: Readonly<Record<string, string>>;
  readonly requestId: string;
}

/** What a handler says of its answer's HTTP head. Protocols whose answers have a fixed shape leave it aside. */
export interface ResponseHead {
  /** From 200 to 599. */
  readonly status?: number;
  /** In lower case. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** One answer of a model. */
export type InferenceOutput =
  | { readonly kind: "json"; readonly value: JsonValue }
  | { readonly kind: "media"; readonly media: Media }
  /** Of kind `"tensors"`, and of no other. */
  | { readonly kind: "tensors"; readonly tensors: readonly NamedTensor[] }
  | { readonly kind: "stream"; readonly chunks: AsyncIterable<JsonValue> };

/** How long the stages of one request took, in milliseconds. */
export interface InferenceTimings {
  /** From the permit to the worker. */
  readonly queueMs: number;
  /** Inside the handler, until its answer or, for a stream, until its iterator. */
  readonly inferenceMs: number;
  /** Parts of `inferenceMs`, where the handler tells them; absent for a list, whose parts are each under way for themselves. */
  readonly stages?: StageTimes;
}

/** How long the parts of an inference took in the worker, in milliseconds. */
export interface StageTimes {
  /** Making the input ready: tokenizing, decoding an image. */
  readonly prepareMs: number;
  /** From there until the model ran with it: others of the batch had their turn. */
  readonly waitMs: number;
  /** The runs of the model that it was in. */
  readonly modelMs: number;
  /** How many inputs were in the largest of those runs. */
  readonly batchSize: number;
}

export interface InferenceResult {
  readonly output: InferenceOutput;
  readonly timings: InferenceTimings;
  /** How many tokens the model read, special ones included; where the handler counts them. */
  readonly tokens?: number;
  /** What the caller should know about the answer: a text was cut, a parameter had no effect. */
  readonly warnings?: readonly string[];
  /** What a handler of a repository's own says of the answer's head. */
  readonly response?: ResponseHead;
}

/** What a ready model says about itself: for the log, `/info`, and protocols that shape answers by task. */
export interface ModelDescription {
  /** Who answers: the repository's own handler, or the default handler. */
  readonly handler: "custom" | "default";
  /** The file that holds the custom handler, relative to the repository; absent for the default handler. */
  readonly handlerFile?: string;
  /** The ML task (`"text-classification"`); absent where a custom handler needs none. */
  readonly task?: string;
  /** The dtype of the weights in use (`"q8"`, `"fp32"`); absent where a custom handler chooses for itself. */
  readonly dtype?: string;
  /** `config.json`'s `model_type`, where there is one. */
  readonly modelType?: string;
  /** A request's body that this model answers: for the log's "Try it" and for documentation. */
  readonly example?: JsonValue;
  /** What its graph takes and gives, where it answers requests of kind `"tensors"`. */
  readonly signature?: {
    readonly inputs: readonly TensorSpec[];
    readonly outputs: readonly TensorSpec[];
  };
  /** There where it answers requests of kind `"generate"`. */
  readonly generation?: GenerationAbilities;
  /** JSON Schemas of what it takes under `inputs` and `parameters`, where it knows. */
  readonly schemas?: { readonly inputs?: JsonValue; readonly parameters?: JsonValue };
  /** Sentences a person should read once at the start: what was found and chosen, and warnings. */
  readonly notes: readonly { readonly level: "info" | "warn"; readonly text: string }[];
}

/** What to load, decided by the parent or the harness. */
/** A repository's handler as one ES module in text. */
export interface CompiledBundle {
  /** The file that it was made of, relative to the repository. */
  readonly file: string;
  readonly code: string;
  /** The files that went into it, absolute. */
  readonly files: readonly string[];
  /** What the compiler found odd, one sentence each. */
  readonly warnings: readonly string[];
  /** Where the handler's file is, and the folders that are asked for packages that its own lack. */
  readonly scope: { readonly handler: string; readonly fallbacks: readonly string[] };
}

export interface LoadOptions {
  /** The repository's folder, absolute. */
  readonly repository: string;
  /** The file of the repository that holds the handler, where somebody named it; relative. */
  readonly handlerFile?: string;
  /** The task, where the user named one. */
  readonly task?: string;
  /** The dtype of the weights, where the user named one. */
  readonly dtype?: string;
  /** The folder whose `node_modules` holds what `requirements.json` asked for. */
  readonly dependencies?: string;
  /** The handler, compiled already: a worker in a sandbox may not start the compiler. */
  readonly bundle?: CompiledBundle;
  /** The folder of a worker in a sandbox, absolute, which it removes when it ends. */
  readonly scratch?: string;
  /** Whether the model answers its own example before it is ready. */
  readonly warmsUp?: boolean;
  /** Threads that one inference may use; onnxruntime's own default when absent. */
  readonly intraOpThreads?: number;
  /** Where it is computed; on the CPU when absent. */
  readonly device?: Device;
  /** How much may be generated at once, by a model that generates. */
  readonly generation?: GenerationLimits;
  /** Hosts from which inputs given as URLs may be fetched; none when absent. */
  readonly urlHosts?: readonly string[];
  /** The `handler:` section of `model-config.yaml`: TorchServe's keys for its generalized handler. */
  readonly handlerSettings?: {
    /** The file's name, for messages. */
    readonly file: string;
    readonly keys: Readonly<Record<string, JsonValue>>;
  };
}
