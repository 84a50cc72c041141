/**
 * A task's second face: the same model and the same inputs, but the answer says which words made the prediction what it is.
 *
 * What all tasks do alike is here: an explanation for each text, several of a batch computed together. A task brings what it
 * reads (`Subject`), what of its output is explained (`Aim`), and the shape of its answer.
 */
import type { PreTrainedTokenizer } from "@huggingface/transformers";
import type { z } from "zod";

import { createBaseline } from "../../explain/baselines.ts";
import type { Question } from "../../explain/explainer.ts";
import type { Attribution } from "../../explain/integrated-gradients.ts";
import type { InferenceRequest, JsonValue } from "../../inference.ts";
import { explanationPasses } from "../../text-length.ts";
import type { TracedEncoding } from "../model/token-offsets.ts";
import { invalidInput, readParameters } from "../tasks/inputs.ts";
import type { ExplainingTask, Item, OpenTask, TaskContext } from "../tasks/task.ts";
import type { Gradients } from "./gradients.ts";
import { ACTION, readIntegration, type ExplainParameters, type Integration } from "./parameters.ts";

/** One text, or two, as the model reads them, and what became of them. */
export interface Subject {
  readonly encoding: TracedEncoding;
}

/** A number of the model's output that is explained. */
export interface Aim {
  /** Its indices in the output, without the batch's; several are added up. */
  readonly targets: readonly (readonly number[])[];
  /** What the answer calls it. */
  readonly name: JsonValue;
}

/** What is explained of a subject: one aim, or several of the same tokens. */
export interface Explained<S extends Subject> {
  readonly subject: S;
  readonly aims: readonly Aim[];
}

/** What a task brings. */
export interface FaceParts<S extends Subject, P extends ExplainParameters> {
  readonly tokenizer: PreTrainedTokenizer;
  readonly gradients: Gradients;
  /** What a client may say, prediction's parameters that matter here included. */
  readonly parameters: z.ZodObject<z.ZodRawShape> & { readonly _output: P };
  /** The parameters of predictions: those that are none of `parameters` have no effect on an explanation. */
  readonly predicting: z.ZodObject;
  /** How many aims a subject has where the client names none: 1. */
  readonly usualAims?: number;
  /** Checks the inputs and makes tokens of them. @throws `INVALID_INPUT` */
  read(
    request: InferenceRequest,
    parameters: P,
    context: TaskContext,
  ): { readonly subjects: readonly S[]; readonly isList: boolean };
  /**
   * What the client wants explained.
   *
   * @param shape The output's shape for this subject, without the batch's dimension.
   * @returns `undefined` where the client leaves it to the model.
   * @throws `INVALID_INPUT` when there is no such thing in the output.
   */
  aimAt(subject: S, parameters: P, shape: readonly number[]): readonly Aim[] | undefined;
  /** What the model predicts for each subject: a forward pass, perhaps of subjects of unequal length. */
  predict(subjects: readonly S[], signal: AbortSignal): Promise<readonly Explained<S>[]>;
  /** @param attributions One per aim. */
  toAnswer(explained: Explained<S>, attributions: readonly Attribution[]): JsonValue;
}

interface ExplainItem<S extends Subject> extends Item {
  readonly subject: S;
  /** `undefined`: what the model predicts. */
  readonly aims: readonly Aim[] | undefined;
  readonly integration: Integration;
}

interface Result<S extends Subject> {
  readonly explained: Explained<S>;
  readonly attributions: readonly Attribution[];
}

interface State {
  readonly isList: boolean;
}

