/**
 * Why a prompt is continued as it is: what made a token likely, or a whole continuation.
 *
 * Explained is the logarithm of the probability, as those of several tokens add up. The continuation itself stays as it is on
 * the whole path, so that all importance falls on the prompt.
 */
import { z } from "zod";

import type { InferenceRequest } from "../../inference.ts";
import type { TracedEncoding } from "../model/token-offsets.ts";
import type { Generator } from "../model/text-generator.ts";
import { inputName, invalidInput, readInputs, TextInputs } from "../tasks/inputs.ts";
import type { ExplainingTask, TaskContext, TaskModel } from "../tasks/task.ts";
import { toExplanation } from "./answer.ts";
import { openFace, padIdOf, type Aim, type Subject } from "./face.ts";
import { gradientsOf } from "./gradients.ts";
import { ACTION, EXPLAIN_PARAMETERS } from "./parameters.ts";
import { cutTo, openLenientTracer, withoutPlaces } from "./traced-text.ts";

const wantedToken = "the id of a token";
const wantedTruncate = "a whole number of at least 1";

export const ExplainTextGenerationParameters = z.object({
  /** The next token that is explained, by its id: the likeliest. */
  target: z.int(wantedToken).nonnegative(wantedToken).nullish(),
  /** A text that is explained in place of one token: what made it follow the prompt. */
  continuation: z.string("a string").min(1, "a text").nullish(),
  ...EXPLAIN_PARAMETERS,
  truncate: z.int(wantedTruncate).positive(wantedTruncate).nullish(),
  truncation: z.boolean("true or false").nullish(),
});
export type ExplainTextGenerationParameters = z.output<typeof ExplainTextGenerationParameters>;

/** What the task lends. */
export interface TextGenerationParts {
  readonly generator: Generator;
  readonly model: TaskModel;
  readonly predicting: z.ZodObject;
  /** A prompt's tokens, cut at the beginning where the client allows it. */
  readonly readPrompt: (
    text: string,
    index: number,
    request: InferenceRequest,
    parameters: ExplainTextGenerationParameters,
    context: TaskContext,
  ) => readonly number[];
  /** The likeliest next token of each prompt. */
  readonly nextTokens: (
    prompts: readonly (readonly number[])[],
    signal: AbortSignal,
  ) => Promise<readonly number[]>;
}

/** A prompt; `encoding` is what the model reads, which may go on with the beginning of a continuation. */
interface Prompt extends Subject {
  readonly text: string;
  readonly prompt: TracedEncoding;
  /** The tokens that the client wants explained. */
  readonly following: readonly number[];
}

export function explainTextGeneration({
  generator,
  model,
  predicting,
  readPrompt,
  nextTokens,
}: TextGenerationParts): ExplainingTask {
  const { tokenizer } = generator;
  const trace = openLenientTracer(tokenizer, false);

  /** Each token is scored at the place before it. */
  function toAim({ prompt }: Prompt, following: readonly number[]): Aim {
    const last = prompt.inputIds.length - 1;
    return {
      targets: following.map((id, offset) => [last + offset, id]),
      name: tokenizer.decode([...following], { clean_up_tokenization_spaces: false }),
    };
  }

  return openFace({
    tokenizer,
    gradients: gradientsOf(model, { logSoftmax: "logits" }, padIdOf(tokenizer)),
    parameters: ExplainTextGenerationParameters,
    predicting,

    read(request, parameters, context) {
      const { target, continuation } = parameters;
      if (typeof target === "number" && typeof continuation === "string")
        throw invalidInput(
          ACTION,
          `"target" and "continuation" are both given, wanted one of them`,
        );
      const inputs = readInputs(TextInputs, request, ACTION);
      const following = typeof continuation === "string" ? generator.tokensOf(continuation) : [];
      const subjects = [inputs].flat().map((text, index): Prompt => {
        const ids = readPrompt(text, index, request, parameters, context);
        const whole = trace(text, undefined, context.warn);
        const prompt = whole
          ? tracePrompt(ids, whole)
          : withoutPlaces({ inputIds: ids }, tokenizer);
        const length = ids.length + following.length;
        if (length <= generator.maxTokens)
          return { text, prompt, following, encoding: extend(prompt, following.slice(0, -1)) };
        const name = inputName(request, index);
        const problem = `"${name}" and "continuation" are ${length} tokens long, wanted at most ${generator.maxTokens}`;
        throw invalidInput(ACTION, problem);
      });
      return { subjects, isList: Array.isArray(inputs) };
    },

    aimAt(subject, { target }, [, V = 0]) {
      if (subject.following.length > 0) return [toAim(subject, subject.following)];
      if (target === null || target === undefined) return undefined;
      if (target < V) return [toAim(subject, [target])];
      throw invalidInput(ACTION, `"target" is ${target}, wanted the id of one of ${V} tokens`);
    },

    async predict(subjects, signal) {
      const ids = await nextTokens(
        subjects.map(({ prompt }) => prompt.inputIds),
        signal,
      );
      return subjects.map((subject, index) => ({
        subject,
        aims: [toAim(subject, ids.slice(index, index + 1))],
      }));
    },

    toAnswer({ subject: { text, prompt }, aims: [aim] }, [attribution]) {
      const length = prompt.inputIds.length;
      const ofPrompt = attribution && {
        ...attribution,
        importances: attribution.importances.slice(0, length),
      };
      return toExplanation(tokenizer, { encoding: prompt, texts: [text] }, aim, ofPrompt);
    },
  });
}

/** The places of a prompt's tokens; a prompt without any begins with a token that is of no text. */
function tracePrompt(ids: readonly number[], whole: TracedEncoding): TracedEncoding {
  return whole.inputIds.length === 0
    ? extend(whole, ids)
    : cutTo(ids, whole, "longest_first", "left");
}

/** Tokens behind the text's, which stay on the whole path as special tokens do. */
function extend(encoding: TracedEncoding, ids: readonly number[]): TracedEncoding {
  const added = ids.length;
  const { inputIds, texts, starts, ends, words } = encoding;
  return {
    inputIds: [...inputIds, ...ids],
    texts: Int8Array.from([...texts, ...Array.from({ length: added }, () => -1)]),
    starts: Int32Array.from([...starts, ...new Int32Array(added)]),
    ends: Int32Array.from([...ends, ...new Int32Array(added)]),
    words: Int32Array.from([...words, ...Array.from({ length: added }, () => -1)]),
  };
}
