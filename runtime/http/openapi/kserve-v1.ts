/**
 * KServe V1's routes, described. Its bodies are read by hand (`kserve-v1-instances.ts`); what they may be stands here once more, and
 * `test/http/openapi-bodies.test.ts` holds it against what the route accepts and refuses.
 */
import { z } from "zod";

import type { JsonValue } from "../../inference.ts";
import type { Fields } from "./components.ts";
import { ASKING_STATUSES, failures } from "./failures.ts";
import {
  ASKING,
  body,
  json,
  modelName,
  modelVersion,
  success,
  unlessSome,
  withExamples,
  type DescribedModel,
  type DescribeProtocol,
  type Operation,
  type Subject,
} from "./operation.ts";
import { answerOf, explanationOf } from "./task-answers.ts";

const ROUTE = "/v1/models/:model{.+}";
const TAG = "KServe V1";
const SHAPE = "OpenInferenceError";

const list = z
  .array(z.unknown())
  .describe(
    'Each a text, named inputs such as {"question": …, "context": …}, or bytes as {"b64": …}; for a custom handler whatever it takes',
  );
const beside = { parameters: z.record(z.string(), z.unknown()).optional() };

export const InstancesBody = z.union([
  z.looseObject({ instances: list, ...beside }),
  z.looseObject({ inputs: list, ...beside }),
]);

export const V1Model = z.object({
  name: z.string(),
  ready: z.boolean(),
  id: z.string(),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.string(),
  error: z.string().optional().describe("Why it is not ready"),
});

export const describeKserveV1: DescribeProtocol = (subject) =>
  ["", "/versions/{model_version}"].flatMap((version) => [
    ask("predict", version, subject),
    ask("explain", version, subject),
    status(version, subject),
  ]);

function place(version: string, subject: Subject): readonly Fields[] {
  return version === "" ? [modelName(subject)] : [modelName(subject), modelVersion(subject)];
}

function ask(verb: "predict" | "explain", version: string, subject: Subject): Operation {
  const { components, models } = subject;
  const answers = verb === "predict" ? "predictions" : "explanations";
  const items = components.schema(
    verb === "predict" ? "Prediction" : "V1Explanation",
    anyOf(models.map((model) => (verb === "predict" ? predictionOf(model) : explainedBy(model)))),
  );
  const answer = {
    type: "object",
    required: [answers],
    properties: { [answers]: { type: "array", items } },
  };
  const bodySchema = components.schema("InstancesBody", InstancesBody);
  const answerSchema = components.schema(
    verb === "predict" ? "Predictions" : "Explanations",
    answer,
  );
  const events = "application/cloudevents+json";
  return {
    method: "post",
    path: `/v1/models/{model_name}${version}:${verb}`,
    route: ROUTE,
    tag: TAG,
    operationId: `v1_${verb}${version === "" ? "" : "_version"}`,
    summary: verb === "predict" ? "Ask for predictions" : "Ask for explanations",
    parameters: [...place(version, subject), ...ASKING],
    requestBody: body({
      "application/json": withExamples({ schema: bodySchema }, examplesOf(models)),
      [events]: { schema: { type: "object", description: "An event whose data is such a body" } },
    }),
    responses: {
      "200": success(
        "One for each instance, in order",
        {
          ...json(answerSchema),
          [events]: { schema: { type: "object", description: "To an event: an event" } },
        },
        { isTimed: true },
      ),
      ...failures(SHAPE, ASKING_STATUSES),
    },
    ...(verb === "explain" && { unavailable: unlessExplains(subject) }),
  };
}

/** A reason where no model has explanations. */
export function unlessExplains(subject: Subject): string | undefined {
  return unlessSome(
    subject,
    ({ handler, task }) => handler === "custom" || explanationOf(task) !== undefined,
    "a task with explanations, or a handler with `explain`",
  );
}

function examplesOf(models: readonly DescribedModel[]): Record<string, JsonValue> {
  const entries = models.flatMap(({ name, description }) => {
    const inputs = inputsOf(description?.example);
    return inputs === undefined ? [] : [[name, { instances: [inputs] }] as const];
  });
  return Object.fromEntries(entries);
}

/** What stands under `inputs` of a body. */
export function inputsOf(example: JsonValue | undefined): JsonValue | undefined {
  const isObject = typeof example === "object" && example !== null && "inputs" in example;
  return isObject ? example["inputs"] : undefined;
}

/** As the element of a list is answered, or alone where the task does not split lists. */
function predictionOf({ description }: DescribedModel): z.ZodType | undefined {
  const known = description?.handler === "custom" ? undefined : answerOf(description?.task);
  if (known === undefined) return undefined;
  const { one, element = one, file } = known;
  const bytes = z.object({ b64: z.string(), content_type: z.string() });
  const all = [one, ...(element === one ? [] : [element]), ...(file === undefined ? [] : [bytes])];
  return z.union(all);
}

function explainedBy({ description }: DescribedModel): z.ZodType | undefined {
  return description?.handler === "custom" ? undefined : explanationOf(description?.task);
}

/** Anything, where one of them is not known. */
function anyOf(schemas: readonly (z.ZodType | undefined)[]): z.ZodType {
  const known = [...new Set(schemas)].filter((schema) => schema !== undefined);
  const [first, ...others] = known;
  if (first === undefined || schemas.includes(undefined)) return z.unknown();
  return others.length === 0 ? first : z.union(known);
}

function status(version: string, subject: Subject): Operation {
  const content = json(subject.components.schema("V1Model", V1Model));
  return {
    method: "get",
    path: `/v1/models/{model_name}${version}`,
    route: ROUTE,
    tag: TAG,
    operationId: `v1_model${version === "" ? "" : "_version"}`,
    summary: "Whether a model is ready; OpenAI's description of it",
    parameters: place(version, subject),
    responses: {
      "200": success("It is", content),
      "503": success("It is not, or not yet", content),
      ...failures(SHAPE, [404]),
    },
  };
}
