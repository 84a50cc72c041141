/**
 * OpenAI's `POST /v1/completions`: a prompt, continued.
 *
 * A prompt is a text or a list of token ids; several of them are answered side by side, `n` choices each, in the prompts' order.
 * `max_tokens` is 16 where nobody says more, as at OpenAI's. With `echo` the prompt stands before its continuation, and with
 * `max_tokens` 0 alone: that is how texts are scored.
 */
import { z } from "zod";

import type {
  GenerationParameters,
  GenerationPrompt,
  GenerationRequest,
  PromptToken,
} from "../../generation.ts";
import type { JsonValue } from "../../inference.ts";
import { generateAll, MAX_PROMPTS, streamAll, type GenerationStream } from "./generation-ask.ts";
import { respondWithEvents } from "./generation-events.ts";
import { flag, given, MAX_TOP_TOKENS, wholeAtLeast, wholeFrom } from "./generation-fields.ts";
import { OpenAIRefusal, toOpenAIError } from "./openai-errors.ts";
import {
  createUsage,
  GENERATION_FIELDS,
  headingOf,
  readFields,
  toFinishReason,
  refusedInOpenAIWords,
  toParameters,
  usageOf,
} from "./openai-generation.ts";
import {
  createTokenGate,
  placePrompt,
  toCompletionLogprobs,
  type PlacedToken,
  type TokenGate,
} from "./openai-generation-tokens.ts";
import { unfit, type OpenAICall } from "./openai-request.ts";
import { respondJson } from "../respond.ts";

const ACTION = "complete the prompt";
/** OpenAI's. */
const USUAL_TOKENS = 16;

const prompts = `a text, a list of token ids, or a list of up to ${MAX_PROMPTS} of one of them`;
const Ids = z.array(z.int(prompts).nonnegative(prompts), prompts).min(1, prompts);

export const CompletionBody = z.object({
  prompt: z.union(
    [
      z.string(),
      Ids,
      z.array(z.string()).min(1, prompts).max(MAX_PROMPTS, prompts),
      z.array(Ids).min(1, prompts).max(MAX_PROMPTS, prompts),
    ],
    prompts,
  ),
  max_tokens: wholeAtLeast(0),
  echo: flag,
  best_of: wholeAtLeast(1),
  logprobs: wholeFrom(0, MAX_TOP_TOKENS),
  suffix: z.literal("", "null, as a text is continued and not filled in").nullish(),
  ...GENERATION_FIELDS,
});
type CompletionBody = z.output<typeof CompletionBody>;

/** @param now In milliseconds since 1970. */
export async function answerCompletion(
  call: OpenAICall,
  now: () => number = Date.now,
): Promise<Response> {
  const { c, ready } = call;
  if (ready.description.generation === undefined)
    throw unfit(ready, ACTION, "a model for text-generation");
  const body = readFields(CompletionBody, call.body, ACTION);
  const asked = toPrompts(body.prompt);
  const parameters = toCompletionParameters(body, asked);
  const requests = asked.map((prompt): GenerationRequest => {
    return { prompt, parameters, stream: body.stream === true };
  });
  const heading = headingOf(call, { prefix: "cmpl", object: "text_completion", now });
  const telling: Telling = {
    asked,
    choices: body.n ?? 1,
    echo: body.echo === true,
    withLogprobs: typeof body.logprobs === "number",
    onlyPrompt: body.max_tokens === 0,
  };
  if (body.stream !== true) {
    const results = await refusedInOpenAIWords(generateAll(c, ready, requests));
    const choices = results.flatMap((result, prompt) =>
      result.sequences.map((sequence) => {
        const choice = openChoice(prompt, sequence.sequence, telling, result.prompt);
        const beginning = choice.begin();
        for (const { token, top } of sequence.details) choice.add(token, top);
        const all = [beginning, choice.show(sequence.text)];
        return {
          index: choice.index,
          text: all.map(({ text }) => text).join(""),
          logprobs: choice.logprobs(all.flatMap(({ placed }) => placed)),
          finish_reason: toFinishReason(sequence.reason),
        };
      }),
    );
    const usage = telling.onlyPrompt ? withoutAnswers(usageOf(results)) : usageOf(results);
    return respondJson(c, { ...heading, choices, usage });
  }
  const stream = await refusedInOpenAIWords(streamAll(c, ready, requests));
  const includeUsage = body.stream_options?.include_usage === true;
  return respondWithEvents(c, {
    events: toChunks(stream, telling, { ...heading }, includeUsage),
    stop: stream.stop,
    toError: toOpenAIError,
    prefix: "data: ",
    last: "[DONE]",
  });
}

function toPrompts(given: CompletionBody["prompt"]): readonly GenerationPrompt[] {
  if (typeof given === "string") return [{ kind: "text", text: given }];
  if (given.every((each) => typeof each === "number")) return [{ kind: "tokens", ids: given }];
  return given.map((each): GenerationPrompt => {
    if (typeof each === "string") return { kind: "text", text: each };
    return { kind: "tokens", ids: [each].flat() };
  });
}

