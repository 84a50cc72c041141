/**
 * OpenAI's routes, described by the schemas that check their bodies.
 */
import { z } from "zod";

import type { JsonValue, ModelDescription } from "../../inference.ts";
import { ChatBody } from "../protocols/openai-chat.ts";
import { CompletionBody } from "../protocols/openai-completions.ts";
import { EMBEDDING_TASKS, EmbeddingsBody } from "../protocols/openai-embeddings.ts";
import { RerankBody } from "../protocols/openai-rerank.ts";
import type { Fields } from "./components.ts";
import { ASKING_STATUSES, failures, type Status } from "./failures.ts";
import { generates } from "./huggingface.ts";
import {
  ASKING,
  body,
  json,
  modelName,
  success,
  unlessSome,
  type DescribeProtocol,
  type Operation,
  type Subject,
} from "./operation.ts";

const TAG = "OpenAI";
const SHAPE = "OpenAIError";
/** What a model cannot do is a 400 here. */
const STATUSES: readonly Status[] = ASKING_STATUSES.filter(
  (status) => ![406, 415, 501].includes(status),
);

/** Every body may name the model. */
const named = { model: z.string().nullish().describe("The default model where it is absent") };

const Usage = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int().optional(),
  total_tokens: z.int(),
});

const Embeddings = z.object({
  object: z.literal("list"),
  data: z.array(
    z.object({
      object: z.literal("embedding"),
      index: z.int(),
      embedding: z
        .union([z.array(z.number()), z.string()])
        .describe(
          "Numbers, or with `encoding_format` `base64` their bytes as little-endian float32",
        ),
    }),
  ),
  model: z.string(),
  usage: Usage,
});

const Ranking = z.object({
  id: z.string(),
  object: z.literal("rerank"),
  model: z.string(),
  results: z.array(
    z.object({
      index: z.int(),
      relevance_score: z.number(),
      document: z.object({ text: z.string() }).optional(),
    }),
  ),
  usage: Usage,
});

const heading = {
  id: z.string(),
  created: z.int().describe("Seconds since 1970"),
  model: z.string(),
  system_fingerprint: z.string(),
};
const finish = z.enum(["stop", "length", "tool_calls"]);

const CompletionChoice = z.object({
  index: z.int(),
  text: z.string(),
  logprobs: z
    .object({
      tokens: z.array(z.string()),
      token_logprobs: z.array(z.number().nullable()),
      top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
      text_offset: z.array(z.int()),
    })
    .nullable(),
  finish_reason: finish.nullable(),
});
const Completion = z.object({
  ...heading,
  object: z.literal("text_completion"),
  choices: z.array(CompletionChoice),
  usage: Usage.nullish(),
});

const ChatToken = z.object({ token: z.string(), logprob: z.number(), bytes: z.array(z.int()) });
const logprobs = z
  .object({
    content: z.array(ChatToken.extend({ top_logprobs: z.array(ChatToken) })),
    refusal: z.null(),
  })
  .nullable();
const ToolCall = z.object({
  index: z.int().optional(),
  id: z.string(),
  type: z.literal("function"),
  function: z.object({ name: z.string(), arguments: z.string() }),
});
const ChatCompletion = z.object({
  ...heading,
  object: z.literal("chat.completion"),
  choices: z.array(
    z.object({
      index: z.int(),
      message: z.object({
        role: z.literal("assistant"),
        content: z.string().nullable(),
        refusal: z.null(),
        tool_calls: z.array(ToolCall).optional(),
      }),
      logprobs,
      finish_reason: finish,
    }),
  ),
  usage: Usage,
});
const ChatChunk = z.object({
  ...heading,
  object: z.literal("chat.completion.chunk"),
  choices: z.array(
    z.object({
      index: z.int(),
      delta: z.object({
        role: z.literal("assistant").optional(),
        content: z.string().optional(),
        tool_calls: z.array(ToolCall).optional(),
      }),
      logprobs,
      finish_reason: finish.nullable(),
    }),
  ),
  usage: Usage.nullish(),
});

const Card = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.string(),
});
const ModelList = z.object({
  models: z.array(z.string()).describe("KServe V1's list, of names"),
  object: z.literal("list"),
  data: z.array(Card),
});

