/**
 * The Open Inference Protocol's routes, described: what it says itself, Triton's extensions, and generation.
 */
import { z } from "zod";

import type { JsonValue, TensorSpec } from "../../inference.ts";
import { argumentNames } from "../protocols/open-inference-arguments.ts";
import { InferBody } from "../protocols/open-inference-body.ts";
import { IndexBody, LoadBody } from "../protocols/open-inference.ts";
import type { Fields } from "./components.ts";
import { ASKING_STATUSES, failures } from "./failures.ts";
import { generates } from "./huggingface.ts";
import { inputsOf } from "./kserve-v1.ts";
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
import {
  Entry,
  Generated,
  GeneratedPart,
  GenerateRequest,
  InferAnswer,
  Metadata,
  ModelReady,
  Server,
} from "./open-inference-schemas.ts";

const TAG = "Open Inference Protocol";
const SHAPE = "OpenInferenceError";
const OF_MODELS = "/v2/models/*";

export const describeOpenInference: DescribeProtocol = (subject) => [
  ...["", "/versions/{model_version}"].flatMap((version) => [
    infer(version, subject),
    generate("generate", version, subject),
    generate("generate_stream", version, subject),
    metadata(version, subject),
    ready(version, subject),
  ]),
  list(subject),
  ...server(subject),
  ...repository(subject),
];

function place(version: string, subject: Subject): readonly Fields[] {
  return version === "" ? [modelName(subject)] : [modelName(subject), modelVersion(subject)];
}

function ofModel(
  version: string,
  action: string,
  subject: Subject,
): Pick<Operation, "path" | "route" | "tag" | "operationId" | "parameters"> {
  return {
    path: `/v2/models/{model_name}${version}${action === "" ? "" : `/${action}`}`,
    route: OF_MODELS,
    tag: TAG,
    operationId: `v2_${action === "" ? "metadata" : action}${version === "" ? "" : "_version"}`,
    parameters: place(version, subject),
  };
}

function infer(version: string, subject: Subject): Operation {
  const { components, models } = subject;
  const common = ofModel(version, "infer", subject);
  const binary = "application/octet-stream";
  return {
    ...common,
    method: "post",
    summary: "Ask with tensors",
    description:
      "Texts, images and sounds are `BYTES` tensors; tensors that the model's graph names go straight to it. With the header " +
      "`Inference-Header-Content-Length` a body is JSON and then the bytes of its tensors.",
    parameters: [...(common.parameters ?? []), ...ASKING],
    requestBody: body({
      "application/json": withExamples(
        { schema: components.schema("InferBody", InferBody) },
        Object.fromEntries(models.flatMap(inferExample)),
      ),
      [binary]: {},
    }),
    responses: {
      "200": success(
        "Tensors",
        { ...json(components.schema("InferAnswer", InferAnswer)), [binary]: {} },
        { isTimed: true },
      ),
      ...failures(SHAPE, ASKING_STATUSES),
    },
  };
}

/** The model's own example, as the tensors that its metadata names. */
function inferExample({ name, description }: DescribedModel): [string, JsonValue][] {
  const { handler, task, example, signature } = description ?? {};
  const inputs = inputsOf(example);
  if (handler === "default" && task !== undefined) {
    const tensors = argumentNames(task).map((argument) => toTensor(argument, inputs));
    return tensors.includes(undefined) ? [] : [[name, { inputs: tensors.filter(isKnown) }]];
  }
  if (signature !== undefined)
    return [[name, { inputs: signature.inputs.map(zeros).filter(isKnown) }]];
  const tensor = typeof inputs === "string" ? toTensor("text", inputs) : undefined;
  return tensor === undefined ? [] : [[name, { inputs: [tensor] }]];
}

function isKnown(tensor: Fields | undefined): tensor is Fields {
  return tensor !== undefined;
}

/** A text under its name, or the lone one. */
function toTensor(name: string, inputs: JsonValue | undefined): Fields | undefined {
  const isNamed = typeof inputs === "object" && inputs !== null && name in inputs;
  const value = isNamed ? (inputs as Fields)[name] : inputs; // a name in it: no list
  const data = typeof value === "string" ? [value] : value;
  if (!Array.isArray(data) || !data.every((each: JsonValue) => typeof each === "string"))
    return undefined;
  return { name, shape: [data.length], datatype: "BYTES", data };
}

/** One element wherever any number may be. */
function zeros({ name, datatype, shape }: TensorSpec): Fields | undefined {
  const sizes = shape.map((size) => (size === -1 ? 1 : size));
  const count = sizes.reduce((product, size) => product * size, 1);
  const element = datatype === "BOOL" ? false : datatype === "BYTES" ? "" : 0;
  if (count > MOST_SHOWN) return undefined;
  return { name, shape: sizes, datatype, data: Array.from({ length: count }, () => element) };
}

