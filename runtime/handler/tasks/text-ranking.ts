/**
 * Text ranking: how well each of some texts answers a query, by a model that reads both at once (a cross-encoder).
 *
 * Shapes are the toolkit's; `raw_scores`, `return_text` and `truncate` are text-embeddings-inference's names. Scores
 * follow `CrossEncoder` of sentence-transformers: the sigmoid of the one logit, or the logit itself where
 * `config.json` asks for it.
 *
 * @example
 * ```jsonc
 * // test/fixtures/models/tiny-bert-nli with its first label alone; the weights are random.
 * {"inputs": {"query": "The cat went to the park.", "texts": ["The cat was happy.", "The park was big."]}}
 * // → [{"index": 0, "score": 0.4866993260657014}, {"index": 1, "score": 0.48665433882865416}]
 * {"inputs": {"query": "The cat went to the park.", "texts": ["The cat was happy.", "The park was big."],
 *             "return_documents": true}, "parameters": {"top_k": 1, "raw_scores": true}}
 * // → [{"index": 0, "score": -0.05321525037288666, "text": "The cat was happy."}]
 * {"inputs": [["The cat went to the park.", "The cat was happy."]]}
 * // → {"scores": [0.4866993260657014]}
 * ```
 */
import { AutoModelForSequenceClassification } from "@huggingface/transformers";
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import { loadEncoder, rowOf, type Encoder } from "../model/encoder.ts";
import type { ModelConfig } from "../model/folder.ts";
import type { Encoding } from "../model/truncation.ts";
import { MaxLengthParameter, readInputs, readParameters, TruncationParameter } from "./inputs.ts";
import { findOutput } from "./outputs.ts";
import { sigmoid, topIndices } from "./scores.ts";
import type { Item, OpenTask, Task, TaskModel } from "./task.ts";

const ACTION = "rank the texts";

const Flag = z.boolean("true or false").nullish();
const Search = z.object(
  {
    query: z.string("a string"),
    texts: z.array(z.string("a string"), "a list of strings").min(1, "at least one text"),
    /** Whether the answer repeats the texts. */
    return_documents: Flag,
  },
  `an object with "query" and "texts"`,
);
const Pair = z.union(
  [
    z.tuple([z.string("a string"), z.string("a string")], "two strings"),
    z.object({ text: z.string("a string"), text_pair: z.string("a string") }, "an object"),
  ],
  `two strings, or {"text", "text_pair"}`,
);

/** A query with texts, or pairs. */
export const TextRankingInputs = z.union(
  [Search, z.array(Pair)],
  `an object with "query" and "texts", or a list of pairs`,
);
export type TextRankingInputs = z.infer<typeof TextRankingInputs>;

const wantedTopK = "a whole number of at least 1";

export const TextRankingParameters = z.object({
  /** How many of the texts, best first; all when absent. */
  top_k: z.int(wantedTopK).positive(wantedTopK).nullish(),
  /** The model's own numbers, with no sigmoid. */
  raw_scores: Flag,
  return_documents: Flag,
  /** The same as `return_documents`. */
  return_text: Flag,
  /** On by default: what is too long is cut, the longer text first. */
  truncation: TruncationParameter,
  /** `false` is the same as `truncation: false`. */
  truncate: Flag,
  max_length: MaxLengthParameter,
});
export type TextRankingParameters = z.infer<typeof TextRankingParameters>;

/** Of a query the texts, best first; of pairs their scores in order. */
export type TextRankingAnswer =
  | readonly { readonly index: number; readonly score: number; readonly text?: string }[]
  | { readonly scores: readonly number[] };

export const textRanking: Task = {
  inputs: TextRankingInputs,
  parameters: TextRankingParameters,
  example: {
    inputs: {
      query: "What is Deep Learning?",
      texts: ["Deep Learning is not…", "Deep learning is…"],
    },
  },
  answersListsByElement: false, // pairs are answered with one object
  measure: "characters",
  async open(model) {
    const encoder = await loadEncoder(model, AutoModelForSequenceClassification);
    const output = findOutput(encoder, model, "text-ranking", ["logits"], 2);
    await assertOneLabel(encoder, output, model);
    return openTextRanking(encoder, output, model.folder.config);
  },
};

