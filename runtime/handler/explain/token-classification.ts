/**
 * Why a token has its label.
 */
import { z } from "zod";

import { rowOf, type Encoder } from "../model/encoder.ts";
import { softmax } from "../tasks/scores.ts";
import {
  inputName,
  invalidInput,
  MaxLengthParameter,
  readInputs,
  TextInputs,
  TruncationParameter,
} from "../tasks/inputs.ts";
import type { ExplainingTask, TaskModel } from "../tasks/task.ts";
import { toExplanation } from "./answer.ts";
import { openFace, padIdOf, type Aim, type Subject } from "./face.ts";
import { gradientsOf } from "./gradients.ts";
import { indexOfLabel, labelAt, LabelTarget } from "./labels.ts";
import { ACTION, EXPLAIN_PARAMETERS } from "./parameters.ts";
import { openLenientTracer, traceText } from "./traced-text.ts";

const wantedTarget =
  "[token, label], the token's place counted from 0 with the first special token";
const wantedToken = "a whole number of at least 0";

export const ExplainTokenClassificationParameters = z.object({
  /**
   * The token, and the label that is explained for it, by its index or its name: of the tokens whose label is not `O`, the
   * surest one, with its label.
   */
  target: z
    .tuple([z.int(wantedToken).nonnegative(wantedToken), LabelTarget], wantedTarget)
    .nullish(),
  ...EXPLAIN_PARAMETERS,
  truncation: TruncationParameter,
  max_length: MaxLengthParameter,
});

/** What the task lends. */
export interface TokenClassificationParts {
  readonly encoder: Encoder;
  /** The name of the logits. */
  readonly output: string;
  readonly model: TaskModel;
  readonly predicting: z.ZodObject;
}

interface LabelledText extends Subject {
  readonly texts: readonly string[];
}

export function explainTokenClassification({
  encoder,
  output,
  model,
  predicting,
}: TokenClassificationParts): ExplainingTask {
  const { tokenizer } = encoder;
  const { config } = model.folder;
  const trace = openLenientTracer(tokenizer, encoder.inputs.has("token_type_ids"));
  const toAim = (token: number, label: number): Aim => {
    return { targets: [[token, label]], name: [token, labelAt(config, label)] };
  };

  return openFace({
    tokenizer,
    gradients: gradientsOf(model, output, padIdOf(tokenizer)),
    parameters: ExplainTokenClassificationParameters,
    predicting,

    read(request, { truncation, max_length: maxTokens }, { warn }) {
      const inputs = readInputs(TextInputs, request, ACTION);
      const subjects = [inputs].flat().map((text, index): LabelledText => {
        const name = inputName(request, index);
        const options = {
          truncation: truncation ?? "longest_first",
          maxTokens,
          name,
          warn,
        } as const;
        return { texts: [text], encoding: traceText(encoder, trace, text, options) };
      });
      return { subjects, isList: Array.isArray(inputs) };
    },

    aimAt(_text, { target }, [T = 0, L = 0]) {
      if (target === null || target === undefined) return undefined;
      const [token, label] = target;
      if (token >= T)
        throw invalidInput(
          ACTION,
          `"target[0]" is ${token}, wanted one of the ${T} tokens, counted from 0`,
        );
      return [toAim(token, indexOfLabel(config, label, L, "target[1]"))];
    },

    async predict(subjects) {
      const logits = await encoder.forward(
        subjects.map(({ encoding }) => encoding),
        output,
      ); // [B, T, L]
      const [, , L = 0] = logits.dims;
      return subjects.map((subject, b) => {
        const { token, label } = surest(rowOf(logits, b), L, subject, (index) =>
          labelAt(config, index),
        );
        return { subject, aims: [toAim(token, label)] };
      });
    },

    toAnswer: ({ subject, aims: [aim] }, [attribution]) =>
      toExplanation(tokenizer, subject, aim, attribution),
  });
}

/** The token of the text whose label is surest; those that are labelled `O` count only where all are. */
function surest(
  logits: Float32Array,
  L: number,
  { encoding }: LabelledText,
  labelOf: (index: number) => string,
): { readonly token: number; readonly label: number } {
  let best = { token: 0, label: 0, score: -1 };
  for (const token of encoding.inputIds.keys()) {
    if (encoding.texts[token] === -1) continue;
    const scores = softmax(logits.subarray(token * L, (token + 1) * L));
    const label = scores.indexOf(Math.max(...scores));
    // Every entity comes before every O: scores are at most 1.
    const score = (scores[label] ?? 0) + Number(labelOf(label) !== "O");
    if (score > best.score) best = { token, label, score };
  }
  return best;
}