/** Of an example that a person should be able to read. */
const MOST_SHOWN = 32;

function generate(
  action: "generate" | "generate_stream",
  version: string,
  subject: Subject,
): Operation {
  const { components } = subject;
  const isStream = action === "generate_stream";
  const common = ofModel(version, action, subject);
  const example = { text_input: "Once upon a time", parameters: { max_tokens: 20 } };
  const part = components.schema("GeneratedPart", GeneratedPart);
  return {
    ...common,
    method: "post",
    summary: isStream ? "Write a text, piece by piece" : "Write a text",
    parameters: [...(common.parameters ?? []), ...ASKING],
    requestBody: body(json(components.schema("GenerateRequest", GenerateRequest), { example })),
    responses: {
      "200": success(
        isStream ? "An event for each piece" : "The text",
        isStream
          ? { "text/event-stream": { schema: part } }
          : json(components.schema("Generated", Generated)),
        { isTimed: true },
      ),
      ...failures(SHAPE, ASKING_STATUSES),
    },
    unavailable: unlessSome(subject, generates, "a model that generates"),
  };
}

function metadata(version: string, subject: Subject): Operation {
  const content = json(subject.components.schema("ModelMetadata", Metadata));
  return {
    ...ofModel(version, "", subject),
    method: "get",
    summary: "What a model takes and gives",
    responses: { "200": success("Its tensors", content), ...failures(SHAPE, [404, 503]) },
  };
}

function ready(version: string, subject: Subject): Operation {
  const content = json(subject.components.schema("ModelReady", ModelReady));
  return {
    ...ofModel(version, "ready", subject),
    method: "get",
    summary: "Whether a model is ready",
    responses: {
      "200": success("It is", content),
      "503": success("It is not, or not yet", content),
      ...failures(SHAPE, [404]),
    },
  };
}

function list({ components }: Subject): Operation {
  const schema = components.schema("ModelNames", z.object({ models: z.array(z.string()) }));
  return {
    ...at("get", "/v2/models", "v2_models", "The models' names"),
    responses: { "200": success("The names", json(schema)) },
  };
}

function at(
  method: Operation["method"],
  path: string,
  operationId: string,
  summary: string,
): Pick<Operation, "method" | "path" | "route" | "tag" | "operationId" | "summary"> {
  return { method, path, route: path, tag: TAG, operationId, summary };
}

function server({ components }: Subject): readonly Operation[] {
  const ready = json(
    components.schema("ServerReady", z.object({ ready: z.boolean(), live: z.boolean() })),
  );
  const live = json(components.schema("ServerLive", z.object({ live: z.boolean() })));
  return [
    {
      ...at("get", "/v2", "v2_server", "The server, and which extensions it has"),
      responses: { "200": success("About it", json(components.schema("ServerMetadata", Server))) },
    },
    {
      ...at("get", "/v2/health/live", "v2_serverLive", "Whether the server lives"),
      responses: { "200": success("It does", live) },
    },
    {
      ...at("get", "/v2/health/ready", "v2_serverReady", "Whether some model answers"),
      responses: { "200": success("One does", ready), "503": success("None does", ready) },
    },
  ];
}

function repository(subject: Subject): readonly Operation[] {
  const { components, server: facts } = subject;
  const entries = { type: "array", items: components.schema("RepositoryEntry", Entry) };
  const unavailable = facts.mayChangeModels
    ? undefined
    : "Clients of this port may not change what is loaded.";
  const change = (action: "load" | "unload", summary: string): Operation => ({
    ...at("post", `/v2/repository/models/{model_name}/${action}`, `v2_${action}`, summary),
    route: "/v2/repository/models/*",
    parameters: [modelName(subject)],
    ...(action === "load" && {
      requestBody: {
        content: json(components.schema("LoadBody", LoadBody), { example: { parameters: {} } }),
      },
    }),
    responses: {
      "200": success("It is done", json({ type: "object" })),
      ...failures(SHAPE, [400, 403, 404, 409, 500, 503]),
    },
    unavailable,
  });
  return [
    {
      ...at("post", "/v2/repository/index", "v2_index", "Every version of every model"),
      requestBody: {
        content: json(components.schema("IndexBody", IndexBody), { example: { ready: false } }),
      },
      responses: { "200": success("The list", json(entries)), ...failures(SHAPE, [400]) },
    },
    change("load", "Load a model, and wait until it answers"),
    change("unload", "Unload a model"),
  ];
}
