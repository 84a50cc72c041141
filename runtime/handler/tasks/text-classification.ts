/**
 * Text classification: a text, or a pair of texts, to labels with scores.
 *
 * Numbers follow `TextClassificationPipeline` of Python's transformers (4.57 and 5.18), shapes Hugging Face's inference
 * toolkit; what its clients expect instead is made of them where HTTP is spoken. Letters: `B` texts, `L` labels.
 *
 * @example
 * ```jsonc
 * // The embedded model in fp32.
 * {"inputs": "I'm scared of the dark"}
 * // → [{"label": "fear", "score": 0.970876968795022}]
 * {"inputs": "I'm scared of the dark", "parameters": {"top_k": 2}}
 * // → [{"label": "fear", "score": 0.970876968795022}, {"label": "sadness", "score": 0.007268789899573202}]
 * {"inputs": ["I'm scared of the dark", "I love my little sister"]}
 * // → [{"label": "fear", "score": 0.970876968795022}, {"label": "love", "score": 0.9709471396656081}]
 * ```
 */
import { AutoModelForSequenceClassification } from "@huggingface/transformers";
import { z } from "zod";

import { explainTextClassification } from "../explain/text-classification.ts";
import type { ModelConfig } from "../model/folder.ts";
import { loadEncoder, rowOf, type Encoder } from "../model/encoder.ts";
import type { Encoding } from "../model/truncation.ts";
import {
  inputName,
  MaxLengthParameter,
  readInputs,
  readParameters,
  TruncationParameter,
} from "./inputs.ts";
import { findOutput } from "./outputs.ts";
import { sigmoid, softmax, topIndices } from "./scores.ts";
import type { Item, OpenTask, Task } from "./task.ts";

const ACTION = "classify the text";

const Pair = z.object(
  { text: z.string("a string"), text_pair: z.string("a string").nullish() },
  "an object",
);
const One = z.union([z.string(), Pair], `a string or {"text", "text_pair"}`);

/** One text, one pair, or a list of them. */
export const TextClassificationInputs = z.union(
  [One, z.array(One)],
  `a string, a list of strings, or {"text", "text_pair"}`,
);
export type TextClassificationInputs = z.infer<typeof TextClassificationInputs>;

const wantedTopK = "a whole number of at least 1, or null for all labels";
const wantedFunction = `"sigmoid", "softmax", "none" or "default"`;

export const TextClassificationParameters = z.object({
  /** How many labels, best first; `null` for all. Without it the best label alone, in a flatter shape. */
  top_k: z.int(wantedTopK).positive(wantedTopK).nullable().optional(),
  /** What makes scores of logits; by default what the model's configuration asks for. */
  function_to_apply: z.enum(["sigmoid", "softmax", "none", "default"], wantedFunction).nullish(),
  /** On by default: a text is cut to the model's limit. */
  truncation: TruncationParameter,
  max_length: MaxLengthParameter,
  /** The old name of `top_k: null`. */
  return_all_scores: z.boolean("true or false").nullish(),
});
export type TextClassificationParameters = z.infer<typeof TextClassificationParameters>;

export const textClassification: Task = {
  inputs: TextClassificationInputs,
  parameters: TextClassificationParameters,
  example: { inputs: "I am quite excited how this will turn out" },
  answersListsByElement: true,
  measure: "characters",
  async open(model) {
    const encoder = await loadEncoder(model, AutoModelForSequenceClassification);
    const logits = findOutput(encoder, model, "text-classification", ["logits"], 2);
    return {
      ...openTextClassification(encoder, logits, model.folder.config),
      explaining: explainTextClassification({
        encoder,
        output: logits,
        model,
        predicting: TextClassificationParameters,
        readTexts: (request) =>
          [readInputs(TextClassificationInputs, request, "explain the prediction")]
            .flat()
            .map(toPair),
      }),
    };
  },
};

interface TextItem extends Item {
  readonly encoding: Encoding;
}

/** What makes scores of logits. */
const ACTIVATIONS = { sigmoid, softmax, none: (logits: Float32Array) => Float64Array.from(logits) };
type Activation = keyof typeof ACTIVATIONS;

interface State {
  readonly isList: boolean;
  /** `undefined` where the client did not say: the best label, not in a list of its own. */
  readonly topK: number | undefined;
  readonly activation: Activation | undefined;
}

type Label = { readonly label: string; readonly score: number };

/** What one text is answered with, best first. */
export type TextClassificationAnswer = readonly Label[];

function openTextClassification(
  encoder: Encoder,
  output: string,
  config: ModelConfig,
): OpenTask<TextItem, Float32Array, State> {
  return {
    notes: [],

    preprocess(request, { warn }) {
      const inputs = readInputs(TextClassificationInputs, request, ACTION);
      const parameters = readParameters(TextClassificationParameters, request.data["parameters"], {
        action: ACTION,
        warn,
      });
      const isList = Array.isArray(inputs);
      const items = (isList ? inputs : [inputs]).map((input, index): TextItem => {
        const { text, pair } = toPair(input);
        const encoding = encoder.encode(text, {
          pair,
          truncation: parameters.truncation ?? "longest_first",
          maxTokens: parameters.max_length,
          action: ACTION,
          name: inputName(request, index),
          warn,
        });
        return { tokens: encoding.inputIds.length, encoding };
      });
      return { items, state: { isList, ...readAnswerOptions(parameters) } };
    },

    async inference(items) {
      const encodings = items.map(({ encoding }) => encoding);
      const logits = await encoder.forward(encodings, output); // [B, L]
      return items.map((_, b) => rowOf(logits, b));
    },

    postprocess(
      { isList, topK, activation },
      results,
    ): TextClassificationAnswer | readonly TextClassificationAnswer[] {
      const answers = results.map((logits) => {
        const scores = ACTIVATIONS[activation ?? defaultActivation(config, logits.length)](logits);
        return topIndices(scores, topK ?? 1).map((index): Label => ({
          label: labelOf(config, index),
          score: scores[index] ?? 0,
        }));
      });
      return isList && topK !== undefined ? answers : answers.flat();
    },

    dispose: () => encoder.dispose(),
  };
}

function toPair(input: z.output<typeof One>): { text: string; pair?: string | undefined } {
  if (typeof input === "string") return { text: input };
  return { text: input.text, pair: input.text_pair ?? undefined };
}

function readAnswerOptions(parameters: TextClassificationParameters): Omit<State, "isList"> {
  const { top_k, function_to_apply, return_all_scores } = parameters;
  const chosen = top_k === undefined && return_all_scores === true ? null : top_k;
  return {
    topK: chosen === null ? Infinity : chosen,
    activation: function_to_apply === "default" ? undefined : (function_to_apply ?? undefined),
  };
}

/** As Python decides it: by the kind of problem, then by the number of labels. */
function defaultActivation({ problem_type, id2label }: ModelConfig, L: number): Activation {
  if (problem_type === "regression") return "none";
  const labels = id2label ? Object.keys(id2label).length : L;
  return problem_type === "multi_label_classification" || labels === 1 ? "sigmoid" : "softmax";
}

function labelOf({ id2label }: ModelConfig, index: number): string {
  return String(id2label?.[index] ?? `LABEL_${index}`);
}
