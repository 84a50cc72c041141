/**
 * The Open Inference Protocol's generate extension: `POST /v2/models/{m}[/versions/{v}]/generate` and `/generate_stream`.
 *
 * Errors are the protocol's own, with its statuses: what the extension calls 422 is 400 here, as everywhere else below `/v2`. A
 * stream's `details` name the reason why it ended, so only its last event can have them; before it, a client that asked for details finds each
 * event's `token` beside its text. Parameters may also stand beside `text_input`, where Triton's clients put them.
 *
 * Source: `specification/protocol/generate_rest.yaml` of the Open Inference Protocol, version 1.0.0.
 */
import { Hono } from "hono";
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import type { GeneratedToken, GenerationParameters, GenerationRequest } from "../../generation.ts";
import type { JsonValue } from "../../inference.ts";
import { readBodyBytes } from "../body.ts";
import type { AppContext, AppEnv } from "../context.ts";
import { parseJson } from "../json-body.ts";
import { onlyMethods, stickyKeyOf } from "../middleware.ts";
import { respondJson } from "../respond.ts";
import { noteRoute } from "../route.ts";
import {
  assertGenerates,
  generateAll,
  streamAll,
  type GenerationStream,
} from "./generation-ask.ts";
import { respondWithEvents } from "./generation-events.ts";
import {
  aboveZero,
  flag,
  given,
  numberFrom,
  StopTexts,
  wholeAtLeast,
} from "./generation-fields.ts";
import { toldIn } from "./generation-words.ts";

const ACTION = "generate text";
/** The extension's. */
const USUAL_TOKENS = 20;

/** What the engine calls by Hugging Face's names. */
const NAMES = { max_new_tokens: "max_tokens", min_new_tokens: "min_tokens" };

export const GenerateParameters = z.object({
  temperature: z.number("a number of at least 0").min(0, "a number of at least 0").nullish(),
  top_p: numberFrom(0, 1),
  max_tokens: wholeAtLeast(1),
  stop: StopTexts,
  details: flag,
  // The extension leaves room for more.
  do_sample: flag,
  top_k: wholeAtLeast(0),
  min_p: numberFrom(0, 1),
  typical_p: numberFrom(0, 1),
  repetition_penalty: aboveZero,
  presence_penalty: numberFrom(-2, 2),
  frequency_penalty: numberFrom(-2, 2),
  min_tokens: wholeAtLeast(0),
  seed: wholeAtLeast(0),
});
type Parameters = z.output<typeof GenerateParameters>;

export const GenerateBody = z.looseObject(
  { text_input: z.string("a text"), parameters: z.looseObject({}, "an object").nullish() },
  "an object",
);

const PATH = /^\/v2\/models\/(.+?)(?:\/versions\/([^/]+))?\/(generate|generate_stream)\/?$/;

/** To be mounted before routes that end below `/v2/models/`: names hold slashes, so paths are told here and not by the router. */
export function createGenerateRoutes({ maxBodyBytes }: { maxBodyBytes: number }): Hono<AppEnv> {
  const routes = new Hono<AppEnv>({ strict: false });
  routes.all("/v2/models/*", async (c, next) => {
    const [, name, version, route] = PATH.exec(new URL(c.req.url).pathname) ?? [];
    if (name === undefined) return next();
    noteRoute(c, `/v2/models/:model${version === undefined ? "" : "/versions/:version"}/${route}`);
    if (c.req.method !== "POST") return onlyMethods("POST")(c);
    const target = { name: decoded(name), version: version && decoded(version) };
    return answerGenerate(c, target, { maxBodyBytes, stream: route === "generate_stream" });
  });
  return routes;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a stray percent sign; it will name no model
  }
}

interface Target {
  readonly name: string;
  readonly version: string | undefined;
}

