/**
 * Hugging Face's routes, described: `POST /` with the default model's own schemas, text-generation-inference's two, health, info.
 */
import { z } from "zod";

import type { ModelDescription } from "../../inference.ts";
import { Parameters as GenerateParameters } from "../protocols/huggingface-generation-parameters.ts";
import { isFields, type Fields } from "./components.ts";
import { ASKING_STATUSES, failures } from "./failures.ts";
import {
  ASKING,
  body,
  json,
  success,
  unlessSome,
  withExamples,
  type DescribeProtocol,
  type Operation,
  type Subject,
} from "./operation.ts";
import {
  answerOf,
  explanationOf,
  mediaOf,
  wholeAnswer,
  Written,
  WrittenToken,
} from "./task-answers.ts";

const SHAPE = "HuggingFaceError";
const TAG = "Hugging Face";

const GenerateBody = z.object({
  inputs: z.union([z.string(), z.array(z.string())]),
  parameters: GenerateParameters.optional(),
  stream: z.boolean().optional(),
});

const Health = z.object({
  status: z.string().describe("`ready`, `starting`, `degraded`, `draining`, `failed` …"),
  detail: z.string().optional(),
  model: z.string(),
  task: z.string().optional(),
  info: z.string().optional(),
  predict: z.string().optional(),
});

const Info = z.object({
  model_id: z.string(),
  model_sha: z.string().nullable(),
  model_dtype: z.string().nullable(),
  model_type: z.string().nullable(),
  model_pipeline_tag: z.string().nullable(),
  handler: z.string().nullable().describe("The file of a custom handler, or `default`"),
  status: z.string(),
  workers: z.object({ ready: z.int(), starting: z.int() }).nullable(),
  requests: z.object({ waiting: z.int(), running: z.int() }).nullable(),
  batching: z.looseObject({ kind: z.string() }).nullable(),
  example: z.unknown().optional().describe("A body that the model answers"),
  server: z.string(),
  version: z.string(),
});

export const describeHuggingFace: DescribeProtocol = (subject) => [
  ...["/", "/predict"].map((path) => predict(path, subject)),
  generate("/generate", subject),
  generate("/generate_stream", subject),
  ...["/health", "/health/ready"].map((path) => health(path, subject)),
  live(subject),
  root(subject),
  info(subject),
];

function predict(path: string, subject: Subject): Operation {
  const [model] = subject.models;
  const name = model === undefined ? "the default model" : `"${model.name}"`;
  return {
    method: "post",
    path,
    route: path,
    tag: TAG,
    operationId: path === "/" ? "predict" : "predictAtPredict",
    summary: path === "/" ? `Ask ${name}` : "The same as POST /",
    ...(path === "/" && { description: describeDialect(subject) }),
    parameters: [...ASKING, ...queryParameters(subject)],
    requestBody: body(contentOf(subject)),
    responses: {
      "200": success("The answer", answerContent(subject), { isTimed: true }),
      ...failures(SHAPE, ASKING_STATUSES),
    },
  };
}

function describeDialect({ server: { dialect }, models: [model] }: Subject): string {
  if (model?.description?.handler === "custom") return "Answered by the repository's own handler.";
  if (dialect === "hf-inference")
    return "Answers have the shape that Hugging Face's clients parse.";
  if (dialect === "toolkit") return "Answers have the Inference Endpoints toolkit's shape.";
  return (
    "Answers have the Inference Endpoints toolkit's shape; Hugging Face's own clients, told by their `User-Agent`, get the " +
    "one that they parse."
  );
}

/** Every form that a body may have. */
function contentOf({ models: [model] }: Subject): Fields {
  const { description, schemas } = model ?? {};
  const { handler, task, example } = description ?? {};
  const reading = handler === "custom" ? "anything" : mediaOf(task);
  const media = { image: ["image/*"], audio: ["audio/*"], anything: ["image/*", "audio/*"] };
  const types = reading === undefined ? [] : media[reading];
  const form = {
    schema: {
      type: "object",
      description:
        "Files and the field `inputs` are the inputs; any other field is a parameter, `parameters` is JSON.",
      additionalProperties: true,
    },
  };
  return {
    "application/json": withExamples(
      { schema: schemas?.body ?? {} },
      example === undefined ? {} : { example },
    ),
    "text/plain": { schema: { type: "string", description: "The inputs" } },
    ...Object.fromEntries(types.map((type) => [type, {}] as const)),
    "multipart/form-data": form,
  };
}

/** Beside a file the parameters are in the query. */
function queryParameters({ models: [model] }: Subject): readonly Fields[] {
  const { schemas, task } = model?.description ?? {};
  const parameters = schemas?.parameters;
  if (mediaOf(task) === undefined || !isFields(parameters)) return [];
  const { properties } = parameters;
  if (!isFields(properties) || JSON.stringify(properties).includes('"$ref"')) return [];
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: "query",
    description: "A parameter, for bodies that have no place for it.",
    schema,
  }));
}