export function openFace<S extends Subject, P extends ExplainParameters>(
  parts: FaceParts<S, P>,
): ExplainingTask {
  const { gradients, tokenizer, predicting } = parts;
  const known = Object.keys(parts.parameters.shape);
  const others = Object.keys(predicting.shape).filter((key) => !known.includes(key));
  const face: OpenTask<ExplainItem<S>, Result<S>, State> = {
    notes: [],

    async preprocess(request, context) {
      const parameters = readParameters(parts.parameters, request.data["parameters"], {
        action: ACTION,
        warn: context.warn,
        ignored: others,
      }) as P; // the schema's own output
      const integration = readIntegration(parameters);
      fillIdOf(tokenizer, integration);
      const { subjects, isList } = parts.read(request, parameters, context);
      const explainer = await gradients.open();
      if (gradients.remark !== undefined) context.warn(gradients.remark);
      const items = subjects.map((subject): ExplainItem<S> => {
        const tokens = subject.encoding.inputIds.length;
        const aims = parts.aimAt(subject, parameters, explainer.shapeOf(tokens));
        const count = aims?.length ?? parts.usualAims ?? 1;
        return {
          tokens: count * tokens * explanationPasses(integration.steps),
          subject,
          aims,
          integration,
        };
      });
      return { items, state: { isList } };
    },

    async inference(items, signal) {
      const explainer = await gradients.open();
      const explained = await aimAll(items, signal);
      const questions = explained.map(({ subject, aims }, index) => {
        return aims.map((aim) => toQuestion(subject, aim, items[index]));
      });
      const attributions = await explainer.explain(questions.flat(), signal);
      let done = 0;
      return explained.map((each): Result<S> => {
        const from = done;
        done += each.aims.length;
        return { explained: each, attributions: attributions.slice(from, done) };
      });
    },

    postprocess({ isList }, results) {
      const answers = results.map(({ explained, attributions }) =>
        parts.toAnswer(explained, attributions),
      );
      return isList ? answers : (answers[0] ?? []);
    },

    dispose: () => gradients.dispose(),
  };

  /** Each item with its aims, in order; those that have none get what the model predicts. */
  async function aimAll(
    items: readonly ExplainItem<S>[],
    signal: AbortSignal,
  ): Promise<Explained<S>[]> {
    const open = items.filter(({ aims }) => aims === undefined).map(({ subject }) => subject);
    const predicted = open.length === 0 ? [] : await parts.predict(open, signal);
    let next = 0;
    return items.map(({ subject, aims }): Explained<S> => {
      const found = aims === undefined ? predicted[next++] : { subject, aims };
      if (found === undefined) throw new Error(`${predicted.length} aims for ${open.length} texts`);
      return found;
    });
  }

  function toQuestion({ encoding }: S, { targets }: Aim, item?: ExplainItem<S>): Question {
    if (item === undefined) throw new Error("more explanations than items");
    const { inputIds, tokenTypeIds, texts } = encoding;
    const { baseline: kind, method, steps, maxPoints } = item.integration;
    const fillId = fillIdOf(tokenizer, item.integration);
    const baseline = createBaseline(kind, inputIds, (t) => texts[t] === -1, fillId);
    return { inputIds, tokenTypeIds, baseline, targets, method, steps, maxPoints };
  }

  return {
    ...(face as OpenTask), // its items are its own, see `OpenTask`
    parameters: new Set(known),
    ownParameters: new Set(known.filter((key) => !(key in predicting.shape))),
  };
}

/**
 * What the baseline's tokens are.
 *
 * @throws `INVALID_INPUT` when the tokenizer has no mask.
 */
function fillIdOf(
  tokenizer: PreTrainedTokenizer,
  { baseline }: Pick<Integration, "baseline">,
): number {
  if (baseline !== "mask") return padIdOf(tokenizer);
  const { mask_token_id: id } = tokenizer;
  if (typeof id === "number") return id;
  const problem = `"baseline" is "mask", wanted "pad" or "zero", as the tokenizer has no mask token`;
  throw invalidInput(ACTION, problem);
}

/** Padding; a tokenizer without it is of a model that writes, whose texts end with a token that says nothing either. */
export function padIdOf(tokenizer: PreTrainedTokenizer): number {
  return tokenizer.pad_token_id ?? tokenizer.eos_token_id ?? 0;
}
