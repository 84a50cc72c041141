/**
 * TorchServe's routes, described. `/api-description` answers with the description in TorchServe's own words (`torchserve-openapi.ts`).
 */
import { z } from "zod";

import type { JsonValue } from "../../inference.ts";
import type { Fields } from "./components.ts";
import { ASKING_STATUSES, failures, type Status } from "./failures.ts";
import { unlessExplains } from "./kserve-v1.ts";
import {
  ASKING,
  body,
  modelName,
  modelVersion,
  json,
  success,
  withExamples,
  type DescribeProtocol,
  type Method,
  type Operation,
  type Subject,
} from "./operation.ts";

const TAG = "TorchServe";
const SHAPE = "TorchServeError";
const STATUSES: readonly Status[] = [...ASKING_STATUSES.filter((status) => status !== 406), 507];

const Ping = z.object({ status: z.enum(["Healthy", "Unhealthy"]) });
const ApiDescription = z.looseObject({ openapi: z.string(), info: z.looseObject({}) });

export const describeTorchServe: DescribeProtocol = (subject) => {
  const { server } = subject;
  const version = [modelName(subject), modelVersion(subject)];
  const [name] = version.slice(0, 1);
  const only = name === undefined ? [] : [name];
  return [
    ask(subject, "/predictions/{model_name}", "predictions", only),
    ask(subject, "/predictions/{model_name}/{model_version}", "version_predictions", version),
    ask(subject, "/explanations/{model_name}", "explanations", only),
    ask(subject, "/explanations/{model_name}/{model_version}", "version_explanations", version),
    {
      ...ask(subject, "/invocations", "invocations", [MODEL_IN_QUERY]),
      route: "/invocations",
      description: "The query's and a form's fields are inputs, `model_name` names the model.",
    },
    older(ask(subject, "/models/{model_name}/invoke", "invoke", only)),
    older(ask(subject, "/{model_name}/predict", "oldPredict", only)),
    older(ask(subject, "/{model_name}/{model_version}/predict", "version_oldPredict", version)),
    ping(subject),
    described(subject, "get", "/api-description", "apiDescriptionOld", []),
    described(subject, "options", "/", "apiDescription", []),
    described(subject, "options", "/predictions/{model_name}", "modelDescription", only),
    ...(server.isTorchServe ? [] : [workflows()]),
  ];
};

const MODEL_IN_QUERY: Fields = {
  name: "model_name",
  in: "query",
  description: "The model; not needed where there is only one.",
  schema: { type: "string" },
};

function ask(
  subject: Subject,
  path: string,
  operationId: string,
  parameters: readonly Fields[],
): Operation {
  const isExplanation = path.startsWith("/explanations");
  return {
    method: "post",
    path,
    route: `/${path.split("/")[1]}/*`,
    tag: TAG,
    operationId,
    summary: isExplanation ? "Ask for an explanation" : "Ask for a prediction",
    parameters: [...parameters, ...ASKING],
    requestBody: requestBody(subject),
    responses: {
      "200": success("The answer, as the handler gives it", ANSWER, { isTimed: true }),
      ...failures(SHAPE, STATUSES),
    },
    ...(isExplanation && { unavailable: unlessExplains(subject) }),
  };
}

/** Told from the path after the router, and kept for clients that still ask there. */
function older({ route: _route, ...operation }: Operation): Operation {
  return { ...operation, isDeprecated: true };
}

function requestBody({ models }: Subject): Fields {
  const schema: JsonValue = {
    description:
      'What the model takes: `{"data": …}`, `{"body": …}`, named inputs, or a body as on `POST /`.',
  };
  const examples = models.flatMap(({ name, description }) =>
    description?.example === undefined ? [] : [[name, description.example] as const],
  );
  return body({
    "application/json": withExamples({ schema }, Object.fromEntries(examples)),
    "text/plain": { schema: { type: "string" } },
    "multipart/form-data": { schema: { type: "object", additionalProperties: true } },
    "application/octet-stream": {},
  });
}

const ANSWER: Fields = {
  "application/json": { schema: { description: "As Python prints it, two spaces deep" } },
  "text/plain": { schema: { type: "string", description: "An answer that is a text" } },
  "*/*": {},
};

function ping({ components }: Subject): Operation {
  const content = json(components.schema("Ping", Ping));
  return {
    method: "get",
    path: "/ping",
    route: "/ping",
    tag: TAG,
    operationId: "ping",
    summary: "Whether the models answer",
    responses: { "200": success("They do", content), "500": success("They do not", content) },
  };
}

function described(
  { components }: Subject,
  method: Method,
  path: string,
  operationId: string,
  parameters: readonly Fields[],
): Operation {
  const hasModel = path.includes("{");
  return {
    method,
    path,
    route: hasModel ? "/predictions/*" : path,
    tag: TAG,
    operationId,
    summary: hasModel
      ? "TorchServe's description of a model"
      : "TorchServe's description of its API",
    parameters,
    responses: {
      "200": success("OpenAPI 3.0.1", json(components.schema("ApiDescription", ApiDescription))),
      ...(hasModel && failures(SHAPE, [404])),
    },
    isDeprecated: path === "/api-description",
  };
}

function workflows(): Operation {
  return {
    method: "post",
    path: "/wfpredict/{workflow_name}",
    route: "/wfpredict/*",
    tag: TAG,
    operationId: "workflowPredictions",
    summary: "Workflows",
    parameters: [{ name: "workflow_name", in: "path", required: true, schema: { type: "string" } }],
    responses: failures(SHAPE, [501]),
    unavailable: "Workflows are not served: a handler may call other models.",
  };
}
