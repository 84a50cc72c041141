/**
 * Why an answer begins where it does, and ends where it does.
 *
 * Unlike TorchServe's handler, which explains the raw text of the request in one segment, this explains what the model has read:
 * question and context, with their segments.
 */
import { z } from "zod";

import type { Encoder } from "../model/encoder.ts";
import type { TracedEncoding } from "../model/token-offsets.ts";
import type { InferenceRequest } from "../../inference.ts";
import { bestTokens, type Window } from "../tasks/answers.ts";
import { invalidInput } from "../tasks/inputs.ts";
import type { ExplainingTask, TaskContext, TaskModel } from "../tasks/task.ts";
import { toAnswerExplanation } from "./answer.ts";
import { openFace, padIdOf, type Aim, type Explained, type Subject } from "./face.ts";
import { gradientsOf } from "./gradients.ts";
import { ACTION, EXPLAIN_PARAMETERS } from "./parameters.ts";

const wantedToken = "a whole number of at least 0";
const Place = z.int(wantedToken).nonnegative(wantedToken);
const wantedCount = "a whole number of at least 1";
const Count = z.int(wantedCount).positive(wantedCount).nullish();

export const ExplainQuestionAnsweringParameters = z.object({
  /** The places of the answer's first and last token, or one place for both: those of the predicted answer. */
  target: z
    .union(
      [Place, z.tuple([Place, Place])],
      "[start, end], places of tokens, or one place for both",
    )
    .nullish(),
  ...EXPLAIN_PARAMETERS,
  // What is read, and what may be an answer: as for predictions.
  max_answer_len: Count,
  max_seq_len: Count,
  max_question_len: Count,
  doc_stride: z.int(wantedToken).nonnegative(wantedToken).nullish(),
});
export type ExplainQuestionAnsweringParameters = z.output<
  typeof ExplainQuestionAnsweringParameters
>;

/** A question and its context as the model reads them. */
export interface ReadQuestion {
  readonly question: string;
  readonly context: string;
  /** The windows of a long context. */
  readonly windows: readonly TracedEncoding[];
}

/** What the task lends. */
export interface QuestionAnsweringParts {
  readonly encoder: Encoder;
  /** The names of the logits. */
  readonly outputs: readonly [starts: string, ends: string];
  readonly model: TaskModel;
  readonly predicting: z.ZodObject;
  /** Which of the two texts that the model reads is the context. */
  readonly contextText: 0 | 1;
  /** The token whose scores say that there is no answer. */
  readonly beginningId: number | undefined;
  readonly read: (
    request: InferenceRequest,
    parameters: ExplainQuestionAnsweringParameters,
    warn: TaskContext["warn"],
  ) => { readonly questions: readonly ReadQuestion[]; readonly isAlone: boolean };
}

/** The usual most tokens of an answer, as in `../tasks/question-answering.ts`. */
const USUAL_ANSWER_TOKENS = 15;

interface QuestionSubject extends Subject {
  readonly texts: readonly string[];
  readonly windows: readonly TracedEncoding[];
  /** The most tokens of an answer. */
  readonly maxLength: number;
}

export function explainQuestionAnswering({
  encoder,
  outputs,
  model,
  predicting,
  contextText,
  beginningId,
  read,
}: QuestionAnsweringParts): ExplainingTask {
  const { tokenizer } = encoder;
  const toAims = (places: readonly number[]): Aim[] =>
    places.map((token, output) => ({ targets: [[token, output]], name: token }));

  /** What the model says of each window, one after the other: the way back costs a hundred times as much. */
  async function readWindows(windows: readonly TracedEncoding[]): Promise<Window[]> {
    const answers: Window[] = [];
    for (const encoding of windows) {
      const [starts, ends] = await encoder.run([encoding], outputs, {}); // [1, T]
      answers.push({ encoding, starts: starts.data, ends: ends.data, contextText, beginningId });
    }
    return answers;
  }

  return openFace({
    tokenizer,
    gradients: gradientsOf(model, { stacked: outputs }, padIdOf(tokenizer)),
    parameters: ExplainQuestionAnsweringParameters,
    predicting,
    usualAims: 2,

    read(request, parameters, { warn }) {
      const { questions, isAlone } = read(request, parameters, warn);
      const subjects = questions.flatMap(({ question, context, windows }): QuestionSubject[] => {
        const [encoding] = windows;
        if (encoding === undefined) return [];
        const texts = contextText === 1 ? [question, context] : [context, question];
        const maxLength = parameters.max_answer_len ?? USUAL_ANSWER_TOKENS;
        return [{ texts, windows, encoding, maxLength }];
      });
      return { subjects, isList: !isAlone };
    },

    aimAt(_question, { target }, [T = 0]) {
      if (target === null || target === undefined) return undefined;
      const places = typeof target === "number" ? [target, target] : target;
      const outside = places.find((place) => place >= T);
      if (outside === undefined) return toAims(places);
      const wanted = `wanted places among the ${T} tokens, counted from 0`;
      throw invalidInput(ACTION, `"target" is ${JSON.stringify(target)}, ${wanted}`);
    },

    async predict(subjects) {
      const explained: Explained<QuestionSubject>[] = [];
      for (const subject of subjects) {
        const windows = await readWindows(subject.windows);
        // Without any token of the context there is no answer, and the beginning stands for that.
        const best = bestTokens(windows, subject.maxLength) ?? { window: 0, first: 0, last: 0 };
        const encoding = subject.windows[best.window] ?? subject.encoding;
        explained.push({
          subject: { ...subject, encoding },
          aims: toAims([best.first, best.last]),
        });
      }
      return explained;
    },

    toAnswer({ subject, aims }, attributions) {
      const [start = 0, end = 0] = aims.map(({ targets: [target] }) => target?.[0] ?? 0);
      const inputs = contextText === 1 ? ["question", "context"] : ["context", "question"];
      return toAnswerExplanation(tokenizer, subject, [start, end], attributions, inputs);
    },
  });
}
