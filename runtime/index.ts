/**
 * hubserve's public face: the types for handler authors, the error they may throw, TorchServe's life cycle as a base
 * class, explanations for handlers that bring an ONNX model, and two functions for programs that embed the server.
 *
 * Importing it loads neither a model nor an HTTP server: the functions load what they need when they are called.
 */
import type { Explainer, ExplainerOptions } from "./explain/explainer.ts";
import type { LoadedHandler } from "./handler/contract.ts";
import type { LoadOptions } from "./inference.ts";
import type { Log } from "./observe/log.ts";
import type { RunningServer, ServeOptions } from "./serve.ts";

export type { Baseline } from "./explain/baselines.ts";
export type { Explainer, ExplainerOptions, Question } from "./explain/explainer.ts";
export type { Attribution } from "./explain/integrated-gradients.ts";
export { RuntimeError } from "./errors.ts";
export type { ErrorCode } from "./errors.ts";
export type {
  CallContext,
  EndpointHandler,
  EndpointHandlerClass,
  HandlerData,
  HandlerMetrics,
  HandlerOptions,
  HandlerResponse,
  LoadedHandler,
  MetricOptions,
  RequestContext,
} from "./handler/contract.ts";
export { BaseHandler } from "./handler/lifecycle.ts";
export type { StandardSchemaV1 } from "./handler/standard-schema.ts";
export type { JsonValue, LoadOptions, ModelDescription } from "./inference.ts";
export { createLog, silentLog } from "./observe/log.ts";
export type { Log } from "./observe/log.ts";
export { readConfig } from "./config.ts";
export type { Config, Surroundings } from "./config.ts";
export type { RunningServer, ServeOptions } from "./serve.ts";

/** Serves a repository over HTTP in this program. @throws RuntimeError when the port cannot be had. */
export async function serve(options: ServeOptions): Promise<RunningServer> {
  return (await import("./serve.ts")).serve(options);
}

/** Loads a repository's handler into this very process: for tests and trials, as a handler can take its process down. */
export async function loadHandler(options: LoadOptions, log: Log): Promise<LoadedHandler> {
  return (await import("./handler/load.ts")).loadHandler(options, log);
}

/**
 * Opens a transformer in ONNX for explanations by integrated gradients, as Captum's `LayerIntegratedGradients` computes them.
 *
 * @example
 * const explainer = await integratedGradients({ file: `${path}/onnx/model.onnx`, output: "logits" });
 * const [attribution] = await explainer.explain([
 *   { inputIds: [2, 51, 205, 3], baseline: { ids: [2, 0, 0, 3] }, targets: [[1]] }, // class 1 against padding
 * ]);
 * return attribution.importances; // one per token
 * @throws RuntimeError `NOT_SUPPORTED` when the graph has an operator without a gradient.
 */
export async function integratedGradients(options: ExplainerOptions): Promise<Explainer> {
  return (await import("./explain/explainer.ts")).openExplainer(options);
}
