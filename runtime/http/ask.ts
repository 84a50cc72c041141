/**
 * Asks a ready model in the name of the request under way, and says in the answer's headers how long it took.
 */
import type { Waiting } from "../engine/engine.ts";
import type { InferenceRequest, InferenceResult } from "../inference.ts";
import type { AppContext } from "./context.ts";
import { setAnswerHeaders, withoutCredentials } from "./exchange.ts";
import { submit, type Answering } from "./submit.ts";

export type { Answering } from "./submit.ts";

/** What a protocol has made of a body: everything but who asks. */
export type Content = Omit<InferenceRequest, "id" | "headers">;

/** Until when the request under way waits; to be asked once. */
export function waitingFor(c: AppContext, { model }: Answering): Waiting {
  return c.get("waitFor")(model.requestTimeoutMs);
}

/** @throws RuntimeError as `Engine.submit`. */
export async function ask(
  c: AppContext,
  ready: Answering,
  content: Content,
  waiting: Waiting = waitingFor(c, ready),
): Promise<InferenceResult> {
  const headers = withoutCredentials(c.req.header());
  const request = { ...content, id: c.get("requestId"), headers };
  const result = await submit(c, ready, request, waiting);
  setAnswerHeaders(c, result, ready.engine.now());
  return result;
}
