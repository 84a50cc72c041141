/**
 * How much text a request asks the model to read: what its cost is predicted from before anybody has tokenized it.
 */
import type { GenerationRequest } from "./generation.ts";
import {
  wantsExplanation,
  type Batching,
  type InferenceRequest,
  type NamedTensor,
} from "./inference.ts";

/** Strings below `inputs` are text; a long list of numbers is not walked to its end. */
const MOST_VALUES = 10_000;

/** How large a request is, for those who predict and those who bound. */
export interface RequestSize {
  /** In what its model's costs are predicted from. */
  readonly size: number;
  /** What it keeps in memory while it waits, roughly: its text in two bytes a character, its file. */
  readonly bytes: number;
}

/** Walks the request's inputs once. */
export function measureRequest(
  request: InferenceRequest,
  measure: Batching["measure"] = "characters",
): RequestSize {
  const characters = countCharacters(request);
  const bytes =
    (request.media?.bytes.byteLength ?? 0) + bytesOf(request.tensors?.inputs) + 2 * characters;
  if (measure === "characters") return { size: characters, bytes };
  const inputs = request.data["inputs"];
  return { size: Array.isArray(inputs) ? Math.max(1, inputs.length) : 1, bytes };
}

function bytesOf(tensors: readonly NamedTensor[] = []): number {
  let bytes = 0;
  for (const { data } of tensors) {
    if (ArrayBuffer.isView(data)) bytes += data.byteLength;
    else for (const element of data) bytes += element.byteLength;
  }
  return bytes;
}

/** Characters of all text in the request's inputs; 0 where there is none. Of tensors, as if the first one were token ids. */
export function countCharacters({ data, tensors, generation }: InferenceRequest): number {
  if (tensors !== undefined) {
    const [first] = tensors.inputs;
    return first === undefined ? 0 : CHARACTERS_PER_TOKEN * tensorTokens(first);
  }
  const inputs: unknown = generation === undefined ? data["inputs"] : promptOf(generation);
  if (typeof inputs === "string") return inputs.length;
  let characters = 0;
  let left = MOST_VALUES;
  const stack: unknown[] = [inputs];
  while (stack.length > 0 && left-- > 0) {
    const value = stack.pop();
    if (typeof value === "string") characters += value.length;
    else if (ArrayBuffer.isView(value)) characters += value.byteLength; // a file's bytes, which must not be walked
    else if (typeof value === "object" && value !== null)
      for (const inner of Object.values(value)) stack.push(inner);
  }
  return characters;
}

function promptOf({ prompt }: GenerationRequest): unknown {
  switch (prompt.kind) {
    case "text":
      return prompt.text;
    case "tokens":
      return new Uint8Array(0); // ids are no text; whoever generates counts them
    case "chat":
      return prompt.messages;
  }
}

/**
 * What a tensor costs, in tokens: each whole number as if it were a token's id, and as many as a patch of 16 × 16 pixels has of
 * all others, which are the values of images and sounds.
 */
export function tensorTokens({ datatype, data }: Pick<NamedTensor, "datatype" | "data">): number {
  const isReal = datatype === "FP32" || datatype === "FP16" || datatype === "FP64";
  return isReal ? data.length / 256 : data.length;
}

/** Points on an explanation's path where a request does not say: Captum's own default. */
export const USUAL_STEPS = 50;
/** Ten times that: the error of Gauss and Legendre's rule falls below that of float32 long before. */
export const MOST_STEPS = 500;

/**
 * What an explanation costs, in forward passes over the same text: each point on the path, and either end, is a pass forward
 * and one back. Without gradients of the weights, which nobody asks for, back costs as much as forward: `bench/explain.ts`.
 */
export function explanationPasses(steps: number): number {
  return 2 * (steps + 2);
}

/** How many forward passes over its text a request takes: 1 for a prediction. */
export function passesOf(request: InferenceRequest): number {
  const wants = wantsExplanation(request);
  if (wants === "no") return 1;
  const parameters = request.data["parameters"];
  const steps: unknown =
    typeof parameters === "object" && parameters !== null && "n_steps" in parameters
      ? parameters.n_steps
      : undefined;
  const isCount = typeof steps === "number" && Number.isFinite(steps) && steps > 0;
  const counted = isCount ? Math.min(steps, MOST_STEPS) : USUAL_STEPS; // more is refused
  return explanationPasses(counted) + (wants === "beside" ? 1 : 0);
}

/** English in word pieces; what other languages and vocabularies have is learned (`engine/cost-model.ts`). */
export const CHARACTERS_PER_TOKEN = 4;
/** `[CLS]` and `[SEP]`. */
export const SPECIAL_TOKENS = 2;

/** Tokens of a text of that many characters; at least 1. */
export function guessTokens(characters: number, charactersPerToken = CHARACTERS_PER_TOKEN): number {
  return Math.max(1, SPECIAL_TOKENS + Math.round(characters / Math.max(charactersPerToken, 1e-3)));
}
