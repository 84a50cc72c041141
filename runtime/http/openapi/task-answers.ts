/**
 * What each task answers, as schemas: for the description of the API and for clients' types.
 *
 * The tasks' own types say the same to the compiler; no request is checked against these. `test/http/openapi-tasks.test.ts`
 * asks every task of the shelf that a small model serves and holds its answers against them.
 */
import { z } from "zod";

import type { DialectChoice } from "../protocols/huggingface-dialect.ts";

/** A task's answers. */
export interface TaskAnswer {
  /** To one input. */
  readonly one: z.ZodType;
  /** To each element of a list of inputs; as to one where absent. */
  readonly element?: z.ZodType;
  /** Whether a list of inputs is no list of questions: then there is one answer. */
  readonly isWhole?: boolean;
  /** The media type of a file that the answer to one input is, unless the client would rather have JSON. */
  readonly file?: string;
}

const Label = z.object({ label: z.string(), score: z.number() });
const Labels = z.array(Label).describe("Best first");
const Vector = z.array(z.number());
const TokenVectors = z.array(z.array(Vector)).describe("[1][tokens][hidden]");

/** Numbers in lists of any depth. */
const Nested: z.ZodType = z.array(z.union([z.number(), z.lazy(() => Nested)]));

const Answer = z.object({
  score: z.number(),
  start: z.int().describe("In code points of the context"),
  end: z.int(),
  answer: z.string(),
});

const Filling = z.object({
  score: z.number(),
  token: z.int(),
  token_str: z.string(),
  sequence: z.string(),
});

const Box = z.object({ xmin: z.int(), ymin: z.int(), xmax: z.int(), ymax: z.int() });
const Found = z.array(Label.extend({ box: Box.describe("In pixels") }));

const Segment = z.object({
  score: z.number().nullable().describe("null for semantic segments"),
  label: z.string(),
  mask: z.string().describe("A PNG in base64"),
});

const Png = z.string().describe("A PNG in base64");
const Sound = z.object({ audio: z.array(z.number()), sampling_rate: z.int() });
const Depth = z.object({ predicted_depth: z.array(Vector), depth: Png });

const Transcript = z.object({
  text: z.string(),
  chunks: z
    .array(
      z.object({
        text: z.string(),
        timestamp: z.tuple([z.number(), z.number().nullable()]).describe("In seconds").optional(),
        language: z.string().nullish(),
      }),
    )
    .optional(),
});

const place = { start: z.int(), end: z.int() };
const Entities = z
  .union([
    z.array(z.object({ entity_group: z.string(), score: z.number(), word: z.string(), ...place })),
    z.array(
      z.object({
        entity: z.string(),
        score: z.number(),
        index: z.int(),
        word: z.string(),
        ...place,
      }),
    ),
    z.array(
      z.object({
        type: z.string(),
        entity: z.string(),
        start_offset: z.int(),
        end_offset: z.int(),
      }),
    ),
  ])
  .describe("Places in code points of the text");

const Token = z.object({
  id: z.int(),
  text: z.string(),
  logprob: z.number().nullish(),
  special: z.boolean(),
});

const finish_reason = z.enum(["length", "eos_token", "stop_sequence"]);
const Details = z.object({
  finish_reason,
  generated_tokens: z.int(),
  seed: z.int().nullable(),
  prefill: z.array(Token.omit({ special: true })),
  tokens: z.array(Token),
  top_tokens: z.array(z.array(Token)).optional(),
  best_of_sequences: z.array(z.looseObject({ generated_text: z.string() })).optional(),
});

/** A written text; details where they were asked for. */
export const Written = z.object({ generated_text: z.string(), details: Details.optional() });

/** An event of a stream of `/generate_stream`, or of `POST /` with `"stream": true`. */
export const WrittenToken = z.object({
  index: z.int(),
  token: Token,
  top_tokens: z.array(Token).optional(),
  generated_text: z.string().nullable().describe("The whole text, with the last token"),
  details: z
    .object({
      finish_reason,
      generated_tokens: z.int(),
      seed: z.int().nullable(),
      input_length: z.int(),
    })
    .nullable(),
});

const Similarities = z.object({ similarities: Vector });

