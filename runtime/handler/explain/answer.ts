/**
 * What an explanation looks like: TorchServe's words and importances, and the same for whole words with their places.
 */
import type { PreTrainedTokenizer } from "@huggingface/transformers";

import type { Attribution } from "../../explain/integrated-gradients.ts";
import type { JsonValue } from "../../inference.ts";
import type { TracedEncoding } from "../model/token-offsets.ts";
import type { Aim } from "./face.ts";
import { groupWords, sumOver, tokenTexts, type Span } from "./words.ts";

/** A word with what its tokens have together. */
export type ImportantSpan = Span & {
  readonly importance: number;
  /** Which input it is of, where there are two. */
  readonly of?: string;
};

/** How much each token, and each word, spoke for the target; negative where it spoke against. */
export type Explanation = {
  /** The tokens, as the tokenizer writes them. */
  readonly words: readonly string[];
  /** One per token; the squares add up to 1, or all are 0 where the text is its own baseline. */
  readonly importances: readonly number[];
  /** What the attributions add up to, less what they should: the quadrature's error. */
  readonly delta: number;
  /** What is explained: a label, say. */
  readonly target: JsonValue;
  readonly spans: readonly ImportantSpan[];
};

/** The texts and their tokens. */
export interface Explainable {
  readonly encoding: TracedEncoding;
  readonly texts: readonly string[];
}

/** @param inputs What the client calls the texts, for when there are two. */
export function toExplanation(
  tokenizer: PreTrainedTokenizer,
  { encoding, texts }: Explainable,
  aim: Aim | undefined,
  attribution: Attribution | undefined,
  inputs: readonly string[] = [],
): Explanation {
  if (aim === undefined || attribution === undefined) throw new Error("nothing was explained");
  const { importances } = attribution;
  return {
    words: tokenTexts(tokenizer, encoding.inputIds),
    importances,
    delta: attribution.delta,
    target: aim.name,
    spans: groupWords(encoding, texts).map((group): ImportantSpan => {
      const of = texts.length > 1 ? inputs[group.text] : undefined;
      return {
        ...group.span,
        ...(of !== undefined && { of }),
        importance: sumOver(importances, group),
      };
    }),
  };
}

/** An explanation of where an answer begins, and of where it ends. */
export type AnswerExplanation = {
  readonly words: readonly string[];
  readonly importances_answer_start: readonly number[];
  readonly importances_answer_end: readonly number[];
  readonly delta_start: number;
  readonly delta_end: number;
  /** The places of the answer's first and last token. */
  readonly target: readonly [start: number, end: number];
  readonly spans: readonly (Span & {
    readonly of: string;
    readonly importance_answer_start: number;
    readonly importance_answer_end: number;
  })[];
};

/** @param inputs What the client calls the texts, in the order in which the model reads them. */
export function toAnswerExplanation(
  tokenizer: PreTrainedTokenizer,
  { encoding, texts }: Explainable,
  target: readonly [start: number, end: number],
  [start, end]: readonly Attribution[],
  inputs: readonly string[],
): AnswerExplanation {
  if (start === undefined || end === undefined) throw new Error("nothing was explained");
  return {
    words: tokenTexts(tokenizer, encoding.inputIds),
    importances_answer_start: start.importances,
    importances_answer_end: end.importances,
    delta_start: start.delta,
    delta_end: end.delta,
    target,
    spans: groupWords(encoding, texts).map((group) => ({
      ...group.span,
      of: inputs[group.text] ?? "",
      importance_answer_start: sumOver(start.importances, group),
      importance_answer_end: sumOver(end.importances, group),
    })),
  };
}
