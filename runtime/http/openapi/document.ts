/**
 * The description of this very server, OpenAPI 3.1: its routes, and what its models take and answer.
 *
 * Every protocol describes its own routes in a file beside this one; `test/http/openapi.test.ts` compares them with those that the
 * application has. Schemas of bodies are made of the zod schemas that check them, those of a model's inputs and parameters come from
 * the model. A route that none of the models can answer stays, with the reason in `x-hubserve-unavailable`.
 */
import type { Model, Models } from "../../engine/models.ts";
import type { JsonValue } from "../../inference.ts";
import { createComponents } from "./components.ts";
import { describeFailures, failures, type ErrorShape } from "./failures.ts";
import { describeHuggingFace } from "./huggingface.ts";
import { describeKserveV1 } from "./kserve-v1.ts";
import type { Lock } from "./lock.ts";
import { describeOpenAI } from "./openai.ts";
import { describeOpenInference } from "./open-inference.ts";
import {
  HEADERS,
  REQUEST_HEADERS,
  TAGS,
  type DescribedModel,
  type DescribeProtocol,
  type Operation,
  type ServerFacts,
  type Subject,
  type Tag,
} from "./operation.ts";
import { describePredict } from "./predict.ts";
import { describeServer } from "./server.ts";
import { describeTorchServe } from "./torchserve.ts";

const PROTOCOLS: readonly DescribeProtocol[] = [
  describeHuggingFace,
  describeOpenAI,
  describeOpenInference,
  describeKserveV1,
  describeTorchServe,
  describeServer,
];

export interface Description {
  readonly server: ServerFacts;
  /** What the routes ask of a client before they answer; nothing where absent. */
  readonly lock?: Lock | undefined;
}

export function describeApi(models: Models, { server, lock }: Description): JsonValue {
  const components = createComponents();
  const subject: Subject = {
    server,
    components,
    models: describeModels(models, server, components),
  };
  const operations = describeOperations(subject);
  const paths: Record<string, Record<string, JsonValue>> = {};
  for (const operation of operations)
    (paths[operation.path] ??= {})[operation.method] = describeOperation(operation, lock);
  const responses = describeFailures(components);
  const text = JSON.stringify(paths);
  const used = Object.entries(responses).filter(([name]) => text.includes(`/responses/${name}"`));
  return {
    openapi: "3.1.0",
    info: {
      title: titleOf(subject.models),
      version: server.version,
      summary: "A model repository, served over HTTP by hubserve",
      description: describeInfo(subject.models),
    },
    servers: [{ url: "/" }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas: components.schemas,
      responses: Object.fromEntries(used),
      parameters: REQUEST_HEADERS,
      headers: HEADERS,
      ...(lock !== undefined && { securitySchemes: lock.schemes }),
    },
    "x-hubserve-models": subject.models.map(toIndexed),
  };
}

/** Every route of the server, in the order in which they are shown. */
export function describeOperations(subject: Subject): readonly Operation[] {
  return PROTOCOLS.flatMap((describe) => describe(subject));
}

/** The default version of every name. */
export function describeModels(
  models: Models,
  { dialect }: Pick<ServerFacts, "dialect">,
  components: Subject["components"],
): readonly DescribedModel[] {
  const names = [...new Set(models.list.map(({ name }) => name))];
  return names.map((name, index) => {
    const { description }: Model = models.find(name);
    const suffix = index === 0 ? "" : `_${index + 1}`;
    return {
      name,
      versions: models.versions(name).map(({ version }) => version),
      description,
      schemas: describePredict(components, description, { dialect, suffix }),
    };
  });
}

function describeOperation(operation: Operation, lock: Lock | undefined): JsonValue {
  const { tag, operationId, summary, description, parameters = [], requestBody } = operation;
  const security = lock?.securityOf(operation) ?? [];
  const isLocked = security.length > 0;
  return {
    tags: [tag],
    operationId,
    summary,
    ...(description !== undefined && { description }),
    ...(parameters.length > 0 && { parameters }),
    ...(requestBody !== undefined && { requestBody }),
    responses: {
      ...operation.responses,
      ...(isLocked && failures(SHAPES[tag], [401])),
    },
    ...(operation.isDeprecated === true && { deprecated: true }),
    ...(isLocked && { security }),
    ...(operation.unavailable !== undefined && { "x-hubserve-unavailable": operation.unavailable }),
  };
}

const SHAPES: Readonly<Record<Tag, ErrorShape>> = {
  "Hugging Face": "HuggingFaceError",
  OpenAI: "OpenAIError",
  "Open Inference Protocol": "OpenInferenceError",
  "KServe V1": "OpenInferenceError",
  TorchServe: "TorchServeError",
  Server: "HuggingFaceError",
};

/** What `hubserve types` reads. */
function toIndexed({ name, versions, description, schemas }: DescribedModel): JsonValue {
  const { handler, task } = description ?? {};
  return {
    name,
    versions,
    ...(handler !== undefined && { handler }),
    ...(task !== undefined && { task }),
    body: schemas.body,
    answer: schemas.answer,
  };
}

function titleOf(models: readonly DescribedModel[]): string {
  const [first, ...others] = models;
  if (first === undefined) return "hubserve";
  return others.length === 0 ? first.name : `${first.name} and ${others.length} more`;
}

function describeInfo(models: readonly DescribedModel[]): string {
  if (models.length === 0) return "No model is registered.";
  return models
    .map(({ name, description }, index) => {
      const what =
        description === undefined
          ? "is not ready yet, so what it takes is not known"
          : description.handler === "custom"
            ? `is answered by ${description.handlerFile ?? "its own handler"}`
            : `serves ${description.task ?? "its graph"}`;
      const where = index === 0 ? ", and answers where a request names no model" : "";
      return `\`${name}\` ${what}${where}.`;
    })
    .join("\n\n");
}
