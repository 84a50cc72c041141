/**
 * Fill-mask: the words that fit best where the text has a mask.
 *
 * Follows `FillMaskPipeline` of Python's transformers (4.57 and 5.18), its shapes included: a text with several masks
 * gets one list per mask, whose sequences keep their special tokens; a list with a single text is answered like the
 * text alone. Letters: `T` tokens, `V` words of the vocabulary, `M` masks of a text.
 *
 * @example
 * ```jsonc
 * // test/fixtures/models/tiny-bert-mlm in fp32; its weights are random.
 * {"inputs": "The little [MASK] went to the park.", "parameters": {"top_k": 1}}
 * // → [{"score": 0.007503662242393974, "token": 253, "token_str": "oh", "sequence": "the little oh went to the park."}]
 * ```
 */
import { AutoModelForMaskedLM } from "@huggingface/transformers";
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import { loadEncoder, rowOf, type Encoder } from "../model/encoder.ts";
import type { Encoding } from "../model/truncation.ts";
import {
  inputName,
  invalidInput,
  MaxLengthParameter,
  readInputs,
  readParameters,
  TextInputs,
  TruncationParameter,
} from "./inputs.ts";
import { findOutput } from "./outputs.ts";
import { softmax, topIndices } from "./scores.ts";
import type { Item, OpenTask, Task, TaskContext } from "./task.ts";

const ACTION = "fill the mask";

const wantedTopK = "a whole number of at least 1";
const wantedTargets = "a string or a list of strings";

/** Off by default: what is cut may be the mask. */
const Cutting = { truncation: TruncationParameter, max_length: MaxLengthParameter };

export const FillMaskParameters = z.object({
  /** How many words, best first. */
  top_k: z
    .int(wantedTopK)
    .positive(wantedTopK)
    .nullish()
    .transform((given) => given ?? 5),
  /** The words to choose among, instead of the whole vocabulary. */
  targets: z.union([z.string(), z.array(z.string("a string"))], wantedTargets).nullish(),
  ...Cutting,
  /** Where Python takes the same. */
  tokenizer_kwargs: z.object(Cutting, `an object with "truncation" and "max_length"`).nullish(),
});
export type FillMaskParameters = z.infer<typeof FillMaskParameters>;

export const fillMask: Task = {
  inputs: TextInputs,
  parameters: FillMaskParameters,
  example: { inputs: "The goal of life is [MASK]." },
  answersListsByElement: true,
  measure: "characters",
  async open(model) {
    const encoder = await loadEncoder(model, AutoModelForMaskedLM);
    const output = findOutput(encoder, model, "fill-mask", ["logits"], 3);
    const { mask_token: token, mask_token_id: id } = encoder.tokenizer;
    if (typeof token !== "string" || typeof id !== "number") {
      throw new RuntimeError(
        "MODEL_INVALID",
        `Cannot serve fill-mask: ${model.folder.prefix}tokenizer_config.json names no mask_token`,
      );
    }
    return openFillMask(encoder, output, { token, id });
  },
};

interface MaskedItem extends Item {
  readonly encoding: Encoding;
  /** The masks' positions, ascending: `[M]`, at least one. */
  readonly masks: readonly number[];
}

interface State {
  /** Whether the answer is the one text's own, not a list of answers. */
  readonly isAlone: boolean;
  readonly topK: number;
  /** The ids to choose among. */
  readonly targets: readonly number[] | undefined;
  readonly items: readonly MaskedItem[];
}

/** One word for a mask. */
type Filling = {
  readonly score: number;
  readonly token: number;
  readonly token_str: string;
  readonly sequence: string;
};

/** What one text is answered with: the words for its mask, best first; one such list per mask where it has several. */
export type FillMaskAnswer = readonly Filling[] | readonly (readonly Filling[])[];

