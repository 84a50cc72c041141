/**
 * One route as the description has it, and what all of them are made of: parameters, headers, failures.
 */
import type { JsonValue, ModelDescription } from "../../inference.ts";
import type { DialectChoice } from "../protocols/huggingface-dialect.ts";
import type { Components, Fields } from "./components.ts";
import type { PredictSchemas } from "./predict.ts";

/** The protocols, in the order in which they are shown. */
export const TAGS = {
  "Hugging Face": "Hugging Face Inference Endpoints: the default model's own inputs and answers.",
  OpenAI: "OpenAI's API, at `/v1` and at `/openai/v1`.",
  "Open Inference Protocol": "KServe's second protocol and Triton's: tensors in, tensors out.",
  "KServe V1": "KServe's first protocol: `instances` in, `predictions` out. Also as CloudEvents.",
  TorchServe: "TorchServe's Inference API. Every method does what POST does.",
  Server: "Health, metrics, and this description.",
} as const;
export type Tag = keyof typeof TAGS;

export type Method = "get" | "post" | "options";

export interface Operation {
  readonly method: Method;
  /** With its variables in braces. */
  readonly path: string;
  /** The pattern that the router knows it by; absent for paths that are told apart after the router. */
  readonly route?: string;
  readonly tag: Tag;
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly parameters?: readonly Fields[];
  readonly requestBody?: Fields;
  readonly responses: Fields;
  readonly isDeprecated?: boolean;
  /** Why no model of this server can answer it, as a sentence. */
  readonly unavailable?: string | undefined;
}

/** A model as the description shows it: its default version. */
export interface DescribedModel {
  readonly name: string;
  readonly versions: readonly string[];
  /** Absent until it has been ready. */
  readonly description: ModelDescription | undefined;
  readonly schemas: PredictSchemas;
}

export interface ServerFacts {
  readonly version: string;
  readonly dialect: DialectChoice;
  readonly isTorchServe: boolean;
  readonly hasPlayground: boolean;
  /** Whether clients of this port may load and unload models. */
  readonly mayChangeModels: boolean;
}

/** What protocols describe themselves by. */
export interface Subject {
  readonly server: ServerFacts;
  readonly components: Components;
  /** The first answers where a request names none. */
  readonly models: readonly DescribedModel[];
}

export type DescribeProtocol = (subject: Subject) => readonly Operation[];

/** @returns Why, unless some model can; one that is not ready yet may be able to. */
export function unlessSome(
  { models }: Pick<Subject, "models">,
  can: (description: ModelDescription) => boolean,
  wanted: string,
): string | undefined {
  const isPossible = models.some(({ description: d }) => d === undefined || can(d));
  if (models.length === 0 || isPossible) return undefined;
  const [only, ...others] = models;
  return others.length > 0
    ? `No model of this server can answer it: it takes ${wanted}.`
    : `The model "${only?.name}" cannot answer it: it takes ${wanted}.`;
}

export function json(schema: Fields, examples?: Readonly<Record<string, JsonValue>>): Fields {
  return { "application/json": withExamples({ schema }, examples) };
}

export function withExamples(
  content: Fields,
  examples: Readonly<Record<string, JsonValue>> = {},
): Fields {
  const entries = Object.entries(examples).map(([name, value]) => [name, { value }] as const);
  return entries.length === 0 ? content : { ...content, examples: Object.fromEntries(entries) };
}

export function body(content: Fields, description?: string): Fields {
  return { required: true, content, ...(description !== undefined && { description }) };
}

/** A success. @param content Nothing where there is no body. */
export function success(
  description: string,
  content: Fields,
  { isTimed = false }: { readonly isTimed?: boolean } = {},
): Fields {
  const names = isTimed ? [...ALWAYS, ...TIMINGS] : ALWAYS;
  return { description, headers: headers(names), content };
}

const ALWAYS = ["x-request-id"] as const;
const TIMINGS = ["x-queue-time", "x-inference-time", "x-total-time", "warnings"] as const;

function headers(names: readonly string[]): Fields {
  return Object.fromEntries(
    names.map((name) => [name, { $ref: `#/components/headers/${name}` }] as const),
  );
}

export const HEADERS: Fields = {
  "x-request-id": text("The request's own `x-request-id`, or one made for it."),
  "x-queue-time": text("Milliseconds from arrival to the worker."),
  "x-inference-time": text("Milliseconds inside the handler."),
  "x-total-time": text("Milliseconds from arrival to the answer."),
  warnings: text("What to know about the answer: a text was cut, a parameter had no effect."),
  "retry-after": text("Seconds after which another try makes sense."),
};

function text(description: string): Fields {
  return { description, schema: { type: "string" } };
}

/** What every request that is answered by a model may say in its headers. */
export const REQUEST_HEADERS: Fields = {
  requestId: {
    name: "x-request-id",
    in: "header",
    description:
      "A name for the request, of up to 128 visible ASCII characters: it is in the log and in the answer.",
    schema: { type: "string", maxLength: 128 },
  },
  timeout: {
    name: "x-request-timeout-ms",
    in: "header",
    description:
      "How long the client waits at the most, in milliseconds; the server's own limit stays above it.",
    schema: { type: "integer", minimum: 1 },
  },
  sticky: {
    name: "x-hubserve-sticky",
    in: "header",
    description:
      "Requests of the same key go to the same version, where a model's requests are shared out.",
    schema: { type: "string" },
  },
};

export const ASKING: readonly Fields[] = Object.keys(REQUEST_HEADERS).map((name) => ({
  $ref: `#/components/parameters/${name}`,
}));

/** The variable of a path that names a model. */
export function modelName({ models }: Pick<Subject, "models">): Fields {
  const examples = models.map(({ name }, index) => [`model${index + 1}`, { value: name }] as const);
  return {
    name: "model_name",
    in: "path",
    required: true,
    description: "The model's name; a slash in it is sent as %2F, or as it is.",
    schema: { type: "string" },
    ...(examples.length > 0 && { examples: Object.fromEntries(examples) }),
  };
}

export function modelVersion({ models }: Pick<Subject, "models">): Fields {
  const versions = [...new Set(models.flatMap((model) => model.versions))];
  const examples = versions.map(
    (version, index) => [`version${index + 1}`, { value: version }] as const,
  );
  return {
    name: "model_version",
    in: "path",
    required: true,
    description: "One of the model's versions.",
    schema: { type: "string" },
    ...(examples.length > 0 && { examples: Object.fromEntries(examples) }),
  };
}