interface PairItem extends Item {
  readonly encoding: Encoding;
}

interface State {
  /** The texts of a query; absent where pairs were given. */
  readonly texts?: readonly string[];
  readonly repeatsTexts: boolean;
  readonly topK: number;
  readonly isRaw: boolean;
}

function openTextRanking(
  encoder: Encoder,
  output: string,
  config: ModelConfig,
): OpenTask<PairItem, number, State> {
  const isRawByDefault = asksForRawScores(config);
  return {
    notes: [],

    preprocess(request, { warn }) {
      const inputs = readInputs(TextRankingInputs, request, ACTION);
      const parameters = readParameters(TextRankingParameters, request.data["parameters"], {
        action: ACTION,
        warn,
      });
      const truncation =
        parameters.truncation ?? (parameters.truncate === false ? "none" : "longest_first");
      const toItem = (first: string, second: string, name: string): PairItem => {
        const encoding = encoder.encode(first, {
          pair: second,
          truncation,
          maxTokens: parameters.max_length,
          action: ACTION,
          name,
          warn,
        });
        return { tokens: encoding.inputIds.length, encoding };
      };
      const { top_k, raw_scores, return_documents, return_text } = parameters;
      const options = { topK: top_k ?? Infinity, isRaw: raw_scores ?? isRawByDefault };
      if (Array.isArray(inputs)) {
        const items = inputs.map((pair, index) => {
          const [first, second] = Array.isArray(pair) ? pair : [pair.text, pair.text_pair];
          return toItem(first, second, `inputs[${index}]`);
        });
        return { items, state: { ...options, repeatsTexts: false } };
      }
      const { query, texts } = inputs;
      const items = texts.map((text, index) => toItem(query, text, `inputs.texts[${index}]`));
      const repeatsTexts = inputs.return_documents ?? return_documents ?? return_text ?? false;
      return { items, state: { ...options, texts, repeatsTexts } };
    },

    async inference(items) {
      const encodings = items.map(({ encoding }) => encoding);
      const logits = await encoder.forward(encodings, output); // [B, 1]
      return items.map((_, b) => rowOf(logits, b)[0] ?? 0);
    },

    postprocess({ texts, repeatsTexts, topK, isRaw }, results) {
      const scores = [...(isRaw ? results : sigmoid(results))];
      if (texts === undefined) return { scores } satisfies TextRankingAnswer;
      return topIndices(scores, Math.min(topK, scores.length)).map((index) => ({
        index,
        score: scores[index] ?? 0,
        ...(repeatsTexts && { text: texts[index] ?? "" }),
      })) satisfies TextRankingAnswer;
    },

    dispose: () => encoder.dispose(),
  };
}

/** Runs the model once: `config.json` is silent about two labels, the number that transformers takes for granted. */
async function assertOneLabel(encoder: Encoder, output: string, { weights, folder }: TaskModel) {
  const options = { pair: "b", truncation: "none", action: ACTION, name: "inputs" } as const;
  const { dims } = await encoder.forward([encoder.encode("a", options)], output);
  const labels = dims.at(-1) ?? 0;
  if (labels === 1) return;
  await encoder.dispose();
  const names = Object.values(folder.config.id2label ?? {}).slice(0, 5);
  const named = names.length > 0 ? ` (${names.join(", ")}${labels > 5 ? ", …" : ""})` : "";
  throw new RuntimeError(
    "MODEL_INVALID",
    `Cannot serve text-ranking with ${weights.files[0] ?? "this graph"}: it scores ${labels} labels${named}, wanted one score; ` +
      `models of several labels are for text-classification or zero-shot-classification`,
  );
}

/** What sentence-transformers writes where a model's scores are meant to be used as they are. */
const CrossEncoderConfig = z.looseObject({
  sentence_transformers: z.looseObject({ activation_fn: z.string().nullish() }).nullish(),
  sbert_ce_default_activation_function: z.string().nullish(), // its old name
});

function asksForRawScores(config: ModelConfig): boolean {
  const { sentence_transformers, sbert_ce_default_activation_function } = CrossEncoderConfig.catch(
    {},
  ).parse(config);
  const activation =
    sentence_transformers?.activation_fn ?? sbert_ce_default_activation_function ?? "";
  return activation.endsWith("Identity");
}