function openFillMask(
  encoder: Encoder,
  output: string,
  mask: { readonly token: string; readonly id: number },
): OpenTask<MaskedItem, readonly Float32Array[], State> {
  const { tokenizer } = encoder;

  /** @throws `INVALID_INPUT` when the text has no mask. */
  function toItem(
    text: string,
    name: string,
    parameters: FillMaskParameters,
    warn: TaskContext["warn"],
  ): MaskedItem {
    const kwargs = parameters.tokenizer_kwargs;
    const encoding = encoder.encode(text, {
      truncation: parameters.truncation ?? kwargs?.truncation ?? "none",
      maxTokens: parameters.max_length ?? kwargs?.max_length,
      action: ACTION,
      name,
      warn,
    });
    const { inputIds } = encoding;
    const masks = [...inputIds.keys()].filter((t) => inputIds[t] === mask.id);
    if (masks.length > 0) return { tokens: inputIds.length, encoding, masks };
    throw invalidInput(ACTION, `"${name}" has no mask, wanted "${mask.token}" in it`);
  }

  /** The text with the mask at position `t` filled. */
  function fill({ encoding, masks }: MaskedItem, t: number, token: number, score: number): Filling {
    const filled = encoding.inputIds.map((id, position) => (position === t ? token : id));
    const ids = filled.filter((id) => id !== tokenizer.pad_token_id);
    return {
      score,
      token,
      token_str: tokenizer.decode([token]),
      sequence: tokenizer.decode(ids, { skip_special_tokens: masks.length === 1 }),
    };
  }

  return {
    notes: [],
    example: { inputs: `The goal of life is ${mask.token}.` },

    preprocess(request, { warn }) {
      const inputs = readInputs(TextInputs, request, ACTION);
      const parameters = readParameters(FillMaskParameters, request.data["parameters"], {
        action: ACTION,
        warn,
      });
      const isList = Array.isArray(inputs);
      const items = (isList ? inputs : [inputs]).map((text, index) =>
        toItem(text, inputName(request, index), parameters, warn),
      );
      const targets = parameters.targets ?? undefined;
      const state = {
        // Python answers a list of one like the text alone; a part of a longer list stays a list.
        isAlone: !isList || (inputs.length === 1 && request.part === undefined),
        topK: parameters.top_k,
        targets: targets === undefined ? undefined : targetIds(encoder, [targets].flat(), warn),
        items,
      };
      return { items, state };
    },

    async inference(items) {
      const encodings = items.map(({ encoding }) => encoding);
      const logits = await encoder.forward(encodings, output); // [B, T, V]
      const [, , V = 0] = logits.dims;
      // Copies of the masks' rows: a view would keep all `B × T × V` floats alive until the answer.
      return items.map(({ masks }, b) =>
        masks.map((t) => rowOf(logits, b).slice(t * V, (t + 1) * V)),
      );
    },

    postprocess(
      { isAlone, topK, targets, items },
      results,
    ): FillMaskAnswer | readonly FillMaskAnswer[] {
      const answers = items.map((item, index): FillMaskAnswer => {
        const lists = (results[index] ?? []).map((logits, m) => {
          const probabilities = softmax(logits); // [V]
          const scores = targets?.map((id) => probabilities[id] ?? 0) ?? probabilities;
          return topIndices(scores, topK).map((best) =>
            fill(item, item.masks[m] ?? 0, targets?.[best] ?? best, scores[best] ?? 0),
          );
        });
        return lists.length === 1 ? (lists[0] ?? []) : lists;
      });
      return isAlone ? (answers[0] ?? []) : answers;
    },

    dispose: () => encoder.dispose(),
  };
}

/**
 * The ids of the words to choose among, each once. A word that is not one token stands for its first token, with a
 * warning; one that is no token at all is left out.
 *
 * @throws `INVALID_INPUT` when no word is left.
 */
function targetIds(
  encoder: Encoder,
  targets: readonly string[],
  warn: TaskContext["warn"],
): number[] {
  const ids = new Set<number>();
  for (const target of targets) {
    const id: number | undefined = encoder.tokenizer.convert_tokens_to_ids(target);
    const [first] = id === undefined ? encoder.tokensOf(target) : [id];
    const word = JSON.stringify(target.slice(0, 40));
    if (first === undefined) warn(`Ignoring the target ${word}: it has no token`);
    else {
      if (id === undefined) {
        const token = encoder.tokenizer.decode([first]);
        warn(`Using "${token}" for the target ${word}, which is not one token of this model`);
      }
      ids.add(first);
    }
  }
  if (ids.size > 0) return [...ids];
  throw invalidInput(ACTION, `"targets" has no token of this model, wanted at least one`);
}
