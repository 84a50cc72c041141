/**
 * Predictions and explanations that came in one batch.
 *
 * They never share a run: predictions are answered first, as each takes a hundredth of an explanation's time; explanations
 * are then computed together. A request may want both; what it gets is `{"prediction": …, "explanation": …}`, a list of such
 * for a list of inputs.
 */
import { RuntimeError } from "../../errors.ts";
import { wantsExplanation, type InferenceRequest, type JsonValue } from "../../inference.ts";
import { answerBatch } from "../batch-answer.ts";
import type { BatchHooks, BatchMember, MemberOutcome } from "../contract.ts";
import { invalidInput } from "../tasks/inputs.ts";
import type { ExplainingTask, OpenTask } from "../tasks/task.ts";
import { ACTION } from "./parameters.ts";

/** The tasks that explain; `mixed-batch.test.ts` compares it with the shelf. */
export const EXPLAINED_TASKS = [
  "text-classification",
  "token-classification",
  "question-answering",
  "text-generation",
] as const;

/** What an explanation may cost for others to be computed with it, in tokens of a forward pass: two short texts. */
const MAX_JOINT_COST = 8192;

interface Numbered {
  readonly index: number;
  readonly member: BatchMember;
}

/**
 * Answers each member once, through `hooks.onOutcome`. Never rejects.
 *
 * Explanations report neither runs nor lengths: the engine learns from those what a prediction costs.
 */
export async function answerMixedBatch(
  task: OpenTask,
  members: readonly BatchMember[],
  hooks: BatchHooks,
): Promise<void> {
  const { explaining } = task;
  const predictions: Numbered[] = [];
  const explanations: Numbered[] = [];
  const both = new Set<number>();
  for (const [index, member] of members.entries()) {
    const wants = wantsExplanation(member.request);
    const error = refusal(member.request, explaining);
    if (error !== undefined) {
      hooks.onOutcome(index, { error });
      continue;
    }
    if (wants !== "only") predictions.push({ index, member });
    if (wants !== "no") explanations.push({ index, member });
    if (wants === "beside") both.add(index);
  }

  /** What became of the predictions of those who want both; `undefined` where it was an error, and is told already. */
  const found = new Map<number, Extract<MemberOutcome, { value: unknown }>>();
  await answerSome(task, predictions, toPrediction(explaining), {
    ...hooks,
    onOutcome(index, outcome) {
      if (both.has(index) && "value" in outcome) found.set(index, outcome);
      else hooks.onOutcome(index, outcome);
    },
  });

  if (explaining === undefined) return;
  const left = explanations.filter(({ index }) => !both.has(index) || found.has(index));
  await answerSome(explaining, left, toExplanationOnly(explaining), {
    maxPaddedTokens: MAX_JOINT_COST,
    onPass: () => undefined,
    onOutcome(index, outcome) {
      const prediction = found.get(index);
      if ("error" in outcome) hooks.onOutcome(index, outcome);
      else if (prediction !== undefined)
        hooks.onOutcome(index, join(prediction, outcome, members[index]));
      else {
        const { tokens: _, ...rest } = outcome;
        hooks.onOutcome(index, rest);
      }
    },
  });
}

/** Some of a batch's members, whose outcomes go under their own numbers. */
async function answerSome(
  task: OpenTask,
  some: readonly Numbered[],
  change: (request: InferenceRequest) => InferenceRequest,
  hooks: BatchHooks,
): Promise<void> {
  if (some.length === 0) return;
  const changed = some.map(({ member }) => ({ ...member, request: change(member.request) }));
  await answerBatch(task, changed, {
    ...hooks,
    onOutcome: (place, outcome) => hooks.onOutcome(some[place]?.index ?? -1, outcome),
  });
}

/** The request without what is said of an explanation, where there is one. */
function toPrediction(explaining: ExplainingTask | undefined) {
  return (request: InferenceRequest): InferenceRequest => {
    const wants = wantsExplanation(request);
    const own = wants === "no" ? undefined : explaining?.ownParameters;
    return withParameters(request, (key) => key !== "explain" && own?.has(key) !== true);
  };
}

/** The request with what is said of an explanation; beside a prediction, all else is said of that. */
function toExplanationOnly({ parameters }: ExplainingTask) {
  return (request: InferenceRequest): InferenceRequest => {
    const isBeside = wantsExplanation(request) === "beside";
    return withParameters(
      request,
      (key) => key !== "explain" && (!isBeside || parameters.has(key)),
    );
  };
}

function withParameters(
  request: InferenceRequest,
  keeps: (key: string) => boolean,
): InferenceRequest {
  const given = request.data["parameters"];
  if (typeof given !== "object" || given === null || Array.isArray(given)) return request;
  const parameters = Object.fromEntries(Object.entries(given).filter(([key]) => keeps(key)));
  return { ...request, data: { ...request.data, parameters } };
}

/** Both answers as one; those to a list in pairs. */
function join(
  prediction: Extract<MemberOutcome, { value: unknown }>,
  explanation: Extract<MemberOutcome, { value: unknown }>,
  member: BatchMember | undefined,
): MemberOutcome {
  const [predicted, explained] = [prediction.value, explanation.value];
  const isList = Array.isArray(member?.request.data["inputs"]) && Array.isArray(explained);
  const value =
    isList && Array.isArray(predicted)
      ? explained.map((each: unknown, index) => ({
          prediction: predicted[index] as JsonValue,
          explanation: each,
        }))
      : { prediction: predicted, explanation: explained };
  const { tokens } = prediction;
  const warnings = [...new Set([...(prediction.warnings ?? []), ...(explanation.warnings ?? [])])];
  return {
    value,
    ...(tokens !== undefined && { tokens }),
    ...(warnings.length > 0 && { warnings }),
  };
}

/** Why a request is answered with neither; `undefined` where it is. */
function refusal(
  { kind, data }: InferenceRequest,
  explaining: ExplainingTask | undefined,
): RuntimeError | undefined {
  if (kind === "generate")
    return new RuntimeError(
      "NOT_SUPPORTED",
      "Cannot generate: this model's task is another; text-generation is what generates",
    );
  const parameters = data["parameters"];
  if (typeof parameters === "object" && parameters !== null && "explain" in parameters) {
    const { explain } = parameters;
    if (typeof explain !== "boolean" && explain !== null) {
      const found = typeof explain === "number" ? String(explain) : `of type ${typeof explain}`;
      return invalidInput(ACTION, `"explain" is ${found}, wanted true or false`);
    }
  }
  if (explaining !== undefined || wantsExplanation({ kind, data }) === "no") return undefined;
  const [first, ...others] = EXPLAINED_TASKS.toReversed();
  return new RuntimeError(
    "NOT_SUPPORTED",
    `Cannot ${ACTION}: this task has no explanations; ${others.toReversed().join(", ")} and ${first} have`,
  );
}