const TASK_ANSWERS: Readonly<Record<string, TaskAnswer>> = {
  "audio-classification": { one: Labels },
  "automatic-speech-recognition": { one: Transcript },
  "background-removal": { one: Png, file: "image/png" },
  "depth-estimation": { one: Depth },
  "document-question-answering": { one: z.array(z.object({ answer: z.string().nullable() })) },
  "feature-extraction": {
    one: z.union([z.array(Vector).describe("[1][hidden]"), TokenVectors]),
    element: z.union([Vector, TokenVectors]),
  },
  "fill-mask": {
    one: z.union([z.array(Filling), z.array(z.array(Filling))]).describe("Best first, per mask"),
  },
  "image-classification": { one: Labels },
  "image-feature-extraction": { one: Nested },
  "image-segmentation": { one: z.array(Segment) },
  "image-to-image": { one: Png, file: "image/png" },
  "image-to-text": { one: z.array(Written.pick({ generated_text: true })) },
  "object-detection": { one: Found },
  "question-answering": { one: z.union([Answer, z.array(Answer).describe("Best first")]) },
  "sentence-similarity": { one: Similarities, isWhole: true },
  summarization: listOf("summary_text"),
  "text-classification": { one: Labels, element: z.union([Label, Labels]) },
  "text-generation": { one: z.array(Written) },
  "text-ranking": {
    one: z.union([
      z
        .array(z.object({ index: z.int(), score: z.number(), text: z.string().optional() }))
        .describe("Best first"),
      z.object({ scores: Vector }),
    ]),
    isWhole: true,
  },
  "text-to-audio": { one: Sound, file: "audio/wav" },
  "text2text-generation": listOf("generated_text"),
  "token-classification": { one: Entities },
  translation: listOf("translation_text"),
  "visual-question-answering": {
    one: z.array(z.object({ score: z.number(), answer: z.string() })).describe("Best first"),
  },
  "zero-shot-audio-classification": { one: Labels },
  "zero-shot-classification": {
    one: z.object({ sequence: z.string(), labels: z.array(z.string()), scores: Vector }),
  },
  "zero-shot-image-classification": { one: Labels },
  "zero-shot-object-detection": { one: Found },
};

/** What `huggingface-dialect.ts` makes of them for `hf-inference`. */
const HF_INFERENCE: Readonly<Record<string, TaskAnswer>> = {
  "text-classification": { one: z.array(Labels), element: Labels },
  "zero-shot-classification": { one: Labels },
  "feature-extraction": {
    one: z.array(Vector).describe("[1][hidden], or [tokens][hidden]"),
    element: z.union([Vector, TokenVectors]),
  },
  "sentence-similarity": { one: Vector, isWhole: true },
  "image-segmentation": { one: z.array(Segment.extend({ score: z.number() })) },
  "document-question-answering": { one: z.array(z.object({ answer: z.string() })) },
};

/** Summaries and their like: one input is answered in a list, several in the same list. */
function listOf(key: string): TaskAnswer {
  const element = z.object({ [key]: z.string() });
  return { one: z.array(element), element };
}

/** @returns `undefined` for a task that nobody knows here, and where a custom handler answers as it likes. */
export function answerOf(
  task: string | undefined,
  dialect: DialectChoice = "toolkit",
): TaskAnswer | undefined {
  const own = dialect === "hf-inference" ? pick(HF_INFERENCE, task) : undefined;
  return own ?? pick(TASK_ANSWERS, task);
}

/** Every answer that a request with JSON can get. */
export function wholeAnswer(answer: TaskAnswer): z.ZodType {
  const { one, element = one, isWhole } = answer;
  if (isWhole === true) return one;
  let whole = WHOLE.get(answer);
  if (whole === undefined) WHOLE.set(answer, (whole = z.union([one, z.array(element)])));
  return whole;
}

/** Made once, as what is made of them is. */
const WHOLE = new WeakMap<TaskAnswer, z.ZodType>();

const Span = z.object({ word: z.string(), ...place, of: z.string().optional() });

/** What the tasks that explain themselves say. */
const Explanation = z.object({
  words: z.array(z.string()),
  importances: Vector,
  delta: z.number(),
  target: z.unknown(),
  spans: z.array(Span.extend({ importance: z.number() })),
});

const AnswerExplanation = z.object({
  words: z.array(z.string()),
  importances_answer_start: Vector,
  importances_answer_end: Vector,
  delta_start: z.number(),
  delta_end: z.number(),
  target: z.tuple([z.int(), z.int()]),
  spans: z.array(
    Span.extend({ importance_answer_start: z.number(), importance_answer_end: z.number() }),
  ),
});

const EXPLANATIONS: Readonly<Record<string, z.ZodType>> = {
  "question-answering": AnswerExplanation,
  "text-classification": Explanation,
  "text-generation": Explanation,
  "token-classification": Explanation,
};

/** One input's explanation; `undefined` where the task has none. */
export function explanationOf(task: string | undefined): z.ZodType | undefined {
  return pick(EXPLANATIONS, task);
}

function pick<T>(table: Readonly<Record<string, T>>, key = ""): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

/** What a task's media inputs are; `undefined` for texts. */
export function mediaOf(task: string | undefined): "image" | "audio" | undefined {
  if (task === undefined || task === "text-to-audio") return undefined;
  if (/audio|speech/.test(task)) return "audio";
  return /image|visual|document|object|depth|background/.test(task) ? "image" : undefined;
}
