/**
 * What `OPTIONS` and `/api-description` answer: the served routes as OpenAPI 3.0.1, with TorchServe's names of operations.
 */
import type { JsonValue } from "../../inference.ts";

type Fields = { readonly [key: string]: JsonValue };

const BINARY = { schema: { type: "string", format: "binary" } };

const ERROR_BODY: Fields = {
  "application/json": {
    schema: {
      type: "object",
      required: ["code", "type", "message"],
      properties: {
        code: { type: "integer", description: "Error code." },
        type: { type: "string", description: "Error type." },
        message: { type: "string", description: "Error message." },
      },
    },
  },
};

const failure = (description: string): Fields => ({ description, content: ERROR_BODY });

const inPath = (name: string, description: string): Fields => ({
  in: "path",
  name,
  description,
  required: true,
  schema: { type: "string" },
});

const MODEL_NAME = inPath("model_name", "Name of model.");
const MODEL_VERSION = inPath("model_version", "Name of model version.");

/** @param version hubserve's. */
export function describeApi(version: string): JsonValue {
  const what = "using default model version, or shared out by weight";
  return document(version, {
    "/": { options: description("apiDescription") },
    "/ping": { get: ping() },
    "/predictions/{model_name}": {
      post: inference("predictions", `Get inference ${what}.`, [MODEL_NAME]),
      options: description("modelDescription", [MODEL_NAME]),
    },
    "/predictions/{model_name}/{model_version}": {
      post: inference("version_predictions", "Get inference using specific model version.", [
        MODEL_NAME,
        MODEL_VERSION,
      ]),
    },
    "/explanations/{model_name}": {
      post: inference("explanations", `Explain an inference ${what}.`, [MODEL_NAME]),
    },
    "/explanations/{model_name}/{model_version}": {
      post: inference(
        "version_explanations",
        "Explain an inference using specific model version.",
        [MODEL_NAME, MODEL_VERSION],
      ),
    },
    "/invocations": {
      post: inference("invocations", "Get inference; the query's and a form's fields are inputs.", [
        {
          in: "query",
          name: "model_name",
          description: "Name of model; not needed where there is one only.",
          required: false,
          schema: { type: "string" },
        },
      ]),
    },
    "/models/{model_name}/invoke": {
      post: inference("invoke", `Get inference ${what}.`, [MODEL_NAME]),
    },
    "/{model_name}/predict": {
      post: { ...inference("predict", `Get inference ${what}.`, [MODEL_NAME]), deprecated: true },
    },
    "/{model_name}/{model_version}/predict": {
      post: {
        ...inference("version_predict", "Get inference using specific model version.", [
          MODEL_NAME,
          MODEL_VERSION,
        ]),
        deprecated: true,
      },
    },
    "/api-description": { get: { ...description("api-description"), deprecated: true } },
    "/metrics": {
      get: {
        description: "Get metrics in Prometheus's format.",
        operationId: "metrics",
        parameters: [],
        responses: {
          "200": {
            description: "Metrics",
            content: {
              "text/plain; version=0.0.4; charset=utf-8": { schema: { type: "string" } },
            },
          },
        },
      },
    },
  });
}

/**
 * One model's.
 *
 * @param prefix `/predictions`; the original writes `/prediction`.
 */
export function describeModelApi(name: string, version: string, prefix: string): JsonValue {
  return document(version, {
    [`${prefix}/${name}`]: {
      post: inference("predictions", `Get inference of ${name}.`, []),
    },
  });
}

function document(version: string, paths: Fields): JsonValue {
  return {
    openapi: "3.0.1",
    info: {
      title: "hubserve: TorchServe APIs",
      description: "TorchServe's Inference API, served by hubserve",
      version,
    },
    paths,
  };
}

function description(operationId: string, parameters: readonly Fields[] = []): Fields {
  const schema = {
    type: "object",
    required: ["openapi", "info", "paths"],
    properties: {
      openapi: { type: "string" },
      info: { type: "object" },
      paths: { type: "object" },
    },
  };
  return {
    description: "Get openapi description.",
    operationId,
    parameters,
    responses: {
      "200": {
        description: "A openapi 3.0.1 descriptor",
        content: { "application/json": { schema } },
      },
      "500": failure("Internal Server Error"),
    },
  };
}

function ping(): Fields {
  const schema = {
    type: "object",
    required: ["status"],
    properties: { status: { type: "string", description: "Healthy or Unhealthy." } },
  };
  const content = { "application/json": { schema } };
  return {
    description: "Get the server's status.",
    operationId: "ping",
    parameters: [],
    responses: {
      "200": { description: "Requests are answered", content },
      "500": { description: "Requests are not answered", content },
    },
  };
}

function inference(operationId: string, text: string, parameters: readonly Fields[]): Fields {
  return {
    description: text,
    operationId,
    parameters,
    requestBody: {
      description: "Input data format is defined by each model.",
      content: { "*/*": BINARY },
      required: true,
    },
    responses: {
      "200": {
        description: "Output data format is defined by each model.",
        content: { "*/*": BINARY },
      },
      "400": failure("The model cannot take this input"),
      "404": failure("Model not found or Model Version not found"),
      "429": failure("The queue is full"),
      "500": failure("Internal Server Error"),
      "503": failure("Prediction failed, or no worker is available to serve request"),
      "504": failure("The deadline has passed"),
    },
  };
}
