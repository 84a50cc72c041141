/**
 * `POST /v1/embeddings`: texts to one vector each.
 *
 * Asked of a model for feature extraction or sentence similarity, which pools and normalizes as its repository says; where that
 * says nothing, vectors are the mean of the tokens', of length 1, as OpenAI's are. `dimensions` keeps the first ones, and what
 * was of length 1 is so again. A custom handler is called with the list of texts as `inputs`, `dimensions` and its like as
 * `parameters`, and answers with a list of vectors.
 *
 * Texts that are longer than the model reads are cut, with a word about it in the header `warnings`. `usage` counts what was
 * read, special tokens included; 0 where a custom handler answers, as nobody counts there.
 *
 * Source: OpenAI's API reference, "Create embeddings".
 */
import { z } from "zod";

import { isRuntimeError } from "../../errors.ts";
import type { InferenceResult, JsonValue } from "../../inference.ts";
import { ask } from "../ask.ts";
import { respondJson } from "../respond.ts";
import { OpenAIRefusal } from "./openai-errors.ts";
import { checkBody, isObject, kindOf, unfit, type OpenAICall } from "./openai-request.ts";

const ACTION = "create embeddings";

/** The tasks whose models have vectors. */
export const EMBEDDING_TASKS: ReadonlySet<string> = new Set([
  "feature-extraction",
  "sentence-similarity",
]);

/** OpenAI's own bound. */
export const MOST_INPUTS = 2048;

const Flag = z.boolean("true or false").nullish();
const wantedDimensions = "a whole number of at least 1";

export const EmbeddingsBody = z.object({
  input: z.union([z.string(), z.array(z.unknown())], "a string or a list of strings"),
  encoding_format: z.enum(["float", "base64"], `"float" or "base64"`).nullish(),
  dimensions: z.int(wantedDimensions).positive(wantedDimensions).nullish(),
  /** Feature extraction's own, for whoever needs them. */
  normalize: Flag,
  truncate: Flag,
  prompt_name: z.string("a string").nullish(),
});

export async function answerEmbeddings({ c, body, ready }: OpenAICall): Promise<Response> {
  const { input, encoding_format, ...options } = checkBody(EmbeddingsBody, body, ACTION);
  const texts = toTexts(input);
  const { description, model } = ready;
  const wanted = "a model for feature-extraction or sentence-similarity";
  const isCustom = description.handler === "custom";
  if (!isCustom && !EMBEDDING_TASKS.has(description.task ?? "")) throw unfit(ready, ACTION, wanted);
  const given = Object.entries(options).filter(([, value]) => (value ?? undefined) !== undefined);
  const parameters = Object.fromEntries(isCustom ? given : [["pooling", "auto"], ...given]);
  const data = {
    inputs: texts,
    ...(Object.keys(parameters).length > 0 && { parameters }),
  };
  const result = await ask(c, ready, { kind: "predict", data }).catch((error: unknown) => {
    throw isCustom ? error : toOwnWords(error);
  });
  const vectors = toVectors(result, texts.length);
  if (vectors === undefined)
    throw unfit(
      ready,
      ACTION,
      `${wanted}, or a handler that answers a list of texts with their vectors`,
    );
  const encode = encoding_format === "base64" ? toBase64 : (vector: readonly number[]) => vector;
  const tokens = result.tokens ?? 0;
  return respondJson(c, {
    object: "list",
    data: vectors.map((vector, index) => ({
      object: "embedding",
      index,
      embedding: encode(vector),
    })),
    model: model.name,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  });
}

/** @throws OpenAIRefusal for what is no text, too. */
function toTexts(input: string | readonly unknown[]): readonly string[] {
  const texts = typeof input === "string" ? [input] : input;
  if (texts.length === 0 || texts.length > MOST_INPUTS) {
    const found = texts.length === 0 ? "an empty list" : `a list of ${texts.length}`;
    throw refusal("input", `${found}, wanted 1 to ${MOST_INPUTS} texts`);
  }
  return texts.map((text, index) => {
    const place = typeof input === "string" ? "input" : `input[${index}]`;
    if (text === "") throw refusal(place, "an empty string, wanted a text");
    if (typeof text === "string") return text;
    if (typeof text === "number" || Array.isArray(text)) {
      // Clients take them from OpenAI's vocabularies: read as this model's own they would mean something else.
      throw refusal(
        "input",
        'a list of token ids, wanted texts: this model has a vocabulary of its own (LangChain: "check_embedding_ctx_length=False")',
      );
    }
    throw refusal(place, `${kindOf(text)}, wanted a string`);
  });
}

function refusal(place: string, problem: string): OpenAIRefusal {
  return new OpenAIRefusal("input", `Cannot ${ACTION}: "${place}" is ${problem}`);
}

/** A task's refusal names what it read: `"inputs[1]"`, `"dimensions"`. */
function toOwnWords(error: unknown): unknown {
  if (!isRuntimeError(error) || error.code !== "INVALID_INPUT") return error;
  const text = error.message.replaceAll(/"inputs(?=["[])/g, '"input');
  const [, param = null] = /"(input|dimensions|prompt_name)\b/.exec(text) ?? [];
  return new OpenAIRefusal(param, text);
}

/** @returns `undefined` unless there is a list of numbers for each text. */
export function toVectors(
  { output }: InferenceResult,
  count: number,
): readonly (readonly number[])[] | undefined {
  if (output.kind !== "json") return undefined;
  // `{"embeddings": […]}` is what many handlers for sentence-transformers answer.
  const { value } = output;
  const list = isObject(value) ? value["embeddings"] : value;
  if (!Array.isArray(list) || list.length !== count) return undefined;
  const rows: readonly JsonValue[] = list;
  return rows.every(isVector) ? rows : undefined;
}

function isVector(value: JsonValue): value is readonly number[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((each: JsonValue) => typeof each === "number")
  );
}

/** Little-endian float32: what OpenAI's clients ask for unless told otherwise. */
function toBase64(vector: readonly number[]): string {
  const bytes = Buffer.allocUnsafe(4 * vector.length);
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(value, 4 * index);
  return bytes.toString("base64");
}