async function answerGenerate(
  c: AppContext,
  { name, version }: Target,
  { maxBodyBytes, stream }: { maxBodyBytes: number; stream: boolean },
): Promise<Response> {
  // The body comes first: a refusal while the client still sends would reach it as a broken connection.
  const body = parseJson(await readBodyBytes(c.req.raw, maxBodyBytes));
  const ready = c.get("models").ready(name, version, stickyKeyOf(c));
  assertGenerates(ready, ACTION);
  const { text, parameters } = readGenerateBody(body);
  const request: GenerationRequest = {
    prompt: { kind: "text", text },
    parameters: toNeutral(parameters),
    stream,
  };
  const heading = { model_name: ready.model.name, model_version: ready.model.version };
  const withDetails = parameters.details === true;
  if (stream) {
    const events = await toldIn(NAMES, streamAll(c, ready, [request]));
    return respondWithEvents(c, {
      events: withDetails ? toDetailedEvents(events, heading) : toEvents(events, heading),
      stop: events.stop,
      toError: ({ message }) => ({ error: message }),
      prefix: "data: ",
    });
  }
  const [result] = await toldIn(NAMES, generateAll(c, ready, [request]));
  const [sequence] = result?.sequences ?? [];
  if (sequence === undefined)
    throw new RuntimeError("INTERNAL", "Cannot answer: the model wrote no sequence");
  const { reason, details } = sequence;
  const logprobs = details.map(({ token }) => toToken(token));
  return respondJson(c, {
    text_output: sequence.text,
    ...heading,
    ...(withDetails && { details: { finish_reason: reason, logprobs } }),
  });
}

/** @throws RuntimeError `INVALID_INPUT` with one sentence. */
function readGenerateBody(body: unknown): { text: string; parameters: Parameters } {
  const outer = GenerateBody.safeParse(body);
  if (!outer.success) throw refusal(outer.error);
  const { text_input: text, parameters: nested, ...beside } = outer.data;
  const inner = GenerateParameters.safeParse({ ...beside, ...nested });
  if (!inner.success) throw refusal(inner.error);
  return { text, parameters: inner.data };
}

function refusal({ issues }: z.ZodError): RuntimeError {
  const [issue] = issues;
  const [name] = issue?.path ?? [];
  const what = name === undefined ? "the body" : `"${String(name)}"`;
  const text = `Cannot ${ACTION}: ${what} must be ${issue?.message ?? "something else"}`;
  return new RuntimeError("INVALID_INPUT", text);
}

function toNeutral(parameters: Parameters): GenerationParameters {
  const { stop } = parameters;
  return {
    ...given<GenerationParameters>({
      temperature: parameters.temperature,
      topP: parameters.top_p,
      topK: parameters.top_k,
      minP: parameters.min_p,
      typicalP: parameters.typical_p,
      // A temperature asks for chance, 0 apart.
      doSample: parameters.do_sample ?? ((parameters.temperature ?? 0) > 0 ? true : undefined),
      repetitionPenalty: parameters.repetition_penalty,
      presencePenalty: parameters.presence_penalty,
      frequencyPenalty: parameters.frequency_penalty,
      minNewTokens: parameters.min_tokens,
      seed: parameters.seed,
    }),
    maxNewTokens: parameters.max_tokens ?? USUAL_TOKENS,
    ...(stop && { stop: [stop].flat() }),
    keepsStop: true,
  };
}

type Heading = Readonly<Record<"model_name" | "model_version", string>>;

async function* toEvents(
  stream: GenerationStream,
  heading: Heading,
): AsyncGenerator<JsonValue, undefined> {
  for await (const { event } of stream) {
    const text_output =
      event.type === "token" ? event.text : event.type === "end" ? event.rest : "";
    if (text_output !== undefined && text_output !== "") yield { text_output, ...heading };
  }
}

/** One token late, as the last one comes with the reason why it is the last. */
async function* toDetailedEvents(
  stream: GenerationStream,
  heading: Heading,
): AsyncGenerator<JsonValue, undefined> {
  let waiting: { readonly text_output: string; readonly token: JsonValue } | undefined;
  for await (const { event } of stream) {
    if (event.type === "token") {
      if (waiting !== undefined) yield { ...waiting, ...heading };
      waiting = { text_output: event.text, token: toToken(event.token) };
    } else if (event.type === "end" && waiting !== undefined) {
      const { token } = waiting;
      const text_output = waiting.text_output + (event.rest ?? "");
      yield { text_output, ...heading, token, details: { finish_reason: event.reason, token } };
    }
  }
}

function toToken({ id, text, logprob, special }: GeneratedToken) {
  return { id, text, logprob: logprob ?? 0, special };
}
