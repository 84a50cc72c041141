/**
 * Token classification: names, parts of speech and the like, with their places in the text.
 *
 * Follows `TokenClassificationPipeline` of Python's transformers (4.57 and 5.18): `entities.ts` groups the tokens. `start` and
 * `end` count code points, as Python's do; JavaScript's `text.slice` counts UTF-16 units, so an entity after an emoji is
 * `[...text].slice(start, end).join("")`. A text that is too long is cut with a warning, or read in windows that share
 * `stride` tokens.
 *
 * With `"output": "entities"` the answer has the shape of the article on named entities with TorchServe
 * (github.com/kuldeep7688/TorchserveNer): per entity its `type` (the label without prefix), the `entity` itself, and
 * `start_offset` and `end_offset`. As there a word has the label of its first token (`aggregation_strategy: first`, unless
 * another is asked for). Unlike there, offsets are into the text as it came, not into its words joined with spaces; the
 * last word's entity is not lost; the second of two neighbours has its own offsets; words without tokens shift nothing; and
 * two `B-` labels are two entities.
 * Letters: `B` texts, `T` tokens, `L` labels.
 *
 * @example
 * ```jsonc
 * // test/fixtures/models/ner-bert in fp32.
 * {"inputs": "My name is Sarah and I live in London"}
 * // → [{"entity": "B-PER", "score": 0.9857325658233476, "index": 4, "word": "Sarah", "start": 11, "end": 16},
 * //    {"entity": "B-LOC", "score": 0.9862350876456638, "index": 9, "word": "London", "start": 31, "end": 37}]
 * {"inputs": "I work at Contoso Bank in New York.", "parameters": {"aggregation_strategy": "simple"}}
 * // → [{"entity_group": "ORG", "score": 0.9851562523503292, "word": "Contoso Bank", "start": 10, "end": 22},
 * //    {"entity_group": "LOC", "score": 0.9853635442258721, "word": "New York", "start": 26, "end": 34}]
 * {"inputs": "I work at Contoso Bank in New York.", "parameters": {"output": "entities"}}
 * // → [{"type": "ORG", "entity": "Contoso Bank", "start_offset": 10, "end_offset": 22},
 * //    {"type": "LOC", "entity": "New York", "start_offset": 26, "end_offset": 34}]
 * ```
 */
import { AutoModelForTokenClassification } from "@huggingface/transformers";
import { z } from "zod";

import { explainTokenClassification } from "../explain/token-classification.ts";
import { loadEncoder, rowOf, type Encoder } from "../model/encoder.ts";
import type { ModelConfig } from "../model/folder.ts";
import { cutWindows, roomFor } from "../model/offsets/windows.ts";
import { createTracer, type TracedEncoding, type Tracer } from "../model/token-offsets.ts";
import type { TruncationSide } from "../model/truncation.ts";
import {
  groupTokens,
  labelTokens,
  mergeOverlapping,
  type Entity,
  type Strategy,
} from "./entities.ts";
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
import { createDecoder, createTokenReader, readAllTokens } from "./scored-tokens.ts";
import type { Item, OpenTask, Task, TaskContext, TaskModel } from "./task.ts";

const ACTION = "classify the tokens";

const wantedStrategy = `"none", "simple", "first", "average" or "max"`;
const wantedStride = "a whole number of at least 0";

export const TokenClassificationParameters = z.object({
  /** What becomes of tokens that belong together; `none` answers every token by itself. */
  aggregation_strategy: z
    .enum(["none", "simple", "first", "average", "max"], wantedStrategy)
    .nullish(),
  /** Labels that are left out: with prefix where tokens are answered, without where entities are. */
  ignore_labels: z.array(z.string("a string"), "a list of strings").nullish(),
  /** Reads a long text to its end, in windows that share as many tokens. */
  stride: z.int(wantedStride).nonnegative(wantedStride).nullish(),
  /** The answer's shape; `entities` is the one of TorchServe's article. */
  output: z.enum(["entities"], `"entities"`).nullish(),
  /**
   * Answers every token that the model reads: those that the tokenizer adds, and padding up to `max_length` where one is
   * given, as TorchServe's transformer handler does. Special tokens have no place in the text.
   */
  all_tokens: z.boolean("true or false").nullish(),
  /** On by default: a text is cut to the model's limit. */
  truncation: TruncationParameter,
  max_length: MaxLengthParameter,
  /** The old name of `aggregation_strategy: simple`, … */
  grouped_entities: z.boolean("true or false").nullish(),
  /** … and with it, of `first`. */
  ignore_subwords: z.boolean("true or false").nullish(),
});
export type TokenClassificationParameters = z.infer<typeof TokenClassificationParameters>;

