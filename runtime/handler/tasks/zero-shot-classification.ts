/**
 * Zero-shot classification: which of the client's own labels fit a text, by a model that tells whether one text follows
 * from another.
 *
 * Numbers and shapes follow `ZeroShotClassificationPipeline` of Python's transformers 4.57: each label makes a
 * hypothesis, each pair of text and hypothesis is one item, and the pairs of all requests share forward passes.
 *
 * @example
 * ```jsonc
 * // test/fixtures/models/tiny-bert-nli, whose weights are random: it has no opinion.
 * {"inputs": "The little cat went to the park.", "parameters": {"candidate_labels": ["sports", "politics", "a story"]}}
 * // → {"sequence": "The little cat went to the park.", "labels": ["politics", "a story", "sports"],
 * //    "scores": [0.3336751658311534, 0.33334182938124224, 0.33298300478760445]}
 * {"inputs": ["The little cat went to the park."], "parameters": {"candidate_labels": "sports, a story", "multi_label": true}}
 * // → [{"sequence": "The little cat went to the park.", "labels": ["a story", "sports"],
 * //     "scores": [0.4616442484052768, 0.46094049833083645]}]
 * ```
 */
import { AutoModelForSequenceClassification } from "@huggingface/transformers";
import { z } from "zod";

import type { InferenceRequest } from "../../inference.ts";
import { loadEncoder, rowOf, type Encoder } from "../model/encoder.ts";
import type { ModelConfig } from "../model/folder.ts";
import type { Encoding } from "../model/truncation.ts";
import { CandidateLabels, gatherLabels } from "./candidate-labels.ts";
import {
  inputName,
  invalidInput,
  readInputs,
  readParameters,
  TruncationParameter,
} from "./inputs.ts";
import { findOutput } from "./outputs.ts";
import { softmax, topIndices } from "./scores.ts";
import type { Item, OpenTask, Task } from "./task.ts";

const ACTION = "classify the text";

const text = "a text that is not empty";
const Text = z.string(text).min(1, text);
const Texts = z.union(
  [Text, z.array(Text).min(1, "at least one text")],
  "a text or a list of texts",
);
/** Parameters that may stand beside the texts; checked where all parameters are. */
const Beside = z.looseObject({
  hypothesis_template: z.unknown().optional(),
  multi_label: z.unknown().optional(),
});
const Wrapped = z.union(
  [z.looseObject({ sequences: Texts }), z.looseObject({ text: Texts })],
  `an object with "sequences"`,
);

/** One text or several, bare or in an object as the toolkit takes them. */
export const ZeroShotClassificationInputs = z.union(
  [Texts, Wrapped],
  `a text, a list of texts, or {"sequences"}`,
);
export type ZeroShotClassificationInputs = z.infer<typeof ZeroShotClassificationInputs>;

export const ZeroShotClassificationParameters = z.object({
  candidate_labels: CandidateLabels,
  /** What the text should imply if the label fits: `{}` is where the label goes. */
  hypothesis_template: z
    .string(`a text with "{}"`)
    .includes("{}", `a text with "{}" where the label goes`)
    .nullish()
    .transform((given) => given ?? "This example is {}."),
  /** Whether labels are judged one by one; otherwise their scores make up 1. */
  multi_label: z
    .boolean("true or false")
    .nullish()
    .transform((given) => given ?? false),
  /** By default the text is cut, never the hypothesis. */
  truncation: TruncationParameter,
});
export type ZeroShotClassificationParameters = z.infer<typeof ZeroShotClassificationParameters>;

/** Best label first. */
export type ZeroShotClassificationAnswer = {
  readonly sequence: string;
  readonly labels: readonly string[];
  readonly scores: readonly number[];
};

export const zeroShotClassification: Task = {
  inputs: ZeroShotClassificationInputs,
  parameters: ZeroShotClassificationParameters,
  example: {
    inputs: "I recently bought a device from your company but it is not working",
    parameters: { candidate_labels: ["refund", "legal", "faq"] },
  },
  answersListsByElement: true,
  measure: "characters",
  async open(model) {
    const encoder = await loadEncoder(model, AutoModelForSequenceClassification);
    const logits = findOutput(encoder, model, "zero-shot-classification", ["logits"], 2);
    return openZeroShotClassification(encoder, logits, model.folder.config);
  },
};

interface PairItem extends Item {
  readonly encoding: Encoding;
}

