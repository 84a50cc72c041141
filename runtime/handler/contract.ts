/**
 * What a handler is: the class that a repository exports, and the same thing once it is loaded.
 *
 * `index.ts` re-exports the author's half of this file as hubserve's public types. It names no vendor and runs no
 * code, so a handler may import it freely.
 */
import type { GenerationStatistics } from "../generation.ts";
import type {
  Batching,
  ForwardPass,
  InferenceRequest,
  JsonValue,
  MetricType,
  ModelDescription,
  StageTimes,
} from "../inference.ts";
import type { Log } from "../observe/log.ts";
import type { StandardSchemaV1 } from "./standard-schema.ts";

export type { LoadOptions } from "../inference.ts";

/** A request's body: `inputs` and whatever else the client sent. Each call receives a fresh object it may change. */
export interface HandlerData {
  /** What the client sent under `inputs`; a `Blob` with its media type for a binary body. */
  inputs: unknown;
  [kwarg: string]: unknown;
}

/** What surrounds one request. */
export interface RequestContext {
  /** Aborted when the client has left or the deadline has passed: stop working then. */
  readonly signal: AbortSignal;
  /** The request's id, as the client sees it in `x-request-id`. */
  readonly requestId: string;
  /** Writes to the server's log, marked with the request's id. */
  readonly log: Log;
  /** The request's headers in lower case, without credentials. */
  readonly headers: Readonly<Record<string, string>>;
  /** What a call may say and count; there where somebody listens. */
  readonly metrics?: HandlerMetrics;
  readonly response?: HandlerResponse;
}

/** What surrounds one call of an author's handler. */
export interface CallContext extends RequestContext {
  /** Counts and measures for `/metrics`, marked with the model's name and, in the log, with the request's id. */
  readonly metrics: HandlerMetrics;
  /** The answer's HTTP status and headers, where they should differ from the usual. */
  readonly response: HandlerResponse;
}

/** What a measurement may say besides its name and its value. */
export interface MetricOptions {
  /** What it belongs to besides the model, as labels: `{ Language: "en" }`. Each set of values is a series of its own. */
  readonly dimensions?: Readonly<Record<string, string | number | boolean>>;
  /** How values of one name become one: summed up, the last one, or in buckets. */
  readonly type?: MetricType;
}

/**
 * TorchServe's custom metrics: what is added here appears on `/metrics` under its name, with `ModelName` and `Level` as
 * labels. A name has letters, digits, `_` and `:`. What a `metrics.yaml` (`--metrics-config`) declares keeps to that.
 */
export interface HandlerMetrics {
  /** A count that grows; by 1 where no value is given. */
  addCounter(name: string, value?: number, options?: Pick<MetricOptions, "dimensions">): void;
  /** A time, in milliseconds unless told otherwise; the last one is shown. */
  addTime(name: string, value: number, options?: MetricOptions & { unit?: "ms" | "s" }): void;
  /** A size, in megabytes unless told otherwise; the last one is shown. */
  addSize(
    name: string,
    value: number,
    options?: MetricOptions & { unit?: "B" | "kB" | "MB" | "GB" },
  ): void;
  /** A share, from 0 to 100; the last one is shown. */
  addPercent(name: string, value: number, options?: MetricOptions): void;
  /** Anything else, with a unit of one's own; a counter unless told otherwise. */
  addMetric(name: string, value: number, options: MetricOptions & { unit: string }): void;
}

/**
 * The head of the answer, on `POST /`, `/predict` and TorchServe's routes; protocols whose answers have a fixed shape leave it
 * aside. It is read when `call` returns, so a generator that sets it while it streams comes too late; the log says so.
 *
 * @example
 * context.response.status = 201;
 * context.response.headers.set("x-model-stage", "canary");
 */
export interface HandlerResponse {
  /** From 200 to 599; 200 where absent. */
  status: number | undefined;
  /** Headers besides the server's own; `content-type` goes over the usual one. */
  readonly headers: Headers;
}

/**
 * The class that `handler.ts` exports as `EndpointHandler` or as default.
 *
 * `call` may return any JSON value, typed arrays and tensors included; a `Uint8Array`, `Blob`, `RawImage` or
 * `RawAudio`, sent with its content type; or an async iterable, streamed item by item.
 */
