/**
 * What a client may say about an explanation, in the words of Captum's `IntegratedGradients.attribute`.
 */
import { z } from "zod";

import { BASELINES, type BaselineKind } from "../../explain/baselines.ts";
import { METHODS, type Method } from "../../explain/quadrature.ts";
import { MOST_STEPS, USUAL_STEPS } from "../../text-length.ts";
import { invalidInput } from "../tasks/inputs.ts";

/** For a refusal: "Cannot explain the prediction: …". */
export const ACTION = "explain the prediction";

const wantedSteps = `a whole number from 1 to ${MOST_STEPS}`;
const wantedSize = "a whole number of at least 1";
const oneOf = (words: readonly string[]) => words.map((word) => `"${word}"`).join(", ");

/** For `z.object({ target: …, ...EXPLAIN_PARAMETERS })`. */
export const EXPLAIN_PARAMETERS = {
  /** Points on the path: 50. */
  n_steps: z.int(wantedSteps).min(1, wantedSteps).max(MOST_STEPS, wantedSteps).nullish(),
  /** The rule by which the gradients on the path are summed: `gausslegendre`. */
  method: z.enum(METHODS, `one of ${oneOf(METHODS)}`).nullish(),
  /** What is counted from: `pad`. */
  baseline: z.enum(BASELINES, `one of ${oneOf(BASELINES)}`).nullish(),
  /** The most points that are computed at once. */
  internal_batch_size: z.int(wantedSize).positive(wantedSize).nullish(),
};
export type ExplainParameters = z.output<z.ZodObject<typeof EXPLAIN_PARAMETERS>>;

/** How an explanation is computed. */
export interface Integration {
  readonly method: Method;
  readonly steps: number;
  readonly baseline: BaselineKind;
  readonly maxPoints: number | undefined;
}

/** @throws `INVALID_INPUT` when the method wants more points. */
export function readIntegration(parameters: ExplainParameters): Integration {
  const { n_steps, method, baseline, internal_batch_size } = parameters;
  const steps = n_steps ?? USUAL_STEPS;
  if (method?.startsWith("riemann") === true && steps < 2)
    throw invalidInput(ACTION, `"n_steps" is ${steps}, wanted at least 2 for "${method}"`);
  return {
    method: method ?? "gausslegendre",
    steps,
    baseline: baseline ?? "pad",
    maxPoints: internal_batch_size ?? undefined,
  };
}
