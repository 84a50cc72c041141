/**
 * The last step of every protocol: the request goes to the engine, in the name of what is under way.
 */
import type { Waiting } from "../engine/engine.ts";
import type { Model, ReadyModel } from "../engine/models.ts";
import { isRuntimeError } from "../errors.ts";
import type { InferenceRequest, InferenceResult } from "../inference.ts";
import type { RequestTrace } from "../observe/trace.ts";
import type { AppContext } from "./context.ts";

export type Answering = ReadyModel & { readonly model: Model };

/** Notes whose request it is, for the metrics and the log. @throws RuntimeError as `Engine.submit`. */
export function submit(
  c: AppContext,
  ready: Answering,
  request: InferenceRequest,
  waiting: Waiting,
): Promise<InferenceResult> {
  c.set("model", ready.model.name);
  return submitTraced(c.get("trace"), ready, request, waiting);
}

/**
 * The same for whoever has no HTTP. The handler is told the inference's own span, so that services which it calls belong to it.
 *
 * @param trace There where traces are collected.
 */
export function submitTraced(
  trace: RequestTrace | undefined,
  { engine, model }: Answering,
  request: InferenceRequest,
  waiting: Waiting,
): Promise<InferenceResult> {
  if (trace === undefined) return engine.submit(request, waiting);
  const inference = trace.inference(model);
  const traced = { ...request, headers: { ...request.headers, ...inference.context } };
  const onBegun = (pid: number | undefined): void => inference.begun(pid);
  return engine.submit(traced, { ...waiting, onBegun }).then(
    (result) => inference.done(result),
    (error: unknown) => {
      inference.failed(isRuntimeError(error) ? error : undefined);
      throw error;
    },
  );
}
