/**
 * Question answering: the part of a context that answers a question.
 *
 * Follows `QuestionAnsweringPipeline` of Python's transformers 4.57 (5 has none). A long context is read in windows that share
 * `doc_stride` tokens. Spans of a window that become the same answer are one, whose scores are added up. `start` and `end` count code points, as Python's do:
 * `[...context].slice(start, end).join("")` is the answer.
 *
 * On purpose otherwise than Python: of equal answers in several windows the best counts, where 4.57 adds them up and may
 * answer with a score above 1; an answer is never a part of the question (with tokenizers that pad on the left Python's
 * may be); `top_k` above 1 gives a list even of one answer; spans that are no answer do not fill up the list; a question takes
 * part whole, as with Python's fast tokenizers, but `max_question_len` is obeyed where it is given, and where the
 * question would leave no room for the context.
 * Letters: `B` windows, `T` tokens.
 *
 * @example
 * ```jsonc
 * // test/fixtures/models/qa-bert in fp32.
 * {"inputs": {"question": "Where does Peter live?", "context": "Anna lives in Paris. Peter lives in London."}}
 * // → {"score": 0.9999146953779743, "start": 36, "end": 42, "answer": "London"}
 * {"inputs": {"question": "Where does Peter live?", "context": "Anna lives in Paris. Peter lives in London."}, "parameters": {"top_k": 2}}
 * // → [{"score": 0.9999146953779743, "start": 36, "end": 42, "answer": "London"},
 * //    {"score": 0.00004007550238742799, "start": 14, "end": 42, "answer": "Paris. Peter lives in London"}]
 * ```
 */
import { AutoModelForQuestionAnswering, type PreTrainedTokenizer } from "@huggingface/transformers";
import { z } from "zod";

import type { InferenceRequest } from "../../inference.ts";
import { explainQuestionAnswering } from "../explain/question-answering.ts";
import { loadEncoder, rowOf, type Encoder } from "../model/encoder.ts";
import { createTracer, type TracedEncoding } from "../model/token-offsets.ts";
import { bestAnswers, type Answer, type Window } from "./answers.ts";
import { inputName, invalidInput, readInputs, readParameters } from "./inputs.ts";
import { findOutput } from "./outputs.ts";
import { cutContext } from "./question-windows.ts";
import type { Item, OpenTask, Task, TaskContext, TaskModel } from "./task.ts";

const ACTION = "answer the question";

const wantedInputs = `{"question", "context"} or a list of such`;
const Texts = z.union([z.string(), z.array(z.string("a string"))], "a string or a list of strings");
const One = z.object(
  { question: z.string("a string"), context: z.string("a string") },
  `{"question", "context"}`,
);

const Pair = z.object({ question: Texts, context: Texts }, wantedInputs);

/** A question and its context; several with one of the other, or in pairs; or a list of single ones. */
export const QuestionAnsweringInputs = z.union([Pair, z.array(One)], wantedInputs);
export type QuestionAnsweringInputs = z.infer<typeof QuestionAnsweringInputs>;

const wantedCount = "a whole number of at least 1";
const wantedStride = "a whole number of at least 0";
const Count = z.int(wantedCount).positive(wantedCount).nullish();
const Switch = z.boolean("true or false").nullish();

export const QuestionAnsweringParameters = z.object({
  /** How many answers, best first: 1. */
  top_k: Count,
  /** The old name of `top_k`. */
  topk: Count,
  /** The most tokens of an answer: 15. */
  max_answer_len: Count,
  /** The most tokens of question and context together, special tokens included: 384, or as many as the model reads. */
  max_seq_len: Count,
  /** The most tokens of the question. */
  max_question_len: Count,
  /** How many tokens of the context neighbouring windows share: 128, or half a window. */
  doc_stride: z.int(wantedStride).nonnegative(wantedStride).nullish(),
  /** Whether there may be no answer, which is `""`. */
  handle_impossible_answer: Switch,
  /** Whether answers begin and end with words: yes. */
  align_to_words: Switch,
});
export type QuestionAnsweringParameters = z.infer<typeof QuestionAnsweringParameters>;

/** What one question is answered with. */
export type QuestionAnsweringAnswer = Answer | readonly Answer[];

export const questionAnswering: Task = {
  inputs: QuestionAnsweringInputs,
  parameters: QuestionAnsweringParameters,
  example: {
    inputs: {
      question: "Where does Peter live?",
      context: "Anna lives in Paris. Peter lives in London.",
    },
  },
  answersListsByElement: true,
  measure: "characters",
  async open(model) {
    const encoder = await loadEncoder(model, AutoModelForQuestionAnswering);
    const outputs = [
      findOutput(encoder, model, "question-answering", ["start_logits"], 2),
      findOutput(encoder, model, "question-answering", ["end_logits"], 2),
    ] as const;
    return openQuestionAnswering(encoder, outputs, model);
  },
};

/** The longest window, if nothing else is said. */
const USUAL_TOKENS = 384;

interface WindowItem extends Item {
  readonly encoding: TracedEncoding;
}

type Logits = Pick<Window, "starts" | "ends">;
const NO_LOGITS: Logits = { starts: new Float32Array(), ends: new Float32Array() };

interface State {
  /** Whether the answer is the one question's own, not a list of answers. */
  readonly isAlone: boolean;
  readonly parameters: QuestionAnsweringParameters;
  readonly questions: readonly {
    readonly context: string;
    readonly windows: readonly TracedEncoding[];
  }[];
}

