/**
 * What one model takes and answers: its own schemas of `inputs` and `parameters`, put together as the body of `POST /`, and what
 * its task answers.
 *
 * A custom handler's schemas are what its author's `static inputs` and `static parameters` say; where it says nothing, anything
 * goes. What it answers only it knows.
 */
import { z } from "zod";

import type { JsonValue, ModelDescription } from "../../inference.ts";
import type { DialectChoice } from "../protocols/huggingface-dialect.ts";
import { Parameters as GenerateParameters } from "../protocols/huggingface-generation-parameters.ts";
import { isFields, toJsonSchema, type Components, type Fields } from "./components.ts";
import { answerOf, explanationOf, wholeAnswer } from "./task-answers.ts";

/** References to the schemas of one model. */
export interface PredictSchemas {
  readonly inputs: Fields;
  readonly parameters: Fields;
  /** The body of `POST /`. */
  readonly body: Fields;
  readonly answer: Fields;
}

/**
 * Keeps a model's schemas as `PredictInputs`, `PredictParameters`, `PredictBody` and `PredictAnswer`.
 *
 * @param suffix What follows these names where they are another model's already: `"_2"`.
 */
export function describePredict(
  components: Components,
  description: ModelDescription | undefined,
  { dialect, suffix = "" }: { readonly dialect: DialectChoice; readonly suffix?: string },
): PredictSchemas {
  const { schemas, task, handler, example } = description ?? {};
  const inputs = components.schema(`PredictInputs${suffix}`, schemas?.inputs ?? ANYTHING);
  const parameters = components.schema(
    `PredictParameters${suffix}`,
    withTelling(schemas?.parameters ?? ANY_OBJECT, description),
  );
  // Whoever has parameters that must be sent says so in its schema.
  const mustHave = isRequired(schemas?.parameters) ? ["inputs", "parameters"] : ["inputs"];
  const isOwn = handler === "custom";
  const isStreamed = !isOwn && description?.generation !== undefined;
  const body = components.schema(`PredictBody${suffix}`, {
    type: "object",
    required: mustHave,
    properties: { inputs, parameters, ...(isStreamed && { stream: { type: "boolean" } }) },
    // A handler may read whatever else a body has.
    ...(isOwn && schemas?.inputs === undefined && { additionalProperties: true }),
    ...(example !== undefined && { examples: [example] }),
  });
  const known = isOwn ? undefined : answerOf(task, dialect);
  const answer = components.schema(
    `PredictAnswer${suffix}`,
    known === undefined ? OWN_ANSWER : wholeAnswer(known),
  );
  return { inputs, parameters, body, answer };
}

const ANYTHING: JsonValue = { description: "Any JSON: the handler does not say what it takes" };
const ANY_OBJECT: JsonValue = { type: "object", additionalProperties: true };
const OWN_ANSWER: JsonValue = { description: "Any JSON: what the handler returns" };

/** Parameters that ask for another answer than a task's plain one, and stand in no task's schema. */
const MORE_WRITTEN = GenerateParameters.pick({
  details: true,
  decoder_input_details: true,
  best_of: true,
  num_return_sequences: true,
  top_n_tokens: true,
  frequency_penalty: true,
  presence_penalty: true,
});
const EXPLAINED = z.object({
  explain: z
    .boolean()
    .describe("Answer with an explanation beside the prediction; its own parameters are taken, too")
    .optional(),
});

/** What `POST /` reads besides: how a text is told, and whether a prediction is explained. */
function withTelling(schema: JsonValue, description: ModelDescription | undefined): JsonValue {
  if (description?.handler !== "default" || !isFields(schema)) return schema;
  const { generation, task } = description;
  const added = [
    ...(generation === undefined ? [] : [MORE_WRITTEN]),
    ...(explanationOf(task) === undefined ? [] : [EXPLAINED]),
  ].map((each) => toJsonSchema(each)["properties"]);
  const all = [schema["properties"], ...added].filter(isFields);
  return { ...schema, properties: Object.assign({}, ...all) as Fields }; // of such alone
}

function isRequired(parameters: JsonValue | undefined): boolean {
  if (typeof parameters !== "object" || parameters === null || !("required" in parameters))
    return false;
  const { required } = parameters;
  return Array.isArray(required) && required.length > 0;
}