/** What is posted on one of the routes. */
interface Route {
  readonly name: string;
  readonly summary: string;
  readonly body: readonly [name: string, schema: z.ZodType];
  readonly answer: readonly [name: string, schema: z.ZodType];
  readonly chunk?: readonly [name: string, schema: z.ZodType];
  readonly example: JsonValue;
  readonly can: (description: ModelDescription) => boolean;
  readonly wanted: string;
}

const RANKING_TASKS: ReadonlySet<string> = new Set([...EMBEDDING_TASKS, "text-ranking"]);

const ROUTES: readonly Route[] = [
  {
    name: "chat/completions",
    summary: "Answer a conversation",
    body: ["ChatBody", ChatBody.extend(named)],
    answer: ["ChatCompletion", ChatCompletion],
    chunk: ["ChatChunk", ChatChunk],
    example: {
      messages: [{ role: "user", content: "What is the capital of France?" }],
      max_tokens: 20,
    },
    can: ({ generation }) => generation?.chat === true,
    wanted: "a model that generates, with a chat template",
  },
  {
    name: "completions",
    summary: "Continue a prompt",
    body: ["CompletionBody", CompletionBody.extend(named)],
    answer: ["Completion", Completion],
    chunk: ["Completion", Completion],
    example: { prompt: "Once upon a time", max_tokens: 20 },
    can: generates,
    wanted: "a model that generates",
  },
  {
    name: "embeddings",
    summary: "Make a vector of each text",
    body: ["EmbeddingsBody", EmbeddingsBody.extend(named)],
    answer: ["Embeddings", Embeddings],
    example: { input: ["A guy is purchasing an automobile downtown"] },
    can: ({ handler, task = "" }) => handler === "custom" || EMBEDDING_TASKS.has(task),
    wanted: "a model for feature-extraction or sentence-similarity",
  },
  {
    name: "rerank",
    summary: "Rank documents by a query",
    body: ["RerankBody", RerankBody.extend(named)],
    answer: ["Ranking", Ranking],
    example: { query: "What is Deep Learning?", documents: ["Deep Learning is not…", "It rains"] },
    can: ({ handler, task = "" }) => handler === "custom" || RANKING_TASKS.has(task),
    wanted: "a model for text-ranking, sentence-similarity or feature-extraction",
  },
];

export const describeOpenAI: DescribeProtocol = (subject) =>
  ["/v1", "/openai/v1"].flatMap((prefix) => [
    ...ROUTES.map((route) => describeRoute(prefix, route, subject)),
    models(prefix, subject),
    ...(prefix === "/openai/v1" ? [model(prefix, subject)] : []), // at /v1 it is KServe's
  ]);

function describeRoute(prefix: string, route: Route, subject: Subject): Operation {
  const { components } = subject;
  const events = route.chunk && {
    "text/event-stream": { schema: components.schema(...route.chunk) },
  };
  return {
    ...at(prefix, route.name, route.summary),
    method: "post",
    parameters: ASKING,
    requestBody: body(json(components.schema(...route.body), { example: route.example })),
    responses: {
      "200": success(
        "The answer",
        { ...json(components.schema(...route.answer)), ...events },
        { isTimed: true },
      ),
      ...failures(SHAPE, STATUSES),
    },
    unavailable: unlessSome(subject, route.can, route.wanted),
  };
}

function at(
  prefix: string,
  name: string,
  summary: string,
): Pick<Operation, "path" | "route" | "tag" | "operationId" | "summary"> {
  const path = `${prefix}/${name}`;
  const id = `openai_${name.replaceAll(/\W+/g, "_")}`;
  const isOther = prefix !== "/v1";
  return {
    path,
    route: path,
    tag: TAG,
    operationId: isOther ? `${id}_kserve` : id,
    summary: isOther && name !== "models/{model_name}" ? `The same as /v1/${name}` : summary,
  };
}

function models(prefix: string, { components }: Subject): Operation {
  const content: Fields = json(components.schema("ModelList", ModelList));
  return {
    ...at(prefix, "models", "The models: OpenAI's list, and KServe V1's"),
    method: "get",
    responses: { "200": success("The list", content) },
  };
}

function model(prefix: string, subject: Subject): Operation {
  const content = json(subject.components.schema("ModelCard", Card));
  return {
    ...at(prefix, "models/{model_name}", "One model"),
    operationId: "openai_model",
    route: `${prefix}/models/:model{.+}`,
    method: "get",
    parameters: [modelName(subject)],
    responses: { "200": success("The model", content), ...failures(SHAPE, [404]) },
  };
}
