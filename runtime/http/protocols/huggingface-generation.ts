/**
 * Text generation as text-generation-inference answers it, for requests that want more than the plain answer: streams, details,
 * several sequences. On `/` answers are lists that begin with the prompt, as there; on `/generate` and `/generate_stream` they are
 * objects without it.
 *
 * In a stream the last token's event carries the whole text and the details, so every event is sent when its successor is known: one token
 * late. Inputs are texts; a list of them is answered in a list, but not streamed.
 *
 * Source: text-generation-inference 3.3 (`router/src/server.rs`, `lib.rs`); `huggingface_hub` 1.33.
 */
import { RuntimeError } from "../../errors.ts";
import type {
  GeneratedSequence,
  GeneratedToken,
  GenerationRequest,
  GenerationResult,
} from "../../generation.ts";
import type { JsonValue } from "../../inference.ts";
import type { Answering } from "../ask.ts";
import { readBody } from "../body.ts";
import type { AppContext } from "../context.ts";
import { stickyKeyOf } from "../middleware.ts";
import { respondJson } from "../respond.ts";
import {
  assertGenerates,
  generateAll,
  MAX_PROMPTS,
  streamAll,
  type GenerationStream,
} from "./generation-ask.ts";
import { respondWithEvents } from "./generation-events.ts";
import {
  asksForMore,
  countsOf,
  readParameters,
  toNeutral,
  type Parameters,
} from "./huggingface-generation-parameters.ts";
import { toRequestContent } from "./huggingface-request.ts";

const ACTION = "generate text";

type Data = Readonly<Record<string, unknown>>;

/** Whether the request is answered here, and not as every task's is. */
export function isGeneration({ description }: Answering, data: Data): boolean {
  return description.generation !== undefined && asksForMore(data);
}

/** Text-generation-inference's own routes: `/generate` and `/generate_stream`. */
export async function generate(
  c: AppContext,
  { maxBodyBytes, stream }: { readonly maxBodyBytes: number; readonly stream: boolean },
): Promise<Response> {
  // The body comes first: a refusal while the client still sends would reach it as a broken connection.
  const body = await readBody(c.req.raw, maxBodyBytes);
  const ready = c.get("models").ready(undefined, undefined, stickyKeyOf(c));
  const { data } = toRequestContent(body, c.req.queries(), ready.description);
  return answerGeneration(c, ready, data, { shape: "object", stream });
}

export interface GenerateOptions {
  /** Whether answers begin with the prompt where nobody says, and are lists. */
  readonly shape: "list" | "object";
  /** Whether it is streamed whatever the body says. */
  readonly stream?: boolean;
}

/** @throws RuntimeError as `Engine.submit`, and `INVALID_INPUT`. */
export async function answerGeneration(
  c: AppContext,
  ready: Answering,
  data: Data,
  { shape, stream = data["stream"] === true }: GenerateOptions,
): Promise<Response> {
  assertGenerates(ready, ACTION);
  const inputs = readInputs(data["inputs"]);
  const parameters = readParameters(data["parameters"], ACTION);
  const { written, isBest } = countsOf(parameters, ACTION);
  const telling: Telling = {
    isFullText: parameters.return_full_text ?? shape === "list",
    details: parameters.details === true || parameters.decoder_input_details === true,
    parameters,
    isBest,
  };
  const requests = [inputs].flat().map((text): GenerationRequest => {
    return { prompt: { kind: "text", text }, parameters: toNeutral(parameters, written), stream };
  });
  if (stream) {
    if (typeof inputs !== "string") throw unstreamable(`"inputs" is a list, wanted one text`);
    if (written > 1)
      throw unstreamable(
        `${written} sequences are asked for, wanted one, as their tokens would mix`,
      );
    if (parameters.decoder_input_details === true)
      throw unstreamable(`"decoder_input_details" is true, wanted false`);
    const events = await streamAll(c, ready, requests);
    return respondWithEvents(c, {
      events: toEvents(events, inputs, telling),
      stop: events.stop,
      toError,
      prefix: "data:",
    });
  }
  const results = await generateAll(c, ready, requests);
  const answers = [inputs].flat().map((text, index) => toAnswers(results[index], text, telling));
  if (shape === "list") return respondJson(c, typeof inputs === "string" ? answers[0] : answers);
  if (answers.length > 1 || (answers[0]?.length ?? 0) > 1) return respondJson(c, answers.flat());
  return respondJson(c, answers[0]?.[0]);
}