interface State {
  readonly sequences: readonly string[];
  readonly isList: boolean;
  readonly candidates: readonly string[];
  readonly isMultiLabel: boolean;
}

function openZeroShotClassification(
  encoder: Encoder,
  output: string,
  config: ModelConfig,
): OpenTask<PairItem, Float32Array, State> {
  const entailment = entailmentOf(config);
  return {
    notes:
      entailment === -1
        ? [`No label of the model begins with "entail": the last one is taken for it`]
        : [],

    preprocess(request, { warn }) {
      const inputs = readInputs(ZeroShotClassificationInputs, request, ACTION);
      const { candidate_labels, hypothesis_template, multi_label, truncation } = readRequested(
        request,
        warn,
      );
      const given = textsOf(inputs);
      const sequences = [given].flat();
      const warned = new Set<string>();
      const items = sequences.flatMap((sequence, index) =>
        candidate_labels.map((label): PairItem => {
          const name = inputName(request, index);
          const encoding = encoder.encode(sequence, {
            pair: hypothesis_template.replaceAll("{}", () => label),
            truncation: truncation ?? "only_first",
            action: ACTION,
            name,
            warn: (sentence) => {
              if (!warned.has(name)) warn(sentence); // once, not for each label
              warned.add(name);
            },
          });
          return { tokens: encoding.inputIds.length, encoding };
        }),
      );
      const isList = Array.isArray(given);
      return {
        items,
        state: { sequences, isList, candidates: candidate_labels, isMultiLabel: multi_label },
      };
    },

    async inference(items) {
      const encodings = items.map(({ encoding }) => encoding);
      const logits = await encoder.forward(encodings, output); // [B, L]
      return items.map((_, b) => rowOf(logits, b));
    },

    postprocess({ sequences, isList, candidates, isMultiLabel }, results) {
      const answers = sequences.map((sequence, index): ZeroShotClassificationAnswer => {
        const first = index * candidates.length;
        const rows = results.slice(first, first + candidates.length);
        const scores = scoresOf(rows, entailment, isMultiLabel || candidates.length === 1);
        const order = topIndices(scores, candidates.length);
        return {
          sequence,
          labels: order.map((place) => candidates[place] ?? ""),
          scores: order.map((place) => scores[place] ?? 0),
        };
      });
      return isList ? answers : (answers[0] ?? []);
    },

    dispose: () => encoder.dispose(),
  };
}

/** Parameters where clients put them: in `parameters`, or, as the toolkit takes them, beside the texts. */
function readRequested({ data }: InferenceRequest, warn: (text: string) => void) {
  const { inputs } = data;
  const { parameters, elsewhere } = gatherLabels(data["parameters"], [inputs, data]);
  const { hypothesis_template, multi_label } = Beside.safeParse(inputs).data ?? {};
  return readParameters(ZeroShotClassificationParameters, parameters, {
    action: ACTION,
    warn,
    elsewhere: { hypothesis_template, multi_label, ...elsewhere },
  });
}

function textsOf(inputs: ZeroShotClassificationInputs): string | string[] {
  if (typeof inputs === "string" || Array.isArray(inputs)) return inputs;
  const { sequences, text: alias } = inputs as {
    sequences?: string | string[];
    text?: string | string[];
  };
  const texts = sequences ?? alias;
  if (texts === undefined)
    throw invalidInput(ACTION, `"inputs.sequences" is missing, wanted texts`);
  return texts;
}

/** The label that says "it follows", as Python finds it; -1 for the last one. */
function entailmentOf({ id2label }: ModelConfig): number {
  const found = Object.entries(id2label ?? {}).find(([, label]) =>
    String(label).toLowerCase().startsWith("entail"),
  );
  return found === undefined ? -1 : Number(found[0]);
}

/**
 * One score per label.
 *
 * @param rows Logits of each label's pair.
 * @param isEach Whether each label is judged by itself: entailment against contradiction.
 */
function scoresOf(rows: readonly Float32Array[], entailment: number, isEach: boolean) {
  if (!isEach) return softmax(rows.map((row) => row.at(entailment) ?? 0));
  const contradiction = entailment === 0 ? -1 : 0;
  return Float64Array.from(rows, (row) => {
    const [, follows = 0] = softmax([row.at(contradiction) ?? 0, row.at(entailment) ?? 0]);
    return follows;
  });
}
