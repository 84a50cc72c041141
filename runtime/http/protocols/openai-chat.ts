/**
 * OpenAI's `POST /v1/chat/completions`: a conversation, answered.
 *
 * The model's own chat template makes the prompt (`handler/model/chat-template.ts`); a model without one is refused by name. Tools go
 * to templates that know them, and calls are read out of what the model wrote (`openai-generation-tools.ts`). It can be made to
 * write a JSON object, and nothing narrower: `"tool_choice": "required"` and JSON schemas are refused.
 */
import { z } from "zod";

import type {
  GenerationAbilities,
  GenerationParameters,
  GenerationPrompt,
  GenerationRequest,
  GenerationResult,
} from "../../generation.ts";
import type { JsonValue } from "../../inference.ts";
import { respondJson } from "../respond.ts";
import { generateAll, streamAll, type GenerationStream } from "./generation-ask.ts";
import { respondWithEvents } from "./generation-events.ts";
import { flag, given, MAX_TOP_TOKENS, wholeAtLeast, wholeFrom } from "./generation-fields.ts";
import { OpenAIRefusal, toOpenAIError } from "./openai-errors.ts";
import { Messages, toMessages } from "./openai-generation-messages.ts";
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
  toChatLogprobs,
  type PlacedToken,
  type TokenGate,
} from "./openai-generation-tokens.ts";
import {
  createToolHold,
  isToolWord,
  makeCallId,
  readToolCalls,
  toToolCall,
  type Spoken,
  type ToolHold,
} from "./openai-generation-tools.ts";
import { unfit, type OpenAICall } from "./openai-request.ts";

const ACTION = "answer the conversation";

/** As many as OpenAI takes. */
const MAX_TOOLS = 128;
const tools = `a list of up to ${MAX_TOOLS} functions`;
const choice = `"auto" or "none", as what the model may write is not constrained to calls`;

const Tool = z.looseObject(
  {
    type: z.literal("function", `"function"`),
    function: z.looseObject({ name: z.string("a name").min(1, "a name") }, "a function"),
  },
  "a function",
);

export const ChatBody = z.object({
  messages: Messages,
  max_tokens: wholeAtLeast(1),
  max_completion_tokens: wholeAtLeast(1),
  logprobs: flag,
  top_logprobs: wholeFrom(0, MAX_TOP_TOKENS),
  tools: z.array(Tool, tools).max(MAX_TOOLS, tools).nullish(),
  tool_choice: z.literal(["auto", "none"], choice).nullish(),
  parallel_tool_calls: flag,
  // vLLM's.
  chat_template_kwargs: z.record(z.string(), z.unknown(), "an object").nullish(),
  documents: z.array(z.looseObject({}), "a list of objects").nullish(),
  add_generation_prompt: flag,
  continue_final_message: flag,
  ...GENERATION_FIELDS,
});
type ChatBody = z.output<typeof ChatBody>;

export interface ChatDependencies {
  /** In milliseconds since 1970. */
  readonly now?: () => number;
  /** An id for a tool call. */
  readonly makeId?: () => string;
}

export async function answerChat(
  call: OpenAICall,
  { now = Date.now, makeId = makeCallId }: ChatDependencies = {},
): Promise<Response> {
  const { c, ready } = call;
  const { generation: abilities } = ready.description;
  if (abilities === undefined) throw unfit(ready, ACTION, "a model for text-generation");
  if (!abilities.chat) {
    throw new OpenAIRefusal(
      "model",
      `Cannot ${ACTION}: the model "${ready.model.name}" has no chat template; POST /v1/completions continues a prompt`,
      "no_chat_template",
    );
  }
  const body = readFields(ChatBody, call.body, ACTION);
  const calling = toCalling(body, abilities, makeId);
  const request: GenerationRequest = {
    prompt: toPrompt(body, calling),
    parameters: toChatParameters(body),
    stream: body.stream === true,
  };
  const withLogprobs = body.logprobs === true;
  if (body.stream !== true) {
    const results = await refusedInOpenAIWords(generateAll(c, ready, [request]));
    const heading = headingOf(call, { prefix: "chatcmpl", object: "chat.completion", now });
    const choices = results.flatMap(({ sequences }) =>
      sequences.map((sequence) => toChoice(sequence, calling, withLogprobs)),
    );
    return respondJson(c, { ...heading, choices, usage: usageOf(results) });
  }
  const stream = await refusedInOpenAIWords(streamAll(c, ready, [request]));
  const heading = headingOf(call, { prefix: "chatcmpl", object: "chat.completion.chunk", now });
  return respondWithEvents(c, {
    events: toChunks(stream, {
      heading: { ...heading },
      calling,
      withLogprobs,
      includeUsage: body.stream_options?.include_usage === true,
    }),
    stop: stream.stop,
    toError: toOpenAIError,
    prefix: "data: ",
    last: "[DONE]",
  });
}

/** How calls are read, where the model was given tools. */
interface Calling {
  readonly tools: readonly JsonValue[];
  readonly names: ReadonlySet<string>;
  /** How many calls of one answer are told. */
  readonly most: number;
  readonly makeId: () => string;
}

/** @returns `undefined` where nothing is to be called. */
function toCalling(
  { tools: offered, tool_choice, parallel_tool_calls }: ChatBody,
  abilities: GenerationAbilities,
  makeId: () => string,
): Calling | undefined {
  if (!offered || offered.length === 0 || tool_choice === "none") return undefined;
  if (!abilities.tools) {
    throw new OpenAIRefusal(
      "tools",
      `Cannot ${ACTION}: "tools" are given, wanted none, as the model's chat template does not know tools`,
    );
  }
  return {
    tools: offered as readonly JsonValue[], // came out of a JSON body
    names: new Set(offered.map(({ function: { name } }) => name)),
    most: parallel_tool_calls === false ? 1 : Infinity,
    makeId,
  };
}

