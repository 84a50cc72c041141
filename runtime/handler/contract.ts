/**
 * What a handler is: the class that a repository exports, and the same thing once it is loaded.
 *
 * `index.ts` re-exports the author's half of this file as hubserve's public types. It names no vendor and runs no
 * code, so a handler may import it freely.
 */
import type {
  Batching,
  ForwardPass,
  InferenceRequest,
  JsonValue,
  ModelDescription,
} from "../inference.ts";
import type { Log } from "../observe/log.ts";

export type { LoadOptions } from "../inference.ts";

/** A request's body: `inputs` and whatever else the client sent. Each call receives a fresh object it may change. */
export interface HandlerData {
  /** What the client sent under `inputs`; a `Blob` with its media type for a binary body. */
  inputs: unknown;
  [kwarg: string]: unknown;
}

/** What surrounds one call. */
export interface CallContext {
  /** Aborted when the client has left or the deadline has passed: stop working then. */
  readonly signal: AbortSignal;
  /** The request's id, as the client sees it in `x-request-id`. */
  readonly requestId: string;
  /** Writes to the server's log, marked with the request's id. */
  readonly log: Log;
  /** The request's headers in lower case, without credentials. */
  readonly headers: Readonly<Record<string, string>>;
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
}

/** One member of a batch. */
export interface BatchMember {
  readonly request: InferenceRequest;
  readonly context: CallContext;
}

/** What became of one member. */
export type MemberOutcome =
  | { readonly value: unknown; readonly tokens?: number; readonly warnings?: readonly string[] }
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
  call(request: InferenceRequest, context: CallContext): Promise<unknown>;
  /** Answers several requests at once; there where `batching.kind` is `"batch"`. Never rejects. */
  callBatch?(members: readonly BatchMember[], hooks: BatchHooks): Promise<void>;
  dispose(): Promise<void>;
}