export interface EndpointHandler {
  /** Awaited before the model is ready. */
  load?(): Promise<void> | void;
  call(data: HandlerData, context: CallContext): unknown;
  /**
   * Optional: answers several requests at once. Returns one result per item, in order; an `Error` in a place fails that
   * item alone. When it throws, the batch is halved until the item at fault is found.
   */
  callBatch?(items: HandlerData[], context: BatchContext): unknown;
  /**
   * Optional: says why `call` answers as it does, for the routes that ask for it. Returns what `call` may return.
   * `integratedGradients()` computes the explanations of the default handler.
   */
  explain?(data: HandlerData, context: CallContext): unknown;
  /** Awaited before the process ends. */
  dispose?(): Promise<void> | void;
}

/** What surrounds one batch: the members' contexts, and what they share. */
export interface BatchContext {
  /** Aborted when nobody waits for any member any more. */
  readonly signal: AbortSignal;
  /** Each member's own context, in the order of the items. */
  readonly members: readonly CallContext[];
  readonly log: Log;
}

/** What a handler is told when it is made, besides its folder. */
export interface HandlerOptions {
  /**
   * Threads that one inference may use, where that was decided: give it to onnxruntime as `intraOpNumThreads`. Its own
   * default is one per core, however many workers share the cores.
   */
  readonly threads?: number;
  /** What stands under `handler:` in the repository's `model-config.yaml`, as it was written. */
  readonly settings?: Readonly<Record<string, JsonValue>>;
}

export interface EndpointHandlerClass {
  /** @param path The folder that holds the model: the repository, or its `model/` folder. */
  new (path: string, options: HandlerOptions): EndpointHandler;
  /**
   * Requests that one worker may answer at the same time; 1 unless said otherwise. For handlers that mostly wait, for
   * another service say.
   */
  readonly concurrency?: number;
  /**
   * A request's body that it answers: `{ inputs: "I love you" }`. It is asked once before the model is ready, so that the
   * first request finds everything warm, and shown to people who want to try the model.
   */
  readonly example?: unknown;
  /**
   * What `data.inputs` must be: a schema of zod, valibot, ArkType or any other library that implements Standard Schema. What does
   * not fit is refused before `call`, which is given what the schema made of the rest.
   */
  readonly inputs?: StandardSchemaV1;
  /** The same for `data.parameters`; those that were not sent are read as `{}`. */
  readonly parameters?: StandardSchemaV1;
}

/** One member of a batch. */
export interface BatchMember {
  readonly request: InferenceRequest;
  readonly context: RequestContext;
}

/** What became of one member. */
export type MemberOutcome =
  | {
      readonly value: unknown;
      readonly tokens?: number;
      readonly warnings?: readonly string[];
      /** What its parts took, where the handler measures them. */
      readonly stages?: StageTimes;
    }
  | { readonly error: unknown };

export interface BatchHooks {
  /** Called exactly once for each member, as soon as its outcome is known. */
  readonly onOutcome: (index: number, outcome: MemberOutcome) => void;
  /** Called after each run of the model. */
  readonly onPass: (pass: ForwardPass) => void;
  /** The most tokens of one run, padding included. */
  readonly maxPaddedTokens: number;
}

/** A handler that is ready to answer, custom or default: all that `worker.ts` and `harness.ts` see. */
export interface LoadedHandler {
  readonly description: ModelDescription;
  /** How it takes work; one request after the other where absent. */
  readonly batching?: Batching;
  /** How long the parts of loading took, in milliseconds: for whoever wants a faster start. */
  readonly loadParts?: Readonly<Record<string, number>>;
  /** The repository's own files that make up a custom handler, absolute: what `--watch` watches. */
  readonly files?: readonly string[];
  /** Answers one request. Whatever it throws belongs to that request alone. */
  call(request: InferenceRequest, context: RequestContext): Promise<unknown>;
  /** What it has generated since it was last asked; there where it generates. */
  takeStatistics?(): GenerationStatistics | undefined;
  /**
   * Answers several requests at once; there where `batching.kind` is `"batch"`, and where one that is answered among others tells
   * more than `call` can. Never rejects.
   */
  callBatch?(members: readonly BatchMember[], hooks: BatchHooks): Promise<void>;
  dispose(): Promise<void>;
}