function toCompletionParameters(
  body: CompletionBody,
  asked: readonly GenerationPrompt[],
): GenerationParameters {
  const { max_tokens, echo, best_of, logprobs: top } = body;
  if (typeof best_of === "number" && best_of !== (body.n ?? 1)) {
    const text = `"best_of" is ${best_of}, wanted the same as "n", ${body.n ?? 1}, as every choice is answered`;
    throw new OpenAIRefusal("best_of", `Cannot ${ACTION}: ${text}`);
  }
  if (max_tokens === 0 && echo !== true) {
    const text = `"max_tokens" is 0, wanted at least 1, or "echo": true with it`;
    throw new OpenAIRefusal("max_tokens", `Cannot ${ACTION}: ${text}`);
  }
  // A prompt of token ids is a text that only the model knows: it tells it, or, where more is asked for, its tokens.
  const isScored = typeof top === "number" || max_tokens === 0;
  const wantsTokens = echo === true && isScored && (typeof top === "number" || hasIds(asked));
  return {
    ...toParameters(body),
    ...given<GenerationParameters>({
      // Nothing can be asked to write nothing: the one token is left out of the answer.
      maxNewTokens: Math.max(1, max_tokens ?? USUAL_TOKENS),
      topTokens: top,
    }),
    ...(wantsTokens && { promptTokens: true }),
    ...(echo === true && hasIds(asked) && !isScored && { echo: true }),
  };
}

function hasIds(asked: readonly GenerationPrompt[]): boolean {
  return asked.some(({ kind }) => kind === "tokens");
}

/** How choices are told. */
interface Telling {
  readonly asked: readonly GenerationPrompt[];
  /** For each prompt. */
  readonly choices: number;
  readonly echo: boolean;
  readonly withLogprobs: boolean;
  readonly onlyPrompt: boolean;
}

interface Shown {
  readonly text: string;
  readonly placed: readonly PlacedToken[];
}

interface Choice {
  readonly index: number;
  readonly begin: () => Shown;
  readonly add: TokenGate["add"];
  readonly show: (text: string) => Shown;
  readonly logprobs: (placed: readonly PlacedToken[]) => JsonValue;
}

/** One choice, from its first word to its last. */
function openChoice(
  prompt: number,
  sequence: number,
  { asked, choices, echo, withLogprobs, onlyPrompt }: Telling,
  promptTokens: readonly PromptToken[] = [],
): Choice {
  const source = asked[prompt];
  const promptText =
    source?.kind === "text" ? source.text : promptTokens.map(({ text }) => text).join("");
  const echoed = placePrompt(echo ? promptTokens : [], echo ? promptText : "");
  const gate = createTokenGate(echoed.end);
  return {
    index: prompt * choices + sequence,
    begin: () => ({ text: echo ? promptText : "", placed: echoed.placed }),
    add: gate.add,
    show: (text) =>
      onlyPrompt ? { text: "", placed: [] } : { text, placed: gate.show(text.length) },
    logprobs: (placed) => (withLogprobs ? { ...toCompletionLogprobs(placed) } : null),
  };
}

function withoutAnswers({ prompt_tokens }: ReturnType<typeof usageOf>): ReturnType<typeof usageOf> {
  return { prompt_tokens, completion_tokens: 0, total_tokens: prompt_tokens };
}

async function* toChunks(
  stream: GenerationStream,
  telling: Telling,
  heading: Readonly<Record<string, JsonValue>>,
  includeUsage: boolean,
): AsyncGenerator<JsonValue, undefined> {
  const usage = createUsage();
  const started = new Map<number, readonly PromptToken[]>();
  const choices = new Map<string, Choice>();
  const chunk = (
    choice: Choice,
    shown: readonly Shown[],
    finish_reason: string | null,
  ): JsonValue => ({
    ...heading,
    choices: [
      {
        index: choice.index,
        text: shown.map(({ text }) => text).join(""),
        logprobs: choice.logprobs(shown.flatMap(({ placed }) => placed)),
        finish_reason,
      },
    ],
    ...(includeUsage && { usage: null }),
  });
  for await (const { prompt, event } of stream) {
    if (event.type === "start") {
      usage.read(event.promptTokens);
      started.set(prompt, event.prompt ?? []);
      continue;
    }
    const key = `${prompt} ${event.sequence}`;
    const beginning: Shown[] = [];
    let choice = choices.get(key);
    if (choice === undefined) {
      choice = openChoice(prompt, event.sequence, telling, started.get(prompt));
      choices.set(key, choice);
      beginning.push(choice.begin());
    }
    if (event.type === "token") {
      choice.add(event.token, event.top);
      const shown = [...beginning, choice.show(event.text)];
      if (shown.some(({ text, placed }) => text !== "" || placed.length > 0))
        yield chunk(choice, shown, null);
    } else {
      if (!telling.onlyPrompt) usage.wrote(event);
      yield chunk(
        choice,
        [...beginning, choice.show(event.rest ?? "")],
        toFinishReason(event.reason),
      );
    }
  }
  if (includeUsage) yield { ...heading, choices: [], usage: { ...usage.usage() } };
}