function openQuestionAnswering(
  encoder: Encoder,
  outputs: readonly [starts: string, ends: string],
  model: TaskModel,
): OpenTask<WindowItem, Logits, State> {
  const { tokenizer } = encoder;
  const { settings } = model;
  const trace = createTracer(tokenizer, encoder.inputs.has("token_type_ids"));
  const beginningId = beginningIdOf(tokenizer);
  // Models that are padded on the left were trained with the context first.
  const contextText = tokenizer.padding_side === "left" ? 0 : 1;

  function toWindows(
    { question, context, names }: Question,
    parameters: QuestionAnsweringParameters,
    warn: TaskContext["warn"],
  ): readonly TracedEncoding[] {
    const whole = contextText === 1 ? trace(question, context) : trace(context, question);
    const wanted = parameters.max_seq_len ?? settings?.maxLength ?? USUAL_TOKENS;
    const maxTokens = Math.min(wanted, encoder.maxTokens);
    return cutContext(whole, contextText, {
      ...parameters,
      maxTokens,
      names,
      action: ACTION,
      warn,
    });
  }

  /** The questions of a request, and whether its answer is the one question's own. */
  function read(
    request: InferenceRequest,
    parameters: QuestionAnsweringParameters,
    warn: TaskContext["warn"],
  ) {
    const questions = readQuestions(request).map((question) => ({
      ...question,
      windows: toWindows(question, parameters, warn),
    }));
    // Python answers a list of one like the question alone; a part of a longer list stays a list.
    return { questions, isAlone: questions.length === 1 && request.part === undefined };
  }

  return {
    notes: [],
    explaining: explainQuestionAnswering({
      encoder,
      outputs,
      model,
      predicting: QuestionAnsweringParameters,
      contextText,
      beginningId,
      read,
    }),

    preprocess(request, { warn }) {
      const parameters = readParameters(QuestionAnsweringParameters, request.data["parameters"], {
        action: ACTION,
        warn,
      });
      const { questions, isAlone } = read(request, parameters, warn);
      const items = questions.flatMap(({ windows }) =>
        windows.map((encoding): WindowItem => ({ tokens: encoding.inputIds.length, encoding })),
      );
      return { items, state: { isAlone, parameters, questions } };
    },

    async inference(items) {
      const encodings = items.map(({ encoding }) => encoding);
      const [starts, ends] = await encoder.run(encodings, outputs, {}); // [B, T]
      return items.map(({ tokens }, b) => ({
        starts: rowOf(starts, b).slice(0, tokens),
        ends: rowOf(ends, b).slice(0, tokens),
      }));
    },

    postprocess({ isAlone, parameters, questions }, results) {
      const count = parameters.top_k ?? parameters.topk ?? 1;
      let done = 0;
      const answers = questions.map(({ context, windows }): QuestionAnsweringAnswer => {
        const read = windows.map((encoding): Window => {
          const { starts, ends } = results[done++] ?? NO_LOGITS;
          return { encoding, starts, ends, contextText, beginningId };
        });
        const best = bestAnswers(context, read, {
          count,
          maxLength: parameters.max_answer_len ?? 15,
          mayBeImpossible: parameters.handle_impossible_answer ?? false,
          alignsToWords: parameters.align_to_words ?? true,
        });
        const [first = { score: 0, start: 0, end: 0, answer: "" }] = best;
        return count === 1 ? first : best;
      });
      return isAlone ? (answers[0] ?? []) : answers;
    },

    dispose: () => encoder.dispose(),
  };
}

/** The token that stands for "no answer". */
function beginningIdOf(tokenizer: PreTrainedTokenizer): number | undefined {
  const token: unknown = tokenizer.config.cls_token;
  const isObject = typeof token === "object" && token !== null && "content" in token;
  const content = isObject ? token.content : token;
  return typeof content === "string" ? tokenizer._tokenizer.token_to_id(content) : undefined;
}

interface Question {
  readonly question: string;
  readonly context: string;
  /** What the client calls them. */
  readonly names: { readonly question: string; readonly context: string };
}

/** @throws `INVALID_INPUT` when there is no question, or nothing to ask. */
function readQuestions(request: InferenceRequest): Question[] {
  const inputs = readInputs(QuestionAnsweringInputs, request, ACTION);
  const questions = Array.isArray(inputs)
    ? inputs.map((pair, index): Question => {
        const name = inputName(request, index);
        return { ...pair, names: { question: `${name}.question`, context: `${name}.context` } };
      })
    : pairUp(inputs);
  for (const { question, context, names } of questions) {
    const empty = question === "" ? names.question : context === "" ? names.context : undefined;
    if (empty !== undefined) throw invalidInput(ACTION, `"${empty}" is empty, wanted text`);
  }
  return questions;
}

/** Several questions about one context, one about several, or as many of both. */
function pairUp({ question, context }: z.output<typeof Pair>): Question[] {
  const [questions, contexts] = [[question].flat(), [context].flat()];
  const count = Math.max(questions.length, contexts.length);
  const fits = [question, context].every((side) => !Array.isArray(side) || side.length === count);
  if (!fits) {
    const problem = `"inputs" has ${questions.length} questions and ${contexts.length} contexts`;
    throw invalidInput(ACTION, `${problem}, wanted as many of both, or one of either`);
  }
  const pick = (side: string | readonly string[], index: number, name: string) =>
    typeof side === "string"
      ? { text: side, name }
      : { text: side[index] ?? "", name: `${name}[${index}]` };
  return Array.from({ length: count }, (_, index): Question => {
    const [asked, given] = [
      pick(question, index, "inputs.question"),
      pick(context, index, "inputs.context"),
    ];
    return {
      question: asked.text,
      context: given.text,
      names: { question: asked.name, context: given.name },
    };
  });
}
