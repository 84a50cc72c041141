/**
 * Why a text was put into a class.
 */
import { z } from "zod";

import { rowOf, type Encoder } from "../model/encoder.ts";
import { inputName, MaxLengthParameter, TruncationParameter } from "../tasks/inputs.ts";
import type { ExplainingTask, TaskModel } from "../tasks/task.ts";
import type { InferenceRequest } from "../../inference.ts";
import { toExplanation } from "./answer.ts";
import { openFace, padIdOf, type Aim, type Subject } from "./face.ts";
import { gradientsOf } from "./gradients.ts";
import { indexOfLabel, labelAt, LabelTarget } from "./labels.ts";
import { EXPLAIN_PARAMETERS } from "./parameters.ts";
import { openLenientTracer, traceText } from "./traced-text.ts";

export const ExplainTextClassificationParameters = z.object({
  /** The class that is explained, by its index or its label: the predicted one. */
  target: LabelTarget.nullish(),
  ...EXPLAIN_PARAMETERS,
  truncation: TruncationParameter,
  max_length: MaxLengthParameter,
});

/** What the task lends. */
export interface TextClassificationParts {
  readonly encoder: Encoder;
  /** The name of the logits. */
  readonly output: string;
  readonly model: TaskModel;
  readonly predicting: z.ZodObject;
  readonly readTexts: (
    request: InferenceRequest,
  ) => readonly { text: string; pair?: string | undefined }[];
}

interface ClassifiedText extends Subject {
  readonly texts: readonly string[];
}

export function explainTextClassification({
  encoder,
  output,
  model,
  predicting,
  readTexts,
}: TextClassificationParts): ExplainingTask {
  const { tokenizer } = encoder;
  const { config } = model.folder;
  const trace = openLenientTracer(tokenizer, encoder.inputs.has("token_type_ids"));
  const toAim = (index: number): Aim => ({ targets: [[index]], name: labelAt(config, index) });

  return openFace({
    tokenizer,
    gradients: gradientsOf(model, output, padIdOf(tokenizer)),
    parameters: ExplainTextClassificationParameters,
    predicting,

    read(request, { truncation, max_length: maxTokens }, { warn }) {
      const subjects = readTexts(request).map(({ text, pair }, index): ClassifiedText => {
        const name = inputName(request, index);
        const options = {
          truncation: truncation ?? "longest_first",
          maxTokens,
          name,
          warn,
        } as const;
        const texts = pair === undefined ? [text] : [text, pair];
        return { texts, encoding: traceText(encoder, trace, text, { ...options, pair }) };
      });
      return { subjects, isList: Array.isArray(request.data["inputs"]) };
    },

    aimAt(_text, { target }, [L = 0]) {
      return target === null || target === undefined
        ? undefined
        : [toAim(indexOfLabel(config, target, L, "target"))];
    },

    async predict(subjects) {
      const logits = await encoder.forward(
        subjects.map(({ encoding }) => encoding),
        output,
      ); // [B, L]
      return subjects.map((subject, b) => {
        const row = rowOf(logits, b);
        return { subject, aims: [toAim(row.indexOf(Math.max(...row)))] };
      });
    },

    toAnswer: ({ subject, aims: [aim] }, [attribution]) =>
      toExplanation(tokenizer, subject, aim, attribution, ["text", "text_pair"]),
  });
}