/** A token with its label. */
export type LabelledToken = {
  readonly entity: string;
  readonly score: number;
  readonly index: number;
  readonly word: string;
  readonly start: number;
  readonly end: number;
};

/** An entity of one or more tokens. */
export type EntityGroup = {
  readonly entity_group: string;
  readonly score: number;
  readonly word: string;
  readonly start: number;
  readonly end: number;
};

/** An entity as the article has it. */
export type ArticleEntity = {
  readonly type: string;
  readonly entity: string;
  readonly start_offset: number;
  readonly end_offset: number;
};

/** What one text is answered with. */
export type TokenClassificationAnswer =
  | readonly LabelledToken[]
  | readonly EntityGroup[]
  | readonly ArticleEntity[];

export const tokenClassification: Task = {
  inputs: TextInputs,
  parameters: TokenClassificationParameters,
  example: { inputs: "My name is Sarah and I live in London" },
  answersListsByElement: true,
  measure: "characters",
  async open(model) {
    const encoder = await loadEncoder(model, AutoModelForTokenClassification);
    const output = findOutput(encoder, model, "token-classification", ["logits"], 3);
    const predicting = TokenClassificationParameters;
    return {
      ...openTokenClassification(encoder, output, model),
      explaining: explainTokenClassification({ encoder, output, model, predicting }),
    };
  },
};

interface WindowItem extends Item {
  readonly encoding: TracedEncoding;
}

interface State {
  readonly isList: boolean;
  readonly strategy: Strategy;
  readonly isArticle: boolean;
  /** Whether special tokens and padding are answered too. */
  readonly isWhole: boolean;
  readonly ignored: ReadonlySet<string>;
  readonly texts: readonly {
    readonly text: string;
    readonly windows: readonly TracedEncoding[];
  }[];
}

function openTokenClassification(
  encoder: Encoder,
  output: string,
  { folder, settings }: TaskModel,
): OpenTask<WindowItem, Float32Array, State> {
  const { tokenizer } = encoder;
  const trace = createTracer(tokenizer, encoder.inputs.has("token_type_ids"));
  const toTokens = createTokenReader(tokenizer);
  const decode = createDecoder(tokenizer);
  const side: TruncationSide = tokenizer.config.truncation_side === "left" ? "left" : "right";

  return {
    notes: [],

    preprocess(request, { warn }) {
      const inputs = readInputs(TextInputs, request, ACTION);
      const parameters = readParameters(TokenClassificationParameters, request.data["parameters"], {
        action: ACTION,
        warn,
        ignored: ["offset_mapping"],
      });
      const strategy = readStrategy(parameters);
      const isList = Array.isArray(inputs);
      const maxTokens = parameters.max_length ?? settings?.maxLength ?? Infinity;
      const isWhole = parameters.all_tokens === true;
      const limits = { ...parameters, maxTokens: Math.min(maxTokens, encoder.maxTokens), side };
      const paddedLength = isWhole && maxTokens !== Infinity ? limits.maxTokens : undefined;
      const texts = (isList ? inputs : [inputs]).map((text, index) => {
        const windows = toWindows(trace, text, inputName(request, index), limits, warn);
        return {
          text,
          windows:
            paddedLength === undefined
              ? windows
              : windows.map((window) => ({ ...window, paddedLength })),
        };
      });
      const items = texts.flatMap(({ windows }) =>
        windows.map((encoding): WindowItem => ({ tokens: lengthOf(encoding), encoding })),
      );
      const ignored = new Set(parameters.ignore_labels ?? ["O"]);
      const isArticle = parameters.output === "entities";
      return { items, state: { isList, strategy, isArticle, isWhole, ignored, texts } };
    },

    async inference(items) {
      const encodings = items.map(({ encoding }) => encoding);
      const logits = await encoder.forward(encodings, output); // [B, T, L]
      const [, , L = 0] = logits.dims;
      // Without the padding; copies, as a view would keep all `B × T × L` floats alive until the answer.
      return items.map(({ tokens }, b) => rowOf(logits, b).slice(0, tokens * L));
    },

    postprocess(state, results): TokenClassificationAnswer | readonly TokenClassificationAnswer[] {
      let done = 0;
      const answers = state.texts.map(({ text, windows }): TokenClassificationAnswer => {
        const characters = Array.from(text);
        const found = windows.flatMap((encoding) => {
          const logits = results[done++] ?? new Float32Array();
          const L = logits.length / lengthOf(encoding);
          const labels = labelsOf(folder.config, L);
          const tokens = state.isWhole
            ? readAllTokens(tokenizer, encoding, logits)
            : toTokens(encoding, logits, characters);
          const entities =
            state.strategy === "none"
              ? labelTokens(tokens, labels)
              : groupTokens(tokens, labels, state.strategy);
          return entities.filter(({ label }) => !state.ignored.has(label));
        });
        const entities = windows.length > 1 ? mergeOverlapping(found) : found;
        return shape(entities, state, decode, characters);
      });
      return state.isList ? answers : (answers[0] ?? []);
    },

    dispose: () => encoder.dispose(),
  };
}

