/**
 * An engine that says what the test has written down: tokens, where a stop text held them back, why it ended. It answers requests of
 * kind `"generate"`, whole or streamed, and keeps them for the test to look at.
 */
import type { Waiting } from "../../runtime/engine/engine.ts";
import type {
  FinishReason,
  GeneratedToken,
  GenerationEvent,
  GenerationRequest,
  GenerationResult,
} from "../../runtime/generation.ts";
import type {
  InferenceOutput,
  InferenceRequest,
  JsonValue,
  ModelDescription,
} from "../../runtime/inference.ts";

export interface ScriptedToken {
  readonly text: string;
  /** What is shown with it; its own text where absent. */
  readonly shown?: string;
  readonly special?: boolean;
  readonly top?: readonly string[];
}

export interface Script {
  readonly tokens: readonly ScriptedToken[];
  readonly reason?: FinishReason;
  readonly rest?: string;
  readonly promptTokens?: number;
  /** Tokens, with the likeliest at their places where they are to be told. */
  readonly prompt?: readonly (string | Pick<ScriptedToken, "text" | "top">)[];
  readonly seed?: number;
  /** Thrown by a stream in the place of its end. */
  readonly breaksWith?: Error;
}

export interface Scripted {
  readonly answer: (request: InferenceRequest, waiting: Waiting) => InferenceOutput;
  /** What was asked, in order. */
  readonly asked: GenerationRequest[];
  /** What each was waited for with. */
  readonly waited: Waiting[];
}

/** Words are tokens, with the space before them. */
export function words(text: string, more: Partial<Script> = {}): Script {
  const tokens = (text.match(/\s*\S+/g) ?? []).map((word) => ({ text: word }));
  return { tokens, ...more };
}

/** @param script For each prompt and each of its sequences: a list that begins anew where it ends. */
export function scripted(...scripts: readonly Script[]): Scripted {
  const asked: GenerationRequest[] = [];
  const waited: Waiting[] = [];
  let next = 0;
  return {
    asked,
    waited,
    answer({ kind, generation }, waiting) {
      if (kind !== "generate" || generation === undefined)
        throw new TypeError(`asked to ${kind}, wanted a generation`);
      asked.push(generation);
      waited.push(waiting);
      const sequences = Array.from(
        { length: generation.parameters.sequences ?? 1 },
        () => scripts[next++ % scripts.length]!,
      );
      if (generation.stream) return { kind: "stream", chunks: stream(sequences) };
      // Proof of the cast: results are plain data.
      return { kind: "json", value: toResult(sequences) as unknown as JsonValue };
    },
  };
}

async function* stream(scripts: readonly Script[]): AsyncGenerator<JsonValue> {
  for (const event of eventsOf(scripts)) {
    await new Promise((resolve) => setImmediate(resolve));
    yield event as unknown as JsonValue; // events are plain data
  }
  const [failure] = scripts.flatMap(({ breaksWith }) => breaksWith ?? []);
  if (failure !== undefined) throw failure;
}

function eventsOf(scripts: readonly Script[]): GenerationEvent[] {
  const result = toResult(scripts);
  const { promptTokens, prompt, sequences } = result;
  const start = { type: "start", promptTokens, ...(prompt && { prompt }) } as const;
  const longest = Math.max(0, ...scripts.map(({ tokens }) => tokens.length));
  const events: GenerationEvent[] = [start];
  // As in a batch: every sequence's first token, then every one's second.
  for (let place = 0; place < longest; place++) {
    for (const [sequence, { tokens }] of scripts.entries()) {
      const detail = sequences[sequence]?.details[place];
      const told = tokens[place];
      if (detail === undefined || told === undefined) continue;
      events.push({ type: "token", sequence, text: shownOf(told), ...detail });
    }
  }
  for (const [place, { breaksWith }] of scripts.entries()) {
    const { details: _, ...ended } = sequences[place]!;
    if (breaksWith === undefined) events.push({ type: "end", ...ended });
  }
  return events;
}

function toResult(scripts: readonly Script[]): GenerationResult {
  const [{ promptTokens = 3, prompt } = scripts[0]!] = scripts;
  return {
    promptTokens,
    ...(prompt && {
      prompt: prompt.map((each, index) => {
        const { text, top } = typeof each === "string" ? { text: each, top: undefined } : each;
        const logprob = index === 0 ? null : -index;
        const likeliest = top?.map((one) => ({ ...toToken({ text: one }, index), logprob }));
        return { ...toToken({ text }, index), logprob, ...(likeliest && { top: likeliest }) };
      }),
    }),
    sequences: scripts.map(({ tokens, reason = "eos_token", rest, seed }, sequence) => ({
      sequence,
      text: tokens.map(shownOf).join("") + (rest ?? ""),
      tokens: tokens.length,
      reason,
      ...(rest !== undefined && { rest }),
      ...(seed !== undefined && { seed }),
      details: tokens.map((token, index) => ({
        token: toToken(token, index),
        ...(token.top && { top: token.top.map((text) => toToken({ text }, index)) }),
      })),
    })),
  };
}

function shownOf({ text, shown, special = false }: ScriptedToken): string {
  return shown ?? (special ? "" : text);
}

function toToken({ text, special = false }: ScriptedToken, index: number): GeneratedToken {
  return { id: 100 + index, text, logprob: -(index + 1) / 2, special };
}

/** What a model that generates says of itself. */
export const GENERATES = {
  handler: "default",
  task: "text-generation",
  dtype: "fp32",
  generation: { chat: true, tools: true, maxTokens: 512 },
} satisfies Partial<ModelDescription>;

/** The events of a body, in order: their JSON, or `[DONE]`. */
export function eventsIn(body: string): JsonValue[] {
  const frames = body.split("\n\n");
  if (frames.pop() !== "") throw new Error(`The last event has no end: ${body.slice(-80)}`);
  return frames.map((frame) => {
    const text = /^data: ?(.*)$/s.exec(frame)?.[1];
    if (text === undefined) throw new Error(`Not an event: ${frame}`);
    return text === "[DONE]" ? text : (JSON.parse(text) as JsonValue);
  });
}