function answerContent({ components, models: [model], server }: Subject): Fields {
  const { description, schemas } = model ?? {};
  const { task, handler, generation } = description ?? {};
  const isOwn = handler === "custom";
  const file = isOwn ? undefined : answerOf(task, server.dialect)?.file;
  const answer = schemas?.answer ?? {};
  const explanation = isOwn ? undefined : explanationOf(task);
  const toolkit = answerOf(task);
  const schema =
    explanation === undefined || toolkit === undefined
      ? answer
      : { anyOf: [answer, explained(components, wholeAnswer(toolkit), explanation)] };
  return {
    ...json(schema),
    ...(file !== undefined && { [file]: {} }),
    ...(generation !== undefined && {
      "text/event-stream": {
        schema: components.schema("WrittenToken", WrittenToken),
      },
    }),
    ...(isOwn && {
      "application/x-ndjson": { schema: { description: "A stream: a JSON value a line" } },
      "text/event-stream": { schema: { description: "The same for a client that takes events" } },
      "*/*": {},
    }),
  };
}

/** With `"explain": true` among the parameters; the prediction has the toolkit's shape then, whoever asks. */
function explained(
  components: Subject["components"],
  answer: z.ZodType,
  explanation: z.ZodType,
): Fields {
  const both = {
    type: "object",
    description: "With the parameter `explain`",
    required: ["prediction", "explanation"],
    properties: {
      prediction: components.schema("ExplainedPrediction", answer),
      explanation: components.schema("Explanation", explanation),
    },
  };
  return { anyOf: [both, { type: "array", items: both }] };
}

function generate(path: "/generate" | "/generate_stream", subject: Subject): Operation {
  const { components, models } = subject;
  const isStream = path === "/generate_stream";
  const written = components.schema("Written", Written);
  const events = {
    "text/event-stream": { schema: components.schema("WrittenToken", WrittenToken) },
  };
  const whole = json({ anyOf: [written, { type: "array", items: written }] });
  const example = { inputs: "Once upon a time", parameters: { max_new_tokens: 20 } };
  return {
    method: "post",
    path,
    route: path,
    tag: TAG,
    operationId: isStream ? "generateStream" : "generate",
    summary: isStream ? "Write a text, token by token" : "Write a text",
    description: "As text-generation-inference has it.",
    parameters: ASKING,
    requestBody: body(json(components.schema("GenerateBody", GenerateBody), { example })),
    responses: {
      "200": success(
        isStream ? "An event for each token" : "The text",
        isStream ? events : { ...whole, ...events },
        { isTimed: true },
      ),
      ...failures(SHAPE, ASKING_STATUSES),
    },
    unavailable: unlessSome({ models: models.slice(0, 1) }, generates, "a model that generates"),
  };
}

export function generates({ generation }: ModelDescription): boolean {
  return generation !== undefined;
}

function health(path: string, { components }: Subject): Operation {
  const content = json(components.schema("Health", Health));
  return {
    method: "get",
    path,
    route: path,
    tag: TAG,
    operationId: path === "/health" ? "health" : "healthReady",
    summary: "Whether the default model answers",
    responses: {
      "200": success("It answers", content),
      "503": success("It does not, or not yet", content),
    },
  };
}

function live({ components }: Subject): Operation {
  return {
    method: "get",
    path: "/health/live",
    route: "/health/live",
    tag: TAG,
    operationId: "healthLive",
    summary: "Whether the server lives",
    responses: {
      "200": success("It does", json(components.schema("Live", z.object({ status: z.string() })))),
    },
  };
}

function root({ components, server }: Subject): Operation {
  const content = json(components.schema("Health", Health));
  const common = { method: "get", path: "/", route: "/", tag: TAG, operationId: "root" } as const;
  if (server.isTorchServe) {
    return {
      ...common,
      summary: "Refused, as by TorchServe",
      responses: failures("TorchServeError", [405]),
      unavailable: "TorchServe describes itself by OPTIONS only.",
    };
  }
  const page = server.hasPlayground ? { "text/html": { schema: { type: "string" } } } : {};
  return {
    ...common,
    summary: server.hasPlayground
      ? "Health; for browsers a page to try the models on"
      : "Whether the default model answers",
    responses: {
      "200": success("It answers", { ...content, ...page }),
      "503": success("It does not, or not yet", content),
    },
  };
}

function info({ components }: Subject): Operation {
  return {
    method: "get",
    path: "/info",
    route: "/info",
    tag: TAG,
    operationId: "info",
    summary: "What is served, and what it was found to cost",
    responses: { "200": success("About the default model", json(components.schema("Info", Info))) },
  };
}