/** `T` of a window, padding included. */
function lengthOf({ inputIds, paddedLength = 0 }: TracedEncoding): number {
  return Math.max(inputIds.length, paddedLength);
}

/** @throws `INVALID_INPUT` when parameters contradict each other. */
function readStrategy(parameters: TokenClassificationParameters): Strategy {
  const { aggregation_strategy, grouped_entities, ignore_subwords, output, stride } = parameters;
  const grouped = ignore_subwords === true ? "first" : "simple";
  const usual = output === "entities" ? "first" : grouped_entities === true ? grouped : "none";
  const strategy = aggregation_strategy ?? usual;
  if (parameters.all_tokens === true && (strategy !== "none" || typeof stride === "number")) {
    const problem = `"all_tokens" is true, wanted no "aggregation_strategy", "output" and "stride" beside it`;
    throw invalidInput(ACTION, problem);
  }
  if (strategy !== "none") return strategy;
  const others = `wanted "simple", "first", "average" or "max"`;
  if (output === "entities") {
    const problem = `"aggregation_strategy" is "none", ${others} as "output" is "entities"`;
    throw invalidInput(ACTION, problem);
  }
  // Tokens in two windows could not be told from each other.
  if (typeof stride === "number")
    throw invalidInput(ACTION, `"aggregation_strategy" is "none", ${others} beside "stride"`);
  return strategy;
}

/** How long a text may be, and what happens if it is longer. */
interface Limits extends Pick<TokenClassificationParameters, "stride" | "truncation"> {
  readonly maxTokens: number;
  readonly side: TruncationSide;
}

function toWindows(
  trace: Tracer,
  text: string,
  name: string,
  { stride, truncation, maxTokens, side }: Limits,
  warn: TaskContext["warn"],
): readonly TracedEncoding[] {
  const whole = trace(text);
  const length = whole.inputIds.length;
  if (length <= maxTokens) return [whole];
  if (truncation === "none" && typeof stride !== "number") {
    const problem = `${length} tokens long, wanted at most ${maxTokens} as truncation is off`;
    throw invalidInput(ACTION, `"${name}" is ${problem}`);
  }
  const room = roomFor(whole, 0, maxTokens);
  if (room < 1)
    throw invalidInput(
      ACTION,
      `"${name}" is ${length} tokens long and cannot be cut to ${maxTokens}`,
    );
  const options = { text: 0, maxTokens, side } as const;
  if (typeof stride !== "number") {
    warn(`"${name}" was cut from ${length} to ${maxTokens} tokens`);
    return cutWindows(whole, { ...options, stride: 0 }).slice(0, 1);
  }
  if (stride < room) return cutWindows(whole, { ...options, stride });
  const problem = `wanted less than the ${room} tokens that a window has for the text`;
  throw invalidInput(ACTION, `"stride" is ${stride}, ${problem}`);
}

function shape(
  entities: readonly Entity[],
  { strategy, isArticle }: Pick<State, "strategy" | "isArticle">,
  decode: (words: string[]) => string,
  characters: readonly string[],
): TokenClassificationAnswer {
  if (isArticle) {
    return entities.map(({ label, start, end }) => ({
      type: label,
      entity: characters.slice(start, end).join(""),
      start_offset: start,
      end_offset: end,
    }));
  }
  if (strategy === "none") {
    return entities.map(({ label, score, start, end, tokens: [token] }) => ({
      entity: label,
      score,
      index: token?.index ?? 0,
      word: token?.word ?? "",
      start,
      end,
    }));
  }
  return entities.map(({ label, score, start, end, tokens }) => ({
    entity_group: label,
    score,
    word: decode(tokens.map(({ word }) => word)),
    start,
    end,
  }));
}

function labelsOf({ id2label }: ModelConfig, L: number): string[] {
  return Array.from({ length: L }, (_, index) => String(id2label?.[index] ?? `LABEL_${index}`));
}