function toPrompt(body: ChatBody, calling: Calling | undefined): GenerationPrompt {
  const { continue_final_message, add_generation_prompt, chat_template_kwargs, documents } = body;
  if (continue_final_message === true && add_generation_prompt === true) {
    const text = `"continue_final_message" and "add_generation_prompt" are both true, wanted one of them`;
    throw new OpenAIRefusal("continue_final_message", `Cannot ${ACTION}: ${text}`);
  }
  const templateArguments = {
    ...chat_template_kwargs,
    ...(documents && { documents }),
    ...(add_generation_prompt === false && { add_generation_prompt }),
  } as Readonly<Record<string, JsonValue>>; // came out of a JSON body
  return {
    kind: "chat",
    messages: toMessages(body.messages, ACTION),
    ...(calling && { tools: calling.tools }),
    ...(Object.keys(templateArguments).length > 0 && { templateArguments }),
    ...(continue_final_message === true && { continuesLast: true }),
  };
}

function toChatParameters(body: ChatBody): GenerationParameters {
  const { logprobs, top_logprobs: top, max_completion_tokens, max_tokens } = body;
  if (typeof top === "number" && top > 0 && logprobs !== true) {
    const text = `"top_logprobs" is ${top}, wanted "logprobs": true with it`;
    throw new OpenAIRefusal("top_logprobs", `Cannot ${ACTION}: ${text}`);
  }
  return {
    ...toParameters(body),
    ...given<GenerationParameters>({ topTokens: logprobs === true ? top : undefined }),
    maxNewTokens: max_completion_tokens ?? max_tokens ?? null,
  };
}

function toChoice(
  { sequence, text, reason, details }: GenerationResult["sequences"][number],
  calling: Calling | undefined,
  withLogprobs: boolean,
): JsonValue {
  const gate = createTokenGate();
  for (const { token, top } of details) gate.add(token, top);
  const words = details.map(({ token }) => token);
  // Some calls are told by special tokens, which the text lacks.
  const written = words.some(isToolWord)
    ? words.map((word) => (word.special && !isToolWord(word) ? "" : word.text)).join("")
    : text;
  const read = calling && readToolCalls(written, calling.names);
  const spoken: Spoken = read && read.calls.length > 0 ? read : { text, calls: [] };
  const calls = calling ? toCalls(spoken, calling) : [];
  return {
    index: sequence,
    message: {
      role: "assistant",
      content: calls.length > 0 && spoken.text === "" ? null : spoken.text,
      refusal: null,
      ...(calls.length > 0 && { tool_calls: calls }),
    },
    logprobs: withLogprobs ? toChatLogprobs(gate.show(text.length)) : null,
    finish_reason: calls.length > 0 ? "tool_calls" : toFinishReason(reason),
  };
}

function toCalls({ calls }: Spoken, { most, makeId }: Calling) {
  return calls.slice(0, most).map((call) => toToolCall(call, makeId));
}

interface ChunkOptions {
  readonly heading: Readonly<Record<string, JsonValue>>;
  readonly calling: Calling | undefined;
  readonly withLogprobs: boolean;
  readonly includeUsage: boolean;
}

async function* toChunks(
  stream: GenerationStream,
  { heading, calling, withLogprobs, includeUsage }: ChunkOptions,
): AsyncGenerator<JsonValue, undefined> {
  const usage = createUsage();
  const gates = new Map<number, TokenGate>();
  const holds = new Map<number, ToolHold>();
  const chunk = (
    index: number,
    delta: JsonValue,
    placed: readonly PlacedToken[] = [],
    finish_reason: string | null = null,
  ): JsonValue => {
    const logprobs = withLogprobs && placed.length > 0 ? toChatLogprobs(placed) : null;
    const choices = [{ index, delta, logprobs, finish_reason }];
    return { ...heading, choices, ...(includeUsage && { usage: null }) };
  };
  for await (const { event } of stream) {
    if (event.type === "start") {
      usage.read(event.promptTokens);
      continue;
    }
    const { sequence: index } = event;
    let gate = gates.get(index);
    if (gate === undefined) {
      gate = createTokenGate();
      gates.set(index, gate);
      if (calling) holds.set(index, createToolHold(calling.names));
      yield chunk(index, { role: "assistant", content: "" });
    }
    const hold = holds.get(index);
    if (event.type === "token") {
      gate.add(event.token, event.top);
      const word = hold && isToolWord(event.token) ? event.token.text : "";
      const content = hold ? hold.add(word + event.text) : event.text;
      const placed = gate.show(event.text.length);
      if (content !== "" || (withLogprobs && placed.length > 0))
        yield chunk(index, { content }, placed);
      continue;
    }
    usage.wrote(event);
    const rest = event.rest ?? "";
    const placed = gate.show(rest.length);
    const shown = hold ? hold.add(rest) : rest;
    const spoken = hold?.end() ?? { text: "", calls: [] };
    const content = shown + spoken.text;
    if (content !== "" || (withLogprobs && placed.length > 0))
      yield chunk(index, { content }, placed);
    const calls = calling ? toCalls(spoken, calling) : [];
    if (calls.length > 0)
      yield chunk(index, { tool_calls: calls.map((call, place) => ({ index: place, ...call })) });
    yield chunk(index, {}, [], calls.length > 0 ? "tool_calls" : toFinishReason(event.reason));
  }
  if (includeUsage) yield { ...heading, choices: [], usage: { ...usage.usage() } };
}
