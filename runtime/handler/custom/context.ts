/**
 * What an author's handler finds around its call, also where nobody listens: in `hubserve call` and in tests.
 */
import type { CallContext, RequestContext } from "../contract.ts";
import { createHandlerMetrics } from "./metrics.ts";
import { LazyResponse } from "./response.ts";

/** The context with what is missing of it: metrics that are checked and go nowhere, a response that nobody reads. */
export function toCallContext(context: RequestContext): CallContext {
  const { metrics, response } = context;
  if (metrics !== undefined && response !== undefined) return { ...context, metrics, response };
  return {
    ...context,
    metrics: metrics ?? createHandlerMetrics(context.requestId, () => undefined),
    response: response ?? new LazyResponse(),
  };
}