function readInputs(given: unknown): string | readonly string[] {
  if (typeof given === "string") return given;
  const isTexts =
    Array.isArray(given) && given.every((each): each is string => typeof each === "string");
  if (isTexts && given.length > 0 && given.length <= MAX_PROMPTS) return given;
  const wanted = `a text, or a list of 1 to ${MAX_PROMPTS} texts`;
  throw new RuntimeError("INVALID_INPUT", `Cannot ${ACTION}: "inputs" must be ${wanted}`);
}

function unstreamable(reason: string): RuntimeError {
  return new RuntimeError("INVALID_INPUT", `Cannot stream the answer: ${reason}`);
}

/** What answers hold. */
interface Telling {
  readonly isFullText: boolean;
  readonly details: boolean;
  readonly parameters: Parameters;
  /** Whether the likeliest of the sequences is the answer. */
  readonly isBest: boolean;
}

type Sequence = GenerationResult["sequences"][number];

function toAnswers(
  result: GenerationResult | undefined,
  prompt: string,
  telling: Telling,
): JsonValue[] {
  if (result === undefined) return [];
  const { sequences } = result;
  const toText = ({ text }: Sequence): string => (telling.isFullText ? `${prompt}${text}` : text);
  const answers = telling.isBest ? [best(sequences)] : sequences;
  return answers.map((sequence): JsonValue => {
    const generated_text = toText(sequence);
    if (!telling.details) return { generated_text };
    const others = telling.isBest ? sequences.filter((each) => each !== sequence) : [];
    const best_of_sequences = others.map((each) => ({
      generated_text: toText(each),
      ...toDetails(each, result, telling),
    }));
    return {
      generated_text,
      details: {
        ...toDetails(sequence, result, telling),
        ...(telling.isBest && { best_of_sequences }),
      },
    };
  });
}

/** The one with the highest log probability per token, as there. */
function best(sequences: readonly Sequence[]): Sequence {
  const score = ({ details, tokens }: Sequence): number =>
    details.reduce((sum, { token }) => sum + (token.logprob ?? 0), 0) / Math.max(1, tokens);
  return sequences.reduce((most, each) => (score(each) > score(most) ? each : most));
}

function toDetails(
  { reason, tokens, seed, details }: Sequence,
  { prompt = [] }: GenerationResult,
  { parameters }: Telling,
) {
  const asksForTop = (parameters.top_n_tokens ?? 0) > 0;
  return {
    finish_reason: reason,
    generated_tokens: tokens,
    seed: seed ?? null,
    prefill: prompt.map(({ id, text, logprob }) => ({ id, text, logprob })),
    tokens: details.map(({ token }) => toToken(token)),
    ...(asksForTop && { top_tokens: details.map(({ top = [] }) => top.map(toToken)) }),
  };
}

function toToken({ id, text, logprob, special }: GeneratedToken) {
  return { id, text, logprob, special };
}

/** Each token's event, sent when the next one is there: the last carries what is known of the whole. */
async function* toEvents(
  stream: GenerationStream,
  prompt: string,
  { isFullText, parameters }: Telling,
): AsyncGenerator<JsonValue, undefined> {
  const asksForTop = (parameters.top_n_tokens ?? 0) > 0;
  let input_length = 0;
  let index = 0;
  let waiting: { readonly [key: string]: JsonValue } | undefined;
  for await (const { event } of stream) {
    if (event.type === "start") {
      input_length = event.promptTokens;
    } else if (event.type === "token") {
      if (waiting !== undefined) yield { ...waiting, generated_text: null, details: null };
      index += 1;
      const top_tokens = event.top?.map(toToken) ?? [];
      waiting = { index, token: toToken(event.token), ...(asksForTop && { top_tokens }) };
    } else {
      const generated_text = isFullText ? `${prompt}${event.text}` : event.text;
      const details = toStreamDetails(event, input_length);
      if (waiting !== undefined) yield { ...waiting, generated_text, details };
      waiting = undefined;
    }
  }
}

function toStreamDetails({ reason, tokens, seed }: GeneratedSequence, input_length: number) {
  return { finish_reason: reason, generated_tokens: tokens, seed: seed ?? null, input_length };
}

/** What breaks a stream off, in the words that its clients know. */
function toError(error: RuntimeError): JsonValue {
  const error_type =
    error.code === "INVALID_INPUT"
      ? "validation"
      : error.code === "QUEUE_FULL"
        ? "overloaded"
        : "generation";
  return { error: error.message, error_type };
}
